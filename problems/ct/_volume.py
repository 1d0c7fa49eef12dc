"""Tomography of a volume with a cone beam, beside the classical methods of `nfsolve.reconstruct`.

The field is fitted by Adam at all voxels that no empty ray crosses, coarse to fine, with all rays in each step;
primal-dual steps on its volume follow (`problems.ct._primal_dual`). Large volumes are fitted on merged voxels.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from nfsolve import MLP, Box, FeatureGrid, Recipe, RunOptions, Stage
from nfsolve.fields import ReLU
from nfsolve.forward.radon import ConeBeam, Projector, VoxelGrid
from nfsolve.metrics import psnr, relative_l2, ssim
from nfsolve.problem import Batch, FieldFunction
from nfsolve.reconstruct import Linear, Reconstruction, cgls, classical_images, fdk, ramp_filter, sirt
from problems.ct._coarsened import PRODUCTS, Coarsened, Loss, Measured, support
from problems.ct._cone_output import cone_picture, write_volumes
from problems.ct._picture import with_errors
from problems.ct._primal_dual import FINER, MOST, WORK, PrimalDualSteps, levels, merged_pixels
from problems.ct._tomography import Tomography

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSICAL = ("fdk", "sirt", "cgls", "tv")
QUICK = 20  # iterations that tell the contrast where there is no FDK
SUPPORTED = 2**22  # voxels up to which those that no empty ray crosses are found: they are kept as a list
WINDOW = 11  # of SSIM
MOST_FINE = 2e8  # fine voxels times views
# what voxels cannot fit looks like detail in views that are left out: on the head of ellipsoids of 32^3 voxels, 40
# views without noise, they ask for 2.5e-5, and the best is 2e-4
LEAST, WHOLE_VOXELS = 2e-4, 6.0  # ... and on whole voxels 1.6e-3
RATE = 8e7  # voxels times views that a product takes in a second of one thread


@dataclass
class VolumeTomography(Tomography):
    """Find an attenuation f >= 0 in a volume from cone-beam projections."""

    size: int = 64
    """voxels along the longest side of the reconstruction"""
    tv: float = 3e-2
    """weight of the total variation of the field"""
    classical: tuple[str, ...] = CLASSICAL[:3]
    """classical methods to compare with, of fdk, sirt, cgls, tv"""

    known_methods = CLASSICAL
    names: ClassVar[dict[Loss, str]] = {"poisson": "projections", "gaussian": "projections"}
    length = 1.0  # of a unit of length, in `unit`
    unit = ""  # "mm" where it is known

    @property
    @abstractmethod
    def geometry(self) -> ConeBeam:
        """Views and panel."""

    @property
    @abstractmethod
    def grid(self) -> VoxelGrid:
        """Voxels of the reconstruction."""

    @property
    @abstractmethod
    def measured(self) -> Measured:
        """Projections, and counts where there are some."""

    def truth(self) -> Tensor | None:
        """Return the volume to compare with, (nz, ny, nx); None where it is not known."""
        return None

    @property
    def per_length(self) -> str:
        """Unit of attenuation in pictures; that of a simulated volume is half its longest side."""
        return "per unit of length"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of the volume, (slices, rows, columns)."""
        return self.grid.shape

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The box of the voxels."""
        x, y, z = self.grid.bounds
        return Box(x=x, y=y, z=z)

    @property
    def finer(self) -> int:
        """Voxels of the correction along each side of a voxel of the volume; one where they would be many."""
        return FINER if FINER**3 * self.work <= MOST_FINE else 1

    @property
    def fine_weight(self) -> float:
        """Weight of the total variation on voxels of half the side, in units of the contrast, not below `LEAST`."""
        return super().fine_weight if self.classical_tv is not None else max(LEAST, super().fine_weight)

    @property
    def classical_weight(self) -> float:
        """Weight of the total variation on the voxels of the volume, in units of the contrast."""
        return self.classical_tv if self.classical_tv is not None else WHOLE_VOXELS * self.fine_weight

    @property
    def window(self) -> str:
        """Window on the ramp: noise is largest where the ramp is."""
        return "ram-lak" if self.measured.counts is None else "hann"

    @cached_property
    def contrast(self) -> float:
        """A typical large attenuation, from FDK on coarse voxels, or from SIRT where the source turns on a helix."""
        measured, side = self.measured, max(1, max(self.image_shape) // 32)
        grid = self.grid.coarsened(side)
        if self.geometry.pitch:
            geometry = self.geometry.coarsened(side)
            sinogram = self._at(side, "cpu", torch.float32).sinogram
            coarse = sirt(Projector(geometry, grid, torch.float32), sinogram, grid.shape, QUICK)
        else:
            coarse = fdk(measured.sinogram.float(), self.geometry, grid, "hann")
        return max(float(coarse.image.quantile(0.99)), 1e-12)

    @property
    def precision(self) -> float:
        """Inverse variance of line integrals that were not counted."""
        return self.contrast**-2

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data, and the truth to compare with, where it is known."""
        truth = self.truth()
        return super().load(device, dtype) | ({} if truth is None else {"reference": truth.to(device, dtype)})

    def support(self, projector: Projector, p: Tensor, photons: int, shape: tuple[int, ...]) -> Tensor | None:
        """Return the indices of voxels that no empty ray crosses; None where there are many voxels, for all."""
        I0 = self.measured.I0
        beam = 0.0 if I0 is None else float(I0[I0 > 0].median()) * photons
        return support(projector, p, beam, shape) if math.prod(shape) <= SUPPORTED else None

    def cautions(self) -> list[str]:
        """Say what is left out, and what would take long."""
        said = super().cautions()
        if self.geometry.pitch and "fdk" in self.classical:
            said.append("FDK is left out, since the source turns on a helix")
        slow = [name for name in self.classical if name in ("sirt", "tv")]
        if slow and self.work > WORK:
            minutes = sum(PRODUCTS[name] for name in slow) * self.work / RATE / 60
            said.append(
                f"{' and '.join(slow)} take about {minutes:.0f} minutes, after the field is saved; --classical fdk "
                "leaves them out"
            )
        return said

    def weights(self) -> dict[str, float]:
        """Weigh the total variation."""
        return {"variation": self.tv} if self.tv else {}

    def filtered_residuals(self, misfit: Tensor, geometry: ConeBeam) -> dict[str, Tensor]:
        """Return the misfit with its rows under the root of the ramp."""
        spacing = geometry.spacing[1] / geometry.magnification  # at the axis
        rows = ramp_filter(misfit.reshape(-1, geometry.n_bins[1]), spacing, self.window, power=0.5)
        area = math.prod(geometry.n_bins) * math.prod(geometry.spacing) / geometry.magnification**2
        box = math.prod(high - low for low, high in self.grid.bounds)
        return {"projections": math.sqrt(math.pi * area / box) * rows.reshape(-1, 1)}

    def image(self, field: FieldFunction, data: Batch) -> Tensor:
        """Evaluate a field at the unmerged voxels that no empty ray crosses, or all of its correction, (nz, ny, nx)."""
        scan: Coarsened = data["coarsened"][1]
        beside: Any = getattr(field, "auxiliary", {})
        if self.finer > 1 and "correction" in beside and beside["correction"].found:
            own = merged_pixels(self.field_image(field, data["coarsened"][1 / self.finer]), self.finer)
        else:
            own = self.field_image(field, scan)
        return self.completed(field, own.reshape(-1, 1), scan.shape).reshape(scan.shape)

    def methods(self, scan: Coarsened, A: Linear) -> dict[str, Callable[[], Reconstruction]]:
        """Return FDK, SIRT and conjugate gradients."""
        y, geometry = scan.sinogram, scan.geometry

        def positive(method: Callable[[], Reconstruction]) -> Reconstruction:
            found = method()
            return replace(found, image=found.image.clamp(min=0))

        known: dict[str, Callable[[], Reconstruction]] = {
            "fdk": lambda: fdk(y.reshape(geometry.shape), geometry, scan.grid, self.window),
            "sirt": lambda: sirt(A, y, scan.shape),
            "cgls": lambda: cgls(A, y, scan.shape),
        }
        if geometry.pitch:
            del known["fdk"]
        return {name: partial(positive, method) for name, method in known.items()}

    def ray_weights(self, scan: Coarsened) -> Tensor | None:
        """Return the counts, the inverse variances of line integrals, or what is known of each."""
        return scan.known if scan.counts is None else scan.counts

    def scores(self, volume: Tensor, data: Batch) -> dict[str, Any]:
        """Score a volume against the truth (SSIM: the mean over slices), and the fit of its projections."""
        fine, found = data["coarsened"][1], {}
        if "reference" in data:
            truth = data["reference"].to(volume)
            peak = float(truth.max())
            found["psnr"] = psnr(volume, truth, peak)
            if min(truth.shape[1:]) >= WINDOW:
                found["ssim"] = ssim(volume.permute(1, 2, 0), truth.permute(1, 2, 0), peak)
        return found | {"residual": relative_l2(fine.projector(volume.reshape(-1, 1)), fine.sinogram)}

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field, where the truth is known."""
        if "reference" not in data:
            return {}
        truth = data["reference"]
        return {"psnr": psnr(self.image(field, data), truth, float(truth.max()))}

    def _volumes(self, field: FieldFunction, data: Batch) -> dict[str, Tensor]:
        known = {"truth": data["reference"]} if "reference" in data else {}
        classical = {name: found.image for name, found in classical_images(data).items()}
        return known | {"field": self.image(field, data)} | classical

    def maps(self, field: FieldFunction, data: Batch) -> dict[str, Tensor]:
        """Return the volumes of field, truth and classical methods, and their errors."""
        volumes = self._volumes(field, data)
        return with_errors(volumes, volumes.pop("truth", None))

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw three slices of truth, field and classical volumes, and their errors."""
        return cone_picture(self._volumes(field, data), self.grid, self.per_length)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write the volumes as arrays, that of the field as TIFF, HDF5 and NIfTI, and a page to look through it."""
        volumes, voxel = self._volumes(field, data), self.grid.voxel * self.length
        write_volumes(volumes, voxel, self.geometry, folder, self.unit)

    def recipe(self) -> Recipe:
        """A small ReLU network on feature grids, coarse to fine, all rays in each step; then primal-dual steps."""
        shape = self.image_shape if self.has_data else (self.size,) * 3
        side, stages = levels(shape, self.work, self.finer, Stage(PrimalDualSteps, MOST))
        grid = FeatureGrid(levels=4, coarsest=8, finest=max(max(shape) // side, 8), features=2)
        adam = torch.optim.Adam
        return Recipe(
            field=partial(MLP, width=32, depth=1, activation=ReLU(), encoding=grid),
            stages=(
                Stage(partial(adam, lr=1e-2), steps=60, schedule="cosine", coarsen=4 * side),
                Stage(partial(adam, lr=1e-2), steps=60, schedule="cosine", coarsen=2 * side),
                Stage(partial(adam, lr=2e-2), steps=80, schedule="cosine", coarsen=side),
                *(stages if self.tv != 0 and self.loss == "filtered" else ()),
            ),
            run=RunOptions(log_every=10),
        )
