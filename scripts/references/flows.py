"""Flows of PINNacle by spectral elements: velocities of degree N, continuous pressures of degree N - 1 (Taylor-Hood).

Elements shrink geometrically towards corners where the pressure is infinite; there the references are left out.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from scripts.references.materials import Line

Table = dict[str, np.ndarray]
NU = 0.01


def graded(low: float, high: float, n: int, layers: int, at: str) -> np.ndarray:
    """Return ends of elements from low to high: n equal ones, of which outer ones are split in layers.

    Args:
        low: First end.
        high: Last end.
        n: Number of equal elements.
        layers: How often an outer element is split, each time at 0.2 of it.
        at: Where: ``low``, ``high``, ``both``.
    """
    ends = np.linspace(low, high, n + 1)
    near = (high - low) / n * 0.2 ** np.arange(layers, 0, -1.0)
    parts = [ends[:1], low + near if at != "high" else [], ends[1:-1], high - near[::-1] if at != "low" else []]
    return np.concatenate([*parts, ends[-1:]])


class Flow:
    """Discrete operators of a flow in a rectangle, of which elements may be missing.

    Args:
        x: Ends of the elements along x.
        y: Ends of the elements along y.
        degree: Degree of the velocities.
        solid: Tells which points ``(x, y)`` are not fluid.
        stress: Whether nothing said on a side means no force; else it means nu du/dn = p n.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, degree: int, solid: Callable[..., np.ndarray] | None, stress: bool
    ):
        self.x, self.y = Line(x, degree), Line(y, degree)
        self.px, self.py = Line(x, degree - 1), Line(y, degree - 1)
        middles = [np.repeat((e[1:] + e[:-1]) / 2, degree + 1) for e in (x, y)]
        present = 1.0 if solid is None else 1.0 - solid(middles[0][:, None], middles[1])
        self.w = (self.x.weights[:, None] * self.y.weights * present).ravel()
        self.e = sparse.csr_array(sparse.kron(self.x.gather, self.y.gather))
        self.gx = sparse.csr_array(sparse.kron(self.x.slope, self.y.gather))
        self.gy = sparse.csr_array(sparse.kron(self.x.gather, self.y.slope))
        to = sparse.kron(self.px.interpolate(inner(self.x)), self.py.interpolate(inner(self.y)))
        w = sparse.diags_array(self.w)
        xx, yy, xy = self.gx.T @ w @ self.gx, self.gy.T @ w @ self.gy, self.gy.T @ w @ self.gx
        # (grad u + grad u^T) : grad phi
        blocks = [[2 * xx + yy, xy], [xy.T, xx + 2 * yy]] if stress else [[xx + yy, None], [None, xx + yy]]
        self.viscous = NU * sparse.block_array(blocks, format="csr")
        self.divergence = sparse.csr_array(-sparse.hstack([to.T @ w @ self.gx, to.T @ w @ self.gy]))
        self.mass = sparse.diags_array(np.tile(self.e.T @ self.w, 2))
        self.nodes = [v.ravel() for v in np.meshgrid(self.x.nodes, self.y.nodes, indexing="ij")]
        self.n = len(self.nodes[0])
        self.fluid = np.tile(self.e.T @ self.w > 0, 2)
        self.heard = np.abs(self.divergence).sum(1) > 0

    def load(self, u: np.ndarray) -> np.ndarray:
        """Integrate (u . grad) u against the functions of the nodes."""
        a, b = u[: self.n], u[self.n :]
        at, bt = self.e @ a * self.w, self.e @ b * self.w
        return np.concatenate([self.e.T @ (at * (self.gx @ c) + bt * (self.gy @ c)) for c in (a, b)])

    def slope(self, u: np.ndarray, picard: bool) -> sparse.csr_array:
        """Return the derivative of `load`; in Picard's iteration the carrying velocity is known."""
        a, b = u[: self.n], u[self.n :]
        carried = sparse.diags_array(self.e @ a * self.w) @ self.gx + sparse.diags_array(self.e @ b * self.w) @ self.gy

        def by(g: sparse.csr_array, c: np.ndarray) -> sparse.csr_array:
            return self.e.T @ sparse.diags_array(self.w * (g @ c)) @ self.e

        carried = self.e.T @ carried
        if picard:
            return sparse.block_diag([carried, carried], format="csr")
        return sparse.block_array(
            [[carried + by(self.gx, a), by(self.gy, a)], [by(self.gx, b), carried + by(self.gy, b)]], format="csr"
        )

    def on_grid(self, u: np.ndarray, p: np.ndarray, axes: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
        """Evaluate both velocities and the pressure on a grid."""
        lines = [(self.x, self.y)] * 2 + [(self.px, self.py)]
        found = []
        for (a, b), values in zip(lines, (u[: self.n], u[self.n :], p), strict=True):
            table = values.reshape(len(a.nodes), len(b.nodes))
            found.append(a.interpolate(axes[0]) @ (b.interpolate(axes[1]) @ table.T).T)
        return found


def inner(line: Line) -> np.ndarray:
    """Return the places of a line, moved into their elements by rounding errors."""
    middle = np.repeat((line.ends[1:] + line.ends[:-1]) / 2, line.degree + 1)
    return line.places + 1e-13 * (middle - line.places)


def steady(flow: Flow, fixed: np.ndarray, values: np.ndarray, pinned: bool) -> tuple[np.ndarray, np.ndarray]:
    """Solve for a steady flow by Picard's iteration from rest, then by Newton's method.

    Args:
        flow: Its operators.
        fixed: Which velocities are given ``(2 n,)``.
        values: Their values ``(2 n,)``.
        pinned: Whether the first pressure is 0.

    Returns:
        Velocities and pressures.

    Raises:
        RuntimeError: Forty steps do not suffice.
    """
    free = np.concatenate([flow.fluid & ~fixed, flow.heard])
    if pinned:
        free[2 * flow.n] = False
    u, p = np.where(fixed, values, 0.0), np.zeros(flow.divergence.shape[0])
    moved = np.inf
    for step in range(40):
        carrier = u if step else 0 * u
        left = np.concatenate([flow.viscous @ u + flow.load(carrier) + flow.divergence.T @ p, flow.divergence @ u])
        carried = flow.slope(carrier, picard=moved > 0.03)
        whole = sparse.block_array([[flow.viscous + carried, flow.divergence.T], [flow.divergence, None]], format="csr")
        change = np.zeros(len(free))
        change[free] = splu(sparse.csc_array(whole[free][:, free])).solve(-left[free])
        u, p = u + change[: len(u)], p + change[len(u) :]
        moved = np.abs(change[: len(u)]).max()
        if moved < 1e-11:
            return u, p
    raise RuntimeError("the flow did not converge in 40 steps")


def ns2d_c(level: int) -> Table:
    """Solve NS2d-C of PINNacle, a cavity under a lid that slides fastest in its middle, p = 0 in a corner.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``x``, ``y`` and ``u``, ``v``, ``p`` over them, NaN where the lid ends: the pressure is infinite there.
    """
    n, layers, degree = ((8, 3, 5), (8, 4, 6))[level]
    flow = Flow(graded(0, 1, n, layers, "both"), graded(0, 1, n, layers, "both"), degree, None, False)
    x, y = flow.nodes
    walls = (x == 0) | (x == 1) | (y == 0) | (y == 1)
    lid = np.concatenate([4 * x * (1 - x) * (y == 1), 0 * x])
    axis = np.linspace(0, 1, 51)
    table = dict(zip("uvp", flow.on_grid(*steady(flow, np.tile(walls, 2), lid, True), (axis, axis)), strict=True))
    for values in table.values():
        values[[0, -1], -1] = np.nan
    return {"x": axis, "y": axis} | table


def ns2d_cg(level: int) -> Table:
    """Solve NS2d-CG of PINNacle, flow down a step, p = 0 and v = 0 at the outlet, where v has a layer 0.04 wide.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``x``, ``y`` and ``u``, ``v``, ``p`` over them, NaN in the step and at its corner.
    """
    n, layers, degree = ((5, 3, 4), (5, 3, 5))[level]
    xs = np.concatenate([graded(0, 2, n, layers, "high")[:-1], graded(2, 4, n, layers, "both")])
    ys = np.concatenate([graded(0, 1, n // 2, layers, "high")[:-1], graded(1, 2, n // 2, layers, "low")])
    flow = Flow(xs, ys, degree, lambda x, y: (x < 2) & (y > 1), False)
    x, y = flow.nodes
    inlet, step = x == 0, (x <= 2) & (y >= 1) & ((x == 2) | (y == 1))
    walls = inlet | (y == 0) | (y == 2) | step
    fixed = np.concatenate([walls, walls | (x == 4)])
    speed = np.concatenate([4 * y * (1 - y) * inlet * (y <= 1), 0 * x])
    axes = np.linspace(0, 4, 81), np.linspace(0, 2, 41)
    table = dict(zip("uvp", flow.on_grid(*steady(flow, fixed, speed, False), axes), strict=True))
    gone = (axes[0][:, None] < 2 - 1e-9) & (axes[1] > 1 + 1e-9)
    gone |= (np.abs(axes[0][:, None] - 2) < 1e-9) & (np.abs(axes[1] - 1) < 1e-9)
    for values in table.values():
        values[gone] = np.nan
    return {"x": axes[0], "y": axes[1]} | table


def ns2d_lt(level: int, ends: int = 20) -> Table:
    """Solve NS2d-LT of PINNacle, a channel whose inlet pulses, no force on the outlet, from rest up to t = 5.

    In time by BDF3, with the convection extrapolated; the first steps are of lower order.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        ends: How many of twenty intervals of time, from the first.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u``, ``v``, ``p`` over them; NaN where the pressure is not known: at t = 0, and
        where walls meet the inlet and the outlet.
    """
    n, layers, degree, steps = ((4, 2, 4, 80), (5, 2, 5, 120))[level]
    flow = Flow(graded(0, 2, 2 * n, layers, "both"), graded(0, 1, n, layers, "both"), degree, None, True)
    x, y = flow.nodes
    walls = np.tile((x == 0) | (y == 0) | (y == 1), 2)
    profile = np.concatenate([np.sin(np.pi * y) * (x == 0), 0 * x])
    pushed = flow.mass @ np.concatenate([0 * x, -np.sin(np.pi * x) * np.sin(np.pi * y)])
    free = np.concatenate([~walls, flow.heard])
    h = 0.25 / steps
    schemes = [  # weights of the new value and of past ones, weights of past convections
        (1.0, [-1.0], [1.0]),
        (1.5, [-2.0, 0.5], [2.0, -1.0]),
        (11 / 6, [-3.0, 1.5, -1 / 3], [3.0, -3.0, 1.0]),
    ]
    solvers = []
    for lead, _, _ in schemes:
        velocity = lead / h * flow.mass + flow.viscous
        whole = sparse.block_array([[velocity, flow.divergence.T], [flow.divergence, None]], format="csr")
        solvers.append((whole, splu(sparse.csc_array(whole[free][:, free]))))
    past, carried = [np.zeros(2 * flow.n)], [np.zeros(2 * flow.n)]
    axes = np.linspace(0, 2, 41), np.linspace(0, 1, 21)
    rest = [np.zeros((41, 21))] * 2 + [np.full((41, 21), np.nan)]
    stored = [rest]
    for step in range(1, ends * steps + 1):
        t, order = step * h, min(step, 3) - 1
        _, old, ahead = schemes[order]
        whole, solver = solvers[order]
        right = pushed * np.sin(np.pi * t)
        right = right - flow.mass @ sum(c / h * v for c, v in zip(old, past, strict=False))
        right = right - sum(c * v for c, v in zip(ahead, carried, strict=False))
        new = np.zeros(len(free))
        new[: 2 * flow.n] = profile * sum(np.sin(k * np.pi * t) for k in (1, 3, 5))
        left = np.concatenate([right, np.zeros(len(free) - len(right))]) - whole @ new
        new[free] = solver.solve(left[free])
        u = new[: 2 * flow.n]
        past, carried = [u, *past[:2]], [flow.load(u), *carried[:2]]
        if step % steps == 0:
            stored.append(flow.on_grid(u, new[2 * flow.n :], axes))
    u, v, p = (np.stack([one[i] for one in stored]) for i in range(3))
    p[:, [[0], [-1]], [0, -1]] = np.nan
    return {"t": np.linspace(0, 5, 21)[: ends + 1], "x": axes[0], "y": axes[1], "u": u, "v": v, "p": p}
