"""PDEs: residual methods whose signatures name the coordinates and derivatives they need."""

import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_map

from nfsolve._core.errors import InputError, place_of, unknown
from nfsolve.data.tables import named_columns, read_columns, read_reference
from nfsolve.domains import Domain
from nfsolve.domains.domain import NUDGE
from nfsolve.fields.field import bare_names, dependences, origin_of, spelled
from nfsolve.metrics import max_error, relative_l2, relative_to_variation
from nfsolve.problem.pde.ansatz import Ansatz
from nfsolve.problem.pde.cautions import cautions
from nfsolve.problem.pde.conditions import Condition, arguments
from nfsolve.problem.pde.declared import Declaration, check_declaration, check_names, check_parts
from nfsolve.problem.pde.evaluate import as_field, call
from nfsolve.problem.pde.sample import (
    Reference,
    evaluation_points,
    inside_only,
    integral_rows,
    mask,
    nodes_of,
    sample_rows,
)
from nfsolve.problem.problem import Batch, FieldFunction, Problem, SamplerState, check_parameters
from nfsolve.problem.recipe import Recipe, RunOptions, Stage, starting_point
from nfsolve.problem.rows import IntegralRows, Rows
from nfsolve.sampling import ADAPTIVE, by_density, retained, sampler
from nfsolve.weighting import Constant, Evidence, Weighting

END_POINTS = 5  # where a condition holds at one point: one is enough, but five rows cannot be mistaken for columns
INTEGRALS = 24  # times at which an integral is known
CANDIDATES = 8  # points from which RAD and RAR-D choose one
POINTS_OF_ONE = 100  # of a default recipe, where there is one coordinate
PATIENCE = 100  # steps of a default recipe without progress
SPREAD = 0.05  # least standard deviation of points that fill a domain of unit size, along every direction


@dataclass
class PDE(Problem):
    """A problem written as residual methods marked `interior`, `face`, `boundary`, `paired` or `measured`.

    A method takes coordinates (``x``), unknowns (``u``) and their derivatives (``u_xx``, ``u_tx``). On faces,
    boundaries and interfaces it may also take the normal (``n_x``), in `paired` conditions ``u_low`` and ``u_high``,
    and in `measured` ones the measured values (``u_data``). Each is a column ``(n, 1)``. ``D`` differentiates a
    composite term, as in ``D(lambda k, u_x: k * u_x, "x")``, and ``integral`` integrates along a coordinate.

    A subclass may define ``exact(self, t, x)``, or name a file in ``reference``, to score the solution against. It may
    also define ``ansatz(self, u, t, x)``, a hard constraint, which the field applies to its outputs.

    Attributes:
        n_points: Number of points inside the domain for each `interior` residual.
        n_face: Number of points for each `face`, `boundary` or `paired` residual.
        sampler: Sampling method of the points: sobol, uniform or latin_hypercube.
        adaptive: Whether new points concentrate where the residual is large: none, rad, rar_d or r3 (see
            `nfsolve.sampling`).
    """

    n_points: int = field(default=1500, kw_only=True)
    n_face: int = field(default=200, kw_only=True)
    sampler: str = field(default="sobol", kw_only=True)
    adaptive: str = field(default="none", kw_only=True)

    reference: ClassVar[str] = ""
    exact_error: ClassVar[float] = 1e-15
    evaluation: ClassVar[tuple[int, ...] | None] = None
    resample_every: ClassVar[int] = 10
    stage_factors: ClassVar[tuple[str, ...]] = ("points", "faces")
    pointwise: ClassVar[bool] = True
    score: ClassVar[str] = "relative_l2"
    lives: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls) -> None:
        """Read ``unknowns = {"core": "u", "shell": "v"}`` as two unknowns, each of which lives on one part."""
        super().__init_subclass__()
        given: Any = vars(cls).get("unknowns")
        if isinstance(given, Mapping):
            cls.lives = {}
            for part, names in given.items():
                for name in bare_names(str(names)):
                    cls.lives[name] = (*cls.lives.get(name, ()), str(part))
            whole = dict.fromkeys(token for names in given.values() for token in spelled(str(names)))
            cls.unknowns = " ".join(whole)
        elif isinstance(given, str):
            cls.lives = {}
        if "residuals" in vars(cls) and "pointwise" not in vars(cls):  # which may read all points for one residual
            cls.pointwise = False

    def __post_init__(self) -> None:
        for name in ("n_points", "n_face"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1 point, got {getattr(self, name)}")
        sampler(self.sampler)
        if self.adaptive not in ADAPTIVE:
            raise unknown("adaptive sampling", self.adaptive, ADAPTIVE)
        if isinstance(getattr(self, "domain", None), Domain):  # another class may have it later
            check_declaration(type(self), self.domain, self.outputs)
            check_names(self._declaration())

    def check(self) -> None:
        """Refuse a declaration that contradicts itself.

        Raises:
            InputError: The message says what came, what is needed, and where in the user's file.
        """
        super().check()
        check_parameters(type(self))
        check_declaration(type(self), getattr(self, "domain", None), self.outputs)
        check_names(self._declaration())
        check_parts(self._declaration())
        known = self.conditions()
        for name in self.weights() if type(self).residuals is PDE.residuals else ():
            if name not in known:
                raise unknown("residual", name, known, f"weights() of {type(self).__name__} names it")

    def cautions(self) -> list[str]:
        """Say what the declaration may lack, such as a condition."""
        return cautions(self._declaration())

    def _declaration(self) -> Declaration:
        """Return what the user wrote; without conditions where there are none yet."""
        try:
            conditions = self.conditions()
        except InputError:
            conditions = {}
        return Declaration(
            type(self), PDE, self.domain, self.outputs, conditions, lives=self.lives, depends=self.depends
        )

    @property
    def adapts(self) -> bool:
        """Whether interior points follow the residual."""
        return self.adaptive != "none"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the unknowns."""
        return bare_names(self.unknowns)

    @property
    def depends(self) -> dict[str, tuple[str, ...]]:
        """The coordinates of those unknowns that do not depend on all: of ``"u s(t)"`` those of s."""
        return dependences(self.unknowns, self.domain.names)

    def conditions(self) -> dict[str, Condition]:
        """Return the marked residual methods of the class, in the order of their definition.

        Raises:
            InputError: There is none.
        """
        found = {}
        for cls in reversed(type(self).__mro__):
            for name, value in vars(cls).items():
                if isinstance(getattr(value, "condition", None), Condition):
                    found[name] = value.condition
                elif name in found:  # overridden without a mark
                    del found[name]
        if not found:
            raise InputError(
                f"{type(self).__name__} has no residuals{place_of(type(self))}",
                do="mark at least one method @interior, @face(...), @boundary or @measured(...)",
            )
        return found

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Read measured data and the reference, and lay out the evaluation grid.

        Returns:
            ``like``, an empty tensor with the type and device of points; ``measured``, `Rows` by name; and where a
            solution is known, ``reference``, a `Reference`. A subclass may add what it needs.
        """
        self.check()
        like = torch.empty(0, device=device, dtype=dtype)
        data: Batch = {"like": self.as_points(like, like), "measured": {}}
        for name, condition in self.conditions().items():
            if condition.fixed:
                data["measured"][name] = self._fixed_rows(name, condition, like)
        reference = self._reference(like)
        return data if reference is None else data | {"reference": reference}

    def _fixed_rows(self, name: str, condition: Condition, like: Tensor) -> Rows:
        """Return given points, with measured values where there are some."""
        columns = self._columns(name, condition)
        points = torch.stack([columns[c] for c in self.domain.names], -1)
        mark = "@measured" if condition.kind == "measured" else f"@{condition.kind}(points=...)"
        what = f"'{condition.data}'" if condition.data and isinstance(condition.data, str) else f"{mark} of '{name}'"
        (self.region_of(name, condition) or self.domain).check_points(points, f"points of {what}")
        values = {f"{out}_data": columns[out].to(like)[:, None] for out in self.outputs if out in columns}
        return Rows(self.as_points(points, like), columns=values)

    def _reference(self, like: Tensor) -> Reference | None:
        """Evaluate the exact solution, or read the reference; None where there is neither."""
        names, exact = self.domain.names, getattr(self, "exact", None)
        if exact is not None:
            grid, floor = evaluation_points(self.domain, self.evaluation), self.exact_error
            values = as_field(exact, names, self.outputs)(grid.points)
        elif self.reference:
            points, values, sizes, floor = read_reference(self.reference, type(self), names, self.outputs)
            grid = inside_only(self.domain, points, sizes, values.isfinite().any(1))
            values = values if grid.inside is None else values[grid.inside]
        else:
            return None
        place = None if grid.inside is None else grid.inside.to(like.device)
        living = self.living(grid.points)
        if exact is None and not values.isfinite().all():  # NaN stands for what is not known
            living = values.isfinite() if living is None else living & values.isfinite()
            values = values.where(living, 0.0)
        return Reference(
            self.as_points(grid.points, like),
            grid.sizes,
            place,
            values=values.to(like),
            floor=floor,
            living=None if living is None else living.to(like.device),
        )

    def _columns(self, name: str, condition: Condition) -> dict[str, Tensor]:
        """Return the columns of given points, with measured values where there are some, float64 ``(n,)``."""
        if condition.kind == "measured":
            source: Any = condition.data(self) if callable(condition.data) else condition.data
            return read_columns(source, type(self), self.domain.names, self.outputs, f"the data of '{name}'")
        what = f"points= of '{name}'"
        return read_columns(
            named_columns(condition.at, self.domain.names, what), type(self), self.domain.names, None, what
        )

    def given(self) -> dict[str, Any]:
        """Return the columns that marks hold in memory, as a run folder keeps them."""
        found = {}
        for name, condition in self.conditions().items():
            if condition.at is not None or isinstance(condition.data, Mapping):
                found[name] = {key: column.numpy() for key, column in self._columns(name, condition).items()}
        return found

    def with_given(self, stored: dict[str, Any]) -> Self:
        """Return this problem with the columns that a run kept, and say where the class has others now."""
        now = self.given()
        others = [name for name in stored if not _same(stored[name], now.get(name))]
        if not others:
            return self
        text = f"the data of {', '.join(others)} in {type(self).__name__} differ from those of the run, which are used"
        warnings.warn(text, stacklevel=2)
        conditions = self.conditions()
        for name in set(others) & set(conditions):
            key = "data" if conditions[name].kind == "measured" else "at"
            conditions[name] = replace(conditions[name], **{key: stored[name]})
        return self.with_(conditions=lambda: dict(conditions))

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Draw new points on every part of the domain; where ``adaptive`` says so, by the residual of the field."""
        batch: Batch = {}
        for name, condition in self.conditions().items():
            if condition.fixed:
                batch[name] = data["measured"][name]
            else:
                n = self._count(condition, state)
                batch[name] = self.sample_on(name, condition, n, data, generator)
        if self.adapts and state.field is not None:
            for name, condition in self.conditions().items():
                if not condition.fixed and condition.kind != "integral":
                    batch[name] = self._adapted(name, condition, data, state, generator, batch[name])
        return batch

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Draw points for every condition of the whole problem, except on measured data, which cannot be drawn anew.

        A condition at points that the user chose gets new ones only if it is the equation of the problem: if no other
        equation has points that are drawn, and these points fill the domain instead of fixing a value in one place.
        """
        everywhere = not any(c.kind == "interior" and c.at is None for c in self.conditions().values())
        conditions = {
            name: c
            for name, c in self.conditions().items()
            if not c.fixed or (c.at is not None and everywhere and self._fill(data["measured"][name].points))
        }
        drawn = {
            name: rows for name, rows in self.sample(data, SamplerState(), generator).items() if name in conditions
        }
        for name, rows in drawn.items():
            trained = len(batch[name]) if name in batch else 0
            if conditions[name].kind == "integral":  # by a finer rule, which tells whether the nodes suffice
                drawn[name] = self.sample_on(name, self._finer(conditions[name]), len(rows), data, generator)
                continue
            # points were added where the residual was large, or by a factor; or they are the user's own
            if trained > len(rows) or conditions[name].fixed:
                trained = max(trained, len(rows))
                drawn[name] = self.sample_on(name, conditions[name], trained, data, generator)
        return drawn

    def _fill(self, points: Tensor) -> bool:
        """Return whether points spread over the domain along every direction."""
        low, high = torch.tensor(self.domain.bounds, dtype=torch.float64).T
        unit = (points.detach().cpu().double() - low) / (high - low)
        spread = torch.linalg.svdvals(unit - unit.mean(0)) / len(unit) ** 0.5
        return len(spread) == len(low) and float(spread.min()) > SPREAD

    def _finer(self, condition: Condition) -> Condition:
        """Return an integral with half as many nodes again along each coordinate."""
        return replace(condition, nodes=math.ceil(1.5 * nodes_of(self.domain, condition)))

    def with_points(self, factor: float) -> Self:
        """Return this problem with more points inside the domain; the name that ``with_(n_points=...)`` had before."""
        n = max(1, round(factor * self.n_points))
        warnings.warn(f"with_points({factor:g}) is now with_(n_points={n})", DeprecationWarning, stacklevel=2)
        return self.with_(n_points=n)

    def _count(self, condition: Condition, state: SamplerState) -> int:
        """Return the number of points; more of them inside the domain ask for more on its faces too."""
        d = len(self.domain.names)
        if condition.kind == "integral":
            return condition.points or INTEGRALS
        if condition.kind == "interior":
            return max(1, round(state.points * (condition.points or self.n_points)))
        free = d - (len(condition.sides) if condition.together else 1)
        if not free and condition.kind in ("face", "paired", "interface"):
            return min(END_POINTS, condition.points or self.n_face)
        shared = round((condition.points or self.n_face) * max(1.0, state.points) ** (free / d))
        if state.faces is None or condition.together:
            return shared
        return max(shared, round(state.faces * self.n_face * self._sides(condition)))

    def _sides(self, condition: Condition) -> int:
        """Return how many sides of a box a condition holds on, or about as many for a curved boundary."""
        if condition.kind == "face":
            return len(self.domain.face(condition.sides))
        return 2 * len([n for n in self.domain.names if n != "t"]) if condition.kind == "boundary" else 1

    def sample_on(self, name: str, condition: Condition, n: int, data: Batch, generator: Generator) -> Rows:
        """Draw n points where a condition holds, on the device of the data."""
        return tree_map(lambda values: values.to(data["like"]), self.rows_on(name, condition, n, generator))

    def rows_on(self, name: str, condition: Condition, n: int, generator: Generator) -> Rows:
        """Draw n points where a condition holds, float64 on the CPU.

        Raises:
            InputError: The condition selects nothing, or asks for a normal where there is none.
        """

        def sample(m: int, d: int) -> Tensor:
            return sampler(self.sampler)(m, d, generator)

        region, where = self.region_of(name, condition), None
        chosen = self._where(name, condition)
        if callable(chosen):
            where = mask(chosen, f"where= of '{name}'", self.domain.names)
        if region is not None and condition.kind == "boundary":
            where = self._behind(region, where)
        place = None if type(self).place is PDE.place else self.place
        if condition.kind == "integral":
            rows = integral_rows(self.domain, region, name, condition, sample(n, len(self.domain.names)))
        else:
            rows = sample_rows(self.domain, name, condition, n, sample, place, where, region)
        if condition.kind in ("boundary", "face", "integral") and rows.normals is None:
            asked = [a for a in arguments(self.method(name)) if a.startswith("n_") and a[2:] in self.domain.names]
            if asked:
                a_point = condition.kind == "face"
                if condition.kind == "integral":
                    raise InputError(
                        f"'{name}' asks for '{asked[0]}', but an integral over the inside has no normal",
                        do='write over="boundary", a part of it, or a section such as over={"x": 0.5}',
                    )
                raise InputError(
                    f"'{name}' asks for '{asked[0]}', but "
                    + ("a point or line has no normal" if a_point else f"{self.domain!r} has no normals"),
                    do="name one coordinate in @face" if a_point else "give the PointCloud normals=...",
                )
        return rows

    def _where(self, name: str, condition: Condition) -> Any:
        """Return what the user wrote as ``where``: a shape, a part of the domain or a function, perhaps by its name."""
        where = condition.where
        if isinstance(where, str) and condition.kind == "interior" and where in self.domain.regions():
            return self.domain.regions()[where]
        if isinstance(where, str):
            if not callable(getattr(self, where, None)):
                known = [m for m in dir(type(self)) if m[0] != "_"]
                known += [*self.domain.regions()] * (condition.kind == "interior")
                kind = "part or method" if condition.kind == "interior" else "method"
                raise unknown(kind, where, known, f"in where= of '{name}'")
            return getattr(self, where)
        if isinstance(where, Domain) and condition.kind == "interior":
            return self.domain & self.domain.lifted(where)
        if where is not None and not callable(where):
            needed = "a function of coordinates or the name of a method"
            needed = needed if condition.kind != "interior" else f"a shape, the name of a part, {needed}"
            raise InputError(f"where= of '{name}' must be {needed}, got {where!r}", do="write where=lambda x: x > 0")
        return where

    def region_of(self, name: str, condition: Condition) -> Domain | None:
        """Return the part of the domain on which a residual holds, because of its mark or its unknowns.

        Args:
            name: Name of the residual.
            condition: Its mark.

        Returns:
            The part; None for the whole domain, and for an interface.
        """
        where, known = self._where(name, condition), self.domain.regions()
        parts = self._declaration().parts_of(name) if self.lives and condition.kind != "interface" else None
        region = where if isinstance(where, Domain) else None
        if parts is None:
            return region
        lived = [known[part] for part in parts]
        if region is not None:
            lived = [region if region is part else region & part for part in lived]
        return reduce(operator.or_, lived)

    def _behind(self, region: Domain, where: Callable[..., Tensor] | None) -> Callable[[Tensor, Tensor], Tensor]:
        """Tell which points of the boundary have a region behind them, and satisfy ``where``."""

        def chosen(points: Tensor, normals: Tensor) -> Tensor:
            keep = region.contains(points - NUDGE * self.domain.size * normals)
            return keep if where is None else keep & where(points, normals)

        return chosen

    def living(self, points: Tensor) -> Tensor | None:
        """Return where each unknown is defined, bool ``(n, k)`` at points ``(n, d)``; None if all are everywhere."""
        if not self.lives:
            return None
        known = self.domain.regions()
        slack = 1e-6 * self.domain.size
        inside = {part: known[part].contains(points, slack) for parts in self.lives.values() for part in parts}
        everywhere = torch.ones(len(points), dtype=torch.bool, device=points.device)
        columns = [
            torch.stack([inside[part] for part in self.lives[out]]).any(0) if out in self.lives else everywhere
            for out in self.outputs
        ]
        return torch.stack(columns, 1)

    def _adapted(
        self,
        name: str,
        condition: Condition,
        data: Batch,
        state: SamplerState,
        generator: Generator,
        drawn: Rows,
    ) -> Rows:
        """Choose the points of one residual (RAD), add to those before (RAR-D), or renew the unneeded ones (R3)."""
        field, before, n = state.field, state.batch[name], len(drawn)
        assert field is not None

        def size(rows: Rows) -> Tensor:
            if state.sizes is not None:
                return state.sizes(name, rows)
            return torch.linalg.vector_norm(self.residuals(field, {name: rows})[name], dim=1)

        if self.adaptive == "r3":
            keep = _rows(before, retained(size(before)))
            order = torch.randperm(n, generator=generator)  # faces follow each other in `drawn`
            return _joined(keep, _rows(drawn, order[: n - len(keep)]))
        pool = self.sample_on(name, condition, CANDIDATES * n, data, generator)
        if self.adaptive == "rad":
            return _rows(pool, by_density(size(pool), n, generator).to(drawn.points.device))
        more = by_density(size(pool), max(self._count(condition, state) // 20, 1), generator, 2.0, 0.0)
        return _joined(before, _rows(pool, more.to(drawn.points.device)))

    def place(self, unit: Tensor) -> Tensor:
        """Map uniform points of the unit cube to where `interior` residuals are sampled.

        A problem that knows where its solution is sharp may put more points there; the mean in the loss then has
        that density.

        Args:
            unit: Points ``(n, d)`` in [0, 1)^d.

        Returns:
            Points ``(n, d)``; those outside the domain are dropped and others drawn instead.
        """
        return self.domain.scale(unit)

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Evaluate the residual methods on their points.

        Args:
            field: A field, or any callable of named coordinates (such as ``exact``).
            batch: Residual name -> its points, with what belongs to them.

        Returns:
            Residual name -> ``(n, k)``.

        Raises:
            InputError: An unknown scalar has no number.
        """
        names, space = self.domain.names, self.domain.space
        function = as_field(field, names, self.outputs)
        try:
            found = {
                name: call(self.method(name), function, rows, self.outputs, names, space)
                for name, rows in batch.items()
            }
        except TypeError as error:
            unknown_scalars = self.unknown_scalars()
            if not unknown_scalars:
                raise
            first = next(iter(unknown_scalars))
            raise InputError(
                f"residuals need a number for each unknown scalar, got an Unknown for {', '.join(unknown_scalars)}",
                do=f"write problem.with_({first}=0.5).residuals(...), for example",
            ) from error
        conditions = self.conditions() if any(isinstance(rows, IntegralRows) for rows in batch.values()) else {}
        for name, rows in batch.items():
            if isinstance(rows, IntegralRows):
                found[name] = found[name] - self._known_integral(name, conditions[name], rows)
        return self.in_type_of(field, found)

    def _known_integral(self, name: str, condition: Condition, rows: Rows) -> Any:
        """Return what an integral equals: a number, or a column of the rows' own times and parameters."""
        equals = condition.equals
        if not isinstance(equals, str):
            return equals
        if not hasattr(self, equals):
            raise unknown("attribute", equals, (m for m in dir(type(self)) if m[0] != "_"), f"in equals= of '{name}'")
        value = getattr(self, equals)
        if not callable(value):
            return value
        names = self.domain.names
        known = [n for i, n in enumerate(names) if i not in self.domain.space] if self.domain.space else []
        strange = [argument for argument in arguments(value) if argument not in known]
        if strange:
            raise unknown("argument", strange[0], known, f"of `{equals}`, which an integral over space equals")
        return value(*(rows.points[:, 0, i : i + 1] for i in map(names.index, arguments(value))))

    def in_type_of(self, field: Any, residuals: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return residuals in the type of a field, where its points have another one."""
        if isinstance(field, nn.Module) and origin_of(self.domain.bounds) is not None:
            like = next(field.parameters())
            return {name: r.to(like.dtype) for name, r in residuals.items()}
        return residuals

    def as_points(self, points: Tensor, like: Tensor) -> Tensor:
        """Move points; those far from zero stay in float64 until the field has subtracted their centre."""
        return points.to(like.device, like.dtype if origin_of(self.domain.bounds) is None else torch.float64)

    def method(self, name: str, inputs: dict[str, Tensor] | None = None) -> Callable[..., Tensor]:
        """Return a residual method.

        Args:
            name: Name of the residual.
            inputs: Input functions of an operator at the points, by name.

        Returns:
            A function whose signature names what it needs.
        """
        return getattr(self, name)

    def weights(self) -> dict[str, float]:
        """Return the weights written in the marks."""
        return {name: condition.weight for name, condition in self.conditions().items()}

    def noisy_residuals(self) -> tuple[str, ...]:
        """Return the names of the residuals that are marked `measured`."""
        return tuple(name for name, condition in self.conditions().items() if condition.kind == "measured")

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Return the relative L2 and maximum error of each unknown, with the error of the reference itself.

        If the reference of an unknown is zero everywhere, its relative error is NaN. If the reference hardly varies
        about its mean, there is also the error relative to that variation.
        """
        reference: Reference | None = data.get("reference")
        if reference is None:
            return {}
        with torch.no_grad():
            values = as_field(field, self.domain.names, self.outputs)(reference.points)
        scores: dict[str, Any] = {"relative_l2": math.nan}
        for i, out in enumerate(self.outputs):
            rows: Any = slice(None) if reference.living is None else reference.living[:, i]
            if isinstance(rows, Tensor) and not rows.any():
                continue  # nothing of it is known
            u, exact = values[rows, i], reference.values[rows, i]
            scores[f"relative_l2/{out}"] = relative_l2(u, exact) if exact.any() else math.nan
            scores[f"max_error/{out}"] = max_error(u, exact)
            scores[f"reference_floor/{out}"] = reference.floor
            varied = relative_to_variation(u, exact)
            scores |= {} if math.isnan(varied) else {f"relative_to_variation/{out}": varied}
        known = [scores[f"relative_l2/{out}"] for out in self.outputs if f"relative_l2/{out}" in scores]
        scores["relative_l2"] = max((error for error in known if error == error), default=math.nan)
        return scores

    def output_transform(self) -> nn.Module | Callable[[Tensor, Tensor], Tensor] | None:
        """Return the hard constraint written as ``ansatz``, if there is one."""
        return self.hard_constraint()

    def hard_constraint(self) -> Ansatz | None:
        """Return what is written as ``ansatz``, if there is such a method."""
        function = getattr(self, "ansatz", None)
        return None if function is None else Ansatz(function, self.domain.names, self.outputs)

    @starting_point
    def recipe(self) -> Recipe:
        """Return a default for any PDE: a small tanh network in float64 under Gauss-Newton.

        One coordinate takes 100 points instead of the default of 1500, unless the problem says how many. Where
        numbers are unknown, measurements of which no weight is said weigh as much as the evidence says (see
        `nfsolve.weighting.Evidence`); beside an unknown function a smaller weight would only let it follow the noise.
        """
        from nfsolve.fields import MLP
        from nfsolve.optim import GaussNewton

        stated = any(c.points for c in self.conditions().values() if c.kind == "interior") or self.adaptive != "none"
        few = len(self.domain.names) == 1 and self.n_points == PDE.n_points and not stated
        fewer = POINTS_OF_ONE / self.n_points if few else 1.0
        return Recipe(
            field=partial(MLP, width=20, depth=3),
            stages=(Stage(GaussNewton, steps=500, points=fewer, patience=PATIENCE),),
            weighting=self.weighting_of_data(),
            run=RunOptions(dtype="float64", log_every=5),
        )

    def weighting_of_data(self) -> Weighting:
        """Return what weighs measurements against equations: the evidence where numbers are unknown, else what is said.

        A weight that the problem states is kept.
        """
        kinds = [(c.kind == "measured", c.weight) for c in self.conditions().values()]
        both = 0 < sum(noisy for noisy, _ in kinds) < len(kinds)
        said = type(self).weights is not PDE.weights or any(weight != 1 for noisy, weight in kinds if noisy)
        return Evidence() if both and not said and self.unknown_scalars() else Constant()


def _same(stored: dict[str, Any], now: dict[str, Any] | None) -> bool:
    return now is not None and stored.keys() == now.keys() and all(np.array_equal(stored[k], now[k]) for k in now)


def _rows(rows: Rows, chosen: Any) -> Rows:
    return tree_map(lambda column: column[chosen], rows)


def _joined(first: Rows, second: Rows) -> Rows:
    return tree_map(lambda *columns: torch.cat(columns), first, second)
