"""Render an exported scene with numpy and torch, or onnxruntime: nothing here needs nfsolve, so the file may be copied.

    nfsolve render runs/scene --out scene.pt2       # or scene.onnx
    python render_exported.py scene.pt2 view.ppm --size 400 --around 60 --above 30

The program gives density, 1/length, and colours at points that are seen along unit vectors; scene.json inside of the
file has the box, the length of a step along a ray, the background, and a camera of the training views.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PIECE = 4096  # rays at once
Program = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def read_program(path: Path) -> tuple[Program, dict[str, Any]]:
    """Return the program in a file .pt2 or .onnx, as a function of arrays, and what is written beside it."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        about = json.loads(session.get_modelmeta().custom_metadata_map["scene.json"])
        return lambda points, directions: session.run(None, {"points": points, "directions": directions}), about
    import torch

    extra = {"scene.json": ""}
    module = torch.export.load(path, extra_files=extra).module()

    def call(points: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            density, colour = module(torch.from_numpy(points), torch.from_numpy(directions))
        return density.numpy(), colour.numpy()

    return call, json.loads(extra["scene.json"])


def rays(about: dict[str, Any], size: int, around: float, above: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the camera's place (3,) and the unit vectors (size^2, 3) of its pixels, row by row from the top."""
    middle, pose = np.array(about["bounds"]).mean(1), np.array(about["pose"])
    distance = np.linalg.norm(pose[:3, 3] - middle)
    a, e = math.radians(around), math.radians(above)
    back = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])  # z is up
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    across = ((np.arange(size) + 0.5) / size * 2 - 1) * math.tan(about["angle"] / 2)
    y, x = np.meshgrid(-across, across, indexing="ij")
    ahead = (x[..., None] * right + y[..., None] * np.cross(back, right) - back).reshape(-1, 3)
    return middle + distance * back, ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)


def render(program: Program, about: dict[str, Any], origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the colours (n, 3) of rays: C = sum of T (1 - exp(-sigma dt)) c, and T at the end times the background."""
    low, high = np.array(about["bounds"]).T
    with np.errstate(divide="ignore"):
        first, second = (low - origin) / directions, (high - origin) / directions
    near = np.minimum(first, second).max(-1).clip(about["near"])
    step = about["step"]
    t = near[:, None] + (np.arange(math.ceil(math.dist(low, high) / step)) + 0.5) * step
    inside = t < np.maximum(first, second).min(-1).clip(None, about["far"])[:, None]
    ahead = np.broadcast_to(directions[:, None], (*t.shape, 3))
    points = origin + t[..., None] * ahead
    optical, colours = np.zeros(t.shape), np.zeros((*t.shape, 3))
    if inside.any():
        density, colour = program(points[inside].astype(np.float32), ahead[inside].astype(np.float32))
        optical[inside], colours[inside] = density[:, 0] * step, colour
    passed = optical.cumsum(-1)
    weights = np.exp(optical - passed) * -np.expm1(-optical)
    return (weights[..., None] * colours).sum(1) + np.exp(-passed[:, -1:]) * np.array(about["background"])


def main() -> None:
    """Write one view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, help="a file .pt2, which needs torch, or .onnx, which needs onnxruntime")
    parser.add_argument("picture", type=Path, help="a file .ppm")
    parser.add_argument("--size", type=int, default=200, help="pixels along each side")
    parser.add_argument(
        "--around", type=float, default=45.0, help="degrees about the vertical through the box's middle"
    )
    parser.add_argument("--above", type=float, default=30.0, help="degrees above the horizon")
    said = parser.parse_args()
    program, about = read_program(said.scene)
    origin, directions = rays(about, said.size, said.around, said.above)
    pieces = [directions[i : i + PIECE] for i in range(0, len(directions), PIECE)]
    pixels = np.concatenate([render(program, about, origin, some) for some in pieces])
    content = (255 * pixels.clip(0, 1)).round().astype(np.uint8).tobytes()
    said.picture.write_bytes(f"P6 {said.size} {said.size} 255\n".encode() + content)


if __name__ == "__main__":
    main()
