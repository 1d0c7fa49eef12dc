"""Panels from which pictures are composed: images, slices, histories, scores, spectrograms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve._core.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Make a figure that belongs to no window.

    Args:
        width: Inches.
        height: Inches.

    Returns:
        The figure, with constrained layout.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    module = require("matplotlib.figure", extra="plot", purpose="drawing a picture")
    return module.Figure(figsize=(width, height), layout="constrained")


def image_panel(
    axes: "Axes",
    values: np.ndarray,
    bounds: Sequence[tuple[float, float]],
    names: Sequence[str],
    title: str,
    cmap: str | None = None,
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
        cmap: Colour map; where it is not given, that of `colour_scale`.
        symmetric: Centre the colours on zero, as for errors.
        compared: Other values, for which the same colours mean the same.
    """
    scale = colour_scale(values, *compared, symmetric=symmetric)
    scale["cmap"] = cmap or scale["cmap"]
    extent = (*bounds[0], *bounds[1])
    image = axes.imshow(values.T, origin="lower", extent=extent, aspect="auto", **scale)
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
    axes.figure.colorbar(image, ax=axes)


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


def slices_panel(
    axes: "Axes",
    values: np.ndarray,
    exact: np.ndarray,
    bounds: Sequence[tuple[float, float]],
    names: Sequence[str],
    output: str,
) -> None:
    """Draw slices at a few values of the first coordinate, the field over the reference.

    Args:
        axes: Where.
        values: Field ``(n0, n1)``.
        exact: Reference ``(n0, n1)``.
        bounds: Bounds of the two coordinates.
        names: Their names.
        output: Name of the output.
    """
    first, second = (np.linspace(*b, n) for b, n in zip(bounds, values.shape, strict=False))
    for i, at in enumerate(np.linspace(0, len(first) - 1, 5).astype(int)[1 if len(first) > 1 else 0 :]):
        axes.plot(second, exact[at], color=f"C{i}", lw=4, alpha=0.3)
        axes.plot(second, values[at], color=f"C{i}", lw=1.2, label=f"{names[0]} = {first[at]:.3g}")
    axes.set(title="slices (wide: reference)", xlabel=names[1], ylabel=output)
    axes.legend(fontsize="small")


def history_panel(axes: "Axes", history: list[dict[str, Any]], score: str | None = None) -> None:
    """Draw the loss and a score against seconds.

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
    if key == "relative_l2":
        axes.semilogy(seconds, [row.get(key, np.nan) for row in history], color="C3", label="relative L2 error")
        axes.set_ylabel("")
    elif key:
        other = axes.twinx()
        other.plot(seconds, [row.get(key, np.nan) for row in history], color="C3")
        unit = " / dB" if key.startswith(("psnr", "snr")) else ""
        other.set_ylabel(key.replace("_", " ") + unit, color="C3")
    axes.legend(fontsize="small")


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
        axes.legend(fontsize="small")


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
    if n <= 10:
        return list(module.colormaps["tab10"].colors[:n])
    return [module.colormaps["turbo"](0.05 + 0.9 * i / (n - 1)) for i in range(n)]
