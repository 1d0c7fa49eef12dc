"""Recipes: the field, the stages of optimizers and the options of a run that are the defaults of a problem."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from nfsolve._core.device import choose_dtype
from nfsolve._core.errors import InputError, unknown
from nfsolve.domains import Front
from nfsolve.fields import Factorization
from nfsolve.weighting import Constant, Weighting

SCHEDULES = ("constant", "cosine", "exponential")


@dataclass(frozen=True)
class Stage:
    """One optimizer and how long it runs.

    Attributes:
        optimizer: Takes parameters and gives a `torch.optim.Optimizer`; a class or a `functools.partial`.
        steps: Number of optimizer steps.
        resample: Steps between draws of new points, rays or mini-batches; None takes the problem's
            ``resample_every``, 0 never resamples.
        schedule: Factor on the learning rate: ``constant``, ``cosine`` (to zero) or ``exponential``
            (to one hundredth), over the steps of the stage. Optimizers without a learning rate have no schedule.
        points: Factor on the number of points inside the domain: a stage that finds the shape of the solution needs
            fewer points than one that refines it.
        faces: Points on each single side of the domain, relative to ``n_face`` of the problem. They count if they are
            more than a condition has otherwise: its points are shared by all its sides and grow with ``points``.
        coarsen: Number of pixels, voxels or detector bins that are merged along each side, for problems with such a
            resolution: a stage that finds the large structures needs fewer of them.
        warmup: Fraction of the steps over which the learning rate first rises linearly; the schedule then runs over
            the steps that are left.
        only: Prefix of the names of the parameters that it trains, such as ``branches``; empty trains all.
        share: Part of a time limit that the stages before it leave for it, in [0, 1): one that has few steps and comes
            last would not begin otherwise.
        patience: The stage ends after so many steps, or half of its steps so far if these are more, in which the lowest
            loss has not fallen by a tenth; 0 never ends it.
        overfit: The stage ends, at a row of the history, where held-out residuals are so many times those at its
            points; 0 never ends it.

    Examples:
        >>> from functools import partial
        >>> import torch
        >>> stage = Stage(partial(torch.optim.Adam, lr=1e-2), steps=100, schedule="cosine", warmup=0.1)
        >>> [round(stage.rate(step), 3) for step in (0, 10, 55, 99)]
        [0.091, 1.0, 0.5, 0.0]
    """

    optimizer: Callable[..., Any]
    steps: int
    resample: int | None = None
    schedule: str = "constant"
    points: float = 1.0
    faces: float | None = None
    coarsen: int = 1
    warmup: float = 0.0
    only: str = ""
    share: float = 0.0
    patience: int = 0
    overfit: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.optimizer):
            raise InputError(
                f"the optimizer of a stage must be a class or a partial of one, got {self.optimizer!r}",
                do="write Stage(nfsolve.optim.Adam, steps)",
            )
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.steps < 0 or (self.resample or 0) < 0 or self.patience < 0:
            raise InputError(
                f"the steps, the interval and the patience of a stage must not be negative, got steps={self.steps}, "
                f"resample={self.resample} and patience={self.patience}",
                do="give 0 to take no step, never to draw new points, or not to end early",
            )
        if self.overfit and not self.overfit > 1:
            raise InputError(
                f"held-out residuals may be overfit={self.overfit:g} times those at trained points only if that is "
                "more than 1",
                do="give 10, or 0 never to end the stage for that",
            )
        for name, factor in (("points", self.points), ("faces", self.faces)):
            if factor is not None and not factor > 0:
                raise InputError(
                    f"the factor on the number of points of a stage must be positive, got {name}={factor}",
                    do="give 1 for all points, or 0.5 for half of them",
                )
        if self.coarsen < 1:
            raise InputError(
                f"a stage must merge at least 1 pixel along each side, got coarsen={self.coarsen}",
                do="give 1 for the full resolution, or 2 for half of it",
            )
        if not 0 <= self.share < 1:
            raise InputError(
                f"the share of a stage in the time limit must lie in [0, 1), got share={self.share:g}",
                do="give 0.1 to keep a tenth of the time for it",
            )
        if not 0 <= self.warmup < 1:
            raise InputError(
                f"the warm-up of a stage must be a fraction of its steps in [0, 1), got warmup={self.warmup:g}",
                do=f"divide the number of steps by {self.steps}" if self.warmup > 1 and self.steps else "",
            )

    def make(self, parameters: list[Any]) -> Any:
        """Make the optimizer.

        Args:
            parameters: What it trains.

        Returns:
            The optimizer.

        Raises:
            InputError: It refuses its options, or what is made takes no steps.
        """
        try:
            made = self.optimizer(parameters)
        except InputError:
            raise
        except (ValueError, TypeError) as error:  # the wording of torch's own optimizers
            maker = getattr(self.optimizer, "func", self.optimizer)
            raise InputError(
                f"the optimizer {getattr(maker, '__name__', '')} refuses one of its options: {error}",
                do="give a value that it accepts",
            ) from error
        if not callable(getattr(made, "step", None)):
            raise InputError(
                f"the optimizer of a stage must have a method step(), got {type(made).__name__}",
                do="write Stage(nfsolve.optim.Adam, steps)",
            )
        return made

    def rate(self, step: int, used: float = 0.0) -> float:
        """Return the factor on the learning rate.

        Args:
            step: Number of steps of this stage that are done.
            used: Share of its time that is used, where time is limited: a run that the limit will end before its steps
                are done must not end at a high rate. The larger of both shares is how far the stage has come.

        Returns:
            With W = round(warmup * steps), (step + 1) / (W + 1) before step W, so that the first step moves and step W
            is the first at the full rate; from there on the schedule at progress (step - W) / (steps - W).
        """
        rising, done = min(round(self.warmup * self.steps), self.steps - 1), max(step, min(used, 1.0) * self.steps)
        if done < rising:
            return (done + 1) / (rising + 1)
        if self.schedule == "constant":
            return 1.0
        progress = (done - rising) / (self.steps - rising)
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.schedule == "cosine" else 0.01**progress


def as_stages(stages: Any) -> tuple[Stage, ...]:
    """Return stages as a tuple, of one stage or several.

    Args:
        stages: A `Stage`, or a sequence of them.

    Returns:
        At least one.

    Raises:
        InputError: There is none, or something else among them.
    """
    found = (stages,) if isinstance(stages, Stage) else stages
    if not (isinstance(found, tuple | list) and found and all(isinstance(stage, Stage) for stage in found)):
        raise InputError(
            f"stages must be one Stage or more, got {stages!r}",
            do="write stages=(nfsolve.Stage(nfsolve.optim.Adam, 100),)",
        )
    if sum(stage.share for stage in found) >= 1:
        raise InputError(
            f"the shares of stages in the time limit must sum to less than 1, got {[s.share for s in found]}",
            do="leave time for the first stage",
        )
    return tuple(found)


def _whole(name: str, value: Any, least: float) -> int:
    """Return a whole number, also where it is written as 1e4."""
    if not _is_number(value) or not math.isfinite(value) or value != int(value) or value < least:
        needed = f"a whole number of at least {least}" if math.isfinite(least) else "a whole number"
        raise InputError(f"{name} must be {needed}, got {value!r}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


UNSAID: Any = None  # left to the recipe, and then to DEFAULTS
LEAST = {"seed": -math.inf, "steps": 0, "resample": 0, "windows": 1, "log_every": 1}
OF_STAGES = ("steps", "schedule", "warmup", "resample")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of any run, whatever its problem, field and optimizer; None leaves an option to the problem's recipe.

    Attributes:
        seed: Seed of weights and points.
        device: auto, cpu or cuda; a field that was built before stays on its device.
        dtype: Floating-point type of a field that the run builds.
        steps: Total number of optimizer steps, of each window; stages share them in proportion.
        schedule: Learning-rate schedule.
        warmup: Fraction of the steps of each stage over which the learning rate first rises linearly, in [0, 1).
        resample: Number of steps between draws of new points; 0 keeps the first points.
        windows: Number of windows into which the time interval is divided; each is solved in turn with its own field.
        carry: Whether the field of a window starts from the weights of the previous window.
        time_limit: Seconds after which training stops, with loading and scoring; classical methods get what is left.
        tolerance: Loss at which the run counts as converged.
        compile: Whether to compile the residuals with torch.compile.
        log_every: Number of steps between rows of the history.
        recipe: own takes the problem's recipe, auto finds one by short trials. A PDE without a recipe, or with one that
            is marked `starting_point`, takes auto unless its field, optimizer or steps are given.
        uncertainty: Whether to estimate standard errors and intervals of unknown scalars and the noise of the
            measurements at the end, and to write bands of all unknowns to uncertainty.npz (see nfsolve.posterior).
        accuracy: Relative L2 error that an automatic recipe should reach. Trials end once the held-out residual,
            relative to that of the zero field, is a hundredth of it.

    Raises:
        InputError: A value that no run can have.
    """

    seed: int = UNSAID
    device: str = UNSAID
    dtype: Literal["float32", "float64"] = UNSAID
    steps: int | None = None
    schedule: Literal["constant", "cosine", "exponential"] | None = None
    warmup: float | None = None
    resample: int | None = None
    windows: int = UNSAID
    carry: bool = UNSAID
    time_limit: float | None = None
    tolerance: float | None = None
    compile: bool = UNSAID
    log_every: int = UNSAID
    recipe: Literal["own", "auto"] | None = None
    uncertainty: bool = UNSAID
    accuracy: float | None = None

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(name, getattr(self, name), least))
        if self.dtype is not None:
            object.__setattr__(self, "dtype", str(choose_dtype(self.dtype)).removeprefix("torch."))
        if self.device is not None:
            object.__setattr__(self, "device", str(self.device))
        if self.time_limit is not None and not (_is_number(self.time_limit) and self.time_limit > 0):
            raise InputError(f"time_limit must be a positive number of seconds, got {self.time_limit!r}")
        if self.recipe not in (None, "own", "auto"):
            raise unknown("recipe", str(self.recipe), ("own", "auto"))
        if self.accuracy is not None and not (_is_number(self.accuracy) and self.accuracy > 0):
            raise InputError(f"accuracy must be a positive relative error, got {self.accuracy!r}")
        if self.tolerance is not None and not (_is_number(self.tolerance) and self.tolerance >= 0):
            raise InputError(f"tolerance must be a loss, a number that is not negative, got {self.tolerance!r}")

    def said(self) -> dict[str, Any]:
        """Return the options that are not left open, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def over(self, other: "RunOptions") -> "RunOptions":
        """Return these options and, where they are None, those of ``other``."""
        return dataclasses.replace(other, **self.said())


# where neither the user nor the recipe says anything
DEFAULTS = RunOptions(
    seed=0, device="auto", dtype="float32", windows=1, carry=True, compile=False, log_every=50, uncertainty=False
)


@dataclass(frozen=True)
class Recipe:
    """The defaults of `solve` for a problem.

    Attributes:
        field: A class of `nfsolve.fields`, or a `functools.partial` of one.
        stages: Optimizers, one after the other.
        factorization: Factorization of the linear layers of a field that is built, or None.
        weighting: Scheme that adapts the weights of the residuals.
        run: Options of the run, as in ``RunOptions(dtype="float64", windows=4)``.
    """

    field: Callable[..., Any]
    stages: tuple[Stage, ...]
    factorization: Any = None
    weighting: Weighting = dataclasses.field(default_factory=Constant)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", as_stages(self.stages))
        if not isinstance(self.weighting, Weighting):
            raise InputError(
                f"weighting must be a scheme of nfsolve.weighting, got {self.weighting!r}", do="write weighting=NTK()"
            )
        if not (self.factorization is None or isinstance(self.factorization, Factorization)):
            raise InputError(
                f"factorization must be one of nfsolve.fields, got {self.factorization!r}",
                do="write factorization=nfsolve.RandomWeightFactorization()",
            )
        said = [name for name in OF_STAGES if name in self.run.said()]
        if said:
            raise InputError(
                f"{said[0]} is an option of a stage, but it was given in run=", do="put it into the stages"
            )


def starting_point(recipe: Callable[[Any], Recipe]) -> Callable[[Any], Recipe]:
    """Mark the method ``recipe`` of a PDE as the starting point of changes: who changes nothing gets another one.

    If field, optimizer, steps or windows are given, they replace a part of this recipe. If only seed, device, time
    limit and accuracy are given, nfsolve looks for a recipe by short trials (`nfsolve.run.automatic`), as for a PDE
    that has no method of this name. A subclass with a recipe of its own keeps that.

    Args:
        recipe: The method.

    Returns:
        The same method.
    """
    recipe.starting_point = True  # type: ignore[attr-defined]
    return recipe


def is_starting_point(problem: type) -> bool:
    """Return whether the recipe of a class of problems is only the starting point of changes."""
    return getattr(getattr(problem, "recipe", None), "starting_point", False)


@dataclass(frozen=True)
class Marched:
    """The fields of a march, one for each window, in the place of the field of a plan.

    Attributes:
        ends: Times at which one window ends and the next begins, one fewer than there are windows.
        fields: What builds the field of each window.
        points: Factor on the points of each window.
        faces: The same for points on each side of its domain; empty where these follow the points inside.
        fronts: Where the solution is steep in each window; empty where no coordinates are stretched.
        cells: For each window the cells that get as many points each, as for `window_of`; empty for even points.
    """

    ends: tuple[float, ...]
    fields: tuple[Any, ...]
    points: tuple[float, ...]
    faces: tuple[float | None, ...] = ()
    fronts: tuple[tuple[Front, ...], ...] = ()
    cells: tuple[tuple[tuple[float, ...], ...], ...] = ()
