"""transforms.json as people have it: each key is honoured, said to be unused, or refused."""

import json
import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.photos import Photographs, read_photographs
from nfsolve.forward.cameras import dome

WIDTH, HEIGHT, N = 16, 12, 6
BASE = {"fl_x": 20.0, "w": WIDTH, "h": HEIGHT}


def pixels(i: int, border: int | None = None) -> np.ndarray:
    """An image of two ramps, or of ramps before a border of one brightness."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([x * 15, y * 20, np.full_like(x, 20 * i)], -1).astype(np.uint8)
    if border is not None:
        image[[0, 1, -2, -1]] = border
        image[:, [0, 1, -2, -1]] = border
    return image


def scene(folder: Path, head: dict[str, Any] | None = None, frame: Any = None, border: int | None = None) -> Path:
    """Write a scene; ``frame(i)`` gives more keys of frame i."""
    (folder / "images").mkdir(parents=True)
    frames = []
    for i, pose in enumerate(dome(N, 4.0, (0.1, 1.2))):
        iio.imwrite(folder / "images" / f"{i}.png", pixels(i, border))
        entry = {"file_path": f"images/{i}.png", "transform_matrix": pose.tolist()}
        frames.append(entry | (frame(i) if frame else {}))
    (folder / "transforms.json").write_text(json.dumps((BASE if head is None else head) | {"frames": frames}))
    return folder


def corner(photographs: Photographs) -> Tensor:
    return photographs.cameras.towards(torch.tensor([0]), torch.zeros(1, 2, dtype=torch.float64))[0]


SAME = {  # ways to write one lens
    "k1 and p1": {"k1": 0.2, "p1": 0.01},
    "with nulls": {"k1": 0.2, "k2": None, "p1": 0.01, "camera_model": None},
    "distortion_params": {"distortion_params": [0.2, 0, 0, 0, 0.01, 0]},
    "both": {"distortion_params": [0.2, 0, 0, 0, 0.01, 0], "k1": 0.2},
    "small letters": {"k1": 0.2, "p1": 0.01, "camera_model": "opencv"},
    "k5 of 0": {"k1": 0.2, "p1": 0.01, "k5": 0.0},
}


@pytest.mark.parametrize("way", SAME)
@pytest.mark.parametrize("place", ["top", "frame"])
def test_a_lens_is_the_same_however_it_is_written(tmp_path: Path, way: str, place: str):
    plain = corner(read_photographs(scene(tmp_path / "plain")))
    expected = corner(read_photographs(scene(tmp_path / "a", BASE | SAME["k1 and p1"])))
    assert (plain - expected).abs().max() > 0.01
    own = (
        scene(tmp_path / "b", BASE | SAME[way]) if place == "top" else scene(tmp_path / "b", None, lambda i: SAME[way])
    )
    torch.testing.assert_close(corner(read_photographs(own)), expected)


ANGLE = 2 * math.atan(0.5 * WIDTH / 20)
FOCALS = {
    "fl_x": {"fl_x": 20.0},
    "fl_y": {"fl_y": 20.0},
    "camera_angle_x": {"camera_angle_x": ANGLE},
    "camera_angle_y": {"camera_angle_y": 2 * math.atan(0.5 * HEIGHT / 20)},
    "x_fov in degrees": {"x_fov": math.degrees(ANGLE)},
    "both, agreeing": {"fl_x": 20.0, "camera_angle_x": ANGLE},
    "of an image twice as large": {"fl_x": 40.0, "w": 2 * WIDTH, "h": 2 * HEIGHT, "cx": WIDTH, "cy": HEIGHT},
}


@pytest.mark.parametrize("way", FOCALS)
@pytest.mark.parametrize("place", ["top", "frame", "frame over top"])
def test_a_focal_length_is_the_same_however_it_is_written(tmp_path: Path, way: str, place: str):
    top = {"top": FOCALS[way], "frame": {}, "frame over top": {"fl_x": 77.0, "fl_y": 77.0, "cx": 3.0}}[place]
    if place == "frame over top" and "fl_x" in FOCALS[way]:
        top = {"camera_angle_x": 0.1, "camera_angle_y": 0.1}
    elif place == "frame over top":
        key = "fl_y" if "fl_y" in FOCALS[way] or "camera_angle_y" in FOCALS[way] else "fl_x"
        top = {key: 77.0}
    folder = scene(tmp_path, top, None if place == "top" else lambda i: FOCALS[way])
    if "w" in FOCALS[way]:
        with pytest.warns(UserWarning, match="16 x 12 pixels, but w and h say 32 x 24, and 4 more .*focal length"):
            cameras = read_photographs(folder).cameras
    else:
        cameras = read_photographs(folder).cameras
    assert cameras.focals[0, 0 if "y" not in way else 1].item() == pytest.approx(20.0)
    assert cameras.centres[0].tolist() == [8, 6]


REFUSED = {
    "'camera_angle_x' of .* must be an angle in radians, .* got 3.49": {"x_fov": 200.0},
    "'fl_x' and 'camera_angle_x' contradict each other .* 20 by the one and 7.76": {"camera_angle_x": 1.6},
    "'fl_y' and 'camera_angle_y' contradict": {"fl_y": 20, "camera_angle_y": 1.6},
    "principal point of 'images/1.png' must lie in its image of 16 x 12 pixels, but cx = 400": {"cx": 400.0},
    "principal point .* cy = -1": {"cy": -1.0},
    "'images/1.png' has 16 x 12 pixels, but w and h say 16 x 16. Correct": {"h": 16},
    "'images/1.png' has 16 x 12 pixels, but w and h say 12 x 16. Correct": {"w": 12, "h": 16},
    "'distortion_params' of .* must be finite numbers": {"distortion_params": ["a"]},
    "is_fisheye and camera_model contradict each other": {"is_fisheye": True, "camera_model": "PINHOLE"},
    "a fisheye lens has no p1 and p2": {"camera_model": "OPENCV_FISHEYE", "p1": 0.1},
    "unknown camera model 'EQUIRECTANGULAR'": {"camera_model": "EQUIRECTANGULAR"},
    "aabb_scale and scale must be positive": {"scale": 0},
    "near and far must be 0 <= near < far, got near = 3 and far = 2": {"near": 3, "far": 2},
    "'near' of .* must be a finite number": {"near": "here"},
    "'test_filenames' of .* must be a list": {"test_filenames": "images/0.png"},
    "'images/0.png' is a view for training and for test": {
        "train_filenames": ["images/0.png", "images/1.png"],
        "test_filenames": ["images/0.png"],
    },
}


DOUBTED = {
    r"principal point of 'images/1.png', \(0.5, 0.5\), lies far from the middle": {"cx": 0.5, "cy": 0.5},
    "the distortion of 'images/1.png' moves the corners of its image to .* times": {"k1": 60.0},
}


@pytest.mark.parametrize("message", DOUBTED)
def test_a_lens_that_hardly_can_be_is_doubted(tmp_path: Path, message: str):
    with pytest.warns(UserWarning, match=message):
        read_photographs(scene(tmp_path, BASE | DOUBTED[message]))


def test_a_focal_length_under_another_name_is_said_not_to_be_read(tmp_path: Path):
    with pytest.raises(InputError, match=r"it has none\. Write 'fl_x' .* such as 'focal' or 'fov', are not read"):
        read_photographs(scene(tmp_path, {"focal": 20.0}))


def test_masks_of_some_frames_leave_the_others_whole_and_that_is_said(tmp_path: Path):
    iio.imwrite(tmp_path / "mask.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    folder = scene(tmp_path, frame=lambda i: {"mask_path": "mask.png"} if i == 1 else {})
    with pytest.warns(UserWarning, match="5 of 6 photographs have no mask, and all of their pixels count"):
        assert read_photographs(folder).n_counted == 4 * WIDTH * HEIGHT


def test_a_picture_without_a_visible_pixel_is_told(tmp_path: Path):
    folder = scene(tmp_path)
    for i in range(N):
        iio.imwrite(
            folder / "images" / f"{i}.png", np.dstack([pixels(i), np.full((HEIGHT, WIDTH), 255 * (i != 1), np.uint8)])
        )
    with pytest.warns(UserWarning, match="image 'images/1.png' is transparent everywhere$"):
        read_photographs(folder, background="white")


def test_a_lens_in_pixels_of_an_unknown_size_does_not_fit_smaller_copies(tmp_path: Path):
    folder = scene(tmp_path, {"fl_x": 40.0})
    (folder / "images").rename(folder / "images_2")
    with (
        pytest.warns(UserWarning, match="read from 'images_2/0.png'"),
        pytest.raises(InputError, match="a smaller copy, 'images_2/0.png', but the focal length"),
    ):
        read_photographs(folder)


@pytest.mark.filterwarnings("ignore:.*in none of the lists")
@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(tmp_path: Path, message: str):
    folder = scene(tmp_path, BASE | REFUSED[message])
    with pytest.raises(InputError, match=message):
        read_photographs(folder)


UNUSED = {
    "applied_transform": [[1, 0, 0, 0]],
    "applied_scale": 2.0,
    "ply_file_path": "cloud.ply",
    "scene_of": "a chair",
    "orientation_override": "none",
    "camera_angel_x": 0.7,
}


@pytest.mark.parametrize("key", UNUSED)
def test_keys_that_are_not_used_are_named_once(tmp_path: Path, key: str):
    folder = scene(tmp_path, BASE | {key: UNUSED[key]}, lambda i: {"depth_file_path": "x", "rotation": 0.1})
    with pytest.warns(UserWarning, match=rf"keys that are not read: '{key}'.*, 'depth_file_path' \(depths") as said:
        read_photographs(folder)
    assert len(said) == 1 and "rotation" not in str(said[0].message)


def names(*numbers: int, form: str = "images/{}.png") -> list[str]:
    return [form.format(i) for i in numbers]


@pytest.mark.parametrize("form", ["images/{}.png", "images\\{}.png", "./images/{}.png", "images/{}"])
@pytest.mark.parametrize("path", ["images/{}.png", "images\\{}.png", "images/{}", "images/{}.PNG"])
def test_names_in_lists_are_found(tmp_path: Path, form: str, path: str):
    if form.endswith(".png") and not path.endswith(".png"):
        form = path
    lists = {"train_filenames": names(0, 2, 3, 5, form=form), "val_filenames": names(1, 4, form=form)}
    folder = scene(tmp_path, BASE | lists, lambda i: {"file_path": path.format(i)})
    assert [int(name.split("/")[1][0]) for name in read_photographs(folder).names] == [0, 2, 3, 5]
    test = read_photographs(folder, "test")
    assert [int(name.split("/")[1][0]) for name in test.names] == [1, 4], "val where there is no test"


def test_frames_of_no_list_are_said(tmp_path: Path):
    folder = scene(tmp_path, BASE | {"train_filenames": names(0, 1), "test_filenames": names(2)})
    with pytest.warns(UserWarning, match="3 of 6 frames are in none of the lists of names and are not used"):
        assert len(read_photographs(folder).cameras) == 2


def test_two_files_of_one_picture_are_refused(tmp_path: Path):
    folder = scene(tmp_path)
    for split in ("train", "test"):
        shutil.copy(folder / "transforms.json", folder / f"transforms_{split}.json")
    with pytest.raises(InputError, match="is a view for training and for test"):
        read_photographs(folder)


def halves(folder: Path, right: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Any:
    """Write masks that leave the left half."""
    folder.mkdir(parents=True)
    mask = np.full(size, 255, np.uint8)
    mask[:, size[1] // 2 :] = right
    for i in range(N):
        iio.imwrite(folder / f"m{i}.png", mask)
    return lambda i: {"mask_path": f"masks/m{i}.png"}


@pytest.mark.parametrize("downscale", [1, 2, 3])
def test_masks_leave_what_is_not_black(tmp_path: Path, downscale: int):
    frame = halves(tmp_path / "a" / "masks")
    train = read_photographs(scene(tmp_path / "a", None, frame), downscale=downscale)
    width = round(WIDTH / downscale)
    whole = WIDTH // 2 * width // WIDTH  # columns of which no part is black
    assert train.n_counted == 5 * round(HEIGHT / downscale) * whole
    _, where = train.cameras.locate(train.number(torch.arange(train.n_counted)))
    assert where[:, 0].max() == whole - 0.5
    assert train.mask(2).sum(1).tolist() == [whole] * round(HEIGHT / downscale)
    plain = read_photographs(scene(tmp_path / "b"), downscale=downscale)
    assert plain.n_counted == len(plain.colours) and bool(plain.mask(0).all())
    moved = train.to("cpu", torch.float64)
    assert moved.n_counted == train.n_counted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (HEIGHT, WIDTH - 2)}, "mask of 'images/1.png' must have the shape of its image, 16 x 12"),
        ({"missing": True}, "the mask 'masks/none.png' of frame 0 of 'transforms.json' must be a picture"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], message: str):
    missing = options.pop("missing", False)
    frame = halves(tmp_path / "masks", **options)
    with pytest.raises(InputError, match=message):
        read_photographs(scene(tmp_path, None, (lambda i: {"mask_path": "masks/none.png"}) if missing else frame))


def test_masks_that_leave_nothing_are_refused(tmp_path: Path):
    frame = halves(tmp_path / "masks")
    for file in (tmp_path / "masks").iterdir():
        iio.imwrite(file, np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(InputError, match="masks must leave some pixels"):
        read_photographs(scene(tmp_path, None, frame))


@pytest.mark.parametrize("brightness", [0, 102, 255])
def test_a_border_of_one_colour_is_the_background(tmp_path: Path, brightness: int):
    folder, colour = scene(tmp_path, border=brightness), [brightness / 255] * 3
    with pytest.warns(UserWarning, match="one colour along their borders"):
        assert read_photographs(folder).background == pytest.approx(colour, abs=1e-4)
    assert read_photographs(folder, background="none").background is None
    assert read_photographs(folder, background="white").background == (1, 1, 1)


@pytest.mark.parametrize("aabb_scale", [4, 16])
def test_a_large_aabb_scale_is_cut_to_what_is_seen_before_a_background(tmp_path: Path, aabb_scale: float):
    tight = read_photographs(scene(tmp_path / "a"), background="white").bounds
    folder = scene(tmp_path / "b", BASE | {"aabb_scale": aabb_scale})
    with pytest.warns(UserWarning, match="of the box that aabb_scale of .* the part that the cameras look at is used"):
        assert read_photographs(folder, background="white").bounds == tight
    with pytest.warns(UserWarning, match="times as wide as what all cameras see"):
        cube = read_photographs(folder).bounds  # a scene without end: as the file says
    assert cube[0] == pytest.approx((-aabb_scale / 0.66, aabb_scale / 0.66))
    assert read_photographs(folder, background="white", bounds=((-2, 2),) * 3).bounds == ((-2, 2),) * 3


def test_a_small_aabb_scale_and_scale_alone_are_boxes(tmp_path: Path):
    small = read_photographs(scene(tmp_path / "a", BASE | {"aabb_scale": 0.25}), background="white").bounds
    assert small[0] == pytest.approx((-0.125 / 0.33, 0.125 / 0.33))
    alone = read_photographs(scene(tmp_path / "b", BASE | {"scale": 0.5, "offset": [0.5, 0.5, 0.0]})).bounds
    assert alone == ((-1, 1), (-1, 1), (0, 2)), "the unit cube, as for instant-ngp"


def test_near_and_far_of_the_file_are_kept(tmp_path: Path):
    train = read_photographs(scene(tmp_path, BASE | {"near": 3.5, "far": 4.5}))
    assert (train.near, train.far) == (3.5, 4.5)
    assert (read_photographs(tmp_path, far=4.2).near, read_photographs(tmp_path, far=4.2).far) == (3.5, 4.2)


def test_turned_and_four_colour_photographs_are_those_that_one_sees(tmp_path: Path):
    folder = scene(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6
    for i in range(N):
        sideways = Image.fromarray(np.rot90(pixels(i)).copy())
        sideways.save(folder / "images" / f"{i}.png", exif=turned)
    image = read_photographs(folder).image(0)
    np.testing.assert_allclose(image.numpy(), pixels(1) / 255, atol=1e-6)


def matrices(change: Any) -> Any:
    """Return what gives frame i another matrix."""
    poses = dome(N, 4.0, (0.1, 1.2)).numpy()
    return lambda i: {"transform_matrix": change(poses[i]).tolist()}


MATRICES = {
    "flat": lambda pose: pose.reshape(-1),
    "three rows": lambda pose: pose[:3],
    "flat, three rows": lambda pose: pose[:3].reshape(-1),
    "scaled": lambda pose: pose @ np.diag([2.0, 2, 2, 1]),
    "scaled down": lambda pose: pose @ np.diag([0.01, 0.01, 0.01, 1]),
}


@pytest.mark.parametrize("way", MATRICES)
def test_a_pose_is_the_same_however_it_is_written(tmp_path: Path, way: str):
    plain = read_photographs(scene(tmp_path / "a")).cameras.poses
    folder = scene(tmp_path / "b", None, matrices(MATRICES[way]))
    if "scaled" in way:
        with pytest.warns(UserWarning, match="the rotations of 'transforms.json' are scaled, by") as said:
            found = read_photographs(folder).cameras.poses
        assert len(said) == 1
    else:
        found = read_photographs(folder).cameras.poses
    torch.testing.assert_close(found, plain)


WRONG = {
    "last row of .* transpose it|Transpose it": lambda pose: pose.T,
    "would with the axes of OpenCV": lambda pose: pose @ np.diag([1.0, -1, -1, 1]),
    "would if the matrices were inverted: they map": np.linalg.inv,
    "inverted and y and z of each camera": lambda pose: np.linalg.inv(pose @ np.diag([1.0, -1, -1, 1])),
}


@pytest.mark.parametrize("message", WRONG)
def test_poses_of_other_conventions_are_suspected(tmp_path: Path, message: str):
    with pytest.raises(InputError, match=message):
        read_photographs(scene(tmp_path / "a", None, matrices(WRONG[message])))
    if "would" in message:
        boxed = scene(tmp_path / "b", BASE | {"aabb_scale": 8}, matrices(WRONG[message]))
        with pytest.warns(UserWarning, match=message):
            read_photographs(boxed)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"x_fov": 0.7}, "'x_fov' of .* none is as small as 0.7. Write 40.107 if it is in radians"),
        ({"camera_angle_x": 40.0}, "must be an angle in radians, .* Write 0.698132 if it is in degrees"),
    ],
)
def test_angles_in_the_other_unit_are_suspected(tmp_path: Path, head: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        read_photographs(scene(tmp_path, head))


def test_a_focal_length_that_is_not_in_pixels_is_suspected(tmp_path: Path):
    folder = scene(tmp_path, BASE | {"fl_x": 1.25})
    with pytest.warns(UserWarning, match="'images/1.png', 1.25 pixels, makes its angle of view 162 degrees; is it in"):
        read_photographs(folder, bounds=((-1, 1),) * 3)


PLACES = {  # file_path, and the folder in which the pictures are
    "smaller copies": ("images/{}.png", "images_4"),
    "the large ones": ("images_2/{}.png", "images"),
    "another machine": ("C:\\Users\\me\\scan\\images\\{}.png", "images"),
    "another place": ("/home/me/scan/images/{}.jpg", "images_2"),
    "without folder": ("{}", "images"),
    "flat": ("images/{}.png", "."),
}


@pytest.mark.parametrize("way", PLACES)
def test_pictures_are_found_where_a_folder_was_moved_to(tmp_path: Path, way: str):
    path, folder = PLACES[way]
    scene(tmp_path, None, lambda i: {"file_path": path.format(i)})
    if folder == ".":
        for file in (tmp_path / "images").iterdir():
            file.rename(tmp_path / file.name)
    elif folder != "images":
        (tmp_path / "images").rename(tmp_path / folder)
    if way == "without folder":
        with pytest.raises(InputError, match="there is no '1', '2', '3' and 2 more"):
            read_photographs(tmp_path)
        return
    with pytest.warns(UserWarning, match="6 pictures are not where the file says: '.*0.* is read from '") as said:
        train = read_photographs(tmp_path)
    assert len(said) == 1
    np.testing.assert_allclose(train.image(0).numpy(), pixels(1) / 255, atol=1e-6)


def test_two_frames_of_one_picture_are_refused(tmp_path: Path):
    folder = scene(tmp_path, None, lambda i: {"file_path": f"{'left' if i % 2 else 'right'}/{i // 2}.png"})
    for file in (folder / "images").iterdir():
        file.rename(folder / file.name)
    with pytest.raises(InputError, match="'right/0.png' and 'left/0.png' must be two pictures, but both were found at"):
        read_photographs(folder)


@pytest.mark.parametrize("way", ["twice as large", "in the alpha", "0 and 1", "coloured"])
def test_masks_are_read_however_they_are_drawn(tmp_path: Path, way: str):
    frame = halves(tmp_path / "masks")
    left = np.arange(WIDTH)[None].repeat(HEIGHT, 0) < WIDTH // 2
    drawn = {
        "twice as large": (255 * left.repeat(2, 0).repeat(2, 1)),
        "in the alpha": np.dstack([np.zeros((HEIGHT, WIDTH, 3), int), 255 * left]),
        "0 and 1": 1 * left,
        "coloured": np.dstack([0 * left, 200 * left, 0 * left]),
    }[way].astype(np.uint8)
    for i in range(N):
        iio.imwrite(tmp_path / "masks" / f"m{i}.png", drawn)
    mask = read_photographs(scene(tmp_path, None, frame)).mask(0)
    assert mask.all(0).tolist() == [True] * (WIDTH // 2) + [False] * (WIDTH // 2)


@pytest.mark.parametrize(
    ("lists", "train", "test", "word"),
    [
        ({"val_filenames": ["images/0.png"]}, 5, 1, "trained on"),
        ({"test_filenames": ["images/0.png", "images/3.png"]}, 4, 2, "trained on"),
        ({"train_filenames": ["images/0.png", "images/3.png"]}, 2, 4, "held out"),
        ({"train_filenames": ["images/0.png"], "test_filenames": ["images/3.png"]}, 1, 1, "not used"),
    ],
)
def test_frames_in_no_list_train_or_are_held_out(tmp_path: Path, lists: Any, train: int, test: int, word: str):
    scene(tmp_path / "s", BASE | lists)
    with pytest.warns(UserWarning, match=f"in none of the lists of names.*{word}"):
        found = [len(read_photographs(tmp_path / "s", split).names) for split in ("train", "test")]
    assert found == [train, test]


@pytest.mark.parametrize(("turn", "stored"), [(6, True), (8, True), (6, False), (3, False)])
def test_of_turned_and_stored_pixels_those_that_fit_the_lens_are_taken(tmp_path: Path, turn: int, stored: bool):
    scene(tmp_path / "s")
    turns = {
        3: lambda image: image[::-1, ::-1],
        6: lambda image: np.rot90(image, 1),
        8: lambda image: np.rot90(image, -1),
    }
    for i in range(N):
        said = Image.Exif()
        said[0x0112] = turn
        kept = pixels(i) if stored else turns[turn](pixels(i))
        Image.fromarray(np.ascontiguousarray(kept)).save(tmp_path / "s" / "images" / f"{i}.png", exif=said)
    match = "as their pixels are stored" if stored else "upright; where cameras were found"
    with nullcontext() if not stored and turn != 3 else pytest.warns(UserWarning, match=match):
        train = read_photographs(tmp_path / "s")
    assert torch.equal((train.image(0) * 255).round().byte(), torch.from_numpy(pixels(1)))


def test_one_focal_length_for_photographs_of_several_sizes_is_said(tmp_path: Path):
    scene(tmp_path / "s", {"fl_x": 20.0})
    iio.imwrite(tmp_path / "s" / "images" / "2.png", pixels(2).repeat(2, 0).repeat(2, 1))
    with pytest.warns(UserWarning, match="several sizes, and focal lengths in pixels"):
        read_photographs(tmp_path / "s")
