"""A photograph as a function: find v on the plane with v(x_i, y_i) = colour of pixel i.

Every second pixel of every second row is given; the others are held out and score the field (the protocol of
Tancik et al., "Fourier features let networks learn high frequency functions", NeurIPS 2020, section 6.1). The set-ups
of three papers are ``--protocol ws``, ``preconditioners`` and ``rwf`` (see `problems.signals._protocols`); parameters
that are given win over the protocol's. Without --image it is the portrait of Grace Hopper (U.S. Navy, public domain)
that comes with matplotlib.

    nfsolve run image
    nfsolve run image --image holiday.jpg --size 512
    nfsolve run image --protocol ws --stride 2 --field siren
    nfsolve run image --noise 0.1                          # remove noise, beside total variation
    nfsolve run image --scale 2                            # enlarge, beside bicubic interpolation
    nfsolve run image --image holiday.jpg --mask FILE.png  # fill the dark pixels of the mask, beside a biharmonic
    nfsolve run image --bits 8                             # compress, beside JPEG
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nfsolve import MLP, Box, InputError, Problem, Recipe, RunOptions, Sine, Stage, main, require_extra, unknown_name
from nfsolve import generator as make_generator
from nfsolve.data.pictures import SMALLEST, crop, read, shrink, squeeze
from nfsolve.metrics import psnr, ssim
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from problems.signals._compressed import against_jpeg, check_bits, pack, unpack
from problems.signals._degraded import blocks, coarse_rows, mask_of, noisy, rivals, task_of
from problems.signals._given import NONE_HELD_OUT, Given, fresh
from problems.signals._limits import check_batch, check_least
from problems.signals._protocols import PROTOCOLS, Fit, Setup, recipe
from problems.signals._smooth import penalty, root_variation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUICK = 2**13  # pixels of each kind in a row of the history
ZOOM = 48  # side of the enlarged part in the picture, pixels


@dataclass
class ImageFit(Problem):
    """A photograph from a quarter of its pixels, or from all of them."""

    image: str = ""
    """picture to fit, a path or a name under $NFSOLVE_DATA; default the portrait of matplotlib"""
    protocol: Literal["default", "ws", "preconditioners", "rwf"] = "default"
    """set-up of a paper, which decides coordinates, scores, recipe, and the options that are not given"""
    size: int | None = None
    """longest side in pixels; larger pictures are shrunk"""
    gray: bool | None = None
    """fit brightness instead of colours"""
    stride: int | None = None
    """every k-th pixel of every k-th row is given, the others are held out; 1 gives all"""
    batch: int | None = None
    """pixels in a mini-batch; 0 takes all that are given"""
    fit: Fit | None = None
    """how a larger picture gets its size: keep its shape, squeeze it into a square, or crop one out of its centre"""

    mask: str = ""
    """picture of the same size whose bright pixels are given; the dark ones are to be found"""
    noise: float = 0.0
    """standard deviation of noise that is added to the picture and to be removed; white is 1"""
    scale: int = 1
    """enlarge: only means over blocks of this many pixels along each side are given, and the pixels are to be found"""
    smooth: float | None = None
    """weight of the differences between neighbouring pixels; default 0, but not with mask, noise or scale"""
    bits: int = 0
    """compress: store the weights of a small field with so many bits, and compare with JPEG; 0 does not"""

    stage_factors = ()

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise unknown_name("protocol", self.protocol, PROTOCOLS)
        self.task = task_of(self)
        check_bits(self.bits)
        now = self.setup
        if now.fit not in ("shrink", "squeeze", "crop"):
            raise unknown_name("fit", now.fit, ("shrink", "squeeze", "crop"))
        check_least(vars(now) | {"smooth": self.smooth}, {"size": SMALLEST, "stride": 1, "batch": 0, "smooth": 0})
        if self.batch and self.whole:
            raise InputError(
                f"differences between neighbouring pixels, or means of blocks, need the whole picture, got batch = "
                f"{self.batch}",
                do="leave batch out, or give smooth 0",
            )
        if now.stride > now.size // 11:
            raise InputError(
                f"stride must be at most size / 11 = {now.size // 11}, got {now.stride}", do="give more of the pixels"
            )

    def cautions(self) -> list[str]:
        """Doubt noise that leaves nothing of a picture."""
        if self.noise <= 1:
            return []
        return [
            f"noise {self.noise:g} is more than the whole range from black (0) to white (1); where it is meant in the "
            f"256 levels of a file, give {self.noise / 255:.2g}"
        ]

    @property
    def setup(self) -> Setup:
        """The protocol with what is given here in its place."""
        given = {name: getattr(self, name) for name in ("size", "gray", "stride", "batch", "fit")}
        given |= {"stride": 1} if self.task or self.bits else {}
        return dataclasses.replace(PROTOCOLS[self.protocol], **{k: v for k, v in given.items() if v is not None})

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The square that the coordinates of the pixels span."""
        grid = self.setup.grid
        if grid == "corners":
            return Box(row=(-1, 1), column=(-1, 1))
        return Box(x=(-1, 1), y=(-1, 1)) if grid == "centres" else Box(x=(0, 1), y=(0, 1))

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """Names of the channels."""
        return "v" if self.setup.gray else "r g b"

    @property
    def score(self) -> str:
        """The key of the metrics by which fields are compared."""
        return "psnr_heldout" if self.setup.stride > 1 or self.mask else "psnr"

    @property
    def resolution(self) -> int:
        """Number of pixels along the longer axis that are given."""
        return -(-max(self._read().shape[:2]) // (self.setup.stride * self.scale))

    @property
    def smoothness(self) -> float:
        """Weight of the differences between neighbouring pixels."""
        if self.smooth is not None or not self.task or self.batch:
            return self.smooth or 0.0
        return penalty(self.noise, len(self.unknowns.split()))

    @property
    def whole(self) -> bool:
        """Whether each step sees the whole picture, since neighbours count."""
        return self.smoothness > 0 or self.scale > 1

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether no residual couples pixels."""
        return not self.whole

    def weights(self) -> dict[str, float]:
        """Return the weight of the differences between neighbouring pixels."""
        return {"variation": self.smoothness}

    @property
    def adapts(self) -> bool:
        """Whether a checkpoint must hold the mini-batch: where an epoch goes on."""
        return self.setup.epochs

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return the map that the field applies last."""
        return _sigmoid if self.setup.squash else None

    def _read(self) -> Tensor:
        now = self.setup
        picture = read(self.image, now.gray, type(self), now.luma)
        if now.fit == "shrink":
            picture = shrink(picture, now.size)
        else:
            picture = (squeeze if now.fit == "squeeze" else crop)(picture, now.size, now.kernel)
        if 2 * self.scale > min(picture.shape[:2]):
            raise InputError(
                f"scale must leave at least two blocks along each side, got {self.scale} for {picture.shape[1]} x "
                f"{picture.shape[0]} pixels",
                do="enlarge less, by --scale 2",
            )
        height, width = (n - n % self.scale for n in picture.shape[:2])
        return picture[:height, :width]

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Read the picture (height, width, channels) in [0, 1], and take the given pixels out of it."""
        now, picture = self.setup, self._read().to(device, dtype)
        points = now.points(*picture.shape[:2]).to(device, dtype)
        given = torch.zeros(picture.shape[:2], dtype=torch.bool, device=device)
        given[:: now.stride, :: now.stride] = True
        if self.mask:
            given = mask_of(self, (picture.shape[0], picture.shape[1])).to(device)
        held = ~given
        if now.middle and now.stride > 1:
            half, held = now.stride // 2, torch.zeros_like(given)
            held[half :: now.stride, half :: now.stride] = True
        check_batch(self.batch, int(given.sum()) // self.scale**2)
        chance = make_generator(0, "quick scores")
        masks = {"given": given, "heldout": held} if held.any() else {"given": given}
        rows = {name: Given(points[mask], values=picture[mask]) for name, mask in masks.items()}
        degraded: Batch = {}
        if self.task:
            seen = noisy(self, picture) if self.noise else blocks(picture, self.scale) if self.scale > 1 else picture
            degraded = {"seen": seen * given[..., None] if self.mask else seen, "classical": {}}
        if self.noise:
            rows["given"] = Given(points[given], values=degraded["seen"][given])
        if self.scale > 1:
            rows["given"] = coarse_rows(picture, points, self.scale)
        return {
            **rows,
            **degraded,
            "some": {n: torch.randperm(int(m.sum()), generator=chance)[:QUICK].to(device) for n, m in masks.items()},
            "points": points.reshape(-1, 2),
            "picture": picture,
            "mask": given,
            "held": held,
        }

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick pixels at random among those given, or the next ones of an epoch; where neighbours count, take all."""
        if self.whole:
            return {name: data[name] for name in ("points", "mask", "given")}
        now, given = self.setup, data["given"]
        if not now.epochs or not 0 < now.batch < len(given):
            return {"colour": given.sample(now.batch, generator)}
        epoch = state.batch["epoch"] if state.batch else None
        if epoch is None or int(epoch["end"]) >= len(given):
            epoch = {"order": torch.randperm(len(given), generator=generator), "end": torch.tensor(0)}
        order, start = epoch["order"], int(epoch["end"])
        end = min(start + now.batch, len(order))
        return {"colour": given[order[start:end]], "epoch": {"order": order, "end": torch.tensor(end)}}

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Return the held-out pixels."""
        return fresh(data, "colour")

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """v(x, y) minus the colours of the pixels, of blocks the mean of v over them; and how v varies."""
        if "colour" in batch:
            return {"colour": field(batch["colour"].points) - batch["colour"].values}
        image = field(batch["points"]).reshape(*batch["mask"].shape, -1)
        values = blocks(image, self.scale) if self.scale > 1 else image[batch["mask"]]
        found = {"colour": values.reshape(-1, image.shape[-1]) - batch["given"].values}
        return found | {"variation": root_variation(image, 1 if self.noise else 2)}

    def baselines(self, data: Batch, check: Callable[[], None]) -> dict[str, Callable[[], Tensor]]:
        """Return the classical method for missing, noisy or coarse pixels."""
        return rivals(self.task, data) if self.task else {}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score given and held-out pixels, the whole picture, and bicubic interpolation."""
        now, picture, mask, held = self.setup, data["picture"], data["mask"], data["held"]
        largest = float(picture.max())
        image = evaluate(field, data["points"], now.clip).reshape(picture.shape)
        pictures = {
            "": image,
            **{f"_{n}": other for n, other in data.get("classical", {}).items() if other is not None},
        }
        if now.stride > 1:
            pictures["_bicubic"] = self.bicubic(picture)
        scores = {"psnr": now.decibels(image[mask], picture[mask], largest), "ssim": ssim(image, picture)}
        for name, other in pictures.items():
            if held.any():
                scores[f"psnr_heldout{name}"] = now.decibels(other[held], picture[held], largest)
            elif name:
                scores[f"psnr{name}"] = now.decibels(other, picture, largest)
        if self.noise:
            scores["psnr_noisy"] = now.decibels(data["seen"].clamp(0, 1), picture, largest)
        if self.bits and isinstance(field, nn.Module):
            scores |= self.compressed(field, data)
        return scores if held.any() or self.task else scores | NONE_HELD_OUT

    def compressed(self, field: nn.Module, data: Batch) -> dict[str, Any]:
        """Score the field with quantised weights, beside JPEG."""
        content, picture = pack(field, self.bits), data["picture"]
        image = evaluate(unpack(content, field, self.bits), data["points"]).reshape(picture.shape)
        decibels = psnr(image, picture)
        return {"psnr_compressed": decibels, **against_jpeg(picture, len(content), decibels)}

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the same few thousand pixels of each kind every time."""
        now, picture, scores = self.setup, data["picture"], {}
        points = data["points"].reshape(*picture.shape[:2], 2)
        for mask, key in (("mask", "psnr"), ("held", "psnr_heldout")):
            some = data["some"].get("given" if mask == "mask" else "heldout")
            if some is not None:
                truth = picture[data[mask]][some]
                found = evaluate(field, points[data[mask]][some], now.clip)
                scores[key] = now.decibels(found, truth.clamp(0, 1), float(picture.max()))
        return scores

    def bicubic(self, picture: Tensor) -> Tensor:
        """Interpolate the given pixels of a picture (height, width, channels) by cubic convolution."""
        step = self.setup.stride
        coarse = picture[::step, ::step].movedim(-1, 0)[None]
        height, width = (step * (n - 1) + 1 for n in coarse.shape[2:])
        fine = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        rest = (0, picture.shape[1] - width, 0, picture.shape[0] - height)  # beyond the last given row and column
        return F.pad(fine, rest, mode="replicate")[0].movedim(0, -1).clamp(0, 1)

    def finer(self, field: FieldFunction, data: Batch, factor: int) -> Tensor:
        """Evaluate the field on pixels that are `factor` times smaller."""
        height, width, channels = data["picture"].shape
        points = self.setup.points(factor * height, factor * width).to(data["points"])
        return evaluate(field, points.reshape(-1, 2)).reshape(factor * height, factor * width, channels)

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw the picture, the field, the error, the history, and an enlarged part."""
        truth = data["picture"]
        image = evaluate(field, data["points"]).reshape(truth.shape)
        error = (image - truth).abs().mean(-1)
        figure = panels.new_figure(11.0, 6.6)
        axes = figure.subplots(2, 4)
        scores = self.metrics(field, data)
        _show(axes[0, 0], truth, f"photograph,\n{truth.shape[1]} x {truth.shape[0]} pixels")
        _show(axes[0, 1], image, f"field: {psnr(image, truth):.1f} dB,\nSSIM {scores['ssim']:.3f}")
        shown = axes[0, 2].imshow(panels.array(error), cmap="magma", vmin=0, vmax=0.15)
        axes[0, 2].set(title=f"absolute error,\nmean {float(error.mean()):.4f}", xticks=[], yticks=[])
        panels.colour_bar(axes[0, 2], shown)
        panels.score_panel(
            axes[0, 3], history, {"psnr": "given pixels", "psnr_heldout": "held-out pixels"}, "PSNR / dB"
        )
        self._zooms(axes, data, self.finer(field, data, 4), scores)
        return figure

    def maps(self, field: FieldFunction, data: Batch) -> dict[str, Tensor]:
        """Return the field, the photograph, and the mean absolute error of the colours."""
        truth = data["picture"]
        image = evaluate(field, data["points"]).reshape(truth.shape)
        images = {"field": image, "photograph": truth}
        if truth.shape[-1] != 3:
            images = {name: values.mean(-1) for name, values in images.items()}
        return images | {"|field - photograph|": (image - truth).abs().mean(-1)}

    def _zooms(self, axes: Any, data: Batch, fine: Tensor, scores: dict[str, Any]) -> None:
        truth, step = data["picture"], self.setup.stride
        top, left = _detail(truth, ZOOM, step)
        cut = (slice(top, top + ZOOM), slice(left, left + ZOOM))
        ends = [slice(4 * part.start, 4 * part.stop) for part in cut]
        rival = next((name for name, other in data.get("classical", {}).items() if other is not None), "")
        shown: list[tuple[Tensor, str]] = []
        if self.task:
            given = data["seen"] if self.scale == 1 else data["seen"].repeat_interleave(self.scale, 0)
            given = given if self.scale == 1 else given.repeat_interleave(self.scale, 1)
            name = {"mask": "given", "noise": "noisy", "scale": "coarse"}[self.task]
            shown.append((given[cut].clamp(0, 1), name))
        elif step > 1:  # else what is given is the photograph
            shown.append((truth[cut][::step, ::step], f"given, 1 pixel of {step**2}"))
        if rival or (step > 1 and not self.task):
            name, key = rival or "bicubic", "psnr_heldout" if "psnr_heldout" in scores else "psnr"
            found = scores.get(f"{key}_{name}")
            label = f"\n{found:.2f} dB" if found is not None else ""
            shown.append(((data["classical"][name] if rival else self.bicubic(truth))[cut], f"{name}{label}"))
        held_out = scores.get("psnr_heldout")
        label = f"\nheld-out {held_out:.2f} dB" if held_out is not None else ""
        shown += [(fine[ends[0], ends[1]], f"field at 4 x resolution{label}"), (truth[cut], "photograph")]
        for panel in axes[1, len(shown) :]:
            panel.axis("off")
        for panel, (values, title) in zip(axes[1], shown, strict=False):
            _show(panel, values, title)
        box = {"fill": False, "edgecolor": "red", "linewidth": 1.5}
        rectangle = require_extra("matplotlib.patches", extra="plot", purpose="drawing a picture").Rectangle
        axes[0, 0].add_patch(rectangle((left - 0.5, top - 0.5), ZOOM, ZOOM, **box))

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write the field as PNG, at the picture's own resolution and at four times of it."""
        import imageio.v3 as iio

        for factor, name in ((1, "field.png"), (4, "field_4x.png")):
            iio.imwrite(folder / name, _bytes(self.finer(field, data, factor)))
        if self.bits and isinstance(field, nn.Module):
            (folder / "weights.bin").write_bytes(pack(field, self.bits))

    def recipe(self) -> Recipe:
        """Return the protocol's; by default sines where pixels are held out, else grids of features; Adam."""
        found = recipe(self.protocol, self.setup, self.whole)
        if self.bits:
            net = partial(MLP, width=32, depth=4, activation=Sine(30.0))
            stage = Stage(partial(torch.optim.Adam, lr=1e-3), steps=2000, schedule="cosine")
            return Recipe(field=net, stages=(stage,), run=RunOptions(log_every=50))
        if not self.noise or self.smoothness:
            return found
        until = dataclasses.replace(found.run, tolerance=self.noise**2)  # more would fit the noise
        return dataclasses.replace(found, run=until)


def evaluate(field: FieldFunction, points: Tensor, clip: bool = True) -> Tensor:
    """Evaluate colours in pieces, cut to [0, 1] as a picture is when it is saved."""
    values = in_pieces(field, points)
    return values.clamp(0, 1) if clip else values


def _sigmoid(points: Tensor, values: Tensor) -> Tensor:
    return torch.sigmoid(values)


def _detail(picture: Tensor, side: int, step: int) -> tuple[int, int]:
    """Find the square with the most detail; its corner lies on a given pixel."""
    gray = picture.mean(-1)
    edges = F.pad(gray.diff(dim=0).abs(), (0, 0, 0, 1)) + F.pad(gray.diff(dim=1).abs(), (0, 1))
    side = min(side, *gray.shape)
    means = F.avg_pool2d(edges[None, None], side, stride=step)[0, 0]
    best = int(means.argmax())
    return step * (best // means.shape[1]), step * (best % means.shape[1])


def _show(axes: Any, values: Tensor, title: str) -> None:
    pixels = panels.array(values).clip(0, 1)
    gray = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.shape[-1] == 1 else {}
    axes.imshow(pixels.squeeze(-1) if gray else pixels, interpolation="nearest", **gray)
    axes.set(title=title, xticks=[], yticks=[])


def _bytes(values: Tensor) -> np.ndarray:
    pixels = (255 * panels.array(values).clip(0, 1)).round().astype(np.uint8)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


if __name__ == "__main__":
    main(ImageFit)
