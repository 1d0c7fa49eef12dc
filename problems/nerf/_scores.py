"""How inverse rendering is scored: views and surfaces, against photographs and surfaces that are known."""

import torch
from torch import Tensor

from nfsolve.data.photos import Photographs
from nfsolve.metrics import psnr, ssim
from problems.nerf._renderer import Renderer, Seen

SSIM_WINDOW = 11  # pixels


def view_scores(renderer: Renderer, photographs: Photographs, known: list[Seen]) -> dict[str, float]:
    """Score the rendered views of held-out photographs, in the mean over views.

    Args:
        renderer: The scene.
        photographs: What the views should look like.
        known: Exact opacity, depth and normals of each view; empty where they are not known.

    Returns:
        ``psnr_heldout``, ``ssim_heldout`` where the images are large enough, ``depth_error`` and
        ``normal_error_degrees`` where surfaces are known; ``evaluated``, the share of the steps at which the field was
        asked, and mean ``opacity``.
    """
    rows = []
    for view in range(len(photographs.cameras)):
        seen, image = renderer.render_view(photographs, view, bool(known)), photographs.image(view)
        scores = {"psnr_heldout": psnr(seen.rgb, image), "opacity": float(seen.opacity.mean())}
        if min(image.shape[:2]) >= SSIM_WINDOW:
            scores["ssim_heldout"] = ssim(seen.rgb, image)
        if known:
            scores |= surface_errors(seen, known[view])
        scores["evaluated"] = float(seen.n_samples.sum() * renderer.step / seen.length.sum().clamp_min(renderer.step))
        rows.append(scores)
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def surface_errors(seen: Seen, truth: Seen) -> dict[str, float]:
    """Compare depth, in parts of the true one, and normals, in degrees, where the scene is opaque."""
    solid = truth.opacity.reshape(-1) > 0.5
    depth, exact = (view.depth.reshape(-1)[solid] for view in (seen, truth))
    assert seen.normals is not None and truth.normals is not None
    normal, right = (normals.reshape(-1, 3)[solid] for normals in (seen.normals, truth.normals))
    cosine = (normal * right).sum(-1).clamp(-1, 1)
    return {
        "depth_error": float((depth / exact - 1).abs().mean()),
        "normal_error_degrees": float(torch.rad2deg(torch.acos(cosine)).mean()),
    }


def some_pixels(renderer: Renderer, photographs: Photographs, most: int, poses: Tensor | None = None) -> float:
    """Return the PSNR of at most so many pixels of all views; ``poses`` are used instead of those given."""
    n = len(photographs.colours)
    stride = -(-n // most) | 1  # odd, so that it is no multiple of a width
    index = torch.arange(0, n, stride, device=photographs.colours.device)
    seen = renderer.render_rays(photographs.rays(*photographs.cameras.locate(index), poses))
    return psnr(seen.rgb, photographs.colours[index])
