"""Everything that a user may have for an operator gives the same function of the values on a grid."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from nfsolve import InputError
from nfsolve.forward.operators import measure_with
from nfsolve.forward.radon.linear import LinearMap

SHAPE, ROWS = (3, 4), 5
MATRIX = np.random.default_rng(0).standard_normal((ROWS, 12))
COMPLEX = MATRIX + 1j * np.random.default_rng(1).standard_normal((ROWS, 12))


class Physics:
    """Operators as deepinv has them."""

    def __init__(self, matrix, adjoint=None):
        self.matrix = torch.as_tensor(matrix)
        self.back = self.matrix.conj().T if adjoint is None else torch.as_tensor(adjoint)

    def A(self, x):
        return (self.matrix @ x.reshape(12, 1).to(self.matrix.dtype)).reshape(1, 1, ROWS)

    def A_adjoint(self, y):
        return (self.back @ y.reshape(ROWS, 1).to(self.matrix.dtype)).reshape(1, 1, *SHAPE)


def kinds(matrix):
    dense = torch.as_tensor(matrix)
    return {
        "numpy": matrix,
        "torch": dense,
        "scipy.sparse": sparse.csr_array(matrix),
        "scipy.sparse matrix": sparse.coo_matrix(matrix),
        "LinearOperator": aslinearoperator(matrix),
        "deepinv": Physics(matrix),
        "function": lambda image: dense @ image.reshape(-1).to(dense.dtype),
    }


@pytest.mark.parametrize("kind", [*kinds(MATRIX), "torch.sparse"])
@pytest.mark.parametrize("matrix", [MATRIX, COMPLEX], ids=["real", "complex"])
def test_all_kinds_measure_alike(kind, matrix):
    if kind == "torch.sparse" and matrix is COMPLEX:
        pytest.skip("its real and imaginary parts are two matrices")
    operator = torch.as_tensor(matrix).to_sparse() if kind == "torch.sparse" else kinds(matrix)[kind]
    measure = measure_with(operator, SHAPE, (ROWS,), torch.float64)
    x = torch.randn(12, 1, dtype=torch.float64, requires_grad=True)
    expected = matrix @ x.detach().numpy()
    expected = np.concatenate([expected.real, expected.imag]) if matrix is COMPLEX else expected
    y = measure(x)
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-12)
    both = np.concatenate([matrix.real, matrix.imag]) if matrix is COMPLEX else matrix
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    np.testing.assert_allclose(gradient.numpy(), 2 * both.T @ expected, atol=1e-10)
    if kind != "function":
        np.testing.assert_allclose(measure.adjoint(y.detach()).numpy(), both.T @ expected, atol=1e-10)


def test_a_map_is_taken_as_it_is():
    linear = LinearMap(lambda x: 2 * x, lambda y: 2 * y, (12, 12))
    assert measure_with(linear, SHAPE, (12,), torch.float32) is linear


def test_a_function_of_several_unknowns_has_them_last():
    seen = []
    measure = measure_with(lambda image: seen.append(image.shape) or image.sum(-1), SHAPE, SHAPE, torch.float64)
    assert measure(torch.ones(12, 2)).shape == (12, 1)
    assert seen == [(3, 4, 2)]


WRONG = LinearOperator((ROWS, 12), matvec=lambda x: MATRIX @ x, rmatvec=lambda y: 2 * MATRIX.T @ y, dtype=float)
MISTAKES = {
    "rmatvec is not the adjoint of matvec": WRONG,
    "A_adjoint is not the adjoint of A": Physics(MATRIX, 2 * MATRIX.T),
    "a matrix must have two axes": MATRIX[None],
    "takes 11 values to 5, but the grid": MATRIX[:, :11],
    "takes 12 values to 4, but": MATRIX[:4],
    "must be a matrix, a linear operator or a function, got 3": 3,
    "the linear operator has no adjoint. Give rmatvec=": LinearOperator((ROWS, 12), matvec=lambda x: MATRIX @ x),
    "must be one matrix, linear operator or function, got a list of 2": [MATRIX, MATRIX],
    r"A\(\) failed for an image of shape \(1, 1, 3, 4\)": Physics(MATRIX[:, :7]),
    r"A\(\) must return a tensor of torch, got list": SimpleNamespace(A=lambda x: [x], A_adjoint=lambda y: y),
    "a linear operator needs its shape, two numbers, got None": SimpleNamespace(matvec=abs, rmatvec=abs),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_operators_that_do_not_fit_are_refused(message):
    with pytest.raises(InputError, match=message):
        measure_with(MISTAKES[message], SHAPE, (ROWS,), torch.float64)
