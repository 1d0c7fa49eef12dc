"""The picture of an operator: best, median and worst test function, the errors of all of them, and the history."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve._core.errors import require
from nfsolve.plot.panels import (
    WIDEST,
    array,
    colour_bar,
    colour_scale,
    history_panel,
    image_panel,
    legend_below,
    new_figure,
    residuals_panel,
    slices_panel,
)
from nfsolve.plot.pde import composed, end_panels, split
from nfsolve.problem.operator.families import as_read, several
from nfsolve.problem.operator.pde import OperatorPDE
from nfsolve.run.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nfsolve.plot.pde import Panel

ANSWERS = 3  # test functions without labels that are drawn


def operator_picture(solution: Solution) -> "Figure":
    """Draw a trained operator.

    Args:
        solution: The solution of an `OperatorPDE`.

    Returns:
        A row for the best, the median and the worst test function: its inputs, the reference, the operator's answer in
        the same colours, their difference, and slices of both; below, the histogram of the errors, the residuals on
        trained and on fresh points, and the history. Without labels, the answers for the first test functions.
    """
    problem = solution.problem
    assert isinstance(problem, OperatorPDE)
    data, outputs = solution.data, problem.outputs
    if data["test"].truth is None:
        rows = min(ANSWERS, len(data["test"]))
        drawn = [_answer(problem, solution.field, data, row) for row in range(rows)]
        return composed([*drawn, *split(end_panels(solution))])
    errors = _largest(problem.errors(solution.field, data))
    order = errors.argsort()
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    columns = 3 if len(problem.domain.names) == 1 else 5
    figure = new_figure(min(3.7 * columns, WIDEST), 2.6 * (len(chosen) + 1))
    parts = figure.subfigures(len(chosen) + 1, 1, squeeze=False)[:, 0]
    largest = f" (largest of {', '.join(outputs)})" if len(outputs) > 1 else ""
    for part, (name, row) in zip(parts, chosen.items(), strict=False):
        panels = part.subplots(1, columns)
        _row(panels, problem, solution.field, data, int(row))
        part.suptitle(f"{name} of {len(order)} test functions: relative L2 error {errors[row]:.1e}{largest}")
    known = any(key.startswith("heldout/") for key in solution.metrics)
    first, *between, last = parts[-1].subplots(1, 2 + known)
    _histogram(first, problem, solution.field, data, errors.numpy())
    for panel in between:
        residuals_panel(panel, solution.metrics)
    history_panel(last, solution.history)
    return figure


def _largest(errors: Tensor) -> Tensor:
    """Return the largest of the errors (n, k) of each function; 0 where all its solutions are zero everywhere."""
    return errors.nan_to_num(0.0).amax(1)


def _answer(problem: OperatorPDE, field: Any, data: dict[str, Any], row: int) -> "list[Panel]":
    """Return the panels of a test function without a label: its inputs, and the first unknown for it.

    Of more than two coordinates the others are in the middle.
    """
    grid, sizes, names, out = data["grid"].points, data["grid"].sizes, problem.domain.names, problem.outputs[0]
    functions = as_read([f[row : row + 1] for f in several(data["test"].functions)])
    u = array(problem.predict(field, functions, grid))[0, :, 0].reshape(sizes)
    u = u[(slice(None), slice(None), *(n // 2 for n in sizes[2:]))] if len(sizes) > 2 else u
    said = ", ".join(
        f"{n} = {(a + b) / 2:.3g}" for n, (a, b) in list(zip(names, problem.domain.bounds, strict=True))[2:]
    )
    title = f"operator {out} {said}".strip()

    def draw(axes: Any) -> None:
        if len(sizes) > 1:
            image_panel(axes, u, problem.domain.bounds, names, title)
            return
        axes.plot(array(grid[:, 0]), u, "C3")
        axes.set(title=title, xlabel=names[0], ylabel=out)

    return [
        (partial(input_panel, problem=problem, values=array(data["test"].values[row : row + 1])), None),
        (draw, None),
    ]


def _row(axes: list[Any], problem: OperatorPDE, field: Any, data: dict[str, Any], row: int) -> None:
    """Draw one test function; of several unknowns the first, of more than two coordinates the middle of the others."""
    functions = as_read([f[row : row + 1] for f in several(data["test"].functions)])
    sizes, grid = data["grid"].sizes, data["grid"].points
    points = grid if grid.ndim == 2 else grid[:, row : row + 1]  # or each function has its own
    u, v = array(problem.predict(field, functions, points))[0, :, 0], array(data["test"].truth[row, :, 0])
    x = array(points.reshape(len(points), -1))
    if grid.ndim == 3:  # of its points some may have no label
        u, v, x = (values[np.isfinite(v)] for values in (u, v, x))
    names, bounds, out = problem.domain.names, problem.domain.bounds, problem.outputs[0]
    input_panel(axes[0], problem, array(data["test"].values[row : row + 1]))
    if len(names) == 1:
        _curves(axes[1:], x[:, 0], u, v, names[0], out)
        return
    if len(sizes) < len(names):
        _scattered(axes[1:], x, u, v, names, out)
        return
    middle = (slice(None), slice(None), *(n // 2 for n in sizes[2:]))
    at = ", ".join(f"{n} = {(a + b) / 2:.3g}" for n, (a, b) in list(zip(names, bounds, strict=True))[2:])
    u, v = (values.reshape(sizes)[middle] for values in (u, v))
    image_panel(axes[1], v, bounds, names, f"reference {out} {at}".strip(), compared=[u])
    image_panel(axes[2], u, bounds, names, f"operator {out} {at}".strip(), compared=[v])
    image_panel(axes[3], u - v, bounds, names, "operator - reference", symmetric=True)
    slices_panel(axes[4], u, v, bounds, names, out)


def _curves(axes: Any, x: np.ndarray, u: np.ndarray, v: np.ndarray, name: str, out: str) -> None:
    """Draw values along a line."""
    order = x.argsort()
    x, u, v = x[order], u[order], v[order]
    axes[0].plot(x, v, "k", lw=4, alpha=0.3, label="reference")
    axes[0].plot(x, u, "C3", lw=1.2, label="operator")
    axes[0].set(title="reference and operator", xlabel=name, ylabel=out)
    axes[0].legend(fontsize="small")
    axes[1].plot(x, u - v, "C3")
    axes[1].axhline(0, color="k", lw=0.5)
    axes[1].set(title="operator - reference", xlabel=name, ylabel=f"difference of {out}")


def _scattered(axes: Any, x: np.ndarray, u: np.ndarray, v: np.ndarray, names: Any, out: str) -> None:
    """Draw values at points that do not form a grid, over their first two coordinates."""
    scale, apart = colour_scale(u, v), colour_scale(u - v, symmetric=True)
    titles = (f"reference {out}", f"operator {out}", "operator - reference")
    for panel, values, colours, title in zip(axes, (v, u, u - v), (scale, scale, apart), titles, strict=False):
        # edges, or pale dots would vanish
        shown = panel.scatter(x[:, 0], x[:, 1], c=values, s=12, edgecolors="0.6", linewidths=0.3, **colours)
        colour_bar(panel, shown)
        panel.set(title=title, xlabel=names[0], ylabel=names[1])
    low, high = min(u.min(), v.min()), max(u.max(), v.max())
    axes[3].plot([low, high], [low, high], color="k", lw=0.8, label="operator = reference")
    axes[3].plot(v, u, ".", ms=3)
    axes[3].set(title="operator against reference", xlabel=f"{out}, reference", ylabel=f"{out}, operator")
    axes[3].axis("square")
    axes[3].legend(fontsize="small")


def input_panel(axes: Any, problem: OperatorPDE, values: np.ndarray, marker: str = "") -> None:
    """Draw samples of the input functions: curves, of functions of two coordinates the first sample, numbers in words.

    Of several functions of two coordinates only the first is drawn.

    Args:
        axes: Where.
        problem: The operator problem.
        values: Samples ``(n, m)`` at the sensors of all input functions, side by side.
        marker: Marker of the sensors; none draws none.
    """
    said, plane = [], ""
    at = {name: array(problem.sensor_points(name)) for name in problem.inputs}
    parts = np.split(values, np.cumsum(several(problem.sensor_counts))[:-1], axis=1)
    for i, name in enumerate(at):
        if problem.own_sensors(name):  # value and place of each sensor, of the first function
            table = parts[i][0].reshape(-1, 1 + at[name].shape[1])
            table = table[np.isfinite(table).all(1)]
            table = table[table[:, 1].argsort()]
            at[name], parts[i] = table[:, 1:], table[None, :, 0]
    curves = [name for name, sensors in at.items() if sensors.shape[1] == 1]
    for (name, sensors), rows in zip(at.items(), parts, strict=True):
        if sensors.shape[1] == 0:
            said.append(f"{name} = {', '.join(f'{v:.4g}' for v in rows[:, 0])}")
        elif sensors.shape[1] > 1 and (plane or curves):
            said.append(f"{name} (not drawn)")
        elif sensors.shape[1] > 1:
            _plane(axes, problem, problem.inputs[name].split(), sensors, rows[0])
            if marker:
                axes.plot(sensors[:, 0], sensors[:, 1], marker, ms=2, color="0.5", clip_on=False)
            said.append(plane := name)
        else:
            style: Any = {"marker": marker, "ms": 3, "lw": 1, "ls": ("-", "--", ":")[curves.index(name) % 3]}
            for i, row in enumerate(rows):
                colour = f"C{i if len(rows) > 1 else curves.index(name)}"
                axes.plot(sensors[:, 0], row, color=colour, label=name if i == 0 else None, **style)
            said.append(name)
    axes.set_title(f"input {'; '.join(said)}")
    if curves:
        axes.set_xlabel(", ".join(dict.fromkeys(problem.inputs[name] for name in curves)))
        axes.set_ylabel(", ".join(curves))
        axes.legend(fontsize="small") if len(curves) > 1 else None
    elif not plane:
        axes.axis("off")


def _plane(axes: Any, problem: OperatorPDE, names: list[str], sensors: np.ndarray, values: np.ndarray) -> None:
    """Draw a function of two coordinates, or over the first two, at its sensors."""
    domain = problem.domain
    known = dict(zip(domain.names, domain.bounds, strict=True))
    (x, y), scale = sensors.T[:2], colour_scale(values)
    bounds = [known.get(name, (float(c.min()), float(c.max()))) for name, c in zip(names, (x, y), strict=False)]
    (across, i), (up, j) = (np.unique(c, return_inverse=True) for c in (x, y))
    table = np.full((len(up), len(across)), np.nan)
    table[j, i] = values
    if table.size == len(values) and not np.isnan(table).any():
        shown = axes.pcolormesh(across, up, table, shading="nearest", **scale)
    else:
        shown = axes.scatter(x, y, c=values, s=12, edgecolors="0.6", linewidths=0.3, **scale)
    colour_bar(axes, shown)
    timed = {"t", "time"} & set(names)
    axes.set(xlabel=names[0], ylabel=names[1], xlim=bounds[0], ylim=bounds[1], aspect="auto" if timed else "equal")


def _histogram(axes: Any, problem: OperatorPDE, field: Any, data: dict[str, Any], errors: np.ndarray) -> None:
    """Draw the errors of all test functions, and of those of another kind."""
    both = {"test functions": np.maximum(errors, 1e-16)}
    if "ood" in data and data["ood"].truth is not None:
        other = _largest(problem.errors(field, data, "ood")).numpy()
        both["functions of another kind"] = np.maximum(other, 1e-16)
    low, high = 0.98 * min(e.min() for e in both.values()), 1.02 * max(e.max() for e in both.values())
    for i, (name, e) in enumerate(both.items()):
        label = f"{name}:\nmean {e.mean():.2e}, max {e.max():.2e}"
        axes.hist(e, bins=np.geomspace(low, high, 31).tolist(), color=f"C{i}", alpha=0.6, label=label)
        axes.axvline(e.mean(), color=f"C{i}", ls="--")
    axes.set_xscale("log")
    ticks = [t for t in _ticks(low, high) if low <= t <= high]
    ticks = ticks[:: 1 + len(ticks) // 5]
    axes.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set(title="errors of the test functions", xlabel="relative L2 error (dashed: mean)", ylabel="functions")
    legend_below(axes)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis, on which matplotlib would label powers of ten or too many."""
    if high < 10 * low:
        ticker = require("matplotlib.ticker", extra="plot", purpose="drawing a picture")
        return ticker.MaxNLocator(6).tick_values(low, high).tolist()
    steps = (1, 2, 5) if high < 50 * low else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [m * 10.0**k for k in powers for m in steps]
