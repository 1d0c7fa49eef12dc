"""A trained field and a correction of it: u = T(x, u_0(x) + c(x)), with the output transform T of the problem."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.fields.field import OutputTransform
from nfsolve.fields.transformed import Transformed
from nfsolve.fields.windows import Windows


class Corrected(nn.Module):
    """The sum of a field that is no longer trained and one that is, under one output transform.

    Args:
        base: Trained field; it is copied and frozen, in the type of the correction.
        correction: Field that is added to the raw outputs of ``base``, without an output transform of its own.

    Attributes:
        inputs: Coordinate names.
        outputs: Output names.
        output_transform: That of ``base``, applied to the sum.
    """

    def __init__(self, base: nn.Module, correction: nn.Module):
        super().__init__()
        raw, self.output_transform = without_output_transform(base)
        first = next(correction.parameters())
        self.base = raw.to(first.device, first.dtype).requires_grad_(False)
        self.correction = correction
        self.inputs: tuple[str, ...] = tuple(getattr(correction, "inputs", ()))
        self.outputs: tuple[str, ...] = tuple(getattr(correction, "outputs", ()))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the sum at points ``(n, d)``, ``(n, k)``."""
        y = self.base(x) + self.correction(x)
        return y if self.output_transform is None else self.output_transform(x, y)


def without_output_transform(field: nn.Module) -> tuple[nn.Module, OutputTransform | None]:
    """Return a copy of a field that gives raw outputs, and the output transform that it applied.

    Args:
        field: Any field; of several windows each applies the transform of the whole problem.

    Returns:
        The copy, and the transform or None.
    """
    if isinstance(field, Windows):
        parts = [without_output_transform(part) for part in field.fields]
        copied: Any = copy.copy(field)
        copied._modules = {"fields": nn.ModuleList(raw for raw, _ in parts)}
        copied._buffers = dict(field._buffers)
        return copied, parts[0][1]
    if isinstance(field, Transformed):
        return copy.deepcopy(field.module), field.output_transform
    transform = getattr(field, "output_transform", None)
    with torch.no_grad():
        raw = copy.deepcopy(field)
    if transform is not None:
        setattr(raw, "output_transform", None)  # noqa: B010  # which its class may not declare
    return raw, transform


def transformed_ends(
    transform: OutputTransform, points: Tensor, raw: Tensor, width: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return the ends of intervals that are symmetric in raw outputs.

    Args:
        transform: The output transform, which must rise or fall with each raw output.
        points: Points ``(n, d)``.
        raw: Raw outputs ``(n, k)``.
        width: Half widths of their intervals ``(n, k)``.

    Returns:
        Lower and upper ends ``(n, k)``; None where an output depends on the raw value of another one, so that it has no
        interval of its own.
    """
    with torch.no_grad():
        ends: tuple[list[Tensor], list[Tensor]] = ([], [])
        value = transform(points, raw)
        for i in range(raw.shape[1]):
            unit = torch.zeros_like(raw)
            unit[:, i] = width[:, i]
            for end, sign in zip(ends, (-1, 1), strict=True):
                moved = transform(points, raw + sign * unit)
                others = torch.arange(raw.shape[1]) != i
                if not torch.equal(moved[:, others], value[:, others]):
                    return None
                end.append(moved[:, i])
        first, last = (torch.stack(end, 1) for end in ends)
    return torch.minimum(first, last), torch.maximum(first, last)
