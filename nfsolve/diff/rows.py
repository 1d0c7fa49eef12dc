"""Jacobians of pointwise residuals from what linear layers see: one forward and one reverse pass.

Row i of a pointwise residual depends on a layer z = W a + b only through its own row of inputs a and outputs z,
so its derivative by W is the sum over channels of (backpropagated delta) (input)^T: the per-example gradient
of Goodfellow, "Efficient per-example gradient computations", arXiv 1510.01799, with one term for each Taylor channel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nfsolve.diff.jets import Jet, Unsupported

SAME = {torch.float64: 1e-9}  # part of a sum that may be rounding, in other types a thousandth
MOST_COLUMNS = 16  # single columns cost a forward-mode pass each; beyond this another way is cheaper


@dataclass
class Linear:
    """One call of a linear layer: inputs and a zero added to its outputs, both ``(C, n, width)``."""

    inputs: Tensor
    probe: Tensor
    weight: Tensor
    bias: Tensor | None


class Recorder(TorchFunctionMode):
    """Adds a differentiable zero to the output of every trained linear layer and remembers its input."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Linear] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not F.linear or not any(isinstance(a, Tensor) and a.requires_grad for a in args[1:]):
            return result
        source, weight = args[:2]
        bias = args[2] if len(args) > 2 else None
        inputs = source.channels if isinstance(source, Jet) else source[None]
        outputs = result.channels if isinstance(result, Jet) else result[None]
        if outputs.ndim != 3 or torch._C._functorch.is_functorch_wrapped_tensor(inputs):  # type: ignore[attr-defined]
            raise Unsupported("a linear layer inside another transformation cannot be recorded")
        probe = torch.zeros_like(outputs, requires_grad=True)
        self.calls.append(Linear(inputs.detach(), probe, weight, bias))
        return Jet(outputs + probe, result.plan) if isinstance(result, Jet) else result + probe[0]


@torch.enable_grad()
def jacobian_by_rows(
    residual: Callable[[list[Tensor]], Tensor], parameters: list[Tensor], out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Evaluate a pointwise residual and its Jacobian.

    Parameters that do not enter through a linear layer (a scalar of the equation, a trainable frequency) take one
    forward-mode pass for each entry, so there may only be a few of them.

    Args:
        residual: Parameters -> residual ``(n, k)``; row i depends on point i only, or on points i c to (i + 1) c - 1 of
            a layer that is called at n c points.
        parameters: Where to evaluate; their entries in order are the columns.
        out: ``(n * k, P)`` to write the Jacobian to; None makes one.

    Returns:
        Residual ``(n, k)`` and Jacobian ``(n * k, P)``.

    Raises:
        TypeError: The residual does not go through recordable linear layers.
    """
    leaves = [p.detach().requires_grad_() for p in parameters]
    with Recorder() as recorder:
        r = residual(leaves)
    n, k = r.shape
    if any(call.inputs.shape[1] % n for call in recorder.calls):
        raise Unsupported("a layer is called at another number of points than the residual has rows")
    starts = [0]
    for leaf in leaves:
        starts.append(starts[-1] + leaf.numel())
    jacobian = (r.new_empty(n * k, starts[-1]) if out is None else out).view(n, k, -1)
    covered: set[tuple[int, int]] = set()
    probes = [call.probe for call in recorder.calls]
    if not probes:
        raise Unsupported("no layer was called")
    for j in range(k):
        deltas = torch.autograd.grad(r[:, j].sum(), probes, retain_graph=True, allow_unused=True)
        for call, delta in zip(recorder.calls, deltas, strict=True):
            for target, block in _blocks(call, delta, n):
                for i, rows in _to_leaves(target, block, leaves):
                    columns = jacobian[:, j, starts[i] : starts[i + 1]]
                    if (i, j) in covered:
                        columns += rows.reshape(n, -1)
                    else:
                        columns.copy_(rows.reshape(n, -1))
                        covered.add((i, j))
    rest = [i for i in range(len(leaves)) if (i, 0) not in covered]
    if sum(leaves[i].numel() for i in rest) > MOST_COLUMNS:
        raise Unsupported("too many parameters outside linear layers")
    for i in rest:
        jacobian[:, :, starts[i] : starts[i + 1]] = _columns(residual, r, leaves, i).permute(1, 2, 0)
    return r.detach(), jacobian.view(n * k, -1)


def _blocks(call: Linear, delta: Tensor | None, n: int) -> list[tuple[Tensor, Tensor]]:
    """Derivative of each of n rows by the weight (n, out, in) and by the bias (n, out) of one call."""
    if delta is None:
        delta = torch.zeros_like(call.probe)
    blocks = []
    # channels, and the points of a row where it has several, are summed over
    deltas, inputs = (t.unflatten(1, (n, -1)).permute(1, 0, 2, 3).flatten(1, 2) for t in (delta, call.inputs))
    if call.weight.requires_grad:
        blocks.append((call.weight, torch.bmm(deltas.transpose(1, 2), inputs)))
    if call.bias is not None and call.bias.requires_grad:
        blocks.append((call.bias, delta[0].unflatten(0, (n, -1)).sum(1)))  # a constant: channel 0 alone
    return blocks


def _to_leaves(target: Tensor, block: Tensor, leaves: list[Tensor]) -> list[tuple[int, Tensor]]:
    """Carry rows (n, *target.shape) back to the parameters that the target was computed from."""
    for i, leaf in enumerate(leaves):
        if target is leaf:
            return [(i, block)]
    rows = torch.autograd.grad(target, leaves, block, retain_graph=True, allow_unused=True, is_grads_batched=True)
    return [(i, row) for i, row in enumerate(rows) if row is not None]


def _columns(residual: Callable[[list[Tensor]], Tensor], r: Tensor, leaves: list[Tensor], i: int) -> Tensor:
    """Derivative by each entry of one parameter, (entries, n, k).

    The gradient of v . r by the parameter is linear in v, and its derivative by v is what is sought: two reverse passes
    through what lies between a parameter and the residual, which is little for a scalar of the equation. What cannot be
    differentiated twice takes forward mode.
    """
    chance = torch.Generator().manual_seed(0)
    weights = torch.randn(r.shape, generator=chance, dtype=torch.float64).to(r).requires_grad_()
    try:
        (slope,) = torch.autograd.grad((r * weights).sum(), leaves[i], create_graph=True, allow_unused=True)
        if slope is None:
            return r.new_zeros(leaves[i].numel(), *r.shape)
        flat = slope.reshape(-1)
        each = [torch.autograd.grad(g, weights, retain_graph=True)[0] for g in flat]
    except RuntimeError:
        return _forward_columns(residual, leaves, i)
    found = torch.stack(each)
    parts = found * weights.detach()  # whose sum is the slope, unless a part of it could not be differentiated again
    gap = (parts.sum((1, 2)) - flat.detach()).abs()
    if bool((gap > SAME.get(r.dtype, 1e-3) * (parts.abs().sum((1, 2)) + flat.detach().abs())).any()):
        return _forward_columns(residual, leaves, i)
    return found


def _forward_columns(residual: Callable[[list[Tensor]], Tensor], leaves: list[Tensor], i: int) -> Tensor:
    fixed = [leaf.detach() for leaf in leaves]

    def of_one(value: Tensor) -> Tensor:
        return residual([*fixed[:i], value, *fixed[i + 1 :]])

    basis = torch.eye(fixed[i].numel(), dtype=fixed[i].dtype, device=fixed[i].device)
    found = [torch.func.jvp(of_one, (fixed[i],), (e.view_as(fixed[i]),))[1] for e in basis]
    return torch.stack(found).detach()  # what is not trained now may have a graph of its own
