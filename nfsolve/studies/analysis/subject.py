"""What is analysed: a field and its problem in float64, at one or several moments of training, and sample points."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nfsolve._core.random import generator
from nfsolve.problem import Objective, Problem, Rows, RunOptions
from nfsolve.problem.pde.sample import Reference
from nfsolve.run.folder import RunFolder
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan, make_field, make_plan, make_stages
from nfsolve.run.solve import reopen
from nfsolve.studies.analysis.sample import Sample, lattice_sizes, times

GRIDS = {1: (1024,), 2: (128, 128), 3: (32, 32, 32)}  # of the domain, by its dimension
State = dict[str, Tensor]


class NotApplicable(Exception):  # no mistake of anybody's
    """An analysis does not apply to a subject; the message says why."""


@dataclass
class Subject:
    """A problem with a field, and what the field's parameters were along training.

    Attributes:
        problem: The problem.
        field: The field on the CPU in float64; `at` gives it the parameters of a moment.
        data: What ``problem.load`` gave, in float64.
        objective: The loss of the run on its first points, in float64.
        states: Step -> parameters.
        maker: What built the field, for networks of the same kind and another size; None where it is not known.
        note: Why a moment one may expect is missing; may be empty.
    """

    problem: Problem
    field: nn.Module
    data: dict[str, Any]
    objective: Objective
    states: dict[int, State]
    maker: Any = None
    note: str = ""

    @classmethod
    def of_problem(
        cls, problem: Problem, steps: int = 0, every: int | None = None, report: Any = None, **options: Any
    ) -> "Subject":
        """Take a problem, and train it for some steps.

        Args:
            problem: The problem.
            steps: Steps of training; 0 looks at the initial field only.
            every: Steps between the moments that are recorded; default so that there are five.
            report: As for `nfsolve.solve`.
            **options: Of `nfsolve.run.plan.make_plan`.

        Returns:
            The subject.

        Raises:
            InputError: Options that do not fit.
        """
        plan = make_plan(problem, **options)
        field = make_field(problem, plan)
        states = {0: _copied(field)}

        def record(row: dict[str, Any]) -> None:
            if "step" in row:
                states[row["step"]] = _copied(run.field)
            if callable(report):
                report(row)

        if steps:
            stages = make_stages(plan.stages, RunOptions(steps=steps))
            training = dataclasses.replace(plan, field=field, stages=stages)
            training = training.with_run(windows=1, log_every=every or max(1, steps // 4))
            run = Run(problem, training, report=record)
            field = run.go().field
        return cls.of_field(problem, field, states, plan.run.seed, plan.field)

    @classmethod
    def of_folder(cls, folder: str | Path, trust: bool = False) -> "Subject":
        """Take the trained field of a run folder, and the initial one built anew.

        Args:
            folder: The run folder.
            trust: Whether the file or module that defines its problem may be run.

        Returns:
            The subject.

        Raises:
            InputError: The folder holds no run, or its files are damaged.
        """
        solution = reopen(folder, trust=trust)
        problem, plan = Plan.from_config(RunFolder(folder).config(), trust=trust)
        states, note = {}, ""
        if plan.run.windows == 1 and not isinstance(plan.field, nn.Module):
            states[0] = _copied(make_field(problem, plan.with_run(device="cpu")))
        else:
            note = "the initial field cannot be built anew: this run has one field for each window of time"
        states[max(solution.steps, 1)] = _copied(solution.field)
        maker = None if isinstance(plan.field, nn.Module) else plan.field
        return cls.of_field(problem, solution.field, states, plan.run.seed, maker, note)

    @classmethod
    def of_field(
        cls,
        problem: Problem,
        field: nn.Module,
        states: dict[int, State] | None = None,
        seed: int = 0,
        maker: Any = None,
        note: str = "",
    ) -> "Subject":
        """Take a field as it is.

        Args:
            problem: The problem.
            field: The field; it is copied.
            states: Step -> parameters; None takes those it has, as step 0.
            seed: Of the points of the loss.
            maker: What built the field.
            note: Why a moment is missing.

        Returns:
            The subject.
        """
        states = states or {0: _copied(field)}
        field = copy.deepcopy(field).cpu().double()
        data = problem.load("cpu", torch.float64)
        objective = Objective(problem, field, data, generator(seed, "points"))
        return cls(problem, field, data, objective, states, maker, note)

    @property
    def last(self) -> int:
        """The latest step."""
        return max(self.states)

    @contextmanager
    def at(self, step: int) -> Iterator[nn.Module]:
        """Return the field with the parameters of a step."""
        with torch.no_grad():
            self.field.load_state_dict(self.states[step])  # copies into float64
        yield self.field

    def parameters(self) -> dict[str, Tensor]:
        """Return the field's trained parameters as they are, detached."""
        return {name: p.detach() for name, p in self.field.named_parameters() if p.requires_grad}

    def function(self) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
        """Return (parameters, points ``(n, d)``) -> the outputs' projection on (1, .., 1)/sqrt(k), ``(n, 1)``."""

        def values(params: dict[str, Tensor], x: Tensor) -> Tensor:
            return project(functional_call(self.field, params, (x,)))

        return values

    def sample(self, most: int | None = None) -> Sample:
        """Return points with the target where the problem has one, else a lattice of its domain.

        Args:
            most: At most so many points; None gives all.

        Returns:
            The sample.

        Raises:
            NotApplicable: The field does not read points of the domain.
        """
        read = inspect.signature(self.field.forward).parameters.values()
        if sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in read) != 1:
            raise NotApplicable(f"a {type(self.field).__name__} takes more than points as input")
        found = _given(self.data) or self._domain()
        width = len(getattr(self.field, "inputs", ())) or found.points.shape[1]
        if found.points.shape[1] != width:
            raise NotApplicable(f"the field reads {width} coordinates and the domain has {found.points.shape[1]}")
        return found if most is None else found.thinned(most)

    def _domain(self) -> Sample:
        domain = getattr(self.problem, "domain", None)
        names = getattr(domain, "names", ())
        if domain is None or not getattr(domain, "solid", False) or len(names) not in GRIDS:
            raise NotApplicable("the problem has neither given values nor a domain of 1 to 3 coordinates with a grid")
        sizes = GRIDS[len(names)]
        return Sample(domain.grid(*sizes).double(), None, sizes, f"a {times(sizes)} grid of the domain's bounds")


def project(values: Tensor) -> Tensor:
    """Project outputs ``(n, k)`` on (1, .., 1)/sqrt(k): one kernel for all of them, ``(n, 1)``."""
    return values.sum(1, keepdim=True) / values.shape[1] ** 0.5


def _copied(field: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in field.state_dict().items()}


def _given(data: dict[str, Any]) -> Sample | None:
    """Find the values that a problem fits, or the reference solution on a grid."""
    rows = data.get("given")
    values = getattr(rows, "values", None)
    if isinstance(rows, Rows) and isinstance(values, Tensor):
        sizes = lattice_sizes(rows.points)
        what = f"the {times(sizes)} given points" if sizes else f"{len(rows)} given points"
        return Sample(rows.points, values, sizes, what)
    known = data.get("reference")
    if isinstance(known, Reference) and known.sizes and known.inside is None and known.living is None:
        return Sample(known.points, known.values, known.sizes, f"the {times(known.sizes)} grid of the reference")
    return None
