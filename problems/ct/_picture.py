"""The picture of a reconstruction in a plane: images in the first row, their errors below, data and history beside."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve.plot import panels
from nfsolve.problem import Batch
from nfsolve.reconstruct import classical_images
from problems.ct._coarsened import Coarsened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"fbp": "filtered back-projection", "sirt": "SIRT, 200 iterations", "tv": "total variation"}


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
    images = {"neural field": image, **{NAMES[name]: other.image for name, other in classical.items()}}
    figure = panels.new_figure(4.1 * (len(images) + 2), 8.0)
    axes = figure.subplots(2, len(images) + 2)
    top = float((image if truth is None else truth).max())
    extent = [bound for axis in problem.grid.bounds for bound in axis]
    square: dict[str, Any] = {"extent": extent, "interpolation": "nearest"}
    per_length = f"1 / {problem.scan.unit}" if problem.scan.unit else "per unit of length"
    if truth is None:
        axes[0, 0].axis("off")
    else:
        _panel(axes[0, 0], truth, "reference", square | {"cmap": "gray", "vmin": 0, "vmax": top}, per_length)
    panels.history_panel(axes[1, 0], history, problem.score)
    for column, (name, values) in enumerate(images.items(), 1):
        scores = problem.scores(values, data)
        said = f"{scores['psnr']:.1f} dB, SSIM {scores['ssim']:.3f}" if "psnr" in scores else ""
        said += f"\nMatthews {scores['matthews']:.3f}" if "matthews" in scores else ""
        gray = square | {"cmap": "gray", "vmin": 0, "vmax": top}
        _panel(axes[0, column], values, f"{name}\n{said}", gray, per_length)
        if truth is None:
            axes[1, column].axis("off")
        else:
            limits = {"cmap": "RdBu_r", "vmin": -0.2 * top, "vmax": 0.2 * top}
            _panel(axes[1, column], values - truth.to(values), f"error of {name}", square | limits, per_length)
    for ax in (axes[0, 0], *axes[:, 1:-1].flat):
        ax.set_xlabel(f"x / {problem.scan.unit}" if problem.scan.unit else "x")
    _sinogram_panels(axes[:, -1], problem, image, scan)
    return figure


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
    axes.figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02, label=quantity)
