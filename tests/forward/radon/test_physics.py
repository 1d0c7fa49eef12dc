"""Projectors as physics of deepinv: shapes, batches, adjointness, and the wording of what does not fit."""

import importlib.util

import pytest
import torch

from nfsolve._core.errors import InputError, MissingExtra
from nfsolve.forward.radon import Projector, as_physics, wrap_operator
from nfsolve.forward.radon.linear import batched
from tests.forward.radon.cases import CASES


@pytest.fixture(params=["sparse", "matrix-free"])
def projector(request):
    return Projector(*CASES["fan"], form=request.param)


def test_a_batch_of_channels_is_projected_one_by_one(projector):
    shapes = CASES["fan"][1].shape, CASES["fan"][0].shape
    forward, adjoint = batched(projector, *shapes), batched(projector.adjoint, *shapes[::-1])
    x = torch.randn(2, 3, *shapes[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = forward(x, sigma=0.1)
    assert y.shape == (2, 3, *shapes[1])
    assert torch.allclose(y[1, 2].reshape(-1, 1), projector(x[1, 2].reshape(-1, 1)))
    v = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float((y * v).sum()) == pytest.approx(float((x * adjoint(v)).sum()), rel=1e-12)
    with pytest.raises(InputError, match=r"\(batch, channels, 7, 5\) is needed, got shape \(7, 5\)"):
        forward(x[0, 0])


def test_physics_of_deepinv_have_the_exact_adjoint_and_come_back(projector):
    pytest.importorskip("deepinv", reason="needs deepinv")
    geometry, grid = CASES["fan"]
    physics = as_physics(projector, grid.shape, geometry.shape)
    x = torch.randn(2, 1, *grid.shape, dtype=torch.float64)
    assert abs(float(physics.adjointness_test(x))) < 1e-10
    back = wrap_operator(physics, grid.shape, geometry.shape, torch.float64)
    assert torch.allclose(back(x[0].reshape(-1, 1)), projector(x[0].reshape(-1, 1)))


def test_what_does_not_fit_is_worded(projector):
    with pytest.raises(InputError, match=r"takes 35 pixels to 45 data, and images of shape \(5, 9\)"):
        as_physics(projector, (5, 9), (7, 5))
    if importlib.util.find_spec("deepinv") is None:
        with pytest.raises(MissingExtra, match=r"need deepinv, which is not installed"):
            as_physics(projector, (7, 5), (5, 9))
