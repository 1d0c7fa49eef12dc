"""Tomography: parallel, fan and cone beams, line integrals of any field, and projectors with exact adjoints.

Angles are radians from the x axis, image row 0 lies at the largest y. Two ways to the same numbers: rays sampled
through any field, and bin averages on a grid of pixels or voxels, by a sparse matrix or without one.
"""

from nfsolve.forward.radon.cone import ConeBeam
from nfsolve.forward.radon.conventions import from_astra, from_odl, from_skimage, from_tigre, from_tomopy
from nfsolve.forward.radon.fan import FanBeam
from nfsolve.forward.radon.grids import PixelGrid, VoxelGrid
from nfsolve.forward.radon.linear import LinearMap, as_physics, wrap_operator
from nfsolve.forward.radon.lines import line_integrals
from nfsolve.forward.radon.parallel import ParallelBeam
from nfsolve.forward.radon.projector import Form, Projector
from nfsolve.forward.radon.sparse import Geometry

__all__ = [
    "ConeBeam",
    "FanBeam",
    "Form",
    "Geometry",
    "LinearMap",
    "ParallelBeam",
    "PixelGrid",
    "Projector",
    "VoxelGrid",
    "as_physics",
    "from_astra",
    "from_odl",
    "from_skimage",
    "from_tigre",
    "from_tomopy",
    "line_integrals",
    "wrap_operator",
]
