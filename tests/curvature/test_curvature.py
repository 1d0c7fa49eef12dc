import gc

import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares, empirical_ntk, hessian_product
from tests.oracles import gauss_newton_product


def model():
    torch_generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 2, dtype=torch.float64, generator=torch_generator)
    y = torch.randn(9, 1, dtype=torch.float64, generator=torch_generator)
    weights = [torch.randn(*s, dtype=torch.float64, generator=torch_generator) for s in ((3, 2), (3,), (1, 3))]
    parameters = {name: nn.Parameter(w) for name, w in zip("abc", weights, strict=True)}

    def residual(p):
        return (torch.tanh(x @ p["a"].T + p["b"]) @ p["c"].T - y) / 3

    return residual, parameters


def test_the_objective_agrees_with_dense_derivatives():
    residual, parameters = model()
    objective = LeastSquares(residual, parameters)
    theta = objective.theta()
    r, jacobian = objective.jacobian(theta)
    dense = torch.func.jacrev(lambda t: objective.stacked(t))(theta)
    assert torch.allclose(jacobian, dense, rtol=1e-10, atol=1e-12)
    loss = objective()
    assert torch.allclose(loss, r @ r)
    gradient = torch.cat([p.grad.reshape(-1) for p in objective.parameters])
    assert torch.allclose(gradient, 2 * jacobian.T @ r, rtol=1e-10)
    by_rows = objective.jacobian_rows(theta, at_once=3)[1].whole()
    assert torch.allclose(by_rows, dense, rtol=1e-10, atol=1e-12)


def test_evaluations_are_counted_and_fixed_parameters_stay():
    residual, parameters = model()
    parameters["b"].requires_grad_(False)
    objective = LeastSquares(residual, parameters)
    assert len(objective.parameters) == 2
    objective()
    objective.stacked(objective.theta())
    objective.jacobian(objective.theta())
    assert objective.evaluations == 4
    objective.assign(torch.zeros_like(objective.theta()))
    assert float(parameters["a"].detach().abs().max()) == 0
    assert float(parameters["b"].detach().abs().max()) > 0
    with pytest.raises(InputError, match="none of 1 has requires_grad=True"):
        LeastSquares(residual, {"b": parameters["b"]})


def test_hessian_and_gauss_newton_products_agree_with_dense_matrices():
    residual, parameters = model()
    objective = LeastSquares(residual, parameters)
    theta = objective.theta()
    v = torch.linspace(-1, 1, len(theta), dtype=torch.float64)
    hessian = torch.func.hessian(lambda t: objective.stacked(t).square().sum())(theta)
    parts = list(objective.unflatten(v).values())
    found = hessian_product(objective.loss, objective.parameters, parts)
    assert torch.allclose(torch.cat([h.reshape(-1) for h in found.product]), hessian @ v, rtol=1e-9)
    jacobian = objective.jacobian(theta)[1]
    assert torch.allclose(gauss_newton_product(objective.stacked, theta, v), jacobian.T @ (jacobian @ v), rtol=1e-10)


def test_hessian_products_leave_no_graph_behind():
    residual, parameters = model()
    objective = LeastSquares(residual, parameters)
    parts = [torch.ones_like(p) for p in objective.parameters]

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    hessian_product(objective.loss, objective.parameters, parts)
    before = tensors()
    for _ in range(200):
        hessian_product(objective.loss, objective.parameters, parts)
    assert tensors() <= before + 2


def test_the_tangent_kernel_is_j_j_transposed():
    _, parameters = model()
    params = {name: p.detach() for name, p in parameters.items()}
    x = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(5, 2)

    def function(p, points):
        return torch.tanh(points @ p["a"].T + p["b"]) @ p["c"].T

    jacobian = torch.func.jacrev(function)(params, x)
    rows = torch.cat([j.reshape(5, -1) for j in jacobian.values()], 1)
    kernel = empirical_ntk(function, params, x)
    assert torch.allclose(kernel, rows @ rows.T, rtol=1e-10)
