"""The analytic scene: exact truth, exact field gives no residual, seeds, engines, pictures and exports."""

import importlib.util
import math
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch

import nfsolve
from nfsolve._core.errors import InputError
from nfsolve.forward import cameras, rendering
from problems.nerf_scene import BALLS, PEAK, SLAB, TARGET, NeRFScene, physical, scene

HAS_NERFACC = importlib.util.find_spec("nerfacc") is not None
SMALL = {"size": 12, "views": 3, "rays": 40, "samples": 8, "frames": 3}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data() -> dict:
    return NeRFScene(**SMALL).load("cpu", torch.float64)


def test_scene_is_solid_inside_and_empty_outside_with_colours_in_range():
    middles = torch.tensor([centre for centre, _, _ in BALLS] + [SLAB[0]], dtype=torch.float64)
    torch.testing.assert_close(scene(middles)[:, 0], torch.full((4,), PEAK, dtype=torch.float64))
    g = generator()
    points = NeRFScene.domain.scale(torch.rand(5000, 3, generator=g, dtype=torch.float64))
    sigma, colours = scene(points).split([1, 3], -1)
    assert 0.1 < float((sigma > 0).double().mean()) < 0.5
    assert float(colours.min()) >= 0
    assert float(colours.max()) <= 1
    for column, ends in enumerate(NeRFScene.domain.bounds):
        for end in ends:  # nothing sticks out of the box
            face = points.clone()
            face[:, column] = end
            assert float(scene(face)[:, 0].max()) == 0


def test_truth_equals_plain_quadrature():
    problem = NeRFScene(**SMALL)
    rays = problem.cut(cameras.orbit(1, 3.2, 0.5, target=TARGET), size=10)
    truth = problem.truth(rays)
    cut = rendering.stratified(rays["near"], rays["far"], 2000)
    values = scene(cut.points(rays["origins"], rays["directions"]))
    plain = rendering.composite(cut, values[:, :1], values[:, 1:], engine="torch")
    assert 0.2 < float(truth["opacity"].mean()) < 0.9
    torch.testing.assert_close(truth["rgb"], plain.channels + 1 - plain.opacity, rtol=0, atol=1e-3)
    torch.testing.assert_close(truth["opacity"], plain.opacity, rtol=0, atol=1e-5)
    torch.testing.assert_close(truth["depth"], plain.depth(), rtol=0, atol=1e-3)


def test_exact_scene_gives_no_residual_and_a_perfect_score(data: dict):
    problem = NeRFScene(**(SMALL | {"samples": 200}))
    residuals = problem.residuals(scene, problem.draw(data, generator()))
    assert residuals["colour"].shape == (40, 3)
    assert float(residuals["colour"].square().mean().sqrt()) < 3e-3
    scores = problem.metrics(scene, data)
    assert scores["psnr_heldout"] > 60
    assert scores["ssim"] > 0.9999
    assert scores["depth_error"] < 1e-3
    assert scores["renderer"] == ("nerfacc" if HAS_NERFACC else "torch")


def test_a_wrong_scene_is_scored_as_wrong(data: dict):
    scores = NeRFScene(**SMALL).metrics(lambda x: scene(x + 0.1), data)
    assert scores["psnr_heldout"] < 25
    assert scores["depth_error"] > 0.005


def test_draws_follow_the_generator(data: dict):
    problem = NeRFScene(**SMALL)
    first, again, other = (problem.draw(data, generator(seed))["colour"] for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["t"], other["t"])
    assert first["t"].shape == (40, 8)


def test_each_residual_row_depends_on_its_own_ray_only(data: dict):
    problem = NeRFScene(**SMALL)
    batch = problem.draw(data, generator())["colour"]
    whole = problem.residuals(scene, {"colour": batch})["colour"]
    row = problem.residuals(scene, {"colour": {name: value[7:8] for name, value in batch.items()}})["colour"]
    torch.testing.assert_close(row, whole[7:8])


@pytest.mark.skipif(not HAS_NERFACC, reason="nerfacc not installed")
def test_both_engines_give_the_same_residual(data: dict):
    batch = NeRFScene(**SMALL).draw(data, generator())
    ours, theirs = (NeRFScene(**SMALL, backend=name).residuals(scene, batch)["colour"] for name in ("torch", "nerfacc"))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_transform_gives_physical_values_and_nearly_empty_space_at_the_start():
    raw = 5 * torch.randn(500, 4, generator=generator(), dtype=torch.float64)
    values = physical(raw[:, :3], raw)
    assert float(values.min()) > 0
    assert float(values[:, 1:].max()) < 1
    start = physical(torch.zeros(1, 3), torch.zeros(1, 4))
    assert 1 - math.exp(-float(start[0, 0]) * 2 / 8) < 0.5, "light must reach the far end of the box"


def test_three_steps_are_finite_and_repeat_with_the_seed():
    first, again, other = (nfsolve.solve(NeRFScene(**SMALL), steps=3, seed=seed, report=None) for seed in (0, 0, 1))
    assert not first.failed
    assert math.isfinite(first.metrics["psnr_heldout"])
    x = torch.rand(50, 3, generator=generator())
    assert torch.equal(first.field(x), again.field(x))
    assert not torch.equal(first.field(x), other.field(x))


def test_picture_and_exports(data: dict, tmp_path: Path):
    problem = NeRFScene(**SMALL)
    history = [{"seconds": 1.0, "loss": 0.1, "psnr_heldout": 20.0}] * 2
    figure = problem.picture(scene, data, history)
    titles = [ax.get_title() for ax in figure.axes]
    assert any("dB" in title for title in titles)
    problem.export(scene, data, tmp_path)
    frames = iio.imread(tmp_path / "orbit.gif")
    assert frames.shape[:3] == (3, 36, 72)
    assert not (frames[0] == frames[1]).all()
    assert iio.imread(tmp_path / "heldout_4.png").shape == (48, 96, 3)


def test_bad_parameters_are_named():
    with pytest.raises(InputError, match="rays = 0: at least 1"):
        NeRFScene(rays=0)
    with pytest.raises(InputError, match="unknown rendering engine 'cuda'"):
        NeRFScene(backend="cuda")
