"""A field from values in memory: scattered points, or an image of any dimension."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.data.pictures import decode, from_pillow
from nfsolve.data.tables import find_file
from nfsolve.domains import Box
from nfsolve.fields import MLP, pixel_grid
from nfsolve.optim import GaussNewton
from nfsolve.problem import Batch, FieldFunction, Problem, Recipe, RunOptions, SamplerState, Stage, in_pieces
from nfsolve.run.solution import Solution
from nfsolve.run.solve import solve

FEW = 3000  # values up to which a small network under Gauss-Newton is the default
FINEST = 512  # points along each axis of the finest grid of features
CHANNELS = 4  # entries of the last axis of an image, at most, that are taken for its channels
NAMES = "xyzw"


def fit(
    points: Any,
    values: Any = None,
    *,
    mask: Any = None,
    noise: Any = None,
    heldout: float = 0.1,
    batch: int = 0,
    channels: bool | None = None,
    names: Sequence[str] = (),
    **options: Any,
) -> Solution:
    """Fit a field to values at points, or to an image.

    Args:
        points: Points ``(n, d)`` or ``(n,)``, with ``values``; or alone an image of any dimension, whose pixel (i, j)
            lies at the point (i, j). A picture, given by the path of its file or as a Pillow image, becomes upright
            brightness or colours from 0 to 1, followed by alpha if it has some.
        values: Values ``(n,)`` or ``(n, k)`` at the points.
        mask: True for values that count, ``(n,)`` or in the shape of the image; None for all, or for
            those that a masked array leaves visible. The others may be NaN.
        noise: Standard deviation of the values, a number or one for each; the fit ends once its misfit is that small.
        heldout: Share of the values, in [0, 1), that is held out at random to score the field.
        batch: Values in a mini-batch; 0 takes all.
        channels: Whether the last axis of an image holds channels; None takes it for channels where it has at most 4
            entries and is the third or a later one.
        names: Names of the coordinates; default x, y, z, w.
        **options: As for `nfsolve.solve`: ``field``, ``optimizer``, ``steps``, ``time_limit``, ``seed``.

    Returns:
        The solution: ``solution.field.numpy(points)`` evaluates it, ``solution.derivative("u_x", points)``
        differentiates it (``lap_u`` is the Laplacian), ``nfsolve.posterior(solution)`` has its uncertainty.

    Raises:
        InputError: Shapes do not fit, or values that count are not finite.

    Examples:
        >>> import numpy as np, nfsolve as nf
        >>> x = np.linspace(0, 1, 50)
        >>> solution = nf.fit(x, np.sin(6 * x), steps=80, report=None)
        >>> bool(abs(solution.field.numpy([[0.5]]) - np.sin(3)).item() < 1e-3)
        True
    """
    if values is None:
        points, values, mask = _pixels(*_picture(points, channels), mask)
    elif isinstance(values, np.ma.MaskedArray):
        mask = _unmasked(values, mask).reshape(len(values), -1).all(1)
    problem = Fit(_table(points, "points"), _table(values, "values"), mask, noise, heldout, batch, tuple(names))
    field_, optimizer = options.pop("field", None), options.pop("optimizer", None)
    return solve(problem, field_, optimizer, **options)


@dataclass
class Fit(Problem):
    """Values at points, as `fit` makes it; the residual is in units of the noise, or of the deviation of the values."""

    points: Any = field(repr=False)
    values: Any = field(repr=False)
    mask: Any = field(default=None, repr=False)
    noise: Any = field(default=None, repr=False)
    heldout: float = 0.1
    batch: int = 0
    names: tuple[str, ...] = ()

    pointwise = True
    stage_factors = ()
    score = "rms_heldout"

    def __post_init__(self) -> None:
        n, d = self.points.shape
        if self.values.shape[0] != n:
            raise InputError(
                f"there must be one value for each point, got {n} points and {self.values.shape[0]} values",
                do="give points (n, d) and values (n,) or (n, k)",
            )
        if not 0 <= self.heldout < 1:
            raise InputError(f"heldout must be a share in [0, 1), got {self.heldout:g}", do="give 0.1, say")
        if not 0 <= self.batch == int(self.batch):
            raise InputError(f"batch must be a whole number of at least 0, got {self.batch}", do="give 0 for all")
        names = self.names or (tuple(NAMES[:d]) if d <= len(NAMES) else tuple(f"x{i}" for i in range(d)))
        if len(names) != d:
            raise InputError(f"{d} coordinates need {d} names, got {', '.join(names)}", do="give one for each")
        kept = np.ones(n, dtype=bool) if self.mask is None else np.ravel(self.mask).astype(bool)
        if len(kept) != n or (self.mask is not None and np.shape(self.mask) not in ((n,), (n, 1))):
            raise InputError(
                f"the mask must have one entry for each of {n} values, got shape "
                f"{np.shape(self.mask) if self.mask is not None else ()}",
                do="give True for each value that counts",
            )
        bad = ~np.isfinite(self.values[kept]).all(1)
        if not kept.any() or bad.any() or not np.isfinite(self.points).all():
            raise InputError(
                f"fit needs at least one value, and finite points and values, got {int(kept.sum())} values that count, "
                f"{int(bad.sum())} of them not finite",
                do="exclude values that are not known by mask=",
            )
        self.names, self._kept = names, kept

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The bounds of the points."""
        low, high = self.points.min(0), self.points.max(0)
        room = np.where(high > low, 0.0, 0.5)  # a single layer of points
        ends = zip(self.names, low - room, high + room, strict=True)
        return Box(**{name: (float(a), float(b)) for name, a, b in ends})

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """One name, or u0, u1 ... for several."""
        k = self.values.shape[1]
        return "u" if k == 1 else " ".join(f"u{i}" for i in range(k))

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Divide the values into those that are fitted and those that are held out."""
        kept = torch.from_numpy(np.flatnonzero(self._kept))
        order = kept[torch.randperm(len(kept), generator=generator(0, "held out"))]
        out = round(self.heldout * len(order))
        if out == len(order):
            raise InputError(f"holding out {self.heldout:.0%} of {len(order)} values leaves none to fit")
        table = {"points": self.points, "values": self.values, "scale": self._scale()}
        rows = {name: torch.as_tensor(value, dtype=dtype, device=device) for name, value in table.items()}
        parts = {"given": order[out:].sort().values, "heldout": order[:out].sort().values}
        return {
            name: {key: value[at.to(device)] for key, value in rows.items()} for name, at in parts.items() if len(at)
        }

    def _scale(self) -> np.ndarray:
        """Return 1 / noise, or 1 / deviation of the values, ``(n, k)``."""
        if self.noise is None:
            seen = self.values[self._kept]
            return np.full(self.values.shape, 1 / (seen.std() or abs(seen).max() or 1.0))
        noise = _real(self.noise, "noise")
        noise = noise[:, None] if noise.shape == self.values.shape[:1] else noise
        if not (np.isfinite(noise) & (noise > 0)).all():
            raise InputError(
                f"noise must be positive, because misfits are divided by it, got {noise.min():g}",
                do="leave it out if it is not known",
            )
        if noise.ndim and noise.shape != self.values.shape:
            raise InputError(f"noise must be a number or one for each of {self.values.shape}, got shape {noise.shape}")
        return np.broadcast_to(1 / noise, self.values.shape).copy()

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick a mini-batch, or take all."""
        given = data["given"]
        n = len(given["points"])
        if not 0 < self.batch < n:
            return {"misfit": given}
        at = torch.randint(n, (self.batch,), generator=generator).to(given["points"].device)
        return {"misfit": {name: column[at] for name, column in given.items()}}

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Return the values that are held out."""
        return {"misfit": data["heldout"]} if "heldout" in data else {}

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Return the field minus the values, in units of the noise."""
        rows = batch["misfit"]
        return {"misfit": rows["scale"] * (field(rows["points"]) - rows["values"])}

    def noisy_residuals(self) -> tuple[str, ...]:
        """Return the name of the misfit, which has the noise."""
        return ("misfit",)

    def known_noise(self, batch: Batch) -> dict[str, float]:
        """Misfits are in units of the noise that was given."""
        return {} if self.noise is None else {"misfit": 1.0}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Return the root mean square error of values that were fitted and of those that were held out."""
        found = {}
        for name, rows in data.items():
            gap = in_pieces(field, rows["points"]) - rows["values"]
            found["rms" if name == "given" else f"rms_{name}"] = float(gap.square().mean().sqrt())
        return found

    def recipe(self) -> Recipe:
        """Return a small network under Gauss-Newton for few values, else a grid of features under Adam."""
        n, d = int(self._kept.sum()), self.points.shape[1]
        until = 1.0 if self.noise is not None else None
        if n <= FEW or d > 3:
            stage = Stage(GaussNewton, steps=150) if n <= FEW else Stage(partial(torch.optim.Adam, lr=1e-3), 2000)
            net = partial(MLP, width=16 if n <= FEW else 64, depth=2)
            return Recipe(net, (stage,), run=RunOptions(dtype="float64", log_every=10, tolerance=until))
        finest = min(FINEST, max(16, round(n ** (1 / d))))
        stage = Stage(partial(torch.optim.Adam, lr=1e-2), steps=400, schedule="cosine")
        return Recipe(pixel_grid(finest, d), (stage,), run=RunOptions(log_every=25, tolerance=until))


def _table(values: Any, what: str) -> np.ndarray:
    """Return an array or a tensor on any device as columns in float64."""
    array = _real(values, what)
    if array.ndim not in (1, 2) or not array.size:
        raise InputError(
            f"{what} must have shape (n,) or (n, k) with at least one row, got {array.shape}",
            do="to fit an image, give it alone, as in nfsolve.fit(image)",
        )
    return array.reshape(len(array), -1)


def _real(values: Any, what: str) -> np.ndarray:
    """Return real numbers in float64, whatever holds them."""
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
        real = array.astype(np.float64) if array.dtype.kind not in "cMm" else None
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be an array of real numbers ({error})") from error
    if real is None:
        raise InputError(
            f"{what} must be an array of real numbers, got {array.dtype}",
            do="give real and imaginary parts as two columns, and times in seconds from the first",
        )
    return real


def _unmasked(values: np.ma.MaskedArray, mask: Any) -> np.ndarray:
    """Return which entries of a masked array count, beside a mask for its rows or pixels."""
    kept = ~np.ma.getmaskarray(values)
    if mask is None:
        return kept
    given = np.asarray(mask).astype(bool)
    return kept & (given.reshape(given.shape + (1,) * (kept.ndim - given.ndim)) if given.ndim < kept.ndim else given)


def _picture(image: Any, channels: bool | None) -> tuple[Any, bool | None]:
    """Return the pixels of a picture from a file or of Pillow, and whether they have channels; anything else as is."""
    if isinstance(image, str | PathLike):
        path = find_file(str(image))
        return decode(path.read_bytes(), f"picture '{path}'"), True
    if isinstance(image, Image.Image):
        return from_pillow(image), True
    return image, channels


def _pixels(image: Any, channels: bool | None, mask: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return points, values and mask of an image."""
    array = _real(image, "an image")
    if not array.ndim or not array.size:
        raise InputError(
            f"an image must have at least one axis and one pixel, got shape {array.shape}",
            do="give values at points as nfsolve.fit(points, values)",
        )
    if channels is None:
        channels = array.ndim > 2 and array.shape[-1] <= CHANNELS
    shape = array.shape[:-1] if channels else array.shape
    if mask is not None and np.shape(mask) != shape:
        raise InputError(
            f"the mask must have the shape {shape} of the image, got {np.shape(mask)}",
            do="give True for each pixel that counts",
        )
    if isinstance(image, np.ma.MaskedArray):
        kept = _unmasked(image, mask)
        mask = kept.all(-1) if channels else kept
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    return points, array.reshape(len(points), -1), None if mask is None else np.asarray(mask).reshape(-1)
