"""What the problems of tomography share, in a plane or in space: find f >= 0 whose line integrals are those of a scan.

Data are compared in one of three ways. "filtered": the misfit under the square root of the ramp, whose norm is that of
the error of the image at all frequencies alike (projection-slice theorem; Kak & Slaney 1988, section 3.2), so that few
steps are enough; the plain misfit beside it holds the lowest frequencies, which the ramp takes away. "gaussian": least
squares, each ray by the noise of its counts. "poisson": the likelihood of the counts. The total variation of the field
may be added to each. Beside the field stand the classical methods of `nfsolve.reconstruct`.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from operator import is_
from typing import Any, ClassVar, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from nfsolve import Problem, unknown_name
from nfsolve.forward.counts import gaussian_residual, poisson_residual
from nfsolve.forward.radon import Form, Projector
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from nfsolve.reconstruct import (
    HeldOut,
    Linear,
    Reconstruction,
    classical_images,
    compared,
    root_gradient,
    total_variation,
)
from problems.ct._coarsened import (
    LOSSES,
    Checked,
    Coarsened,
    Coarsenings,
    Loss,
    Measured,
    check_at_least,
    merged,
)
from problems.ct._primal_dual import FINER, Corrected, Correction
from problems.ct._prior import USUAL, WHOLE, judged, ray_precision

ENTRIES, MOST_ENTRIES = 3, 6 * 10**7  # of the projector: for each pixel and view, and in all


@dataclass
class Tomography(Problem):
    """Find an attenuation f >= 0 from a scan."""

    loss: Loss = "filtered"
    """how data are compared: under the ramp filter, or by the noise of line integrals, or of counts"""
    tv: float | None = 0.06
    """weight of the total variation of the field"""
    classical_tv: float | None = None
    """weight of the total variation of the last steps and of the classical one, in units of the contrast; by default
    that which best predicts views that are left out"""
    classical: tuple[str, ...] = ()
    """classical methods beside the field"""
    projector: Form = "auto"
    """whether line integrals are computed by a sparse matrix, or matrix-free; auto: by a matrix if memory is ample"""

    known_methods: ClassVar[tuple[str, ...]]
    """classical methods that there are"""
    names: ClassVar[dict[Loss, str]]
    """name of the residual of each loss; that of "filtered" by `filtered_residuals`"""

    one_material = False  # whether the object is of one material and air
    unknowns = "f"
    score = "psnr"
    resample_every = 0
    stage_factors = ("coarsen",)

    def __post_init__(self) -> None:
        for name in self.classical:
            if name not in self.known_methods:
                raise unknown_name("classical method", name, self.known_methods)
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        check_at_least(self, **{name: 0 for name in ("tv", "classical_tv") if getattr(self, name) is not None})

    @property
    @abstractmethod
    def measured(self) -> Measured:
        """What was measured, and where the image lies."""

    @cached_property
    @abstractmethod
    def contrast(self) -> float:
        """A typical large attenuation."""

    @abstractmethod
    def twin(self, image: Tensor, seed: int) -> Self:
        """Return the problem of an object that is known, scanned as this one was, with new noise of the same size.

        Args:
            image: The object, in the shape of `image`.
            seed: Number that is added to the seed of the noise.
        """

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, ...]:
        """Shape of the image, (rows, columns) or (slices, rows, columns)."""

    @property
    def precision(self) -> float:
        """Inverse variance of line integrals that were not counted."""
        return 1.0

    @abstractmethod
    def filtered_residuals(self, misfit: Tensor, geometry: Any) -> dict[str, Tensor]:
        """Put a misfit (m, 1), in units of the contrast, under the root of the ramp: its rms is that of the image."""

    def difference_scale(self, shape: tuple[int, ...]) -> float:
        """Return the factor on differences between neighbours of an image of this shape."""
        return 1.0

    @abstractmethod
    def image(self, field: FieldFunction, data: Batch) -> Tensor:
        """Return the image of a field at the full resolution, (rows, columns) or (slices, rows, columns)."""

    @abstractmethod
    def methods(self, scan: Coarsened, A: Linear) -> dict[str, Callable[[], Reconstruction]]:
        """Return the classical methods by name, but for "tv", which use this projector."""

    @abstractmethod
    def scores(self, image: Tensor, data: Batch) -> dict[str, Any]:
        """Score an image against what is known, and the fit of its line integrals."""

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Attenuations are not negative: a softplus, in units of the contrast."""
        contrast = self.contrast
        return lambda x, raw: contrast * softplus(raw - 1)

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data at each resolution when it is asked for, and room for what to compare with."""
        return {"coarsened": Coarsenings(lambda side: self._at(side, device, dtype)), "classical": {}}

    @cached_property
    def choices(self) -> dict[float, str]:
        """What is to be said of the projector at each resolution."""
        return {}

    def cautions(self) -> list[str]:
        """Say where the weight of the prior is a guess, and where no matrix is kept, and what memory is taken."""
        return [*([self.choices[min(self.choices)]] if self.choices else []), *self.doubts_of_the_weight()]

    def _at(self, size: float, device: Any, dtype: torch.dtype) -> Coarsened:
        measured, side = self.measured, max(1, round(size))
        grid = measured.grid.refined(round(1 / size)) if size < 1 else measured.grid.coarsened(side)
        geometry = measured.geometry.coarsened(side)
        photons = side ** (measured.sinogram.dim() - 1)  # a merged bin counts those of its parts

        def rows(values: Tensor | None, scale: int = 1) -> Tensor | None:
            return None if values is None else (scale * merged(values, side)).reshape(-1, 1).to(device, dtype)

        sinogram, known = rows(measured.sinogram), rows(measured.known)
        assert sinogram is not None
        projector = Projector(geometry, grid, dtype, device, self.projector)
        if projector.form == "matrix-free" and self.projector == "auto":
            self.choices[size] = projector.choice
        inside = self.support(projector, sinogram, photons, grid.shape)
        points = grid.centres(dtype, device)
        return Coarsened(
            points=points if inside is None else points[inside],
            inside=inside,
            sinogram=sinogram,
            known=torch.ones_like(sinogram) if known is None else known,
            counts=rows(measured.counts, photons),
            I0=rows(measured.I0, photons),
            projector=projector,
            geometry=geometry,
            grid=grid,
        )

    def support(self, projector: Projector, p: Tensor, photons: int, shape: tuple[int, ...]) -> Tensor | None:
        """Return the indices of pixels that can differ from 0; None for all."""
        return None

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Take all pixels, at the resolution of the stage."""
        return {"scan": data["coarsened"][state.coarsen]}

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Compare line integrals; the squares of "variation" are lengths of differences between pixels."""
        scan: Coarsened = batch["scan"]
        image = self.completed(field, self.field_image(field, scan).reshape(-1, 1), scan.shape)
        q, p, counts = scan.projector(image), scan.sinogram, scan.counts
        if self.loss == "poisson":
            assert counts is not None and scan.I0 is not None
            # not by what is known of line integrals: no photon is a count too, and unknown counts have no beam
            residuals = {self.names["poisson"]: poisson_residual(q, counts, scan.I0)}
        elif self.loss == "gaussian":
            precision = scan.known * (self.precision if counts is None else counts)
            residuals = {self.names["gaussian"]: gaussian_residual(q, p, precision)}
        else:
            residuals = self.filtered_residuals(scan.known * (q - p) / self.contrast, scan.geometry)
        if self.tv != 0:
            scale = self.difference_scale(scan.shape)
            residuals["variation"] = root_gradient(image.reshape(scan.shape) / self.contrast, scale)
        return residuals

    def field_image(self, field: FieldFunction, scan: Coarsened, everywhere: bool = False) -> Tensor:
        """Return the image of a field alone, at the pixels of a scan; while its weights stay, the last one is kept.

        It is 0 where nothing can be, unless the field has a correction, which holds everywhere.
        """
        correction = _correction(field)
        everywhere = scan.inside is not None and (everywhere or bool(correction is not None and correction.found))

        def image() -> Tensor:
            if not everywhere:
                return scan.image(in_pieces(field, scan.points)).reshape(scan.shape)
            return in_pieces(field, scan.grid.centres(scan.points.dtype, scan.points.device)).reshape(scan.shape)

        if torch.is_grad_enabled() or not isinstance(field, nn.Module):
            return image()
        weights = tuple(field.parameters())
        # the version of a tensor rises with each change in place
        state = (scan, everywhere, weights, tuple(weight._version for weight in weights))
        kept = self._kept.get("state")
        if kept is None or kept[0] is not scan or kept[1::2] != state[1::2] or not all(map(is_, kept[2], weights)):
            self._kept.update(state=state, image=image())
        return self._kept["image"]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}

    def completed(self, field: FieldFunction, image: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Add the correction of the field to an image (n, 1), where it has one that fits the pixels."""
        correction = _correction(field)
        added = None if correction is None else correction.image(shape)
        return image if added is None else image + added.reshape(-1, 1).to(image)

    def auxiliary_modules(self, seed: int) -> dict[str, nn.Module]:
        """Return what primal-dual steps add to the field, 0 before."""
        fine = tuple(self.finer * n for n in self.image_shape)
        return {"correction": Correction(fine, self.domain.bounds)}  # type: ignore[union-attr]

    def trained(self, field: nn.Module) -> nn.Module:
        """Return the field with its correction."""
        correction = _correction(field)
        return field if correction is None else Corrected(field, correction)

    has_data = True  # whether there is a scan; options are listed without one

    @property
    def work(self) -> int:
        """Number of pixels or voxels times that of views; 0 without a scan."""
        return 0 if not self.has_data else math.prod(self.image_shape) * len(self.measured.geometry.angles)

    @property
    def finer(self) -> int:
        """Pixels of the correction along each side of a pixel of the image; one where the projector would be large."""
        if not self.has_data:
            return FINER
        return FINER if ENTRIES * FINER ** len(self.image_shape) * self.work <= MOST_ENTRIES else 1

    @cached_property
    def held_out(self) -> HeldOut | None:
        """Weights of the total variation by how they predict views that are left out; None where there are too few."""
        return judged(self)

    @property
    def fine_weight(self) -> float:
        """Weight of the total variation on pixels of half the side, in units of the contrast."""
        if self.classical_tv is not None:
            return self.classical_tv
        return USUAL if self.held_out is None else self.held_out.weight

    @property
    def classical_weight(self) -> float:
        """Weight of the classical total variation, in units of the contrast."""
        return self.classical_tv if self.classical_tv is not None else WHOLE * self.fine_weight

    def doubts_of_the_weight(self) -> list[str]:
        """Say where the weight of the prior is a guess."""
        if self.classical_tv is not None or self.loss != "filtered" or self.tv == 0:
            return []
        if self.held_out is None:
            few = len(self.measured.geometry.angles)
            return [
                f"the weight of the total variation is a guess, {USUAL:g} of the contrast: of {few} views none can be "
                "left out to choose it; give --classical-tv"
            ]
        if not self.held_out.bounded and self.fine_weight == self.held_out.weight:
            return [
                f"the weight of the total variation, {self.held_out.weight:.2g} of the contrast, is the last that was "
                "tried, and the best: views that are left out do not bound it; compare --classical-tv of other sizes"
            ]
        return []

    def fine_precision(self, scan: Coarsened) -> Tensor:
        """Return the weight of each line integral in the last steps, (m, 1)."""
        return ray_precision(scan.sinogram, scan.known, scan.counts)

    def baselines(self, data: Batch, check: Callable[[], None]) -> dict[str, Callable[[], Reconstruction]]:
        """Return the classical methods."""
        scan = data["coarsened"][1]
        A = Checked(scan.projector, check)
        known = self.methods(scan, A) | {"tv": lambda: self.total_variation(data, self.classical_weight, projector=A)}
        return {name: A.watched(name, known[name]) for name in self.classical if name in known}

    def ray_weights(self, scan: Coarsened) -> Tensor | None:
        """Return the weight of each line integral in the classical total variation, (m, 1); None for equal ones."""
        return scan.known

    @property
    def largest(self) -> float:
        """Largest attenuation that can occur."""
        return math.inf

    def total_variation(
        self, data: Batch, weight: float, iterations: int = 1500, projector: Linear | None = None
    ) -> Reconstruction:
        """Reconstruct by least total variation, with a weight in units of the contrast."""
        scan = data["coarsened"][1]
        system = projector or scan.projector, scan.sinogram, scan.shape
        return total_variation(
            *system, weight * self.contrast, iterations, weights=self.ray_weights(scan), largest=self.largest
        )

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field and the classical images."""
        return compared(self.image(field, data), classical_images(data), partial(self.scores, data=data))


def _correction(field: Any) -> Correction | None:
    """Return what stands beside a field; None where it has none."""
    beside: Any = getattr(field, "auxiliary", {})
    return beside["correction"] if "correction" in beside else None  # noqa: SIM401  (no dictionary)
