"""A PDE on a part of its time interval, which goes on from a field that was trained on the part before."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_map

from nfsolve._core.errors import InputError
from nfsolve.diff import parse
from nfsolve.domains import Box, Front, periodic
from nfsolve.domains.box import Product
from nfsolve.problem.operator.pde import OperatorPDE
from nfsolve.problem.pde.conditions import Condition, arguments, difference
from nfsolve.problem.pde.declared import FUNCTIONALS
from nfsolve.problem.pde.evaluate import values
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.pde.sample import Reference
from nfsolve.problem.problem import Batch, Problem
from nfsolve.problem.rows import Rows

HANDOVER = "handover"
"""Name of the residual by which a window continues the values of the one before; ``handover_t`` their slopes."""


@dataclass(frozen=True)
class Handover(Condition):
    """Agreement with the previous field at the start of a window.

    Attributes:
        names: What agrees: unknowns, or time derivatives of one order.
    """

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """The methods of a problem that are others on a part of its time.

    Attributes:
        whole: The problem at all times.
        part: The same on the part of the time, with the conditions of the whole.
        previous: Field of the window before, or None.
        handed: What agrees with it; empty in the first window.
    """

    whole: PDE
    part: PDE
    previous: nn.Module | None
    handed: dict[str, Handover]

    def conditions(self) -> dict[str, Condition]:
        """Return the problem's conditions; after the first window, those at the start are replaced by the hand-over."""
        found = self.whole.conditions()
        if not self.handed:
            return found
        kept = {name: _elsewhere(condition) for name, condition in found.items()}
        return {name: condition for name, condition in kept.items() if condition is not None} | self.handed

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Load the data of the whole problem and keep what lies in the window."""
        data = self.whole.load(device, dtype)
        for name, rows in data["measured"].items():
            inside = self._inside(rows.points)
            if not inside.any():
                low, high = self.part.domain.bounds[self.part.domain.index("t")]
                raise InputError(
                    f"every window of time needs given points, but '{name}' has none between t = {low:g} and {high:g}",
                    do="use fewer windows",
                )
            data["measured"][name] = tree_map(lambda column: column[inside], rows)  # noqa: B023  # used at once
        whole: Reference | None = data.pop("reference", None)
        inside = None if whole is None else self._inside(whole.points)
        if whole is not None and inside is not None and inside.any():
            living = None if whole.living is None else whole.living[inside]
            known = Reference(whole.points[inside], values=whole.values[inside], floor=whole.floor, living=living)
            data["reference"] = known
        return data

    def method(self, name: str, inputs: dict[str, Tensor] | None = None) -> Callable[..., Tensor]:
        """Return a residual method; that of the hand-over is the difference to the previous field."""
        if name not in self.handed:
            return self.part.method(name, inputs)
        names = self.handed[name].names
        return difference(names, tuple(f"{key}_data" for key in names))

    def sample_on(self, name: str, condition: Condition, n: int, data: Batch, generator: Generator) -> Rows:
        """Draw points; those of the hand-over know the values of the previous field."""
        rows = self.part.sample_on(name, condition, n, data, generator)
        if isinstance(condition, Handover) and self.previous is not None:
            with torch.no_grad():
                before = values(condition.names, self.previous, rows, self.part.outputs, self.part.domain.names)
            rows = dataclasses.replace(rows, columns={f"{key}_data": column.detach() for key, column in before.items()})
        return rows

    def _inside(self, points: Tensor) -> Tensor:
        column = self.part.domain.index("t")
        low, high = self.part.domain.bounds[column]
        slack = 1e-6 * (high - low)
        return (points[:, column] >= low - slack) & (points[:, column] <= high + slack)


def window_of(
    problem: PDE,
    start: float,
    end: float,
    previous: nn.Module | None = None,
    fronts: tuple[Front, ...] = (),
    cells: tuple[tuple[float, ...], ...] = (),
) -> PDE:
    """Return a problem on a part of its time interval.

    It has the problem's parameters and residual methods, and a domain of its own. With ``previous``,
    every condition on the face at the start of time is replaced by agreement with that field at ``start``:
    ``handover`` for the values of all unknowns, and ``handover_t`` for their slopes where a condition at the start
    names one or the equations are of second order in time (and so on for higher orders). The weights and numbers
    of points are the largest of the conditions replaced.

    Args:
        problem: The whole problem, which `check_windows` accepts.
        start: First time of the window.
        end: Last time of the window.
        previous: Trained field of the window before, which is evaluated but not trained; None in the first window.
        fronts: Where the solution is steep: points and random features concentrate there.
        cells: For each coordinate the ends of cells that get as many points each, or none.

    Returns:
        The problem on the window.
    """
    domain = _part(problem.domain, start, end)
    part = _on(problem, domain.graded(cells) if cells else domain.stretched(fronts)).with_(
        output_transform=problem.output_transform
    )
    if type(problem).place is not PDE.place:
        part = part.with_(place=_placing(problem, part))
    window = Window(problem, part, previous, {} if previous is None else _handovers(problem, start))
    return part.with_(conditions=window.conditions, load=window.load, method=window.method, sample_on=window.sample_on)


def hands_over_slopes(problem: PDE) -> bool:
    """Return whether a window hands over slopes in time besides values: the equations are of second order in time.

    Args:
        problem: The whole problem, which `check_windows` accepts.
    """
    start = problem.domain.bounds[problem.domain.index("t")][0]
    return f"{HANDOVER}_t" in _handovers(problem, start)


def _on(problem: PDE, domain: Any) -> PDE:
    """Return a problem on another domain, also where its class computes the domain from parameters."""
    cls = type(problem)
    if not isinstance(getattr(cls, "domain", None), property):
        return problem.with_(domain=domain)
    names = {"domain": domain, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    other = copy.copy(problem)
    other.__class__ = type(cls.__name__, (cls,), names)
    return other


def _placing(problem: PDE, part: PDE) -> Callable[[Tensor], Tensor]:
    """Return a user's `place` on a part of the time; one that fills all times has its times mapped to that part."""
    column, place = problem.domain.index("t"), part.place
    (low, high), (start, end) = problem.domain.bounds[column], part.domain.bounds[column]
    slack = 1e-6 * (end - start)

    def placed(unit: Tensor) -> Tensor:
        points = place(unit)
        times = points[:, column]
        if len(times) and (float(times.min()) < start - slack or float(times.max()) > end + slack):
            points = points.clone()
            points[:, column] = start + (times - low) / (high - low) * (end - start)
        return points

    return placed


def may_have_windows(problem: Problem) -> bool:
    """Return whether a problem can be marched in time."""
    try:
        check_windows(problem)
    except InputError:
        return False
    return True


def check_windows(problem: Problem) -> PDE:
    """Refuse a problem that cannot be marched in time.

    Args:
        problem: The problem.

    Returns:
        The problem, which is a PDE.

    Raises:
        InputError: It has no time in a box, wants something at the end of time, or has unknown scalars.
    """
    kind = type(problem).__name__
    domain: Any = getattr(problem, "domain", None)
    box = domain.box if isinstance(domain, Product) else domain
    operator = isinstance(problem, OperatorPDE)
    if operator or not isinstance(problem, PDE) or not isinstance(box, Box) or "t" not in box.names:
        raise InputError(
            f"windows of time need a PDE on a Box with a coordinate t, or on its product with a shape, and no "
            f"operator, got {kind}",
            do="leave windows at 1",
        )
    column = problem.domain.index("t")
    if problem.domain.periodic[column]:
        raise InputError(f"windows of time need a start, but {kind} is periodic in t", do="leave windows at 1")
    if problem.unknown_scalars():
        scalars = ", ".join(problem.unknown_scalars())
        raise InputError(
            f"windows of time need known parameters, but {kind} learns {scalars} from all times together",
            do="leave windows at 1",
        )
    for name, condition in problem.conditions().items():
        ends = problem.domain.face(condition.sides) if condition.kind == "face" else []
        around = condition.kind == "boundary" and domain is box and not condition.part
        parts = around or any(part.startswith("t=") for part in condition.part)
        if parts or "t" in _matched(condition) or any(at == column and sign > 0 for at, _, sign in ends):
            raise InputError(
                f"windows of time need conditions at the start or at all times, but '{name}' holds later",
                do="leave windows at 1",
            )
    return problem


def _part(domain: Any, start: float, end: float) -> Any:
    """Return a domain between two times."""
    if isinstance(domain, Product):
        return Product(_part(domain.box, start, end), domain.shape)
    pairs = zip(domain.names, domain.bounds, domain.periodic, strict=True)
    bounds: dict[str, Any] = {name: periodic(*pair) if wraps else pair for name, pair, wraps in pairs}
    return Box(**(bounds | {"t": (start, end)}))


def _starts(condition: Condition) -> bool:
    return condition.kind == "face" and "t" in condition.sides


def _matched(condition: Condition) -> dict[str, Any]:
    return condition.sides if condition.kind == "paired" else {}


def _elsewhere(condition: Condition) -> Condition | None:
    """Return a condition without the start of time, or None where nothing is left."""
    if not _starts(condition):
        return condition
    if condition.together:
        return None
    sides = {name: ends for name, ends in condition.sides.items() if name != "t"}
    return dataclasses.replace(condition, sides=sides) if sides else None


def _handovers(problem: PDE, start: float) -> dict[str, Handover]:
    """Return one condition for each order of time derivative that an unknown hands over."""
    column = problem.domain.index("t")
    conditions = problem.conditions()
    starting = {name: condition for name, condition in conditions.items() if _starts(condition)}
    orders = {name: orders_along(problem, name, column) for name in conditions}
    highest = dict.fromkeys(problem.outputs, 0)
    for name, named in orders.items():
        for out, order in named.items():
            highest[out] = max(highest[out], order if name in starting else order - 1)
    found: dict[str, Handover] = {}
    for order in range(max(highest.values()) + 1):
        replaced = [c for name, c in starting.items() if max(orders[name].values(), default=0) == order]
        replaced = replaced or list(starting.values())
        counts = [c.points for c in replaced if c.points is not None]
        slopes = "t" * order and "_" + "t" * order
        found[HANDOVER + slopes] = Handover(
            "face",
            {"t": start},
            points=max(counts, default=None),
            weight=max((c.weight for c in replaced), default=1.0),
            names=tuple(out + slopes for out in problem.outputs if highest[out] >= order),
        )
    return found


def orders_along(problem: PDE, name: str, column: int) -> dict[str, int]:
    """Return the highest order of derivative of each unknown, along a coordinate, that a residual method names.

    Args:
        problem: The problem.
        name: Name of the residual.
        column: Column of the coordinate.
    """
    names, outputs, found = problem.domain.names, problem.outputs, {}
    for text in arguments(problem.method(name)):
        if text in names or text in FUNCTIONALS or text.startswith("n_") or text.endswith("_data"):
            continue
        read = parse(text.removesuffix("_low").removesuffix("_high"), outputs, names)
        out = outputs[read.output]
        order = read.along.count(column) + 2 * read.along.count(-1 - column)
        found[out] = max(found.get(out, 0), order)
    return found


def cuts_of(problem: PDE, windows: int) -> tuple[float, ...]:
    """Return the times at which equally long windows begin and end, ``windows + 1`` of them."""
    low, high = problem.domain.bounds[problem.domain.index("t")]
    return (*(low + (high - low) * w / windows for w in range(windows)), high)
