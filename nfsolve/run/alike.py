"""Whether all windows of time pose the same least-squares problem, so that one factorization serves them all."""

from typing import Any

import torch

from nfsolve._core.random import generator
from nfsolve.fields import RandomFeatures
from nfsolve.linalg.qr import ScaledQR
from nfsolve.problem import Objective, SamplerState, window_of

FEATURES = 20  # with which windows are compared
PART = 64  # windows of which that are compared would fill the time


@torch.no_grad()
def windows_are_alike(problem: Any, seed: int, device: str) -> bool:
    """Return whether windows of one length have one matrix: the problem is linear, and its coefficients are steady.

    The Jacobian of two windows, early and late, is compared at different parameters. The first window of all has other
    conditions at its start than later ones, and is not asked.

    Args:
        problem: The problem, which may have windows of time.
        seed: Seed of points, features and parameters.
        device: Where that is found out.

    Returns:
        Whether they are; False where a Jacobian is not finite.
    """
    start, end = problem.domain.bounds[problem.domain.index("t")]
    length, factors, field = (end - start) / PART, ScaledQR(), None
    for i, at in enumerate((start, start + length, end - length)):
        view = window_of(problem, at, at + length, field)
        data = view.load(device, torch.float64)
        made = {"width": FEATURES, "dtype": torch.float64, "device": data["like"].device}
        field = RandomFeatures.for_problem(view, seed=seed, **made)
        objective = Objective(view, field, data, generator(seed, "alike"), coupled=frozenset())
        objective.sample_as(SamplerState(points=FEATURES / view.n_points))
        objective.resample()
        theta = objective.theta()
        objective.assign(torch.randn(len(theta), generator=generator(i, "alike"), dtype=theta.dtype).to(theta))
        _, jacobian = objective.jacobian(objective.theta())
        if not bool(torch.isfinite(jacobian).all()):
            return False
        if i:
            factors.of(jacobian)
        field.requires_grad_(False)
    return factors.again
