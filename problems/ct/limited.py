"""Computed tomography from a limited arc: a disc with holes, scanned by a fan beam over less than half a turn.

What a short arc does not show must come from prior knowledge of the object. The scanner is that of the Helsinki
Tomography Challenge 2022 (A. Meaney, F. S. de Moura, M. Juvonen, S. Siltanen, Zenodo 7418878), whose files
``ct_scan --limited`` takes; the disc here is made of ellipses, with exact chords, averaged over the bins, and Poisson
noise. Reconstructions are judged as in the challenge, by the correlation of their segmentation with the true one.
`problems.ct._tomography` says how the field is fitted.

    nfsolve run ct_limited
    nfsolve run ct_limited --arc 60 --size 256
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from nfsolve import InputError, main
from nfsolve.data.scans.scan import Scan
from nfsolve.forward.phantoms import Ellipse, phantom_image, phantom_projections
from nfsolve.forward.radon import FanBeam, PixelGrid
from problems.ct._coarsened import check_at_least
from problems.ct._plane import PlaneTomography

DISC, ACRYLIC = 35.0, 0.033  # mm and per mm, of the discs of the challenge
SOURCE, DETECTOR, PANEL = 410.66, 553.74, 112.0  # mm, of its scanner
FIELD = 75.9  # mm, side of its images


@dataclass
class CTLimited(PlaneTomography):
    """A disc with holes from a limited arc of a fan beam, compared with classical methods."""

    arc: float = 90.0
    """degrees from the first view to the last"""
    step: float = 1.0
    """degrees between views"""
    size: int = 128
    """pixels along each side of the image; the detector has twice as many bins"""
    holes: int = 6
    """elliptical holes in the disc"""
    counts: float = 5e4
    """photons sent to each bin, for Poisson noise; 0 for no noise"""
    noise_seed: int = 0
    """seed of holes and noise; the data do not depend on the seed of the run"""

    peak: float = ACRYLIC
    """known attenuation of acrylic, per mm; 0 if it is not known"""
    one_material: bool = True
    """whether the object is known to be of acrylic and air alone"""

    score = "matthews"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, size=16, holes=0, counts=0)
        if not 0 < self.step <= self.arc <= 360:
            raise InputError(
                f"an arc needs 0 < step <= arc <= 360 degrees, got step = {self.step:g} and arc = {self.arc:g}",
                do="take smaller steps, or another arc",
            )

    @property
    def steps(self) -> tuple[int, int]:
        """Optimizer steps at half the resolution, and at the full one; a short arc wants more."""
        short = (300, 150) if self.one_material else (600, 300)  # then the last steps are many
        return short if self.arc < 150 else super().steps

    def measure(self) -> Scan:
        """Make disc and sinogram, and count photons where there is noise."""
        angles = np.radians(np.arange(0, self.arc + 1e-9, self.step))
        n_bins = 2 * self.size
        geometry = FanBeam(tuple(angles), n_bins, PANEL / n_bins, SOURCE, DETECTOR)
        grid = PixelGrid(self.size, self.size, FIELD / self.size)
        disc = disc_with_holes(self.holes, self.noise_seed)
        truth = phantom_image(disc, grid).numpy()
        exact = Scan("disc", phantom_projections(disc, geometry).numpy(), geometry, reference=truth, grid=grid)
        return replace(exact, segmentation=truth > ACRYLIC / 2).counted(self.counts, self.noise_seed)


def disc_with_holes(n: int, seed: int) -> list[Ellipse]:
    """Make a disc of acrylic with up to n elliptical holes that touch neither each other nor the rim, in mm."""
    generator = torch.Generator().manual_seed(seed)
    disc = [Ellipse(ACRYLIC, DISC, DISC)]
    for _ in range(200):
        if len(disc) > n:
            break
        x, y, a, b, angle = torch.rand(5, generator=generator).tolist()
        hole = Ellipse(-ACRYLIC, 2.5 + 6 * a, 2.5 + 6 * b, DISC * (2 * x - 1), DISC * (2 * y - 1), 180 * angle)
        reach = max(hole.a, hole.b)
        apart = (math.hypot(hole.x - o.x, hole.y - o.y) > reach + max(o.a, o.b) + 1 for o in disc[1:])
        if math.hypot(hole.x, hole.y) + reach < DISC - 2 and all(apart):
            disc.append(hole)
    return disc


if __name__ == "__main__":
    main(CTLimited)
