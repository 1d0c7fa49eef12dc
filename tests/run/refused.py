"""Processes that share a run and do not fit together, or end early: ``torchrun -m tests.run.refused FAULT DIR``."""

import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import nfsolve as nf
from nfsolve._core.errors import InputError, RankLost
from nfsolve.run import loop
from problems.pde.burgers import Burgers
from problems.pde.poisson import Poisson


def attempt(fault: str, folder: Path) -> str:
    """Do the run with its fault; return what is said of it."""
    rank = int(os.environ["RANK"])
    problem: Any = Burgers(n_points=40, n_face=10)
    options: dict[str, Any] = {"field": nf.MLP, "optimizer": "adam", "steps": 4, "report": None, "device": "cpu"}
    change: Any = patch.object(torch, "__version__", torch.__version__)
    if fault == "points":
        problem = Burgers(n_points=2, n_face=2)
    elif fault == "seed":
        options["seed"] = rank
    elif fault == "problem" and rank:
        problem = Poisson(n_points=40, n_face=10)
    elif fault == "version" and rank:
        change = patch("nfsolve.run.plan.VERSION", "0.0.1")
    elif fault == "backend":
        change = patch("torch.distributed.is_backend_available", lambda name: False)
    elif fault == "death":
        loop.CHECKPOINT_SECONDS = 0.0
        agreed = loop.Run._agreed

        def dying(self: Any, asked: bool) -> tuple[bool, bool]:
            if rank == 1 and self.steps == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return agreed(self, asked)

        change, options["out"] = patch.object(loop.Run, "_agreed", dying), folder / "run"
    elif fault == "time":
        options |= {"steps": 10**6, "time_limit": 0.5}
    try:
        with change:
            solution = nf.solve(problem, **options)
    except (InputError, RankLost) as error:
        return str(error)
    return f"{solution.stopped} after {solution.steps} steps"


def main(fault: str, folder: str) -> None:
    """Write what is said, and end at once: torchrun would stop the others after a failure."""
    said = attempt(fault, Path(folder))
    (Path(folder) / f"{os.environ['RANK']}.txt").write_text(said)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
