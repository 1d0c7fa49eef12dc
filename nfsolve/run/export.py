"""A solution for other programs: its values on a grid as .npz or .zarr, block by block, as VTK, or in xarray."""

import itertools
import math
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError, require
from nfsolve.domains import Domain, PointCloud

POINTS = 100_000  # about, on the default grid
BLOCK = 2**17  # most points that are evaluated at once, and a chunk of .zarr
CELLS = {1: "line", 2: "quad", 3: "hexahedron"}
Block = tuple[slice, ...]


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


@dataclass(frozen=True)
class Places:
    """Where a solution is exported, and its values there, made block by block so that any number of points fits.

    Attributes:
        domain: The domain.
        sizes: Points along each coordinate of the grid; of a cloud how many there are.
        names: Names of the columns.
        values: Points ``(n, d)`` -> values ``(n, columns)``.
        dtype: Type of the values, of NumPy.
        partial: Whether some unknowns live on a part of the domain and are NaN elsewhere.
    """

    domain: Any
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    values: Callable[[Tensor], Tensor]
    dtype: Any
    partial: bool

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """The values of each coordinate along its axis of the grid; of a cloud at all points."""
        if not self.domain.solid:
            return {name: self.domain.points[:, i].numpy() for i, name in enumerate(self.domain.names)}
        sides = zip(self.domain.names, self.domain.bounds, self.sizes, strict=True)
        return {name: np.linspace(low, high, n) for name, (low, high), n in sides}

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the axes of the arrays."""
        return tuple(self.domain.names) if self.domain.solid else ("point",)

    @property
    def block(self) -> tuple[int, ...]:
        """Sizes of a block: as much of the last coordinates as fits."""
        found, left = list[int](), BLOCK
        for n in reversed(self.sizes):
            found.insert(0, max(1, min(n, left)))
            left //= found[0]
        return tuple(found)

    def evaluated(self) -> Iterator[tuple[Block, Tensor, Tensor, Tensor]]:
        """Yield block, points ``(n, d)``, which of them are inside, and values ``(n, columns)``, NaN outside.

        Raises:
            InputError: No point is in the domain.
        """
        bad = seen = 0
        axes = [torch.from_numpy(axis) for axis in self.axes.values()]
        steps = self.block
        for starts in itertools.product(*(range(0, n, step) for n, step in zip(self.sizes, steps, strict=True))):
            block = tuple(slice(i, min(i + m, n)) for i, m, n in zip(starts, steps, self.sizes, strict=True))
            points, inside = self._points(block, axes)
            found = self.values(points[inside])
            bad += 0 if self.partial else int((~torch.isfinite(found)).any(1).sum())
            seen += len(found)
            values = found.new_full((len(points), len(self.names)), torch.nan)
            values[inside] = found
            yield block, points, inside, values
        if not seen:
            raise InputError(
                f"none of the points of the grid {self.sizes} lies in {self.domain!r}", do="give a finer grid by shape="
            )
        if bad:
            text = f"the field is not finite at {bad} of {seen} points of the domain, which are exported as NaN"
            warnings.warn(text, stacklevel=4)

    def _points(self, block: Block, axes: list[Tensor]) -> tuple[Tensor, Tensor]:
        if not self.domain.solid:
            points = self.domain.points[block[0]]
            return points, torch.ones(len(points), dtype=torch.bool)
        parts = (axis[part] for axis, part in zip(axes, block, strict=True))
        points = torch.stack(torch.meshgrid(*parts, indexing="ij"), -1).reshape(-1, len(axes))
        return points, self.domain.contains(points, slack=1e-6 * self.domain.size)

    def write(self, columns: dict[str, Any]) -> None:
        """Fill arrays of any kind, one for each column, block by block."""
        for block, _, _, values in self.evaluated():
            shape = tuple(part.stop - part.start for part in block)
            for i, name in enumerate(self.names):
                columns[name][block] = values[:, i].reshape(shape).numpy()

    def table(self) -> Table:
        """Return all values at once."""
        n, d = math.prod(self.sizes), len(self.domain.names)
        points, inside = np.empty((*self.sizes, d)), np.empty(self.sizes, dtype=bool)
        columns: dict[str, np.ndarray] = {}
        for block, places, within, values in self.evaluated():
            shape = tuple(part.stop - part.start for part in block)
            points[block], inside[block] = places.reshape(*shape, d), within.reshape(shape)
            for i, name in enumerate(self.names):
                columns.setdefault(name, np.empty(self.sizes, self.dtype))[block] = values[:, i].reshape(shape)
        flat = {name: column.reshape(n) for name, column in columns.items()}
        sizes = self.sizes if self.domain.solid else None
        return Table(self.domain, points.reshape(n, d), flat, inside.reshape(n), sizes)


def places_of(solution: Any, shape: tuple[int, ...] | None, names: str | None) -> Places:
    """Say where a solution is exported.

    Args:
        solution: The solution.
        shape: Points along each coordinate; None takes about 100 000 in all.
        names: Unknowns and derivatives, separated by spaces; None takes all unknowns.

    Returns:
        The grid of its domain, or its cloud.

    Raises:
        InputError: The domain has no grid and is not a point cloud, a size is not positive, or a name is unknown.
    """
    domain: Any = getattr(solution.problem, "domain", None)
    if domain is None or not (domain.solid or isinstance(domain, PointCloud)):
        raise InputError(
            f"export needs a domain with a grid, or a PointCloud, not {domain!r}",
            do="use predict at points of your own",
        )
    if domain.solid:
        d = len(domain.names)
        sizes = tuple(shape or (max(2, round(POINTS ** (1 / d))),) * d)
        domain.grid(*(min(n, 1) for n in sizes))  # which refuses what is not a shape
    else:
        sizes = (len(domain.points),)
    outputs = getattr(solution.field, "outputs", None)

    def values(points: Tensor) -> Tensor:
        return solution.predict(points) if names is None else solution(names, points)

    with warnings.catch_warnings():  # of these points nobody wants to know
        warnings.simplefilter("ignore")
        first = values(domain.points[:1] if not domain.solid else torch.tensor([[low for low, _ in domain.bounds]]))
    heads = tuple(names.split()) if names else outputs or tuple(f"u{i}" for i in range(first.shape[1]))
    partial = bool(getattr(solution.problem, "lives", None))
    return Places(domain, sizes, tuple(heads), values, first.numpy().dtype, partial)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Offer an empty folder beside a file; it is removed in the end, with what was written there."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_npz(path: Path, places: Places, attributes: dict[str, Any]) -> None:
    """Write axes and arrays over them, of a cloud columns; the arrays grow on the disk beside the file."""
    with _beside(path) as folder:
        files = {name: folder / f"{i}.npy" for i, name in enumerate([*places.axes, *places.names])}
        for name, axis in places.axes.items():
            np.save(files[name], axis)
        columns = {
            name: np.lib.format.open_memmap(files[name], "w+", places.dtype, places.sizes) for name in places.names
        }
        places.write(columns)
        for column in columns.values():
            column.flush()
        columns.clear()
        whole = folder / "whole.npz"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, file in files.items():
                archive.write(file, f"{name}.npy")
                file.unlink()
        whole.replace(path)


def write_zarr(path: Path, places: Places, attributes: dict[str, Any]) -> None:
    """Write a group of zarr, one array for each axis and column, in chunks; xarray opens it as a dataset."""
    zarr = require("zarr", extra="operators", purpose="writing .zarr")
    with _beside(path) as folder:
        group = zarr.open_group(str(folder / "whole"), mode="w", attributes=attributes)
        for name, axis in places.axes.items():
            over = (name,) if places.domain.solid else places.dimensions
            group.create_array(name, data=axis, dimension_names=over)
        options = {"shape": places.sizes, "chunks": places.block, "dtype": places.dtype, "fill_value": math.nan}
        names = places.dimensions
        places.write({n: group.create_array(n, dimension_names=names, **options) for n in places.names})
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (folder / "whole").replace(path)


def write_vtu(path: Path, places: Places, attributes: dict[str, Any]) -> None:
    """Write points and their columns as cells of a grid, or as single vertices."""
    meshio = require("meshio", extra="vtk", purpose="writing a .vtu file")
    table = places.table()
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
    vertices = np.pad(points[used], ((0, 0), (0, 3 - d)))
    data = {name: column[used] for name, column in table.columns.items()}
    meshio.Mesh(vertices, [(kind, renumbered.reshape(cells.shape))], point_data=data).write(path)


def dataset(places: Places, attributes: dict[str, Any]) -> Any:
    """Return an `xarray.Dataset` over the axes of the grid, or over the points of a cloud."""
    xarray = require("xarray", extra="xarray", purpose="to_xarray()")
    over, table = places.dimensions, places.table()
    columns = {name: (over, column.reshape(places.sizes)) for name, column in table.columns.items()}
    axes = {name: (name if places.domain.solid else over, axis) for name, axis in places.axes.items()}
    return xarray.Dataset(columns, axes, attributes)
