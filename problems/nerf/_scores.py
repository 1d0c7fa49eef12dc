"""How inverse rendering is scored: held-out views, surfaces where they are known, and how far cameras were moved."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nfsolve.forward.rendering import OccupancyGrid, engine
from nfsolve.metrics import psnr, ssim
from nfsolve.problem import Batch, FieldFunction
from problems.nerf._auxiliary import pose_metrics, poses

if TYPE_CHECKING:
    from problems.nerf._radiance import Radiance

QUICK = 2**11  # pixels that are scored for the progress line
EMPTY = 1e-3  # mean opacity below which a scene has no density


def metrics(problem: "Radiance", field: FieldFunction, data: Batch) -> dict[str, Any]:
    """Score the held-out views: means of PSNR and SSIM; depth and normals where they are known."""
    test, grid, known = data["test"], problem.look(field, data), data["truth"]
    rows = []
    for view in range(len(test.cameras)):
        seen = problem.render_view(field, test, view, grid, normals=bool(known))
        rows.append(view_scores(problem, seen, test.image(view), known[view] if known else None))
    means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    evaluated, opacity = means.pop("evaluated"), means.pop("opacity")
    found: dict[str, Any] = means | {"psnr": some_pixels(problem, field, data, "train", grid, 8 * QUICK)}
    found |= {"evaluations_saved": 1 - evaluated, "occupied": grid.fraction}
    found["renderer"] = engine(problem.backend, data["train"].colours)
    if opacity < EMPTY:
        found["scene"] = "empty: no density was found, rays see the background; check poses, box, near and far"
    return found | pose_metrics(field)


def view_scores(problem: "Radiance", seen: Batch, image: Tensor, truth: Batch | None) -> dict[str, float]:
    """Score one rendered view."""
    scores = {"psnr_heldout": psnr(seen["rgb"], image)}
    if min(image.shape[:2]) >= 11:  # the window of SSIM
        scores["ssim_heldout"] = ssim(seen["rgb"], image)
    if truth is not None:
        scores |= surface_errors(seen, truth)
    scores["evaluated"] = float(seen["count"].sum() * problem.step / seen["reach"].sum().clamp_min(problem.step))
    return scores | {"opacity": float(seen["opacity"].mean())}


def surface_errors(seen: Batch, truth: Batch) -> dict[str, float]:
    """Compare depth, in parts of the true one, and normals, in degrees, where the scene is opaque."""
    solid = truth["opacity"][:, 0] > 0.5
    depth, exact = (rows["depth"].reshape(-1, 1)[solid] for rows in (seen, truth))
    normal, upright = (rows["normal"].reshape(-1, 3)[solid] for rows in (seen, truth))
    cosine = (normal * upright).sum(-1).clamp(-1, 1)
    return {
        "depth_error": float((depth / exact - 1).abs().mean()),
        "normal_error_degrees": float(torch.rad2deg(torch.acos(cosine)).mean()),
    }


def some_pixels(
    problem: "Radiance", field: FieldFunction, data: Batch, split: str, grid: OccupancyGrid, most: int = QUICK
) -> float:
    """Return the PSNR of some pixels of all views of a split, those for training from where the field says they are."""
    some = data[split]
    every = -(-len(some.colours) // most) | 1  # odd, so that it is no multiple of a width
    index = torch.arange(0, len(some.colours), every, device=some.colours.device)
    moved = poses(field, some.cameras.poses) if split == "train" else None
    seen = problem.render(field, some.rays(*some.cameras.locate(index), moved), grid)
    return psnr(seen["rgb"], some.colours[index])
