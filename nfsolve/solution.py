"""The solution of a problem: the trained field, its scores, and how the run ended."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn


@dataclass
class Solution:
    """What `solve` gives back.

    Attributes:
        problem: The problem.
        field: The trained field, an `nn.Module`: points ``(n, d)`` -> values ``(n, k)``.
        metrics: Flat scores; keys as in the run folder's ``metrics.json``.
        history: Rows with step, seconds, evaluations, the loss, the rms of each residual, and scores.
        stopped: Why the run ended, in words.
        failed: Whether the result is unusable (non-finite or diverged).
        interrupted: Whether the user stopped the run.
        seconds: Wall-clock seconds of training, over all resumptions.
        evaluations: Residual evaluations of the optimizers; a Jacobian counts as two.
        steps: Optimizer steps.
        data: What ``problem.load`` gave.
        folder: The run folder, or None.
    """

    problem: Any
    field: nn.Module
    metrics: dict[str, Any]
    history: list[dict[str, Any]] = dataclasses.field(repr=False)
    stopped: str
    failed: bool
    interrupted: bool
    seconds: float
    evaluations: int
    steps: int
    data: dict[str, Any] = dataclasses.field(repr=False)
    folder: Path | None = None

    def __str__(self) -> str:
        rows = [(name, _number(value)) for name, value in self.metrics.items() if name not in _OWN]
        rows += [
            ("parameters", f"{sum(p.numel() for p in self.field.parameters()):,}"),
            ("seconds", f"{self.seconds:.1f}"),
            ("steps", f"{self.steps:,}"),
            ("evaluations", f"{self.evaluations:,}"),
            ("stopped", self.stopped),
        ]
        width = max(len(name) for name, _ in rows)
        title = f"{type(self.problem).__name__} by {type(self.field).__name__}"
        lines = [title, "-" * len(title), *(f"{name:<{width}}  {value}" for name, value in rows)]
        return "\n".join(lines)


_OWN = ("seconds", "evaluations", "steps", "parameters", "stopped")


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3e}" if value != 0 and not 1e-2 <= abs(value) < 1e4 else f"{value:.4g}"
