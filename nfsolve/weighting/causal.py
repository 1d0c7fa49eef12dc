"""Weights that respect causality: a time is learned once the times before it are.

Wang, Sankaran & Perdikaris, Comput. Methods Appl. Mech. Eng. 421 (2024) 116813, arXiv 2203.07404.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.weighting.scheme import State, Terms, Weighting

SOLVED = 0.99  # smallest weight at which all times count as learned (the paper's delta)
RUNG = 10.0  # factor between the rungs of the ladder


@dataclass(frozen=True)
class Causal(Weighting):
    """Weights w_m = exp(-epsilon * sum over k < m of L_k) on the interior residuals in chunk m of the time interval.

    L_k is the mean square of the interior residuals on the points of chunk k, summed over residuals, without
    weights; a chunk without points has L_k = 0. Each point takes the weight of its chunk, so the loss is the
    paper's mean over chunks where these have equally many points. Weights of chunks outlive a resample: new points
    take those of the chunks they fall into.

    Attributes:
        epsilon: How strictly a chunk waits for those before it, at the start.
        highest: Ladder: each time all weights exceed 0.99, epsilon grows tenfold, up to this; at most ``epsilon``
            itself means no ladder.
        chunks: Number of chunks.
        every: Optimizer steps between updates, each of one residual evaluation.

    Reference:
        Wang, Sankaran & Perdikaris, arXiv 2203.07404, algorithm 1.
    """

    epsilon: float = 1.0
    highest: float = 0.0
    chunks: int = 16
    every: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.epsilon < math.inf and self.highest < math.inf and self.chunks >= 2 and self.every >= 1):
            raise InputError(
                "Causal needs epsilon > 0, a finite highest, at least 2 chunks and every >= 1, "
                f"got epsilon={self.epsilon:g}, highest={self.highest:g}, chunks={self.chunks} and every={self.every}"
            )

    def check(self, terms: Terms) -> None:
        """Refuse problems without a time or without interior residuals.

        Raises:
            InputError: There is no coordinate ``t``, or no residual marked ``@interior``.
        """
        problem = terms.problem
        names = getattr(problem.domain, "names", ())
        if "t" not in names or not self._interior(terms):
            raise InputError(
                "causal weighting needs a PDE with a coordinate t and an @interior residual, "
                f"got {type(problem).__name__}",
                do="name the time t, or choose another weighting",
            )

    def update(self, state: State, terms: Terms) -> State:
        """Compute the weights of the chunks, and take the next step of the ladder if all are learned."""
        terms.evaluations += 1
        residuals = terms.residuals()
        losses = torch.stack([self._losses(name, residuals[name], terms) for name in self._interior(terms)]).sum(0)
        epsilon = state.get("epsilon", self.epsilon)
        if "chunks" in state and float(state["chunks"].min()) > SOLVED and epsilon < self.highest:
            epsilon = min(RUNG * epsilon, self.highest)
        before = torch.cumsum(losses, 0).roll(1)
        before[0] = 0.0
        return {"epsilon": epsilon, "chunks": torch.exp(-epsilon * before)}

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return each point the weight of its chunk."""
        if "chunks" not in state:
            return {}
        return {name: state["chunks"][self._chunk(name, terms)][:, None] for name in self._interior(terms)}

    def _interior(self, terms: Terms) -> list[str]:
        conditions = getattr(terms.problem, "conditions", dict)()
        return [name for name, condition in conditions.items() if condition.kind == "interior"]

    def _chunk(self, name: str, terms: Terms) -> Tensor:
        """Return the chunk of each point, ``(n,)``."""
        column = terms.problem.domain.names.index("t")
        low, high = terms.problem.domain.bounds[column]
        rows = terms.batch[name]
        part = (rows.points[:, column].repeat(rows.copies) - low) / (high - low)
        return (part * self.chunks).long().clamp(0, self.chunks - 1)

    def _losses(self, name: str, residual: Tensor, terms: Terms) -> Tensor:
        """Return the mean square of a residual in each chunk, ``(chunks,)``."""
        chunks = torch.arange(self.chunks, device=residual.device)
        member = (self._chunk(name, terms) == chunks[:, None]).to(residual.dtype)
        # a product instead of index_add_, whose order of summation varies on a GPU
        return member @ residual.square().mean(1) / member.sum(1).clamp_min(1.0)
