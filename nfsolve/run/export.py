"""A solution for other programs: its values on a grid as .npz, as VTK, or as a dataset of xarray."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfsolve._core.errors import InputError, require
from nfsolve.domains import Domain, PointCloud
from nfsolve.problem.pde.sample import inside_only

POINTS = 100_000  # about, on the default grid
CELLS = {1: "line", 2: "quad", 3: "hexahedron"}


@dataclass(frozen=True)
class Table:
    """Values of a solution on the grid of its domain, or at the points of a cloud.

    Attributes:
        domain: The domain.
        points: Points ``(n, d)``.
        columns: Name -> values ``(n,)``, NaN outside the domain.
        inside: Which points are in the domain, ``(n,)``.
        sizes: Points along each coordinate; None for a cloud.
    """

    domain: Domain
    points: np.ndarray
    columns: dict[str, np.ndarray]
    inside: np.ndarray
    sizes: tuple[int, ...] | None

    def axes(self) -> dict[str, np.ndarray]:
        """Return the values of each coordinate along its axis of the grid."""
        sides = zip(self.domain.names, self.domain.bounds, self.sizes or (), strict=True)
        return {name: np.linspace(low, high, n) for name, (low, high), n in sides}


def table_of(solution: Any, shape: tuple[int, ...] | None, names: str | None) -> Table:
    """Evaluate a solution where it is exported.

    Args:
        solution: The solution.
        shape: Points along each coordinate; None takes about 100 000 in all.
        names: Unknowns and derivatives, separated by spaces; None takes all unknowns.

    Returns:
        The values.

    Raises:
        InputError: The domain has no grid and is no cloud, or a name is unknown.
    """
    domain: Any = getattr(solution.problem, "domain", None)
    if domain is None or not (domain.solid or isinstance(domain, PointCloud)):
        raise InputError(
            f"export needs a domain with a grid, or a PointCloud, not {domain!r}",
            do="use predict at points of your own",
        )
    if domain.solid:
        sizes = shape or (max(2, round(POINTS ** (1 / len(domain.names)))),) * len(domain.names)
        points = domain.grid(*sizes)
        inside = inside_only(domain, points, sizes).inside
        inside = torch.ones(len(points), dtype=torch.bool) if inside is None else inside
    else:
        sizes, points, inside = None, domain.points, torch.ones(len(domain.points), dtype=torch.bool)
    found = solution.predict(points[inside]) if names is None else solution(names, points[inside])
    lived = getattr(solution.problem, "lives", None)  # NaN elsewhere is no fault
    if bad := 0 if lived else int((~torch.isfinite(found)).any(1).sum()):
        text = f"the field is not finite at {bad} of {len(found)} points of the domain, which are exported as NaN"
        warnings.warn(text, stacklevel=3)
    values = found.new_full((len(points), found.shape[1]), torch.nan)
    values[inside] = found
    outputs = getattr(solution.field, "outputs", None) or tuple(f"u{i}" for i in range(values.shape[1]))
    heads = outputs if names is None else names.split()
    columns = {name: values[:, i].numpy() for i, name in enumerate(heads)}
    return Table(domain, points.numpy(), columns, inside.numpy(), sizes)


def write_npz(path: Path, table: Table) -> None:
    """Write axes and arrays over them; of single points, columns."""
    domain, sizes = table.domain, table.sizes
    arrays: dict[str, Any] = {name: table.points[:, i] for i, name in enumerate(domain.names)} | table.columns
    if sizes is not None:
        arrays = table.axes() | {name: column.reshape(sizes) for name, column in table.columns.items()}
    np.savez(path, **arrays)


def write_vtu(path: Path, table: Table) -> None:
    """Write points and their columns as cells of a grid, or as single vertices."""
    meshio = require("meshio", extra="vtk", purpose="writing a .vtu file")
    points, sizes = table.points, table.sizes
    d = points.shape[1]
    kind, cells = "vertex", np.arange(len(points))[:, None]
    if sizes is not None:
        kind, number = CELLS[d], np.arange(len(points)).reshape(sizes)
        # VTK goes around the bottom face, then around the top one
        around = [(0,), (1,)] if d == 1 else [(0, 0), (1, 0), (1, 1), (0, 1)]
        corners = around if d < 3 else [(*corner, top) for top in (0, 1) for corner in around]
        ends = [tuple(slice(s, n - 1 + s) for s, n in zip(c, sizes, strict=True)) for c in corners]
        cells = np.stack([number[end].reshape(-1) for end in ends], 1)
        cells = cells[table.inside[cells].all(1)]
    if not len(cells):
        raise InputError(f"no cell of the grid of sizes {sizes} lies in the domain", do="give a finer grid by shape=")
    used, renumbered = np.unique(cells, return_inverse=True)
    places = np.pad(points[used], ((0, 0), (0, 3 - d)))
    data = {name: column[used] for name, column in table.columns.items()}
    meshio.Mesh(places, [(kind, renumbered.reshape(cells.shape))], point_data=data).write(path)


def dataset(table: Table, attributes: dict[str, Any]) -> Any:
    """Return an `xarray.Dataset` over the axes of the grid, or over the points of a cloud."""
    xarray = require("xarray", extra="xarray", purpose="to_xarray()")
    names = table.domain.names
    if table.sizes is None:
        places = {name: ("point", table.points[:, i]) for i, name in enumerate(names)}
        return xarray.Dataset({n: ("point", c) for n, c in table.columns.items()}, places, attributes)
    columns = {name: (names, column.reshape(table.sizes)) for name, column in table.columns.items()}
    return xarray.Dataset(columns, table.axes(), attributes)
