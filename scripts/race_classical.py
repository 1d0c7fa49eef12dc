"""Race classical methods against the automatic recipe: what a few lines with SciPy reach on the gallery, and when.

    python -m scripts.race_classical
    python -m scripts.race_classical --only burgers --again

Critics say that networks lose to classical solvers (Grossmann, Komorowska, Latz & Schönlieb, IMA J. Appl. Math. 89
(2024) 143; Chuang & Barba, 2022), so these stand beside us: second-order finite differences, and spectral collocation
(Chebyshev nodes between walls, Fourier nodes where x is periodic: Trefethen, Spectral Methods in MATLAB, 2000), with
SciPy's LSODA (Radau for KdV) in time or a direct solver. The number of nodes is doubled until the next would take over
half a minute. Errors are those of the problem's own score on its grid; seconds are processor seconds of one thread
without imports. Our rows are those of ``scripts.measure_automatic --gallery``. Writes benchmarks/race_classical.json
and .md.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator
from scipy.sparse.linalg import spsolve

from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, write_rows

ROWS = FOLDER / "race_classical.json"
LIMIT = 30.0  # seconds of one solve
GIVEN_UP = 3.0  # times this, after which a solve ends without a result
GROWTH = 4.0  # times that twice as many nodes take at least
Array = np.ndarray


@dataclass(frozen=True)
class Line:
    """Nodes along x with matrices of derivatives, and values between the nodes.

    Attributes:
        nodes: The nodes ``(n,)``.
        first: First derivative ``(n, n)``.
        second: Second derivative ``(n, n)``.
        between: Values at nodes ``(m, n)`` and places -> values at the places ``(m, places)``.
    """

    nodes: Array
    first: Any
    second: Any
    between: Callable[[Array, Array], Array]


def chebyshev(n: int, low: float, high: float) -> Line:
    """Return n + 1 Chebyshev nodes from ``low`` to ``high`` (Trefethen, chapter 6)."""
    x = -np.cos(np.pi * np.arange(n + 1) / n)
    c = np.ones(n + 1)
    c[[0, -1]] = 2
    c *= (-1.0) ** np.arange(n + 1)
    gaps = x[:, None] - x
    d = np.outer(c, 1 / c) / (gaps + np.eye(n + 1))
    d -= np.diag(d.sum(1))
    d *= 2 / (high - low)
    nodes = low + (x + 1) * (high - low) / 2

    def between(values: Array, places: Array) -> Array:
        return BarycentricInterpolator(nodes, values.T)(places).T

    return Line(nodes, d, d @ d, between)


def fourier(n: int, low: float, high: float) -> Line:
    """Return n equally spaced nodes of a period (Trefethen, chapter 3)."""
    nodes = low + (high - low) * np.arange(n) / n
    k = 2j * np.pi / (high - low) * np.fft.fftfreq(n, 1 / n)
    odd = k.copy()
    odd[n // 2] = 0

    def matrix(factor: Array) -> Array:
        return np.fft.ifft(factor[:, None] * np.fft.fft(np.eye(n), axis=0), axis=0).real

    def between(values: Array, places: Array) -> Array:
        waves = np.exp(np.outer(k, places - low))
        waves[n // 2] = waves[n // 2].real
        return (np.fft.fft(values, axis=1) @ waves).real / n

    return Line(nodes, matrix(odd), matrix(k**2), between)


def differences(n: int, low: float, high: float, periodic: bool) -> Line:
    """Return nodes of second-order finite differences, whose values between are cubic splines."""
    from scipy.interpolate import CubicSpline

    nodes = np.linspace(low, high, n + 1)[: n if periodic else n + 1]
    m, h = len(nodes), (high - low) / n
    ones = np.ones(m)
    first = sparse.diags_array([-ones[1:], ones[1:]], offsets=[-1, 1]).tolil() / (2 * h)
    second = sparse.diags_array([ones[1:], -2 * ones, ones[1:]], offsets=[-1, 0, 1]).tolil() / h**2
    if periodic:
        first[0, -1], first[-1, 0] = -1 / (2 * h), 1 / (2 * h)
        second[0, -1] = second[-1, 0] = 1 / h**2

    def between(values: Array, places: Array) -> Array:
        if not periodic:
            return CubicSpline(nodes, values.T)(places).T
        closed = np.concatenate([values, values[:, :1]], 1)
        return CubicSpline(np.append(nodes, high), closed.T, bc_type="periodic")(places).T

    return Line(nodes, sparse.csr_array(first), sparse.csr_array(second), between)


@dataclass(frozen=True)
class Evolution:
    """u_t = rate(u, u_x, u_xx, third and fourth derivative), of several unknowns one after the other.

    Attributes:
        start: x -> initial values.
        rate: The right-hand side, of a `Line` and u.
        periodic: Whether x is, otherwise u is zero at both ends.
        method: Of SciPy's ``solve_ivp``.
    """

    start: Callable[[Array], Array]
    rate: Callable[[Line, Array], Array]
    periodic: bool = True
    method: str = "LSODA"


def _wave(line: Line, both: Array) -> Array:
    u, v = np.split(both, 2)
    return np.concatenate([v, 4 * (line.second @ u)])


def advected(line: Line, u: Array) -> Array:
    """Return u u_x in the form that keeps the integral of u^2, as others blow up with few nodes."""
    return (u * (line.first @ u) + line.first @ u**2) / 3


EVOLUTIONS = {
    "convection, beta 30": Evolution(np.sin, lambda line, u: -30 * (line.first @ u)),
    "wave": Evolution(
        lambda x: np.concatenate([np.sin(np.pi * x) + 0.5 * np.sin(4 * np.pi * x), 0 * x]), _wave, periodic=False
    ),
    "burgers": Evolution(
        lambda x: -np.sin(np.pi * x),
        lambda line, u: -u * (line.first @ u) + 0.01 / math.pi * (line.second @ u),
        periodic=False,
    ),
    "allen_cahn": Evolution(
        lambda x: x**2 * np.cos(np.pi * x), lambda line, u: 1e-4 * (line.second @ u) + 5 * u - 5 * u**3
    ),
    "kdv": Evolution(
        lambda x: np.cos(np.pi * x),
        lambda line, u: -advected(line, u) - 0.022**2 * (line.first @ (line.second @ u)),
        method="Radau",  # the waves of its third derivative are too fast for LSODA
    ),
    "kuramoto_sivashinsky": Evolution(
        lambda x: -np.sin(np.pi * x),
        lambda line, u: -5 * advected(line, u) - 0.5 * (line.second @ u) - 0.005 * (line.second @ (line.second @ u)),
    ),
}
STEADY = {"poisson": 0.0, "helmholtz": 1.0}
"""Case -> k^2 in lap u + k^2 u = f, with zero values on the sides of a square."""


def evolve(case: str, line: Line, bounds: Any, times: Array, places: Array) -> Array:
    """Solve an equation in time, and return u ``(times, places)``."""
    made, inside = EVOLUTIONS[case], slice(None) if EVOLUTIONS[case].periodic else slice(1, -1)
    n = len(line.nodes)
    begun = made.start(line.nodes)
    parts, started = len(begun) // n, time.process_time()

    def rate(_: float, u: Array) -> Array:
        if time.process_time() - started > GIVEN_UP * LIMIT:
            raise TimeoutError
        whole = np.zeros((parts, n))
        whole[:, inside] = u.reshape(parts, -1)
        return made.rate(line, whole.ravel()).reshape(parts, n)[:, inside].ravel()

    first = begun.reshape(parts, n)[:, inside].ravel()
    band = {} if not sparse.issparse(line.first) or parts > 1 or made.periodic else {"lband": 1, "uband": 1}
    band = band if made.method == "LSODA" else {}
    nothing = np.full((len(times), len(places)), np.nan)  # too few nodes for this equation, or too many
    try:
        found = solve_ivp(rate, bounds[0], first, made.method, t_eval=times, rtol=1e-12, atol=1e-13, **band)
    except TimeoutError:
        return nothing
    if not (found.success and np.isfinite(found.y).all()):
        return nothing
    u = np.zeros((len(times), n))
    u[:, inside] = found.y[: len(first) // parts].T
    return line.between(u, places)


def steady(case: str, line: Line, problem: Any, xs: Array, ys: Array) -> Array:
    """Solve lap u + k^2 u = f on a square, and return u ``(xs, ys)``."""
    import torch

    inner = slice(1, -1)
    second = line.second[inner, inner]
    x, y = np.meshgrid(line.nodes[inner], line.nodes[inner], indexing="ij")
    columns = [torch.tensor(a.reshape(-1, 1)) for a in (x, y)]
    zero = torch.zeros_like(columns[0])
    named = {"u": zero, "lap_u": zero, "x": columns[0], "y": columns[1]}
    wanted = ("u", "lap_u", "x", "y") if case == "helmholtz" else ("lap_u", "x", "y")
    right = -problem.balance(*(named[name] for name in wanted)).numpy()[:, 0]
    eye = sparse.eye_array(len(x)) if sparse.issparse(second) else np.eye(len(x))
    kron = sparse.kron if sparse.issparse(second) else np.kron
    matrix = kron(second, eye) + kron(eye, second) + STEADY[case] * kron(eye, eye)
    u = np.zeros((len(line.nodes),) * 2)
    solved = spsolve(matrix.tocsc(), right) if sparse.issparse(matrix) else np.linalg.solve(matrix, right)
    u[inner, inner] = solved.reshape(len(x), -1)
    return line.between(line.between(u, ys).T, xs).T


def run(case: str, method: str, n: int) -> Row:
    """Solve once, and return error and seconds."""
    import torch

    from scripts.measure_automatic import problem_of

    problem = problem_of(case, "gallery")
    data = problem.load("cpu", torch.float64)
    points = data["reference"].points.numpy()
    bounds = problem.domain.bounds
    one, other = (np.unique(points[:, i]) for i in range(2))
    begun = time.process_time()
    low, high = bounds[1]
    wraps = case in EVOLUTIONS and EVOLUTIONS[case].periodic
    if method == "spectral":
        line = fourier(n, low, high) if wraps else chebyshev(n, low, high)
    else:
        line = differences(n, low, high, wraps)
    u = evolve(case, line, bounds, one, other) if case in EVOLUTIONS else steady(case, line, problem, one, other)
    seconds = time.process_time() - begun
    at = [np.searchsorted(each, points[:, i]) for i, each in enumerate((one, other))]
    values = torch.tensor(u[tuple(at)])[:, None]
    if not bool(torch.isfinite(values).all()):
        return {"error": math.inf, "seconds": round(seconds, 3)}
    error = problem.metrics(lambda x: values, data)["relative_l2"]
    return {"error": float(error), "seconds": round(seconds, 3)}


def measure(case: str, method: str) -> Row:
    """Double the number of nodes as long as there is the time; return the curve."""
    curve: list[list[float]] = []
    n = 16
    while True:
        found = run(case, method, n)
        curve.append([n, found["error"], found["seconds"]])
        if GROWTH * found["seconds"] > LIMIT or n >= 2048:
            break
        n *= 2
    best = min(curve, key=lambda point: point[1])
    return {"curve": curve, "nodes": best[0], "error": best[1], "seconds": best[2]}


def table(rows: list[Row]) -> str:
    """Lay out the best of each method beside ours, and when it was as good as ours."""
    path = FOLDER / "automatic.json"
    ours = {r["case"]: r for r in json.loads(path.read_text()) if r["suite"] == "gallery"} if path.exists() else {}
    header = [
        "case",
        "method",
        "nodes along x",
        "error",
        "seconds",
        "nfsolve",
        "its seconds",
        "as good as nfsolve after",
    ]
    lines = []
    for row in rows:
        mine = ours.get(row["case"])
        good = [seconds for _, error, seconds in row["curve"] if mine and error <= mine["error"]]
        lines.append([
            row["case"], row["method"], str(row["nodes"]), f"{row['error']:.1e}", f"{row['seconds']:.2f}",
            f"{mine['error']:.1e}" if mine else "", f"{mine['seconds']:.0f}" if mine else "",
            f"{min(good):.2f} s" if good else ("never" if mine else ""),
        ])  # fmt: skip
    return (
        "# Classical methods beside the automatic recipe\n\nRelative L2 errors; the best number of nodes that half a "
        "minute allows. `python -m scripts.race_classical`; its description says what is compared.\n\n"
        f"{markdown(header, lines)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*EVOLUTIONS, *STEADY], default=[*EVOLUTIONS, *STEADY])
    parser.add_argument("--again", action="store_true", help="measure again what the file holds already")
    said = parser.parse_args()
    for case, method in ((c, m) for c in said.only for m in ("differences", "spectral")):
        others = [row for row in read_rows(ROWS) if (row["case"], row["method"]) != (case, method)]
        if said.again or len(others) == len(read_rows(ROWS)):
            row = {"case": case, "method": method, **measure(case, method), **stamp()}
            write_rows(ROWS, [*others, row])
            print(f"{case}, {method}: error {row['error']:.1e} in {row['seconds']:.2f} s", flush=True)
    (FOLDER / "race_classical.md").write_text(table(read_rows(ROWS)))
    print(table(read_rows(ROWS)))


if __name__ == "__main__":
    main()
