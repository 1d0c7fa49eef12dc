"""Classical reconstruction: filtered back-projection, SIRT, conjugate gradients, total variation."""

from nfsolve.reconstruct.filtered import fdk, filtered_back_projection, ramp_filter
from nfsolve.reconstruct.iterative import cgls, sirt
from nfsolve.reconstruct.reconstruction import Linear, Reconstruction
from nfsolve.reconstruct.total_variation import total_variation

__all__ = [
    "Linear",
    "Reconstruction",
    "cgls",
    "fdk",
    "filtered_back_projection",
    "ramp_filter",
    "sirt",
    "total_variation",
]
