"""Least squares for the last linear layer of a network, for residuals that are linear in its outputs.

With the layers before it fixed, o = W h + b, and residuals of labels, of slopes or of a linear equation are affine in
o: the loss is a quadratic function of W and b, which one pass over the data determines. Its damping, and whether the
step is taken at all, is chosen by functions that were left out of it: M. Stone, J. R. Stat. Soc. B 36 (1974) 111, with
two halves.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nfsolve._core.errors import InputError
from nfsolve.optim.one_group import OneGroup

DAMPINGS = tuple(10.0**-k for k in range(12, -1, -1))  # relative to the diagonal, of which the best one is taken
MOST = 1024  # parameters, of each of which a column of the Jacobian is made
GAIN = 1e-3  # part of the loss of functions left out by which it must fall
ROWS, LEAST = 2**19, 8  # rows that are enough for one step, and mini-batches that there are in any case
TOLERANCE = 0.02  # of the predicted change of the loss, by which the true one may differ


class OutputLayer(OneGroup):
    """Solves for the last linear layer of a network over the rows of several mini-batches.

    It is for networks that end in a linear layer whose rows are points, as the projection of a Fourier neural operator
    or the decoder of an attention operator; for the branch of a DeepONet, whose rows are functions, there is
    `LastLayer`. One step is enough; a layer of more than a thousand parameters stays as it is. Where rows know their
    functions, the halves between which damping is chosen have different ones; else they are the mini-batches of even
    and of odd number.

    Args:
        params: Parameters, among them the weight of the layer; the others stay as they are.
        batches: Mini-batches drawn for one step, fewer once half a million rows are there and more than eight
            mini-batches; from an objective without ``resample`` there is one.

    Attributes:
        stop_reason: Why the parameters stayed as they were, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Stone, Cross-validatory choice and assessment of statistical predictions, J. R. Stat. Soc. B 36 (1974) 111.
    """

    def __init__(self, params: Iterable[Tensor], batches: int = 32):
        if batches < 1:
            raise InputError(f"OutputLayer needs batches of at least 1, got {batches}", do="choose a positive number")
        super().__init__(params, {"batches": batches})
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; where functions left out of it would not gain, parameters stay.

        Args:
            objective: Offers ``parts()``, and ``resample()`` where there are mini-batches. Its ``batch`` may hold rows
                with ``halves()``.

        Returns:
            The mean loss of the mini-batches before the step.

        Raises:
            TypeError: A plain closure.
        """
        self._need(objective, "parts()")
        self.stop_reason = ""
        batches = self.param_groups[0]["batches"] if hasattr(objective, "resample") else 1
        halves, layer, rows, count = [_Quadratic(), _Quadratic()], None, 0, 0
        for i in range(batches):
            if i >= LEAST and rows >= ROWS:
                break
            if i:
                objective.resample()
            layer = _layer(objective, {id(p) for p in self._trained})
            if layer is None:
                self.stop_reason = (
                    "no linear layer to solve for: the network does not end in one whose weights are trained directly"
                )
                return torch.stack([r.square().sum() for r in objective.parts()]).sum()
            if layer.columns > MOST:
                self.stop_reason = (
                    f"the layer is kept: it has {layer.columns} parameters, and at most {MOST} are solved for"
                )
                return layer.residual.detach().square().sum()
            objective.evaluations += 1
            rows, count = rows + len(layer.residual), i + 1
            sides = _sides(objective, layer.residual, i % 2 == 0)
            jacobian = layer.jacobian()
            latest = [layer.quadratic(jacobian, side) for side in (sides, ~sides)]
            halves = [half.plus(more) for half, more in zip(halves, latest, strict=True)]
        assert layer is not None
        whole = halves[0].plus(halves[1])
        self._choose(objective, layer, halves, whole, latest[0].plus(latest[1]))
        return torch.as_tensor(whole.loss / count)

    def _choose(
        self, objective: Any, layer: "_Layer", halves: list["_Quadratic"], whole: "_Quadratic", latest: "_Quadratic"
    ) -> None:
        """Take the damping that suits functions left out best, if any does."""
        first, second = halves
        if not (first.loss and second.loss):  # one mini-batch of which nobody knows the functions
            first = second = whole
        left_out = {d: second.at(first.solve(d)) + first.at(second.solve(d)) for d in DAMPINGS}
        best, before = min(left_out, key=lambda d: left_out[d]), first.loss + second.loss
        if not left_out[best] < (1 - GAIN) * before:
            ratio = max(left_out[best] / before, 0.0) ** 0.5
            self.stop_reason = f"the layer is kept: on held-out functions a new one has {ratio:.4f} times the error"
            return
        flat = whole.solve(best)
        step = flat.view(len(layer.weight), -1)
        trained = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        starts = [p.clone() for p in trained]
        columns = layer.weight.shape[1]
        for p, start, move in zip(trained, starts, (step[:, :columns], step[:, -1]), strict=False):
            p.copy_(start.double() + move)
        objective.evaluations += 1
        after, expected = sum(float(r.square().sum()) for r in objective.parts()), latest.at(flat)
        rounding = 1e3 * torch.finfo(layer.weight.dtype).eps * latest.loss
        if abs(after - expected) > TOLERANCE * abs(expected - latest.loss) + rounding:
            for p, start in zip(trained, starts, strict=True):
                p.copy_(start)
            self.stop_reason = "the layer is kept: the residuals are not linear in its outputs"


class _Quadratic:
    """The loss of some rows as a function of a step of the layer, loss + 2 g . s + s . G s."""

    def __init__(self, loss: float = 0.0, gradient: Any = 0.0, gram: Any = 0.0):
        self.loss, self.gradient, self.gram = loss, gradient, gram

    def plus(self, other: "_Quadratic") -> "_Quadratic":
        return _Quadratic(self.loss + other.loss, self.gradient + other.gradient, self.gram + other.gram)

    def solve(self, damping: float) -> Tensor:
        """Return the damped minimum, flat."""
        scale = self.gram.diagonal().clamp_min(1e-300).sqrt()
        matrix = self.gram / scale[:, None] / scale + damping * torch.eye(len(scale)).to(scale)
        return torch.linalg.solve(matrix, -self.gradient / scale) / scale

    def at(self, step: Tensor) -> float:
        return self.loss + float(2 * self.gradient @ step + step @ self.gram @ step)


class _Layer(NamedTuple):
    """What the layer reads ``(..., h)``, what it gives ``(..., k)``, and the residuals ``(rows,)`` that follow."""

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    outputs: Tensor
    residual: Tensor

    @property
    def columns(self) -> int:
        """Number of parameters."""
        return len(self.weight) * self.inputs.shape[-1]

    def jacobian(self) -> Tensor:
        """Return the derivative of the residuals by the layer, ``(rows, k * h)``.

        A product J v is the derivative of u -> J^T u, which is linear, along v.
        """
        with torch.enable_grad():
            dual = torch.zeros_like(self.residual, requires_grad=True)
            (back,) = torch.autograd.grad(self.residual, self.outputs, dual, create_graph=True)
        columns, k = [], len(self.weight)
        for j in range(k):
            for some in self.inputs.unbind(-1):
                direction = torch.zeros_like(self.outputs)
                direction[..., j] = some
                columns.append(torch.autograd.grad(back, dual, direction, retain_graph=True)[0])
        return torch.stack(columns, 1)

    def quadratic(self, jacobian: Tensor, rows: Tensor) -> _Quadratic:
        """Return the loss of some of the rows."""
        residual, jacobian = self.residual.detach()[rows].double(), jacobian[rows].double()
        return _Quadratic(float(residual.square().sum()), jacobian.T @ residual, jacobian.T @ jacobian)


class _Found(TorchFunctionMode):
    """Keeps the last call of a linear layer with a known weight, and cuts the graph behind it."""

    def __init__(self, known: set[int]):
        super().__init__()
        self.known = known
        self.call: tuple[Tensor, Tensor, Tensor | None, Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.linear and isinstance(result, Tensor) and id(args[1]) in self.known:
            bias = args[2] if len(args) > 2 else None
            result = result.detach().requires_grad_()
            self.call = args[0].detach(), args[1], bias if id(bias) in self.known else None, result
        return result


def _layer(objective: Any, known: set[int]) -> _Layer | None:
    """Evaluate once and find the layer; None where there is none."""
    with torch.enable_grad(), _Found(known) as found:
        residual = torch.cat([r.reshape(-1) for r in objective.parts()])
    if found.call is None or not residual.requires_grad:
        return None
    inputs, weight, bias, outputs = found.call
    inputs = inputs if bias is None else torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)
    return _Layer(weight, bias, inputs, outputs, residual)


def _sides(objective: Any, residual: Tensor, first: bool) -> Tensor:
    """Say of each row of the residual whether it belongs to the first half."""
    rows = list(getattr(objective, "batch", {}).values())
    if rows and all(hasattr(r, "halves") for r in rows):
        known = torch.cat([r.halves() for r in rows])
        if len(known) and len(residual) % len(known) == 0:
            return known.repeat_interleave(len(residual) // len(known)).to(residual.device)
    return torch.full_like(residual, first, dtype=torch.bool)
