"""The picture of a measurement problem: truth, field and classical images with their errors, and the history."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve.plot import panels
from nfsolve.reconstruct import classical_images

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
    images = {"field": problem.on_grid(solution.field, data)}
    images |= {name.replace("_", " "): other.image for name, other in classical_images(data).items()}
    truth = data.get("truth")
    figure = panels.new_figure(4.0 * (len(images) + 1), 7.6 if truth is not None else 4.0)
    axes = figure.subplots(2 if truth is not None else 1, len(images) + 1, squeeze=False)
    panels.history_panel(axes[-1, 0], solution.history, problem.score)
    for column, (name, image) in enumerate(images.items(), 1):
        scores = problem.scores(image, data)
        said = f"{scores['psnr']:.1f} dB" if truth is not None else f"misfit {scores['misfit']:.3g}"
        values = _plane(image, problem.shape)
        _draw(axes[0, column], values, f"{name}, {said}", None if truth is None else _plane(truth, problem.shape))
        if truth is not None:
            _draw(axes[1, column], values - _plane(truth, problem.shape), f"error of {name}", None)
    if truth is not None:
        _draw(axes[0, 0], _plane(truth, problem.shape), "truth", None)
    return figure


def _plane(image: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Return a line or a plane of an image: the first unknown, the middle of what is more than a plane."""
    values = panels.array(image.reshape(*shape, -1))[..., 0]
    while values.ndim > 2:
        values = values[len(values) // 2]
    return values


def _draw(axes: Any, values: np.ndarray, title: str, like: np.ndarray | None) -> None:
    if values.ndim == 1:
        if like is not None:
            axes.plot(like, color="0.6")
        axes.plot(values)
        axes.set(title=title)
        return
    limits = {} if like is None else {"vmin": like.min(), "vmax": like.max()}
    colours = {"cmap": "RdBu_r", "vmin": -abs(values).max(), "vmax": abs(values).max()}
    shown = axes.imshow(values, interpolation="nearest", **(colours if title.startswith("error") else limits))
    axes.set(title=title, xticks=[], yticks=[])
    panels.colour_bar(axes, shown)
