"""One member of a family: the PDE of an operator problem for given input functions, and the operator's answer to it."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.fields.corrected import without_output_transform
from nfsolve.functions import FunctionSpace
from nfsolve.problem.operator.families import as_callable, input_columns
from nfsolve.problem.operator.pde import OperatorPDE
from nfsolve.problem.operator.samples import as_labels
from nfsolve.problem.operator.trained import TrainedOperator
from nfsolve.problem.pde.conditions import Condition, arguments
from nfsolve.problem.pde.evaluate import as_field, call
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.pde.sample import Reference, box_grid
from nfsolve.problem.problem import Batch, SamplerState
from nfsolve.problem.rows import Rows

ALONE = torch.ones(1, 1, dtype=torch.float64)


@dataclass(frozen=True)
class Given(FunctionSpace):
    """The one function that a user gives.

    Attributes:
        function: Takes a column ``(n, 1)`` for each of its coordinates, and gives one; or a number.
    """

    function: Callable[..., Any] | float

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Return ones; as in `FunctionSpace`."""
        return torch.ones(n, 1, dtype=torch.float64)

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate the function; as in `FunctionSpace`."""
        if not callable(self.function):
            return torch.full((len(x), 1), self.function, dtype=x.dtype, device=x.device)
        values = self.function(*(x[:, i : i + 1] for i in range(x.shape[1])))
        return values if not isinstance(values, float | int) else x[:, :1] * 0 + values


@dataclass
class Single(PDE):
    """The PDE of an operator problem for given input functions.

    Attributes:
        operator: The operator problem.
        functions: Input function -> a callable of its coordinates by place, columns ``(n, 1)``, made of torch
            functions; or a number.
    """

    operator: OperatorPDE = field(kw_only=True)
    functions: Mapping[str, Any] = field(kw_only=True)

    domain = property(lambda self: self.operator.domain)  # type: ignore[assignment]  # of the instance
    unknowns = property(lambda self: self.operator.unknowns)  # type: ignore[assignment]
    evaluation = property(lambda self: self.operator.evaluation)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.operator = copy.copy(self.operator)
        self.operator.physics = True
        super().__post_init__()
        missing = [name for name in self.operator.inputs if name not in self.functions]
        if missing:
            raise InputError(f"the input function '{missing[0]}' is missing", do="give a mapping of all by name")
        self.operator.conditions()  # it may have labels alone

    @property
    def spaces(self) -> dict[str, FunctionSpace]:
        """The input functions, each as a space that holds nothing else."""
        given = {name: self.functions[name] for name in self.operator.inputs}
        return {name: Given(f if callable(f) else float(f)) for name, f in given.items()}

    def check(self) -> None:
        """Pass: the operator problem was checked when it was trained."""

    def cautions(self) -> list[str]:
        """Return no words: those of the operator problem were said."""
        return []

    def conditions(self) -> dict[str, Condition]:
        """Return those of the operator problem."""
        return self.operator.conditions()

    def rows_on(self, name: str, condition: Condition, n: int, generator: Generator) -> Rows:
        """Draw points as the operator problem does, with the input functions there."""
        drawn = self.operator.rows_on(name, condition, n, generator)
        wanted = tuple(dict.fromkeys((*arguments(self.operator.method(name)), *self.operator.inputs)))
        given = (self.operator.inputs, self.domain, self.spaces, dict.fromkeys(self.operator.inputs, ALONE))
        return replace(drawn, inputs=input_columns(wanted, *given, drawn.points))

    def residuals(self, field: Any, batch: Batch) -> dict[str, Tensor]:
        """Evaluate the residual methods, with the input functions in their places."""
        names, function = self.domain.names, as_field(field, self.domain.names, self.outputs)
        return {
            name: call(self.operator.method(name, rows.inputs), function, rows, self.outputs, names)
            for name, rows in batch.items()
        }

    def output_transform(self) -> Any:
        """Return the hard constraint, in which input functions are those that are given."""
        if not self.operator._lifts:
            return self.operator.output_transform()
        return partial(_constrained, self.operator.hard_constraint(), self.operator, self.spaces)

    def _reference(self, like: Tensor) -> Reference | None:
        """Solve by the solver of the operator problem, where it has one."""
        grid, spaces = box_grid(self.domain, self.evaluation), self.spaces
        solved = self.operator.labels(*(as_callable(spaces[n], ALONE) for n in self.operator.inputs))
        if solved is None:
            return None
        values = as_labels(solved[0], 1, grid.sizes, self.outputs)[0]
        points = self.as_points(grid.points, like)
        return Reference(points, grid.sizes, None, values=values.to(like), floor=float(solved[1]), living=None)


class Answer(nn.Module):
    """The operator's answer for given input functions as a field of the points alone.

    Args:
        operator: The trained operator.
        problem: The PDE with these functions.
        dtype: Type in which it is evaluated.

    Attributes:
        output_transform: The hard constraint of the problem, applied last.
    """

    def __init__(self, operator: TrainedOperator, problem: Single, dtype: torch.dtype = torch.float64):
        super().__init__()
        raw, _ = without_output_transform(operator.field)
        self.field = raw.to(dtype).requires_grad_(False)
        self.inputs, self.outputs = problem.domain.names, problem.outputs
        # modes of labels have what labels share, a hard constraint too
        self.output_transform = None if getattr(raw, "from_labels", False) else problem.output_transform()
        asked, values = operator.problem, {}
        for name, space in problem.spaces.items():
            at = asked.sensor_points(name)
            values[name] = space.basis(at if at.shape[1] else ALONE).reshape(1, -1).to(dtype)
        self.functions = asked.seen(values)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate at points ``(n, d)``, ``(n, k)``."""
        y = self.field.across(self.functions, x)  # type: ignore[operator]
        return y if self.output_transform is None else self.output_transform(x, y)


def residuals_of(operator: TrainedOperator, functions: Any, n_points: int = 2000, seed: int = 0) -> dict[str, float]:
    """Return how well an operator's answer satisfies the equations: a doubt that needs no solution.

    Args:
        operator: The trained operator.
        functions: As for `single`.
        n_points: Points inside the domain.
        seed: Seed of the points.

    Returns:
        Residual name -> its root mean square, relative to that of the field that is zero everywhere where this is not
        zero itself.
    """
    problem = single(operator, functions, n_points=n_points)
    found, zero = Answer(operator, problem), _Zero(problem)
    scores = {}
    for name, condition in problem.conditions().items():
        rows = problem.rows_on(name, condition, problem._count(condition, SamplerState()), generator(seed, name))
        given = (problem.residuals(f, {name: rows})[name].detach() for f in (found, zero))
        sizes = [float(r.square().mean().sqrt()) for r in given]
        scores[name] = sizes[0] / sizes[1] if sizes[1] > 0 else sizes[0]
    return scores


def single(operator: TrainedOperator, functions: Any, **options: Any) -> Single:
    """Return the PDE that an operator was trained to solve, for given input functions.

    Args:
        operator: The trained operator.
        functions: A callable of its coordinates by place, made of torch functions, or a number; a mapping by name where
            there are several input functions.
        **options: Parameters of `PDE`, such as ``n_points``.
    """
    by_name = functions if isinstance(functions, Mapping) else {next(iter(operator.problem.inputs)): functions}
    for name, f in by_name.items():
        if not callable(f) and not isinstance(f, int | float | np.number):
            raise InputError(
                f"the input function '{name}' must be a callable of its coordinates, since the equation needs it "
                f"between its sensors, got {type(f).__name__}",
                do="give lambda x: torch.sin(x), say, or a spline",
            )
    return Single(operator=operator.problem, functions=by_name, **options)


class _Zero(nn.Module):
    """The field whose raw outputs are zero."""

    def __init__(self, problem: Single):
        super().__init__()
        self.problem, self.transform = problem, problem.output_transform()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x[:, :1] * 0.0] * len(self.problem.outputs), -1)
        return y if self.transform is None else self.transform(x, y)


def _constrained(ansatz: Any, problem: OperatorPDE, spaces: Any, x: Tensor, y: Tensor) -> Tensor:
    """Apply an ansatz that names input functions."""
    given = {}
    for name in problem._lifts:
        columns = [problem.domain.index(c) for c in problem.inputs[name].split()]
        given[name] = spaces[name].basis(x[..., columns] if columns else ALONE.to(y))
    return ansatz(x, y, given)
