"""A picture of which some pixels are missing, or noisy, or only averages of blocks are known, and its classical rivals.

Inpainting: the biharmonic equation (S. Damelin & N. Hoang, Int. J. Math. Math. Sci. 2018, 3950312). Denoising: total
variation by A. Chambolle, J. Math. Imaging Vision 20 (2004) 89, with the best of seven weights by the score itself,
which favours it. Enlarging: bicubic interpolation. All are those of scikit-image.
"""

import math
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve import InputError, generator, require_extra
from nfsolve.data.pictures import read
from nfsolve.metrics import psnr
from problems.signals._given import Given

WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)  # of total variation


def task_of(problem: Any) -> str:
    """Return which of mask, noise and scale a problem asks for; empty for none of them.

    Raises:
        InputError: More than one, or beside a stride, or out of range.
    """
    if not isinstance(problem.mask, str | PathLike):
        raise InputError(
            f"mask must be the path of a picture, got {type(problem.mask).__name__}",
            do="save it as one, or fit an array by nfsolve.fit(image, mask=...)",
        )
    for name, kind, what in (("noise", Real, "a number"), ("scale", Integral, "a whole number")):
        if not isinstance(getattr(problem, name), kind):
            raise InputError(f"{name} must be {what}, got {getattr(problem, name)!r}", do="write 0.1, say, or 2")
    if not 0 <= problem.noise < math.inf or problem.scale < 1:
        raise InputError(
            f"noise must not be negative and scale must be at least 1, got {problem.noise:g} and {problem.scale}",
            do="leave them out, or give noise 0.1, say, or scale 2",
        )
    asked = [
        name for name, none in {"mask": "", "noise": 0, "scale": 1, "bits": 0}.items() if getattr(problem, name) != none
    ]
    if len(asked) > 1 or (asked and (problem.stride or problem.protocol != "default")):
        both = [
            *asked,
            *(["stride"] if problem.stride else []),
            *([problem.protocol] * (problem.protocol != "default")),
        ]
        raise InputError(
            f"mask, noise, scale and bits are jobs of their own, got {' and '.join(both)} together",
            do="give one of them",
        )
    return asked[0] if asked and asked[0] != "bits" else ""


def mask_of(problem: Any, shape: tuple[int, int]) -> Tensor:
    """Return which pixels are given, (height, width): those that are bright in the mask.

    Raises:
        InputError: The mask has another shape, or is all bright or all dark.
    """
    bright = read(problem.mask, True, type(problem), plain=True)[..., 0] > 0.5
    if tuple(bright.shape) != tuple(shape):
        raise InputError(
            f"the mask must have {shape[1]} x {shape[0]} pixels as the picture has, got {bright.shape[1]} x "
            f"{bright.shape[0]}",
            do=f"resize it; pictures are shrunk to --size {problem.setup.size}",
        )
    if bright.all() or not bright.any():
        raise InputError(
            "the mask must have bright pixels, which are given, and dark ones, which are to be found, got only "
            f"{'bright' if bright.all() else 'dark'} ones"
        )
    return bright


def noisy(problem: Any, picture: Tensor) -> Tensor:
    """Return the picture with noise of the asked standard deviation; the same whatever the seed of the run."""
    noise = torch.randn(picture.shape, generator=generator(0, "noise"), dtype=torch.float64)
    return picture + problem.noise * noise.to(picture)


def blocks(picture: Tensor, scale: int) -> Tensor:
    """Return the means of blocks of pixels, (height / scale, width / scale, k)."""
    return F.avg_pool2d(picture.movedim(-1, 0)[None], scale)[0].movedim(0, -1)


def rivals(task: str, data: Any) -> dict[str, Any]:
    """Return the classical method of a job, which gives a picture."""
    picture, seen = data["picture"], data["seen"].double().cpu().numpy()

    def inpainted() -> Any:
        restoration = require_extra(
            "skimage.restoration", extra="mesh", purpose="inpainting by the biharmonic equation"
        )
        return restoration.inpaint_biharmonic(seen, ~data["mask"].cpu().numpy(), channel_axis=-1)

    def denoised() -> Any:
        restoration = require_extra("skimage.restoration", extra="mesh", purpose="denoising by total variation")
        found = [restoration.denoise_tv_chambolle(seen, weight, channel_axis=-1) for weight in WEIGHTS]
        return max(found, key=lambda image: psnr(torch.from_numpy(image).clamp(0, 1).to(picture), picture))

    def enlarged() -> Any:
        transform = require_extra("skimage.transform", extra="mesh", purpose="enlarging by bicubic interpolation")
        return transform.resize(seen, picture.shape, order=3, mode="edge", anti_aliasing=False)

    found = {"mask": {"biharmonic": inpainted}, "noise": {"tv": denoised}, "scale": {"bicubic": enlarged}}[task]
    return {name: lambda make=make: torch.as_tensor(np.clip(make(), 0, 1)).to(picture) for name, make in found.items()}


def coarse_rows(picture: Tensor, points: Tensor, scale: int) -> Given:
    """Return the means of blocks at the centres of the blocks."""
    return Given(blocks(points, scale).reshape(-1, 2), values=blocks(picture, scale).reshape(-1, picture.shape[-1]))
