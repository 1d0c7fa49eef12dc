"""Steady flow in a square with a sliding lid: stream function by Legendre-Galerkin, the lid's corners subtracted.

With zeta = laplace(psi), u = psi_y, v = -psi_x: psi_y zeta_x - psi_x zeta_y = laplace(zeta) / Re. At a corner of the
lid psi = sum Re^n r^(n + 1) f_n(phi) + smoother terms; f_0 is Taylor's scraper (1962), the others are its corrections
by inertia. Three of them are subtracted exactly (Botella & Peyret, Computers & Fluids 27 (1998) 421 subtract two),
which leaves a function that polynomials approximate well.
"""

from math import comb

import numpy as np
from numpy.polynomial import Polynomial, legendre
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, gmres

Table = dict[str, np.ndarray]
Derivatives = dict[str, np.ndarray]  # x, y and laplacian of a function

POINTS = 101
ORDER = 2  # highest power of Re that is subtracted
STEEP, FLAT = 8, 6
EXCLUDED = 0.05  # distance from the lid's corners within which the velocity is left out


def basis(degree: int, s: np.ndarray) -> list[np.ndarray]:
    """Return Shen's polynomials with value and slope zero at 0 and 1, with two derivatives (SISC 15 (1994) 1489).

    Args:
        degree: Their largest degree.
        s: Points in [0, 1] ``(n,)``.

    Returns:
        Values, first and second derivatives, each ``(n, degree - 3)``.
    """
    k = np.arange(degree - 3)
    coefficients = np.zeros((degree + 1, degree - 3))
    coefficients[k, k] = 1
    coefficients[k + 2, k] = -2 * (2 * k + 5) / (2 * k + 7)
    coefficients[k + 4, k] = (2 * k + 3) / (2 * k + 7)
    coefficients *= 1 / np.sqrt(2 * (2 * k + 3) ** 2 * (2 * k + 5))  # second derivatives orthonormal on [-1, 1]
    tables = []
    for order in range(3):
        derived = legendre.legder(coefficients, order) * 2**order if order else coefficients
        tables.append(legendre.legvander(2 * s - 1, derived.shape[0] - 1) @ derived)
    return tables


def scraper() -> tuple[float, float, float]:
    """Return f = b sin(phi) + c phi cos(phi) + d phi sin(phi), f = 0 on both sides, f' = -1 on the lid and 0 below."""
    c = 4 / (np.pi**2 - 4)
    return -c * np.pi**2 / 4, c, c * np.pi / 2


def angular(order: int, degree: int = 40) -> list[np.ndarray]:
    """Return f_0 .. f_order of psi = sum Re^n r^(n + 1) f_n(phi), as Legendre coefficients on [0, pi / 2].

    With h_n = (n + 1)^2 f_n + f_n'', the equation at order n is (n - 1)^2 h_n + h_n'' = sum over i + j = n - 1 of
    (i + 1) f_i h_j' - (j - 1) f_i' h_j, and f_n = f_n' = 0 on lid and wall for n > 0; solved by collocation.
    """
    b, c, d = scraper()
    s = -np.cos(np.pi * (np.arange(degree - 3) + 0.5) / (degree - 3))
    ends = np.array([-1.0, 1.0])
    identity = np.eye(degree + 1)
    phi = (np.pi / 4) * (legendre.leggauss(degree + 1)[0] + 1)
    exact = b * np.sin(phi) + c * phi * np.cos(phi) + d * phi * np.sin(phi)
    found = [np.linalg.solve(legendre.legvander(4 * phi / np.pi - 1, degree), exact)]
    for n in range(1, order + 1):
        f = [[along(a, m, s) for m in range(4)] for a in found]
        h = [[(i + 1) ** 2 * a[m] + a[m + 2] for m in (0, 1)] for i, a in enumerate(f)]
        forcing = sum((i + 1) * f[i][0] * h[n - 1 - i][1] - (n - 2 - i) * f[i][1] * h[n - 1 - i][0] for i in range(n))
        even, whole = (n - 1) ** 2, (n + 1) ** 2
        rows = along(identity, 4, s) + (even + whole) * along(identity, 2, s) + even * whole * along(identity, 0, s)
        matrix = np.concatenate([rows.T, along(identity, 0, ends).T, along(identity, 1, ends).T])
        found.append(np.linalg.solve(matrix, np.append(forcing, np.zeros(4))))
    return found


def along(coefficients: np.ndarray, order: int, s: np.ndarray) -> np.ndarray:
    """Evaluate a derivative with respect to phi of a Legendre series at s = 4 phi / pi - 1."""
    return legendre.legval(s, legendre.legder(coefficients, order)) * (4 / np.pi) ** order


def fade(s: np.ndarray) -> list[np.ndarray]:
    """Return a polynomial that is 1 + O(s^(FLAT + 1)) at 0 and has a zero of order STEEP at 1, with two derivatives."""
    series = [comb(STEEP - 1 + k, k) for k in range(FLAT + 1)]  # of (1 - s)^-STEEP
    p = Polynomial([1, -1]) ** STEEP * Polynomial(series)
    return [p(s), p.deriv(1)(s), p.deriv(2)(s)]


def one_corner(x: np.ndarray, y: np.ndarray, reynolds: float) -> Derivatives:
    """Derivatives of the singular part at the corner (0, 0), lid along x, wall along y, times `fade` in x and y."""
    square = np.maximum(x**2 + y**2, 1e-300)
    r, s = np.sqrt(square), 4 * np.arctan2(y, x) / np.pi - 1
    value, value_x, value_y, laplacian = (np.zeros_like(r) for _ in range(4))
    for n, coefficients in enumerate(angular(ORDER)):
        f, f_1, f_2 = (reynolds**n * along(coefficients, m, s) for m in range(3))
        value += r ** (n + 1) * f
        value_x += r ** (n - 1) * ((n + 1) * x * f - y * f_1)
        value_y += r ** (n - 1) * ((n + 1) * y * f + x * f_1)
        laplacian += r ** (n - 1) * ((n + 1) ** 2 * f + f_2)
    (a, a_1, a_2), (e, e_1, e_2) = fade(x), fade(y)
    return {
        "x": (value_x * a + value * a_1) * e,
        "y": (value_y * e + value * e_1) * a,
        "laplacian": laplacian * a * e + 2 * (value_x * a_1 * e + value_y * a * e_1) + value * (a_2 * e + a * e_2),
    }


def known_part(x: np.ndarray, y: np.ndarray, reynolds: float) -> Derivatives:
    """Both corners, and a smooth rest that completes the lid's velocity to 1.

    Args:
        x: Along the lid, on the grid ``(n, m)``.
        y: Height, on the same grid; the lid is y = 1.
        reynolds: Reynolds number.

    Returns:
        psi_x, psi_y and laplace(psi), ``(n, m)`` each.
    """
    depth = 1 - y
    left, right = one_corner(x, depth, reynolds), one_corner(1 - x, depth, -reynolds)
    (a, a_1, a_2), (e, e_1, e_2) = fade(x), fade(1 - x)
    h, h_1, h_2 = 1 - a - e, -a_1 + e_1, -a_2 - e_2
    profile, slope, bend = -depth * (1 - depth) ** 2, -(1 - depth) * (1 - 3 * depth), 4 - 6 * depth
    return {
        "x": left["x"] - right["x"] + h_1 * profile,
        "y": -(left["y"] + right["y"] + h * slope),
        "laplacian": left["laplacian"] + right["laplacian"] + h_2 * profile + h * bend,
    }


class Cavity:
    """The weak form on polynomials of one degree.

    Args:
        reynolds: Reynolds number.
        degree: Degree of the polynomials in x and in y.
        nodes: Gauss nodes along each side.
    """

    def __init__(self, reynolds: float, degree: int, nodes: int):
        self.reynolds = reynolds
        s, weights = legendre.leggauss(nodes)
        self.s, self.weights = (s + 1) / 2, weights / 2
        self.values = basis(degree, self.s)
        self.known = known_part(*np.meshgrid(self.s, self.s, indexing="ij"), reynolds)
        mass, _, bend = ((m.T * self.weights) @ m for m in self.values)
        cross = (self.values[2].T * self.weights) @ self.values[0]
        stiffness = np.kron(bend, mass) + np.kron(mass, bend) + np.kron(cross, cross.T) + np.kron(cross.T, cross)
        self.stokes = cho_factor(stiffness)

    def at(self, c: np.ndarray, tables: list[np.ndarray]) -> Derivatives:
        """Evaluate derivatives of the polynomial part."""
        v, d, b = tables
        return {"x": d @ c @ v.T, "y": v @ c @ d.T, "laplacian": b @ c @ v.T + v @ c @ b.T}

    def tested(self, x: np.ndarray, y: np.ndarray, laplacian: np.ndarray) -> np.ndarray:
        """Integrate x phi_x + y phi_y + laplacian laplace(phi) for each basis function phi."""
        v, d, b = (m.T * self.weights for m in self.values)
        return d @ x @ v.T + v @ y @ d.T + b @ laplacian @ v.T + v @ laplacian @ b.T

    def residual(self, c: np.ndarray, reynolds: float) -> np.ndarray:
        """Weak form: integral of laplace(psi) laplace(phi) / Re + zeta (psi_y phi_x - psi_x phi_y)."""
        p = {name: part + self.known[name] for name, part in self.at(c, self.values).items()}
        zeta = reynolds * p["laplacian"]
        return self.tested(zeta * p["y"], -zeta * p["x"], p["laplacian"])

    def solve(self, start: np.ndarray | None = None, tolerance: float = 1e-12) -> np.ndarray:
        """Find the coefficients by Newton's method.

        Args:
            start: Coefficients of a lower degree; without them Stokes flow, and from there a few Reynolds numbers.
            tolerance: Of the last step, relative.

        Returns:
            Coefficients ``(degree - 3, degree - 3)``.
        """
        c = np.zeros((self.values[0].shape[1],) * 2)
        if start is not None:
            c[: len(start), : len(start)] = start
        else:
            for reynolds in (0.0, *(n for n in (50.0, 100.0, 200.0) if n < self.reynolds)):
                c = self.newton(c, reynolds, 1e-2)
        return self.newton(c, self.reynolds, tolerance)

    def newton(self, c: np.ndarray, reynolds: float, tolerance: float) -> np.ndarray:
        """Solve at one Reynolds number; each step by GMRES preconditioned by Stokes flow."""
        for _ in range(12):
            p = {name: part + self.known[name] for name, part in self.at(c, self.values).items()}

            def linear(flat: np.ndarray, p: Derivatives = p, shape: tuple[int, ...] = c.shape) -> np.ndarray:
                q = self.at(flat.reshape(shape), self.values)
                x = reynolds * (p["laplacian"] * q["y"] + q["laplacian"] * p["y"])
                y = -reynolds * (p["laplacian"] * q["x"] + q["laplacian"] * p["x"])
                return cho_solve(self.stokes, self.tested(x, y, q["laplacian"]).ravel())

            operator = LinearOperator((c.size, c.size), matvec=linear, dtype=float)  # type: ignore[call-arg]
            residual = cho_solve(self.stokes, self.residual(c, reynolds).ravel())
            step, _ = gmres(operator, -residual, rtol=1e-3 * min(1.0, tolerance * 1e9), restart=150, maxiter=2)
            c = c + step.reshape(c.shape)
            if np.abs(step).max() < tolerance * np.abs(c).max():
                break
        return c


def cavity(reynolds: float, degrees: tuple[int, int] = (72, 88), excluded: float = EXCLUDED) -> tuple[Table, float]:
    """Solve at two degrees.

    Args:
        reynolds: Reynolds number.
        degrees: Of the coarse and of the stored solution.
        excluded: Distance from the lid's corners within which velocities are NaN.

    Returns:
        Axes ``x``, ``y``, velocities ``u``, ``v`` over them, and the relative L2 difference of the two solutions.
    """
    axis = np.linspace(0, 1, POINTS)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    known = np.minimum(np.hypot(x, 1 - y), np.hypot(1 - x, 1 - y)) > excluded
    # first a low degree, from which Newton's method starts
    solutions: list[dict[str, np.ndarray]] = []
    c = None
    for degree in (min(40, degrees[0]), *degrees):
        form = Cavity(reynolds, degree, 2 * degree + 40)
        c = form.solve(c)
        smooth, singular = form.at(c, basis(degree, axis)), known_part(x, y, reynolds)
        u, v = smooth["y"] + singular["y"], -(smooth["x"] + singular["x"])
        solutions.append({"u": np.where(known, u, np.nan), "v": np.where(known, v, np.nan)})
    gaps = [
        np.linalg.norm((solutions[-2][n] - fine)[known]) / np.linalg.norm(fine[known])
        for n, fine in solutions[-1].items()
    ]
    return {"x": axis, "y": axis, **solutions[-1]}, float(max(gaps))
