"""The method of lines: a PDE on a box as ordinary differential equations for values of splines in space.

u(t, x) is a spline in space whose values at the abscissae of Greville change with time. There the equations give its
rate; conditions on the sides give the values at the ends of the box, and equations without a time derivative, such as
p = a u_x, their unknowns (E. Schiesser, The Numerical Method of Lines, 1991; on collocation of splines: de Boor &
Swartz, SIAM J. Numer. Anal. 10 (1973) 582).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve.diff.jets import summands
from nfsolve.domains import Box, periodic
from nfsolve.fields import Splines
from nfsolve.linalg.stabilized import Unstable, integrate, rayleigh, spectral_radius
from nfsolve.problem import orders_along
from nfsolve.problem.pde.conditions import arguments
from nfsolve.problem.pde.evaluate import values
from nfsolve.problem.rows import Rows

Orders = tuple[int, ...]
Index = tuple[int, ...]

ZERO = 1e-12  # part of the largest entry, below which one is none
SINGULAR = 1e12  # condition number, from which equations do not determine their unknowns
LINEAR = 1e-8  # part of a residual at zero, that a linear one may leave
CHUNK = 64  # unknowns at the sides, whose effect is found at once
PROBE, CHECKED = 0.37, 0.83  # parts of the time, at which the form of conditions on sides is looked at
REAL = 0.7  # part of the spectral radius, from which an eigenvalue counts as negative
STAGES = 12  # evaluations in a step of an explicit method of order 8
STABLE = 3.0  # times one over the spectral radius, that such a step is long, with those that are rejected
DAMPED = 0.1  # of the speed of values in places a unit of time, with which the shortest waves decay
LOOKED = (0.0, 0.03, 0.13, 0.37, 0.71)  # parts of the time, at which a source is looked at for the scale of values
LOOK = 10  # steps between looks at the speed
TRIED = 10  # evaluations that tell what one takes
MOST_KEPT = 2e7  # numbers that a track keeps
SPLIT = 0.08  # of the time, that explicit steps may take where a stabilized method may be cheaper


class NotLines(Exception):
    """A problem is not one for the method of lines; the message says why."""


@dataclass
class Side:
    """A condition on one side of the box.

    Attributes:
        name: The residual.
        axis: Number of the coordinate of space.
        end: 0 or -1.
        sign: Of the outward normal.
    """

    name: str
    axis: int
    end: int
    sign: float


class Lines:
    """A problem as a system of ordinary differential equations.

    Args:
        problem: The problem on a `Box` with a time.
        cells: For each coordinate of space a number of cells, or their ends.
        degree: Degree of the splines.
        device: Where it is evaluated.

    Attributes:
        start: The state at the first time, ``(m,)``.
        bound: Largest value that a state may have; beyond it a march ends as an unstable one.

    Raises:
        NotLines: The problem is of another kind.
    """

    def __init__(self, problem: Any, cells: Sequence[Any], degree: int, device: Any = "cpu"):
        self.problem, domain = problem, problem.domain
        self.names, self.outputs, self.device = domain.names, problem.outputs, device
        self.t = domain.index("t")
        self.columns = [i for i in range(len(self.names)) if i != self.t]
        self.k = len(self.outputs)
        self.inner, self.first, sides = sorted_conditions(problem)
        methods = {name: problem.method(name) for name in problem.conditions()}
        self._methods = {name: (method, arguments(method)) for name, method in methods.items()}
        orders = [
            max(orders_along(problem, name, column).values(), default=0)
            for name in problem.conditions()
            for column in self.columns
        ]
        if max(orders) > degree - 1:
            raise NotLines(f"derivatives of order {max(orders)}")
        space = {}
        for i in self.columns:
            low, high = domain.bounds[i]
            space[self.names[i]] = periodic(low, high) if domain.periodic[i] else (low, high)
        spline = Splines(
            Box(**space), tuple(f"u{i}" for i in range(self.k)), cells=tuple(cells), degree=degree, dtype=torch.float64
        )
        found = spline.to(device).collocation(degree - 1)
        self.places = [places for places, _ in found]
        self.matrices = [matrices for _, matrices in found]
        self.counts = tuple(len(places) for places in self.places)
        grid = torch.stack(torch.meshgrid(*self.places, indexing="ij"), -1).flatten(0, -2)
        self.n = len(grid)
        self.points = torch.zeros(self.n, len(self.names), dtype=torch.float64, device=device)
        self.points[:, self.columns] = grid
        self.number = torch.arange(self.n, device=device).reshape(self.counts)
        self.low, self.high = domain.bounds[self.t]
        self._sort_unknowns()
        self._edge, self.bound = _Edge(self, sides), math.inf
        self.carried: dict[int, float] = {}
        self._differences, self._widths = {}, []
        for axis, (places, column) in enumerate(zip(self.places, self.columns, strict=True)):
            wraps = domain.periodic[column]
            shape = [1] * len(self.counts)
            shape[axis] = len(places)
            width = _widths(places, domain.bounds[column], wraps)
            self._widths.append(width.reshape(shape).expand(self.counts).flatten())
            if any(orders_along(problem, name, column).get(out, 0) for name in self.balances for out in self.outputs):
                self._differences[axis] = _differences(len(places), wraps).to(grid)
        self.start = self._start()

    # What is unknown

    def _sort_unknowns(self) -> None:
        """Find which unknowns have a rate, which a second one, and which are given by the others."""
        orders = torch.zeros(self.k, dtype=torch.long)
        for name in self.inner:
            for out, order in orders_along(self.problem, name, self.t).items():
                i = self.outputs.index(out)
                orders[i] = max(int(orders[i]), order)
        if orders.max() > 2 or orders.max() < 1:
            raise NotLines("no time derivative, or one of order 3")
        self.orders = orders
        self.moving = [i for i in range(self.k) if orders[i] > 0]
        self.given = [i for i in range(self.k) if orders[i] == 0]
        self.second = [i for i in range(self.k) if orders[i] == 2]
        generator = torch.Generator().manual_seed(0)
        some = torch.rand(2, self.n, self.k, generator=generator, dtype=torch.float64).to(self.device)
        middle = self.low + PROBE * (self.high - self.low)
        sizes = {
            name: self._slopes([name], self.moving, middle, some[0], some[1], rates=True).abs().amax((0, 2))
            for name in self.inner
        }
        largest = max(float(size.max()) for size in sizes.values())
        entries = {name: [bool(entry) for entry in size > ZERO * largest] for name, size in sizes.items()}
        mixed = [name for name, moves in entries.items() if any(moves) and not all(moves)]
        if mixed:
            raise NotLines(f"{mixed[0]} has a time derivative in some of its entries only")
        self.balances = [name for name in self.inner if any(entries[name])]
        self.relations = [name for name in self.inner if not any(entries[name])]
        for names, unknowns in ((self.balances, self.moving), (self.relations, self.given)):
            count = sum(len(entries[name]) for name in names)
            if count != len(unknowns):
                raise NotLines(f"{count} equations for {len(unknowns)} unknowns")
        for name in self.relations:
            spatial = _spatial(self.problem, name, self.columns)
            if any(self.outputs[i] in spatial for i in self.given):
                raise NotLines(f"{name} is no equation for values alone")
        args = (middle, some[0], some[1]), (self.low, some[1], some[0])
        self._mass = self._constant(self.balances, self.moving, args, True)
        self._own = self._constant(self.relations, self.given, args, False) if self.given else None

    def _constant(self, names: list[str], unknowns: list[int], args: Any, rates: bool) -> Tensor | None:
        """Return the inverse of the derivative of equations by unknowns, if that is the same everywhere."""
        matrix, other = (self._slopes(names, unknowns, *some, rates=rates) for some in args)
        if not bool(torch.linalg.cond(matrix).max() < SINGULAR):
            raise NotLines(f"{', '.join(names)} do not determine {', '.join(self.outputs[i] for i in unknowns)}")
        alike = max(float((matrix - matrix[:1]).abs().max()), float((matrix - other).abs().max()))
        return torch.linalg.inv(matrix[0]) if alike <= ZERO * float(matrix.abs().max()) else None

    def _slopes(self, names: list[str], unknowns: list[int], t: float, u: Tensor, w: Tensor, rates: bool) -> Tensor:
        """Return the derivative of equations by the highest rates, or the values, of unknowns, ``(n, rows, m)``."""
        state = _State(self, u, w)
        base, found = self._interior(names, t, state), []
        for i in unknowns:
            if rates:
                state.v = torch.zeros_like(u)
                state.v[:, i] = 1.0
            else:
                moved = u.clone()
                moved[:, i] += 1.0
                state = _State(self, moved, w)
            found.append(self._interior(names, t, state) - base)
        return torch.stack(found, 2)

    def _interior(self, names: list[str], t: float, state: "_State") -> Tensor:
        """Return the residuals of equations inside, ``(n, rows)``."""
        self.points[:, self.t] = t
        rows = Rows(self.points)
        return torch.cat([self.residual(name, state, rows) for name in names], 1)

    def residual(self, name: str, state: "_State", rows: Rows) -> Tensor:
        """Return a residual at rows, ``(n, m)``."""
        method, wanted = self._methods[name]
        found = values(wanted, state, rows, self.outputs, self.names, self.problem.domain.space)
        return method(*(found[key] for key in wanted))

    # Derivatives in space

    def derive(self, u: Tensor, orders: Orders, side: Side | None = None) -> Tensor:
        """Return a derivative in space of values ``(n, k)`` on the grid, on all of it or on one side."""
        found = u.reshape(*self.counts, -1)
        for axis, order in enumerate(orders):
            if side is not None and axis == side.axis:
                if order == 0:
                    found = found.narrow(axis, 0 if side.end == 0 else self.counts[axis] - 1, 1)
                else:
                    found = _along(self.matrices[axis][order][[side.end]], found, axis)
            elif order:
                found = _along(self.matrices[axis][order], found, axis)
        return found.reshape(-1, u.shape[1])

    # The system

    def _start(self) -> Tensor:
        """Return the state that the conditions at the first time ask for."""
        u, w = (torch.zeros(self.n, self.k, dtype=torch.float64, device=self.device) for _ in range(2))
        self.points[:, self.t] = self.low
        rows = Rows(self.points)

        def left(u: Tensor, w: Tensor) -> Tensor:
            state = _State(self, u, w, still=True)
            return torch.cat([self.residual(name, state, rows) for name in self.first], 1)

        places = [(u, i) for i in self.moving] + [(w, i) for i in self.second]
        base, slopes = left(u, w), []
        for part, i in places:
            part[:, i] = 1.0
            slopes.append(left(u, w) - base)
            part[:, i] = 0.0
        matrix = torch.stack(slopes, 2)
        if matrix.shape[1] < len(places):
            raise NotLines("too few conditions at the first time")
        inverse = torch.linalg.pinv(matrix, rtol=1e-10)
        if not bool((torch.linalg.matrix_rank(matrix, rtol=1e-10) == len(places)).all()):
            raise NotLines("conditions at the first time that do not determine all unknowns")
        found = -(inverse @ base[:, :, None])[:, :, 0]
        for j, (part, i) in enumerate(places):
            part[:, i] = found[:, j]
        after = left(u, w)
        if not bool(after.abs().max() <= LINEAR * (base.abs().max() + 1e-300)):
            raise NotLines("conditions at the first time that are not linear")
        return self._packed(u, w)

    def _packed(self, u: Tensor, w: Tensor) -> Tensor:
        return torch.cat([u[self._edge.free], w[self._edge.free_second]])

    def fields(self, t: float, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return all values and first rates ``(n, k)`` of a state."""
        u, w = (torch.zeros(self.n, self.k, dtype=torch.float64, device=self.device) for _ in range(2))
        count = int(self._edge.free.sum())
        u[self._edge.free], w[self._edge.free_second] = y[:count], y[count:]
        self._edge.fill(t, u, self.moving)
        if self.given:
            self._fill_given(t, u, w)
            self._edge.fill(t, u, self.given)
        return u, w

    def _fill_given(self, t: float, u: Tensor, w: Tensor) -> None:
        """Solve for the unknowns that have no rate; their equations are linear in their values."""
        left = self._interior(self.relations, t, _State(self, u, w))
        if self._own is not None:
            u[:, self.given] -= left @ self._own.T
        else:
            slopes = self._slopes(self.relations, self.given, t, u, w, rates=False)
            u[:, self.given] -= torch.linalg.solve(slopes, left)

    def rate(self, t: float, y: Tensor) -> Tensor:
        """Return the derivative of a state ``(m,)`` with respect to time."""
        u, w = self.fields(t, y)
        left = self._interior(self.balances, t, _State(self, u, w))
        if self._mass is not None:
            highest = -left @ self._mass.T
        else:
            highest = -torch.linalg.solve(self._slopes(self.balances, self.moving, t, u, w, rates=True), left)
        v = torch.zeros_like(u)
        v[:, self.moving] = highest
        v -= self._damping(u)
        slow = v.clone()
        slow[:, self.second] = w[:, self.second]
        return torch.cat([slow[self._edge.free], v[self._edge.free_second]])

    def _damping(self, u: Tensor) -> Tensor:
        """Return what damps waves as short as cells, which grow where values are carried, by twelfth differences."""
        if not self.carried:
            return torch.zeros_like(u)
        grid, total = u.reshape(*self.counts, self.k), torch.zeros_like(u)
        for axis, speed in self.carried.items():
            total += speed * _along(self._differences[axis], grid, axis).reshape(-1, self.k)
        total[:, [i for i in range(self.k) if self.orders[i] != 1]] = 0.0
        return total

    @torch.no_grad()
    def look(self, t: float, u: Tensor, w: Tensor) -> None:
        """Find how fast values are carried along each coordinate, in its places a unit of time."""
        state = _State(self, u, w)
        state.leaves = {}
        self.points[:, self.t] = t
        rows, speeds = Rows(self.points), dict.fromkeys(self._differences, 0.0)
        with torch.enable_grad():
            residuals = [self.residual(name, state, rows) for name in self.balances]
            for entry in torch.cat(residuals, 1).unbind(1):
                for axis in speeds:
                    leaf = state.leaves.get((self.columns[axis],))
                    if leaf is None:
                        continue
                    (slope,) = torch.autograd.grad(entry.sum(), leaf, retain_graph=True, allow_unused=True)
                    if slope is not None:
                        speeds[axis] = max(speeds[axis], float((slope.amax(1).abs() / self._widths[axis]).max()))
        self.carried = {axis: DAMPED * speed for axis, speed in speeds.items() if speed > 0}

    # Integration in time

    def march(self, times: Sequence[float], rtol: float, left: Callable[[], float]) -> tuple[Tensor, bool]:
        """Integrate from the first time.

        Args:
            times: Ascending times at which the values are wanted.
            rtol: Relative tolerance of a step.
            left: Returns the seconds that are left.

        Returns:
            Values ``(times, n, k)``, and whether the stabilized method was used.

        Raises:
            Unstable: Steps became too small, or the time ended.
        """
        states, stiff = self._integrate([self.low, *times], rtol, lambda *_: left() < 0, left())
        return self._values(times, states[1:]), stiff

    def track(self, rtol: float, left: Callable[[], float]) -> tuple["Track", bool]:
        """Integrate to the last time and keep what happens at the steps; arguments and errors as for `march`."""
        kept: list[tuple[float, np.ndarray, np.ndarray]] = []

        def keep(t: float, y: np.ndarray, slope: np.ndarray) -> bool:
            if not kept or t > kept[-1][0]:  # a step that was rejected begins again
                kept.append((t, y.copy(), slope.copy()))
            if len(kept) * len(y) > MOST_KEPT:
                del kept[1::2]
            return left() < 0

        states, stiff = self._integrate([self.low, self.high], rtol, keep, left())
        kept.append((self.high, states[-1], self._rate(self.high, states[-1])))
        return Track(self, kept), stiff

    def _integrate(
        self, times: list[float], rtol: float, stop: Callable[..., bool], seconds: float
    ) -> tuple[list[np.ndarray], bool]:
        y = self.start.cpu().numpy()
        if self._differences:
            self.look(self.low, *self.fields(self.low, self.start))
        length = self.high - self.low
        slopes = [self._rate(self.low + part * length, y) for part in LOOKED]  # of what begins at zero, at rest
        sizes = [float(np.sqrt(np.mean(y**2))), *(1e-2 * length * float(np.sqrt(np.mean(s**2))) for s in slopes)]
        atol = rtol * max(*sizes, 1e-300)
        stiff = self._is_stiff(y, seconds)

        steps = 0

        def watched(t: float, y: np.ndarray, slope: np.ndarray) -> bool:
            nonlocal steps
            steps += 1
            if self._differences and steps % LOOK == 1:
                self.look(t, *self.fields(t, torch.from_numpy(y).to(self.device)))
            if not np.abs(y).max() <= self.bound:
                raise Unstable(f"values grow without bound at t = {t:g}")
            return stop(t, y, slope)

        return (integrate if stiff else explicit)(self._rate, y, times, rtol, atol, watched), stiff

    def _rate(self, t: float, y: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.rate(t, torch.from_numpy(y).to(self.device)).cpu().numpy()

    def _values(self, times: Sequence[float], states: Sequence[np.ndarray]) -> Tensor:
        found = torch.empty(len(times), self.n, self.k, dtype=torch.float64)
        with torch.no_grad():
            for i, (t, y) in enumerate(zip(times, states, strict=True)):
                found[i] = self.fields(t, torch.from_numpy(np.asarray(y)).to(self.device))[0].cpu()
        return found

    def _is_stiff(self, y: np.ndarray, seconds: float) -> bool:
        """Return whether diffusion makes the steps of an explicit method too many."""
        slope, rate = self._rate(self.low, y), self._rate
        began = time.perf_counter()
        for _ in range(TRIED):
            rate(self.low, y)
        each = (time.perf_counter() - began) / TRIED
        radius, direction = spectral_radius(rate, self.low, y, slope, None)
        taken = STAGES * radius * (self.high - self.low) / STABLE * each
        return rayleigh(rate, self.low, y, slope, direction) < -REAL * radius and taken > SPLIT * seconds


class Track:
    """What an integration went through, step by step.

    Args:
        lines: The system.
        kept: Time, state and slope of steps.
    """

    def __init__(self, lines: Lines, kept: list[tuple[float, np.ndarray, np.ndarray]]):
        from scipy.interpolate import CubicHermiteSpline

        self._lines = lines
        self.times = [t for t, _, _ in kept]
        self._between = CubicHermiteSpline(
            self.times, np.stack([y for _, y, _ in kept]), np.stack([s for *_, s in kept])
        )

    def at(self, times: Sequence[float]) -> Tensor:
        """Return values ``(times, n, k)``, by cubic interpolation between steps."""
        return self._lines._values(times, [self._between(t) for t in times])


def explicit(
    rate: Any, y: np.ndarray, times: Sequence[float], rtol: float, atol: float, stop: Callable[..., bool]
) -> list[np.ndarray]:
    """Integrate by the method of order 8 of Dormand and Prince; arguments and errors as for `integrate`."""
    from scipy.integrate import DOP853

    solver = DOP853(rate, times[0], y, times[-1], rtol=rtol, atol=atol)
    found = [y]
    while solver.status == "running":
        if stop(float(solver.t), solver.y, solver.f):
            raise Unstable("the time is up")
        solver.step()
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            raise Unstable(f"steps became too small at t = {solver.t:g}")
        between = None
        while len(found) < len(times) and times[len(found)] <= solver.t:
            between = between or solver.dense_output()
            found.append(between(times[len(found)]))
    return found


class _State:
    """Values of a spline at its places at one time, in the place of a field.

    Args:
        lines: The system.
        u: Values ``(n, k)``.
        w: First rates of those that have a second one ``(n, k)``.
        still: Whether no derivative in space may be asked for.
        sides: The sides on which it is evaluated, one after the other; none for all places.
    """

    def __init__(self, lines: Lines, u: Tensor, w: Tensor, still: bool = False, sides: Sequence[Side] = ()):
        self.lines, self.u, self.w, self.v = lines, u, w, torch.zeros_like(u)
        self.still, self.sides = still, sides
        self.leaves: dict[Index, Tensor] | None = None
        self._known: dict[Orders, Tensor] = {}

    def known_derivatives(self, points: Tensor, wanted: Any) -> dict[Index, Tensor]:
        """Return derivatives ``(n, k)`` at the places of the spline."""
        found = {index: sum_of([self._one(part) for part in summands(index)]) for index in wanted}
        if self.leaves is not None:
            found = {index: value.detach().requires_grad_() for index, value in found.items()}
            self.leaves |= found
        return found

    def _one(self, index: Index) -> Tensor:
        lines = self.lines
        rates = index.count(lines.t)
        orders = tuple(index.count(column) for column in lines.columns)
        if rates and (any(orders) or self.sides):
            raise NotLines("derivatives in time and space at once, or in time on a side")
        if rates == 2:
            return self.v
        if rates:
            found = self.v.clone()
            found[:, lines.second] = self.w[:, lines.second]
            return found
        if self.still and any(orders):
            raise NotLines("derivatives in space at the first time")
        if orders not in self._known:
            parts = [lines.derive(self.u, orders, side) for side in self.sides or (None,)]
            self._known[orders] = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self._known[orders]

    def __call__(self, points: Tensor) -> Tensor:
        """Refuse to be evaluated elsewhere."""
        raise NotLines("values at other points")


@dataclass
class _Held:
    """A condition on sides, with its places.

    Attributes:
        name: The residual.
        sides: Its sides.
        rows: Their places, one side after the other.
        numbers: The numbers of these places.
        slopes: Multi-index -> its derivative by that of the unknowns, ``(n, m, k)``.
    """

    name: str
    sides: list[Side]
    rows: Rows
    numbers: Tensor
    slopes: dict[Index, Tensor]

    def unknowns(self, given: list[int]) -> list[int]:
        """Return which unknowns it determines: those without a rate, such as fluxes, if it names some, else all."""
        acting = sum_of([value.abs().amax((0, 1)) for value in self.slopes.values()]) > 0
        named = [i for i, acts in enumerate(acting.tolist()) if acts]
        return [i for i in named if i in given] or named


class _Edge:
    """Values at the sides of the box, which the conditions there determine.

    Args:
        lines: The system.
        sides: The conditions, on each side.
    """

    def __init__(self, lines: Lines, sides: list[Side]):
        self.lines = lines
        known = torch.zeros(lines.n, lines.k, dtype=torch.bool, device=lines.device)
        self.held: list[_Held] = []
        for name in dict.fromkeys(side.name for side in sides):
            held = self._held(name, [side for side in sides if side.name == name])
            for i in held.unknowns(lines.given):
                known[held.numbers, i] = True
            self.held.append(held)
        self.known = known
        moving, second = torch.zeros_like(known), torch.zeros_like(known)
        moving[:, lines.moving], second[:, lines.second] = True, True
        self.free, self.free_second = moving & ~known, second & ~known
        self._solvers: dict[tuple[int, ...], tuple[list[_Held], Tensor, Tensor]] = {}

    def _held(self, name: str, sides: list[Side]) -> _Held:
        lines = self.lines
        numbers, normals = [], []
        for side in sides:
            numbers.append(lines.number.select(side.axis, side.end).flatten())
            normal = torch.zeros(len(numbers[-1]), len(lines.names), dtype=torch.float64, device=lines.device)
            normal[:, lines.columns[side.axis]] = side.sign
            normals.append(normal)
        at = torch.cat(numbers)
        rows = Rows(lines.points[at], torch.cat(normals))
        rows.points[:, lines.t] = lines.low + PROBE * (lines.high - lines.low)
        u = torch.full((lines.n, lines.k), 0.5, dtype=torch.float64, device=lines.device)
        state = _State(lines, u, torch.zeros_like(u), sides=sides)
        state.leaves = {}
        with torch.enable_grad():
            residual = lines.residual(name, state, rows)
            leaves = list(state.leaves.values())
            found: dict[Index, list[Tensor]] = {index: [] for index in state.leaves}
            for m in range(residual.shape[1]):
                grads = torch.autograd.grad(residual[:, m].sum(), leaves, retain_graph=True, allow_unused=True)
                for index, leaf, grad in zip(found, leaves, grads, strict=True):
                    found[index].append(torch.zeros_like(leaf) if grad is None else grad)
        return _Held(name, sides, rows, at, {index: torch.stack(parts, 1) for index, parts in found.items()})

    def fill(self, t: float, u: Tensor, members: list[int]) -> None:
        """Set the values of some unknowns at the sides."""
        key = tuple(members)
        if key not in self._solvers:
            self._solvers[key] = self._solver(members)
            self._check(t, u, key)
        acting, place, inverse = self._solvers[key]
        if len(place):
            u.view(-1)[place] -= inverse @ self._left(t, u, acting)

    def _check(self, t: float, u: Tensor, key: tuple[int, ...]) -> None:
        """Refuse conditions that one linear correction does not satisfy."""
        acting, place, inverse = self._solvers[key]
        for at in (t, self.lines.low + CHECKED * (self.lines.high - self.lines.low)):
            if len(place):
                moved = u.clone()
                before = self._left(at, moved, acting)
                moved.view(-1)[place] -= inverse @ before
                after = self._left(at, moved, acting)
                if not bool(after.abs().max() <= LINEAR * (before.abs().max() + moved.abs().max() + 1e-300)):
                    raise NotLines("conditions on sides that are not linear, or change their form with time")

    def _left(self, t: float, u: Tensor, acting: list[_Held]) -> Tensor:
        found = []
        for held in acting:
            held.rows.points[:, self.lines.t] = t
            state = _State(self.lines, u, u, sides=held.sides)
            found.append(self.lines.residual(held.name, state, held.rows).flatten())
        return torch.cat(found)

    def _solver(self, members: list[int]) -> tuple[list[_Held], Tensor, Tensor]:
        """Return conditions, the places of values ``(b,)``, and what corrects these by what is left, ``(b, r)``."""
        lines = self.lines
        wanted = torch.zeros_like(self.known)
        wanted[:, members] = self.known[:, members]
        place = wanted.view(-1).nonzero()[:, 0]
        acting = [held for held in self.held if set(held.unknowns(lines.given)) & set(members)]
        if not len(place):
            return acting, place, place
        blocks = []
        for some in place.split(CHUNK):
            point, out = some // lines.k, some % lines.k
            units = torch.zeros(lines.n, len(some), dtype=torch.float64, device=lines.device)
            units[point, torch.arange(len(some), device=lines.device)] = 1.0
            blocks.append(torch.cat([self._effect(held, units, out).flatten(0, 1) for held in acting]))
        matrix = torch.cat(blocks, 1)
        gram = matrix.T @ matrix
        own = gram.diagonal().clone()
        if bool((own > 0).all()) and bool((gram - own.diag()).abs().max() <= ZERO * own.max()):  # of known values
            return acting, place, matrix.T / own[:, None]
        singular = torch.linalg.svdvals(matrix)
        if len(singular) < len(place) or not bool(singular[-1] > 1e-10 * singular[0]):
            raise NotLines("conditions on sides that do not determine the values there")
        return acting, place, torch.linalg.pinv(matrix)

    def _effect(self, held: _Held, units: Tensor, out: Tensor) -> Tensor:
        """Return what unit values ``(n, c)`` of some unknowns ``(c,)`` do to a condition, ``(rows, m, c)``."""
        total: Any = 0.0
        for index, slope in held.slopes.items():
            for part in summands(index):
                orders = tuple(part.count(column) for column in self.lines.columns)
                moved = torch.cat([self.lines.derive(units, orders, side) for side in held.sides])
                total = total + slope[:, :, out] * moved[:, None]
        return total


def _widths(places: Tensor, bounds: tuple[float, float], wraps: bool) -> Tensor:
    """Return the mean distance of places from their neighbours, ``(m,)``."""
    order = places.argsort()
    line = places[order]
    if wraps:
        length = bounds[1] - bounds[0]
        line = torch.cat([line[-1:] - length, line, line[:1] + length])
    else:
        line = torch.cat([2 * line[:1] - line[1:2], line, 2 * line[-1:] - line[-2:-1]])
    return ((line[2:] - line[:-2]) / 2)[order.argsort()]


def _differences(m: int, wraps: bool) -> Tensor:
    """Return the square of the sixth differences of m values in a row, ``(m, m)``, with eigenvalues of at most 1."""
    eye = torch.eye(m, dtype=torch.float64)
    difference = eye
    for _ in range(6):
        difference = difference.roll(-1, 0) - difference if wraps else difference[1:] - difference[:-1]
    return difference.T @ difference / 4096


def sum_of(parts: list[Tensor]) -> Tensor:
    """Return the sum of tensors."""
    return sum(parts[1:], parts[0])


def _along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    """Apply a matrix along an axis of a grid."""
    moved = values.movedim(axis, 0)
    return (matrix @ moved.reshape(moved.shape[0], -1)).reshape(-1, *moved.shape[1:]).movedim(0, axis)


def _spatial(problem: Any, name: str, columns: list[int]) -> set[str]:
    """Return the unknowns whose derivatives in space a residual names."""
    return {out for column in columns for out, order in orders_along(problem, name, column).items() if order}


def sorted_conditions(problem: Any) -> tuple[list[str], list[str], list[Side]]:
    """Sort the conditions of a problem: equations inside, conditions at the first time, and on sides.

    Raises:
        NotLines: There is one of another kind.
    """
    domain = problem.domain
    if not isinstance(domain, Box) or "t" not in domain.names:
        raise NotLines("a domain that is no box with a time")
    t = domain.index("t")
    columns = [i for i in range(len(domain.names)) if i != t]
    inner, first, sides = [], [], []
    for name, condition in problem.conditions().items():
        if condition.where is not None or condition.fixed or condition.together:
            raise NotLines(f"{name} holds on a part only")
        if condition.kind == "interior":
            inner.append(name)
        elif condition.kind == "face":
            for column, value, sign in domain.face(condition.sides):
                if column == t:
                    if value != domain.bounds[t][0]:
                        raise NotLines(f"{name} holds at another time than the first")
                    first.append(name)
                else:
                    sides.append(_side(domain, name, columns.index(column), column, value, sign))
        elif condition.kind == "boundary":
            around = {
                f"{domain.names[column]}={value:g}": (axis, column, value, sign)
                for axis, column in enumerate(columns)
                for value, sign in zip(domain.bounds[column], (-1.0, 1.0), strict=True)
                if not domain.periodic[column]
            }
            if not set(condition.part) <= set(around):
                raise NotLines(f"{name} holds on a part of the boundary that is no side in space")
            sides += [_side(domain, name, *around[part]) for part in condition.part or around]
        else:
            raise NotLines(f"{name} is a condition of the kind {condition.kind}")
    if not inner or not first:
        raise NotLines("no equation or no condition at the first time")
    return inner, first, sides


def _side(domain: Any, name: str, axis: int, column: int, value: float, sign: float) -> Side:
    low, high = domain.bounds[column]
    if value not in (low, high):
        raise NotLines(f"{name} holds inside")
    return Side(name, axis, 0 if value == low else -1, sign)
