"""A trained scene in a user's hands: views from anywhere, paths, and the command that writes videos."""

import dataclasses
import importlib.util
import json
import math
import subprocess
import sys
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
from problems.nerf.scene import BALLS, RADIUS, SLAB, TARGET, WIDTH, NeRFScene, scene

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
    assert run_cli([*words[:2], "--cloud", "0"]) == 2
    assert "cloud must be at least 1" in capsys.readouterr().err
    capsys.readouterr()
    assert run_cli(["render"]) == 2
    assert "render needs the folder of a run" in capsys.readouterr().err


def frames_file(file: Path, **changes: object) -> Path:
    poses = orbit(2, RADIUS, 0.5, target=TARGET)
    frames = [{"transform_matrix": pose.tolist()} for pose in poses]
    file.write_text(json.dumps({"fl_x": 30.0, "w": 24, "h": 16, "frames": frames} | changes))
    return file


def test_cameras_written_as_in_transforms_json_are_a_path(exact: TrainedScene, tmp_path: Path):
    file = frames_file(tmp_path / "cameras.json")
    cameras = read_camera_path(file)
    torch.testing.assert_close(cameras.poses, orbit(2, RADIUS, 0.5, target=TARGET))
    assert cameras.focals.tolist() == [[30, 30]] * 2 and cameras.centres.tolist() == [[12, 8]] * 2
    files = exact.render_path(str(file), tmp_path / "frames")
    assert [iio.imread(file).shape for file in files] == [(16, 24, 3)] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": None}, "must have the size of its image"),
        ({"fl_x": None}, "must have a focal length"),
        ({"frames": []}, "must have frames"),
        ({"frames": [{"file_path": "a"}]}, "must have 'transform_matrix'"),
        ({"camera_model": "EQUIRECTANGULAR"}, "unknown camera model"),
    ],
)
def test_cameras_that_cannot_be_are_named(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        read_camera_path(frames_file(tmp_path / "cameras.json", **changes))


def test_angles_of_a_path_in_radians_are_suspected(tmp_path: Path):
    file = camera_path(tmp_path / "path.json")
    head = json.loads(file.read_text())
    file.write_text(json.dumps(head | {"camera_path": [view | {"fov": 0.8} for view in head["camera_path"]]}))
    with pytest.raises(InputError, match="must be in degrees, but all are below"):
        read_camera_path(file)


@pytest.mark.parametrize("show", ["rgb", "depth", "normals", "opacity"])
def test_a_path_shows_what_is_wanted(exact: TrainedScene, tmp_path: Path, show: str):
    (file,) = exact.render_path("orbit", tmp_path / "frames", frames=1, longest=24, show=show)
    image, seen = iio.imread(file), exact.render(exact.photographs.path(1).cameras, normals=True)
    empty = seen.opacity[..., 0].numpy() == 0
    assert {"rgb": 255, "depth": 0, "normals": 255, "opacity": 0}[show] == image[empty].mean()
    assert (image[~empty] != image[empty].mean()).any()
    with pytest.raises(InputError, match="unknown picture to show 'deph': did you mean 'depth'"):
        exact.render_path("orbit", tmp_path / "frames", show="deph")


def test_points_of_a_scene_lie_on_its_surfaces_in_its_colours(exact: TrainedScene, tmp_path: Path):
    trimesh = pytest.importorskip("trimesh")
    cloud = exact.point_cloud(1500)
    assert 200 < len(cloud.points) < 1500
    distances = torch.stack(
        [(torch.from_numpy(cloud.points) - torch.tensor(centre)).norm(dim=-1) - radius for centre, radius, _ in BALLS]
    )
    centre, half = (torch.tensor(v) for v in SLAB)
    slab = ((torch.from_numpy(cloud.points) - centre).abs() - half).amax(-1)
    off = torch.cat([distances, slab[None]]).min(0).values.abs()
    assert float((off < 0.08).double().mean()) > 0.9
    right = torch.sigmoid(scene(torch.from_numpy(cloud.points))[:, 1:])
    assert float((torch.from_numpy(cloud.colours) - right).abs().mean()) < 0.1
    read = trimesh.load(cloud.write(tmp_path / "points.ply"))
    assert read.vertices.shape == cloud.points.shape
    with pytest.raises(InputError, match=r"a point cloud is written as .ply, .glb, .xyz, got 'points.las'"):
        cloud.write(tmp_path / "points.las")


@pytest.mark.parametrize("ending", [".ply", ".glb", ".obj", ".off"])
def test_a_mesh_keeps_its_colours_in_each_format(exact: TrainedScene, tmp_path: Path, ending: str):
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    surface = exact.mesh(24, level=20.0)
    path = surface.write(tmp_path / f"scene{ending}")
    read = trimesh.load(path, force="mesh", process=False)
    assert len(read.faces) == len(surface.mesh.faces)
    assert surface.colours is not None
    if ending != ".off":  # trimesh writes them there, and reads them not
        shades = read.visual.vertex_colors[:, :3] / 255
        assert abs(shades.mean(0) - surface.colours.mean(0)).max() < 0.01
    with pytest.raises(InputError, match="a mesh is written as .ply, .obj, .stl, .off, .glb, got 'scene.fbx'"):
        surface.write(tmp_path / "scene.fbx")


ALONE = """
import sys, torch
program = torch.export.load(sys.argv[1])
print(program.module()(torch.full((7, 3), 0.1)).tolist())
assert not any(name.split(".")[0] == "nfsolve" for name in sys.modules)
"""


@pytest.mark.parametrize("encoding", ["gaussian_fourier", "grid"])
def test_an_exported_field_runs_without_nfsolve(tmp_path: Path, encoding: str):
    grid = nf.FeatureGrid(2, 4, 8, 2) if encoding == "grid" else nf.GaussianFourier(4)
    problem = NeRFScene(**SMALL)
    field = nf.MLP.for_problem(problem, width=8, depth=1, encoding=grid, seed=0)
    trained = problem.trained(field)
    path = trained.export_program(tmp_path / "field.pt2")
    with torch.no_grad():
        expected = trained(torch.full((7, 3), 0.1))
    words = [sys.executable, "-c", ALONE, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), expected)


RENDERED = """
import runpy, sys
sys.argv = ["render_exported.py", SCENE, "view.ppm", "--size", "12", "--around", "20", "--above", "40"]
runpy.run_path(SCRIPT, run_name="__main__")
without = ("nfsolve", "problems", "torch" if SCENE.endswith("onnx") else "onnxruntime")
assert not any(name.split(".")[0] in without for name in sys.modules)
"""
MISSING = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
onnx = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")


@pytest.mark.parametrize(
    ("colour", "kind"),
    [
        ("harmonics", "pt2"),
        ("network", "pt2"),
        *(pytest.param(c, "onnx", marks=onnx) for c in ("harmonics", "network")),
    ],
)
def test_an_exported_scene_is_rendered_without_nfsolve(tmp_path: Path, colour: str, kind: str):
    problem = NeRFScene(**(SMALL | {"sh_degree": 2, "colour": colour, "cells": 1}))
    encoding = nf.FeatureGrid(2, 4, 12, 2, hash_size=9, initial=0.1)
    field = nf.MLP.for_problem(problem, width=8, depth=1, encoding=encoding, seed=3)
    if modules := problem.auxiliary_modules(0):
        field.auxiliary = torch.nn.ModuleDict(modules)
    with torch.no_grad():
        list(field.body.parameters())[-1][0] += 4  # dense enough to be seen
    trained = problem.trained(field)
    trained.export_scene(tmp_path / f"scene.{kind}")
    script = Path(__file__).parents[3] / "scripts" / "render_exported.py"
    words = [
        sys.executable,
        "-c",
        RENDERED.replace("SCRIPT", repr(str(script))).replace("SCENE", repr(f"scene.{kind}")),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    head, content = (tmp_path / "view.ppm").read_bytes().split(b"255\n", 1)
    assert head == b"P6 12 12 "
    found = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(12, 12, 3) / 255
    middle = torch.tensor(problem.domain.bounds, dtype=torch.float64).mean(1)
    views = trained.photographs.cameras
    distance = float((views.poses[0, :3, 3].double() - middle).norm())
    pose = orbit(1, distance, math.radians(40), start=math.radians(20), target=tuple(middle.tolist()))
    angle = 2 * math.atan(0.5 * float(views.sizes[0, 0] / views.focals[0, 0]))
    seen = trained.render(Cameras.with_angle(pose, 12, 12, angle), normals=False)
    assert float(seen.opacity.max()) > 0.3
    torch.testing.assert_close(found, seen.rgb.float(), atol=0.02, rtol=0)


def test_a_program_of_another_kind_and_a_missing_translator_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained = NeRFScene(**SMALL).trained(nf.MLP.for_problem(NeRFScene(**SMALL), width=8, depth=1))
    with pytest.raises(InputError, match=r"must be a file .pt2 or .onnx, got '.*scene.tflite'"):
        trained.export_scene(tmp_path / "scene.tflite")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(nf.MissingExtra, match=r"writing ONNX needs onnx.*nfsolve\[onnx\]"):
        trained.export_scene(tmp_path / "scene.onnx")


def test_scenes_whose_rays_are_not_straight_are_not_exported(tmp_path: Path):
    trained = NeRFScene(**SMALL).trained(Exact())
    trained.photographs = dataclasses.replace(trained.photographs, ndc=(1.0, 1.0))
    with pytest.raises(InputError, match="straight rays in a box, but this one is in NDC"):
        trained.export_scene(tmp_path / "scene.pt2")
