"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for weight matrices; Adam for everything else.

Vyas et al., ICLR 2025, arXiv 2409.11321, algorithms 3 and 4: L and R are moving averages of G G^T and G^T G, the basis
of each is refreshed by one step of orthogonal iteration, and the second moment lives in the rotated coordinates.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.optim.gradient_method import SIDES, GradientMethod, average_sides, average_square, start_moments


class SOAP(GradientMethod):
    """Shampoo with Adam in the preconditioner's eigenbasis.

    Args:
        params: Real parameters.
        lr: Learning rate.
        betas: Decay of the averaged gradient and of its square, as in Adam.
        shampoo_beta: Decay of L and R; None takes that of the square.
        precondition_frequency: Steps between refreshes of the bases.
        max_size: Longest side of a matrix that gets a basis; longer ones keep the identity.
        eps: Added to the root of the averaged square.
        relative_eps: The same in units of the root mean square of these roots over a parameter: where losses are so
            small that an ``eps`` would stop all steps, it alone keeps rounding from being taken for a gradient.
        weight_decay: Decoupled decay, times ``lr``.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, or a complex parameter.

    Reference:
        Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, arXiv 2409.11321.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        shampoo_beta: float | None = None,
        precondition_frequency: int = 10,
        max_size: int = 4096,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        relative_eps: float = 0.0,
    ):
        decays = (*betas, betas[1] if shampoo_beta is None else shampoo_beta)
        if not (lr >= 0 and all(0 <= b < 1 for b in decays) and eps > 0 and weight_decay >= 0 and relative_eps >= 0):
            raise InputError(
                "SOAP needs lr >= 0, eps > 0, decays in [0, 1), weight_decay >= 0 and relative_eps >= 0, got "
                f"{lr=}, {betas=}, {shampoo_beta=}, {eps=}, {weight_decay=}, {relative_eps=}",
                do="choose values in these ranges",
            )
        if precondition_frequency < 1 or max_size < 0:
            raise InputError(
                f"SOAP needs precondition_frequency >= 1 and max_size >= 0, got {precondition_frequency=}, {max_size=}",
                do="choose values in these ranges",
            )
        defaults = {"lr": lr, "betas": betas, "shampoo_beta": decays[2], "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            params,
            defaults
            | {"precondition_frequency": precondition_frequency, "max_size": max_size, "relative_eps": relative_eps},
        )

    def _move_all(self, given: list[tuple[Tensor, dict[str, Any]]], loss: Any) -> None:
        for p, group in given:
            self._move(p, group)

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        state, gradient, steps = self.state[p], p.grad, self.state[p]["steps"]
        assert gradient is not None
        if steps == 1:
            start_moments(state, p)
            average_sides(state, gradient, 0.0, group["max_size"], min_size=2)
            for side in SIDES:
                if side in state:
                    state[f"{side}_basis"] = _eigenvectors(state[side])
        beta1, beta2 = group["betas"]
        state["momentum"].lerp_(gradient, 1 - beta1)
        root = average_square(state, _rotate(gradient, state), beta2, group["eps"], steps)
        if group["relative_eps"]:
            root = root + group["relative_eps"] * root.square().mean().sqrt()
        move = _rotate(_rotate(state["momentum"], state) / root, state, back=True)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(move, alpha=group["lr"] / (1 - beta1**steps))
        if steps > 1:
            average_sides(state, gradient, group["shampoo_beta"], group["max_size"], min_size=2)
        if steps % group["precondition_frequency"] == 0:
            _refresh(state)


def _rotate(matrix: Tensor, state: dict[str, Any], back: bool = False) -> Tensor:
    """Go to the coordinates of the bases, Q_L^T M Q_R, or back from them."""
    if "left_basis" in state:
        matrix = (state["left_basis"] if back else state["left_basis"].T) @ matrix
    if "right_basis" in state:
        matrix = matrix @ (state["right_basis"].T if back else state["right_basis"])
    return matrix


def _refresh(state: dict[str, Any]) -> None:
    """Improve each basis by one orthogonal iteration, columns in the order of their eigenvalues.

    The square follows the order of the columns, so that each keeps its own direction's average.
    """
    for side, dim in zip(SIDES, (0, 1), strict=True):
        if side not in state:
            continue
        # float64: a basis that loses its orthogonality in float32 would shrink or stretch every later step
        covariance, basis = state[side].double(), state[f"{side}_basis"].double()
        product = covariance @ basis
        order = (basis * product).sum(0).argsort(descending=True, stable=True)
        # with nothing in a column QR completes the basis by itself
        state[f"{side}_basis"] = torch.linalg.qr(product[:, order])[0].to(state[side].dtype)
        state["square"] = state["square"].index_select(dim, order)


def _eigenvectors(covariance: Tensor) -> Tensor:
    """Return the eigenvectors by falling eigenvalue, computed in float64."""
    return torch.linalg.eigh(covariance.double())[1].flip(1).to(covariance.dtype).contiguous()
