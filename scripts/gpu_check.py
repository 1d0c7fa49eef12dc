"""Compare every problem on the GPU with the CPU, and time its steps; writes a table and a JSON file.

Problems that need files of data are left out. A rehearsal (``--quick``) takes small ones.

Uses the Python interface only, so it needs torch, numpy, scipy, imageio and tqdm; rendering falls back to
pure torch where nerfacc is missing.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import time
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import torch

import nfsolve
from nfsolve import RunOptions, generator
from nfsolve.problem import Objective
from nfsolve.problem.registry import find
from nfsolve.run.plan import Plan, make_field
from scripts.gpu_rates import rates
from scripts.measuring import NEEDS_FILES, smaller

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = {"float32": 2e-3, "float64": 1e-7}
COMPILED = ("burgers", "deeponet_antiderivative", "image")  # whose steps are timed compiled too, at the end
LIMIT = 420  # seconds; what has not ended by then is left out and said so


class OutOfTime(BaseException):
    """The limit has passed; nothing that a problem catches may catch it."""


def objective_on(target: str, device: str, dtype: str, compile: bool, small: bool) -> tuple[Objective, Plan]:
    make: Any = find(target)
    problem = make(**smaller(make) if small else {})
    plan = Plan.of(problem.recipe(), RunOptions(dtype=dtype, device=device))
    field = make_field(problem, plan)
    torch_dtype = getattr(torch, dtype)
    data = problem.load(torch.device(device), torch_dtype)
    return Objective(problem, field, data, generator(0, "points"), compile=compile), plan


def first_losses(objective: Objective, optimizer, steps: int) -> list[float]:
    made = optimizer(objective.parameters)
    return [float(made.step(objective)) for _ in range(steps)]


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def step_time(objective: Objective, optimizer, device: str, seconds: float) -> tuple[float, float]:
    """Median milliseconds of a step, and the seconds of the first one (compilation included)."""
    made = optimizer(objective.parameters)
    start = time.perf_counter()
    made.step(objective)
    synchronize(device)
    first = time.perf_counter() - start
    made.step(objective)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        synchronize(device)
        start = time.perf_counter()
        made.step(objective)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2] * 1e3, first


def check(name: str, target: str, dtype: str, device: str, seconds: float, small: bool) -> list[dict]:
    """Compare the first losses with those of the CPU, and time steps."""
    adam = partial(torch.optim.Adam, lr=1e-3)
    rows = []
    reference, plan = objective_on(target, "cpu", dtype, False, small)
    other, _ = objective_on(target, device, dtype, False, small)
    own = plan.stages[0].optimizer
    for label, optimizer, steps in (("adam", adam, 5), ("recipe", own, 3)):
        start = [p.detach().clone() for p in reference.parameters]
        a = first_losses(reference, optimizer, steps)
        b = first_losses(other, optimizer, steps)
        gap = max(abs(x - y) / (abs(x) + 1e-30) for x, y in zip(a, b, strict=True))
        rows.append({
            "case": name, "method": f"{label}: first {steps} losses, {device} against cpu", "dtype": dtype,
            "largest_relative_gap": gap, "tolerance": TOLERANCE[dtype], "passed": gap <= TOLERANCE[dtype],
        })  # fmt: skip
        with torch.no_grad():
            for objective in (reference, other):
                for p, s in zip(objective.parameters, start, strict=True):
                    p.copy_(s)
    for label, optimizer in (("adam", adam), ("recipe", own)):
        ms, _ = step_time(other, optimizer, device, seconds)
        rows.append({"case": name, "method": f"{label} step", "dtype": dtype, "milliseconds": ms})
    return rows


def check_compiled(name: str, target: str, dtype: str, device: str, seconds: float, small: bool) -> list[dict]:
    """Time compiled steps of Adam."""
    objective, _ = objective_on(target, device, dtype, True, small)
    ms, first = step_time(objective, partial(torch.optim.Adam, lr=1e-3), device, seconds)
    row = {"case": name, "method": "adam step, compiled", "dtype": dtype, "milliseconds": ms}
    return [row | {"first_step_seconds": first}]


def rows_of(said: argparse.Namespace, rows: list[dict]) -> None:
    """Add what is measured to the rows, until the time is over."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["nfsolve.problems"]
    chosen = [name for name in targets if (said.only is None or name in said.only) and name not in NEEDS_FILES]
    types, seconds = (("float32",), 0.1) if said.quick else (("float32", "float64"), 0.5)
    work = [(check, name, dtype) for dtype in types for name in chosen]
    work += [(check_compiled, name, "float32") for name in chosen if name in COMPILED]
    try:
        rows += rates(said.device, said.quick, 2 * seconds)
        print_rows(rows)
        while work:
            measure, name, dtype = work[0]
            try:
                found = measure(name, targets[name], dtype, said.device, seconds, said.quick)
            except Exception as error:
                text = f"{type(error).__name__}: {error}"[:300]
                found = [{"case": name, "method": measure.__name__, "dtype": dtype, "passed": False, "error": text}]
            print_rows(found)
            rows += found
            del work[0]
    except OutOfTime:
        for _, name, dtype in work:
            rows.append({"case": name, "method": "left out: time limit", "dtype": dtype})


def out_of_time(*_: object) -> None:
    """End what is measured."""
    raise OutOfTime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="short timings of small problems, in float32 only")
    parser.add_argument("--only", nargs="*", help="problems; default all, and none leaves the rates alone")
    parser.add_argument("--out", default=os.environ.get("OUT", str(ROOT / "benchmarks")))
    said = parser.parse_args()
    if said.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here; a rehearsal: scripts/gpu_check.sh --device cpu --quick")
        return 2
    gpu = torch.cuda.get_device_name() if said.device.startswith("cuda") else "none"
    machine = f"{gpu}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    begin, rows = time.perf_counter(), list[dict]()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(LIMIT)
    rows_of(said, rows)
    signal.alarm(0)
    common = {
        "machine": machine, "date": datetime.date.today().isoformat(), "version": nfsolve.__version__, "seed": 0,
        "device": said.device,
    }  # fmt: skip
    Path(said.out).mkdir(parents=True, exist_ok=True)
    path = Path(said.out) / ("gpu_check.json" if said.device.startswith("cuda") else "gpu_check_rehearsal.json")
    path.write_text(json.dumps([{**row, **common} for row in rows], indent=1) + "\n")
    failed = [row for row in rows if row.get("passed") is False]
    broken = [row for row in rows if "error" in row and row not in failed]
    found = f"of {len(rows)} rows {len(failed)} failed, {len(broken)} could not be measured"
    print(f"\n{machine}\nwrote {path}; {found}, {time.perf_counter() - begin:.0f} s")
    return 1 if failed else 0


def print_rows(rows: list[dict]) -> None:
    for row in rows:
        value = (
            row.get("error")
            or (f"{row['milliseconds']:.2f} ms" if "milliseconds" in row else None)
            or (
                f"gap {row['largest_relative_gap']:.1e} (<= {row['tolerance']:.0e}: {row['passed']})"
                if "passed" in row
                else ", ".join(f"{name} {row[name]:.3g}" for name in row if isinstance(row[name], float))
            )
        )
        print(f"{row['case']:<24} {row['dtype']:<8} {row['method']:<48} {value}")


if __name__ == "__main__":
    raise SystemExit(main())
