"""An operator from pairs of functions of your own: values of f at its sensors -> values of s at points.

The file, .npz, .mat, HDF5, netCDF, zarr, .pt or a folder of .npy files, holds ``f`` (functions, sensors); ``x``, the
points of s, (points, d) for all functions or (functions, points, d) if each has its own; and ``s`` at these points,
(functions, points) or (functions, points, k). It may also hold ``f_sensors`` (sensors, d), the points at which f is
given, (functions, sensors, d) if each function has its own. Functions on a grid may be (functions, *grid). The layouts
of PDEBench and of neuraloperator are recognised by their names. docs/operators.md says more.

    nfsolve run deeponet_pairs --pairs my.npz --test others.npz
    nfsolve run deeponet_pairs --pairs my.h5 --reads "f g" --coordinates "t x"
    nfsolve run deeponet_pairs --pairs 1D_Burgers_Sols_Nu0.01.hdf5 --times last
"""

import math
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from nfsolve import Box, InputError, OperatorPDE, Recipe, RunOptions, Stage, main, periodic
from nfsolve import generator as seeded
from nfsolve.data.tables import find_file
from nfsolve.fields import FNO, GELU, GatheredDeepONet, ScatteredOperator, Skip
from nfsolve.fields.start import NEARLY
from nfsolve.functions import Pairs, check_leakage, read_pairs
from nfsolve.functions.pairs import has_test
from nfsolve.functions.stored import rows_of
from nfsolve.optim import SOAP, OutputLayer
from nfsolve.problem.operator.families import as_read, several
from nfsolve.problem.operator.resampled import axes_of_grid, resampled, same_places
from nfsolve.problem.operator.samples import FunctionSet, axes_of, label_rows, root_mean_square
from nfsolve.problem.pde.sample import Grid
from problems.operators._form import Form, disordered, grid_sizes

SOME = 1000  # rows that are in memory at once, and from which scales are taken
LEAST = 1e-3  # of the deviation of all s: labels smaller than that count as if they were as large
FLAT = 1e-6  # slopes of labels in units of their size, below which they count as none
UNRESOLVED = 100.0  # deviation of s in units of the rounding of its mean, below which nothing can be learned
MOST = 4096  # points of a function in a mini-batch, unless more are asked for
MOST_PLACES, LEAST_PLACES = 2000, 20  # common points, not on a grid, between which values are interpolated
MOST_SENSORS = 400  # of a function that has its own, which a Gaussian regression brings to common places
EXACT = 1e-3  # the same for series, whose steps are small
SMALL = {"eps": 1e-15, "relative_eps": 1e-5}  # of SOAP, for what a network adds to a good map has tiny gradients
LARGEST_GRID = 2**15  # points of a grid on which a Fourier neural operator is the default
NAMES = ("x", "y", "z")


@dataclass
class PairsOperator(OperatorPDE):
    """The operator f -> s from pairs of functions in a file."""

    pairs: str = ""
    """file with f, x and s, or its name under $NFSOLVE_DATA; or a folder"""
    test: str = ""
    """file with pairs to test on; empty holds some of the others out"""
    every: int = 10
    """one in this many pairs is held out"""
    reads: str = ""
    """names of the input functions in the file, separated by spaces; empty for f, or as a known layout says"""
    gives: str = ""
    """names of the output functions in the file, separated by spaces; empty for s, or as a known layout says"""
    points: str = ""
    """name of the points in the file, or one name for each axis of a grid; empty for x, or those of the layout"""
    coordinates: str = ""
    """names of the columns of x, separated by spaces; empty for x, or x y, or x y z, or x1 x2 and so on"""
    periodic: str = "auto"
    """coordinates along which the functions are periodic, separated by spaces; auto sees it from the values, or none"""
    times: Literal["all", "last", "next"] = "all"
    """pairs of series in time: first value to all later ones, first to the last one, or each to the next one"""
    n_tests: int = field(default=1000, kw_only=True)
    """largest number of held-out pairs on which the operator is scored"""
    n_points: int = field(default=0, kw_only=True)
    """points of each function in a mini-batch; 0 takes all, of more than 4096 as many as that"""
    batch: int = field(default=32, kw_only=True)
    """functions in a mini-batch"""
    slopes: float = field(default=0.3, kw_only=True)
    """weight of the misfit of slopes beside that of values, for outputs on a grid; 0 leaves it out"""
    symmetries: str = field(default="", kw_only=True)
    """symmetries by which pairs on a grid are varied: x=y where a swap of coordinates of the input functions swaps
    those of the solution, -x where a mirror mirrors it; separated by spaces"""
    physics: bool = field(default=False, init=False)
    data: bool = field(default=True, init=False)
    n_functions: int = field(default=1, init=False)
    sensors: int = field(default=1, init=False)
    data_seed: int = field(default=0, init=False)
    n_face: int = field(default=1, init=False)
    solved: int = field(default=0, init=False)

    needs = "pairs of functions, --pairs FILE"
    domain = property(lambda self: self._form.domain)  # type: ignore[assignment]  # of the instance
    unknowns = property(lambda self: " ".join(self._form.output_scales))  # type: ignore[assignment]
    inputs = property(lambda self: self._form.inputs)  # type: ignore[assignment]
    _kept: ClassVar[Form | None] = None  # what a run folder kept of the file

    def __post_init__(self):
        for name, low in {"every": 2, "n_tests": 2, "batch": 1, "n_points": 0}.items():
            if getattr(self, name) < low:
                raise InputError(
                    f"{name} must be at least {low}, got {getattr(self, name)}", do="choose a larger number"
                )

    @property
    def _form(self) -> Form:
        return self._kept or self._known.form

    def given(self):
        """Return names, places and scales of the pairs, which a trained operator needs without their file."""
        return self._form.stored()

    def with_given(self, stored):
        """Return this problem with the names, places and scales that a run kept."""
        return self.with_(_kept=Form.from_stored(stored)) if stored else self

    @cached_property
    def _known(self) -> "Known":
        if not self.pairs:
            raise InputError(
                "deeponet_pairs needs a file or folder with functions f, points x and solutions s",
                do="give --pairs FILE",
            )
        path, names = self._found(self.pairs), (self.reads, self.points, self.gives)
        pairs, test = read_pairs(path, *names, times=self.times), None
        if self.test or has_test(path, *names):
            other = self._found(self.test) if self.test else path
            test = read_pairs(other, *names, times=self.times, test=not self.test)
            fitting(pairs, test)
        known = Known(pairs, test, self.coordinates.split(), self.every, self.periodic)
        if self._kept is not None and not known.form.same(self._kept):
            text = f"the pairs in '{self.pairs}' are not those of the run, whose names, places and scales are used"
            warnings.warn(text, stacklevel=2)
        return known

    def _found(self, name: str) -> Path:
        return Path(name) if Path(name).exists() else find_file(name, type(self))

    def cautions(self):
        """Say in words what was assumed about the file, and which field is the default for it."""
        return [*self._known.notes(), self._chosen[1]]

    @property
    def _chosen(self) -> tuple[str, str]:
        """Which field is the default, and why in words; grid, places or plain."""
        if any(map(self.own_sensors, self.inputs)):
            widest = max(self._form.widths[n] // (1 + self.sensor_points(n).shape[1]) for n in self._form.own)
            if widest > MOST_SENSORS:
                why = f"each function has up to {widest} sensors of its own: the default field is attention"
                return "places", why
            return "gathered", "each function has sensors of its own: the default field brings it to common places"
        try:
            grid = self.layout()["grid"]
        except InputError as error:
            why = str(error).partition(". ")[0].removeprefix("a Fourier neural operator needs ")
            return "plain", f"the default field is a DeepONet, for a Fourier neural operator would need {why}"
        sizes = " x ".join(map(str, grid))
        if math.prod(grid) > LARGEST_GRID:
            return "plain", f"the default field is a DeepONet, for the grid of {sizes} points is a large one"
        return "grid", f"functions are on a uniform grid, {sizes}: the default field is a Fourier neural operator"

    def spaces(self):
        """None: the functions are those of the file."""
        return {}

    def sensor_points(self, name):
        """Return the places of the sensors; their numbers where the file does not have them."""
        return self._form.places[name]

    @property
    def sensor_counts(self):
        """Number of columns that the field reads of each input function."""
        return as_read(list(self._form.widths.values()))

    def own_sensors(self, name):
        """Say whether each function has sensors of its own for this input."""
        return name in self._form.own

    def seen(self, values):
        """Bring each input function to mean 0 and deviation 1 over the training functions, places to [-1, 1]."""
        return as_read([self._form.scaled(name, values[name]) for name in self.inputs])

    def output_transform(self):
        """The field is of order one; its outputs get the means and deviations of the training labels."""
        return partial(rescaled, *self._scales)

    @property
    def _scales(self) -> tuple[list[float], list[float]]:
        """Means and deviations of the outputs."""
        mean, size = zip(*self._form.output_scales.values(), strict=True)
        return list(mean), list(size)

    def load(self, device, dtype):
        """Read the pairs that are held out, and refuse those that are among the others."""
        like, known = torch.empty(0, device=device, dtype=dtype), self._known
        test, rows = known.test or known.pairs, known.held_out[: self.n_tests]
        inputs, points, truth = test.take(rows)
        inputs = [
            resampled(n, f, known.others[n], self.sensor_points(n), tuple(own.split()), self.domain)
            if n in known.others
            else f
            for (n, own), f in zip(self.inputs.items(), inputs, strict=True)
        ]
        functions, values = self.read(dict(zip(self.inputs, inputs, strict=True)), like)
        check_leakage(map(Tensor.nan_to_num, known.training_inputs()), values.nan_to_num())
        for name, mean, size in zip(self.outputs, *self._scales, strict=True):
            if size < UNRESOLVED * torch.finfo(dtype).eps * abs(mean):
                raise InputError(
                    f"{name} varies by {size:.1e} about {mean:.6g}, which {str(dtype)[6:]} does not resolve",
                    do="subtract its mean in the file" + (", or use dtype float64" if dtype != torch.float64 else ""),
                )
        grid = self.as_points(points if test.aligned else points.transpose(0, 1), like)
        return {
            "like": like,
            "grid": Grid(grid, (test.aligned and grid_sizes(points)) or (len(grid),)),
            "quick": torch.randperm(len(grid), generator=seeded(0, "quick"))[:SOME].to(device),
            "lifting": {},
            "test": FunctionSet(functions, values, truth=truth.to(device)),
        }

    def sample(self, data, state, generator):
        """Read a mini-batch of pairs, some points of each."""
        known, like = self._known, data["like"]
        rows = known.training[torch.randperm(len(known.training), generator=generator)[: self.batch]]
        inputs, points, truth = known.pairs.take(rows)
        for symmetry in self.symmetries.split():
            chosen = torch.rand(len(rows), generator=generator) < 0.5
            inputs, truth = self._varied(symmetry, chosen, inputs, truth)
        functions, _ = self.read(dict(zip(self.inputs, inputs, strict=True)), like)
        size = root_mean_square(truth)
        size = size.maximum(LEAST * torch.tensor(self._scales[1], dtype=torch.float64))
        wanted = self.n_points or MOST
        if wanted < truth.shape[1]:
            places = torch.randperm(truth.shape[1], generator=generator)[:wanted]
            truth, points = truth[:, places], points[places] if known.pairs.aligned else points[:, places]
        points = points if known.pairs.aligned else points.transpose(0, 1)
        labels = label_rows(self.as_points(points, like), truth, size, like, functions, {})
        return {"data": labels} | ({"slopes": labels} if self._takes_slopes else {})

    @property
    def _takes_slopes(self) -> bool:
        count = int(np.prod(self._form.sizes)) if self._form.sizes else 0
        return self.slopes > 0 and 0 < count <= (self.n_points or MOST)

    def weights(self):
        """Return the weights of the misfit of labels, and of that of their slopes."""
        return super().weights() | ({"slopes": self.slopes} if self._takes_slopes else {})

    def residuals(self, field, batch):
        """Evaluate the misfit of the labels, and that of slopes between neighbours on the grid.

        The loss is then a discrete Sobolev norm: W. M. Czarnecki et al., NeurIPS 2017, arXiv 1706.04859.
        """
        found = super().residuals(field, {"data": batch["data"]}) if "data" in batch else {}
        rows = batch.get("slopes")
        if rows is not None:
            same = "data" in batch and batch["data"] is rows
            misfit = found["data"] if same else super().residuals(field, {"data": rows})["data"]
            found["slopes"] = slopes_of(misfit, (rows.truth / rows.size).to(misfit), rows.copies, self._form.sizes)
        return found

    def _varied(self, symmetry: str, chosen: Tensor, inputs: Any, truth: Tensor) -> tuple[list[Tensor], Tensor]:
        """Apply a symmetry to some of the functions ``(n, m)`` and to their solutions ``(n, points, k)``."""
        names, sizes = self.domain.names, self._form.sizes
        own = [tuple(self.inputs[n].split()) for n in self.inputs]
        grids = [grid_sizes(self.sensor_points(n)) for n in self.inputs]
        given = symmetry.removeprefix("-").split("=")
        fits = bool(sizes) and set(given) <= set(names) and not any(map(self.own_sensors, self.inputs))
        fits &= len(given) == (1 if symmetry.startswith("-") else 2)
        tables = [*zip(own, grids, strict=True), (names, sizes)] if fits else []
        for axes, counts in tables:
            fits &= len(axes) == len(counts) and len(set(given) & set(axes)) in (0, len(given))
        if not fits or not all(self._symmetric(given, *table) for table in tables):
            raise InputError(
                f"symmetries must be swaps, x=y, or mirrors, -x, of {', '.join(names)} that map the uniform grids of "
                f"all functions to themselves, got '{symmetry}'",
                do="leave it out, or store both ends of the interval",
            )
        flat = [f.unflatten(1, counts) for f, (_, counts) in zip(inputs, tables, strict=False)]
        moved = [
            torch.where(_as_rows(chosen, f), _moved(f, given, axes), f)
            for f, (axes, _) in zip([*flat, truth.unflatten(1, sizes)], tables, strict=True)
        ]
        return [f.flatten(1) for f in moved[:-1]], moved[-1].flatten(1, len(sizes))

    def _symmetric(self, given: list[str], axes: tuple[str, ...], counts: tuple[int, ...]) -> bool:
        """Say whether a swap or a mirror maps a grid to itself."""
        if not set(given) <= set(axes):
            return True
        ends = self._form.highest, dict(zip(self.domain.names, self.domain.bounds, strict=True))
        if len(given) == 2:
            first, second = (counts[axes.index(n)] for n in given)
            return first == second and ends[1][given[0]] == ends[1][given[1]]
        return not self.domain.periodic[self.domain.names.index(given[0])]

    def snapshots(self):
        """Return the first training labels, where they are on a grid; as in `OperatorPDE`."""
        _, points, truth = self._known.first
        sizes = tuple(map(len, axes_of_grid(points))) if self._known.pairs.aligned else ()
        if not sizes:
            raise InputError("modes of labels need points x of a grid, which these are not", do="use DeepONet")
        return axes_of(points, sizes), truth.unflatten(1, sizes)

    def training_functions(self):
        """Return the first training functions as the field reads them; as in `OperatorPDE`."""
        return several(self.seen(dict(zip(self.inputs, self._known.first[0], strict=True))))

    def layout(self):
        """Return how functions lie on a grid, for a Fourier neural operator; as in `OperatorPDE`."""
        return self._form.layout()

    def on_layout(self, grid):
        """Return training pairs from which a network may start, and how good a map must be for that.

        None where a run folder is opened: what a field made of them is among its weights. Of series in time it is one
        pair of each, since times beside the one that is left out would flatter a map.

        Returns:
            The first functions as they are read ``(n, m)``, raw labels on a grid ``(n, p)``, and the error below which
            a map is a start, relative to the deviation of the labels.
        """
        if self._kept is not None:
            return None
        inputs, _, truth = self._known.first
        each = self._known.pairs.group
        if each > 1:
            rows = torch.arange(len(truth) // each)
            rows = rows * each + rows % each
            inputs, truth = [values[rows] for values in inputs], truth[rows]
        seen = self.seen(dict(zip(self.inputs, inputs, strict=True)))
        mean, size = (torch.tensor(part, dtype=torch.float64) for part in self._scales)
        laid = ((truth - mean) / size).unflatten(1, self._form.sizes)
        for i, count in enumerate(grid):
            laid = laid.narrow(i + 1, 0, count)
        return torch.cat(several(seen), 1), laid.flatten(1), EXACT if each > 1 else NEARLY

    def on_places(self):
        """Return points that no grid has, the first training pairs as they are read, and raw labels ``(n, p, k)``.

        None where functions have points or sensors of their own, on a grid, which is for `on_layout`, and for more
        than 2000 points.
        """
        if self._kept is not None or self._form.own or self._form.sizes:
            return None
        if not self._known.pairs.aligned or self._known.pairs.group > 1:
            return None
        inputs, points, truth = self._known.first
        if len(points) > MOST_PLACES or len(points) < LEAST_PLACES or not bool(truth.isfinite().all()):
            return None
        seen = self.seen(dict(zip(self.inputs, inputs, strict=True)))
        mean, size = (torch.tensor(part, dtype=torch.float64) for part in self._scales)
        return points.double(), torch.cat(several(seen), 1), (truth - mean) / size

    def on_sensors(self):
        """Return the first training functions as they are read, points of the outputs, and raw labels ``(n, p, k)``.

        None where a run folder is opened. The points, with the labels, are None where functions have points of their
        own, labels are missing or series are learned step by step, and of a large set of points some are taken.
        """
        if self._kept is not None or not self._form.own:
            return None
        inputs, points, truth = self._known.first
        seen = several(self.seen(dict(zip(self.inputs, inputs, strict=True))))
        apt = self._known.pairs.aligned and self._known.pairs.group == 1 and len(points) >= LEAST_PLACES
        if not apt or not bool(truth.isfinite().all()):
            return seen, None, None
        some = torch.randperm(len(points), generator=seeded(0, "places"))[:SOME] if len(points) > SOME else slice(None)
        mean, size = (torch.tensor(part, dtype=torch.float64) for part in self._scales)
        return seen, points[some].double(), (truth[:, some] - mean) / size

    def recipe(self):
        """A Fourier neural operator on grids, common places where functions have their own sensors, else a DeepONet."""
        kind = self._chosen[0] if self._kept is not None or self.pairs else "plain"
        recipe = super().recipe()
        if kind == "gathered":
            field = partial(
                GatheredDeepONet, width=64, depth=4, latent=64, activation=GELU(), branch=Skip(activation=GELU())
            )
            stages = (Stage(partial(SOAP, lr=3e-3, **SMALL), steps=3000, schedule="cosine"),)
            return replace(recipe, field=field, stages=stages)
        if kind == "places":
            return replace(recipe, field=partial(ScatteredOperator, width=64, depth=2, slices=32))
        if kind == "plain":
            return replace(recipe, stages=(Stage(partial(SOAP, lr=3e-3, **SMALL), steps=3000, schedule="cosine"),))
        return Recipe(
            field=partial(FNO, width=32, depth=4, modes=16),
            stages=(
                Stage(partial(SOAP, lr=3e-3, max_size=256, **SMALL), steps=6000, schedule="cosine", warmup=0.02),
                Stage(OutputLayer, steps=1, share=0.15),
            ),
            run=RunOptions(log_every=200),
        )


def fitting(pairs: Pairs, test: Pairs) -> None:
    """Refuse test pairs that are not of the form of the others."""
    every = range(len(pairs.inputs))
    ours, theirs = ([p.width(i) for i in range(len(p.inputs))] for p in (pairs, test))
    fits = len(ours) == len(theirs) and all(
        n == m or pairs.scattered(i) or (_placed(pairs, i) and _placed(test, i))
        for i, n, m in zip(every, ours, theirs, strict=True)
    )
    if pairs.gives != test.gives or not fits:
        raise InputError(
            f"test pairs must have the inputs and outputs of the others, {ours} values of {', '.join(pairs.names)} -> "
            f"{', '.join(pairs.gives)}, got {theirs} of {', '.join(test.names)} -> {', '.join(test.gives)}",
            do="resample the test functions at the sensors of the others, or store the places of both as NAME_sensors",
        )


def _placed(pairs: Pairs, i: int) -> bool:
    """Say whether the places of an input are known, the same for all functions."""
    return i < len(pairs.sensors) and pairs.sensors[i] is not None and pairs.sensors[i].ndim == 2


class Known:
    """What the file says before anything is trained.

    Args:
        pairs: The open file.
        test: That of test pairs, or None to hold some out.
        coordinates: Names of the coordinates of the points, or none.
        every: Every which pair is held out.
        wraps: As ``periodic`` of `PairsOperator`.
    """

    def __init__(self, pairs: Pairs, test: Pairs | None, coordinates: list[str], every: int, wraps: str):
        self.pairs, self.test, d = pairs, test, pairs.points.shape[-1]
        self._divide(every)
        functions = {*pairs.names, *pairs.gives}
        names = coordinates or list(pairs.coordinates) or _names(d, functions)
        if len(names) != d:
            raise InputError(f"points of {d} columns need {d} coordinates, got {len(names)}", do="name each column")
        taken = set(names) & functions
        if taken:
            raise InputError(f"'{min(taken)}' names a coordinate and a function", do="give them different names")
        inputs, points, outputs = self.first
        self.sizes = grid_sizes(points) if pairs.aligned else ()
        self.domain = self._box(names, wraps, inputs, points, outputs)
        self.places, self.inputs = {}, {}
        for i, name in enumerate(pairs.names):
            self._place(i, name, names)
        self.others = {  # places of test functions that are not the sensors
            name: torch.from_numpy(np.asarray(test.sensors[i], np.float64))
            for i, name in enumerate(pairs.names)
            if test is not None and _placed(pairs, i) and _placed(test, i)
        }
        self.others = {n: at for n, at in self.others.items() if not same_places(at, self.places[n])}
        flat = outputs.flatten(0, 1)
        mean = flat.nanmean(0)
        size = (flat - mean).square().nanmean(0).sqrt()
        self.form = Form(
            domain=self.domain,
            inputs=self.inputs,
            places=self.places,
            own=tuple(n for i, n in enumerate(pairs.names) if pairs.scattered(i)),
            widths={n: pairs.width(i) for i, n in enumerate(pairs.names)},
            input_scales=dict(zip(pairs.names, (self._scales(i, f) for i, f in enumerate(inputs)), strict=True)),
            output_scales={n: (m, s or 1.0) for n, m, s in zip(pairs.gives, mean.tolist(), size.tolist(), strict=True)},
            sizes=self.sizes if len(self.sizes) == d else (),
            highest=self.highest,
        )

    def _divide(self, every: int) -> None:
        count = len(self.pairs)
        if self.test is not None:
            self.training, self.held_out = torch.arange(count), torch.arange(len(self.test))
            return
        last = torch.arange(count) // self.pairs.group % every == every - 1
        self.held_out, self.training = last.nonzero()[:, 0], (~last).nonzero()[:, 0]
        if len(self.held_out) < 2:
            raise InputError(
                f"at least 2 pairs must be held out, but of {count} only {len(self.held_out)} would be, one in {every}",
                do="give a smaller --every N" if count > 3 else "give more pairs, or pairs to test on as --test FILE",
            )

    def _box(self, names: list[str], wraps: str, inputs: Any, points: Tensor, outputs: Tensor) -> Box:
        """Return the box of the points, periodic where the user or the values say so."""
        bounds = dict(zip(names, _bounds([self.pairs, *([self.test] if self.test else [])]), strict=True))
        self.highest = {name: high for name, (_, high) in bounds.items()}
        said = wraps.split() if wraps not in ("auto", "none") else []
        for name in said:
            if name not in names:
                raise InputError(f"periodic must name coordinates, {', '.join(names)}, got '{name}'", do="choose one")
        self.wrapped, whole = [], len(self.sizes) == len(names)
        for i, name in enumerate(names):
            low, high = bounds[name]
            laid = [outputs.unflatten(1, self.sizes).movedim(i + 1, 1)] if whole else []
            laid += [f[..., None] for f in inputs if len(self.sizes) == 1 and f.shape[1:] == self.sizes]
            closed = bool(laid) and all(closes(values) for values in laid)
            goes_on = bool(laid) and whole and all(continues(values) for values in laid)
            if name in said or (wraps == "auto" and (closed or goes_on)):
                step = 0.0 if closed or not whole else (high - low) / (self.sizes[i] - 1)
                bounds[name] = periodic(low, high + step)  # type: ignore[assignment]
                self.wrapped.append(name)
        return Box(**bounds)

    def _place(self, i: int, name: str, names: list[str]) -> None:
        """Note where an input function is given, and of which coordinates it is a function."""
        f, given = self.pairs.inputs[i], self.pairs.sensors[i] if i < len(self.pairs.sensors) else None
        if given is None or given.ndim == 3:
            d = 1 if given is None else given.shape[2]
            rows = None if given is None else rows_of(given, np.arange(1), "the sensors", gaps=True)[0]
            self.places[name] = (
                torch.arange(f.shape[1])[:, None].double() if rows is None else rows[~rows.isnan().any(1)]
            )
            self.inputs[name] = "sensor" if given is None else " ".join(self._along(rows, names) or _names(d))
            return
        self.places[name] = torch.from_numpy(np.asarray(given, np.float64))
        self.inputs[name] = " ".join(self._along(self.places[name], names) or _names(given.shape[1]))

    def _along(self, at: Tensor | None, names: list[str]) -> list[str]:
        """Return the coordinates on which sensors lie: all of them, or the one whose interval they fill best."""
        if at is None or at.shape[1] == len(names) or at.shape[1] != 1:
            return names if at is not None and at.shape[1] == len(names) else names[1:] if self._later(at) else []
        low, high = float(at.nan_to_num(0.0).min()), float(at.nan_to_num(0.0).max())
        gaps = {
            n: abs(low - a) / (b - a) + abs(high - b) / (b - a)
            for n, (a, b) in zip(names, self.domain.bounds, strict=True)
        }
        best = min(gaps, key=lambda n: (round(gaps[n], 3), n == "t", names.index(n)))
        return [best] if gaps[best] < 0.1 else []

    def _later(self, at: Tensor | None) -> bool:
        return at is not None and at.shape[1] == len(self.domain.names) - 1 and self.domain.names[0] == "t"

    def _scales(self, i: int, f: Tensor) -> tuple[float, float]:
        """Return mean and deviation of an input function."""
        if self.pairs.scattered(i):
            f = f.unflatten(1, (self.pairs.inputs[i].shape[1], -1))[..., 0]
        mean = f.nanmean()
        return float(mean), float(
            (f - mean).square().nansum().div((~f.isnan()).sum().sub(1).clamp_min(1)).sqrt()
        ) or 1.0

    def notes(self) -> list[str]:
        """Return what was assumed about the file, in words."""
        found = list(self.pairs.notes)
        found += [
            f"functions are taken to be periodic in {n}, as their values are (--periodic none)" for n in self.wrapped
        ]
        found += [
            f"test functions '{n}' are given at {len(at)} other places: they are interpolated to the "
            f"{len(self.places[n])} sensors of the training"
            for n, at in self.others.items()
        ]
        _, points, outputs = self.first
        given = {"points": points} if self.pairs.aligned else {}
        given |= {f"sensors of '{n}'": at for n, at in self.places.items() if n not in self.form.own}
        found += [
            f"the {what} are those of a uniform grid in another order: sorted, the last coordinate running first, they "
            "are fit for a Fourier neural operator"
            for what, at in given.items()
            if disordered(at)
        ]
        found += [
            f"'{n}' has one value everywhere, {mean:g}"
            for n, (mean, _) in self.form.output_scales.items()
            if not bool((outputs[..., self.pairs.gives.index(n)] != mean).any())
        ]
        found += self._beyond()
        lost = outputs.isnan()
        if lost.any():
            found.append(
                f"s is NaN at {int(lost.sum())} of {lost.numel()} points of the first {len(lost)} functions: these "
                "count as missing, in training and in scores"
            )
        return found

    def _beyond(self) -> list[str]:
        """Say along which coordinates test functions are wanted where no training function was."""
        if self.test is None:
            return []
        inner, outer = ([torch.tensor(b) for b in zip(*_bounds([p]), strict=True)] for p in (self.pairs, self.test))
        span = inner[1] - inner[0]
        gaps = torch.maximum(inner[0] - outer[0], outer[1] - inner[1])
        return [
            f"test points reach {float(gaps[i]):.3g} beyond those of the training in {name}"
            for i, name in enumerate(self.domain.names)
            if gaps[i] > 0.1 * span[i] and not self.domain.periodic[i]
        ]

    @property
    def first(self) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The first training pairs."""
        return self.pairs.take(self.training[:SOME])

    def training_inputs(self) -> Iterator[Tensor]:
        """Read the input functions of the training pairs, part by part ``(n, sensors of all)``."""
        for rows in _parts(self.training.numpy()):
            yield torch.cat([self.pairs.input_rows(i, rows) for i in range(len(self.pairs.inputs))], 1)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), SOME):
        yield rows[start : start + SOME]


def _names(d: int, functions: Collection[str] = ()) -> list[str]:
    """Name coordinates of which nothing is known: x, y and z, or x1, x2, or p1, p2, as functions are not called."""
    several = [[f"{letter}{i + 1}" for i in range(d)] for letter in "xp"]
    choices: list[list[str]] = [[*NAMES[:d]], *several] if d <= len(NAMES) else several
    return next((names for names in choices if not {*functions} & {*names}), several[0])


def _bounds(files: list[Pairs]) -> list[tuple[float, float]]:
    """Return the box of all points, which may be too many for memory."""
    lows, highs = [], []
    for pairs in files:
        for rows in _parts(np.arange(len(pairs.points))):
            points = rows_of(pairs.points, rows, "the points", gaps=not pairs.aligned).flatten(0, -2)
            points = points[~points.isnan().any(1)]
            lows.append(points.amin(0))
            highs.append(points.amax(0))
    return list(zip(torch.stack(lows).amin(0).tolist(), torch.stack(highs).amax(0).tolist(), strict=True))


def closes(values: Tensor) -> bool:
    """Say whether functions continue at their end as they begin, with their slope: ``(n, points, ...)``, ends equal."""
    if not _varies(values):
        return False
    ends = (values[:, 0] - values[:, -1]).abs().max()
    return bool(ends < 1e-5 * values.std()) and _smooth(values[:, :-1])


def continues(values: Tensor) -> bool:
    """Say the same of functions whose end is the last point before they repeat themselves."""
    if not _varies(values):
        return False
    jump = (values[:, 0] - values[:, -1]).square().mean().sqrt()
    return bool(jump < 1.5 * _most(values, 1)) and _smooth(values)


def _varies(values: Tensor) -> bool:
    return values.shape[1] >= 8 and not bool(values.isnan().any()) and bool(values.std() > 0)


def _most(values: Tensor, order: int) -> Tensor:
    """Return the largest root mean square of differences of an order along the points."""
    return values.diff(n=order, dim=1).square().mean(0).flatten(1).mean(1).sqrt().max()


def _smooth(values: Tensor) -> bool:
    """Say whether functions bend where the end meets the beginning as they do elsewhere.

    Differences of order 2 see a kink between many points; those of order 6 see one between few, where smooth functions
    bend a lot from point to point.
    """
    for order in (2, 6):
        seams = torch.cat([values[:, -order:], values[:, :order]], 1)
        if not bool(_most(seams, order) < 1.5 * _most(values, order)):
            return False
    return True


def slopes_of(misfit: Tensor, truth: Tensor, copies: int, sizes: tuple[int, ...]) -> Tensor:
    """Return differences between neighbours on a grid, relative to those of the solutions.

    Args:
        misfit: Misfits ``(B n, k)``, one function after the other.
        truth: Solutions in the same units, NaN where there is none.
        copies: Number B of functions.
        sizes: Points along each coordinate.

    Returns:
        ``(B n, k d)``, 0 behind the last point along each coordinate: the mean of their squares is the sum over
        coordinates of the mean squares of differences, in units of that of the solution; 0 for an output that is
        constant in all functions.
    """
    parts, squares = [], []
    for i in range(len(sizes)):
        gap, true = (v.unflatten(0, (copies, *sizes)).diff(dim=i + 1) for v in (misfit, truth))
        gap = gap.where(true.isfinite(), 0.0)
        zeros = gap.new_zeros(*gap.shape[: i + 1], 1, *gap.shape[i + 2 :])
        parts.append(torch.cat([gap, zeros], i + 1).flatten(1, -2))
        squares.append(true.square().nansum(list(range(1, len(sizes) + 1))) / math.prod(sizes))
    size = torch.stack(squares).sum(0).sqrt()  # (B, k)
    usual = size.square().mean(0).sqrt()
    flat = usual < FLAT  # an output that is constant has no slopes to be relative to
    size = torch.where(flat, 1.0, size.maximum(LEAST * usual))[:, None]
    parts = [p.masked_fill(flat, 0.0) for p in parts]
    return torch.cat([p / size * len(sizes) ** 0.5 for p in parts], -1).flatten(0, 1)


def _as_rows(chosen: Tensor, values: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (values.ndim - 1))


def _moved(values: Tensor, given: list[str], axes: tuple[str, ...]) -> Tensor:
    """Swap two axes of functions ``(n, *grid, ...)``, or flip one, where they have them."""
    if not set(given) <= set(axes):
        return values
    at = [axes.index(n) + 1 for n in given]
    return values.transpose(*at) if len(at) == 2 else values.flip(at[0])


def rescaled(mean: list[float], size: list[float], x: Tensor, u: Tensor) -> Tensor:
    """Return raw outputs ``(n, k)`` a mean and a deviation; the points do not matter."""
    return u * u.new_tensor(size) + u.new_tensor(mean)


if __name__ == "__main__":
    main(PairsOperator)
