"""Panels from which pictures are composed: images, slices, histories, scores, spectrograms."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve._core.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WIDEST = 11.0  # inches: the text of a wider figure could not be read where it is shown 800 pixels wide


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save pictures in the style of nfsolve, ``nfsolve.mplstyle``, whatever the user's own is.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    module = require("matplotlib", extra="plot", purpose="drawing a picture")
    with module.rc_context(fname=Path(__file__).with_name("nfsolve.mplstyle")):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Make a figure that belongs to no window.

    Args:
        width: Inches; a figure wider than `WIDEST` is made smaller in both directions.
        height: Inches.

    Returns:
        The figure, with constrained layout.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    module = require("matplotlib.figure", extra="plot", purpose="drawing a picture")
    scale = min(1.0, WIDEST / width)
    return module.Figure(figsize=(scale * width, scale * height), layout="constrained")


def image_panel(
    axes: "Axes",
    values: np.ndarray,
    bounds: Sequence[tuple[float, float]],
    names: Sequence[str],
    title: str,
    symmetric: bool = False,
    compared: Sequence[np.ndarray] = (),
) -> None:
    """Draw values on a 2-D grid with a colour bar; the first coordinate runs along the horizontal axis.

    Args:
        axes: Where.
        values: ``(n0, n1)``.
        bounds: Bounds of the two coordinates.
        names: Their names.
        title: Title.
        symmetric: Centre the colours on zero, as for errors.
        compared: Other values, for which the same colours mean the same.
    """
    scale = colour_scale(values, *compared, symmetric=symmetric)
    extent = (*bounds[0], *bounds[1])
    image = axes.imshow(values.T, origin="lower", extent=extent, aspect="auto", **scale)
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
    colour_bar(axes, image)


def colour_scale(*values: np.ndarray, symmetric: bool = False) -> dict[str, Any]:
    """Choose colours for values: red and blue around zero where the sign changes, else one sequence over their range.

    Args:
        *values: Arrays that are drawn in the same colours; NaN outside the domain.
        symmetric: Red and blue, whatever the signs.

    Returns:
        ``cmap``, ``vmin`` and ``vmax``.
    """
    low, high = (float(f([f(v, initial=i) for v in values])) for f, i in ((np.nanmin, np.inf), (np.nanmax, -np.inf)))
    limit = max(abs(low), abs(high)) if low <= high else 0.0
    # an operator that overshoots zero a little has no other sign
    if symmetric or min(-low, high) > 0.05 * limit or not limit:
        return {"cmap": "RdBu_r", "vmin": -(limit or 1.0), "vmax": limit or 1.0}
    return {"cmap": "viridis", "vmin": low, "vmax": high}


def colour_bar(axes: "Axes", shown: Any, label: str = "") -> None:
    """Draw a colour bar as high as the panel, whatever its aspect."""
    axes.figure.colorbar(shown, cax=axes.inset_axes((1.03, 0.0, 0.04, 1.0)), label=label)


def slices_panel(
    axes: "Axes",
    values: np.ndarray,
    exact: np.ndarray | None,
    bounds: Sequence[tuple[float, float]],
    names: Sequence[str],
    output: str,
) -> None:
    """Draw slices at a few values of the first coordinate, the field over the reference where there is one.

    Args:
        axes: Where.
        values: Field ``(n0, n1)``.
        exact: Reference ``(n0, n1)``, or None.
        bounds: Bounds of the two coordinates.
        names: Their names.
        output: Name of the output.
    """
    first, second = (np.linspace(*b, n) for b, n in zip(bounds, values.shape, strict=False))
    for i, at in enumerate(np.linspace(0, len(first) - 1, 5).astype(int)[1 if len(first) > 1 else 0 :]):
        if np.isnan(values[at]).all():  # outside the part on which it is defined
            continue
        if exact is not None:
            axes.plot(second, exact[at], color=f"C{i}", lw=4, alpha=0.3)
        axes.plot(second, values[at], color=f"C{i}", lw=1.2, label=f"{names[0]} = {first[at]:.3g}")
    title = "slices" if exact is None else "slices (wide: reference)"
    axes.set(title=title, xlabel=names[1], ylabel=output)
    if axes.lines:
        legend_below(axes)


def log_scale(values: np.ndarray) -> dict[str, Any]:
    """Choose logarithmic colours for sizes, over six decades below the largest at most.

    Args:
        values: Values of at least 0; NaN where there is nothing.

    Returns:
        ``cmap`` and ``norm``.
    """
    colours = require("matplotlib.colors", extra="plot", purpose="drawing a picture")
    positive = values[values > 0]
    if not positive.size:
        return {"cmap": "magma", "norm": colours.Normalize(0.0, 1.0)}
    high = float(positive.max())
    low = max(float(positive.min()), 1e-6 * high)
    return {"cmap": "magma", "norm": colours.LogNorm(low if low < high else high / 10, high, clip=True)}


def streamlines_panel(
    axes: "Axes",
    u: np.ndarray,
    v: np.ndarray,
    bounds: Sequence[tuple[float, float]],
    names: Sequence[str],
    title: str,
) -> None:
    """Draw the streamlines of a flow over its speed.

    Args:
        axes: Where.
        u: Velocity along the first coordinate, ``(n0, n1)``; NaN outside the domain.
        v: Velocity along the second one.
        bounds: Bounds of the two coordinates.
        names: Their names.
        title: Title.
    """
    (left, right), (bottom, top) = bounds
    speed = np.hypot(u, v)
    image = axes.imshow(speed.T, origin="lower", extent=(left, right, bottom, top), cmap="viridis", aspect="auto")
    colour_bar(axes, image, label="speed")
    if np.nanmax(speed, initial=0.0) > 0:
        x, y = np.linspace(left, right, u.shape[0]), np.linspace(bottom, top, u.shape[1])
        axes.streamplot(x, y, u.T, v.T, color="w", linewidth=0.8, arrowsize=0.8, density=1.1)
    sides = right - left, top - bottom
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(left, right), ylim=(bottom, top))
    axes.set_aspect("equal" if max(sides) < 4 * min(sides) else "auto")
    axes.set_title(title)


def residuals_panel(axes: "Axes", scores: dict[str, Any]) -> None:
    """Draw the residuals on trained and on fresh points, side by side.

    Args:
        axes: Where.
        scores: With ``heldout/NAME`` and ``heldout_max/NAME``, and ``rms/NAME`` where it was trained on.
    """
    names = [key.removeprefix("heldout/") for key in scores if key.startswith("heldout/")]
    kinds = {
        "rms": ("rms, trained points", -0.12, {"marker": "o", "color": "C0"}),
        "heldout": ("rms, held-out points", 0.12, {"marker": "s", "color": "C1"}),
        "heldout_max": ("largest, held-out points", 0.12, {"marker": ">", "color": "C1", "mfc": "none"}),
    }
    for kind, (label, shift, style) in kinds.items():
        found = [scores.get(f"{kind}/{name}", np.nan) or np.nan for name in names]  # a logarithm has no zero
        axes.semilogx(found, [i + shift for i in range(len(names))], ls="", label=label, **style)
    axes.set_yticks(range(len(names)), names)
    low, high = axes.get_xlim()  # from one power of ten to another, with few labels
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    axes.set_xticks([10.0**k for k in powers][:: 1 + len(powers) // 6])
    axes.set_xlim(10.0 ** powers[0], 10.0 ** powers[-1])
    axes.xaxis.set_minor_formatter("")
    axes.set(title="residuals", ylim=(len(names) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15))


def path_panel(axes: "Axes", history: list[dict[str, Any]], name: str) -> None:
    """Draw the path of an unknown scalar over the steps."""
    rows = [row for row in history if f"unknown/{name}" in row]
    values = [row[f"unknown/{name}"] for row in rows]
    axes.plot([row["step"] for row in rows], values, "C2", marker="." if len(rows) < 30 else "")
    axes.set(title=f"{name} = {values[-1]:.5g} at the end" if values else name, xlabel="step", ylabel=name)
    axes.ticklabel_format(axis="y", useOffset=False)


def phase_panel(
    axes: Any, columns: Sequence[np.ndarray], others: Sequence[np.ndarray] | None, names: Sequence[str]
) -> None:
    """Draw the path of two or three unknowns through their phase space.

    Args:
        axes: Where; of three dimensions for three.
        columns: Their values along time.
        others: Those of the reference, or None.
        names: Their names.
    """
    if others is not None:
        axes.plot(*others, "k", lw=4, alpha=0.3, label="reference")
    axes.plot(*columns, "C3", lw=1.2, label="solution")
    axes.plot(*(column[:1] for column in columns), "o", color="C3", ms=4, label="start")
    axes.set(title="phase space", xlabel=names[0], ylabel=names[1])
    if len(names) == 3:
        axes.set_zlabel(names[2])
    # beside the panel, where it covers no path
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.55 if len(names) == 3 else 1.02, 0.5))


def history_panel(axes: "Axes", history: list[dict[str, Any]], score: str | None = None) -> None:
    """Draw the loss, a score, and where there are fresh points the largest residual on trained and on fresh ones.

    Args:
        axes: Where.
        history: Rows of the run's history.
        score: Key of the score; the relative L2 error, or the first PSNR found, where it is not given.
    """
    if not history:
        axes.axis("off")
        return
    known = [score] if score else ["relative_l2", "psnr_heldout", "psnr"]
    key = next((k for k in known if any(k in row for row in history)), None)
    seconds = [row["seconds"] for row in history]
    axes.semilogy(seconds, [row["loss"] for row in history], color="C0", lw=1, label="loss")
    axes.set(title="history", xlabel="seconds", ylabel="loss")
    fresh = [key.removeprefix("heldout/") for key in history[-1] if key.startswith("heldout/")]
    if fresh:
        for kind, style, label in (("rms", "-", "largest rms residual"), ("heldout", "--", "the same, held out")):
            largest = [max((row.get(f"{kind}/{name}", np.nan) for name in fresh), default=np.nan) for row in history]
            axes.semilogy(seconds, largest, color="0.4", ls=style, lw=1, label=label)
        axes.set_ylabel("")
    if key == "relative_l2":
        axes.semilogy(seconds, [row.get(key, np.nan) for row in history], color="C3", label="relative L2 error")
        axes.set_ylabel("")
    elif key:
        other = axes.twinx()
        other.plot(seconds, [row.get(key, np.nan) for row in history], color="C3")
        unit = " / dB" if key.startswith(("psnr", "snr")) else ""
        other.set_ylabel(_worded(key) + unit, color="C3")
    if len(axes.lines) > 1:  # the label of the axis says what one line is
        legend_below(axes)


def _worded(key: str) -> str:
    """Return the name of a score for readers."""
    name, _, rest = key.partition("_")
    name = {"iou": "IoU", "matthews": "Matthews"}.get(name, name.upper())
    return f"{name}, {rest.replace('heldout', 'held out').replace('_', ' ')}" if rest else name


def head(figure: "Figure", words: str) -> None:
    """Write a title above all panels, on as many lines as it needs."""
    figure.suptitle(textwrap.fill(words, round(9 * figure.get_figwidth())))


def legend_below(axes: "Axes") -> None:
    """Draw a legend below the label of the horizontal axis, where it covers no curve, whatever the panel's height."""
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.5, ncols=2)


def score_panel(axes: "Axes", history: list[dict[str, Any]], labels: dict[str, str], unit: str = "dB") -> None:
    """Draw scores against seconds.

    Args:
        axes: Where.
        history: Rows of the run's history.
        labels: Key of a score -> its name in the legend; keys that are not in the history are left out.
        unit: Label of the axis.
    """
    for key, label in labels.items():
        rows = [row for row in history if row.get(key) is not None]
        if rows:
            axes.plot([row["seconds"] for row in rows], [row[key] for row in rows], label=label)
    axes.set(title="history", xlabel="seconds", ylabel=unit)
    axes.grid(alpha=0.3)
    if axes.lines:
        legend_below(axes)


def spectrogram_panel(axes: "Axes", wave: np.ndarray, rate: float, title: str) -> None:
    """Draw the power of short pieces of a sound, in dB below full scale.

    Args:
        axes: Where.
        wave: Samples ``(n,)``, in [-1, 1].
        rate: Samples a second.
        title: Title.
    """
    from scipy.signal import spectrogram

    length = int(min(512, len(wave) // 4))
    frequency, at, power = spectrogram(wave, rate, nperseg=length, noverlap=length // 2, scaling="spectrum")
    decibel = 10 * np.log10(power + 1e-12)
    shown = axes.pcolormesh(at, frequency / 1e3, decibel, vmin=-100, vmax=-20, cmap="magma", rasterized=True)
    axes.set(title=title, xlabel="seconds from the start", ylabel="kHz")
    axes.figure.colorbar(shown, ax=axes, label="dB")


def array(values: Tensor) -> np.ndarray:
    """Return a tensor as a float64 array on the CPU, for drawing."""
    return values.detach().double().cpu().numpy()


def colours(n: int) -> list[Any]:
    """Return n colours that can be told apart.

    Args:
        n: How many.

    Returns:
        Colours for matplotlib.
    """
    module = require("matplotlib", extra="plot", purpose="drawing a picture")
    if n <= len(cycle := module.rcParams["axes.prop_cycle"].by_key()["color"]):
        return cycle[:n]
    return [module.colormaps["viridis"](0.95 * i / (n - 1)) for i in range(n)]
