"""The tomography problem: exact phantom, isometry of the filtered residual, noise, outputs, bad input."""

import math
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve.metrics import psnr
from problems.ct_phantom import CTPhantom

SMALL = {"views": 12, "size": 32}


def rms(values):
    return float(values.square().mean().sqrt())


def residual_of(problem, data, image):
    """Residual of pixel values (size, size) in the place of a field."""
    return problem.residuals(lambda points: image.reshape(-1, 1), data)["sinogram"]


def test_the_exact_phantom_leaves_only_the_error_of_the_pixel_grid():
    problem = CTPhantom(views=40, size=64)
    data = problem.load("cpu", torch.float64)
    truth = data["truth"]
    left = rms(residual_of(problem, data, truth))
    assert left < 0.18 * rms(truth)
    assert rms(residual_of(problem, data, 0 * truth)) == pytest.approx(rms(truth), rel=0.05)
    for wrong in (truth.flip(0), truth.flip(1), truth.roll(1, 0), truth.roll(1, 1)):
        assert rms(residual_of(problem, data, wrong)) > 1.4 * left


def test_the_residual_of_a_perturbation_has_the_norm_of_the_perturbation():
    problem = CTPhantom(views=60, size=64)
    data = problem.load("cpu", torch.float64)
    bump = torch.exp(-20 * (data["pixels"] - 0.2).square().sum(-1)).reshape(64, 64)
    change = residual_of(problem, data, data["truth"] + bump) - residual_of(problem, data, data["truth"])
    assert rms(change) == pytest.approx(rms(bump), rel=0.02)


def test_data_do_not_come_from_the_projector():
    problem = CTPhantom(**SMALL)
    data = problem.load("cpu", torch.float64)
    own = data["projector"](data["truth"].reshape(-1, 1))
    assert 1e-3 < float((own - data["sinogram"]).norm() / own.norm()) < 0.1


def test_scores_of_the_exact_image_and_of_filtered_back_projection():
    problem = CTPhantom(views=30, size=64)
    data = problem.load("cpu", torch.float32)
    truth = data["truth"].repeat_interleave(2, 0).repeat_interleave(2, 1)
    scores = problem.metrics(lambda points: truth.reshape(-1, 1), data)
    assert scores["psnr"] > 100
    assert scores["ssim"] == pytest.approx(1)
    assert scores["residual"] < 0.04
    assert 22 < scores["psnr_fbp"] < 26
    assert 0.6 < scores["ssim_fbp"] < 0.9


def test_three_steps_are_finite_and_follow_the_seed():
    field = partial(MLP, width=8, depth=1)
    runs = [nfsolve.solve(CTPhantom(**SMALL), field, steps=3, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] < runs[0].history[0]["loss"]
    assert {"psnr", "ssim", "psnr_fbp", "ssim_fbp", "residual"} <= set(runs[0].metrics)


def test_the_field_stays_between_zero_and_one():
    problem = CTPhantom(**SMALL)
    field = MLP.for_problem(problem, width=8, depth=1)
    for parameter in field.parameters():
        parameter.data.mul_(100)
    values = field(torch.rand(50, 2, generator=torch.Generator().manual_seed(0)))
    assert values.shape == (50, 1)
    assert 0 <= values.min() < values.max() <= 1


def test_poisson_noise_has_its_variance_and_its_own_seed():
    clean = CTPhantom(**SMALL).load("cpu", torch.float64)["sinogram"]
    first, same, other = (
        CTPhantom(**SMALL, counts=1e4, noise_seed=s).load("cpu", torch.float64)["sinogram"] for s in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    standardised = (first - clean) * torch.sqrt(1e4 * torch.exp(-clean))
    assert rms(standardised) == pytest.approx(1, abs=0.15)
    assert torch.isfinite(CTPhantom(**SMALL, counts=2).load("cpu", torch.float64)["sinogram"]).all()


def test_picture_and_files_show_the_reconstruction(tmp_path):
    problem = CTPhantom(**SMALL)
    data = problem.load("cpu", torch.float32)
    fine = data["truth"].repeat_interleave(2, 0).repeat_interleave(2, 1).reshape(-1, 1)
    history = [{"step": s, "seconds": float(s), "loss": 1.0 / (s + 1), "psnr": 10.0 + s} for s in range(3)]

    def field(points):
        return fine if len(points) == len(fine) else data["truth"].reshape(-1, 1)

    figure = problem.picture(field, data, history)
    titles = [axes.get_title() for axes in figure.axes]
    assert any("neural field" in title and "dB" in title for title in titles)
    assert any("filtered back-projection" in title for title in titles)
    figure.savefig(tmp_path / "solution.png", dpi=30)
    problem.export(field, data, tmp_path)
    arrays = np.load(tmp_path / "reconstruction.npz")
    assert arrays["image"].shape == (32, 32)
    assert arrays["sinogram"].shape == (12, 32)
    assert arrays["angles"].shape == (12,)
    saved = torch.from_numpy(iio.imread(tmp_path / "reconstruction.png") / 255)
    assert psnr(saved, data["truth"].double()) > 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": 0}, "views = 0.*at least 1 view"),
        ({"size": 8}, "size = 8.*11 bins"),
        ({"counts": -1.0}, "counts = -1.*not negative"),
        ({"counts": math.inf}, "counts = inf"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        CTPhantom(**options)
