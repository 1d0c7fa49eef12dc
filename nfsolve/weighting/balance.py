"""One weight for each residual, so that all of them drive the parameters alike: by gradients or by tangent kernels.

Gradient norms: Wang, Teng & Perdikaris, SIAM J. Sci. Comput. 43 (2021) A3055, with the balance of the Expert's Guide to
PINNs, arXiv 2308.08468. Tangent kernels: Wang, Yu & Perdikaris, J. Comput. Phys. 449 (2022) 110768.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.weighting.scheme import State, Terms, Weighting

SMALLEST = 1e-6  # smallest share of a residual in the whole that counts: bounds its weight by 1e6


@dataclass(frozen=True)
class _Balance(Weighting):
    """Weights lambda_i = (sum over j of s_j) / s_i for positive sizes s, as a running mean that starts at 1."""

    every: int = 100
    decay: float = 0.9

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.decay < 1:
            raise InputError(
                f"{type(self).__name__} needs every >= 1 and 0 <= decay < 1, got every={self.every} and "
                f"decay={self.decay:g}"
            )

    @abstractmethod
    def sizes(self, terms: Terms) -> dict[str, Tensor]:
        """Return the size of each residual, a positive scalar, without its weight."""

    def update(self, state: State, terms: Terms) -> State:
        """Move the running mean; where the sizes are not finite or all zero, keep it."""
        sizes = self.sizes(terms)
        total = torch.stack(list(sizes.values())).sum()
        if not (torch.isfinite(total) and total > 0):
            return state
        now = {name: total / self.counted(size, total) for name, size in sizes.items()}
        return {name: self.decay * state.get(name, 1.0) + (1 - self.decay) * value for name, value in now.items()}

    def counted(self, size: Tensor, total: Tensor) -> Tensor:
        """Return the size that a residual counts with, a part of the whole at least."""
        return size.clamp_min(SMALLEST * total)

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return the weights themselves."""
        return state


@dataclass(frozen=True)
class GradientNorm(_Balance):
    """Balance the gradients: lambda_i = (sum over j of abs(g_j)) / abs(g_i), g_i the gradient of mean(r_i**2).

    Attributes:
        every: Optimizer steps between updates; the guide takes 1,000 in runs of 200,000 steps.
        decay: Weight of the past in the running mean.

    Reference:
        Wang, Sankaran, Wang & Perdikaris, arXiv 2308.08468 (the sum; their code takes the mean).
    """

    def sizes(self, terms: Terms) -> dict[str, Tensor]:
        """Return the norm of each gradient."""
        parameters = terms.parameters
        terms.evaluations += 1
        with torch.enable_grad():
            losses = {name: r.square().mean() for name, r in terms.residuals().items()}
        norms = {}
        for name, loss in losses.items():
            gradients = torch.autograd.grad(
                loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            norms[name] = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).norm()
        return norms


@dataclass(frozen=True)
class NTK(_Balance):
    """Balance the tangent kernels: lambda_i = (sum over j of m_j) / m_i, m_i the mean diagonal of J_i J_i^T.

    m_i is the trace over the number of rows, so that residuals on few points count like those on many. The paper
    divides traces, for equal numbers of points; this is the same there.

    Attributes:
        every: Optimizer steps between updates.
        decay: Weight of the past in the running mean.
        points: Most rows of each residual on which the diagonal is evaluated.
        power: Exponent of the weights. With 1, as in the paper, all residuals drive the parameters alike. Smaller
            powers ask for less on boundaries: a residual of a second-order equation that oscillates with frequency w
            belongs to an error w^-2 times as large inside, but w^-1/2 times on the boundary, which is a power of 3/4.
        units: Whether the rest of the exponent, 1 - power, goes to s_i, the mean square of what a slow field of size 1
            makes of the residual (`nfsolve.problem.Objective.slow_squares`). A residual in other units has the same
            share then, whatever the power, and weights have no bound. Only for PDEs.

    Reference:
        Wang, Yu & Perdikaris, J. Comput. Phys. 449 (2022) 110768, algorithm 1.
    """

    points: int = 128
    power: float = 1.0
    units: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < 1:
            raise InputError(f"NTK needs at least 1 point, got points={self.points}")
        if not 0 <= self.power <= 1:
            raise InputError(f"NTK needs a power from 0 to 1, got power={self.power:g}")

    def sizes(self, terms: Terms) -> dict[str, Tensor]:
        """Return the mean squared norm of the rows of each Jacobian."""
        terms.evaluations += len(terms.sizes)
        means = {name: terms.some_rows(name, self.points).abs().square().sum(1).mean() for name in terms.sizes}
        slow = {name: terms.slow_squares(name, self.points) if self.units else 0.0 for name in means}
        if not all(slow.values()):  # of what is even around zero, or not finite there, nothing is known
            slow = dict.fromkeys(means, 1.0)
        return {name: mean**self.power * slow[name] ** (1 - self.power) for name, mean in means.items()}

    def counted(self, size: Tensor, total: Tensor) -> Tensor:
        """Return the size that a residual counts with; where units do not matter, any that is not zero."""
        return size if self.units and size > 0 else super().counted(size, total)
