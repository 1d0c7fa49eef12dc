"""A field fitted against an operator of another library: a problem of a few lines, as a user would write it."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP, Box, Problem, Recipe, Stage
from nfsolve.fields import FeatureGrid, ReLU
from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image, phantom_projections
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector, wrap_operator
from nfsolve.metrics import psnr, relative_l2
from nfsolve.reconstruct import sirt

GEOMETRY, GRID = ParallelBeam.half_turn(12, 32), PixelGrid(32, 32, 2 / 32)


class Tomography:
    """An operator in the manner of deepinv's physics: tensors (batch, channels, height, width) in and out."""

    def __init__(self):
        self.matrix = Projector(GEOMETRY, GRID, torch.float32).matrix.to_dense()

    def A(self, x):
        return (self.matrix @ x.detach().flatten()).reshape(1, 1, *GEOMETRY.shape)  # autograd cannot follow

    def A_adjoint(self, y):
        return (self.matrix.T @ y.detach().flatten()).reshape(1, 1, *GRID.shape)


@dataclass
class Fit(Problem):
    """Find an image from what another library's operator measures of it."""

    domain = Box(x=(-1, 1), y=(-1, 1))
    unknowns = "f"
    resample_every = 0

    def load(self, device, dtype):
        measure = wrap_operator(Tomography(), GRID.shape, GEOMETRY.shape, dtype, device)
        y = phantom_projections(SHEPP_LOGAN, GEOMETRY).reshape(-1, 1)
        return {"measure": measure, "pixels": GRID.centres(dtype, device), "y": y.to(device, dtype)}

    def sample(self, data, state, generator):
        return data

    def residuals(self, field, batch):
        return {"data": batch["measure"](field(batch["pixels"])) - batch["y"]}

    def metrics(self, field, data):
        return {"misfit": relative_l2(data["measure"](field(data["pixels"])), data["y"])}

    def recipe(self):
        encoding = FeatureGrid(levels=3, coarsest=8, finest=32)
        field = partial(MLP, width=16, depth=1, activation=ReLU(), encoding=encoding)
        return Recipe(field, (Stage(partial(torch.optim.Adam, lr=2e-2), 60),))


def test_a_field_is_fitted_against_the_operator_of_another_library():
    run = nfsolve.solve(Fit(), report=None)
    truth = phantom_image(SHEPP_LOGAN, GRID)
    with torch.no_grad():
        image = run.field(GRID.centres(torch.float32)).reshape(GRID.shape)
    assert run.metrics["misfit"] < 0.15
    assert psnr(image.double(), truth) > 18


def test_classical_methods_take_it_too():
    data = Fit().load("cpu", torch.float32)
    own = Projector(GEOMETRY, GRID, torch.float32)
    image, expected = (sirt(A, data["y"], GRID.shape, 20).image for A in (data["measure"], own))
    assert torch.allclose(image, expected, atol=1e-5)


def test_the_back_projection_of_scikit_image_is_no_adjoint():
    transform = pytest.importorskip("skimage.transform")
    angles = np.arange(0.0, 180.0, 15.0)

    class ScikitImage:
        def A(self, x):
            return torch.from_numpy(transform.radon(x[0, 0].numpy(), angles, circle=False))[None, None]

        def A_adjoint(self, y):
            image = transform.iradon(y[0, 0].numpy(), angles, output_size=16, filter_name=None, circle=False)
            return torch.from_numpy(image)[None, None]

    with pytest.raises(ValueError, match="<A x, y> is .* but <x, A_adjoint y> is .*Give the exact adjoint"):
        wrap_operator(ScikitImage(), (16, 16), (23, 12), torch.float64)
