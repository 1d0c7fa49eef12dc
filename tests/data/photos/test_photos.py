"""Photographs: small scenes written to every layout and read back, and each mistake by name.

Kinds of fault of the reader: keys that are missing, of a wrong type, out of range, in degrees, contradicting each other
or not read; names of two spellings, of frames that are not there, or of files outside of the scene's folder; poses that
no camera can have; masks and transparency; pixels without a scale; damaged, deep and huge JSON; damaged archives and
bombs; arrays of other shapes and types.
"""

import json
import math
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.photos import Photographs, read_photographs, write_transforms
from nfsolve.forward.cameras import Cameras, dome, look_at

BOX = ((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0))


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def seen(directions: Tensor) -> Tensor:
    """The analytic scene: a sky whose colour is the direction in which one looks."""
    return 0.5 + 0.5 * directions


def sky(n: int = 9, fisheye: bool = False) -> Photographs:
    """Photographs of the sky by n cameras of which no two have the same focal length, centre, size or lens."""
    step = torch.arange(n, dtype=torch.float64)[:, None]
    tangential = tensor([[0.0, 0.0] if fisheye else [0.001, -0.002]])
    cameras = Cameras(
        poses=dome(n, 4.0, (0.1, 1.2)),
        focals=torch.cat([16 + step, 17 + step], -1),
        centres=torch.cat([10.3 + step / 9, 7.6 - step / 9], -1),
        sizes=torch.cat([20 + step, 16 + 2 * step], -1).long(),
        distortion=torch.cat([0.01 * step - 0.05, 0.01 + 0 * step, 0 * step, 0 * step, tangential * step], -1),
        fisheye=fisheye,
    )
    names = tuple(f"{i:04d}" for i in range(n))
    empty = Photographs(torch.zeros(int(cameras.sizes.prod(-1).sum()), 3), cameras, names, 1.0, 9.0, BOX)
    return replace(empty, colours=seen(empty.all_rays().viewing))


def blender(folder: Path, splits: dict[str, int], channels: int = 4, **head: Any) -> Path:
    """Write a scene in the Blender layout: a disc, opaque in the left half and half transparent in the right."""
    for split, n in splits.items():
        (folder / split).mkdir(parents=True)
        frames = []
        for i, pose in enumerate(dome(n, 4.0, (0.1, 1.2), start=len(split))):
            image = np.zeros((12, 16, 4), np.uint8)
            image[3:9, 4:8] = (200, 100, 50, 255)
            image[3:9, 8:12] = (200, 100, 50, 51)
            if channels == 3:  # what is behind is no background of one colour
                image[..., 2] = np.arange(0, 240, 15)
            iio.imwrite(folder / split / f"r_{i}.png", image[..., :channels])
            frames.append({"file_path": f"./{split}/r_{i}", "rotation": 0.1, "transform_matrix": pose.tolist()})
        content = {"camera_angle_x": 0.7, "frames": frames} | head
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


def nerfstudio(folder: Path, n: int = 9, **head: Any) -> Path:
    """Write a scene with one transforms.json."""
    blender(folder, {"train": n}, channels=3)
    content = json.loads((folder / "transforms_train.json").read_text())
    (folder / "transforms_train.json").unlink()
    (folder / "transforms.json").write_text(json.dumps(content | head))
    return folder


def edit(folder: Path, change: Any) -> None:
    file = next(iter(folder.glob("transforms*.json")))
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def llff(n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Make poses_bounds and images of cameras in the plane z = 5 that look down, as LLFF has them."""
    eyes = torch.cat([0.3 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0)), torch.full((n, 1), 5.0)], -1)
    poses = look_at(eyes.double(), tensor([0.0, 0.0, 1.0]), tensor([0.0, 1.0, 0.0])).numpy()
    right, up, back, places = poses[:, :3].transpose(2, 0, 1)
    size = np.tile([120.0, 160.0, 130.0], (n, 1))
    columns = np.stack([-up, right, back, places, size], -1).reshape(n, 15)
    bounds = np.stack([np.linspace(3, 4, n), np.linspace(8, 10, n)], -1)
    images = np.random.default_rng(0).integers(0, 255, (n, 12, 16, 3)).astype(np.uint8)
    return np.concatenate([columns, bounds], -1), images


@pytest.mark.parametrize("fisheye", [False, True])
def test_a_users_own_folder_with_lenses_and_intrinsics_for_each_frame(tmp_path: Path, fisheye: bool):
    scene = sky(fisheye=fisheye)
    assert write_transforms(tmp_path / "mine", scene).name == "transforms.json"
    test = read_photographs(tmp_path / "mine", "test")
    train = read_photographs(tmp_path / "mine", "train")
    assert [len(p.cameras) for p in (train, test)] == [7, 2]
    assert (train.near, train.far, train.bounds) == (test.near, test.far, test.bounds)
    for photographs, views in ((train, [1, 2, 3, 4, 5, 6, 7]), (test, [0, 8])):
        rays = photographs.all_rays()
        number, pixels = scene.cameras[views].locate(torch.arange(len(photographs.colours)))
        for ours, theirs in zip(scene.cameras[views].rays(number, pixels), ("origins", "directions"), strict=True):
            torch.testing.assert_close(ours, getattr(rays, theirs), rtol=0, atol=1e-12)
        torch.testing.assert_close(photographs.colours.double(), seen(rays.viewing), rtol=0, atol=0.5 / 255 + 1e-6)
    torch.testing.assert_close(train.image(0).double(), scene.image(1), rtol=0, atol=0.5 / 255 + 1e-6)


def test_files_for_each_split(tmp_path: Path):
    scene = sky(5)
    for split in ("train", "test"):
        write_transforms(tmp_path, scene, split)
    assert len(read_photographs(tmp_path, "test").cameras) == 5
    assert read_photographs(tmp_path, "val").names == read_photographs(tmp_path, "test").names
    with pytest.raises(InputError, match="must have photographs in split 'some', but it has 5 train, 5 test, 5 val"):
        read_photographs(tmp_path, "some")


def test_blender_zip_composes_straight_alpha_on_white(tmp_path: Path):
    blender(tmp_path / "in" / "scene", {"train": 3, "test": 2})
    shutil.make_archive(str(tmp_path / "scene"), "zip", tmp_path / "in")
    train = read_photographs(tmp_path / "scene.zip")
    colour, image = tensor([200, 100, 50]) / 255, train.image(1).double()
    assert train.background == (1.0, 1.0, 1.0)
    torch.testing.assert_close(image[0, 0], torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(image[5, 5], colour, rtol=0, atol=1e-6)
    torch.testing.assert_close(image[5, 9], 0.2 * colour + 0.8, rtol=0, atol=1e-6)
    torch.testing.assert_close(train.cameras.focals, tensor([[8 / math.tan(0.35)] * 2] * 3))
    half = 4 * math.sin(math.atan(math.tan(0.35) * 12 / 16))  # the sphere that fills the image's height
    torch.testing.assert_close(tensor(train.bounds), tensor([[-half, half]] * 3))
    black = read_photographs(tmp_path / "scene.zip", "test", background="black").image(0)
    torch.testing.assert_close(black[5, 9].double(), 0.2 * colour, rtol=0, atol=1e-6)
    assert read_photographs(tmp_path / "scene.zip", background=(0.0, 1.0, 0.0)).image(0)[0, 0].tolist() == [0, 1, 0]


def test_one_file_is_split_by_number_or_by_its_lists(tmp_path: Path):
    folder = nerfstudio(tmp_path)
    assert read_photographs(folder, "test", hold_out=4).names == ("train/r_0", "train/r_4", "train/r_8")
    assert read_photographs(folder, "val", hold_out=4).names == ("train/r_0", "train/r_4", "train/r_8")
    assert len(read_photographs(folder, "train", hold_out=4).names) == 6
    edit(folder, lambda c: c.update(train_filenames=["./train/r_3", "train/r_1"], test_filenames=["train/r_2"]))
    with pytest.warns(UserWarning, match="6 of 9 frames are in none of the lists of names"):
        both = [read_photographs(folder, split).names for split in ("train", "test")]
    assert both == [("train/r_1", "train/r_3"), ("train/r_2",)]


def test_aabb_scale_is_a_cube_of_that_side_in_the_unit_of_instant_ngp(tmp_path: Path):
    train = read_photographs(nerfstudio(tmp_path / "a", aabb_scale=2))
    torch.testing.assert_close(tensor(train.bounds), tensor([[-1 / 0.33, 1 / 0.33]] * 3))
    moved = read_photographs(nerfstudio(tmp_path / "b", aabb_scale=1, scale=0.5, offset=[0.5, 0.0, 1.0]))
    torch.testing.assert_close(tensor(moved.bounds), tensor([[-1.0, 1.0], [0.0, 2.0], [-2.0, 0.0]]))


@pytest.mark.filterwarnings("ignore:of the box that aabb_scale")
def test_aabb_scale_bounds_an_object_before_one_colour(tmp_path: Path):
    plain = read_photographs(nerfstudio(tmp_path / "a"))
    wide = nerfstudio(tmp_path / "b", aabb_scale=16)
    assert read_photographs(wide, background="white").bounds == plain.bounds
    with pytest.warns(UserWarning, match="makes the box 23 times as wide as what all cameras see; .* give background"):
        assert read_photographs(wide).bounds[0] == pytest.approx((-8 / 0.33, 8 / 0.33))
    small = read_photographs(nerfstudio(tmp_path / "c", aabb_scale=0.5, scale=0.5, offset=1), background="white")
    torch.testing.assert_close(tensor(small.bounds), tensor([[plain.bounds[0][0], -0.5]] * 3))


def test_frames_override_and_sizes_are_checked(tmp_path: Path):
    folder = nerfstudio(tmp_path, camera_angle_x=None, fl_x=20.0, cy=5.5, w=16, h=12)
    edit(folder, lambda c: c["frames"][1].update(fl_x=25.0, fl_y=26.0, cx=7.5))
    cameras = read_photographs(folder, hold_out=2).cameras
    assert cameras.focals[:2].tolist() == [[25, 26], [20, 20]]
    assert cameras.centres[:2].tolist() == [[7.5, 5.5], [8, 5.5]]
    edit(folder, lambda c: c["frames"][3].update(w=32, h=20))
    with pytest.raises(InputError, match="'train/r_3' has 16 x 12 pixels, but w and h say 32 x 20. Correct"):
        read_photographs(folder)


@pytest.mark.parametrize("factor", [2, 3, 1.6])
def test_downscaled_photographs_are_averages_with_the_same_rays(tmp_path: Path, factor: float):
    folder = nerfstudio(tmp_path, k1=0.05, cx=7.0)
    full, small = read_photographs(folder), read_photographs(folder, downscale=factor)
    width, height = small.cameras.sizes[0].tolist()
    assert (width, height) == (round(16 / factor), round(12 / factor))
    fine = full.image(2).double().repeat_interleave(width, 1).repeat_interleave(height, 0)
    averages = fine.reshape(height, 12, width, 16, 3).mean((1, 3))
    torch.testing.assert_close(small.image(2).double(), averages, rtol=0, atol=1e-6)
    corners = tensor([[0, 0], [1, 0.25], [1, 1]])
    views = torch.tensor([2, 2, 2])
    for ours, theirs in zip(
        full.cameras.rays(views, corners * tensor([16, 12])),
        small.cameras.rays(views, corners * tensor([width, height])),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_llff_folder_and_npz_are_the_same_scene(tmp_path: Path):
    rows, images = llff()
    (tmp_path / "images_8").mkdir()
    for i, image in enumerate(images):
        iio.imwrite(tmp_path / "images_8" / f"IMG_{i:02d}.png", image)
    np.save(tmp_path / "poses_bounds.npy", rows)
    np.savez(tmp_path / "scene.npz", images=images, poses_bounds=rows)
    train, test = (read_photographs(tmp_path, split) for split in ("train", "test"))
    assert test.names == ("IMG_00.png", "IMG_08.png")
    other = read_photographs(tmp_path / "scene.npz")
    torch.testing.assert_close(other.colours, train.colours)
    torch.testing.assert_close(other.cameras.poses, train.cameras.poses)
    torch.testing.assert_close(train.cameras.focals, torch.full((7, 2), 13.0, dtype=torch.float64))
    assert train.ndc == pytest.approx((8 / 13, 6 / 13))
    poses = torch.cat([train.cameras.poses, test.cameras.poses])
    torch.testing.assert_close(poses[:, :3, 3].mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    axis = poses[:, :3, 2].sum(0)
    torch.testing.assert_close(axis / axis.norm(), tensor([0.0, 0.0, 1.0]), rtol=0, atol=1e-12)
    # All cameras were made to look at one point, 5 - 1 below their plane; 1 is now 3/4 of the nearest bound, 3.
    train_rows = np.delete(np.arange(9), [0, 8])
    distance = torch.from_numpy(np.hypot(np.hypot(*rows[train_rows][:, [3, 8]].T), 4.0)) / (0.75 * 3)
    target = train.cameras.poses[:, :3, 3] - distance[:, None] * train.cameras.poses[:, :3, 2]
    torch.testing.assert_close(target, target[:1].expand_as(target), rtol=0, atol=1e-6)
    assert (train.cameras.poses[:, 1, 1] > 0.9).all(), "what was up is up"
    assert (train.near, train.far) == (1.0, pytest.approx(10 / 2.25))


def test_ndc_rays_cross_the_whole_box_and_world_rays_lie_between_near_and_far(tmp_path: Path):
    rows, images = llff()
    np.savez(tmp_path / "scene.npz", images=images, poses_bounds=rows)
    rays = read_photographs(tmp_path / "scene.npz").all_rays()
    ends = rays.origins + rays.far * rays.directions
    torch.testing.assert_close(rays.origins[:, 2], torch.full_like(ends[:, 2], -1.0))
    torch.testing.assert_close(ends[:, 2], torch.ones_like(ends[:, 2]), rtol=0, atol=1e-5)
    world = read_photographs(tmp_path / "scene.npz", ndc=False)
    rays = world.all_rays()
    torch.testing.assert_close(rays.near, torch.full_like(rays.near, 4 / 3))
    assert (rays.far <= 10 / 2.25 + 1e-12).all()
    assert (rays.far > 0.9 * 10 / 2.25).all()


def test_rays_are_cut_and_rays_that_miss_say_so(tmp_path: Path):
    train = read_photographs(nerfstudio(tmp_path), bounds=((-0.3, 0.3),) * 3, near=3.9, far=4.1)
    rays = train.all_rays()
    hit = (rays.far > 0)[:, 0]
    assert 0 < int(hit.sum()) < len(hit)
    assert (rays.near[hit] >= 3.9).all() and (rays.far[hit] <= 4.1).all()
    assert not rays.near[~hit].any()
    middle = rays.origins + 0.5 * (rays.near + rays.far) * rays.directions
    assert (middle[hit].abs() <= 0.3).all()


def test_poses_can_be_replaced_and_all_moves_to_another_type(tmp_path: Path):
    train = read_photographs(nerfstudio(tmp_path)).to("cpu", torch.float32)
    views, pixels = train.cameras.locate(torch.tensor([5, 200]))
    poses = train.cameras.poses.clone().requires_grad_()
    rays = train.rays(views, pixels, poses)
    assert {rows.dtype for rows in vars(rays).values()} == {torch.float32}
    sum(rows.sum() for rows in vars(rays).values()).backward()  # type: ignore[union-attr]
    assert poses.grad is not None and poses.grad[:2].abs().sum() > 0 and not poses.grad[2:].any()


@pytest.mark.parametrize("fisheye", [False, True])
def test_rays_of_a_mini_batch_stay_on_their_device(fisheye: bool):
    scene = sky(fisheye=fisheye).to("meta", torch.float32)
    rays = scene.rays(*scene.cameras.locate(torch.arange(7, device="meta")))
    assert {rows.device.type for rows in vars(rays).values()} == {"meta"}


def test_a_path_for_videos_goes_around_the_box_or_sways_before_it(tmp_path: Path):
    path = read_photographs(nerfstudio(tmp_path / "a", aabb_scale=1)).path(10)
    places = path.cameras.poses[:, :3, 3]
    torch.testing.assert_close(places.norm(dim=-1), torch.full((10,), 4.0, dtype=torch.float64))
    assert len(path.cameras) == 10 and len(path.colours) == 0
    assert (path.all_rays().far > 0).any()
    rows, images = llff()
    np.savez(tmp_path / "scene.npz", images=images, poses_bounds=rows)
    train = read_photographs(tmp_path / "scene.npz")
    sway = train.path(6).cameras
    assert (sway.poses[:, :3, 3].abs().amax(0) <= train.cameras.poses[:, :3, 3].abs().amax(0)).all()
    assert (sway.poses[:, 2, 2] > 0.9).all()


MISTAKES: dict[str, Any] = {
    "must have a list 'frames'": lambda c: c.pop("frames"),
    "frame 2 of 'transforms.json' must have 'transform_matrix'": lambda c: c["frames"][2].pop("transform_matrix"),
    "frame 1 of 'transforms.json' must have 'file_path'": lambda c: c["frames"][1].pop("file_path"),
    "frame 0 of .* must have a focal length, .* 'fl_x' or 'camera_angle_x'": lambda c: c.pop("camera_angle_x"),
    "'fl_x' of 'transforms.json' must be a finite number, got wide": lambda c: c.update(fl_x="wide"),
    "'fl_x' of 'transforms.json' must be a finite number, got .1, 2.": lambda c: c.update(fl_x=[1, 2]),
    "'fl_x' of 'transforms.json' must be positive, got -3": lambda c: c.update(fl_x=-3),
    "'w' of 'transforms.json' must be a finite number, got 1000": lambda c: c.update(w=10**400),
    r"'transform_matrix' of frame 3 of .* \(4, 4\) or \(3, 4\), but it has \(3, 3\)": lambda c: c["frames"][3].update(
        transform_matrix=[[1, 0, 0]] * 3
    ),
    "'transform_matrix' of frame 3 of .* must be finite numbers": lambda c: c["frames"][3].update(
        transform_matrix=[[1], [2, 3]]
    ),
    "unknown camera model 'OPENCV_FISHEY': did you mean": lambda c: c.update(camera_model="opencv_fishey"),
    "must have one camera model": lambda c: c["frames"][2].update(camera_model="OPENCV_FISHEYE"),
    "there is no 'train/r_1no', 'train/r_2no'": lambda c: [
        c["frames"][i].update(file_path=name) for i, name in ((1, "train/r_1no"), (2, "train/r_2no"))
    ],
    "aabb_scale and scale must be positive, got -1": lambda c: c.update(aabb_scale=-1),
    r"'offset' must be a number or three, but it has shape \(2,\)": lambda c: c.update(aabb_scale=1, offset=[1, 2]),
    r"the distortion of view 'train/r_1' cannot be undone at pixel": lambda c: c["frames"][1].update(k1=-40.0),
    "but it has 0 train, 0 val, 0 test": lambda c: c.update(frames=[]),
    "must have photographs in split 'train'": lambda c: c.update(frames=c["frames"][:1]),
    "do not look at one point": lambda c: [f.update(transform_matrix=np.eye(4).tolist()) for f in c["frames"]],
    "'camera_angle_x' of 'transforms.json' .* radians, .* got 40.1. Write 0.699877": lambda c: c.update(
        camera_angle_x=40.1
    ),
    "'camera_angle_y' of 'transforms.json' .* radians, .* got 3.2. Correct": lambda c: c.update(camera_angle_y=3.2),
    "must not have 'mask', which is not read. Give the masks as mask_path": lambda c: c["frames"][4].update(mask="m"),
    "must not have 'k5', which is not read. Undistort": lambda c: c.update(k5=0.1),
    "must not have 'rolling_shutter'": lambda c: c.update(rolling_shutter=[0, 0, 0.1]),
    "'distortion_params' of 'transforms.json' .* k1, k2, .* has 4 numbers": lambda c: c.update(
        distortion_params=[0.1, 0, 0, 0]
    ),
    "'k1' of 'transforms.json' .* that of 'distortion_params', 0.1, got 0.2": lambda c: c.update(
        k1=0.2, distortion_params=[0.1, 0, 0, 0, 0, 0]
    ),
    "must name each image once, but it has two frames of 'train/r_0'": lambda c: c["frames"][1].update(
        file_path="./train/r_0"
    ),
    "'train_filenames' of .* no frame has the file_path 'train/r_99' and 1 others": lambda c: c.update(
        train_filenames=["train/r_0", "train/r_99", "r_0"]
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_in_transforms_are_named(tmp_path: Path, message: str):
    folder = nerfstudio(tmp_path)
    edit(folder, MISTAKES[message])
    with pytest.raises(InputError, match=message):
        read_photographs(folder)


@pytest.mark.parametrize(
    ("column", "factor", "message"),
    [
        (0, -1.0, r"pose of 'train/r_3' .* it is mirrored: its determinant is -1, and R R\^T differs from 1 by .*e-"),
        (
            slice(0, 2),
            2.0,
            r"pose of 'train/r_3' .* it is not rigid: its determinant is 0.864, and R R\^T differs from 1 by",
        ),
        (1, math.nan, "'transform_matrix' of frame 3 of .* must be finite numbers"),
    ],
)
def test_poses_that_no_camera_can_have_are_named(tmp_path: Path, column: Any, factor: float, message: str):
    folder = nerfstudio(tmp_path)

    def spoil(content: dict[str, Any]) -> None:
        pose = np.array(content["frames"][3]["transform_matrix"])
        pose[:3, column] *= factor
        content["frames"][3]["transform_matrix"] = pose.tolist()

    edit(folder, spoil)
    with pytest.raises(InputError, match=message):
        read_photographs(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"near": 5.0, "far": 5.0}, "must be 0 <= near < far, got near = 5 and far = 5"),
        ({"near": -1.0}, "got near = -1 and far"),
        ({"bounds": ((0.0, 1.0), (1.0, 0.0), (0.0, 1.0))}, "the box must .* with low < high, got"),
        ({"bounds": ((90.0, 91.0),) * 3}, "no ray of the 7 views meets"),
        ({"far": 1.0, "near": 0.1}, "no ray of the 7 views meets .* near = 0.1 and far = 1"),
        ({"downscale": 0.5}, "downscale must be at least 1, got 0.5"),
        ({"background": "wite"}, "unknown background 'wite': did you mean 'white'"),
        ({"background": (1.0, 2.0, 0.0)}, "red, green and blue in"),
        ({"hold_out": 1}, "hold_out must be at least 2, got 1"),
        ({"ndc": True}, "need a positive near plane, got near = None"),
        ({"ndc": True, "near": 1.0}, "view 'train/r_1' does not look along -z"),
    ],
)
def test_options_that_cannot_be_are_named(tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        read_photographs(nerfstudio(tmp_path), **options)


def test_opacities_are_kept_where_all_photographs_are_transparent(tmp_path: Path):
    folder = blender(tmp_path / "a", {"train": 3, "test": 2})
    train = read_photographs(folder)
    assert train.opacity is not None
    assert train.opacity.shape == (3 * 12 * 16, 1)
    assert sorted({round(value, 4) for value in train.opacity.flatten().tolist()}) == [0.0, 0.2, 1.0]
    half = read_photographs(folder, downscale=2).opacity
    assert half is not None
    assert float(half.mean()) == pytest.approx(float(train.opacity.mean()), rel=1e-5)
    image = iio.imread(folder / "train/r_1.png")
    iio.imwrite(folder / "train/r_1.png", image[..., :3])
    assert read_photographs(folder).opacity is None, "one is opaque"


def test_transparent_photographs_are_put_before_white_which_is_said_unless_blender_made_them(tmp_path: Path):
    blender(tmp_path / "a", {"train": 3}, fl_x=8 / math.tan(0.35))
    (tmp_path / "a" / "transforms_train.json").rename(tmp_path / "a" / "transforms.json")
    with pytest.warns(UserWarning, match="the photographs are transparent, and white is put behind them"):
        assert read_photographs(tmp_path / "a").background == (1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="image 'train/r_1' is transparent in 88 % .*Give background='white'"):
        read_photographs(tmp_path / "a", background="none")
    assert read_photographs(tmp_path / "a", background="black").background == (0.0, 0.0, 0.0)
    assert read_photographs(nerfstudio(tmp_path / "b")).background is None


@pytest.mark.parametrize("brightness", [0, 255])
def test_opaque_renderings_have_the_background_that_they_show(tmp_path: Path, brightness: int):
    folder = blender(tmp_path, {"train": 3, "test": 1})
    for file in folder.rglob("*.png"):
        rgba = iio.imread(file).astype(float)
        share = rgba[..., 3:] / 255
        iio.imwrite(file, (rgba[..., :3] * share + brightness * (1 - share)).astype(np.uint8))
    if brightness:
        assert read_photographs(folder).background == (1, 1, 1)
        return
    with pytest.warns(UserWarning, match="one colour along their borders, 0, 0, 0"):
        assert read_photographs(folder).background == (0, 0, 0)


def test_what_is_no_scene_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="must hold posed photographs, by transforms.json"):
        read_photographs(tmp_path)
    (tmp_path / "transforms.json").write_text("{'a'}")
    with pytest.raises(InputError, match=r"transforms.json' must be valid JSON, but it is not \("):
        read_photographs(tmp_path)
    (tmp_path / "bad.zip").write_text("nothing")
    with pytest.raises(InputError, match=r"must be a folder, .* but '.*bad.zip' could not be read"):
        read_photographs(tmp_path / "bad.zip")
    with pytest.raises(InputError, match="data file 'nowhere' was not found"):
        read_photographs("nowhere")
    np.savez(tmp_path / "bad.npz", images_train=np.zeros((2, 4, 4, 3)), poses_train=np.zeros((3, 4, 4)))
    with pytest.raises(InputError, match=r"'poses_train' of '.*' must have shape \(2, 4, 4\), but it has \(3, 4, 4\)"):
        read_photographs(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    with pytest.raises(InputError, match="must hold images_train and poses_train, .* but it has pictures"):
        read_photographs(tmp_path / "other.npz")


def test_damaged_images_are_named(tmp_path: Path):
    folder = nerfstudio(tmp_path)
    (folder / "train" / "r_1.png").write_text("no picture")
    with pytest.raises(InputError, match=r"image '.*r_1.png' must be a picture"):
        read_photographs(folder)


def test_mistakes_in_poses_bounds_are_named(tmp_path: Path):
    rows, images = llff()

    def read(rows: np.ndarray, images: np.ndarray) -> Photographs:
        np.savez(tmp_path / "scene.npz", images=images, poses_bounds=rows)
        return read_photographs(tmp_path / "scene.npz")

    with pytest.raises(InputError, match=r"must have shape \(images, 17\), but it has \(9, 17\) for 8 images"):
        read(rows, images[:8])
    with pytest.raises(InputError, match="image '0001' must have the shape that poses_bounds says, .* 12 x 12 pixels"):
        read(rows, images[:, :, :12])
    with pytest.raises(InputError, match="must be 0 < near < far, but poses_bounds says near = 12 and far = 10"):
        read(np.concatenate([rows[:, :15], np.maximum(rows[:, 15:16], 12), rows[:, 16:]], -1), images)
    mirrored = rows.copy()
    mirrored[2, [0, 5, 10]] *= -1
    with pytest.raises(InputError, match="the pose of '0002' .* it is mirrored: its determinant is -1"):
        read(mirrored, images)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (16, math.nan, "must be 0 < near < far"),
        (16, math.inf, "must be 0 < near < far"),
        (slice(0, 3), 0.0, "the pose of '0002' .* not rigid"),
        (14, 0.0, "height, width and focal length of '0002' must be positive"),
        (4, -3.0, "height, width and focal length of '0002' must be positive"),
    ],
)
def test_rows_of_poses_bounds_that_cannot_be_are_named(tmp_path: Path, column: Any, value: float, message: str):
    rows, images = llff()
    rows[2, column] = value
    np.savez(tmp_path / "scene.npz", images=images, poses_bounds=rows)
    with pytest.raises(InputError, match=message):
        read_photographs(tmp_path / "scene.npz")


def test_cameras_that_look_everywhere_have_no_mean(tmp_path: Path):
    rows, images = llff(8)
    half_turn = np.diag([1.0, -1, -1])
    for row in rows[1::2]:  # as its neighbour, but looking back
        row[:15] = np.concatenate([half_turn @ row[:15].reshape(3, 5)[:, :4], row[:15].reshape(3, 5)[:, 4:]], 1).ravel()
    rows[1::2, [2, 7, 12]] = -rows[::2, [2, 7, 12]]
    rows[1::2, [1, 6, 11]] = -rows[::2, [1, 6, 11]]
    rows[1::2, [0, 5, 10]] = rows[::2, [0, 5, 10]]
    np.savez(tmp_path / "scene.npz", images=images, poses_bounds=rows)
    with pytest.raises(InputError, match="must look into one half of space on average, but their axes cancel"):
        read_photographs(tmp_path / "scene.npz")


def arrays_of_a_scene() -> dict[str, Any]:
    images = np.full((3, 4, 6, 3), 0.5)
    return {"images_train": images, "poses_train": dome(3, 4.0, (0.1, 1.2)).numpy(), "focal": 8.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images_train": np.full((3, 4, 6, 3), 255.0)},
            "'train_0000' .* values from 0 to 1, .* reach from 255 to 255",
        ),
        ({"images_train": np.full((3, 4, 6, 3), 200, np.int32)}, "'train_0000' .* int32 values reach"),
        ({"images_train": np.full((3, 4, 6, 3), np.nan)}, "'train_0000' .* must hold values from 0 to 1"),
        ({"images_train": np.full((3, 4, 6, 3), "a")}, "'train_0000' .* not text"),
        ({"poses_train": np.ones((3, 4, 4)) * 1j}, "'poses_train' of .* not complex numbers"),
        ({"poses_train": np.zeros((3, 4, 4))}, "the pose of 'train_0000' .* not rigid"),
        ({"names_train": ["a", "b"]}, "must name each of its 3 images, but it has 2 names"),
        ({"focal": np.ones(2)}, "'focal' of .* must be a finite number"),
        ({"focal": np.nan}, "'focal' of .* must be a finite number"),
        ({"camera_angle_x": 50.0}, "'camera_angle_x' of .* in radians"),
        ({"near": "close"}, "'near' of .* not text"),
    ],
)
def test_arrays_that_cannot_be_are_named(tmp_path: Path, changes: dict[str, Any], message: str):
    np.savez(tmp_path / "scene.npz", **(arrays_of_a_scene() | changes))
    with pytest.raises(InputError, match=message):
        read_photographs(tmp_path / "scene.npz")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_arrays_of_pixels_have_their_scale(tmp_path: Path, dtype: Any):
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    images = np.zeros((3, 4, 6, 3), dtype)
    images[:, 1] = white
    np.savez(tmp_path / "scene.npz", **(arrays_of_a_scene() | {"images_train": images}))
    assert read_photographs(tmp_path / "scene.npz", background="none").image(0)[:, 0, 0].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("spelling", ["../{}/train/{}", "{}/train/{}", "train/{}"])
def test_scenes_read_only_their_own_folder(tmp_path: Path, spelling: str):
    """Names that leave it by .., by whole paths or by links are refused; those that come back are not."""
    mine, other = nerfstudio(tmp_path / "mine"), nerfstudio(tmp_path / "other")
    assert [len(read_photographs(folder).names) for folder in (mine, other)] == [7, 7]
    start = {"../": "", "{}/": str(tmp_path) + "/", "tra": ""}[spelling[:3]]

    def named(folder: str) -> None:
        for i in range(9):
            name = f"r_{i}.png"
            text = spelling.format(name) if spelling.startswith("train") else spelling.format(folder, name)
            edit(mine, lambda c, i=i, text=text: c["frames"][i].update(file_path=start + text))

    named("mine")
    assert len(read_photographs(mine).names) == 7
    if spelling.startswith("train"):
        shutil.rmtree(mine / "train")
        (mine / "train").symlink_to(other / "train")
    named("other")
    with pytest.raises(InputError, match=r"must lie in its folder, but it names .*other/train/r_0.*--allow-outside"):
        read_photographs(mine)
    linked = spelling.startswith("train")
    with nullcontext() if linked else pytest.warns(UserWarning, match="not used: 9 in 'train'"):
        assert len(read_photographs(mine, allow_outside=True).names) == 7


@pytest.mark.parametrize("inside", ["images/IMG_03.png", "poses_bounds.npy"])
def test_links_out_of_a_scene_of_llff_are_refused(tmp_path: Path, inside: str):
    rows, images = llff()
    (tmp_path / "scene" / "images").mkdir(parents=True)
    for i, image in enumerate(images):
        iio.imwrite(tmp_path / "scene" / "images" / f"IMG_{i:02d}.png", image)
    np.save(tmp_path / "scene" / "poses_bounds.npy", rows)
    (tmp_path / "scene" / inside).rename(tmp_path / "there")
    (tmp_path / "scene" / inside).symlink_to(tmp_path / "there")
    with pytest.raises(InputError, match=rf"it names '.*{inside}', which is '.*there'"):
        read_photographs(tmp_path / "scene")
    assert len(read_photographs(tmp_path / "scene", allow_outside=True).names) == 7


def test_a_linked_transforms_json_is_refused(tmp_path: Path):
    folder = nerfstudio(tmp_path / "mine")
    (folder / "transforms.json").rename(tmp_path / "there.json")
    (folder / "transforms.json").symlink_to(tmp_path / "there.json")
    with pytest.raises(InputError, match=r"transforms.json', which is '.*there.json'"):
        read_photographs(folder)
    linked = tmp_path / "linked"
    linked.symlink_to(nerfstudio(tmp_path / "other"))  # the folder that the user names may be a link itself
    assert len(read_photographs(linked).names) == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(distortion_params=[0.05, 0, 0, 0, 0.001, 0]),
        lambda c: [f.update(distortion_params=[0.05, 0, 0, 0, 0.001, 0]) for f in c["frames"]],
        lambda c: c.update(k1=0.05, p1=0.001, k2=None, distortion_params=[0.05, 0, 0, 0, 0.001, 0]),
    ],
)
def test_distortion_has_two_spellings(tmp_path: Path, change: Any):
    plain = read_photographs(nerfstudio(tmp_path / "a", k1=0.05, p1=0.001))
    folder = nerfstudio(tmp_path / "b")
    edit(folder, change)
    assert plain.cameras.distortion is not None
    assert torch.equal(read_photographs(folder).cameras.distortion, plain.cameras.distortion)


@pytest.mark.parametrize("spell", [lambda n: n.replace("/", "\\"), lambda n: f"./{n}.png", lambda n: f"a/../{n}"])
def test_names_of_frames_have_one_spelling(tmp_path: Path, spell: Any):
    folder = nerfstudio(tmp_path)
    edit(folder, lambda c: c.update(train_filenames=[spell(f["file_path"]) for f in c["frames"][:4]]))
    edit(folder, lambda c: c.update(test_filenames=[f["file_path"] for f in c["frames"][4:]]))
    edit(folder, lambda c: c["frames"][1].update(file_path="train\\r_1"))
    assert len(read_photographs(folder).names) == 4


def test_the_json_file_itself_may_be_named(tmp_path: Path):
    folder = nerfstudio(tmp_path / "a")
    (folder / "transforms.json").rename(folder / "mine.json")
    assert len(read_photographs(folder / "mine.json").names) == 7
    split = blender(tmp_path / "b", {"train": 3, "test": 2})
    assert len(read_photographs(split / "transforms_test.json", "train").names) == 3


def test_keys_that_are_not_read_are_named(tmp_path: Path):
    folder = nerfstudio(tmp_path, time_offset=1, ply_file_path="a.ply")
    with pytest.warns(UserWarning, match="'transforms.json' has keys that are not read: 'time_offset'"):
        read_photographs(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"frames": [1]}',
        b'{"frames": {}}',
        b"[]",
        b"null",
    ],
)
def test_damaged_and_deep_json_ends_in_a_sentence(tmp_path: Path, content: bytes):
    folder = nerfstudio(tmp_path)
    (folder / "transforms.json").write_bytes(content)
    with pytest.raises(InputError, match=r"transforms.json' must (be valid JSON|have a list 'frames')"):
        read_photographs(folder)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path):
    file = nerfstudio(tmp_path) / "transforms.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read_photographs(tmp_path).names) == 7


def test_damaged_archives_and_bombs_end_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nerfstudio(tmp_path / "in")
    path = Path(shutil.make_archive(str(tmp_path / "scene"), "zip", tmp_path / "in"))
    whole = path.read_bytes()
    assert len(read_photographs(path).names) == 7
    for content in (b"", b"PK", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"scene.zip' could not be read"):
            read_photographs(path)
    where = whole.find(b"train/r_1.png") + 60
    path.write_bytes(whole[:where] + bytes([whole[where] ^ 255]) + whole[where + 1 :])
    with pytest.raises(InputError, match=r"r_1.png' must be a whole file, but it could not be read"):
        read_photographs(path)
    path.write_bytes(whole)
    monkeypatch.setattr("nfsolve.data.photos.frames.LARGEST", 100)
    with pytest.raises(InputError, match="must be a whole file, .* GiB, and .* are allowed"):
        read_photographs(path)


def test_lego_arrays_and_lego_zip_are_one_scene(data_folder: Path):
    if not all((data_folder / name).is_file() for name in ("nerf_lego_200.npz", "nerf_lego_400.zip")):
        pytest.skip("needs nerf_lego_200.npz and nerf_lego_400.zip")
    few = read_photographs("nerf_lego_200.npz", "test", downscale=2)
    same = read_photographs("nerf_lego_400.zip", "test", downscale=4)
    assert few.cameras.sizes[0].tolist() == same.cameras.sizes[0].tolist() == [100, 100]
    torch.testing.assert_close(few.cameras[list(range(20))].poses, same.cameras.poses, rtol=0, atol=1e-6)
    assert float((few.image(3) - same.image(3)).square().mean().sqrt()) < 0.002
    assert (few.near, few.far) == (2.0, 6.0)


def test_fern_is_read(data_folder: Path):
    if not (data_folder / "nerf_llff_fern_8.npz").is_file():
        pytest.skip("needs nerf_llff_fern_8.npz")
    test = read_photographs("nerf_llff_fern_8", "test", downscale=3)
    assert len(test.cameras) == 3 and test.cameras.sizes[0].tolist() == [168, 126]
    assert test.ndc is not None and test.ndc[0] == pytest.approx(0.6183, abs=1e-4)
