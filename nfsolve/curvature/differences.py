"""Derivatives along a direction by central differences, (f(theta + h v) - f(theta - h v)) / (2 h), without any graph.

The step is smaller than the textbook's cube root of the precision: the gradient of a field with fast oscillations
bends over a small part of |theta|. Measured on sine (30), Gaussian and wavelet fields of 4 x 256 at rest and in
training: relative error of H v at most 4e-3 in float32 and 1e-6 in float64.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STEPS = {torch.float32: 3e-4, torch.float64: 3e-6}  # times |theta| / |v|


def step_size(parameters: Sequence[Tensor], direction: Sequence[Tensor]) -> float:
    """Choose the step h of a central difference of first derivatives.

    Args:
        parameters: theta.
        direction: v, one tensor for each parameter.

    Returns:
        h > 0, in units of theta / v.
    """
    first = parameters[0]
    dtype = first.real.dtype if first.is_complex() else first.dtype
    step = STEPS.get(dtype) or float(torch.finfo(dtype).eps) ** 0.5
    return step * relative_length(parameters, direction)


def relative_length(parameters: Sequence[Tensor], direction: Sequence[Tensor]) -> float:
    """Return |theta| / |v|, where theta moves; 1 where theta or v is zero."""
    moved = [(p, v) for p, v in zip(parameters, direction, strict=True) if v.any()]
    size = sum(float(torch.linalg.vector_norm(p.detach())) ** 2 for p, _ in moved) ** 0.5
    length = sum(float(torch.linalg.vector_norm(v)) ** 2 for _, v in moved) ** 0.5
    return size / length if size > 0 and length > 0 else 1.0


@torch.no_grad()
def central_difference(
    evaluate: Callable[[], Sequence[Tensor]],
    parameters: Sequence[Tensor],
    direction: Sequence[Tensor],
    step: float,
) -> list[Tensor]:
    """Differentiate along a direction by two evaluations; the parameters come back to the bit.

    Args:
        evaluate: Gives tensors at the present values of the parameters, the same ones in the same order. It must
            use the same batch each time.
        parameters: Moved in place, and restored.
        direction: v, one tensor for each parameter.
        step: h.

    Returns:
        The derivative of each tensor of ``evaluate`` along v.
    """
    kept = [p.detach().clone() for p in parameters]
    ends: list[list[Tensor]] = []
    try:
        for h in (step, -step):
            for p, start, v in zip(parameters, kept, direction, strict=True):
                p.copy_(start + h * v)
            ends.append([t.detach().clone() for t in evaluate()])
    finally:
        for p, start in zip(parameters, kept, strict=True):
            p.copy_(start)
    return [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
