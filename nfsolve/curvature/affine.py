"""A linear layer that sees each input function once: its residuals and their Jacobian, one block for each function.

Where a residual is computed from the outputs c_b of a layer c_b = W h_b + w and the residuals of function b depend on
c_b alone, the Jacobian by W is J_b (x) h_b with J_b = d r_b / d c_b. That is an operator whose branch ends in the
layer: L forward sweeps give all J_b, for L outputs and any number of functions, and what does not depend on c, such as
the trunk with its derivatives, is evaluated once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nfsolve._core.errors import InputError

ROUNDING = 1000.0  # in units of the type's precision, how far the gradients of two ways may lie apart
CHUNK = 32  # forward sweeps at once: bounds their memory


@dataclass
class AffineLayer:
    """What a linear layer sees and what its outputs do.

    Attributes:
        weight: The weight ``(out, in)``, a parameter.
        bias: The bias ``(out,)``, or None where the layer trains none.
        inputs: h with a 1 appended where there is a bias, ``(B, in [+ 1])``.
        residual: ``(B, m)``, its squares sum to the loss.
        jacobian: Its derivative by the outputs, ``(B, m, out)``.
    """

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    residual: Tensor
    jacobian: Tensor


class _Last(TorchFunctionMode):
    """Finds the last linear layer called on plain rows, and adds a shift to the outputs of its calls."""

    def __init__(self, known: dict[int, Tensor], shift: Tensor | None = None):
        super().__init__()
        self.known, self.shift = known, shift
        self.call: tuple[Tensor, Tensor, Tensor | None] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # a batch of Taylor jets belongs to points, not to functions
        if func is F.linear and id(args[1]) in self.known and isinstance(result, Tensor) and result.ndim == 2:
            bias = args[2] if len(args) > 2 else None
            self.call = args[0].detach(), args[1], bias if id(bias) in self.known else None
            if self.shift is not None and result.shape != self.shift.shape:  # called on other points too
                raise _entangled(len(self.shift))
            return result if self.shift is None else result + self.shift
        return result


def last_affine(parts: Callable[[], list[Tensor]], parameters: Iterable[Tensor]) -> AffineLayer:
    """Linearize residuals in the outputs of the last linear layer that reads rows and has a trained weight.

    Args:
        parts: Gives residuals whose squares sum to the loss, each with its rows one function after the other.
        parameters: Where the weight and the bias are looked for.

    Raises:
        InputError: There is no such layer, or its outputs for one function act on the residuals of another.
    """
    known = {id(p): p for p in parameters}
    with torch.no_grad(), _Last(known) as found:
        parts()
    if found.call is None:
        raise InputError(
            "The branch must end in a linear layer without a factorization that reads one input function a row, "
            f"and none of {len(known)} parameters is the weight of one",
            do="choose the parameters of the branch, as in Stage(..., only='branches')",
        )
    inputs, weight, bias = found.call
    count = len(inputs)

    def blocks(shift: Tensor) -> Tensor:
        with torch.enable_grad(), _Last({id(weight): weight}, shift):
            found = parts()
        if any(r.numel() % count for r in found):
            raise _entangled(count)
        return torch.cat([r.reshape(count, -1) for r in found], 1)

    zero = inputs.new_zeros(count, len(weight))

    def along(direction: Tensor) -> Tensor:
        return torch.func.jvp(blocks, (zero,), (direction.expand_as(zero),))[1]

    with torch.no_grad():
        columns = [torch.func.vmap(along)(d) for d in torch.eye(len(weight)).to(zero).split(CHUNK)]
    jacobian = torch.cat(columns).permute(1, 2, 0)
    if bias is not None:
        inputs = torch.cat([inputs, inputs.new_ones(count, 1)], 1)
    leaf = zero.requires_grad_()
    with torch.enable_grad():
        residual = blocks(leaf)
        loss = residual.square().sum()
    gradient, *rest = torch.autograd.grad(loss, [leaf, weight] + ([] if bias is None else [bias]))
    residual = residual.detach()
    layer = AffineLayer(weight, bias, inputs, residual, jacobian.detach())
    _check(layer, gradient, torch.cat([g.reshape(len(weight), -1) for g in rest], 1))
    return layer


def _check(layer: AffineLayer, by_outputs: Tensor, by_weights: Tensor) -> None:
    """Compare with gradients by reverse mode, which know nothing of blocks."""
    mine = 2 * torch.einsum("bm,bml->bl", layer.residual, layer.jacobian)
    for ours, theirs in ((mine, by_outputs), (mine.T @ layer.inputs, by_weights)):
        size = torch.linalg.vector_norm(layer.residual) * torch.linalg.vector_norm(layer.jacobian)
        if ours is not mine:
            size = size * torch.linalg.vector_norm(layer.inputs)
        if torch.linalg.vector_norm(ours - theirs) > ROUNDING * torch.finfo(ours.dtype).eps * size:
            raise _entangled(len(layer.inputs))


def _entangled(count: int) -> InputError:
    return InputError(
        f"The residuals of each of the {count} rows that the last linear layer reads must depend on that row alone, "
        "got residuals that couple them",
        do="choose the parameters of the branch, as in Stage(..., only='branches'); for other fields use GaussNewton",
    )
