import math

import numpy as np
import pytest
import torch

from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.domains import Box
from tests.oracles import derivative


def apply(activation: nf.Activation, x: torch.Tensor, along: tuple[int, ...] = (), layer: int = 1) -> torch.Tensor:
    return derivative(lambda z: activation(z, layer), x, along)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


GRID = column(-1.3, -0.4, 0.0, 0.2, 0.9)
FORMULAS = {
    "tanh": (nf.Tanh(), torch.tanh),
    "relu": (nf.ReLU(), lambda z: z.clamp(min=0)),
    "gelu": (nf.GELU(), lambda z: 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))),
    "softplus": (nf.Softplus(), lambda z: torch.log1p(torch.exp(z))),
    "sine": (nf.Sine(7.0), lambda z: torch.sin(7 * z)),
    "finer": (nf.Finer(7.0), lambda z: torch.sin(7 * (z.abs() + 1) * z)),
    "gaussian": (nf.Gaussian(2.0), lambda z: torch.exp(-4 * z * z)),
    "sinc": (nf.Sinc(3 * math.pi), lambda z: torch.sinc(3 * z)),
    "gabor": (nf.Gabor(5.0, 2.0), lambda z: torch.cos(5 * z) * torch.exp(-4 * z * z)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_follow_the_formulas(name):
    activation, formula = FORMULAS[name]
    assert torch.allclose(activation(GRID, 1), formula(GRID), rtol=1e-12, atol=1e-15)
    single = activation(GRID.float(), 1)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), formula(GRID), atol=1e-5)


def test_the_sine_has_a_frequency_of_its_own_in_the_first_layer():
    sine = nf.Sine(30.0, hidden=4.0)
    assert torch.equal(sine(GRID, 0), torch.sin(30 * GRID))
    assert torch.equal(sine(GRID, 1), torch.sin(4 * GRID))
    assert torch.equal(sine(GRID, 5), torch.sin(4 * GRID))


@pytest.mark.parametrize("omega", [1.0, 5.0, 8 * math.pi])
def test_derivatives_of_sinc_at_zero_are_those_of_its_series(omega):
    expected = [1.0, 0.0, -(omega**2) / 3, 0.0, omega**4 / 5]
    for order, value in enumerate(expected):
        got = float(apply(nf.Sinc(omega), column(0.0), (0,) * order))
        assert got == pytest.approx(value, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("order", range(5))
def test_sinc_is_right_on_both_sides_of_its_switch_between_series_and_quotient(order):
    y = column(1e-9, 0.1, 0.4, 0.49999, 0.50001, 0.9, 0.999999, 1.0, 1.000001, 1.5, -0.7, -1.2)
    # sin(y) / y is the mean of cos(t y) over 0 < t < 1
    t, w = np.polynomial.legendre.leggauss(20)
    t, w = torch.from_numpy((t + 1) / 2), torch.from_numpy(w / 2)
    expected = (w * t**order * torch.cos(t * y + order * math.pi / 2)).sum(-1, keepdim=True)
    assert torch.allclose(apply(nf.Sinc(1.0), y, (0,) * order), expected, rtol=1e-11, atol=1e-12)


def test_derivatives_of_finer_include_the_variable_period():
    z = column(0.3, -0.6)
    slope = 5 * (1 + 2 * z.abs()) * torch.cos(5 * (z.abs() + 1) * z)
    assert torch.allclose(apply(nf.Finer(5.0), z, (0,)), slope, rtol=1e-12)


def test_finer_spreads_the_biases_of_its_first_layer_only():
    field = nf.MLP(Box(x=(-1, 1)), width=500, depth=2, activation=nf.Finer(30.0, bias=5.0))
    linears = [m for m in field.modules() if isinstance(m, torch.nn.Linear)]
    assert 4.8 < float(linears[0].bias.detach().abs().max()) <= 5.0
    assert float(linears[1].bias.detach().abs().max()) <= 1 / math.sqrt(500)


def test_the_complex_wavelet_is_its_complex_formula():
    z = torch.complex(GRID, 0.3 - GRID)
    pair = torch.cat([z.real, z.imag], -1)
    expected = torch.exp(1j * 4.0 * z - (2.0 * z.abs()) ** 2)
    got = nf.ComplexGabor(4.0, 2.0)(pair, 1)
    assert torch.allclose(got, torch.cat([expected.real, expected.imag], -1), rtol=1e-12)
    first = nf.ComplexGabor(4.0, 2.0)(GRID, 0)
    real = torch.exp(1j * 4.0 * GRID - (2.0 * GRID) ** 2)
    assert torch.allclose(first, torch.cat([real.real, real.imag], -1), rtol=1e-12)


@pytest.mark.parametrize("name", [*FORMULAS])
def test_third_derivatives_are_finite_at_and_near_zero(name):
    activation, _ = FORMULAS[name]
    z = column(0.0, 1e-12, -1e-8, 1e-4, 3.0)
    assert bool(apply(activation, z, (0, 0, 0)).isfinite().all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nf.Sine(0.0), "Sine needs omega to be .*, got 0.0"),
        (lambda: nf.Sine(30.0, hidden=-1.0), "Sine needs hidden to be .*, got -1.0"),
        (lambda: nf.Finer(math.nan), "Finer needs omega to be .*, got nan"),
        (lambda: nf.Finer(30.0, bias=0.0), "Finer needs bias to be .*, got 0.0"),
        (lambda: nf.Gaussian(-2.0), "Gaussian needs scale to be .*, got -2.0"),
        (lambda: nf.Sinc(math.inf), "Sinc needs omega to be .*, got inf"),
        (lambda: nf.Gabor(10.0, 0.0), "Gabor needs scale to be .*, got 0.0"),
        (lambda: nf.ComplexGabor(0.0), "ComplexGabor needs omega to be .*, got 0.0"),
        (lambda: nf.Sine("30"), "Sine needs omega to be .*, got '30'"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_worded(make, message):
    with pytest.raises(InputError, match=message):
        make()
