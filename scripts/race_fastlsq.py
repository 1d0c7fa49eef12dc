"""Race FastLSQ, random features with one bandwidth and least squares, on problems that it brings itself.

    python -m scripts.race_fastlsq                        # three seeds, what has no row yet
    python -m scripts.race_fastlsq --only wave --seeds 0

FastLSQ (arXiv 2602.10541) solves with its documented defaults (three blocks of 500 features) at each of some
bandwidths; the one with the least true error counts, and only the seconds of that one solve. The automatic recipe gets
the equations and no exact solution. It runs twice, to its end and until it reaches the error of FastLSQ (``accuracy``),
so that both can be compared in seconds. All seconds are processor seconds of one thread. Errors are relative L2 errors
at random points. Rows go to benchmarks/race_fastlsq.json one by one.
"""

import argparse
import importlib.metadata
import json
import math
import statistics
import time
from dataclasses import dataclass

import torch

import nfsolve as nf
from nfsolve import PDE, Box, boundary, face, interior
from scripts.measuring import FOLDER, Row, markdown, measure_rows, read_rows, solve_automatically

ROWS = FOLDER / "race_fastlsq.json"
INSTALL = "FastLSQ is not installed, and nothing but this benchmark uses it: pip install --no-deps fastlsq"
BANDWIDTHS = (1.0, 3.0, 5.0, 10.0)
POINTS = 5000  # of a score
LIMIT = 60.0
PI = math.pi


@dataclass
class Poisson5D(PDE):
    """-laplacian(u) = f on the unit cube in five dimensions."""

    domain = Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1), e=(0, 1))
    unknowns = "u"

    @interior
    def poisson(self, u_aa, u_bb, u_cc, u_dd, u_ee, a, b, c, d, e):
        return u_aa + u_bb + u_cc + u_dd + u_ee + PI**2 / 4 * self.exact(a, b, c, d, e)

    @boundary
    def walls(self, u, a, b, c, d, e):
        return u - self.exact(a, b, c, d, e)

    def exact(self, a, b, c, d, e):
        return sum(torch.sin(PI / 2 * x) for x in (a, b, c, d, e))


@dataclass
class Wave(PDE):
    """u_tt = 4 u_xx with two standing waves."""

    domain = Box(x=(0, 1), t=(0, 1))
    unknowns = "u"

    @interior
    def wave(self, u_tt, u_xx):
        return u_tt - 4 * u_xx

    @face(t=0)
    def start(self, u, u_t, x):
        return torch.cat([u - self.exact(x, torch.zeros_like(x)), u_t], -1)

    @face(x=0)
    def left(self, u):
        return u

    @face(x=1)
    def right(self, u):
        return u

    def exact(self, x, t):
        first = torch.sin(PI * x) * torch.cos(2 * PI * t)
        return first + 0.5 * torch.sin(4 * PI * x) * torch.cos(8 * PI * t)


@dataclass
class SteadyBurgers(PDE):
    """u u_x - 0.1 u_xx = f."""

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def burgers(self, u, u_x, u_xx, x):
        s, c = torch.sin(2 * PI * x), torch.cos(2 * PI * x)
        return u * u_x - 0.1 * u_xx - 2 * PI * s * c - 0.1 * (2 * PI) ** 2 * s

    @boundary
    def ends(self, u):
        return u

    def exact(self, x):
        return torch.sin(2 * PI * x)


@dataclass
class NonlinearPoisson(PDE):
    """-laplacian(u) + u^3 = f on the unit square."""

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def poisson(self, u, u_xx, u_yy, x, y):
        s = self.exact(x, y)
        return -u_xx - u_yy + u**3 - 2 * PI**2 * s - s**3

    @boundary
    def walls(self, u):
        return u

    def exact(self, x, y):
        return torch.sin(PI * x) * torch.sin(PI * y)


@dataclass
class Bratu(PDE):
    """-laplacian(u) - exp(u) = f on the unit square."""

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def bratu(self, u, u_xx, u_yy, x, y):
        s = self.exact(x, y)
        return -u_xx - u_yy - torch.exp(u) - 2 * PI**2 * s + torch.exp(s)

    @boundary
    def walls(self, u):
        return u

    def exact(self, x, y):
        return torch.sin(PI * x) * torch.sin(PI * y)


CASES = {  # ours, FastLSQ's name, whether it takes Newton steps
    "poisson_5d": (Poisson5D, "PoissonND", False),
    "wave": (Wave, "Wave1D", False),
    "steady_burgers": (SteadyBurgers, "SteadyBurgers1D", True),
    "nonlinear_poisson": (NonlinearPoisson, "NLPoisson2D", True),
    "bratu": (Bratu, "Bratu2D", True),
}


def theirs(case: str, seed: int) -> Row:
    """Solve with FastLSQ at each bandwidth, and keep the one whose true error is least."""
    try:
        from fastlsq import problems, solve_linear, solve_nonlinear  # type: ignore[import-not-found]
    except ImportError as error:
        raise SystemExit(INSTALL) from error
    _, name, newton = CASES[case]
    kind = problems.nonlinear if newton else problems.linear
    best: Row = {"error": math.inf}
    for bandwidth in BANDWIDTHS:
        torch.manual_seed(seed)
        problem = getattr(kind, name)()
        begin = time.process_time()
        solve = solve_nonlinear if newton else solve_linear
        made = solve(problem, scale=bandwidth, verbose=False, return_metrics=False)
        seconds = time.process_time() - begin
        points = problem.get_test_points(POINTS)
        true = problem.exact(points)
        error = float((made["u_fn"](points) - true).norm() / true.norm())
        if error < best["error"]:
            best = {"error": error, "seconds": round(seconds, 2), "bandwidth": bandwidth}
    return best | {"estimate": "none", "fastlsq": importlib.metadata.version("fastlsq")}


def ours(case: str, seed: int, accuracy: float | None) -> Row:
    """Solve with the automatic recipe, to its end or to an accuracy."""
    solution, row = solve_automatically(CASES[case][0](), seed, LIMIT, 1, processor=True, accuracy=accuracy)
    box = (POINTS, len(solution.problem.domain.names))  # all domains are unit boxes
    points = torch.rand(box, generator=nf.generator(seed, "race"), dtype=torch.float64)
    with torch.no_grad():
        true = solution.problem.exact(*points.unbind(-1)).reshape(-1, 1)
        error = float((solution.field(points) - true).norm() / true.norm())
    return row | {"error": error}


def measure(key: Row) -> Row:
    """Measure one row: FastLSQ, the automatic recipe, or the automatic recipe to FastLSQ's error."""
    torch.set_num_threads(1)
    if key["method"] == "FastLSQ":
        return theirs(key["case"], key["seed"])
    accuracy = None
    if key["method"] == "to its error":
        mine = [
            r for r in read_rows(ROWS) if (r["case"], r["seed"], r["method"]) == (key["case"], key["seed"], "FastLSQ")
        ]
        accuracy = mine[0]["error"]
    return ours(key["case"], key["seed"], accuracy)


def table(rows: list[Row]) -> str:
    """Lay out medians over seeds."""
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        own = {m: [r for r in rows if (r["case"], r["method"]) == (case, m)] for m in METHODS}
        if not all(own.values()):
            continue
        cells = [case.replace("_", " ")]
        for method in METHODS:
            error, seconds = (statistics.median([r[k] for r in own[method]]) for k in ("error", "seconds"))
            cells += [f"{error:.1e}", f"{seconds:.2f}"]
        told = [r["estimate"] for r in own["automatic"] if isinstance(r["estimate"], float)]
        cells += [f"{statistics.median(told):.1e}" if told else "-", str(len(own["FastLSQ"]))]
        lines.append(cells)
    header = ["problem", "FastLSQ", "s", "automatic", "s", "to FastLSQ's error", "s", "estimate", "seeds"]
    return markdown(header, lines)


METHODS = ("FastLSQ", "automatic", "to its error")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--again", action="store_true", help="measure also what has a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(json.loads(arguments.row))))
        return
    keys = [
        {"case": case, "seed": seed, "method": method}
        for seed in arguments.seeds for case in arguments.only for method in METHODS
    ]  # fmt: skip
    measure_rows(ROWS, "scripts.race_fastlsq", keys, 1, arguments.again, processor=True)
    rows = read_rows(ROWS)
    ROWS.with_suffix(".md").write_text(
        "# FastLSQ beside the automatic recipe\n\nRelative L2 errors and processor seconds of one thread, medians over "
        "seeds. FastLSQ gets the bandwidth whose true error is least and is not charged for finding it; the automatic "
        "recipe finds its own without an exact solution, which is in its seconds, as is its estimate of the error. "
        f"`python -m scripts.race_fastlsq`.\n\n{table(rows)}\n"
        + (f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}.\n" if rows else "")
    )


if __name__ == "__main__":
    main()
