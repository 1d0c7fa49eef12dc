"""Residuals on points that were never trained on: whether a field solves the equation or only fits its points."""

import math
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor

from nfsolve.problem import Problem
from nfsolve.problem.rows import pieces_of, rows_at_once

LARGER = 3.0  # times the trained residual, from which a user is warned
TERMS = 10.0  # times the first residual, as large as the terms may be of which rounding is left
NEGLIGIBLE = 1e-12  # a smaller residual is rounding; of shorter types 100 of their own
WORSE = 100.0  # times the first loss, from which a run has diverged
PIECE = 2**14  # points whose derivatives are held at once


def held_out(
    problem: Problem, field: Any, fresh: Any, coupled: Collection[str] = (), trained: Any = None
) -> dict[str, float]:
    """Evaluate the residuals of a field on fresh points.

    Args:
        problem: The problem, with numbers for its unknown scalars.
        field: The trained field.
        fresh: What ``problem.fresh`` gave.
        coupled: Residuals of which a row depends on other points too, so that they are evaluated as a whole.
        trained: What was trained on, which residuals of a problem that is not pointwise may read beside it.

    Returns:
        ``heldout/NAME``, the root mean square, and ``heldout_max/NAME``; empty where a problem has no fresh points.
    """
    found: dict[str, float] = {}
    with torch.no_grad():
        for name, r in _evaluated(problem, field, fresh, coupled, trained or {}) if fresh else ():
            found[f"heldout/{name}"] = rms(r)
            found[f"heldout_max/{name}"] = float(r.abs().max())
    return found


def _evaluated(
    problem: Problem, field: Any, fresh: Any, coupled: Collection[str], trained: Any
) -> Iterator[tuple[str, Tensor]]:
    """Return the residuals at fresh points, and those that have no points of their own, such as an integral."""
    if not problem.pointwise:
        residuals = problem.residuals(field, {**trained, **fresh})
        yield from ((name, r) for name, r in residuals.items() if name in fresh or name not in trained)
        return
    for name, rows in fresh.items():
        parts = [rows] if name in coupled else pieces_of(rows, rows_at_once(field, PIECE))
        yield name, torch.cat([problem.residuals(field, {name: part})[name] for part in parts])


_CURE = "more points or a smaller resample=..."
_CURE_OF_DATA = "a smoother or smaller field, or more data"


def warnings(
    scores: dict[str, Any],
    dtype: torch.dtype,
    first: dict[str, Any],
    coupled: Collection[str] = (),
    timed: bool = False,
    drawn: bool = True,
) -> list[str]:
    """Say which residuals are much larger on fresh points than on trained ones.

    Args:
        scores: With ``rms/NAME`` and ``heldout/NAME``.
        dtype: Type of the field, whose rounding is negligible.
        first: First row of the history, whose ``rms/NAME`` is the unit of rounding where it is above 1.
        coupled: Residuals that couple their points, such as a mean.
        timed: Whether the problem has a time, which may be cut into windows.
        drawn: Whether points are drawn, so that there may be more of them; they are data otherwise.

    Returns:
        A sentence for each such residual.
    """
    negligible, found = max(NEGLIGIBLE, 100 * torch.finfo(dtype).eps), []
    for key, fresh in scores.items():
        name = key.removeprefix("heldout/")
        trained = scores.get(f"rms/{name}")
        unit = max(1.0, TERMS * first.get(f"rms/{name}", 0.0))
        if name == key or trained is None or not fresh > max(unit * negligible, LARGER * trained):
            continue
        times = f"{fresh / trained:.3g}" if trained else "infinitely many"
        head = f"the residual '{name}' is {times} times larger on points that were not trained on ({fresh:.2e} against "
        if name in coupled:
            found.append(f"{head}{trained:.2e}): sums over its points are not more accurate than that; use more points")
            continue
        cure = (
            "more points, a smaller resample=... or more windows=... of time"
            if timed
            else _CURE
            if drawn
            else _CURE_OF_DATA
        )
        found.append(f"{head}{trained:.2e}): the field fits its points, not what lies between them; use {cure}")
    return found


def row_before(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of a history before the first step, empty where none was kept."""
    return next((row for row in history if row["step"] == 0), {})


def diverged(first: dict[str, Any], last: dict[str, Any], weights: dict[str, float]) -> str:
    """Say that a run ends much farther from a solution than it began.

    Args:
        first: First row of the history, with ``rms/NAME``.
        last: Scores with ``rms/NAME`` of the same residuals.
        weights: The stated weight of each residual, 1 where none is given: those of a scheme change with time.

    Returns:
        A sentence, empty where it does not.
    """
    names = [key for key in last if key.startswith("rms/") and key in first]
    shares = {name: weights.get(name.removeprefix("rms/"), 1.0) for name in names}
    before, after = (sum(w * row[name] ** 2 for name, w in shares.items()) for row in (first, last))
    if not after > WORSE * before > 0:
        return ""
    return f"diverged: the loss grew from {before:.2e} to {after:.2e}. Use a smaller lr or another optimizer"


def rms(residual: Tensor) -> float:
    """Return the root mean square of a residual ``(n, k)``."""
    return float(residual.abs().square().mean().sqrt())


def mean_rms(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the root mean square of ``rms/NAME`` over those rows that have it."""
    names = dict.fromkeys(key for row in rows for key in row if key.startswith("rms/"))
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: math.sqrt(sum(v * v for v in found) / len(found)) for name, found in values.items()}
