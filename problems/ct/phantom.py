"""Computed tomography of the Shepp-Logan head from few parallel-beam views.

The sinogram is exact (chords of ellipses, averaged over each detector bin), so data and projector are made in different
ways. `problems.ct._tomography` says how the field is fitted.

    nfsolve run ct_phantom
    nfsolve run ct_phantom --size 256 --counts 1e5 --loss poisson
"""

from dataclasses import dataclass

from nfsolve import main
from nfsolve.data.scans.scan import Scan
from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image, phantom_projections
from nfsolve.forward.radon import ParallelBeam, PixelGrid
from problems.ct._coarsened import check_at_least
from problems.ct._plane import PlaneTomography


@dataclass
class CTPhantom(PlaneTomography):
    """The Shepp-Logan head from few parallel-beam views, compared with classical methods."""

    views: int = 40
    """views, spread over half a turn"""
    size: int = 128
    """detector bins, and pixels along each side of the image"""
    counts: float = 0.0
    """photons sent to each bin, for Poisson noise; 0 for no noise"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, views=1, size=16, counts=0)

    @property
    def steps(self) -> tuple[int, int]:
        """Optimizer steps at half the resolution, and at the full one."""
        return (400, 400) if self.size >= 256 else (0, 300)

    def measure(self) -> Scan:
        """Make the sinogram, and count photons where there is noise."""
        geometry = ParallelBeam.half_turn(self.views, self.size)
        grid = PixelGrid(self.size, self.size, 2 / self.size)
        sinogram = phantom_projections(SHEPP_LOGAN, geometry)
        truth = phantom_image(SHEPP_LOGAN, grid).numpy()
        exact = Scan("Shepp-Logan", sinogram.numpy(), geometry, "", reference=truth, grid=grid)
        return exact.counted(self.counts, self.noise_seed)


if __name__ == "__main__":
    main(CTPhantom)
