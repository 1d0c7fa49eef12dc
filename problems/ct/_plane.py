"""Tomography in a plane: a slice from its line integrals, beside the classical methods of `nfsolve.reconstruct`."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from nfsolve import MLP, Box, FeatureGrid, InputError, Recipe, RunOptions, Stage, generator
from nfsolve.data.scans.scan import Scan
from nfsolve.fields import ReLU
from nfsolve.forward.radon import PixelGrid, Projector
from nfsolve.metrics import matthews, otsu, psnr, relative_l2, ssim
from nfsolve.plot import panels
from nfsolve.plot.measurement import named
from nfsolve.problem import Batch, FieldFunction, in_pieces
from nfsolve.reconstruct import (
    Linear,
    Reconstruction,
    classical_images,
    filtered_back_projection,
    ramp_filter,
    sirt,
)
from problems.ct._coarsened import Coarsened, Loss, Measured, check_at_least
from problems.ct._picture import tomography_picture, with_errors
from problems.ct._primal_dual import CONVEX, MOST, RISING, PrimalDualSteps, levels
from problems.ct._prior import OF_FIELD, USUAL, attenuation_of_one_material, is_short
from problems.ct._tomography import Tomography

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSICAL = ("fbp", "sirt", "tv")
LOW = 30.0  # weight of the plain misfit beside the filtered one
OF_OTHER_LOSSES = 0.06  # weight of the total variation of a field that is fitted by the noise
LENGTH = 128  # the total variation is that per 1 / LENGTH of the width, whatever the pixels


@dataclass
class PlaneTomography(Tomography):
    """Find an attenuation f >= 0 from a scan of a slice."""

    size: int = 256
    """pixels along each side of the image"""
    peak: float = 0.0
    """largest possible attenuation, if known, for the field and the classical methods; 0 if it is not known"""
    one_material: bool = False
    """whether the object is of one material and air; its attenuation is the peak, or estimated where that is 0"""
    classical: tuple[str, ...] = CLASSICAL
    """classical methods to compare with, of fbp, sirt, tv"""
    tv: float | None = None
    """weight of the total variation of the field; by default from views that are left out, as below"""

    known_methods = CLASSICAL
    names: ClassVar[dict[Loss, str]] = {"poisson": "counts", "gaussian": "sinogram"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, peak=0)

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

    def twin(self, image: Tensor, seed: int) -> Self:
        """Scan a known image anew: with photons where they were counted, else with the misfit's size of noise."""
        scan, table = self.scan, image.double().reshape(-1, 1)
        exact = Projector(scan.geometry, self.grid, torch.float64)(table).reshape(scan.geometry.shape)
        chance = generator(seed, "twin")
        known = {"name": f"twin of {scan.name}", "reference": image.numpy(), "grid": self.grid, "segmentation": None}
        if scan.counts is not None and scan.I0 is not None:
            beam = torch.as_tensor(scan.I0).double()
            counts = torch.poisson(beam * (-exact).exp(), generator=chance)
            values = -(counts.clamp(min=1) / beam.clamp(min=1)).log()
            again = replace(scan, sinogram=values.numpy(), counts=counts.numpy(), **known)
        else:
            spread = (torch.as_tensor(scan.sinogram) - exact).square().mean().sqrt()
            noise = spread * torch.randn(exact.shape, generator=chance, dtype=torch.float64)
            again = replace(scan, sinogram=(exact + noise).numpy(), **known)
        other = replace(self)
        vars(other)["scan"] = again  # in place of what `measure` would make or read
        return other

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
        return (200, 200) if self.resolution >= 256 else (0, 300)

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

    @property
    def measured(self) -> Measured:
        """The scan as tensors."""
        scan = self.scan
        counted = scan.counts is not None and scan.I0 is not None
        arrays = scan.weights, scan.counts if counted else None, scan.I0 if counted else None
        known, counts, I0 = (None if values is None else torch.as_tensor(values) for values in arrays)
        return Measured(torch.as_tensor(scan.sinogram), scan.geometry, self.grid, known, counts, I0)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Shape of the image, (rows, columns)."""
        return self.resolution, self.resolution

    @property
    def fine_weight(self) -> float:
        """Weight of the total variation on pixels of half the side, in units of the contrast."""
        # views of a short arc do not tell of those that are missing: at 60 and 90 degrees, of three discs with holes
        # and an object of boxes, the usual weight was better than the smaller one that left-out views ask for
        chosen = self.classical_tv is None and self.held_out is not None
        return max(USUAL, super().fine_weight) if chosen and is_short(self.scan.geometry) else super().fine_weight

    @property
    def field_weight(self) -> float:
        """Weight of the total variation of the field."""
        if self.tv is not None:
            return self.tv
        return OF_FIELD * self.fine_weight * LENGTH / self.resolution if self.loss == "filtered" else OF_OTHER_LOSSES

    def cautions(self) -> list[str]:
        """Say where the weight of the prior or the attenuation of the one material is a guess."""
        unit = f" / {self.scan.unit}" if self.scan.unit else " per unit of length"
        guess = (
            f"the attenuation of the one material is estimated from the data, {self.largest:.4g}{unit}; if it is known"
        )
        return [*super().cautions(), *[f"{guess}, give --peak"] * (self.one_material and not self.peak)]

    @property
    def largest(self) -> float:
        """Largest attenuation that can occur."""
        if not self.one_material or self.peak:
            return self.peak or math.inf
        return self.material

    @cached_property
    def material(self) -> float:
        """Attenuation of the one material of the object, estimated from its line integrals."""
        return attenuation_of_one_material(self)

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Attenuations are not negative: a softplus, in units of the contrast; or a sigmoid up to a known peak."""
        largest = self.largest
        return super().output_transform() if math.isinf(largest) else (lambda x, raw: largest * torch.sigmoid(raw))

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data, and what to compare with."""
        known = {name: getattr(self.scan, name) for name in ("reference", "segmentation")}
        beside = {name: torch.as_tensor(values).to(device) for name, values in known.items() if values is not None}
        return super().load(device, dtype) | beside

    def difference_scale(self, shape: tuple[int, ...]) -> float:
        """Return the factor that makes the total variation that per 1 / `LENGTH` of the width."""
        return max(shape) / LENGTH

    def weights(self) -> dict[str, float]:
        """Weigh the plain misfit and the total variation."""
        return {"sinogram": LOW if self.loss == "filtered" else 1.0, "variation": self.field_weight}

    def filtered_residuals(self, misfit: Tensor, geometry: Any) -> dict[str, Tensor]:
        """Return the misfit under the root of the ramp, and beside it the plain one, in units of the image."""
        rows = ramp_filter(misfit.reshape(geometry.shape), geometry.spacing / geometry.magnification, power=0.5)
        filtered = math.sqrt(math.pi / self.width) * rows.reshape(-1, 1)
        return {"filtered": filtered, "sinogram": misfit / self.width}

    def image(self, field: FieldFunction, data: Batch, samples: int = 2) -> Tensor:
        """Average the field over each pixel, by samples x samples points, (rows, columns), row 0 on top."""
        pixels = data["coarsened"][1].points
        fine = self.grid.refined(samples)
        values = in_pieces(field, fine.centres(pixels.dtype, pixels.device)).reshape(fine.shape)
        image = avg_pool2d(values[None, None], samples)[0, 0]
        return self.completed(field, image.reshape(-1, 1), self.grid.shape).reshape(self.grid.shape)

    def methods(self, scan: Coarsened, A: Linear) -> dict[str, Callable[[], Reconstruction]]:
        """Return filtered back-projection and SIRT."""
        return {
            "fbp": lambda: self._back_projection(scan),
            "sirt": lambda: sirt(A, scan.sinogram, scan.shape, largest=self.largest),
        }

    def _back_projection(self, scan: Coarsened) -> Reconstruction:
        window = "hann" if scan.counts is not None else "ram-lak"
        sinogram, geometry = scan.sinogram, scan.geometry
        found = filtered_back_projection(sinogram.reshape(geometry.shape), geometry, self.grid, window)
        return replace(found, image=found.image.clamp(0, self.largest))

    def scores(self, image: Tensor, data: Batch) -> dict[str, Any]:
        """Score an image against what is known, and the fit of its sinogram."""
        scan = data["coarsened"][1]
        found: dict[str, Any] = {}
        if "reference" in data:
            truth = data["reference"].to(image)
            peak = float(truth.max())
            found = {"psnr": psnr(image, truth, peak), "ssim": ssim(image, truth, peak)}
        if "segmentation" in data:
            found["matthews"] = matthews(image > otsu(image), data["segmentation"])
        return found | {"residual": relative_l2(scan.projector(image.reshape(-1, 1)), scan.sinogram)}

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field at the centres of the pixels."""
        return self.scores(self.image(field, data, samples=1), data)

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw reference, field and classical images, their errors, the sinogram and how it is fitted."""
        return tomography_picture(self, self.image(field, data), data, history)

    def maps(self, field: FieldFunction, data: Batch) -> dict[str, Tensor]:
        """Return the image of the field, what is known and what classical methods find, and their errors."""
        images = {"field": self.image(field, data)}
        images |= {named(name): other.image for name, other in classical_images(data).items()}
        return with_errors(images, data.get("reference"))

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
        """A feature grid under a small ReLU network; at half the resolution first for large images and short arcs.

        Last come primal-dual steps on its image; see `problems.ct._primal_dual`.
        """
        last = Stage(PrimalDualSteps, CONVEX + 2 * RISING if self.one_material else MOST)
        side, stages = levels(self.image_shape, self.work, self.finer, last)
        finest, (coarse, fine) = min(self.resolution // side, 512), self.steps
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
                *((Stage(adam, coarse, schedule="cosine", coarsen=2 * side),) if coarse else ()),
                Stage(adam, fine, schedule="cosine", coarsen=side),
                *(stages if self.tv != 0 and self.loss == "filtered" else ()),
            ),
            run=RunOptions(log_every=25),
        )
