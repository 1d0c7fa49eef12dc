"""What optimizers for weight matrices share: one gradient a step, its check, averages of Adam and of Shampoo.

Averages as in Kingma & Ba, arXiv 1412.6980, algorithm 1, and Gupta, Koren & Singer, arXiv 1802.09568, algorithm 1.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.optim.light import Light
from nfsolve.optim.one_group import SHARED

SIDES = ("left", "right")


class GradientMethod(Light, ABC):
    """An optimizer that moves real parameters by their gradients, and by nothing where one is not finite.

    Args:
        params: Real parameters.
        defaults: Options of the parameter groups.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A complex parameter.
    """

    def __init__(self, params: Iterable[Tensor], defaults: dict[str, Any]):
        super().__init__(params, defaults)
        self.state[SHARED] = {"steps": 0}  # type: ignore[index]
        self.stop_reason = ""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what torch keeps of an optimizer."""
        super().__setstate__(state)
        self.stop_reason = ""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add real parameters with options of their own; the next step moves them."""
        super().add_param_group(param_group)
        shape = next((tuple(p.shape) for p in self.param_groups[-1]["params"] if p.is_complex()), None)
        if shape is not None:
            self.param_groups.pop()
            raise InputError(
                f"{type(self).__name__} needs real parameters, as its matrices are real covariances of the gradient, "
                f"but got a complex parameter of shape {shape}",
                do="use Adam or ESGD, or train real and imaginary parts as two parameters",
            )

    @property
    def shared(self) -> dict[str, Any]:
        """The state that belongs to no single parameter; ``steps`` counts the steps done."""
        return self.state[SHARED]  # type: ignore[index]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Do one step.

        Args:
            closure: When called, it returns the loss and leaves gradients; None takes the gradients that are there.

        Returns:
            The loss before the step, or None without a closure.
        """
        self.stop_reason = ""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        given = [(p, group) for group in self.param_groups for p in group["params"] if _moves(p)]
        if not all(bool(torch.isfinite(p.grad).all()) for p, _ in given):
            self.stop_reason = f"non-finite gradient at step {self.shared['steps'] + 1}: parameters unchanged"
            return loss
        self.shared["steps"] += 1
        for p, _ in given:  # each has its own count, so that one that joins late has its own correction of the start
            self.state[p]["steps"] = self.state[p].get("steps", 0) + 1
        self._move_all(given, loss)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the given one stays independent of later steps."""
        super().load_state_dict(copy.deepcopy(state_dict))

    @abstractmethod
    def _move_all(self, given: list[tuple[Tensor, dict[str, Any]]], loss: Any) -> None:
        """Move the parameters that have a gradient, each given with its group; their ``steps`` count this one."""


def _moves(p: Tensor) -> bool:
    return p.requires_grad and p.grad is not None


def start_moments(state: dict[str, Any], like: Tensor) -> None:
    """Start the averages of a gradient and of its square at zero."""
    state["momentum"], state["square"] = torch.zeros_like(like), torch.zeros_like(like)


def average_square(state: dict[str, Any], gradient: Tensor, beta2: float, eps: float, steps: int) -> Tensor:
    """Average the square of a gradient, Adam's v; with beta2 = 1 sum it, AdaGrad's.

    Args:
        state: Holds ``square``.
        gradient: The gradient.
        beta2: Decay, in [0, 1].
        eps: Added to the root.
        steps: Averages taken, with this one.

    Returns:
        Root of the average, its bias corrected.
    """
    state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2 if beta2 < 1 else 1.0)
    correction = 1 - beta2**steps if beta2 < 1 else 1.0
    return (state["square"] / correction).sqrt_().add_(eps)


def adam_direction(state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Return Adam's step for a learning rate of 1, and take the gradient into its averages.

    Args:
        state: Of the parameter; holds ``steps``, with this one.
        gradient: The gradient.
        group: Holds ``betas`` and ``eps``.

    Returns:
        Direction to subtract, of the shape of the gradient.
    """
    if "square" not in state:
        start_moments(state, gradient)
        state["steps"] = 1  # steps before were of another kind
    (beta1, beta2), steps = group["betas"], state["steps"]
    state["momentum"].lerp_(gradient, 1 - beta1)
    root = average_square(state, gradient, beta2, group["eps"], steps)
    return state["momentum"] / (1 - beta1**steps) / root


def average_sides(state: dict[str, Any], gradient: Tensor, beta: float, max_size: int, min_size: int = 1) -> None:
    """Average L = G G^T and R = G^T G of a matrix, starting from the first; with beta = 1 sum them.

    Args:
        state: Holds ``left`` and ``right`` after the first call.
        gradient: G; anything but a matrix is left alone.
        beta: Decay, in [0, 1].
        max_size: Longest side that is averaged.
        min_size: Shortest side that is averaged.
    """
    if gradient.ndim != 2:
        return
    for side, g in zip(SIDES, (gradient, gradient.T), strict=True):
        if min_size <= len(g) <= max_size:
            now = g @ g.T
            if side not in state:
                state[side] = now
            else:
                state[side] = torch.lerp(now, state[side], beta) if beta < 1 else state[side] + now
