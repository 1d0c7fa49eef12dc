"""One integrator along rays: absorption, emission and absorption, radiance; and where on rays to sample a field."""

from nfsolve.forward.rendering.contraction import Contraction
from nfsolve.forward.rendering.engines import engine
from nfsolve.forward.rendering.harmonics import spherical_harmonics
from nfsolve.forward.rendering.integral import Rendering, accumulate, composite, distortion
from nfsolve.forward.rendering.occupancy import OccupancyGrid
from nfsolve.forward.rendering.rays import Rays
from nfsolve.forward.rendering.samples import Samples, box_intersection, importance, stratified, thinned

__all__ = [
    "Contraction",
    "OccupancyGrid",
    "Rays",
    "Rendering",
    "Samples",
    "accumulate",
    "box_intersection",
    "composite",
    "distortion",
    "engine",
    "importance",
    "spherical_harmonics",
    "stratified",
    "thinned",
]
