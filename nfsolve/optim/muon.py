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

MUON, ADAM = ("lr", "momentum", "weight_decay"), ("lr", "betas", "weight_decay")  # options of the two parts


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for the matrices between the first and the last, Adam for everything else.

    The update of each matrix is scaled to the root mean square of Adam's, so that one learning rate fits both.

    Args:
        params: Parameters or groups, in the order of the layers; ones that are added later get Adam.
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
        if not (lr >= 0 and 0 <= momentum < 1 and all(0 <= b < 1 for b in betas) and weight_decay >= 0):
            raise InputError(
                f"Muon needs lr >= 0, momentum and betas in [0, 1), and weight_decay >= 0, got "
                f"{lr=}, {momentum=}, {betas=}, {weight_decay=}",
                do="choose values in these ranges",
            )
        options = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        super().__init__(params, options)
        given = [p for group in self.param_groups for p in group["params"]]
        hidden = [p for p in given if p.ndim == 2 and not p.is_complex()][1:-1]
        if not hidden:
            raise InputError(
                "Muon needs a network with at least 3 real weight matrices, as it moves those between the first and "
                f"the last, but got {len(given)} parameters without one between",
                do="use Adam or SOAP",
            )
        chosen = {id(p) for p in hidden}
        groups = self.param_groups
        self._parts = (
            torch.optim.Muon(_part(groups, MUON, lambda p: id(p) in chosen), adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(_part(groups, ADAM, lambda p: id(p) not in chosen)),
        )
        self._join()

    def __getstate__(self) -> dict[str, Any]:
        """Keep the parts, which torch's own selection leaves out, in copies."""
        return {**super().__getstate__(), "_parts": self._parts}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; after the start they get Adam, as their place among the layers is not known."""
        super().add_param_group(param_group)
        if hasattr(self, "_parts"):
            self._parts[1].add_param_group(_part(self.param_groups[-1:], ADAM, lambda p: True)[0])
            self._join()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Do one step.

        Args:
            closure: When called, it returns the loss and leaves gradients; None takes the gradients that are there.

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


def _part(
    groups: list[dict[str, Any]], names: tuple[str, ...], chosen: Callable[[Tensor], bool]
) -> list[dict[str, Any]]:
    """Return the groups with the chosen parameters and the options that one part takes."""
    parts = [
        {"params": [p for p in group["params"] if chosen(p)]} | {name: group[name] for name in names}
        for group in groups
    ]
    return [part for part in parts if part["params"]]
