"""A problem before training: its domain, the points of every condition, normals, and what each residual says."""

import inspect
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.domains import Box, Domain
from nfsolve.options.docstrings import description
from nfsolve.plot.operator import input_panel
from nfsolve.plot.panels import array, new_figure, styled
from nfsolve.problem import PDE, Objective, OperatorPDE, Problem, SamplerState
from nfsolve.problem.pde.conditions import Condition
from nfsolve.problem.rows import IntegralRows, Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 2000  # drawn for one condition
MOST_ARROWS = 48
SAMPLES = 4  # input functions of an operator


@styled()
def show(problem: Problem, field: nn.Module | None = None, *, seed: int = 0) -> "Figure":
    """Draw what a problem asks for and where, before any training.

    More than three coordinates are projected on the first three. For an operator it draws some input functions as well.

    Args:
        problem: A `PDE`.
        field: A field, for the root mean square of each residual on these points, or None.
        seed: Seed of the points; the first points of a run with this seed are these.

    Returns:
        A figure; ``figure.savefig(path)`` writes it.

    Raises:
        InputError: The problem has no conditions on a domain, or they do not fit it.
        MissingExtra: matplotlib is not installed.
    """
    if not isinstance(problem, PDE):
        raise InputError(
            f"show draws a PDE, whose conditions hold on parts of a domain, but {type(problem).__name__} is not one",
            do="run it and look at the picture of its solution",
        )
    conditions: dict[str, Condition] = problem.conditions()
    rms: dict[str, float] = {}
    if field is None:
        data = problem.load("cpu", torch.float64)
        batch = problem.sample(data, SamplerState(), generator(seed, "points"))
    else:
        like = next(field.parameters())
        data = problem.load(like.device, like.dtype)
        objective = Objective(problem, field, data, generator(seed, "points"))
        with torch.no_grad():
            rms = {name: float(r.square().mean().sqrt()) for name, r in objective.residuals().items()}
        batch = objective.batch
    drawn = {name: _arrays(batch[name]) for name in conditions}
    domain: Domain = problem.domain
    d = len(domain.names)
    operator = isinstance(problem, OperatorPDE)
    if operator and "data" in batch:  # labels; where each function has its own points, those of the first
        points = batch["data"].points
        drawn["data"] = {"points": array(points.reshape(len(points), -1, d)[:, 0])}
    figure = new_figure(18.0 if operator else 12.0, 6.0)
    cells = figure.add_gridspec(1, 3 if operator else 2, width_ratios=(3, 3, 2) if operator else (3, 2))
    axes = figure.add_subplot(cells[0], projection="3d" if d > 2 else None)
    (_line if d == 1 else _plane if d == 2 else _space)(axes, domain, drawn)
    axes.set_title(repr(domain) if len(repr(domain)) < 80 else type(domain).__name__, fontsize="small")
    said = _functions(figure.add_subplot(cells[1]), problem, data) if operator else []
    if "data" in drawn and operator:
        said.append(
            f"labels (points data): {len(drawn['data']['points'])} in a mini-batch, weight {problem.data_weight:g}"
        )
    _legend(figure.add_subplot(cells[-1]), problem, conditions, drawn, rms, said)
    return figure


def _arrays(rows: Rows) -> dict[str, Any]:
    """Return points, and normals and partners where there are some, as arrays."""
    rows = rows.flat() if isinstance(rows, IntegralRows) else rows
    held = {"points": rows.points, "normals": rows.normals, "partners": rows.partners}
    return {name: array(values) for name, values in held.items() if values is not None}


def _functions(axes: "Axes", problem: OperatorPDE, data: dict[str, Any]) -> list[str]:
    """Draw some input functions as the field sees them; give in words how many there are, and where they come from."""
    tests, stored = data["test"].values, not data["test"].coefficients
    train = data["train"].values if "train" in data else None
    said = [
        f"{name} of ({', '.join(problem.inputs[name].split())}): {len(problem.sensor_points(name))} sensors"
        if problem.inputs[name]
        else f"{name}: a number"
        for name in problem.inputs
    ]
    if train is None:  # read one mini-batch at a time
        kind, values = "test", tests
    elif len(train):
        kind, values = "training", train
        said.append(f"{len(train)} training functions")
    else:
        chance = generator(problem.data_seed, "train")
        drawn = {name: space.sample(SAMPLES, chance) for name, space in problem.spaces().items()}
        kind, values = "training", problem.read(problem.at_sensors(drawn), data["like"])[1]
        said.append(f"training functions: {problem.batch} new ones for each mini-batch")
    said.append(f"{len(tests)} test functions")
    said.append(
        "the functions come from a file" if stored else f"the functions are drawn, data_seed = {problem.data_seed}"
    )
    plane = max(dims := [len(coordinates.split()) for coordinates in problem.inputs.values()]) > 1 and 1 not in dims
    values = array(values[: 1 if plane else SAMPLES])
    input_panel(axes, problem, values, marker=".")
    many = "one" if plane else str(len(values))
    title = f"{many} of the {kind} functions, dots: sensors\n{axes.get_title()}"
    axes.set_title(title, fontsize="small")
    return said


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """Choose rows spread over an array."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _markers(name: str, i: int, rows: dict[str, np.ndarray]) -> dict[str, Any]:
    small = "normals" not in rows and "partners" not in rows
    return {"s": 5 if small else 14, "alpha": 0.5 if small else 0.9, "color": f"C{i}", "label": name}


def _arrows(domain: Domain, rows: dict[str, np.ndarray], common: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and vectors of the normals that are drawn, a twentieth of the picture long."""
    starts, normals = _some(rows["points"], MOST_ARROWS), _some(rows["normals"], MOST_ARROWS)
    sides = np.array([high - low for low, high in domain.bounds])
    return starts, 0.06 * normals * (domain.size if common else sides)


def _line(axes: "Axes", domain: Domain, drawn: dict[str, dict[str, np.ndarray]]) -> None:
    x = domain.grid(500)
    inside = array(domain.contains(x)) > 0
    axes.fill_between(x[:, 0].numpy(), -0.5, len(drawn) - 0.5, where=inside.tolist(), color="0.93")
    for i, (name, rows) in enumerate(drawn.items()):
        for key in ("points", "partners"):
            if key in rows:
                at = _some(rows[key], MOST_POINTS)[:, 0]
                axes.scatter(at, np.full(len(at), i), **_markers(name, i, rows))
        if "normals" in rows:
            starts, vectors = _arrows(domain, rows, common=True)
            level = np.full(len(starts), i)
            axes.quiver(starts[:, 0], level, vectors[:, 0], 0 * level, **_FLAT, color=f"C{i}")
    axes.set(xlabel=domain.names[0], yticks=range(len(drawn)), yticklabels=list(drawn))
    axes.margins(x=0.1)


_FLAT: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.003}


def _plane(axes: "Axes", domain: Domain, drawn: dict[str, dict[str, np.ndarray]]) -> None:
    equal = not isinstance(domain, Box) and all(name not in ("t", "time") for name in domain.names)
    if domain.solid:
        n = 201
        x, y, distance = (
            array(column).reshape(n, n)
            for column in (*domain.grid(n, n).unbind(1), domain.signed_distance(domain.grid(n, n)))
        )
        axes.contourf(x, y, distance, levels=[distance.min() - 1, 1e-9 * domain.size], colors=["0.93"])
    for i, (name, rows) in enumerate(drawn.items()):
        for key in ("points", "partners"):
            if key in rows:
                axes.scatter(*_some(rows[key], MOST_POINTS).T, **_markers(name, i, rows))
        if "partners" in rows:
            pairs = zip(_some(rows["points"], 12), _some(rows["partners"], 12), strict=True)
            for first, second in pairs:
                axes.plot(*np.stack([first, second], 1), color=f"C{i}", lw=0.5, ls=":")
        if "normals" in rows:
            starts, vectors = _arrows(domain, rows, equal)
            axes.quiver(*starts.T, *vectors.T, **_FLAT, color=f"C{i}")
    axes.set(xlabel=domain.names[0], ylabel=domain.names[1], aspect="equal" if equal else "auto")
    # room for the arrows
    (left, right), (bottom, top) = (
        (low - 0.1 * (high - low), high + 0.1 * (high - low)) for low, high in domain.bounds
    )
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _space(axes: Any, domain: Domain, drawn: dict[str, dict[str, np.ndarray]]) -> None:
    for i, (name, rows) in enumerate(drawn.items()):
        for key in ("points", "partners"):
            if key in rows:
                axes.scatter(*_some(rows[key], MOST_POINTS)[:, :3].T, **_markers(name, i, rows))
        if "normals" in rows:
            starts, vectors = _arrows(domain, rows, common=False)
            axes.quiver(*starts[:, :3].T, *vectors[:, :3].T, color=f"C{i}", lw=0.8)
    axes.set(xlabel=domain.names[0], ylabel=domain.names[1], zlabel=domain.names[2])


def _legend(
    axes: "Axes",
    problem: PDE,
    conditions: dict[str, Condition],
    drawn: dict[str, dict[str, np.ndarray]],
    rms: dict[str, float],
    more: list[str],
) -> None:
    """Write each residual in the colour of its points: number, weight, where, and its first line; then more."""
    axes.axis("off")
    first = description(type(problem)).partition("\n")[0]
    lines: list[tuple[str, str, bool]] = [(type(problem).__name__, "black", True)]
    lines += [(line, "black", False) for line in textwrap.wrap(first, 60)]
    for i, (name, condition) in enumerate(conditions.items()):
        size = f" rms {rms[name]:.2e}" if name in rms else ""
        lines += [("", "black", False), (f"{name}{size}", f"C{i}", True)]
        n, weight = len(drawn[name]["points"]), condition.weight
        lines.append((f"{_where(condition)}, {n} points, weight {weight:g}", f"C{i}", False))
        said = (inspect.getdoc(problem.method(name)) or "").splitlines()[:1]
        lines += [(line, "black", False) for line in textwrap.wrap("".join(said), 60)]
    lines += [("", "black", False), ("input functions", "black", True)] if more else []
    lines += [(line, "black", False) for text in more for line in textwrap.wrap(text, 60)]
    step = min(0.045, 1.0 / len(lines))
    for row, (text, color, bold) in enumerate(lines):
        # names may hold what matplotlib would read as a formula
        axes.text(
            0, 1 - row * step, text, color=color, va="top", fontsize=9 if step > 0.03 else 6,
            weight="bold" if bold else "normal", transform=axes.transAxes, parse_math=False,
        )  # fmt: skip


def _where(condition: Condition) -> str:
    """Return a mark as it was written."""
    if condition.kind == "measured":
        named = getattr(condition.data, "__name__", repr(condition.data))
        return "@measured(data in memory)" if isinstance(condition.data, dict) else f"@measured({named})"
    if condition.at is not None:
        return f"@{condition.kind}(points=...)"
    said = [f"{name}={value}" for name, value in condition.sides.items()]
    said += [f"part={', '.join(condition.part)}"] if condition.part else []
    if condition.kind == "integral":
        said = [] if condition.over is None else [f"over={condition.over!r}"]
        return f"@integral({', '.join([*said, f'equals={condition.equals!r}'])})"
    if condition.kind == "interface":
        said = [", ".join(condition.part)]
    if condition.where is not None:
        said.append(f"where={condition.where}" if isinstance(condition.where, str) else "where=...")
    return f"@{condition.kind}({', '.join(said)})" if said else f"@{condition.kind}"
