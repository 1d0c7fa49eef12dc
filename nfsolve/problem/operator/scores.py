"""Scores of operators over many functions."""

import math
from typing import Any

import torch
from torch import Tensor

from nfsolve.metrics import max_error, relative_to_variation


def relative_errors(values: Tensor, truth: Tensor) -> Tensor:
    """Return relative L2 errors ``(n, k)`` of values ``(n, points, k)``, over the points where the truth is no NaN.

    They are not a number where the truth is zero everywhere.
    """
    known = ~truth.isnan()
    truth, gap = truth.where(known, 0.0), (values - truth).where(known, 0.0)
    size = truth.norm(dim=1)
    return torch.where(size > 0, gap.norm(dim=1) / size, torch.nan).cpu()


def scores(values: Tensor, truth: Tensor, floor: float | None, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Score an operator over its test functions.

    Args:
        values: What it gives for n functions, ``(n, points, k)``.
        truth: Their solutions ``(n, points, k)``.
        floor: Relative error of these, or None.
        outputs: Names of the k unknowns.

    Returns:
        Mean (``relative_l2``), deviation and maximum of the relative L2 errors of the worst unknown, and the mean of
        each unknown with the error of the labels where it is known. Solutions that are zero everywhere have no
        relative error: they are left out of these, counted in ``zero_solutions``, and of their unknown there is
        ``max_error``. Where all together hardly vary about their mean, ``relative_to_variation`` is their error
        relative to that.
    """
    errors = relative_errors(values, truth)
    mean, column = worst(errors)
    scored = errors[:, column][errors[:, column].isfinite()]
    found: dict[str, Any] = {
        "relative_l2": mean,
        "relative_l2_std": float(scored.std()) if len(scored) > 1 else math.nan,
        "relative_l2_max": float(scored.max()) if len(scored) else math.nan,
    }
    for i, out in enumerate(outputs):
        known = ~truth[..., i].isnan()
        u, exact = (v[..., i].where(known, 0.0) for v in (values, truth))
        found[f"relative_l2/{out}"] = float(errors[:, i].nanmean())
        zeros, varied = ~exact.any(1), relative_to_variation(u, exact) if u.isfinite().all() else math.nan
        if zeros.any():
            found[f"zero_solutions/{out}"] = int(zeros.sum())
            found[f"max_error/{out}"] = max_error(u, exact)
        found |= {} if math.isnan(varied) else {f"relative_to_variation/{out}": varied}
        if floor is not None:
            found[f"reference_floor/{out}"] = floor
    return found


def worst(errors: Tensor) -> tuple[float, int]:
    """Return the mean error of the worst unknown and its column, without errors that are not a number ``(n, k)``."""
    means = errors.nanmean(0)
    column = int(means.nan_to_num(-1.0).argmax())
    return float(means[column]), column
