"""What the problems of inverse rendering share: find density sigma (and colours) from posed photographs of a scene.

A pixel sees C = int T sigma c dt + T_end b on its ray, T(t) = exp(-int_0^t sigma), before a background b (Mildenhall et
al., "NeRF", ECCV 2020, eq. 1). Any field gives sigma and, for each colour, the coefficients of spherical harmonics of
the viewing direction, or features that a second network reads beside them; so the density cannot depend on it. An
occupancy grid, part of the batch, remembers where there is density, and the field is evaluated only there.
"""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils._pytree import register_dataclass

from nfsolve import Box, InputError, MissingExtra, Problem, unknown_name
from nfsolve import generator as seeded
from nfsolve.data.photos import Photographs
from nfsolve.forward.cameras import aim
from nfsolve.forward.rendering import (
    Contraction,
    OccupancyGrid,
    Rays,
    Rendering,
    Samples,
    composite,
    distortion,
    engine,
    spherical_harmonics,
    thinned,
)
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from problems.nerf import _auxiliary as auxiliary
from problems.nerf import _geometry as geometry
from problems.nerf import _pictures as pictures
from problems.nerf import _scores as scores
from problems.nerf._renderer import Renderer, Seen, sample_rays
from problems.nerf._trained import TrainedScene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THIN = 5.0  # logarithm of a step's transparency at the start, when it absorbs exp(-THIN) of the light
THICK = 8.0  # logarithm of the largest optical depth of a step
LOOKS = 2  # points inside each cell at which a trained field is asked for density before it is rendered
QUICK, FITTED = 2**11, 2**14  # pixels that are scored for the progress line, and of the training views at the end
FLOATER = 0.01  # area of a part of the mesh, in parts of the largest, below which it is left out
CLEARED, EMPTY_WEIGHT = 1 / 32, 0.1  # points in empty cells, in parts of the samples, and weight of their residual
OPACITY_WEIGHT = 1 / 3  # what backgrounds of random colours would give it, in a mean over one column
SPREAD = 1e-8  # added to the spread along rays, since a root has no slope at 0
EMPTY = 1e-3  # mean opacity below which a scene has no density


@dataclass(frozen=True, eq=False)
class PixelRays:
    """Pixels of photographs with their rays.

    Attributes:
        rgb: Colours ``(n, 3)`` in [0, 1].
        rays: Rays of the n pixels.
        samples: Where they are sampled.
        views: Numbers of the views ``(n,)``.
        towards: Directions before the cameras ``(n, 3)``, see `nfsolve.forward.cameras.aim`.
        uncorrected: Poses of all views ``(n_views, 4, 4)`` that are corrected while they are trained, so that the rays
            follow them; None where poses are fixed.
        opacity: Share of each pixel that the scene covers ``(n, 1)``; None where photographs are opaque.
    """

    rgb: Tensor
    rays: Rays
    samples: Samples
    views: Tensor
    towards: Tensor
    uncorrected: Tensor | None = None
    opacity: Tensor | None = None


register_dataclass(PixelRays)


@dataclass
class Radiance(Problem):
    """Find the density and the colours of a scene from posed photographs."""

    points: int = 8192
    """approximate number of samples in a mini-batch; the more space is found empty, the more rays share them"""
    samples: int = 96
    """steps along the diagonal of the box"""
    importance: int = 0
    """most samples on a training ray, placed by densities that the occupancy grid remembers; 0: all occupied steps"""
    cells: int = 48
    """cells of the occupancy grid along each side of the box; with 1 nothing is left out"""
    sh_degree: int = 2
    """degree of the spherical harmonics by which colours depend on the viewing direction, 0 (not at all) to 3"""
    colour: str = "harmonics"
    """model of colours: harmonics, whose coefficients the field gives, or a network that reads its features"""
    distortion: float = 0.0
    """weight of the spread of what a ray loses (mip-NeRF 360), against floaters and fog; 0 for none"""
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
    stage_factors = ()
    surfaces = True  # whether depth and normals mean something

    def __post_init__(self) -> None:
        least = {
            "importance": 0,
            "distortion": 0,
            "points": 1,
            "samples": 2,
            "cells": 1,
            "frames": 0,
            "video": 16,
            "mesh": 0,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} must be at least {low}, got {getattr(self, name)}")
        spherical_harmonics(torch.zeros(1, 3), self.sh_degree)
        if self.colour not in auxiliary.COLOURS:
            raise unknown_name("colour", self.colour, auxiliary.COLOURS)
        engine(self.backend)

    @abstractmethod
    def load_split(self, split: str) -> Photographs:
        """Make or read the photographs of a split, ``"train"`` or ``"test"``; both have one box and background."""

    def take(self, split: str) -> Photographs:
        """Return what `load_split` gives; the name that it had before."""
        warnings.warn("take(split) is now load_split(split)", DeprecationWarning, stacklevel=2)
        return self.load_split(split)

    def truth(self, rays: Rays) -> Seen | None:
        """Return exact opacity, depth and normals along rays, where they are known."""
        return None

    @property
    def background_colour(self) -> tuple[float, ...]:
        """Colour behind the scene; black where the photographs have none."""
        return self.photographs["train"].background or (0.0, 0.0, 0.0)

    @property
    def contraction(self) -> Contraction | None:
        """How space without end is drawn into the box of the scene; None where there is nothing outside."""
        return None

    @property
    def threshold(self) -> float:
        """Density from which a cell of the occupancy grid counts as occupied: a step absorbs a hundredth."""
        return 0.01 / self.step

    @property
    def level(self) -> float:
        """Density of the surface that is exported: a step along a ray absorbs half of the light."""
        return math.log(2) / self.step

    @cached_property
    def photographs(self) -> dict[str, Photographs]:
        """The photographs of both splits."""
        return {split: self.load_split(split) for split in ("train", "test")}

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The box of the scene."""
        x, y, z = self.photographs["train"].bounds
        return Box(x=x, y=y, z=z)

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """Density, and red, green and blue for each spherical harmonic, or features for a network."""
        return f"sigma {auxiliary.outputs(self.colour, self.sh_degree)}"

    @property
    def step(self) -> float:
        """Length of a step along a ray."""
        return math.dist(*zip(*self.domain.bounds, strict=True)) / self.samples

    @property
    def adapts(self) -> bool:
        """The occupancy grid follows the field."""
        return True

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Make densities positive, exp(raw) as in Mueller et al. 2022, and small at first, so that space is emptied."""
        step = self.step
        return lambda x, raw: torch.cat([(raw[:, :1] - THIN).clamp(max=THICK).exp() / step, raw[:, 1:]], -1)

    def auxiliary_modules(self, seed: int) -> dict[str, nn.Module]:
        """Make the network of colours and the corrections of the poses, where they are wanted."""
        made: dict[str, nn.Module] = {}
        if self.colour == "network":
            made["colour"] = auxiliary.colour_network(self.sh_degree, seed)
        if self.refine_poses:
            made["poses"] = auxiliary.pose_corrections(len(self.photographs["train"].cameras))
        return made

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Take the photographs, and the truth of the held-out ones where it is known."""
        data: Batch = {split: photographs.to(device, dtype) for split, photographs in self.photographs.items()}
        test = self.photographs["test"]
        truths = [self.truth(test.rays(*test.cameras.pixels(view))) for view in range(len(test.cameras))]
        data["truth"] = [truth.to(device, dtype) for truth in truths if truth is not None]
        return data

    def full_grid(self, device: Any, **options: Any) -> OccupancyGrid:
        """Make an occupancy grid in which everything is occupied."""
        options |= {"device": device, "contraction": self.contraction}
        return OccupancyGrid(self.domain.bounds, self.cells, self.threshold, **options)

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick pixels of all training views, and sample their rays where the field has density.

        The first rays are sampled through the whole box; later there are as many rays as the samples on the last ones
        suggest.
        """
        train: Photographs = data["train"]
        grid, n, before, poses = self.full_grid(train.colours.device), self.points // self.samples, 0, None
        if state.field is not None:
            last: PixelRays = state.batch["colour"]
            grid.load_state_dict(state.batch["grid"])
            grid.update(_density(state.field), generator)
            n = round(self.points / max(len(last.samples.t) / len(last.rgb), 1.0))
            before, poses = state.batch["rays"], auxiliary.poses(state.field, train.cameras.poses)
        rows = self._pick(train, max(n, 1), grid, generator, poses)
        if self.refine_poses:
            rows = replace(rows, uncorrected=train.cameras.poses)
        empty = grid.sample_empty(round(CLEARED * self.points), generator).to(rows.rgb)
        return {"colour": rows, "empty": empty, "grid": grid.state_dict(), "rays": before + len(rows.rgb)}

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Pick pixels of the held-out views, whose rays are sampled through the whole box."""
        test: Photographs = data["test"]
        return {"colour": self._pick(test, len(batch["colour"].rgb), self.full_grid(test.colours.device), generator)}

    def _pick(
        self, photographs: Photographs, n: int, grid: OccupancyGrid, generator: Generator, poses: Tensor | None = None
    ) -> "PixelRays":
        index = photographs.number(torch.randint(photographs.n_counted, (n,), generator=generator))
        views, pixels = photographs.cameras.locate(index)
        rays = photographs.rays(views, pixels, poses)
        samples = sample_rays(rays, grid, self.step, generator)
        if self.importance and grid.calls:
            samples = self._thinned(rays, samples, grid, generator)
        towards = photographs.cameras.towards(views, pixels)
        opacity = None if photographs.opacity is None else photographs.opacity[index]
        return PixelRays(photographs.colours[index], rays, samples, views, towards, opacity=opacity)

    def _thinned(self, rays: Rays, samples: Samples, grid: OccupancyGrid, generator: Generator) -> Samples:
        """Place fewer samples on rays that have many, where the grid says that light is lost."""
        if grid.contraction is not None:
            raise InputError(
                "importance is for straight rays in a box, but this scene is contracted",
                do="give unbounded False, or leave importance out",
            )
        known = grid.remembered_at(samples.points(rays.origins, rays.directions))
        weights = composite(samples, known, engine=self.backend).weights
        return thinned(samples, weights, self.importance, generator)

    def done(self, batch: Batch) -> dict[str, int]:
        """Count the rays."""
        return {"rays": batch["rays"]}

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Rendered minus photographed colours and opacities, and what steps absorb in cells that are marked as empty.

        No ray is sampled there any more, so that the fog of the start would stay in a field that is used without its
        grid.
        """
        rows: PixelRays = batch["colour"]
        rays = rows.rays
        if rows.uncorrected is not None:
            poses = auxiliary.poses(field, rows.uncorrected)[rows.views]
            rays = self.photographs["train"].cut(*aim(poses, rows.towards))
        seen = self.integrate(field, rays, rows.samples)
        found = {"colour": seen.before(self.background_colour) - rows.rgb}
        if rows.opacity is not None:
            found["opacity"] = seen.opacity - rows.opacity
        if self.distortion:
            spread = distortion(rows.samples, seen.weights, self.step * self.samples, engine=self.backend)
            found["distortion"] = (spread + SPREAD).sqrt()  # so that the mean of its squares is the mean of the spread
        if len(batch.get("empty", ())):
            found["empty"] = -torch.expm1(-self.step * field(batch["empty"])[:, :1])
        return found

    def weights(self) -> dict[str, float]:
        """Keep the emptiness of cells and opacities from competing with the colours."""
        found = {"empty": EMPTY_WEIGHT} | ({"distortion": self.distortion} if self.distortion else {})
        return found | ({} if self.photographs["train"].opacity is None else {"opacity": OPACITY_WEIGHT})

    def integrate(self, field: FieldFunction, rays: Rays, samples: Samples) -> Rendering:
        """Integrate the density and the colours of a field along rays."""
        points = samples.points(rays.origins, rays.directions)
        values = field(points if self.contraction is None else self.contraction(points))
        harmonics = spherical_harmonics(rays.viewing, self.sh_degree)[samples.ray]
        colours = auxiliary.colours(field, values[:, 1:], harmonics)
        return composite(samples, values[:, :1], colours, engine=self.backend)

    def renderer(self, field: FieldFunction, grid: OccupancyGrid) -> Renderer:
        """Make what renders a field where a grid is occupied."""
        return Renderer(_density(field), partial(self.integrate, field), self.background_colour, grid, self.step)

    def trained(self, field: nn.Module) -> TrainedScene:
        """Return what `nfsolve.load` hands to a user: the field, and views of it from anywhere."""
        return TrainedScene(field, self)

    @torch.no_grad()
    def build_occupancy_grid(self, field: FieldFunction, like: Tensor) -> OccupancyGrid:
        """Find out where a field that takes points like a tensor has density, at all cells' corners and inside."""
        ends = [self.cells + 1] * 3
        grid, density = self.full_grid(like.device, every=1, warmup=LOOKS, decay=1.0), _density(field)
        corners = density(self.domain.grid(*ends).to(like)).reshape(1, 1, *ends)
        grid.density = F.max_pool3d(corners, 2, 1).reshape(-1, 1).to(grid.density)
        random = seeded(0, "occupancy")
        for _ in range(LOOKS):
            grid.update(density, random)
        return grid

    def trained_renderer(self, field: FieldFunction, data: Batch) -> Renderer:
        """Make what renders a trained field, where it has density."""
        return self.renderer(field, self.build_occupancy_grid(field, data["train"].colours))

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score held-out views: means of PSNR and SSIM, depth and normals where they are known; and trained pixels."""
        renderer, train = self.trained_renderer(field, data), data["train"]
        found: dict[str, Any] = scores.view_scores(renderer, data["test"], data["truth"])
        evaluated, opacity = found.pop("evaluated"), found.pop("opacity")
        found["psnr"] = scores.some_pixels(renderer, train, FITTED, auxiliary.poses(field, train.cameras.poses))
        found |= {"evaluations_saved": 1 - evaluated, "occupied": renderer.grid.fraction}
        found["renderer"] = engine(self.backend, train.colours)
        if opacity < EMPTY:
            found["scene"] = "empty: no density was found, rays see the background; check poses, box, near and far"
        return found | auxiliary.pose_metrics(field)

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score a few pixels of all held-out views."""
        return {"psnr_heldout": scores.some_pixels(self.trained_renderer(field, data), data["test"], QUICK)}

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw held-out views and the history."""
        return pictures.picture(self.trained_renderer(field, data), data["test"], history)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write rendered views, depth, normals, a video and a mesh."""
        renderer, test = self.trained_renderer(field, data), data["test"]
        pictures.write_views(folder, renderer, test, self.surfaces)
        if self.frames:
            path = pictures.resized(test.path(self.frames), self.video)
            pictures.write_video(folder, renderer, path, self.surfaces)
        if self.mesh:
            try:
                self.surface(renderer, field, self.mesh, test.colours).write(folder / "mesh.ply")
            except (MissingExtra, InputError) as error:
                print(f"no mesh: {error}")

    def surface(
        self,
        renderer: Renderer,
        field: FieldFunction,
        n: int,
        like: Tensor,
        level: float | None = None,
        share: float = FLOATER,
    ) -> geometry.ColouredMesh:
        """Return the surface of a field, without floaters and cavities, in the coordinates of the box.

        Args:
            renderer: What renders the field.
            field: The field.
            n: Points along each side of the box.
            like: A tensor of the type and on the device that the field takes.
            level: The density of the surface; by default a step along a ray absorbs half of the light there.
            share: Area of a part, in parts of the largest, below which it is left out.

        Raises:
            InputError: There is no surface.
            MissingExtra: scikit-image is not installed.
        """
        level = self.level if level is None else level
        bounds = self.domain.bounds if self.contraction is None else self.contraction.inner
        whole = geometry.surface(renderer.density, bounds, n, level, like)
        mesh = geometry.cleaned(whole, share)
        if len(mesh.faces) < len(whole.faces):
            left = len(whole.faces) - len(mesh.faces)
            print(f"mesh: left out floaters and cavities, {left} of {len(whole.faces)} triangles")
        return geometry.ColouredMesh(mesh, self._surface_colours(renderer, field, mesh.vertices, like))

    @torch.no_grad()
    def _surface_colours(
        self, renderer: Renderer, field: FieldFunction, vertices: np.ndarray, like: Tensor
    ) -> np.ndarray | None:
        """Return colours ``(V, 3)`` of a surface, each point seen from straight above; None where nothing has any."""
        if not self.surfaces:
            return None
        points = torch.from_numpy(vertices).to(like)
        harmonics = spherical_harmonics(-renderer.outward_normals(points), self.sh_degree)
        return auxiliary.colours(field, in_pieces(field, points)[:, 1:], harmonics).cpu().double().numpy()


def _density(field: FieldFunction) -> FieldFunction:
    return lambda points: in_pieces(lambda some: field(some)[:, :1], points)
