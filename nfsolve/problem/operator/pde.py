"""Operators learned from a PDE: its residual methods, unchanged, for B input functions at N shared points.

Wang, Wang & Perdikaris, "Learning the solution operator of parametric partial differential equations with
physics-informed DeepONets", Science Advances 7 (2021) eabi8605. The field's derivatives at the shared points are
computed once for all functions (Leng, Shankar & Thiyagalingam, arXiv 2311.00860, has the same aim).
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_map

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator as seeded
from nfsolve.functions import FunctionSpace, check_leakage
from nfsolve.problem.operator.families import (
    Coefficients,
    as_callable,
    as_read,
    input_columns,
    reconstruction,
    sensor_points,
    several,
)
from nfsolve.problem.operator.samples import FunctionSet, axes_of, label_rows, sizes_of
from nfsolve.problem.operator.scores import relative_errors, scores, worst
from nfsolve.problem.operator.trained import TrainedOperator
from nfsolve.problem.pde.conditions import Condition, arguments
from nfsolve.problem.pde.declared import Declaration
from nfsolve.problem.pde.evaluate import call, one_after_another
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.pde.sample import box_grid
from nfsolve.problem.problem import Batch, SamplerState
from nfsolve.problem.recipe import Recipe, RunOptions, Stage
from nfsolve.problem.rows import FunctionRows, Rows

QUICK_POINTS = 1000  # of the evaluation grid, for the progress line
MOST_ALONG = 64  # points along a coordinate of the grid of a Fourier neural operator, by default
PIECE = 2**21  # values evaluated at once, for memory


@dataclass
class OperatorPDE(PDE):
    """A PDE whose solutions for all input functions of a family are learned by one field.

    Residual methods name input functions and their derivatives as they name unknowns: with ``inputs = {"f": "x"}``
    the argument ``f`` is the value of the input function at the point, and ``f_x`` its slope. A subclass gives their
    distributions in ``spaces``, and may give a solver in ``labels``. An ``ansatz`` may name input functions too.

    Attributes:
        physics: Train on the residuals.
        data: Train on labels, relative to the size of each solution; together with ``physics`` or alone.
        data_weight: Weight of the labels in the loss.
        sensors: Equidistant points along each of its coordinates at which the field sees an input function.
        n_functions: Number of training functions; 0 draws new ones for each mini-batch, which needs no labels.
        n_tests: Number of test functions.
        batch: Functions in a mini-batch.
        n_points: Points in a mini-batch, shared by its functions; for labels, points of the evaluation grid.
        n_face: Points for each `face`, `boundary` or `paired` residual.
        data_seed: Seed of the functions; test functions have a stream of their own.
        solved: Number of functions for which the equations are solved before the training: the field starts from a
            regression on these solutions; with ``data`` they are also its labels, instead of what `labels` gives, and
            these functions are those of the training. They are the first training functions, or new ones where
            ``n_functions`` is 0. With 0 the field starts from nothing.
        inputs: Input function -> the coordinates on which it depends, separated by spaces; none for a number.
    """

    physics: bool = field(default=True, kw_only=True)
    data: bool = field(default=False, kw_only=True)
    data_weight: float = field(default=1.0, kw_only=True)
    sensors: int = field(default=100, kw_only=True)
    n_functions: int = field(default=1000, kw_only=True)
    n_tests: int = field(default=100, kw_only=True)
    batch: int = field(default=64, kw_only=True)
    n_points: int = field(default=256, kw_only=True)
    n_face: int = field(default=64, kw_only=True)
    data_seed: int = field(default=0, kw_only=True)
    solved: int = field(default=0, kw_only=True)

    inputs: ClassVar[dict[str, str]] = {"f": "x"}
    resample_every: ClassVar[int] = 1
    _opened: ClassVar[bool] = False
    pointwise: ClassVar[bool] = False  # a row belongs to a point and to a function

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in {"sensors": 1, "n_functions": 0, "n_tests": 2, "batch": 1, "solved": 0}.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not (self.physics or self.data):
            raise InputError(
                "an operator trains on physics, on data or on both, got neither", do="give --physics or --data"
            )
        if self.data and not (self.n_functions or self.solved):
            raise InputError(
                "data=True needs labelled functions, got n_functions = 0",
                do="say how many, as in n_functions=1000, or in solved=1000 to make labels from the equations",
            )
        if self.adapts:
            raise InputError(
                f"points that all functions share cannot adapt to the residual of one, got adaptive={self.adaptive}",
                do="leave adaptive at none",
            )
        taken = set(self.inputs) & {*self.outputs, *self.domain.names}
        if taken:
            raise InputError(
                f"the input function '{min(taken)}' has the name of a coordinate or of an unknown", do="rename it"
            )

    @abstractmethod
    def spaces(self) -> dict[str, FunctionSpace]:
        """Return the `nfsolve.functions.FunctionSpace` of each input function, in the order of ``inputs``."""

    def labels(self, *functions: Callable[[Any], np.ndarray]) -> tuple[Any, float] | None:
        """Solve for input functions; None where there is no solver, and then no score.

        Args:
            *functions: One callable for each input function, points ``(m,)`` or ``(m, d)`` -> values ``(n, m)``.

        Returns:
            Solutions on the evaluation grid, ``(n, *evaluation)``, with k unknowns ``(n, *evaluation, k)``, and their
            relative error.
        """
        return None

    def stored(self, part: str) -> tuple[dict[str, Tensor], Any, float] | None:
        """Return functions and solutions that exist already, as in a file, instead of drawing and solving.

        Args:
            part: ``train`` or ``test``.

        Returns:
            Values at the sensors ``(n, m)``, float64, by input function; solutions and their error as in `labels`.
        """
        return None

    def shifted(self) -> "OperatorPDE | None":
        """Return this problem with functions of another kind, to test on what was not trained for; or None."""
        return None

    def output_transform(self) -> Any:
        """Return the hard constraint that the field applies; one that names input functions is applied here instead."""
        return None if self._lifts else super().output_transform()

    @property
    def _lifts(self) -> tuple[str, ...]:
        """Input functions that ``ansatz`` names."""
        wanted = arguments(self.ansatz) if hasattr(self, "ansatz") else ()  # type: ignore[attr-defined]
        return tuple(name for name in self.inputs if name in wanted)

    def _lifting(self, like: Tensor) -> dict[str, Tensor]:
        """Return the matrices from sensor values to coefficients, of the input functions that ``ansatz`` names."""
        return {n: reconstruction(self.spaces()[n], self.sensor_points(n), like) for n in self._lifts}

    def conditions(self) -> dict[str, Condition]:
        """Return the marked residual methods; none without physics."""
        return super().conditions() if self.physics else {}

    def cautions(self) -> list[str]:
        """Say what the equations may lack; without physics they play no part."""
        return super().cautions() if self.physics else []

    def _declaration(self) -> Declaration:
        return replace(super()._declaration(), base=OperatorPDE, inputs=tuple(self.inputs))

    def weights(self) -> dict[str, float]:
        """Return the weights written in the marks, and that of the labels where there are any."""
        return super().weights() | ({"data": self.data_weight} if self.data else {})

    def sensor_points(self, name: str) -> Tensor:
        """Return the points at which the field sees an input function.

        Args:
            name: The input function.

        Returns:
            Points ``(m, d)`` of its own coordinates, float64.
        """
        return sensor_points(self.domain, tuple(self.inputs[name].split()), self.sensors)

    def own_sensors(self, name: str) -> bool:
        """Say whether each function has sensors of its own for an input; see `nfsolve.functions.Pairs`."""
        return False

    @property
    def sensor_counts(self) -> Any:
        """Number of sensors, for the field; a tuple with several input functions."""
        return as_read([len(self.sensor_points(name)) for name in self.inputs])

    def layout(self) -> dict[str, Any]:
        """Return how functions lie on a grid, for `nfsolve.fields.FNO`.

        Returns:
            ``grid``, points of the outputs along each coordinate, at most 64 of them; and ``shapes``, sensors of each
            input function along each coordinate.

        Raises:
            InputError: The problem has no evaluation grid.
        """
        if not self.evaluation:
            raise InputError(
                f"a Fourier neural operator needs a grid, and {type(self).__name__} has none", do="write evaluation ="
            )
        names, sizes = self.domain.names, zip(self.evaluation, self.domain.periodic, strict=True)
        shapes = [tuple(self.sensors if n in own.split() else 1 for n in names) for own in self.inputs.values()]
        return {"grid": tuple(min(n - wraps, MOST_ALONG) for n, wraps in sizes), "shapes": tuple(shapes)}

    def seen(self, values: dict[str, Tensor]) -> Any:
        """Turn values at the sensors ``(n, m)`` by input function into what the field reads."""
        return as_read([values[name] for name in self.inputs])

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Draw training and test functions and solve for the labels."""
        given = self.spaces()
        if given and set(given) != set(self.inputs):
            raise InputError(
                f"spaces() must return one space for each of {', '.join(self.inputs)}, got {', '.join(given)}",
                do="give them the same names",
            )
        for name, condition in self.conditions().items():
            if condition.kind == "integral":
                raise InputError(
                    f"an operator has no integrals over its points yet, but '{name}' is @integral",
                    do="solve the problem for single functions, or leave the condition out",
                )
            if condition.fixed:
                mark = "@measured" if condition.kind == "measured" else f"@{condition.kind}(points=...)"
                raise InputError(
                    f"an operator cannot train on given points, but '{name}' is {mark}",
                    do="give labels of whole functions, see labels(...)",
                )
        like = torch.empty(0, device=device, dtype=dtype)
        grid = box_grid(self.domain, self.evaluation)
        data: Batch = {"like": like, "grid": replace(grid, points=self.as_points(grid.points, like))}
        data["lifting"] = self._lifting(like)
        data["quick"] = torch.randperm(len(grid.points), generator=seeded(0, "quick"))[:QUICK_POINTS].to(device)
        if self.data and self.solved:
            data["train"], data["places"] = self.solved_set(like)
        else:
            data["train"] = self.function_set("train", self.n_functions, like, grid.sizes, labelled=self.data)
        for part, problem in {"test": self, "ood": self.shifted()}.items():
            if problem is not None:
                data[part] = problem.function_set(part, self.n_tests, like, grid.sizes)
                check_leakage(data["train"].values, data[part].values)
        return data

    def function_set(
        self, purpose: str, n: int, like: Tensor, sizes: tuple[int, ...], labelled: bool = True
    ) -> FunctionSet:
        """Draw functions and, where there is a solver, solve for them; or take those that are stored.

        Args:
            purpose: Which stream of ``data_seed``.
            n: Number of functions.
            like: Type and device of the field.
            sizes: Points of the evaluation grid along each coordinate.
            labelled: Whether the solutions are wanted.

        Returns:
            The functions.

        Raises:
            InputError: Training needs solutions that the problem does not give, or they do not fit.
        """
        stored = self.stored(purpose)
        if stored is not None:
            values, *solved = stored
            found = FunctionSet(*self.read(values, like))
        else:
            spaces, chance = self.spaces(), seeded(self.data_seed, purpose)
            coefficients = {name: space.sample(n, chance) for name, space in spaces.items()}
            found = FunctionSet(*self.read(self.at_sensors(coefficients), like), coefficients)
            callables = (as_callable(spaces[name], coefficients[name]) for name in self.inputs)
            solved = self.labels(*callables) if labelled else None
        if solved is not None:
            return found.with_labels(solved, sizes, self.outputs, like)
        if labelled and self.data:
            raise InputError(
                f"{type(self).__name__} has no solutions to train on", do="write a method labels(self, ...)"
            )
        return found

    def solved_set(self, like: Tensor) -> tuple[FunctionSet, Tensor]:
        """Solve the equations of ``solved`` functions; return them with their solutions at points, and these.

        Raises:
            InputError: The equations cannot be solved in these ways.
        """
        from nfsolve.problem.operator.solved import labels

        found = labels(self, self.solved)
        if isinstance(found, str):
            raise InputError(
                f"the equations of {type(self).__name__} are not solved before the training: {found}",
                do="write a method labels(self, ...) and leave solved out, or train on the equations",
            )
        functions = FunctionSet(*self.read(self.at_sensors(found.drawn), like), found.drawn)
        truth, size = found.truth.to(like.device, like.dtype), sizes_of(found.truth).to(like)
        return replace(functions, truth=truth, size=size, floor=found.doubt), self.as_points(found.points, like)

    def at_sensors(self, coefficients: Coefficients) -> dict[str, Tensor]:
        """Evaluate functions at their sensors, ``(n, m)`` by input function, float64."""
        spaces = self.spaces()
        return {name: spaces[name].evaluate(c, self.sensor_points(name)) for name, c in coefficients.items()}

    def read(self, values: dict[str, Tensor], like: Tensor) -> tuple[Any, Tensor]:
        """Return what the field reads of values at the sensors ``(n, m)`` by input function, and them side by side."""
        seen = self.seen({name: column.to(like) for name, column in values.items()})
        return seen, torch.cat([values[name] for name in self.inputs], 1)

    def snapshots(self) -> tuple[list[Tensor], Tensor]:
        """Return the solutions for the training functions, solved for once more, to a field that is made of them.

        Returns:
            The coordinates along each axis of the evaluation grid, and solutions ``(n, *evaluation, k)``, float64.

        Raises:
            InputError: The problem trains without labels.
        """
        if not self.data:
            raise InputError(
                "this field is made of training labels, but the problem trains without them", do="give --data"
            )
        grid = box_grid(self.domain, self.evaluation)
        truth = self.function_set("train", self.n_functions, torch.empty(0), grid.sizes).truth
        assert truth is not None  # or it was refused
        return axes_of(grid.points, grid.sizes), truth.unflatten(1, grid.sizes)

    def training_functions(self) -> tuple[Tensor, ...]:
        """Return the training functions of `snapshots` as the field reads them, ``(n, sensors)`` each, float64."""
        like, sizes = torch.empty(0, dtype=torch.float64), box_grid(self.domain, self.evaluation).sizes
        return several(self.function_set("train", self.n_functions, like, sizes, labelled=False).functions)

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Draw a mini-batch of functions, and points for each part of the domain that they share."""
        rows, coefficients, functions = self._minibatch(data, generator)
        common = {"functions": functions, "lifting": data["lifting"]}
        batch: Batch = {}
        for name, condition in self.conditions().items():
            drawn = self.rows_on(name, condition, self._count(condition, state), generator)
            batch[name] = self.with_functions(name, drawn, coefficients, functions, data["like"], data["lifting"])
        if self.data:
            grid = data["places"] if "places" in data else data["grid"].points
            places = torch.randperm(len(grid), generator=generator)[: self.n_points]
            rows, places = rows.to(data["like"].device), places.to(data["like"].device)
            train = data["train"]
            batch["data"] = label_rows(
                grid[places], train.truth[rows[:, None], places], train.size[rows], data["like"], **common
            )
        return batch

    def with_functions(
        self,
        name: str,
        drawn: Rows,
        coefficients: Coefficients,
        functions: Any,
        like: Tensor,
        lifting: dict[str, Tensor],
    ) -> FunctionRows:
        """Return the points of a residual with the input functions there.

        Args:
            name: The residual.
            drawn: Its points, float64.
            coefficients: B functions.
            functions: What the field reads of them.
            like: Type and device of the field.
            lifting: As in `FunctionRows`.
        """
        # the functions themselves are there even where only D has them, which refuses them
        wanted = dict.fromkeys((*arguments(self.method(name)), *self.inputs))
        inputs = input_columns(tuple(wanted), self.inputs, self.domain, self.spaces(), coefficients, drawn.points)
        drawn = tree_map(partial(self.as_points, like=like), drawn)
        inputs = {key: column.to(like) for key, column in inputs.items()}
        return FunctionRows(
            drawn.points, drawn.normals, drawn.partners, inputs=inputs, functions=functions, lifting=lifting
        )

    def to_solve(self, count: int) -> Coefficients:
        """Return the functions whose equations are solved before the training.

        Args:
            count: How many, at most.

        Returns:
            Coefficients by input function: the first training functions, or new ones where ``n_functions`` is 0.
        """
        stream, n = ("train", self.n_functions) if self.n_functions else ("solved", count)
        chance = seeded(self.data_seed, stream)
        return {name: space.sample(n, chance)[:count] for name, space in self.spaces().items()}

    def on_equations(self) -> Any:
        """Return a map, to coefficients in a basis, from which a field starts, and box and sizes of the basis; or None.

        It is an affine map or a kernel regression, fitted to solutions of the equations of ``solved`` functions.
        """
        if not self.solved or self._opened:
            return None
        from nfsolve.problem.operator.solved import start

        found = start(self, self.solved)
        if isinstance(found, str):
            if not self.data:  # or its labels are all that is made of them
                warnings.warn(f"the equations are not solved before the training: {found}", stacklevel=2)
            return None
        return found

    def with_given(self, stored: dict[str, Any]) -> Self:
        """Return this problem as a run folder kept it: what a field starts from is among its weights."""
        return super().with_given(stored).with_(_opened=True)

    def share(self, batch: Batch, rank: int, count: int) -> Batch:
        """Divide the functions among processes."""
        edges = {name: (rank * rows.copies // count, (rank + 1) * rows.copies // count) for name, rows in batch.items()}
        return {name: batch[name].part(*edge) for name, edge in edges.items() if edge[0] < edge[1]}

    def _minibatch(self, data: Batch, chance: Generator) -> tuple[Tensor, Coefficients, Any]:
        """Return rows of training functions, their coefficients, and what the field reads; without any, new ones."""
        if not (self.n_functions or self.data):
            coefficients = {name: space.sample(self.batch, chance) for name, space in self.spaces().items()}
            return torch.empty(0), coefficients, self.read(self.at_sensors(coefficients), data["like"])[0]
        train: FunctionSet = data["train"]
        rows = torch.randperm(len(train), generator=chance)[: self.batch]
        coefficients = {name: c[rows] for name, c in train.coefficients.items()}
        return rows, coefficients, as_read([f[rows.to(f.device)] for f in several(train.functions)])

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Draw another mini-batch of functions, at fresh points; labels have no fresh ones."""
        counts = {name: self._count(c, SamplerState()) for name, c in self.conditions().items() if name in batch}
        factor = max((len(batch[name].points) / n for name, n in counts.items()), default=1.0)
        drawn = self.sample(data, SamplerState(points=max(factor, 1.0)), generator)
        return {name: drawn[name] for name in self.conditions()}

    def residuals(self, field: Any, batch: Batch) -> dict[str, Tensor]:
        """Evaluate the residual methods for each function at each point, and the misfit of the labels.

        Args:
            field: A field with ``across(functions, points)``, ``(n, B k)``.
            batch: What `sample` gave, or some of its residuals.

        Returns:
            Residual name -> ``(B n, k)``, one function after the other.
        """
        names, found = self.domain.names, {}
        for name, rows in batch.items():
            function = self.function(field, rows)
            if name == "data":
                values = one_after_another(function(rows.points), rows.copies)
                misfit = (values - rows.truth) / rows.size
                found[name] = torch.where(misfit.isnan() & rows.truth.isnan(), 0.0, misfit)  # a label that is missing
            else:
                found[name] = call(self.method(name, rows.inputs), function, rows, self.outputs, names)
        return self.in_type_of(field, found)

    def function(self, field: Any, rows: FunctionRows) -> Callable[[Tensor], Tensor]:
        """Return the solutions for B functions side by side, points ``(n, d)`` -> ``(n, B k)``.

        Args:
            field: A field with ``across``.
            rows: What the field reads of B functions.

        Returns:
            A function of points, as `nfsolve.diff.partials` takes it.

        Raises:
            InputError: The field does not take functions.
        """
        if not hasattr(field, "across"):
            raise InputError(
                f"an operator needs a field that takes functions, which {type(field).__name__} does not",
                do="use DeepONet",
            )
        plain = partial(field.across, rows.functions)
        return partial(self._lifted, plain, rows) if self._lifts and not getattr(field, "from_labels", False) else plain

    def _lifted(self, plain: Callable[[Tensor], Tensor], rows: FunctionRows, points: Tensor) -> Tensor:
        """Apply an ansatz that names input functions to raw outputs, points ``(n, d)`` -> ``(n, B k)``."""
        given = {}
        for name, values in zip(self.inputs, several(rows.functions), strict=True):
            if name in rows.lifting:
                columns = [self.domain.index(c) for c in self.inputs[name].split()]
                basis = self.spaces()[name].basis(points[:, columns])
                given[name] = F.linear(basis.to(values), values @ rows.lifting[name].T)[..., None]
        raw, k = plain(points), len(self.outputs)
        ansatz = self.hard_constraint()
        assert ansatz is not None
        return ansatz(points[:, None], raw.unflatten(-1, (raw.shape[-1] // k, k)), given).flatten(-2)

    def predict(self, field: Any, functions: Any, points: Tensor) -> Tensor:
        """Evaluate the solutions that a field gives for several functions.

        Args:
            field: The field.
            functions: What it reads, of B functions.
            points: Points ``(n, d)``.

        Returns:
            Values ``(B, n, k)``.
        """
        like = next(field.parameters(), points) if isinstance(field, nn.Module) else points
        rows = FunctionRows(points, functions=functions, lifting=self._lifting(like))
        function = self.function(field, rows)
        parts = [function(part) for part in points.split(max(1, PIECE // rows.copies))]
        return torch.cat(parts).unflatten(-1, (rows.copies, -1)).transpose(0, 1)

    def errors(self, field: Any, data: Batch, part: str = "test", places: Any = slice(None)) -> Tensor:
        """Return the relative L2 error of each function and unknown.

        Args:
            field: The field.
            data: What `load` gave.
            part: ``test``, or ``ood`` for functions of another kind.
            places: Which points of the evaluation grid.

        Returns:
            ``(functions, k)``, on the CPU; not a number where the solution is zero everywhere.
        """
        with torch.no_grad():
            values = self.predict(field, data[part].functions, data["grid"].points[places])
        return relative_errors(values, data[part].truth[:, places])

    def quick_metrics(self, field: Any, data: Batch) -> dict[str, Any]:
        """Return the mean error over the test functions on some points of the grid."""
        if data["test"].truth is None:
            return {}
        return {"relative_l2": worst(self.errors(field, data, places=data["quick"]))[0]}

    def metrics(self, field: Any, data: Batch) -> dict[str, Any]:
        """Return what `scores` says of the test functions; nothing without labels.

        Of functions of another kind there is the mean error of the worst unknown, and what differs in them.
        """
        test: FunctionSet = data["test"]
        if test.truth is None:
            return {}
        with torch.no_grad():
            values = self.predict(field, test.functions, data["grid"].points)
        found = scores(values, test.truth, test.floor, self.outputs)
        other = self.shifted()
        if other is not None and data["ood"].truth is not None:
            found["relative_l2_ood"] = worst(self.errors(field, data, "ood"))[0]
            pairs = {f.name: (getattr(other, f.name), getattr(self, f.name)) for f in fields(self)}
            found |= {f"ood_{name}": theirs for name, (theirs, ours) in pairs.items() if theirs != ours}
        return found

    def recipe(self) -> Recipe:
        """Return a default for any operator: branch and trunk of four layers under SOAP.

        The branch has a linear part beside its network, which alone has most of a nearly linear operator.
        """
        from nfsolve.fields import GELU, DeepONet, Skip
        from nfsolve.optim import SOAP

        return Recipe(
            field=partial(DeepONet, width=64, depth=4, latent=64, activation=GELU(), branch=Skip(activation=GELU())),
            stages=(Stage(partial(SOAP, lr=3e-3), steps=3000, schedule="cosine"),),
            run=RunOptions(log_every=200),
        )

    def trained(self, field: nn.Module) -> nn.Module:
        """Return what a user calls on functions of their own: the field behind checks."""
        return TrainedOperator(field, self)

    def export(self, field: Any, data: Batch, folder: Path) -> None:
        """Write coordinates, inputs, predictions, solutions and errors of the test functions to ``predictions.npz``."""
        test, grid = data["test"], data["grid"]
        shape = (-1, *grid.sizes, len(self.outputs))
        with torch.no_grad():
            arrays = {"predicted": self.predict(field, test.functions, grid.points).reshape(shape)}
        if test.truth is not None:
            arrays |= {"solved": test.truth.reshape(shape), "relative_l2": self.errors(field, data)}
        for name, values in zip(self.inputs, several(test.functions), strict=True):
            arrays |= {name: values, f"{name}_sensors": self.sensor_points(name)}
        arrays |= dict(zip(self.domain.names, axes_of(grid.points, grid.sizes), strict=True))
        held: dict[str, Any] = {name: values.float().cpu().numpy() for name, values in arrays.items()}
        np.savez_compressed(folder / "predictions.npz", **held)
