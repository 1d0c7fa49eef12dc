import math

import pytest
import torch

from nfsolve import MLP, Box, RandomWeightFactorization, Sine, factorize, weight_scaling
from nfsolve.fields import Siren
from nfsolve.studies.analysis import NotApplicable, Subject, signals, spectrum
from problems.signals.image import ImageFit

SQUARE = Box(x=(-1, 1), y=(-1, 1))


def grid(n=40):
    return SQUARE.grid(n, n).double()


def sine_field(alpha, width=256, depth=4, seed=0):
    init = weight_scaling(alpha)
    return MLP(SQUARE, width=width, depth=depth, activation=Sine(30.0), init=init, seed=seed, dtype=torch.float64)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.5])
def test_spread_and_gain_follow_the_recursion(alpha):
    field = sine_field(alpha)
    points = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    layers = signals.layers_of(field, lambda f: (f(points) - points[:, :1]).square().mean())
    for layer in layers[1:]:
        assert layer.alpha == pytest.approx(alpha, rel=0.03)
        assert layer.spread == pytest.approx(layer.spread_predicted, rel=0.03)
    for layer in layers[:-1]:
        assert layer.gain == pytest.approx(layer.gain_predicted, rel=0.05)
    assert math.isnan(layers[-1].gain)


def test_gradients_are_those_of_autograd_and_factorization_does_not_change_them():
    points = grid(8)
    field = sine_field(1.5, width=9, depth=2)
    loss = lambda f: (f(points) - 0.2).square().mean()  # noqa: E731
    before = signals.layers_of(field, loss)
    told = torch.autograd.grad(loss(field), [field.body[i].linear.weight for i in range(2)])
    for layer, gradient in zip(before, told, strict=True):
        assert layer.weight_gradient == pytest.approx(float(gradient.square().mean().sqrt()))
    # dL/dphase = dL/db / omega, point by point: their sum is the bias's gradient
    h = field.body[0](field.encode(points))
    z = field.body[1].linear(h).detach().requires_grad_()
    (slope,) = torch.autograd.grad((field.body[2](torch.sin(30 * z)) - 0.2).square().mean(), z)
    assert before[1].gradient == pytest.approx(float(slope.square().mean().sqrt()) / 30)
    factorize(field, RandomWeightFactorization())
    after = signals.layers_of(field, loss)
    assert [layer.weight_gradient for layer in after] == pytest.approx([layer.weight_gradient for layer in before])
    assert after[0].gain_predicted == pytest.approx(before[0].gain_predicted)


def test_without_sines_gradients_stay_and_predictions_go():
    problem = ImageFit(size=48)
    subject = Subject.of_field(problem, MLP.for_problem(problem, width=8, depth=2))
    result = signals.analyse(subject)
    assert result.predicted == "none: derived for sine layers"
    assert math.isnan(result.moments[0][0].gain_predicted)
    assert result.moments[0][0].gain > 0


def test_radial_power_obeys_parseval_and_finds_a_wave():
    values = torch.randn(24, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = spectrum.radial_power(values, (0.1, 0.2), window=False)
    assert float(found.total.sum()) == pytest.approx(float(values.var(correction=0)))
    n = 32
    x = torch.arange(n, dtype=torch.float64) / n
    wave = 3 * torch.sin(2 * math.pi * (3 * x[:, None] + 4 * x[None, :])) + 7
    found = spectrum.radial_power(wave, (1 / n, 1 / n), window=False)
    assert found.frequency[int(found.total.argmax())] == pytest.approx(5)
    assert float(found.total.max()) == pytest.approx(4.5)
    assert found.centroid == pytest.approx(5)
    tapered = spectrum.radial_power(wave, (1 / n, 1 / n))
    assert float(tapered.total.sum()) == pytest.approx(4.5, rel=0.02)
    assert tapered.centroid == pytest.approx(5, abs=0.1)
    # a wave that does not fit leaks far less with a window
    odd = torch.sin(2 * math.pi * 3.5 * x)
    far = [float(spectrum.radial_power(odd, (1 / n,), window=w).total[10:].sum()) for w in (False, True)]
    assert far[1] < 0.01 * far[0]


def test_bandwidth_of_a_wave_and_of_scaled_networks():
    half = torch.ones(2, dtype=torch.float64)

    class Wave(torch.nn.Module):
        def forward(self, x):
            return torch.sin(x @ torch.tensor([[30.0], [40.0]], dtype=x.dtype))

    random = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    # rms over both coordinates of (30, 40) is 50 / sqrt2
    assert spectrum.bandwidth(Wave(), random, half) == pytest.approx(50 / math.sqrt(2), rel=0.03)
    assert spectrum.bandwidth(Wave(), random, 2 * half) == pytest.approx(100 / math.sqrt(2), rel=0.03)
    field = sine_field(2.5)
    measured = spectrum.bandwidth(field, random[:1000], half)
    assert measured == pytest.approx(spectrum.predicted_bandwidth(field, random[:1000], half), rel=0.1)
    assert measured == pytest.approx(30 / (2 * math.sqrt(3)) * 2.5**4, rel=0.1)


def test_spectra_of_a_picture_and_points_without_a_grid():
    problem = ImageFit(size=64)
    field = MLP.for_problem(problem, width=16, depth=2, activation=Sine(30.0), init=Siren())
    subject = Subject.of_field(problem, field)
    result = spectrum.analyse(subject)
    assert list(result.spectra) == ["target", "step 0"]
    assert result.nyquist == pytest.approx(0.5 / (2 * 2 / 64))
    assert len(spectrum.figure(result).axes) == 2
    assert len(signals.figure(signals.analyse(subject)).axes) == 4
    chosen = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:99]
    subject.data["given"] = subject.data["given"][chosen]
    with pytest.raises(NotApplicable, match="the given points form no grid"):
        spectrum.analyse(subject)
