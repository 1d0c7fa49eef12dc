"""A field on the sphere: find v with v(x_i) = the value at unit vector x_i, for latitudes and longitudes i.

Unit vectors x = (cos lat cos lon, cos lat sin lon, sin lat) as inputs make the field continuous at the poles and
across the date line. Rows weigh by area: the band of latitudes half way to the neighbours, sin(upper) - sin(lower),
so cos(lat) times a constant on an even grid, and a small cap at a pole. Every second row and column is given, the
others are held out. Without --data it is a random sum of spherical harmonics.

    nfsolve run sphere
    nfsolve run sphere --data t2m.npz --variable t2m
"""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve import MLP, Box, InputError, Problem, Recipe, RunOptions, Sine, Stage, main, weight_scaling
from nfsolve.data.latlon import band_areas, fit_harmonics, random_harmonics, read_lines, read_map, unit_vectors
from nfsolve.data.tables import find_file
from nfsolve.metrics import psnr
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from problems.signals._given import NONE_HELD_OUT, Given, fresh, split
from problems.signals._limits import check_batch, check_least

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WILD, USUAL = 0.002, 0.02  # share of the values at each end, and least part of the range that the others should have
FEWEST = 6  # rows, and columns, that are given
DEGREE = 30  # of the spherical harmonics of the default field
QUICK = 8192  # points of the quick score, about
PROTOCOLS = {"default": {"stride": 2, "batch": 2048}, "ws": {"stride": 1, "batch": 0}}
COLOURS = np.array([[49, 54, 149], [116, 173, 209], [255, 255, 220], [244, 109, 67], [165, 0, 38]])  # low to high


@dataclass
class SphereFit(Problem):
    """A field on the sphere from a quarter of its grid."""

    protocol: Literal["default", "ws"] = "default"
    """default: this file's; ws: full batch and all points given, Adam at 1e-4, strongly scaled weights"""
    data: str = ""
    """npz or netCDF file: lat, lon in degrees and a variable over them (or its name in $NFSOLVE_DATA); else random"""
    variable: str = ""
    """name of the variable; not needed if there is only one"""
    level: int = 0
    """index along the axis before lat and lon, where there is one"""
    time: int = 0
    """index along the axis before the level; along the only one before lat and lon where it fits the array 'time'"""
    rows: int = 91
    """latitudes of the field without data; longitudes are 2 (rows - 1)"""
    stride: int | None = None
    """every k-th row and column is given, others are held out; 1 gives all; default the protocol's (default 2, ws 1)"""
    batch: int | None = None
    """points in a mini-batch; 0 takes all that are given; default the protocol's (default 2048, ws 0)"""
    spacing: float = 1.0
    """degrees between the points of the exported map"""
    coastlines: str = ""
    """GeoJSON of lines that are drawn over the maps, a path or a name under $NFSOLVE_DATA; default none"""

    domain = Box(x=(-1, 1), y=(-1, 1), z=(-1, 1))
    unknowns = "v"
    pointwise = True
    stage_factors = ()

    def __post_init__(self) -> None:
        check_least(vars(self), {"stride": 1, "batch": 0, "rows": 2 * FEWEST, "spacing": 0.05})
        if self.spacing > 45:
            raise InputError(f"spacing must be at most 45 degrees, got {self.spacing:g}", do="choose a finer map")

    @property
    def score(self) -> str:  # type: ignore[override]
        """The key of the metrics by which fields are compared."""
        return "psnr_heldout" if self.of("stride") > 1 else "psnr"

    def of(self, name: str) -> Any:
        """Return a parameter, or the protocol's value where it was not given."""
        value = getattr(self, name)
        return PROTOCOLS[self.protocol][name] if value is None else value

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Read the field (n_lat, n_lon), scale it to [-1, 1], and take the given points out of it."""
        self._coasts()  # what is wrong with the file is said before training
        if self.data:
            path = find_file(self.data, type(self), ("", ".npz"))
            lat, lon, values = read_map(path, self.variable, {"time": self.time, "level": self.level})
        else:
            lat, lon = np.linspace(-90, 90, self.rows), np.arange(2 * self.rows - 2) * 180 / (self.rows - 1)
            values = random_harmonics(lat, lon, DEGREE)
        poles = np.abs(lat) > 90 - 1e-6
        values[poles] = values[poles].mean(1, keepdims=True)  # a row that is one point
        stride = self.of("stride")
        if min(len(lat[::stride]), len(lon[::stride])) < FEWEST:
            raise InputError(
                f"at least {FEWEST} rows and columns must be given, but with stride={stride} of a grid of {len(lat)} x "
                f"{len(lon)} there are {len(lat[::stride])} and {len(lon[::stride])}",
                do="choose a smaller stride",
            )
        low, high = values.min(), values.max()
        if low == high:
            raise InputError(
                f"the field must vary, but it is {low:g} everywhere", do="choose another variable, level or time"
            )
        _doubt_scale(values)
        given = np.zeros(values.shape, bool)
        given[::stride, ::stride] = True
        given[poles] = given[poles].any(1, keepdims=True)  # nothing of a pole is held out where it is given
        check_batch(self.batch, int(given.sum()))
        weights = np.repeat(band_areas(lat)[:, None], len(lon), 1)
        arrays = {"points": unit_vectors(lat, lon), "weights": weights / weights.mean()}
        arrays["values"] = (2 * values - low - high) / (high - low)
        flat = {n: torch.from_numpy(a.reshape(given.size, -1)).to(device, dtype) for n, a in arrays.items()}
        mask = torch.from_numpy(given.reshape(-1)).to(device)
        cumulated = torch.from_numpy(np.cumsum(weights[given]) / weights[given].sum())
        shape = {"lat": lat, "lon": lon, "range": float(high - low), "middle": float(low + high) / 2}
        return {
            **split(Given(flat["points"], values=flat["values"], weights=flat["weights"]), mask),
            "cumulated": cumulated,
            "mask": mask,
            **flat,
            **shape,
        }

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick points among those given, in proportion to their areas; a full batch weighs its residuals instead."""
        given, batch = data["given"], self.of("batch")
        if not 0 < batch < len(given):
            return {"field": given}
        at = torch.rand(batch, generator=generator, dtype=torch.float64)
        index = torch.searchsorted(data["cumulated"], at).clamp(max=len(given) - 1)
        return {"field": replace(given[index], weights=None)}

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Return the held-out points."""
        return fresh(data, "field")

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """v(x) minus the values, times the root of the area's weight."""
        rows = batch["field"]
        off = field(rows.points) - rows.values
        return {"field": off if rows.weights is None else rows.weights.sqrt() * off}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score given and held-out points by area, and two classical maps: a bicubic spline, and spherical harmonics.

        The peak of PSNR is the range of the whole field, max - min; rmse is in the unit of the data.
        `psnr_unweighted` counts all points alike, so the poles too much.
        """
        values = in_pieces(field, data["points"])
        scores = _scores(values, data, slice(None))
        scores["psnr_unweighted"] = psnr(values, data["values"], 2.0)
        if self.of("stride") == 1:
            return scores | NONE_HELD_OUT
        rest = ~data["mask"]
        scores["psnr_heldout_spline"] = _weighted(self.spline(data)[rest], data, rest)
        if (fitted := self.harmonics(data)) is not None:
            scores["psnr_heldout_harmonics"] = _weighted(fitted[0][rest], data, rest)
            scores["degree_harmonics"] = fitted[1]
        return scores

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score some thousand points."""
        # prime to the rows and columns that are given, so that given and held-out points keep their shares
        step = max(1, len(data["points"]) // QUICK)
        while np.gcd(step, len(data["lon"]) * self.of("stride")) > 1:
            step += 1
        some = slice(None, None, step)
        return _scores(in_pieces(field, data["points"][some]), data, some)

    def spline(self, data: Batch) -> Tensor:
        """Interpolate the given rows and columns by a bicubic spline, periodic in longitude."""
        from scipy.interpolate import RectBivariateSpline

        k, lat, lon = self.of("stride"), data["lat"], data["lon"]
        given = panels.array(data["values"]).reshape(len(lat), len(lon))[::k, ::k]
        rows, columns = lat[::k], lon[::k]
        around = np.concatenate([columns - 360, columns, columns + 360])
        fitted = RectBivariateSpline(rows, around, np.tile(given, 3), s=0)
        return torch.from_numpy(fitted(lat.clip(rows[0], rows[-1]), lon).reshape(-1, 1)).to(data["values"])

    def harmonics(self, data: Batch) -> tuple[Tensor, int] | None:
        """Fit spherical harmonics to the given rows and columns; see `fit_harmonics`."""
        k, lat, lon = self.of("stride"), data["lat"], data["lon"]
        given = panels.array(data["values"]).astype(np.float64).reshape(len(lat), len(lon))[::k, ::k]
        fitted = fit_harmonics(lat[::k], lon[::k], given, lat, lon)
        return fitted and (torch.from_numpy(fitted[0].reshape(-1, 1)).to(data["values"]), fitted[1])

    def on_grid(self, field: FieldFunction, data: Batch, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        """Evaluate the field in the unit of the data on latitudes and longitudes, (n_lat, n_lon)."""
        points = torch.from_numpy(unit_vectors(lat, lon).reshape(-1, 3)).to(data["points"])
        return data["middle"] + data["range"] / 2 * panels.array(in_pieces(field, points)).reshape(len(lat), len(lon))

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw data, field, error, history, and the field seen from above both poles."""
        lat, lon, half = data["lat"], data["lon"], data["range"] / 2
        shape = (len(lat), len(lon))
        truth = data["middle"] + half * panels.array(data["values"]).reshape(shape)
        values, scores = self.on_grid(field, data, lat, lon), self.metrics(field, data)
        figure = panels.new_figure(11.0, 5.6)
        axes = figure.subplots(2, 3)
        span = {"vmin": truth.min(), "vmax": truth.max(), "cmap": "viridis"}
        _map(axes[0, 0], lat, lon, truth, f"data,\n{shape[0]} x {shape[1]} points", span)
        names = {"psnr": "given", "psnr_heldout": "held-out"}
        said = ", ".join(f"{label} {scores[key]:.1f} dB" for key, label in names.items() if key in scores)
        _map(axes[0, 1], lat, lon, values, f"field:\n{said}", span)
        limit = float(np.quantile(np.abs(values - truth), 0.995)) or 1.0
        error = {"vmin": -limit, "vmax": limit, "cmap": "RdBu_r"}
        names = {"rmse": "given", "rmse_heldout": "held-out"}
        said = ", ".join(f"{label} {scores[key]:.3g}" for key, label in names.items() if key in scores)
        _map(axes[0, 2], lat, lon, values - truth, f"error, rms by area:\n{said}", error)
        labels = {"psnr": "PSNR given", "psnr_heldout": "PSNR held-out"}
        panels.score_panel(axes[1, 0], history, labels)
        for line in self._coasts():
            for panel in axes[0]:
                panel.plot(*line.T, color="k", lw=0.5)
        for panel, side, name in ((axes[1, 1], 1, "north"), (axes[1, 2], -1, "south")):
            disk = self.from_above(field, data, side)
            panel.imshow(disk, origin="lower", extent=(-side, side, -1, 1), interpolation="nearest", **span)
            panel.set(title=f"field from above the {name} pole", xlabel="x", ylabel="y", aspect="equal")
        return figure

    def _coasts(self) -> list[np.ndarray]:
        """Read the lines that are drawn over the maps."""
        return read_lines(find_file(self.coastlines, type(self))) if self.coastlines else []

    def from_above(self, field: FieldFunction, data: Batch, side: int, size: int = 240) -> np.ndarray:
        """Evaluate the field on the half of the sphere around a pole as seen from outside, NaN beside it."""
        x = np.linspace(-1, 1, size)
        x, y = np.meshgrid(x, x)
        inside = x**2 + y**2 < 1
        at = np.stack([side * x[inside], y[inside], side * np.sqrt(1 - x[inside] ** 2 - y[inside] ** 2)], -1)
        disk = np.full(x.shape, np.nan)
        values = panels.array(in_pieces(field, torch.from_numpy(at).to(data["points"])))[:, 0]
        disk[inside] = data["middle"] + data["range"] / 2 * values
        return disk

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write the field on an even grid, as arrays in the unit of the data and as a map."""
        import imageio.v3 as iio

        lat = np.linspace(-90, 90, round(180 / self.spacing) + 1)
        lon = np.linspace(0, 360, round(360 / self.spacing), endpoint=False)
        values = self.on_grid(field, data, lat, lon)
        named: dict[str, Any] = {"lat": lat, "lon": lon, self.variable or "v": values.astype(np.float32)}
        np.savez_compressed(folder / "field.npz", **named)
        share = ((values - data["middle"]) / data["range"] + 0.5).clip(0, 1)
        stops = np.linspace(0, 1, len(COLOURS))
        picture = np.stack([np.interp(share, stops, colour) for colour in COLOURS.T], -1)
        iio.imwrite(folder / "field.png", picture[::-1].round().astype(np.uint8))  # north on top

    def recipe(self) -> Recipe:
        """Return a sine network with weights scaled, Adam.

        ``ws`` is a weight-scaling initialisation (Yeom, Lee & Lee, ICLR 2025, arXiv 2410.04779) of a SIREN, Adam at
        1e-4, full batch, as in the paper's code for images. The paper's settings for the sphere are not known: unit
        vectors as inputs, 256 wide, 4 sine layers, omega 30, alpha = 2.5 and 1000 steps are our choice.
        """
        if self.protocol == "ws":
            return Recipe(
                field=partial(MLP, width=256, depth=4, activation=Sine(30.0), init=weight_scaling(2.5)),
                stages=(Stage(partial(torch.optim.Adam, lr=1e-4), steps=1000),),
                run=RunOptions(log_every=25),
            )
        return Recipe(
            field=partial(MLP, width=128, depth=4, activation=Sine(30.0), init=weight_scaling(1.0)),
            stages=(Stage(partial(torch.optim.Adam, lr=3e-4), steps=800, schedule="cosine"),),
            run=RunOptions(log_every=40),
        )


def _doubt_scale(values: np.ndarray) -> None:
    """Say where a few values are so far from all others that these fill next to nothing of the range."""
    low, high = np.quantile(values, [WILD, 1 - WILD])
    if high - low >= USUAL * np.ptp(values):
        return
    warnings.warn(
        f"all but a few values lie between {low:.4g} and {high:.4g}, but the field reaches from {values.min():.4g} to "
        f"{values.max():.4g}, which is the range that errors are measured by; are some values fill values, or of "
        "another unit?",
        stacklevel=2,
    )


def _weighted(values: Tensor, data: Batch, some: Any) -> float:
    """PSNR by area: squared errors times weights of mean 1; the peak is 2, since values span [-1, 1]."""
    weights = data["weights"][some]
    root = (weights / weights.mean()).sqrt()
    return psnr(root * values, root * data["values"][some], 2.0)


def _scores(values: Tensor, data: Batch, some: slice) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    every = torch.arange(len(data["points"]), device=data["mask"].device)[some]
    mask = data["mask"][some]
    for ending, part in (("", mask), ("_heldout", ~mask)):
        if part.any():
            decibel = _weighted(values[part], data, every[part])
            scores[f"psnr{ending}"] = decibel
            scores[f"rmse{ending}"] = data["range"] * 10 ** (-decibel / 20)
    return scores


def _map(axes: Any, lat: np.ndarray, lon: np.ndarray, values: np.ndarray, title: str, options: dict[str, Any]) -> None:
    shown = axes.pcolormesh(lon, lat, values, shading="nearest", rasterized=True, **options)
    axes.set(title=title, xlabel="longitude / degrees", ylabel="latitude / degrees", xlim=(0, 360), ylim=(-90, 90))
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)


if __name__ == "__main__":
    main(SphereFit)
