"""Measure how often intervals of `nfsolve.posterior` hold the truth, over replicates that differ by their noise.

    python -m scripts.measure_coverage                                    # 200 replicates of each case
    python -m scripts.measure_coverage --only lorenz_inverse --replicates 50
    python -m scripts.measure_coverage --cold 5                           # the first five also from scratch

A replicate starts from the solution of data without noise and takes a few Gauss-Newton steps with hardly any damping,
to the optimum of its own noisy data. ``--cold`` solves the first replicates by the default recipe from random weights
as well: the table says by how many standard errors both differ, and how long the posterior takes beside such a solve.
Rows are added to benchmarks/coverage.json one by one, so a killed measurement goes on where it was;
benchmarks/coverage.md is the table.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nfsolve as nf
from nfsolve import Measurement, Observed
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector
from nfsolve.problem.registry import find
from problems.pde.layers import JUMP
from problems.pde.wake import Wake
from scripts import own_problems as own
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows

LEVEL = 0.95
RULE = 2  # of the intervals: 1 took the size of the weights for their prior, 2 finds its width by the evidence
RULES = {1: "their size (before)", 2: "by the evidence"}
WANTED = 200
WARM, COLD = "noise-free solution", "random weights"
NEAR = partial(nf.optim.GaussNewton, damping=1e-9)  # from the noise-free solution: eight steps do what 25 did with 1e-3


@dataclass(frozen=True)
class Case:
    """A problem whose truth is known.

    Attributes:
        problem: Noise seed -> the problem; None for data without noise, where ``steps`` are not 0.
        truth: True values of unknown scalars.
        points: Points ``(n, d)`` at which bands are judged; None where there are scalars alone.
        steps: Gauss-Newton steps from the solution without noise; 0 solves each replicate from scratch, as directions
            that the data hardly see would stay at the truth for long.
        options: Of `nfsolve.solve` from scratch, for a problem that brings no recipe.
        parts: Name of a part of the points -> which of the points ``(n, d)`` are in it; they are judged by themselves.
    """

    problem: Callable[[int | None], Any]
    truth: dict[str, float]
    points: Callable[[Any], Any] | None
    steps: int
    options: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Callable[[Any], Any]] = field(default_factory=dict)


def noisy(name: str, seed: int | None) -> Any:
    """Return a problem of the gallery with noise of a seed, or without noise."""
    return find(name)(noise=0.0) if seed is None else find(name)(noise_seed=seed)


def seeded(cls: Any, seed: int) -> Any:
    """Return a problem with noise of a seed."""
    return cls(noise_seed=seed)


@dataclass
class SmoothTomography(Measurement):
    """Parallel-beam tomography of smooth bodies, with noise: linear in the field's values, and in its weights."""

    noise: float = 0.02
    noise_seed: int = 0

    shape = (32, 32)
    bodies = ((0.35, 0.4, 0.16, 1.0), (0.65, 0.6, 0.2, 0.7), (0.6, 0.25, 0.12, 0.5))

    def exact(self, x: Any, y: Any) -> tuple[Any]:
        """Add the bodies up; each is a Gaussian."""
        return (sum(h * torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s, h in self.bodies),)

    def observe(self) -> Observed:
        """Project 24 views of 32 bins, and add noise of a share of the largest line integral."""
        projector = Projector(ParallelBeam.half_turn(24, 32), PixelGrid(32, 32, 2 / 32), torch.float64, "cpu")
        (truth,) = self.exact(*self.points().split(1, 1))
        exact = projector(truth)
        chance = nf.generator(self.noise_seed, "noise")
        spread = 0.02 * float(exact.max())  # the misfit is in units of it, also without noise
        noise = self.noise * float(exact.max()) * torch.randn(exact.shape, generator=chance, dtype=torch.float64)
        return Observed(projector, exact + noise, noise=spread, truth=truth.reshape(self.shape))

    def recipe(self) -> nf.Recipe:
        """Random features, whose last layer is solved for."""
        features = partial(nf.RandomFeatures, width=150, scale=6.0)
        return nf.Recipe(features, (nf.Stage(nf.optim.GaussNewton, steps=30),), run=nf.RunOptions(dtype="float64"))


def tomography(seed: int | None) -> Any:
    return SmoothTomography(noise=0.0) if seed is None else SmoothTomography(noise_seed=seed)


@dataclass
class FarWake(Wake):
    """The wake from x = 4 on, where a small network follows it, for one time unit, from 400 velocities."""

    duration: float = 1.0
    n_data: int = 400
    data_weight: float = 10.0
    n_points: int = field(default=300, kw_only=True)

    @property
    def domain(self) -> nf.Box:
        """From x = 4 on."""
        return nf.Box(t=(self.start, self.start + self.duration), x=(4, 8), y=(-2, 2))

    def _read(self) -> tuple[dict[str, np.ndarray], int]:
        return far_wake()


@cache
def far_wake() -> tuple[dict[str, np.ndarray], int]:
    """Read what `FarWake` uses of the simulation, once for all replicates."""
    arrays, times = Wake(duration=FarWake.duration)._read()
    far = arrays["X_star"][:, 0] >= 4
    return arrays | {name: arrays[name][far] for name in ("X_star", "U_star", "p_star")}, times


def wake(seed: int | None) -> FarWake:
    return FarWake(noise=0.0) if seed is None else FarWake(noise=0.1, noise_seed=seed)


NETWORK = {
    "field": partial(nf.MLP, width=16, depth=2),
    "optimizer": nf.optim.GaussNewton,
    "steps": 60,
    "dtype": "float64",
}

FLOW = NETWORK | {"field": partial(nf.MLP, width=12, depth=3, activation=nf.Sine(2.0))}

CASES = {
    "inverse_diffusivity": Case(partial(noisy, "inverse_diffusivity"), {}, lambda p: p.domain.grid(26, 26), 8),
    "lorenz_inverse": Case(
        partial(noisy, "lorenz_inverse"), {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}, lambda p: p.domain.grid(61), 8
    ),
    "tomography": Case(tomography, {}, lambda p: p.points(), 0),
    "wake": Case(wake, {"lambda1": 1.0, "lambda2": 0.01}, None, 8, FLOW),
    "unknown_flux": Case(partial(noisy, "unknown_flux"), {}, lambda p: p.domain.grid(41, 7), 0),
    "layers": Case(
        partial(noisy, "layers"),
        {},
        lambda p: p.domain.grid(101),
        0,
        parts={
            "within 0.1 of the jump": lambda x: (x[:, 0] - JUMP).abs() < 0.1,
            "elsewhere": lambda x: (x[:, 0] - JUMP).abs() >= 0.1,
        },
    ),
    "heat_source": Case(partial(noisy, "heat_source"), {}, lambda p: p.points(), 0),
    "impedance": Case(partial(noisy, "impedance"), {}, lambda p: p.points(), 0),
    "pinnacle_pinv": Case(partial(noisy, "pinnacle_pinv"), {}, lambda p: p.domain.grid(26, 26), 0, NETWORK),
    "pinnacle_hinv": Case(partial(noisy, "pinnacle_hinv"), {}, lambda p: p.domain.grid(5, 13, 13), 0, NETWORK),
    "own_abel": Case(partial(seeded, own.Abel), {}, lambda p: p.points(), 0),
    "own_gravity": Case(partial(seeded, own.Gravity), {}, lambda p: p.points(), 0),
    "own_telescopes": Case(partial(seeded, own.Telescopes), {"width": 2.5, "gain": 1.5}, lambda p: p.points(), 0),
    "own_reflectivity": Case(partial(seeded, own.Reflectivity), {}, lambda p: p.points(), 0),
    "own_epidemic": Case(partial(seeded, own.Epidemic), {"infection": 0.6, "recovery": 0.2}, None, 0),
    "own_chain": Case(partial(seeded, own.Chain), {"first": 0.7, "second": 0.25}, None, 0),
}


def replicate(case: Case, seed: int, start: Any) -> Row:
    """Solve with new noise, from a solution or from scratch, and compare intervals with the truth."""
    problem, clock = case.problem(seed), time.process_time  # a machine has other work
    began = clock()
    if start is None:
        solution = nf.solve(problem, seed=seed, report=None, **case.options)
    else:
        found = {n: nf.Unknown(start.metrics[f"unknown/{n}"], u.positive) for n, u in problem.unknown_scalars().items()}
        solution = nf.solve(problem.with_(**found), start.field, NEAR, steps=case.steps, seed=seed, report=None)
    solved = clock()
    whole_scores(solution)
    posterior = nf.posterior(solution, level=LEVEL)
    judged: dict[str, Any] = {}
    for name, true in case.truth.items():
        low, high = posterior.interval(name)
        value, error = posterior.values[name], posterior.standard_errors[name]
        judged[name] = {"covered": float(low <= true <= high), "z": (value - true) / error, "value": value}
    if case.points is not None:
        points = case.points(problem)
        band = posterior.band(points)
        known = solution.data.get("truth")
        exact = problem.exact(*points.split(1, 1)) if known is None else known.reshape(len(points), -1).T
        truth = np.stack([np.ravel(column) for column in exact], 1)
        z = (band.value.numpy() - truth) / band.standard_error.clamp_min(torch.finfo(torch.float64).tiny).numpy()
        inside = (band.low.numpy() <= truth) & (truth <= band.high.numpy())
        for i, name in enumerate(problem.outputs if isinstance(problem, nf.PDE) else problem.unknowns.split()):
            for part, chosen in {
                "": slice(None),
                **{f" {k}": f(points).numpy() for k, f in case.parts.items()},
            }.items():
                held, off = inside[chosen, i], z[chosen, i]
                judged[f"{name}{part}"] = {"covered": float(held.mean()), "z": float(np.sqrt((off**2).mean()))}
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
        "prior of the weights",
        "quantity",
        "replicates",
        f"coverage of {LEVEL:.0%}",
        "standard error",
        "rms of error / its deviation",
    ]
    lines, more = [], []
    for name, rule in product(CASES, (RULE, RULE - 1)):
        of_rule = [r for r in rows if r["case"] == name and r.get("rule", 1) == rule]
        starts = {start: {r["seed"]: r for r in of_rule if r["start"] == start} for start in (WARM, COLD)}
        cold, mine = starts[COLD], starts[WARM if CASES[name].steps else COLD]
        for what in dict.fromkeys(what for r in mine.values() for what in r["judged"]):
            judged = [r["judged"][what] for r in mine.values() if what in r["judged"]]
            covered, z = np.array([j["covered"] for j in judged]), np.array([j["z"] for j in judged])
            size = np.sqrt((z**2).mean())
            off = f"{size:.2f}" if size < 1000 else "above 1000"
            error = covered.std(ddof=1) / len(covered) ** 0.5 if len(covered) > 1 else np.nan
            of = f"{len(covered)}{'' if len(covered) >= WANTED else ' (partial)'}"
            lines.append(
                [name, RULES[rule], what, of, f"{covered.mean():.1%}", f"{error:.1%}" if len(covered) > 1 else "-", off]
            )
        newer = any(r["case"] == name and r["start"] == COLD and r.get("rule", 1) > rule for r in rows)
        if cold and mine and not newer:
            share = np.median([r["posterior_seconds"] / r["seconds"] for r in cold.values()])
            gaps = [
                abs(r["judged"][q]["z"] - mine[seed]["judged"][q]["z"])
                for seed, r in cold.items() if seed in mine for q in r["judged"]
            ]  # fmt: skip
            near = (
                f"{len(cold)} replicates from random weights by the default recipe differ from those that started at "
                f"the noise-free solution by {np.median(gaps):.2f} standard errors in the median, at most "
                f"{max(gaps):.2f}"
                if CASES[name].steps
                else "all replicates began at random weights"
            )
            more.append(f"{name}: {near}; the posterior with its bands took {share:.1%} of the solve, in the median.")
    about = " ".join(sorted({f"{r['machine']}; {r['version']}; {r['date']}." for r in rows}))
    intro = (
        "Share of replicates, which differ by their noise, whose interval holds the truth; of fields the mean over "
        f"points as well, at each point by itself. Made by `python -m scripts.measure_coverage`. {about}"
    )
    return f"# Coverage of intervals, as measured\n\n{intro}\n\n{markdown(header, lines)}\n" + "\n\n".join([*more, ""])


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--replicates", type=int, default=WANTED)
    parser.add_argument("--cold", type=int, default=0, help="replicates to solve from random weights as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    path = said.folder / "coverage.json"
    for name in said.only:
        case, noise_free = CASES[name], None
        wanted = [(seed, WARM if case.steps else COLD) for seed in range(said.replicates)]
        wanted += [(seed, COLD) for seed in range(said.cold) if case.steps]
        held = {(r["seed"], r["start"]) for r in read_rows(path) if r["case"] == name and r.get("rule", 1) == RULE}
        for seed, start in wanted:
            if (seed, start) in held:
                continue
            if start == WARM and noise_free is None:
                noise_free = nf.solve(case.problem(None), seed=0, report=None, **case.options)
            row = replicate(case, seed, noise_free if start == WARM else None)
            row = {"case": name, "rule": RULE, "seed": seed, "start": start, **row, **stamp(said.threads)}
            write_rows(path, [*read_rows(path), row])
            print(
                name, seed, start, row["judged"], row["warnings"], row["seconds"], row["posterior_seconds"], flush=True
            )
    (said.folder / "coverage.md").write_text(table(read_rows(path)))


if __name__ == "__main__":
    main()
