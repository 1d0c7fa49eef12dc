"""Compare every problem on the GPU with the CPU, and time its steps; writes a table and a JSON file.

Uses the Python interface only, so it needs torch, numpy, scipy, imageio and tqdm; rendering falls back to
pure torch where nerfacc is missing.
"""

import argparse
import datetime
import json
import os
import platform
import time
import tomllib
from functools import partial
from pathlib import Path

import torch

import nfsolve
from nfsolve import RunOptions, generator
from nfsolve.problem import Objective
from nfsolve.problem.registry import find
from nfsolve.run.plan import Plan, make_field
from scripts.gpu_rates import rates

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = {"float32": 2e-3, "float64": 1e-7}
LIMIT = 420.0  # seconds; what has not started by then is left out and said so


def objective_on(name: str, target: str, device: str, dtype: str, compile: bool) -> tuple[Objective, Plan]:
    problem = find(target)()
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


def check(name: str, target: str, dtype: str, device: str, seconds: float) -> list[dict]:
    adam = partial(torch.optim.Adam, lr=1e-3)
    rows = []
    reference, plan = objective_on(name, target, "cpu", dtype, False)
    other, _ = objective_on(name, target, device, dtype, False)
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
    for compiled in (False, True):
        try:
            objective, _ = objective_on(name, target, device, dtype, compiled)
            ms, first = step_time(objective, adam, device, seconds)
            rows.append({
                "case": name, "method": "adam step" + (", compiled" if compiled else ""), "dtype": dtype,
                "milliseconds": ms, "first_step_seconds": first,
            })  # fmt: skip
        except Exception as error:
            rows.append({
                "case": name, "method": "adam step" + (", compiled" if compiled else ""), "dtype": dtype,
                "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            })  # fmt: skip
    objective, _ = objective_on(name, target, device, dtype, False)
    ms, first = step_time(objective, own, device, seconds)
    rows.append({"case": name, "method": "recipe step", "dtype": dtype, "milliseconds": ms})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="short timings, float64 only where it is the default")
    parser.add_argument("--only", nargs="*", help="problems; default all, and none leaves the rates alone")
    parser.add_argument("--out", default=os.environ.get("OUT", str(ROOT / "benchmarks")))
    said = parser.parse_args()
    if said.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here; a rehearsal: scripts/gpu_check.sh --device cpu --quick")
        return 2
    gpu = torch.cuda.get_device_name() if said.device.startswith("cuda") else "none"
    machine = f"{gpu}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["nfsolve.problems"]
    begin = time.perf_counter()
    rows: list[dict] = rates(said.device, said.quick, 0.2 if said.quick else 2.0)
    print_rows(rows)
    for dtype in ("float32",) if said.quick else ("float32", "float64"):
        for name, target in targets.items():
            if said.only is not None and name not in said.only:
                continue
            if time.perf_counter() - begin > LIMIT:
                rows.append({"case": name, "method": "left out: time limit", "dtype": dtype})
                continue
            try:
                rows += check(name, target, dtype, said.device, 0.3 if said.quick else 2.0)
            except Exception as error:
                rows.append({
                    "case": name, "method": "whole check", "dtype": dtype, "passed": False,
                    "error": f"{type(error).__name__}: {error}",
                })  # fmt: skip
            print_rows([row for row in rows if row["case"] == name and row["dtype"] == dtype])
    common = {
        "machine": machine, "date": datetime.date.today().isoformat(), "version": nfsolve.__version__, "seed": 0,
        "device": said.device,
    }  # fmt: skip
    Path(said.out).mkdir(parents=True, exist_ok=True)
    path = Path(said.out) / ("gpu_check.json" if said.device.startswith("cuda") else "gpu_check_rehearsal.json")
    path.write_text(json.dumps([{**row, **common} for row in rows], indent=1) + "\n")
    failed = [row for row in rows if row.get("passed") is False]
    print(f"\n{machine}\nwrote {path}; {len(failed)} of {len(rows)} rows failed, {time.perf_counter() - begin:.0f} s")
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
