"""The set-ups of papers: pixels, coordinates, scores and recipes, on made-up pictures."""

import math
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve.fields import Gaussian, WeightScaling
from nfsolve.problem import Objective, SamplerState
from nfsolve.run.folder import RunFolder
from problems.signals._protocols import PROTOCOLS
from problems.signals.image import ImageFit

HEIGHT, WIDTH = 48, 60


@pytest.fixture
def picture_file(tmp_path):
    colours = np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = tmp_path / "noise.png"
    iio.imwrite(path, colours)
    return str(path)


def loaded(problem):
    return problem.load("cpu", torch.float64)


def wave(channels):
    """A field that leaves [0, 1]."""
    return lambda points: (0.5 + torch.sin(3 * points[:, :1] + points[:, 1:])).expand(-1, channels)


def mean_square(field, points, values):
    return float((field(points) - values).detach().square().mean())


def test_ws_gives_all_pixels_of_a_gray_square_at_corner_aligned_coordinates(picture_file):
    problem = ImageFit(picture_file, "ws")
    data = loaded(problem)
    assert data["picture"].shape == (HEIGHT, HEIGHT, 1)
    assert problem.unknowns == "v" and problem.score == "psnr"
    assert problem.domain.names == ("row", "column")
    axis = torch.linspace(-1, 1, HEIGHT, dtype=torch.float64)
    expected = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    assert torch.equal(data["points"], expected)
    assert torch.equal(data["given"].points, expected)
    assert torch.equal(data["given"].values, data["picture"].reshape(-1, 1))
    assert problem.sample(data, SamplerState(), torch.Generator())["colour"] is data["given"]
    assert "psnr_heldout" not in problem.metrics(wave(1), data)


def test_ws_scores_unclipped_values_against_the_largest(picture_file):
    problem = ImageFit(picture_file, "ws")
    data = loaded(problem)
    mse = mean_square(wave(1), data["points"], data["picture"].reshape(-1, 1))
    peak = float(data["picture"].max())
    assert peak < 0.9
    assert problem.metrics(wave(1), data)["psnr"] == pytest.approx(10 * math.log10(peak**2 / (mse + 1e-8)))
    exact = lambda points: data["picture"].reshape(-1, 1)  # noqa: E731
    assert problem.metrics(exact, data)["psnr"] == pytest.approx(80 + 20 * math.log10(peak))


def test_ws_can_crop_and_hold_out(picture_file):
    problem = ImageFit(picture_file, "ws", fit="crop", stride=2)
    data = loaded(problem)
    left = (WIDTH - HEIGHT) // 2
    colours = iio.imread(picture_file)[:, left : left + HEIGHT] @ np.array([0.299, 0.587, 0.114]) / 255
    assert np.allclose(data["picture"][..., 0], colours)
    assert len(data["given"].points) == (HEIGHT // 2) ** 2
    rest = ~data["mask"].reshape(-1)
    mse = mean_square(wave(1), data["points"][rest], data["picture"].reshape(-1, 1)[rest])
    peak = float(data["picture"].max())
    scores = problem.metrics(wave(1), data)
    assert scores["psnr_heldout"] == pytest.approx(10 * math.log10(peak**2 / (mse + 1e-8)))
    assert problem.score == "psnr_heldout"
    quick = problem.quick_metrics(wave(1), data)
    assert quick == {k: pytest.approx(scores[k]) for k in ("psnr", "psnr_heldout")}


def test_the_recipe_of_ws():
    recipe = ImageFit(protocol="ws").recipe()
    (stage,) = recipe.stages
    assert stage.optimizer.func is torch.optim.Adam and stage.optimizer.keywords == {"lr": 1e-4}
    assert (stage.steps, stage.schedule, recipe.factorization) == (150, "constant", None)
    options = recipe.field.keywords
    assert (options["width"], options["depth"]) == (512, 4)
    assert options["init"] == WeightScaling(2.5)


def test_preconditioners_score_all_training_pixels_without_clipping(picture_file):
    problem = ImageFit(picture_file, "preconditioners")
    data = loaded(problem)
    assert data["picture"].shape == (HEIGHT, HEIGHT, 3)
    assert problem.unknowns == "r g b" and problem.score == "psnr"
    assert data["points"][0].tolist() == [-1, -1] and data["points"][1].tolist() == [-1, -1 + 2 / (HEIGHT - 1)]
    mse = mean_square(wave(3), data["points"], data["picture"].reshape(-1, 3))
    assert problem.metrics(wave(3), data)["psnr"] == pytest.approx(-10 * math.log10(mse))


def test_the_recipe_of_preconditioners():
    recipe = ImageFit(protocol="preconditioners").recipe()
    (stage,) = recipe.stages
    assert stage.optimizer.func is torch.optim.Adam and stage.optimizer.keywords == {"lr": 1e-4}
    assert (stage.steps, stage.schedule) == (25_600, "constant")
    options = recipe.field.keywords
    assert (options["width"], options["depth"]) == (256, 4)
    z = torch.linspace(-0.2, 0.2, 9, dtype=torch.float64)
    assert isinstance(options["activation"], Gaussian)
    assert torch.allclose(options["activation"](z, 0), torch.exp(-0.5 * z**2 / 0.05**2))
    assert ImageFit(protocol="preconditioners", stride=2).recipe().stages[0].steps == 200 * 32
    assert ImageFit(protocol="preconditioners", batch=0).recipe().stages[0].steps == 200


def test_an_epoch_takes_every_pixel_once(picture_file):
    problem = ImageFit(picture_file, "preconditioners", batch=500)
    data = loaded(problem)
    n = HEIGHT * HEIGHT
    generator = torch.Generator().manual_seed(0)
    batch, orders = problem.sample(data, SamplerState(), generator), []
    for _ in range(2):
        seen = []
        for k in range(5):
            seen.append(batch["colour"].points)
            assert len(seen[-1]) == (500 if k < 4 else n - 2000)
            assert len(batch["colour"].values) == len(seen[-1])
            batch = problem.sample(data, SamplerState(batch, wave(3)), generator)
        seen = torch.cat(seen)
        assert torch.equal(torch.unique(seen, dim=0), torch.unique(data["points"], dim=0))
        orders.append(seen)
    assert not torch.equal(*orders)
    assert not torch.equal(orders[0], data["points"])


def test_values_stay_with_their_points(picture_file):
    problem = ImageFit(picture_file, "preconditioners", batch=500)
    data = loaded(problem)
    colour = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))["colour"]
    at = torch.cdist(colour.points, data["points"]).argmin(1)
    assert torch.equal(colour.values, data["picture"].reshape(-1, 3)[at])


def test_a_run_goes_on_in_the_middle_of_an_epoch(picture_file, tmp_path):
    problem = ImageFit(picture_file, "preconditioners", batch=300)  # 8 steps an epoch
    field = partial(MLP, width=8, depth=2)
    options = {"report": None, "log_every": 1}
    whole = nfsolve.solve(problem, field, steps=13, **options)
    nfsolve.solve(problem, field, steps=5, out=tmp_path / "run", **options)
    resumed = nfsolve.resume(tmp_path / "run", steps=13, report=None)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    for a, b in zip(resumed.field.parameters(), whole.field.parameters(), strict=True):
        assert torch.equal(a, b)
    assert RunFolder(tmp_path / "run").config()["problem"]["parameters"]["protocol"] == "preconditioners"
    other = nfsolve.solve(problem, field, steps=13, resample=0, **options)
    assert other.history[-1]["loss"] != whole.history[-1]["loss"]


def test_rwf_gives_even_pixels_and_scores_odd_ones_from_zero(picture_file):
    problem = ImageFit(picture_file, "rwf")
    data = loaded(problem)
    n = HEIGHT
    assert data["picture"].shape == (n, n, 3)
    left = (WIDTH - HEIGHT) // 2
    assert np.allclose(data["picture"], iio.imread(picture_file)[:, left : left + n] / 255)
    points = data["points"].reshape(n, n, 2)
    assert points[0, 0].tolist() == [0, 0]
    assert points[2, 5].tolist() == pytest.approx([5 / n, 2 / n])  # x to the right, y downwards, 1 left out
    assert problem.domain.bounds == ((0, 1), (0, 1))
    assert torch.equal(data["given"].points, points[::2, ::2].reshape(-1, 2))
    assert torch.equal(data["heldout"].points, points[1::2, 1::2].reshape(-1, 2))
    inside = lambda points: wave(3)(points) / 4 + 0.3  # noqa: E731
    scores = problem.metrics(inside, data)
    mse = mean_square(inside, data["heldout"].points, data["heldout"].values)
    assert scores["psnr_heldout"] == pytest.approx(-10 * math.log10(mse))
    mse = mean_square(inside, data["given"].points, data["given"].values)
    assert scores["psnr"] == pytest.approx(-10 * math.log10(mse))


def test_the_recipe_of_rwf_and_its_sigmoid():
    problem = ImageFit(protocol="rwf")
    recipe = problem.recipe()
    (stage,) = recipe.stages
    assert stage.optimizer.func is torch.optim.Adam and stage.optimizer.keywords == {"lr": 1e-3}
    assert (stage.steps, stage.schedule) == (2000, "constant")
    field = recipe.field.func.for_problem(problem, **recipe.field.keywords)
    assert sum(p.numel() for p in field.parameters()) == 512 * 256 + 256 + 2 * (256 * 257) + 3 * 257
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    raw = field.network(field.encode(x))
    assert torch.equal(field(x), torch.sigmoid(raw))
    frequencies = field.encoding.matrix * 2 / (2 * math.pi)  # cycles on [0, 1], which the field maps to [-1, 1]
    assert float(frequencies.std()) == pytest.approx(10, rel=0.1)
    assert ImageFit().output_transform() is None


def test_what_is_given_wins_over_the_protocol(picture_file):
    problem = ImageFit(picture_file, "ws", size=40, gray=False, stride=3, batch=7, fit="shrink")
    data = loaded(problem)
    assert data["picture"].shape == (32, 40, 3)
    assert len(problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))["colour"].points) == 7
    assert data["mask"].sum() == 11 * 14
    assert problem.setup.relative and problem.setup.grid == "corners"
    assert set(PROTOCOLS) == {"default", "ws", "preconditioners", "rwf"}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_two_steps_of_every_protocol(picture_file, name):
    problem = ImageFit(picture_file, name)
    recipe = problem.recipe()
    small = partial(recipe.field, width=8, depth=2)
    solution = nfsolve.solve(problem, small, steps=2, report=None)
    assert math.isfinite(solution.metrics[problem.score])
    assert problem.score in solution.history[-1]
    assert solution.history[0]["loss"] != solution.history[-1]["loss"]


@pytest.mark.parametrize("protocol", ["default", "ws"])
def test_alpha_auto_takes_the_resolution_of_the_picture(picture_file, protocol):
    problem = ImageFit(picture_file, protocol, stride=2)
    n = 30 if protocol == "default" else 24
    assert problem.resolution == n
    auto = nfsolve.preset("ws", width=16, depth=3, init=nfsolve.weight_scaling("auto"))
    said = nfsolve.preset("ws", width=16, depth=3, init=nfsolve.weight_scaling("auto", resolution=n))
    fields = [maker.func.for_problem(problem, **maker.keywords) for maker in (auto, said)]
    assert fields[0].config["init"] == WeightScaling("auto", n)
    for a, b in zip(*(field.parameters() for field in fields), strict=True):
        assert torch.equal(a, b)


def test_the_order_of_an_epoch_is_no_residual(picture_file):
    problem = ImageFit(picture_file, "preconditioners", batch=40)
    field = MLP.for_problem(problem, width=3, depth=1, dtype=torch.float64)
    data = loaded(problem)
    objective = Objective(problem, field, data, torch.Generator().manual_seed(0))
    objective.check()
    residual, jacobian = objective.jacobian(objective.theta())
    assert residual.shape == (120,) and jacobian.shape[0] == 120
    rows = objective.batch["colour"]
    assert float(residual.square().sum()) == pytest.approx(mean_square(field, rows.points, rows.values))
