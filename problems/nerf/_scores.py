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
        ``psnr_heldout`` of the pixels that count, ``ssim_heldout`` of images that are large enough and have no mask,
        ``depth_error`` and ``normal_error_degrees`` where surfaces are known; ``evaluated``, the share of the steps at
        which the field was asked, and mean ``opacity``.
    """
    rows = []
    for view in range(len(photographs.cameras)):
        seen, image = renderer.render_view(photographs, view, bool(known)), photographs.image(view)
        mask = photographs.mask(view)
        scores = {"opacity": float(seen.opacity.mean())}
        if mask.any():
            scores["psnr_heldout"] = psnr(seen.rgb[mask], image[mask])
        if min(image.shape[:2]) >= SSIM_WINDOW and mask.all():
            scores["ssim_heldout"] = ssim(seen.rgb, image)
        if known:
            scores |= surface_errors(seen, known[view])
        scores["evaluated"] = float(seen.n_samples.sum() * renderer.step / seen.length.sum().clamp_min(renderer.step))
        rows.append(scores)
    found = {key: [row[key] for row in rows if key in row] for key in dict.fromkeys(key for row in rows for key in row)}
    return {key: sum(values) / len(values) for key, values in found.items()}


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
    stride = -(-photographs.n_counted // most) | 1  # odd, so that it is no multiple of a width
    index = photographs.number(torch.arange(0, photographs.n_counted, stride))
    seen = renderer.render_rays(photographs.rays(*photographs.cameras.locate(index), poses))
    return psnr(seen.rgb, photographs.colours[index])
