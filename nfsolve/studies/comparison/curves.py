"""The curves of a comparison: the score over steps, evaluations and seconds, with standard errors over seeds."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nfsolve.metrics import larger_is_better
from nfsolve.plot import panels
from nfsolve.studies.comparison.cells import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nfsolve.studies.comparison.results import Comparison

POINTS = 100  # of a curve


def draw(comparison: "Comparison") -> "Figure":
    """Draw one row of curves for each budget.

    Args:
        comparison: The comparison.

    Returns:
        The figure.
    """
    budgets, n = comparison.budgets, len(comparison.cells)
    columns = ("step", "evaluations", comparison.settings["clock"])
    figure = panels.new_figure(17, 1.2 + 4.2 * len(budgets))
    axes = figure.subplots(len(budgets), len(columns), squeeze=False)
    colours = panels.colours(n)
    for row, budget in zip(axes, budgets, strict=True):
        for axis, column in zip(row, columns, strict=True):
            for cell, colour in zip(comparison.cells, colours, strict=True):
                _curve(axis, comparison, budget, cell, column, colour)
            axis.axhline(comparison.goal(budget), color="0.6", linewidth=0.8, linestyle=":")
            axis.set(xlabel=column, title=f"equal {budget}, mean and standard error")
            axis.grid(alpha=0.3)
            if not larger_is_better(comparison.score):
                axis.set_yscale("log")
        row[0].set_ylabel(comparison.score)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(n, 5), fontsize=8)
    return figure


def _curve(axis: Any, comparison: "Comparison", budget: str, cell: Cell, column: str, colour: Any) -> None:
    found = []
    for run in comparison.of(budget, cell):
        rows = [row for row in run.outcome.history if comparison.score in row and column in row]
        if len(rows) > 1:
            found.append((np.array([row[column] for row in rows]), np.array([row[comparison.score] for row in rows])))
    if not found:
        return
    at = np.linspace(0, min(x[-1] for x, _ in found), POINTS)
    values = np.stack([np.interp(at, x, y) for x, y in found])
    middle = values.mean(0)
    axis.plot(at, middle, color=colour, label=cell.name, linewidth=1.3)
    if len(found) > 1:
        error = values.std(0, ddof=1) / len(found) ** 0.5
        axis.fill_between(at, middle - error, middle + error, color=colour, alpha=0.15, linewidth=0)
