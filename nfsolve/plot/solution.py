"""Pictures of solutions: the problem's own, that of an operator, or the grid on which it is scored."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import MissingExtra
from nfsolve.plot.operator import operator_picture
from nfsolve.plot.panels import array, history_panel, image_panel, new_figure, slices_panel
from nfsolve.problem import OperatorPDE
from nfsolve.run.clock import Deadline, OutOfTime
from nfsolve.run.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_pictures(
    solution: Solution, deadline: Deadline | None = None, say: Callable[[str], None] = print
) -> list[Path]:
    """Draw a solution into its run folder, and write what the problem exports.

    Args:
        solution: A solution with a folder.
        deadline: End of the time that there is, or None.
        say: Takes a sentence on what is going on, or was left out.

    Returns:
        The files that were written.
    """
    folder = solution.folder
    assert folder is not None
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

    def draw() -> None:
        figure = picture(solution)
        if figure is not None:
            figure.savefig(folder / "solution.png", dpi=130)

    def export() -> None:
        with torch.no_grad():
            solution.problem.export(solution.field, solution.data, folder)

    for name, write in {"the picture": draw, "the exports": export}.items():
        try:
            with (deadline or Deadline()).within_grace(solution.field):
                write()
        except OutOfTime:
            say(f"left out {name}: the time limit has passed; `nfsolve eval {folder}` makes them")
        except MissingExtra as error:
            say(f"left out {name}: {error}")
    after = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in after if before.get(path) != path.stat().st_mtime_ns]


def picture(solution: Solution) -> "Figure | None":
    """Draw a solution: the problem's own picture, or the grid on which it is scored.

    Args:
        solution: The solution.

    Returns:
        A figure, or None where there is nothing to draw.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with torch.no_grad():
        own = solution.problem.picture(solution.field, solution.data, solution.history)
        if own is None and isinstance(solution.problem, OperatorPDE):
            return operator_picture(solution)
        if own is not None or "sizes" not in solution.data:
            return own
        data = solution.data
        values, exact = (_on_grid(v, data) for v in (solution.field(data["grid"]), data["exact"]))
    return grid_picture(solution, values, exact)


def _on_grid(values: Tensor, data: dict[str, Any]) -> np.ndarray:
    """Return values (n, k) as an array over the grid, with NaN outside the domain."""
    values = values.double()
    if "inside" in data:
        inside = data["inside"].to(values.device)
        filled = values.new_full((len(inside), values.shape[1]), torch.nan)
        filled[inside] = values
        values = filled
    return array(values.reshape(*data["sizes"], -1))


def grid_picture(solution: Solution, values: np.ndarray, exact: np.ndarray) -> "Figure":
    """Draw solution, error, slices and loss history of a field on a grid.

    Args:
        solution: For names, bounds, metrics and history.
        values: Field on the grid, ``(*sizes, k)``.
        exact: Reference on the same grid.

    Returns:
        The figure: one row for each output, then the history.
    """
    problem = solution.problem
    names, bounds, outputs = problem.domain.names, problem.domain.bounds, problem.outputs
    # more than two coordinates: the middle of the others
    middle = tuple(s // 2 for s in values.shape[2:-1])
    values, exact = (a[(slice(None), slice(None), *middle)] if len(names) > 2 else a for a in (values, exact))
    figure = new_figure(15.0, 3.6 * len(outputs))
    axes = figure.subplots(len(outputs), 4, squeeze=False)
    for i, out in enumerate(outputs):
        row = list(axes[i])
        u, v = values[..., i], exact[..., i]
        score = solution.metrics.get(f"relative_l2/{out}")
        title = f"error, relative L2 {score:.2e}" if score is not None else "error"
        if len(names) == 1:
            x = np.linspace(bounds[0][0], bounds[0][1], len(u))
            row[0].plot(x, v, "k", lw=3, alpha=0.3, label="exact")
            row[0].plot(x, u, label="field")
            row[0].set(title=f"{out}({names[0]})", xlabel=names[0], ylabel=out)
            row[0].legend()
            row[1].semilogy(x, np.abs(u - v) + 1e-300)
            row[1].set(title=title, xlabel=names[0], ylabel=f"|{out} - exact|")
            row[2].axis("off")
        else:
            image_panel(row[0], u, bounds, names, f"{out}({', '.join(names)})")
            image_panel(row[1], np.abs(u - v), bounds, names, title, cmap="magma")
            slices_panel(row[2], u, v, bounds, names, out)
        history_panel(row[3], solution.history) if i == 0 else row[3].axis("off")
    return figure
