"""A base of optimizers that are quick to start."""

from typing import Any

import torch


def _plain(method: Any) -> Any:
    """Return a method of PyTorch without the wrapper that imports `torch.compile` when it is first called."""
    return getattr(method, "__wrapped__", method)


class Light(torch.optim.Optimizer):
    """An optimizer that imports `torch.compile` only where something is compiled; a base of optimizers.

    PyTorch wraps these methods so that they are never compiled, for which their first call imports the compiler: about
    two seconds, longer than many problems take. Nothing here is called from compiled code.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters."""
        _plain(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters."""
        _plain(torch.optim.Optimizer.zero_grad)(self, set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return _plain(torch.optim.Optimizer.state_dict)(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state."""
        _plain(torch.optim.Optimizer.load_state_dict)(self, state_dict)
