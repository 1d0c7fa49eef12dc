"""Render an exported scene with torch alone: nothing here needs nfsolve, so the file may be copied elsewhere.

    nfsolve render runs/scene --out scene.pt2
    python render_exported.py scene.pt2 view.ppm --size 400 --around 60 --above 30

The program gives density, 1/length, and colours at points that are seen along unit vectors; scene.json inside of the
file has the box, the length of a step along a ray, the background, and a camera of the training views.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor

PIECE = 4096  # rays at once


def rays(about: dict, size: int, around: float, above: float) -> tuple[Tensor, Tensor]:
    """Return the camera's place (3,) and the unit vectors (size^2, 3) of its pixels, row by row from the top."""
    box = torch.tensor(about["bounds"])
    middle, pose = box.mean(1), torch.tensor(about["pose"])
    distance = (pose[:3, 3] - middle).norm()
    a, e = math.radians(around), math.radians(above)
    back = torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])  # z is up
    right = torch.tensor([-math.sin(a), math.cos(a), 0.0])
    across = ((torch.arange(size) + 0.5) / size * 2 - 1) * math.tan(about["angle"] / 2)
    y, x = torch.meshgrid(-across, across, indexing="ij")
    ahead = x[..., None] * right + y[..., None] * torch.linalg.cross(back, right) - back
    return middle + distance * back, torch.nn.functional.normalize(ahead.reshape(-1, 3), dim=-1)


def render(program: torch.nn.Module, about: dict, origin: Tensor, directions: Tensor) -> Tensor:
    """Return the colours (n, 3) of rays: C = sum of T (1 - exp(-sigma dt)) c, and T at the end times the background."""
    low, high = torch.tensor(about["bounds"]).T
    first, second = (low - origin) / directions, (high - origin) / directions
    near = torch.minimum(first, second).amax(-1).clamp_min(about["near"])
    step, most = about["step"], math.dist(low.tolist(), high.tolist())
    t = near[:, None] + (torch.arange(math.ceil(most / step)) + 0.5) * step
    inside = t < torch.maximum(first, second).amin(-1).clamp_max(about["far"])[:, None]
    ahead = directions[:, None].expand(*t.shape, 3)
    points = origin + t[..., None] * ahead
    optical, colours = torch.zeros_like(t), torch.zeros(*t.shape, 3)
    if inside.any():
        sigma, rgb = program(points[inside], ahead[inside])
        optical[inside], colours[inside] = sigma[:, 0] * step, rgb
    passed = optical.cumsum(-1)
    weights = torch.exp(optical - passed) * -torch.expm1(-optical)
    return (weights[..., None] * colours).sum(1) + torch.exp(-passed[:, -1:]) * torch.tensor(about["background"])


def main() -> None:
    """Write one view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("picture", type=Path, help="a file .ppm")
    parser.add_argument("--size", type=int, default=200, help="pixels along each side")
    parser.add_argument(
        "--around", type=float, default=45.0, help="degrees about the vertical through the box's middle"
    )
    parser.add_argument("--above", type=float, default=30.0, help="degrees above the horizon")
    said = parser.parse_args()
    extra = {"scene.json": ""}
    program = torch.export.load(said.scene, extra_files=extra).module()
    about = json.loads(extra["scene.json"])
    origin, directions = rays(about, said.size, said.around, said.above)
    with torch.no_grad():
        pixels = torch.cat([render(program, about, origin, some) for some in directions.split(PIECE)])
    content = (255 * pixels.clamp(0, 1)).round().byte().numpy().tobytes()
    said.picture.write_bytes(f"P6 {said.size} {said.size} 255\n".encode() + content)


if __name__ == "__main__":
    main()
