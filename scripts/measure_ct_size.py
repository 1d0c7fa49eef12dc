"""Whether scans of the sizes that people have are reconstructed within 2 GB and 10 minutes.

Each case is a run of its own process, by its default recipe, on one thread, so that two cores have more than it needs:
a made phantom, so that the error is known. The limit is in processor seconds, whatever else the machine does. Written
are the scores of the field, seconds, processor seconds and peak memory (getrusage) of the whole run, and why it ended:
a run that the limit ends is scored as it is then, for that is the useful answer. Rows go to the part ``tomography`` of
``benchmarks/scaling.json``, each as soon as it is there.

    python -m scripts.measure_ct_size
    python -m scripts.measure_ct_size --only "cone 256" --minutes 10
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

from scripts.measure_agreement import keep, kept
from scripts.measuring import ONE_THREAD, Row, stamp, whole_scores

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cone 64": ("ct_cone", {"size": 64, "views": 50}),
    "slice 1024": ("ct_phantom", {"size": 1024, "views": 180, "counts": 1e5}),
    "cone 256": ("ct_cone", {"size": 256, "views": 90}),
}
LIMIT = {"megabytes": 2048.0, "minutes": 10.0}


def measured(name: str, minutes: float) -> Row:
    """Return what a run of a case reaches within its minutes, in this process, whose clock is exchanged."""
    import torch

    import nfsolve
    from nfsolve.problem.registry import find

    torch.set_num_threads(1)
    begun = time.monotonic(), time.process_time()
    time.perf_counter = time.process_time
    problem_name, options = CASES[name]
    problem: Any = find(problem_name)(**options, classical=())
    solution = nfsolve.solve(problem, seed=0, device="cpu", report=None, out=None, time_limit=60 * minutes)
    found = whole_scores(solution)
    return {
        **{key: found[key] for key in ("psnr", "ssim", "residual") if key in found},
        "stopped": solution.stopped,
        "seconds": time.monotonic() - begun[0],
        "cpu_seconds": time.process_time() - begun[1],
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20),
        "finer": problem.finer,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Memory and time of large reconstructions.")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--minutes", type=float, default=LIMIT["minutes"])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        print(json.dumps(measured(said.only[0], said.minutes)))
        return
    for name in said.only:
        words = ["--only", name, "--minutes", str(said.minutes), "--child"]
        done = subprocess.run(
            [sys.executable, "-m", "scripts.measure_ct_size", *words],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | ONE_THREAD,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        row: Row = {"case": name, "minutes": said.minutes, **found, **stamp()}
        row["within_memory"] = row["megabytes"] <= LIMIT["megabytes"]
        keep("tomography", [*(one for one in kept("tomography") or [] if one["case"] != name), row])
        print(row, flush=True)


if __name__ == "__main__":
    main()
