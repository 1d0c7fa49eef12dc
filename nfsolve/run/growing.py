"""A network that grows where its loss falls no more: more points, or more units and more points.

Where held-out residuals are larger than those at the points it was fitted to, more points help; where they are not, the
network is too small. A wider one begins with the function of the narrower one. The size with the least held-out
residual is kept.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from nfsolve.fields.widened import widen
from nfsolve.problem import PDE, Recipe, RunOptions
from nfsolve.run.folder import RunFolder
from nfsolve.run.loop import Run
from nfsolve.run.march import going_on
from nfsolve.run.plan import Plan, make_field
from nfsolve.run.relative import RelativeResidual
from nfsolve.run.solution import Solution

WIDER, MORE = 1.4, 2.0  # factors on the width and on the number of points
UNSEEN = 2.0  # times the residual at trained points, that a held-out one may be for want of units
STEPS = 30  # that there must be time for after growing
GOAL = 1e-12  # held-out residual, relative to that of the zero field, below which nothing is left to gain
ENDS = ("time limit", "converged: loss")  # of a run, after which it does not grow


class GrowingNetwork:
    """Trains a network, and a larger one that begins with it where its loss falls no more.

    Args:
        problem: The problem.
        recipe: Takes factors on the width and on the number of points of the first network, and gives a recipe.
        options: Options of the run.
        folder: Where to save, or None.
        kind: What is told of the run, as ``report`` of `nfsolve.solve`.
        measure: Tells how small held-out residuals are.
        tell: Called with a sentence when the network grows.

    Attributes:
        run: The run of the network as it is now.
    """

    def __init__(
        self,
        problem: PDE,
        recipe: Callable[[float, float], Recipe],
        options: dict[str, Any],
        folder: RunFolder | None,
        kind: Any,
        measure: RelativeResidual,
        tell: Callable[[str], None],
    ):
        self.problem, self.recipe, self.options = problem, recipe, options
        self.folder, self.kind, self.measure, self.tell = folder, kind, measure, tell
        self.wider = self.more = 1.0
        self.patient = False  # whether it trains on without progress, as there is no time to grow
        self._since = 0.0, 0  # seconds and steps of smaller networks
        if folder is not None:
            folder.clear()
        self.run = Run(problem, self._plan(options["time_limit"]), folder, kind)

    def go(self) -> Solution:
        """Train and grow until the time limit; return the best network."""
        best, least = self.run, self._train()
        while (growth := self._growth()) is not None:
            if growth == (1.0, 1.0):
                self._go_on(self.limit)
            else:
                self._grow(*growth)
            left = self._train()
            if left <= least:
                best, least = self.run, left
        if best is self.run:
            return best.end()
        self.tell("the network before it grew leaves less on held-out points")
        if self.folder is not None:
            self.folder.clear()
        if self.run.interrupted:
            best.interrupted, best.stopped = True, self.run.stopped
        self.run = best
        return best.finished(self.folder, self.kind)

    def go_on(self, seconds: float) -> Solution:
        """Train for some more seconds and grow as before; return the best network."""
        self.patient = False
        self._go_on(self.run.watch.elapsed + seconds)
        return self.go()

    def _go_on(self, limit: float) -> None:
        plan = self._plan(limit)
        self._begin(plan, going_on(self._state(), plan))

    def _plan(self, limit: float) -> Plan:
        self.limit = limit
        recipe = self.recipe(self.wider, self.more)
        if self.patient:
            stages = tuple(dataclasses.replace(stage, patience=0, overfit=0.0) for stage in recipe.stages)
            recipe = dataclasses.replace(recipe, stages=stages)
        options: dict[str, Any] = self.options | {"time_limit": limit}
        return Plan.of(recipe, RunOptions(**options))

    def _state(self) -> dict[str, Any]:
        return self.run.state() | {"history": self.run.history}

    def _begin(self, plan: Plan, state: dict[str, Any]) -> None:
        if self.folder is not None:
            self.folder.clear()
        self.run = Run(self.problem, plan, self.folder, self.kind, state)
        self.run.keep()

    def _train(self) -> float:
        """Train until the time limit or until the loss falls no more; return what is left on held-out points."""
        self.run.train()
        return math.inf if self.run.failed else self.measure.of(self.run.history[-1])

    def _growth(self) -> tuple[float, float] | None:
        """Return by how much units and points should grow, both by 1 where there is no time to; None at the end."""
        run, row = self.run, self.run.history[-1]
        if run.failed or run.interrupted or self.problem.noisy_residuals() or run.stopped.startswith(ENDS):
            return None  # what noise leaves is not for want of units
        wider = 1.0 if run.weighted("heldout/") > UNSEEN * run.weighted("rms/") else WIDER
        seconds, steps = (now - before for now, before in zip((run.seconds, run.steps), self._since, strict=True))
        one = seconds / max(steps, 1) * MORE * wider**4  # a step takes n p^2, and p grows as the square of the width
        if self.measure.of(row) <= GOAL * self.measure.zero or self.patient:
            return None
        if STEPS * one > self.limit - run.watch.elapsed:
            self.patient = True
            return 1.0, 1.0
        return wider, MORE

    def _grow(self, wider: float, more: float) -> None:
        """Go on with a larger network that is the same function."""
        before = self.run
        self.wider, self.more = self.wider * wider, self.more * more
        self._since = before.seconds, before.steps
        plan = self._plan(self.limit)
        field = make_field(self.problem, plan)
        widen(field, before.field)
        system = before.objective.system.state_dict() | {f"field.{k}": v for k, v in field.state_dict().items()}
        why = "held-out residuals are larger than trained ones" if wider == 1.0 else "it is too small"
        units = f"{field.config['width']} units and " if wider > 1 else ""  # type: ignore[index]
        self.tell(f"the loss falls no more, as {why}: the network goes on with {units}{more:g} times as many points")
        begins = {"system": system, "stage": 0, "step": 0, "lowest": (math.inf, 0), "fresh": False}
        begins |= {"optimizer": None} if wider > 1 else {}
        self._begin(plan, going_on(self._state(), plan) | begins)
