"""Equations solved for many input functions, before a network is trained: what an operator from equations starts from.

The solutions are sums of products of polynomials and waves (`nfsolve.fields.tensor_basis`). Those of evolution
equations along periodic coordinates are `marched`, those of transport equations, which may have kinks, are `traced`.
Others are found by Gauss-Newton on the residuals of the problem at points of a grid, for many functions at once. A
residual at a point sees the solution through its value and derivatives there, so the Jacobian is a product of two
parts: the slopes of the residual by these, one forward sweep for each for all functions and points, and the basis with
its derivatives, which all functions share.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.diff import Unsupported
from nfsolve.domains import Box
from nfsolve.fields.affine import Affine
from nfsolve.fields.kernel import Kernel, evaluate, kernel
from nfsolve.fields.phase import WAVES, Frame, frame_of
from nfsolve.fields.start import PARTS, nearest
from nfsolve.fields.tensor_basis import Side, nodes
from nfsolve.problem.operator.expansion import Expansion, Table
from nfsolve.problem.operator.families import Coefficients
from nfsolve.problem.operator.marched import Marcher, time_of
from nfsolve.problem.operator.traced import Traced, Tracer, why_not
from nfsolve.problem.problem import SamplerState
from nfsolve.problem.rows import FunctionRows

MOST = 1000  # unknowns of one function
MOST_MARCHED = 6000  # values of one function that is marched
FIRST = {False: 8, True: 9}  # functions along a coordinate at first; True is a periodic one
FIRST_MARCHED = {False: 12, True: 33}  # where fewer would be unstable
LARGER = 1.4  # by which factor their number grows along a coordinate
ENOUGH = 1e-5  # by how much, relative to the solutions, the last growth changes them where it was not needed
OVER = 1.3  # points along a coordinate for each function
PROBES = 6  # functions by which the sizes are chosen
STEPS, HALVINGS = 12, 5  # of Gauss-Newton
QUICK = 1e-2  # factor by which a step lowers the loss, above which the next one has a matrix of its own
SETTLED = 1e-3  # part of the loss that a step promises to take away, below which none is taken
EXACT = 1e-24  # loss, relative to that of nothing, that needs no lowering
RIDGE = 1e-14  # relative to the diagonal of J^T J
MEMORY = 2**24  # numbers in the Jacobians of a batch
ROUGH = 1e-3  # change of solutions by the last growth of a basis above which it does not resolve their kinks
PLACES = 1024  # points at which solutions are labels
COLD = 100  # functions that are solved for from nothing, before the others start from a regression


Way = Callable[[tuple[int, ...]], Expansion]


class Solved(NamedTuple):
    """Solutions as coefficients in a basis.

    Attributes:
        basis: The basis.
        drawn: The functions.
        functions: Values that the field reads, side by side ``(n, m)``, float64.
        coefficients: Of the raw outputs, ``(n, basis, k)``.
        weights: Factors ``(basis, k)``: raw outputs at the nodes times them are as far apart as the solutions are.
        doubt: By how much solutions change with a smaller basis, relative.
    """

    basis: Expansion
    drawn: Coefficients
    functions: Tensor
    coefficients: Tensor
    weights: Tensor
    doubt: float


class Labels(NamedTuple):
    """Solutions at points.

    Attributes:
        drawn: The functions.
        points: Points of the inside, common to all ``(p, d)``, float64.
        truth: Solutions there ``(n, p, k)``.
        doubt: By how much solutions change with a coarser resolution, relative.
    """

    drawn: Coefficients
    points: Tensor
    truth: Tensor
    doubt: float


def labels(problem: Any, count: int) -> Labels | str:
    """Solve the equations of an operator problem for some of its input functions, to train on the solutions.

    Args:
        problem: The operator problem, on a box.
        count: Number of functions.

    Returns:
        The solutions at points that are spread evenly; or why there are none, in words.
    """
    problem = _with_equations(problem)
    if why := _unfit(problem):
        return why
    unit = torch.quasirandom.SobolEngine(len(problem.domain.names), scramble=True, seed=0).draw(PLACES)
    points = problem.domain.scale(unit.double())
    drawn = problem.to_solve(count)
    tracer = _tracer(problem, drawn)
    if tracer is not None:
        return Labels(drawn, points, tracer.values(drawn, points), tracer.doubt)
    found = solved(problem, count)
    if isinstance(found, str):
        return found
    parts = []
    for rows in torch.arange(len(found.coefficients)).split(COLD):
        some = {name: c[rows] for name, c in found.drawn.items()}
        parts.append(found.basis.values(some, found.coefficients[rows], points))
    return Labels(found.drawn, points, torch.cat(parts), found.doubt)


def solved(problem: Any, count: int) -> Solved | str:
    """Solve the equations of an operator problem for some of its input functions, in a basis.

    What was found is kept with the problem.

    Args:
        problem: The operator problem, on a box.
        count: Number of functions.

    Returns:
        The solutions; or why there are none, in words.
    """
    kept = vars(problem).get("_solutions")
    if kept is None or kept[0] != count:
        problem._solutions = kept = count, _solve(_with_equations(problem), count)
    return kept[1]


def _with_equations(problem: Any) -> Any:
    """Return the problem with its equations, also where it trains on labels alone."""
    if problem.physics:
        return problem
    problem = copy.copy(problem)
    problem.physics = True
    return problem


def _solve(problem: Any, count: int) -> Solved | str:
    if why := _unfit(problem):
        return why
    sides = tuple((*b, p) for b, p in zip(problem.domain.bounds, problem.domain.periodic, strict=True))
    drawn = problem.to_solve(count)
    some = {name: c[:PROBES] for name, c in drawn.items()}
    why = ""
    for way, first, most in _ways(problem, sides, drawn):
        try:
            basis, doubt = _resolve(way, [first[wraps] for *_, wraps in sides], sides, some, most)
            if isinstance(basis, Traced) and doubt > ROUGH:
                return (
                    "solutions of the transport have kinks, which no basis resolves: --data --no-physics trains on them"
                )
            weights = basis.weights(some)
            found = _in_turn(basis, drawn, weights)
        except Unsupported as error:
            why = str(error)
            continue
        keep = found.isfinite().flatten(1).all(1)
        if bool(keep.any()):
            functions = problem.read(problem.at_sensors(drawn), basis.like)[0]
            seen = torch.cat(functions if isinstance(functions, tuple) else (functions,), 1)
            drawn = {name: c[keep] for name, c in drawn.items()}
            return Solved(basis, drawn, seen[keep], found[keep], weights, doubt)
        why = "no function was solved for"
    return why


def _ways(problem: Any, sides: tuple[Side, ...], drawn: Coefficients) -> list[tuple[Way, dict[bool, int], int]]:
    """Return how equations may be solved, the best first: what makes a basis, first sizes, and most terms."""
    axis, tracer = time_of(problem), _tracer(problem, drawn)
    ways: list[tuple[Way, dict[bool, int], int]] = [(partial(_Solver, problem, sides), FIRST, MOST)]
    if isinstance(axis, int):
        ways.insert(0, (partial(Marcher, problem, sides, axis=axis), FIRST_MARCHED, MOST_MARCHED))
    if tracer is not None:
        ways.insert(0, (partial(Traced, tracer, sides), FIRST, MOST_MARCHED))
    return ways


def _tracer(problem: Any, drawn: Coefficients) -> Tracer | None:
    """Return what follows characteristics; None where there are none."""
    try:
        return None if why_not(problem) else Tracer(problem, drawn)
    except Unsupported:
        return None


def start(problem: Any, count: int) -> tuple[Affine | Kernel, tuple[tuple[Side, ...], tuple[int, ...]]] | str:
    """Fit a map from input functions to solutions of the equations, of which some are solved for.

    Args:
        problem: The operator problem.
        count: Number of functions.

    Returns:
        The map to coefficients, and box and sizes of the basis; or why there is none, in words.
    """
    found = solved(problem, count)
    if isinstance(found, str):
        return found
    basis = found.basis
    targets = (basis.at_nodes(found.coefficients) * found.weights).flatten(1)
    seen = found.functions.float().double()  # with the rounding that a field's inputs may have
    near = nearest(seen, targets, frame=_frame(problem, basis))
    if near is None:
        return f"neither an affine map nor a kernel regression of {len(targets)} solutions is near enough"

    def back(rows: Tensor) -> Tensor:
        """Return what gives coefficients where these give weighted values at the nodes, ``(..., p)``."""
        raw = rows.reshape(-1, basis.m, basis.k) / found.weights
        return basis.of_nodes(raw).flatten(1).view(rows.shape)

    turned = {n: back(getattr(near, n)) for n in (("weight", "mean") if isinstance(near, Kernel) else PARTS["affine"])}
    size = near.size * targets.shape[1] ** 0.5  # a mean square over coefficients, which add up to that of the solution
    if isinstance(near, Kernel) and near.frame:
        frame = (along._replace(output=along.output._replace(kind=WAVES)) for along in near.frame)
        near = near._replace(frame=tuple(frame))
    return near._replace(**turned, size=size), (basis.sides, basis.sizes)


def _frame(problem: Any, basis: Expansion) -> Frame:
    """Return along what input functions and solutions may be moved; nothing where sensors are on no such grid."""
    names, inputs = problem.domain.names, {name: own.split() for name, own in problem.inputs.items()}
    shapes = [tuple(problem.sensors if n in own else 1 for n in names) for own in inputs.values()]
    ordered = all(own == [n for n in names if n in own] for own in inputs.values())
    if not ordered or [math.prod(s) for s in shapes] != [len(problem.sensor_points(name)) for name in inputs]:
        return ()
    return frame_of(problem.domain.periodic, shapes, (), basis.sizes, basis.k)


def _unfit(problem: Any) -> str:
    """Say why the equations of a problem cannot be solved in this way."""
    domain = problem.domain
    if not isinstance(domain, Box):
        return "the domain is not a box"
    if not problem.conditions():
        return "there are no equations"
    if not problem.spaces():
        return "functions are not drawn"
    if not getattr(problem.output_transform(), "broadcasts", True):
        return "its hard constraint is not an ansatz"
    for name, condition in problem.conditions().items():
        if condition.kind not in ("interior", "face", "paired", "boundary"):
            return f"'{name}' is @{condition.kind}"
        if condition.kind == "interior" and (problem.region_of(name, condition) or problem._where(name, condition)):
            return f"'{name}' holds on a part of the domain"
    return ""


def _resolve(
    way: Way, sizes: list[int], sides: tuple[Side, ...], some: Coefficients, most: int
) -> tuple[Expansion, float]:
    """Enlarge the basis where the solutions of a few functions need it, as far as it may be."""
    doubt, last = math.inf, None
    probe = nodes(sides, [12] * len(sides))
    while True:
        basis = way(tuple(sizes))
        found = basis.solve(some, None)
        values = basis.values(some, found, probe)
        if last is not None:
            doubt = float((values - last).norm() / values.norm().clamp_min(1e-300))
        last = values
        tails = _tails(found.unflatten(1, sizes))
        grown = [
            _odd(math.ceil(n * LARGER), side[2]) if tail > 0.1 * max(tails) or not math.isfinite(tail) else n
            for n, tail, side in zip(sizes, tails, sides, strict=True)
        ]
        if doubt < ENOUGH or math.prod(grown) * basis.k > most:
            return basis, doubt
        sizes = grown


def _odd(n: int, wraps: bool) -> int:
    return n + (n % 2 == 0) if wraps else n


def _tails(found: Tensor) -> list[float]:
    """Return the share of the last third of the coefficients along each axis of ``(n, *sizes, k)``."""
    total = found.square().sum().clamp_min(1e-300)
    shares = []
    for axis in range(1, found.ndim - 1):
        n = found.shape[axis]
        shares.append(float(found.narrow(axis, n - n // 3, n // 3).square().sum() / total))
    return shares


def _in_turn(basis: Expansion, drawn: Coefficients, weights: Tensor) -> Tensor:
    """Solve for some functions from nothing, then for more and more of them from a regression on those before."""
    count, done = len(next(iter(drawn.values()))), 0
    functions = basis.problem.read(basis.problem.at_sensors(drawn), basis.like)[1]
    found = torch.empty(count, basis.m, basis.k, dtype=torch.float64)
    while done < count:
        end = min(count, max(COLD, 3 * done)) if basis.warm else count
        targets = (basis.at_nodes(found[:done]) * weights).flatten(1)
        near: Kernel | None = kernel(functions[:done], targets) if done else None
        for rows in torch.arange(done, end).split(basis.batch):
            start = None
            if near is not None:
                parts = [near.centre, near.metric, near.known, near.weight, near.mean, near.alone]
                values = evaluate(near.name, parts, functions[rows]).unflatten(1, (basis.m, basis.k))
                start = basis.of_nodes(values / weights)
            found[rows] = basis.solve({name: c[rows] for name, c in drawn.items()}, start)
        done = end
    return found


class _Solver(Expansion):
    """Gauss-Newton for many functions at once.

    Args:
        problem: The operator problem.
        sides: The box.
        sizes: Functions of the basis along each coordinate.
    """

    def __init__(self, problem: Any, sides: tuple[Side, ...], sizes: tuple[int, ...]):
        super().__init__(problem, sides, sizes)
        grid = nodes(sides, [math.ceil(OVER * n) for n in sizes])
        self.points: dict[str, Any] = {}
        chance = generator(0, "points of equations")
        for name, condition in problem.conditions().items():
            n = problem._count(condition, SamplerState())
            rows = problem.rows_on(name, condition, min(n, len(grid)) if condition.kind == "interior" else n, chance)
            self.points[name] = replace(rows, points=grid) if condition.kind == "interior" else rows
        weights = problem.weights()
        self.scales = {name: math.sqrt(weights.get(name, 1.0) / len(rows.points)) for name, rows in self.points.items()}
        self.seen: dict[str, list[Tensor]] = {name: [] for name in self.points}
        rows = sum(len(rows.points) for rows in self.points.values())
        self.batch = max(1, MEMORY // (rows * self.m * self.k * self.k))

    def rows(self, drawn: Coefficients) -> dict[str, FunctionRows]:
        """Return the points of each residual with some functions there."""
        functions = self.read(drawn)
        return {
            name: self.problem.with_functions(name, rows, drawn, functions, self.like, self.lifting)
            for name, rows in self.points.items()
        }

    def solve(self, drawn: Coefficients, start: Tensor | None) -> Tensor:
        """Solve; as in `Expansion`."""
        batch = self.rows(drawn)
        count = len(next(iter(drawn.values())))
        found = torch.zeros(count, self.m, self.k, dtype=torch.float64)
        loss = self._loss(batch, found)
        if start is not None:
            near = self._loss(batch, start)
            better = near < loss
            found, loss = torch.where(better[:, None, None], start, found), torch.where(better, near, loss)
        zero = loss.clone() if start is None else self._loss(batch, torch.zeros_like(found))
        factor, anew = None, True
        for _ in range(STEPS):
            step, gain, factor = self._step(batch, found, None if anew else factor)
            share = torch.ones(count, dtype=torch.float64)
            moved, now = found, loss
            for _ in range(HALVINGS):
                trial = found + share[:, None, None] * step
                new = self._loss(batch, trial)
                better = new < now
                moved, now = torch.where(better[:, None, None], trial, moved), torch.where(better, new, now)
                if bool((better | (gain <= SETTLED * loss)).all()):
                    break
                share = torch.where(better, share, share / 2)
            settled = (gain <= SETTLED * loss) | (now <= EXACT * zero)
            if bool((settled | ((now > 0.99 * loss) & anew)).all()):
                return torch.where(now.isfinite()[:, None, None], moved, torch.nan)
            anew = bool((~settled & (now > QUICK * loss)).any())
            found, loss = moved, now
        return torch.where(loss.isfinite()[:, None, None], found, torch.nan)

    def _residual(self, name: str, rows: FunctionRows, found: Tensor, shifts: list[Tensor] | None = None) -> Tensor:
        table = Table(self, found, self.seen[name], shifts)
        r = self.problem.residuals(table, {name: rows})[name] * self.scales[name]
        return r.unflatten(0, (rows.copies, -1))  # (B, n, q)

    def _loss(self, batch: dict[str, FunctionRows], found: Tensor) -> Tensor:
        parts = [self._residual(name, rows, found).square().flatten(1).sum(1) for name, rows in batch.items()]
        return torch.stack(parts).sum(0)

    def _step(self, batch: dict[str, FunctionRows], found: Tensor, known: Any) -> tuple[Tensor, Tensor, Any]:
        """Return the step of Gauss-Newton, the decrease of the loss that it promises, and the matrix it was made with.

        A matrix of earlier steps serves again where these went well.
        """
        size = self.m * self.k
        kept = size if known is None else 0
        gram = torch.zeros(len(found), kept, kept, dtype=torch.float64)
        gradient = torch.zeros(len(found), size, 1, dtype=torch.float64)
        for name, rows in batch.items():
            residual, jacobian = self._linearised(name, rows, found)
            gradient.baddbmm_(jacobian.mT, residual[..., None])
            if known is None:
                gram.baddbmm_(jacobian.mT, jacobian)
        scale, factor = matrix = _factored(gram) if known is None else known
        gradient /= scale[..., None]
        step = torch.cholesky_solve(gradient, factor)
        gain = (step * gradient).flatten(1).sum(1)
        return -(step[..., 0] / scale).unflatten(1, (self.m, self.k)), gain, matrix

    def _linearised(self, name: str, rows: FunctionRows, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residuals ``(B, n q)`` of a name and their Jacobian ``(B, n q, m k)``."""
        residual = self._residual(name, rows, found)
        seen, count, n = self.seen[name], len(found), len(rows.points)
        if residual.shape[1] != n or any(basis.shape[1] != n for basis in seen):
            raise Unsupported(f"'{name}' has not one row for each point")
        shifts = [torch.zeros(basis.shape[0], n, count * self.k, dtype=torch.float64) for basis in seen]
        jacobian = torch.zeros(*residual.shape, self.m, self.k, dtype=torch.float64)
        for i, basis in enumerate(seen):
            for channel in range(len(basis)):
                for j in range(self.k):
                    direction = [torch.zeros_like(s) for s in shifts]
                    direction[i][channel, :, j :: self.k] = 1.0
                    slope = torch.func.jvp(
                        lambda *s: self._residual(name, rows, found, list(s)), tuple(shifts), tuple(direction)
                    )[1]
                    if bool((slope != 0).any()):
                        jacobian[..., j] += slope[..., None] * basis[channel][:, None]
        return residual.flatten(1), jacobian.flatten(1, 2).flatten(2)


def _factored(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return units of the columns and the Cholesky factor of matrices ``(B, p, p)`` in them, damped as it must be."""
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()
    scale = scale.maximum(1e-12 * scale.amax(1, keepdim=True)).clamp_min(1e-150)
    gram = gram / (scale[:, :, None] * scale[:, None])
    ridge = RIDGE
    while True:
        gram.diagonal(dim1=1, dim2=2).add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if not bool(failed.any()) or ridge > 1e-4:
            return scale, factor
        ridge *= 100
