"""The held-out residual of a field relative to that of the zero field: the measure by which recipes are chosen.

Residuals of different kinds are made comparable by what a change of the field does to them: one of a second-order
equation is far larger, for the same error of the solution, than one of a boundary value.
"""

import math
from typing import Any

import torch
from torch import nn

from nfsolve._core.random import generator
from nfsolve.fields import RandomFeatures
from nfsolve.problem import PDE, Objective
from nfsolve.problem.rows import leading
from nfsolve.run.beginning import is_finite, start_at_rest
from nfsolve.run.heldout import held_out, rms
from nfsolve.weighting import NTK, Weighting

ONCE = 10**9  # steps between updates, so that weights stay what they are at the start
BALANCE = NTK(every=ONCE, decay=0.0, power=0.75, units=True)
WIDTH, SCALE = 100, 8.0  # of the features whose residuals are compared


def balance(problem: PDE) -> Weighting:
    """Return what makes residuals comparable; measured data have the weight of their noise, or the one they had."""
    return problem.weighting_of_data() if problem.noisy_residuals() else BALANCE


class RelativeResidual:
    """Measures fields by their residuals on points that none of them was fitted to.

    Args:
        problem: The problem.
        data: What ``problem.load`` gave.
        seed: Seed of the run.
        stream: Name of the random stream of the points.

    Attributes:
        fresh: The points.
        ignored: Measured residuals beside unknown scalars: their size is that of the noise.
        weights: Weight of each residual.
        coupled: Residuals that couple their points.
        entries: Residual name -> its number of entries at each point.
        zero: Root of the weighted sum of squares that zero leaves, of ignored residuals too, at least 1e-300; where the
            equations are not finite at zero, that of a field that only satisfies initial or boundary conditions.
    """

    def __init__(self, problem: Any, data: Any, seed: int, stream: str = "trial"):
        self.problem = problem
        self.fresh = problem.fresh(data, generator(seed, stream), {})
        like = data["like"]
        made = {"seed": seed, "dtype": like.dtype, "device": like.device}
        some = RandomFeatures.for_problem(problem, width=WIDTH, scale=SCALE, **made)
        objective = Objective(problem, some, data, generator(seed, "balance"), weighting=balance(problem))
        if not is_finite(objective):
            start_at_rest(objective, seed)
        objective.reweigh(0)
        self.coupled = objective.coupled
        self.ignored = frozenset(problem.noisy_residuals() if problem.unknown_scalars() else ())
        self.entries = {name: n // max(leading(objective.batch[name]), 1) for name, n in objective.sizes.items()}
        self.weights = objective.weights.means(list(self.fresh)) or problem.weights()
        measured = 0.0
        if self.ignored:  # for what nothing but they determine, equations hold at zero
            with torch.no_grad():
                found = objective.residuals()
            measured = math.hypot(*(self.weights.get(name, 1.0) ** 0.5 * rms(found[name]) for name in self.ignored))
        self.zero = max(math.hypot(self.size(some, objective.bound()), measured), 1e-300)  # before it is fitted

    def size(self, field: nn.Module | Any, problem: Any = None) -> float:
        """Return the root of the weighted sum of mean squares of the held-out residuals of a field.

        Args:
            field: The field.
            problem: The problem with numbers in the place of unknown scalars, where there are any.
        """
        return self.of(held_out(problem or self.problem, field, self.fresh, self.coupled))

    def of(self, scores: dict[str, Any]) -> float:
        """Return the same from ``heldout/NAME``, where these are known."""
        start = "heldout/"
        found = {key.removeprefix(start): value for key, value in scores.items() if key.startswith(start)}
        return math.sqrt(sum(self.weights.get(n, 1.0) * v**2 for n, v in found.items() if n not in self.ignored))

    def __call__(self, field: nn.Module | Any, problem: Any = None) -> float:
        """Return the size of a field's residuals relative to those of the zero field; arguments as for `size`."""
        return self.size(field, problem) / self.zero
