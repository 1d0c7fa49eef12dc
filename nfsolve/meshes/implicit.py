"""Solids as functions: f < 0 inside, so that inside and outside are known exactly."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.meshes.levelset import level_set
from nfsolve.meshes.mesh import Mesh

BAND = 0.03  # half the thickness of the layer around the surface whose points are moved onto it
NEWTON = 6  # steps onto the surface
CHUNK = 2**17  # points tried at once


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

    def _project(self, points: Tensor) -> Tensor:
        """Move points onto the surface; those that do not arrive are left out."""
        start = points
        for _ in range(NEWTON):
            value, slope = self._slope(points)
            points = points - value * slope / slope.square().sum(1, keepdim=True).clamp_min(1e-12)
        arrived = (self.function(points).abs() < 1e-9) & ((points - start).norm(dim=1, keepdim=True) < 2 * BAND)
        return points[arrived[:, 0]]

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
