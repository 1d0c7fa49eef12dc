"""The files of COLMAP's models, as text or binary: cameras, images and points.

colmap.github.io, "Output Format" (the files) and "Camera Models" (names and parameters).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nfsolve._core.errors import InputError
from nfsolve.data.photos.intrinsics import FISHEYE
from nfsolve.forward.cameras.lenses import COEFFICIENTS

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


@dataclass(frozen=True)
class View:
    """One photograph of a model: its file, its camera, and the motion ``(3, 3)``, ``(3,)`` from the world to it."""

    name: str
    camera: int
    rotation: np.ndarray
    shift: np.ndarray


def _lens(model: str, width: float, height: float, values: Sequence[float]) -> tuple[bool, dict[str, float]]:
    """Return whether a camera is a fisheye, and what is known of its lens."""
    names = MODELS.get(model, "").split()
    if names and len(values) != len(names):
        raise ValueError(f"a camera {model} has {len(names)} parameters, but there are {len(values)}")
    found = dict(zip(names, map(float, values), strict=False))
    found |= {"fx": found["f"], "fy": found["f"]} if "f" in found else {}
    odd = [name for name in names if name[0] in "dso" and found[name]]
    if not names or odd or (model not in FISHEYE and model != "FULL_OPENCV"):
        raise InputError(
            f"cameras of COLMAP must be pinholes, OPENCV or OPENCV_FISHEYE, but one is {model}",
            do="run `colmap image_undistorter` and take its output",
        )
    if not min(found["fx"], found["fy"]) > 0:
        raise InputError(
            f"focal lengths of COLMAP's cameras must be positive, but one is {min(found['fx'], found['fy']):g}",
            do="find the cameras anew, or correct cameras.txt",
        )
    lens = {"w": float(width), "h": float(height), "fl_x": found["fx"], "fl_y": found["fy"]}
    lens |= {"cx": found["cx"], "cy": found["cy"]}
    return FISHEYE.get(model, False), lens | {name: found[name] for name in COEFFICIENTS if name in found}


def _view(name: str, camera: int, quaternion: Sequence[float], shift: Sequence[float]) -> View:
    w, x, y, z = quaternion
    return View(name, camera, Rotation.from_quat([x, y, z, w]).as_matrix(), np.array(shift, dtype=np.float64))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if not line.startswith("#")]


def cameras_of_text(text: str) -> dict[int, tuple[bool, dict[str, float]]]:
    """Return of each camera's number whether it is a fisheye, and its lens."""
    rows = [line.split() for line in _lines(text) if line]
    return {int(row[0]): _lens(row[1], float(row[2]), float(row[3]), [float(v) for v in row[4:]]) for row in rows}


def views_of_text(text: str) -> list[View]:
    """Return the photographs."""
    views = []
    lines = _lines(text)
    while lines and not lines[0]:
        lines.pop(0)
    if strange := [line for line in lines[1::2] if len(line.split()) % 3]:
        raise InputError(
            "images.txt must have two lines for each image, the second of which has x, y and a number for each point "
            f"that was seen, or is empty, but one is '{strange[0][:60]}'",
            do="write an empty line after each image that has no points",
        )
    for line in lines[::2]:
        if line:
            row = line.split(maxsplit=9)
            numbers = [float(value) for value in row[1:8]]
            views.append(_view(row[9], int(row[8]), numbers[:4], numbers[4:]))
    return views


def points_of_text(text: str) -> np.ndarray:
    """Return the points ``(n, 3)``."""
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


def cameras_of_bytes(content: bytes) -> dict[int, tuple[bool, dict[str, float]]]:
    """Return of each camera's number whether it is a fisheye, and its lens."""
    reader, found, names = _Reader(content), {}, list(MODELS)
    for _ in range(*reader.take("Q")):
        number, model, width, height = reader.take("iiQQ")
        if not 0 <= model < len(names):
            _lens(f"one of number {model}", width, height, ())  # which says what can be computed
        values = reader.take(f"{len(MODELS[names[model]].split())}d")
        found[number] = _lens(names[model], width, height, values)
    return found


def views_of_bytes(content: bytes) -> list[View]:
    """Return the photographs."""
    reader, views = _Reader(content), []
    for _ in range(*reader.take("Q")):
        _, *numbers, camera = reader.take("i7di")
        name = reader.word()
        reader.skip(24 * reader.take("Q")[0])
        views.append(_view(name, camera, numbers[:4], numbers[4:]))
    return views


def points_of_bytes(content: bytes) -> np.ndarray:
    """Return the points ``(n, 3)``."""
    reader, points = _Reader(content), []
    for _ in range(*reader.take("Q")):
        _, *place = reader.take("Q3d")
        reader.skip(11)  # colour and error
        reader.skip(8 * reader.take("Q")[0])
        points.append(place)
    return np.array(points, dtype=np.float64).reshape(-1, 3)
