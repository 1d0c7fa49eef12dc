"""Random features: bandwidth, periodicity, and least squares on what is linear."""

import math
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import optim
from nfsolve._core.errors import InputError
from nfsolve.domains import Box, periodic


def test_only_the_last_layer_is_trained_and_starts_at_zero():
    field = nf.RandomFeatures(Box(x=(0, 2), y=(-1, 1)), "u v", width=30, dtype=torch.float64)
    assert {name for name, p in field.named_parameters() if p.requires_grad} == {"last.weight", "last.bias"}
    assert torch.equal(field(torch.rand(5, 2)), torch.zeros(5, 2, dtype=torch.float64))


def test_frequencies_fill_the_box_of_the_scales():
    field = nf.RandomFeatures(Box(t=(0, 1), x=(-1, 1)), width=2000, scale=(3.0, 50.0), dtype=torch.float64)
    largest = field.features.weight.abs().amax(0)
    assert torch.allclose(largest, torch.tensor([3.0, 50.0]).double(), rtol=0.01)
    assert math.isclose(float(field.features.bias.std()), math.pi / math.sqrt(3), rel_tol=0.05)


def test_it_repeats_exactly_along_a_periodic_coordinate():
    field = nf.RandomFeatures(Box(t=(0, 1), x=periodic(-2, 3)), width=40, scale=20.0, dtype=torch.float64)
    torch.nn.init.normal_(field.last.weight)
    points = torch.rand(50, 2, dtype=torch.float64)
    moved = points + torch.tensor([0.0, 5.0])
    assert torch.allclose(field(points), field(moved), atol=1e-10)
    assert not torch.allclose(field(points), field(points + torch.tensor([0.0, 2.0])), atol=1e-2)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, (1.0, 2.0, 3.0)])
def test_a_scale_that_fits_no_coordinate_is_refused(scale):
    with pytest.raises(InputError, match="scale"):
        nf.RandomFeatures(Box(x=(0, 1), y=(0, 1)), scale=scale)


def test_a_linear_equation_is_one_step_to_rounding():
    from problems.pde.poisson import Poisson

    solution = nf.solve(
        Poisson(),
        partial(nf.RandomFeatures, width=300, scale=3.0),
        stages=(nf.Stage(optim.LinearLeastSquares, 5, resample=0),),
        dtype="float64",
        report=None,
    )
    assert solution.metrics["relative_l2"] < 1e-12
    assert solution.metrics["heldout/balance"] < 1e-10
    assert solution.steps <= 4
    assert solution.history[-1]["loss"] < 1e-22


def test_a_nonlinear_equation_takes_a_few_steps():
    from nfsolve import PDE, face, interior

    class Logistic(PDE):
        domain = Box(t=(0, 2))
        unknowns = "u"

        @interior
        def growth(self, u, u_t):
            return u_t - u * (1 - u)

        @face(t=0)
        def start(self, u):
            return u - 0.3

        def exact(self, t):
            return 0.3 * torch.exp(t) / (0.7 + 0.3 * torch.exp(t))

    solution = nf.solve(
        Logistic(n_points=100),
        partial(nf.RandomFeatures, width=40, scale=4.0),
        stages=(nf.Stage(optim.LinearLeastSquares, 20, resample=0),),
        dtype="float64",
        report=None,
    )
    assert solution.metrics["relative_l2"] < 1e-10
