"""Primal-dual steps on the image of a trained field, on pixels of half the side.

Adam on the weights of a field comes near the minimum of its loss, but not to it. From the image of the field the
primal-dual method of `nfsolve.reconstruct.total_variation` goes on: on pixels of half the side, where an edge inside a
pixel of the image is not smeared over it. Its result is the answer; what it changes stays beside the field as a
correction. The pixels of half the side bring most of what is gained on tuned total variation, the weights of
`problems.ct._prior` the rest; the field is where it starts.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample

from nfsolve.problem import in_pieces
from nfsolve.reconstruct import Iterate, PrimalDual, step_for

FINER = 2  # pixels of the correction along each side of a pixel of the image
ITERATIONS = 20  # in one step of the optimizer
ENOUGH = 0.01  # relative duality gap at which the minimum is reached
MOST = 40  # steps
ATTRACTION = 2.0  # to the values of air and material, in units of the weight of the total variation
CONVEX, RISING = 10, 15  # steps of one material without it, and those over which it rises


class Correction(nn.Module):
    """Values that are added to a field, on fine pixels; linear between their centres.

    Args:
        shape: Number of fine pixels, (rows, columns).
        bounds: Ends of the image, (low, high) of x and y.

    Attributes:
        values: (rows, columns), row 0 at the largest y; 0 until they are found.
    """

    values: Tensor

    def __init__(self, shape: tuple[int, int], bounds: Any):
        super().__init__()
        self.bounds = bounds
        self.register_buffer("values", torch.zeros(shape))

    def forward(self, points: Tensor) -> Tensor:
        """Evaluate at points (n, 2), giving (n, 1)."""
        low, high = points.new_tensor(self.bounds).T
        places = (2 * (points - low) / (high - low) - 1) * points.new_tensor([1.0, -1.0])  # row 0 lies at the top
        values = self.values.to(points)[None, None]
        found = grid_sample(values, places[None, None], align_corners=False, padding_mode="border")
        return found.reshape(-1, 1)

    def image(self, shape: tuple[int, ...]) -> Tensor | None:
        """Average over the pixels of an image of this shape; None where fine pixels do not fit into them."""
        if self.values.shape == shape:
            return self.values
        side = self.values.shape[0] // shape[0]
        if side < 1 or (shape[0] * side, shape[1] * side) != tuple(self.values.shape):
            return None
        return avg_pool2d(self.values[None, None], side)[0, 0]


class Corrected(nn.Module):
    """A trained field with its correction.

    Args:
        field: The field.
        correction: What is added to it.
    """

    def __init__(self, field: nn.Module, correction: Correction):
        super().__init__()
        self.field, self.correction = field, correction
        self.inputs, self.outputs = getattr(field, "inputs", ()), getattr(field, "outputs", ())

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the sum at points (n, 2), giving (n, 1)."""
        return self.field(x) + self.correction(x)


class PrimalDualSteps(torch.optim.Optimizer):
    """Steps of the primal-dual method on the image of a field; its weights stay as they are.

    Args:
        params: Parameters of the field, which are not changed.

    Attributes:
        stop_reason: Why no further step is of use, in words; empty before. Objects of one material have none: what
            draws their pixels to two values is not convex, and there is no gap.
    """

    def __init__(self, params: Any):
        super().__init__(params, {})
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, closure: Any) -> Tensor:  # type: ignore[override]
        """Do `ITERATIONS` iterations.

        Args:
            closure: The objective of a problem of tomography in a plane.

        Returns:
            Its loss.
        """
        problem, field = closure.problem, closure.system.field
        scan = closure.data["coarsened"][1 / problem.finer]
        state = self.state[self.param_groups[0]["params"][0]]
        if not state:
            state["field"] = in_pieces(field, scan.points).reshape(scan.shape)
        norm = float(state["squared_norm"]) if "squared_norm" in state else None
        # a line is so many more fine pixels long
        weight = problem.contrast * (
            problem.finer * problem.fine_weight if problem.finer > 1 else problem.classical_weight
        )
        method = PrimalDual(
            *(scan.projector, scan.sinogram, scan.shape, weight, problem.fine_precision(scan)),
            largest=problem.largest,
            squared_norm=norm,
            step=step_for(weight / problem.contrast),
        )
        before = Iterate(state["x"], state["p"], state["q"]) if "x" in state else method.start(state["field"])
        done = int(state.get("done", 0))
        attraction = min(max(done - CONVEX, 0) / RISING, 1.0) * ATTRACTION if problem.one_material else 0.0
        now = method.advanced(before, ITERATIONS, attraction * weight / problem.finer)
        state.update(x=now.x, p=now.p, q=now.q, done=torch.tensor(done + 1))
        state["squared_norm"] = torch.tensor(method.squared_norm, dtype=torch.float64)
        field.auxiliary["correction"].values.copy_(now.x - state["field"])
        gap = math.inf if problem.one_material else method.relative_gap(now)
        if gap < ENOUGH:
            self.stop_reason = f"converged: the last steps are within {gap:.1%} of the minimum (duality gap)"
        return closure.eager_loss().detach()
