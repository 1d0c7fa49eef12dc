"""Jacobians by rows: parameters outside linear layers, by two reverse passes or by forward mode."""

import pytest
import torch
from torch import Tensor, nn

from nfsolve.diff import jacobian_by_rows


class Once(torch.autograd.Function):
    """A square that cannot be differentiated twice in reverse mode, but in forward mode."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return x^2."""
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep x."""
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        """Return 2 x g."""
        return 2 * ctx.saved_tensors[0] * grad

    @staticmethod
    def jvp(ctx, tangent):
        """Return 2 x t."""
        return 2 * ctx.saved_tensors[0] * tangent


@pytest.mark.parametrize("square", [torch.square, Once.apply])
def test_scalars_of_the_equation_have_exact_columns(square):
    """A square of a number, a vector of two, and one that nothing reads, beside a linear layer."""
    layer, x = nn.Linear(1, 3, dtype=torch.float64), torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    k = torch.tensor(1.5, dtype=torch.float64)
    pair, unread = torch.tensor([0.5, -2.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)

    def residual(values):
        weight, bias, k, pair, _ = values
        u = torch.tanh(torch.nn.functional.linear(x, weight, bias)).sum(1, keepdim=True)
        return torch.cat([square(k) * u + k * x, pair[0] * u + pair[1] ** 3 * x], 1)

    values = [layer.weight.detach(), layer.bias.detach(), k, pair, unread]
    r, jacobian = jacobian_by_rows(residual, values)
    exact = torch.autograd.functional.jacobian(lambda *v: residual(v).reshape(-1), tuple(values))
    torch.testing.assert_close(jacobian, torch.cat([part.reshape(14, -1) for part in exact], 1))
    assert r.shape == (7, 2) and not jacobian.requires_grad
