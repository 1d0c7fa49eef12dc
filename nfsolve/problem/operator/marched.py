"""Evolution equations solved for many input functions: waves along periodic coordinates, RODAS in time.

The residuals are solved for the time derivatives at points of a grid, and the state there is marched by the Rosenbrock
method of order 4 of E. Hairer & G. Wanner, Solving Ordinary Differential Equations II (1996), section IV.7, which takes
one matrix a step for all its six stages and has no limit of stability. Its error is estimated by the method of order 3
within it, and steps are as long as the function of a batch that needs the shortest ones allows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.diff import Unsupported, parse
from nfsolve.fields.tensor_basis import Side, nodes
from nfsolve.problem.operator.expansion import Expansion, Sums, Table, along_axes
from nfsolve.problem.operator.families import Coefficients
from nfsolve.problem.pde.conditions import arguments
from nfsolve.problem.problem import SamplerState
from nfsolve.problem.rows import FunctionRows, Rows

TOLERANCE = 3e-5  # of a step by the estimate of lower order, far above its error, relative to the solution
MEMORY = 2**22  # numbers in the matrices of a batch
BATCH = 64  # functions at most, which take common steps
SMALLEST = 1e-6  # step, as a part of the whole time
AFFINE = 1e-8  # by what a residual may differ from an affine one, relative
NEAR = 1e-7  # step of a difference quotient in time, as a part of the whole time

GAMMA = 0.25
STAGES: tuple[tuple[float, ...], ...] = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895, 1.0),
)
COUPLINGS: tuple[tuple[float, ...], ...] = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
)
TIMES = (0.0, 0.386, 0.21, 0.63, 1.0, 1.0)
SLOPES = (0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0)


def time_of(problem: Any) -> int | str:
    """Return the number of the coordinate along which a problem on a box can be marched; or why there is none."""
    free = [i for i, wraps in enumerate(problem.domain.periodic) if not wraps]
    if len(free) != 1 or len(problem.domain.names) < 2:
        return "not all coordinates but one are periodic"
    (axis,) = free
    name, low = problem.domain.names[axis], problem.domain.bounds[axis][0]
    for title, condition in problem.conditions().items():
        if condition.kind == "interior":
            found = [along for along in _derivatives(problem, title) if axis in along]
            if any(along != (axis,) for along in found):
                return f"'{title}' has other derivatives along {name} than the first one"
        elif condition.kind != "face" or condition.sides != {name: low}:
            return f"'{title}' is not an initial value"
    return axis


def _derivatives(problem: Any, title: str) -> list[tuple[int, ...]]:
    """Return the derivatives of unknowns that a residual names, each as the columns along which it differentiates."""
    found = []
    for text in arguments(problem.method(title)):
        if text.partition("_")[0] in problem.outputs or text.startswith("lap_"):
            found.append(parse(text, problem.outputs, problem.domain.names).along)
    return found


class Marcher(Expansion):
    """Solves evolution equations for many functions at once.

    Args:
        problem: The operator problem.
        sides: The box.
        sizes: Functions of the basis along each coordinate; along the periodic ones also points of the grid.
        axis: Which coordinate is the time.

    Raises:
        Unsupported: The residuals do not determine the time derivatives.
    """

    warm = False

    def __init__(self, problem: Any, sides: Sequence[Side], sizes: Sequence[int], axis: int):
        super().__init__(problem, sides, sizes)
        self.axis, (self.low, high, _) = axis, self.sides[axis]
        self.span = high - self.low
        here = (self.low - 1, self.low + 1, False)  # functions 1 and t - low
        pair: list[Side] = [here if i == axis else side for i, side in enumerate(self.sides)]
        self.state = Sums(pair, [2 if i == axis else n for i, n in enumerate(self.sizes)], self.k)
        self.grid = [nodes([s], [n])[:, 0] for i, (s, n) in enumerate(zip(self.sides, self.sizes, strict=True))]
        self.n = self.m // self.sizes[axis]
        space = [square for i, square in enumerate(self._squares()) if i != axis]
        self.analysis = [torch.linalg.inv(square) for square in space]
        self.points: dict[str, Rows] = {}
        self.seen: dict[str, list[Tensor]] = {}
        chance = generator(0, "points of equations")
        for name, condition in problem.conditions().items():
            rows = problem.rows_on(name, condition, problem._count(condition, SamplerState()), chance)
            self.points[name], self.seen[name] = replace(rows, points=self._places(self.low)), []
        kinds = {name: condition.kind for name, condition in problem.conditions().items()}
        self.inner = [name for name, kind in kinds.items() if kind == "interior"]
        self.first = [name for name, kind in kinds.items() if kind == "face"]
        self.batch = max(1, min(BATCH, MEMORY // (self.n * self.k) ** 2))
        time = problem.domain.names[axis]
        self.drifts = time in " ".join(problem.inputs.values()).split()  # input functions depend on the time
        self.moving = self.drifts or any(time in arguments(problem.method(name)) for name in self.inner)

    def solve(self, drawn: Coefficients, start: Tensor | None) -> Tensor:
        """March; as in `Expansion`. A start is not needed."""
        times = self.grid[self.axis]
        values = self._march(drawn, self._initial(drawn), times)
        space = [n for i, n in enumerate(self.sizes) if i != self.axis]
        wanted = torch.stack([v.unflatten(1, space) for v in values], 1 + self.axis).flatten(1, -2)
        return self.fitted(drawn, wanted)

    def _places(self, t: float) -> Tensor:
        axes = [torch.tensor([t]).double() if i == self.axis else at for i, at in enumerate(self.grid)]
        return torch.cartesian_prod(*axes).reshape(-1, len(axes))

    def rows(self, drawn: Coefficients, names: Sequence[str], t: float) -> dict[str, FunctionRows]:
        """Return the grid at a time with some functions there, for each residual."""
        functions = self.read(drawn)
        return {
            name: self.problem.with_functions(
                name, replace(self.points[name], points=self._places(t)), drawn, functions, self.like, self.lifting
            )
            for name in names
        }

    def _residuals(
        self, rows: dict[str, FunctionRows], value: Tensor, slope: Tensor, shifts: dict[str, list[Tensor]] | None = None
    ) -> Tensor:
        """Evaluate residuals at states and their time derivatives ``(B, n, k)``: ``(B, n, q)``."""
        space = [n for i, n in enumerate(self.sizes) if i != self.axis]
        parts = [along_axes(v, self.analysis).unflatten(1, space) for v in (value, slope)]
        coefficients = torch.stack(parts, 1 + self.axis).flatten(1, -2)
        found = []
        for name, row in rows.items():
            table = Table(self.state, coefficients, self.seen[name], (shifts or {}).get(name), from_labels=True)
            r = self.problem.residuals(table, {name: row})[name].unflatten(0, (row.copies, -1))
            if r.shape[1] != self.n:
                raise Unsupported(f"'{name}' has not one row for each point")
            found.append(r)
        return torch.cat(found, -1)

    def _initial(self, drawn: Coefficients) -> Tensor:
        """Return the state at the first time ``(B, n, k)``, from the ansatz or from residuals there."""
        count, at = len(next(iter(drawn.values()))), self._places(self.low)
        zero = torch.zeros(count, self.n, self.k, dtype=torch.float64)
        fixed = self.constrained(drawn, zero, at)
        free = not torch.equal(fixed, self.constrained(drawn, zero + 1, at))
        if free != bool(self.first):
            raise Unsupported("the initial value is not given, or twice")
        if not free:
            return fixed
        rows = self.rows(drawn, self.first, self.low)
        return _solved(lambda value: self._residuals(rows, value, zero), zero)

    def _march(self, drawn: Coefficients, value: Tensor, times: Tensor) -> list[Tensor]:
        """Return the states at times."""
        rows, t, step = self.rows(drawn, self.inner, self.low), self.low, float(times[0] - self.low) / 4
        zero = torch.zeros_like(value)

        def at(time: float) -> dict[str, FunctionRows]:
            if self.drifts:
                return self.rows(drawn, self.inner, time)
            places = self._places(time) if self.moving else None
            return rows if places is None else {n: replace(row, points=places) for n, row in rows.items()}

        def slope(time: float, state: Tensor) -> Tensor:
            here = at(time)
            return _solved(lambda s: self._residuals(here, state, s), zero)

        self._check(rows, value)
        found: list[Tensor] = []
        for end in times.tolist():
            while t < end:
                taken = min(step, end - t)
                last = taken == end - t
                new, error = self._step(slope, at, t, value, taken)
                size = value.square().mean((1, 2)).sqrt().maximum(new.square().mean((1, 2)).sqrt())
                ratio = (error.square().mean((1, 2)).sqrt() / (TOLERANCE * size.clamp_min(1e-300))).amax()
                much = float(ratio) if bool(ratio.isfinite()) else math.inf
                factor = min(4.0, max(0.2, 0.9 * much**-0.25)) if much > 0 else 4.0
                if much <= 1:
                    t, value = (end if last else t + taken), new
                    step = max(step, factor * taken) if last else factor * taken
                else:
                    step = factor * taken
                if step < SMALLEST * self.span:
                    return [torch.full_like(value, math.nan)] * len(times)
            found.append(value)
        return found

    def _check(self, rows: dict[str, FunctionRows], value: Tensor) -> None:
        """Refuse equations that are not affine in the time derivatives."""
        nothing, matrix = _matrix(lambda s: self._residuals(rows, value, s), torch.zeros_like(value))
        slope = torch.randn(value.shape, dtype=value.dtype, generator=torch.Generator().manual_seed(0))
        foretold = nothing + (matrix @ slope[..., None])[..., 0]
        if float((self._residuals(rows, value, slope) - foretold).norm()) > AFFINE * float(foretold.norm()):
            raise Unsupported("the equations are not affine in the time derivatives")

    def _step(self, slope: Any, at: Any, t: float, value: Tensor, h: float) -> tuple[Tensor, Tensor]:
        """Make a step; return the state and an estimate of its error."""
        first = slope(t, value)
        jacobian = self._jacobian(at(t), value, first)
        matrix = torch.eye(jacobian.shape[1], dtype=torch.float64) / (h * GAMMA) - jacobian
        factors = torch.linalg.lu_factor(matrix)
        near = NEAR * self.span
        drift = (slope(t + near, value) - first) / near if self.moving else 0.0
        moves: list[Tensor] = []
        state = value
        for a, c, time, d in zip(STAGES, COUPLINGS, TIMES, SLOPES, strict=True):
            state = value + _weighted(a, moves) if moves else value
            right = slope(t + time * h, state) if moves else first
            right = right + _weighted([x / h for x in c], moves) + h * d * drift if moves else right + h * d * drift
            solution = torch.linalg.lu_solve(*factors, right.flatten(1)[..., None])
            moves.append(solution[..., 0].view_as(value))
        return state + moves[-1], moves[-1]

    def _jacobian(self, rows: dict[str, FunctionRows], value: Tensor, slope: Tensor) -> Tensor:
        """Return the derivative of the time derivative by the state, ``(B, n k, n k)``."""
        count = len(value)
        residual = torch.zeros(count, self.n, self.k, self.n, self.k, dtype=torch.float64)
        shifts = {n: [torch.zeros(len(b), self.n, count * self.k).double() for b in self.seen[n]] for n in rows}
        first = 0
        for name, row in rows.items():
            given, width = tuple(shifts[name]), 0
            for i, basis in enumerate(self.seen[name]):
                for channel, table in enumerate(self._of_states(basis)):
                    if not bool(table.any()):
                        continue
                    for j in range(self.k):
                        direction = [torch.zeros_like(s) for s in given]
                        direction[i][channel, :, j :: self.k] = 1.0

                        def moved(*s: Tensor, name: str = name, row: FunctionRows = row) -> Tensor:
                            return self._residuals({name: row}, value, slope, {name: list(s)})

                        change = torch.func.jvp(moved, given, tuple(direction))[1]  # (B, n, q)
                        width = change.shape[-1]
                        if bool((change != 0).any()):
                            part = residual[:, :, first : first + width, :, j]
                            part += change[..., None] * table[:, None]
            first += width
        matrix = _matrix(lambda s: self._residuals(rows, value, s), torch.zeros_like(value))[1]
        return -torch.linalg.solve(matrix, residual.flatten(3)).flatten(1, 2)

    def _of_states(self, basis: Tensor) -> Tensor:
        """Return the basis at the grid as a map from states: ``(channels, n, m)`` -> ``(channels, n, n)``."""
        part = basis.unflatten(-1, self.state.sizes).select(2 + self.axis, 0).flatten(2)
        return along_axes(part.flatten(0, 1)[..., None], [a.T for a in self.analysis])[..., 0].view(part.shape)


def _weighted(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([w * p for w, p in zip(weights, parts, strict=True)]).sum(0)


def _matrix(residual: Callable[[Tensor], Tensor], zero: Tensor) -> tuple[Tensor, Tensor]:
    """Return an affine residual at zero ``(B, n, k)``, and its matrix at each point ``(B, n, k, k)``."""
    nothing, columns = residual(zero), []
    if nothing.shape != zero.shape:
        raise Unsupported(f"there are {nothing.shape[-1]} equations for {zero.shape[-1]} unknowns")
    for j in range(zero.shape[-1]):
        unit = zero.clone()
        unit[..., j] = 1.0
        columns.append(residual(unit) - nothing)
    return nothing, torch.stack(columns, -1)


def _solved(residual: Callable[[Tensor], Tensor], zero: Tensor) -> Tensor:
    """Solve an affine residual at each point."""
    nothing, matrix = _matrix(residual, zero)
    found, failed = torch.linalg.solve_ex(matrix, -nothing[..., None])
    if bool(failed.any()):
        raise Unsupported("the equations do not determine the time derivatives")
    return found[..., 0]
