"""Muon for hidden weight matrices, Adam for the rest: a thin hybrid over `torch.optim.Muon`.

Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024); for neural fields, with Adam on the first
and the last layer, McGinnis et al., arXiv 2512.14366.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for the matrices between the first and the last, Adam for everything else.

    The update of each matrix is scaled to the root mean square of Adam's, so that one learning rate fits both.

    Args:
        params: Parameters, in the order of the layers.
        lr: Learning rate of both.
        momentum: Decay of Muon's momentum.
        betas: Decays of Adam.
        weight_decay: Decoupled decay, times ``lr``.

    Raises:
        InputError: A setting is out of range, or no matrix between a first and a last one.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ):
        if not (lr > 0 and 0 <= momentum < 1 and all(0 <= b < 1 for b in betas) and weight_decay >= 0):
            raise InputError(
                f"Muon with {lr=}, {momentum=}, {betas=}, {weight_decay=}",
                "lr > 0, momentum and betas in [0, 1), weight_decay >= 0",
            )
        given = list(params)
        hidden = [p for p in given if p.ndim == 2 and not p.is_complex()][1:-1]
        if not hidden:
            raise InputError(
                f"Muon with {len(given)} parameters, no real weight matrix between a first and a last one",
                "a network with at least 3 of them",
                "use Adam or SOAP",
            )
        chosen = {id(p) for p in hidden}
        rest = [p for p in given if id(p) not in chosen]
        options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self._parts = (
            torch.optim.Muon(hidden, momentum=momentum, adjust_lr_fn="match_rms_adamw", **options),
            torch.optim.AdamW(rest, betas=betas, **options),
        )
        super().__init__(given, options)
        self._join()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Do one step.

        Args:
            closure: Called it gives the loss and leaves gradients; None takes the gradients that are there.

        Returns:
            The loss before the step, or None without a closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both parts."""
        return {"muon": self._parts[0].state_dict(), "adam": self._parts[1].state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the given one stays independent of later steps."""
        for part, name in zip(self._parts, ("muon", "adam"), strict=True):
            part.load_state_dict(copy.deepcopy(state_dict[name]))
        self._join()

    def _join(self) -> None:
        # the very groups of the parts, so that a schedule reaches them
        self.param_groups = [group for part in self._parts for group in part.param_groups]
