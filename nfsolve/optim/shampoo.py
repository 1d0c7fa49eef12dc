"""Shampoo: the gradient of a weight matrix between the inverse fourth roots of its two covariances.

Gupta, Koren & Singer, ICML 2018, arXiv 1802.09568, algorithm 1; step sizes grafted from Adam or SGD as in Agarwal et
al., arXiv 2002.11803; roots refreshed every few steps as in Anil et al., arXiv 2002.09018.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.optim.gradient_method import SIDES, GradientMethod, average_sides, average_square, start_moments

Graft = Literal["adam", "sgd", "none"]


class Shampoo(GradientMethod):
    """W <- W - lr s L^(-1/4) M R^(-1/4), with M the averaged gradient, L of G G^T, R of G^T G, and s the grafting.

    Everything that is not a matrix, and a matrix with both sides longer than ``max_size``, gets Adam. With one side
    longer than that the other has the whole preconditioner, to the power -1/2. The published algorithm is
    ``betas=(0, 1), shampoo_beta=1, graft="none", precondition_frequency=1``, but for its constant epsilon on the
    diagonal, which here is relative.

    Args:
        params: Real parameters.
        lr: Learning rate; that of the optimizer whose norm is grafted.
        betas: Decay of the averaged gradient and of its square, as in Adam; 1 for the second sums, as in AdaGrad.
        shampoo_beta: Decay of L and R; 1 sums, None takes that of the square.
        precondition_frequency: Steps between refreshes of the roots.
        max_size: Longest side of a matrix that is preconditioned; longer ones keep the identity.
        graft: Whose norm the step of a matrix takes: ``adam``, ``sgd`` (that of M), or ``none`` (its own).
        damping: Added to the eigenvalues of L and R before the root, relative to the largest.
        eps: Added to the root of the averaged square.
        weight_decay: Decoupled decay, times ``lr``.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, or a complex parameter.

    Reference:
        Gupta, Koren & Singer, Shampoo: Preconditioned Stochastic Tensor Optimization, arXiv 1802.09568.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        shampoo_beta: float | None = None,
        precondition_frequency: int = 10,
        max_size: int = 4096,
        graft: Graft = "adam",
        damping: float = 1e-6,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        decay = betas[1] if shampoo_beta is None else shampoo_beta
        if not (lr >= 0 and 0 <= betas[0] < 1 and 0 <= betas[1] <= 1 and 0 <= decay <= 1):
            raise InputError(
                f"Shampoo needs lr >= 0, betas in [0, 1) and [0, 1], and shampoo_beta in [0, 1], got {lr=}, "
                f"{betas=}, {shampoo_beta=}",
                do="choose values in these ranges",
            )
        if not (damping > 0 and eps > 0 and weight_decay >= 0 and precondition_frequency >= 1 and max_size >= 0):
            raise InputError(
                "Shampoo needs damping and eps > 0, weight_decay and max_size >= 0, and precondition_frequency >= "
                "1, got "
                f"{damping=}, {eps=}, {weight_decay=}, {precondition_frequency=}, {max_size=}",
                do="choose values in these ranges",
            )
        if graft not in get_args(Graft):
            raise unknown("graft", graft, get_args(Graft))
        defaults = {"lr": lr, "betas": betas, "shampoo_beta": decay, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"precondition_frequency": precondition_frequency, "max_size": max_size}
        super().__init__(params, defaults | {"graft": graft, "damping": damping})

    def _move_all(self, given: list[tuple[Tensor, dict[str, Any]]], loss: Any) -> None:
        for p, group in given:
            self._move(p, group)

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        state, gradient, steps = self.state[p], p.grad, self.state[p]["steps"]
        assert gradient is not None
        fresh = steps == 1
        if fresh:
            start_moments(state, p)
        average_sides(state, gradient, group["shampoo_beta"], group["max_size"])
        if fresh or steps % group["precondition_frequency"] == 0:
            _refresh(state, group["damping"])
        beta1, beta2 = group["betas"]
        state["momentum"].lerp_(gradient, 1 - beta1)
        mean = state["momentum"] / (1 - beta1**steps)
        adam = mean / average_square(state, gradient, beta2, group["eps"], steps)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(_grafted(mean, adam, state, group["graft"]), alpha=group["lr"])


def _grafted(mean: Tensor, adam: Tensor, state: dict[str, Any], graft: str) -> Tensor:
    """Precondition the averaged gradient and give it the norm that is grafted."""
    if not any(side in state for side in SIDES):
        return adam
    move = state["left_root"] @ mean if "left" in state else mean
    move = move @ state["right_root"] if "right" in state else move
    if graft == "none":
        return move
    norm = torch.linalg.vector_norm(adam if graft == "adam" else mean)
    own = torch.linalg.vector_norm(move)
    return torch.where(own > 0, move * (norm / own), move)


def _refresh(state: dict[str, Any], damping: float) -> None:
    """Compute the inverse roots anew; the powers of both sides add up to -1/2, that of full-matrix AdaGrad."""
    present = [side for side in SIDES if side in state]
    for side in present:
        state[f"{side}_root"] = inverse_root(state[side], 2 * len(present), damping)


def inverse_root(covariance: Tensor, order: int, damping: float) -> Tensor:
    """Return (C + damping * largest eigenvalue)^(-1 / order), computed in float64.

    Args:
        covariance: C, symmetric positive semidefinite ``(n, n)``; where it is zero the root is the identity.
        order: Order of the root.
        damping: Relative damping, positive.

    Returns:
        ``(n, n)`` in the dtype of C.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    largest = values[-1]
    values = torch.where(largest > 0, values.clamp_min(0) + damping * largest, 1.0)
    return ((vectors * values.pow(-1 / order)) @ vectors.T).to(covariance.dtype)
