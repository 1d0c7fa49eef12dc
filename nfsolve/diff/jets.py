"""Taylor jets: a value and a set of its partial derivatives carried together through tensor operations.

A `Jet` stacks one channel for each multi-index of a downward closed set, ``(C, n, k)``. Linear layers act
on all channels at once (one matrix product); products follow the Leibniz rule and elementwise functions the
multivariate Faa di Bruno formula (Griewank & Walther, Evaluating Derivatives, 2nd ed., ch. 13).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

# sorted columns of the coordinates, one entry for each differentiation; where the entries are negative, the sum of
# the second derivatives along the columns -1 - entry
Index = tuple[int, ...]


# filled by rules.py; a function without a rule is `Unsupported`
RULES: dict[Any, Callable[..., Any]] = {}  # torch function -> its rule
METHODS: dict[str, Callable[..., Any]] = {}  # method of a tensor -> its rule


# begin the names of functions whose derivatives torch takes for zero without a word
FLAT = (
    "special_bessel_",
    "special_modified_bessel_",
    "special_scaled_modified_bessel_",
    "special_spherical_bessel_",
    "special_airy_",
    "special_hermite_",
    "special_laguerre_",
    "special_legendre_",
    "special_chebyshev_",
    "special_shifted_chebyshev_",
)


class Unsupported(TypeError):
    """An operation has no Taylor rule; the caller falls back to nested jvp."""


def laplacian(columns: Iterable[int]) -> Index:
    """Return the index of the sum of the second derivatives along some columns."""
    return tuple(sorted(-1 - column for column in columns))


def summands(index: Index) -> list[Index]:
    """Return the plain indices whose derivatives an index adds up: itself, where it is plain."""
    return [(-1 - entry, -1 - entry) for entry in index] if index and index[0] < 0 else [index]


def order_of(index: Index) -> int:
    """Return the order of a derivative."""
    return len(summands(index)[0])


class Plan:
    """The channels of a jet and the tables of the product and composition rules on them.

    Args:
        wanted: Multi-indices that are asked for; everything below them is added.
    """

    def __init__(self, wanted: Iterable[Index]):
        closed: set[Index] = {()}
        for index in wanted:
            closed.add(index)
            for part in summands(index):
                # a sum of second derivatives is one channel: only what is below the summands is added
                most = len(part) + (part == index)
                closed |= {tuple(s) for m in range(most) for s in combinations(part, m)}
        self.indices: list[Index] = sorted(closed, key=lambda index: (order_of(index), index))
        self.position = {index: i for i, index in enumerate(self.indices)}
        self.order = order_of(self.indices[-1])
        # tables at once, not when first used: torch.compile would trace a lazy attribute's lock
        self.products = self._products()
        self.compositions = self._compositions()

    def _products(self) -> list[list[tuple[int, int, int]]]:
        """For each channel of f g: terms ``(coefficient, channel of f, channel of g)``."""
        table = []
        for index in self.indices:
            splits: Counter[tuple[int, int]] = Counter()
            for part in summands(index):
                for mask in range(1, 2 ** len(part) - 1):
                    left = tuple(c for i, c in enumerate(part) if mask >> i & 1)
                    right = tuple(c for i, c in enumerate(part) if not mask >> i & 1)
                    splits[self.position[left], self.position[right]] += 1
            for both in {(self.position[index], 0), (0, self.position[index])}:
                splits[both] += 1
            table.append([(n, left, right) for (left, right), n in splits.items()])
        return table

    def _compositions(self) -> list[list[tuple[int, Index]]]:
        """For each channel of s(f): terms ``(coefficient, channels of f)``, one channel for each order of s."""
        table = []
        for index in self.indices:
            terms = Counter(
                tuple(sorted(self.position[tuple(part[i] for i in block)] for block in partition))
                for part in summands(index)
                for partition in _set_partitions(list(range(len(part))))
                if len(partition) > 1
            )
            linear = [(1, (self.position[index],))] if index else []
            table.append(linear + [(n, blocks) for blocks, n in terms.items()])
        return table


_PLANS: dict[tuple[Index, ...], Plan] = {}  # a plain dict, because torch.compile looks through lru_cache


def plan(wanted: Iterable[Index]) -> Plan:
    """Return the plan of a set of multi-indices; plans are kept."""
    key = tuple(sorted(wanted))
    if key not in _PLANS:
        _PLANS[key] = Plan(key)
    return _PLANS[key]


def _set_partitions(items: list[int]) -> list[list[list[int]]]:
    if not items:
        return [[]]
    first, rest = items[0], items[1:]
    grown = []
    for partition in _set_partitions(rest):
        grown.append([[first], *partition])
        for i, block in enumerate(partition):
            grown.append([*partition[:i], [first, *block], *partition[i + 1 :]])
    return grown


class Jet:
    """A batch of values with their partial derivatives, as one stacked tensor.

    Args:
        channels: ``(C, *shape)``, channel 0 the value, in the order of ``plan.indices``.
        plan: What the channels mean.
    """

    def __init__(self, channels: Tensor, plan: Plan):
        self.channels = channels
        self.plan = plan

    @classmethod
    def seed(cls, points: Tensor, plan: Plan) -> "Jet":
        """Start a jet at points ``(n, d)``: the derivative of a coordinate along itself is one."""
        unit = torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
        zero = torch.zeros_like(points)
        rows = [points]
        for index in plan.indices[1:]:
            rows.append(unit[index[0]].expand_as(points) if order_of(index) == 1 else zero)
        return cls(torch.stack(rows), plan)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        rule = RULES.get(func)
        if rule is None:
            name = getattr(func, "__name__", str(func))
            if name.startswith(FLAT):
                raise InputError(
                    f"torch knows no derivative of {name.replace('special_', 'torch.special.')}, and takes it for zero",
                    do="write it with functions that have one",
                )
            raise Unsupported(f"no Taylor rule for {name}")
        return rule(*args, **(kwargs or {}))

    def map(self, linear: Callable[[Tensor], Tensor]) -> "Jet":
        """Apply a linear map that acts on each channel alone."""
        return Jet(linear(self.channels), self.plan)

    def compose(self, derivatives: list[Tensor]) -> "Jet":
        """Apply an elementwise function given by its derivatives of order 0, 1, ... at the value."""
        rows, parts = [derivatives[0]], self.channels.unbind(0)
        for terms in self.plan.compositions[1:]:
            sums: dict[int, Tensor] = {}  # by the order of the function's derivative, which they share
            for coefficient, blocks in terms:
                term = parts[blocks[0]]
                for block in blocks[1:]:
                    term = term * parts[block]
                term = term if coefficient == 1 else coefficient * term
                sums[len(blocks)] = sums[len(blocks)] + term if len(blocks) in sums else term
            added = [derivatives[m] * total for m, total in sums.items()]
            rows.append(sum(added[1:], added[0]))
        return Jet(torch.stack(rows), self.plan)

    def product(self, other: "Jet") -> "Jet":
        """Multiply by another jet on the same plan (Leibniz rule)."""
        rows, mine, others = [], self.channels.unbind(0), other.channels.unbind(0)
        for terms in self.plan.products:
            parts = [mine[left] * others[right] for _, left, right in terms]
            parts = [part if n == 1 else n * part for (n, _, _), part in zip(terms, parts, strict=True)]
            rows.append(sum(parts[1:], parts[0]))
        return Jet(torch.stack(rows), self.plan)

    def power(self, exponent: float) -> "Jet":
        """Raise to a constant power."""
        if exponent == 2:
            return self.product(self)
        value, factor, derivatives = self.channels[0], 1.0, []
        for m in range(self.plan.order + 1):
            if factor == 0.0:
                derivatives.append(torch.zeros_like(value))
            else:
                derivatives.append(factor * value ** (exponent - m))
            factor *= exponent - m
        return self.compose(derivatives)

    def add(self, other: "Jet | Tensor | float") -> "Jet":
        """Add a jet channel by channel, or a constant to the value."""
        if isinstance(other, Jet):
            return Jet(self.channels + other.channels, self.plan)
        value = self.channels[:1] + other
        rest = self.channels[1:]
        if value.shape[1:] != rest.shape[1:]:
            rest = rest.expand(rest.shape[0], *value.shape[1:])
        return Jet(torch.cat([value, rest]), self.plan)

    def times(self, other: "Jet | Tensor | float") -> "Jet":
        """Multiply by a jet or by a constant."""
        if isinstance(other, Jet):
            return self.product(other)
        return Jet(self.channels * other, self.plan)

    def reciprocal(self) -> "Jet":
        """Return one over the jet."""
        inverse = 1 / self.channels[0]
        terms = [(-1) ** m * math.factorial(m) * inverse ** (m + 1) for m in range(self.plan.order + 1)]
        return self.compose(terms)

    def __neg__(self) -> "Jet":
        return Jet(-self.channels, self.plan)

    def __add__(self, other: "Jet | Tensor | float") -> "Jet":
        return self.add(other)

    __radd__ = __add__

    def __sub__(self, other: "Jet | Tensor | float") -> "Jet":
        return self.add(-other)

    def __rsub__(self, other: "Tensor | float") -> "Jet":
        return (-self).add(other)

    def __mul__(self, other: "Jet | Tensor | float") -> "Jet":
        return self.times(other)

    __rmul__ = __mul__

    def __truediv__(self, other: "Jet | Tensor | float") -> "Jet":
        return self.product(other.reciprocal()) if isinstance(other, Jet) else self.times(1 / other)

    def __rtruediv__(self, other: "Tensor | float") -> "Jet":
        return self.reciprocal().times(other)

    def __pow__(self, exponent: float) -> "Jet":
        if not isinstance(exponent, int | float):
            raise Unsupported("no Taylor rule for a power with a varying exponent")
        return self.power(exponent)

    def __gt__(self, other: "Jet | Tensor | float") -> Tensor:
        return self.channels[0] > (other.channels[0] if isinstance(other, Jet) else other)

    def __lt__(self, other: "Jet | Tensor | float") -> Tensor:
        return self.channels[0] < (other.channels[0] if isinstance(other, Jet) else other)

    def __abs__(self) -> "Jet":
        return torch.abs(self)  # type: ignore[arg-type, return-value]  # goes through __torch_function__

    def __getitem__(self, key: Any) -> "Jet":
        parts = key if isinstance(key, tuple) else (key,)
        return Jet(self.channels[(slice(None), *parts)], self.plan)

    def __getattr__(self, name: str) -> Any:
        # a method of Tensor (x.sin(), x.square(), ...) is the rule of the torch function of that name
        if name in ("dtype", "device", "is_cuda", "is_complex"):
            return getattr(self.channels, name)
        if name == "shape":
            return self.channels.shape[1:]
        if name == "ndim":
            return self.channels.ndim - 1
        if name in ("real", "imag"):
            return METHODS[name](self)
        if name in METHODS:
            return lambda *args, **kwargs: METHODS[name](self, *args, **kwargs)
        raise Unsupported(f"no Taylor rule for .{name}")

    def __len__(self) -> int:
        return self.channels.shape[1]
