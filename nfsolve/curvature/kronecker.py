"""Kronecker factors of the Gauss-Newton matrix of least squares, for the weights of linear layers.

For the loss |r|^2 the Gauss-Newton matrix of a layer z = W a + b is 2 sum over residuals of (d r / d W)(d r / d W)^T.
With deltas g = sum_j w_j d r_j / d z for random signs w_j, so that E[w w^T] = 1, each row of inputs brings g (x) a, and
the sum over rows of g g^T (x) a a^T is factored into the sum of the first times the mean of the second: Martens &
Grosse, arXiv 1503.05671, section 3, with the Monte-Carlo deltas of section 5 for a Gaussian likelihood.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from nfsolve._core.ranks import Ranks

ROUNDING = 100.0  # in units of the type's precision, how far two orders of one sum may lie apart


@dataclass
class KroneckerFactors:
    """One linear layer: its block of the Gauss-Newton matrix is about ``outputs (x) inputs``.

    Attributes:
        weight: The weight ``(out, in)``, a parameter.
        bias: The bias ``(out,)``, or None where the layer trains none.
        inputs: A, the mean over rows of a a^T with a 1 appended where there is a bias; ``(in [+ 1], in [+ 1])``.
        outputs: G, twice the sum over rows of g g^T; ``(out, out)``.
    """

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    outputs: Tensor


class Spread(NamedTuple):
    """Residuals of which each process has some: their places, how many there are in all, and the processes."""

    places: Tensor
    count: int
    ranks: Ranks


@dataclass
class _Layer:
    """What was seen of one weight: rows of inputs, and the tensors of outputs that they led to."""

    bias: Tensor | None
    rows: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class _Recorder(TorchFunctionMode):
    """Remembers inputs and outputs of every call of a linear layer whose weight is one of some parameters."""

    def __init__(self, parameters: list[Tensor]):
        super().__init__()
        self.known = {id(p): p for p in parameters}
        self.layers: dict[int, _Layer] = {}
        self.refused: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.linear and len(args) > 1 and id(args[1]) in self.known:
            bias = args[2] if len(args) > 2 else (kwargs or {}).get("bias")
            self._record(args[0], args[1], bias if id(bias) in self.known else None, result)
        return result

    def _record(self, source: Any, weight: Tensor, bias: Tensor | None, result: Any) -> None:
        # a batch of Taylor jets has its channels in front: the value first, then derivatives, which see no bias
        inputs, outputs = getattr(source, "channels", source), getattr(result, "channels", result)
        if not outputs.requires_grad:  # under no_grad: a part that the loss does not see
            return
        layer = self.layers.setdefault(id(weight), _Layer(bias))
        if layer.bias is not bias or torch._C._functorch.is_functorch_wrapped_tensor(inputs):  # type: ignore[attr-defined]
            self.refused.add(id(weight))
            return
        if bias is not None:
            ones = inputs.new_ones(*inputs.shape[:-1], 1)
            if inputs is not source:
                ones[1:] = 0
            inputs = torch.cat([inputs.detach(), ones], -1)
        layer.rows.append(inputs.detach().reshape(-1, inputs.shape[-1]))
        layer.outputs.append(outputs)


@torch.enable_grad()
def kronecker_factors(
    residual: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    generator: Generator,
    samples: int = 1,
    spread: Spread | None = None,
) -> list[KroneckerFactors]:
    """Return the Kronecker factors of every linear layer whose weight is one of some parameters.

    Rows of inputs count as independent. They are where each residual depends on one row, as in a fit of values; where
    it depends on several (Taylor channels of a derivative, points of a ray, two calls of the field) the products
    between them are left out, as in Dangel, Mueller & Zeinhofer, arXiv 2405.15603 (KFAC-expand). All calls of a layer,
    on the points of whatever residual, are pooled. A layer whose weight or bias acts otherwise than through its
    recorded calls, seen by a gradient that is not the sum of g a^T, has no factors; nor has one whose weight is
    computed from parameters, as by a factorization.

    Args:
        residual: Gives r, whose sum of squares is the loss, from the parameters themselves.
        parameters: Where weights and biases are looked for.
        generator: CPU generator of the signs.
        samples: Draws of signs, one backward pass each. One is exact where residuals come from one output each.
        spread: Where these residuals stand among those of several processes; None for one.

    Returns:
        Factors by layer, in the order of their first call.
    """
    known = list(parameters)
    with _Recorder(known) as recorder:
        r = residual()
    layers = {key: layer for key, layer in recorder.layers.items() if key not in recorder.refused}
    if not layers:
        return []
    sums: dict[int, Tensor] = {}
    for sample in range(samples):
        signs = torch.randint(0, 2, (spread.count,) if spread else r.shape, generator=generator).to(r) * 2 - 1
        signs = signs[spread.places] if spread else signs
        wanted = [t for key, layer in layers.items() for t in (recorder.known[key], layer.bias, *layer.outputs)]
        wanted = [t for t in wanted if t is not None]
        found = torch.autograd.grad(r, wanted, signs, retain_graph=sample + 1 < samples, materialize_grads=True)
        gradients = {id(t): g for t, g in zip(wanted, found, strict=True)}
        for key, layer in list(layers.items()):
            delta = torch.cat([gradients[id(z)].reshape(-1, z.shape[-1]) for z in layer.outputs])
            if sample or _acts_alone(gradients, recorder.known[key], layer, delta):
                sums[key] = sums.get(key, 0) + 2 / samples * delta.T @ delta
            else:
                del layers[key]
    kept = _kept(layers, recorder.known, spread)
    made = []
    for key, layer in layers.items():
        if key not in kept:
            continue
        rows = torch.cat(layer.rows)
        inputs, outputs, n = rows.T @ rows, sums[key], len(rows)
        if spread:
            inputs, outputs = spread.ranks.total(inputs), spread.ranks.total(outputs)
            n = sum(spread.ranks.all(n))
        made.append(KroneckerFactors(recorder.known[key], layer.bias, inputs / n, outputs))
    return made


def _kept(layers: dict[int, _Layer], known: dict[int, Tensor], spread: Spread | None) -> set[int]:
    """Return the layers that every process has: on the rows of one a layer may not act alone."""
    if not spread:
        return set(layers)
    order = list(known)
    mine = [i for i, key in enumerate(order) if key in layers]
    return {order[i] for i in set.intersection(*map(set, spread.ranks.all(mine)))}


def _acts_alone(gradients: dict[int, Tensor], weight: Tensor, layer: _Layer, delta: Tensor) -> bool:
    """Return whether the recorded calls of a layer explain its gradients, but for the rounding of the products."""
    rows, gradient = torch.cat(layer.rows), gradients[id(weight)]
    if layer.bias is not None:
        gradient = torch.cat([gradient, gradients[id(layer.bias)][:, None]], 1)
    gap = torch.linalg.vector_norm(delta.T @ rows - gradient)
    size = torch.linalg.vector_norm(delta) * torch.linalg.vector_norm(rows)
    return bool(gap <= ROUNDING * torch.finfo(gradient.dtype).eps * size)
