"""Poisson3d-CG of PINNacle: laplace(u) = k^2 u - f in a cube with four holes, no flux through any side, k jumps.

u = w + v: w solves the equation in the whole cube, by Legendre polynomials in two elements; v is a sum of solutions
with f = 0 of each half, multipoles in the holes and sources outside, with coefficients fitted to no flux and to the
continuity at z = 1/2.
"""

import numpy as np
from scipy.linalg import eigh
from scipy.special import lpmv

from scripts.references.materials import Line
from scripts.references.particular import fitted

Table = dict[str, np.ndarray]

HOLES = [((0.4, 0.3, 0.6), 0.2), ((0.6, 0.7, 0.6), 0.2), ((0.2, 0.8, 0.7), 0.1), ((0.6, 0.2, 0.3), 0.1)]
WAVE_NUMBERS = (8.0, 10.0)  # below and above


def source(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return f."""
    a, b, c = np.sin(np.pi * x), np.sin(10 * np.pi * y), np.sin(5 * np.pi * z)
    r2 = x**2 + y**2 + z**2
    return 20 * np.exp(a + b + c) * (r2 - 1) / (r2 + 1) + 100 * a * b * c


class Cube:
    """The solution w in the whole cube, by diagonalising along each axis.

    Args:
        degree: Degree of the polynomials of each half.
    """

    def __init__(self, degree: int):
        self.line = Line(np.array([0, 0.5, 1.0]), degree)
        mass = self.line.gather.T @ self.line.weights
        stiff = self.line.slope.T @ (self.line.weights[:, None] * self.line.slope.toarray())
        below = np.repeat([WAVE_NUMBERS[0] ** 2, WAVE_NUMBERS[1] ** 2], degree + 1)
        screened = stiff + np.diag(self.line.gather.T @ (self.line.weights * below))
        plain, p = eigh(stiff, np.diag(mass))
        jumping, q = eigh(screened, np.diag(mass))
        x = self.line.nodes
        f = source(x[:, None, None], x[:, None], x) * mass[:, None, None] * mass[:, None] * mass
        f = np.einsum("ijk,ia,jb,kc->abc", f, p, p, q, optimize=True)
        f /= plain[:, None, None] + plain[:, None] + jumping
        self.w = np.einsum("abc,ia,jb,kc->ijk", f, p, p, q, optimize=True)
        d = self.line.slope.toarray()
        half = len(d) // 2
        d = np.concatenate([d[:half], d[half + 1 :]])  # of the two slopes at z = 1/2 the lower one
        self.slopes = [np.tensordot(d, self.w, (1, i)) for i in range(3)]
        self.slopes = [self.slopes[0], self.slopes[1].transpose(1, 0, 2), self.slopes[2].transpose(1, 2, 0)]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return w and its gradient at points ``(m, 3)``, ``(4, m)``."""
        rows = [self.line.interpolate(points[:, i]).toarray() for i in range(3)]
        return np.stack([np.einsum("ijk,mi,mj,mk->m", t, *rows, optimize=True) for t in (self.w, *self.slopes)])


def radial(points: np.ndarray, centre: np.ndarray, k: float, radius: float, order: int) -> np.ndarray:
    """Return modified spherical multipoles k_n(k r) Y_nm of about size 1 at a radius, with gradients.

    Args:
        points: Points ``(m, 3)``.
        centre: Where r = 0.
        k: Wave number.
        radius: Where they are of size 1.
        order: Largest n.

    Returns:
        ``(4, m, (order + 1)^2)``.
    """

    def values(p: np.ndarray) -> np.ndarray:
        d = p - centre
        r = np.linalg.norm(d, axis=1)[:, None]
        cos, phi = d[:, 2:] / r, np.arctan2(d[:, 1], d[:, 0])[:, None]
        ladder, size = (_ladder(k * s, order) for s in (r, np.array([[radius]])))
        decay = np.exp(-k * (r - radius))
        columns = []
        for n in range(order + 1):
            for m in range(n + 1):
                scale = np.sqrt(float(np.prod(1.0 / np.arange(n - m + 1, n + m + 1))))
                base = decay * ladder[n] / size[n] * lpmv(m, n, cos) * scale
                columns += [base * np.cos(m * phi)] + ([base * np.sin(m * phi)] if m else [])
        return np.concatenate(columns, 1)

    h = 1e-4 * radius  # of fourth order: 1e-12 or so
    slopes = []
    for axis in np.eye(3):
        near = values(points + h * axis) - values(points - h * axis)
        far = values(points + 2 * h * axis) - values(points - 2 * h * axis)
        slopes.append((8 * near - far) / (12 * h))
    return np.stack([values(points), *slopes])


def _ladder(x: np.ndarray, order: int) -> list[np.ndarray]:
    """Return exp(x) k_n(x), n = 0 .. order."""
    found = [1 / x, (1 + 1 / x) / x]
    for n in range(1, order):
        found.append(found[-2] + (2 * n + 1) / x * found[-1])
    return found


def functions(points: np.ndarray, upper: bool, orders: tuple[int, int]) -> np.ndarray:
    """Return solutions of a half without f, with gradients ``(4, m, n)``.

    They are multipoles in the holes and in their images in z = 1/2, each summed over its nearest images in the sides.

    Args:
        points: Points ``(m, 3)``.
        upper: Whether they are those of z > 1/2.
        orders: Largest orders in large and in small holes.
    """
    mirrors = [(1, 0), (-1, 0), (-1, 2)]  # a, b of the image b + a x
    found = []
    for mirrored in (False, True):
        for centre, radius in HOLES:
            order = orders[radius < 0.15] - 3 * mirrored
            at = np.array(centre) if not mirrored else np.array([*centre[:2], 1 - centre[2]])
            total = np.zeros((4, len(points), (order + 1) ** 2))
            for sign, shift in ((np.array(s), np.array(t)) for s, t in _images(mirrors, upper)):
                if np.linalg.norm((at - shift) * sign - np.clip((at - shift) * sign, 0, 1)) < 0.75:
                    one = radial(points * sign + shift, at, WAVE_NUMBERS[upper], radius, order)
                    one[1:] *= sign[:, None, None]
                    total += one
            found.append(total)
    return np.concatenate(found, 2)


def _images(mirrors: list[tuple[int, int]], upper: bool) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return signs and shifts of reflections in the sides of the cube."""
    last = [mirrors[0], mirrors[2 if upper else 1]]
    return [((a[0], b[0], c[0]), (a[1], b[1], c[1])) for a in mirrors for b in mirrors for c in last]


def conditions(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return points and normals where there is no flux, those of holes first, and those of z = 1/2 last."""
    k = np.arange(n**2)
    height, turn = 1 - (2 * k + 1) / n**2, np.pi * (1 + np.sqrt(5)) * k  # a spiral on the sphere
    ring = np.sqrt(1 - height**2)
    sphere = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], 1)
    points = [np.array(c) + r * sphere for c, r in HOLES]
    normals = [sphere for _ in HOLES]
    s = (np.arange(n) + 0.5) / n
    plane = np.stack(np.meshgrid(s, s, indexing="ij"), -1).reshape(-1, 2)
    for axis in range(3):
        for side in (0.0, 1.0):
            points.append(np.insert(plane, axis, side, 1))
            normals.append(np.tile(np.eye(3)[axis], (len(plane), 1)))
    middle = np.insert(plane, 2, 0.5, 1)
    return [(np.concatenate(points), np.concatenate(normals)), (middle[outside(middle)], np.eye(3)[[2]])]


def outside(points: np.ndarray) -> np.ndarray:
    """Tell which points are in no hole."""
    return np.all([np.linalg.norm(points - np.array(c), axis=1) > r - 1e-5 for c, r in HOLES], 0)


def poisson3d_cg(level: int) -> Table:
    """Solve the problem.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``x``, ``y``, ``z`` and ``u`` over them, NaN in the holes.
    """
    orders, n, degree = (((9, 6), 18, 40), ((13, 9), 24, 48))[level]
    cube = Cube(degree)
    (edge, normals), (middle, _) = conditions(n)
    rows, wanted = [], []
    below = [functions(middle, False, orders), functions(middle, True, orders)]
    for i in (0, 3):  # values and slopes agree
        rows.append(np.concatenate([below[0][i], -below[1][i]], 1) * (WAVE_NUMBERS[0] if i == 0 else 1))
        wanted.append(np.zeros(len(middle)))
    for upper in (False, True):
        here = (edge[:, 2] > 0.5) == upper
        flux = np.einsum("imn,mi->mn", functions(edge[here], upper, orders)[1:], normals[here])
        rows.append(np.pad(flux, ((0, 0), (flux.shape[1], 0) if upper else (0, flux.shape[1]))))
        wanted.append(-np.einsum("im,mi->m", cube.at(edge[here])[1:], normals[here]))
    coefficients = fitted(np.concatenate(rows), np.concatenate(wanted))
    axis = np.linspace(0, 1, 26)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    u, out = np.full(len(grid), np.nan), outside(grid)
    for upper, c in zip((False, True), np.split(coefficients, 2), strict=True):
        here = np.flatnonzero(out & ((grid[:, 2] > 0.5) == upper))
        for part in np.array_split(here, 10):
            u[part] = cube.at(grid[part])[0] + functions(grid[part], upper, orders)[0] @ c
    return {"x": axis, "y": axis, "z": axis, "u": u.reshape((len(axis),) * 3)}
