"""Cone-beam tomography: find f >= 0 in a volume from its integrals along the rays from a point to a flat panel.

The source turns about the z axis (Feldkamp, Davis & Kress, J. Opt. Soc. Am. A 1(6), 1984). Lengths are in units of half
the longest side of the volume. Without --data the object is the Shepp-Logan head of ellipsoids, whose projections are
exact; a volume that is given is projected at its own resolution and reconstructed at a coarser one. Each step evaluates
the field at all voxels that no empty ray crosses, and compares all rays.

    nfsolve run ct_cone
    nfsolve run ct_cone --data head.npz --views 25 --counts 1e5
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from nfsolve import MLP, Box, FeatureGrid, InputError, Recipe, RunOptions, Stage, main
from nfsolve.data.scans.scan import LARGEST, SMALLEST
from nfsolve.fields import ReLU
from nfsolve.forward.counts import counted_anew
from nfsolve.forward.radon import ConeBeam, Projector
from nfsolve.metrics import psnr, relative_l2, ssim
from nfsolve.problem import Batch, FieldFunction, in_pieces
from nfsolve.reconstruct import Linear, Reconstruction, cgls, classical_images, fdk, ramp_filter, sirt
from problems.ct._coarsened import Coarsened, Loss, Measured, check_at_least, support
from problems.ct._cone_output import cone_picture, write_volumes
from problems.ct._cone_phantom import Body, Phantom, Sampled
from problems.ct._picture import with_errors
from problems.ct._tomography import Tomography

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSICAL = ("fdk", "sirt", "cgls", "tv")
CLASSICAL_TV = 1e-3  # of the contrast; on a head of 32^3 voxels from 50 views 32.1 dB, with 3e-4 29.8
TRUNCATED = 0.05  # of the largest line integral: a bin at the panel's border above it has seen a cut object


@dataclass
class CTCone(Tomography):
    """A volume from few cone-beam projections, compared with FDK, SIRT and conjugate gradients."""

    data: str = ""
    """volume to scan, a path or a name under $NFSOLVE_DATA; default the Shepp-Logan head of ellipsoids"""
    views: int = 50
    """projections, spread over a full turn"""
    size: int = 64
    """voxels along the longest side of the reconstruction"""
    bins: int | None = None
    """detector bins along each side of the panel; default 5/4 of the voxels"""
    source_origin: float = 4.0
    """distance from the source to the axis of rotation"""
    source_detector_distance: float = 6.0
    """distance from the source to the panel"""
    panel: float = 4.0
    """side of the panel; 2 source_detector_distance / (source_origin - 1) sees the whole cylinder in the volume"""
    counts: float = 0.0
    """photons sent to each bin, for Poisson noise; 0 for no noise"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    tv: float = 3e-2
    """weight of the total variation of the field"""
    classical: tuple[str, ...] = CLASSICAL[:3]
    """classical methods to compare with, of fdk, sirt, cgls, tv"""

    known_methods = CLASSICAL
    names: ClassVar[dict[Loss, str]] = {"poisson": "projections", "gaussian": "projections"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, views=1, size=11, counts=0)  # the window of SSIM has 11 voxels
        if not math.sqrt(2) < self.source_origin < math.inf:
            raise InputError(
                f"source_origin must be more than sqrt(2), where the edges of the volume turn, got "
                f"{self.source_origin:g}",
                do="give lengths in units of half the longest side of the volume",
            )
        if self.loss == "poisson" and not self.counts:
            raise InputError("the poisson loss compares counts, and counts = 0 makes none", do="give --counts 1e5, say")

    @property
    def geometry(self) -> ConeBeam:
        """Views and panel."""
        bins = round(1.25 * self.size) if self.bins is None else self.bins
        angles = tuple(2 * math.pi * i / self.views for i in range(self.views))
        spacing = self.panel / max(bins, 1)
        return ConeBeam(angles, (bins, bins), (spacing, spacing), self.source_origin, self.source_detector_distance)

    @cached_property
    def body(self) -> Body:
        """What is scanned."""
        return Sampled.read(self.data, self.size) if self.data else Phantom(self.size)

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The box of the voxels."""
        x, y, z = self.body.grid.bounds
        return Box(x=x, y=y, z=z)

    @property
    def resolution(self) -> int:
        """Number of voxels along the longest side."""
        return self.size

    @cached_property
    def clean(self) -> Tensor:
        """Line integrals without noise, (views, rows, columns)."""
        projections = self.body.project(self.geometry)
        if not SMALLEST < float(projections.max()) < LARGEST:
            raise InputError(
                f"line integrals are of order one, but the largest here is {float(projections.max()):.3g}",
                do="scale the volume: its values are attenuations per mm, or per half of its longest side",
            )
        border = torch.cat([projections[:, [0, -1]].flatten(), projections[:, :, [0, -1]].flatten()])
        cut = float(border.max() / projections.max())
        if cut > TRUNCATED:
            reach = f"line integrals at its border reach {100 * cut:.0f} % of the largest"
            do = f"views are truncated. Give a larger --panel than {self.panel:g}"
            warnings.warn(f"the panel is too small: {reach}, so that {do}", stacklevel=2)
        return projections

    def twin(self, image: Tensor, seed: int) -> Self:
        """Scan a known volume anew."""
        other = replace(self, noise_seed=self.noise_seed + seed)
        table = image.double().reshape(-1, 1)
        projector = Projector(self.geometry, self.body.grid, torch.float64, "cpu", self.projector)
        vars(other)["clean"] = projector(table).reshape(self.geometry.shape).to(self.clean)
        return other

    @cached_property
    def counted(self) -> tuple[Tensor, Tensor]:
        """Line integrals measured by counting photons, and their numbers, both (views, rows, columns)."""
        return counted_anew(self.clean, self.counts, self.noise_seed)

    @property
    def projections(self) -> Tensor:
        """Measured line integrals, (views, rows, columns)."""
        return self.counted[0] if self.counts else self.clean

    @property
    def window(self) -> str:
        """Window on the ramp: noise is largest where the ramp is."""
        return "hann" if self.counts else "ram-lak"

    @cached_property
    def contrast(self) -> float:
        """A typical large attenuation, from FDK on coarse voxels."""
        coarse = fdk(self.projections, self.geometry, self.body.grid.coarsened(max(1, self.size // 32)), "hann")
        return max(float(coarse.image.quantile(0.99)), 1e-12)

    @property
    def measured(self) -> Measured:
        """Projections, and counts where there is noise."""
        counts = self.counted[1] if self.counts else None
        I0 = None if counts is None else torch.full_like(counts, self.counts)
        return Measured(self.projections, self.geometry, self.body.grid, None, counts, I0)

    @property
    def classical_weight(self) -> float:
        """Weight of the classical total variation, in units of the contrast."""
        return CLASSICAL_TV

    @property
    def precision(self) -> float:
        """Inverse variance of line integrals that were not counted."""
        return self.contrast**-2

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data, and the truth to compare with."""
        return super().load(device, dtype) | {"reference": self.body.truth().to(device, dtype)}

    def support(self, projector: Projector, p: Tensor, photons: int, shape: tuple[int, ...]) -> Tensor:
        """Return the indices of voxels that no empty ray crosses."""
        return support(projector, p, self.counts * photons, shape)

    def weights(self) -> dict[str, float]:
        """Weigh the total variation."""
        return {"variation": self.tv} if self.tv else {}

    def filtered_residuals(self, misfit: Tensor, geometry: ConeBeam) -> dict[str, Tensor]:
        """Return the misfit with its rows under the root of the ramp."""
        spacing = geometry.spacing[1] / geometry.magnification  # at the axis
        rows = ramp_filter(misfit.reshape(-1, geometry.n_bins[1]), spacing, self.window, power=0.5)
        area = (self.panel / geometry.magnification) ** 2
        box = math.prod(high - low for low, high in self.body.grid.bounds)
        return {"projections": math.sqrt(math.pi * area / box) * rows.reshape(-1, 1)}

    def image(self, field: FieldFunction, data: Batch) -> Tensor:
        """Evaluate a field at the unmerged voxels that no empty ray crosses, (nz, ny, nx)."""
        scan: Coarsened = data["coarsened"][1]
        return scan.image(in_pieces(field, scan.points)).reshape(scan.shape)

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
        return {name: partial(positive, method) for name, method in known.items()}

    def ray_weights(self, scan: Coarsened) -> Tensor | None:
        """Return the counts: the inverse variances of line integrals."""
        return scan.counts

    def scores(self, volume: Tensor, data: Batch) -> dict[str, Any]:
        """Score a volume against the truth (SSIM: the mean over slices), and the fit of its projections."""
        fine, truth = data["coarsened"][1], data["reference"]
        peak = float(truth.max())
        found: dict[str, Any] = {"psnr": psnr(volume, truth, peak)}
        if min(truth.shape[1:]) >= 11:  # the window of SSIM
            found["ssim"] = ssim(volume.permute(1, 2, 0), truth.permute(1, 2, 0), peak)
        return found | {"residual": relative_l2(fine.projector(volume.reshape(-1, 1)), fine.sinogram)}

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field."""
        truth = data["reference"]
        return {"psnr": psnr(self.image(field, data), truth, float(truth.max()))}

    def _volumes(self, field: FieldFunction, data: Batch) -> dict[str, Tensor]:
        classical = {name: found.image for name, found in classical_images(data).items()}
        return {"truth": data["reference"], "field": self.image(field, data)} | classical

    def maps(self, field: FieldFunction, data: Batch) -> dict[str, Tensor]:
        """Return the volumes of field, truth and classical methods, and their errors."""
        volumes = self._volumes(field, data)
        return with_errors(volumes, volumes.pop("truth"))

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw three slices of truth, field and classical volumes, and their errors."""
        return cone_picture(self._volumes(field, data), self.body.grid)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write the volumes as arrays, and that of the field as TIFF, and as NIfTI where nibabel is installed."""
        write_volumes(self._volumes(field, data), self.body.grid.voxel * self.body.unit, self.geometry, folder)

    def recipe(self) -> Recipe:
        """A small ReLU network on feature grids, coarse to fine, all rays in each step of Adam."""
        grid = FeatureGrid(levels=4, coarsest=8, finest=max(self.size, 8), features=2)
        adam = torch.optim.Adam
        return Recipe(
            field=partial(MLP, width=32, depth=1, activation=ReLU(), encoding=grid),
            stages=(
                Stage(partial(adam, lr=1e-2), steps=60, schedule="cosine", coarsen=4),
                Stage(partial(adam, lr=1e-2), steps=60, schedule="cosine", coarsen=2),
                Stage(partial(adam, lr=2e-2), steps=80, schedule="cosine"),
            ),
            run=RunOptions(log_every=10),
        )


if __name__ == "__main__":
    main(CTCone)
