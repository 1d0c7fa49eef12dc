"""Finite element meshes from files that meshio reads, with the names of their groups; and their boundary."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError, require

ENDINGS = (".msh", ".vtu", ".vtk", ".inp", ".mesh", ".med", ".xdmf", ".bdf")
CORNERS = {"line": 2, "triangle": 3, "quad": 4, "tetra": 4}
SKIPPED = ("vertex", "empty")
MOST_GROUPS = 100  # numbers that take more values than that are not groups, but numbers of elements

Names = tuple[str, ...]


@dataclass(frozen=True)
class Mesh:
    """A mesh of lines, triangles or tetrahedra, those of the highest dimension in a file.

    Attributes:
        vertices: Coordinates ``(V, d)``, d = 3 as in a file, or 2 where `flat` made it so.
        cells: Corners ``(T, k)`` of the cells, k = 2, 3 or 4.
        groups: The names of the groups of each cell.
        sides: Corners of a cell of one dimension less, in increasing order -> the names of its groups.
    """

    vertices: np.ndarray
    cells: np.ndarray
    groups: list[Names]
    sides: dict[tuple[int, ...], Names]

    @property
    def names(self) -> Names:
        """The names of all groups of cells."""
        return tuple(dict.fromkeys(name for names in self.groups for name in names))

    def group(self, name: str) -> "Mesh":
        """Return the cells of one group."""
        chosen = [i for i, names in enumerate(self.groups) if name in names]
        return Mesh(self.vertices, self.cells[chosen], [self.groups[i] for i in chosen], self.sides)

    def flat(self, what: str) -> "Mesh":
        """Return the mesh in the two coordinates that vary.

        Raises:
            InputError: All three vary.
        """
        extent = np.ptp(self.vertices, axis=0)
        varying = np.flatnonzero(extent > 1e-9 * max(extent.max(), 1e-300))
        if len(varying) > 2:
            raise InputError(
                f"{what} must lie in a plane x-y, x-z or y-z, but all three coordinates of its nodes vary",
                do="for a solid body, or its surface, write Solid(file)",
            )
        chosen = varying if len(varying) == 2 else [0, 1]
        return Mesh(self.vertices[:, chosen], self.cells, self.groups, self.sides)

    def boundary(self, what: str) -> tuple[np.ndarray, list[Names]]:
        """Return the sides that belong to one cell only, with the cell behind them, and the names of their groups.

        Returns:
            Corners ``(F, d)``, counter-clockwise from outside (edges have the inside to their left), and names.

        Raises:
            InputError: A cell has no area or volume, or a side belongs to more than two cells.
        """
        corners = self.vertices[self.cells]
        edges = corners[:, 1:] - corners[:, :1]
        size = np.linalg.det(edges)
        extent = float(np.ptp(self.vertices, axis=0).max())
        d = edges.shape[-1]
        if (np.abs(size) <= 1e-14 * extent**d).any():
            kind = "triangles without area" if d == 2 else "tetrahedra without volume"
            raise InputError(f"{what} has {int((np.abs(size) <= 1e-14 * extent**d).sum())} {kind}", do="mesh it again")
        cells = np.where((size > 0)[:, None], self.cells, self.cells[:, [1, 0, *range(2, d + 1)]])
        # of a positive tetrahedron (0, 1, 2, 3) these triangles are counter-clockwise from outside
        ways = ([0, 1], [1, 2], [2, 0]) if d == 2 else ([0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2])
        sides = np.concatenate([cells[:, way] for way in ways])
        _, first, uses = np.unique(np.sort(sides, 1), axis=0, return_index=True, return_counts=True)
        if (uses > 2).any():
            raise InputError(
                f"{int((uses > 2).sum())} sides of cells of {what} belong to more than two cells", do="mesh it again"
            )
        found = sides[np.sort(first[uses == 1])]
        return found, [self.sides.get(tuple(sorted(side)), ()) for side in found.tolist()]


def is_mesh(source: Any) -> bool:
    """Return whether something is a file for `read`, by its ending, or a `meshio.Mesh`."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() in ENDINGS
    return type(source).__module__.startswith("meshio.") and hasattr(source, "cells")


def said(source: Any, kind: str = "mesh") -> str:
    """Return what a mesh or a surface is called in messages."""
    return f"the {kind} '{source}'" if isinstance(source, str | Path) else f"the {kind}"


def read(source: Any, what: str) -> Mesh:
    """Read a mesh with its groups: physical groups of gmsh, sets of cells, and whole numbers given for each cell.

    Args:
        source: A file or a `meshio.Mesh`.
        what: What it is, for messages.

    Raises:
        InputError: The file cannot be read, or holds cells that are curved or have other shapes.
        MissingExtra: meshio is not installed.
    """
    meshio = require("meshio", extra="mesh", purpose="a domain from a mesh")
    if isinstance(source, str | Path):
        if not Path(source).is_file():
            raise InputError(f"there is no file '{source}'", do="give its path from the folder where you run")
        try:
            source = meshio.read(Path(source))
        except (Exception, SystemExit) as error:  # of many readers; some of them leave the program
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise InputError(
                f"{what} could not be read ({reason})", do="write it again, e.g. with gmsh -save or meshio convert"
            ) from error
    for block in source.cells:
        if block.type not in (*CORNERS, *SKIPPED) and len(block.data):
            raise InputError(
                f"{what} must have lines, triangles, quads or tetrahedra with straight sides, got {block.type} cells",
                do="write it with elements of order 1, or split them",
            )
    vertices = np.asarray(source.points, dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] not in (2, 3) or not np.isfinite(vertices).all():
        raise InputError(
            f"{what} must have nodes (n, 2) or (n, 3) of finite numbers, got {vertices.shape}", do="mesh it again"
        )
    vertices = np.pad(vertices, ((0, 0), (0, 3 - vertices.shape[1])))
    vertices, index = merged(vertices)
    held: dict[int, list[tuple[tuple[int, ...], Names]]] = {2: [], 3: [], 4: []}
    for kind, data, names in _blocks(source):
        for corners, of in zip(index[data].tolist(), names, strict=True):
            if kind == "quad":
                a, b, c, d = corners
                held[3] += [((a, b, c), of), ((a, c, d), of)]
            else:
                held[CORNERS[kind]].append((tuple(corners), of))
    k = max((k for k, cells in held.items() if cells), default=0)
    if not k:
        raise InputError(f"{what} has no lines, triangles or tetrahedra", do="write a mesh with its elements")
    together: dict[tuple[int, ...], Names] = {}
    for corners, of in held[k]:  # a cell is written once for each of its groups
        together[corners] = (*together.get(corners, ()), *of)
    sides: dict[tuple[int, ...], Names] = {}
    for corners, of in held.get(k - 1, []):
        key = tuple(sorted(corners))
        sides[key] = tuple(dict.fromkeys((*sides.get(key, ()), *of)))
    return Mesh(vertices, np.array(list(together), dtype=np.int64), list(together.values()), sides)


def merged(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices without equal ones, and for each the row in which it is now."""
    size = max(float(np.ptp(vertices, axis=0).max()), 1e-300)
    _, first, index = np.unique(np.round(vertices / (1e-9 * size)), axis=0, return_index=True, return_inverse=True)
    return vertices[first].astype(np.float64), index.reshape(-1)


def _blocks(mesh: Any) -> Iterator[tuple[str, np.ndarray, list[Names]]]:
    """Yield kind, corners and names of groups of each block of cells."""
    known = {(int(number), int(dim)): name for name, (number, dim) in _numbered(mesh.field_data)}
    tags = {key: blocks for key, blocks in mesh.cell_data.items() if key != "gmsh:geometrical" and _are_groups(blocks)}
    for i, block in enumerate(mesh.cells):
        if block.type in SKIPPED:
            continue
        names: list[list[str]] = [[] for _ in block.data]
        for key, blocks in tags.items():
            for of, number in zip(names, np.asarray(blocks[i]).reshape(-1).tolist(), strict=True):
                if number:  # 0 is not a group
                    said = f"group {number}" if key.startswith(("gmsh:", "medit:")) else f"{key} {number}"
                    of.append(known.get((number, block.dim), said))
        for name, chosen in mesh.cell_sets.items():
            if not name.startswith("gmsh:") and chosen[i] is not None:
                for row in np.asarray(chosen[i], dtype=np.int64).tolist():
                    names[row].append(name)
        yield block.type, np.asarray(block.data, dtype=np.int64), [tuple(dict.fromkeys(of)) for of in names]


def _numbered(fields: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """Return the fields of a file that are a number and a dimension, as the names of gmsh are."""
    return [(name, np.asarray(value)) for name, value in fields.items() if np.shape(value) == (2,)]


def _are_groups(blocks: list[Any]) -> bool:
    """Return whether data of cells are numbers of groups: whole, one for each cell, of few values."""
    arrays = [np.asarray(block) for block in blocks]
    whole = all(np.issubdtype(a.dtype, np.integer) and a.size == len(a) for a in arrays)
    return whole and len({value for a in arrays for value in np.unique(a).tolist()}) <= MOST_GROUPS
