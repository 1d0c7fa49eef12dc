"""The picture of a measurement problem: truth, field and classical images with their errors, and the history."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve.plot import panels
from nfsolve.reconstruct import classical_images

WORDS = {
    "tv": "total variation",
    "fbp": "filtered back-projection",
    "fdk": "FDK",
    "sirt": "SIRT",
    "cgls": "CGLS",
    "wiener": "Wiener filter",
    "tikhonov": "Tikhonov",
    "gauss newton": "Gauss-Newton",
    "zero filled": "zero-filled",
    "input output": "hybrid input-output",
}
"""Keys of classical methods, or words in them, that pictures write in another way."""

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measurement_picture(solution: Any) -> "Figure":
    """Draw a solution of a `nfsolve.Measurement`.

    Args:
        solution: The solution.

    Returns:
        Images above their errors; of a line curves, of a volume the middle slice, of several unknowns the first.
    """
    problem, data = solution.problem, solution.data
    images = {"neural field": problem.on_grid(solution.field, data)}
    images |= {named(name): other.image for name, other in classical_images(data).items()}
    truth = data.get("truth")
    across = len(images) + 1
    figure = panels.new_figure(min(3.2 * across, panels.WIDEST), 5.6 if truth is not None else 3.0)
    axes = figure.subplots(2 if truth is not None else 1, across, squeeze=False)
    panels.history_panel(axes[-1, 0], solution.history, problem.score)
    planes = {name: _plane(image, problem.shape) for name, image in images.items()}
    true = None if truth is None else _plane(truth, problem.shape)
    errors = {} if true is None else {name: values - true for name, values in planes.items()}
    # the same for all, so that a pale error is a small one; a few values beyond it are only cut
    largest = max((float(np.quantile(abs(values), 0.999)) for values in errors.values()), default=0.0)
    for column, (name, image) in enumerate(images.items(), 1):
        scores = problem.scores(image, data)
        said = f"{scores['psnr']:.1f} dB" if truth is not None else f"misfit {scores['misfit']:.3g}"
        _draw(axes[0, column], planes[name], f"{name},\n{said}", true)
        if name in errors:
            colours = {"cmap": "RdBu_r", "vmin": -largest or None, "vmax": largest or None}
            _draw(axes[1, column], errors[name], f"error of\n{name}", None, colours)
    if true is not None:
        _draw(axes[0, 0], true, "truth", None)
    _label(axes, problem, planes["neural field"].ndim, true is not None)
    return figure


def _label(axes: Any, problem: Any, dimensions: int, known: bool) -> None:
    """Name the unknown at the last colour bar of each row, and the coordinates at its first image."""
    names, first = problem.domain.names, axes[0, 0 if known else 1]
    if dimensions == 1:
        for panel in axes.flat:
            if panel.get_title() and panel.get_title() != "history":
                panel.set(xlabel=f"cell along {names[0]}", ylabel=problem.unknowns.split()[0])
        return
    first.set(ylabel=names[-2], xlabel=names[-1])
    for panel, what in zip(axes[:, -1], ("", "error of "), strict=False):
        panel.child_axes[-1].set_ylabel(what + problem.unknowns.split()[0])


def named(key: str) -> str:
    """Return the name of a classical method."""
    words = key.replace("_", " ")
    return WORDS.get(words) or " ".join(WORDS.get(word, word) for word in words.split())


def _plane(image: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Return a line or a plane of an image: the first unknown, the middle of what is more than a plane."""
    values = panels.array(image.reshape(*shape, -1))[..., 0]
    while values.ndim > 2:
        values = values[len(values) // 2]
    return values


def _draw(
    axes: Any, values: np.ndarray, title: str, like: np.ndarray | None, colours: dict[str, Any] | None = None
) -> None:
    """Draw a line over another one, or a plane in the colours of another one or in colours of its own."""
    if values.ndim == 1:
        if like is not None:
            axes.plot(like, color="0.6")
        axes.plot(values)
        axes.set(title=title)
        return
    limits = {} if like is None else {"vmin": like.min(), "vmax": like.max()}
    shown = axes.imshow(values, interpolation="nearest", **(colours or limits))
    axes.set(title=title, xticks=[], yticks=[])
    panels.colour_bar(axes, shown)
