"""Where the coordinates of a problem live, with bounds, boundaries, normals and grids."""

from nfsolve.domains.box import Box, Interval, Parameter, Periodic, Rectangle, parameter, periodic
from nfsolve.domains.cloud import PointCloud
from nfsolve.domains.domain import Domain
from nfsolve.domains.polygon import Polygon
from nfsolve.domains.shapes import Cylinder, Disk, Ellipse, Extrusion, Sphere
from nfsolve.domains.solid import Solid
from nfsolve.domains.stretch import Front, Stretch

__all__ = [
    "Box",
    "Cylinder",
    "Disk",
    "Domain",
    "Ellipse",
    "Extrusion",
    "Front",
    "Interval",
    "Parameter",
    "Periodic",
    "PointCloud",
    "Polygon",
    "Rectangle",
    "Solid",
    "Sphere",
    "Stretch",
    "parameter",
    "periodic",
]
