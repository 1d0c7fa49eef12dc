"""The picture of a reconstruction in a plane: images in the first row, their errors below, data and history beside."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve.plot import panels
from nfsolve.plot.measurement import named
from nfsolve.problem import Batch
from nfsolve.reconstruct import classical_images
from problems.ct._coarsened import Coarsened

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tomography_picture(problem: Any, image: Tensor, data: Batch, history: list[dict[str, Any]]) -> "Figure":
    """Draw a reconstruction.

    Args:
        problem: The problem of tomography, with its scan and grid.
        image: The field's image, (rows, columns).
        data: What the problem loaded.
        history: Rows of the run's history.

    Returns:
        The figure.
    """
    scan, truth = data["coarsened"][1], data.get("reference")
    classical = classical_images(data)
    images = {"neural field": image, **{named(name): other.image for name, other in classical.items()}}
    figure = panels.new_figure(11.0, 7.2 if truth is not None else 5.2)
    parts: Any = figure.subfigures(2, 1, height_ratios=(4.7, 2.5) if truth is not None else (2.5, 2.5))
    above, below = parts
    axes = above.subplots(1 + (truth is not None), 1 + len(images), squeeze=False)
    top = float((image if truth is None else truth).max())
    extent = [bound for axis in problem.grid.bounds for bound in axis]
    square: dict[str, Any] = {"extent": extent, "interpolation": "nearest"}
    per_length = f"1 / {problem.scan.unit}" if problem.scan.unit else "per unit of length"
    gray = square | {"cmap": "gray", "vmin": 0, "vmax": top}
    if truth is None:
        axes[0, 0].axis("off")
    else:
        _image(axes[0, 0], truth, "reference", gray)
        axes[1, 0].axis("off")
    for column, (name, values) in enumerate(images.items(), 1):
        scores = problem.scores(values, data)
        said = f"{scores['psnr']:.1f} dB, SSIM {scores['ssim']:.3f}" if "psnr" in scores else ""
        said += f"\nMatthews {scores['matthews']:.3f}" if "matthews" in scores else ""
        shown = _image(axes[0, column], values, f"{name}\n{said}", gray)
        if column == len(images):  # the colours of a row mean the same
            panels.colour_bar(axes[0, column], shown, per_length)
        if truth is not None:
            limits = {"cmap": "RdBu_r", "vmin": -0.2 * top, "vmax": 0.2 * top}
            shown = _image(axes[1, column], values - truth.to(values), "minus the reference", square | limits)
            if column == len(images):
                panels.colour_bar(axes[1, column], shown, per_length)
    for ax in axes[-1]:
        ax.set_xlabel(f"x / {problem.scan.unit}" if problem.scan.unit else "x")
    axes[0, 0 if truth is not None else 1].set_ylabel(f"y / {problem.scan.unit}" if problem.scan.unit else "y")
    beside = below.subplots(1, 3)
    panels.history_panel(beside[0], history, problem.score)
    _sinogram_panels(beside[1:], problem, image, scan)
    return figure


def _image(axes: Any, values: Tensor, title: str, options: dict[str, Any]) -> Any:
    axes.set_title(title, fontsize="small")
    axes.tick_params(labelsize="x-small")
    return axes.imshow(panels.array(values), **options)


def with_errors(images: dict[str, Tensor], truth: Tensor | None) -> dict[str, Tensor]:
    """Add the reference and the sizes of errors to images of a page."""
    if truth is None:
        return images
    errors = {f"|{name} - reference|": (image - truth.to(image)).abs() for name, image in images.items()}
    return images | {"reference": truth} | errors


def _sinogram_panels(axes: Any, problem: Any, image: Tensor, scan: Coarsened) -> None:
    geometry = scan.geometry
    sinogram = scan.sinogram.reshape(geometry.shape)
    misfit = scan.projector(image.reshape(-1, 1)).reshape(geometry.shape) - sinogram
    flat: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest"}
    _panel(
        axes[0],
        sinogram,
        f"sinogram p\n{geometry.shape[0]} views, {geometry.shape[1]} bins",
        flat | {"cmap": "gray"},
        "line integral",
    )
    largest = float(np.quantile(np.abs(panels.array(misfit)), 0.999))
    share = float(misfit.norm() / sinogram.norm())
    _panel(
        axes[1],
        misfit,
        f"misfit A f - p\nrelative {share:.1e}",
        flat | {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest},
        "line integral",
    )
    for ax in axes:
        ax.set(xlabel="bin", ylabel="view")


def _panel(axes: Any, values: Tensor, title: str, options: dict[str, Any], quantity: str) -> None:
    shown = axes.imshow(panels.array(values), **options)
    axes.set_title(title)
    axes.figure.colorbar(shown, ax=axes, pad=0.02, label=quantity)
