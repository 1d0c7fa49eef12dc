"""A field from values in memory: scattered points, or an image of any dimension."""

import keyword
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import sparse
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, shortened
from nfsolve._core.random import generator
from nfsolve.data.pictures import decode, from_pillow
from nfsolve.data.tables import find_file
from nfsolve.domains import Box
from nfsolve.fields import MLP, pixel_grid
from nfsolve.fields.field import origin_of
from nfsolve.optim import GaussNewton
from nfsolve.problem import Batch, FieldFunction, Problem, Recipe, RunOptions, SamplerState, Stage, in_pieces
from nfsolve.run.solution import Solution
from nfsolve.run.solve import solve

FEW = 3000  # values up to which a small network under Gauss-Newton is the default
FINEST = 512  # points along each axis of the finest grid of features
CHANNELS = 4  # entries of the last axis of an image, at most, that are taken for its channels
PICTURE = 8  # pixels along each side, from which on three axes that begin with few may be a picture of channels
NAMES = "xyzw"
BLURRED = 1e5  # size of the values in units of their deviation, from which on float32 blurs them


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
        mask: True for values that count, ``(n,)`` or in the shape of the image; None for all. What a masked array
            (of points, values or noise) hides does not count either, nor does a pixel of which a channel is hidden.
            What does not count may be NaN.
        noise: Standard deviation of the values: a number, one for each column or channel, or one for each value, also
            in the shape of the image; the fit ends once its misfit is that small.
        heldout: Share of the values, in [0, 1), that is held out at random to score the field.
        batch: Values in a mini-batch; 0 takes all.
        channels: Whether the last axis of an image holds channels; None takes it for channels where it has at most 4
            entries and is the third or a later one.
        names: Names of the coordinates, as ("t", "x") or "t x"; default x, y, z, w.
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
    said = ""
    if values is None:
        image, channels = _picture(points, channels)
        points, values, mask, noise, said = _pixels(image, channels, mask, noise)
    elif channels is not None:
        raise InputError("channels= is for an image, but values at points were given", do="leave channels out")
    else:
        mask = _visible(mask, points, values, noise)
    names = tuple(names.split()) if isinstance(names, str) else tuple(names)
    problem = Fit(_table(points, "points"), _table(values, "values"), mask, noise, heldout, batch, names, said)
    field_, optimizer = options.pop("field", None), options.pop("optimizer", None)
    return solve(problem, field_, optimizer, **options)


@dataclass
class Fit(Problem):
    """Values at points, as `fit` makes it; the residual is in units of the noise, or of the deviation of the values.

    The field learns values of mean 0 and deviation 1, and its last step brings them back, so units do not matter.
    """

    points: Any = field(repr=False)
    values: Any = field(repr=False)
    mask: Any = field(default=None, repr=False)
    noise: Any = field(default=None, repr=False)
    heldout: float = 0.1
    batch: int = 0
    names: tuple[str, ...] = ()
    channels: str = ""

    pointwise = True
    stage_factors = ()

    def __post_init__(self) -> None:
        n, d = self.points.shape
        if self.values.shape[0] != n:
            raise InputError(
                f"there must be one value for each point, got {n} points and {self.values.shape[0]} values",
                do="give points (n, d) and values (n,) or (n, k)",
            )
        if not _number(self.heldout) or not 0 <= self.heldout < 1:
            raise InputError(f"heldout must be a share in [0, 1), got {_shown(self.heldout)}", do="give 0.1, say")
        if not _number(self.batch) or not 0 <= self.batch < math.inf or self.batch != int(self.batch):
            raise InputError(
                f"batch must be a whole number of at least 0, got {_shown(self.batch)}", do="give 0 for all"
            )
        self.heldout, self.batch = float(self.heldout), int(self.batch)
        self.names = self.names or (tuple(NAMES[:d]) if d <= len(NAMES) else tuple(f"x{i}" for i in range(d)))
        self._check_names()
        self._kept = np.ones(n, dtype=bool) if self.mask is None else _rows(self.mask, n)
        lost, bad = (~np.isfinite(table[self._kept]).all(1) for table in (self.points, self.values))
        if not self._kept.any() or bad.any() or lost.any():
            raise InputError(
                f"fit needs at least one value, and finite points and values, got {int(self._kept.sum())} values that "
                f"count, {int(bad.sum())} of them not finite, at points of which {int(lost.sum())} are not finite",
                do="exclude what is not known by mask=",
            )
        self._scale()

    def _check_names(self) -> None:
        names, d = self.names, self.points.shape[1]
        if len(names) != d:
            raise InputError(
                f"{d} coordinates need {d} names, got {', '.join(map(str, names))}", do="give one for each"
            )
        for i, name in enumerate(names):
            if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
                raise InputError(
                    f"names of coordinates must be words as for variables, got {name!r}",
                    do="write t or x1, for example",
                )
            if name in names[:i] or name in self.unknowns.split():
                kind = "a coordinate" if name in names[:i] else "the values"
                raise InputError(f"the name '{name}' is already that of {kind}", do="choose another one")

    @property
    def score(self) -> str:  # type: ignore[override]
        """The key of the metrics by which fields are compared."""
        return "rms_heldout" if round(self.heldout * int(self._kept.sum())) else "rms"

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """The bounds of the points."""
        low, high = np.nanmin(self.points, 0), np.nanmax(self.points, 0)
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
        if dtype == torch.float32 and self._blurred():
            warnings.warn(
                "the values are large beside their deviation, and float32 blurs what they differ by: subtract their "
                "mean, or write dtype='float64'",
                stacklevel=2,
            )
        far = origin_of(self.domain.bounds) is not None  # float32 would blur such points
        table = {"points": self.points, "values": self.values, "scale": self._scale()}
        rows = {
            name: torch.as_tensor(value, dtype=torch.float64 if far and name == "points" else dtype, device=device)
            for name, value in table.items()
        }
        parts = {"given": order[out:].sort().values, "heldout": order[:out].sort().values}
        return {
            name: {key: value[at.to(device)] for key, value in rows.items()} for name, at in parts.items() if len(at)
        }

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each column of the values that count, ``(k,)``; of constant ones their size."""
        seen = self.values[self._kept]
        spread = seen.std(0)
        size = np.where(abs(seen).max(0) > 0, abs(seen).max(0), 1.0)
        return seen.mean(0), np.where(spread > 1e-14 * size, spread, size)

    def _blurred(self) -> bool:
        centre, spread = self._moments()
        return bool((abs(centre) > BLURRED * spread).any())

    def output_transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the map from values of mean 0 and deviation 1 to those that were given."""
        centre, spread = self._moments()
        return partial(_rescaled, centre=tuple(map(float, centre)), spread=tuple(map(float, spread)))

    def _scale(self) -> np.ndarray:
        """Return 1 / noise, or 1 / deviation of the values of each column, ``(n, k)``."""
        n, k = self.values.shape
        if self.noise is None:
            return np.broadcast_to(1 / self._moments()[1], (n, k)).copy()
        if isinstance(self.noise, bool):
            raise InputError(
                f"noise must be a standard deviation, got {self.noise}", do="leave it out if it is not known"
            )
        noise = _real(self.noise, "noise")
        noise = noise[:, None] if noise.shape == (n,) else noise
        if noise.shape not in ((), (1,), (k,), (n, 1), (n, k)):
            raise InputError(
                f"noise must be a number or one for each of {self.values.shape}, got shape {noise.shape}",
                do="give a standard deviation for all values, for each column, or for each value",
            )
        noise = np.broadcast_to(noise, (n, k))
        used = noise[self._kept]
        if not (np.isfinite(used) & (used > 0)).all():
            raise InputError(
                f"noise must be positive, because misfits are divided by it, got {used.min():g}",
                do="leave it out if it is not known",
            )
        return 1 / np.where(self._kept[:, None], noise, 1.0)

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
        """Return 1 for the misfit, which is in units of the noise that was given."""
        return {} if self.noise is None else {"misfit": 1.0}

    def noise_units(self, batch: Batch) -> dict[str, tuple[float, ...]]:
        """Return the unit of the noise of each column, unless it differs from value to value."""
        units = 1 / self._scale()[self._kept]
        return {"misfit": tuple(map(float, units[0]))} if (units == units[0]).all() else {}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Return the root mean square error of values that were fitted and of those that were held out."""
        found: dict[str, Any] = {"channels": self.channels} if self.channels else {}
        if "heldout" not in data:
            found["heldout"] = "none: all values were fitted, and scores are of them"
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


def _rescaled(points: Tensor, raw: Tensor, centre: tuple[float, ...], spread: tuple[float, ...]) -> Tensor:
    """Return columns of values, of which the field gives those of mean 0 and deviation 1."""
    if len(centre) == 1:
        return centre[0] + spread[0] * raw
    columns = [m + s * raw[..., i : i + 1] for i, (m, s) in enumerate(zip(centre, spread, strict=True))]
    return torch.cat(columns, -1)


def _number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_) and not isinstance(value, bool | np.bool_)


def _shown(value: Any) -> str:
    return f"{value:g}" if _number(value) else shortened(repr(value))


def _table(values: Any, what: str) -> np.ndarray:
    """Return an array or a tensor on any device as columns in float64."""
    array = _real(values, what)
    if array.ndim not in (1, 2) or not array.size:
        raise InputError(
            f"{what} must have shape (n,) or (n, k) with at least one row, got {array.shape}",
            do="to fit an image, give it alone, as in nfsolve.fit(image); coordinates of a mesh grid are columns of "
            "points, as in numpy.stack([X.ravel(), Y.ravel()], 1)",
        )
    return array.reshape(len(array), -1)


def _real(values: Any, what: str) -> np.ndarray:
    """Return real numbers in float64, whatever holds them."""
    if sparse.issparse(values):
        raise InputError(f"{what} must be an array of real numbers, got a sparse matrix", do="give its .toarray()")
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            values = values.double() if values.is_floating_point() else values
        array = np.asarray(values)
        real = array.astype(np.float64) if array.dtype.kind not in "cMm" else None
    except (TypeError, ValueError) as error:
        came = shortened(repr(values)) if not isinstance(values, np.ndarray) else f"an array of {values.dtype}"
        raise InputError(
            f"{what} must be an array of real numbers, got {came}",
            do="give as many numbers in each row" if isinstance(values, list | tuple) else "",
        ) from error
    if real is None:
        raise InputError(
            f"{what} must be an array of real numbers, got {array.dtype}",
            do="give real and imaginary parts as two columns, and times in seconds from the first",
        )
    return real


def _true_false(mask: Any) -> np.ndarray:
    """Return a mask as booleans."""
    try:
        table = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
        known = table.dtype == bool or (table.dtype.kind in "iuf" and bool(((table == 0) | (table == 1)).all()))
    except ValueError:
        table, known = np.zeros(0), False
    if not known:
        raise InputError(
            f"the mask must hold True and False, or 1 and 0, got {shortened(repr(mask))}",
            do="give True for each value that counts, as in mask > 0, not its index",
        )
    return table.astype(bool)


def _rows(mask: Any, n: int) -> np.ndarray:
    """Return which of n rows count."""
    table = _true_false(mask)
    if not table.ndim or len(table) != n or table.ndim > 2:
        raise InputError(
            f"the mask must have one entry for each of {n} values, got shape {table.shape}",
            do="give True for each value that counts",
        )
    return np.asarray(table.reshape(n, -1).all(1))


def _visible(mask: Any, *tables: Any) -> Any:
    """Return which rows count: those of a mask, of which masked arrays hide nothing."""
    for table in tables:
        if isinstance(table, np.ma.MaskedArray) and table.ndim:
            seen = np.asarray((~np.ma.getmaskarray(table)).reshape(len(table), -1).all(1))
            mask = seen if mask is None else seen & _rows(mask, len(seen))
    return mask


def _picture(image: Any, channels: bool | None) -> tuple[Any, bool | None]:
    """Return the pixels of a picture from a file or of Pillow, and whether they have channels; anything else as is."""
    if isinstance(image, str | PathLike):
        path = find_file(str(image))
        return decode(path.read_bytes(), f"picture '{path}'"), True
    if isinstance(image, Image.Image):
        return from_pillow(image), True
    return image, channels


def _guessed(shape: tuple[int, ...]) -> tuple[bool, str]:
    """Return whether the last axis of an image is taken for its channels, and what to say about it."""
    if len(shape) > 2 and shape[-1] <= CHANNELS:
        return True, f"{shape[-1]}, the last axis of the image; channels=False makes a coordinate of it"
    if len(shape) > 2 and shape[-3] <= CHANNELS and min(shape[-2:]) >= PICTURE:
        said = (
            f"none: an image of shape {shape} has {len(shape)} coordinates; if axis {len(shape) - 3} holds channels, "
            f"move it to the end, as in numpy.moveaxis(image, {len(shape) - 3}, -1)"
        )
        warnings.warn(said.removeprefix("none: "), stacklevel=4)
        return False, said
    return False, ""


def _pixels(image: Any, channels: bool | None, mask: Any, noise: Any) -> tuple[np.ndarray, np.ndarray, Any, Any, str]:
    """Return points, values, mask and noise of an image, and what was guessed about its channels."""
    array, said = _real(image, "an image"), ""
    if channels is None:
        channels, said = _guessed(array.shape)
    shape = array.shape[:-1] if channels else array.shape
    if not shape or not array.size:
        raise InputError(
            f"an image must have at least one axis and one pixel, got shape {array.shape}"
            + (" with channels on the last axis" if channels else ""),
            do="give values at points as nfsolve.fit(points, values)",
        )
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))
    values = array.reshape(len(points), -1)
    if mask is not None:
        mask = _true_false(mask)
        if mask.shape not in (shape, array.shape):
            raise InputError(
                f"the mask must have the shape {shape} of the image, got {mask.shape}",
                do="give True for each pixel that counts",
            )
        mask = mask.reshape(len(points), -1).all(1)
    size = np.shape(noise) if not isinstance(noise, Tensor) else tuple(noise.shape)
    flat = (len(points), -1) if size in (shape, array.shape) else size
    hidden = [part for part in (image, noise) if isinstance(part, np.ma.MaskedArray) and part.ndim]
    mask = _visible(mask, *(part.reshape(len(points), -1) for part in hidden if part.size in (len(points), array.size)))
    return points, values, mask, noise if noise is None or not size else _real(noise, "noise").reshape(flat), said
