"""Runs that processes save, resume or lose: ``torchrun -m tests.run.elastic WHAT DIR``."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

import nfsolve as nf
from nfsolve._core.ranks import join
from nfsolve.run import loop
from tests.run.shared import reached, run

CASES = ("parameters", "adaptive")
FIRST, LAST = 4, 9


def save(folder: Path, count: int, onward: list[int]) -> None:
    """Begin a run of each kind, and copy it for all numbers of processes that go on with it."""
    for case in CASES:
        run(case, steps=FIRST, out=folder / f"{case}-{count}")
        if join().first:
            for n in onward:
                shutil.copytree(folder / f"{case}-{count}", folder / f"{case}-{count}-{n}")


def go_on(folder: Path, count: int) -> None:
    """Continue what was saved for this number of processes, and write what it reaches and on which points."""
    join()
    for path in sorted(folder.glob(f"*-{count}")):
        if path.name.count("-") == 2:
            solution = nf.resume(path, steps=LAST, report=None)
            if join().first:
                torch.save({"theta": reached(solution), "points": points_of(path)}, path.with_suffix(".pt"))


def points_of(path: Path) -> list[Any]:
    """Return the points of a run, or the state of the generator from which they were drawn."""
    state = torch.load(path / "checkpoint.pt", weights_only=True)["objective"]
    return [state["drawn_from"], *tree_leaves(state.get("batch", {}))]


def killed(folder: Path, deaths: dict[int, tuple[int, int]]) -> None:
    """Lose processes, and then do the same run undisturbed.

    Args:
        folder: Where both are written.
        deaths: Life of the processes -> which of them dies, and after how many steps.
    """
    loop.CHECKPOINT_SECONDS = 0.0
    life, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
    agreed = loop.Run._agreed

    def dying(self: Any, asked: bool) -> tuple[bool, bool]:
        if deaths.get(life) == (rank, self.steps):
            os.kill(os.getpid(), signal.SIGKILL)
        return agreed(self, asked)

    loop.Run._agreed = dying  # type: ignore[method-assign]
    run("adaptive", steps=LAST, out=folder / "killed")
    deaths.clear()
    if not (folder / "whole" / "metrics.json").exists():
        run("adaptive", steps=LAST, out=folder / "whole")


def main(what: str, folder: str, *numbers: str) -> None:
    """Do what is asked for."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if what == "save":
        save(Path(folder), count, [int(n) for n in numbers])
    elif what == "go_on":
        go_on(Path(folder), count)
    elif what == "both":
        go_on(Path(folder), count)
        save(Path(folder), count, [int(n) for n in numbers])
    else:
        lives = (word.split(":") for word in numbers)
        killed(Path(folder), {int(life): (int(rank), int(steps)) for life, rank, steps in lives})


if __name__ == "__main__":
    main(*sys.argv[1:])
