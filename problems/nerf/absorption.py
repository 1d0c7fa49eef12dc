"""A volume from X-ray views of it: each pixel measures I = exp(-int mu dt), the law of Beer and Lambert.

The volume is the head phantom of `nfsolve.forward.phantoms`, whose line integrals are known in closed form, so the data
are exact, and the field can be compared with mu itself. The integrator is the one that renders radiance; here nothing
emits light.

    nfsolve run nerf_absorption
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve import MLP, Box, InputError, Recipe, RunOptions, Stage, generator, main
from nfsolve.data.photos import Photographs
from nfsolve.fields import FeatureGrid, ReLU
from nfsolve.forward import cameras
from nfsolve.forward.phantoms import SHEPP_LOGAN_3D, phantom_integrals, phantom_values
from nfsolve.forward.rendering import Rays, Rendering, Samples, composite
from nfsolve.metrics import psnr, relative_l2
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, in_pieces
from problems.nerf._radiance import Radiance
from problems.nerf.scene import empty_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADIUS = 4.0  # distance of the source
WIDTH = math.radians(34)  # angle of view
HELD_OUT = 4  # views
POINTS = 2**15  # at which mu is compared
CUT = 120  # pixels along x of the cut that is drawn


@dataclass
class NeRFAbsorption(Radiance):
    """The attenuation of a head phantom, from X-ray views taken all around."""

    size: int = 64
    """width and height of the views, pixels"""
    views: int = 30
    """training views"""

    domain = Box(x=(-0.75, 0.75), y=(-0.98, 0.98), z=(-0.87, 0.87))  # type: ignore[assignment]
    unknowns = "mu"  # type: ignore[assignment]
    surfaces = False
    threshold = 0.01  # type: ignore[assignment]
    level = 0.5  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1 or self.views < 1:
            raise InputError(f"size and views must be at least 1, got size={self.size} and views={self.views}")
        if self.colour != "harmonics":
            raise InputError(f"X-ray views have no colours, got colour={self.colour}", do="leave it out")

    def load_split(self, split: str) -> Photographs:
        """Measure the exact phantom."""
        if split == "train":
            poses = cameras.dome(self.views, RADIUS, (math.radians(-60), math.radians(60)))
        else:
            poses = cameras.orbit(HELD_OUT, RADIUS, math.radians(20), start=0.4)
        photographs = empty_views(poses, self.size, WIDTH, self.domain.bounds)
        rays = photographs.all_rays()
        depths = phantom_integrals(SHEPP_LOGAN_3D, (rays.origins, rays.directions))
        return replace(photographs, colours=torch.exp(-depths).expand(-1, 3))

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Take the views, and exact attenuations at random points of the box."""
        box = torch.rand(POINTS, 3, generator=generator(0, "volume"), dtype=torch.float64)
        points = self.domain.scale(box)
        volume = {"points": points, "mu": phantom_values(SHEPP_LOGAN_3D, points)}
        return super().load(device, dtype) | {"volume": {k: v.to(device, dtype) for k, v in volume.items()}}

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Make attenuations positive, and small at first."""
        return lambda x, raw: F.softplus(raw - 3)

    def integrate(self, field: FieldFunction, rays: Rays, samples: Samples) -> Rendering:
        """Integrate absorption: a black body before a bright background, alike in all three colours."""
        density = field(samples.points(rays.origins, rays.directions))
        return composite(samples, density, density.new_zeros(()).expand(len(density), 3), engine=self.backend)

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the held-out views, and the attenuation itself."""
        volume = data["volume"]
        error = relative_l2(in_pieces(field, volume["points"]), volume["mu"])
        return super().metrics(field, data) | {"relative_l2/mu": error}

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw a held-out view, cuts through the attenuation, and the history."""
        figure = panels.new_figure(11.0, 7.2)
        axes = figure.subplot_mosaic([list("abc"), list("def"), list("kkk")], height_ratios=[4, 4, 3])
        seen = self.trained_renderer(field, data).render_view(data["test"], 0).rgb[..., 0]
        exact = data["test"].image(0)[..., 0]
        score = f"rendered, {psnr(seen, exact):.1f} dB"
        self._row([axes[name] for name in "abc"], exact, seen, "held-out view 1", score, "share of light")
        points, size = self._cut(data)
        mu, truth = (plane.reshape(size) for plane in (field(points), phantom_values(SHEPP_LOGAN_3D, points)))
        attenuation = "attenuation, cut at z = 0"
        self._row([axes[name] for name in "def"], truth, mu, attenuation, "field", "per unit of length")
        panels.history_panel(axes["k"], history, "psnr_heldout")
        return figure

    def _cut(self, data: Batch) -> tuple[Tensor, torch.Size]:
        """Points of the plane z = 0, row by row from the largest y."""
        (left, right), (low, high), _ = self.domain.bounds
        x, y = torch.linspace(left, right, CUT), torch.linspace(high, low, round(CUT * (high - low) / (right - left)))
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        points = torch.stack([columns, rows, torch.zeros_like(rows)], -1).reshape(-1, 3)
        return points.to(data["volume"]["points"]), rows.shape

    def _row(self, axes: list[Any], exact: Tensor, found: Tensor, title: str, score: str, unit: str) -> None:
        off = (found - exact).abs()
        limits = {"vmin": 0, "vmax": float(exact.max()), "cmap": "gray"}
        shown = (
            (exact, title, limits),
            (found, score, limits),
            (off, f"error, mean {float(off.mean()):.4f}", {"cmap": "magma"}),
        )
        for ax, (values, name, options) in zip(axes, shown, strict=True):
            image = ax.imshow(panels.array(values), **options)
            ax.set(title=name, xticks=[], yticks=[])
            ax.figure.colorbar(image, ax=ax, shrink=0.8, label=unit)

    def recipe(self) -> Recipe:
        """A small network on trainable grids."""
        adam = partial(torch.optim.Adam, lr=1e-2, eps=1e-15, fused=True)
        return Recipe(
            field=partial(MLP, width=64, depth=1, activation=ReLU(), encoding=FeatureGrid(3, 16, 64, 2)),
            stages=(Stage(adam, steps=1000, schedule="cosine"),),
            run=RunOptions(log_every=50),
        )


if __name__ == "__main__":
    main(NeRFAbsorption)
