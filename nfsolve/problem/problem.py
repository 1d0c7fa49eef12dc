"""Problems: what turns a field into named residuals."""

import copy
import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Generator, Tensor, nn

from nfsolve._core.errors import InputError, place_of, unknown
from nfsolve.problem.recipe import Recipe
from nfsolve.problem.unknowns import Unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = dict[str, Any]
"""Tensors by name, possibly nested; what one evaluation of the residuals sees."""

FieldFunction = Callable[[Tensor], Tensor]
"""A field or anything that stands in for one: points (n, d) -> values (n, k)."""


RENAMED = {
    "draw": (("self", "data", "generator"), "sample(self, data, state, generator)"),
    "redraw": (("self", "data", "generator", "field", "batch"), "sample(self, data, state, generator)"),
    "transform": (("self",), "output_transform(self)"),
    "companions": (("self", "seed"), "auxiliary_modules(self, seed)"),
    "answers": (("self", "field", "functions", "points"), "predict(self, field, functions, points)"),
}
"""What problems overrode before 0.2: name -> its parameters then, and how it is written now."""


@dataclass(frozen=True)
class SamplerState:
    """What a draw depends on besides the data and chance.

    Attributes:
        batch: What the last draw gave; None at the first one.
        field: The field so far; None before training.
        points: Factor on the number of points inside the domain (`Stage.points`).
        faces: Factor on the number of points on each side of the domain (`Stage.faces`).
        coarsen: Pixels, voxels or bins that are merged along each side (`Stage.coarsen`).
        sizes: Residual name, its points (n of them) -> the norm of the residual of the field at each, ``(n,)``, where
            several processes or little memory ask for more than one evaluation; None leaves it to the problem.
    """

    batch: Any = None
    field: FieldFunction | None = None
    points: float = 1.0
    faces: float | None = None
    coarsen: int = 1
    sizes: Callable[[str, Any], Tensor] | None = None


@dataclass
class Problem(ABC):
    """A dataclass of Python numbers that turns a field into named residuals.

    It never holds tensors: it exists before device and dtype are chosen. `load` makes the fixed data,
    `sample` picks what one evaluation sees, `residuals` is pure.

    Attributes:
        domain: Coordinates, bounds and shape, a `nfsolve.domains.Domain`.
        unknowns: Names of the field's outputs, separated by spaces.
        resample_every: Optimizer steps between draws, where the recipe does not say.
        score: Key of ``metrics.json`` by which methods are compared and tuned.
        needs: What a run needs besides nfsolve itself, in words for ``nfsolve list``.
        pointwise: Whether row i of residual NAME depends on row i of ``batch[NAME]`` only.
        stage_factors: Which of ``points``, ``faces`` and ``coarsen`` of a `Stage` its `sample` reads; others are
            refused.
        before: Parameters that were added to the class, with the values of runs that do not record them.
    """

    domain: ClassVar[Any]
    unknowns: ClassVar[str] = "u"
    resample_every: ClassVar[int] = 1
    pointwise: ClassVar[bool] = False
    stage_factors: ClassVar[tuple[str, ...]] = ("points", "faces", "coarsen")
    score: ClassVar[str] = ""
    needs: ClassVar[str] = "nothing"
    before: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        """Give a new default of an inherited parameter its type, without which ``@dataclass`` would not see it."""
        super().__init_subclass__()
        inherited = getattr(cls, "__dataclass_fields__", {})
        for name in vars(cls).keys() & inherited.keys() - inspect.get_annotations(cls).keys():
            cls.__annotations__ = {**inspect.get_annotations(cls), name: inherited[name].type}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse a parameter that the class does not have, and a default that would have no effect, in words."""
        _check_defaults(cls)
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            raise InputError(
                f"`{cls.__name__}` has no {', '.join(f'{name}()' for name in missing)}{place_of(cls)}",
                do=f"define {'it' if len(missing) == 1 else 'them'} in the class",
            )
        if kwargs:
            check_parameters(cls, kwargs)
        return super().__new__(cls)

    def check(self) -> None:
        """Refuse declarations that make no sense; `solve` calls it first.

        Raises:
            InputError: The message says what came, what is needed, and where.
        """
        for f in fields(self):
            value = getattr(self, f.name, None)
            if isinstance(value, float) and math.isnan(value) and repr(f.default) != "nan":
                raise InputError(f"{f.name} of {type(self).__name__} must be a number, got nan")
        for cls in type(self).__mro__:
            for name, (parameters, now) in RENAMED.items():
                own = vars(cls).get(name) if cls is not Problem else None
                if inspect.isfunction(own) and len(inspect.signature(own).parameters) == len(parameters):
                    raise InputError(
                        f"`{name}({', '.join(parameters)})` of {type(self).__name__} is never called, because "
                        f"this method has been renamed{place_of(own)}",
                        do=f"write def {now}, and use the new name in calls of super()",
                    )
            methods = vars(cls).items() if cls.__module__.startswith("nfsolve.") else ()
            hidden = [name for name, own in methods if inspect.isfunction(own) and not callable(getattr(self, name))]
            if hidden:
                raise InputError(
                    f"'{hidden[0]}' of {type(self).__name__} has the name of a method of every {cls.__name__}"
                    f"{place_of(type(self))}",
                    do="choose another name for it",
                )
            if "redraw_every" in vars(cls):
                raise InputError(f"`redraw_every` of {cls.__name__} is never read", do="write resample_every")

    def cautions(self) -> list[str]:
        """Return warnings, before training, of what a user may have forgotten; none by default."""
        return []

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make or read the fixed data, once for each run.

        Args:
            device: Where the tensors go.
            dtype: Their floating-point type.

        Returns:
            Named tensors; empty where the problem has none.
        """
        return {}

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick points, rays or a mini-batch.

        Args:
            data: What `load` gave; it stays as it is.
            state: The stage's share of points, and what was drawn last and learned since.
            generator: CPU generator; the only source of randomness.

        Returns:
            What `residuals` gets.
        """
        return data

    def draw(self, data: Batch, generator: Generator) -> Batch:
        """Return what `sample` gives at the first draw; the name that `sample` had before."""
        text = "draw(data, generator) is now sample(data, nfsolve.problem.SamplerState(), generator)"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.sample(data, SamplerState(), generator)

    def share(self, batch: Batch, rank: int, count: int) -> Batch | None:
        """Return the part of a batch that one of several processes evaluates, in runs that `torchrun` starts.

        Problems that are ``pointwise`` are divided by points without it. Of others, whose residuals cannot be divided,
        the processes share the points at which the field is evaluated.

        Args:
            batch: What `sample` gave.
            rank: Number of the process, from 0.
            count: Number of processes.

        Returns:
            A batch whose residuals are, process after process, the rows of the residuals of the whole; without the
            names of residuals of which this process has no rows. None where they cannot be divided.
        """
        return None

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Draw points that were never trained on, to see whether the residuals are small between trained points.

        Args:
            data: What `load` gave.
            generator: CPU generator; the only source of randomness.
            batch: What was trained on last.

        Returns:
            Rows for `residuals`, at least as many as in ``batch``; empty where a problem has nothing fresh to draw.
        """
        return {}

    @abstractmethod
    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Evaluate the named residuals; a pure function.

        Args:
            field: Points ``(n, d)`` -> values ``(n, k)``.
            batch: What `sample` gave.

        Returns:
            Name -> residual ``(n, k)``. The loss is the sum of ``weight * mean(residual**2)``.

        Examples:
            A problem whose field goes through measured values, with what `load` gave as its only batch:

            >>> import torch, nfsolve as nf
            >>> class Fit(nf.Problem):
            ...     domain = nf.Box(x=(0, 1))
            ...
            ...     def load(self, device, dtype):
            ...         x = torch.linspace(0, 1, 5, device=device, dtype=dtype)[:, None]
            ...         return {"misfit": {"points": x, "values": x**2}}
            ...
            ...     def residuals(self, field, batch):
            ...         rows = batch["misfit"]
            ...         return {"misfit": field(rows["points"]) - rows["values"]}
            ...
            ...     def recipe(self):
            ...         return nf.Recipe(field=nf.MLP, stages=(nf.Stage(nf.optim.GaussNewton, steps=100),))
            >>> problem = Fit()
            >>> problem.residuals(lambda x: x, problem.load("cpu", torch.float64))["misfit"].flatten().tolist()
            [0.0, 0.1875, 0.25, 0.1875, 0.0]
        """

    @property
    def adapts(self) -> bool:
        """Whether `sample` looks at the field or the last draw, so that a checkpoint must hold the batch itself."""
        return False

    def weights(self) -> dict[str, float]:
        """Return the weight of each residual in the loss; a missing name weighs 1."""
        return {}

    def given(self) -> dict[str, Any]:
        """Return the arrays that the problem holds besides its parameters, for ``config.json``; none by default."""
        return {}

    def with_given(self, stored: dict[str, Any]) -> Self:
        """Return this problem with the arrays that `given` returned when a run began.

        Args:
            stored: Name -> array, as ``config.json`` kept them.
        """
        return self

    def noisy_residuals(self) -> tuple[str, ...]:
        """Return the names of the residuals that hold noisy measurements; all others are exact at the truth."""
        return ()

    def known_noise(self, batch: Batch) -> dict[str, float]:
        """Return the standard deviation of the noise of measured residuals where a user gave it.

        Args:
            batch: What `sample` gave.

        Returns:
            Residual name -> standard deviation in the units of the residual: a number, or an array with one for each
            entry.
        """
        return {}

    def noise_units(self, batch: Batch) -> dict[str, tuple[float, ...]]:
        """Return what one unit of a measured residual is in the units of the data, one number for each of its columns.

        Args:
            batch: What `sample` gave.

        Returns:
            Name -> units; nothing of residuals that have the units of the data, or units that differ from row to row.
        """
        return {}

    def prior_residuals(self) -> tuple[str, ...]:
        """Return the names of residuals that say how smooth or small a solution is before anything was measured.

        Error bars take them for a Gaussian prior, whose deviation follows from their weight beside that of the
        measurements; all other residuals that are not noisy are taken as exact.
        """
        return ()

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score a field.

        Args:
            field: The trained field.
            data: What `load` gave.

        Returns:
            Flat numbers and short strings with the keys of the run folder's ``metrics.json``.
        """
        return {}

    def baselines(self, data: Batch, check: Callable[[], None]) -> dict[str, Callable[[], Any]]:
        """Return classical methods to compare the field with, which may take a while.

        They run once the training is saved, each with an announcement, as long as there is time.

        Args:
            data: What `load` gave.
            check: To be called now and then by what takes long; raises where time is up.

        Returns:
            Name -> a function that computes the result; the run puts it into ``data["classical"][name]``, and None
            where time was up. `metrics`, `picture` and `export` find it there.
        """
        return {}

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score a field cheaply, for the progress line; arguments and result are those of `metrics`, its default."""
        return self.metrics(field, data)

    def done(self, batch: Batch) -> dict[str, int]:
        """Count what was done up to a batch, such as rays, so that a run can say how many it does a second.

        Args:
            batch: What the last draw gave.

        Returns:
            Name -> count since the start of the run; the history has it as ``NAME_per_second``.
        """
        return {}

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure | None":
        """Draw the solution; None where there is nothing to draw.

        Args:
            field: The trained field.
            data: What `load` gave.
            history: Rows of the run's history.

        Returns:
            A figure that the caller saves and closes.
        """
        return None

    def maps(self, field: FieldFunction, data: Batch) -> dict[str, Tensor] | None:
        """Return images for the page of a run (``nfsolve report``); None where there are none.

        Args:
            field: The trained field.
            data: What `load` gave.

        Returns:
            Name -> values ``(rows, columns)``, of a volume ``(slices, rows, columns)``, or colours in [0, 1] of
            ``(rows, columns, 3)``, all of the same size; names such as ``|field - truth|`` are those of errors.
        """
        return None

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write what the user takes away (an image, a volume, an animation) into the run folder.

        Args:
            field: The trained field.
            data: What `load` gave.
            folder: Where to write.
        """
        return

    def trained(self, field: nn.Module) -> nn.Module:
        """Return what `nfsolve.load` returns: the trained field, or an object that wraps it.

        Args:
            field: The trained field.
        """
        return field

    @abstractmethod
    def recipe(self) -> Recipe:
        """Return the best known field, optimizers and options of a run."""

    def output_transform(self) -> nn.Module | Callable[[Tensor, Tensor], Tensor] | None:
        """Return a map (points, raw outputs) -> outputs that the field applies last, or None."""
        return None

    def auxiliary_modules(self, seed: int) -> dict[str, nn.Module]:
        """Return modules that are trained together with the field, such as corrections of camera poses.

        A run puts them into ``field.auxiliary``, a `torch.nn.ModuleDict` in the field's type: optimizers, checkpoints
        and a field that is loaded have them, and `residuals` and `metrics` reach them by ``field.auxiliary[name]``.

        Args:
            seed: Seed of their weights.

        Returns:
            Name -> module; empty where the field is all there is.
        """
        return {}

    def with_(self, **changes: Any) -> Self:
        """Return this problem with some of its attributes changed.

        Args:
            **changes: Attribute -> its new value. Numbers are checked as in the constructor; a tensor may stand for a
                number, and a function for a method.

        Returns:
            A copy; this problem stays as it is.

        Raises:
            InputError: The problem has no such attribute, or refuses its value.

        Examples:
            >>> from problems.pde.burgers import Burgers
            >>> problem = Burgers().with_(nu=0.02, n_points=500)
            >>> problem.nu, problem.n_points
            (0.02, 500)
        """
        for name in changes:
            if not hasattr(self, name) or isinstance(getattr(type(self), name, None), property):
                raise unknown("attribute", name, vars(self), f"of {type(self).__name__}, to be changed")
        other = copy.copy(self)
        for name in [name for name in vars(self) if isinstance(getattr(type(self), name, None), cached_property)]:
            del vars(other)[name]  # it was computed from the old values
        vars(other).update(changes)
        if changes.keys() <= self.__dataclass_fields__.keys() and not any(map(torch.is_tensor, changes.values())):
            getattr(other, "__post_init__", bool)()
        return other

    def unknown_scalars(self) -> dict[str, Unknown]:
        """Return the parameters that are learned together with the field."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Unknown)}


@cache
def _check_defaults(cls: type[Problem]) -> None:
    """Refuse new defaults of inherited parameters in a class without ``@dataclass``, where they have no effect."""
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if "__dataclass_params__" not in vars(maker):  # an __init__ of the user's own
        return
    for base in cls.__mro__:
        set_here = [f.name for f in fields(cls) if f.init and f.name in vars(base)]
        if set_here and "__dataclass_params__" not in vars(base):
            raise InputError(
                f"`{base.__name__}` sets {', '.join(set_here)} but is not a dataclass, so this would have no effect"
                f"{place_of(base)}",
                do=f"write @dataclass in the line above class {base.__name__}",
            )


def check_parameters(cls: type[Problem], given: Iterable[str] = ()) -> None:
    """Refuse parameters that a class of problems does not have, and annotations without ``@dataclass``.

    Args:
        cls: The class.
        given: Names of parameters that a user gave.

    Raises:
        InputError: The message says which, and where the class stands.
    """
    ours = [base for base in cls.__mro__ if base.__module__.startswith(("nfsolve.", "abc", "builtins"))]
    facts = {"domain", "unknowns", *(name for base in ours for name in vars(base))}
    for base in cls.__mro__:
        annotated = vars(base).get("__annotations__", {})
        declared = [n for n, kind in annotated.items() if n not in facts and "ClassVar" not in str(kind)]
        if base not in ours and declared and "__dataclass_params__" not in vars(base):
            raise InputError(
                f"`{base.__name__}` declares {', '.join(declared)} but is not a dataclass{place_of(base)}",
                do=f"write @dataclass in the line above class {base.__name__}",
            )
    parameters = inspect.signature(cls.__init__).parameters
    known = [name for name in parameters if name != "self"]
    strange = [name for name in given if name not in parameters]
    if strange and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise unknown(f"parameter of {cls.__name__}", strange[0], known)
