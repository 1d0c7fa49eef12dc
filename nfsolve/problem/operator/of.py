"""Any PDE as an operator problem: name a parameter or a condition, and it becomes the input function."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.functions import FunctionSpace, Numbers
from nfsolve.metrics import relative_l2
from nfsolve.problem.operator.pde import OperatorPDE
from nfsolve.problem.pde.conditions import Condition, arguments, difference
from nfsolve.problem.pde.evaluate import as_field
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.pde.sample import box_grid
from nfsolve.problem.problem import Batch
from nfsolve.problem.rows import Rows


@dataclass
class OperatorOf(OperatorPDE):
    """The result of `operator_of`, whose arguments, and those of `OperatorPDE`, are the attributes."""

    pde: PDE
    """the PDE"""
    varies: str
    """what varies: a parameter of the PDE, or a condition on a face"""
    over: FunctionSpace
    """the space of what varies"""
    of: str = ""
    """coordinates on which it depends"""
    solver: Callable[..., tuple[Any, float]] | None = None
    """what gives the labels"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_space()
        if self.varies in self._parameters():
            self._check_ansatz()
        elif self.varies not in self.pde.conditions():
            known = (*self._parameters(), *self.pde.conditions())
            raise unknown("parameter or condition", self.varies, known, f"{type(self.pde).__name__} has these")
        else:
            self._argument()

    domain = property(lambda self: self.pde.domain)  # type: ignore[assignment]  # of the instance
    unknowns = property(lambda self: self.pde.unknowns)  # type: ignore[assignment]
    evaluation = property(lambda self: self.pde.evaluation)  # type: ignore[assignment]
    inputs = property(lambda self: {self.varies: self.of})  # type: ignore[assignment]

    def spaces(self) -> dict[str, Any]:
        """Return the space of what varies."""
        return {self.varies: self.over}

    def seen(self, values: dict[str, Tensor]) -> Any:
        """Scale numbers; as in `OperatorPDE`."""
        read = super().seen(values)
        return self.over.scaled(read) if isinstance(self.over, Numbers) else read

    def conditions(self) -> dict[str, Condition]:
        """Return those of the PDE; none without physics."""
        return self.pde.conditions() if self.physics else {}

    def output_transform(self) -> Any:
        """Return the hard constraint of the PDE."""
        return self.pde.output_transform()

    def rows_on(self, name: str, condition: Condition, n: int, generator: Generator) -> Rows:
        """Draw points as the PDE does."""
        return self.pde.with_(sampler=self.sampler).rows_on(name, condition, n, generator)

    def method(self, name: str, inputs: dict[str, Tensor] | None = None) -> Callable[..., Tensor]:
        """Return a residual method of the PDE, with what varies in its place."""
        if name == self.varies:
            return difference((self._argument(),), (name,))
        if inputs and self.varies in self._parameters():
            return self.pde.with_(**{self.varies: inputs[self.varies]}).method(name)
        return self.pde.method(name)

    def _parameters(self) -> tuple[str, ...]:
        fields = (f.name for f in dataclasses.fields(self.pde) if f.init)
        own = {f.name for f in dataclasses.fields(PDE)}
        return tuple(n for n in fields if n not in own and isinstance(getattr(self.pde, n), int | float))

    def _argument(self) -> str:
        """Name of the one unknown, or derivative of one, of the condition that varies."""
        condition = self.pde.conditions()[self.varies]
        known = (*self.domain.names, *(f"n_{n}" for n in self.domain.names), "D")
        named = [a for a in arguments(getattr(self.pde, self.varies)) if a not in known]
        if condition.kind != "face" or len(named) != 1:
            raise InputError(
                f"only a @face condition on one unknown, or on one of its derivatives, can vary, but "
                f"'{self.varies}' is @{condition.kind} and names {', '.join(named) or 'none'}",
                do="vary a parameter instead, or write the condition as u minus its target",
            )
        return named[0]

    def _check_space(self) -> None:
        """Refuse a space on other coordinates, or other bounds, than those of what varies."""
        if not isinstance(self.over, FunctionSpace):
            raise InputError(
                f"what varies must have bounds (low, high) or a space of functions, got over={self.over!r}",
                do="give over=(0.01, 0.1), or over=GaussianField(0.2)",
            )
        if isinstance(self.over, Numbers):
            if self.varies in self.pde.conditions():
                raise InputError(
                    f"the condition '{self.varies}' holds on a face, so what varies there are functions, not numbers",
                    do="give over= a space of functions, such as GaussianField(0.2)",
                )
            return
        names = self.of.split()
        for name in names:
            if name not in self.pde.domain.names:
                raise unknown("coordinate", name, self.pde.domain.names)
        given = getattr(self.over, "box", (getattr(self.over, "bounds", None),) * len(names))
        for name, bounds in zip(names, given, strict=False):
            own = self.pde.domain.bounds[self.pde.domain.index(name)]
            if bounds is not None and (bounds[0] > own[0] or bounds[1] < own[1]):
                raise InputError(
                    f"the functions must be defined on all of {own[0]:g} <= {name} <= {own[1]:g}, but theirs is "
                    f"[{bounds[0]:g}, {bounds[1]:g}]",
                    do=f"give {type(self.over).__name__}(..., bounds=({own[0]:g}, {own[1]:g}))",
                )

    def _check_ansatz(self) -> None:
        """Refuse a hard constraint that depends on the parameter: the field would have it for one value."""
        if not hasattr(self.pde, "ansatz"):
            return
        points = self.domain.interior(8, lambda n, d: torch.full((n, d), 0.3, dtype=torch.float64))
        raw = torch.full((len(points), len(self.outputs)), 0.7, dtype=torch.float64)
        values = torch.tensor([1.0, 2.0], dtype=torch.float64)  # tensors, which no constructor checks
        first, second = (self.pde.with_(**{self.varies: v}).output_transform()(points, raw) for v in values)  # type: ignore[misc]
        if not torch.equal(first, second):
            raise InputError(
                f"'{self.varies}' cannot vary, because the ansatz of {type(self.pde).__name__} depends on it",
                do="write the ansatz without it",
            )

    def labels(self, *functions: Callable[[Any], np.ndarray]) -> tuple[Any, float] | None:
        """Solve by what was given, or by the exact solution for each number."""
        if self.solver is not None:
            return self.solver(*functions)
        if not isinstance(self.over, Numbers) or not hasattr(self.pde, "exact"):
            return None
        grid, solved = box_grid(self.domain, self.evaluation), []
        for value in functions[0](np.empty((1, 0)))[:, 0]:
            member = self.pde.with_(**{self.varies: float(value)})
            solved.append(as_field(member.exact, self.domain.names)(grid.points))  # type: ignore[attr-defined]
        return torch.stack(solved).reshape(len(solved), *grid.sizes, -1).numpy(), self.pde.exact_error

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Draw functions and solve for them; the PDE's own solution is scored too, where it is known."""
        data = super().load(device, dtype)
        own, mine = self.pde.load(device, dtype), self._own()
        if isinstance(self.over, Numbers) and mine is not None and not self.over.low <= mine[0, 0] <= self.over.high:
            mine = None  # it is none of those that are trained
        if "reference" in own and mine is not None:
            data["own"] = self.seen({self.varies: mine.to(data["like"])}), own["reference"]
        return data

    def _own(self) -> Tensor | None:
        """Return what varies as the PDE itself has it, at the sensors, ``(1, m)``; None where it cannot be told."""
        sensors = self.sensor_points(self.varies)
        if self.varies in self._parameters():
            return torch.full((1, len(sensors)), float(getattr(self.pde, self.varies)), dtype=torch.float64)
        sides, own = self.pde.conditions()[self.varies].sides, self.of.split()
        columns = {c: sensors[:, i : i + 1] for i, c in enumerate(own)}
        ends = {c: next(iter(e)) if isinstance(e, tuple | list) else e for c, e in sides.items()}
        columns |= {c: torch.full_like(sensors[:, :1], float(end)) for c, end in ends.items()}
        columns[self._argument()] = torch.zeros_like(sensors[:, :1])
        method = getattr(self.pde, self.varies)
        if not set(arguments(method)) <= set(columns):
            return None
        # the condition is u - target, so that its residual at u = 0 is minus the target
        return -torch.as_tensor(method(*(columns[a] for a in arguments(method)))).expand(len(sensors), 1).T

    def quick_metrics(self, field: Any, data: Batch) -> dict[str, Any]:
        """Score as `OperatorPDE` does, or without labels on the PDE's own solution."""
        scores = super().quick_metrics(field, data) or self._own_score(field, data)
        return {key: value for key, value in scores.items() if key == "relative_l2"}

    def metrics(self, field: Any, data: Batch) -> dict[str, Any]:
        """Score as `OperatorPDE` does, and on the PDE's own solution; on this alone where there are no labels."""
        return self._own_score(field, data) | super().metrics(field, data)

    def _own_score(self, field: Any, data: Batch) -> dict[str, Any]:
        if "own" not in data:
            return {}
        functions, reference = data["own"]
        with torch.no_grad():
            values = self.predict(field, functions, reference.points)[0]
        errors = [relative_l2(values[:, i], reference.values[:, i]) for i in range(len(self.outputs))]
        return {"relative_l2": max(errors), "relative_l2_own": max(errors), "reference_floor_own": reference.floor}


def operator_of(
    pde: PDE,
    varies: str,
    over: tuple[float, float] | FunctionSpace,
    of: str | None = None,
    solver: Callable[..., tuple[Any, float]] | None = None,
    **options: Any,
) -> OperatorOf:
    """Turn a PDE into the problem of learning its solutions for all values of something that it holds fixed.

    ``operator_of(Burgers(), varies="nu", over=(0.01, 0.1))`` varies a number,
    ``operator_of(Heat(), varies="k", over=GaussianField(0.2), of="x")`` makes it a function of x, and
    ``operator_of(Burgers(), varies="initial", over=GaussianField(0.4, bounds=(-1, 1)))`` varies what u is compared with
    in the condition of that name. The residual methods stay as they are: a parameter is a column in them.

    Args:
        pde: The PDE, with its other parameters.
        varies: A parameter (a number in its dataclass), or a `face` condition on one unknown or derivative.
        over: Bounds of a number, or the space of functions.
        of: Coordinates of these functions, separated by spaces; None takes those that vary on the face, and for a
            parameter all but t.
        solver: Gives the solutions; as `OperatorPDE.labels`. None takes the exact solution where a number varies.
        **options: Parameters of `OperatorPDE`, such as ``n_functions`` and ``n_points``.

    Returns:
        The problem. Without labels it is scored on the PDE's own solution, where that is known.

    Raises:
        InputError: There is no such parameter or condition, or it cannot vary.
    """
    if isinstance(over, tuple | list):
        over, of = Numbers(*over), ""
    if isinstance(over, Numbers):
        of = ""
    if of is None:
        conditions = pde.conditions()
        fixed = set(conditions[varies].sides) if varies in conditions else {"t"}
        of = " ".join(name for name in pde.domain.names if name not in fixed)
    known = [f.name for f in dataclasses.fields(OperatorPDE) if f.init]
    for name in options:
        if name not in known:
            raise unknown("option of operator_of", name, known)
    return OperatorOf(pde, varies, over, of, solver, **options)
