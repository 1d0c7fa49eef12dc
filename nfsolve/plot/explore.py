"""What a page about a run lets a reader explore: values over two coordinates, with sliders for the others."""

import base64
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from nfsolve.domains import Domain
from nfsolve.plot.measurement import named
from nfsolve.plot.panels import array
from nfsolve.plot.pde import bound, living, residual_size
from nfsolve.plot.resolved import axis_label, resolved_bounds
from nfsolve.plot.views import View, across_and_fixed
from nfsolve.problem import PDE, Measurement, OperatorPDE
from nfsolve.problem.operator.families import as_read, several
from nfsolve.problem.pde.evaluate import as_field, in_pieces
from nfsolve.problem.pde.sample import Reference
from nfsolve.reconstruct import classical_images
from nfsolve.run.solution import Solution

ALONG = {1: 400, 2: 101}  # points along each axis, where no coordinate has a slider
BESIDE_SLIDERS = 48  # ... and where one has
IN_ALL = 100_000  # points of all positions of the sliders together, about
SLIDERS = 3  # coordinates beyond these stay in the middle
POSITIONS = 21  # of a slider, at most
FUNCTIONS = 12  # test functions of an operator
LARGEST = 160  # pixels along a side of a picture or a slice
LEVELS = 65534  # values of a quantity are kept as so many steps between its smallest and its largest


@dataclass(frozen=True)
class Axis:
    """A coordinate.

    Attributes:
        name: Its name, with its unit where that is known.
        values: Its values, rising or falling ``(n,)``.
        labels: What a slider shows in their place; empty for the values.
    """

    name: str
    values: np.ndarray
    labels: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return what is written into the page."""
        return {"name": self.name, "values": [float(f"{v:.5g}") for v in self.values], "labels": list(self.labels)}


@dataclass(frozen=True)
class Quantity:
    """Values that a map or a curve shows.

    Attributes:
        name: What they are.
        values: Over the sliders, then over the axes; NaN where there are none; colours in [0, 1] on a
            last side of 3.
        colours: ``values`` for one scale, blue to red where the sign changes; ``error`` for sizes from zero on; ``log``
            for sizes over decades.
        like: Name of the quantity in whose scale it is shown, and with which curves are compared.
    """

    name: str
    values: np.ndarray
    colours: str = "values"
    like: str = ""


@dataclass(frozen=True)
class Explorer:
    """Quantities over the same axes and sliders.

    Attributes:
        axes: The horizontal coordinate of a map and the vertical one; or that of a curve.
        sliders: The coordinates that are chosen by sliders.
        quantities: What there is to see.
        note: What a reader should know, in words.
        image: Whether the first row is on top, as in an image.
        inputs: For each position of the first slider the input of an operator, as name, places and values.
    """

    axes: list[Axis]
    sliders: list[Axis]
    quantities: list[Quantity]
    note: str = ""
    image: bool = False
    inputs: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return what is written into the page, with values as base64."""
        return {
            "axes": [axis.plain() for axis in self.axes],
            "sliders": [axis.plain() for axis in self.sliders],
            "quantities": [_packed(quantity) for quantity in self.quantities],
            "image": self.image,
            "inputs": self.inputs,
        }


def explorer(solution: Solution) -> Explorer | None:
    """Evaluate a solution for a page.

    Args:
        solution: A solution with its data.

    Returns:
        For a PDE its unknowns, references, errors and residuals; for an operator its answers to test functions; for a
        measurement and for problems with `nfsolve.Problem.maps` images; None for others, and for clouds of points.
    """
    problem = solution.problem
    with torch.no_grad():
        if isinstance(problem, Measurement):
            return _images(_measured(solution))
        if isinstance(problem, OperatorPDE):
            return _operator(solution)
        if isinstance(problem, PDE):
            return _pde(solution) if problem.domain.solid else None
        maps = problem.maps(solution.field, solution.data)
        return None if maps is None else _images({name: array(values) for name, values in maps.items()})


def _packed(quantity: Quantity) -> dict[str, Any]:
    """Write the values of a quantity as unsigned integers of two bytes; the largest stands for no value."""
    said = {"name": quantity.name, "colours": quantity.colours, "like": quantity.like}
    if quantity.colours == "rgb":
        return said | {"data": _base64((255 * quantity.values.clip(0, 1)).round().astype(np.uint8))}
    values = quantity.values.astype(np.float64)
    if quantity.colours == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values)
        values = np.where(np.isfinite(values), np.maximum(values, np.nanmax(values, initial=-300.0) - 6), np.nan)
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 1.0)
    steps = np.zeros_like(values) if high == low else (values - low) / (high - low) * LEVELS
    steps = np.where(known, steps, LEVELS + 1).round().astype("<u2")
    return said | {"low": low, "high": high, "data": _base64(steps)}


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _pde(solution: Solution) -> Explorer:
    """Evaluate a PDE on a grid: that of its reference, where a file has it, thinned; else one of even steps."""
    problem, data = solution.problem, solution.data
    assert isinstance(problem, PDE)
    domain: Domain = problem.domain
    axes, fixed = across_and_fixed(domain)
    reference: Reference | None = data.get("reference")
    stored = reference is not None and bool(reference.sizes) and not hasattr(problem, "exact")
    counts, note = _counts(domain, axes, fixed)
    bounds = list(domain.bounds)
    if not stored:
        drawn = [lambda points: in_pieces(solution.field, points.to(data["like"]))]
        ends = resolved_bounds(domain, drawn, {i: counts[i] for i in axes})
        bounds = [ends.get(i, known) for i, known in enumerate(bounds)]
    lines, places = [], []
    for i, (low, high) in enumerate(bounds):
        size = reference.sizes[i] if stored and reference is not None and reference.sizes else counts[i]
        place = np.unique(np.linspace(0, size - 1, min(counts[i], size)).round().astype(int))
        place = np.array([size // 2]) if counts[i] == 1 else place
        places.append(place)
        lines.append(low + (high - low) * (place / max(size - 1, 1)) if size > 1 else np.array([(low + high) / 2]))
    order = (*(i for i in fixed if counts[i] > 1), *axes)  # of the tables: sliders, then axes
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(lines))
    points = torch.from_numpy(grid)
    inside = domain.contains(points)
    view = View(points[inside], tuple(range(len(lines))), "", tuple(bounds), tuple(map(len, lines)), inside)

    def table(values: np.ndarray) -> np.ndarray:
        whole = values.reshape(view.shape or ())
        left = [i for i in range(whole.ndim) if i not in order]
        flat = whole.transpose(*left, *order)
        return flat.reshape(*(whole.shape[i] for i in order))

    values = living(problem, view, in_pieces(solution.field, view.points.to(data["like"])).cpu())
    known = None
    if stored:
        assert reference is not None
        known = _stored(reference, places)
    elif reference is not None and (exact := getattr(problem, "exact", None)) is not None:
        known = living(problem, view, as_field(exact, domain.names)(view.points))
    quantities = []
    for i, name in enumerate(problem.outputs):
        u = table(view.arrange(values[:, i]))
        quantities.append(Quantity(name, u))
        if known is not None:
            v = table(known[..., i] if isinstance(known, np.ndarray) else view.arrange(known[:, i]))
            quantities.append(Quantity(f"reference {name}", v, like=name))
            quantities.append(Quantity(f"|{name} - reference|", np.abs(u - v), "error"))
    with_values = bound(solution)
    assert isinstance(with_values, PDE)
    for name, condition in problem.conditions().items():
        if condition.kind == "interior":
            size = residual_size(solution, with_values, name, view)
            if size is not None:
                quantities.append(Quantity(f"|residual {name}|", table(size), "log"))
    named_axes = [Axis(axis_label(domain, i, bounds[i]), lines[i]) for i in range(len(lines))]
    return Explorer([named_axes[i] for i in axes], [named_axes[i] for i in order if i in fixed], quantities, note)


def _counts(domain: Domain, axes: tuple[int, ...], fixed: tuple[int, ...]) -> tuple[list[int], str]:
    """Return the number of points along each coordinate, 1 for those in the middle, and a note on these."""
    slid, still = fixed[:SLIDERS], fixed[SLIDERS:]
    along = BESIDE_SLIDERS if slid else ALONG[len(axes)]
    each = int((IN_ALL / along ** len(axes)) ** (1 / len(slid))) if slid else 1
    each = max(3, min(POSITIONS, each | 1))  # an odd number, so that the middle is one of them
    counts = [along if i in axes else each if i in slid else 1 for i in range(len(domain.names))]
    at = ", ".join(f"{domain.names[i]} = {sum(domain.bounds[i]) / 2:.4g}" for i in still)
    return counts, f"All of this is at {at}." if at else ""


def _stored(reference: Reference, places: list[np.ndarray]) -> np.ndarray:
    """Return reference values at some rows of its grid, NaN where there are none."""
    sizes = reference.sizes
    assert sizes
    values = array(reference.values)
    whole = np.full((math.prod(sizes), values.shape[1]), np.nan)
    whole[slice(None) if reference.inside is None else reference.inside.cpu().numpy()] = values
    chosen = whole.reshape(*sizes, -1)[np.ix_(*places)]
    return chosen.reshape(-1, values.shape[1])


def _operator(solution: Solution) -> Explorer | None:
    """Evaluate an operator for some test functions, from the best to the worst."""
    problem, data = solution.problem, solution.data
    assert isinstance(problem, OperatorPDE)
    grid, test = data["grid"], data["test"]
    sizes, names = grid.sizes, problem.domain.names
    if grid.points.ndim != 2 or not sizes or len(sizes) != len(names):
        return None  # each function has points of its own
    rows, labels = np.arange(min(len(test), FUNCTIONS)), ()
    if test.truth is not None:
        errors = problem.errors(solution.field, data).nan_to_num(0.0).amax(1)
        order = errors.argsort().numpy()
        rows = order[np.unique(np.linspace(0, len(order) - 1, FUNCTIONS).round().astype(int))]
        labels = tuple(f"{row} (relative error {errors[row]:.1e})" for row in rows)
    functions = as_read([f[rows] for f in several(test.functions)])
    points = array(grid.points).reshape(*sizes, -1)
    thin = [slice(None, None, max(1, n // 64)) for n in sizes[:2]] + [slice(n // 2, n // 2 + 1) for n in sizes[2:]]
    kept = points[tuple(thin)]
    answers = array(
        problem.predict(solution.field, functions, torch.from_numpy(kept.reshape(-1, len(names))).to(grid.points))
    )
    shape = (len(rows), *kept.shape[: min(len(sizes), 2)])
    quantities = []
    for i, name in enumerate(problem.outputs):
        u = answers[..., i].reshape(shape)
        quantities.append(Quantity(f"operator {name}", u))
        if test.truth is not None:
            truth = array(test.truth[rows][..., i]).reshape(len(rows), *sizes)[(slice(None), *thin)].reshape(shape)
            quantities.append(Quantity(f"reference {name}", truth, like=f"operator {name}"))
            quantities.append(Quantity(f"|operator - reference| of {name}", np.abs(u - truth), "error"))
    axes = [
        Axis(names[i], np.moveaxis(kept, i, 0)[(slice(None), *[0] * (len(names) - 1), i)])
        for i in range(len(shape) - 1)
    ]
    return Explorer(
        axes, [Axis("test function", rows.astype(float), labels)], quantities, inputs=_inputs(problem, test, rows)
    )


def _inputs(problem: OperatorPDE, test: Any, rows: np.ndarray) -> dict[str, Any]:
    """Return the first input function of one coordinate at its sensors, for some test functions."""
    parts = np.split(array(test.values[rows]), np.cumsum(several(problem.sensor_counts))[:-1], axis=1)
    for name, values in zip(problem.inputs, parts, strict=True):
        sensors = array(problem.sensor_points(name))
        if sensors.ndim == 2 and sensors.shape[1] == 1 and not problem.own_sensors(name):
            along = [[float(f"{v:.5g}") for v in row] for row in values]
            return {"name": name, "over": problem.inputs[name], "at": sensors[:, 0].tolist(), "values": along}
    return {}


def _measured(solution: Solution) -> dict[str, np.ndarray]:
    """Return the field of a measurement on its grid, beside what is known and what classical methods find."""
    problem, data = solution.problem, solution.data
    assert isinstance(problem, Measurement)
    images = {"field": problem.on_grid(solution.field, data)}
    images |= {named(name): other.image for name, other in classical_images(data).items()}
    if (truth := data.get("truth")) is not None:
        images["truth"] = truth
        images |= {
            f"|{name} - truth|": (values.to(truth) - truth).abs() for name, values in images.items() if name != "truth"
        }
    shape = problem.shape
    return {name: array(values.reshape(*shape, -1))[..., 0] for name, values in images.items()}


def _images(maps: dict[str, np.ndarray]) -> Explorer | None:
    """Show images, slices of volumes or lines; those with a name |...| are errors."""
    first = next(iter(maps.values()))
    coloured = first.ndim == 3 and first.shape[-1] == 3
    shape = first.shape[:-1] if coloured else first.shape
    if not 1 <= len(shape) <= 3:
        return None
    thin = [slice(None, None, -(-n // LARGEST)) for n in shape]
    if len(shape) == 3:
        thin[0] = slice(None, None, -(-shape[0] // POSITIONS))
    quantities, base = list[Quantity](), ""
    for name, values in maps.items():
        error = name.startswith("|")
        kind = "error" if error else "rgb" if coloured and values.ndim > len(shape) else "values"
        quantities.append(Quantity(name, values[tuple(thin)], kind, "" if error else base))
        base = base or name
    lines = [np.arange(n, dtype=float)[part] for n, part in zip(shape, thin, strict=True)]
    if len(shape) == 1:
        return Explorer([Axis("position", lines[0])], [], quantities)
    # a table (rows, columns) has its columns along the horizontal axis, which comes first here
    turned = [
        Quantity(q.name, np.swapaxes(q.values, len(shape) - 2, len(shape) - 1), q.colours, q.like) for q in quantities
    ]
    sliders = [Axis("slice", lines[0])] if len(shape) == 3 else []
    return Explorer([Axis("column", lines[-1]), Axis("row", lines[-2])], sliders, turned, image=True)
