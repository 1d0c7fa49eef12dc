import math

import pytest
import torch
from torch import nn

from nfsolve import MLP, Box
from nfsolve._core.errors import InputError
from nfsolve.curvature import (
    NTKProduct,
    captured_energy,
    conditioning,
    empirical_ntk,
    hessian_matrix,
    kernel_alignment,
    ntk_by_parameter,
    ntk_traces,
    preconditioned,
    row_norms,
    top_eigenpairs,
)
from nfsolve.linalg.dense import flatten, unflatten


def setting(n=11):
    field = MLP(Box(x=(-1, 1), y=(0, 1)), width=6, depth=2, seed=3, dtype=torch.float64)
    params = {name: p.detach() for name, p in field.named_parameters()}

    def function(values, x):
        return torch.func.functional_call(field, values, (x,))

    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return field, params, function, x


def slow_jacobian(field, x):
    rows = []
    for point in x:
        gradients = torch.autograd.grad(field(point[None]).sum(), list(field.parameters()))
        rows.append(torch.cat([g.reshape(-1) for g in gradients]))
    return torch.stack(rows)


def test_parts_traces_and_products_agree_with_one_gradient_per_point():
    field, params, function, x = setting()
    jacobian = slow_jacobian(field, x)
    kernel = jacobian @ jacobian.T
    parts = ntk_by_parameter(function, params, x)
    torch.testing.assert_close(sum(parts.values()), kernel)
    torch.testing.assert_close(empirical_ntk(function, params, x), kernel)
    traces = ntk_traces(function, params, x)
    assert sum(traces.values()) == pytest.approx(float(kernel.trace()))
    assert traces["body.1.linear.weight"] == pytest.approx(float(parts["body.1.linear.weight"].trace()))
    product = NTKProduct(lambda theta: function(unflatten(theta, params), x)[:, 0], flatten(params))
    v = torch.linspace(-1, 2, len(x), dtype=torch.float64)
    torch.testing.assert_close(product(v), kernel @ v)
    assert product.products == 1
    assert product.size == len(x)


def test_frobenius_norm_by_probes_is_within_three_standard_errors():
    _, params, function, x = setting()
    kernel = empirical_ntk(function, params, x)
    product = NTKProduct(lambda theta: function(unflatten(theta, params), x)[:, 0], flatten(params))
    exact = float(kernel.square().sum())
    one = [product.frobenius(1, torch.Generator().manual_seed(i)) ** 2 for i in range(200)]
    mean = sum(one) / len(one)
    error = (sum((v - mean) ** 2 for v in one) / len(one) / len(one)) ** 0.5
    assert abs(mean - exact) < 3 * error
    assert error < 0.2 * exact


def test_lanczos_finds_the_largest_eigenpairs_of_a_dense_matrix():
    _, params, function, x = setting(30)
    kernel = empirical_ntk(function, params, x)
    values, vectors = top_eigenpairs(lambda v: kernel @ v, 30, 4, torch.Generator().manual_seed(0))
    exact = torch.linalg.eigvalsh(kernel).flip(0)[:4]
    torch.testing.assert_close(values, exact, rtol=1e-9, atol=0)
    torch.testing.assert_close(kernel @ vectors, vectors * values, rtol=1e-6, atol=1e-8 * float(exact[0]))
    with pytest.raises(InputError, match="finds 1 to 29 eigenvalues of a matrix with 30 rows.*got k=30"):
        top_eigenpairs(lambda v: kernel @ v, 30, 30, torch.Generator())


def test_alignment_and_energy_have_their_closed_forms():
    y = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    assert kernel_alignment(torch.outer(y, y), y) == pytest.approx(1.0)
    assert kernel_alignment(torch.eye(3, dtype=torch.float64), y) == pytest.approx(1 / math.sqrt(3))
    energy = captured_energy(torch.eye(3, dtype=torch.float64), y)
    torch.testing.assert_close(energy, torch.tensor([0.36, 0.36, 1.0], dtype=torch.float64))


def test_conditioning_of_known_spectra():
    diagonal = torch.tensor([8.0, -4.0, 2.0, 1e-9, 0.0], dtype=torch.float64)
    found = conditioning(torch.diag(diagonal), (0.0, 1e-6))
    assert found.largest == 8
    assert found.condition == {0.0: math.inf, 1e-6: pytest.approx(4.0)}
    assert found.kept == {0.0: 5, 1e-6: 3}
    assert found.median_ratio == pytest.approx(4.0)
    assert found.negative == pytest.approx(1 / 5)
    assert conditioning(3 * torch.eye(7)).effective_rank == pytest.approx(7)
    assert conditioning(torch.zeros(2, 2)).effective_rank == 0
    with pytest.raises(InputError, match=r"square and finite, got shape \(2, 3\)"):
        conditioning(torch.zeros(2, 3))


def test_both_preconditioners_undo_a_diagonal_and_zero_rows_stay_zero():
    h = torch.diag(torch.tensor([1e4, -3.0, 1e-2, 0.0], dtype=torch.float64))
    for d in (row_norms(h), h.diagonal().abs()):
        done = preconditioned(h, d)
        torch.testing.assert_close(done, torch.diag(torch.tensor([1.0, -1.0, 1.0, 0.0], dtype=torch.float64)))
    full = torch.tensor([[4.0, 3.0], [3.0, 9.0]], dtype=torch.float64)
    told = torch.diag(row_norms(full) ** -0.5) @ full @ torch.diag(row_norms(full) ** -0.5)
    torch.testing.assert_close(preconditioned(full, row_norms(full)), told)


def test_the_hessian_is_that_of_torch_and_its_linear_parts_vanish():
    field, params, function, x = setting()
    theta = flatten(params)
    leaves = list(field.parameters())
    made = hessian_matrix(lambda: (field(x) - 0.3).square().mean(), leaves)
    told = torch.func.hessian(lambda t: (function(unflatten(t, params), x) - 0.3).square().mean())(theta)
    torch.testing.assert_close(made, told, rtol=1e-9, atol=1e-10)
    line = nn.Parameter(torch.ones(3))
    assert not hessian_matrix(lambda: line.sum(), [line]).any()
