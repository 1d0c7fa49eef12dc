"""The analytic scene: exact truth, the exact field gives no residual, the occupancy grid, pictures and exports."""

import importlib
import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.forward import cameras, rendering
from nfsolve.forward.rendering import spherical_harmonics
from nfsolve.meshes import Mesh
from nfsolve.problem import SamplerState
from problems.nerf._renderer import sample_rays
from problems.nerf.scene import BALLS, PEAK, SLAB, TARGET, WIDTH, NeRFScene, empty_views, scene

HAS_NERFACC = importlib.util.find_spec("nerfacc") is not None
SMALL = {"size": 12, "views": 3, "points": 400, "samples": 40, "cells": 12, "frames": 3, "video": 16, "mesh": 32}


@pytest.fixture(scope="module")
def data() -> dict:
    return NeRFScene(**SMALL).load("cpu", torch.float64)


def test_scene_is_solid_inside_and_empty_outside_with_colours_in_range():
    middles = torch.tensor([centre for centre, _, _ in BALLS] + [SLAB[0]], dtype=torch.float64)
    torch.testing.assert_close(scene(middles)[:, 0], torch.full((4,), PEAK, dtype=torch.float64))
    points = NeRFScene.domain.scale(torch.rand(5000, 3, generator=generator(0, "x"), dtype=torch.float64))
    sigma, logits = scene(points).split([1, 3], -1)
    assert 0.1 < float((sigma > 0).double().mean()) < 0.5
    assert bool(torch.isfinite(logits).all())
    for column, ends in enumerate(NeRFScene.domain.bounds):
        for end in ends:  # nothing sticks out of the box
            face = points.clone()
            face[:, column] = end
            assert float(scene(face)[:, 0].max()) == 0


def test_truth_equals_plain_quadrature():
    problem = NeRFScene(**SMALL)
    view = empty_views(cameras.orbit(1, 3.2, 0.5, target=TARGET), 10, WIDTH, problem.domain.bounds)
    rays = view.rays(*view.cameras.pixels(0))
    truth = problem.truth(rays)
    cut = rendering.stratified(rays.near, rays.far, 2000)
    values = scene(cut.points(rays.origins, rays.directions))
    plain = rendering.composite(cut, values[:, :1], torch.sigmoid(values[:, 1:]), engine="torch")
    assert 0.2 < float(truth.opacity.mean()) < 0.9
    torch.testing.assert_close(truth.rgb, plain.channels + 1 - plain.opacity, rtol=0, atol=1e-3)
    torch.testing.assert_close(truth.opacity, plain.opacity, rtol=0, atol=1e-5)
    torch.testing.assert_close(truth.depth, plain.depth(), rtol=0, atol=1e-3)
    solid = truth.opacity[:, 0] > 0.5
    assert float((truth.normals * rays.directions).sum(-1)[solid].max()) < 0, "surfaces face the camera"


def test_exact_scene_gives_no_residual_and_a_perfect_score(data: dict):
    problem = NeRFScene(**(SMALL | {"points": 20_000, "samples": 500}))
    residuals = problem.residuals(scene, problem.sample(data, SamplerState(), generator(0, "points")))
    assert residuals["colour"].shape == (40, 3)
    assert float(residuals["colour"].square().mean().sqrt()) < 3e-3
    scores = problem.metrics(scene, data)
    assert scores["psnr_heldout"] > 55
    assert scores["ssim_heldout"] > 0.999
    assert scores["psnr"] > 55
    assert scores["depth_error"] < 1e-3
    assert scores["normal_error_degrees"] < 3
    assert scores["evaluations_saved"] > 0.5
    assert scores["renderer"] == ("nerfacc" if HAS_NERFACC else "torch")


def test_opacities_tell_white_matter_from_a_white_background(data: dict):
    problem = NeRFScene(**(SMALL | {"points": 20_000, "samples": 500}))
    train = problem.photographs["train"]
    opacity = problem.truth(train.all_rays()).opacity
    batch = problem.sample(data | {"train": replace(train, opacity=opacity)}, SamplerState(), generator(0, "points"))
    assert float(problem.residuals(scene, batch)["opacity"].square().mean().sqrt()) < 3e-3

    def with_fog(x):
        values, white = scene(x), x.new_tensor([1.0, 20.0, 20.0, 20.0])
        return torch.where(values[:, :1] > 0, values, white)

    found = problem.residuals(with_fog, batch)
    assert float(found["opacity"].mean()) > 0.1
    free = opacity[:, 0].min() == 0
    assert bool(free)
    assert "opacity" not in problem.residuals(scene, problem.sample(data, SamplerState(), generator(0, "points")))


def test_a_wrong_scene_is_scored_as_wrong(data: dict):
    scores = NeRFScene(**SMALL).metrics(lambda x: scene(x + 0.1), data)
    assert scores["psnr_heldout"] < 25
    assert scores["depth_error"] > 0.005
    assert scores["normal_error_degrees"] > 2
    assert "scene" not in scores


def test_a_scene_without_density_is_said_to_be_empty(data: dict):
    scores = NeRFScene(**SMALL).metrics(lambda x: 0 * scene(x), data)
    assert scores["scene"].startswith("empty: no density was found")


def test_the_occupancy_grid_saves_evaluations_and_changes_nothing_that_is_seen(data: dict):
    problem, full = NeRFScene(**SMALL), NeRFScene(**(SMALL | {"cells": 1}))
    few, all_ = (p.metrics(scene, data) for p in (problem, full))
    assert abs(all_["evaluations_saved"]) < 0.03
    assert few["evaluations_saved"] > 0.5
    assert abs(few["psnr_heldout"] - all_["psnr_heldout"]) < 0.01


def test_resamples_prune_by_the_field_and_keep_the_number_of_samples(data: dict):
    problem, random = NeRFScene(**SMALL), generator(0, "points")
    first = problem.sample(data, SamplerState(), random)
    assert bool(first["grid"]["occupied"].all())
    batch = first
    for _ in range(3):
        batch = problem.sample(data, SamplerState(batch, scene), random)
    rows = batch["colour"]
    assert len(first["colour"].rgb) == 10 < len(rows.rgb)
    assert 200 < len(rows.samples.t) < 800
    assert batch["rays"] > 10 + len(rows.rgb)
    points = rows.samples.points(rows.rays.origins, rows.rays.directions)
    assert float((scene(points)[:, 0] > 0).double().mean()) > 0.5


def test_samples_by_importance_are_few_and_give_the_same_colours(data: dict):
    few, all_ = (NeRFScene(**(SMALL | {"points": 6000, "samples": 200, "importance": k})) for k in (12, 0))
    colours = {}
    for problem in (few, all_):
        random = generator(0, "points")
        batch = problem.sample(data, SamplerState(), random)
        for _ in range(3):
            batch = problem.sample(data, SamplerState(batch, scene), random)
        colours[problem.importance] = batch
        residual = problem.residuals(scene, batch)["colour"]
        assert float(residual.square().mean().sqrt()) < 0.06
    rows = colours[12]["colour"]
    assert int(rows.samples.counts().max()) == 12
    assert len(rows.rgb) > 1.5 * len(colours[0]["colour"].rgb), "what is saved pays for more rays"


def test_fog_in_empty_cells_is_a_residual(data: dict):
    problem, random = NeRFScene(**SMALL), generator(0, "points")
    batch = problem.sample(data, SamplerState(), random)
    assert "empty" not in problem.residuals(scene, batch), "no cell is empty yet"
    for _ in range(3):
        batch = problem.sample(data, SamplerState(batch, scene), random)
    assert len(batch["empty"]) == SMALL["points"] // 32
    foggy = problem.residuals(lambda x: scene(x) + 0.2, batch)["empty"]
    assert float(foggy.median()) == pytest.approx(1 - math.exp(-0.2 * problem.step), rel=1e-6)
    clear = problem.residuals(scene, batch)["empty"]
    assert float((clear < 0.01).double().mean()) > 0.8, "one look at a cell can miss what is in it"


def test_draws_follow_the_generator(data: dict):
    problem = NeRFScene(**SMALL)
    first, again, other = (
        problem.sample(data, SamplerState(), generator(seed, "points"))["colour"].samples for seed in (1, 1, 2)
    )
    assert torch.equal(first.t, again.t) and torch.equal(first.ray, again.ray)
    assert first.t.shape != other.t.shape or not torch.equal(first.t, other.t)


def test_fresh_residuals_are_those_of_the_held_out_views(data: dict):
    problem = NeRFScene(**(SMALL | {"samples": 200}))
    batch = problem.sample(data, SamplerState(), generator(0, "points"))
    rows = problem.fresh(data, generator(0, "heldout"), batch)["colour"]
    assert len(rows.rgb) == len(batch["colour"].rgb)
    test = data["test"]
    eyes = test.cameras.poses[rows.views, :3, 3]
    torch.testing.assert_close(rows.rays.origins, eyes)
    assert float(problem.residuals(scene, {"colour": rows})["colour"].abs().max()) < 0.05
    wrong = problem.residuals(lambda x: scene(x + 0.3), {"colour": rows})["colour"]
    assert float(wrong.square().mean().sqrt()) > 0.05


def test_colours_but_not_density_depend_on_the_view(data: dict):
    problem = NeRFScene(**(SMALL | {"sh_degree": 1}))
    rays = data["test"].rays(*data["test"].cameras.pixels(0))[60:90]
    grid = problem.full_grid("cpu")
    samples = sample_rays(rays, grid, problem.step)
    coefficients = torch.zeros(1, 13, dtype=torch.float64)
    coefficients[0, 0], coefficients[0, 1:4], coefficients[0, 10] = 4.0, 0.3, 0.5  # red of the third harmonic
    renderer = problem.renderer(lambda x: coefficients.expand(len(x), -1), grid)
    turned = replace(rays, viewing=-rays.viewing)
    seen, other = (renderer.render_samples(r, samples) for r in (rays, turned))
    torch.testing.assert_close(seen.opacity, other.opacity, rtol=0, atol=0)
    torch.testing.assert_close(seen.depth, other.depth, rtol=0, atol=0)
    harmonic = spherical_harmonics(rays.viewing, 1)[:, 3:]
    expected = torch.sigmoid(torch.cat([0.3 + 0.5 * harmonic, torch.full_like(rays.viewing[:, :2], 0.3)], -1))
    torch.testing.assert_close(seen.rgb, seen.opacity * expected + 1 - seen.opacity)
    assert problem.unknowns == "sigma r g b r1 g1 b1 r2 g2 b2 r3 g3 b3"


@pytest.mark.skipif(not HAS_NERFACC, reason="nerfacc not installed")
def test_both_engines_give_the_same_residual(data: dict):
    batch = NeRFScene(**SMALL).sample(data, SamplerState(), generator(0, "points"))
    ours, theirs = (NeRFScene(**SMALL, backend=name).residuals(scene, batch)["colour"] for name in ("torch", "nerfacc"))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_transform_gives_densities_and_nearly_empty_space_at_the_start():
    problem = NeRFScene(**SMALL)
    raw = 5 * torch.randn(500, 4, generator=generator(0, "x"), dtype=torch.float64)
    values = problem.output_transform()(raw[:, :3], raw)
    assert float(values[:, 0].min()) > 0
    assert torch.equal(values[:, 1:], raw[:, 1:])
    start = float(problem.output_transform()(torch.zeros(1, 3), torch.zeros(1, 4))[0, 0])
    assert 0.05 < 1 - math.exp(-start * problem.step * 96) < 0.5


def test_steps_are_finite_and_repeat_with_the_seed():
    first, again, other = (nfsolve.solve(NeRFScene(**SMALL), steps=3, seed=seed, report=None) for seed in (0, 0, 1))
    assert not first.failed
    assert math.isfinite(first.metrics["psnr_heldout"])
    x = torch.rand(50, 3, generator=generator(0, "x"))
    assert torch.equal(first.field(x), again.field(x))
    assert not torch.equal(first.field(x), other.field(x))
    assert first.metrics["rays_per_second"] > 0
    assert 0 < first.metrics["heldout/colour"] < first.metrics["heldout_max/colour"] < 1


def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path: Path):
    problem, options = NeRFScene(**SMALL), {"report": None, "schedule": "constant"}
    whole = nfsolve.solve(problem, steps=40, out=tmp_path / "whole", **options)
    nfsolve.solve(problem, steps=21, out=tmp_path / "half", **options)
    resumed = nfsolve.resume(tmp_path / "half", steps=40, report=None)
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name
    assert whole.metrics["psnr_heldout"] == resumed.metrics["psnr_heldout"]
    assert [row["loss"] for row in whole.history[-1:]] == [row["loss"] for row in resumed.history[-1:]]


def test_picture_and_exports(data: dict, tmp_path: Path):
    problem = NeRFScene(**SMALL)
    history = [{"seconds": 1.0, "loss": 0.1, "psnr_heldout": 20.0}] * 2
    with torch.no_grad():
        figure = problem.picture(scene, data, history)
        problem.export(scene, data, tmp_path)
    assert any("dB" in ax.get_title() for ax in figure.axes)
    frames = iio.imread(tmp_path / "orbit.gif")
    assert frames.shape[:3] == (3, 16, 32)
    assert not (frames[0] == frames[1]).all()
    assert iio.imread(tmp_path / "heldout_0.png").shape == (240, 480, 3)
    maps = np.load(tmp_path / "maps_0.npz")
    solid = data["truth"][0].opacity > 0.9
    depth = torch.from_numpy(maps["depth"]).reshape(-1, 1)[solid]
    torch.testing.assert_close(depth, data["truth"][0].depth[solid], rtol=0.01, atol=0)
    if importlib.util.find_spec("skimage") and importlib.util.find_spec("trimesh"):
        mesh = Mesh.read(tmp_path / "mesh.ply")
        shaded = importlib.import_module("trimesh").load_mesh(tmp_path / "mesh.ply", process=False)
        right = torch.sigmoid(scene(torch.from_numpy(np.asarray(shaded.vertices, dtype=np.float64)))[:, 1:])
        assert np.abs(shaded.visual.vertex_colors[:, :3] / 255 - right.numpy()).max() < 0.01
        (left, right), (bottom, top) = ((mesh.vertices[:, i].min(), mesh.vertices[:, i].max()) for i in (0, 2))
        assert (left, right) == pytest.approx((-SLAB[1][0], SLAB[1][0]), abs=0.06)
        assert (bottom, top) == pytest.approx((SLAB[0][2] - SLAB[1][2], BALLS[0][0][2] + BALLS[0][1]), abs=0.06)


def test_bad_parameters_are_named():
    with pytest.raises(InputError, match="points must be at least 1, got 0"):
        NeRFScene(points=0)
    with pytest.raises(InputError, match="size and views must be at least 1, got size=0 and views=30"):
        NeRFScene(size=0)
    with pytest.raises(InputError, match="degree of spherical harmonics must be 0 to 3, got 4"):
        NeRFScene(sh_degree=4)
    with pytest.raises(InputError, match="unknown rendering engine 'cuda'"):
        NeRFScene(backend="cuda")


def test_the_spread_along_rays_is_a_residual_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch):
    """The mean of its squares is the mean spread; in empty space its gradient is finite."""
    problem = NeRFScene(size=12, views=3, points=400, samples=24, cells=1, frames=0, mesh=0, distortion=0.02)
    assert problem.weights()["distortion"] == 0.02 and "distortion" not in NeRFScene(size=12).weights()
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    thickness = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)

    def fog(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([thickness.expand(len(x), 1), torch.zeros(len(x), 27, dtype=x.dtype)], -1)

    empty = problem.residuals(fog, batch)["distortion"]
    assert float(empty.detach().square().mean()) < 1e-7 and torch.autograd.grad(empty.sum(), thickness)[0].isfinite()
    with torch.no_grad():
        thickness += 1.0
        assert float(problem.residuals(fog, batch)["distortion"].square().mean()) > 0.01
    with pytest.raises(InputError, match="distortion must be at least 0, got -1"):
        NeRFScene(distortion=-1.0)
