"""Floor 1: where the coordinates of a problem live, with bounds, boundaries, normals and grids."""

from nfsolve.domains.box import Box, Interval, Parameter, Periodic, Rectangle, parameter, periodic
from nfsolve.domains.cloud import PointCloud
from nfsolve.domains.domain import Domain
from nfsolve.domains.polygon import Polygon
from nfsolve.domains.shapes import Disk, Sphere

__all__ = [
    "Box",
    "Disk",
    "Domain",
    "Interval",
    "Parameter",
    "Periodic",
    "PointCloud",
    "Polygon",
    "Rectangle",
    "Sphere",
    "parameter",
    "periodic",
]
