"""Scenes as COLMAP, Polycam and Record3D leave them: small files written here are the cameras they came from."""

import json
import struct
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from nfsolve._core.errors import InputError
from nfsolve.data.photos import read_photographs
from nfsolve.data.photos.colmap import upright
from nfsolve.data.photos.colmap_files import MODELS
from nfsolve.forward.cameras import dome

WIDTH, HEIGHT, N = 16, 12, 6
WORLD = Rotation.from_euler("xyz", [2.0, 0.3, -0.4]).as_matrix()  # COLMAP's axes are any
FLIP = np.diag([1.0, -1.0, -1.0])
PARAMETERS = {  # of each model, in COLMAP's order
    "SIMPLE_PINHOLE": [20.0, 8.0, 6.0],
    "PINHOLE": [20.0, 21.0, 8.5, 6.0],
    "SIMPLE_RADIAL": [20.0, 8.0, 6.0, 0.1],
    "RADIAL": [20.0, 8.0, 6.0, 0.1, -0.02],
    "OPENCV": [20.0, 21.0, 8.5, 6.0, 0.1, -0.02, 0.01, -0.005],
    "OPENCV_FISHEYE": [20.0, 21.0, 8.5, 6.0, 0.05, -0.02, 0.001, 0.0],
    "FULL_OPENCV": [20.0, 21.0, 8.5, 6.0, 0.1, -0.02, 0.01, -0.005, 0.003, 0, 0, 0],
    "SIMPLE_RADIAL_FISHEYE": [20.0, 8.0, 6.0, 0.05],
    "RADIAL_FISHEYE": [20.0, 8.0, 6.0, 0.05, -0.02],
}


def poses() -> np.ndarray:
    return dome(N, 4.0, (0.1, 1.2)).numpy()


def picture(i: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 15, y * 20, np.full_like(x, 20 * i)], -1).astype(np.uint8)


def pictures(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(folder / name, picture(i))


def colmap(
    root: Path,
    kind: str,
    model: str = "PINHOLE",
    at: str = "sparse/0",
    images: str = "images",
    parameters: Any = None,
    points: int = 200,
) -> Path:
    """Write a model whose cameras are those of `poses`, in a turned world."""
    values = PARAMETERS[model] if parameters is None else parameters
    names = [f"view {i}.png" for i in range(N)]
    pictures(root / images, names)
    (root / at).mkdir(parents=True, exist_ok=True)
    rows = []
    for i, pose in enumerate(poses()):
        rotation = (WORLD @ pose[:3, :3] @ FLIP).T
        x, y, z, w = Rotation.from_matrix(rotation).as_quat()
        rows.append((i + 1, [w, x, y, z], -rotation @ WORLD @ pose[:3, 3], names[i]))
    cloud = (0.5 * np.random.default_rng(0).uniform(-1, 1, (points, 3))) @ WORLD.T
    write = {"txt": _write_text, "bin": _write_bytes}[kind]
    write(root / at, model, values, rows, cloud)
    return root


def _write_text(folder: Path, model: str, values: list[float], rows: list[Any], cloud: np.ndarray) -> None:
    words = " ".join(repr(float(v)) for v in values)
    (folder / "cameras.txt").write_text(f"# Camera list\n7 {model} {WIDTH} {HEIGHT} {words}\n")
    lines = ["# Image list", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, quaternion, shift, name in rows:
        motion = " ".join(repr(float(v)) for v in (*quaternion, *shift))
        lines += [f"{number} {motion} 7 {name}", "" if number % 2 else "1.5 2.5 -1 3.0 4.0 9"]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    seen = [f"{i} {x!r} {y!r} {z!r} 1 2 3 0.5 1 0 2 1" for i, (x, y, z) in enumerate(cloud.tolist())]
    (folder / "points3D.txt").write_text("\n".join(["# 3D points", *seen]) + "\n")


def _write_bytes(folder: Path, model: str, values: list[float], rows: list[Any], cloud: np.ndarray) -> None:
    head = struct.pack("<QiiQQ", 1, 7, list(MODELS).index(model), WIDTH, HEIGHT)
    (folder / "cameras.bin").write_bytes(head + struct.pack(f"<{len(values)}d", *values))
    parts = [struct.pack("<Q", len(rows))]
    for number, quaternion, shift, name in rows:
        parts.append(struct.pack("<i7di", number, *quaternion, *shift, 7) + name.encode() + b"\0")
        parts.append(struct.pack("<Q", number % 3) + struct.pack("<ddq", 1.5, 2.5, -1) * (number % 3))
    (folder / "images.bin").write_bytes(b"".join(parts))
    parts = [struct.pack("<Q", len(cloud))]
    parts += [
        struct.pack("<Q3d3Bd", i, *place, 1, 2, 3, 0.5) + struct.pack("<Qiiii", 2, 1, 0, 2, 1)
        for i, place in enumerate(cloud.tolist())
    ]
    (folder / "points3D.bin").write_bytes(b"".join(parts))


@pytest.mark.parametrize("kind", ["txt", "bin"])
@pytest.mark.parametrize("at", ["sparse/0", "sparse", "colmap/sparse/0", "colmap_text", "distorted/sparse/0", ""])
def test_a_model_of_colmap_is_the_cameras_that_it_came_from(tmp_path: Path, kind: str, at: str):
    train = read_photographs(colmap(tmp_path / "scene", kind, at=at), unbounded=False)
    assert train.names == tuple(f"images/view {i}.png" for i in range(1, N))
    np.testing.assert_allclose(train.image(2).numpy(), picture(3) / 255, atol=1e-6)
    right, found = poses()[1:], train.cameras.poses.numpy()
    between = np.linalg.inv(found[0]) @ found
    np.testing.assert_allclose(between, np.linalg.inv(right[0]) @ right, atol=1e-9)
    middle = np.array(train.bounds).mean(1)
    np.testing.assert_allclose(middle, 0, atol=0.1)
    assert 0.5 < np.ptp(np.array(train.bounds), axis=1).max() < 2.0, "the box of the points"


def test_the_mean_of_what_is_up_becomes_the_vertical():
    turned = poses()
    turned[:, :3] = WORLD @ turned[:, :3]
    rotation = upright(turned)
    mean = rotation @ turned[:, :3, 1].mean(0)
    np.testing.assert_allclose(mean[:2], 0, atol=1e-12)
    assert mean[2] > 0
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def appearance(model: str, values: list[float], x: float, y: float) -> tuple[float, float]:
    """Where a direction (x, y, 1) appears, by the formulas of COLMAP's documentation."""
    named = dict(zip(MODELS[model].split(), values, strict=True))
    fx, fy = (named.get("f", named.get(key)) for key in ("fx", "fy"))
    k = [named.get(f"k{i}", 0.0) for i in (1, 2, 3, 4)]
    p1, p2 = named.get("p1", 0.0), named.get("p2", 0.0)
    if "FISHEYE" in model:
        r = np.hypot(x, y)
        angle = np.arctan(r)
        factor = angle * (1 + k[0] * angle**2 + k[1] * angle**4 + k[2] * angle**6 + k[3] * angle**8) / r
        u, v = x * factor, y * factor
    else:
        r2 = x * x + y * y
        radial = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return fx * u + named["cx"], fy * v + named["cy"]


@pytest.mark.parametrize("model", PARAMETERS)
@pytest.mark.parametrize("kind", ["txt", "bin"])
def test_lenses_of_colmap_show_points_where_its_formulas_say(tmp_path: Path, kind: str, model: str):
    cameras = read_photographs(colmap(tmp_path, kind, model)).cameras
    x, y = 0.17, -0.11
    before = cameras.poses[0] @ torch.tensor([x, -y, -1.0, 1.0], dtype=torch.float64)
    pixels, depth = cameras.project(torch.tensor([0]), before[None, :3])
    assert pixels[0].tolist() == pytest.approx(appearance(model, PARAMETERS[model], x, y), abs=1e-9)
    assert float(depth) == pytest.approx(1.0)


@pytest.mark.parametrize("images", ["images", "input", "images_2", "images_8", "."])
def test_photographs_of_a_model_are_found_where_they_are(tmp_path: Path, images: str):
    folder = colmap(tmp_path, "bin", images=images)
    if images == "images":
        assert len(read_photographs(folder).names) == N - 1
        return
    with pytest.warns(UserWarning, match="6 pictures are not where the file says: 'images/view 0.png' is read from"):
        assert len(read_photographs(folder).names) == N - 1


def test_an_undistorted_scene_brings_its_own_photographs(tmp_path: Path):
    colmap(tmp_path, "bin", at="dense/sparse", images="dense/images")
    for i in range(N):  # those before they were undistorted, of another brightness
        (tmp_path / "images").mkdir(exist_ok=True)
        iio.imwrite(tmp_path / "images" / f"view {i}.png", 255 - picture(i))
    assert torch.equal((read_photographs(tmp_path).image(0) * 255).round().byte(), torch.from_numpy(picture(1)))


def test_of_several_models_the_largest_is_taken(tmp_path: Path):
    colmap(tmp_path, "txt")
    few = tmp_path / "sparse/0/images.txt"
    (tmp_path / "sparse/1").mkdir()
    for file in (tmp_path / "sparse/0").iterdir():
        (tmp_path / "sparse/1" / file.name).write_text(file.read_text())
    few.write_text("\n".join(few.read_text().splitlines()[:4]))
    with pytest.warns(UserWarning, match=rf"{N} in '1' photographs; '1' is used"):
        assert len(read_photographs(tmp_path).names) == N - 1


@pytest.mark.parametrize("turn", range(1, 9))
def test_cameras_of_colmap_are_for_stored_pixels_whatever_exif_says(tmp_path: Path, turn: int):
    colmap(tmp_path, "txt")
    for i in range(N):
        said = Image.Exif()
        said[0x0112] = turn
        Image.fromarray(picture(i)).save(tmp_path / "images" / f"view {i}.png", exif=said)
    with nullcontext() if turn == 1 else pytest.warns(UserWarning, match="as their pixels are stored"):
        train = read_photographs(tmp_path)
    assert torch.equal((train.image(0) * 255).round().byte(), torch.from_numpy(picture(1)))


def test_photographs_without_a_pose_and_masks_of_other_names_are_said(tmp_path: Path):
    colmap(tmp_path, "txt")
    pictures(tmp_path, ["images/view 77.png", "images/view 78.png", "segments/view 0.png", "images_2/view 0.png"])
    with pytest.warns(UserWarning, match=r"not used: 2 in 'images' \(such as 'view 77.png'\), 1 in 'segments'") as said:
        read_photographs(tmp_path)
    assert not any("images_2" in str(one.message) for one in said)


def test_a_zip_of_a_model_is_read(tmp_path: Path):
    folder = colmap(tmp_path / "scene", "bin")
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path))
    zipped, plain = read_photographs(tmp_path / "scene.zip"), read_photographs(folder)
    torch.testing.assert_close(zipped.cameras.poses, plain.cameras.poses)
    torch.testing.assert_close(zipped.colours, plain.colours)


@pytest.mark.parametrize("points", [0, 5])
def test_without_points_the_cameras_give_the_box(tmp_path: Path, points: int):
    train = read_photographs(colmap(tmp_path, "bin", points=points), unbounded=False)
    assert 1.0 < np.ptp(np.array(train.bounds), axis=1).max() < 4.0


DAMAGE = {
    "'.*images.bin' must be a whole file of COLMAP": ("images.bin", lambda c: c[:-30]),
    "'.*cameras.bin' must be a whole file of COLMAP": ("cameras.bin", lambda c: c[:20]),
    "'.*points3D.bin' must be a whole file of COLMAP": ("points3D.bin", lambda c: c[:100]),
    "but one is one of number 77. Run `colmap image_undistorter`": (
        "cameras.bin",
        lambda c: c[:12] + struct.pack("<i", 77) + c[16:],
    ),
    "must have a camera, but there is none of number 7": (
        "cameras.bin",
        lambda c: c[:8] + struct.pack("<i", 3) + c[12:],
    ),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_models_are_named(tmp_path: Path, message: str):
    name, change = DAMAGE[message]
    file = colmap(tmp_path, "bin") / "sparse/0" / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match=message):
        read_photographs(tmp_path)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("FOV", [20.0, 20, 8, 6, 0.9]),
        ("THIN_PRISM_FISHEYE", [20.0, 20, 8, 6, *[0.01] * 8]),
        ("FULL_OPENCV", [20.0, 21, 8, 6, 0.1, 0, 0, 0, 0, 0.1, 0, 0]),
    ],
)
def test_lenses_that_are_not_computed_are_named(tmp_path: Path, model: str, values: list[float]):
    with pytest.raises(InputError, match=f"but one is {model}. Run `colmap image_undistorter`"):
        read_photographs(colmap(tmp_path, "txt", model, parameters=values))


def test_a_model_without_its_images_is_named(tmp_path: Path):
    (colmap(tmp_path, "bin") / "sparse/0/images.bin").unlink()
    with pytest.raises(InputError, match="must have images.bin or images.txt, but it has neither"):
        read_photographs(tmp_path)


@pytest.mark.parametrize("at", ["sparse", "sparse/0"])
def test_the_folder_of_a_model_stands_for_its_scene(tmp_path: Path, at: str):
    colmap(tmp_path, "txt")
    (tmp_path / "notes.txt").write_text("")
    assert torch.equal(read_photographs(tmp_path / at).colours, read_photographs(tmp_path).colours)


def test_a_few_photographs_may_have_been_taken_out(tmp_path: Path):
    colmap(tmp_path, "bin")
    (tmp_path / "images/view 2.png").unlink()
    with pytest.warns(UserWarning, match=rf"1 of {N} photographs of the model are left out, as there is no 'images/v"):
        assert "images/view 2.png" not in read_photographs(tmp_path).names
    for i in (1, 3, 4):
        (tmp_path / f"images/view {i}.png").unlink()
    with pytest.raises(InputError, match=f"but 4 of {N} do not, such as 'images/view 1.png'. Put them into 'images'"):
        read_photographs(tmp_path)


def test_a_model_in_two_forms_is_read_as_colmap_does_and_said(tmp_path: Path):
    colmap(tmp_path, "bin")
    colmap(tmp_path, "txt", "SIMPLE_PINHOLE")
    with pytest.warns(UserWarning, match="two forms, of which .bin is read"):
        assert read_photographs(tmp_path).cameras.focals[0].tolist() == PARAMETERS["PINHOLE"][:2]


WRONG = {
    "two lines for each image": lambda text: "\n".join(line for line in text.splitlines() if "view" in line),
    "must have different names, but 2 are 'view 1.png'": lambda text: text.replace("view 2", "view 1"),
}


@pytest.mark.parametrize("message", WRONG)
def test_lists_of_images_that_programs_have_written_wrong_are_refused(tmp_path: Path, message: str):
    file = colmap(tmp_path, "txt") / "sparse/0/images.txt"
    file.write_text(WRONG[message](file.read_text()))
    with pytest.raises(InputError, match=message):
        read_photographs(tmp_path)


@pytest.mark.parametrize("focal", [0.0, -20.0])
def test_focal_lengths_of_colmap_must_be_positive(tmp_path: Path, focal: float):
    with pytest.raises(InputError, match=f"must be positive, but one is {focal:g}. Find the cameras anew"):
        read_photographs(colmap(tmp_path, "bin", parameters=[20.0, focal, 8.0, 6.0]))


TO_ARKIT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # z is up -> y is up


def polycam(root: Path, cameras: str = "cameras", images: str = "images", **more: Any) -> Path:
    pictures(root / "keyframes" / images, [f"{1000 + i}.jpg" for i in range(N)])
    folder = root / "keyframes" / cameras
    folder.mkdir(parents=True)
    for i, pose in enumerate(poses()):
        entry = {"fx": 20.0, "fy": 20.0, "cx": 8.0, "cy": 6.0, "width": WIDTH, "height": HEIGHT, "blur_score": 90.0}
        rows = TO_ARKIT @ pose[:3]
        entry |= {f"t_{r}{c}": rows[r, c] for r in range(3) for c in range(4)} | more
        (folder / f"{1000 + i}.json").write_text(json.dumps(entry))
    return root


def record3d(root: Path, folder: str = "rgbd", **more: Any) -> Path:
    pictures(root / folder, [f"{i}.jpg" for i in range(N)])
    rows = []
    for pose in poses():
        turned = TO_ARKIT @ pose[:3]
        rows.append([*Rotation.from_matrix(turned[:, :3]).as_quat(), *turned[:, 3]])
    head = {"w": WIDTH, "h": HEIGHT, "fps": 30, "K": [20.0, 0, 0, 0, 20.0, 0, 8.0, 6.0, 1], "poses": rows} | more
    (root / "metadata").write_text(json.dumps(head))
    return root


PHONES: dict[str, Any] = {
    "polycam": polycam,
    "polycam, corrected": lambda root: polycam(root, "corrected_cameras", "corrected_images"),
    "record3d": record3d,
    "record3d, rgb": lambda root: record3d(root, "rgb"),
    "record3d, own lenses": lambda root: record3d(
        root, K=[1.0] * 9, perFrameIntrinsicCoeffs=[[20.0, 20.0, 8.0, 6.0]] * N
    ),
}


@pytest.mark.parametrize("capture", PHONES)
def test_captures_of_telephones_are_the_cameras_that_they_came_from(tmp_path: Path, capture: str):
    train = read_photographs(PHONES[capture](tmp_path))
    np.testing.assert_allclose(train.cameras.poses.numpy(), poses()[1:], atol=1e-9)
    assert train.cameras.focals.tolist() == [[20, 20]] * (N - 1)
    assert train.cameras.centres.tolist() == [[8, 6]] * (N - 1)
    assert np.abs(train.image(0).numpy() - picture(1) / 255).mean() < 0.03


@pytest.mark.parametrize("make", [polycam, record3d])
def test_keys_of_telephones_that_are_not_read_are_named_once(tmp_path: Path, make: Any):
    folder = make(tmp_path, unheard_of=1)
    with pytest.warns(UserWarning, match="keys that are not read: 'unheard_of'") as said:
        read_photographs(folder)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("make", "more", "message"),
    [
        (polycam, {"t_12": "x"}, "'t_12' of .* must be a finite number"),
        (polycam, {"fx": None}, "'fx' of .* must be a finite number"),
        (record3d, {"K": [1.0] * 8}, "must have 9 numbers of K and 7 of each pose, but it has 8 and 7"),
        (record3d, {"poses": 3}, "'poses' of .* must be finite numbers"),
    ],
)
def test_damaged_captures_are_named(tmp_path: Path, make: Any, more: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        read_photographs(make(tmp_path, **more))


def masks(folder: Path, form: str, white: int = 255) -> None:
    """Write masks that leave the left half."""
    mask = np.full((HEIGHT, WIDTH), white, np.uint8)
    mask[:, WIDTH // 2 :] = 255 - white
    for i in range(N):
        file = folder / form.format(i)
        file.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(file, mask)


@pytest.mark.parametrize("form", ["masks/view {}.png.png", "masks/view {}.png", "images/dynamic_mask_view {}.png"])
def test_masks_that_nothing_names_are_used_and_said(tmp_path: Path, form: str):
    folder = colmap(tmp_path, "bin")
    masks(folder, form, 0 if "dynamic" in form else 255)
    with pytest.warns(UserWarning, match=f"that no frame names, for 6 of 6 photographs, such as '{form.format(0)}'"):
        train = read_photographs(folder)
    assert train.mask(1).all(0).tolist() == [True] * (WIDTH // 2) + [False] * (WIDTH // 2)


def test_a_capture_goes_on_beyond_its_box_unless_it_should_not(tmp_path: Path):
    folder = colmap(tmp_path, "bin")
    train, boxed = read_photographs(folder), read_photographs(folder, unbounded=False)
    assert boxed.contraction is None and train.contraction is not None
    low, high = np.array(train.contraction.inner).T
    eyes = train.cameras.poses[:, :3, 3].numpy()
    assert ((eyes > low) & (eyes < high)).all(), "all cameras stand where nothing is drawn in"
    assert train.bounds == train.contraction.outer
    rays = train.all_rays()
    assert bool((rays.near == 0.02 * train.contraction.half).all()) and bool((rays.far > 100 * rays.near).all())
    assert read_photographs(folder, background="white").contraction is None, "one colour is behind it"
    assert read_photographs(folder, unbounded=True, near=0.3, background="white").near == 0.3
