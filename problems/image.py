"""A photograph as a function: find v on the plane with v(x_i, y_i) = colour of pixel i.

Every second pixel of every second row is given; the others are held out and score the field (the protocol of
Tancik et al., "Fourier features let networks learn high frequency functions", NeurIPS 2020, section 6.1).
Without --image it is the portrait of Grace Hopper (U.S. Navy, public domain) that comes with matplotlib.

    nfsolve run image
    nfsolve run image --image holiday.jpg --size 512
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from nfsolve import MLP, Box, Problem, Recipe, Sine, Stage, main, plot, weight_scaling
from nfsolve._core.errors import InputError, require
from nfsolve.metrics import psnr, ssim
from nfsolve.problem import Batch
from nfsolve.problem.tables import find_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Callback = Callable[[Tensor], Tensor]
CHUNK = 2**16  # points evaluated at once, for memory
ZOOM = 48  # side of the enlarged part in the picture, pixels


@dataclass
class ImageFit(Problem):
    """A photograph from a quarter of its pixels."""

    image: str = ""
    """picture to fit, a path or a name under $NFSOLVE_DATA; default the portrait of matplotlib"""
    size: int = 256
    """longest side in pixels; larger pictures are shrunk"""
    gray: bool = False
    """fit brightness instead of colours"""
    lattice: int = 2
    """given are every lattice-th pixel of every lattice-th row; 1 gives all and holds none out"""
    batch: int = 4096
    """pixels in a mini-batch; 0 takes all that are given"""

    domain = Box(x=(-1, 1), y=(-1, 1))
    score = "psnr_heldout"
    pointwise = True

    def __post_init__(self) -> None:
        if self.size < 22 or not 1 <= self.lattice <= self.size // 11 or self.batch < 0:
            raise InputError(
                f"size = {self.size}, lattice = {self.lattice}, batch = {self.batch}",
                "at least 22 pixels, a lattice of 1 to size / 11, and a batch that is not negative",
            )

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """Names of the channels."""
        return "v" if self.gray else "r g b"

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Read the picture (height, width, channels) in [0, 1], and take the given pixels out of it."""
        picture = shrink(read(self.image, self.gray, type(self)), self.size).to(device, dtype)
        points = pixel_centres(*picture.shape[:2]).to(device, dtype)
        given = torch.zeros(picture.shape[:2], dtype=torch.bool, device=device)
        given[:: self.lattice, :: self.lattice] = True
        return {
            "given": {"points": points[given], "values": picture[given]},
            "points": points.reshape(-1, 2),
            "picture": picture,
            "mask": given,
        }

    def draw(self, data: Batch, generator: Generator) -> Batch:
        """Pick pixels at random among those given."""
        given = data["given"]
        if self.batch == 0 or self.batch >= len(given["points"]):
            return {"colour": given}
        index = torch.randint(len(given["points"]), (self.batch,), generator=generator)
        return {"colour": {name: rows[index.to(rows.device)] for name, rows in given.items()}}

    def residuals(self, field: Callback, batch: Batch) -> dict[str, Tensor]:
        """v(x, y) minus the colours of the pixels."""
        pixels = batch["colour"]
        return {"colour": field(pixels["points"]) - pixels["values"]}

    def metrics(self, field: Callback, data: Batch) -> dict[str, Any]:
        """Score given and held-out pixels, the whole picture, and bicubic interpolation."""
        picture, mask = data["picture"], data["mask"]
        image = evaluate(field, data["points"]).reshape(picture.shape)
        scores = {"psnr": psnr(image[mask], picture[mask]), "ssim": ssim(image, picture)}
        if self.lattice > 1:
            cubic = self.bicubic(picture)
            scores["psnr_heldout"] = psnr(image[~mask], picture[~mask])
            scores["psnr_heldout_bicubic"] = psnr(cubic[~mask], picture[~mask])
        return scores

    def quick_metrics(self, field: Callback, data: Batch) -> dict[str, Any]:
        """Score every third pixel."""
        some, mask = slice(None, None, 3), data["mask"].reshape(-1)[::3]
        image, picture = (
            evaluate(field, data["points"][some]),
            data["picture"].flatten(0, 1)[some].clamp(0, 1),
        )
        scores = {"psnr": psnr(image[mask], picture[mask])}
        return scores | ({"psnr_heldout": psnr(image[~mask], picture[~mask])} if self.lattice > 1 else {})

    def bicubic(self, picture: Tensor) -> Tensor:
        """Interpolate the given pixels of a picture (height, width, channels) by cubic convolution."""
        coarse = picture[:: self.lattice, :: self.lattice].movedim(-1, 0)[None]
        height, width = (self.lattice * (n - 1) + 1 for n in coarse.shape[2:])
        fine = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        rest = (
            0,
            picture.shape[1] - width,
            0,
            picture.shape[0] - height,
        )  # beyond the last given row and column
        return F.pad(fine, rest, mode="replicate")[0].movedim(0, -1).clamp(0, 1)

    def finer(self, field: Callback, data: Batch, factor: int) -> Tensor:
        """Evaluate the field on pixels that are `factor` times smaller."""
        height, width, channels = data["picture"].shape
        points = pixel_centres(factor * height, factor * width).to(data["points"])
        return evaluate(field, points.reshape(-1, 2)).reshape(factor * height, factor * width, channels)

    def picture(self, field: Callback, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw the picture, the field, the error, the history, and an enlarged part."""
        truth = data["picture"]
        image = evaluate(field, data["points"]).reshape(truth.shape)
        error = (image - truth).abs().mean(-1)
        figure = plot.new_figure(15.5, 8.6)
        axes = figure.subplots(2, 4)
        scores = self.metrics(field, data)
        _show(axes[0, 0], truth, f"photograph, {truth.shape[1]} x {truth.shape[0]} pixels")
        _show(axes[0, 1], image, f"field: {psnr(image, truth):.1f} dB, SSIM {scores['ssim']:.3f}")
        shown = axes[0, 2].imshow(plot.array(error), cmap="magma", vmin=0, vmax=0.15)
        axes[0, 2].set(title=f"absolute error, mean {float(error.mean()):.4f}", xticks=[], yticks=[])
        figure.colorbar(shown, ax=axes[0, 2], shrink=0.8)
        _history(axes[0, 3], history)
        self._zooms(axes, data, self.finer(field, data, 4), scores)
        return figure

    def _zooms(self, axes: Any, data: Batch, fine: Tensor, scores: dict[str, Any]) -> None:
        truth, step = data["picture"], self.lattice
        top, left = _detail(truth, ZOOM, step)
        cut = (slice(top, top + ZOOM), slice(left, left + ZOOM))
        ends = [slice(4 * part.start, 4 * part.stop) for part in cut]
        _show(axes[1, 0], truth[cut][::step, ::step], f"given, 1 pixel of {step**2}")
        cubic = scores.get("psnr_heldout_bicubic")
        label = f", held-out {cubic:.2f} dB" if cubic is not None else ""
        _show(axes[1, 1], self.bicubic(truth)[cut], f"bicubic{label}")
        held_out = scores.get("psnr_heldout")
        label = f", held-out {held_out:.2f} dB" if held_out is not None else ""
        _show(axes[1, 2], fine[ends[0], ends[1]], f"field at 4 x resolution{label}")
        _show(axes[1, 3], truth[cut], "photograph")
        box = {"fill": False, "edgecolor": "red", "linewidth": 1.5}
        rectangle = require("matplotlib.patches", extra="plot", purpose="drawing a picture").Rectangle
        axes[0, 0].add_patch(rectangle((left - 0.5, top - 0.5), ZOOM, ZOOM, **box))

    def export(self, field: Callback, data: Batch, folder: Path) -> None:
        """Write the field as PNG, at the picture's own resolution and at four times of it."""
        import imageio.v3 as iio

        for factor, name in ((1, "field.png"), (4, "field_4x.png")):
            iio.imwrite(folder / name, _bytes(self.finer(field, data, factor)))

    def recipe(self) -> Recipe:
        """A sine network with weights scaled moderately, mini-batches, Adam."""
        return Recipe(
            field=partial(MLP, width=128, depth=4, activation=Sine(30.0), init=weight_scaling(alpha=1.25)),
            stages=(Stage(partial(torch.optim.Adam, lr=3e-4), steps=1500, schedule="cosine"),),
            log_every=25,
        )


def read(name: str, gray: bool, owner: type | None = None) -> Tensor:
    """Read a picture, (height, width, channels), colours as stored (sRGB), in [0, 1], float64."""
    import imageio.v3 as iio

    path = find_file(name, owner) if name else photograph()
    try:
        pixels = np.asarray(iio.imread(path.read_bytes(), index=0))
    except Exception as error:  # decoders raise whatever they like
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"picture '{path}' could not be read ({reason[:120]})",
            "a picture such as PNG or JPEG",
            "open it in a viewer, or save it again",
        ) from error
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] > 4):
        raise InputError(f"'{path}' has shape {pixels.shape}", "one picture, (height, width) or with colours")
    peak = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    values = torch.from_numpy(pixels.astype(np.float64) / peak).reshape(*pixels.shape[:2], -1)
    if not torch.isfinite(values).all():
        raise InputError(f"picture '{path}' has values that are NaN or infinite", "numbers in [0, 1]")
    colours = values[..., :3] if values.shape[-1] >= 3 else values[..., :1].expand(-1, -1, 3)  # without alpha
    return (colours @ values.new_tensor([[0.2126], [0.7152], [0.0722]]) if gray else colours).clamp(0, 1)


def photograph() -> Path:
    """Find the photograph that comes with matplotlib."""
    cbook = require("matplotlib.cbook", extra="plot", purpose="the photograph that is fitted without --image")
    try:
        path = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    except OSError:
        path = Path("grace_hopper.jpg")
    if not path.is_file():
        raise InputError("this matplotlib comes without its sample photograph", "a picture", "give --image PATH")
    return path


def shrink(picture: Tensor, size: int) -> Tensor:
    """Shrink a picture (height, width, channels) to a longest side of at most `size`, with antialiasing."""
    height, width = picture.shape[:2]
    factor = size / max(height, width)
    if min(height, width) * min(factor, 1) < 22:
        raise InputError(f"a picture of {width} x {height} pixels", "at least 22 on its shorter side after shrinking")
    if factor >= 1:
        return picture
    shape = (round(height * factor), round(width * factor))
    planes = picture.movedim(-1, 0)[None]
    return F.interpolate(planes, shape, mode="bilinear", antialias=True)[0].movedim(0, -1).clamp(0, 1)


def pixel_centres(height: int, width: int) -> Tensor:
    """Give the centres (x, y) of pixels, (height, width, 2); the longer side spans [-1, 1], row 0 on top."""
    side = 2 / max(height, width)
    x = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) * side
    y = ((height - 1) / 2 - torch.arange(height, dtype=torch.float64)) * side
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], -1)


def evaluate(field: Callback, points: Tensor) -> Tensor:
    """Evaluate colours in pieces, cut to [0, 1] as a picture is when it is saved."""
    return torch.cat([field(part) for part in points.split(CHUNK)]).clamp(0, 1)


def _detail(picture: Tensor, side: int, step: int) -> tuple[int, int]:
    """Find the square with the most detail; its corner lies on the lattice."""
    gray = picture.mean(-1)
    edges = F.pad(gray.diff(dim=0).abs(), (0, 0, 0, 1)) + F.pad(gray.diff(dim=1).abs(), (0, 1))
    side = min(side, *gray.shape)
    means = F.avg_pool2d(edges[None, None], side, stride=step)[0, 0]
    best = int(means.argmax())
    return step * (best // means.shape[1]), step * (best % means.shape[1])


def _show(axes: Any, values: Tensor, title: str) -> None:
    pixels = plot.array(values).clip(0, 1)
    gray = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.shape[-1] == 1 else {}
    axes.imshow(pixels.squeeze(-1) if gray else pixels, interpolation="nearest", **gray)
    axes.set(title=title, xticks=[], yticks=[])


def _history(axes: Any, history: list[dict[str, Any]]) -> None:
    for key, label in (("psnr", "given pixels"), ("psnr_heldout", "held-out pixels")):
        rows = [row for row in history if key in row]
        if rows:
            axes.plot([row["seconds"] for row in rows], [row[key] for row in rows], label=label)
    axes.set(title="history", xlabel="seconds", ylabel="PSNR / dB")
    axes.legend()
    axes.grid(alpha=0.3)


def _bytes(values: Tensor) -> np.ndarray:
    pixels = (255 * plot.array(values).clip(0, 1)).round().astype(np.uint8)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


if __name__ == "__main__":
    main(ImageFit)
