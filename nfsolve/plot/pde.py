"""The picture of a PDE's solution: fields, references and errors, residuals on fresh points, and the history."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.plot.panels import (
    WIDEST,
    array,
    colour_bar,
    colour_scale,
    history_panel,
    legend_below,
    log_scale,
    new_figure,
    path_panel,
    phase_panel,
    residuals_panel,
    slices_panel,
    streamlines_panel,
)
from nfsolve.plot.resolved import axis_label
from nfsolve.plot.views import View, line, time_of, views
from nfsolve.problem.pde.conditions import arguments
from nfsolve.problem.pde.evaluate import in_pieces
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.problem import Problem
from nfsolve.problem.rows import Rows
from nfsolve.run.heldout import PIECE
from nfsolve.run.solution import Solution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Panel = tuple[Callable[[Axes], None], str | None]

AT_A_CORNER = 1e-9  # of the size: distance up to which a point is one
ACROSS = 3  # panels in a row, where nothing asks for more
SIDES = (3.7, 2.7)  # inches of a panel, less where more than ACROSS share a row
FLOWS = (("u", "v"), ("vx", "vy"), ("ux", "uy"))  # names of velocities


def pde_picture(solution: Solution) -> "Figure":
    """Draw the solution of a PDE.

    Returns:
        Each unknown over the line or plane of the domain, or over slices at stated places, beside its reference and
        error where there is one, an unknown of one coordinate along that; the path of a system that depends on time
        alone through its phase space; streamlines of velocities in a plane; the residuals there, in logarithmic
        colours; the paths of unknown scalars; the residuals on trained and on fresh points; the history, where there is
        more than its end.
    """
    problem = solution.problem
    assert isinstance(problem, PDE)
    like = solution.data["like"]

    def field(points: Tensor) -> Tensor:
        return in_pieces(solution.field, points.to(like)).cpu()

    shown = views(problem, solution.data, field)
    values = [living(problem, view, field(view.points)) for view in shown]
    rows = [row for i in range(len(problem.outputs)) for row in _unknown(solution, i, shown, values)]
    sizes, end = (
        _phases(problem, shown, values) + _flow(problem, shown, values) + _residuals(solution, shown),
        end_panels(solution),
    )
    if len(shown) > 1 and len(sizes) % len(shown) == 0:
        rows += [sizes[i : i + len(shown)] for i in range(0, len(sizes), len(shown))]
    else:
        end = sizes + end
    if len(shown) == 1 and shown[0].reference is None:  # few panels of one kind share their rows
        end, rows = [panel for row in rows for panel in row] + end, []
    return composed([*rows, *split(end)])


def living(problem: PDE, view: View, values: Tensor) -> Tensor:
    """Return values (n, k) at a view, NaN where an unknown does not live."""
    there = problem.living(view.points)
    return values if there is None else torch.where(there, values, torch.nan)


def end_panels(solution: Solution) -> "list[Panel]":
    """Return the panels that stand at the end of every picture: unknown scalars, residuals, and the history."""
    history, metrics = solution.history, solution.metrics
    names = [key.removeprefix("unknown/") for key in metrics if key.startswith("unknown/")]
    found: list[Panel] = [(partial(path_panel, history=history, name=name), None) for name in names]
    if any(key.startswith("heldout/") for key in metrics):
        found.append((partial(residuals_panel, scores=metrics), None))
    return [*found, (partial(history_panel, history=history), None)] if len(history) > 1 else found


def split(panels: "list[Panel]") -> "list[list[Panel]]":
    """Cut a list of panels into rows of nearly equal length."""
    n = -(-len(panels) // ACROSS)
    ends = [round(i * len(panels) / n) for i in range(n + 1)] if n else [0]
    return [panels[a:b] for a, b in zip(ends, ends[1:], strict=False)]


def composed(rows: "Sequence[Sequence[Panel]]") -> "Figure":
    """Draw rows of panels, each of which fills the width."""
    across = max(len(row) for row in rows)
    figure = new_figure(min(SIDES[0] * across, WIDEST), SIDES[1] * len(rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        for i, (draw, projection) in enumerate(row):
            draw(part.add_subplot(1, len(row), i + 1, projection=projection))
    return figure


def _unknown(solution: Solution, i: int, shown: list[View], values: list[Tensor]) -> "list[list[Panel]]":
    """Return the rows of one unknown: a row for each view with a reference, or one row for all views."""
    problem = solution.problem
    assert isinstance(problem, PDE)
    name, score = problem.outputs[i], solution.metrics.get(f"relative_l2/{problem.outputs[i]}")
    rows: list[list[Panel]] = []
    along = problem.depends.get(name) or problem.domain.names
    if len(along) == 1 < len(problem.domain.names):
        view = line(problem, problem.domain.index(along[0]), shown[0].reference is not None)
        view = replace(view, label="")  # it is the same wherever the others are
        like = solution.data["like"]
        shown, values = [view], [in_pieces(solution.field, view.points.to(like)).cpu()]
    elif {problem.domain.index(c) for c in along} <= set(shown[0].axes):  # as a coefficient at several times
        shown, values = [replace(shown[0], label="")], values[:1]
    for view, found in zip(shown, values, strict=True):
        u = view.arrange(found[:, i])
        v = None if view.reference is None else view.arrange(view.reference[:, i])
        show = partial(_values_panel, problem=problem, view=view)
        title = f"{name}, {view.label}" if view.label else name
        if len(view.axes) == 1:
            row: list[Panel] = [(partial(_curve_panel, problem=problem, view=view, name=name, u=u, v=v), None)]
        else:
            row = [
                (partial(show, values=u, title=title, scale=colour_scale(u, *([] if v is None else [v]))), _space(view))
            ]
        if v is not None:
            said = f"|{name} - reference|" + (f", {view.label}" if view.label else "")
            said += f"\nrelative L2 error {score:.2e}" if score is not None and len(shown) == 1 else ""
            error = np.abs(u - v)
            if len(view.axes) == 1:
                row.append(
                    (partial(_log_curve_panel, problem=problem, view=view, curves={name: error}, title=said), None)
                )
            else:
                same = partial(show, values=v, title=f"reference {title}", scale=colour_scale(u, v))
                off = {**colour_scale(error), "cmap": "magma"}
                row += [(same, _space(view)), (partial(show, values=error, title=said, scale=off), _space(view))]
        elif (estimated := _estimated(solution, i, view)) is not None:
            said = f"estimated |error of {title}|\nrelative L2 {solution.metrics[f'error_estimate/{name}']:.2e}"
            if len(view.axes) == 1:
                row.append(
                    (partial(_log_curve_panel, problem=problem, view=view, curves={name: estimated}, title=said), None)
                )
            else:
                off = {**log_scale(estimated), "cmap": "magma"}
                row.append((partial(show, values=estimated, title=said, scale=off), _space(view)))
        if (
            len(view.axes) == 2
            and view.shape is not None
            and len(shown) == 1
            and (v is not None or _timed(problem, view))
        ):
            row.append((partial(_slices, problem=problem, view=view, name=name, u=u, v=v), None))
        rows.append(row)
    if len(shown) > 1 and shown[0].reference is None:
        return [[panel for row in rows for panel in row]]
    return rows


def _estimated(solution: Solution, i: int, view: View) -> np.ndarray | None:
    """Return the size of the estimated error of an unknown at a view, None where there is no estimate."""
    if solution.estimate is None or not solution.estimate.trusted:
        return None
    return view.arrange(solution.estimated_error(view.points)[:, i].abs())


def _space(view: View) -> str | None:
    return "3d" if len(view.axes) == 3 else None


def _timed(problem: PDE, view: View) -> bool:
    return view.axes[0] not in problem.domain.space


def _named(problem: PDE, view: View) -> list[str]:
    """Return the labels of the axes of a view."""
    return [axis_label(problem.domain, i, ends) for i, ends in zip(view.axes, view.bounds, strict=True)]


def _slices(axes: "Axes", problem: PDE, view: View, name: str, u: np.ndarray, v: np.ndarray | None) -> None:
    names = [problem.domain.names[view.axes[0]], _named(problem, view)[1]]  # the first is named in a legend
    slices_panel(axes, u, v, view.bounds, names, name)


def _curve_panel(axes: "Axes", problem: PDE, view: View, name: str, u: np.ndarray, v: np.ndarray | None) -> None:
    """Draw an unknown along a line."""
    x, order, style = _along(view)
    if v is not None:
        axes.plot(x, v[order], "k", lw=4, alpha=0.3, ls=style["ls"], marker=style["marker"], label="reference")
    axes.plot(x, u[order], "C3", lw=1.2, label="solution", **style)
    axes.set(title=name, xlabel=_named(problem, view)[0], ylabel=name)
    if v is not None:
        axes.legend(fontsize="small")


def _log_curve_panel(axes: "Axes", problem: PDE, view: View, curves: dict[str, np.ndarray], title: str) -> None:
    """Draw sizes along a line."""
    x, order, style = _along(view)
    known = {name: values for name, values in curves.items() if (values > 0).any()}  # a logarithm has no zero
    for name, values in known.items():
        axes.semilogy(x, np.where(values[order] > 0, values[order], np.nan), label=name, lw=1.2, **style)
    if not known:  # an empty panel would look like a mistake
        axes.plot(x, np.zeros(len(x)), lw=1.2, **style)
    zero = ", ".join(name for name in curves if name not in known)
    axes.set(title=f"{title} (zero: {zero})" if zero else title, xlabel=_named(problem, view)[0])
    if len(known) > 1:
        legend_below(axes)


def _along(view: View) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return the coordinate along a line, the order of its points, and how they are drawn."""
    if view.shape is not None and view.inside is not None:
        full = np.full(len(view.inside), np.nan)
        full[view.inside.numpy()] = array(view.points[:, view.axes[0]])
        return full, np.arange(len(full)), {"ls": "-", "marker": ""}
    x = array(view.points[:, view.axes[0]])
    return np.sort(x), x.argsort(), {"ls": "", "marker": "."}


def _values_panel(axes: Any, problem: PDE, view: View, values: np.ndarray, title: str, scale: dict[str, Any]) -> None:
    """Draw values over a plane, or at scattered points of a plane or of space."""
    domain = problem.domain
    names, bounds = _named(problem, view), view.bounds
    if view.shape is not None:
        extent = (*bounds[0], *bounds[1])
        shown = axes.imshow(values.T, origin="lower", extent=extent, aspect="auto", **scale)
    else:
        columns = array(view.points[:, list(view.axes)]).T
        # edges, or pale dots would vanish
        shown = axes.scatter(
            *columns, c=values, s=max(4.0, min(30.0, 6000 / len(values))), edgecolors="0.6", linewidths=0.2, **scale
        )
    if len(names) == 3:
        axes.figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.1)
    else:
        colour_bar(axes, shown)
    axes.set_title(title)
    axes.set(xlabel=names[0], ylabel=names[1])
    if len(names) == 3:
        axes.set_zlabel(names[2])
        axes.set_box_aspect([max(high - low, 0.2 * domain.size) for low, high in bounds])
    elif set(view.axes) <= set(domain.space):
        sides = [high - low for low, high in bounds]
        axes.set_aspect("equal" if max(sides) < 4 * min(sides) else "auto")


def _phases(problem: PDE, shown: list[View], values: list[Tensor]) -> "list[Panel]":
    """Return the path of the first two or three unknowns of a system that depends on time alone."""
    if len(problem.domain.names) > 1 or time_of(problem.domain) is None or len(problem.outputs) < 2:
        return []
    first = problem.outputs[:3]
    columns = [shown[0].arrange(values[0][:, i]) for i in range(len(first))]
    known = shown[0].reference
    others = None if known is None else [shown[0].arrange(known[:, i]) for i in range(len(first))]
    draw = partial(phase_panel, columns=columns, others=others, names=first)
    return [(draw, "3d" if len(first) == 3 else None)]


def _flow(problem: PDE, shown: list[View], values: list[Tensor]) -> "list[Panel]":
    """Return streamlines over planes of space, where two unknowns are the velocities of a flow."""
    outputs, names = problem.outputs, problem.domain.names
    methods = [set(arguments(getattr(problem, name))) for name in problem.conditions()]
    found: list[Panel] = []
    for view, table in zip(shown, values, strict=True):
        if view.shape is None or len(view.axes) != 2 or not set(view.axes) <= set(problem.domain.space):
            continue
        x, y = (names[i] for i in view.axes)
        for u, v in FLOWS:
            together = problem.lives.get(u) == problem.lives.get(v)
            if together and {u, v} <= set(outputs) and any({f"{u}_{x}", f"{v}_{y}"} <= wanted for wanted in methods):
                flow = [view.arrange(table[:, outputs.index(name)]) for name in (u, v)]
                said = f"streamlines of ({u}, {v})" + (f", {view.label}" if view.label else "")
                found.append(
                    (
                        partial(streamlines_panel, u=flow[0], v=flow[1], bounds=view.bounds, names=(x, y), title=said),
                        None,
                    )
                )
    return found


def _residuals(solution: Solution, shown: list[View]) -> "list[Panel]":
    """Return the sizes of the interior residuals: of one in all views, of several in the middle one."""
    problem = bound(solution)
    assert isinstance(problem, PDE)
    names = [name for name, condition in problem.conditions().items() if condition.kind == "interior"]
    chosen = shown if len(names) == 1 else shown[len(shown) // 2 : len(shown) // 2 + 1]
    sizes = {(name, i): residual_size(solution, problem, name, view) for name in names for i, view in enumerate(chosen)}
    if chosen and len(chosen[0].axes) == 1:
        curves = {name: size for (name, _), size in sizes.items() if size is not None}
        draw = partial(
            _log_curve_panel, problem=problem, view=chosen[0], curves=curves, title="|residual| between trained points"
        )
        return [(draw, None)] if curves else []
    found: list[Panel] = []
    for (name, i), size in sizes.items():
        if size is None:
            continue
        view = chosen[i]
        said = f"|residual {name}|{chr(10) if len(name) > 9 else ' '}between trained points"
        title = said + (f"\n{view.label}" if view.label else "")
        draw = partial(_values_panel, problem=problem, view=view, values=size, title=title, scale=log_scale(size))
        found.append((draw, _space(view)))
    return found


def bound(solution: Solution) -> Problem:
    """Return the problem with the values that were found for its unknown scalars."""
    values = {name: solution.metrics.get(f"unknown/{name}") for name in solution.problem.unknown_scalars()}
    like = solution.data["like"]
    return solution.problem.with_(**{n: torch.as_tensor(v).to(like) for n, v in values.items() if v is not None})


def residual_size(solution: Solution, problem: PDE, name: str, view: View) -> np.ndarray | None:
    """Return the size of a residual at the points of a view; None where it needs more than points."""
    pieces = view.points.to(solution.data["like"]).split(PIECE)
    try:
        rows = [problem.residuals(solution.field, {name: Rows(piece)})[name] for piece in pieces]
    except (InputError, KeyError):
        return None
    size = torch.cat(rows).abs().square().sum(1).sqrt().cpu()
    region = problem.region_of(name, problem.conditions()[name])
    if region is not None:
        size = torch.where(region.contains(view.points), size, torch.nan)
    for corner in problem.domain.sharp_corners():  # where derivatives may be infinite
        away = view.points[:, list(corner.columns)].double() - torch.tensor(corner.place, dtype=torch.float64)
        size[away.norm(dim=1) < AT_A_CORNER * problem.domain.size] = torch.nan
    return view.arrange(torch.where(size.isfinite(), size, torch.nan))
