"""Transport equations solved for many input functions along characteristics, where kinks stay as sharp as they are.

A residual c + a . grad s, where a depends on the point and c is affine in s, is an ordinary differential equation for s
along the lines X' = a(X): R. Courant & D. Hilbert, Methods of Mathematical Physics II (1962), section II.1. They are
followed from points of the domain back to where the solution is given, all at once, by the classical Runge-Kutta method
of order 4 in a table of a and c on a grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.diff import Unsupported, parse
from nfsolve.fields.tensor_basis import Side
from nfsolve.problem.operator.expansion import Expansion
from nfsolve.problem.operator.families import Coefficients
from nfsolve.problem.pde.conditions import arguments
from nfsolve.problem.problem import SamplerState
from nfsolve.problem.rows import FunctionRows

COUNTS = (33, 65, 129, 257)  # of the table along each coordinate on which it depends, until that does not matter
STEPS = (8, 16, 32, 64)  # along a side of the box
ENOUGH = 1e-4  # by how much, relative to the solutions, the last refinement changes them
PROBES, PLACES = 6, 200  # functions and points by which that is seen
LONGEST = 8.0  # characteristic, in sides of the box
PIECE = 2**20  # characteristics and table entries at once
CROSSINGS = 6  # steps of a search for where a side is crossed


class Resolution(NamedTuple):
    """How finely characteristics are followed.

    Attributes:
        counts: Entries of the table along each coordinate, 1 where it does not depend on it.
        steps: Steps along a side of the box.
    """

    counts: tuple[int, ...]
    steps: int


def why_not(problem: Any) -> str:
    """Say why the equations of a problem on a box do not transport one unknown; empty where they may be."""
    inner = [name for name, condition in problem.conditions().items() if condition.kind == "interior"]
    if len(problem.outputs) != 1 or len(inner) != 1 or any(problem.domain.periodic) or len(problem.domain.names) < 2:
        return "there is not one equation for one unknown in a box of several coordinates without periods"
    wanted = [w for w in arguments(problem.method(inner[0])) if w.partition("_")[0] in problem.outputs]
    orders = [len(parse(w, problem.outputs, problem.domain.names).along) for w in wanted]
    return "" if max(orders, default=0) == 1 else f"'{inner[0]}' is not of first order"


@dataclass
class _Local:
    """Stands in for a field with given values and gradients at the points.

    Attributes:
        points: ``(n, d)``.
        value: ``(n, B)``.
        gradient: ``(n, B, d)``.
    """

    points: Tensor
    value: Tensor
    gradient: Tensor
    from_labels = True  # no hard constraint is applied

    def across(self, functions: Any, x: Any) -> Any:
        """Evaluate the tangent plane at each point; as in `Operator`."""
        away = torch.sub(x, self.points)  # zero, with derivatives one
        return (away[:, None, :] * self.gradient).sum(-1) + self.value


class Tracer:
    """Follows the characteristics of an operator problem.

    Args:
        problem: The operator problem.
        drawn: Functions by which it is chosen how finely.

    Raises:
        Unsupported: The equation is not one of transport, or a characteristic comes from where no solution is given.
    """

    def __init__(self, problem: Any, drawn: Coefficients):
        low, high = torch.tensor(problem.domain.bounds, dtype=torch.float64).T
        self.problem, self.low, self.size, self.sense = problem, low, high - low, -1.0
        sides = [(*bounds, False) for bounds in problem.domain.bounds]
        self.outer, kinds, chance = Expansion(problem, sides, [1] * len(sides)), problem.conditions(), generator(0, "")
        self.drawn = {n: problem.rows_on(n, c, problem._count(c, SamplerState()), chance) for n, c in kinds.items()}
        (self.inner,) = (name for name, condition in kinds.items() if condition.kind == "interior")
        self.given = {name: condition for name, condition in kinds.items() if condition.kind != "interior"}
        if any(c.kind != "face" or len(c.sides) != 1 or _many(c) for c in self.given.values()):
            raise Unsupported("a condition is not on one side of the box")
        some = {name: c[:PROBES] for name, c in drawn.items()}
        self._check(some)
        points = self.low + self.size * torch.rand(PLACES, len(self.low), generator=generator(0, "probes")).double()
        varies = self._varies(some)
        last, doubt = None, math.inf
        for count, steps in zip(COUNTS, STEPS, strict=True):
            self.resolution = Resolution(tuple(count if v else 1 for v in varies), steps)
            values = self._oriented(some, points) if last is None else self.values(some, points)
            if last is not None:
                doubt = float((values - last).norm() / values.norm().clamp_min(1e-300))
            last = values
            if doubt < ENOUGH:
                break
        self.doubt = doubt

    def _residual(self, drawn: Coefficients, points: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """Evaluate the equation at values ``(B, n)`` and gradients ``(B, n, d)``: ``(B, n)``."""
        rows = self._rows(self.inner, drawn, points)
        local = _Local(points, value.T, gradient.transpose(0, 1))
        found = self.problem.residuals(local, {self.inner: rows})[self.inner].unflatten(0, (rows.copies, -1))
        if found.shape[1:] != (len(points), 1):
            raise Unsupported(f"'{self.inner}' has not one row for each point")
        return found[..., 0]

    def _rows(self, name: str, drawn: Coefficients, points: Tensor) -> FunctionRows:
        given = (drawn, self.outer.read(drawn), self.outer.like, self.outer.lifting)
        return self.problem.with_functions(name, replace(self.drawn[name], points=points), *given)

    def table(self, drawn: Coefficients, points: Tensor) -> Tensor:
        """Return a, c at s = 0 and its slope by s at points, over the length of a in sides: ``(B, n, d + 2)``."""
        count, d = len(next(iter(drawn.values()))), len(self.low)
        value, gradient = torch.zeros(count, len(points)).double(), torch.zeros(count, len(points), d).double()
        source = self._residual(drawn, points, value, gradient)
        parts = []
        for i in range(d):
            unit = gradient.clone()
            unit[..., i] = 1.0
            parts.append((self._residual(drawn, points, value, unit) - source) / self.size[i])
        parts += [source, self._residual(drawn, points, value + 1, gradient) - source]
        found = torch.stack(parts, -1)
        length = found[..., :d].norm(dim=-1, keepdim=True)
        if not bool((length > 1e-12 * length.amax()).all()):
            raise Unsupported("nothing is transported at some points")
        return found / length

    def _check(self, drawn: Coefficients) -> None:
        """Refuse equations that are not affine, or whose transport depends on the solution."""
        count, d = len(next(iter(drawn.values()))), len(self.low)
        chance = generator(0, "probes")
        points = self.low + self.size * torch.rand(20, d, generator=chance).double()
        one, two = torch.randn(2, count, 20, d + 1, generator=chance).double()
        values = [self._residual(drawn, points, v[..., 0], v[..., 1:]) for v in (one, two, one + two, 0 * one)]
        gap = values[0] + values[1] - values[2] - values[3]
        if float(gap.norm()) > 1e-8 * float(values[0].norm()):
            raise Unsupported("the equation is not one of linear transport")

    def _varies(self, drawn: Coefficients) -> list[bool]:
        """Say along which coordinates the table changes."""
        unit = torch.rand(9, len(self.low), generator=generator(0, "probes")).double()
        base = self.table(drawn, self.low + self.size * unit)
        found = []
        for i in range(len(self.low)):
            other = unit.clone()
            other[:, i] = other[:, i].flip(0)
            found.append(float((self.table(drawn, self.low + self.size * other) - base).abs().amax()) > 1e-12)
        return found

    def _oriented(self, drawn: Coefficients, points: Tensor) -> Tensor:
        """Find in which sense characteristics come from where the solution is given; return it at the points."""
        try:
            return self.values(drawn, points)
        except Unsupported:
            self.sense = 1.0
            return self.values(drawn, points)

    def values(self, drawn: Coefficients, points: Tensor) -> Tensor:
        """Return the solutions at points of the inside ``(n, d)``: ``(B, n, 1)``."""
        count, entries = len(next(iter(drawn.values()))), math.prod(self.resolution.counts)
        found = []
        for rows in torch.arange(count).split(max(1, PIECE // (len(points) + entries))):
            some = {name: c[rows] for name, c in drawn.items()}
            found.append(self._traced(some, points))
        return torch.cat(found)

    def _traced(self, drawn: Coefficients, points: Tensor) -> Tensor:
        count, (n, d) = len(next(iter(drawn.values()))), points.shape
        axes = [
            torch.linspace(0, 1, m).double() if m > 1 else torch.full((1,), 0.5).double()
            for m in self.resolution.counts
        ]
        grid = torch.cartesian_prod(*axes).reshape(-1, d)
        table = self.table(drawn, self.low + self.size * grid)
        # place in units of sides, integral of the slope of c, source seen from the end of the line
        state = torch.zeros(count * n, d + 2).double()
        state[:, :d] = ((points - self.low) / self.size).repeat(count, 1)
        owner = torch.arange(count).repeat_interleave(n)
        alive, step = torch.arange(count * n), 1 / self.resolution.steps
        for _ in range(math.ceil(LONGEST / step)):
            now, who = state[alive], owner[alive]
            h = torch.full((len(now), 1), step).double()
            new = self._step(table, who, now, h)
            out = _outside(new[:, :d])
            if bool(out.any()):
                new[out] = self._landed(table, who[out], now[out], new[out])
            state[alive] = new
            alive = alive[~out]
            if not len(alive):
                break
        else:
            raise Unsupported("characteristics stay in the domain")
        end = self.low + self.size * state[:, :d].clamp(0, 1)
        known = self._known(drawn, end.view(count, n, d))
        return (torch.exp(-state[:, d].view(count, n)) * known + state[:, d + 1].view(count, n))[..., None]

    def _step(self, table: Tensor, who: Tensor, state: Tensor, h: Tensor) -> Tensor:
        k1 = self._rate(table, who, state)
        k2 = self._rate(table, who, state + h / 2 * k1)
        k3 = self._rate(table, who, state + h / 2 * k2)
        k4 = self._rate(table, who, state + h * k3)
        return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    def _rate(self, table: Tensor, who: Tensor, state: Tensor) -> Tensor:
        d = len(self.low)
        seen = _between(table, self.resolution.counts, who, state[:, :d])
        # against the sense in which information travels, with minus the sense from s to c
        against = -self.sense * seen[:, d:]
        source = -against[:, :1] * torch.exp(-state[:, d : d + 1])
        return torch.cat([self.sense * seen[:, :d], against[:, 1:], source], 1)

    def _landed(self, table: Tensor, who: Tensor, now: Tensor, new: Tensor) -> Tensor:
        """Return the states where characteristics that left the box in a step have crossed its side."""
        d, share = len(self.low), torch.ones(len(now), 1).double()
        step = 1 / self.resolution.steps
        for _ in range(CROSSINGS):
            moved = new[:, :d] - now[:, :d]
            room = torch.where(moved > 0, 1 - now[:, :d], -now[:, :d])
            part = torch.where(moved.abs() > 1e-300, room / moved, math.inf).clamp_min(0)
            share = share * part.amin(1, keepdim=True)
            new = self._step(table, who, now, step * share)
        return new

    def _known(self, drawn: Coefficients, ends: Tensor) -> Tensor:
        """Return the solutions where they are given, at points ``(B, n, d)``."""
        known = torch.empty(ends.shape[:2], dtype=torch.float64)
        if not self.given and not self.problem._lifts:  # the same for all functions
            one = {name: c[:1] for name, c in drawn.items()}
            return self._known_of(one, ends.flatten(0, 1)).view_as(known)
        for b, points in enumerate(ends):
            one = {name: c[b : b + 1] for name, c in drawn.items()}
            known[b] = self._known_of(one, points)
        return known

    def _known_of(self, one: Coefficients, points: Tensor) -> Tensor:
        raw = torch.zeros(1, len(points), 1, dtype=torch.float64)
        fixed, free = (self.outer.constrained(one, raw + c, points)[0, :, 0] for c in (0.0, 1.0))
        left = (free - fixed).abs() > 1e-9 * (1 + fixed.abs())
        for name, condition in self.given.items():
            ((column, value),) = ((self.problem.domain.index(c), float(v)) for c, v in condition.sides.items())
            here = left & ((points[:, column] - value).abs() <= 1e-9 * self.size[column])
            if bool(here.any()):
                at = points[here]
                rows, gradient = self._rows(name, one, at), torch.zeros(len(at), 1, len(self.low)).double()
                r = [
                    self.problem.residuals(_Local(at, torch.full((len(at), 1), c).double(), gradient), {name: rows})
                    for c in (0.0, 1.0, 2.0)
                ]
                zero, unit, two = (x[name].flatten() for x in r)
                if not bool(((two - 2 * unit + zero).abs() <= 1e-8 * (1 + zero.abs())).all()) or bool(
                    (unit == zero).any()
                ):
                    raise Unsupported(f"'{name}' does not give the solution")
                fixed = fixed.clone()
                fixed[here] = -zero / (unit - zero)
                left = left & ~here
        if bool(left.any()):
            raise Unsupported("characteristics come from where the solution is not given")
        return fixed


class Traced(Expansion):
    """Solutions that are followed along characteristics to the nodes of a basis.

    Args:
        tracer: Follows them.
        sides: The box.
        sizes: Functions of the basis along each coordinate.
    """

    warm, batch = False, 64

    def __init__(self, tracer: Tracer, sides: Sequence[Side], sizes: Sequence[int]):
        super().__init__(tracer.problem, sides, sizes)
        self.tracer = tracer

    def solve(self, drawn: Coefficients, start: Tensor | None) -> Tensor:
        """Follow characteristics; as in `Expansion`. A start is not needed."""
        return self.fitted(drawn, self.tracer.values(drawn, self.nodes))


def _many(condition: Any) -> bool:
    return any(isinstance(value, tuple | list) for value in condition.sides.values())


def _outside(unit: Tensor) -> Tensor:
    return ((unit < 0) | (unit > 1)).any(1)


def _between(table: Tensor, counts: Sequence[int], who: Tensor, at: Tensor) -> Tensor:
    """Interpolate the tables ``(B, prod(counts), c)`` of functions at places of the unit box, by cubics."""
    index, weights = who[:, None] * table.shape[1], torch.ones(len(at), 1, dtype=at.dtype)
    stride = table.shape[1]
    for i, n in enumerate(counts):
        stride //= n
        if n == 1:
            continue
        place = at[:, i].clamp(0, 1) * (n - 1)
        first = (place.floor().long() - 1).clamp(0, n - 4)
        z = (place - first)[:, None]
        z0, z1, z2, z3 = z[:, 0], z[:, 0] - 1, z[:, 0] - 2, z[:, 0] - 3
        cubic = torch.stack([-z1 * z2 * z3 / 6, z0 * z2 * z3 / 2, -z0 * z1 * z3 / 2, z0 * z1 * z2 / 6], 1)
        near = (first[:, None] + torch.arange(4)) * stride
        index = (index[..., None] + near[:, None]).flatten(1)
        weights = (weights[..., None] * cubic[:, None]).flatten(1)
    return (table.flatten(0, 1)[index] * weights[..., None]).sum(1)
