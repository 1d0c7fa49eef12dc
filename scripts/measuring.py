"""What the benchmarks share: rows in a JSON file, the machine in words, and DeepXDE where it is installed."""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
INSTALL = """DeepXDE is not installed, and nothing but this benchmark uses it.
Install it beside the PyTorch that is there, so that pip does not fetch another one:
    pip install --no-deps deepxde scikit-optimize scikit-learn narwhals joblib threadpoolctl pyaml PyYAML cloudpickle"""

Row = dict[str, Any]


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


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
