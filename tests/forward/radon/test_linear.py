"""Linear maps against their dense matrix, and operators of other libraries with right and wrong adjoints."""

import pytest
import torch
from torch.func import jvp, vjp, vmap

from nfsolve.forward.radon import LinearMap, Projector, wrap_operator
from tests.forward.radon.cases import CASES, random_column

MATRIX = torch.randn(6, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
FIRST_JVP = "ignore:`torch.jit.script`:DeprecationWarning"  # torch's own, on the first jvp


class Blur:
    """Images (1, 1, 4, 3) -> data (1, 1, 3, 3): sums of neighbouring rows, in numpy so that autograd cannot follow."""

    def A(self, x):
        assert x.shape == (1, 1, 4, 3)
        return torch.from_numpy((x[:, :, 1:] + 2 * x[:, :, :-1]).detach().numpy())

    def A_adjoint(self, y):
        assert y.shape == (1, 1, 3, 3)
        return torch.nn.functional.pad(y, (0, 0, 1, 0)) + 2 * torch.nn.functional.pad(y, (0, 0, 0, 1))


class Flipped(Blur):
    def A_adjoint(self, y):
        return super().A_adjoint(y).flip(2)


class Transposed(Blur):
    def A_adjoint(self, y):
        return super().A_adjoint(y).mT


def check_derivatives(linear, dense):
    m, n = dense.shape
    x = random_column(n).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: linear(z**2), x)
    assert torch.autograd.gradgradcheck(lambda z: linear(z**2), x)
    x, v, y = x.detach(), random_column(n, 1), random_column(m, 2)
    assert torch.allclose(linear.adjoint(y), dense.T @ y)
    assert torch.allclose(jvp(linear, (x,), (v,))[1], dense @ v)
    assert torch.allclose(vjp(linear, x)[1](y)[0], dense.T @ y)
    stack = torch.stack([x, v, x - v])
    assert torch.allclose(vmap(linear)(stack), dense @ stack)
    assert torch.allclose(vmap(lambda z: vjp(linear, z)[1](y)[0])(stack), (dense.T @ y).expand(3, -1, -1))
    assert torch.allclose(vmap(lambda z: jvp(linear, (z,), (z,))[1])(stack), dense @ stack)
    columns = torch.cat([x, v], 1)
    assert torch.allclose(linear(columns), dense @ columns)


@pytest.mark.filterwarnings(FIRST_JVP)
def test_a_map_of_two_functions_has_derivatives_and_batches_like_its_matrix():
    check_derivatives(LinearMap(lambda x: MATRIX @ x, lambda y: MATRIX.T @ y, (6, 4)), MATRIX)


@pytest.mark.filterwarnings(FIRST_JVP)
@pytest.mark.parametrize("name", CASES)
def test_projectors_have_derivatives_and_batch_like_their_dense_matrix(name):
    projector = Projector(*CASES[name])
    check_derivatives(projector, projector.matrix.to_dense())


@pytest.mark.filterwarnings(FIRST_JVP)
def test_a_foreign_operator_has_derivatives_and_batches_like_its_matrix():
    linear = wrap_operator(Blur(), (4, 3), (3, 3), dtype=torch.float64)
    dense = torch.cat([linear(e[:, None]) for e in torch.eye(12, dtype=torch.float64)], 1)
    expected = torch.kron(torch.eye(4)[1:] + 2 * torch.eye(4)[:-1], torch.eye(3)).double()
    assert torch.equal(dense, expected)
    check_derivatives(linear, expected)


def test_a_foreign_operator_keeps_float32():
    linear = wrap_operator(Blur(), (4, 3), (3, 3))
    assert linear.shape == (9, 12)
    x = random_column(12, dtype=torch.float32).requires_grad_()
    y = linear(x)
    assert y.dtype == torch.float32
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], linear.adjoint(torch.ones(9, 1)))


def test_a_wrong_adjoint_is_refused_with_its_mismatch():
    wording = r"<A x, y> is -?[\d.e-]+ but <x, A_adjoint y> is -?[\d.e-]+ for random x and y.*exact adjoint"
    with pytest.raises(ValueError, match=wording):
        wrap_operator(Flipped(), (4, 3), (3, 3))
    nearly = Blur()
    nearly.A_adjoint = lambda y: 1.001 * Blur().A_adjoint(y)
    with pytest.raises(ValueError, match="<A x, y>"):
        wrap_operator(nearly, (4, 3), (3, 3))


def test_foreign_operators_with_other_shapes_or_names_are_worded():
    with pytest.raises(
        ValueError,
        match=r"A_adjoint\(\) takes a tensor of shape \(1, 1, 3, 3\) to \(1, 1, 3, 4\), and \(1, 1, 4, 3\) is needed",
    ):
        wrap_operator(Transposed(), (4, 3), (3, 3))
    with pytest.raises(ValueError, match=r"the methods A\(x\) and A_adjoint\(y\), and this one has no A\(\)"):
        wrap_operator(torch.nn.Identity(), (4, 3), (3, 3))


def test_columns_of_another_length_are_worded():
    projector = Projector(*CASES["parallel"])
    with pytest.raises(ValueError, match=r"takes values of shape \(35, k\), got \(7, 5\)"):
        projector(torch.zeros(7, 5))
    with pytest.raises(ValueError, match=r"values of shape \(45, k\), got \(5, 9\)"):
        projector.adjoint(torch.zeros(5, 9))
