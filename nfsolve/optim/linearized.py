"""A residual linearized at one point, r + J d, with damped steps: minimize |r + J d|^2 + mu (d - s)^T D (d - s).

D = diag(J^T J) or a running maximum of it (Marquardt, 1963; More, 1978); s is 0 or a multiple of the step before
(SPRING: Goldshlager, Abrahamsen & Lin, arXiv 2401.10190). Four forms of the same step: P x P (J^T J), orthogonal
triangularization of J, which keeps the digits that J^T J loses (Golub & Van Loan, Matrix Computations, 5.3), N x N by
Woodbury's identity (the kernel form of energy natural gradient, Guzman-Cordero et al., arXiv 2505.12149), and conjugate
gradients on products with J, which never form it. The first and the third can be shared by processes, each with some
columns of the matrix.
"""

import time
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor

from nfsolve.curvature import Jacobian
from nfsolve.linalg.dense import SingularMatrix, cholesky_solve, damped_cholesky, pcg
from nfsolve.linalg.qr import TallQR
from nfsolve.linalg.sharded import sharded_numbers

FLOOR = 1e-8  # smallest entry of D, relative to its largest: directions that the residual does not see
PROBES = 16  # products with J^T that estimate diag(J^T J) where J is not formed
BLOCK_BYTES = 1.28e8  # of the rows of a Jacobian that are made at once where it is not held
PARTS = ("jacobian", "gram", "solve", "trials")


def memory(form: str, n: int, p: int, count: int = 1) -> int:
    """Return the bytes that a form takes at the most for n residuals and p parameters, in float64.

    Args:
        form: The form; ``blocks`` is ``parameters`` with a Jacobian that is made again for each product, and
            ``sharded_blocks`` is that of ``sharded``.
        n: Residuals.
        p: Parameters.
        count: Processes that share the rows.

    Returns:
        Bytes of one process.
    """
    own = -(-n // count)
    some = 2 * min(at_once(p), own) * p
    counts = {
        "matrix_free": 0,
        "blocks": some + 3 * p**2,
        "parameters": own * p + 2 * p**2,
        "samples": 2 * (own * p + n**2),
        "sharded": own * p + sharded_numbers(p, count) if p <= n else 2 * own * p + sharded_numbers(n, count),
        "sharded_blocks": some + sharded_numbers(p, count),
        "qr": 2 * own * p + (3 + count * (count > 1)) * p**2,
    }
    return 8 * counts[form]


def at_once(p: int) -> int:
    """Return how many rows of a Jacobian for p parameters are made at once in blocks."""
    return max(int(BLOCK_BYTES) // (8 * p), 64)


class Clock:
    """Seconds by part of a step, summed over steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._since = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._since = time.perf_counter()

    def count(self, part: str) -> None:
        """Add the time since the last call to a part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._since
        self._since = now


class Linearized(ABC):
    """The linearized problem at one point.

    Args:
        residual: r ``(N,)``, float64.
        gradient: J^T r ``(P,)``.
        columns: diag(J^T J) ``(P,)``.
        before: Running maximum of ``columns`` at the points before, or None.
        part: Factors on D ``(P,)``, or None.

    Attributes:
        largest: The running maximum with this point.
        scaling: D, the running maximum with a floor, times the factors on it.
    """

    def __init__(
        self,
        residual: Tensor,
        gradient: Tensor,
        columns: Tensor,
        before: Tensor | None,
        part: Tensor | None = None,
    ):
        self.residual, self.gradient, self.columns = residual, gradient, columns
        self.shift: Tensor | None = None
        self.largest = columns if before is None else torch.maximum(columns, before.to(columns.device))
        floor = max(FLOOR * float(self.largest.max()), torch.finfo(columns.dtype).tiny)
        self.scaling = self.largest.clamp_min(floor) if part is None else self.largest.clamp_min(floor) * part

    @abstractmethod
    def forward(self, step: Tensor) -> Tensor:
        """Return J d ``(N,)``."""

    @abstractmethod
    def factor(self, damping: float) -> float:
        """Prepare `solve` for a damping, and return the damping used. Raises `SingularMatrix`."""

    @abstractmethod
    def invert(self, rows: Tensor) -> Tensor:
        """Return (J^T J + mu D)^-1 J^T rows, ``(P,)``, for rows ``(N,)``."""

    def solve(self, rows: Tensor) -> Tensor:
        """Minimize |rows + J d|^2 + mu (d - s)^T D (d - s) over d ``(P,)``."""
        if self.shift is None:
            return -self.invert(rows)
        return self.shift - self.invert(rows + self.forward(self.shift))

    def norm(self, step: Tensor) -> float:
        """Return the length of a step in the metric D."""
        return float((self.scaling * step * step).sum().sqrt())

    def cosine(self) -> float:
        """Return the largest cosine of an angle between the residual and a column of J, columns by the scaling."""
        size = torch.linalg.vector_norm(self.residual)
        return float((self.gradient.abs() / self.scaling.sqrt()).max() / size) if size > 0 else 0.0


class ParameterForm(Linearized):
    """Factor the P x P matrix J^T J + mu D, for P <= N."""

    def __init__(self, residual: Tensor, jacobian: Jacobian, before: Tensor | None = None, part: Tensor | None = None):
        self.jacobian = jacobian
        gradient, self.gram = jacobian.normal(residual)
        super().__init__(residual, gradient, self.gram.diagonal().clone(), before, part)

    def forward(self, step: Tensor) -> Tensor:
        """Return J d."""
        return self.jacobian.forward(step)

    def factor(self, damping: float) -> float:
        """Compute the Cholesky factor of J^T J + mu D."""
        self._lower, damping = damped_cholesky(self.gram, damping, self.scaling)
        return damping

    def invert(self, rows: Tensor) -> Tensor:
        """Solve two triangular systems."""
        return cholesky_solve(self._lower, self.jacobian.adjoint(rows))


class OrthogonalForm(Linearized):
    """Triangularize J once, J D^-1/2 = Q R, and [R; sqrt(mu)] for each damping, for P <= N.

    The normal equations square the condition number, so that directions below sqrt(eps) of the largest are lost.
    Here they are lost below eps. Costs about twice the Gram matrix and, for each damping, 10 P^3 / 3.
    """

    def __init__(self, residual: Tensor, jacobian: Jacobian, before: Tensor | None = None, part: Tensor | None = None):
        self.jacobian = jacobian
        super().__init__(residual, *jacobian.columns(residual), before, part)
        self._unit = self.scaling.sqrt()
        self._rows = TallQR(jacobian.own / self._unit, jacobian.ranks)

    def forward(self, step: Tensor) -> Tensor:
        """Return J d."""
        return self.jacobian.forward(step)

    def factor(self, damping: float) -> float:
        """Compute the triangular factor of [R; sqrt(mu)]."""
        self._damped = self._rows.damped(damping)
        return damping

    def invert(self, rows: Tensor) -> Tensor:
        """Apply two triangularizations to the rows, and solve a triangular system."""
        found = self._damped.solve(self._rows.project(self.jacobian.mine(rows))) / self._unit
        if not torch.isfinite(found).all():
            raise SingularMatrix("a triangular factor gave a step that is not finite: use a larger damping")
        return found


class SampleForm(Linearized):
    """Factor the N x N matrix J D^-1 J^T + mu, for N < P."""

    def __init__(self, residual: Tensor, jacobian: Jacobian, before: Tensor | None = None, part: Tensor | None = None):
        self.jacobian = jacobian
        super().__init__(residual, *jacobian.columns(residual), before, part)
        self.kernel = jacobian.kernel(self.scaling)

    def forward(self, step: Tensor) -> Tensor:
        """Return J d."""
        return self.jacobian.forward(step)

    def factor(self, damping: float) -> float:
        """Compute the Cholesky factor of J D^-1 J^T + mu."""
        self._lower, damping = damped_cholesky(self.kernel, damping)
        return damping

    def invert(self, rows: Tensor) -> Tensor:
        """Return D^-1 J^T (J D^-1 J^T + mu)^-1 rows."""
        return self.jacobian.adjoint(cholesky_solve(self._lower, rows)) / self.scaling


class ShardedForm(Linearized):
    """As `ParameterForm`, or for N < P `SampleForm`, with a matrix of which each process has some columns."""

    def __init__(self, residual: Tensor, jacobian: Jacobian, before: Tensor | None = None, part: Tensor | None = None):
        self.jacobian = jacobian
        gradient = jacobian.adjoint(residual)
        self._by_samples = len(residual) < len(gradient)
        if self._by_samples:
            super().__init__(residual, *jacobian.columns(residual), before, part)
            self._matrix, self._scale = jacobian.sharded_kernel(self.scaling), torch.ones_like(residual)
        else:
            self._matrix = jacobian.sharded_normal(gradient)
            super().__init__(residual, gradient, self._matrix.diagonal, before, part)
            self._scale = self.scaling

    def forward(self, step: Tensor) -> Tensor:
        """Return J d."""
        return self.jacobian.forward(step)

    def factor(self, damping: float) -> float:
        """Compute the Cholesky factor of J^T J + mu D, or of J D^-1 J^T + mu."""
        self._factor, damping = self._matrix.factor(damping, self._scale)
        return damping

    def invert(self, rows: Tensor) -> Tensor:
        """Solve two triangular systems, in which all processes take part."""
        if self._by_samples:
            return self.jacobian.adjoint(self._factor.solve(rows)) / self.scaling
        return self._factor.solve(self.jacobian.adjoint(rows))


class MatrixFreeForm(Linearized):
    """Conjugate gradients, preconditioned by D, on products with J; for what fits neither dense form.

    diag(J^T J) is estimated by the mean of (J^T w)^2 over random signs w.

    Args:
        objective: Offers ``linearize(theta) -> (r, v -> J v, w -> J^T w)``.
        theta: Where to linearize ``(P,)``.
        generator: CPU generator of the signs.
        tolerance: Relative residual at which conjugate gradients stop.
        most: Most products for one solve.
        before: As for `Linearized`.
        part: As for `Linearized`.
    """

    def __init__(
        self,
        objective: Any,
        theta: Tensor,
        generator: Generator,
        tolerance: float,
        most: int,
        before: Tensor | None = None,
        part: Tensor | None = None,
    ):
        residual, self._forward, self._backward = objective.linearize(theta)
        self._type, self._tolerance, self._most = theta.dtype, tolerance, most
        signs = torch.randint(0, 2, (PROBES, residual.numel()), generator=generator).to(residual) * 2 - 1
        columns = torch.stack([self._adjoint(w).square() for w in signs]).mean(0)
        super().__init__(residual.double(), self._adjoint(residual), columns, before, part)
        self._damping = 0.0

    def _adjoint(self, rows: Tensor) -> Tensor:
        return self._backward(rows.to(self._type)).double()

    def forward(self, step: Tensor) -> Tensor:
        """Return J d by one forward sweep."""
        return self._forward(step.to(self._type)).double()

    def factor(self, damping: float) -> float:
        """Remember the damping."""
        self._damping = damping
        return damping

    def invert(self, rows: Tensor) -> Tensor:
        """Solve by preconditioned conjugate gradients, to a relative residual."""
        damped = self._damping * self.scaling
        found = pcg(
            lambda v: self._adjoint(self.forward(v)) + damped * v,
            self._adjoint(rows),
            preconditioner=lambda v: v / (self.scaling + damped),
            tolerance=self._tolerance,
            max_steps=self._most,
        )
        if not torch.isfinite(found.x).all():
            raise SingularMatrix("conjugate gradients gave a step that is not finite: use a larger damping")
        return found.x
