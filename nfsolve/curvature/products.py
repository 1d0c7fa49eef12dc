"""Products with the Hessian H of a loss and the Jacobian J of a residual, without forming them.

H v by differentiating the gradient twice in reverse (Pearlmutter, Neural Computation 6 (1994) 147).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LinearMap = Callable[[Tensor], Tensor]


class HessianProduct(NamedTuple):
    """Loss, gradient and Hessian-vector product at one point, all detached.

    Attributes:
        loss: Scalar.
        gradient: One tensor for each parameter.
        product: H v, one tensor for each parameter.
        used: Whether the loss depends on the parameter.
    """

    loss: Tensor
    gradient: list[Tensor]
    product: list[Tensor]
    used: list[bool]


def hessian_product(
    loss: Callable[[], Tensor], parameters: Sequence[Tensor], vectors: Sequence[Tensor]
) -> HessianProduct:
    """Multiply the Hessian of a scalar loss by a vector; the gradient comes with it.

    Uses `torch.autograd.grad`, never ``backward(create_graph=True)``: that would tie parameters and gradients into
    a reference cycle. Nothing of the graph survives the call, and ``.grad`` stays as it is.

    Args:
        loss: Gives the scalar loss with its graph, e.g. ``objective.loss``. It must be twice differentiable.
        parameters: Leaves that the loss depends on; one it does not depend on gets zeros.
        vectors: v, one tensor for each parameter, of its shape.

    Returns:
        Loss, gradient and product; complex parameters count as pairs of real numbers.
    """
    with torch.enable_grad():
        value = loss()
        if value.requires_grad:
            found = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
        else:
            found = (None,) * len(parameters)
        gradient = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        curved = [(g, v) for g, v in zip(gradient, vectors, strict=True) if g.requires_grad]
        if curved:
            outputs, seeds = zip(*curved, strict=True)
            product = torch.autograd.grad(outputs, parameters, seeds, materialize_grads=True)
        else:
            product = tuple(torch.zeros_like(p) for p in parameters)
    used = [g is not None for g in found]
    return HessianProduct(value.detach(), [g.detach() for g in gradient], [h.detach() for h in product], used)


def linear_maps(residual: Tensor, theta: Tensor) -> tuple[LinearMap, LinearMap]:
    """Return v -> J v and w -> J^T w for a residual that is there with its graph.

    Both sweeps go backward, J v through the graph of J^T w, which is linear in w: all products share the two graphs,
    where forward mode would evaluate the residual again for each (four times slower for small networks).

    Args:
        residual: ``(N,)``, computed from theta; twice differentiable.
        theta: ``(P,)``, a leaf that requires a gradient.

    Returns:
        Functions of ``(P,)`` and of ``(N,)``.
    """
    with torch.enable_grad():
        weights = torch.zeros_like(residual, requires_grad=True)
        (back,) = torch.autograd.grad(residual, theta, weights, create_graph=True, materialize_grads=True)

    def forward(v: Tensor) -> Tensor:
        return torch.autograd.grad(back, weights, v, retain_graph=True, materialize_grads=True)[0]

    def backward(w: Tensor) -> Tensor:
        return torch.autograd.grad(residual, theta, w, retain_graph=True, materialize_grads=True)[0]

    return forward, backward
