"""Classical reconstruction: filtered back-projection, SIRT, conjugate gradients, total variation."""

from nfsolve.reconstruct.discrepancy import weight_by_noise
from nfsolve.reconstruct.filtered import fdk, filtered_back_projection, ramp_filter
from nfsolve.reconstruct.held_out import FEWEST, HeldOut, weight_by_bins, weight_by_views
from nfsolve.reconstruct.iterative import cgls, sirt
from nfsolve.reconstruct.reconstruction import Linear, Reconstruction, classical_images, compared
from nfsolve.reconstruct.total_variation import (
    Iterate,
    PrimalDual,
    differences,
    norm_squared,
    root_gradient,
    step_for,
    total_variation,
)

__all__ = [
    "FEWEST",
    "HeldOut",
    "Iterate",
    "Linear",
    "PrimalDual",
    "Reconstruction",
    "cgls",
    "classical_images",
    "compared",
    "differences",
    "fdk",
    "filtered_back_projection",
    "norm_squared",
    "ramp_filter",
    "root_gradient",
    "sirt",
    "step_for",
    "total_variation",
    "weight_by_bins",
    "weight_by_noise",
    "weight_by_views",
]
