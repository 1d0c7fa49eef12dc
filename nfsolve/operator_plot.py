"""The picture of an operator: best, median and worst test function, the errors of all of them, and the history."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nfsolve.panels import array, history_panel, image_panel, new_figure, slices_panel
from nfsolve.problem.families import as_read, several
from nfsolve.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def operator_picture(solution: Solution) -> "Figure | None":
    """Draw a trained operator.

    Args:
        solution: The solution of an `OperatorPDE`.

    Returns:
        A row for the best, the median and the worst test function: its inputs, the reference, the error, and slices of
        both; below, the histogram of the errors and the history. None where there are no labels.
    """
    problem: Any = solution.problem
    data = solution.data
    if "truth" not in data["test"]:
        return None
    errors = problem.errors(solution.field, data).amax(1)
    order = errors.argsort()
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    figure = new_figure(16.0, 13.0)
    places: Any = [[f"{name}{i}" for i in range(4)] for name in chosen] + [list("eehh")]
    axes = figure.subplot_mosaic(places)
    for name, row in chosen.items():
        panels = [axes[f"{name}{i}"] for i in range(4)]
        _row(panels, problem, solution.field, data, int(row))
        panels[1].set_title(f"reference: {name} of {len(order)}, relative L2 {errors[row]:.1e}")
    _histogram(axes["e"], problem, solution.field, data, errors.numpy())
    history_panel(axes["h"], solution.history)
    return figure


def _row(axes: list[Any], problem: Any, field: Any, data: dict[str, Any], row: int) -> None:
    """Draw one test function; of several unknowns the first, of more than two coordinates the middle of the others."""
    functions = as_read([f[row : row + 1] for f in several(data["test"]["functions"])])
    sizes, grid = data["sizes"], data["grid"]
    points = grid if grid.ndim == 2 else grid[:, row : row + 1]  # or each function has its own
    predicted = array(problem.answers(field, functions, points))[0, :, 0]
    exact, x = array(data["test"]["truth"][row, :, 0]), array(points.reshape(len(points), -1))
    names, bounds, out = problem.domain.names, problem.domain.bounds, problem.outputs[0]
    _inputs(axes[0], problem, data["test"]["values"][row])
    if len(names) == 1:
        order = x[:, 0].argsort()
        x, u, v = x[order, 0], predicted[order], exact[order]
        axes[1].plot(x, v, "k", lw=4, alpha=0.3, label="reference")
        axes[1].plot(x, u, "C3", lw=1.2, label="operator")
        axes[1].set(xlabel=names[0], ylabel=out)
        axes[1].legend(fontsize="small")
        axes[2].plot(x, u - v, "C3")
        axes[2].set(title="operator - reference", xlabel=names[0])
        axes[3].axis("off")
        return
    if len(sizes) < len(names):
        _scattered(axes[1:], x, predicted, exact, names, out)
        return
    middle = (slice(None), slice(None), *(n // 2 for n in sizes[2:]))
    u, v = (values.reshape(sizes)[middle] for values in (predicted, exact))
    image_panel(axes[1], v, bounds, names, "", symmetric=True)
    image_panel(axes[2], u - v, bounds, names, f"{out} - reference", symmetric=True)
    slices_panel(axes[3], u, v, bounds, names, out)


def _scattered(axes: Any, x: np.ndarray, u: np.ndarray, v: np.ndarray, names: Any, out: str) -> None:
    """Draw values at points that are no grid, over their first two coordinates."""
    for panel, values, title in ((axes[0], v, ""), (axes[1], u - v, f"{out} - reference")):
        limit = float(np.abs(values).max()) or 1.0
        shown = panel.scatter(x[:, 0], x[:, 1], c=values, s=6, cmap="RdBu_r", vmin=-limit, vmax=limit)
        panel.figure.colorbar(shown, ax=panel)
        panel.set(title=title, xlabel=names[0], ylabel=names[1])
    axes[2].plot(v, u, ".", ms=3)
    axes[2].axline((float(v.mean()), float(v.mean())), slope=1, color="k", lw=0.8)
    axes[2].set(xlabel=f"{out}, reference", ylabel=f"{out}, operator")


def _inputs(axes: Any, problem: Any, values: Any) -> None:
    """Draw the input functions, ``(m,)`` at all sensors, over their first coordinate; say numbers."""
    said = []
    places = {name: problem.sensor_points(name) for name in problem.inputs}
    parts = np.split(array(values), np.cumsum([len(sensors) for sensors in places.values()])[:-1])
    for (name, sensors), values in zip(places.items(), parts, strict=True):
        if sensors.shape[1] == 1:
            axes.plot(array(sensors)[:, 0], values, label=name)
            axes.set_xlabel(problem.inputs[name])
        elif sensors.shape[1] == 0:
            said.append(f"{name} = {values[0]:.4g}")
        else:
            x, y, *_ = array(sensors).T
            axes.scatter(x, y, c=values, marker="s", s=200**2 / len(values))  # points: they fill a panel
            said.append(name)
    axes.set_title(" ".join(["input", ", ".join(said)]).strip())
    if axes.lines:
        axes.legend(fontsize="small")


def _histogram(axes: Any, problem: Any, field: Any, data: dict[str, Any], errors: np.ndarray) -> None:
    """Draw the errors of all test functions, and of those of another kind."""
    other = data.get("ood", {})
    both = {"test functions": errors}
    if "truth" in other:
        both["functions of another kind"] = problem.errors(field, data, "ood").amax(1).numpy()
    logs = {name: np.log10(np.maximum(values, 1e-16)) for name, values in both.items()}
    bins = np.linspace(min(v.min() for v in logs.values()) - 0.01, max(v.max() for v in logs.values()) + 0.01, 31)
    for i, (name, values) in enumerate(logs.items()):
        axes.hist(values, bins=bins.tolist(), color=f"C{i}", alpha=0.6, label=f"{name}: mean {both[name].mean():.2e}")
    axes.axvline(np.log10(errors.mean()), color="k", ls="--")
    axes.set(
        title=f"errors: mean {errors.mean():.2e}, max {errors.max():.2e}",
        xlabel="log10 of relative L2 error (dashed: mean)",
        ylabel="functions",
    )
    axes.legend(fontsize="small")
