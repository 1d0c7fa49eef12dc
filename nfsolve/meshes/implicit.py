"""Solids as functions: f < 0 inside, so that inside and outside are known exactly."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import KDTree
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.meshes.levelset import level_set
from nfsolve.meshes.mesh import Mesh

BAND = 0.03  # half the thickness of the layer around the surface whose points are moved onto it
NEWTON = 6  # steps onto the surface
CHUNK = 2**17  # points tried at once
SURFACE = 2**17  # points of the surface from which the nearest one is looked for
CLOSER = 8  # steps from there to the nearest one of all


class Implicit:
    """The solid f < 0 in [-1, 1]^3.

    Args:
        function: ``(n, 3)`` -> ``(n, 1)``, positive on the boundary of the cube, differentiable almost everywhere.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def contains(self, points: Tensor) -> Tensor:
        """Tell which points ``(n, 3)`` are inside, ``(n, 1)``, bool."""
        return self.function(points) < 0

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Draw points on the surface, uniform in area up to curvature times `BAND`.

        Uniform points in a thin layer |f| < BAND |grad f| are moved along the gradient by Newton's iteration.

        Args:
            n: How many.
            generator: CPU generator.

        Returns:
            ``(n, 3)``, float64.

        Raises:
            InputError: The cube holds no surface.
        """
        found = [torch.zeros(0, 3, dtype=torch.float64)]
        missing, tries = n, 0
        while missing > 0:
            tries += 1
            if tries > 100 and missing == n:
                raise InputError(
                    "an implicit solid must have a surface in [-1, 1]^3, but its function does not change sign there",
                    do="scale it into the cube",
                )
            points = 2 * torch.rand(CHUNK, 3, generator=generator, dtype=torch.float64) - 1
            value, slope = self._slope(points)
            onto = self._project(points[(value.abs() < BAND * slope.norm(dim=1, keepdim=True))[:, 0]])
            found.append(onto[:missing])
            missing -= len(found[-1])
        return torch.cat(found)

    @cached_property
    def _surface(self) -> tuple[KDTree, Tensor]:
        points = self.sample(SURFACE, generator(0, "surface"))
        return KDTree(points.numpy()), points

    def distance(self, points: Tensor) -> Tensor:
        """Return signed distances to the surface, negative inside.

        The nearest of `SURFACE` points of the surface is moved to where the line to it is along the normal: towards
        the foot on its tangent plane, and from there by Newton's iteration onto the surface. A step that leads further
        away, as it may at an edge, is not taken, and the next one is half as long; so no distance is larger than that
        to the nearest of those points.

        Args:
            points: ``(n, 3)``.

        Returns:
            ``(n, 1)``, float64, on the CPU.

        Raises:
            InputError: The cube holds no surface.
        """
        tree, surface = self._surface
        points = points.detach().double().cpu()
        away, index = tree.query(points.numpy())
        nearest, away = surface[torch.from_numpy(index)], torch.from_numpy(away)[:, None]
        step = torch.ones_like(away)
        for _ in range(CLOSER):
            normal, offset = F.normalize(self._slope(nearest)[1], dim=1), points - nearest
            along = offset - (offset * normal).sum(1, keepdim=True) * normal
            tried, arrived = self._newton(nearest + step * along)
            found = (points - tried).norm(dim=1, keepdim=True)
            closer = arrived & (found < away)
            nearest, away = torch.where(closer, tried, nearest), torch.where(closer, found, away)
            step = torch.where(closer, step, step / 2)
        return torch.where(self.contains(points), -away, away)

    def _newton(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Move points along the gradient towards the surface, and tell which ones arrive ``(n, 1)``."""
        for _ in range(NEWTON):
            value, slope = self._slope(points)
            points = points - value * slope / slope.square().sum(1, keepdim=True).clamp_min(1e-12)
        return points, self.function(points).abs() < 1e-9

    def _project(self, points: Tensor) -> Tensor:
        """Move points onto the surface; those that do not arrive are left out."""
        moved, arrived = self._newton(points)
        return moved[(arrived & ((moved - points).norm(dim=1, keepdim=True) < 2 * BAND))[:, 0]]

    def _slope(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = points.detach().requires_grad_()
            value = self.function(x)
            (slope,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), slope

    def mesh(self, resolution: int) -> Mesh:
        """Extract the surface by marching cubes.

        Args:
            resolution: Points along each axis, at least.

        Returns:
            The mesh.

        Raises:
            MissingExtra: scikit-image is not installed.
        """

        def depth(points: np.ndarray) -> np.ndarray:
            return -self.function(torch.from_numpy(points)).numpy().reshape(-1)

        return level_set(depth, resolution, level=0.0)
