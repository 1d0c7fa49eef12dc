"""Equations solved for many input functions, before a network is trained: what an operator from equations starts from.

The solutions are sums of products of polynomials and waves (`nfsolve.fields.tensor_basis`), found by Gauss-Newton on
the residuals of the problem at points of a grid, for many functions at once. A residual at a point sees the solution
through its value and derivatives there, so the Jacobian is a product of two parts: the slopes of the residual by these,
one forward sweep for each for all functions and points, and the basis with its derivatives, which all functions share.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.diff.jets import Jet, Unsupported
from nfsolve.domains import Box
from nfsolve.fields.affine import Affine
from nfsolve.fields.kernel import Kernel, evaluate, kernel
from nfsolve.fields.start import nearest
from nfsolve.fields.tensor_basis import Side, nodes, tensor_basis
from nfsolve.problem.operator.families import Coefficients
from nfsolve.problem.problem import SamplerState
from nfsolve.problem.rows import FunctionRows

MOST = 1000  # unknowns of one function
FIRST = {False: 8, True: 9}  # functions along a coordinate at first; True is a periodic one
LARGER = 1.4  # by which factor their number grows along a coordinate
ENOUGH = 1e-5  # by how much, relative to the solutions, the last growth changes them where it was not needed
FINER = 1.5  # the same where solutions are compared
OVER = 1.3  # points along a coordinate for each function
PROBES = 6  # functions by which the sizes are chosen
STEPS, HALVINGS = 12, 5  # of Gauss-Newton
QUICK = 1e-2  # factor by which a step lowers the loss, above which the next one has a matrix of its own
SETTLED = 1e-3  # part of the loss that a step promises to take away, below which none is taken
EXACT = 1e-24  # loss, relative to that of nothing, that needs no lowering
RIDGE = 1e-14  # relative to the diagonal of J^T J
MEMORY = 2**24  # numbers in the Jacobians of a batch
COLD = 100  # functions that are solved for from nothing, before the others start from a regression


class Solved(NamedTuple):
    """Solutions as coefficients in a basis.

    Attributes:
        sides: The box.
        sizes: Functions of the basis along each coordinate.
        functions: Values that the field reads, side by side ``(n, m)``, float64.
        coefficients: Of the raw outputs, ``(n, basis, k)``.
        weigh: Matrix ``(basis k, r)``: coefficients times it are as far apart as the solutions are, in the mean square.
        doubt: By how much solutions change with a smaller basis, relative.
    """

    sides: tuple[Side, ...]
    sizes: tuple[int, ...]
    functions: Tensor
    coefficients: Tensor
    weigh: Tensor
    doubt: float


def solved(problem: Any, count: int) -> Solved | str:
    """Solve the equations of an operator problem for some of its input functions.

    Args:
        problem: The operator problem, on a box.
        count: Number of functions.

    Returns:
        The solutions; or why there are none, in words.
    """
    why = _unfit(problem)
    if why:
        return why
    sides = tuple((*b, p) for b, p in zip(problem.domain.bounds, problem.domain.periodic, strict=True))
    drawn = problem.to_solve(count)
    some = {name: c[:PROBES] for name, c in drawn.items()}
    try:
        sizes, doubt = _resolve(problem, sides, some)
        solver = _Solver(problem, sides, sizes)
        weigh = solver.weigh(some)
        found = _in_turn(solver, drawn, weigh)
    except Unsupported as error:
        return str(error)
    keep = found.isfinite().flatten(1).all(1)
    functions = problem.read(problem.at_sensors(drawn), solver.like)[0]
    seen = torch.cat(functions if isinstance(functions, tuple) else (functions,), 1)
    return Solved(sides, sizes, seen[keep], found[keep], weigh, doubt)


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
    targets = found.coefficients.flatten(1) @ found.weigh
    near = nearest(found.functions.float().double(), targets)  # with the rounding that a field's inputs may have
    if near is None:
        return f"neither an affine map nor a kernel regression of {len(targets)} solutions is near enough"
    back = torch.linalg.pinv(found.weigh)
    turned = {
        n: getattr(near, n) @ back for n in (("weight", "mean") if isinstance(near, Kernel) else ("weight", "bias"))
    }
    size = near.size * targets.shape[1] ** 0.5  # a mean square over coefficients, which add up to that of the solution
    return near._replace(**turned, size=size), (found.sides, found.sizes)


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


def _resolve(problem: Any, sides: tuple[Side, ...], some: Coefficients) -> tuple[tuple[int, ...], float]:
    """Enlarge the basis where the solutions of a few functions need it, as far as it may be."""
    sizes, doubt, last = [FIRST[wraps] for *_, wraps in sides], math.inf, None
    probe = nodes(sides, [12] * len(sides))
    while True:
        solver = _Solver(problem, sides, tuple(sizes))
        found = solver.solve(some, None)
        values = solver.values(some, found, probe)
        if last is not None:
            doubt = float((values - last).norm() / values.norm().clamp_min(1e-300))
        last = values
        tails = _tails(found.unflatten(1, sizes))
        grown = [
            _odd(math.ceil(n * LARGER), side[2]) if tail > 0.1 * max(tails) else n
            for n, tail, side in zip(sizes, tails, sides, strict=True)
        ]
        if doubt < ENOUGH or math.prod(grown) * len(problem.outputs) > MOST:
            return tuple(sizes), doubt
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


def _in_turn(solver: "_Solver", drawn: Coefficients, weigh: Tensor) -> Tensor:
    """Solve for some functions from nothing, then for more and more of them from a regression on those before."""
    count, done = len(next(iter(drawn.values()))), 0
    functions = solver.problem.read(solver.problem.at_sensors(drawn), solver.like)[1]
    found = torch.empty(count, solver.m, solver.k, dtype=torch.float64)
    back = torch.linalg.pinv(weigh)
    while done < count:
        end = min(count, max(COLD, 3 * done))
        near: Kernel | None = kernel(functions[:done], found[:done].flatten(1) @ weigh) if done else None
        for rows in torch.arange(done, end).split(solver.batch):
            start = None
            if near is not None:
                parts = [near.centre, near.metric, near.known, near.weight, near.mean, near.alone]
                start = (evaluate(near.name, parts, functions[rows]) @ back).unflatten(1, (solver.m, solver.k))
            found[rows] = solver.solve({name: c[rows] for name, c in drawn.items()}, start)
        done = end
    return found


@dataclass
class _Table:
    """Stands in for a field whose outputs are sums of the basis, each function with its own coefficients.

    Attributes:
        solver: The basis.
        coefficients: ``(B, m, k)``.
        shifts: What is added at each call to value and derivatives, ``(channels, n, B k)``; None adds nothing.
        seen: The basis with its derivatives at each call ``(channels, n, m)``.
    """

    solver: "_Solver"
    coefficients: Tensor
    seen: list[Tensor]
    shifts: list[Tensor] | None = None
    calls: int = 0

    def across(self, functions: Any, x: Any) -> Any:
        """Evaluate all functions at points, a jet with its derivatives; as in `Operator`."""
        first = self.calls == len(self.seen)
        if first:
            given: Any = x  # a jet stands in for points
            plain = x.channels if isinstance(x, Jet) else x
            if torch._C._functorch.is_functorch_wrapped_tensor(plain):  # type: ignore[attr-defined]
                raise Unsupported("a residual differentiates a composite term")
            basis: Any = tensor_basis(given, self.solver.sides, self.solver.sizes)
            self.seen.append(basis.channels if isinstance(basis, Jet) else basis[None])
        columns = self.coefficients.permute(1, 0, 2).flatten(1)
        values = self.seen[self.calls] @ columns
        if self.shifts is not None:
            values = values + self.shifts[self.calls]
        self.calls += 1
        raw = Jet(values, x.plan) if isinstance(x, Jet) else values[0]
        transform = self.solver.transform
        if transform is None:
            return raw
        return transform(x[:, None], raw.unflatten(-1, (-1, self.solver.k))).flatten(-2)  # type: ignore[union-attr]


class _Solver:
    """Gauss-Newton for many functions at once.

    Args:
        problem: The operator problem.
        sides: The box.
        sizes: Functions of the basis along each coordinate.
    """

    def __init__(self, problem: Any, sides: tuple[Side, ...], sizes: tuple[int, ...]):
        self.problem, self.sides, self.sizes = problem, sides, sizes
        self.m, self.k, self.like = math.prod(sizes), len(problem.outputs), torch.empty(0, dtype=torch.float64)
        self.lifting, self.transform = problem._lifting(self.like), problem.output_transform()
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
        functions = self.problem.read(self.problem.at_sensors(drawn), self.like)[0]
        return {
            name: self.problem.with_functions(name, rows, drawn, functions, self.like, self.lifting)
            for name, rows in self.points.items()
        }

    def values(self, drawn: Coefficients, found: Tensor, points: Tensor) -> Tensor:
        """Evaluate solutions at points, ``(B, n, k)``."""
        functions = self.problem.read(self.problem.at_sensors(drawn), self.like)[0]
        return self.problem.predict(_Table(self, found, []), functions, points)

    def weigh(self, drawn: Coefficients) -> Tensor:
        """Return the matrix of `Solved`, for solutions near those of the raw outputs zero."""
        counts = [math.ceil(FINER * n) for n in self.sizes]
        at = nodes(self.sides, counts)
        shares = [
            torch.ones(n, dtype=torch.float64) if wraps else torch.sin(math.pi * (torch.arange(n) + 0.5) / n).double()
            for n, (*_, wraps) in zip(counts, self.sides, strict=True)
        ]
        share = torch.cartesian_prod(*shares).reshape(-1, len(shares)).prod(1)  # where nodes are dense, each has less
        share = (share / share.sum()).sqrt()[:, None, None, None]
        one = {name: c[:1] for name, c in drawn.items()}
        zero = torch.zeros(1, self.m, self.k, dtype=torch.float64)
        functions = self.problem.read(self.problem.at_sensors(one), self.like)[0]

        seen: list[Tensor] = []
        self.problem.predict(_Table(self, zero, seen), functions, at)

        def values(shift: Tensor) -> Tensor:
            return self.problem.predict(_Table(self, zero, seen, [shift]), functions, at)[0]

        start = torch.zeros(1, len(at), self.k, dtype=torch.float64)
        basis, parts = tensor_basis(at, self.sides, self.sizes), []
        for j in range(self.k):
            direction = torch.zeros_like(start)
            direction[..., j] = 1.0
            slope = torch.func.jvp(values, (start,), (direction,))[1]  # (n, k)
            parts.append(slope[..., None] * basis[:, None])
        table = (share * torch.stack(parts, -1)).flatten(0, 1).flatten(1)  # (n k, m k)
        return torch.linalg.qr(table, mode="r")[1].T

    def solve(self, drawn: Coefficients, start: Tensor | None) -> Tensor:
        """Solve for functions, from coefficients ``(B, m, k)`` or from nothing; not finite where that failed."""
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
        table = _Table(self, found, self.seen[name], shifts)
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
