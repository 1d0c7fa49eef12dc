"""The solution of a problem: the trained field, its scores, and how the run ended."""

import dataclasses
import html
import math
import pkgutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError, nearest
from nfsolve.diff import parse, partials
from nfsolve.domains import Domain
from nfsolve.fields import Field
from nfsolve.problem import Problem
from nfsolve.run import export
from nfsolve.run.integral import integral_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OTHER_NAMES = {
    **dict.fromkeys(
        ("save", "dump", "to_file"),
        'give out="runs/mine" to solve, and read it with nfsolve.load("runs/mine"); of this solution '
        "torch.save(solution.field.state_dict(), path) keeps the weights, and solution.export(path) the values",
    ),
    **dict.fromkeys(("loss", "losses"), 'see solution.metrics["loss"] and solution.history'),
    **dict.fromkeys(
        ("error", "errors", "score", "scores"), "see solution.metrics, and solution.estimated_error(points)"
    ),
    **dict.fromkeys(("model", "net", "network", "u"), "the trained network is solution.field"),
    **dict.fromkeys(("evaluate", "eval", "forward"), "write solution.predict(points)"),
    **dict.fromkeys(("gradient", "grad", "jacobian"), 'write solution.derivative("u_x", points)'),
    **dict.fromkeys(("show", "picture", "figure"), "write solution.plot()"),
    **dict.fromkeys(("parameters", "unknowns", "scalars"), 'unknown scalars are solution.metrics["unknown/NAME"]'),
}
"""What other programs call an attribute of a solution -> what to write instead."""

ANSWERS = ("predict", "estimated_error", "derivative", "integral", "plot", "export", "to_xarray", "trained")
CHECKED_POINTS = 20_000  # distances from a mesh take long


@dataclass
class ErrorEstimate:
    """How far a solution is from the exact one, as far as its residuals can tell.

    Attributes:
        relative_l2: Estimated relative L2 error of each unknown.
        trusted: Whether the estimate can be relied on.
        reason: Why it cannot, or what it rests on, in words.
        left: Part of the held-out residual that the correction leaves.
        correction: Field minus its estimated error, the improved solution.
    """

    relative_l2: dict[str, float]
    trusted: bool
    reason: str
    left: float
    correction: nn.Module | None = None

    @property
    def worst(self) -> float:
        """The largest estimate over the unknowns, nan where there is none."""
        return max(self.relative_l2.values(), default=math.nan)

    def metrics(self) -> dict[str, Any]:
        """Return the entries of ``metrics.json``: numbers where they are to be trusted, else a sentence."""
        if not self.trusted:
            return {"error_estimate": self.reason}
        return {"error_estimate": self.worst} | {f"error_estimate/{n}": v for n, v in self.relative_l2.items()}


@dataclass
class Solution:
    """The result of `solve`.

    Attributes:
        problem: The problem.
        field: The trained field, an `nn.Module`: points ``(n, d)`` -> values ``(n, k)``; the field of an operator also
            takes functions, see ``trained``.
        metrics: Scores by name, with the keys of the run folder's ``metrics.json``.
        history: Rows with step, seconds, evaluations, the loss, the rms of each residual, and scores.
        stopped: Why the run ended, in words.
        failed: Whether the result is unusable (non-finite or diverged).
        interrupted: Whether the user stopped the run.
        seconds: Wall-clock seconds of training, over all resumptions.
        evaluations: Residual evaluations of the optimizers; a Jacobian counts as two.
        steps: Optimizer steps.
        data: What ``problem.load`` returned.
        folder: The run folder, or None.
        warnings: Sentences about doubts in the solution, such as residuals that are larger between trained points.
        decisions: What the automatic recipe chose, in sentences.
        estimate: The error as far as residuals can tell it, where that was estimated.
    """

    problem: Problem
    field: nn.Module
    metrics: dict[str, Any]
    history: list[dict[str, Any]] = dataclasses.field(repr=False)
    stopped: str
    failed: bool
    interrupted: bool
    seconds: float
    evaluations: int
    steps: int
    data: dict[str, Any] = dataclasses.field(repr=False)
    folder: Path | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    decisions: list[str] = dataclasses.field(default_factory=list)
    estimate: ErrorEstimate | None = dataclasses.field(default=None, repr=False)
    painter: ClassVar[str] = "nfsolve.plot.solution:picture"  # of a floor above, found when a picture is asked for

    @property
    def trained(self) -> nn.Module:
        """What `nfsolve.load` would return: the field, or for an operator a checked ``trained(functions, points)``."""
        return self.problem.trained(self.field)

    @overload
    def predict(self, points: np.ndarray, batch: int = 65536, out: Any = None) -> np.ndarray: ...
    @overload
    def predict(self, points: Tensor, batch: int = 65536, out: Any = None) -> Tensor: ...
    def predict(self, points: np.ndarray | Tensor, batch: int = 65536, out: Any = None) -> np.ndarray | Tensor:
        """Evaluate the field at any number of points, part by part and without gradients.

        Args:
            points: Points ``(n, d)``, on any device and of any type. A NumPy array may lie on the disk (``np.load(path,
                mmap_mode="r")``); it is read part by part.
            batch: Points at a time.
            out: Where to write the values, anything ``(n, k)`` that takes parts, such as an array of zarr or
                ``np.lib.format.open_memmap``; None makes an array in memory.

        Returns:
            Values ``(n, k)`` in the field's type: an array for an array, a tensor on the device of a tensor. An unknown
            that lives on a part of the domain is NaN elsewhere. ``out`` where that is given.

        Raises:
            InputError: Another number of columns, ``batch`` below 1, or an ``out`` of another shape.
        """
        with torch.no_grad():
            return self._at("predict", points, batch, self.field, self._outputs, out)

    @overload
    def estimated_error(self, points: np.ndarray, batch: int = 65536) -> np.ndarray: ...
    @overload
    def estimated_error(self, points: Tensor, batch: int = 65536) -> Tensor: ...
    def estimated_error(self, points: np.ndarray | Tensor, batch: int = 65536) -> np.ndarray | Tensor:
        """Estimate the error at any points: the field minus the one that a linearised correction makes of it.

        The estimate of ``metrics["error_estimate"]``, point by point: it shows where the error is large. Near points
        where it is small it is less reliable than its norm.

        Args:
            points: Points ``(n, d)``, as for `predict`.
            batch: Points at a time.

        Returns:
            Values ``(n, k)``, with their sign: an array for an array, a tensor for a tensor.

        Raises:
            InputError: There is no estimate of this solution, or none to be trusted; or points as for `predict`.

        Examples:
            >>> import nfsolve as nf
            >>> from problems.pde.poisson import Poisson
            >>> solution = nf.solve(Poisson(), recipe="auto", seed=0, report=None)
            >>> abs(solution.estimated_error([[0.5, 0.5]]).item()) < 1e-10
            True
        """
        found = self.estimate
        if found is None or not found.trusted or found.correction is None:
            why = f"the estimate is {found.reason}" if found else "none was made, or it was not kept with a saved run"
            raise InputError(
                f"the error of this solution has no estimate: {why}",
                do="solve a PDE with recipe='auto', or longer, and ask the solution that this returns",
            )
        better = found.correction
        with torch.no_grad():
            return self._at(
                "estimated_error", points, batch, lambda part: self.field(part) - better(part), self._outputs
            )

    @overload
    def __call__(self, what: str, points: Tensor) -> Tensor: ...
    @overload
    def __call__(self, what: str, points: Any) -> np.ndarray: ...
    @overload
    def __call__(self, what: Tensor) -> Tensor: ...
    @overload
    def __call__(self, what: Any) -> np.ndarray: ...
    def __call__(self, what: Any, points: Any = None, batch: int = 65536) -> Any:
        """Evaluate unknowns and derivatives by their names, ``solution("u v_x", points)``; without names, as `predict`.

        Args:
            what: Names as in the signature of a residual, separated by spaces; or points alone.
            points: Points ``(n, d)``, as for `predict`.
            batch: Points at a time.

        Returns:
            Values ``(n, m)`` of m names: an array for an array, a tensor for a tensor.

        Raises:
            InputError: An unknown name, names without points, or points as for `predict`.
        """
        if not isinstance(what, str):
            return self.predict(what, batch)
        if points is None:
            raise InputError(f"solution({what!r}) needs points, got none", do=f"write solution({what!r}, points)")
        return self._named(what, points, batch)

    def derivative(self, name: str, points: Any = None, batch: int = 65536) -> Any:
        """Evaluate a derivative of the field at any number of points, part by part.

        Args:
            name: As in the signature of a residual: ``u_x``, ``u_tx``, ``lap_u``.
            points: Points ``(n, d)``, as for `predict`.
            batch: Points at a time.

        Returns:
            Values ``(n, 1)``: an array for an array, a tensor for a tensor.

        Raises:
            InputError: An unknown name, a name without points, or points as for `predict`.

        Examples:
            >>> import nfsolve as nf
            >>> from problems.pde.poisson import Poisson
            >>> solution = nf.solve(Poisson(), steps=1, report=None)
            >>> solution.derivative("u_xx", [[0.5, 0.5], [0.1, 0.2]]).shape
            (2, 1)
            >>> solution("u u_x lap_u", [[0.5, 0.5], [0.1, 0.2]]).shape
            (2, 3)
        """
        if points is None:
            raise InputError(
                f"derivative({name!r}) needs points, got none", do=f"write solution.derivative({name!r}, points)"
            )
        return self._named(name, points, batch)

    @property
    def _outputs(self) -> tuple[str, ...]:
        return tuple(getattr(self.problem, "outputs", ()))

    def _named(self, names: str, points: Any, batch: int) -> Any:
        columns, what = columns_of(self.problem, self.field, names), "solution(...)" if " " in names else "derivative"
        outputs = self._outputs
        heads = [
            max((o for o in outputs if o in (n, n[4:]) or n.startswith(o + "_")), key=len, default="")
            for n in names.split()
        ]
        return self._at(what, points, batch, lambda part: columns(self.field, part).detach(), heads)

    def integral(
        self,
        what: str | Callable[..., Tensor],
        over: Any = None,
        *,
        nodes: int | None = None,
        **at: Any,
    ) -> Any:
        """Integrate an unknown, a derivative or a function of them, by quadrature.

        Args:
            what: A name such as ``"u"`` or ``"u_x"``; or a function with the signature of a residual, as in
                ``lambda p, n_x: p * n_x``.
            over: Region of integration: None for the inside of the domain; the name of a part of it or of its boundary,
                such as ``"core"``, ``"rim"`` or ``"x=1"``, or ``"boundary"`` for the whole boundary; two parts, for
                their interface; a shape within the domain; or ``{"x": 0.5}``, a section.
            nodes: Number of nodes of the quadrature along each coordinate; by default as many as are cheap.
            **at: Coordinate -> a fixed value or several, as in ``t=0.5``. The integral runs over the other coordinates.

        Returns:
            A number, or an array ``(k,)`` if the function has k columns; one of these for each value of a coordinate
            that is given several.

        Raises:
            InputError: A name, a part or a coordinate that the problem does not have, or a domain without volume.

        Examples:
            >>> import nfsolve as nf
            >>> from problems.pde.poisson import Poisson
            >>> solution = nf.solve(Poisson(), steps=1, report=None)
            >>> flux = solution.integral(lambda u_x, u_y, n_x, n_y: u_x * n_x + u_y * n_y, over="boundary")
            >>> source = solution.integral("lap_u")
            >>> abs(flux - source) < 1e-9  # the theorem of Gauss
            True
        """
        return integral_of(self, what, over, nodes, at)

    def _at(
        self,
        what: str,
        points: Any,
        batch: int,
        function: Callable[[Tensor], Tensor],
        heads: Sequence[str],
        out: Any = None,
    ) -> Any:
        """Evaluate a function of points (n, d), part by part, on the device and in the type of the field.

        Its columns are NaN where the unknowns ``heads`` are not defined.
        """
        table = _as_table(points)
        names = getattr(self.field, "inputs", None)
        if hasattr(self.field, "across"):
            raise InputError(
                f"{what} takes points alone, but an operator takes input functions too",
                do="call solution.trained(functions, points)",
            )
        if table.ndim != 2 or (names is not None and table.shape[1] != len(names)):
            raise InputError(
                f"{what} takes points {f'(n, {len(names)}) with columns ' + ', '.join(names) if names else '(n, d)'}, "
                f"got shape {tuple(table.shape)}",
                do="give every point a row, as in [[0.1, 0.2]]",
            )
        if batch < 1:
            raise InputError(f"batch must be at least 1 point, got {batch}", do="choose a positive number")
        outside = _Outside(self.problem, len(table))
        like = next(self.field.parameters())
        dtype = like.real.dtype if like.is_complex() else like.dtype
        dtype = torch.float64 if isinstance(self.field, Field) else dtype  # which casts them itself, far from zero too
        values: Any = None
        for start in range(0, max(len(table), 1), batch):
            part = table[start : start + batch]
            found = function(part.to(like.device, dtype)).to(table.device)
            outside.see(part)
            found = self._where_alive(found, part, heads)
            if values is None:
                values = _room(out, found, len(table))
            filled: Any = found if isinstance(values, Tensor) else found.numpy()
            values[start : start + len(part)] = filled
        outside.tell()
        return values.numpy() if isinstance(values, Tensor) and not isinstance(points, Tensor) else values

    def _where_alive(self, values: Tensor, points: Tensor, heads: Sequence[str]) -> Tensor:
        """Return values that are NaN where their unknowns are not defined."""
        living = getattr(self.problem, "living", lambda _: None)(points.detach().to("cpu", torch.float64))
        if living is None:
            return values
        order = [self._outputs.index(head) for head in heads]
        return torch.where(living[:, order].to(values.device), values, torch.nan)

    def plot(self) -> "Figure | None":
        """Draw the solution, as a run folder has it in ``solution.png``.

        Returns:
            A matplotlib figure, which the caller saves or closes; None if there is nothing to draw.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return pkgutil.resolve_name(self.painter)(self)

    def __getattr__(self, name: str) -> Any:
        """Say what to write for what other programs call so."""
        known = [*(f.name for f in dataclasses.fields(self)), *ANSWERS]
        hint = OTHER_NAMES.get(name) or nearest(name, known)
        raise AttributeError(f"A Solution has no attribute '{name}': {hint}", name=name, obj=self)

    def export(self, path: str | Path, shape: tuple[int, ...] | None = None, names: str | None = None) -> Path:
        """Write the field on a grid of the domain for other programs.

        ``.npz`` holds one axis for each coordinate and one array over the axes for each unknown, NaN outside the
        domain: the layout of reference files. ``.zarr`` holds the same in chunks, and xarray opens it. Both are
        evaluated and written block by block, so that memory does not grow with the grid. ``.vtu`` (VTK) holds the cells
        of the grid whose corners are all in the domain; coordinates take the places of x, y, z in their order. Of a
        `PointCloud` each holds the points.

        Args:
            path: File to write; its ending chooses the format.
            shape: Points along each coordinate; default about 100 000 in all.
            names: Unknowns and derivatives, as in ``"u u_x lap_u"``; default all unknowns.

        Returns:
            The path.

        Raises:
            InputError: Another ending, no domain, an unknown name, or more coordinates than VTK has.
            MissingExtra: A ``.vtu`` without meshio, or a ``.zarr`` without zarr.
        """
        path = Path(path)
        writers = {".npz": export.write_npz, ".zarr": export.write_zarr, ".vtu": export.write_vtu}
        if path.suffix not in writers:
            raise InputError(
                f"export writes .npz, .zarr or .vtu, got the name '{path.name}'", do="end the name with one of them"
            )
        d = len(getattr(getattr(self.problem, "domain", None), "names", ()))
        if path.suffix == ".vtu" and d > 3:
            raise InputError(f"VTK has at most 3 coordinates, but this domain has {d}", do="write .npz")
        places = export.places_of(self, shape, names)
        path.parent.mkdir(parents=True, exist_ok=True)
        writers[path.suffix](path, places, in_words(self.metrics))
        return path

    def to_xarray(self, shape: tuple[int, ...] | None = None, names: str | None = None) -> Any:
        """Return the field on a grid of the domain as a dataset of xarray.

        Args:
            shape: Points along each coordinate; default about 100 000 in all.
            names: Unknowns and derivatives, as in ``"u u_x lap_u"``; default all unknowns.

        Returns:
            An `xarray.Dataset` with the coordinates of the problem as dimensions (of a `PointCloud` with the dimension
            ``point``), NaN outside the domain; its attributes are the scores of the solution.

        Raises:
            InputError: No domain, or an unknown name.
            MissingExtra: xarray is not installed.
        """
        return export.dataset(export.places_of(self, shape, names), in_words(self.metrics))

    def __str__(self) -> str:
        """Say how the run ended, how large the residuals are, and every score."""
        scores = {key: value for key, value in self.metrics.items() if key not in _OWN}
        parameters = sum(p.numel() for p in self.field.parameters())
        took = f"{self.seconds:.3g} s, {self.steps:,} steps, {self.evaluations:,} evaluations"
        peak = self.metrics.get("peak_bytes")
        took += f", {peak / 1e9:.2g} GB of memory" if peak else ""
        ended = {"stopped": self.stopped, "training": took}
        if "loss" in scores:
            ended["loss"] = _number(scores.pop("loss"))
        blocks = [_columns(list(ended.items()))]
        for head, known in _TABLES.items():
            kinds = {key.partition("/")[0] for key in scores if "/" in key}
            columns = {key: title for key, title in known.items() if key in kinds}
            if list(columns) == ["unknown"]:  # without an uncertainty it is a line by itself
                continue
            names = dict.fromkeys(key.partition("/")[2] for key in scores if key.partition("/")[0] in columns)
            names.pop("", None)  # the same key without a name is the largest of all
            rows = [(f"  {name}", *(_score(key, scores.pop(f"{key}/{name}", "")) for key in columns)) for name in names]
            blocks += [_columns([(head, *columns.values()), *rows])] if rows else []
        blocks += [_columns([(key, _score(key, value)) for key, value in scores.items()])] if scores else []
        title = f"{type(self.problem).__name__} by {type(self.field).__name__} ({parameters:,} parameters)"
        warned = [f"warning: {message}" for message in self.warnings]
        return "\n".join([title, "-" * len(title), "\n\n".join(blocks), *warned])

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return f"<pre>{html.escape(str(self))}</pre>"


def columns_of(problem: Any, field: Any, names: str) -> Callable[[Any, Tensor], Tensor]:
    """Return the function (field, points ``(n, d)``) -> ``(n, m)`` of m unknowns and derivatives.

    Args:
        problem: The problem.
        field: Its field, whose names are read.
        names: As in the signature of a residual, separated by spaces: ``u``, ``u_x lap_u``.

    Raises:
        InputError: An unknown name.
    """
    domain, outputs = getattr(problem, "domain", None), getattr(field, "outputs", None)
    inputs = getattr(field, "inputs", None) or getattr(domain, "names", ())
    outputs = outputs or getattr(problem, "outputs", ())
    read = [parse(name, tuple(outputs), tuple(inputs), getattr(domain, "space", None)) for name in names.split()]

    def columns(net: Any, points: Tensor) -> Tensor:
        found = partials(net, points, {name.along for name in read})
        return torch.cat([found[name.along][:, name.output : name.output + 1] for name in read], 1)

    return columns


def in_words(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return metrics as a file holds them: scores that are not finite numbers in words."""
    return {
        key: value
        if not isinstance(value, float) or math.isfinite(value)
        else "undefined"
        if math.isnan(value)
        else "infinite"
        if value > 0
        else "minus infinite"
        for key, value in metrics.items()
    }


def doubtful(metrics: dict[str, Any]) -> list[str]:
    """Say which relative errors do not exist, or say little.

    Args:
        metrics: Scores.

    Returns:
        A sentence for each that is not a number, and for each whose reference hardly varies.
    """
    said = []
    for key, value in metrics.items():
        kind, _, name = key.partition("/")
        error = metrics.get(f"relative_l2/{name}", math.nan)
        if kind == "zero_solutions" and not math.isnan(error):
            text = f"leaves out {value} test functions, whose solution is zero everywhere: they have no relative error"
            said.append(f"relative_l2/{name} {text}")
        if kind == "relative_l2" and name and isinstance(value, float) and not math.isfinite(value):
            known = metrics.get(f"max_error/{name}")
            largest = "" if known is None else f"; max_error/{name} is {_number(known)}"
            what = "undefined, since its reference is zero" if math.isnan(value) else "infinite, too large for a number"
            said.append(f"{key} is {what}{largest}")
        if kind == "relative_to_variation":
            text = f"is {_number(error)}, but the reference hardly varies: relative to that it is {_number(value)}"
            said.append(f"relative_l2/{name} {text}")
    return said


_OWN = ("seconds", "cpu_seconds", "evaluations", "steps", "parameters", "peak_bytes", "stopped")
_TABLES = {
    "residuals": {"rms": "trained", "heldout": "held out", "heldout_max": "largest, held out"},
    "unknown scalars": {
        "unknown": "value",
        "standard_error": "standard error",
        "interval_low": "95 % from",
        "interval_high": "to",
    },
    "errors": {"relative_l2": "relative L2", "max_error": "largest", "reference_floor": "of the reference itself"},
}


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows of a table under each other, in columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _score(key: str, value: Any) -> str:
    """Write a score; of an unknown scalar as many digits as tell it from a round number."""
    exact = key.partition("/")[0] in ("unknown", "interval_low", "interval_high")
    return f"{value:.7g}" if exact and isinstance(value, float) else _number(value)


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return in_words({"": value})[""]
    return f"{value:.3e}" if value != 0 and not 1e-2 <= abs(value) < 1e4 else f"{value:.4g}"


def _as_table(points: Any) -> Tensor:
    """Return points as a tensor that shares their memory; an array on the disk is read where it is needed."""
    if isinstance(points, np.ndarray) and not points.flags.writeable:
        with warnings.catch_warnings():  # nothing is written to it
            warnings.simplefilter("ignore")
            return torch.from_numpy(points)
    return torch.as_tensor(points)


def _room(out: Any, first: Tensor, n: int) -> Any:
    """Return what takes n rows of values like the first ones."""
    if out is None:
        return first.new_empty(n, *first.shape[1:])
    if tuple(out.shape) != (n, *first.shape[1:]):
        raise InputError(
            f"out must take values of shape {(n, *first.shape[1:])}, got one of shape {tuple(out.shape)}",
            do="give it a row for each point and a column for each unknown",
        )
    return out


class _Outside:
    """Points at which a field is asked for and was not trained; of many they are only compared with the bounds.

    Args:
        problem: Its problem.
        n: How many points there will be.
    """

    def __init__(self, problem: Problem, n: int):
        domain = getattr(problem, "domain", None)
        self.domain = domain if isinstance(domain, Domain) and domain.solid else None
        self.n, self.count, self.first = n, 0, list[float]()

    def see(self, table: Tensor) -> None:
        """Count those among some points."""
        domain = self.domain
        if domain is None or table.shape[1] != len(domain.names):
            return
        points = table.detach().to("cpu", torch.float64, copy=True)
        low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
        wraps = torch.tensor(domain.periodic)
        points[:, wraps] = (low + (points - low).remainder(high - low))[:, wraps]
        outside = ((points < low - 1e-6 * domain.size) | (points > high + 1e-6 * domain.size)).any(1)
        if self.n <= CHECKED_POINTS:
            outside |= ~domain.contains(points, slack=1e-6 * domain.size)
        if not self.count and outside.any():
            self.first = table[outside.to(table.device)][0].tolist()
        self.count += int(outside.sum())

    def tell(self) -> None:
        """Warn if points lay outside the domain."""
        if self.count and self.domain is not None:
            place = ", ".join(f"{name} = {value:g}" for name, value in zip(self.domain.names, self.first, strict=True))
            warnings.warn(
                f"{self.count} of {self.n} points lie outside {self.domain!r}, where the field was not "
                f"trained; the first is {place}",
                stacklevel=5,
            )
