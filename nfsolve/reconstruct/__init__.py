"""Classical reconstruction: filtered back-projection, SIRT, conjugate gradients, total variation."""

from nfsolve.reconstruct.filtered import fdk, filtered_back_projection, ramp_filter
from nfsolve.reconstruct.iterative import cgls, sirt
from nfsolve.reconstruct.reconstruction import Linear, Reconstruction, classical_images, compared
from nfsolve.reconstruct.total_variation import root_gradient, total_variation

__all__ = [
    "Linear",
    "Reconstruction",
    "cgls",
    "classical_images",
    "compared",
    "fdk",
    "filtered_back_projection",
    "ramp_filter",
    "root_gradient",
    "sirt",
    "total_variation",
]
