"""What the problems of inverse rendering share: find density sigma (and colours) from posed photographs of a scene.

A pixel sees C = int T sigma c dt + T_end b on its ray, T(t) = exp(-int_0^t sigma), before a background b (Mildenhall et
al., "NeRF", ECCV 2020, eq. 1). Any field gives sigma and, for each colour, the coefficients of spherical harmonics of
the viewing direction, or features that a second network reads beside them; so the density cannot depend on it. An
occupancy grid, part of the batch, remembers where there is density, and the field is evaluated only there.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nfsolve import Box, InputError, Problem, unknown_name
from nfsolve import generator as seeded
from nfsolve.data.photos import Photographs
from nfsolve.forward.cameras import aim
from nfsolve.forward.rendering import OccupancyGrid, Samples, accumulate, composite, engine, spherical_harmonics
from nfsolve.problem import Batch, FieldFunction, in_pieces
from problems.nerf import _auxiliary as beside
from problems.nerf import _pictures as pictures
from problems.nerf import _scores as scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THIN = 5.0  # logarithm of a step's transparency at the start, when it absorbs exp(-THIN) of the light
THICK = 8.0  # logarithm of the largest optical depth of a step
LOOKS = 2  # points inside each cell at which a trained field is asked for density before it is rendered
PIECE = 2**19  # steps of the march at once, for memory


@dataclass
class Radiance(Problem):
    """Find the density and the colours of a scene from posed photographs."""

    points: int = 8192
    """samples in a mini-batch, about; the more space is found to be empty, the more rays share them"""
    samples: int = 96
    """steps of the march along the diagonal of the box"""
    cells: int = 48
    """cells of the occupancy grid along each side of the box; with 1 nothing is left out"""
    view: int = 2
    """degree of the spherical harmonics by which colours depend on the viewing direction, 0 (not at all) to 3"""
    colour: str = "harmonics"
    """what gives colours: harmonics, of which the field gives coefficients, or a network that reads its features"""
    refine_poses: bool = False
    """correct the poses of the training views; held-out views keep theirs, at a cost in score if all others drift"""
    frames: int = 40
    """frames of the video that is exported; 0 for none"""
    video: int = 120
    """longer side of the video, pixels"""
    mesh: int = 96
    """points along each side of the box for the mesh that is exported; 0 for none"""
    backend: str = "auto"
    """engine of the integrator: auto, nerfacc or torch"""

    score = "psnr_heldout"
    surfaces = True  # whether depth and normals mean something

    def __post_init__(self) -> None:
        low = {"points": 1, "samples": 2, "cells": 1, "view": 0, "frames": 0, "video": 16, "mesh": 0}
        for name, least in low.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}", f"at least {least}")
        spherical_harmonics(torch.zeros(1, 3), self.view)
        if self.colour not in beside.COLOURS:
            raise unknown_name("colour", self.colour, beside.COLOURS)
        engine(self.backend)

    @abstractmethod
    def take(self, split: str) -> Photographs:
        """Make or read the photographs of a split, ``"train"`` or ``"test"``; both have one box and background."""

    def truth(self, rays: Batch) -> Batch | None:
        """Return exact opacity, depth and normals along rays, where they are known."""
        return None

    @property
    def behind(self) -> tuple[float, ...]:
        """Colour behind the scene; black where the photographs have none."""
        return self.photographs["train"].background or (0.0, 0.0, 0.0)

    @property
    def threshold(self) -> float:
        """Density from which a cell of the occupancy grid counts as occupied: a step absorbs a hundredth."""
        return 0.01 / self.step

    @property
    def level(self) -> float:
        """Density of the surface that is exported: a step of the march absorbs half of the light."""
        return math.log(2) / self.step

    @cached_property
    def photographs(self) -> dict[str, Photographs]:
        """The photographs of both splits."""
        return {split: self.take(split) for split in ("train", "test")}

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The box of the scene."""
        x, y, z = self.photographs["train"].bounds
        return Box(x=x, y=y, z=z)

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """Density, and red, green and blue for each spherical harmonic, or features for a network."""
        return f"sigma {beside.outputs(self)}"

    @property
    def step(self) -> float:
        """Length of a step of the march."""
        return math.dist(*zip(*self.domain.bounds, strict=True)) / self.samples

    @property
    def adapts(self) -> bool:
        """The occupancy grid follows the field."""
        return True

    def transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Make densities positive, exp(raw) as in Mueller et al. 2022, and small at first, so that space is emptied."""
        step = self.step
        return lambda x, raw: torch.cat([(raw[:, :1] - THIN).clamp(max=THICK).exp() / step, raw[:, 1:]], -1)

    def auxiliary_modules(self, seed: int) -> dict[str, nn.Module]:
        """Make the network of colours and the corrections of the poses, where they are wanted."""
        return beside.auxiliary_modules(self, seed)

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Take the photographs, and the truth of the held-out ones where it is known."""
        data: Batch = {split: photographs.to(device, dtype) for split, photographs in self.photographs.items()}
        test = self.photographs["test"]
        truths = [self.truth(test.rays(*test.cameras.pixels(view))) for view in range(len(test.cameras))]
        data["truth"] = [{name: rows.to(device, dtype) for name, rows in t.items()} for t in truths if t is not None]
        return data

    def grid(self, device: Any, **options: Any) -> OccupancyGrid:
        """Make an occupancy grid in which everything is occupied."""
        return OccupancyGrid(self.domain.bounds, self.cells, self.threshold, device=device, **options)

    def sample(self, data: Batch, generator: Generator) -> Batch:
        """Pick pixels of all training views, and march along their rays through the whole box."""
        return self._draw(data, generator, self.grid(data["train"].colours.device), self.points // self.samples, 0)

    def resample(self, data: Batch, generator: Generator, field: FieldFunction, batch: Batch) -> Batch:
        """Pick as many pixels as the samples on the last rays suggest, and march only where the field has density."""
        grid = self.grid(data["train"].colours.device)
        grid.load_state_dict(batch["grid"])
        grid.update(_density(field), generator)
        each = len(batch["samples"]["t"]) / len(batch["colour"]["rgb"])
        poses = beside.poses(field, data["train"].cameras.poses)
        return self._draw(data, generator, grid, round(self.points / max(each, 1.0)), batch["rays"], poses)

    def _draw(
        self,
        data: Batch,
        generator: Generator,
        grid: OccupancyGrid,
        rays: int,
        before: int,
        poses: Tensor | None = None,
    ) -> Batch:
        train, n = data["train"], max(rays, 1)
        index = torch.randint(len(train.colours), (n,), generator=generator).to(train.colours.device)
        views, pixels = train.cameras.locate(index)
        rows = train.rays(views, pixels, poses)
        samples = self.march(rows, grid, generator)
        marched = {name: getattr(samples, name) for name in ("t0", "t1", "t", "ray")}
        rows["rgb"] = train.colours[index]
        batch = {"colour": rows, "samples": marched, "grid": grid.state_dict(), "rays": before + n}
        if self.refine_poses:
            rows |= {"views": views, "towards": train.cameras.towards(views, pixels)}
            batch["poses"] = train.cameras.poses
        return batch

    def done(self, batch: Batch) -> dict[str, int]:
        """Count the rays."""
        return {"rays": batch["rays"]}

    def march(self, rays: Batch, grid: OccupancyGrid, generator: Generator | None = None) -> Samples:
        """Sample rays in the occupied steps between near and far."""
        samples = grid.sample(rays["origins"], rays["directions"], self.step, generator)
        near, far = rays["near"][samples.ray], rays["far"][samples.ray]
        return samples.keep((samples.t > near) & (samples.t < far))

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Rendered minus photographed colours."""
        rays = batch["colour"]
        samples = Samples(**batch["samples"], n_rays=len(rays["rgb"]))
        if self.refine_poses:
            poses = beside.poses(field, batch["poses"])[rays["views"]]
            rays = rays | self.photographs["train"].cut(*aim(poses, rays["towards"]))
        return {"colour": self.see(field, rays, samples)["rgb"] - rays["rgb"]}

    def see(self, field: FieldFunction, rays: Batch, samples: Samples, normals: float = 0.0) -> Batch:
        """Integrate a field along rays: colours, opacity, depth, number of samples; normals by differences this far."""
        points = samples.points(rays["origins"], rays["directions"])
        values = field(points)
        harmonics = spherical_harmonics(rays["viewing"], self.view)[samples.ray]
        colours = beside.colours(field, values[:, 1:], harmonics)
        seen = composite(samples, values[:, :1], colours, engine=self.backend)
        behind = seen.transmitted * seen.channels.new_tensor(self.behind)
        found = {"rgb": seen.channels + behind, "opacity": seen.opacity, "depth": seen.depth()}
        found["count"] = samples.counts()[:, None]
        if normals:
            slope = _outwards(field, points, self.step, normals)
            found["normal"] = F.normalize(accumulate(samples, seen.weights * slope), dim=-1)
        return found

    @torch.no_grad()
    def look(self, field: FieldFunction, data: Batch) -> OccupancyGrid:
        """Find out where a trained field has density, at the corners of all cells and inside them."""
        colours, ends = data["train"].colours, [self.cells + 1] * 3
        grid, density = self.grid(colours.device, every=1, warmup=LOOKS, decay=1.0), _density(field)
        corners = density(self.domain.grid(*ends).to(colours)).reshape(1, 1, *ends)
        grid.density = F.max_pool3d(corners, 2, 1).reshape(-1, 1).to(grid.density)
        random = seeded(0, "occupancy")
        for _ in range(LOOKS):
            grid.update(density, random)
        return grid

    @torch.no_grad()
    def render(self, field: FieldFunction, rays: Batch, grid: OccupancyGrid, normals: bool = False) -> Batch:
        """Render any number of rays, in pieces."""
        names, columns = zip(*rays.items(), strict=True)
        pieces = zip(*(column.split(max(1, PIECE // self.samples)) for column in columns), strict=True)
        parts = [dict(zip(names, piece, strict=True)) for piece in pieces]
        seen = [self.see(field, part, self.march(part, grid), normals * self.step) for part in parts]
        return {name: torch.cat([part[name] for part in seen]) for name in seen[0]}

    def render_view(
        self,
        field: FieldFunction,
        photographs: Photographs,
        view: int,
        grid: OccupancyGrid,
        normals: bool = False,
        stride: int = 1,
    ) -> Batch:
        """Render every stride-th pixel of a view, as images (height, width, k)."""
        size = photographs.cameras.sizes[view].flip(0).tolist()
        views, pixels = (rows.unflatten(0, size)[::stride, ::stride] for rows in photographs.cameras.pixels(view))
        rays = photographs.rays(views.reshape(-1), pixels.reshape(-1, 2))
        seen = self.render(field, rays, grid, normals) | {"reach": rays["far"] - rays["near"]}
        return {name: rows.unflatten(0, views.shape) for name, rows in seen.items()}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the held-out views: means of PSNR and SSIM; depth and normals where they are known."""
        return scores.metrics(self, field, data)

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score a few pixels of all held-out views."""
        return {"psnr_heldout": scores.some_pixels(self, field, data, "test", self.look(field, data))}

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw held-out views and the history."""
        return pictures.picture(self, field, data, history)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write rendered views, depth, normals, a video and a mesh."""
        pictures.export(self, field, data, folder)


def _density(field: FieldFunction) -> FieldFunction:
    return lambda points: in_pieces(lambda some: field(some)[:, :1], points)


def _outwards(field: FieldFunction, points: Tensor, step: float, reach: float) -> Tensor:
    """Slope of the transparency of a step, exp(-sigma step), at points, (n, 3), by central differences.

    Density itself is steepest deep inside, where nothing is seen, and its derivatives on a grid are those of one cell.
    """
    sides = reach * torch.eye(3, dtype=points.dtype, device=points.device)
    ahead, back = ([torch.exp(-step * field(points + s * side)[:, :1]) for side in sides] for s in (1, -1))
    return (torch.cat(ahead, -1) - torch.cat(back, -1)) / (2 * reach)
