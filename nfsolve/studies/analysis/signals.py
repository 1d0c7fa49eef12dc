"""Pre-activations of a field and their gradients, layer by layer, with what theory predicts for sine layers.

For phases z_i = omega (W_i h + b_i), h = sin(z), with independent weights of variance 2 alpha^2 / (omega^2 d):
sd:       s_{i+1}^2 = alpha^2 (1 - e^{-2 s_i^2}) + omega^2 Var b         (Yeom, Lee & Lee, ICLR 2025, proposition 1)
gradient: rms dL/dz_i = rms dL/dz_{i+1} alpha sqrt(1 + e^{-2 s_i^2})     (times sqrt(d_{i+1} / d_i))
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nfsolve.fields import Sine
from nfsolve.fields.layers import Dense
from nfsolve.plot.panels import head, legend_below, new_figure
from nfsolve.studies.analysis.subject import NotApplicable, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 2048


@dataclass(frozen=True)
class Layer:
    """One layer at one moment.

    Attributes:
        name: Its module.
        spread: Standard deviation of the phases z = omega (W h + b) over points and units; without an omega of the
            pre-activations.
        spread_predicted: By the recursion, from the spread of the first layer; NaN where it does not apply.
        gradient: rms dL/dz over points and units.
        gain: rms dL/dz over that of the next layer; NaN for the last.
        gain_predicted: alpha sqrt(1 + e^{-2 s^2}); NaN where it does not apply.
        weight_gradient: rms dL/dW over its entries.
        alpha: omega sqrt(d mean(W^2) / 2): the factor of weight scaling, as measured; NaN without an omega.
    """

    name: str
    spread: float
    spread_predicted: float
    gradient: float
    gain: float
    gain_predicted: float
    weight_gradient: float
    alpha: float


@dataclass(frozen=True)
class SignalAnalysis:
    """Layers along training.

    Attributes:
        loss: Which loss is differentiated, in words.
        moments: Step -> layers, the first first.
        predicted: Why there is no prediction, or empty.
    """

    loss: str
    moments: dict[int, tuple[Layer, ...]]
    predicted: str

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        rows: dict[str, Any] = {"loss": self.loss}
        for step, layers in self.moments.items():
            at = f"step {step}"
            rows[f"{at}: sd of phases"] = _row(layer.spread for layer in layers)
            if not self.predicted:
                rows[f"{at}: sd predicted"] = _row(layer.spread_predicted for layer in layers)
            rows[f"{at}: rms dL/dz"] = _row((layer.gradient for layer in layers), ".2e")
            rows[f"{at}: gain to the layer before"] = _row(layer.gain for layer in layers[:-1])
            if not self.predicted:
                rows[f"{at}: gain predicted"] = _row(layer.gain_predicted for layer in layers[:-1])
            rows[f"{at}: rms dL/dW"] = _row((layer.weight_gradient for layer in layers), ".2e")
        if self.predicted:
            rows["prediction"] = self.predicted
        return rows


def analyse(subject: Subject, points: int = POINTS) -> SignalAnalysis:
    """Analyse all layers with an activation, at every recorded moment.

    The loss is the mean squared error to the target; where the problem has none, the mean of the outputs.

    Args:
        subject: The subject.
        points: At most so many points.

    Returns:
        The layers.

    Raises:
        NotApplicable: The field has no such layers.
    """
    sample = subject.sample(points)
    values = sample.values
    words = "mean of the outputs" if values is None else "mean squared error to the target"

    def loss(field: nn.Module) -> Tensor:
        found = field(sample.points)
        return found.mean() if values is None else (found - values).square().mean()

    moments = {}
    for step in sorted(subject.states):
        with subject.at(step) as field:
            moments[step] = layers_of(field, loss)
    return SignalAnalysis(f"{words}, {sample.words}", moments, _why_not(subject.field))


def layers_of(field: nn.Module, loss: Callable[[nn.Module], Tensor]) -> tuple[Layer, ...]:
    """Measure spread and gradients of each layer.

    Args:
        field: A field with `Dense` layers.
        loss: Field -> scalar, evaluating the field once.

    Returns:
        The layers in the order in which they act.

    Raises:
        NotApplicable: There are none.
    """
    with _recorded(field) as seen, torch.enable_grad():
        value = loss(field)
    if not seen:
        raise NotApplicable("the field has no linear layers that an activation follows")
    modules = [field.get_submodule(name) for name, *_ in seen]
    tensors = [z for *_, z in seen]
    weights = [getattr(module.linear, "weight", None) for module in modules]
    slopes = torch.autograd.grad(value, tensors, materialize_grads=True)
    # of the matrix that acts, however it is factorized
    own = [float((g.T @ h).square().mean().sqrt()) for (_, h, _), g in zip(seen, slopes, strict=True)]
    rates = [module.activation.rate(module.index) or 1.0 for module in modules]  # type: ignore[operator,union-attr]
    spreads = [rate * float(z.detach().std()) for rate, z in zip(rates, tensors, strict=True)]
    # with respect to the phase: z = phase / rate
    sizes = [float(g.square().mean().sqrt()) / rate for g, rate in zip(slopes, rates, strict=True)]
    sines = not _why_not(field)
    layers, spread = [], spreads[0]
    for i, (name, *_) in enumerate(seen):
        alpha = _alpha(weights[i], rates[i]) if sines else math.nan
        if i and sines:
            bias = rates[i] ** 2 * float(modules[i].linear.bias.detach().square().mean())  # type: ignore[union-attr]
            spread = math.sqrt(alpha**2 * (1 - math.exp(-2 * spread**2)) + bias)
        gain = predicted = math.nan
        if i + 1 < len(seen):
            gain = sizes[i] / sizes[i + 1] if sizes[i + 1] > 0 else math.nan
            if sines:
                ratio = tensors[i + 1].shape[1] / tensors[i].shape[1]
                after = _alpha(weights[i + 1], rates[i + 1])
                predicted = after * math.sqrt(ratio * (1 + math.exp(-2 * spreads[i] ** 2)))
        told = spread if sines else math.nan
        layers.append(Layer(name, spreads[i], told, sizes[i], gain, predicted, own[i], alpha))
    return tuple(layers)


def _alpha(weight: Any, rate: float) -> float:
    return rate * math.sqrt(weight.shape[1] * float(weight.detach().square().mean()) / 2)


@contextmanager
def _recorded(field: nn.Module) -> Iterator[list[tuple[str, Tensor, Tensor]]]:
    """Record name, inputs and pre-activations of the `Dense` layers in the order in which they act."""
    seen: list[tuple[str, Tensor, Tensor]] = []
    handles = []
    for name, module in field.named_modules():
        if isinstance(module, Dense):

            def keep(_: nn.Module, given: Any, z: Tensor, name: str = name) -> None:
                seen.append((name, given[0].detach(), z))

            handles.append(module.linear.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _why_not(field: nn.Module) -> str:
    """Say why the prediction for sine layers does not apply; empty where it does."""
    layers = [module for module in field.modules() if isinstance(module, Dense)]
    if not layers or not all(isinstance(layer.activation, Sine) for layer in layers):
        return "none: derived for sine layers"
    if type(field).__name__ != "MLP":
        return f"none: derived for layers that follow each other, and this is a {type(field).__name__}"
    return ""


def _row(values: Any, form: str = ".3g") -> str:
    return " ".join("-" if math.isnan(v) else format(v, form) for v in values)


def figure(result: SignalAnalysis) -> "Figure":
    """Draw spread and gradients by layer.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure.
    """
    drawn = new_figure(9.0, 8.2)
    spread, gradient, gain, weight = drawn.subplots(2, 2).flat
    for i, (step, layers) in enumerate(result.moments.items()):
        index = range(1, len(layers) + 1)
        style: dict[str, Any] = {"color": f"C{i}", "label": f"step {step}"}
        spread.plot(index, [layer.spread for layer in layers], "o-", **style)
        gradient.semilogy(index, [layer.gradient for layer in layers], "o-", **style)
        gain.plot(list(index)[:-1], [layer.gain for layer in layers[:-1]], "o-", **style)
        weight.semilogy(index, [layer.weight_gradient for layer in layers], "o-", **style)
    first = next(iter(result.moments.values()))
    index = range(1, len(first) + 1)
    if not result.predicted:
        spread.plot(index, [layer.spread_predicted for layer in first], "k--", lw=1, label="recursion, first step")
        told = [layer.gain_predicted for layer in first[:-1]]
        gain.plot(list(index)[:-1], told, "k--", lw=1, label="alpha sqrt(1 + exp(-2 sd^2))")
    spread.set(title="sd of the phases omega (W h + b)", xlabel="layer", ylim=(0, None))
    gradient.set(title="rms dL/dz", xlabel="layer")
    gain.set(title="rms dL/dz over that of the next layer", xlabel="layer", ylim=(0, 1.1 * gain.get_ylim()[1]))
    weight.set(title="rms dL/dW", xlabel="layer")
    for axes in (spread, gradient, gain, weight):
        axes.set_xticks(list(index))
        legend_below(axes)
    head(drawn, f"layers: {result.loss}")
    return drawn
