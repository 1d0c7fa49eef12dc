"""Recipes: the field and the stages of optimizers that a problem brings as its best known default."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nfsolve._core.errors import InputError, unknown
from nfsolve.weighting import Constant, Weighting

SCHEDULES = ("constant", "cosine", "exponential")


@dataclass(frozen=True)
class Stage:
    """One optimizer and how long it runs.

    Attributes:
        optimizer: Takes parameters and gives a `torch.optim.Optimizer`; a class or a `functools.partial`.
        steps: Number of optimizer steps.
        redraw: Steps between draws of new points, rays or mini-batches; None takes the problem's
            ``redraw_every``, 0 never redraws.
        schedule: Factor on the learning rate: ``constant``, ``cosine`` (to zero) or ``exponential``
            (to one hundredth), over the steps of the stage.
        points: Factor on the number of points inside the domain: a stage that finds the shape of the solution needs
            fewer than the one that refines it.
    """

    optimizer: Callable[..., Any]
    steps: int
    redraw: int | None = None
    schedule: str = "constant"
    points: float = 1.0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.steps < 0 or (self.redraw or 0) < 0:
            raise InputError(f"a stage with steps={self.steps}, redraw={self.redraw}", "numbers that are not negative")
        if not self.points > 0:
            raise InputError(f"a stage with points={self.points}", "a positive factor on the number of points")


@dataclass(frozen=True)
class Recipe:
    """What `solve` does when it is not told otherwise.

    Attributes:
        field: A class of `nfsolve.fields`, or a `functools.partial` of one.
        stages: Optimizers, one after the other.
        dtype: ``float32`` or ``float64``.
        factorization: Factorization of the linear layers, or None.
        log_every: Steps between rows of the history.
        weighting: Scheme that adapts the weights of the residuals.
        windows: Parts into which the time interval is cut; each runs all stages, on a field of its own.
        carry: Whether the field of a window starts from the weights of the one before.
    """

    field: Callable[..., Any]
    stages: tuple[Stage, ...]
    dtype: str = "float32"
    factorization: Any = None
    log_every: int = 50
    weighting: Weighting = dataclasses.field(default_factory=Constant)
    windows: int = 1
    carry: bool = True
