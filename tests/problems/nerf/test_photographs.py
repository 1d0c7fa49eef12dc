"""A user's own photographs from folder to mesh, every swap in one line, X-ray views, and mistakes by name."""

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.cli import run_cli
from nfsolve.data.photos import write_transforms
from nfsolve.forward.cameras import Cameras, look_at
from nfsolve.forward.phantoms import SHEPP_LOGAN_3D, phantom_values
from nfsolve.options.request import read_request
from nfsolve.problem import SamplerState
from nfsolve.run.plan import Plan
from problems.nerf.absorption import NeRFAbsorption
from problems.nerf.photographs import NeRF
from problems.nerf.scene import NeRFScene
from tests.data.photos.test_silhouettes import ball

QUICK = ["--points", "300", "--samples", "24", "--cells", "8", "--frames", "2", "--video", "16", "--mesh", "16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The analytic scene, written with a lens, a focal length and a principal point of its own for each frame."""
    problem = NeRFScene(size=16, views=9)
    plain = problem.photographs["train"]
    cameras, n = plain.cameras, len(plain.cameras)
    step = torch.arange(n, dtype=torch.float64)[:, None]
    lenses = torch.cat([0.01 * step - 0.05, 0 * step + 0.01, 0 * step, 0 * step, 0.001 * step, 0 * step], -1)
    centres = cameras.centres + torch.cat([0.1 * step, -0.1 * step], -1)
    cameras = replace(cameras, focals=cameras.focals * (1 + step / 50), centres=centres, distortion=lenses)
    bent = replace(plain, cameras=cameras)
    colours = problem.exact(bent.all_rays()).rgb
    path = tmp_path_factory.mktemp("photographs") / "mine"
    write_transforms(path, replace(bent, colours=colours))
    return path


def test_a_users_own_folder_end_to_end(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    box = ["--bounds", "-0.92", "0.92", "-0.92", "0.92", "-0.66", "0.44"]
    words = ["run", "problems.nerf.photographs:NeRF", "--data", str(folder), "--background", "white"]
    words += [*box, *QUICK, "--steps", "5"]
    assert run_cli([*words, "--out", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"psnr_heldout", "ssim_heldout", "psnr", "evaluations_saved", "rays_per_second"} <= set(metrics)
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"heldout_0.png", "depth_0.png", "normals_0.png", "maps_0.npz", "orbit.gif", "solution.png"} <= written
    assert run_cli(["run", "--resume", str(tmp_path / "run"), "--steps", "7"]) == 0
    solution = nf.reopen(tmp_path / "run")
    assert solution.steps == 7
    assert solution.problem.photographs["train"].cameras.distortion is not None
    assert [len(solution.problem.photographs[split].cameras) for split in ("train", "test")] == [7, 2]
    assert "rays per second" in capsys.readouterr().out.replace("_", " ")


def test_the_right_cameras_explain_the_photographs(folder: Path):
    """The exact scene seen through the lenses that were read back: only rounding to eight bits is left."""
    problem = NeRF(data=str(folder), background="white", bounds=(-0.92, 0.92, -0.92, 0.92, -0.66, 0.44), sh_degree=0)
    exact = NeRFScene(size=16, views=2)
    for split, photographs in problem.photographs.items():
        off = exact.exact(photographs.all_rays()).rgb - photographs.colours
        assert float(off.abs().max()) < 0.5 / 255 + 1e-6, split


def test_a_folder_with_masks_distortion_mixed_sizes_and_a_validation_list_trains_right(folder: Path, tmp_path: Path):
    """Something purple passed before the camera; where masks leave it out, the scene comes out without it."""
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    head = json.loads((mine / "transforms.json").read_text())
    (mine / "masks").mkdir()
    names = [frame["file_path"] for frame in head["frames"]]
    for i, (frame, name) in enumerate(zip(head["frames"], names, strict=True)):
        image, mask = iio.imread(mine / name).copy(), np.full((16, 16), 255, np.uint8)
        if i >= 2:
            image[4:12, 3:13] = (150, 0, 150)
            mask[4:12, 3:13] = 0
        if i % 2:  # of twice the size, with its lens in its own pixels
            image, mask = (some.repeat(2, 0).repeat(2, 1) for some in (image, mask))
            frame |= {key: 2 * frame[key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")}
        iio.imwrite(mine / name, image)
        iio.imwrite(mine / "masks" / f"{i}.png", mask)
        frame["mask_path"] = f"masks/{i}.png"
    head |= {"train_filenames": names[2:], "val_filenames": names[:2]}
    (mine / "transforms.json").write_text(json.dumps(head))
    scores = {}
    for masked in (True, False):
        if not masked:
            shutil.rmtree(mine / "masks")
            for frame in head["frames"]:
                del frame["mask_path"]
            (mine / "transforms.json").write_text(json.dumps(head))
        box = (-0.92, 0.92, -0.92, 0.92, -0.66, 0.44)
        problem = NeRF(data=str(mine), background="white", bounds=box, sh_degree=0, points=3000, samples=32, cells=12)
        photographs = problem.photographs
        assert [len(photographs[split].cameras) for split in ("train", "test")] == [7, 2]
        assert photographs["train"].cameras.sizes.unique().tolist() == [16, 32]
        assert len(photographs["train"].colours) - photographs["train"].n_counted == masked * 80 * (4 + 3 * 4)
        field = nf.MLP.for_problem(problem, width=32, depth=2, activation=nf.fields.ReLU(), seed=0)
        solution = nf.solve(problem, field, partial(torch.optim.Adam, lr=1e-2), steps=150, seed=0, report=None)
        scores[masked] = solution.metrics["psnr_heldout"]
    assert scores[True] > 14 and scores[True] > scores[False] + 1, scores


@pytest.mark.filterwarnings("default")
def test_what_is_said_of_a_scene_is_one_line_on_the_command_line(folder: Path, tmp_path: Path, capsys):
    shutil.copytree(folder, tmp_path / "mine")
    content = json.loads((tmp_path / "mine" / "transforms.json").read_text())
    (tmp_path / "mine" / "transforms.json").write_text(json.dumps(content | {"ply_file_path": "cloud.ply"}))
    words = ["run", "problems.nerf.photographs:NeRF", "--data", str(tmp_path / "mine"), "--out", str(tmp_path / "run")]
    assert run_cli([*words, *QUICK, "--frames", "0", "--mesh", "0", "--steps", "1"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert sum("keys that are not read: 'ply_file_path' (its points are not read)" in line for line in said) == 1
    assert sum("one colour along their borders, 1, 1, 1" in line for line in said) == 1


SWAPS = [
    "--field.encoding grid",
    "--field.encoding positional",
    "--field.encoding ff",
    "--field ws",
    "--field siren",
    "--field wire",
    "--field gauss",
    "--field wavelet",
    "--field mfn",
    "--field modified_mlp",
    "--field.activation gaussian --field.encoding identity",
    "--factorization rwf",
    "--optimizer esgd",
    "--optimizer muon --field.depth 3",
    "--sh-degree 0",
]


@pytest.mark.parametrize("swap", SWAPS)
def test_every_swap_is_one_line(folder: Path, swap: str):
    words = ["--data", str(folder), "--background", "white", *swap.split(), *QUICK, "--steps", "2"]
    request = read_request(NeRF, words, "nfsolve run nerf")
    field = request.options["field"]
    small = {"width": 8} if "width" in field.keywords or "field" in swap else {}
    request.options["field"] = type(field)(field.func, **(field.keywords | small))
    solution = nf.solve(request.problem, **request.options, report=None)
    assert not solution.failed
    assert math.isfinite(solution.metrics["psnr_heldout"])


def test_mistakes_are_named(folder: Path):
    with pytest.raises(InputError, match="nerf needs photographs. Give --data PATH"):
        nf.solve(NeRF(), steps=1, report=None)
    with pytest.raises(InputError, match="background must be .* or three numbers as in 0.2,0.4,1, got '1,a,0'"):
        _ = NeRF(data=str(folder), background="1,a,0").domain
    with pytest.raises(InputError, match="must be 0 <= near < far, got near = 5 and far = 2"):
        _ = NeRF(data=str(folder), background="white", near=5.0, far=2.0).domain
    with pytest.raises(InputError, match="no ray of the"):
        _ = NeRF(data=str(folder), background="none", bounds=(50.0, 51.0, 50.0, 51.0, 50.0, 51.0)).domain
    assert NeRF(data=str(folder), background="0.2,0.4,1").background_colour == (0.2, 0.4, 1.0)
    assert NeRF(data=str(folder), background="none").background_colour == (0.0, 0.0, 0.0)
    with pytest.warns(UserWarning, match="one colour along their borders, 1, 1, 1, which is taken"):
        assert NeRF(data=str(folder)).background_colour == (1.0, 1.0, 1.0)


ABSORPTION = {"size": 12, "views": 4, "points": 500, "cells": 8, "frames": 2, "video": 16, "mesh": 24}


def test_the_exact_volume_explains_its_xray_views():
    problem = NeRFAbsorption(**(ABSORPTION | {"samples": 1500, "points": 45_000}))
    data = problem.load("cpu", torch.float64)

    def exact(points: torch.Tensor) -> torch.Tensor:
        return phantom_values(SHEPP_LOGAN_3D, points)

    residual = problem.residuals(exact, problem.sample(data, SamplerState(), torch.Generator().manual_seed(0)))[
        "colour"
    ]
    assert residual.shape == (30, 3)
    assert float(residual.abs().max()) < 2e-3
    scores = problem.metrics(exact, data)
    assert scores["psnr_heldout"] > 60
    assert scores["relative_l2/mu"] == 0


def test_xray_views_run_from_the_command_line(tmp_path: Path):
    words = [word for name, value in ABSORPTION.items() for word in (f"--{name}", str(value))]
    out = tmp_path / "run"
    assert run_cli(["run", "problems.nerf.absorption:NeRFAbsorption", *words, "--steps", "3", "--out", str(out)]) == 0
    assert "relative_l2/mu" in json.loads((out / "metrics.json").read_text())
    written = {path.name for path in out.iterdir()}
    assert {"heldout_0.png", "orbit.gif", "solution.png"} <= written
    assert not any("depth" in name or "normals" in name for name in written)


def test_a_scene_without_end_is_learned_by_drawing_it_in(tmp_path: Path):
    """A sky that only depends on the direction is far away: held-out views from elsewhere see the same one."""
    generator = torch.Generator().manual_seed(0)
    eyes = torch.rand(20, 3, generator=generator, dtype=torch.float64) - 0.5
    ahead = torch.rand(20, 3, generator=generator, dtype=torch.float64) - 0.5 + torch.tensor([0.0, 1.5, 0.0])
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    poses = torch.cat([look_at(eye[None], eye + way, up) for eye, way in zip(eyes, ahead, strict=True)])
    views = Cameras.with_angle(poses, 12, 12, 1.2)
    (tmp_path / "images").mkdir()
    frames = []
    for i, pose in enumerate(poses):
        sky = 0.5 + 0.5 * torch.sin(3 * views.rays(*views.pixels(i))[1])
        iio.imwrite(tmp_path / "images" / f"{i:02d}.png", (255 * sky).round().byte().reshape(12, 12, 3).numpy())
        frames.append({"file_path": f"images/{i:02d}.png", "transform_matrix": pose.tolist()})
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 1.2, "frames": frames}))
    small = {"samples": 48, "cells": 8, "points": 4000, "sh_degree": 0, "frames": 0, "mesh": 0}
    small |= {"data": str(tmp_path), "background": "none", "hold_out": 4, "bounds": (-1, 1) * 3}
    scores = {}
    for unbounded in (True, False):
        problem = NeRF(unbounded=unbounded, **small)
        field = nf.MLP.for_problem(problem, width=32, depth=2, encoding=nf.GaussianFourier(16, scale=0.3), seed=0)
        adam = partial(torch.optim.Adam, lr=5e-3)
        scores[unbounded] = nf.solve(problem, field, adam, steps=200, schedule="cosine", seed=0, report=None)
    best, boxed = (scores[key].metrics["psnr_heldout"] for key in (True, False))
    assert best > 22 and best > boxed + 6
    trained = scores[True].problem.trained(scores[True].field)
    seen = trained.render(trained.cameras, 0)
    assert float(seen.depth.median()) > 2.0, "beyond the cube of the cameras"


def test_the_box_is_drawn_in_around_what_is_seen_but_not_that_of_older_runs(tmp_path: Path):
    write_transforms(tmp_path / "mine", ball())
    wide = NeRF(data=str(tmp_path / "mine"), background="white", tight=False)
    tight = replace(wide, tight=True)
    assert tight.step < 0.6 * wide.step
    assert tight.photographs["test"].bounds == tight.photographs["train"].bounds == tight.domain.bounds
    given = replace(tight, bounds=(-1, 1, -1, 1, -1, 1))
    assert given.domain.bounds == ((-1, 1),) * 3
    words = ["run", "nerf", "--data", str(tmp_path / "mine"), "--background", "white", *QUICK, "--steps", "1"]
    assert run_cli([*words, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["problem"]["parameters"].pop("tight") is True
    assert nf.reopen(tmp_path / "run").problem.domain.bounds == tight.domain.bounds
    assert Plan.from_config(config)[0].domain.bounds == wide.domain.bounds
