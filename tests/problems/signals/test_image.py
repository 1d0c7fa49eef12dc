"""The image problem: reading, the stride, exact pictures, outputs, bad input."""

import math
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve.problem import SamplerState
from problems.signals._protocols import pixel_centres
from problems.signals.image import ImageFit

HEIGHT, WIDTH = 30, 44


def ramp(points):
    """A picture whose colours are linear in x and y."""
    x, y = points[:, :1], points[:, 1:]
    return torch.cat([0.5 + 0.4 * x, 0.5 + 0.5 * y, 0.3 + 0.1 * x - 0.2 * y], -1)


@pytest.fixture
def ramp_file(tmp_path):
    colours = ramp(pixel_centres(HEIGHT, WIDTH).reshape(-1, 2)).reshape(HEIGHT, WIDTH, 3)
    path = tmp_path / "ramp.png"
    iio.imwrite(path, (255 * colours.numpy()).round().astype(np.uint8))
    return path


def test_the_default_is_a_photograph_that_matplotlib_ships():
    data = ImageFit().load("cpu", torch.float32)
    assert data["picture"].shape == (256, 218, 3)
    assert data["given"].points.shape == (128 * 109, 2)
    assert data["picture"].dtype == torch.float32
    assert 0 <= data["picture"].min() < 0.1 < 0.9 < data["picture"].max() <= 1


def test_the_exact_picture_has_no_residual_and_perfect_scores(ramp_file):
    problem = ImageFit(image=str(ramp_file))
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    assert problem.residuals(ramp, batch)["colour"].abs().max() <= 0.5 / 255 + 1e-12
    scores = problem.metrics(ramp, data)
    assert min(scores["psnr"], scores["psnr_heldout"], scores["psnr_heldout_bicubic"]) > 45
    assert scores["ssim"] > 0.99
    upside_down = problem.metrics(lambda points: ramp(-points), data)
    assert upside_down["psnr_heldout"] < 15


def test_the_longer_side_spans_the_domain_with_square_pixels():
    points = pixel_centres(3, 6)
    assert points[0, 0].tolist() == pytest.approx([-5 / 6, 1 / 3])
    assert points[2, 5].tolist() == pytest.approx([5 / 6, -1 / 3])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_only_strided_pixels_are_given(ramp_file, stride):
    problem = ImageFit(image=str(ramp_file), stride=stride, batch=64)
    data = problem.load("cpu", torch.float64)
    expected = pixel_centres(HEIGHT, WIDTH)[::stride, ::stride].reshape(-1, 2)
    assert torch.equal(data["given"].points, expected)
    assert data["mask"].sum() == len(expected)
    drawn = problem.sample(data, SamplerState(), torch.Generator().manual_seed(1))["colour"]
    distances = torch.cdist(drawn.points, expected)
    assert drawn.points.shape == (64, 2)
    assert distances.min(1).values.max() < 1e-6  # the accuracy of cdist
    assert ("psnr_heldout" in problem.metrics(ramp, data)) == (stride > 1)
    assert problem.sample(data, SamplerState(), torch.Generator().manual_seed(1))["colour"].points.equal(drawn.points)


def test_bicubic_keeps_given_pixels(ramp_file):
    problem = ImageFit(image=str(ramp_file), stride=3)
    data = problem.load("cpu", torch.float64)
    cubic = problem.bicubic(data["picture"])
    assert cubic.shape == data["picture"].shape
    assert torch.allclose(cubic[data["mask"]], data["picture"][data["mask"]], atol=1e-6)


def test_gray_alpha_and_16_bits_are_read(tmp_path):
    generator = np.random.default_rng(0)
    deep = generator.integers(0, 2**16, (24, 25), dtype=np.uint16)
    alpha = generator.integers(0, 256, (24, 25, 4), dtype=np.uint8)
    iio.imwrite(tmp_path / "deep.png", deep)
    iio.imwrite(tmp_path / "alpha.png", alpha)
    read = ImageFit(image=str(tmp_path / "deep.png"), gray=True).load("cpu", torch.float64)["picture"]
    assert np.allclose(read[..., 0], deep / 65535)
    with pytest.raises(ValueError, match="must be opaque"):  # colours under transparent pixels are not seen
        ImageFit(image=str(tmp_path / "alpha.png")).load("cpu", torch.float64)
    alpha[..., 3] = 255
    iio.imwrite(tmp_path / "alpha.png", alpha)
    read = ImageFit(image=str(tmp_path / "alpha.png")).load("cpu", torch.float64)["picture"]
    assert np.allclose(read, alpha[..., :3] / 255)


def test_a_gray_problem_has_one_output():
    problem = ImageFit(gray=True, size=64)
    assert problem.unknowns == "v"
    assert problem.load("cpu", torch.float32)["picture"].shape == (64, 55, 1)
    field = MLP.for_problem(problem, width=8, depth=1)
    assert field.outputs == ("v",)
    assert ImageFit().unknowns == "r g b"


def test_pictures_are_found_under_the_data_folder(ramp_file, monkeypatch):
    monkeypatch.setenv("NFSOLVE_DATA", str(ramp_file.parent))
    assert ImageFit(image="ramp.png").load("cpu", torch.float32)["picture"].shape == (HEIGHT, WIDTH, 3)


def test_three_steps_are_finite_and_follow_the_seed():
    problem = ImageFit(size=48, batch=100)
    field = partial(MLP, width=8, depth=2)
    runs = [nfsolve.solve(problem, field, steps=3, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]
    assert {"psnr", "psnr_heldout", "ssim", "psnr_heldout_bicubic"} <= set(runs[0].metrics)


def test_gauss_newton_fits_a_small_picture(ramp_file):
    problem = ImageFit(image=str(ramp_file), batch=0)
    field = partial(MLP, width=6, depth=1)
    solution = nfsolve.solve(problem, field, nfsolve.optim.GaussNewton, steps=15, dtype="float64", report=None)
    assert solution.metrics["psnr_heldout"] > 35


def test_picture_and_files_show_the_field(tmp_path, ramp_file):
    problem = ImageFit(image=str(ramp_file))
    data = problem.load("cpu", torch.float32)
    history = [{"step": s, "seconds": float(s), "psnr": 20.0 + s, "psnr_heldout": 20.0} for s in range(3)]
    figure = problem.picture(ramp, data, history)
    titles = [axes.get_title() for axes in figure.axes]
    assert any("field" in title and "dB" in title for title in titles)
    figure.savefig(tmp_path / "solution.png", dpi=30)
    problem.export(ramp, data, tmp_path)
    assert iio.imread(tmp_path / "field_4x.png").shape == (4 * HEIGHT, 4 * WIDTH, 3)
    assert np.abs(iio.imread(tmp_path / "field.png").astype(int) - iio.imread(ramp_file)).max() <= 1


def test_bad_pictures_are_worded(tmp_path):
    with pytest.raises(ValueError, match=r"'nowhere.png' was not found.*NFSOLVE_DATA"):
        ImageFit(image="nowhere.png").load("cpu", torch.float32)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(ValueError, match=r"broken.png' must be a .*picture"):
        ImageFit(image=str(broken)).load("cpu", torch.float32)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(ValueError, match=r"text.jpg' must be a picture"):
        ImageFit(image=str(text)).load("cpu", torch.float32)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty.png' must be a picture, but the file is empty"):
        ImageFit(image=str(tmp_path / "empty.png")).load("cpu", torch.float32)
    iio.imwrite(tmp_path / "one.png", np.full((30, 30, 3), (3, 2, 1), np.uint8))
    with pytest.raises(ValueError, match=r"one.png' must show something to fit, but it has one colour"):
        ImageFit(image=str(tmp_path / "one.png")).load("cpu", torch.float32)
    iio.imwrite(tmp_path / "tiny.png", np.eye(9, 30).astype(np.uint8))
    with pytest.raises(ValueError, match="at least 22 pixels .* has 30 x 9 pixels"):
        ImageFit(image=str(tmp_path / "tiny.png")).load("cpu", torch.float32)


def test_a_missing_sample_photograph_is_worded(tmp_path, monkeypatch):
    import matplotlib.cbook

    monkeypatch.setattr(matplotlib.cbook, "get_sample_data", lambda name, asfileobj: str(tmp_path / name))
    with pytest.raises(ValueError, match=r"without its sample photograph.*Give --image PATH"):
        ImageFit().load("cpu", torch.float32)


def test_a_batch_larger_than_the_picture_is_worded(ramp_file):
    with pytest.raises(ValueError, match=r"batch must be at most 330, .* got 331. Write 0 for all"):
        ImageFit(image=str(ramp_file), batch=331).load("cpu", torch.float32)
    everything = ImageFit(image=str(ramp_file))  # the protocol's own batch is no mistake of the user
    data = everything.load("cpu", torch.float32)
    assert everything.sample(data, SamplerState(), torch.Generator())["colour"] is data["given"]


def test_quick_scores_are_those_of_a_fixed_part(ramp_file, monkeypatch):
    problem = ImageFit(image=str(ramp_file))
    data = problem.load("cpu", torch.float64)

    def field(points):
        return ramp(points) + 0.01 * torch.sin(9 * points[:, :1])

    exact = problem.metrics(field, data)
    assert problem.quick_metrics(field, data) == {k: pytest.approx(exact[k]) for k in ("psnr", "psnr_heldout")}
    monkeypatch.setattr("problems.signals.image.QUICK", 100)
    data = problem.load("cpu", torch.float64)
    quick = problem.quick_metrics(field, data)
    assert quick == problem.quick_metrics(field, data)
    assert 0 < abs(quick["psnr_heldout"] - exact["psnr_heldout"]) < 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 8}, "size must be at least 22, got 8"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"stride": 100}, "stride must be at most size / 11 = 23, got 100"),
        ({"batch": -1}, "batch must be at least 0, got -1"),
        ({"protocol": "wss"}, "unknown protocol 'wss': did you mean 'ws'"),
        ({"fit": "stretch"}, "unknown fit 'stretch': choose one of crop, shrink, squeeze"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        ImageFit(**options)
