"""Heat2d-CG of PINNacle, heat in a plate with seventeen holes, by its Laplace transform.

For each s on a hyperbola (laplace - s) U = 0 is solved with particular solutions, and the inverse transform is a sum
over s with geometric convergence (Weideman & Trefethen, Math. Comp. 76 (2007) 1341). The plate has two symmetries, so a
quarter of it is enough: sums of each function over its four mirror images have them.
"""

import numpy as np

from scripts.references.particular import Columns, fitted, multipoles, outside, rims

Table = dict[str, np.ndarray]

CORNER = 8 + 12j
HOLES = [(4 + 3j, 1.0), (4 + 9j, 1.0), (0j, 1.0), (6j, 1.0), (3.2 + 0j, 0.4), (3.2 + 6j, 0.4)]  # of a quarter
WALLS = 0.1
INTERVALS = ((0.2, 0.8), (0.8, 3.0))


def symmetric(z: np.ndarray, centre: complex, radius: float, order: int, k: complex) -> Columns:
    """Sum multipoles over their four mirror images."""
    total = 0.0
    for a in (1, -1):
        for b in (1, -1):
            u, u_x, u_y = multipoles(a * z.real + 1j * b * z.imag, centre, radius, order, k)
            total = total + np.stack([u, a * u_x, b * u_y])
    return np.asarray(total)


def functions(z: np.ndarray, k: complex, order: int) -> Columns:
    """Return all particular solutions at points of the quarter ``(3, m, n)``."""
    around = [symmetric(z, c, r, order, k) for c, r in HOLES]
    mirrored = [symmetric(z, c, r, order, k) for c, r in ((12 + 3j, 1.0), (12 + 9j, 1.0), (4 + 15j, 1.0))]
    near = np.geomspace(3e-3, 6, 2 * order)
    poles = [symmetric(z, p, abs(p - CORNER), 2, k) for p in outside(CORNER, near)]
    x, y = z.real[:, None], z.imag[:, None]
    # plane waves that decay from the sides, and their like
    c = [np.exp(k * (x - 8)) + np.exp(-k * (x + 8)), np.exp(k * (y - 12)) + np.exp(-k * (y + 12))]
    zero = 0 * c[0]
    plane_x = np.stack([c[0], k * (np.exp(k * (x - 8)) - np.exp(-k * (x + 8))), zero])
    plane_y = np.stack([c[1], zero, k * (np.exp(k * (y - 12)) - np.exp(-k * (y + 12)))])
    far = [complex(8 + 2, y) for y in np.arange(0, 14, 0.8)] + [complex(x, 12 + 2) for x in np.arange(0, 10, 0.8)]
    sources = [symmetric(z, p, 2.0, 1, k) for p in far]
    return np.concatenate([*around, *mirrored, *poles, *sources, plane_x, plane_y], 2)


def edge(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points of the boundary of the quarter, with normals out of the plate and temperatures outside."""
    s = (1 - np.cos(np.pi * (np.arange(4 * n) + 0.5) / (4 * n))) / 2
    s = np.sin(np.pi / 2 * s)  # clustered at the corner of the plate
    z = [8 + 12j * s, 8 * s + 12j]
    normal = [np.ones(len(s), complex), np.full(len(s), 1j)]
    heat = [np.full(2 * len(s), WALLS)]
    for c, r in HOLES:
        rim = rims([(c, r)], 3 * n)
        rim = rim[(rim.real >= -1e-9) & (rim.imag >= -1e-9)]
        z.append(rim)
        normal.append(-(rim - c) / r)
        heat.append(np.full(len(rim), 5.0 if r == 1 else 1.0))
    return np.concatenate(z), np.concatenate(normal), np.concatenate(heat)


def transformed(s: complex, at: np.ndarray, order: int) -> tuple[np.ndarray, float]:
    """Return the Laplace transform at points ``(m,)``, and the relative residual of the boundary condition."""
    k = np.sqrt(s)

    def condition(z: np.ndarray, normal: np.ndarray) -> np.ndarray:
        u, u_x, u_y = functions(z, k, order)
        return u + normal.real[:, None] * u_x + normal.imag[:, None] * u_y

    z, normal, heat = edge(4 * order)
    coefficients = fitted(condition(z, normal), heat.astype(complex))
    z, normal, heat = edge(29)
    left = np.abs(condition(z, normal) @ coefficients - heat).max()
    return functions(at, k, order)[0] @ coefficients / s, left


def hyperbola(first: float, last: float, n: int) -> list[tuple[complex, complex]]:
    """Return places s and weights w of u(t) = sum Re(w exp(s t) U(s)) between two times; section 4 of the paper."""
    phi = np.linspace(np.pi / 4, np.pi / 2, 402)[1:-1]
    ratio = last / first
    spread = np.arccosh(((np.pi - 2 * phi) * ratio + 4 * phi - np.pi) / ((4 * phi - np.pi) * np.sin(phi)))
    best = np.argmax((np.pi**2 - 2 * np.pi * phi) / spread)
    phi, step = phi[best], spread[best] / n
    size = (4 * np.pi * phi - np.pi**2) / step / last
    w = 1j * (np.arange(n) + 0.5) * step - phi
    return list(zip(size * (1 + np.sin(w)), size * step / np.pi * np.cos(w), strict=True))


def heat2d_cg(level: int) -> Table:
    """Solve the problem up to t = 3.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u`` over them, NaN in the holes.
    """
    order, nodes = ((6, 10), (9, 14))[level]
    t, x, y = np.linspace(0, 3, 16), np.linspace(0, 8, 17), np.linspace(0, 12, 25)
    z = (x[:, None] + 1j * y).ravel()
    known = np.all([np.abs(z - c) > r - 1e-4 for c, r in HOLES], 0)
    u = np.zeros((len(t), len(z)))
    done = np.zeros(len(t), bool)
    for low, high in INTERVALS:
        now = ~done & (t >= low - 1e-9) & (t <= high + 1e-9)
        done |= now
        for place, weight in hyperbola(low, high, nodes):
            value = transformed(place, z[known], order)[0]
            u[np.ix_(now, known)] += np.real(weight * np.exp(place * t[now])[:, None] * value)
    u[:, ~known] = np.nan
    whole = u.reshape(len(t), len(x), len(y))
    whole = np.concatenate([whole[:, :0:-1], whole], 1)
    whole = np.concatenate([whole[:, :, :0:-1], whole], 2)
    return {"t": t, "x": np.linspace(-8, 8, 33), "y": np.linspace(-12, 12, 49), "u": whole}
