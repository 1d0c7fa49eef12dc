"""The surface value = level of a function on [-1, 1]^3, evaluated on a fine grid only where the surface passes.

Marching cubes (Lorensen & Cline, SIGGRAPH 1987) as in scikit-image; coarse to fine as in Mescheder et al.,
"Occupancy networks", CVPR 2019, section 3.2.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from nfsolve._core.errors import InputError, require
from nfsolve.meshes.mesh import Mesh

STRIDE = 4  # fine steps in a coarse one
Evaluate = Callable[[np.ndarray], np.ndarray]


def grid_values(evaluate: Evaluate, resolution: int, level: float) -> np.ndarray:
    """Evaluate a function on a grid over [-1, 1]^3, exactly in all coarse cells near its surface.

    Elsewhere the grid holds the value of a near coarse point. Features that no coarse point sees, thinner
    than four steps of the fine grid and apart from all others, are lost.

    Args:
        evaluate: Points ``(n, 3)`` -> values ``(n,)``.
        resolution: Points along each axis, rounded up to 4 k + 1.
        level: The value whose surface counts.

    Returns:
        ``(m, m, m)`` with m >= resolution; axes are x, y, z.

    Raises:
        InputError: Fewer than 8 points along an axis.
    """
    if resolution < 8:
        raise InputError(f"resolution must be at least 8, got {resolution}", do="choose more points along each axis")
    cells = -(-(resolution - 1) // STRIDE)
    size = STRIDE * cells + 1
    axis = np.linspace(-1.0, 1.0, size)
    coarse = _at(evaluate, axis[::STRIDE], np.ones((cells + 1,) * 3, dtype=bool)).reshape((cells + 1,) * 3)
    near = (np.arange(size) + STRIDE // 2) // STRIDE
    values = coarse[np.ix_(near, near, near)]
    known = np.zeros(values.shape, dtype=bool)
    known[::STRIDE, ::STRIDE, ::STRIDE] = True
    done = np.zeros((cells,) * 3, dtype=bool)
    while True:
        todo = ndimage.binary_dilation(_crossed(values > level), np.ones((3, 3, 3))) & ~done
        if not todo.any():
            return values
        done |= todo
        fresh = _points_of(todo) & ~known
        values[fresh] = _at(evaluate, axis, fresh)
        known |= fresh


def level_set(evaluate: Evaluate, resolution: int, level: float) -> Mesh:
    """Extract the closed surface around the points of [-1, 1]^3 where a function is above a level.

    Args:
        evaluate: Points ``(n, 3)`` -> values ``(n,)``.
        resolution: Points along each axis, at least.
        level: The level.

    Returns:
        The mesh, its normals towards smaller values; a solid that reaches the cube's walls is capped there.

    Raises:
        InputError: The function is above the level nowhere.
        MissingExtra: scikit-image is not installed.
    """
    measure = require("skimage.measure", extra="mesh", purpose="extracting a mesh")
    values = grid_values(evaluate, resolution, level)
    if not (values > level).any():
        raise InputError(
            f"a solid must be above {level:g} somewhere, but the function is nowhere on the grid",
            do="train the field longer, or choose a finer grid",
        )
    step = 2.0 / (len(values) - 1)
    padded = np.pad(values, 1, constant_values=min(values.min(), level - 1e-3 * (values.max() - level)))
    vertices, faces, _, _ = measure.marching_cubes(padded, level, spacing=(step,) * 3)
    mesh = Mesh(vertices.astype(np.float64) - 1 - step, faces.astype(np.int64))
    return mesh if mesh.volume() > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())


def _crossed(inside: np.ndarray) -> np.ndarray:
    """Tell which coarse cells hold points on both sides, their walls included."""
    middle = (slice(STRIDE // 2, None, STRIDE),) * 3
    some = ndimage.maximum_filter(inside, STRIDE + 1)[middle]
    every = ndimage.minimum_filter(inside, STRIDE + 1)[middle]
    return some & np.logical_not(every)


def _points_of(cells: np.ndarray) -> np.ndarray:
    """Mark the fine points of coarse cells, walls included."""
    points = np.zeros([STRIDE * n + 1 for n in cells.shape], dtype=bool)
    points[(slice(STRIDE // 2, None, STRIDE),) * 3] = cells
    return ndimage.maximum_filter(points, STRIDE + 1)


def _at(evaluate: Evaluate, axis: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Evaluate at the marked points of a grid."""
    return evaluate(axis[np.argwhere(where)])
