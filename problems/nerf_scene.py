"""A radiance field from posed images: find density sigma and colour c with C = int T sigma c dt + T_end c_0.

T(t) = exp(-int_0^t sigma) on the ray of a pixel (Mildenhall et al., "NeRF", ECCV 2020, eq. 1). The scene is
analytic, three soft-edged balls over a slab before white c_0: colour and depth of every view are known.

    nfsolve run nerf_scene
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from nfsolve import MLP, Box, GaussianFourier, Problem, Recipe, Stage, main, plot
from nfsolve._core.errors import InputError
from nfsolve.fields import ReLU
from nfsolve.forward import cameras, rendering
from nfsolve.metrics import psnr, ssim
from nfsolve.problem import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
Callback = Callable[[Tensor], Tensor]


def scene(x: Tensor) -> Tensor:
    """Evaluate the exact density and colours, (n, 3) -> (n, 4) with columns sigma, r, g, b."""
    bodies = [(_ball_density(x, *ball), _ball_colour(x, *ball)) for ball in BALLS]
    bodies.append((_slab_density(x), _slab_colour(x)))
    mixed = sum((sigma * colour for sigma, colour in bodies), torch.zeros_like(x))
    total = _density(x)
    return torch.cat([total, mixed / total.clamp_min(1e-12)], -1)


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


def physical(x: Tensor, raw: Tensor) -> Tensor:
    """Map raw outputs to density >= 0 and colours in [0, 1]; the shift makes space start nearly empty."""
    return torch.cat([PEAK * F.softplus(raw[:, :1] - 4), torch.sigmoid(raw[:, 1:])], -1)


@dataclass
class NeRFScene(Problem):
    """Density and colour of three balls over a slab, from images taken all around."""

    size: int = 64
    """width and height of the images, pixels"""
    views: int = 30
    """training views"""
    rays: int = 256
    """rays in a mini-batch"""
    samples: int = 16
    """samples on a ray"""
    frames: int = 40
    """frames of the orbit that is exported"""
    backend: str = "auto"
    """engine of the integrator: auto, nerfacc or torch"""

    domain = Box(x=(-0.92, 0.92), y=(-0.92, 0.92), z=(-0.66, 0.44))
    score = "psnr_heldout"
    unknowns = "sigma r g b"
    pointwise = True

    def __post_init__(self) -> None:
        small = [name for name in ("size", "views", "rays", "samples") if getattr(self, name) < 1]
        if small:
            raise InputError(f"{small[0]} = {getattr(self, small[0])}", "at least 1")
        rendering.engine(self.backend)

    def transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Give the field physical values, see `physical`."""
        return physical

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Render the training images and the held-out ones."""
        train = self.cut(cameras.dome(self.views, RADIUS, (math.radians(8), math.radians(75)), target=TARGET))
        held_out = self.cut(cameras.orbit(HELD_OUT, RADIUS, ELEVATION, start=0.4, target=TARGET))
        truth = self.truth(train)
        # A ray that misses the box sees the background, whatever the field.
        hit = (train["far"] > train["near"])[:, 0]
        train = {name: rows[hit] for name, rows in (train | {"rgb": truth["rgb"]}).items()}
        data = {"train": train, "view": held_out, "truth": self.truth(held_out)}
        return {
            group: {name: rows.to(device, dtype) for name, rows in columns.items()} for group, columns in data.items()
        }

    def cut(self, poses: Tensor, size: int | None = None) -> Batch:
        """Make the rays of all pixels of some views, cut to the box."""
        size = size or self.size
        camera = cameras.Pinhole(size, size, cameras.focal_from_angle(size, math.radians(44)))
        pixels = camera.pixels(dtype=poses.dtype, device=poses.device)
        origins, directions = camera.rays(poses.repeat_interleave(len(pixels), 0), pixels.repeat(len(poses), 1))
        near, far = rendering.box_intersection(origins, directions, self.domain.bounds)
        return {"origins": origins, "directions": directions, "near": near, "far": far}

    def truth(self, rays: Batch) -> Batch:
        """Render the exact scene, by a midpoint rule with 320 points on each ray, where they can be seen."""
        return self.view(scene, rays, 320, visible_only=True)

    def view(self, field: Callback, rays: Batch, samples: int, visible_only: bool = False) -> Batch:
        """Render any number of rays, in pieces, with samples in the middle of their intervals."""
        hit = (rays["far"] > rays["near"])[:, 0]
        empty = torch.zeros_like(rays["near"])
        seen = {"rgb": torch.ones_like(rays["origins"]), "opacity": empty, "depth": empty.clone()}
        for rows in hit.nonzero()[:, 0].split(max(1, 2**16 // samples)):
            part = {name: column[rows] for name, column in rays.items()}
            cut = rendering.stratified(part["near"], part["far"], samples)
            if visible_only:
                cut = cut.keep(_visible(part, samples))
            with torch.no_grad():
                for name, values in self.see(field, part, cut).items():
                    seen[name][rows] = values
        return seen

    def see(self, field: Callback, rays: Batch, samples: rendering.Samples) -> Batch:
        """Integrate the field along rays, before a white background."""
        values = field(samples.points(rays["origins"], rays["directions"]))
        seen = rendering.composite(samples, values[:, :1], values[:, 1:], engine=self.backend)
        return {"rgb": seen.channels + seen.transmitted, "opacity": seen.opacity, "depth": seen.depth()}

    def draw(self, data: Batch, generator: Generator) -> Batch:
        """Pick rays of all training views, and samples on them."""
        train = data["train"]
        index = torch.randint(len(train["rgb"]), (self.rays,), generator=generator).to(train["rgb"].device)
        rays = {name: rows[index] for name, rows in train.items()}
        cut = rendering.stratified(rays.pop("near"), rays.pop("far"), self.samples, generator)
        return {"colour": rays | {name: getattr(cut, name).reshape(self.rays, -1) for name in ("t0", "t1", "t")}}

    def residuals(self, field: Callback, batch: Batch) -> dict[str, Tensor]:
        """Rendered minus measured colours."""
        rays = batch["colour"]
        samples = rendering.Samples.from_rows(rays["t0"], rays["t1"], rays["t"])
        return {"colour": self.see(field, rays, samples)["rgb"] - rays["rgb"]}

    def metrics(self, field: Callback, data: Batch) -> dict[str, Any]:
        """Score the held-out views: PSNR and SSIM, means over views, and depth where the scene is opaque."""
        seen, truth = self.view(field, data["view"], 2 * self.samples), data["truth"]
        pairs = list(zip(self.images(seen["rgb"]), self.images(truth["rgb"]), strict=True))
        solid = truth["opacity"] > 0.5
        scores: dict[str, Any] = {"psnr_heldout": sum(psnr(a, b) for a, b in pairs) / HELD_OUT}
        if self.size >= 11:  # the window of SSIM
            scores["ssim"] = sum(ssim(a, b) for a, b in pairs) / HELD_OUT
        scores["depth_error"] = float((seen["depth"][solid] / truth["depth"][solid] - 1).abs().mean())
        return scores | {"renderer": rendering.engine(self.backend)}

    def quick_metrics(self, field: Callback, data: Batch) -> dict[str, Any]:
        """Score every fifth pixel of the held-out views."""
        seen = self.view(field, {name: rows[::5] for name, rows in data["view"].items()}, 2 * self.samples)
        return {"psnr_heldout": psnr(seen["rgb"], data["truth"]["rgb"][::5])}

    def images(self, rows: Tensor) -> Tensor:
        """Arrange the pixels of views (v size^2, k) as images (v, size, size, k)."""
        return rows.reshape(-1, self.size, self.size, rows.shape[-1])

    def picture(self, field: Callback, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw two held-out views with errors and depth, and the history."""
        figure = plot.new_figure(14.0, 8.2)
        rows: list[Any] = [list("abcde"), list("fghij"), list("kkkkk")]
        axes = figure.subplot_mosaic(rows, height_ratios=[4, 4, 3])
        seen, truth = self.view(field, data["view"], 2 * self.samples), data["truth"]
        for panels, view in (("abcde", 0), ("fghij", HELD_OUT // 2)):
            self._view_panels([axes[name] for name in panels], seen, truth, view)
        plot.history_panel(axes["k"], history)
        return figure

    def _view_panels(self, axes: list[Any], seen: Batch, truth: Batch, view: int) -> None:
        image, exact = (self.images(rows["rgb"])[view] for rows in (seen, truth))
        depth, far = (
            torch.where(self.images(rows["opacity"])[view] > 0.5, self.images(rows["depth"])[view], math.nan)
            for rows in (seen, truth)
        )
        off = (image - exact).abs().mean(-1)
        away = float((depth / far - 1).abs().nanmean())
        limits = {"vmin": RADIUS - 1, "vmax": RADIUS + 1, "cmap": "viridis_r"}
        panels = (
            (exact, f"held-out view {view + 1}: truth", {}),
            (image, f"rendered, {psnr(image, exact):.1f} dB", {}),
            (off, f"colour error, mean {float(off.mean()):.4f}", {"vmin": 0, "vmax": 0.1, "cmap": "magma"}),
            (far, "depth: truth", limits),
            (depth, f"depth, error {100 * away:.2f} %", limits),
        )
        for ax, (values, title, options) in zip(axes, panels, strict=True):
            shown = ax.imshow(plot.array(values).clip(0, 1) if not options else plot.array(values), **options)
            ax.set(title=title, xticks=[], yticks=[])
            if values is off or values is depth:
                ticks = np.linspace(options["vmin"], options["vmax"], 3)
                ax.figure.colorbar(shown, ax=ax, shrink=0.7, location="bottom", pad=0.02, ticks=ticks)

    def export(self, field: Callback, data: Batch, folder: Path) -> None:
        """Write the held-out views, truth beside rendering, and a turn around the scene with its depth."""
        import imageio.v3 as iio

        seen = self.view(field, data["view"], 2 * self.samples)
        pairs = torch.cat([self.images(data["truth"]["rgb"]), self.images(seen["rgb"])], 2)
        for number, pair in enumerate(pairs):
            iio.imwrite(folder / f"heldout_{number + 1}.png", _bytes(pair).repeat(4, 0).repeat(4, 1))
        if self.frames < 1:
            return
        size = 3 * self.size // 2
        near = data["view"]["near"]
        poses = cameras.orbit(self.frames, RADIUS, ELEVATION, target=TARGET)
        rays = {name: rows.to(near) for name, rows in self.cut(poses, size).items()}
        turn = self.view(field, rays, 3 * self.samples // 2)
        closeness = torch.where(turn["opacity"] > 0.5, (RADIUS + 1 - turn["depth"]) / 2, 0.0).expand(-1, 3)
        both = torch.cat([rows.reshape(-1, size, size, 3) for rows in (turn["rgb"], closeness)], 2)
        frames = _bytes(both).repeat(2, 1).repeat(2, 2)
        iio.imwrite(folder / "orbit.gif", frames, duration=80, loop=0)

    def recipe(self) -> Recipe:
        """A ReLU network on Gaussian Fourier features under Adam."""
        return Recipe(
            field=partial(MLP, width=64, depth=3, activation=ReLU(), encoding=GaussianFourier(64, scale=0.6)),
            stages=(Stage(partial(torch.optim.Adam, lr=1e-2, fused=True), steps=6000, schedule="cosine"),),
            log_every=100,
        )


def _visible(rays: Batch, samples: int) -> Tensor:
    """Mark the samples in those of 64 bins of each ray that hold something that can be seen."""
    bins = rendering.stratified(rays["near"], rays["far"], 64)
    optical = (_density(bins.points(rays["origins"], rays["directions"])) * bins.dt).reshape(-1, 64)
    # A body can begin between the middles of two bins, hence the neighbours.
    seen = (F.max_pool1d(optical, 3, 1, 1) > 0) & (optical.cumsum(-1) - optical < 16)
    return seen.repeat_interleave(samples // 64, -1).reshape(-1, 1)


def _bytes(values: Tensor) -> np.ndarray:
    return (255 * plot.array(values).clip(0, 1)).round().astype(np.uint8)


if __name__ == "__main__":
    main(NeRFScene)
