"""Radially averaged power spectrum of a field before and after training, and its effective bandwidth.

The bandwidth is that of the weight-scaling notes: the root mean square over points of df/dx_j in units of the standard
deviation of f, with coordinates normalised to [-1, 1]; for one wave it is its angular frequency.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nfsolve.plot.panels import head, legend_below, new_figure
from nfsolve.studies.analysis.sample import Sample
from nfsolve.studies.analysis.signals import layers_of
from nfsolve.studies.analysis.subject import NotApplicable, Subject, project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHUNK = 8192
SLOPES = 2048  # points at which the bandwidth is measured


@dataclass(frozen=True)
class Radial:
    """A radial spectrum.

    Attributes:
        frequency: Centres of the bins, cycles per unit of the coordinates, ``(m,)``.
        mean: Power of one mode, averaged over the modes of a bin.
        total: Power of all modes of a bin; they add up to the variance.
    """

    frequency: Tensor
    mean: Tensor
    total: Tensor

    @property
    def centroid(self) -> float:
        """Mean frequency, weighted by power."""
        return float((self.frequency * self.total).sum() / self.total.sum().clamp_min(1e-300))


@dataclass(frozen=True)
class SpectrumAnalysis:
    """Spectra and bandwidths.

    Attributes:
        grid: The grid, in words.
        nyquist: Highest frequency of the coarsest axis, cycles per unit.
        spectra: ``"step N"`` or ``"target"`` -> spectrum.
        bandwidth: ``"step N"`` -> rms angular frequency per coordinate on [-1, 1].
        predicted: The initial field's, for sine layers; NaN where the formula does not apply.
        unit: Half the length of the longest axis: 2 pi f times it is an angular frequency on [-1, 1].
    """

    grid: str
    nyquist: float
    spectra: dict[str, Radial]
    bandwidth: dict[str, float]
    predicted: float
    unit: float

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        rows: dict[str, Any] = {"grid": self.grid}
        limit = 2 * math.pi * self.nyquist * self.unit
        for name, value in self.bandwidth.items():
            rows[f"{name}: omega_eff, of Nyquist's {limit:.0f}"] = f"{value:.3g} ({value / limit:.2f})"
        if not math.isnan(self.predicted):
            rows["initial omega_eff predicted"] = self.predicted
        for name, spectrum in self.spectra.items():
            rows[f"{name}: centroid, cycles per unit"] = spectrum.centroid
        return rows


def radial_power(values: Tensor, spacing: tuple[float, ...], window: bool = True) -> Radial:
    """Return the power over radial frequency of values on a grid, less their mean.

    Args:
        values: ``(*sizes)``.
        spacing: Distance between grid points along each axis.
        window: Multiply by a Hann window, so that borders that do not fit together do not look like high
            frequencies; the power stays that of the windowed values over the mean square of the window.

    Returns:
        The spectrum, in bins as wide as the coarsest frequency step.
    """
    values = values.double()
    taper = torch.ones_like(values)
    if window:
        for axis, n in enumerate(values.shape):
            shape = [1] * values.ndim
            shape[axis] = n
            taper = taper * torch.hann_window(n, periodic=True, dtype=torch.float64).reshape(shape)
    centred = values - (values * taper.square()).sum() / taper.square().sum()
    power = torch.fft.fftn(taper * centred).abs().square() / values.numel() ** 2 / taper.square().mean()
    axes = [torch.fft.fftfreq(n, d, dtype=torch.float64) for n, d in zip(values.shape, spacing, strict=True)]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    width = max(1 / (n * d) for n, d in zip(values.shape, spacing, strict=True))
    index = (radius / width).round().long().reshape(-1)
    count = torch.zeros(int(index.max()) + 1, dtype=torch.float64)
    total = count.clone()
    count.index_add_(0, index, torch.ones(len(index), dtype=torch.float64))
    total.index_add_(0, index, power.reshape(-1))
    return Radial(width * torch.arange(len(count), dtype=torch.float64), total / count.clamp_min(1), total)


def bandwidth(field: nn.Module, points: Tensor, half: Tensor) -> float:
    """Measure the effective angular frequency per coordinate by automatic differentiation.

    Args:
        field: Points ``(n, d)`` -> values ``(n, k)``.
        points: ``(n, d)``.
        half: Half length of each coordinate, ``(d,)``.

    Returns:
        rms over points and coordinates of df/dx_j on [-1, 1], over the standard deviation of f.
    """
    x = points.detach().clone().requires_grad_()
    with torch.enable_grad():
        f = project(field(x))
        (slope,) = torch.autograd.grad(f.sum(), x)
    spread = float(f.detach().std())
    return float((slope * half).square().mean().sqrt()) / spread if spread > 0 else math.nan


def predicted_bandwidth(field: nn.Module, points: Tensor, half: Tensor) -> float:
    """Predict the effective frequency of a sine MLP from the second moments of its weights.

    Args:
        field: The field.
        points: Where the spread of the phases is measured.
        half: Half length of each coordinate.

    Returns:
        omega_1 times alpha sqrt(1 + e^{-2 s^2}) for each hidden layer, times sqrt((1 + e^{-2 s^2}) / (1 - e^{-2 s^2}))
        of the last sine layer; NaN where the layers are not plain sines on plain coordinates.
    """
    layers = layers_of(field, lambda f: f(points).mean())
    first = field.get_submodule(layers[0].name)
    weight, rate = first.linear.weight.detach(), first.activation.rate(0)  # type: ignore[union-attr,operator]
    if math.isnan(layers[0].alpha) or weight.shape[1] != points.shape[1]:
        return math.nan
    value = float(rate) * float(weight.square().mean().sqrt())
    for layer in layers[:-1]:
        value *= layer.gain_predicted
    last = math.exp(-2 * layers[-1].spread ** 2)
    return value * math.sqrt((1 + last) / (1 - last))


def analyse(subject: Subject) -> SpectrumAnalysis:
    """Analyse the field at every recorded moment, and the target.

    Args:
        subject: The subject.

    Returns:
        The spectra. Several outputs are projected on (1, .., 1)/sqrt(k).

    Raises:
        NotApplicable: The points form no grid.
    """
    sample = subject.sample()
    if sample.sizes is None:
        raise NotApplicable("the given points form no grid, so there is no Fourier transform")
    axes = _spacing(sample)
    domain = getattr(subject.problem, "domain", None)
    low, high = (
        torch.tensor(domain.bounds, dtype=torch.float64).T
        if domain is not None and len(domain.bounds) == sample.points.shape[1]
        else (sample.points.amin(0), sample.points.amax(0))
    )
    half = 0.5 * (high - low)
    some = sample.points[torch.randperm(len(sample.points), generator=torch.Generator().manual_seed(0))[:SLOPES]]
    spectra, widths = {}, {}
    if sample.values is not None:
        spectra["target"] = radial_power(project(sample.values).reshape(sample.sizes), axes)
    predicted = math.nan
    for step in sorted(subject.states):
        with subject.at(step) as field:
            with torch.no_grad():
                values = torch.cat([project(field(part)) for part in sample.points.split(CHUNK)])
            spectra[f"step {step}"] = radial_power(values.reshape(sample.sizes), axes)
            widths[f"step {step}"] = bandwidth(field, some, half)
            if step == 0:
                try:
                    predicted = predicted_bandwidth(field, some, half)
                except NotApplicable:
                    pass  # no layers with an activation: nothing to predict from
    return SpectrumAnalysis(sample.words, 0.5 / max(axes), spectra, widths, predicted, float(half.max()))


def _spacing(sample: Sample) -> tuple[float, ...]:
    """Return the distance between neighbours along each axis of the grid."""
    assert sample.sizes is not None
    table = sample.points.reshape(*sample.sizes, -1)
    steps = []
    for axis, n in enumerate(sample.sizes):
        apart = table.select(axis, 1) - table.select(axis, 0) if n > 1 else table.new_ones(1)
        steps.append(float(apart.reshape(-1, apart.shape[-1])[0].norm()))
    return tuple(steps)


def figure(result: SpectrumAnalysis) -> "Figure":
    """Draw the spectra and the power beyond each frequency.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure.
    """
    drawn = new_figure(11.0, 4.2)
    power, beyond = drawn.subplots(1, 2)
    colour: dict[str, Any] = {}
    for name, spectrum in result.spectra.items():
        style: dict[str, Any] = {"label": name} | ({"color": "k", "lw": 2, "alpha": 0.5} if name == "target" else {})
        shown = spectrum.frequency > 0
        f = spectrum.frequency[shown]
        (drawn_as,) = power.loglog(f, spectrum.mean[shown].clamp_min(1e-20), **style)
        colour[name] = drawn_as.get_color()
        tail = spectrum.total.flip(0).cumsum(0).flip(0) / spectrum.total.sum().clamp_min(1e-300)
        beyond.loglog(f, tail[shown].clamp_min(1e-12), **style)
    for name, value in result.bandwidth.items():
        at = value / (2 * math.pi * result.unit)
        power.axvline(at, lw=1, ls=":", color=colour.get(name, "0.4"))
    if result.bandwidth:
        power.plot([], [], ":", color="0.4", lw=1, label="omega_eff of each, in its colour")
    for axes in (power, beyond):
        axes.axvline(result.nyquist, color="r", lw=0.8, ls="--", label="Nyquist")
        legend_below(axes)
    power.set(title="power of a mode", xlabel="cycles per unit of the coordinates")
    beyond.set(title="share of the power at and beyond a frequency", xlabel="cycles per unit of the coordinates")
    head(drawn, f"spectrum on {result.grid}")
    return drawn
