"""The points of one residual, with what belongs to each of them."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node, tree_leaves, tree_map

from nfsolve._core.errors import unknown

T = TypeVar("T")
CACHE = 2**20  # numbers of a layer that a CPU holds in its cache, about
LEAST = 256  # rows that are worth a call


def as_pytree(cls: type[T]) -> type[T]:
    """Register a dataclass of tensors as a pytree of those that are not None."""
    register_pytree_node(cls, _flatten, lambda held, names: cls(**dict(zip(names, held, strict=True))))
    return cls


def _flatten(rows: Any) -> tuple[list[Any], tuple[str, ...]]:
    held = {f.name: getattr(rows, f.name) for f in dataclasses.fields(rows)}
    held = {name: value for name, value in held.items() if value is not None}
    return list(held.values()), tuple(held)


@as_pytree
@dataclass(frozen=True, eq=False)
class Rows:
    """Points at which one residual of a PDE is evaluated, with what belongs to them; a pytree of its tensors.

    Attributes:
        points: Points ``(n, d)``, a column for each coordinate of the domain; the first of each pair.
        normals: Outward unit normals on faces and boundaries, ``(n, d)``.
        partners: The second point of each pair, ``(n, d)``.
        columns: Further values by the name that a signature has for them, such as ``u_data``, each ``(n, 1)``.
        inputs: Input functions of an operator, and their derivatives, by name, each ``(B n, 1)``.

    Examples:
        Any points do for a look at a residual, with a function of the coordinates in the place of a field:

        >>> import torch
        >>> from problems.pde.poisson import Poisson
        >>> problem = Poisson()
        >>> rows = Rows(problem.domain.grid(3, 3))
        >>> problem.residuals(problem.exact, {"balance": rows})["balance"].abs().max() < 1e-12
        tensor(True)
    """

    points: Tensor
    normals: Tensor | None = None
    partners: Tensor | None = None
    columns: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        as_pytree(cls)

    @property
    def copies(self) -> int:
        """Number B of fields whose values stand side by side."""
        return 1

    def __len__(self) -> int:
        """Return the number of residual rows."""
        return len(self.points) * self.copies

    def __getitem__(self, name: str) -> Tensor:
        """Return what belongs to the points by its name, as when rows were a dict of tensors."""
        held = {n: v for n, v in vars(self).items() if isinstance(v, Tensor)} | self.columns | self.inputs
        if name not in held:
            raise unknown("part of these rows", str(name), held)
        now = name if name in vars(self) else f"{'columns' if name in self.columns else 'inputs'}[{name!r}]"
        warnings.warn(f'rows["{name}"] is now rows.{now}', DeprecationWarning, stacklevel=2)
        return held[name]


@dataclass(frozen=True, eq=False)
class IntegralRows(Rows):
    """Integrals, one a row, each with q nodes: ``points`` and ``normals`` are ``(m, q, d)``.

    Attributes:
        weights: Weights of the quadrature ``(m, q, 1)``.
    """

    weights: Tensor = field(kw_only=True)

    def flat(self) -> Rows:
        """Return the nodes of all integrals, those of each one after the other."""
        return Rows(self.points.flatten(0, 1), None if self.normals is None else self.normals.flatten(0, 1))

    def add_up(self, integrand: Tensor) -> Tensor:
        """Return the integrals ``(m, k)`` of values ``(m q, k)`` at the nodes."""
        return (self.weights * integrand.unflatten(0, self.weights.shape[:2])).sum(1)


@dataclass(frozen=True, eq=False)
class FunctionRows(Rows):
    """Points that B input functions of an operator share.

    Attributes:
        functions: What the field reads of the functions, ``(B, m)`` at m sensors; a tuple of several.
        lifting: For input functions that an ``ansatz`` names, the matrix ``(k, m)`` from values to coefficients.
    """

    functions: Any = field(kw_only=True)
    lifting: dict[str, Tensor] = field(default_factory=dict, kw_only=True)

    @property
    def copies(self) -> int:
        """Number B of functions."""
        return len(self.functions[0] if isinstance(self.functions, tuple) else self.functions)

    def halves(self) -> Tensor:
        """Say of each row, ``(B n,)``, in which of two halves its function lies: a function is always in the same."""
        several = self.functions if isinstance(self.functions, tuple) else (self.functions,)
        total = torch.stack([f.nan_to_num().double().flatten(1).sum(1).expand(self.copies) for f in several]).sum(0)
        first = (total * 1e4).floor() % 2 == 0
        return first.repeat_interleave(len(self.points))

    def part(self, start: int, stop: int) -> Self:
        """Return the rows of some of the functions."""
        n = len(self.points)

        def own(columns: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: column[start * n : stop * n] for name, column in columns.items()}

        some = tuple(f[start:stop] for f in self.functions) if isinstance(self.functions, tuple) else None
        functions = self.functions[start:stop] if some is None else some
        return dataclasses.replace(self, functions=functions, inputs=own(self.inputs), **self._labels(start, stop))

    def _labels(self, start: int, stop: int) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class LabelRows(FunctionRows):
    """Solutions for B input functions at points that they share, or at points of each, ``(n, B, d)``.

    Attributes:
        truth: Solutions ``(B n, k)``, one function after the other.
        size: Root mean square of the solution of each row, ``(B n, k)``.
    """

    truth: Tensor = field(kw_only=True)
    size: Tensor = field(kw_only=True)

    def _labels(self, start: int, stop: int) -> dict[str, Tensor]:
        n = len(self.points)
        points = self.points[:, start:stop] if self.points.ndim == 3 else self.points
        return {"points": points, **{k: getattr(self, k)[start * n : stop * n] for k in ("truth", "size")}}


def row_count(rows: Any) -> int | None:
    """Return how many rows a residual has on what belongs to it: `Rows`, or a mapping with ``points``; else None."""
    if isinstance(rows, Rows):
        return len(rows)
    points = rows.get("points") if isinstance(rows, Mapping) else None
    return len(points) if isinstance(points, Tensor) else None


def leading(rows: Any) -> int:
    """Return the number of rows of the tensors in a pytree."""
    return len(tree_leaves(rows)[0])


def part_of(rows: Any, start: int, stop: int) -> Any:
    """Return some rows of the tensors in a pytree, from one number to another; a number without rows stays as it is."""
    return tree_map(lambda leaf: leaf[start:stop] if leaf.dim() else leaf, rows)


def pieces_of(rows: Any, n: int) -> list[Any]:
    """Return the rows of the tensors in a pytree in pieces of n, of which the last may be smaller."""
    return [part_of(rows, i, i + n) for i in range(0, leading(rows), n)]


def rows_at_once(module: Any, most: int) -> int:
    """Return how many points are evaluated at once without a graph.

    A wide layer with its derivatives leaves the cache of a CPU after some hundred points; smaller pieces are several
    times faster.

    Args:
        module: The field, or what holds it; a plain function has no layers.
        most: Largest number, for memory.

    Returns:
        The number of points.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)] if isinstance(module, nn.Module) else []
    if not layers or layers[0].weight.device.type != "cpu":
        return most
    return min(max(CACHE // max(layer.out_features for layer in layers), LEAST), most)
