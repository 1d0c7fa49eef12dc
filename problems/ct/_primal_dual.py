"""Primal-dual steps on the image of a trained field, on pixels or voxels of half the side.

Adam on the weights of a field comes near the minimum of its loss, but not to it. From the image of the field the
primal-dual method of `nfsolve.reconstruct.total_variation` goes on: on pixels of half the side, where an edge inside a
pixel of the image is not smeared over it. Its result is the answer; what it changes stays beside the field as a
correction. The pixels of half the side bring most of what is gained on tuned total variation, the weights of
`problems.ct._prior` the rest; the field is where it starts.

Large images go from coarse to fine: to the minimum on pixels that are merged, then some iterations on each finer grid,
which begin at the interpolated image (`levels`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, avg_pool3d, grid_sample, interpolate

from nfsolve import Stage
from nfsolve.reconstruct import Iterate, PrimalDual, differences, norm_squared, step_for
from problems.ct._coarsened import Coarsened, Coarsenings

FINER = 2  # pixels of the correction along each side of a pixel of the image
ITERATIONS = 20  # in one step of the optimizer
ENOUGH = 0.01  # relative duality gap at which the minimum is reached
MOST = 40  # steps
WORK = 3e7  # pixels times views up to which iterations go on to the minimum; larger images go from coarse to fine
PATIENCE = 1e10  # pixels times views times products on a finer grid
FEWEST, LONGEST = 6, 200  # iterations there, at least and at most
LEFT = 0.2  # of a time limit, for each finer grid
FLAT = 1e-2  # of the contrast: smaller differences have a dual that is as much smaller
ATTRACTION = 2.0  # to the values of air and material, in units of the weight of the total variation
CONVEX, RISING = 10, 15  # steps of one material without it, and those over which it rises
MARGIN = 1.02  # of a norm that merged pixels tell


class Correction(nn.Module):
    """Values that are added to a field, on fine pixels or voxels; linear between their centres.

    Args:
        shape: Number of them, (rows, columns) or (slices, rows, columns).
        bounds: Ends of the image, (low, high) of x, y and, in space, z.

    Attributes:
        values: Of that shape, row 0 at the largest y, slice 0 at the smallest z; 0 until they are found.
    """

    values: Tensor

    def __init__(self, shape: Sequence[int], bounds: Any):
        super().__init__()
        self.bounds = bounds
        self.register_buffer("values", torch.zeros(*shape))

    def forward(self, points: Tensor) -> Tensor:
        """Evaluate at points (n, d), giving (n, 1)."""
        d = self.values.dim()
        low, high = points.new_tensor(self.bounds).T
        down = points.new_tensor([1.0, -1.0, 1.0][:d])  # row 0 lies at the top
        places = ((2 * (points - low) / (high - low) - 1) * down).reshape(1, *[1] * (d - 1), -1, d)
        values = self.values.to(points)[None, None]
        found = grid_sample(values, places, align_corners=False, padding_mode="border")
        return found.reshape(-1, 1)

    @property
    def found(self) -> bool:
        """Whether the steps have begun."""
        return bool(self.values.any())

    def image(self, shape: tuple[int, ...]) -> Tensor | None:
        """Average over the pixels of an image of this shape; None where fine pixels do not fit into them."""
        fine = tuple(self.values.shape)
        if fine == shape:
            return self.values
        side = fine[0] // shape[0]
        return merged_pixels(self.values, side) if side and tuple(n * side for n in shape) == fine else None


def merged_pixels(image: Tensor, side: int) -> Tensor:
    """Average blocks of side^d pixels or voxels of an image of d axes."""
    return (avg_pool2d if image.dim() == 2 else avg_pool3d)(image[None, None], side)[0, 0]


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
        iterations: Iterations in one step.
        whole: Whether they are done on the pixels of the image, where the last grid is finer.

    Attributes:
        stop_reason: Why no further step is of use, in words; empty before. Objects of one material have none: what
            draws their pixels to two values is not convex, and there is no gap.
    """

    def __init__(self, params: Any, iterations: int = ITERATIONS, whole: bool = False):
        super().__init__(params, {})
        self.stop_reason, self.iterations, self.whole = "", iterations, whole

    @torch.no_grad()
    def step(self, closure: Any) -> Tensor:  # type: ignore[override]
        """Do some iterations, at the resolution of the stage.

        Args:
            closure: The objective of a problem of tomography.

        Returns:
            Its loss.
        """
        problem, field, data = closure.problem, closure.system.field, closure.data["coarsened"]
        sampled = closure.batch["scan"]
        scan = data[1 / problem.finer] if sampled is data[1] and not self.whole else sampled
        correction = field.auxiliary["correction"]
        state = self.state[self.param_groups[0]["params"][0]]
        own = problem.field_image(field, scan, everywhere=True)
        share = max(problem.image_shape) / max(scan.shape)  # a line is so many times fewer pixels long
        norm = float(state["squared_norm"]) if "squared_norm" in state else norm_of(problem, data, scan)
        method = self._method(problem, scan, share, norm)
        goes_on = correction.found  # from a coarser grid, where there is no iterate yet
        if "x" in state:
            before = Iterate(state["x"], state["p"], state["q"])
        else:
            before = _continued(method, own, correction, problem.contrast) if goes_on else method.start(own)
        done = int(state.get("done", CONVEX + RISING if goes_on else 0))
        attraction = min(max(done - CONVEX, 0) / RISING, 1.0) * ATTRACTION if problem.one_material else 0.0
        now = method.advanced(before, self.iterations, attraction * method.weight * share)
        state.update(x=now.x, p=now.p, q=now.q, done=torch.tensor(done + 1))
        state["squared_norm"] = torch.tensor(method.squared_norm, dtype=torch.float64)
        fits = correction.values.shape == now.x.shape
        correction.values.copy_(now.x - own if fits else _finer(now.x - own, correction.values.shape))
        gap = math.inf if problem.one_material else method.relative_gap(now)
        if gap < ENOUGH:
            self.stop_reason = f"converged: the last steps are within {gap:.1%} of the minimum (duality gap)"
        return closure.eager_loss().detach()

    @staticmethod
    def _method(problem: Any, scan: Coarsened, share: float, norm: float) -> PrimalDual:
        fine = problem.fine_weight if share < 1 else problem.classical_weight
        weight = problem.contrast * fine / share
        return PrimalDual(
            *(scan.projector, scan.sinogram, scan.shape, weight, problem.fine_precision(scan)),
            largest=problem.largest,
            squared_norm=norm,
            step=step_for(weight / problem.contrast),
        )


def norm_of(problem: Any, data: Coarsenings, scan: Coarsened) -> float:
    """Return ||W^(1/2) A||^2 of a scan, of a large one from merged pixels, whose products cost so much less.

    It is reached by smooth images, of which line integrals and values are the same on merged pixels: they differ in
    the weights of all rays together, and in the number of pixels.
    """
    side, coarse = next(side for side, held in data.items() if held is scan), scan
    while math.prod(coarse.shape) * coarse.geometry.shape[0] > WORK and not any(n % 2 for n in coarse.shape):
        side *= 2
        coarse = data[side]
    rays, pixels = problem.fine_precision(coarse), math.prod(coarse.shape)
    found = norm_squared(coarse.projector, coarse.sinogram, pixels, rays)
    if coarse is scan:
        return found
    return MARGIN * found * float(problem.fine_precision(scan).sum() / rays.sum()) * pixels / math.prod(scan.shape)


def _continued(method: PrimalDual, own: Tensor, correction: Correction, contrast: float) -> Iterate:
    """Return where a method begins that goes on from a coarser grid.

    At the minimum the dual of the data is their misfit, and that of the differences points along them, as long as the
    weight.
    """
    added = correction.image(tuple(own.shape))
    x = (own if added is None else own + added).clamp(0, method.largest)
    q = differences(x)
    q.mul_(method.weight / q.square().sum(0).sqrt_().clamp_(min=FLAT * contrast))
    return Iterate(x, method.residual(x), q)


def _finer(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Interpolate linearly to a finer image of the same bounds."""
    kind = "bilinear" if image.dim() == 2 else "trilinear"
    return interpolate(image[None, None], tuple(shape), mode=kind, align_corners=False)[0, 0]


def levels(shape: Sequence[int], work: float, finer: int, last: Stage) -> tuple[int, tuple[Stage, ...]]:
    """Plan the last steps of an image by its size: to the minimum at once, or from coarse to fine.

    Args:
        shape: Of the image, (rows, columns) or (slices, rows, columns).
        work: Its pixels or voxels times views.
        finer: Pixels of the last grid along each side of a pixel of the image.
        last: The last steps of an image that is small.

    Returns:
        How many pixels of the image the field merges along each side, and the stages.
    """
    side, sides = 1 / finer, [1 / finer]
    while work / side ** len(shape) > WORK and not (side >= 1 and any(n % (2 * side) for n in shape)):
        side *= 2
        sides.append(side)
    whole = partial(PrimalDualSteps, whole=True) if side == 1 and finer > 1 else PrimalDualSteps
    stages = [replace(last, optimizer=whole, coarsen=max(1, round(side)))]
    for side in reversed(sides[:-1]):
        iterations = min(max(round(PATIENCE * side ** len(shape) / work / 2), FEWEST), LONGEST)
        steps = max(2, round(iterations / ITERATIONS))
        each = partial(PrimalDualSteps, iterations=math.ceil(iterations / steps), whole=side == 1 and finer > 1)
        stages.append(Stage(each, steps, coarsen=max(1, round(side)), share=LEFT))
    return max(1, round(sides[-1])), tuple(stages)
