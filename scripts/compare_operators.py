"""Operators: optimizers, least squares for last layers, factorization, sines and fields, at equal processor seconds.

    python -m scripts.compare_operators                                    # three seeds, 6 processor seconds a run
    python -m scripts.compare_operators --only antiderivative --seeds 1 --seconds 60

Each run is a row of benchmarks/operators_compared.json, written at once, so a killed measurement goes on where it was;
benchmarks/operators_compared.md is made from the rows. Rates are tuned on functions of their own: training and test
functions of the tuning runs are drawn by another seed than those that are reported.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nfsolve as nf
from nfsolve import Stage
from nfsolve.fields import FNO, GELU, DeepONet, RandomWeightFactorization, Sine, Skip, WeightScaling
from nfsolve.functions import PeriodicField
from nfsolve.optim import SOAP, Adam, GaussNewton, LastLayer, Muon, OutputLayer
from nfsolve.problem.operator.families import as_callable
from problems.operators._solvers import burgers
from problems.operators.antiderivative import Antiderivative
from problems.operators.burgers import BurgersOperator
from problems.operators.diffusion_reaction import DiffusionReaction
from problems.operators.pairs import PairsOperator
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows

TUNING = 100  # seed of weights and functions of the tuning runs
SHARE = 0.5  # of the seconds of a run that a tuning run has
RESERVE = 0.2  # of the seconds that is kept for least squares at the end
X = np.linspace(0, 1, 101)
FIRST, DAMPED = (1e-3, 3.16e-3, 1e-2, 3.16e-2), (1e-3, 1e-1, 1e1)
SINES = {"activation": Sine(2.0), "init": WeightScaling(alpha=1.5)}
RWF = RandomWeightFactorization(mean=0.5, std=0.1)
SPECTRAL = partial(FNO, width=32, depth=4, modes=16)
GN = partial(GaussNewton, form="samples", momentum=0.9)


@dataclass(frozen=True)
class Method:
    """An optimizer with its field; what is tuned, and least squares for a layer at the end.

    Attributes:
        optimizer: The optimizer.
        tuned: Name of the argument that is tuned.
        values: Its values.
        options: Changes of the field of the case.
        factorization: Factorization of the field.
        field: Another field than that of the case.
        last: Least squares for a layer, and prefix of the names of the parameters among which it is.
        problem: Changes of the problem, as smaller mini-batches.
    """

    optimizer: Any
    tuned: str = "lr"
    values: tuple[float, ...] = FIRST
    options: dict[str, Any] | None = None
    factorization: Any = None
    field: Any = None
    last: tuple[Any, str] | None = None
    problem: dict[str, Any] | None = None


METHODS = {
    "SOAP": Method(SOAP),
    "SOAP, then last layer": Method(SOAP, last=(partial(LastLayer, batches=16), "branches")),
    "SOAP, RWF": Method(SOAP, factorization=RWF),
    "SOAP, WS sines": Method(SOAP, options=SINES),
    "Adam": Method(Adam),
    "Adam, RWF": Method(Adam, factorization=RWF),
    "Muon": Method(Muon),
    "Gauss-Newton": Method(GN, "damping", DAMPED, problem={"batch": 8, "n_points": 32}),
    "FNO, SOAP": Method(partial(SOAP, max_size=256), field=partial(SPECTRAL, start=None)),
    "FNO, SOAP, then last layer": Method(
        partial(SOAP, max_size=256),
        field=partial(SPECTRAL, start=None),
        last=(partial(OutputLayer, batches=32), "head"),
    ),
    "FNO from a kernel regression, SOAP": Method(
        partial(SOAP, max_size=256, eps=1e-15, relative_eps=1e-5), field=SPECTRAL
    ),
}
# whose outputs do not enter residuals one by one, or that start from labels
PHYSICS = ("FNO, SOAP, then last layer", "FNO from a kernel regression, SOAP")
PLANE = (*PHYSICS, "FNO, SOAP")  # and whose grids are too large for these budgets
DEEP = partial(DeepONet, width=64, depth=4, latent=64, activation=GELU(), branch=Skip(activation=GELU()))  # of pairs
SMALL = {"batch": 32, "n_points": 64, "n_tests": 50}


@cache
def pairs_file(seed: int) -> Path:
    """Write 900 pairs of Burgers' equation at viscosity 0.01, from t = 0 to 1, and 100 to test on."""
    space = PeriodicField(tau=5.0)
    f = as_callable(space, space.sample(1000, nf.generator(seed, "pairs")))
    path = Path(tempfile.mkdtemp()) / "pairs.npz"
    np.savez(path, f=f(X), x=X, s=burgers(f, nt=2, nx=len(X), nu=0.01)[:, -1], f_sensors=X)
    return path


def pairs(data_seed: int, **options: Any) -> PairsOperator:
    """Return the problem of pairs whose functions are drawn by a seed."""
    return PairsOperator(str(pairs_file(data_seed)), every=10, **options)


# case -> problem, and the methods that are left out
CASES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "antiderivative": (partial(Antiderivative, n_tests=50), PHYSICS),
    "diffusion_reaction": (partial(DiffusionReaction, **SMALL), PLANE),
    "burgers": (partial(BurgersOperator, **SMALL), PLANE),
    "burgers_pairs": (pairs, ()),
}


def run(case: str, name: str, value: float, seed: int, seconds: float) -> Row:
    """Train by one method for so many processor seconds, and score on the test functions of the seed."""
    method, make = METHODS[name], CASES[case][0]
    problem = make(data_seed=seed, **(method.problem or {}))
    recipe = problem.recipe()
    base = method.field or (DEEP if isinstance(problem, PairsOperator) else recipe.field)
    field = partial(base, **(method.options or {}))
    known: dict[str, Any] = {"dtype": recipe.run.dtype, "report": None, "seed": seed, "log_every": 10**6}
    maker = partial(method.optimizer, **{method.tuned: value})
    schedule = "cosine" if method.tuned == "lr" else "constant"
    left = seconds * (1 - RESERVE if method.last else 1.0)
    begin = time.process_time()
    stages = (Stage(maker, steps=10**6, schedule=schedule, warmup=0.0),)
    parts = {"factorization": method.factorization} if method.factorization else {}
    solution = nf.solve(problem, field, stages=stages, time_limit=left, **parts, **known)
    steps, said = solution.steps, solution.stopped
    if method.last:
        optimizer, only = method.last
        solution = nf.solve(problem, solution.field, stages=(Stage(optimizer, steps=1, only=only),), **known)
    scores = whole_scores(solution)
    return {
        "error": scores.get("relative_l2", math.nan),
        "steps": steps,
        "stopped": said,
        "parameters": scores["parameters"] if not method.last else sum(p.numel() for p in solution.field.parameters()),
        "cpu_seconds": round(time.process_time() - begin, 2),  # with loading and scoring
    }


def table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown, a table for each case."""
    parts = [INTRO.strip()]
    for case in CASES:
        lines = []
        for name in METHODS:
            group = [r for r in rows if (r["case"], r["method"], r["kind"]) == (case, name, "reported")]
            if not group:
                continue
            errors = [r["error"] for r in sorted(group, key=lambda r: r["seed"])]
            mean = statistics.mean(errors)
            spread = f" +- {statistics.stdev(errors) / len(errors) ** 0.5:.1e}" if len(errors) > 1 else ", one seed"
            lines.append((mean if math.isfinite(mean) else math.inf, [
                name, f"{METHODS[name].tuned} {group[0]['value']:g}", f"{mean:.2e}{spread}",
                ", ".join(f"{e:.2e}" for e in errors), ", ".join(str(r["steps"]) for r in group),
                str(group[0]["parameters"]),
            ]))  # fmt: skip
        if lines:
            seconds = {r["seconds"] for r in rows if r["case"] == case and r["kind"] == "reported"}
            said = " or ".join(f"{s:g}" for s in sorted(seconds))
            parts.append(f"## {case.replace('_', ' ')}, {said} processor seconds")
            head = ["method", "tuned", "relative L2, mean and standard error", "each seed", "steps", "parameters"]
            parts.append(markdown(head, [line for _, line in sorted(lines, key=lambda pair: pair[0])]))
    if rows:
        parts.append(f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}.")
    return "\n\n".join(parts) + "\n"


INTRO = """
# Operators: optimizers, last layers, factorization and sines

Relative L2 error over held-out test functions, the best method first. Every method has the same processor seconds of
one thread, and a rate of its own (for Gauss-Newton its first damping), tuned in half the seconds on functions of their
own: those of tuning runs, for training and for tests, are drawn by another seed than the reported ones. A seed is that
of weights, mini-batches and functions. Rates fall as a cosine. The first three cases learn from equations, the last
one from 900 pairs at 101 points. The field is the problem's own, of pairs a DeepONet of four layers of 64 with a linear
part in its branch, unless a row says FNO; this one starts from a kernel regression only where a row says so. "then last
layer" keeps a fifth of the seconds for least squares: `LastLayer` for the branch of a DeepONet, `OutputLayer` for the
projection of a FNO. Gauss-Newton is that of the sample space with momentum 0.9 on mini-batches of 8 functions at 32
points. RWF has mean 0.5 and deviation 0.1 in all linear layers; "WS sines" are sin(2 z) with weight-scaling
initialisation, alpha = 1.5. Runs are short, so this says who is ahead early.
Made by `python -m scripts.compare_operators`; methods and seeds that are missing were not measured.
"""


def best_value(rows: list[Row], name: str) -> float:
    """Return the tuned value of the least error; the first where none gave one."""
    found = [r for r in rows if math.isfinite(r["error"])]
    return min(found, key=lambda r: r["error"])["value"] if found else METHODS[name].values[0]


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3, help="reported seeds 0, 1, ...")
    parser.add_argument("--seconds", type=float, default=6.0, help="processor seconds of each reported run")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # the clock of limits: other work on the machine does not matter
    path = said.folder / "operators_compared.json"

    def measured(case: str, name: str, kind: str, value: float, seed: int, seconds: float) -> Row:
        key = {"case": case, "method": name, "kind": kind, "value": value, "seed": seed, "seconds": seconds}
        for row in read_rows(path):
            if all(row.get(k) == v for k, v in key.items()):
                return row
        row = key | run(case, name, value, seed, seconds) | stamp(1)
        write_rows(path, [*read_rows(path), row])
        (said.folder / "operators_compared.md").write_text(table(read_rows(path)))
        print({k: row[k] for k in (*key, "error", "steps")}, flush=True)
        return row

    for case in said.only:
        for name in said.methods:
            if name in CASES[case][1]:
                continue
            pilot = (TUNING, said.seconds * SHARE)
            tried = [measured(case, name, "tuning", v, *pilot) for v in METHODS[name].values]
            for seed in range(said.seeds):
                measured(case, name, "reported", best_value(tried, name), seed, said.seconds)


if __name__ == "__main__":
    main()
