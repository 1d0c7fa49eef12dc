"""What the benchmarks share: rows in a JSON file, runs in processes, the machine in words, and DeepXDE if installed."""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
INSTALL = """DeepXDE is not installed, and nothing but this benchmark uses it.
Install it beside the PyTorch that is there, so that pip does not fetch another one:
    pip install --no-deps deepxde scikit-optimize scikit-learn narwhals joblib threadpoolctl pyaml PyYAML cloudpickle"""

NEEDS_FILES = (
    *("ct_cone_scan", "ct_scan", "deeponet_pairs", "nerf", "wake"),
    *("pinnacle_heat2d_vc", "pinnacle_poisson2d_ms", "pinnacle_wave2d_cg"),
)
"""Problems that are nothing without data."""
LESS = {"n_points": 40, "n_face": 8, "n_functions": 10, "n_tests": 2, "batch": 4, "size": 16, "views": 6}
SMALL: dict[str, dict[str, Any]] = {
    "Darcy": {"n_functions": 30},  # of which eight symmetries each make enough for its latent columns
    **{name: {"size": 32} for name in ("ImageFit", "MRI", "Deconvolution")},
    "CTPhantom": {"classical": ()},
    "CTLimited": {"step": 30.0, "classical": ()},
    "NeRFScene": {"frames": 0, "mesh": 0, "cells": 16, "samples": 24},
}
"""Class of a problem -> what makes it small beside `LESS`."""

Row = dict[str, Any]


def smaller(problem: Any) -> dict[str, Any]:
    """Return what makes a problem of a class small: sizes that it has and that are larger than in `LESS`."""
    sizes: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(problem) if field.init}
    less = {key: n for key, n in LESS.items() if isinstance(sizes.get(key), int) and sizes[key] > n}
    return less | SMALL.get(problem.__name__, {})


def machine(threads: int) -> str:
    """Say in words what the numbers were measured on."""
    used = f"{threads} thread{'s' if threads > 1 else ''} used"
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, {used}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        found = ""
    return found or platform.machine()


def stamp(threads: int = 1) -> Row:
    """Return the columns that every row has: machine, date, versions."""
    import torch

    from nfsolve._core.version import VERSION

    return {
        "machine": machine(threads),
        "date": datetime.date.today().isoformat(),
        "version": f"nfsolve {VERSION}, torch {torch.__version__}, DeepXDE {deepxde_version() or 'not installed'}",
    }


def deepxde_version() -> str:
    """Return the version of DeepXDE, or an empty string where it is not installed."""
    try:
        return importlib.metadata.version("deepxde")
    except importlib.metadata.PackageNotFoundError:
        return ""


def import_deepxde(dtype: str) -> Any:
    """Import DeepXDE on PyTorch; it changes global settings, so do this in a process of its own.

    Args:
        dtype: ``float32`` or ``float64``.

    Raises:
        SystemExit: It is not installed; the message says how to do that.
    """
    if not deepxde_version():
        raise SystemExit(INSTALL)
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde  # type: ignore[import-not-found]  # an optional package that the library itself never uses

    deepxde.config.set_default_float(dtype)
    return deepxde


def read_rows(path: Path) -> list[Row]:
    """Read the rows measured so far; none where there is no file."""
    return json.loads(path.read_text()) if path.exists() else []


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write all rows, one a line, under a temporary name that then replaces the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    part.replace(path)


def whole_scores(solution: Any) -> Row:
    """Return the scores of a run for a row that is kept: of all values, also where its own were quick ones.

    Args:
        solution: The run; one that a time limit ended is whole, for that is its budget.

    Returns:
        Its metrics.

    Raises:
        SystemExit: The run was interrupted, so that no row may be written.
    """
    if solution.interrupted:
        raise SystemExit(f"{type(solution.problem).__name__} was interrupted, so nothing of it is stored")
    found = dict(solution.metrics)
    if found.pop("quick_scores", None):
        found |= solution.problem.metrics(solution.field, solution.data)
    return found


def measure_rows(
    path: Path, script: str, keys: Iterable[Row], threads: int, again: bool = False, processor: bool = False
) -> None:
    """Measure what has no row yet, each in a process of its own: ``python -m SCRIPT --row JSON``.

    The process gets its key with the number of threads, and prints the columns of its row as JSON in its last line.
    Each row is written at once, so that a killed measurement goes on where it was; what fails is told and left out.

    Args:
        path: File of the rows.
        script: Module that measures one row.
        keys: Columns that make each row one of its kind.
        threads: Threads of each process.
        again: Whether to measure also what has a row.
        processor: Whether time limits are in processor time.
    """
    for key in keys:
        name = ", ".join(f"{column} {value}" for column, value in key.items())
        if not again and any(_has(row, key) for row in read_rows(path)):
            continue
        command = [
            sys.executable,
            "-m",
            script,
            "--row",
            json.dumps(key | {"threads": threads, "processor": processor}),
        ]
        environment = os.environ | dict.fromkeys(ONE_THREAD, str(threads))
        made = subprocess.run(command, capture_output=True, text=True, env=environment)
        if made.returncode:
            print(f"{name}: failed\n{made.stderr[-2000:]}", file=sys.stderr)
            continue
        row = key | json.loads(made.stdout.splitlines()[-1]) | stamp(threads)
        write_rows(path, [kept for kept in read_rows(path) if not _has(kept, key)] + [row])
        print(f"{name}: error {row['error']:.1e}, estimate {row['estimate']}, {row['seconds']} s", flush=True)


def options(description: str | None, seconds: float) -> argparse.ArgumentParser:
    """Return a parser of the options that all measurements of the automatic recipe have.

    Args:
        description: What the script measures.
        seconds: Default time limit of a run.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=seconds, help="time limit of a run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processor", action="store_true", help="count processor time, for a machine with other work")
    parser.add_argument("--again", action="store_true", help="measure also what has a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    return parser


def _has(row: Row, key: Row) -> bool:
    return all(row.get(name) == value for name, value in key.items())


def solve_automatically(
    problem: Any,
    seed: int,
    seconds: float,
    threads: int,
    processor: bool = False,
    recipe: str | None = "auto",
    accuracy: float | None = None,
) -> tuple[Any, Row]:
    """Solve a problem with the automatic recipe, or with its own.

    Args:
        problem: The problem.
        seed: Seed of the run.
        seconds: Time limit.
        threads: Threads of PyTorch.
        processor: Whether the limit is in processor time, so that other work on the machine does not matter. The
            process must measure nothing else: its clock is exchanged.
        recipe: ``auto``, or None for the one that the problem brings.
        accuracy: Relative error at which the automatic recipe may stop, or None.

    Returns:
        The solution, and the columns of its row: the error, its estimate, what was chosen, and the time.
    """
    import torch

    import nfsolve as nf

    torch.set_num_threads(threads)
    if processor:
        time.perf_counter = time.process_time
    used, clock = time.process_time(), time.perf_counter()
    solution = nf.solve(problem, seed=seed, recipe=recipe, report=None, time_limit=seconds, accuracy=accuracy)
    scores = whole_scores(solution)
    floors = [v for k, v in scores.items() if k.startswith("reference_floor/")]
    return solution, {
        "error": scores.get("relative_l2", math.nan),
        "estimate": scores.get("error_estimate", "none"),
        "floor": max(floors, default=math.nan),
        "chosen": solution.decisions[-1] if solution.decisions else "",
        "stopped": solution.stopped,
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
    }


def told(estimate: Any) -> str:
    """Return an estimate for a table: the number, or that there is none."""
    return f"{estimate:.1e}" if isinstance(estimate, float) else "not given"


def chosen(row: Row) -> str:
    """Return in a few words what recipe was chosen."""
    return row["chosen"].split(",")[0].split(":")[0]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
