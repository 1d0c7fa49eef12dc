"""Materials whose coefficient jumps, by spectral elements on a tensor grid: three problems of PINNacle.

Nodes and quadrature are Gauss-Lobatto-Legendre, so masses are diagonal. Elements end where the coefficient jumps or
bends, and shrink geometrically towards the corners of cells, where the solution is singular.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial import legendre
from scipy import sparse
from scipy.sparse.linalg import splu

Table = dict[str, np.ndarray]


class Line:
    """A line of elements.

    Args:
        ends: Ends of the elements, ascending ``(m + 1,)``.
        degree: Degree of the polynomials.

    Attributes:
        nodes: Nodes ``(m degree + 1,)``.
        places: Nodes of all elements one after the other, those between two elements twice ``(m (degree + 1),)``.
        weights: Of the quadrature at `places`.
        gather: Values at nodes -> values at places, sparse.
        slope: Values at nodes -> derivatives at places, sparse.
    """

    def __init__(self, ends: np.ndarray, degree: int):
        inner = legendre.legroots(legendre.legder(np.eye(degree + 1)[degree]))
        s = np.concatenate([[-1.0], np.sort(inner.real), [1.0]])
        values = legendre.legvander(s, degree)
        slopes = np.stack([legendre.legval(s, legendre.legder(c)) for c in np.eye(degree + 1)], 1)
        derivative = slopes @ np.linalg.inv(values)
        half, m = np.diff(ends) / 2, len(ends) - 1
        self.places = (ends[:-1, None] + half[:, None] * (s + 1)).ravel()
        weights = 2 / (degree * (degree + 1) * values[:, -1] ** 2)
        self.weights = (half[:, None] * weights).ravel()
        index = (degree * np.arange(m)[:, None] + np.arange(degree + 1)).ravel()
        self.gather = sparse.csr_array((np.ones(len(index)), (np.arange(len(index)), index)))
        self.slope = sparse.block_diag([derivative / h for h in half], format="csr") @ self.gather
        self.nodes = np.zeros(m * degree + 1)
        self.nodes[index] = self.places
        self.nodes[::degree] = ends  # exactly, so that sides are found
        self.ends, self.degree, self.values = ends, degree, values

    def interpolate(self, at: np.ndarray) -> sparse.csr_array:
        """Return the matrix from values at nodes to values at points of the line."""
        element = np.clip(np.searchsorted(self.ends, at, side="right") - 1, 0, len(self.ends) - 2)
        low, high = self.ends[element], self.ends[element + 1]
        local = legendre.legvander((2 * at - low - high) / (high - low), self.degree) @ np.linalg.inv(self.values)
        columns = self.degree * element[:, None] + np.arange(self.degree + 1)
        rows = np.repeat(np.arange(len(at)), self.degree + 1)
        return sparse.csr_array((local.ravel(), (rows, columns.ravel())), (len(at), len(self.nodes)))


def stiffness(line: Line, coefficient: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> sparse.csc_array:
    """Return the matrix of div(c grad u) on the square of a line, c given at x ``(n, 1)`` and y ``(1, n)``."""
    c = coefficient(line.places[:, None], line.places[None])
    weights = sparse.diags_array((c * line.weights[:, None] * line.weights).ravel())
    along, across = sparse.kron(line.slope, line.gather), sparse.kron(line.gather, line.slope)
    return sparse.csc_array(along.T @ weights @ along + across.T @ weights @ across)


def lumped(line: Line, density: np.ndarray | float = 1.0) -> np.ndarray:
    """Integrate a density, given at places ``(n, n)``, against the function of each node of a square, flat."""
    whole = density * line.weights[:, None] * line.weights
    return (line.gather.T @ (line.gather.T @ whole).T).T.ravel()


def on_square(line: Line, u: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Evaluate values at the nodes of a square, flat, on the grid of an axis."""
    to = line.interpolate(axis)
    return to @ (to @ u.reshape(len(line.nodes), -1).T).T


def alone(u: np.ndarray) -> Table:
    """Return a solution without its fluxes, which are not a number where nothing is known of them."""
    return {"u": u} | {name: np.full(u.shape, np.nan) for name in "pq"}


def bilinear(values: np.ndarray, low: float, high: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the interpolation of values on a grid over a square, y along rows, x along columns."""

    def coefficient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        n = len(values) - 1
        a, b = ((v - low) / (high - low) * n for v in (x.ravel(), y.ravel()))
        i, j = (np.clip(np.floor(v).astype(int), 0, n - 1) for v in (a, b))
        right, up = (a - i)[:, None], (b - j)[None]
        i, j = i[:, None], j[None]
        lower = values[j, i] * (1 - right) + values[j, i + 1] * right
        upper = values[j + 1, i] * (1 - right) + values[j + 1, i + 1] * right
        return lower * (1 - up) + upper * up

    return coefficient


def poisson2d_ms(level: int) -> Table:
    """Solve Poisson2d-MS of PINNacle: div(a grad u) + f = 0 in 5 x 5 cells, du/dn + u = 0.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``x``, ``y`` and ``u`` over them.
    """
    from problems.pinnacle.poisson2d_ms import Poisson2dMS

    problem = Poisson2dMS()
    a, amplitudes = problem._coefficients.numpy(), problem._amplitudes.numpy()
    layers, degree = ((5, 5), (8, 5))[level]
    fade = 0.15 ** np.arange(layers - 1, -1, -1.0) / 2
    cell = np.concatenate([[0.0], fade, 1 - fade[-2::-1]])
    line = Line(-10 + 4 * np.append((np.arange(5)[:, None] + cell).ravel(), 5.0), degree)
    # places between two cells belong to the element that has them
    middle = np.repeat((line.ends[1:] + line.ends[:-1]) / 2, degree + 1)
    i = ((middle + 10) / 4).astype(int)
    r = np.sin(np.pi * ((line.places + 10) / 4 - i))
    f = amplitudes[i[:, None], i]
    matrix = stiffness(line, lambda x, y: a[i[:, None], i])
    ends = np.zeros(len(line.nodes))
    ends[[0, -1]] = 1
    for one, last in ((0, True), (-1, True), (0, False), (-1, False)):
        corner = np.zeros(len(line.nodes))
        corner[one] = 1
        side = a[i[one]] if last else a[:, i[one]]
        along = line.gather.T @ (line.weights * side[i])
        matrix += sparse.diags_array((corner[:, None] * along if last else along[:, None] * corner).ravel())
    u = splu(sparse.csc_array(matrix)).solve(lumped(line, f[..., 0] + f[..., 3] * r[:, None] * r))
    axis = np.linspace(-10, 10, 101)
    return {"x": axis, "y": axis} | alone(on_square(line, u, axis))


def heat2d_vc(level: int) -> Table:
    """Solve Heat2d-VC of PINNacle: u_t = div(a grad u) + f, f = sin(pi t) times a function of x and y.

    What is stored is the periodic solution, and 0 at t = 0: after 5/12, the first of the other times, what remains of
    the start has fallen to exp(-8) of itself, which is 3e-6 of the solution.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u`` over them.
    """
    from problems.pinnacle.heat2d_vc import Heat2dVC

    values = Heat2dVC()._grid.numpy()
    line = Line(np.linspace(0, 1, len(values)), (1, 2)[level])
    inside = np.ones((len(line.nodes),) * 2, bool)
    inside[[0, -1]] = inside[:, [0, -1]] = False
    free = np.flatnonzero(inside.ravel())
    matrix = stiffness(line, bilinear(values, 0, 1)) + 1j * np.pi * sparse.diags_array(lumped(line))
    load = 200 * np.sin(np.pi * line.places)[:, None] * np.sin(5 * np.pi * line.places)
    u = np.zeros(len(line.nodes) ** 2, complex)
    u[free] = splu(sparse.csc_array(matrix[free][:, free])).solve(lumped(line, load)[free].astype(complex))
    t, axis = np.linspace(0, 5, 13), np.linspace(0, 1, 52)
    amplitude = on_square(line, u, axis)
    stored = np.stack([(np.exp(1j * np.pi * moment) * amplitude).imag * (moment > 0) for moment in t])
    return {"t": t, "x": axis, "y": axis} | alone(stored)


def wave2d_cg(level: int) -> Table:
    """Solve Wave2d-CG of PINNacle: u_tt = div(c grad u), no flux through the sides, t in [0, 5].

    In time by the leapfrog scheme of fourth order, u(t + h) + u(t - h) = 2 u - h^2 A u + h^4 / 12 A^2 u.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u`` over them.
    """
    from problems.pinnacle.wave2d_cg import Wave2dCG

    values = Wave2dCG()._grid.numpy()
    line = Line(np.linspace(-1, 1, len(values)), (2, 3)[level])
    mass = lumped(line)
    matrix = sparse.csr_array(sparse.diags_array(1 / mass) @ stiffness(line, bilinear(values, -1, 1)))
    x, y = line.nodes[:, None], line.nodes[None]
    now = np.exp(-((x + 0.5) ** 2 + y**2) / 0.18).ravel()
    largest = np.abs(matrix).sum(1).max()  # at least the largest eigenvalue
    intervals = 20
    steps = int(np.ceil(5 / intervals / np.sqrt(11 / largest)))
    h = 5 / intervals / steps

    def change(u: np.ndarray) -> np.ndarray:
        once = matrix @ u
        return h**4 / 12 * (matrix @ once) - h**2 * once

    before, axis = now, np.linspace(-1, 1, 52)
    stored = [on_square(line, now, axis)]
    ahead = now + change(now) / 2
    for _ in range(intervals):
        for _ in range(steps):
            before, now = now, ahead
            ahead = 2 * now - before + change(now)
        stored.append(on_square(line, now, axis))
    return {"t": np.linspace(0, 5, intervals + 1), "x": axis, "y": axis} | alone(np.stack(stored))
