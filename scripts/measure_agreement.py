"""How far several processes end from where one ends, after 20 steps of gallery problems at their own sizes.

Adds rows to the part ``agreement`` of ``benchmarks/scaling.json``. Every row has beside it how far one process ends
from itself where its start is moved by one unit in the last place of each parameter: a method that enlarges this to
more than 1e-10 cannot agree to 1e-10 over processes, since these add up in another order. Redo all with::

    python -m scripts.measure_agreement --processes 2
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import nfsolve as nf
from nfsolve._core.ranks import join
from nfsolve.problem.registry import find
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan, make_plan
from scripts.measuring import FOLDER, ONE_THREAD, Row, stamp

TARGET = FOLDER / "scaling.json"
STEPS = 20
RUN = nf.RunOptions(steps=STEPS, dtype="float64", device="cpu", seed=0)
CASES: dict[str, dict[str, Any]] = {  # name -> what differs from the problem's own recipe
    "burgers": {},
    "cavity": {},
    "ct_phantom": {},
    "nerf_scene": {},
    "deeponet_antiderivative": {},
    "deeponet_antiderivative/adam": {"optimizer": "adam"},
}


def plan_of(name: str) -> tuple[nf.Problem, Plan]:
    """Return a problem as it stands in the gallery, and its recipe in float64 with all stages within 20 steps."""
    problem = find(name.partition("/")[0])()
    changes = dict(CASES[name])
    return problem, make_plan(problem, None, changes.get("optimizer"), run=RUN)


def reach(name: str, moved: bool, file: Path) -> None:
    """Take the steps with the processes that torchrun has started, or alone, and save where they lead."""
    torch.set_num_threads(1)
    ranks, (problem, plan) = join(), plan_of(name)
    run = Run(problem, plan, ranks=ranks)
    parameters = list(run.objective.parameters)
    with torch.no_grad():
        for p in parameters if moved else ():
            p.copy_(torch.nextafter(p, torch.full_like(p, torch.inf)))
    used = time.process_time()
    run.train(silent=True)
    seconds = ranks.largest(time.process_time() - used)[0]
    if ranks.first:
        theta = torch.cat([p.detach().reshape(-1) for p in parameters])
        torch.save({"theta": theta, "steps": run.steps, "cpu_seconds": seconds}, file)


def launched(name: str, count: int, moved: bool, folder: Path) -> dict[str, Any]:
    """Start processes and return what they reach."""
    file = folder / f"{name.replace('/', '.')}-{count}-{moved}.pt"
    words = ["-m", "scripts.measure_agreement", "--reach", name, "--file", str(file), *(["--moved"] if moved else [])]
    many = ["-m", "torch.distributed.run", "--nproc-per-node", str(count)] if count > 1 else []
    done = subprocess.run([sys.executable, *many, *words], env={**os.environ, **ONE_THREAD}, check=False)
    if not file.exists():  # gloo may abort a process at its very end, when all is done
        raise SystemExit(f"{name} on {count} processes failed with {done.returncode}")
    return torch.load(file, weights_only=True)


def measured(name: str, counts: list[int], folder: Path) -> list[Row]:
    """Return a row for each number of processes."""
    one, other = (launched(name, 1, moved, folder) for moved in (False, True))
    rows = []
    for count in counts:
        many = launched(name, count, False, folder)
        rows.append({
            "case": name, "processes": count, "steps": many["steps"], "parameters": len(one["theta"]),
            "largest_difference": float((many["theta"] - one["theta"]).abs().max()),
            "moved_by_one_ulp": float((other["theta"] - one["theta"]).abs().max()),
            "largest_parameter": float(one["theta"].abs().max()),
            "cpu_seconds_one": one["cpu_seconds"], "cpu_seconds_each": many["cpu_seconds"], **stamp(),
        })  # fmt: skip
    return rows


def keep(part: str, value: Any) -> None:
    """Write a part of the file; the others stay."""
    held = json.loads(TARGET.read_text()) if TARGET.exists() else {}
    TARGET.write_text(json.dumps(held | {part: value}, indent=1) + "\n")


def kept(part: str) -> Any:
    """Return a part of the file, or None."""
    return json.loads(TARGET.read_text()).get(part) if TARGET.exists() else None


def main() -> None:
    """Measure and write each row at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--reach", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--moved", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.reach:
        reach(said.reach, said.moved, said.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in said.only:
            rows = measured(name, said.processes, Path(folder))
            same = [(row["case"], row["processes"]) for row in rows]
            earlier = [row for row in kept("agreement") or [] if (row["case"], row["processes"]) not in same]
            keep("agreement", earlier + rows)
            for row in rows:
                print(row, flush=True)


if __name__ == "__main__":
    main()
