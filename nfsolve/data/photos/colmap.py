"""Models of COLMAP: cameras, images and points, as text or binary files beside a folder of photographs.

Schoenberger & Frahm, "Structure-from-Motion Revisited", CVPR 2016; colmap.github.io, "Output Format" (the files) and
"Camera Models" (names and parameters). A pose there maps the world to a camera whose axes are right, down and forward.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError, unknown
from nfsolve.data.photos.finding import say_unused, with_pictures
from nfsolve.data.photos.frames import Bounds, Frame, Layout, Root, check_inside, hold_out_some, read_bytes, say
from nfsolve.data.photos.intrinsics import FISHEYE
from nfsolve.forward.cameras.lenses import COEFFICIENTS

FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap_text", "distorted/sparse/0")
UNDISTORTED = ("dense", "undistorted")  # folders of scenes of their own, which COLMAP's image_undistorter writes
MODELS = {  # in the order of their numbers, with their parameters; f is f_x = f_y
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 d4 d5 d6",
    "FOV": "fx fy cx cy omega",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
    "THIN_PRISM_FISHEYE": "fx fy cx cy k1 k2 p1 p2 k3 k4 s1 s2",
}
FLIP = np.diag([1.0, -1.0, -1.0])  # axes right, down, forward <-> right, up, back
OUTLIERS, MARGIN, FEWEST = 0.01, 0.1, 20  # share of points at each end, what the box reaches beyond, points for one


@dataclass(frozen=True)
class View:
    """One photograph of a model: its file, its camera, and the motion ``(3, 3)``, ``(3,)`` from the world to it."""

    name: str
    camera: int
    rotation: np.ndarray
    shift: np.ndarray


def find_model(root: Root) -> tuple[Root, Root] | None:
    """Return the folder of a scene, which may be one in the given one, and in it that of the largest model; or None."""
    for scene in (root, *(root / name for name in UNDISTORTED)):
        for folder in FOLDERS:
            place = scene / folder if folder else scene
            if _has(place, "cameras"):
                return scene, _largest(place)
    return None


def _has(place: Root, name: str) -> bool:
    return any((place / f"{name}.{kind}").is_file() for kind in ("bin", "txt"))


def _largest(model: Root) -> Root:
    """Return the model with the most photographs of those that COLMAP numbers: ``0``, ``1``, ... in one folder."""
    if model.name != "0":
        return model
    folder: Any = model.parent
    rivals = [place for place in folder.iterdir() if place.name.isdigit() and _has(place, "images")]
    if len(rivals) < 2:
        return model
    sizes = {place: len(_views(place)) for place in sorted(rivals, key=lambda place: int(place.name))}
    best = max(sizes, key=lambda place: sizes[place])
    counts = ", ".join(f"{n} in '{place.name}'" for place, n in sizes.items())
    say(
        f"COLMAP has made {len(rivals)} models that have no common coordinates, of {counts} photographs; '{best.name}' "
        "is used; for more of them, match the photographs anew"
    )
    return best


def read_colmap(root: Root, model: Root, hold_out: int, allow_outside: bool) -> Layout:
    """Read a scene whose cameras COLMAP found.

    The world is turned so that the mean of what is up in the photographs is +z; lengths stay those of the model. Its
    points, without the outermost, give the box.

    Args:
        root: The folder of the scene, with the photographs in ``images``, ``images_2`` and so on, or ``input``.
        model: The folder of ``cameras``, ``images`` and perhaps ``points3D``, each .bin or .txt.
        hold_out: Every ``hold_out``-th photograph in the order of names is for tests.
        allow_outside: Whether pictures may lie outside of ``root``.

    Raises:
        InputError: A file is damaged, or a camera is of a model that cannot be computed.
    """
    lenses = _read(root, model, "cameras", allow_outside, _cameras_of_text, _cameras_of_bytes)
    views = _views(model, root, allow_outside)
    if not views:
        raise InputError(f"the model '{model}' must have images, but it has none", do="let COLMAP register some")
    lost = [view for view in views if view.camera not in lenses]
    if lost:
        raise InputError(
            f"image '{lost[0].name}' of '{model}' must have a camera, but there is none of number {lost[0].camera}",
            do="copy cameras and images of one model",
        )
    kinds = {lenses[view.camera][0] for view in views}
    if len(kinds) > 1:
        raise InputError(f"cameras of '{model}' must all be fisheye or none, but some are", do="make a scene of each")
    poses = np.stack([_pose(view) for view in views])
    turn = upright(poses)
    poses[:, :3] = turn @ poses[:, :3]
    # The plain name first: the folder of pictures is found where it is.
    frames = [Frame(f"images/{v.name}", pose, lenses[v.camera][1], None) for v, pose in zip(views, poses, strict=True)]
    points = np.zeros((0, 3))
    if _has(model, "points3D"):
        points = _read(root, model, "points3D", allow_outside, _points_of_text, _points_of_bytes)
    found = with_pictures(root, frames, allow_outside, stored=True)
    say_unused(root, found)
    return Layout(
        hold_out_some(found, hold_out),
        fisheye=kinds.pop(),
        bounds=box_of_points(points @ turn.T),
        captured=True,
    )


def upright(poses: np.ndarray) -> np.ndarray:
    """Return the rotation ``(3, 3)`` that takes the mean of what is up in views with poses ``(n, 4, 4)`` to +z."""
    up = poses[:, :3, 1].mean(0)
    if np.linalg.norm(up) < 1e-3:
        return np.eye(3)
    return Rotation.align_vectors([[0.0, 0.0, 1.0]], [up / np.linalg.norm(up)])[0].as_matrix()


def box_of_points(points: np.ndarray) -> Bounds | None:
    """Return the box of points ``(n, 3)`` without the outermost, or None where there are few."""
    if len(points) < FEWEST:
        return None
    low, high = np.quantile(points, [OUTLIERS, 1 - OUTLIERS], axis=0)
    pad = MARGIN * (high - low).max()
    return tuple(zip((low - pad).tolist(), (high + pad).tolist(), strict=True))


def _views(model: Root, root: Root | None = None, allow_outside: bool = False) -> list[View]:
    return _read(root or model, model, "images", allow_outside, _views_of_text, _views_of_bytes)


def _read(root: Root, model: Root, name: str, allow_outside: bool, of_text: Callable, of_bytes: Callable) -> Any:
    for kind, parse in (("bin", of_bytes), ("txt", of_text)):
        file = model / f"{name}.{kind}"
        if not file.is_file():
            continue
        check_inside(root, file, allow_outside)
        content = read_bytes(file)
        try:
            return parse(content if kind == "bin" else content.decode())
        except (struct.error, ValueError, IndexError, OverflowError, MemoryError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"'{file}' must be a whole file of COLMAP, but it could not be read ({reason(error)})",
                do="copy it again, or export the model anew",
            ) from error
    raise InputError(f"the model '{model}' must have {name}.bin or {name}.txt, but it has neither", do="copy it too")


def _lens(model: str, width: float, height: float, values: Sequence[float]) -> tuple[bool, dict[str, float]]:
    """Return whether a camera is a fisheye, and what is known of its lens."""
    if model not in MODELS:
        raise unknown("camera model of COLMAP", model, MODELS)
    names = MODELS[model].split()
    if len(values) != len(names):
        raise ValueError(f"a camera {model} has {len(names)} parameters, but there are {len(values)}")
    found = dict(zip(names, map(float, values), strict=True))
    found |= {"fx": found["f"], "fy": found["f"]} if "f" in found else {}
    odd = [name for name in names if name[0] in "dso" and found[name]]
    if odd or (model not in FISHEYE and model != "FULL_OPENCV"):
        raise InputError(
            f"cameras of COLMAP must be pinholes, OPENCV or OPENCV_FISHEYE, but one is {model}",
            do="run `colmap image_undistorter` and take its output",
        )
    lens = {"w": float(width), "h": float(height), "fl_x": found["fx"], "fl_y": found["fy"]}
    lens |= {"cx": found["cx"], "cy": found["cy"]}
    return FISHEYE.get(model, False), lens | {name: found[name] for name in COEFFICIENTS if name in found}


def _pose(view: View) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = view.rotation.T @ FLIP
    pose[:3, 3] = -view.rotation.T @ view.shift
    return pose


def _view(name: str, camera: int, quaternion: Sequence[float], shift: Sequence[float]) -> View:
    w, x, y, z = quaternion
    return View(name, camera, Rotation.from_quat([x, y, z, w]).as_matrix(), np.array(shift, dtype=np.float64))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if not line.startswith("#")]


def _cameras_of_text(text: str) -> dict[int, tuple[bool, dict[str, float]]]:
    rows = [line.split() for line in _lines(text) if line]
    return {int(row[0]): _lens(row[1], float(row[2]), float(row[3]), [float(v) for v in row[4:]]) for row in rows}


def _views_of_text(text: str) -> list[View]:
    views = []
    lines = _lines(text)
    while lines and not lines[0]:
        lines.pop(0)
    for line in lines[::2]:  # each second line, which may be empty, holds the points that were seen
        if line:
            row = line.split(maxsplit=9)
            numbers = [float(value) for value in row[1:8]]
            views.append(_view(row[9], int(row[8]), numbers[:4], numbers[4:]))
    return views


def _points_of_text(text: str) -> np.ndarray:
    return np.array([[float(v) for v in line.split()[1:4]] for line in _lines(text) if line]).reshape(-1, 3)


class _Reader:
    """Numbers in the order of a file, little-endian."""

    def __init__(self, content: bytes):
        self.content, self.at = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def word(self) -> str:
        end = self.content.index(b"\0", self.at)
        text, self.at = self.content[self.at : end].decode(), end + 1
        return text

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.content):
            raise ValueError("it ends too early")


def _cameras_of_bytes(content: bytes) -> dict[int, tuple[bool, dict[str, float]]]:
    reader, found, names = _Reader(content), {}, list(MODELS)
    for _ in range(*reader.take("Q")):
        number, model, width, height = reader.take("iiQQ")
        if not 0 <= model < len(names):
            raise unknown("camera model of COLMAP", str(model), [str(i) for i in range(len(names))])
        values = reader.take(f"{len(MODELS[names[model]].split())}d")
        found[number] = _lens(names[model], width, height, values)
    return found


def _views_of_bytes(content: bytes) -> list[View]:
    reader, views = _Reader(content), []
    for _ in range(*reader.take("Q")):
        _, *numbers, camera = reader.take("i7di")
        name = reader.word()
        reader.skip(24 * reader.take("Q")[0])
        views.append(_view(name, camera, numbers[:4], numbers[4:]))
    return views


def _points_of_bytes(content: bytes) -> np.ndarray:
    reader, points = _Reader(content), []
    for _ in range(*reader.take("Q")):
        _, *place = reader.take("Q3d")
        reader.skip(11)  # colour and error
        reader.skip(8 * reader.take("Q")[0])
        points.append(place)
    return np.array(points, dtype=np.float64).reshape(-1, 3)
