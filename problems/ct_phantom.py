"""Computed tomography: find f >= 0 with (A f)(t, s) = p(t, s), the integral of f along the line x . n(t) = s.

The sinogram p of the Shepp-Logan head is exact (chords of ellipses, averaged over each detector bin), so data
and projector A are made in different ways. The residual is filtered by the square root of the ramp: by the
projection-slice theorem (Kak & Slaney 1988, section 3.2) its norm is that of f, at all frequencies alike.

    nfsolve run ct_phantom
    nfsolve run ct_phantom --views 20 --counts 1e5
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve import MLP, Box, GaussianFourier, Problem, Recipe, Stage, main, plot
from nfsolve._core.errors import InputError
from nfsolve.fields import ReLU
from nfsolve.forward.ellipses import SHEPP_LOGAN, ellipse_image, ellipse_sinogram
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr, relative_l2, ssim
from nfsolve.problem import Batch
from nfsolve.reconstruct import filtered_back_projection, ramp_filter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Callback = Callable[[Tensor], Tensor]


def unit_interval(x: Tensor, raw: Tensor) -> Tensor:
    """Map raw outputs to attenuations in (0, 1)."""
    return torch.sigmoid(raw)


def pixel_averages(fine: Tensor) -> Tensor:
    """Average 2 x 2 points for each pixel, (2 n, 2 n) -> (n, n)."""
    return fine.unflatten(0, (-1, 2)).unflatten(-1, (-1, 2)).mean((1, 3))


@dataclass
class CTPhantom(Problem):
    """The Shepp-Logan head from few parallel-beam views, beside filtered back-projection."""

    views: int = 40
    """views, spread over half a turn"""
    size: int = 128
    """detector bins, and pixels along each side of the image"""
    counts: float = 0.0
    """photons sent to each bin, for Poisson noise; 0 is without noise"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""

    domain = Box(x=(-1, 1), y=(-1, 1))
    score = "psnr"
    unknowns = "f"
    redraw_every = 0

    def __post_init__(self) -> None:
        if self.views < 1 or self.size < 11 or not 0 <= self.counts < math.inf:
            raise InputError(
                f"views = {self.views}, size = {self.size}, counts = {self.counts:g}",
                "at least 1 view, 11 bins (the window of SSIM), and counts that are not negative",
            )

    @property
    def geometry(self) -> ParallelBeam:
        """Views and detector; the detector is as wide as the image."""
        return ParallelBeam.half_turn(self.views, self.size)

    @property
    def grid(self) -> PixelGrid:
        """Pixels of [-1, 1]^2."""
        return PixelGrid(self.size, self.size, 2 / self.size)

    @property
    def window(self) -> str:
        """Window on the ramp: noise is largest where the ramp is."""
        return "hann" if self.counts else "ram-lak"

    def transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Attenuations are not negative."""
        return unit_interval

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the sinogram (views * size, 1), the projector, and what to compare with."""
        sinogram = self.noisy(ellipse_sinogram(SHEPP_LOGAN, self.geometry))
        fbp = filtered_back_projection(sinogram, self.geometry, self.grid.refined(2), self.window).image
        tensors = {
            "sinogram": sinogram.reshape(-1, 1),
            "pixels": self.grid.centres(),
            "truth": ellipse_image(SHEPP_LOGAN, self.grid),
            "fbp": pixel_averages(fbp).clamp(min=0),
        }
        data: Batch = {name: value.to(device, dtype) for name, value in tensors.items()}
        return data | {"projector": Projector(self.geometry, self.grid, dtype, device)}

    def noisy(self, sinogram: Tensor) -> Tensor:
        """Count photons behind the object (Beer-Lambert, Poisson), and take minus the logarithm."""
        if not self.counts:
            return sinogram
        generator = Generator().manual_seed(self.noise_seed)
        counted = torch.poisson(self.counts * torch.exp(-sinogram), generator=generator)
        return -torch.log(counted.clamp(min=1) / self.counts)

    def residuals(self, field: Callback, batch: Batch) -> dict[str, Tensor]:
        """A f - p under the square root of the ramp, scaled so that its rms is the rms error of f."""
        misfit = batch["projector"](field(batch["pixels"])) - batch["sinogram"]
        filtered = ramp_filter(misfit.reshape(self.geometry.shape), self.geometry.spacing, self.window, power=0.5)
        return {"sinogram": math.sqrt(math.pi / 2) * filtered.reshape(-1, 1)}

    def image(self, field: Callback, data: Batch) -> Tensor:
        """Average the field over each pixel, by 2 x 2 points, (size, size), row 0 on top."""
        points = self.grid.refined(2).centres(data["pixels"].dtype, data["pixels"].device)
        values = torch.cat([field(part) for part in points.split(2**16)])
        return pixel_averages(values.reshape(2 * self.size, 2 * self.size))

    def metrics(self, field: Callback, data: Batch) -> dict[str, Any]:
        """Score image and filtered back-projection against pixel averages, and the fit of the sinogram."""
        image, truth = self.image(field, data), data["truth"]
        return {
            "psnr": psnr(image, truth),
            "ssim": ssim(image, truth),
            "psnr_fbp": psnr(data["fbp"], truth),
            "ssim_fbp": ssim(data["fbp"], truth),
            "residual": relative_l2(data["projector"](image.reshape(-1, 1)), data["sinogram"]),
        }

    def quick_metrics(self, field: Callback, data: Batch) -> dict[str, Any]:
        """Score the image."""
        return {"psnr": psnr(self.image(field, data), data["truth"])}

    def picture(self, field: Callback, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw truth, field and filtered back-projection, errors, sinogram, misfit, history."""
        image, truth, fbp = self.image(field, data), data["truth"], data["fbp"]
        sinogram = data["sinogram"].reshape(self.geometry.shape)
        misfit = data["projector"](image.reshape(-1, 1)).reshape(sinogram.shape) - sinogram
        share = relative_l2(misfit + sinogram, sinogram)
        figure = plot.new_figure(15.5, 8.0)
        axes = figure.subplots(2, 4)
        gray, error = {"cmap": "gray", "vmin": 0, "vmax": 1}, {"cmap": "RdBu_r", "vmin": -0.3, "vmax": 0.3}
        panel, score = partial(_panel, square=True), "{:.1f} dB, SSIM {:.3f}".format
        panel(axes[0, 0], truth, f"truth\n{self.size} x {self.size} pixels", gray)
        panel(axes[0, 1], image, f"neural field\n{score(psnr(image, truth), ssim(image, truth))}", gray)
        panel(axes[0, 2], fbp, f"filtered back-projection\n{score(psnr(fbp, truth), ssim(fbp, truth))}", gray)
        panel(axes[1, 1], image - truth, "error of the field\n", error)
        panel(axes[1, 2], fbp - truth, "error of filtered\nback-projection", error)
        _panel(
            axes[0, 3], sinogram, f"sinogram p\n{self.views} views, {self.size} bins", {"cmap": "gray"}, square=False
        )
        error["vmax"] = float(misfit.abs().max())
        error["vmin"] = -error["vmax"]
        _panel(axes[1, 3], misfit, f"misfit A f - p\nrelative {share:.1e}", error, square=False)
        plot.history_panel(axes[1, 0], history, "psnr")
        return figure

    def export(self, field: Callback, data: Batch, folder: Path) -> None:
        """Write the images and the sinogram as arrays, and the field's image as PNG."""
        import imageio.v3 as iio

        image = self.image(field, data)
        arrays = {"image": image, "truth": data["truth"], "fbp": data["fbp"]}
        arrays["sinogram"] = data["sinogram"].reshape(self.geometry.shape)
        named: dict[str, Any] = {name: plot.array(value).astype(np.float32) for name, value in arrays.items()}
        np.savez_compressed(folder / "reconstruction.npz", angles=self.geometry.angles, **named)
        iio.imwrite(folder / "reconstruction.png", (255 * plot.array(image).clip(0, 1)).round().astype(np.uint8))

    def recipe(self) -> Recipe:
        """A ReLU network on Gaussian Fourier features, all pixels in each step of Adam."""
        return Recipe(
            field=partial(MLP, width=128, depth=3, activation=ReLU(), encoding=GaussianFourier(128, scale=1.0)),
            stages=(Stage(partial(torch.optim.Adam, lr=5e-3), steps=400, schedule="cosine"),),
            log_every=20,
        )


def _panel(axes: Any, values: Tensor, title: str, options: dict[str, Any], square: bool) -> None:
    """Draw an image on [-1, 1]^2, or a sinogram with the angle in degrees downwards."""
    extent, names = ((-1, 1, -1, 1), ("x", "y")) if square else ((-1, 1, 180, 0), ("s", "angle t / degrees"))
    shown = axes.imshow(
        plot.array(values),
        extent=extent,
        aspect="equal" if square else "auto",
        interpolation="nearest",
        **options,
    )
    axes.set(title=title, xlabel=names[0], ylabel=names[1], xticks=(-1, 0, 1))
    axes.set_yticks((-1, 0, 1) if square else (0, 45, 90, 135, 180))
    axes.figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02)


if __name__ == "__main__":
    main(CTPhantom)
