"""What a weighting scheme is, and how its factors enter the least squares that every optimizer sees.

With a factor f on residual r the loss is the sum of weight * mean(f * r**2), and each row of the stacked residual is
multiplied by sqrt(weight * f / size): gradient descent and Gauss-Newton minimise the same weighted sum. Factors
multiply the weights that the problem states. They are constants within an optimizer step and never differentiated.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nfsolve._core.errors import InputError

State = dict[str, Any]


class Terms(Protocol):
    """All that a scheme sees of an objective.

    Attributes:
        problem: The problem, for its conditions and its domain.
        batch: The points, by residual name where the problem is a PDE.
        evaluations: Residual evaluations so far; a scheme counts its own.
    """

    problem: Any
    batch: dict[str, Any]
    evaluations: int

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters."""
        ...

    @property
    def sizes(self) -> dict[str, int]:
        """Number of entries of each residual on the current points."""
        ...

    def residuals(self) -> dict[str, Tensor]:
        """Evaluate the residuals, without weights, at the current parameters."""
        ...

    def theta(self) -> Tensor:
        """Return the trained parameters as a vector ``(P,)``."""
        ...

    def stacked(self, theta: Tensor) -> Tensor:
        """Return all residuals as they are weighed ``(N,)``, in the order of `sizes`."""
        ...

    def jacobian(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return all residuals as they are weighed ``(N,)``, in the order of `sizes`, and their Jacobian ``(N, P)``."""
        ...

    def some_rows(self, name: str, most: int) -> Tensor:
        """Return the Jacobian of up to ``most`` rows of one residual, without weight, ``(m, P)``."""
        ...

    def slow_squares(self, name: str, most: int) -> float:
        """Return the mean square of what slow fields of size 1 change of one residual; 0 where it is not known."""
        ...


class Weighting(ABC):
    """A scheme that adapts weights; its settings only, the state is apart and goes into the checkpoint.

    Attributes:
        every: Optimizer steps between updates; 0 never updates.
    """

    every: int

    def check(self, terms: Terms) -> None:
        """Refuse a problem that the scheme is not for.

        Args:
            terms: The objective.

        Raises:
            InputError: The problem lacks what the scheme needs.
        """
        return

    @abstractmethod
    def update(self, state: State, terms: Terms) -> State:
        """Look at the residuals and give the next state.

        Args:
            state: Tensors and numbers, possibly nested by name; empty at the start.
            terms: The objective.

        Returns:
            The new state; the old one stays as it is.
        """

    @abstractmethod
    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return the factors on the squared residuals.

        Args:
            state: What `update` gave, or empty.
            terms: The objective with its current points.

        Returns:
            Residual name -> a scalar ``()``, or one factor for each row or entry, ``(n, 1)`` or ``(n, k)``; a missing
            name has factor 1.
        """

    def resampled(self, state: State, kept: set[str]) -> State:
        """Return the state after points were resampled; unchanged unless it belongs to the points.

        Args:
            state: The state so far.
            kept: Residuals whose points are the same as before.

        Returns:
            The state from which to go on.
        """
        return state


@dataclass(frozen=True)
class Constant(Weighting):
    """The weights that the problem states, and no others."""

    every: ClassVar[int] = 0

    def update(self, state: State, terms: Terms) -> State:
        """Change nothing."""
        return state

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return none."""
        return {}


class Weights:
    """The weights of one objective: those that the problem states, times the factors of a scheme.

    Args:
        scheme: The scheme.
        stated: Residual name -> weight; a missing name weighs 1.

    Attributes:
        state: State of the scheme.

    Raises:
        InputError: A weight is negative or not finite.
    """

    def __init__(self, scheme: Weighting, stated: dict[str, float]):
        for name, weight in stated.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"the weight of residual '{name}' must be a finite number >= 0, got {weight:g}")
        self.scheme, self.stated = scheme, stated
        self.state: State = {}
        self._factors: dict[str, Tensor] = {}

    @torch.no_grad()
    def turn(self, step: int, terms: Terms) -> None:
        """Update the weights if the scheme is due."""
        if self.scheme.every and step % self.scheme.every == 0:
            self.restore(self.scheme.update(self.state, terms), terms)

    def resampled(self, before: dict[str, Any], terms: Terms) -> None:
        """Forget the state that belongs to points that a new draw has replaced."""
        if terms.batch is not before:
            kept = {name for name, rows in terms.batch.items() if rows is before.get(name)}
            self.restore(self.scheme.resampled(self.state, kept), terms)

    def restore(self, state: State, terms: Terms) -> None:
        """Take a state, on whatever device it is."""
        device = terms.parameters[0].device
        self.state = tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, state)
        self._factors = self.scheme.factors(self.state, terms)

    def term(self, name: str, residual: Tensor) -> Tensor:
        """Return what a residual ``(n, k)`` adds to the loss."""
        squares = residual.square()
        if name in self._factors:
            squares = self._factors[name] * squares
        return self.stated.get(name, 1.0) * squares.mean()

    def scale(self, name: str, residual: Tensor, size: int | None = None, rows: slice | None = None) -> float | Tensor:
        """Return the factor on the rows of a residual with which its squared norm is its term of the loss.

        Args:
            name: Name of the residual.
            residual: Its values ``(n, k)``.
            size: Entries of all its rows, where these are some of them.
            rows: Which of all these are; None for all.
        """
        scale = math.sqrt(self.stated.get(name, 1.0) / (size or residual.numel()))
        if name not in self._factors:
            return scale
        factor = self._factors[name].sqrt()
        return scale * (factor[rows] if rows is not None and factor.dim() else factor)

    def means(self, names: list[str]) -> dict[str, float]:
        """Return the mean weight of each residual, for the history; nothing where they never change."""
        if not self.scheme.every:
            return {}
        factors = {name: float(self._factors[name].mean()) if name in self._factors else 1.0 for name in names}
        return {name: self.stated.get(name, 1.0) * factor for name, factor in factors.items()}
