"""Measure operators learned from pairs alone: each field on the same files, for the same processor seconds.

    python -m scripts.pairs_table                                   # 3 seeds, 60 processor seconds each, one thread
    python -m scripts.pairs_table --only burgers --fields default --seeds 1 --seconds 10

1000 pairs to learn from and 100 to test on, at 101 points, are made here; the seed is that of the weights. The case
darcy_16 reads the small files of neuraloperator from $NFSOLVE_DATA, op_darcy_neuralop_train_16.npz and
op_darcy_neuralop_test_16.npz with arrays a and u. Rows are added to benchmarks/operator_pairs.json one by one, and
benchmarks/operator_pairs.md is the table made from them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import cumulative_simpson

import nfsolve as nf
from nfsolve.data.tables import find_file
from nfsolve.fields import GELU, DeepONet, NonlinearDeepONet, PCANet, PODDeepONet, ScatteredOperator, Skip
from nfsolve.functions import FunctionSpace, GaussianField, PeriodicField
from nfsolve.problem.operator.families import as_callable
from problems.operators._solvers import burgers
from problems.operators.pairs import PairsOperator
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows

COUNT, POINTS, EVERY = 1100, 101, 11
X = np.linspace(0, 1, POINTS)
Functions = tuple[np.ndarray, np.ndarray]


def drawn(space: FunctionSpace) -> Callable[[Any], np.ndarray]:
    """Draw the input functions of a case, always the same ones."""
    return as_callable(space, space.sample(COUNT, nf.generator(0, "pairs")))


def burgers_pairs(nu: float) -> Functions:
    """Initial values with period 1 and solutions of Burgers' equation at t = 1."""
    u = drawn(PeriodicField(tau=5.0))
    return u(X), burgers(u, nt=2, nx=POINTS, nu=nu)[:, -1]


def own_places() -> Functions:
    """The same initial values at 60 random places each, and these places."""
    space = PeriodicField(tau=5.0)
    coefficients = space.sample(COUNT, nf.generator(0, "pairs"))
    places = np.sort(np.random.default_rng(0).random((COUNT, 60)), 1)
    values = [
        space.evaluate(c[None], torch.from_numpy(z[:, None]))[0] for c, z in zip(coefficients, places, strict=True)
    ]
    return torch.stack(values).numpy(), places[..., None]


def antiderivative() -> Functions:
    """Gaussian random functions and their integrals from 0."""
    f, fine = drawn(GaussianField(0.2)), np.linspace(0, 1, 20 * (POINTS - 1) + 1)
    return f(X), cumulative_simpson(f(fine), x=fine, initial=0)[:, ::20]


def heat() -> Functions:
    """Functions that are zero at both ends, and what the heat equation makes of them at t = 0.01."""
    k = np.pi * np.arange(1, 21)
    c = np.random.default_rng(0).normal(size=(COUNT, 20)) * np.pi / k
    waves = np.sin(np.outer(k, X))
    return c @ waves, (c * np.exp(-(k**2) * 0.01)) @ waves


def advection() -> Functions:
    """Functions with period 1 that a speed given by their own mean square has moved, at t = 1."""
    space = PeriodicField(tau=5.0)
    c = space.sample(COUNT, nf.generator(0, "pairs"))
    f = as_callable(space, c)
    shift = np.square(f(X)).mean(1)
    moved = [as_callable(space, c[i : i + 1])((X - shift[i]) % 1.0)[0] for i in range(COUNT)]
    return f(X), np.stack(moved)


CASES: dict[str, Callable[[], Functions]] = {
    "burgers": partial(burgers_pairs, 0.01),
    "burgers_own": partial(burgers_pairs, 0.01),
    "burgers_001": partial(burgers_pairs, 0.001),
    "advection": advection,
    "antiderivative": antiderivative,
    "heat": heat,
}
DARCY = "darcy_16"  # of files
EVERY_CASE = (*CASES, DARCY)
OWN = {"burgers_own": own_places}  # input functions with sensors of their own
BRANCH = Skip(activation=GELU())
FIELDS: dict[str, Any] = {
    "default": None,
    "DeepONet": partial(DeepONet, width=64, depth=4, latent=64, activation=GELU(), branch=BRANCH),
    "NonlinearDeepONet": partial(NonlinearDeepONet, width=64, depth=4, activation=GELU(), decoder=3),
    "PODDeepONet": partial(PODDeepONet, latent=64, branch=BRANCH),
    "PCANet": partial(PCANet, latent=64, branch=BRANCH),
    "affine regression": partial(PCANet, latent=90, components=256, regression="affine"),
    "kernel regression": partial(PCANet, latent=90, components=256, regression="kernel"),
    "ScatteredOperator": ScatteredOperator,
}


def made(case: str, folder: Path) -> PairsOperator:
    """Write the pairs of a case, and return their problem."""
    if case == DARCY:
        names = [f"op_darcy_neuralop_{part}_16.npz" for part in ("train", "test")]
        for name in names:  # as neuraloperator stores them
            with np.load(find_file(name, PairsOperator)) as file:
                np.savez(folder / name, x=file["a"].astype(np.float32), y=file["u"])
        return PairsOperator(*(str(folder / name) for name in names))
    (f, s), at = CASES[case](), X
    if case in OWN:
        f, at = OWN[case]()
    np.savez(folder / "pairs.npz", f=f, x=X, s=s, f_sensors=at)
    return PairsOperator(str(folder / "pairs.npz"), every=EVERY)


def measure(case: str, name: str, seed: int, seconds: float) -> Row:
    """Train one field on one case until its processor seconds are used."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        limit: dict[str, Any] = {"steps": 1} if "regression" in name else {"time_limit": seconds}
        solution = nf.solve(made(case, Path(folder)), FIELDS[name], seed=seed, report=None, **limit)
        whole = time.process_time() - begin
    scores = whole_scores(solution)
    kept = {k: scores[k] for k in ("relative_l2", "relative_l2_max", "cpu_seconds", "steps", "parameters")}
    field = name if "regression" in name else type(solution.field).__name__
    row = {"case": case, "method": name, "field": field, "seed": seed, "limit": seconds}
    return {**row, **kept, "cpu_seconds_in_all": round(whole, 1), **stamp(1)}


def in_all(group: list[Row]) -> str:
    """Return the mean seconds with the data, the start and the scores, where they were kept."""
    found = [row["cpu_seconds_in_all"] for row in group if "cpu_seconds_in_all" in row]
    return f"{statistics.mean(found):.0f}" if found else "-"


def trained(method: str, group: list[Row]) -> tuple[str, str]:
    """Return steps and parameters in words, none of a regression."""
    if "regression" in method:
        return "-", "-"
    return ", ".join(str(row["steps"]) for row in group), str(group[0]["parameters"])


def table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown, one line for each case and field."""
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda r: (EVERY_CASE.index(r["case"]), list(FIELDS).index(r["method"]), r["seed"])):
        groups.setdefault((row["case"], row["method"], row.get("limit", 0.0)), []).append(row)
    lines = []
    for (case, method, limit), group in groups.items():
        errors = [row["relative_l2"] for row in group]
        lines.append([
            case, group[0]["field"] + (", the default" if method == "default" else ""),
            f"{limit:g}" if limit else "-", ", ".join(f"{e:.2e}" for e in errors), f"{statistics.mean(errors):.2e}",
            f"{max(row['relative_l2_max'] for row in group):.1e}",
            f"{statistics.mean(row['cpu_seconds'] for row in group):.0f}", in_all(group),
            *trained(method, group),
        ])  # fmt: skip
    header = [
        "case",
        "field",
        "limit",
        "error, each seed",
        "mean",
        "worst function",
        "seconds of the training",
        "all",
        "steps",
    ]
    header += ["parameters"]
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return f"{INTRO.strip()}\n\n{about}\n\n{markdown(header, lines)}"


INTRO = """
# Operators from pairs, as measured

Relative L2 error, mean over 100 functions that were held out; 1000 pairs at 101 points to learn from. Burgers' equation
at viscosities 0.01 and 0.001 from t = 0 to 1, the former also with 60 random sensors of its own for each function
("own"), advection at a speed that depends on the function, antiderivative, heat. The default may start from an affine
map or a kernel regression (docs/operators.md), whose seconds are in "all" but not in those of the training; of the
regressions between principal components nothing is trained. The limit is in processor seconds
of the training, where it is known. Processor seconds are of a machine with other work, which costs steps: rows of few
steps for their seconds had more of it.

darcy_16 are the small Darcy files of neuraloperator, 1000 functions of 16 x 16 points to learn from and 50 to test on.
The page of neuraloperator's own example, with 1.2 million parameters and 20 epochs of about 2.7 s on these files,
prints 1.21e-1 as the last relative L2 error of its Fourier neural operator, and no other of its epochs less
(https://neuraloperator.github.io/dev/auto_examples/models/plot_FNO_darcy.html, read in November 2026).

Made by `python -m scripts.pairs_table`; rows whose seeds or fields are missing were not measured.
"""


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=EVERY_CASE, default=EVERY_CASE)
    parser.add_argument("--fields", nargs="*", choices=list(FIELDS), default=list(FIELDS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor seconds of each training")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # the clock of limits: other work on the machine does not matter
    path = said.folder / "operator_pairs.json"
    for seed in range(said.seeds):
        for case in said.only:
            for name in said.fields:
                key = {"case": case, "method": name, "seed": seed, "limit": said.seconds}
                if any(key.items() <= row.items() for row in read_rows(path)):
                    continue
                row = measure(case, name, seed, said.seconds)
                write_rows(path, [*read_rows(path), row])  # of another process too
                (said.folder / "operator_pairs.md").write_text(table(read_rows(path)))
                print(read_rows(path)[-1], flush=True)


if __name__ == "__main__":
    main()
