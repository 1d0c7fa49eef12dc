"""Splines: piecewise polynomials on a grid of cells, products of B-splines along the coordinates.

u(x, y) = sum_ij c_ij B_i(x) B_j(y) with B-splines of one degree along each coordinate, periodic where the domain is (de
Boor, A Practical Guide to Splines, 1978, chapter IX). u is linear in what is trained, and each coefficient acts on few
cells: where a network or `RandomFeatures` would need thousands of functions of the whole domain, least squares with
such a field stay cheap (`nfsolve.optim.BandedLeastSquares`). In cells that a shape cuts off it goes on smoothly.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.field import Domain, Field

Cells = int | Sequence[float]
MOST = 9  # degree, above which powers of a coordinate lose digits


Index = tuple[int, ...]


class LocalValues(NamedTuple):
    """Derivatives of a spline at points, with what they are made of.

    Attributes:
        columns: Which entries of the coefficients act at each point, ``(n, m)``.
        cells: Numbers of the cells of each point, ``(n, groups)``.
        factors: For each group of outputs with the same cells, multi-index -> derivatives of the functions ``(n, mg)``.
        members: For each group, its outputs.
        values: Multi-index -> derivatives of the field ``(n, k)``, leaves of a graph.
    """

    columns: Tensor
    cells: Tensor
    factors: list[dict[Index, Tensor]]
    members: list[list[int]]
    values: dict[Index, Tensor]

    def entries(self, slopes: dict[Index, Tensor]) -> Tensor:
        """Return the derivative by these coefficients ``(n, m)`` of what has these slopes by the values ``(n, k)``."""
        found = []
        for factors, members in zip(self.factors, self.members, strict=True):
            terms = [factors[index][:, :, None] * slope[:, None, members] for index, slope in slopes.items()]
            found.append(sum(terms[1:], terms[0]).flatten(1))
        return torch.cat(found, 1)


class Splines(Field):
    """Products of B-splines along the coordinates, one coefficient for each and each output.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        cells: Number of equal cells along every coordinate, or a tuple with an entry for each: a number, or the ends
            of the cells in units of the coordinate, ascending from bound to bound. An end that occurs r times in
            between lowers the smoothness there by r - 1 derivatives, for a coefficient that jumps. Or these by the name
            of each output, such as a temperature that has kinks where its fluxes jump.
        degree: Degree of the polynomials; or one for each coordinate.
        **options: Arguments of `Field`.

    Raises:
        InputError: Cells that do not run from bound to bound, or a degree out of range.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        cells: Cells | tuple[Cells, ...] | dict[str, Any] = 16,
        degree: int | tuple[int, ...] = 5,
        **options: Any,
    ):
        super().__init__(domain, outputs, cells=cells, degree=degree, **options)
        d = len(domain.names)
        each = cells if isinstance(cells, dict) else dict.fromkeys(self.outputs, cells)
        if set(each) != set(self.outputs):
            raise InputError(
                f"cells by output need an entry for each of {', '.join(self.outputs)}, got {', '.join(each) or 'none'}",
                do="name every output once",
            )
        degrees = degree if isinstance(degree, tuple) else (degree,) * d
        if len(degrees) != d or not all(isinstance(p, int) and 1 <= p <= MOST for p in degrees):
            raise InputError(
                f"Splines needs a degree from 1 to {MOST}, or {d} of them ({', '.join(domain.names)}), got {degree!r}",
                do="give degree= one whole number, or one for each coordinate",
            )
        like = self.coordinates.matrix
        same: dict[Any, list[int]] = {}
        for i, name in enumerate(self.outputs):
            same.setdefault(each[name], []).append(i)
        groups = []
        for given, members in same.items():
            along = given if isinstance(given, tuple) and len(given) == d else (given,) * d
            axes = zip(domain.names, domain.bounds, domain.periodic, along, degrees, strict=True)
            groups.append(_Group([_Axis(*axis).to(like) for axis in axes], members))
        self.groups = nn.ModuleList(groups)
        size = sum(group.size for group in groups)
        self.coefficients = nn.Parameter(torch.zeros(size, dtype=like.dtype, device=like.device))
        low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
        self._low, self._high = low.tolist(), high.tolist()
        self._records: list[LocalValues | None] | None = None

    def encode(self, x: Tensor) -> Tensor:
        """Map points ``(n, d)`` to coordinates in [0, 1]."""
        low, high = (torch.tensor(v, dtype=torch.float64, device=x.device) for v in (self._low, self._high))
        shape, shift = torch.diag(1 / (high - low)), -low / (high - low)
        dtype = self.coefficients.dtype
        if self.origin is not None:
            return F.linear(x, shape, shift).to(dtype)
        return F.linear(x, shape.to(dtype), shift.to(dtype))

    def network(self, features: Tensor) -> Tensor:
        """Map coordinates in [0, 1] ``(n, d)`` to raw outputs ``(n, k)``."""
        if self._records is not None:
            self._records.append(None)
        values: list[Any] = [None] * len(self.outputs)
        for group, own in self._own():
            columns, product = group(features)
            local = own[columns]
            for place, o in enumerate(group.members):
                values[o] = (product * local[..., place]).sum(-1, keepdim=True)
        return torch.cat(values, -1)

    def _own(self) -> Iterator[tuple["_Group", Tensor]]:
        """Yield the groups of outputs with their coefficients, ``(functions, outputs)``."""
        start = 0
        for group in self.groups:
            assert isinstance(group, _Group)
            part = self.coefficients[start : start + group.size]
            start += group.size
            yield group, part.view(-1, len(group.members))

    @torch.no_grad()
    def interpolate(self, values: Callable[[Tensor], Tensor]) -> None:
        """Set the coefficients so that the raw outputs agree with a function in as many places as there are functions.

        Args:
            values: Maps points ``(n, d)`` to raw outputs ``(n, k)``.

        Reference:
            The places are the abscissae of Greville (de Boor, A Practical Guide to Splines, 1978, chapter XIII).
        """
        low, high = torch.tensor(self._low), torch.tensor(self._high)
        for group, own in self._own():
            axes: list[Any] = list(group.axes)
            unit = [torch.from_numpy(axis.centres.copy()).to(own.device).clamp(0, 1) for axis in axes]
            grid = torch.stack(torch.meshgrid(*unit, indexing="ij"), -1).flatten(0, -2)
            points = low.to(grid) + grid * (high - low).to(grid)
            found = values(points)[:, group.members].to(own.dtype).reshape(*group.counts, -1)
            for i, (axis, at) in enumerate(zip(axes, unit, strict=True)):
                (matrix,) = (dense.to(own.dtype) for dense in axis.dense(at, 0))
                moved = found.movedim(i, 0)
                found = torch.linalg.solve(matrix, moved.flatten(1)).reshape(moved.shape).movedim(0, i)
            own.copy_(found.reshape(own.shape))

    @torch.no_grad()
    def collocation(self, most: int) -> list[tuple[Tensor, list[Tensor]]]:
        """Return for each coordinate where values determine a spline, and what its derivatives are by these values.

        Args:
            most: Highest order of derivatives.

        Returns:
            For each coordinate the abscissae of Greville ``(m,)``, in its unit, and the matrices ``(m, m)`` that map
            values there to derivatives of order 0 to ``most``. Of the outputs of the first group.
        """
        found = []
        axes: Any = self.groups[0].axes
        for axis, low in zip(axes, self._low, strict=True):
            unit = torch.from_numpy(axis.centres.copy()).to(self.coefficients.device).clamp(0, 1)
            made = axis.dense(unit, most)
            inverse = torch.linalg.inv(made[0])
            found.append(
                (low + unit * axis.length, [torch.eye(axis.count).to(inverse), *(m @ inverse for m in made[1:])])
            )
        return found

    def known_derivatives(
        self, points: Tensor, wanted: frozenset[tuple[int, ...]]
    ) -> dict[tuple[int, ...], Tensor] | None:
        """Return derivatives in closed form; None where a transform stands behind the splines, or under vmap.

        Args:
            points: Points ``(n, d)``.
            wanted: Multi-indices, as for `nfsolve.diff.partials`.

        Returns:
            For each multi-index the derivative of all outputs, ``(n, k)``.
        """
        return self.raw_derivatives(points, wanted) if self.output_transform is None else None

    def raw_derivatives(
        self, points: Tensor, wanted: Collection[tuple[int, ...]]
    ) -> dict[tuple[int, ...], Tensor] | None:
        """Return derivatives of the outputs before the transform, as `known_derivatives`."""
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # type: ignore[attr-defined]
        if not self.is_local or points.ndim != 2 or points.requires_grad:
            return None
        if wrapped(points) or wrapped(self.coefficients):
            return None
        unit = self.encode(self.cast(points))
        parts: dict[Index, list[Tensor]] = {index: [] for index in wanted}
        columns, cells, factors, start = [], [], [], 0
        for group, own in self._own():
            at, cell, by = group.local(unit, wanted)
            for index, factor in by.items():
                parts[index].append(torch.bmm(factor[:, None], own[at])[:, 0])
            k = len(group.members)
            columns.append((start + at[:, :, None] * k + torch.arange(k, device=at.device)).flatten(1))
            cells.append(cell)
            factors.append(by)
            start += group.size
        members = [group.members for group, _ in self._own()]
        place = torch.tensor([o for each in members for o in each], device=points.device).argsort()
        values = {index: torch.cat(part, 1)[:, place] for index, part in parts.items()}
        if self._records is not None:
            values = {index: value.detach().requires_grad_() for index, value in values.items()}
            self._records.append(LocalValues(torch.cat(columns, 1), torch.stack(cells, 1), factors, members, values))
        return values

    @property
    def is_local(self) -> bool:
        """Whether the coefficients that act at a point are all that the outputs depend on there."""
        return not self._fixed

    @contextmanager
    def recorded(self) -> Iterator[list[LocalValues | None]]:
        """Keep what the derivatives are made of that are asked for meanwhile; None for values without them."""
        self._records = []
        try:
            yield self._records
        finally:
            self._records = None

    def order(self) -> Tensor:
        """Return the place of each coefficient, ``(P,)``, at which those that act at the same points are close.

        The coordinate with most cells is outermost, and a periodic one is folded: its two ends lie next to each other.
        """
        centres = [group.centres() for group, _ in self._own()]
        spans = np.max([group.spans() for group, _ in self._own()], 0)
        outer = int(np.argmin(spans))
        line = np.concatenate([centre[outer] for centre in centres])
        if any(group.axes[outer].periodic for group, _ in self._own()):  # type: ignore[union-attr]
            line = np.minimum(line, 1 - line)
        rest = [np.concatenate([c[i] for c in centres]) for i in range(len(spans)) if i != outer]
        place = np.lexsort((*(np.round(r, 9) for r in rest), np.round(line, 9)))
        found = np.empty(len(line), dtype=np.int64)
        found[place] = np.arange(len(line))
        return torch.from_numpy(found).to(self.coefficients.device)


class _Group(nn.Module):
    """Outputs with the same cells.

    Args:
        axes: B-splines along each coordinate.
        members: Numbers of the outputs.
    """

    def __init__(self, axes: list["_Axis"], members: list[int]):
        super().__init__()
        self.axes, self.members = nn.ModuleList(axes), members
        self.counts = tuple(axis.count for axis in axes)
        self.size = int(np.prod(self.counts)) * len(members)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return which functions act at points in [0, 1]^d and their values; jets may come."""
        columns: Any = None
        product: Any = None
        for i, (axis, count) in enumerate(zip(self.axes, self.counts, strict=True)):
            at, values = axis(features[..., i : i + 1])
            columns = at if columns is None else (columns[..., :, None] * count + at[..., None, :]).flatten(-2)
            product = values if product is None else (product[..., :, None] * values[..., None, :]).flatten(-2)
        return columns, product

    def local(self, unit: Tensor, wanted: Collection[Index]) -> tuple[Tensor, Tensor, dict[Index, Tensor]]:
        """Return which functions act at points in [0, 1]^d, the cells, and derivatives of these functions."""
        single = {index: [self._order(part) for part in _summands(index)] for index in wanted}
        orders = {order for parts in single.values() for order in parts}
        columns: Any = None
        cells: Any = None
        along: list[list[Tensor]] = []
        for i, count in enumerate(self.counts):
            axis: Any = self.axes[i]
            cell, at, values = axis.derivatives(unit[:, i], max(order[i] for order in orders))
            along.append(values)
            cells = cell if cells is None else cells * axis.cells + cell
            columns = at if columns is None else (columns[:, :, None] * count + at[:, None]).flatten(1)
        products: dict[Index, Tensor] = {}
        for order in orders:
            made = along[0][order[0]]
            for i in range(1, len(order)):
                made = (made[:, :, None] * along[i][order[i]][:, None]).flatten(1)
            products[order] = made
        terms = {index: [products[order] for order in parts] for index, parts in single.items()}
        return columns, cells, {index: sum(found[1:], found[0]) for index, found in terms.items()}

    def _order(self, index: Index) -> Index:
        """Return the order of differentiation along each coordinate."""
        return tuple(index.count(i) for i in range(len(self.counts)))

    def centres(self) -> list[np.ndarray]:
        """Return along each coordinate where the functions of all coefficients have their middle, in [0, 1]."""
        grids = np.meshgrid(*(axis.centres for axis in self.axes), indexing="ij")
        return [np.repeat(grid.ravel(), len(self.members)) for grid in grids]

    def spans(self) -> list[float]:
        """Return along each coordinate which part of the functions meets one of them."""
        return [(axis.degree + 1) * (1 + axis.periodic) / axis.count for axis in self.axes]  # type: ignore[operator, union-attr]


def _summands(index: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the plain multi-indices whose derivatives one adds up: a Laplacian has negative entries."""
    return [(-1 - entry, -1 - entry) for entry in index] if index and index[0] < 0 else [index]


class _Axis(nn.Module):
    """B-splines along one coordinate.

    Args:
        name: The coordinate.
        bounds: Where it begins and ends.
        periodic: Whether it repeats.
        cells: Number of equal cells, or their ends.
        degree: Degree.
    """

    breaks: Tensor
    first: Tensor
    tables: Tensor
    starts: Tensor
    widths: Tensor

    def __init__(self, name: str, bounds: tuple[float, float], periodic: bool, cells: Cells, degree: int):
        super().__init__()
        ends = _ends(name, bounds, cells)
        self.degree, self.periodic = degree, bool(periodic)
        breaks, repeats = np.unique(ends, return_counts=True)
        if periodic and ((repeats > 1).any() or len(breaks) - 1 <= degree):
            raise InputError(
                f"Splines of degree {degree} along the periodic {name} need more than {degree} cells, none repeated",
                do="give other cells",
            )
        if (repeats > degree + 1).any():
            raise InputError(
                f"Splines of degree {degree} along {name} cannot have an end more than {degree + 1} times",
                do="give other cells",
            )
        inner = ends[1:-1]
        if periodic:
            left = breaks[-1 - degree : -1] - 1
            knots = np.concatenate([left, breaks, breaks[1 : degree + 1] + 1])
        else:
            knots = np.concatenate([np.zeros(degree + 1), inner, np.ones(degree + 1)])
        self.cells = len(breaks) - 1
        functions = len(knots) - degree - 1
        self.count = functions - degree if periodic else functions
        spans = np.searchsorted(knots, breaks[:-1], side="right") - 1
        first = spans - degree
        middle = np.array([knots[i + 1 : i + degree + 1].mean() for i in range(functions)])
        self.centres = middle[: self.count] % 1.0 if periodic else middle  # abscissae of Greville
        self.register_buffer("breaks", torch.from_numpy(breaks[1:-1].copy()))
        self.register_buffer("starts", torch.from_numpy(breaks[:-1].copy()))
        self.register_buffer("widths", torch.from_numpy(np.diff(breaks)))
        self.register_buffer("first", torch.from_numpy(first.astype(np.float64)))
        self.register_buffer("tables", torch.from_numpy(_polynomials(knots, spans, breaks, degree)))
        self.length = bounds[1] - bounds[0]

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Return which functions act at coordinates ``(n, 1)`` and their values, ``(n, degree + 1)``; jets may come."""
        cell = (
            torch.ge(unit, self.breaks).sum(-1)
            if len(self.breaks)
            else torch.zeros_like(torch.floor(unit[..., 0])).long()
        )
        local = torch.sub(unit, self.starts[cell][..., None]) * (1 / self.widths[cell][..., None])
        table, values = self.tables[cell], None
        for m in reversed(range(self.degree + 1)):
            values = table[..., m] if values is None else values * local + table[..., m]
        return self._columns(cell), values  # type: ignore[return-value]

    def derivatives(self, unit: Tensor, most: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return cells and acting functions at coordinates ``(n,)``, and derivatives of order 0 to ``most``."""
        cell = torch.searchsorted(self.breaks, unit.detach().contiguous(), right=True)
        width = self.widths[cell]
        local = ((unit - self.starts[cell]) / width)[:, None]
        m = torch.arange(self.degree + 1, device=unit.device)
        power = local**m  # (n, degree + 1)
        count = self.degree + 1
        lower = [min(order, count) for order in range(most + 1)]
        powers = [F.pad(power[:, : count - by], (by, 0)) for by in lower]
        scale = 1 / (width * self.length)
        for order in range(1, most + 1):
            factor = torch.ones_like(m)
            for j in range(order):
                factor = factor * (m - j)
            powers[order] = powers[order] * factor * scale[:, None] ** order
        values = torch.bmm(self.tables[cell], torch.stack(powers, 2))
        return cell, self._columns(cell), list(values.unbind(2))

    def dense(self, unit: Tensor, most: int) -> list[Tensor]:
        """Return derivatives of order 0 to ``most`` of all functions at coordinates ``(n,)``, each ``(n, count)``."""
        _, columns, found = self.derivatives(unit, most)
        empty = torch.zeros(len(unit), self.count, dtype=torch.float64, device=unit.device)
        return [empty.scatter_add(1, columns, by.double()) for by in found]

    def _columns(self, cell: Tensor) -> Tensor:
        steps = torch.arange(self.degree + 1, device=cell.device)
        return (self.first[cell].long()[..., None] + steps) % self.count


def _ends(name: str, bounds: tuple[float, float], cells: Cells) -> np.ndarray:
    """Return the ends of cells in [0, 1]."""
    if isinstance(cells, int) and not isinstance(cells, bool):
        if cells < 1:
            raise InputError(f"Splines needs at least 1 cell along {name}, got {cells}")
        return np.linspace(0, 1, cells + 1)
    low, high = bounds
    try:
        ends = (np.asarray(cells, dtype=np.float64) - low) / (high - low)
    except (TypeError, ValueError):
        ends = np.zeros(0)
    slack = 1e-9
    if (
        ends.ndim != 1
        or len(ends) < 2
        or (np.diff(ends) < 0).any()
        or abs(ends[0]) > slack
        or abs(ends[-1] - 1) > slack
    ):
        raise InputError(
            f"cells along {name} must be a number, or ends that ascend from {low:g} to {high:g}, got {cells!r}",
            do=f"write cells=20, or ({low:g}, {(low + high) / 2:g}, {high:g}) in its place",
        )
    ends[0], ends[-1] = 0.0, 1.0
    if (ends[1:-1] <= 0).any() or (ends[1:-1] >= 1).any():
        raise InputError(f"the first and the last end of the cells along {name} must occur once")
    return ends


def _polynomials(knots: np.ndarray, spans: np.ndarray, breaks: np.ndarray, degree: int) -> np.ndarray:
    """Return the coefficients of the functions that act in each cell, in powers of a local coordinate in [0, 1].

    By the recurrence of Cox and de Boor, with polynomials in the place of values.

    Returns:
        ``(cells, degree + 1, degree + 1)``, power last.
    """
    tables = np.zeros((len(spans), degree + 1, degree + 1))
    for i, span in enumerate(spans):
        start, width = breaks[i], breaks[i + 1] - breaks[i]
        rows = np.zeros((degree + 1, degree + 1))  # of the functions span - q .. span, in this order from the end
        rows[degree, 0] = 1.0
        for q in range(1, degree + 1):
            new = np.zeros_like(rows)
            for j in range(degree - q, degree + 1):
                f = span - degree + j
                if knots[f + q] > knots[f]:  # (x - knots[f]) / (...)
                    scale = 1 / (knots[f + q] - knots[f])
                    new[j] += scale * (start - knots[f]) * rows[j]
                    new[j, 1:] += scale * width * rows[j, :-1]
                if j < degree and knots[f + q + 1] > knots[f + 1]:
                    scale = 1 / (knots[f + q + 1] - knots[f + 1])
                    new[j] += scale * (knots[f + q + 1] - start) * rows[j + 1]
                    new[j, 1:] -= scale * width * rows[j + 1, :-1]
            rows = new
        tables[i] = rows
    return tables
