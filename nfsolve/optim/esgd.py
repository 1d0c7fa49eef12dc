"""ESGD: momentum steps divided by equilibrated curvature, sqrt(E[(H v)^2]), the row norms of the Hessian.

Equilibration by Dauphin et al., arXiv 1502.04390; moving average and Rademacher probes as in Chng et al., arXiv
2402.08784. Two things differ from their released code: the bias of the average is corrected by the number of refreshes
(not of steps, which multiplies the learning rate by up to 3.6), and the damping is relative to the mean curvature.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.curvature import hessian_product

SHARED = "shared"  # key of the state that belongs to no single parameter


class ESGD(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum, preconditioned by the row norms of the Hessian.

    With D the moving average of (H v)^2 over refreshes, k the refreshes so far and m the momentum,
    theta <- theta - lr m / (1 - momentum^t) / (sqrt(D / (1 - beta2^k)) + damping * mean(sqrt(D / (1 - beta2^k)))).

    Args:
        params: Parameters.
        lr: Learning rate; a Newton-like scale, independent of that of the loss.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the averaged squared products, for each refresh.
        refresh_every: Steps between Hessian-vector products after the warm-up.
        warmup: First steps, each with a product.
        damping: Floor of the divisor, relative to the mean of the divisor over the parameter tensor.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the private generator of the probes.

    Raises:
        InputError: A setting is out of range.

    Reference:
        Dauphin, de Vries, Chung & Bengio, NeurIPS 2015, arXiv 1502.04390.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.1,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float = 0.1,
        weight_decay: float = 0.0,
        seed: int = 0,
    ):
        if not (lr > 0 and 0 <= momentum < 1 and 0 <= beta2 < 1 and damping >= 0 and weight_decay >= 0):
            raise InputError(
                f"ESGD with {lr=}, {momentum=}, {beta2=}, {damping=}, {weight_decay=}",
                "lr > 0, momentum and beta2 in [0, 1), damping and weight_decay >= 0",
            )
        if refresh_every < 1 or warmup < 0:
            raise InputError(f"ESGD with {refresh_every=}, {warmup=}", "refresh_every >= 1 and warmup >= 0")
        defaults = {"lr": lr, "momentum": momentum, "beta2": beta2, "damping": damping}
        defaults |= {"weight_decay": weight_decay, "refresh_every": refresh_every, "warmup": warmup}
        super().__init__(params, defaults)
        generator = Generator().manual_seed(seed)
        self.state[SHARED] = {"steps": 0, "since": 0, "refreshes": 0, "generator": generator.get_state()}  # type: ignore[index]
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Tensor:  # type: ignore[override]
        """Do one step.

        Args:
            closure: An objective: called it gives the loss and leaves gradients; ``closure.loss()`` gives the loss
                with its graph.

        Returns:
            The loss before the step.

        Raises:
            TypeError: The closure has no ``loss``.
        """
        if not hasattr(closure, "loss"):
            raise TypeError(
                "ESGD got a closure without loss(): it needs the loss with its graph for Hessian-vector products. "
                "Pass an nfsolve objective, e.g. LeastSquares(residual_function, parameters)"
            )
        self.stop_reason = ""
        shared: dict[str, Any] = self.state[SHARED]  # type: ignore[index]
        group = self.param_groups[0]
        early = shared["steps"] < group["warmup"] or shared["refreshes"] == 0
        if early or shared["since"] >= group["refresh_every"]:
            loss = self._refresh(closure, shared)
        else:
            loss = closure()  # type: ignore[misc]
        if self.stop_reason:
            return loss
        shared["steps"] += 1
        shared["since"] += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group, shared)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the given one stays independent of later steps."""
        super().load_state_dict(copy.deepcopy(state_dict))

    def _refresh(self, closure: Any, shared: dict[str, Any]) -> Tensor:
        """Average one more squared Hessian-vector product; the gradient comes with it."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        generator = Generator()
        generator.set_state(shared["generator"].cpu())
        probes = [_rademacher(p, generator) for p in parameters]
        found = hessian_product(closure.loss, parameters, probes)
        if not all(bool(torch.isfinite(h).all()) for h in found.product):
            self.stop_reason = f"non-finite Hessian product at step {shared['steps'] + 1}: parameters unchanged"
            return found.loss
        shared["generator"] = generator.get_state()
        shared["since"] = 0
        shared["refreshes"] += 1
        beta2 = {id(p): group["beta2"] for group in self.param_groups for p in group["params"]}
        for p, g, h in zip(parameters, found.gradient, found.product, strict=True):
            p.grad = g
            squared = _real(h).square()
            before = self.state[p].get("square", torch.zeros_like(squared))
            self.state[p]["square"] = torch.lerp(squared, before, beta2[id(p)])
        return found.loss

    def _move(self, parameter: Tensor, group: dict[str, Any], shared: dict[str, Any]) -> None:
        state = self.state[parameter]
        gradient = _real(parameter.grad)  # type: ignore[arg-type]
        momentum = group["momentum"]
        state.setdefault("momentum", torch.zeros_like(gradient)).lerp_(gradient, 1 - momentum)
        root = (state["square"] / (1 - group["beta2"] ** shared["refreshes"])).sqrt()
        divisor = root + group["damping"] * root.mean()
        # flat in every direction: no curvature to divide by, so the parameter rests until it has some
        move = torch.where(divisor > 0, state["momentum"] / divisor, 0.0)
        value = _real(parameter)
        value.mul_(1 - group["lr"] * group["weight_decay"])
        value.sub_(move, alpha=group["lr"] / (1 - momentum ** shared["steps"]))


def _rademacher(parameter: Tensor, generator: Generator) -> Tensor:
    """Draw signs on the CPU, so that every device sees the same; complex ones for both parts."""
    shape = _real(parameter).shape
    signs = torch.randint(0, 2, shape, generator=generator).to(_real(parameter)) * 2 - 1
    return torch.view_as_complex(signs) if parameter.is_complex() else signs


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
