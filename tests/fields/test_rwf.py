"""What random weight factorization does to gradient descent on one layer."""

import math

import pytest
import torch
from torch import nn

from nfsolve import fields as nf


class Row(nn.Module):
    """One linear layer with a nonlinear loss."""

    def __init__(self, rows: int = 4):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(6, rows, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(rows, 6, dtype=torch.float64, generator=generator))
            self.linear.bias.zero_()
        self.x = torch.randn(20, 6, dtype=torch.float64, generator=generator)
        self.y = torch.randn(20, rows, dtype=torch.float64, generator=generator)

    def loss(self) -> torch.Tensor:
        return (torch.tanh(self.linear(self.x)) - self.y).square().mean()

    def step(self, rate: float) -> None:
        parameters = list(self.parameters())
        gradients = torch.autograd.grad(self.loss(), parameters)
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p.sub_(rate * g)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return s and V."""
        parts = self.linear.parametrizations["weight"]
        scale = parts.original0.detach()
        return (scale.exp() if parts[0].log else scale), parts.original1.detach().clone()


def step_error(rate: float, log: bool) -> float:
    """Distance of one gradient step from its first-order prediction."""
    plain = Row()
    (g,) = torch.autograd.grad(plain.loss(), [plain.linear.weight])
    row = nf.factorize(Row(), nf.RandomWeightFactorization(0.3, 0.2, log))
    s, v = row.factors()
    w = plain.linear.weight.detach()
    # the log of the scale moves by s v.g, the scale therefore by s^2 v.g
    along = (s**2 if log else torch.ones_like(s))[:, None] * (v * g).sum(1, keepdim=True) * v
    predicted = w - rate * (s[:, None] ** 2 * g + along)
    row.step(rate)
    return float((row.linear.weight.detach() - predicted).norm())


@pytest.mark.parametrize("log", [False, True])
def test_a_gradient_step_is_the_preconditioned_one_to_first_order(log):
    coarse, fine = step_error(1e-2, log), step_error(5e-3, log)
    assert coarse / fine == pytest.approx(4.0, rel=0.03)
    assert fine < 1e-3


def test_the_second_order_term_of_a_step_is_the_one_in_closed_form():
    rate = 0.3
    plain = Row()
    (g,) = torch.autograd.grad(plain.loss(), [plain.linear.weight])
    row = nf.factorize(Row(), nf.RandomWeightFactorization(0.3, 0.2))
    s, v = row.factors()
    overlap = (v * g).sum(1, keepdim=True)
    step = -rate * (s[:, None] ** 2 * g + overlap * v) + rate**2 * s[:, None] * overlap * g
    row.step(rate)
    assert torch.allclose(row.linear.weight, plain.linear.weight + step, rtol=1e-12)


def drift(rate: float) -> float:
    row = nf.factorize(Row(), nf.RandomWeightFactorization(0.3, 0.2))
    s, v = row.factors()
    before = s**2 - v.square().sum(1)
    for _ in range(round(1.0 / rate)):
        row.step(rate)
    s, v = row.factors()
    return float((s**2 - v.square().sum(1) - before).abs().max())


def test_gradient_flow_conserves_the_squared_scale_less_the_squared_row():
    coarse, fine = drift(0.05), drift(0.005)
    assert coarse / fine == pytest.approx(10.0, rel=0.15)
    assert fine < 5e-3


@pytest.mark.parametrize(("mean", "std"), [(1.0, 0.1), (0.5, 0.3)])
def test_the_logarithm_of_the_scale_is_normal(mean, std):
    n = 20000
    layer = nn.Linear(1, n, dtype=torch.float64)
    nf.factorize(layer, nf.RandomWeightFactorization(mean, std))
    xi = layer.parametrizations["weight"].original0.detach().log()
    assert float(xi.mean()) == pytest.approx(mean, abs=4 * std / math.sqrt(n))
    assert float(xi.std()) == pytest.approx(std, rel=4 / math.sqrt(2 * n))
    standard = (xi - mean) / std
    assert float((standard**4).mean()) == pytest.approx(3.0, abs=0.2)
