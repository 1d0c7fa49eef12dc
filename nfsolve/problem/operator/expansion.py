"""Solutions of many functions as sums of products of polynomials and waves, each with coefficients of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve.diff.jets import Jet, Unsupported
from nfsolve.fields.tensor_basis import Side, nodes, tensor_basis
from nfsolve.problem.operator.families import Coefficients

CLOSE = 1e-6  # difference of solutions from those that the hard constraint allows, relative


class Sums:
    """The basis of a box.

    Args:
        sides: The box.
        sizes: Functions along each coordinate.
        k: Unknowns.
        transform: The hard constraint that a field would apply, or None.
    """

    def __init__(self, sides: Sequence[Side], sizes: Sequence[int], k: int, transform: Any = None):
        self.sides, self.sizes, self.m, self.k = tuple(sides), tuple(sizes), math.prod(sizes), k
        self.transform = transform


@dataclass
class Table:
    """Stands in for a field whose outputs are sums of the basis, each function with its own coefficients.

    Attributes:
        sums: The basis.
        coefficients: ``(B, m, k)``.
        seen: The basis with its derivatives at each call ``(channels, n, m)``.
        shifts: What is added at each call to value and derivatives, ``(channels, n, B k)``; None adds nothing.
        from_labels: Whether the sums are solutions already, to which no hard constraint is applied.
    """

    sums: Sums
    coefficients: Tensor
    seen: list[Tensor]
    shifts: list[Tensor] | None = None
    from_labels: bool = False
    calls: int = 0

    def across(self, functions: Any, x: Any) -> Any:
        """Evaluate all functions at points, a jet with its derivatives; as in `Operator`."""
        if self.calls == len(self.seen):
            given: Any = x  # a jet stands in for points
            plain = x.channels if isinstance(x, Jet) else x
            if torch._C._functorch.is_functorch_wrapped_tensor(plain):  # type: ignore[attr-defined]
                raise Unsupported("a residual differentiates a composite term")
            basis: Any = tensor_basis(given, self.sums.sides, self.sums.sizes)
            self.seen.append(basis.channels if isinstance(basis, Jet) else basis[None])
        columns = self.coefficients.permute(1, 0, 2).flatten(1)
        values = self.seen[self.calls] @ columns
        if self.shifts is not None:
            values = values + self.shifts[self.calls]
        self.calls += 1
        raw = Jet(values, x.plan) if isinstance(x, Jet) else values[0]
        transform = self.sums.transform
        if transform is None:
            return raw
        return transform(x[:, None], raw.unflatten(-1, (-1, self.sums.k))).flatten(-2)


class Expansion(Sums):
    """The raw outputs of an operator problem as sums of the basis.

    Args:
        problem: The operator problem.
        sides: The box.
        sizes: Functions of the basis along each coordinate.
    """

    batch: int
    """functions that are solved for at once"""
    warm = True
    """whether `solve` is faster from a start"""

    def __init__(self, problem: Any, sides: Sequence[Side], sizes: Sequence[int]):
        super().__init__(sides, sizes, len(problem.outputs), problem.output_transform())
        self.problem, self.like = problem, torch.empty(0, dtype=torch.float64)
        self.lifting = problem._lifting(self.like)
        self.nodes = nodes(self.sides, self.sizes)

    def solve(self, drawn: Coefficients, start: Tensor | None) -> Tensor:
        """Solve for functions, from coefficients ``(B, m, k)`` or from nothing; not finite where that failed."""
        raise NotImplementedError

    def read(self, drawn: Coefficients) -> Any:
        """Return what a field reads of functions."""
        return self.problem.read(self.problem.at_sensors(drawn), self.like)[0]

    def values(self, drawn: Coefficients, found: Tensor, points: Tensor) -> Tensor:
        """Evaluate solutions at points, ``(B, n, k)``."""
        return self.problem.predict(Table(self, found, []), self.read(drawn), points)

    def constrained(self, drawn: Coefficients, raw: Tensor, points: Tensor) -> Tensor:
        """Return the solutions at points whose raw outputs there are ``(B, n, k)``."""
        nothing = torch.zeros(len(raw), 1, self.k, dtype=torch.float64), [torch.zeros(1, len(points), 1).double()]
        shift = raw.permute(1, 0, 2).flatten(1)[None]
        return self.problem.predict(Table(self, *nothing, [shift]), self.read(drawn), points)

    def slopes(self, drawn: Coefficients, points: Tensor) -> Tensor:
        """Return how solutions change with raw outputs, about zero, ``(B, n, k, k)``."""
        count = len(next(iter(drawn.values())))
        zero = torch.zeros(count, len(points), self.k, dtype=torch.float64)
        parts = []
        for j in range(self.k):
            direction = torch.zeros_like(zero)
            direction[..., j] = 1.0
            parts.append(torch.func.jvp(lambda raw: self.constrained(drawn, raw, points), (zero,), (direction,))[1])
        return torch.stack(parts, -1)

    def fitted(self, drawn: Coefficients, values: Tensor) -> Tensor:
        """Return the coefficients of solutions that are known at the nodes, both ``(B, m, k)``.

        Raises:
            Unsupported: The hard constraint does not leave them free, or is not affine.
        """
        fixed, slopes = self.constrained(drawn, torch.zeros_like(values), self.nodes), self.slopes(drawn, self.nodes)
        raw = torch.linalg.solve_ex(slopes, (values - fixed)[..., None])[0][..., 0]
        gap = (self.constrained(drawn, raw, self.nodes) - values)[values.isfinite()]
        if not bool((gap.abs() <= CLOSE * values.nan_to_num().abs().amax()).all()):
            raise Unsupported("the ansatz is not affine in the unknowns, or fixes them where the equations do")
        return self.of_nodes(raw)

    def weights(self, drawn: Coefficients) -> Tensor:
        """Return factors ``(m, k)``: raw outputs at the nodes times them are as far apart as solutions are.

        In the mean square, and for solutions near those of the raw outputs zero.
        """
        shares = [
            torch.ones(n, dtype=torch.float64) if wraps else torch.sin(math.pi * (torch.arange(n) + 0.5) / n).double()
            for n, (*_, wraps) in zip(self.sizes, self.sides, strict=True)
        ]
        share = torch.cartesian_prod(*shares).reshape(-1, len(shares)).prod(1)  # where nodes are dense, each has less
        size = self.slopes({name: c[:1] for name, c in drawn.items()}, self.nodes)[0].norm(dim=1)
        return (share / share.sum()).sqrt()[:, None] * size

    def at_nodes(self, coefficients: Tensor) -> Tensor:
        """Return raw outputs at the nodes of coefficients, both ``(B, m, k)``."""
        return along_axes(coefficients, self._squares())

    def of_nodes(self, raw: Tensor) -> Tensor:
        """Return the coefficients of raw outputs at the nodes, both ``(B, m, k)``."""
        return along_axes(raw, [torch.linalg.inv(square) for square in self._squares()])

    def _squares(self) -> list[Tensor]:
        """Return the values of the functions of each coordinate at its nodes, ``(size, size)``."""
        pairs = zip(self.sides, self.sizes, strict=True)
        return [tensor_basis(nodes([side], [n]), [side], [n]) for side, n in pairs]


def along_axes(table: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply ``(B, m, k)``, where m is a product of sizes, by a matrix ``(size, size)`` along each of these axes."""
    values = table.unflatten(1, [len(matrix) for matrix in matrices])
    for i, matrix in enumerate(matrices):
        values = (values.movedim(i + 1, -1) @ matrix.T).movedim(-1, i + 1)
    return values.flatten(1, -2)
