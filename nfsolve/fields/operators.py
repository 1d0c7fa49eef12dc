"""Operators: fields over points that also take input functions, given by their values at sensors.

Every function is evaluated at every point with derivatives along the coordinates from one Taylor jet: `across` has the
points as rows and the functions as columns. Where the operator is a sum of products of coefficients of the functions
and functions of the points, the jet of the latter is made once and combined by linear maps (`Separable`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve.fields.branches import Branch
from nfsolve.fields.checks import check_counts
from nfsolve.fields.field import Domain, Field
from nfsolve.fields.layers import Layers
from nfsolve.fields.modified import Gated
from nfsolve.fields.start import Start

Functions = Tensor | Sequence[Tensor]


class Operator(Field):
    """An operator from one or several functions to fields.

    An output transform with a true attribute ``broadcasts`` takes points ``(n, 1, d)`` with outputs ``(n, m, k)``,
    which saves a copy of each point for each function.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        sensors: Number of values by which an input function is given; a tuple where there are several functions.
        **options: Arguments of `Field`, and the subclass's own.

    Attributes:
        sensors: Number of sensors of each input function.
        start: A map, fitted to labels, to which the network is added, or None.
        reads_places: Whether it takes functions each of which has sensors of its own.
    """

    reads_places: ClassVar[bool] = False

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        **options: Any,
    ):
        counts = tuple(sensors) if isinstance(sensors, tuple | list) else (sensors,)
        for count in counts or (0,):
            check_counts(type(self).__name__, sensors=count)
        super().__init__(domain, outputs, sensors=sensors, **options)
        self.sensors = counts
        self.start: Start | None
        self.register_module("start", None)

    @property
    def remarks(self) -> list[str]:
        """How the field was made from labels, in words."""
        return [] if self.start is None else [self.start.remark()]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Take the map from the weights, or leave it out as they do: the labels that made it may be gone."""
        self.start = Start() if f"{prefix}start.scale" in state_dict else None
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def begin(self, start: Start) -> None:
        """Add the network, zero at first where its last layer is known, to a map."""
        self.start = start.to(self.coordinates.matrix.device)
        for layer in self.last():
            for p in layer.parameters():
                nn.init.zeros_(p)

    def last(self) -> list[nn.Module]:
        """Return the layers with whose parameters the network is zero."""
        return []

    @property
    def small(self) -> float:
        """By what the network is multiplied, beside the error of the map, where it is added to one."""
        return 1.0

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field for a problem; as for `Field`.

        Args:
            problem: As for `Field`; ``sensors`` are its ``sensor_counts`` where they are not given, and a method
                ``on_equations`` gives a map to coefficients in a basis to start from, or None.
            **options: Arguments of the constructor.

        Returns:
            The field.
        """
        own = [n for n in getattr(problem, "inputs", ()) if getattr(problem, "own_sensors", lambda _: False)(n)]
        if own and not cls.reads_places:
            raise InputError(
                f"each function has sensors of its own for '{own[0]}', and {cls.__name__} reads values at common ones",
                do="use GatheredDeepONet or ScatteredOperator",
            )
        counts = getattr(problem, "sensor_counts", None)
        field = super().for_problem(problem, **({} if counts is None else {"sensors": counts}) | options)
        given = problem.on_equations() if "start" not in options and hasattr(problem, "on_equations") else None
        if given is not None:
            field.begin(Start(given[0], basis=given[1]))
        return field

    @abstractmethod
    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Evaluate without the transform.

        Args:
            x: Points ``(..., d)``.
            functions: Sensor values ``(n, sensors)`` of each input function; n broadcasts with the last but one axis of
                the points.

        Returns:
            Raw outputs ``(..., n, k)``.
        """

    def network(self, features: Tensor) -> Tensor:
        """Refuse points without functions."""
        raise InputError(
            f"{type(self).__name__} takes input functions besides points, got points only", do="call it as field(x, f)"
        )

    def forward(self, x: Tensor, f: Tensor, *more: Tensor) -> Tensor:  # type: ignore[override]
        """Evaluate the image of one function at each point.

        Args:
            x: Points ``(n, d)``.
            f: Sensor values ``(n, sensors)``, one function for each point; ``(1, sensors)`` is one for all points.
            *more: Those of further input functions, where the operator has several.

        Returns:
            Values ``(n, k)``.

        Raises:
            InputError: Another number of coordinates, functions or sensors.
        """
        x, functions = self.cast(x), self.sensor_values((f, *more))
        for g in functions:
            if len(g) not in (1, x.shape[-2]):
                raise InputError(
                    f"field(x, f) takes one function for each of {x.shape[-2]} points, or one for all, got {len(g)}",
                    do="call field.on_grid(f, x) for all functions at all points",
                )
        return self.finish(x, self.added(x, functions, self.images(x, functions)))

    def across(self, functions: Functions, x: Tensor) -> Tensor:
        """Evaluate the images of all functions at all points, in the form that `nfsolve.diff.partials` takes.

        Args:
            functions: Sensor values ``(n_functions, sensors)``, a tuple of them for several input functions.
            x: Points ``(n_points, d)``, for which a Taylor jet may stand in; or ``(n_points, n_functions, d)``, where
                each function has its own.

        Returns:
            Values ``(n_points, n_functions * k)``: output j of function b is column b * k + j.

        Raises:
            InputError: Another number of coordinates, functions or sensors.
        """
        x = self.cast(x)
        own, given = x.ndim == 3, self.sensor_values(functions)
        values = self.added(x, given, self.images(x, given) if own else self.crossed(x, given))
        if getattr(self.output_transform, "broadcasts", False):
            values = self.finish(x if own else x[:, None], values)
        elif self.output_transform is not None:
            # a row for each pair, because a transform is written for points (n, d)
            n, count = values.shape[:2]
            each = torch.arange(n, device=values.device).repeat_interleave(count)
            points = x.flatten(0, 1) if own else x[each]
            values = self.finish(points, values.flatten(0, 1)).unflatten(0, (n, count))
        return values.flatten(-2)

    def on_grid(self, functions: Functions, x: Tensor) -> Tensor:
        """Evaluate the images of several functions at common points.

        Args:
            functions: Sensor values ``(n_functions, sensors)``, a tuple of them for several input functions.
            x: Points ``(n_points, d)``.

        Returns:
            Values ``(n_functions, n_points, k)``.

        Raises:
            InputError: Another number of coordinates, functions or sensors.
        """
        return self.across(functions, x).unflatten(-1, (-1, len(self.outputs))).transpose(0, 1)

    def crossed(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Evaluate every function at every point, without the transform: ``(n_points, n_functions, k)``."""
        return self.images(x[:, None], functions)

    def added(self, x: Tensor, functions: Sequence[Tensor], found: Tensor) -> Tensor:
        """Add the map to what the network gives, ``(..., k)`` as it."""
        if self.start is None:
            return found
        near = self.start(joined(functions)).unflatten(1, (-1, len(self.outputs)))
        more = self.start.scale.to(self.coordinates.matrix) * self.small * found
        if found.ndim == 2:  # one function for each point
            return self.start.between(x[None], near.expand(len(x), -1, -1))[0] + more
        return self.start.between(x, near) + more

    def sensor_values(self, functions: Functions) -> tuple[Tensor, ...]:
        """Check sensor values and cast them to the type of the parameters."""
        return self.checked(functions, self.sensors)

    def checked(self, functions: Functions, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """Check that input functions have so many columns each, and cast them to the type of the parameters."""
        functions = (functions,) if isinstance(functions, Tensor) else tuple(functions)
        if len(functions) != len(counts):
            raise InputError(
                f"The field was built for {len(counts)} input functions, got {len(functions)}",
                do="give one tensor of sensor values for each of sensors=",
            )
        for f, sensors in zip(functions, counts, strict=True):
            if f.ndim < 2 or f.shape[-1] != sensors:
                raise InputError(
                    f"Sensor values must have shape (n, {sensors}), one row for each function, got {tuple(f.shape)}",
                    do="build the field with sensors= the number of columns",
                )
        if len({len(f) for f in functions} - {1}) > 1:
            raise InputError(
                f"Input functions must have equally many rows, got {', '.join(str(len(f)) for f in functions)}",
                do="give one row for each function, or a single one for all",
            )
        return tuple(f.to(self.coordinates.matrix) for f in functions)


class Separable(Operator):
    """s(f, g, ...)(x)_k = sum_l b(f)_kl c(g)_kl ... t(x)_kl + offset(x)_k; subclasses say what t and the offset are.

    The product over several functions is MIONet's: Jin, Meng & Lu, SIAM J. Sci. Comput. 44 (2022), arXiv 2202.06137.
    """

    branches: nn.ModuleList

    @property
    def sums(self) -> int:
        """Number of sums k: one for each output."""
        return len(self.outputs)

    @abstractmethod
    def basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate what belongs to points ``(n, d)``: t ``(n, k * latent)`` and the offset, ``(n, k)`` or ``(k,)``."""

    def branch(self, *functions: Tensor) -> Tensor:
        """Map sensor values ``(n, sensors)`` of all input functions to coefficients ``(n, k * latent)``."""
        return product(self.branches, functions)

    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Multiply coefficients and basis row by row."""
        basis, offset = self.basis(x)
        products = basis * self.branch(*functions)
        return products.unflatten(-1, (self.sums, -1)).sum(-1) + offset

    def crossed(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Combine the basis, which is evaluated once, by the coefficients of all functions."""
        basis, offset = self.basis(x)
        parts = (self.sums, -1)
        terms = basis.unflatten(-1, parts).unbind(-2)
        coefficients = self.branch(*functions).unflatten(-1, parts).unbind(1)
        columns = [F.linear(t, b) for t, b in zip(terms, coefficients, strict=True)]
        return torch.stack(columns, -1) + offset[..., None, :]


def make_branches(field: Operator, branch: Branch | tuple[Branch, ...], outputs: int) -> nn.ModuleList:
    """Make the network that reads each input function, by the width and depth of the operator's `config`.

    Args:
        field: The operator.
        branch: One specification for all functions, or one for each.
        outputs: Number of outputs of each network.

    Raises:
        InputError: Another number of specifications than of functions.
    """
    count = len(field.sensors)
    branches = tuple(branch) if isinstance(branch, tuple | list) else (branch,) * count
    if len(branches) != count:
        raise InputError(
            f"There must be one branch for each of {count} input functions, or one for all, got {len(branches)}",
            do="give branch= a tuple of that length",
        )
    return nn.ModuleList(
        make_branch(field, spec, sensors, outputs, f"branch {i}" if i else "branch")
        for i, (spec, sensors) in enumerate(zip(branches, field.sensors, strict=True))
    )


def make_branch(field: Operator, branch: Branch, sensors: int, outputs: int, purpose: str) -> nn.Module:
    """Make one network of functions; ``purpose`` names its stream of random numbers."""
    like, sizes = field.coordinates.matrix, {"width": field.config["width"], "count": field.config["depth"]}
    layers = partial(Layers, **sizes, seed=field.seed, dtype=like.dtype, device=like.device, purpose=purpose)
    return branch.build(sensors, outputs, layers)


def make_trunk(layers: Layers, trunk: str, outputs: int) -> nn.Module:
    """Make the network of the points.

    Args:
        layers: Makes its layers.
        trunk: ``plain`` or ``modified``.
        outputs: Number of its outputs.

    Raises:
        InputError: Another word.
    """
    if trunk not in ("plain", "modified"):
        raise unknown("trunk", trunk, ("plain", "modified"))
    return layers.stack(outputs) if trunk == "plain" else Gated(layers, outputs)


def product(networks: nn.ModuleList, functions: Sequence[Tensor]) -> Tensor:
    """Multiply what the networks give, each for its function."""
    first, *others = (network(f) for network, f in zip(networks, functions, strict=True))
    for other in others:
        first = first * other
    return first


def joined(functions: Sequence[Tensor]) -> Tensor:
    """Put the sensor values of all input functions into one row."""
    rows = max(len(f) for f in functions)
    return torch.cat([f.expand(rows, -1) for f in functions], -1)
