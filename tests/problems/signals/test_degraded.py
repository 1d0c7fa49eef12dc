"""Missing, noisy and coarse pixels, beside the classical methods."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import InputError
from nfsolve.problem import SamplerState
from problems.signals._smooth import EDGE, root_variation
from problems.signals.image import ImageFit
from tests.problems.signals.test_image import HEIGHT, WIDTH, ramp, ramp_file

__all__ = ["ramp_file"]


@pytest.fixture
def mask_file(tmp_path):
    bright = np.random.default_rng(0).uniform(size=(HEIGHT, WIDTH)) > 0.3
    iio.imwrite(tmp_path / "mask.png", (255 * bright).astype(np.uint8))
    return str(tmp_path / "mask.png"), bright


JOBS = {"noise": 0.1, "scale": 2, "mask": ""}


def degraded(job, ramp_file, mask_file, **options):
    return ImageFit(image=str(ramp_file), **{job: JOBS[job] or mask_file[0]}, **options)


@pytest.mark.parametrize("job", JOBS)
def test_the_exact_picture_is_best(job, ramp_file, mask_file):
    problem = degraded(job, ramp_file, mask_file, batch=0)
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    residual = problem.residuals(ramp, batch)["colour"]
    if job == "noise":
        assert float(residual.std()) == pytest.approx(0.1, rel=0.05)
    else:
        assert residual.abs().max() <= 0.5 / 255 + 1e-9
    scores = problem.metrics(ramp, data)
    assert scores["psnr"] > 45
    assert problem.quick_metrics(ramp, data)["psnr"] > 45
    assert ("psnr_heldout" in scores) == (job == "mask")


def test_what_is_given(ramp_file, mask_file):
    data = {job: degraded(job, ramp_file, mask_file).load("cpu", torch.float64) for job in JOBS}
    assert len(data["noise"]["given"]) == HEIGHT * WIDTH
    assert len(data["scale"]["given"]) == HEIGHT * WIDTH // 4
    assert len(data["mask"]["given"]) == mask_file[1].sum()
    assert not data["mask"]["seen"][~torch.as_tensor(mask_file[1])].any()
    means = data["scale"]["picture"].numpy().reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(data["scale"]["given"].values.numpy(), means.reshape(-1, 3), atol=1e-12)


@pytest.mark.parametrize(("job", "rival"), [("noise", "tv"), ("scale", "bicubic"), ("mask", "biharmonic")])
def test_the_rival_is_scored_and_drawn(job, rival, ramp_file, mask_file):
    solution = nf.solve(degraded(job, ramp_file, mask_file), steps=2, report=None)
    key = "psnr_heldout" if job == "mask" else "psnr"
    assert solution.metrics[f"{key}_{rival}"] > {"tv": 25, "bicubic": 30, "biharmonic": 40}[rival]
    assert solution.problem.score == key
    assert solution.plot() is not None


def test_denoising_without_a_penalty_ends_at_the_noise(ramp_file):
    solution = nf.solve(ImageFit(image=str(ramp_file), noise=0.1, smooth=0), report=None)
    assert solution.stopped.startswith("converged: loss")
    assert solution.metrics["psnr"] > solution.metrics["psnr_noisy"]


@pytest.mark.parametrize(("job", "better"), [("noise", 3.0), ("mask", 10.0)])
def test_differences_between_neighbours_bring_what_the_data_do_not(job, better, ramp_file, mask_file):
    scores = []
    for smooth in (None, 0.0):
        problem = degraded(job, ramp_file, mask_file, smooth=smooth, batch=0)
        scores.append(nf.solve(problem, steps=100, report=None).metrics[problem.score])
    assert scores[0] > scores[1] + better


def test_variations_against_differences_by_hand():
    u = torch.rand(5, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (root_variation(u, order).square()[:, 0] for order in (1, 2))
    down, right = u[1:, :-1] - u[:-1, :-1], u[:-1, 1:] - u[:-1, :-1]
    expected = (down.square().sum(-1) + right.square().sum(-1) + EDGE**2).sqrt()
    assert torch.allclose(first, expected.reshape(-1))
    rows, columns = u[2:] - 2 * u[1:-1] + u[:-2], u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2]
    mixed = u[2:, 2:] - u[2:, 1:-1] - u[1:-1, 2:] + u[1:-1, 1:-1]
    parts = rows[:, 1:-1].square() + columns[1:-1].square() + 2 * mixed.square()
    assert torch.allclose(second, (parts.sum(-1) + EDGE**2).sqrt().reshape(-1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0.1, "scale": 2}, "got noise and scale together"),
        ({"noise": 0.1, "stride": 2}, "got noise and stride together"),
        ({"scale": 2, "protocol": "ws"}, "got scale and ws together"),
        ({"noise": -1.0}, "noise must not be negative"),
        ({"scale": 0}, "scale must be at least 1"),
        ({"noise": 0.1, "smooth": 0.1, "batch": 64}, "need the whole picture, got batch = 64"),
        ({"scale": 2, "batch": 64}, "need the whole picture, got batch = 64"),
        ({"smooth": -1.0}, "smooth must be at least 0"),
        ({"noise": "much"}, "noise must be a number, got 'much'"),
        ({"scale": 1.5}, "scale must be a whole number, got 1.5"),
        ({"mask": np.ones((2, 2))}, "mask must be the path of a picture, got ndarray"),
    ],
)
def test_jobs_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ImageFit(**options)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.tile([0, 255], (HEIGHT, 4)), f"the mask must have {WIDTH} x {HEIGHT} pixels as the picture has, got 8 x"),
        (np.where(np.eye(HEIGHT, WIDTH), 100, 90), "the mask must have bright pixels"),
        (np.full((HEIGHT, WIDTH), 255), "the mask must have bright pixels.* got only bright ones"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, message, ramp_file, tmp_path):
    iio.imwrite(tmp_path / "mask.png", mask.astype(np.uint8))
    with pytest.raises(InputError, match=message):
        ImageFit(image=str(ramp_file), mask=str(tmp_path / "mask.png")).load("cpu", torch.float32)


def test_a_scale_that_leaves_nothing_is_refused(ramp_file):
    with pytest.raises(InputError, match="scale must leave at least two blocks along each side"):
        ImageFit(image=str(ramp_file), scale=HEIGHT + WIDTH).load("cpu", torch.float32)


def test_noise_in_the_levels_of_a_file_is_doubted(ramp_file, capsys):
    nf.solve(ImageFit(image=str(ramp_file), noise=10), steps=1, report="lines")
    out, err = capsys.readouterr()
    assert "noise 10 is more than the whole range from black (0) to white (1)" in out + err
    assert "give 0.039" in out + err
    assert ImageFit(image=str(ramp_file), noise=0.1).cautions() == []
