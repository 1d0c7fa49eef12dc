"""Classical reconstruction from line integrals: filtered back-projection, SIRT, conjugate gradients, total variation."""

from nfsolve.reconstruct.iterative import cgls, sirt
from nfsolve.reconstruct.reconstruction import Linear, Reconstruction
from nfsolve.reconstruct.total_variation import total_variation

__all__ = ["Linear", "Reconstruction", "cgls", "sirt", "total_variation"]
