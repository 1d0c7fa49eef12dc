"""Scores and exports of operator problems."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve.metrics import max_error
from nfsolve.problem.operator.families import several
from nfsolve.problem.operator.samples import axes_of
from nfsolve.problem.problem import Batch


def scores(problem: Any, field: Any, data: Batch) -> dict[str, Any]:
    """Score an operator over its test functions.

    Args:
        problem: The operator problem.
        field: The field.
        data: What the problem loaded.

    Returns:
        Mean (``relative_l2``), deviation and maximum of the relative L2 errors of the worst unknown, the mean of each
        unknown with the error of the labels where it is known, and the mean over functions of another kind with what
        differs in them; nothing without labels. Solutions that are zero everywhere have no relative error: they are
        left out of these, counted in ``zero_solutions``, and of their unknown there is ``max_error``.
    """
    if "truth" not in data["test"]:
        return {}
    errors = problem.errors(field, data)
    mean, column = worst(errors)
    known = errors[:, column][errors[:, column].isfinite()]
    found: dict[str, Any] = {
        "relative_l2": mean,
        "relative_l2_std": float(known.std()) if len(known) > 1 else math.nan,
        "relative_l2_max": float(known.max()) if len(known) else math.nan,
    }
    for i, out in enumerate(problem.outputs):
        found[f"relative_l2/{out}"] = float(errors[:, i].nanmean())
        zeros = ~data["test"]["truth"][..., i].any(1)
        if zeros.any():
            with torch.no_grad():
                values = problem.predict(field, data["test"]["functions"], data["grid"])
            found[f"zero_solutions/{out}"] = int(zeros.sum())
            found[f"max_error/{out}"] = max_error(values[..., i], data["test"]["truth"][..., i])
        if "floor" in data["test"]:
            found[f"reference_floor/{out}"] = data["test"]["floor"]
    other = problem.shifted()
    if other is not None and "truth" in data["ood"]:
        found["relative_l2_ood"] = worst(problem.errors(field, data, "ood"))[0]
        pairs = {f.name: (getattr(other, f.name), getattr(problem, f.name)) for f in dataclasses.fields(problem)}
        found |= {f"ood_{name}": theirs for name, (theirs, ours) in pairs.items() if theirs != ours}
    return found


def worst(errors: Tensor) -> tuple[float, int]:
    """Return the mean error of the worst unknown and its column, without errors that are not a number ``(n, k)``."""
    means = errors.nanmean(0)
    column = int(means.nan_to_num(-1.0).argmax())
    return float(means[column]), column


def export_predictions(problem: Any, field: Any, data: Batch, folder: Path) -> None:
    """Write coordinates, inputs, predictions, solutions and errors of the test functions to ``predictions.npz``."""
    test, sizes = data["test"], data["sizes"]
    shape = (-1, *sizes, len(problem.outputs))
    with torch.no_grad():
        arrays = {"predicted": problem.predict(field, test["functions"], data["grid"]).reshape(shape)}
    if "truth" in test:
        arrays |= {"solved": test["truth"].reshape(shape), "relative_l2": problem.errors(field, data)}
    for name, values in zip(problem.inputs, several(test["functions"]), strict=True):
        arrays |= {name: values, f"{name}_sensors": problem.sensor_points(name)}
    arrays |= dict(zip(problem.domain.names, axes_of(data["grid"], sizes), strict=True))
    np.savez_compressed(folder / "predictions.npz", **{n: a.float().cpu().numpy() for n, a in arrays.items()})
