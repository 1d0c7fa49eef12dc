"""Solids in space, as closed triangle meshes or as implicit functions: inside tests, samples, surfaces."""

from nfsolve.meshes.implicit import Implicit
from nfsolve.meshes.levelset import grid_values, level_set
from nfsolve.meshes.mesh import Mesh, write_points
from nfsolve.meshes.samples import Solid, around, chamfer, read_points, root_cross_entropy
from nfsolve.meshes.view import View, draw_mesh

__all__ = [
    "Implicit",
    "Mesh",
    "Solid",
    "View",
    "around",
    "chamfer",
    "draw_mesh",
    "grid_values",
    "level_set",
    "read_points",
    "root_cross_entropy",
    "write_points",
]
