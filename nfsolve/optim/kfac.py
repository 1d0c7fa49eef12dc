"""KFAC: natural-gradient steps with a Gauss-Newton matrix that is one Kronecker product for each linear layer.

Martens & Grosse, ICML 2015, arXiv 1503.05671: block-diagonal form (section 4.2), averages over refreshes (section 5),
factored Tikhonov damping with pi (section 6.3). The curvature is that of least squares; there is no adaptive damping,
no rescaling by the exact quadratic model, no tridiagonal form.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg.dense import damped_cholesky
from nfsolve.optim.gradient_method import GradientMethod, adam_direction


class KFAC(GradientMethod):
    """W <- W - lr m, with m the average of nu G^(-1) (dL/dW) A^(-1), bias column included, for every linear layer.

    A and G are the factors that `nfsolve.curvature.kronecker_factors` gives, averaged over refreshes: number k enters
    with weight max(1/k, 1 - decay). Before the inverses, both take a multiple of the identity whose product is
    ``damping`` times the mean eigenvalue of G (x) A, split so that each grows by the same share (the paper's pi). nu is
    the largest factor up to 1 with which a step of lr = 1 would by its linear prediction lower the loss by no more than
    ``clip`` times the loss.

    Parameters that are not weight or bias of a recorded linear layer (factorized weights, encodings, scalars of an
    equation) get Adam with learning rate ``lr * rest``.

    Args:
        params: Real parameters.
        lr: Learning rate: 1 is the whole Gauss-Newton step, good at full batch; mini-batches want about 0.3.
        momentum: Decay of the averaged step.
        decay: Decay of the averaged factors, for each refresh.
        precondition_frequency: Steps between refreshes of factors and inverses.
        damping: Relative to the mean curvature of each layer.
        clip: Limit on the predicted decrease, relative to the loss; exact curvature never predicts more than 2.
        samples: Draws of random signs for G at each refresh; one backward pass each.
        rest: Learning rate of Adam, relative to ``lr``.
        betas: Decays of Adam.
        eps: Added to the root of Adam's averaged square.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the optimizer's own generator of the signs.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, or a complex parameter.

    Reference:
        Martens & Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature, arXiv 1503.05671.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.3,
        momentum: float = 0.9,
        decay: float = 0.95,
        precondition_frequency: int = 10,
        damping: float = 1e-3,
        clip: float = 2.0,
        samples: int = 1,
        rest: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        seed: int = 0,
    ):
        if not (lr >= 0 and all(0 <= b < 1 for b in (momentum, decay, *betas))):
            raise InputError(
                f"KFAC needs lr >= 0, and momentum, decay and betas in [0, 1), got {lr=}, {momentum=}, {decay=}, "
                f"{betas=}",
                do="choose values in these ranges",
            )
        if not (damping >= 0 and clip > 0 and rest >= 0 and eps > 0 and weight_decay >= 0):
            raise InputError(
                "KFAC needs clip and eps > 0, and damping, rest and weight_decay >= 0, got "
                f"{damping=}, {clip=}, {rest=}, {eps=}, {weight_decay=}",
                do="choose values in these ranges",
            )
        if precondition_frequency < 1 or samples < 1:
            raise InputError(
                f"KFAC needs precondition_frequency and samples of at least 1, got {precondition_frequency=}, "
                f"{samples=}",
                do="choose values in these ranges",
            )
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "clip": clip, "rest": rest}
        defaults |= {"betas": betas, "eps": eps, "decay": decay, "damping": damping, "samples": samples}
        super().__init__(params, defaults | {"precondition_frequency": precondition_frequency})
        generator = Generator().manual_seed(seed)
        self.shared.update({"refreshes": 0, "layers": [], "generator": generator.get_state()})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Do one step.

        Args:
            closure: An objective: when called, it returns the loss and leaves gradients; ``closure.kronecker_factors``
                gives the factors of the linear layers.

        Returns:
            The loss before the step.

        Raises:
            TypeError: The closure has no ``kronecker_factors``.
            InputError: No linear layer could be recorded.
        """
        if not hasattr(closure, "kronecker_factors"):
            raise TypeError(
                "KFAC got a closure without kronecker_factors(): it needs what the linear layers see. "
                "Pass an nfsolve objective, e.g. LeastSquares(residual_function, parameters)"
            )
        due = self.shared["steps"] % self.param_groups[0]["precondition_frequency"] == 0
        if due and not self._refresh(closure):
            self.stop_reason = f"non-finite Kronecker factors at step {self.shared['steps'] + 1}: parameters unchanged"
            return closure()  # type: ignore[misc]
        return super().step(closure)

    def _refresh(self, closure: Any) -> bool:
        """Average new factors and invert them; false where they are not finite."""
        shared, group = self.shared, self.param_groups[0]
        generator = Generator()
        generator.set_state(shared["generator"].cpu())
        found = closure.kronecker_factors(generator, group["samples"])
        place = {id(p): i for i, p in enumerate(self._parameters())}
        found = [f for f in found if id(f.weight) in place and (f.bias is None or id(f.bias) in place)]
        if not found:
            raise InputError(
                "KFAC needs linear layers that hold their weights as parameters (no factorization), differentiated "
                "by Taylor "
                f"jets or not at all, and none of {len(place)} parameters is such a weight",
                do="use SOAP, Shampoo or Adam",
            )
        if not all(bool(torch.isfinite(m).all()) for f in found for m in (f.inputs, f.outputs)):
            return False
        shared["generator"] = generator.get_state()
        shared["refreshes"] += 1
        shared["layers"] = [[place[id(f.weight)], -1 if f.bias is None else place[id(f.bias)]] for f in found]
        weight = max(1 / shared["refreshes"], 1 - group["decay"])
        for f in found:
            state = self.state[f.weight]
            for name, now in (("inputs", f.inputs), ("outputs", f.outputs)):
                state[name] = torch.lerp(state[name], now, weight) if _fits(state, name, now) else now
                state[f"{name}_inverse"] = damped_inverse(state[name], group["damping"] ** 0.5)
        return True

    def _move_all(self, given: list[tuple[Tensor, dict[str, Any]]], loss: Any) -> None:
        parameters, groups = self._parameters(), {id(p): group for p, group in given}
        layers = [(parameters[w], parameters[b] if b >= 0 else None) for w, b in self.shared["layers"]]
        layers = [(w, b) for w, b in layers if id(w) in groups and (b is None or id(b) in groups)]
        gradients = [_joined(w, b) for w, b in layers]
        steps_of_one = [
            self.state[w]["outputs_inverse"] @ g @ self.state[w]["inputs_inverse"]
            for (w, _), g in zip(layers, gradients, strict=True)
        ]
        predicted = sum(((u * g).sum() for u, g in zip(steps_of_one, gradients, strict=True)), torch.zeros_like(loss))
        limit = self.param_groups[0]["clip"] * loss
        nu = torch.where(predicted > limit, limit / predicted, 1.0)
        for (weight, bias), u in zip(layers, steps_of_one, strict=True):
            group = groups.pop(id(weight))
            state = self.state[weight]
            if not _fits(state, "velocity", u):
                state["velocity"], state["velocities"] = torch.zeros_like(u), 0
            state["velocities"] += 1
            state["velocity"].lerp_(nu * u, 1 - group["momentum"])
            move = state["velocity"] / (1 - group["momentum"] ** state["velocities"])
            _subtract(weight, move[:, : weight.shape[1]], group["lr"], group)
            if bias is not None:
                _subtract(bias, move[:, -1], group["lr"], groups.pop(id(bias)))
        for p, group in given:
            if id(p) in groups:
                _subtract(p, adam_direction(self.state[p], p.grad, group), group["lr"] * group["rest"], group)  # type: ignore[arg-type]

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]


def _fits(state: dict[str, Any], name: str, now: Tensor) -> bool:
    """Return whether there is a value of the same shape: a bias that was thawed or frozen adds or takes a column."""
    return name in state and state[name].shape == now.shape


def _joined(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the gradients of a layer as one matrix, the bias as its last column."""
    assert weight.grad is not None
    return weight.grad if bias is None or bias.grad is None else torch.cat([weight.grad, bias.grad[:, None]], 1)


def _subtract(p: Tensor, move: Tensor, rate: float, group: dict[str, Any]) -> None:
    p.mul_(1 - rate * group["weight_decay"])
    p.sub_(move, alpha=rate)


def damped_inverse(factor: Tensor, share: float) -> Tensor:
    """Return (C + share * mean eigenvalue)^(-1), computed in float64.

    With share = sqrt(damping) for both factors of a layer, this is the factored Tikhonov damping A + pi sqrt(lambda),
    G + sqrt(lambda) / pi with pi^2 = (tr A / dim A) / (tr G / dim G) and lambda = damping (tr A / dim A)(tr G / dim G).

    Args:
        factor: C, symmetric positive semidefinite ``(n, n)``.
        share: Damping relative to the mean eigenvalue; where rounding needs more it grows.

    Returns:
        ``(n, n)`` in the dtype of C; zero where C is, so that what the loss does not feel rests.
    """
    wide = factor.double()
    mean = wide.diagonal().mean()
    if not float(mean) > 0:
        return torch.zeros_like(factor)
    lower, _ = damped_cholesky(wide, share, mean.expand(len(wide)))
    return torch.cholesky_inverse(lower).to(factor.dtype)
