"""A trained scene in a user's hands: views from anywhere, paths, and the command that writes videos."""

import json
import math
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.cli import run_cli
from nfsolve.forward.cameras import Cameras, orbit
from nfsolve.metrics import psnr
from problems.nerf._trained import TrainedScene, read_camera_path
from problems.nerf.scene import RADIUS, TARGET, WIDTH, NeRFScene, scene

SMALL = {"size": 24, "views": 4, "points": 400, "samples": 200, "cells": 12, "frames": 0, "mesh": 0}


class Exact(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return scene(points)


@pytest.fixture(scope="module")
def exact() -> TrainedScene:
    return NeRFScene(**SMALL).trained(Exact())


def test_points_give_what_the_field_gives(exact: TrainedScene):
    points = torch.rand(9, 3, dtype=torch.float64)
    assert torch.equal(exact(points), scene(points))


def test_any_camera_sees_the_scene(exact: TrainedScene):
    cameras = Cameras.with_angle(orbit(3, RADIUS, 0.9, start=0.2, target=TARGET), 30, 20, WIDTH)
    seen = exact.render(cameras, 1)
    assert seen.rgb.shape == seen.normals.shape == (20, 30, 3) and seen.depth.shape == seen.opacity.shape == (20, 30, 1)
    views = exact.photographs.seen_by(cameras)
    right = NeRFScene(**SMALL).exact(views.rays(*cameras.pixels(1)), 1e-5)
    assert psnr(seen.rgb.reshape(-1, 3), right.rgb) > 45
    solid = right.opacity[:, 0] > 0.9
    torch.testing.assert_close(seen.depth.reshape(-1, 1)[solid], right.depth[solid], rtol=0.01, atol=0)
    assert exact.render(cameras, 1, normals=False).normals is None
    with pytest.raises(InputError, match="view must be 0 to 2, got 3"):
        exact.render(cameras, 3)


@pytest.mark.parametrize("path", ["orbit", "spiral"])
def test_paths_go_around_the_scene(exact: TrainedScene, tmp_path: Path, path: str):
    files = exact.render_path(path, tmp_path / "frames", frames=3, longest=16)
    images = [iio.imread(file) for file in files]
    assert len(files) == 3 and images[0].shape == (16, 16, 3)
    assert not (images[0] == images[1]).all()
    heights = exact.photographs.path(9, path).cameras.poses[:, 2, 3]
    assert (heights.diff() > 0.01).all() if path == "spiral" else (heights.diff().abs() < 1e-9).all()
    assert exact.render_path(path, tmp_path / "a.gif", frames=3, longest=16) == [tmp_path / "a.gif"]
    assert iio.imread(tmp_path / "a.gif").shape[:3] == (3, 16, 16)


def camera_path(file: Path, **changes: object) -> Path:
    poses = orbit(2, RADIUS, 0.5, target=TARGET)
    views = [{"camera_to_world": pose.flatten().tolist(), "fov": 40.0, "aspect": 1.5} for pose in poses]
    file.write_text(json.dumps({"render_width": 24, "render_height": 16, "camera_path": views} | changes))
    return file


def test_a_camera_path_of_nerfstudio_is_followed(exact: TrainedScene, tmp_path: Path):
    cameras = read_camera_path(camera_path(tmp_path / "path.json"))
    torch.testing.assert_close(cameras.poses, orbit(2, RADIUS, 0.5, target=TARGET))
    top = cameras.towards(torch.tensor([0]), torch.tensor([[12.0, 0.0]], dtype=torch.float64))[0]
    assert math.degrees(math.atan2(-float(top[1]), float(top[2]))) == pytest.approx(20), "half the vertical angle"
    files = exact.render_path(str(tmp_path / "path.json"), tmp_path / "frames")
    assert [iio.imread(file).shape for file in files] == [(16, 24, 3)] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_path": []}, "must have cameras"),
        ({"camera_path": [{"fov": 40}]}, "could not be read .KeyError: 'camera_to_world'"),
        ({"camera_path": [{"camera_to_world": [1.0] * 12, "fov": 40}]}, "could not be read"),
        ({"camera_path": [{"camera_to_world": [1.0] * 16, "fov": 0}]}, "a positive fov"),
        ({"render_width": "wide"}, "could not be read"),
        ({"render_width": 0}, "a camera needs a positive size"),
    ],
)
def test_camera_paths_that_cannot_be_are_named(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        read_camera_path(camera_path(tmp_path / "path.json", **changes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("circle", "a.gif"), "unknown path 'circle'"),
        (("orbit", "a.avi"), "a video must be a .gif, an .mp4 or a folder"),
        (("orbit", "a.gif", 0), "frames must be at least 1"),
        (("nowhere.json", "a.gif"), "must be a camera path of nerfstudio"),
    ],
)
def test_mistakes_are_named(exact: TrainedScene, tmp_path: Path, arguments: tuple, message: str):
    path, out, *more = arguments
    with pytest.raises(InputError, match=message):
        exact.render_path(path, tmp_path / out, *more)


def test_a_run_folder_is_rendered_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    small = partial(nf.MLP, width=8, depth=1)
    nf.solve(NeRFScene(**(SMALL | {"samples": 24})), small, steps=2, report=None, out=tmp_path / "run")
    loaded = nf.load(tmp_path / "run")
    assert loaded(torch.zeros(2, 3)).shape == (2, 4)
    assert loaded.render(loaded.cameras, 2).rgb.shape == (24, 24, 3)
    words = ["render", str(tmp_path / "run"), "--path", "spiral", "--frames", "2", "--size", "8"]
    assert run_cli(words) == 0
    assert iio.imread(tmp_path / "run" / "spiral.gif").shape[:3] == (2, 8, 8)
    assert run_cli([*words, "--out", str(tmp_path / "frames")]) == 0
    assert len(list((tmp_path / "frames").iterdir())) == 2
    capsys.readouterr()
    assert run_cli(["render"]) == 2
    assert "render needs the folder of a run" in capsys.readouterr().err
