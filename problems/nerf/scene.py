"""A radiance field from posed images of an analytic scene, whose colours, depth and normals are known exactly.

The scene has three soft-edged balls over a slab, on a white background. It is its own ground truth for every score.

    nfsolve run nerf_scene
    nfsolve run nerf_scene --field.encoding grid --field.depth 1
    nfsolve run nerf_scene --pose-noise 1 --refine-poses
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve import MLP, Box, GaussianFourier, InputError, Recipe, RunOptions, Stage, generator, main
from nfsolve.data.photos import Photographs
from nfsolve.data.photos.frames import Bounds
from nfsolve.fields import ReLU
from nfsolve.forward import cameras, rendering
from nfsolve.forward.rendering import Rays
from nfsolve.problem import Batch, FieldFunction
from problems.nerf import _scores as scores
from problems.nerf._auxiliary import poses
from problems.nerf._radiance import Radiance
from problems.nerf._renderer import Seen

BALLS = (  # centre, radius, colour
    ((0.36, 0.08, -0.02), 0.40, (0.90, 0.28, 0.18)),
    ((-0.42, 0.36, -0.14), 0.28, (0.18, 0.42, 0.88)),
    ((-0.16, -0.46, -0.20), 0.22, (0.98, 0.76, 0.16)),
)
SLAB = ((0.0, 0.0, -0.52), (0.86, 0.86, 0.08))  # centre, half sizes
EDGE = 0.04  # half the thickness of the layer in which density rises from 0 to PEAK
PEAK = 40.0  # density inside, 1/length
LIGHT = (0.48, -0.36, 0.80)  # unit vector to the light that shades the colours
TARGET = (0.0, 0.0, -0.45)  # what all cameras look at
RADIUS = 3.2  # their distance from it
ELEVATION = math.radians(32)  # of the held-out cameras and of the orbit
HELD_OUT = 4  # views
WIDTH = math.radians(44)  # angle of view


def scene(x: Tensor) -> Tensor:
    """Evaluate the exact density and the logits of the exact colours, (n, 3) -> (n, 4) with columns sigma, r, g, b."""
    bodies = [(_ball_density(x, *ball), _ball_colour(x, *ball)) for ball in BALLS]
    bodies.append((_slab_density(x), _slab_colour(x)))
    mixed = sum((sigma * colour for sigma, colour in bodies), torch.zeros_like(x))
    total = _density(x)
    return torch.cat([total, torch.logit(mixed / total.clamp_min(1e-12), 1e-9)], -1)


def _density(x: Tensor) -> Tensor:
    return sum([_ball_density(x, *ball) for ball in BALLS], _slab_density(x))


def _rise(depth: Tensor) -> Tensor:
    q = (0.5 + depth / (2 * EDGE)).clamp(0, 1)
    return q * q * (3 - 2 * q)


def _distance(x: Tensor, centre: Sequence[float]) -> Tensor:
    return ((x - x.new_tensor(centre)).square() @ x.new_ones(len(centre), 1)).sqrt()


def _ball_density(x: Tensor, centre: Sequence[float], radius: float, colour: Sequence[float]) -> Tensor:
    return PEAK * _rise(radius - _distance(x, centre))


def _ball_colour(x: Tensor, centre: Sequence[float], radius: float, colour: Sequence[float]) -> Tensor:
    offset = x - x.new_tensor(centre)
    facing = offset @ x.new_tensor(LIGHT)[:, None] / _distance(x, centre).clamp_min(1e-6)
    stripes = 1 + 0.2 * torch.tanh(3 * torch.sin(8 * math.pi * offset[:, 2:] / (2 * radius)))
    return 0.52 * (1 + 0.55 * facing) * stripes * x.new_tensor(colour)


def _slab_density(x: Tensor) -> Tensor:
    rise = _rise(x.new_tensor(SLAB[1]) - (x - x.new_tensor(SLAB[0])).abs())
    return PEAK * rise[:, :1] * rise[:, 1:2] * rise[:, 2:]


def _slab_colour(x: Tensor) -> Tensor:
    waves = torch.sin(math.pi * x[:, :2] / 0.215)
    grey = 0.55 + 0.33 * torch.tanh(5 * waves[:, :1] * waves[:, 1:])
    for centre, radius, _ in BALLS:  # each ball throws a soft shadow
        grey = grey * (1 - 0.6 * torch.exp(-((_distance(x[:, :2], centre[:2]) / radius) ** 2)))
    return grey * x.new_tensor((1.0, 0.97, 0.90))


@dataclass
class NeRFScene(Radiance):
    """Density and colour of three balls over a slab, from images taken all around."""

    size: int = 64
    """width and height of the images, pixels"""
    views: int = 30
    """training views"""
    sh_degree: int = 0
    """degree of the spherical harmonics by which colours depend on the viewing direction; this scene has none"""
    pose_noise: float = 0.0
    """standard deviation of errors of training poses: degrees about each axis, and a 57th of the number along it"""

    domain = Box(x=(-0.92, 0.92), y=(-0.92, 0.92), z=(-0.66, 0.44))  # type: ignore[assignment]
    background_colour = (1.0, 1.0, 1.0)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1 or self.views < 1:
            raise InputError(f"size and views must be at least 1, got size={self.size} and views={self.views}")
        if not 0 <= self.pose_noise < 45:
            raise InputError(f"pose_noise must be at least 0 and less than 45 degrees, got {self.pose_noise:g}")
        if self.pose_noise and self.views < 3:
            raise InputError(
                f"comparing wrong poses with the exact ones takes at least 3 views, got views={self.views}",
                do="choose more views, or no pose_noise",
            )

    def load_split(self, split: str) -> Photographs:
        """Render the exact scene, and err about where the training views were taken if so wanted."""
        photographs = empty_views(self.exact_poses(split), self.size, WIDTH, self.domain.bounds)
        seen = replace(photographs, colours=self.exact(photographs.all_rays()).rgb)
        if split != "train" or not self.pose_noise:
            return seen
        error = torch.randn(self.views, 6, generator=generator(0, "poses"), dtype=torch.float64)
        moved = seen.cameras.poses @ cameras.rigid_motion(math.radians(self.pose_noise) * error)
        return replace(seen, cameras=replace(seen.cameras, poses=moved))

    def exact_poses(self, split: str) -> Tensor:
        """Return the exact poses of a split, ``(n, 4, 4)``."""
        if split == "train":
            return cameras.dome(self.views, RADIUS, (math.radians(8), math.radians(75)), target=TARGET)
        return cameras.orbit(HELD_OUT, RADIUS, ELEVATION, start=0.4, target=TARGET)

    def truth(self, rays: Rays) -> Seen:
        """Return exact opacity, depth and normals."""
        return self.exact(rays, reach=1e-5)

    def exact(self, rays: Rays, reach: float = 0.0) -> Seen:
        """Render the exact scene, by a midpoint rule with 320 points on each ray, where they can be seen."""
        plain, seen = self.plain(), []
        renderer = plain.renderer(scene, plain.full_grid(rays.near.device))
        for part in rays.split(2**8):
            cut = rendering.stratified(part.near, part.far, 320)
            with torch.no_grad():
                seen.append(renderer.render_samples(part, cut.keep(_visible(part, 320)), reach))
        return Seen.join(seen)

    def plain(self) -> "NeRFScene":
        """Return the problem that fits `scene`, whose colours depend on no direction."""
        return replace(self, sh_degree=0, colour="harmonics")

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field, beside the normals that exact density would get; compare poses that were wrong or refined.

        Poses are compared after the similarity that brings the cameras' places closest to the exact ones, since
        photographs do not tell where the whole scene is. Held-out views know nothing of it: they stay where they are,
        so that their PSNR falls with any motion that all training views have in common.
        """
        found = super().metrics(field, data)
        plain, test = self.plain(), data["test"]
        exact = scores.view_scores(plain.trained_renderer(scene, data), test, data["truth"])
        found["normal_floor_degrees"] = exact["normal_error_degrees"]
        if self.pose_noise or self.refine_poses:
            given, right = data["train"].cameras.poses, self.exact_poses("train")
            for end, some in (("", poses(field, given)), ("/given", given)):
                turns, shifts = cameras.pose_errors(some.to(right), right)
                found |= {f"pose_error_degrees{end}": turns, f"pose_error_distance{end}": shifts}
        return found

    def recipe(self) -> Recipe:
        """A ReLU network on Gaussian Fourier features under Adam."""
        return Recipe(
            field=partial(MLP, width=64, depth=3, activation=ReLU(), encoding=GaussianFourier(64, scale=0.6)),
            stages=(Stage(partial(torch.optim.Adam, lr=1e-2, fused=True), steps=3000, schedule="cosine"),),
            run=RunOptions(log_every=100),
        )


def empty_views(poses: Tensor, size: int, angle: float, bounds: Bounds) -> Photographs:
    """Make square views of a box, before white, that have no colours yet.

    Args:
        poses: Camera-to-world poses ``(n, 4, 4)``.
        size: Pixels along each side.
        angle: Full angle of view, radians.
        bounds: The box.

    Returns:
        The views.
    """
    eyes = cameras.Cameras.with_angle(poses, size, size, angle)
    names = tuple(f"{i + 1}" for i in range(len(poses)))
    return Photographs(poses.new_zeros(0, 3), eyes, names, 0.0, math.inf, bounds, (1.0, 1.0, 1.0))


def _visible(rays: Rays, samples: int) -> Tensor:
    """Mark the samples in those of 64 bins of each ray that hold something that can be seen."""
    bins = rendering.stratified(rays.near, rays.far, 64)
    optical = (_density(bins.points(rays.origins, rays.directions)) * bins.dt).reshape(-1, 64)
    # A body can begin between the middles of two bins, hence the neighbours.
    seen = (F.max_pool1d(optical, 3, 1, 1) > 0) & (optical.cumsum(-1) - optical < 16)
    return seen.repeat_interleave(samples // 64, -1).reshape(-1, 1)


if __name__ == "__main__":
    main(NeRFScene)
