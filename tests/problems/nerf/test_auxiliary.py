"""What is trained beside a radiance field: poses that were wrong, colours by a network; what a grid saves."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.cli import run_cli
from nfsolve.fields import ReLU
from nfsolve.forward import cameras
from nfsolve.forward.rendering import spherical_harmonics
from nfsolve.problem import SamplerState
from problems.nerf._renderer import sample_rays
from problems.nerf.absorption import NeRFAbsorption
from problems.nerf.scene import NeRFScene, scene

TINY = {"size": 16, "views": 6, "points": 800, "samples": 24, "cells": 12, "frames": 2, "video": 16, "mesh": 16}
SMALL = partial(nf.MLP, width=32, depth=2, activation=ReLU(), encoding=nf.GaussianFourier(16, scale=0.4))


def train(problem: NeRFScene, steps: int = 150, **options) -> nf.Solution:
    adam = partial(torch.optim.Adam, lr=2e-2)
    return nf.solve(problem, SMALL, adam, steps=steps, schedule="cosine", log_every=1000, report=None, **options)


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> nf.Solution:
    problem = NeRFScene(**TINY, pose_noise=3.0, refine_poses=True, colour="network")
    return train(problem, out=tmp_path_factory.mktemp("refined") / "run")


def test_wrong_poses_are_corrected(refined: nf.Solution):
    found = refined.metrics
    assert found["pose_error_degrees/given"] > 5
    assert found["pose_error_degrees"] < 0.75 * found["pose_error_degrees/given"]
    moved = refined.field.auxiliary["poses"].motions().detach()
    assert found["pose_correction_degrees"] == pytest.approx(float(moved[:, :3].norm(dim=-1).mean()) * 180 / math.pi)
    assert found["pose_correction_distance"] == pytest.approx(float(moved[:, 3:].norm(dim=-1).mean()))
    assert found["psnr"] > found["psnr_heldout"], "held-out views stay where they are"


def test_a_refined_run_is_loaded_evaluated_and_cited(refined: nf.Solution, capsys: pytest.CaptureFixture[str]):
    out = refined.folder
    assert out is not None
    again = nf.load(out).field
    for name, value in refined.field.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert {"auxiliary.colour.0.linear.weight", "auxiliary.poses.twists"} <= set(again.state_dict())
    (out / "metrics.json").unlink()
    assert run_cli(["eval", str(out)]) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert found["psnr_heldout"] == pytest.approx(refined.metrics["psnr_heldout"], abs=1e-6)
    assert {"orbit.gif", "heldout_0.png", "solution.png"} <= {path.name for path in out.iterdir()}
    capsys.readouterr()
    assert run_cli(["cite", str(out)]) == 0
    cited = capsys.readouterr().out
    assert all(key in cited for key in ("mildenhall2020nerf", "lin2021barf", "tancik2020fourier"))
    assert "plenoxels" not in cited


def test_a_resumed_refinement_is_the_one_that_never_stopped(tmp_path: Path):
    problem, options = NeRFScene(**TINY, pose_noise=3.0, refine_poses=True, colour="network"), {"report": None}
    whole = nf.solve(problem, SMALL, steps=6, schedule="constant", **options)
    nf.solve(problem, SMALL, steps=3, schedule="constant", out=tmp_path / "half", **options)
    resumed = nf.resume(tmp_path / "half", steps=6, report=None)
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name


class Exact(torch.nn.Module):
    """The exact scene, with corrections of the poses that can be trained."""

    def __init__(self, problem: NeRFScene):
        super().__init__()
        self.auxiliary = torch.nn.ModuleDict(problem.auxiliary_modules(0)).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scene(x)


def test_the_slope_along_a_correction_is_that_of_finite_differences():
    problem = NeRFScene(**TINY, pose_noise=1.0, refine_poses=True)
    data = problem.load("cpu", torch.float64)
    field = Exact(problem)
    first = problem.sample(data, SamplerState(), generator(0, "x"))
    batch = problem.sample(data, SamplerState(first, field), generator(0, "x"))
    twists = field.auxiliary["poses"].twists

    def loss() -> torch.Tensor:
        return problem.residuals(field, batch)["colour"].square().sum()

    (slope,) = torch.autograd.grad(loss(), twists)
    assert float(slope.abs().min()) > 0
    with torch.no_grad():
        for column in range(6):
            twists[2, column] += 1e-6
            ahead = loss()
            twists[2, column] -= 2e-6
            assert float(ahead - loss()) / 2e-6 == pytest.approx(float(slope[2, column]), rel=1e-4), column
            twists[2, column] += 1e-6


def test_colours_by_a_network_read_features_and_the_view():
    problem = NeRFScene(**TINY, sh_degree=2, colour="network")
    assert problem.unknowns.split() == ["sigma", *(f"f{k}" for k in range(1, 16))]
    network = problem.auxiliary_modules(0)["colour"].double()
    assert torch.equal(network[0].linear.weight, problem.auxiliary_modules(0)["colour"][0].linear.weight.double())
    data = problem.load("cpu", torch.float64)
    rays = data["test"].rays(*data["test"].cameras.pixels(0))[100:110]
    grid = problem.full_grid("cpu")
    samples = sample_rays(rays, grid, problem.step)

    def field(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([0 * x[:, :1] + 4, x.repeat(1, 5)], -1)

    field.auxiliary = {"colour": network}
    points = samples.points(rays.origins, rays.directions)
    both = torch.cat([points.repeat(1, 5), spherical_harmonics(rays.viewing, 2)[samples.ray]], -1)
    expected = torch.zeros(10, 3, dtype=torch.float64)
    for ray in range(10):  # one ray after the other
        own, passed = samples.ray == ray, 1.0
        for dt, colour in zip(samples.dt[own], torch.sigmoid(network(both[own])), strict=True):
            expected[ray] += passed * (1 - math.exp(-4 * float(dt))) * colour
            passed *= math.exp(-4 * float(dt))
        expected[ray] += passed
    torch.testing.assert_close(problem.renderer(field, grid).render_samples(rays, samples).rgb, expected)


def test_the_grid_of_a_trained_field_saves_evaluations_and_gives_the_same_image():
    solution = train(NeRFScene(**(TINY | {"cells": 24, "points": 1200})))
    everything = replace(solution.problem, cells=1).metrics(solution.field, solution.data)
    assert everything["psnr_heldout"] > 17
    assert solution.metrics["evaluations_saved"] > 0.25
    assert abs(everything["evaluations_saved"]) < 0.05
    assert abs(everything["psnr_heldout"] - solution.metrics["psnr_heldout"]) < 0.1


def test_the_floor_of_normals_is_what_exact_density_scores():
    problem = NeRFScene(**TINY, sh_degree=2)
    data = problem.load("cpu", torch.float64)
    floor = problem.plain().metrics(scene, data)
    assert floor["normal_floor_degrees"] == pytest.approx(floor["normal_error_degrees"])
    assert floor["psnr_heldout"] > 20, "the exact images do not depend on how the field gives colours"


def test_pose_noise_moves_training_views_but_not_what_they_show():
    exact, wrong = NeRFScene(**TINY), NeRFScene(**TINY, pose_noise=2.0)
    for split in ("train", "test"):
        assert torch.equal(exact.photographs[split].colours, wrong.photographs[split].colours)
    assert torch.equal(exact.photographs["test"].cameras.poses, wrong.photographs["test"].cameras.poses)
    turns, shifts = cameras.pose_errors(wrong.photographs["train"].cameras.poses, exact.exact_poses("train"))
    assert 1 < turns < 8 and 0.01 < shifts < 0.15


def test_mistakes_are_named():
    with pytest.raises(InputError, match="unknown colour 'net': did you mean 'network'"):
        NeRFScene(colour="net")
    with pytest.raises(InputError, match="X-ray views have no colours, got colour=network. Leave it out"):
        NeRFAbsorption(colour="network")
    with pytest.raises(InputError, match="at least 3 views, got views=2. Choose more views"):
        NeRFScene(pose_noise=1.0, views=2)
