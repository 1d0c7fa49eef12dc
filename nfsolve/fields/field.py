"""The shared backbone: a module from points (n, d) to values (n, k), with named inputs and outputs.

points -> normalised to [-1, 1] (exactly periodic where the domain is) -> encoding -> network -> transform
"""

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.random import generator
from nfsolve.fields.checks import check_counts
from nfsolve.fields.encodings import IDENTITY, Encoding, Waves
from nfsolve.fields.init import Init

OutputTransform = Callable[[Tensor, Tensor], Tensor]
Device = torch.device | str | None
SIZES = ("width", "depth", "harmonics", "latent", "frames", "features", "decoder")


class Domain(Protocol):
    """The part of a domain that a field uses.

    Attributes:
        names: Coordinate names, in column order.
        bounds: ``(low, high)`` for each coordinate.
        periodic: For each coordinate, whether the field is periodic along it.
    """

    names: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    periodic: tuple[bool, ...]


class MergedSignature:
    """The arguments of a constructor, with those that it passes on to its bases as ``**options``."""

    def __get__(self, field: Any, cls: type) -> inspect.Signature:
        """Return the signature of a class; an instance has none of its own."""
        if field is not None:
            raise AttributeError("__signature__")
        found: dict[str, inspect.Parameter] = {}
        for base in cls.__mro__:
            if "__init__" in vars(base):
                _, *own = inspect.signature(vars(base)["__init__"]).parameters.values()
                for parameter in own:
                    found.setdefault(parameter.name, parameter)
                passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own)
                if base is Field or not passes_on:
                    break
        named = [p for p in found.values() if p.kind is not p.VAR_KEYWORD]
        return inspect.Signature(sorted(named, key=lambda p: p.kind))


class OnArrays(nn.Module):
    """A module of points ``(n, d)`` that also takes arrays.

    Attributes:
        inputs: Coordinate names.
    """

    inputs: tuple[str, ...]

    def numpy(self, points: Any) -> np.ndarray:
        """Evaluate the field at an array of points, without gradients.

        Args:
            points: Points ``(n, d)``: an array or nested lists.

        Returns:
            Values ``(n, k)`` in the type of the parameters.

        Raises:
            InputError: The points have another number of columns, or are not numbers.
        """
        like = next(self.parameters())
        try:
            table = torch.as_tensor(np.asarray(points, dtype=np.float64), device=like.device)
        except (TypeError, ValueError) as error:
            raise InputError(f"Points must be numbers, (n, {len(self.inputs)}), got {points!r} ({error})") from error
        if table.ndim != 2 or table.shape[1] != len(self.inputs):
            raise InputError(
                f"Points must have shape (n, {len(self.inputs)}) with columns {', '.join(self.inputs)}, "
                f"got shape {tuple(table.shape)}",
                do="give every point a row and every coordinate a column",
            )
        with torch.no_grad():
            return self(table if isinstance(self, Field) else table.to(like.real.dtype)).cpu().numpy()


class Field(OnArrays, ABC):
    """A neural field; subclasses add the network between encoded coordinates and raw outputs.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple; in ``"u s(t)"`` s depends on t only.
        output_transform: Maps coordinates ``(n, d)`` and raw outputs ``(n, k)`` to ``(n, k)``.
        seed: Seed of weights and encoding.
        dtype: Type of the parameters, default float32.
        device: Device of the parameters, default CPU.
        **options: The subclass's own arguments, which become `config`; sizes are checked here.

    Attributes:
        inputs: Coordinate names.
        outputs: Output names.
        depends: Output name -> the coordinates that it depends on, for those that do not depend on all.
        config: ``{"call": class name, **options}``, enough to build the field again on its domain.
        transformable: Whether a field without a transform takes that of a problem.

    Raises:
        InputError: No domain, a size that is not positive, outputs without names, or an argument that the subclass
            lacks.
    """

    __signature__: ClassVar[Any] = MergedSignature()
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    config: dict[str, Any]
    transformable: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        output_transform: OutputTransform | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: Device = None,
        **options: Any,
    ):
        super().__init__()
        name = type(self).__name__
        self.check_options(options)
        check_counts(name, **{k: v for k, v in options.items() if k in SIZES})
        if not (hasattr(domain, "names") and hasattr(domain, "bounds")):
            raise InputError(
                f"the first argument of {name} must be a domain, got {type(domain).__name__}",
                do=f"write {name}(nfsolve.Box(x=(0, 1))), for example",
            )
        self.inputs = tuple(domain.names)
        self.outputs, self.depends = output_names(outputs), dependences(outputs, self.inputs)
        self._fixed = _fixed(domain, self.outputs, self.depends)
        self.config = {"call": name, **options}
        self.output_transform, self.seed = output_transform, seed
        dtype = _dtype(dtype)
        self.origin = origin_of(domain.bounds)
        coordinates, names = _coordinates(domain, self.origin, options.get("harmonics", 1))
        encoding: Encoding = options.get("encoding", IDENTITY)
        self.coordinates = coordinates.to(device, dtype)
        self.encoding = encoding.build(names, generator(seed, "encoding")).to(device, dtype)

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build a field for a problem.

        Args:
            problem: An object with ``domain`` and ``unknowns``. If it has a method ``output_transform``, the field
                applies what that returns; if it has a ``resolution`` (points along its longest axis), an initialisation
                may use it.
            **options: Arguments of the constructor.

        Returns:
            The field.

        Raises:
            InputError: An option that the constructor does not have.
        """
        cls.check_options(options)
        transform = problem.output_transform() if hasattr(problem, "output_transform") else None
        if isinstance(options.get("init"), Init):
            options["init"] = options["init"].at_resolution(getattr(problem, "resolution", None))
        return cls(problem.domain, outputs=problem.unknowns, **{"output_transform": transform, **options})  # type: ignore[call-arg]

    @classmethod
    def check_options(cls, options: Iterable[str]) -> None:
        """Refuse names that are not arguments of the constructor.

        Raises:
            InputError: The first such name, with the nearest one that exists.
        """
        known = [name for name in inspect.signature(cls).parameters if name not in ("domain", "outputs")]
        for name in options:
            if name not in known:
                raise unknown(f"option of {cls.__name__}", name, known)

    @abstractmethod
    def network(self, features: Tensor) -> Tensor:
        """Map encoded coordinates ``(n, features)`` to raw outputs ``(n, k)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the field.

        Args:
            x: Points ``(n, d)``; more leading axes may precede.

        Returns:
            Values ``(n, k)`` in the type of the parameters.

        Raises:
            InputError: The points have another number of columns.
        """
        x = self.cast(x)
        return self.finish(x, self.raw(x))

    def raw(self, points: Tensor) -> Tensor:
        """Evaluate at points ``(n, d)`` without the output transform, ``(n, k)``."""
        x = self.cast(points)
        y = self.network(self.encode(x))
        for keep, kept, centre in self._fixed:
            # columns that do not depend on all coordinates, at the centre of the rest
            like = {"dtype": x.dtype, "device": x.device}
            at = F.linear(x, torch.diag(torch.tensor(keep, **like)), torch.tensor(centre, **like))
            chosen = torch.tensor(kept, dtype=self.coordinates.matrix.dtype, device=x.device)
            y = y * (1 - chosen) + self.network(self.encode(at)) * chosen
        return y

    def cast(self, x: Tensor) -> Tensor:
        """Check points ``(..., n, d)`` and cast them to the type of the parameters, far from zero to float64.

        Raises:
            InputError: They are not a tensor, or have another number of columns.
        """
        if isinstance(x, (np.ndarray, list, tuple, float)):  # torch.compile knows no union of these
            raise InputError(
                f"A field takes a tensor of points (n, {len(self.inputs)}), got a {type(x).__name__}",
                do="call field.numpy(points), which returns an array, or field(torch.as_tensor(points))",
            )
        if x.ndim < 2 or x.shape[-1] != len(self.inputs):
            raise InputError(
                f"Points must have shape (n, {len(self.inputs)}) with columns {', '.join(self.inputs)}, "
                f"got shape {tuple(x.shape)}",
                do="give every point a row and every coordinate a column",
            )
        dtype = self.coordinates.matrix.dtype if self.origin is None else torch.float64
        return x if x.dtype == dtype else x.to(dtype)

    def encode(self, x: Tensor) -> Tensor:
        """Map points ``(n, d)`` to the features that the network reads."""
        if self.origin is not None:  # subtracted before float32 would round
            origin = torch.tensor(self.origin, dtype=torch.float64, device=self.coordinates.matrix.device)
            x = (x - origin).to(self.coordinates.matrix.dtype)
        return self.encoding(self.coordinates(x))

    def finish(self, x: Tensor, y: Tensor) -> Tensor:
        """Apply the transform to raw outputs ``(n, k)`` at points ``(n, d)``."""
        if self.output_transform is None:
            return y
        values = self.output_transform(x, y)
        return values if self.origin is None else values.to(y.dtype)  # the points of a far domain are in float64

    def extra_repr(self) -> str:
        """Show the names."""
        return f"({', '.join(self.inputs)}) -> ({', '.join(self.outputs)})"


NAMED = re.compile(r"([^\s(]+)(?:\(([^)]*)\))?")  # an output, perhaps with the coordinates that it depends on


def output_names(outputs: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of outputs, without their coordinates; refuse none, or one that occurs twice."""
    names = bare_names(outputs)
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"A field needs at least one output, and no name twice, got outputs={outputs!r}",
            do='write outputs="u", or outputs="u v p" for several',
        )
    return names


def bare_names(outputs: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return names without their coordinates: ``u`` and ``s`` of ``"u s(t)"``."""
    return tuple(name for name, _ in _read(outputs))


def _read(outputs: str | tuple[str, ...]) -> list[tuple[str, str]]:
    """Return names with the content of their parentheses; what is not a name stays as it is."""
    if isinstance(outputs, str):
        return NAMED.findall(outputs)
    found = [(NAMED.fullmatch(name), name) for name in outputs]
    return [(match[1], match[2] or "") if match else (name, "") for match, name in found]


def spelled(outputs: str) -> tuple[str, ...]:
    """Return names with their coordinates as they are written: ``u`` and ``s(t)`` of ``"u s(t)"``."""
    return tuple(found.group() for found in NAMED.finditer(outputs))


def dependences(outputs: str | tuple[str, ...], coordinates: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the outputs that do not depend on all coordinates, with those that they depend on.

    Args:
        outputs: Names, with coordinates in parentheses where they depend on some only: ``"u s(t)"``.
        coordinates: Names of all coordinates.

    Returns:
        Name -> coordinates.

    Raises:
        InputError: An output depends on something other than a coordinate, or on nothing.
    """
    found = {}
    for name, inside in _read(outputs):
        along = tuple(inside.replace(",", " ").split())
        for coordinate in along:
            if coordinate not in coordinates:
                raise unknown("coordinate", coordinate, coordinates, f"in {name}({inside})")
        if along and set(along) != set(coordinates):
            found[name] = along
    return found


def _fixed(
    domain: Domain, outputs: tuple[str, ...], depends: dict[str, tuple[str, ...]]
) -> list[tuple[list[float], list[float], list[float]]]:
    """Return for each set of coordinates: which stay, which outputs depend on them only, and where the others are."""
    found = []
    for along in dict.fromkeys(depends.values()):
        keep = [float(name in along) for name in domain.names]
        centre = [(1 - k) * (low + high) / 2 for k, (low, high) in zip(keep, domain.bounds, strict=True)]
        found.append((keep, [float(depends.get(out) == along) for out in outputs], centre))
    return found


def _dtype(dtype: torch.dtype | None) -> torch.dtype:
    dtype = dtype or torch.float32
    if not dtype.is_floating_point:
        raise InputError(f"dtype must be a floating-point type, got {dtype}", do="use torch.float32 or torch.float64")
    return dtype


def origin_of(bounds: Sequence[tuple[float, float]]) -> tuple[float, ...] | None:
    """Return the centre of a domain that is so far from zero that float32 would blur its coordinates.

    Times in seconds since 1970 are an example: around 1.7e9 float32 has steps of 128.

    Args:
        bounds: ``(low, high)`` for each coordinate.

    Returns:
        The centre, or None where no coordinate is a thousand times larger than its interval is long.
    """
    far = any(max(abs(low), abs(high)) > 1e3 * (high - low) for low, high in bounds)
    return tuple((low + high) / 2 for low, high in bounds) if far else None


def _coordinates(domain: Domain, origin: tuple[float, ...] | None, harmonics: int) -> tuple[Waves, tuple[str, ...]]:
    """Return the module that normalises coordinates and embeds the periodic ones, and its features' names.

    One linear map does it all: a plain product with a buffer breaks nested jvp under torch.compile.
    """
    eye = torch.eye(len(domain.names), dtype=torch.float64)
    centre = torch.zeros(len(eye), 1) if origin is None else torch.tensor(origin, dtype=torch.float64)[:, None]
    low, high = (torch.tensor(domain.bounds, dtype=torch.float64) - centre).T
    scale, shift = 2 / (high - low), -(high + low) / (high - low)
    free = [i for i, wraps in enumerate(domain.periodic) if not wraps]
    wrapped = [i for i, wraps in enumerate(domain.periodic) if wraps]
    # normalised, a period is 2: cos and sin of pi k x repeat exactly
    rows = [(i, 1.0) for i in free] + [(i, math.pi * k) for k in range(1, harmonics + 1) for i in wrapped]
    matrix = torch.stack([factor * scale[i] * eye[i] for i, factor in rows])
    offset = torch.stack([factor * shift[i] for i, factor in rows])
    waves = [f"{k} {domain.names[i]}" for k in range(1, harmonics + 1) for i in wrapped]
    names = [domain.names[i] for i in free] + [f"{f} {wave}" for f in ("cos", "sin") for wave in waves]
    return Waves(matrix, len(free), offset), tuple(names)
