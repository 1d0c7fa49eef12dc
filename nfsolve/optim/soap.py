"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for weight matrices; Adam for everything else.

Vyas et al., ICLR 2025, arXiv 2409.11321, algorithms 3 and 4: L and R are moving averages of G G^T and G^T G, the basis
of each is refreshed by one step of orthogonal iteration, and the second moment lives in the rotated coordinates.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

SHARED = "shared"  # key of the state that belongs to no single parameter
SIDES = ("left", "right")


class SOAP(torch.optim.Optimizer):
    """Shampoo with Adam in the preconditioner's eigenbasis.

    Args:
        params: Real parameters.
        lr: Learning rate.
        betas: Decay of the averaged gradient and of its square, as in Adam.
        shampoo_beta: Decay of L and R; None takes that of the square.
        precondition_frequency: Steps between refreshes of the bases.
        max_size: Longest side of a matrix that gets a basis; longer ones keep the identity.
        eps: Added to the root of the averaged square.
        weight_decay: Decoupled decay, times ``lr``.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

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
    ):
        decays = (*betas, betas[1] if shampoo_beta is None else shampoo_beta)
        if not (lr > 0 and all(0 <= b < 1 for b in decays) and eps > 0 and weight_decay >= 0):
            raise InputError(
                f"SOAP with {lr=}, {betas=}, {shampoo_beta=}, {eps=}, {weight_decay=}",
                "lr and eps > 0, decays in [0, 1), weight_decay >= 0",
            )
        if precondition_frequency < 1 or max_size < 0:
            raise InputError(
                f"SOAP with {precondition_frequency=}, {max_size=}", "precondition_frequency >= 1, max_size >= 0"
            )
        defaults = {"lr": lr, "betas": betas, "shampoo_beta": decays[2], "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"precondition_frequency": precondition_frequency, "max_size": max_size})
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.is_complex():
                raise InputError(
                    f"SOAP with a complex parameter of shape {tuple(p.shape)}",
                    "real ones, as the bases are those of real covariances",
                    "use Adam or ESGD, or train real and imaginary parts as two parameters",
                )
        self.state[SHARED] = {"steps": 0}  # type: ignore[index]
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Do one step.

        Args:
            closure: Called it gives the loss and leaves gradients; None takes the gradients that are there.

        Returns:
            The loss before the step, or None without a closure.
        """
        self.stop_reason = ""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        shared: dict[str, Any] = self.state[SHARED]  # type: ignore[index]
        given = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not all(bool(torch.isfinite(p.grad).all()) for p, _ in given):
            self.stop_reason = f"non-finite gradient at step {shared['steps'] + 1}: parameters unchanged"
            return loss
        shared["steps"] += 1
        for p, group in given:
            self._move(p, group, shared["steps"])
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the given one stays independent of later steps."""
        super().load_state_dict(copy.deepcopy(state_dict))

    def _move(self, p: Tensor, group: dict[str, Any], steps: int) -> None:
        state, gradient = self.state[p], p.grad
        assert gradient is not None
        if not state:
            state["momentum"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            self._average(state, gradient, group, 0.0)
            for side in SIDES:
                if side in state:
                    state[f"{side}_basis"] = _eigenvectors(state[side])
        beta1, beta2 = group["betas"]
        state["momentum"].lerp_(gradient, 1 - beta1)
        rotated = _rotate(gradient, state)
        state["square"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        root = (state["square"] / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        move = _rotate(_rotate(state["momentum"], state) / root, state, back=True)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(move, alpha=group["lr"] / (1 - beta1**steps))
        if steps > 1:
            self._average(state, gradient, group, group["shampoo_beta"])
        if steps % group["precondition_frequency"] == 0:
            _refresh(state)

    def _average(self, state: dict[str, Any], gradient: Tensor, group: dict[str, Any], beta: float) -> None:
        """Average L and R of a matrix whose sides are not too long."""
        if gradient.ndim != 2:
            return
        for side, g in zip(SIDES, (gradient, gradient.T), strict=True):
            if 1 < len(g) <= group["max_size"]:
                now = g @ g.T
                state[side] = torch.lerp(now, state[side], beta) if side in state else now


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
    """Eigenvectors by falling eigenvalue, computed in float64."""
    return torch.linalg.eigh(covariance.double())[1].flip(1).to(covariance.dtype).contiguous()
