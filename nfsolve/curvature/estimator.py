"""Estimates of the diagonal of curvature from products with random probes, averaged over the steps of a training.

With probes v of mean 0 and covariance I: E[(H v)^2] is the squared norm of each row of H (Dauphin et al., arXiv
1502.04390), E[v (H v)] the diagonal of H (Bekas, Kokiopoulou & Saad, Appl. Numer. Math. 57 (2007) 1214), and, with
signs w on the residuals of loss = |r|^2, E[2 (J^T w)^2] the diagonal of 2 J^T J, its Gauss-Newton Hessian.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.curvature.sampled import sample_products
from nfsolve.linalg.dense import real

Quantity = Literal["row_norm", "diagonal", "gauss_newton", "root_magnitude"]
Method = Literal["autograd", "gauss_newton", "finite_difference"]
Probes = Literal["rademacher", "gaussian"]
Average = Literal["ema", "mean", "max"]
Correction = Literal["refreshes", "steps"]
State = dict[str, Any]
ROOTS = ("row_norm", "root_magnitude")  # what is averaged is the square of the divisor


class Sample(NamedTuple):
    """One refresh: loss and gradient at the present parameters, what is to be averaged, and the generator after it.

    Attributes:
        loss: Scalar.
        gradient: One tensor for each parameter; None where the loss does not depend on it.
        values: What is averaged, one tensor for each parameter; a complex one counts as pairs of real numbers.
        generator: State of the generator after the probes were drawn.
    """

    loss: Tensor
    gradient: list[Tensor | None]
    values: list[Tensor]
    generator: Tensor

    def finite(self) -> bool:
        """Return whether every number of the sample is finite."""
        tensors = [*self.values, *(g for g in self.gradient if g is not None)]
        return bool(torch.stack([t.isfinite().all().to(tensors[0].device) for t in tensors]).all())


@dataclass(frozen=True)
class Estimator:
    """What is estimated, how, and when; its state is apart, plain data that belongs in a checkpoint.

    The state holds ``steps`` so far, steps ``since`` the last refresh, ``refreshes``, and the state of a private CPU
    ``generator``, so that every device sees the same probes.

    Args:
        quantity: ``row_norm``, ``diagonal``, ``gauss_newton`` (all three as above) or ``root_magnitude``: sqrt of the
            mean |H v|, which estimates no property of H and is there to reproduce published runs.
        method: The product: ``autograd`` (H v by double backward), ``gauss_newton`` (2 J^T J v), or
            ``finite_difference`` (H v from two more gradients). ``quantity="gauss_newton"`` needs no product.
        probes: ``rademacher`` (signs; the smaller variance) or ``gaussian``.
        average: Over refreshes: ``ema`` (moving, with ``decay``), ``mean`` (arithmetic) or ``max`` (the larger of
            the decayed old value and the new one).
        decay: Of the moving average and of the maximum, for each refresh.
        refresh_every: Steps between refreshes after the warm-up.
        warmup: First steps, each with a refresh. The first step always has one.
        bias_correction: What corrects the start of the moving average at zero: the number of ``refreshes``, or of
            ``steps`` as in released code, which makes the estimate too small, by a factor of up to 3.6 for the root
            of a decay of 0.999 with 100 steps between refreshes.

    Raises:
        InputError: A setting is unknown or out of range.
    """

    quantity: Quantity = "row_norm"
    method: Method = "autograd"
    probes: Probes = "rademacher"
    average: Average = "ema"
    decay: float = 0.999
    refresh_every: int = 100
    warmup: int = 50
    bias_correction: Correction = "refreshes"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        if not 0 <= self.decay < 1 or self.refresh_every < 1 or self.warmup < 0:
            raise InputError(
                "An estimate needs beta2 in [0, 1), refresh_every >= 1 and warmup >= 0, got "
                f"beta2={self.decay}, refresh_every={self.refresh_every}, warmup={self.warmup}",
                do="choose values in these ranges",
            )
        if self.quantity == "diagonal" and self.average == "max":
            raise InputError(
                "The noise of signed estimates of a diagonal must cancel, which average='max' does not allow",
                do="use average='ema' or 'mean'",
            )

    def start(self, seed: int) -> State:
        """Return the state before the first step."""
        return {"steps": 0, "since": 0, "refreshes": 0, "generator": Generator().manual_seed(seed).get_state()}

    def due(self, state: State) -> bool:
        """Return whether the coming step has a refresh."""
        early = state["refreshes"] == 0 or state["steps"] < self.warmup
        return early or state["since"] >= self.refresh_every

    def sample(self, closure: Any, parameters: Sequence[Tensor], state: State, guard: bool = False) -> Sample:
        """Evaluate loss, gradient and one probe; neither the state nor the parameters change.

        Args:
            closure: The objective; see `sample_products` for what it must offer.
            parameters: What to estimate the curvature of.
            state: For its generator.
            guard: Compare the product with finite differences, see `check_products`.

        Returns:
            The sample, to be given to `accept` and `blend` where it is finite.

        Raises:
            InputError: The loss depends on none of the parameters, or cannot be differentiated twice.
        """
        generator = Generator()
        generator.set_state(state["generator"].cpu())
        method = "rows" if self.quantity == "gauss_newton" else self.method
        found = sample_products(closure, parameters, method, self.probes, generator, guard)
        values = [self._value(v, h) for v, h in zip(found.probes, found.products, strict=True)]
        return Sample(found.loss, found.gradient, values, generator.get_state())

    def accept(self, state: State, sample: Sample) -> None:
        """Count a sample as a refresh; call `advance` for the step and `blend` for each parameter besides."""
        state["generator"] = sample.generator
        state["since"] = 0
        state["refreshes"] += 1

    def advance(self, state: State) -> None:
        """Count a step."""
        state["steps"] += 1
        state["since"] += 1

    def blend(self, average: Tensor | None, value: Tensor, state: State) -> Tensor:
        """Return the average with one more value, after `accept`; an old one may be overwritten.

        Args:
            average: Before, or None at the first refresh of the parameter.
            value: Of this refresh.
            state: With this refresh counted.

        Returns:
            The new average.
        """
        if self.average == "max":
            return value if average is None else torch.maximum(average.mul_(self.decay), value)
        if self.average == "mean":
            return value if average is None else average.lerp_(value, 1 / state["refreshes"])
        if average is None:  # a parameter that joins late starts as if all refreshes before had shown this value
            return torch.lerp(value, torch.zeros_like(value), self.decay ** state["refreshes"])
        return torch.lerp(value, average, self.decay)

    def curvature(self, average: Tensor) -> Tensor:
        """Return the magnitude of the curvature from an average, before the division by `correction`."""
        return average.sqrt() if self.quantity in ROOTS else average.abs()

    def correction(self, state: State) -> float:
        """Return the divisor of `curvature` that removes the start of the moving average at zero."""
        if self.average != "ema":
            return 1.0
        weight = 1 - self.decay ** state[self.bias_correction]
        return weight**0.5 if self.quantity in ROOTS else weight

    def _value(self, probe: Tensor, product: Tensor) -> Tensor:
        h = real(product)
        if self.quantity == "diagonal":
            return h * real(probe)
        if self.quantity == "root_magnitude":
            return h.abs()
        # rows: E[(J^T w)^2] = diag(J^T J), and the loss is |r|^2 without a half
        return 2 * h.square() if self.quantity == "gauss_newton" else h.square()


CHOICES = {
    "quantity": get_args(Quantity),
    "method": get_args(Method),
    "probes": get_args(Probes),
    "average": get_args(Average),
    "bias_correction": get_args(Correction),
}
