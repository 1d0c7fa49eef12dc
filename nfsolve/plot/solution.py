"""Pictures of solutions: the problem's own, or that of an operator or a PDE."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nfsolve._core.errors import MissingExtra
from nfsolve.plot.measurement import measurement_picture
from nfsolve.plot.operator import operator_picture
from nfsolve.plot.panels import styled
from nfsolve.plot.pde import composed, end_panels, pde_picture, split
from nfsolve.problem import PDE, Measurement, OperatorPDE
from nfsolve.run.clock import Deadline, OutOfTime
from nfsolve.run.folder import RunFolder
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
    assert solution.folder is not None
    folder, written = RunFolder(solution.folder), list[Path]()

    def draw(into: Path) -> None:
        if (figure := picture(solution)) is not None:
            with styled():
                figure.savefig(into / "solution.png")

    def export(into: Path) -> None:
        with torch.no_grad():
            solution.problem.export(solution.field, solution.data, into)

    try:
        for name, write in {"picture": draw, "exports": export}.items():
            try:
                with (deadline or Deadline()).within_grace(solution.field), folder.staged(name) as paths:
                    write(paths[0])
                written += paths
            except OutOfTime:
                say(f"left out the {name}: the time limit has passed; `nfsolve eval {folder.path}` makes them")
            except MissingExtra as error:
                say(f"left out the {name}: {error}")
    finally:
        folder.release()
    return sorted(written)


@styled()
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
