"""How one run scales over processes: seconds and bytes of a step, and a model of the cost that is fitted to them.

Writes the part ``speed`` of ``benchmarks/scaling.json``; `scripts.measure_agreement` writes the other one. Processes
have one thread each. Rows ``apart`` are runs side by side that share no work and never speak: what the machine itself
loses to one memory and one clock, which no program gets back. On a machine that does other work, processor seconds of
a step are what counts, as waiting for others does not enter them. On a quiet machine this command redoes the wall-
clock figures too, and says so::

    python -m scripts.measure_scaling --processes 1 2
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

import nfsolve as nf
from nfsolve._core.ranks import join
from nfsolve.problem.registry import find
from scripts.measure_agreement import keep
from scripts.measuring import ONE_THREAD, Row, stamp, whole_scores

GN = partial(nf.optim.GaussNewton, form="parameters", acceleration=0.0, corrections=0)
SCALED: dict[str, dict[str, Any]] = {
    "gauss_newton": {"optimizer": GN, "field": partial(nf.MLP, width=20, depth=3), "n_points": 6000, "steps": 20},
    "adam": {"optimizer": "adam", "field": partial(nf.MLP, width=64, depth=4), "n_points": 12000, "steps": 20},
}


def timed(kind: str, factor: int) -> dict[str, float]:
    """Return seconds a step of Burgers' equation with some times as many points."""
    case = dict(SCALED[kind])
    make: Any = find("burgers")
    problem = make(n_points=factor * case.pop("n_points"), n_face=100)
    steps = case.pop("steps")
    nf.solve(problem.with_(n_points=200), steps=2, dtype="float64", report=None, **case)  # first calls are slow
    short, solution = (
        nf.solve(problem, steps=n, dtype="float64", report=None, seed=0, log_every=10**6, **case)
        for n in (steps, 3 * steps)
    )
    return {  # of a step alone: loading and scores, which one process does, are in both runs
        "seconds": (solution.seconds - short.seconds) / (2 * steps),
        "cpu_seconds": (whole_scores(solution)["cpu_seconds"] - whole_scores(short)["cpu_seconds"]) / (2 * steps),
        "parameters": solution.metrics["parameters"],
        "points": problem.n_points,
        "peak_bytes": solution.metrics["peak_bytes"],
    }


def work(kind: str, factor: int, file: Path) -> None:
    """Do what the processes of one launch do, and write it."""
    ranks, found = join(), timed(kind, factor)
    if ranks.first:
        torch.save(found, file)


def launch(count: int, kind: str, factor: int, folder: Path) -> dict[str, Any]:
    """Start processes and return what they found."""
    file = folder / f"{count}-{kind}-{factor}.pt"
    words = ["-m", "scripts.measure_scaling", "--work", str(file), "--kind", kind, "--factor", str(factor)]
    many = ["-m", "torch.distributed.run", "--nproc-per-node", str(count)] if count > 1 else []
    done = subprocess.run([sys.executable, *many, *words], check=False, env={**os.environ, **ONE_THREAD})
    if not file.exists():  # gloo may abort a process at its very end, when all is done
        raise SystemExit(f"{kind} on {count} processes failed with {done.returncode}")
    return torch.load(file, weights_only=True)


def side_by_side(count: int, kind: str, folder: Path) -> dict[str, Any]:
    """Start runs of one process each at the same time; return the means of what they found."""
    with ThreadPoolExecutor(count) as pool:
        places = [folder / f"apart{i}" for i in range(count)]
        for place in places:
            place.mkdir(exist_ok=True)
        found = list(pool.map(lambda place: launch(1, kind, 1, place), places))
    return {key: sum(one[key] for one in found) / count for key in found[0]}


def measured(counts: list[int], folder: Path) -> list[Row]:
    """Return rows of the table: the speed of each number of processes beside that of one."""
    rows = list[Row]()
    for kind in SCALED:
        one = launch(1, kind, 1, folder)
        rows.append({"case": kind, "scaling": "strong", "processes": 1, **one})
        for count in counts:
            found = {
                "strong": (1 / count, launch(count, kind, 1, folder)),
                "weak": (1.0, launch(count, kind, count, folder)),
                "apart": (1.0, side_by_side(count, kind, folder)),
            }
            for scaling, (ideal, figures) in found.items():
                row: Row = {"case": kind, "scaling": scaling, "processes": count, **figures}
                for clock in ("seconds", "cpu_seconds"):
                    row[f"efficiency_{clock}"] = one[clock] / row[clock] * ideal
                rows.append(row)
                print(row, flush=True)
    return rows


PREDICTED: dict[str, dict[str, float]] = {  # assumed, not measured; a core is the one measured on
    "8 GPUs": {"processes": 8, "bytes_per_second": 1e11, "times_a_core": 100.0},
    "1000 workers": {"processes": 1000, "bytes_per_second": 1e10, "times_a_core": 1.0},
}


def summed(kind: str, n: int, p: int) -> int:
    """Return the bytes that a process sums over the network in a step, for n points and p parameters."""
    return 8 * (p**2 + 2 * n if kind == "gauss_newton" else p + n)


def model(rows: list[Row]) -> dict[str, Row]:
    """Fit seconds of a step = fixed + rows / processes * each, and say what it gives for more processes.

    ``fixed`` is what every process does (a factorization, sums over processes); ``each`` is what a point costs. On
    other machines both are divided by how many times a core they are, and sums over the network are added: a ring
    sends every byte twice.
    """
    fitted: dict[str, Row] = {}
    for kind in SCALED:
        mine = [row for row in rows if row["case"] == kind and row["scaling"] != "apart"]
        if len(mine) < 2:
            continue
        matrix = torch.tensor([[1.0, row["points"] / row["processes"]] for row in mine], dtype=torch.float64)
        right = torch.tensor([row["cpu_seconds"] for row in mine], dtype=torch.float64)
        fixed, each = (max(float(x), 0.0) for x in torch.linalg.lstsq(matrix, right[:, None]).solution[:, 0])
        n, p = mine[0]["points"], mine[0]["parameters"]
        misfit = max(abs(fixed + each * row["points"] / row["processes"] - row["cpu_seconds"]) for row in mine)
        said: Row = {"fixed_seconds": fixed, "seconds_each_point": each, "largest_misfit_seconds": misfit}
        for name, assumed in PREDICTED.items():
            count, speed = int(assumed["processes"]), assumed["times_a_core"]
            alone = (fixed + each * n) / speed
            strong = (fixed + each * n / count) / speed + 2 * summed(kind, n, p) / assumed["bytes_per_second"]
            weak = alone + 2 * summed(kind, count * n, p) / assumed["bytes_per_second"]
            said[name] = assumed | {"strong_speedup": alone / strong, "weak_efficiency": alone / weak}
        fitted[kind] = said
    return fitted


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes, 1 among them")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--factor", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.work is not None:
        work(said.kind, said.factor, said.work)
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(sorted({*said.processes} - {1}), Path(folder))
    about = {**stamp(), "load_average": load, "quiet": load < 0.5}
    keep("speed", {"about": about, "rows": rows, "model": model(rows)})


if __name__ == "__main__":
    main()
