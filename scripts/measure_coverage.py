"""Measure how often intervals of `nfsolve.posterior` hold the truth, over replicates that differ by their noise.

    python -m scripts.measure_coverage                                    # 200 replicates of each case
    python -m scripts.measure_coverage --only lorenz_inverse --replicates 50
    python -m scripts.measure_coverage --cold 5                           # the first five also from scratch

A replicate starts from the solution of data without noise and takes a few Gauss-Newton steps, to the optimum of its own
noisy data. ``--cold`` solves the first replicates by the default recipe from random weights as well: the table says by
how many standard errors both differ, and how long the posterior takes beside such a solve. Rows are added to
benchmarks/coverage.json one by one, so a killed measurement goes on where it was; benchmarks/coverage.md is the table.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, write_rows

LEVEL = 0.95


@dataclass(frozen=True)
class Case:
    """A problem whose truth is known.

    Attributes:
        problem: Noise seed, or None for data without noise -> the problem.
        truth: True values of unknown scalars.
        points: Points ``(n, d)`` at which bands are judged; None where there are scalars alone.
        steps: Gauss-Newton steps from the solution without noise.
    """

    problem: Callable[[int | None], Any]
    truth: dict[str, float]
    points: Callable[[Any], Any] | None
    steps: int


def inverse_diffusivity(seed: int | None) -> Any:
    from problems.pde.inverse_diffusivity import InverseDiffusivity

    return InverseDiffusivity(noise=0.0) if seed is None else InverseDiffusivity(noise_seed=seed)


def lorenz(seed: int | None) -> Any:
    from problems.pde.lorenz_inverse import LorenzInverse

    return LorenzInverse(noise=0.0) if seed is None else LorenzInverse(noise_seed=seed)


CASES = {
    "inverse_diffusivity": Case(inverse_diffusivity, {}, lambda p: p.domain.grid(26, 26), 20),
    "lorenz_inverse": Case(lorenz, {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}, lambda p: p.domain.grid(61), 25),
}


def replicate(case: Case, seed: int, start: Any) -> Row:
    """Solve with new noise, from a solution or from scratch, and compare intervals with the truth."""
    import nfsolve as nf

    problem, clock = case.problem(seed), time.perf_counter
    began = clock()
    if start is None:
        solution = nf.solve(problem, seed=seed, report=None)
    else:
        found = {n: nf.Unknown(start.metrics[f"unknown/{n}"], u.positive) for n, u in problem.unknown_scalars().items()}
        solution = nf.solve(
            problem.with_(**found), start.field, nf.optim.GaussNewton, steps=case.steps, seed=seed, report=None
        )
    solved = clock()
    posterior = nf.posterior(solution, level=LEVEL)
    judged: dict[str, Any] = {}
    for name, true in case.truth.items():
        low, high = posterior.interval(name)
        value, error = posterior.values[name], posterior.standard_errors[name]
        judged[name] = {"covered": float(low <= true <= high), "z": (value - true) / error, "value": value}
    if case.points is not None:
        points = case.points(problem)
        band = posterior.band(points)
        truth = np.stack([np.ravel(column) for column in problem.exact(*points.split(1, 1))], 1)
        z = (band.value.numpy() - truth) / band.standard_error.numpy()
        inside = (band.low.numpy() <= truth) & (truth <= band.high.numpy())
        for i, name in enumerate(problem.outputs):
            judged[name] = {"covered": float(inside[:, i].mean()), "z": float(np.sqrt((z[:, i] ** 2).mean()))}
    return {
        "judged": judged,
        "warnings": posterior.warnings,
        "seconds": round(solved - began, 3),
        "posterior_seconds": round(clock() - solved, 3),
    }


def table(rows: list[Row]) -> str:
    """Lay out the coverage as Markdown."""
    header = [
        "case",
        "quantity",
        "replicates",
        f"coverage of {LEVEL:.0%}",
        "standard error",
        "rms of error / its deviation",
    ]
    lines, more = [], []
    for name in CASES:
        mine = {r["seed"]: r for r in rows if r["case"] == name and r["start"] == "noise-free solution"}
        cold = {r["seed"]: r for r in rows if r["case"] == name and r["start"] == "random weights"}
        for what in next(iter(mine.values()))["judged"] if mine else ():
            covered = np.array([r["judged"][what]["covered"] for r in mine.values()])
            z = np.array([r["judged"][what]["z"] for r in mine.values()])
            error = covered.std(ddof=1) / len(covered) ** 0.5 if len(covered) > 1 else np.nan
            lines.append([
                name, what, str(len(covered)), f"{covered.mean():.1%}", f"{error:.1%}", f"{np.sqrt((z**2).mean()):.2f}"
            ])  # fmt: skip
        if cold:
            share = np.median([r["posterior_seconds"] / r["seconds"] for r in cold.values()])
            gaps = [
                abs(r["judged"][q]["z"] - mine[seed]["judged"][q]["z"])
                for seed, r in cold.items() if seed in mine for q in r["judged"]
            ]  # fmt: skip
            more.append(
                f"{name}: {len(cold)} replicates from random weights by the default recipe differ from those that "
                f"started at the noise-free solution by {np.median(gaps):.2f} standard errors in the median, "
                f"{max(gaps, default=0):.2f} at most; the posterior with its bands took {share:.1%} of the solve."
            )
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    intro = (
        "Share of replicates, which differ by their noise, whose interval holds the truth; of fields the mean over "
        f"points as well, at each point by itself. Made by `python -m scripts.measure_coverage`. {about}"
    )
    return f"# Coverage of intervals, as measured\n\n{intro}\n\n{markdown(header, lines)}\n" + "\n\n".join([*more, ""])


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--cold", type=int, default=0, help="replicates to solve from random weights as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    import torch

    import nfsolve as nf

    torch.set_num_threads(said.threads)
    path = said.folder / "coverage.json"
    for name in said.only:
        case, noise_free = CASES[name], None
        wanted = [(seed, "noise-free solution") for seed in range(said.replicates)]
        wanted += [(seed, "random weights") for seed in range(said.cold)]
        held = {(r["seed"], r["start"]) for r in read_rows(path) if r["case"] == name}
        for seed, start in wanted:
            if (seed, start) in held:
                continue
            if start != "random weights" and noise_free is None:
                noise_free = nf.solve(case.problem(None), seed=0, report=None)
            row = replicate(case, seed, None if start == "random weights" else noise_free)
            row = {"case": name, "seed": seed, "start": start, **row, **stamp(said.threads)}
            write_rows(path, [*read_rows(path), row])
            print(
                name, seed, start, row["judged"], row["warnings"], row["seconds"], row["posterior_seconds"], flush=True
            )
    (said.folder / "coverage.md").write_text(table(read_rows(path)))


if __name__ == "__main__":
    main()
