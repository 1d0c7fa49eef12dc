"""How one run scales over processes: seconds and bytes of a step, agreement with one process, and a model of the cost.

Writes ``benchmarks/scaling.json``. Processes have one thread each; on a machine that does other work, processor seconds
of a step are what counts, as waiting for others does not enter them. Run all of it with::

    python -m scripts.measure_scaling --processes 1 2
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

import nfsolve as nf
from nfsolve._core.ranks import join
from nfsolve.problem.registry import find
from scripts.measuring import FOLDER, ONE_THREAD, Row, stamp, whole_scores

TARGET = FOLDER / "scaling.json"
AGREEING: dict[str, dict[str, Any]] = {
    "burgers": {},
    "cavity": {},
    "ct_phantom": {"size": 64},
    "nerf_scene": {"points": 1024, "size": 16, "views": 6},
    "deeponet_antiderivative": {"n_functions": 100, "n_tests": 10},
}
STEPS = 20
GN = partial(nf.optim.GaussNewton, form="parameters", acceleration=0.0, corrections=0)
SCALED: dict[str, dict[str, Any]] = {
    "gauss_newton": {"optimizer": GN, "field": partial(nf.MLP, width=20, depth=3), "n_points": 6000, "steps": 3},
    "adam": {"optimizer": "adam", "field": partial(nf.MLP, width=64, depth=4), "n_points": 12000, "steps": 3},
}


def reached(name: str) -> torch.Tensor:
    """Return the parameters after some steps of a problem with its own recipe, float64."""
    problem = find(name)(**AGREEING[name])
    # SOAP is moved by percents by rounding alone, whatever the number of processes
    given: dict[str, Any] = {"optimizer": "adam"} if name.startswith("deeponet") else {}
    solution = nf.solve(problem, steps=STEPS, dtype="float64", report=None, **given)
    whole_scores(solution)
    return torch.cat([p.detach().reshape(-1) for p in solution.field.parameters()])


def timed(kind: str, factor: int) -> dict[str, float]:
    """Return seconds a step of Burgers' equation with some times as many points."""
    case = dict(SCALED[kind])
    make: Any = find("burgers")
    problem = make(n_points=factor * case.pop("n_points"), n_face=100)
    steps = case.pop("steps")
    nf.solve(problem.with_(n_points=200), steps=2, dtype="float64", report=None, **case)  # first calls are slow
    solution = nf.solve(problem, steps=steps, dtype="float64", report=None, seed=0, log_every=10**6, **case)
    return {
        "seconds": solution.seconds / steps,
        "cpu_seconds": whole_scores(solution)["cpu_seconds"] / steps,
        "parameters": solution.metrics["parameters"],
        "points": problem.n_points,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def work(folder: Path, kinds: list[str]) -> None:
    """Do what the processes of one launch do, and write it."""
    ranks = join()
    found: dict[str, Any] = {}
    for name in AGREEING if "agreement" in kinds else ():
        found[name] = reached(name)
    for kind in SCALED if "speed" in kinds else ():
        for scaling, factor in (("strong", 1), ("weak", ranks.count)):
            if ranks.count > 1 or scaling == "strong":
                measured = timed(kind, factor)
                found[f"{kind}/{scaling}"] = measured | {"peak_bytes": max(ranks.all(measured["peak_bytes"]))}
    if ranks.first:
        torch.save(found, folder / f"{ranks.count}.pt")


def launch(count: int, folder: Path, kinds: list[str]) -> dict[str, Any]:
    """Start processes and return what they found."""
    words = ["-m", "scripts.measure_scaling", "--work", str(folder), "--kinds", *kinds]
    many = ["-m", "torch.distributed.run", "--nproc-per-node", str(count)] if count > 1 else []
    subprocess.run([sys.executable, *many, *words], check=True, env={**os.environ, **ONE_THREAD})
    return torch.load(folder / f"{count}.pt", weights_only=True)


def rows_of(found: dict[int, dict[str, Any]]) -> list[Row]:
    """Return rows of the table: agreement, and the speed of each number of processes beside that of one."""
    one, rows = found[1], list[Row]()
    for count, results in found.items():
        for name, value in results.items():
            if name in AGREEING:
                if count > 1:
                    gap = float((value - one[name]).abs().max())
                    rows.append({"case": name, "processes": count, "steps": STEPS, "largest_difference": gap})
                continue
            kind, scaling = name.split("/")
            if count > 1:
                base, factor = one[f"{kind}/strong"], count if scaling == "strong" else 1
                for clock in ("seconds", "cpu_seconds"):
                    value = value | {f"efficiency_{clock}": base[clock] / value[clock] / factor}
            rows.append({"case": kind, "scaling": scaling, "processes": count, **value})
    return rows


def model(rows: list[Row]) -> dict[str, Row]:
    """Fit seconds of a step = fixed + rows / processes * each, and say what it gives for more processes.

    ``fixed`` is what every process does (a factorization, sums over processes); ``each`` is what a point costs. Sums
    take 8 bytes * (P^2 + 2 N) for Gauss-Newton and 8 bytes * (P + N) for Adam, over a network of ``bandwidth``.
    """
    fitted: dict[str, Row] = {}
    for kind in SCALED:
        mine = [row for row in rows if row["case"] == kind]
        if len(mine) < 2:
            continue
        matrix = torch.tensor([[1.0, row["points"] / row["processes"]] for row in mine], dtype=torch.float64)
        right = torch.tensor([row["cpu_seconds"] for row in mine], dtype=torch.float64)
        fixed, each = (max(float(x), 0.0) for x in torch.linalg.lstsq(matrix, right[:, None]).solution[:, 0])
        n, p = mine[0]["points"], mine[0]["parameters"]
        summed = 8 * (p**2 + 2 * n if kind == "gauss_newton" else p + n)
        said: Row = {"fixed_seconds": fixed, "seconds_each_point": each, "bytes_summed": summed}
        for count, factor, bandwidth in ((8, 8, 1e11), (1000, 1000, 1e10)):
            network = 2 * 8 * (p**2 + 2 * factor * n if kind == "gauss_newton" else p + factor * n) / bandwidth
            step = fixed + each * n + network
            said[f"weak_efficiency_{count}"] = (fixed + each * n) / step
            strong = fixed + each * n / count + 2 * summed / bandwidth
            said[f"strong_speedup_{count}"] = (fixed + each * n) / strong
        fitted[kind] = said
    return fitted


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes, 1 among them")
    parser.add_argument("--kinds", nargs="+", default=["agreement", "speed"], help="agreement, speed")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.work is not None:
        work(said.work, said.kinds)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {count: launch(count, Path(folder), said.kinds) for count in sorted({1, *said.processes})}
    rows = rows_of(found)
    load = os.getloadavg()[0]
    about = {**stamp(), "load_average": load, "quiet": load < 1.5 * max(said.processes)}
    TARGET.write_text(json.dumps({"about": about, "rows": rows, "model": model(rows)}, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
