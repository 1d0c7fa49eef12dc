"""The contract between residuals and optimizers: loss = |r(theta)|^2 with r, its Jacobian, and a torch closure."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Generator, Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.curvature.jacobian import Jacobian
from nfsolve.curvature.kronecker import KroneckerFactors, Spread, kronecker_factors
from nfsolve.curvature.products import linear_maps
from nfsolve.linalg.dense import flatten, unflatten

CHUNK = 64  # Jacobian columns or rows that one vectorized sweep carries: bounds its memory


class LeastSquares:
    """A residual function as every optimizer sees it: a closure that also offers residuals and Jacobian.

    For a module of one's own::

        def residual(values):
            return (torch.func.functional_call(model, values, (x,)) - y) / len(x) ** 0.5

        objective = LeastSquares(residual, dict(model.named_parameters()))
        optimizer = ESGD(objective.parameters, lr=0.1)
        for _ in range(1000):
            loss = optimizer.step(objective)

    Called, it is an ordinary torch closure. `stacked` and `jacobian` are pure functions of the vector theta that
    joins ``parameters`` in order (complex ones as pairs of real numbers); gradients and values of the parameters
    stay untouched by them. Subclasses may bring a faster `jacobian_rows`.

    `evaluations` counts residual evaluations: one with or without its gradient is 1, a Jacobian is 2
    (a forward and one backward sweep, what it costs where every residual depends on one point).

    Args:
        residual_function: Parameter name -> tensor, to the residual ``(N,)`` or ``(N, k)``, already scaled so that
            the loss is its sum of squares.
        parameters: Parameter name -> parameter. Those with ``requires_grad=False`` are passed on, not trained.

    Raises:
        InputError: Nothing to train.
    """

    ranks: Ranks = ALONE  # the processes that share the residuals
    _under = ""  # what the names of parameters begin with and a user leaves out

    def __init__(
        self, residual_function: Callable[[dict[str, Tensor]], Tensor], parameters: Mapping[str, nn.Parameter]
    ):
        self._residual_function = residual_function
        self._trained = {name: p for name, p in parameters.items() if p.requires_grad}
        self._fixed = {name: p for name, p in parameters.items() if not p.requires_grad}
        if not self._trained:
            raise InputError(
                f"At least one parameter must be trained, and none of {len(parameters)} has requires_grad=True",
                do="thaw one with requires_grad_()",
            )
        self._all = dict(self._trained)
        self._forward_mode = True
        self.evaluations = 0

    def choose(self, only: str) -> None:
        """Train only the parameters whose names begin with some parts; those that were never trained stay fixed.

        Args:
            only: Parts of a name, separated by dots; empty takes all.

        Raises:
            InputError: No parameter has such a name.
        """
        names = {name.removeprefix(self._under): name for name in self._all}
        chosen = {
            name: self._all[name] for short, name in names.items() if not only or f"{short}.".startswith(f"{only}.")
        }
        if not chosen:
            raise unknown("part of the parameters", only, dict.fromkeys(short.split(".")[0] for short in names))
        rest = {name: p for name, p in (self._trained | self._fixed).items() if name not in chosen}
        self._trained, self._fixed = chosen, rest

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in the order of theta."""
        return list(self._trained.values())

    def __call__(self) -> Tensor:
        """Zero the gradients, evaluate the loss, differentiate it, and give it detached."""
        for parameter in (*self._trained.values(), *self._fixed.values()):
            parameter.grad = None  # of frozen ones too: an old gradient would go on moving them
        with torch.enable_grad():
            loss = self.loss()
            loss.backward(inputs=self.parameters)
        return loss.detach()

    def loss(self) -> Tensor:
        """Return the loss at the current parameters with its graph; gradients stay as they are."""
        self.evaluations += 1
        return flatten([self._residual_function({**self._trained, **self._fixed})]).square().sum()

    def eager_loss(self) -> Tensor:
        """Return the loss with a graph that can be differentiated twice: as `loss`, but never compiled."""
        return self.loss()

    def parts(self) -> list[Tensor]:
        """Return the residuals at the current parameters one by one; the loss is their sum of squares."""
        return [self._residual_function({**self._trained, **self._fixed})]

    def count(self) -> int:
        """Return the number of residuals N."""
        return self.stacked(self.theta()).numel()

    def stacked(self, theta: Tensor) -> Tensor:
        """Return the residual vector ``(N,)`` at theta ``(P,)``."""
        self.evaluations += 1
        return self._at(theta)

    def jacobian(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residual and its Jacobian, for any differentiable residual.

        With fewer parameters than residuals by forward mode, P sweeps; else, or where an operation lacks
        forward mode (an inner `torch.autograd.grad`), by reverse mode, N sweeps.

        Args:
            theta: Parameters ``(P,)``.

        Returns:
            Residual ``(N,)`` and Jacobian ``(N, P)``, without a graph.
        """
        residual, rows = self.jacobian_rows(theta)
        return residual, rows.whole()

    def jacobian_rows(self, theta: Tensor, at_once: int | None = None) -> tuple[Tensor, Jacobian]:
        """Return the residual and its Jacobian for products; see `jacobian`.

        Args:
            theta: Parameters ``(P,)``.
            at_once: Rows that are made at once, by reverse mode, and made again for each product; None holds all rows.

        Returns:
            Residual ``(N,)`` and its Jacobian, without a graph.
        """
        self.evaluations += 2
        theta = theta.detach()
        residual = self._at(theta).detach()
        places, own = self._own_places(), self._own_stack
        if at_once is not None:
            return residual, Jacobian(lambda: self._rows(own, theta, at_once), places, len(residual), self.ranks)
        matrix = self._matrix(own, theta, len(residual[places]))
        return residual, Jacobian(lambda: (matrix,), places, len(residual), self.ranks)

    def _own_places(self) -> Tensor | slice:
        """Return where the residuals of this process stand among all."""
        return slice(None)

    def _own_stack(self, params: dict[str, Tensor]) -> Tensor:
        """Return the residuals of this process at trained and fixed parameters, evaluated without others."""
        return self._residual_function(params)

    def _matrix(self, own: Callable[[dict[str, Tensor]], Tensor], theta: Tensor, count: int) -> Tensor:
        """Return the Jacobian of some residuals, with fewer columns than rows by forward mode where that can be."""
        if self._forward_mode and theta.numel() <= count:
            try:
                return self._by_columns(own, theta, count)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # the plain evaluation above passed, so only forward mode can be at fault
                self._forward_mode = False
        matrix = theta.new_zeros(count, theta.numel())
        start = 0
        for block in self._rows(own, theta, CHUNK):
            matrix[start : start + len(block)] = block
            start += len(block)
        return matrix

    def linearize(self, theta: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Return the residual and products with its Jacobian J, which is never formed.

        Args:
            theta: Parameters ``(P,)``.

        Returns:
            Residual ``(N,)``; v ``(P,)`` -> J v ``(N,)``; w ``(N,)`` -> J^T w ``(P,)``. Each product counts as one
            evaluation.
        """
        self.evaluations += 1
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            residual = self._at(leaf)
        ahead, back = linear_maps(residual, leaf)

        def counted(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def apply(vector: Tensor) -> Tensor:
                self.evaluations += 1
                return product(vector)

            return apply

        return residual.detach(), counted(ahead), counted(back)

    def kronecker_factors(self, generator: Generator, samples: int = 1) -> list[KroneckerFactors]:
        """Return the Kronecker factors of the Gauss-Newton matrix 2 J^T J, layer by layer, at the current parameters.

        Args:
            generator: CPU generator of the random signs.
            samples: Draws of signs; each counts as one evaluation.

        Returns:
            Factors of the linear layers whose weights are parameters; none where there are no such layers.
        """
        self.evaluations += samples

        def residual() -> Tensor:
            return flatten([self._own_stack({**self._trained, **self._fixed})])

        places = self._own_places()
        spread = Spread(places, self.count(), self.ranks) if isinstance(places, Tensor) else None
        return kronecker_factors(residual, self.parameters, generator, samples, spread)

    def theta(self) -> Tensor:
        """Return the current parameters as one vector ``(P,)``, a copy."""
        return flatten([p.detach() for p in self._trained.values()])

    @torch.no_grad()
    def assign(self, theta: Tensor) -> None:
        """Write a vector ``(P,)`` into the parameters, in place."""
        for name, value in self.unflatten(theta).items():
            self._trained[name].copy_(value)

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the trained parameters of a vector ``(P,)`` by name."""
        return unflatten(theta, self._trained)

    def _at(self, theta: Tensor, of: Callable[[dict[str, Tensor]], Tensor] | None = None) -> Tensor:
        values = self.unflatten(theta)
        with torch.enable_grad():  # for residuals that differentiate the field themselves
            return flatten([(of or self._residual_function)({**values, **self._fixed})])

    def _by_columns(self, own: Callable[[dict[str, Tensor]], Tensor], theta: Tensor, count: int) -> Tensor:
        """Return the Jacobian by vectorized forward mode, ``CHUNK`` columns at a time."""

        def along(direction: Tensor) -> Tensor:
            return torch.func.jvp(lambda t: self._at(t, own), (theta,), (direction,))[1]

        jacobian = theta.new_empty(count, theta.numel())
        for start in range(0, theta.numel(), CHUNK):
            size = min(CHUNK, theta.numel() - start)
            basis = theta.new_zeros(size, theta.numel())
            basis[:, start : start + size].fill_diagonal_(1.0)
            jacobian[:, start : start + size] = torch.func.vmap(along)(basis).detach().T
        return jacobian

    def _rows(self, own: Callable[[dict[str, Tensor]], Tensor], theta: Tensor, at_once: int) -> Iterator[Tensor]:
        """Yield the Jacobian by vectorized reverse mode, some rows at a time."""
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            residual = self._at(leaf, own)

        def back(seed: Tensor) -> Tensor:  # functorch's vmap, which maps without torch can follow
            return torch.autograd.grad(residual, leaf, seed, retain_graph=True, materialize_grads=True)[0]

        for start in range(0, residual.numel(), at_once):
            size = min(at_once, residual.numel() - start)
            seeds = residual.new_zeros(size, residual.numel())
            seeds[:, start : start + size].fill_diagonal_(1.0)
            yield torch.func.vmap(back)(seeds)
