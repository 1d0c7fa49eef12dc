"""Labels of the operator problems: solutions for many input functions at once, converged far below any network.

Functions of one coordinate come as a callable, x (m,) -> values (n, m); solutions are on uniform grids with both
ends, (n, nt, nx), t and x from 0 to 1. `level` 0 is a coarser resolution, from which `with_error` estimates the
error. The equations are those of S. Wang, H. Wang, P. Perdikaris, Science Advances 7 (2021) eabi8605.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import dstn

from nfsolve import InputError
from nfsolve.data import read_arrays
from problems.operators._etdrk4 import march

Functions = Callable[[np.ndarray], np.ndarray]

SAMPLE = 4  # functions on which the error is estimated


def with_error(solver: Callable[..., np.ndarray], functions: Functions, **options: Any) -> tuple[np.ndarray, float]:
    """Solve, and estimate the error of the solutions.

    Args:
        solver: A function of this file.
        functions: Its input functions.
        **options: Its options.

    Returns:
        Solutions, and the largest relative L2 difference of the first few from those of lower resolution, which
        bounds their error in practice.
    """
    fine = solver(functions, **options)
    coarse = solver(lambda x: functions(x)[:SAMPLE], **options, level=0)
    return fine, relative_gap(coarse, fine[:SAMPLE])


def relative_gap(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest relative L2 difference of two sets of solutions (n, ...)."""
    gap, size = ((a.reshape(len(a), -1) ** 2).sum(1) for a in (values - reference, reference))
    return float(np.sqrt(gap / size).max())


def diffusion_reaction(
    source: Functions, nt: int = 101, nx: int = 101, diffusion: float = 0.01, reaction: float = 0.01, level: int = 1
) -> np.ndarray:
    """Solve s_t = D s_xx + k s^2 + f(x) with s = 0 at t = 0, x = 0 and x = 1.

    Chebyshev collocation in x, whose points resolve the layer of width sqrt(D t) that f(0) != 0 makes at the walls;
    ETDRK4 in t, for which D s_xx + f is exact.

    Args:
        source: Functions f.
        nt: Times.
        nx: Points.
        diffusion: D.
        reaction: k.
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        s, (n, nt, nx).
    """
    n, steps = ((48, 1), (72, 2))[level]
    x, second = chebyshev(n)
    values, vectors = np.linalg.eig(second[1:-1, 1:-1])
    inverse = np.linalg.inv(vectors)
    f = source(x[1:-1])

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return (reaction * (v @ vectors.T) ** 2 + f) @ inverse.T

    start = np.zeros_like(f)
    ends = march(start, diffusion * values, nonlinear, [(1 / (nt - 1), steps)] * (nt - 1))
    onto = interpolation(x, np.linspace(0, 1, nx))[:, 1:-1] @ vectors
    return np.stack([start, *ends], 1) @ onto.T


def chebyshev(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n + 1 Chebyshev points of [0, 1] and the matrix of the second derivative there.

    Reference:
        L. N. Trefethen, "Spectral Methods in MATLAB", 2000, chapter 6.
    """
    x = np.sin(np.pi * np.arange(n + 1) / (2 * n)) ** 2
    c = (-1.0) ** np.arange(n + 1) * np.where(np.arange(n + 1) % n == 0, 2, 1)
    slope = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    slope -= np.diag(slope.sum(1))
    return x, slope @ slope


def interpolation(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the matrix from values at Chebyshev points (k,) to those of their polynomial at x (m,): (m, k).

    Reference:
        J.-P. Berrut, L. N. Trefethen, SIAM Review 46 (2004) 501, equation 5.4.
    """
    weights = (-1.0) ** np.arange(len(nodes))
    weights[[0, -1]] /= 2
    gaps = x[:, None] - nodes
    same = np.abs(gaps) < 1e-15
    terms = weights / np.where(same, 1, gaps)
    return np.where(same.any(1, keepdims=True), same, terms / terms.sum(1, keepdims=True))


def advection(speed: Functions, nt: int = 101, nx: int = 101, level: int = 1) -> np.ndarray:
    """Solve s_t + u(x) s_x = 0, s(x, 0) = sin(pi x), s(0, t) = sin(pi t / 2), u > 0, along characteristics.

    With T(x) the integral of 1 / u from 0 to x, s depends on T(x) - t only. T is integrated by Gauss-Legendre
    quadrature, and its inverse is the cubic Hermite interpolant, whose slopes u are known.

    Args:
        speed: Functions u.
        nt: Times.
        nx: Points.
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        s, (n, nt, nx).

    Raises:
        InputError: u is not positive somewhere.
    """
    panels = (nx - 1) * max(1, round((500, 1000)[level] / (nx - 1)))
    edges = np.linspace(0, 1, panels + 1)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    inside = (edges[:-1, None] + (nodes + 1) / (2 * panels)).ravel()
    u, between = speed(edges), speed(inside)
    lowest = min(u.min(), between.min())
    if not lowest > 0:
        raise InputError(f"the speed u must be positive on [0, 1], but it falls to {lowest:g}", do="add a constant")
    pieces = (1 / between).reshape(len(u), panels, 5) @ weights / (2 * panels)
    time = np.concatenate([np.zeros((len(u), 1)), np.cumsum(pieces, 1)], 1)
    later = time[:, None, :: panels // (nx - 1)] - np.linspace(0, 1, nt)[:, None]
    start = np.stack([_inverse(row, edges, slopes, at) for row, slopes, at in zip(time, u, later, strict=True)])
    return np.where(later >= 0, np.sin(np.pi * start), np.sin(-np.pi / 2 * later))


def _inverse(time: np.ndarray, x: np.ndarray, slopes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Invert the increasing function x -> time at some times, given dx / dtime."""
    i = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(x) - 2)
    h = time[i + 1] - time[i]
    z = (at - time[i]) / h
    left = (1 - z) ** 2 * ((1 + 2 * z) * x[i] + z * h * slopes[i])
    return left + z**2 * ((3 - 2 * z) * x[i + 1] + (z - 1) * h * slopes[i + 1])


def burgers(initial: Functions, nt: int = 101, nx: int = 101, nu: float = 0.01, level: int = 1) -> np.ndarray:
    """Solve u_t + u u_x = nu u_xx with period 1 in x, exactly but for quadrature.

    By the Cole-Hopf formula u is a quotient of integrals over the initial value, of positive integrands without
    cancellation, for which equidistant quadrature converges exponentially. No step in time is made.

    Args:
        initial: Functions u(0, x) of period 1.
        nt: Times.
        nx: Points, both ends included.
        nu: Viscosity.
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        u, (n, nt, nx).

    Raises:
        InputError: The viscosity is so small that the integrands leave the range of the numbers.

    Reference:
        E. Hopf, Communications on Pure and Applied Mathematics 3 (1950) 201, equation 8.
    """
    coarse = initial(np.arange(256) / 256)
    steepest = 256 * np.abs(np.diff(coarse, axis=1)).max()
    width = math.sqrt(2 * nu / (nt - 1 + steepest))  # of the narrowest integrand, at the first time
    every = math.ceil(max(256, 1.5 / width) / (nx - 1)) + level
    m = every * (nx - 1)
    spectrum = np.fft.rfft(initial(np.arange(m) / m))
    mean = spectrum[:, :1].real / m
    waves = 2j * np.pi * np.arange(m // 2 + 1)
    potential = spectrum / np.where(waves == 0, np.inf, waves)
    spread = np.ptp(np.fft.irfft(potential, m), axis=1).max() / (2 * nu)
    if spread > 600:
        raise InputError(
            f"nu must be at least {nu * spread / 600:.1g} for initial values of this size, got {nu:g}",
            do="choose a larger nu, or smaller initial values",
        )
    index = (every * np.arange(nx)[:, None] - np.arange(m)) % m
    rows = [initial(np.linspace(0, 1, nx))]
    for t in np.linspace(0, 1, nt)[1:]:
        # in the frame that moves with the mean, the potential is periodic
        moved = np.fft.irfft(potential * np.exp(-waves * mean * t), m)
        phi = np.exp(-(moved - moved.min(1, keepdims=True)) / (2 * nu)).T
        reach = math.ceil(math.sqrt(4 * nu * t * (spread + 40)))
        distance = np.arange(m) / m + np.arange(-reach - 1, reach + 1)[:, None]
        kernel = np.exp(-(distance**2) / (4 * nu * t))
        below, above = kernel.sum(0)[index] @ phi, (distance / t * kernel).sum(0)[index] @ phi
        rows.append(mean + (above / below).T)
    return np.stack(rows, 1)


def darcy(a: np.ndarray, cells: int = 1, tolerance: float = 1e-8) -> np.ndarray:
    """Solve -div(a grad u) = 1 on the unit square, u = 0 on its boundary.

    Finite volumes around the nodes. The flux between two nodes is that of strips side by side, each with the harmonic
    mean of a along it, so that interfaces between nodes count where they are. Conjugate gradients, preconditioned by
    the Laplacian through sine transforms: the number of iterations depends on max a / min a only.

    Args:
        a: Positive coefficients on a uniform lattice with the boundary, (n, m cells + 1, m cells + 1).
        cells: Lattice steps between nodes, 1 or an even number.
        tolerance: Largest relative residual.

    Returns:
        u at the nodes, (n, m + 1, m + 1).

    Raises:
        InputError: A coefficient is not positive, or the lattice does not have whole cells.
    """
    m, rest = divmod(a.shape[1] - 1, cells)
    if rest or (cells > 1 and cells % 2):
        raise InputError(
            f"there must be 1 or an even number of steps between nodes, got {cells} for {a.shape[1]} points",
            do="choose another number of points",
        )
    if not a.min() > 0:
        raise InputError(f"coefficients must be positive, got {a.min():g}", do="take their exponential, say")
    east = _conductances(a, cells)
    north = _conductances(a.swapaxes(1, 2), cells).swapaxes(1, 2)
    waves = 2 - 2 * np.cos(np.pi * np.arange(1, m) / m)
    laplacian = waves[:, None] + waves

    def apply(u: np.ndarray) -> np.ndarray:
        padded = np.pad(u, ((0, 0), (1, 1), (1, 1)))
        x = east * np.diff(padded[:, :, 1:-1], axis=1)
        y = north * np.diff(padded[:, 1:-1], axis=2)
        return -np.diff(x, axis=1) - np.diff(y, axis=2)

    def sines(r: np.ndarray) -> np.ndarray:
        return np.asarray(dstn(r, 1, axes=(1, 2), norm="ortho"))

    def precondition(r: np.ndarray) -> np.ndarray:
        return sines(sines(r) / laplacian)

    load = np.full((len(a), m - 1, m - 1), 1 / m**2)
    return np.pad(_conjugate_gradients(apply, precondition, load, tolerance), ((0, 0), (1, 1), (1, 1)))


def _conductances(a: np.ndarray, cells: int) -> np.ndarray:
    """Return the flux between nodes that are neighbours along the second axis: (n, m, m - 1), inner ones across."""
    m = (a.shape[1] - 1) // cells
    trapezoid = np.full(cells + 1, 1 / cells)
    trapezoid[[0, -1]] /= 2
    resistance = sum(w * (1 / a[:, k : k + (m - 1) * cells + 1 : cells]) for k, w in enumerate(trapezoid))
    strips = 1 / np.asarray(resistance)
    if cells == 1:
        return strips[:, :, 1:-1]
    first, span = cells // 2, (m - 2) * cells + 1
    across = (w * strips[:, :, first + k : first + k + span : cells] for k, w in enumerate(trapezoid))
    return np.asarray(sum(across))


def _conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    load: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Solve apply(u) = load for each function of a batch."""

    def dot(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return np.einsum("nij,nij->n", p, q)[:, None, None]

    u, r = np.zeros_like(load), load
    least = tolerance**2 * dot(r, r)
    direction = precondition(r)
    size = dot(r, direction)
    while (dot(r, r) > least).any():
        image = apply(direction)
        step = size / dot(direction, image)
        u += step * direction
        r = r - step * image
        z = precondition(r)
        size, last = dot(r, z), size
        direction = z + size / last * direction
    return u


def read_darcy(path: Path) -> dict[str, np.ndarray]:
    """Read the data set that ``scripts.make_references darcy_operator`` writes.

    Args:
        path: The .npz file.

    Returns:
        Coefficients ``a`` (3 or 12) and solutions ``u`` of the training functions at the nodes of a 29 x 29 grid, both
        (n, 29, 29), ``test_a`` and ``test_u`` of the test functions, and ``error``, the relative error of u.
    """
    table = read_arrays(path)
    train, points = int(table["train"]), table["u"].shape[1] + 2
    high = np.unpackbits(table["high"], axis=1, count=points**2).reshape(-1, points, points)
    a = np.where(high == 1, 12.0, 3.0)
    u = np.pad(table["u"] * table["unit"], ((0, 0), (1, 1), (1, 1)))
    return {"a": a[:train], "u": u[:train], "test_a": a[train:], "test_u": u[train:], "error": table["error"]}
