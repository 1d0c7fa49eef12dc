"""Unknown scalars of a problem: numbers that are learned together with the field."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nfsolve._core.errors import InputError


@dataclass(frozen=True)
class Unknown:
    """A scalar parameter of the equation that is found from data.

    Attributes:
        initial: Value at the start; its size is also the unit in which the scalar is learned.
        positive: Keep it positive, by a softplus.

    Examples:
        Declare an unknown parameter of a problem as ``nu: Unknown = Unknown(0.1, positive=True)``. In a residual it is
        a tensor, whose gradient is used to learn it.

        >>> values = Unknowns({"nu": Unknown(0.1, positive=True)}).values()
        >>> round(float(values["nu"].detach()), 6), values["nu"].requires_grad
        (0.1, True)
    """

    initial: float = 1.0
    positive: bool = False

    def __post_init__(self) -> None:
        number = isinstance(self.initial, Real) and not isinstance(self.initial, bool)
        if not number or not math.isfinite(self.initial) or (self.positive and self.initial <= 0):
            raise InputError(
                f"the start value of an Unknown must be a {'positive' if self.positive else 'finite'} number, "
                f"got {f'{self.initial:g}' if number else repr(self.initial)}"
            )


class Unknowns(nn.Module):
    """The trainable scalars of a problem, stored without constraint.

    Args:
        specifications: Attribute name of the problem -> its `Unknown`.
    """

    def __init__(self, specifications: dict[str, Unknown]):
        super().__init__()
        self.specifications = specifications
        self.raw = nn.ParameterDict(
            {
                name: nn.Parameter(torch.tensor(_unconstrained(unknown), dtype=torch.float64))
                for name, unknown in specifications.items()
            }
        )

    def values(self) -> dict[str, Tensor]:
        """Return the value of each unknown, a 0-dimensional tensor."""
        return {
            name: _scale(unknown) * (F.softplus(self.raw[name]) if unknown.positive else self.raw[name])
            for name, unknown in self.specifications.items()
        }

    def interval(self, name: str, width: float) -> tuple[float, float]:
        """Return the ends of an interval around a value, symmetric in what is trained.

        Args:
            name: Name of the unknown.
            width: Half of the width that the interval has to first order, in units of the value.
        """
        raw, size = self.raw[name].detach().double(), _scale(self.specifications[name])
        if not self.specifications[name].positive:
            return size * float(raw) - width, size * float(raw) + width
        step = width / (size * torch.sigmoid(raw))  # the slope of softplus
        low, high = (size * float(F.softplus(end)) for end in (raw - step, raw + step))
        return low, high


class NoNumbers(TorchFunctionMode):
    """Refuses that a tensor with a gradient becomes a Python number, as in ``math.exp(k)``: the gradient is lost."""

    _conversions = (Tensor.__float__, Tensor.__int__, Tensor.__complex__, Tensor.item, Tensor.tolist)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, unless it makes a number of a tensor with a gradient."""
        if func in self._conversions and args[0].requires_grad:
            raise TypeError("its gradient would be lost")  # worded by `mistakes.in_words`, which knows the line
        return func(*args, **(kwargs or {}))


def _scale(unknown: Unknown) -> float:
    """Return the size of the start value: what is trained begins at about 1, whatever the unit."""
    return abs(float(unknown.initial)) or 1.0


def _unconstrained(unknown: Unknown) -> float:
    start = unknown.initial / _scale(unknown)
    return start + math.log(-math.expm1(-start)) if unknown.positive else start  # inverse of softplus
