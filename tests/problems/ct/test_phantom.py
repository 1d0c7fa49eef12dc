"""The phantom: exact data that no projector made, noise with its own seed, short runs, bad input."""

import math
from functools import partial

import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve._core.random import generator
from nfsolve.problem import SamplerState
from problems.ct.phantom import CTPhantom

SMALL = {"views": 12, "size": 32, "classical": ()}


def rms(values):
    return float(values.square().mean().sqrt())


def filtered(problem, data, image):
    """Filtered residual of pixel values (size, size) in the place of a field, as an error of the image."""
    batch = problem.sample(data, SamplerState(), generator(0, "points"))
    return problem.contrast * problem.residuals(lambda points: image.reshape(-1, 1), batch)["filtered"]


def test_the_exact_phantom_leaves_only_the_error_of_the_pixel_grid():
    problem = CTPhantom(views=40, size=64)
    data = problem.load("cpu", torch.float64)
    truth = data["reference"]
    left = rms(filtered(problem, data, truth))
    assert left < 0.18 * rms(truth)
    assert rms(filtered(problem, data, 0 * truth)) == pytest.approx(rms(truth), rel=0.05)
    for wrong in (truth.flip(0), truth.flip(1), truth.roll(1, 0), truth.roll(1, 1)):
        assert rms(filtered(problem, data, wrong)) > 1.4 * left


def test_data_do_not_come_from_the_projector():
    problem = CTPhantom(**SMALL)
    data = problem.load("cpu", torch.float64)
    scan = data["coarsened"][1]
    own = scan.projector(data["reference"].reshape(-1, 1))
    assert 1e-3 < float((own - scan.sinogram).norm() / own.norm()) < 0.1


def test_the_scan_has_the_options_of_the_command_line():
    scan = CTPhantom(views=7, size=40).scan
    assert scan.geometry.shape == scan.sinogram.shape == (7, 40)
    assert np.allclose(np.degrees(scan.geometry.angles), np.arange(7) * 180 / 7)
    assert scan.reference.shape == (40, 40) and scan.grid.bounds == ((-1, 1), (-1, 1))
    assert scan.counts is scan.weights is scan.segmentation is None


def test_three_steps_are_finite_and_follow_the_seed():
    field = partial(MLP, width=8, depth=1)
    runs = [nfsolve.solve(CTPhantom(**SMALL), field, steps=3, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] < runs[0].history[0]["loss"]
    assert {"psnr", "ssim", "residual"} <= set(runs[0].metrics)


def test_poisson_noise_has_its_variance_and_its_own_seed():
    def sinogram(**options):
        return torch.from_numpy(CTPhantom(**SMALL, **options).scan.sinogram)

    clean = sinogram()
    first, same, other = (sinogram(counts=1e4, noise_seed=s) for s in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    standardised = (first - clean) * torch.sqrt(1e4 * torch.exp(-clean))
    assert rms(standardised) == pytest.approx(1, abs=0.15)
    assert torch.isfinite(sinogram(counts=2.0)).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": 0}, "views must .* at least 1, got 0"),
        ({"size": 8}, "size must .* at least 16, got 8"),
        ({"counts": -1.0}, "counts must .* at least 0, got -1"),
        ({"counts": math.inf}, "counts must .* got inf"),
        ({"counts": math.nan}, "counts must .* got nan"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        CTPhantom(**options)
