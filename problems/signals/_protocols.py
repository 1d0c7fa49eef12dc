"""How papers set up the fit of a photograph: its size, the pixels that are given, coordinates, scores and recipe.

ws: Yeom, Lee & Lee, ICLR 2025 (arXiv 2410.04779), from its code. preconditioners: Chng, Saratchandran & Lucey, CVPR
2025 (arXiv 2402.08784), from its code. rwf: Wang et al. (arXiv 2210.01274) take the tasks of Tancik et al., NeurIPS
2020, whose notebook this follows; their own settings of it are not known here.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from nfsolve import MLP, Recipe, RunOptions, Sine, Stage, preset, weight_scaling
from nfsolve.data.pictures import REC601, REC709
from nfsolve.fields import Gaussian, pixel_grid
from nfsolve.metrics import psnr

Fit = Literal["shrink", "squeeze", "crop"]


@dataclass(frozen=True)
class Setup:
    """Everything that a protocol decides besides the recipe.

    Attributes:
        size: Longest side in pixels.
        gray: Whether brightness is fitted instead of colours.
        stride: Every k-th pixel of every k-th row is given, k the stride.
        batch: Pixels in a mini-batch, 0 for all that are given.
        fit: How a larger picture gets its size.
        kernel: How it is resized to a square.
        luma: Weights of red, green and blue in the brightness.
        grid: Where pixels lie: ``centres`` of square pixels, (x, y) upwards, the longer side spanning [-1, 1];
            ``corners``, (row, column) with the first and the last pixel at -1 and 1; ``zero``, (x, y) downwards from
            0 in steps of 1 / number.
        epochs: Whether mini-batches go through shuffled epochs without replacement.
        clip: Whether the field is cut to [0, 1] before it is scored.
        relative: Whether the peak of the PSNR is the largest true value instead of 1.
        offset: Added to the mean square error in the PSNR.
        middle: Whether only the pixels in the middle between given ones (odd rows and columns of a stride of 2) are
            scored as held-out ones, instead of all that are not given.
        squash: Whether the field's outputs pass a sigmoid.
    """

    size: int = 256
    gray: bool = False
    stride: int = 2
    batch: int = 4096
    fit: Fit = "shrink"
    kernel: Literal["area", "bilinear"] = "area"
    luma: tuple[float, float, float] = REC709
    grid: Literal["centres", "corners", "zero"] = "centres"
    epochs: bool = False
    clip: bool = True
    relative: bool = False
    offset: float = 0.0
    middle: bool = False
    squash: bool = False

    def points(self, height: int, width: int) -> Tensor:
        """Return the coordinates of pixels, (height, width, 2), row 0 on top."""
        if self.grid == "centres":
            return pixel_centres(height, width)
        sizes = (height, width)
        if self.grid == "corners":
            axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in sizes]
            return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) / n for n in sizes), indexing="ij")
        return torch.stack([columns, rows], -1)

    def decibels(self, image: Tensor, truth: Tensor, largest: float) -> float:
        """Return the PSNR as the protocol defines it.

        Args:
            image: Values, any shape.
            truth: True values, the same shape.
            largest: The largest value of the whole picture.

        Returns:
            10 log10(peak^2 / (mean square error + offset)) in dB.
        """
        peak = largest if self.relative else 1.0
        ratio = psnr(image, truth, peak)
        return ratio if self.offset == 0 else -10 * math.log10(10 ** (-ratio / 10) + self.offset / peak**2)


PROTOCOLS = {
    "default": Setup(),
    "ws": Setup(
        size=512,
        gray=True,
        stride=1,
        batch=0,
        fit="squeeze",
        luma=REC601,  # of the usual readers of gray pictures
        grid="corners",
        clip=False,
        relative=True,
        offset=1e-8,
    ),
    "preconditioners": Setup(
        stride=1, batch=512, fit="squeeze", kernel="bilinear", grid="corners", epochs=True, clip=False
    ),
    "rwf": Setup(size=512, batch=0, fit="crop", grid="zero", middle=True, squash=True),
}
EPOCHS = 200  # of the preconditioners protocol


def recipe(name: str, protocol: Setup, whole: bool = False) -> Recipe:
    """Return the recipe of a protocol.

    Args:
        name: Its name.
        protocol: The protocol with what the user overrides.
        whole: Whether each step sees the whole picture.

    Returns:
        The field, the optimizer and the steps. That of ``preconditioners`` is the baseline, Adam on the Gaussian
        network (sigma 0.05); its rivals are ``--optimizer`` and ``--field``.
    """
    given = math.ceil(protocol.size / protocol.stride) ** 2
    adam = torch.optim.Adam
    if name == "ws":
        stage = Stage(partial(adam, lr=1e-4), steps=150)
        return Recipe(field=preset("ws", width=512, depth=4), stages=(stage,), run=RunOptions(log_every=10))
    if name == "preconditioners":
        batches = math.ceil(given / min(protocol.batch or given, given))
        stage = Stage(partial(adam, lr=1e-4), steps=EPOCHS * batches)
        field = preset("gauss", width=256, depth=4, activation=Gaussian(1 / (math.sqrt(2) * 0.05)))
        return Recipe(field=field, stages=(stage,), run=RunOptions(log_every=batches))
    if name == "rwf":
        stage = Stage(partial(adam, lr=1e-3), steps=2000)
        return Recipe(field=preset("ffn", width=256, depth=3), stages=(stage,), run=RunOptions(log_every=25))
    if protocol.stride > 1:  # a grid knows nothing of pixels between those that are given
        field = partial(MLP, width=128, depth=4, activation=Sine(30.0), init=weight_scaling(alpha=1.25))
        stage = Stage(partial(adam, lr=1e-3), steps=1500, schedule="cosine")
        return Recipe(field=field, stages=(stage,), run=RunOptions(log_every=25))
    if whole:
        stage = Stage(partial(adam, lr=1e-2), steps=400, schedule="cosine")
        return Recipe(field=pixel_grid(protocol.size), stages=(stage,), run=RunOptions(log_every=25))
    stage = Stage(partial(adam, lr=1e-3), steps=1500, schedule="cosine")
    return Recipe(field=pixel_grid(protocol.size, gain=10.0), stages=(stage,), run=RunOptions(log_every=25))


def pixel_centres(height: int, width: int) -> Tensor:
    """Return the centres (x, y) of pixels, (height, width, 2); the longer side spans [-1, 1], row 0 on top."""
    side = 2 / max(height, width)
    x = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) * side
    y = ((height - 1) / 2 - torch.arange(height, dtype=torch.float64)) * side
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], -1)
