"""How much memory a run takes: foretold before it begins, and the most that it took."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import torch

from nfsolve._core.errors import size_in_words
from nfsolve.problem import Objective, Stage

COPIES = 4  # of the parameters that an optimizer keeps at the most, where it does not say


def peak_bytes(device: torch.device) -> int:
    """Return the most memory that this process has had: of a GPU what PyTorch took there; 0 where nobody counts it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError, StopIteration):  # getrusage also counts the program that started this one
        return _listed("/proc/self/status", "VmHWM:")
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0


def held_bytes(device: torch.device) -> int:
    """Return the memory that this process has now; 0 where nobody counts it."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that is free now, for all processes of the machine together; None where nobody counts it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with contextlib.suppress(OSError, StopIteration):
        return _listed("/proc/meminfo", "MemAvailable:")
    return None


def needed_bytes(objective: Objective, stages: tuple[Stage, ...]) -> int | None:
    """Predict how much memory the steps of a run add to what its process has.

    A gradient needs what autograd keeps of one evaluation, which `Objective.check` has counted; one that is
    differentiated again needs it about three times. An optimizer that goes ``by_rows`` makes the Jacobian of some
    points at a time, with twice its rows and three times their graph. One that holds matrices says how large they are,
    by ``needed_bytes(n, p, count)`` for n residuals, p parameters and some processes. The factors two and three were
    set by what Burgers' equation took.

    Args:
        objective: The objective, after its check, with all points.
        stages: The stages.

    Returns:
        Bytes of one process; None where autograd would not say what it keeps.
    """
    if objective.graph_bytes is None:
        return None
    n, count = objective.count(), objective.ranks.count
    p = sum(parameter.numel() for parameter in objective.parameters)
    kept = sum(parameter.nbytes for parameter in objective.parameters)
    found = [0]
    for stage in stages:
        made: Any = stage.make(list(objective.parameters))
        matrices = getattr(made, "needed_bytes", lambda *_: 0)(round(n * stage.points), p, count)
        graph = stage.points * objective.graph_bytes / count
        if getattr(made, "by_rows", False):
            rows = min(objective.piece_share * n, stage.points * n / count)
            graph = rows * (2 * 8 * p + 3 * objective.graph_bytes / n)
        elif getattr(made, "twice", False):
            graph *= 3
        found.append(matrices + int(graph) + COPIES * kept)
    return max(found)


def choices(objective: Objective, stages: tuple[Stage, ...]) -> list[str]:
    """Return what optimizers choose because matrices do not fit, in words: those with a ``choice(n, p, count)``."""
    n, count = objective.count(), objective.ranks.count
    p = sum(parameter.numel() for parameter in objective.parameters)
    said = (
        getattr(stage.make(list(objective.parameters)), "choice", lambda *_: "")(round(n * stage.points), p, count)
        for stage in stages
    )
    return list(dict.fromkeys(filter(None, said)))


def said(needed: int | None, device: torch.device, count: int = 1) -> tuple[str, str]:
    """Say how much memory a run will take, and warn where less is free.

    Args:
        needed: As `needed_bytes` gave it.
        device: Where the run is.
        count: Processes of the run on this machine.

    Returns:
        What to show, and a warning; empty where there is nothing to say.
    """
    if needed is None:
        return "", ""
    free, each = free_bytes(device), " for each process" if count > 1 else ""
    whole = held_bytes(device) + needed
    shown = f"the run takes about {size_in_words(whole)} of memory{each}" + (
        f"; {size_in_words(free)} are free" if free is not None else ""
    )
    if free is None or count * needed <= free:
        return shown, ""
    return shown, (
        f"the run will take about {size_in_words(count * needed)} more memory, and {size_in_words(free)} are free: "
        "choose fewer points or a smaller field, or let several machines share the points (torchrun)"
    )


def _listed(path: str, name: str) -> int:
    """Return the bytes that a file of Linux lists in kB under a name."""
    lines = Path(path).read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))
