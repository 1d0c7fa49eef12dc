"""Operators from one time to the next, applied to their own answers: how errors grow, for Burgers' equation and KS.

    python -m scripts.roll_out                              # three seeds, 30 processor seconds a training
    python -m scripts.roll_out --only ks --seeds 1 --seconds 100

Each run is a row of benchmarks/roll_out.json, written at once, so a killed measurement goes on where it was;
benchmarks/roll_out.md is made from the rows.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nfsolve as nf
from nfsolve.functions import PeriodicField
from nfsolve.problem.operator.families import as_callable
from problems.operators._etdrk4 import march
from problems.operators._solvers import burgers
from problems.operators.pairs import PairsOperator
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, write_rows

TESTS = 20  # series that are rolled out
SHOWN = (1, 2, 5, 10, 20, 40)  # steps in the table
Series = tuple[np.ndarray, np.ndarray, np.ndarray]


def burgers_series(n: int, seed: int) -> Series:
    """Burgers' equation at viscosity 0.01, 20 steps to t = 1 on 100 points of a period: times, points, values."""
    space = PeriodicField(tau=5.0)
    f = as_callable(space, space.sample(n, nf.generator(seed, "series")))
    return np.linspace(0, 1, 21), np.arange(100) / 100, burgers(f, nt=21, nx=101, nu=0.01)[:, :, :-1]


def ks_series(n: int, seed: int) -> Series:
    """Kuramoto-Sivashinsky, u_t = -u u_x - u_xx - u_xxxx with period 22, in its chaos: 40 steps of 0.5, 64 points."""
    length, m = 22.0, 64
    k = 2 * np.pi / length * np.arange(m // 2 + 1)
    kept = np.arange(m // 2 + 1) < m // 3

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return -0.5j * k * kept * np.fft.rfft(np.fft.irfft(v, m) ** 2)

    chance = np.random.default_rng(seed)
    start = np.zeros((n, m // 2 + 1), complex)
    start[:, 1:6] = chance.normal(size=(n, 5, 2)) @ [1, 1j] * m / 10
    ends = march(start, k**2 - k**4, nonlinear, [(100.0, 1000), *[(0.5, 5)] * 40])
    values = np.stack([np.fft.irfft(v, m) for v in ends], 1)
    return 0.5 * np.arange(41), length * np.arange(m) / m, values


CASES: dict[str, tuple[Callable[[int, int], Series], int]] = {"burgers": (burgers_series, 300), "ks": (ks_series, 200)}


def measure(case: str, seed: int, seconds: float) -> Row:
    """Train on pairs of one time and the next, roll out on series that took no part, and compare."""
    make, count = CASES[case]
    t, x, values = make(count + TESTS, seed)
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.npz"
        arrays: dict[str, Any] = {"tensor": values[:count], "x-coordinate": x, "t-coordinate": t}
        np.savez(path, **arrays)
        problem = PairsOperator(str(path), times="next", periodic="x")
        solution = nf.solve(problem, seed=seed, time_limit=seconds, report=None)
        operator: Any = problem.trained(solution.field)
        truth = values[count:]
        found = operator.roll_out(truth[:, 0], len(t) - 1)[..., 0].numpy()
    size = np.linalg.norm(truth, axis=2).mean(0)
    still = np.linalg.norm(truth - truth[:, :1], axis=2).mean(0)
    return {
        "errors": (np.linalg.norm(found - truth, axis=2).mean(0) / size)[1:].tolist(),
        "still": (still / size)[1:].tolist(),
        "one_step": solution.metrics["relative_l2"],
        "steps": solution.steps,
        "series": count,
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown, two lines for each case."""
    lines = []
    for case in CASES:
        group = [r for r in rows if r["case"] == case]
        if not group:
            continue
        about = f"{statistics.mean(r['cpu_seconds'] for r in group):.0f}"
        for name, key in (("operator", "errors"), ("the first state kept", "still")):
            shown = [
                f"{statistics.mean(r[key][i - 1] for r in group):.1e}" if i <= len(group[0][key]) else "-"
                for i in SHOWN
            ]
            seeds = ", ".join(str(r["seed"]) for r in group)
            lines.append([case, name, *shown, *((seeds, about) if key == "errors" else ("", ""))])
    head = ["case", "answer", *(f"{i} steps" if i > 1 else "1 step" for i in SHOWN), "seeds", "processor seconds"]
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return f"{INTRO.strip()}\n\n{about}\n\n{markdown(head, lines)}"


INTRO = """
# Operators applied to their own answers

An operator from each time to the next, the default field and recipe of pairs, trained on 300 series of Burgers'
equation (viscosity 0.01, 20 steps to t = 1) or 200 of the Kuramoto-Sivashinsky equation (period 22, 40 steps of 0.5),
whose chaos no operator can follow for long, then rolled out from the first state of 20 series that took no part. Mean
error after so many steps over the mean size of the solution then, mean over seeds, beside that of keeping the first
state. Made by `python -m scripts.roll_out`; cases and seeds that are missing were not measured.
"""


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--seconds", type=float, default=30.0, help="processor seconds of each training")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # the clock of limits: other work on the machine does not matter
    path = said.folder / "roll_out.json"
    for seed in range(said.seeds):
        for case in said.only:
            if any((r["case"], r["seed"], r["seconds"]) == (case, seed, said.seconds) for r in read_rows(path)):
                continue
            row = {"case": case, "seed": seed, "seconds": said.seconds, **measure(case, seed, said.seconds), **stamp(1)}
            write_rows(path, [*read_rows(path), row])
            (said.folder / "roll_out.md").write_text(table(read_rows(path)))
            print(row, flush=True)


if __name__ == "__main__":
    main()
