"""What the problems of tomography in a plane share: find f >= 0 whose line integrals are those of a scan.

Data are compared in one of three ways. "filtered": the misfit under the square root of the ramp, whose norm is that of
the error of the image at all frequencies alike (projection-slice theorem; Kak & Slaney 1988, section 3.2), so that few
steps are enough; the plain misfit beside it holds the lowest frequencies, which the ramp takes away. "gaussian": least
squares, each ray by the noise of its counts. "poisson": the likelihood of the counts. The total variation of the field
may be added to each. Beside the field stand the classical methods of `nfsolve.reconstruct`.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, softplus

from nfsolve import MLP, Box, FeatureGrid, InputError, Problem, Recipe, RunOptions, Stage, unknown_name
from nfsolve.data.scans.scan import Scan
from nfsolve.fields import ReLU
from nfsolve.forward.counts import gaussian_residual, poisson_residual
from nfsolve.forward.radon import PixelGrid, Projector
from nfsolve.metrics import matthews, otsu, psnr, relative_l2, ssim
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from nfsolve.reconstruct import Linear, Reconstruction, filtered_back_projection, ramp_filter, sirt, total_variation
from problems.ct._levels import (
    LOSSES,
    Checked,
    Levels,
    Loss,
    check_at_least,
    classical_images,
    compared,
    merged,
    root_gradient,
)
from problems.ct._picture import tomography_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSICAL = ("fbp", "sirt", "tv")
LOW = 30.0  # weight of the plain misfit beside the filtered one
LENGTH = 128  # the total variation is that per 1 / LENGTH of the width, whatever the pixels


@dataclass
class Tomography(Problem):
    """Find an attenuation f >= 0 from a scan of a slice."""

    size: int = 256
    """pixels along each side of the image"""
    loss: Loss = "filtered"
    """how data are compared: under the ramp filter, or by the noise of line integrals, or of counts"""
    tv: float = 0.06
    """weight of the total variation of the field"""
    peak: float = 0.0
    """largest attenuation that can occur, if it is known, for the field and the classical methods; 0 is not known"""
    classical: tuple[str, ...] = CLASSICAL
    """classical methods beside the field, of fbp, sirt, tv"""
    classical_tv: float = 3e-4
    """weight of the classical total variation, in units of the contrast"""

    unknowns = "f"
    score = "psnr"
    resample_every = 0

    def __post_init__(self) -> None:
        for name in self.classical:
            if name not in CLASSICAL:
                raise unknown_name("classical method", name, CLASSICAL)
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        check_at_least(self, tv=0, classical_tv=0, peak=0)

    @abstractmethod
    def measure(self) -> Scan:
        """Make or read the scan; its grid is that of the image, and its reference, if there is one, lies on it."""

    @cached_property
    def scan(self) -> Scan:
        """The scan."""
        scan = self.measure()
        if self.loss == "poisson" and scan.counts is None:
            raise InputError(
                f"the poisson loss compares counts, and '{scan.name}' has none",
                do="give --loss gaussian, or a scan with counts",
            )
        return scan

    @property
    def grid(self) -> PixelGrid:
        """Pixels of the image."""
        assert self.scan.grid is not None
        return self.scan.grid

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The rectangle of the pixels, in the scan's unit of length."""
        x, y = self.grid.bounds
        return Box(x=x, y=y)

    @property
    def resolution(self) -> int:
        """Number of pixels along each side."""
        return self.size

    @property
    def steps(self) -> tuple[int, int]:
        """Optimizer steps at half the resolution, and at the full one."""
        return (200, 200) if self.size >= 256 else (0, 300)

    @property
    def width(self) -> float:
        """Width of the image, in units of length."""
        return self.grid.columns * self.grid.pixel

    @cached_property
    def contrast(self) -> float:
        """A typical large attenuation, from filtered back-projection on coarse pixels."""
        grid = self.grid.coarsened(max(1, self.resolution // 64))
        image = filtered_back_projection(torch.as_tensor(self.scan.sinogram), self.scan.geometry, grid, "hann").image
        return max(float(image.quantile(0.99)), 1e-12)

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Attenuations are not negative: a softplus, in units of the contrast; or a sigmoid up to a known peak."""
        if self.peak:
            return lambda x, raw: self.peak * torch.sigmoid(raw)
        contrast = self.contrast
        return lambda x, raw: contrast * softplus(raw - 1)

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data, and what to compare with."""
        data: Batch = {"levels": Levels(lambda side: self._level(side, device, dtype)), "classical": {}}
        for name in ("reference", "segmentation"):
            values = getattr(self.scan, name)
            if values is not None:
                data[name] = torch.as_tensor(values).to(device)
        return data

    def _level(self, side: int, device: Any, dtype: torch.dtype) -> Batch:
        scan, grid, geometry = self.scan, self.grid.coarsened(side), self.scan.geometry.coarsened(side)
        measured = {
            "sinogram": scan.sinogram,
            "known": np.ones_like(scan.sinogram) if scan.weights is None else scan.weights,
        }
        if scan.counts is not None and scan.I0 is not None:
            measured |= {"counts": side * scan.counts, "I0": side * scan.I0}
        level = {name: merged(torch.as_tensor(values), side).reshape(-1, 1) for name, values in measured.items()}
        level["precision"] = level["known"] * level.get("counts", 1.0)
        level["pixels"] = grid.centres()
        level = {name: values.to(device, dtype) for name, values in level.items()}
        projector = Projector(geometry, grid, dtype, device)
        return level | {"projector": projector, "geometry": geometry, "shape": grid.shape}

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Take all pixels, at the resolution of the stage."""
        return data["levels"][state.coarsen]

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Compare line integrals; the squares of "variation" are lengths of differences between pixels."""
        image = field(batch["pixels"])
        q, p = batch["projector"](image), batch["sinogram"]
        if self.loss == "poisson":
            # not by what is known of line integrals: no photon is a count too, and unknown counts have no beam
            residuals = {"counts": poisson_residual(q, batch["counts"], batch["I0"])}
        elif self.loss == "gaussian":
            residuals = {"sinogram": gaussian_residual(q, p, batch["precision"])}
        else:
            misfit = batch["known"] * (q - p) / self.contrast
            residuals = {"filtered": self._filtered(misfit, batch["geometry"]), "sinogram": misfit / self.width}
        if self.tv:
            residuals["variation"] = root_gradient(
                image.reshape(batch["shape"]) / self.contrast, max(batch["shape"]) / LENGTH
            )
        return residuals

    def weights(self) -> dict[str, float]:
        """Weigh the plain misfit and the total variation."""
        return {"sinogram": LOW if self.loss == "filtered" else 1.0, "variation": self.tv}

    def _filtered(self, misfit: Tensor, geometry: Any) -> Tensor:
        """Misfit under the square root of the ramp, scaled so that its rms is about the rms error of the image."""
        rows = ramp_filter(misfit.reshape(geometry.shape), geometry.spacing / geometry.magnification, power=0.5)
        return math.sqrt(math.pi / self.width) * rows.reshape(-1, 1)

    def image(self, field: FieldFunction, data: Batch, samples: int = 2) -> Tensor:
        """Average the field over each pixel, by samples x samples points, (rows, columns), row 0 on top."""
        pixels = data["levels"][1]["pixels"]
        fine = self.grid.refined(samples)
        values = in_pieces(field, fine.centres(pixels.dtype, pixels.device)).reshape(fine.shape)
        return avg_pool2d(values[None, None], samples)[0, 0]

    def baselines(self, data: Batch, check: Callable[[], None]) -> dict[str, Callable[[], Reconstruction]]:
        """Return the classical methods."""
        level = data["levels"][1]
        A, y, shape = Checked(level["projector"], check), level["sinogram"], level["shape"]
        known: dict[str, Callable[[], Reconstruction]] = {
            "fbp": lambda: self._back_projection(level),
            "sirt": lambda: sirt(A, y, shape, largest=self.peak or math.inf),
            "tv": lambda: self.total_variation(data, self.classical_tv, projector=A),
        }
        return {name: known[name] for name in self.classical}

    def total_variation(
        self, data: Batch, weight: float, iterations: int = 1500, projector: Linear | None = None
    ) -> Reconstruction:
        """Reconstruct by least total variation, with a weight in units of the contrast."""
        level = data["levels"][1]
        system = projector or level["projector"], level["sinogram"], level["shape"]
        known, largest = level["known"], self.peak or math.inf
        return total_variation(*system, weight * self.contrast, iterations, weights=known, largest=largest)

    def _back_projection(self, level: Batch) -> Reconstruction:
        window = "hann" if "counts" in level else "ram-lak"
        sinogram, geometry = level["sinogram"], level["geometry"]
        found = filtered_back_projection(sinogram.reshape(geometry.shape), geometry, self.grid, window)
        return replace(found, image=found.image.clamp(0, self.peak or math.inf))

    def scores(self, image: Tensor, data: Batch) -> dict[str, Any]:
        """Score an image against what is known, and the fit of its sinogram."""
        level = data["levels"][1]
        found: dict[str, Any] = {}
        if "reference" in data:
            truth = data["reference"].to(image)
            peak = float(truth.max())
            found = {"psnr": psnr(image, truth, peak), "ssim": ssim(image, truth, peak)}
        if "segmentation" in data:
            found["matthews"] = matthews(image > otsu(image), data["segmentation"])
        return found | {"residual": relative_l2(level["projector"](image.reshape(-1, 1)), level["sinogram"])}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field and the classical images."""
        return compared(self.image(field, data), classical_images(data), partial(self.scores, data=data))

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field at the centres of the pixels."""
        return self.scores(self.image(field, data, samples=1), data)

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw reference, field and classical images, their errors, the sinogram and how it is fitted."""
        return tomography_picture(self, self.image(field, data), data, history)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write the images and the sinogram as arrays, and the field's image as PNG (0 to 255) and TIFF (float32)."""
        import imageio.v3 as iio

        image = self.image(field, data)
        images = {"image": image, **{name: other.image for name, other in classical_images(data).items()}}
        if "reference" in data:
            images["reference"] = data["reference"]
        arrays = {name: panels.array(value).astype(np.float32) for name, value in images.items()}
        angles = np.degrees(self.scan.geometry.angles)
        about: dict[str, Any] = {"sinogram": self.scan.sinogram, "angles_deg": angles, "pixel": self.grid.pixel}
        np.savez_compressed(folder / "reconstruction.npz", **arrays, **about)
        shown = 255 * arrays["image"] / max(float(arrays["image"].max()), 1e-12)
        iio.imwrite(folder / "reconstruction.png", shown.round().astype(np.uint8))
        iio.imwrite(folder / "reconstruction.tiff", arrays["image"])

    def recipe(self) -> Recipe:
        """A feature grid under a small ReLU network; at half the resolution first for large images and short arcs."""
        finest = min(self.size, 512)
        coarse, fine = self.steps
        adam = partial(torch.optim.Adam, lr=1e-2)
        return Recipe(
            field=partial(
                MLP,
                width=64,
                depth=1,
                activation=ReLU(),
                encoding=FeatureGrid(levels=max(1, round(math.log2(finest)) - 2), coarsest=8, finest=finest),
            ),
            stages=(
                *((Stage(adam, coarse, schedule="cosine", coarsen=2),) if coarse else ()),
                Stage(adam, fine, schedule="cosine"),
            ),
            run=RunOptions(log_every=25),
        )
