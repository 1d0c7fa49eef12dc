"""Pictures of solutions: the problem's own, or that of an operator or a PDE."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nfsolve._core.errors import MissingExtra
from nfsolve.plot.measurement import measurement_picture
from nfsolve.plot.operator import operator_picture
from nfsolve.plot.pde import composed, end_panels, pde_picture, split
from nfsolve.problem import PDE, Measurement, OperatorPDE
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
    """Draw a solution: the problem's own picture, that of an operator or a PDE, or at least the history.

    Args:
        solution: The solution.

    Returns:
        A figure, or None where there is nothing to draw.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    problem = solution.problem
    with torch.no_grad():
        own = problem.picture(solution.field, solution.data, solution.history)
        if own is not None:
            return own
        if isinstance(problem, Measurement):
            return measurement_picture(solution)
        if isinstance(problem, OperatorPDE):
            return operator_picture(solution)
        if isinstance(problem, PDE):
            return pde_picture(solution)
        panels = end_panels(solution)
        return composed(split(panels)) if panels else None


Solution.painter = staticmethod(picture)
