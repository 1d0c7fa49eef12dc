"""Slow, obvious computations that the fast ones are compared with."""

import torch
from torch import Tensor


def derivative(function, points: Tensor, along: tuple[int, ...]) -> Tensor:
    """Differentiate each output by nested reverse mode, one coordinate after the other: (n, d) -> (n, k)."""
    x = points.detach().clone().requires_grad_()
    values = function(x)
    columns = []
    for k in range(values.shape[1]):
        column = values[:, k]
        for coordinate in along:
            if not column.requires_grad:
                column = torch.zeros_like(column)
                break
            (gradient,) = torch.autograd.grad(column.sum(), x, create_graph=True, allow_unused=True)
            column = torch.zeros_like(column) if gradient is None else gradient[:, coordinate]
        columns.append(column)
    return torch.stack(columns, -1).detach()


def gauss_newton_product(residual, theta: Tensor, vector: Tensor) -> Tensor:
    """Multiply J^T J by a vector, J the Jacobian of a residual (P,) -> (N,), by one forward and one reverse sweep."""
    forward = torch.func.jvp(residual, (theta,), (vector,))[1]
    return torch.func.vjp(residual, theta)[1](forward)[0].detach()
