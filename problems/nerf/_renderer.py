"""A trained scene seen from anywhere: colours, opacity, depth and normals along rays, and whole views of cameras."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from nfsolve.data.photos import Photographs
from nfsolve.forward.rendering import OccupancyGrid, Rays, Rendering, Samples, accumulate
from nfsolve.problem import FieldFunction

PIECE = 2**19  # steps along rays at once, for memory


@dataclass(frozen=True)
class Seen:
    """What rays see; of a view, images with height and width in the place of n.

    Attributes:
        rgb: Colours ``(n, 3)``, the background included.
        opacity: Share of the light that the scene absorbs, ``(n, 1)``.
        depth: Mean distance at which it does, ``(n, 1)``; 0 where opacity is below a thousandth.
        n_samples: Points at which the field was evaluated, ``(n, 1)``.
        length: Length of the ray inside the scene, ``(n, 1)``.
        normals: Unit vectors ``(n, 3)`` out of the surface, 0 where there is none; None where not asked for.
    """

    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    n_samples: Tensor
    length: Tensor
    normals: Tensor | None = None

    @staticmethod
    def join(parts: list["Seen"]) -> "Seen":
        """Put pieces together."""
        return parts[0].map(lambda name: torch.cat([getattr(part, name) for part in parts]))

    def map(self, change: Callable[[str], Tensor]) -> "Seen":
        """Return another value for each name that has one."""
        return Seen(**{f.name: change(f.name) for f in fields(self) if getattr(self, f.name) is not None})

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Seen":
        """Move to a device and a type."""
        return self.map(lambda name: getattr(self, name).to(device, dtype))


@dataclass(frozen=True)
class Renderer:
    """A scene that can be looked at.

    Attributes:
        density: Points ``(n, 3)`` -> density ``(n, 1)``, 1/length.
        integrate: Rays and their samples -> the integrals along the rays.
        background: Colour behind the scene.
        grid: Where the scene has density.
        step: Length of a step along a ray.
    """

    density: FieldFunction
    integrate: Callable[[Rays, Samples], Rendering]
    background: tuple[float, ...]
    grid: OccupancyGrid
    step: float

    def render_samples(self, rays: Rays, samples: Samples, reach: float = 0.0) -> Seen:
        """Integrate along rays that are sampled already; normals by differences over ``reach``, if it is not 0."""
        found = self.integrate(rays, samples)
        seen = Seen(
            found.before(self.background),
            found.opacity,
            found.depth(),
            samples.counts()[:, None],
            self._length(rays),
        )
        if not reach:
            return seen
        points = samples.points(rays.origins, rays.directions)
        placed = points if self.grid.contraction is None else self.grid.contraction(points)
        slope = _outwards(self.density, placed, self.step, reach)
        return replace(seen, normals=F.normalize(accumulate(samples, found.weights * slope), dim=-1))

    def _length(self, rays: Rays) -> Tensor:
        """Return the length of rays inside the scene ``(n, 1)``, as they are sampled."""
        if self.grid.contraction is None:
            return rays.far - rays.near
        return self.grid.contraction.length(rays.origins, rays.directions)

    @torch.no_grad()
    def outward_normals(self, points: Tensor) -> Tensor:
        """Return unit vectors ``(n, 3)`` out of the surfaces at points; 0 where density is constant."""
        return F.normalize(_outwards(self.density, points, self.step, self.step), dim=-1)

    @torch.no_grad()
    def render_rays(self, rays: Rays, normals: bool = False) -> Seen:
        """Render any number of rays, in pieces."""
        steps = math.dist(*zip(*self.grid.bounds, strict=True)) / self.step  # on the longest ray
        parts = rays.split(max(1, int(PIECE / steps))) or [rays]
        reach = self.step if normals else 0.0
        return Seen.join([self.render_samples(part, sample_rays(part, self.grid, self.step), reach) for part in parts])

    def render_view(self, photographs: Photographs, view: int, normals: bool = False, stride: int = 1) -> Seen:
        """Render every stride-th pixel of a view, as images ``(height, width, k)``."""
        size = photographs.cameras.sizes[view].flip(0).tolist()
        views, pixels = (rows.unflatten(0, size)[::stride, ::stride] for rows in photographs.cameras.pixels(view))
        seen = self.render_rays(photographs.rays(views.reshape(-1), pixels.reshape(-1, 2)), normals)
        return seen.map(lambda name: getattr(seen, name).unflatten(0, views.shape))


def sample_rays(rays: Rays, grid: OccupancyGrid, step: float, generator: Generator | None = None) -> Samples:
    """Sample rays in the occupied steps between near and far; at random places if there is a generator."""
    samples = grid.sample(rays.origins, rays.directions, step, generator)
    near, far = rays.near[samples.ray], rays.far[samples.ray]
    return samples.keep((samples.t > near) & (samples.t < far))


def _outwards(density: FieldFunction, points: Tensor, step: float, reach: float) -> Tensor:
    """Slope of the transparency of a step, exp(-sigma step), at points, (n, 3), by central differences.

    Density itself is steepest deep inside, where nothing is seen, and its derivatives on a grid are those of one cell.
    """
    sides = reach * torch.eye(3, dtype=points.dtype, device=points.device)
    ahead, back = ([torch.exp(-step * density(points + s * side)) for side in sides] for s in (1, -1))
    return (torch.cat(ahead, -1) - torch.cat(back, -1)) / (2 * reach)
