"""SIRT and conjugate gradients against dense least squares, and on the Shepp-Logan head."""

import math

import pytest
import torch

from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image, phantom_projections
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr
from nfsolve.reconstruct import cgls, sirt


class Dense:
    """A matrix as a linear map."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, x):
        return self.matrix @ x

    def adjoint(self, y):
        return self.matrix.T @ y


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def least_squares(matrix, y):
    return torch.linalg.lstsq(matrix, y).solution


@pytest.fixture(scope="module")
def head():
    geometry, grid = ParallelBeam.half_turn(30, 64), PixelGrid(64, 64, 2 / 64)
    y = phantom_projections(SHEPP_LOGAN, geometry).reshape(-1, 1)
    return Projector(geometry, grid), y, phantom_image(SHEPP_LOGAN, grid)


def test_cgls_is_dense_least_squares():
    matrix, y = random(20, 12), random(20, 1, seed=1)
    found = cgls(Dense(matrix), y, (3, 4), 40)
    assert torch.allclose(found.image.reshape(-1, 1), least_squares(matrix, y), rtol=1e-8)
    assert found.image.shape == (3, 4)
    assert found.iterations <= 25  # finite termination, up to rounding
    residual = matrix @ found.image.reshape(-1, 1) - y
    assert found.note == f"relative residual {float(residual.norm() / y.norm()):.2e}"


def test_cgls_of_an_underdetermined_system_is_the_shortest_solution():
    matrix, y = random(5, 12), random(5, 1, seed=1)
    found = cgls(Dense(matrix), y, (3, 4), 30)
    assert torch.allclose(found.image.reshape(-1, 1), torch.linalg.pinv(matrix) @ y, rtol=1e-8)


def test_cgls_takes_the_exact_first_step():
    matrix, y = random(20, 12), random(20, 1, seed=1)
    s = matrix.T @ y
    expected = s * s.square().sum() / (matrix @ s).square().sum()
    assert torch.allclose(cgls(Dense(matrix), y, (3, 4), 1).image.reshape(-1, 1), expected)


def test_sirt_tends_to_least_squares_weighted_by_the_row_sums():
    matrix, y = random(20, 4) + 3 * torch.eye(20, 4, dtype=torch.float64), random(20, 1, seed=1)
    root = matrix.sum(1, keepdim=True).rsqrt()
    found = sirt(Dense(matrix), y, (2, 2), 400, nonnegative=False)
    assert torch.allclose(found.image.reshape(-1, 1), least_squares(root * matrix, root * y), rtol=1e-6)


def test_sirt_tends_to_the_nonnegative_minimum():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)  # equal row sums: no weights
    y = matrix @ torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    free, clipped = (sirt(Dense(matrix), y, (1, 2), 300, nonnegative=n).image[0] for n in (False, True))
    assert torch.allclose(free, torch.tensor([1.0, -0.5], dtype=torch.float64))
    best = (matrix[:, 0] @ y[:, 0]) / matrix[:, 0].square().sum()  # least squares of the first column alone
    assert torch.allclose(clipped, torch.stack([best, torch.zeros_like(best)]))


def test_sirt_tends_to_the_minimum_under_a_largest_value():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)  # equal row sums: no weights
    y = matrix @ torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    found = sirt(Dense(matrix), y, (1, 2), 300, largest=2.0).image[0]
    left = y[:, 0] - 2 * matrix[:, 1]  # least squares of the first column, the second at its bound
    best = matrix[:, 0] @ left / matrix[:, 0].square().sum()
    assert torch.allclose(found, torch.stack([best, torch.full_like(best, 2.0)]))
    free = sirt(Dense(matrix), y, (1, 2), 300, largest=4.0)
    assert torch.allclose(free.image[0], torch.tensor([1.0, 3.0], dtype=torch.float64))


def test_sirt_leaves_unseen_pixels_and_missing_rays_alone():
    matrix = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[3.0], [1.0], [7.0]], dtype=torch.float64)
    image = sirt(Dense(matrix), y, (1, 3), 300).image
    assert torch.allclose(image, torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64))


def test_both_improve_the_head_with_iterations(head):
    projector, y, truth = head
    sirts = [psnr(sirt(projector, y, truth.shape, n).image, truth) for n in (20, 100)]
    assert 20 < sirts[0] < sirts[1] - 2 < 31
    assert 21 < psnr(cgls(projector, y, truth.shape, 15).image, truth) < sirts[1]
    assert sirt(projector, y, truth.shape, 20).image.min() == 0


def test_volumes_keep_their_shape():
    matrix, y = random(30, 24), random(30, 1, seed=1)
    assert sirt(Dense(matrix), y, (2, 3, 4), 2).image.shape == (2, 3, 4)
    assert cgls(Dense(matrix), y, (2, 3, 4), 2).image.shape == (2, 3, 4)


@pytest.mark.parametrize("method", [sirt, cgls])
def test_bad_input_is_worded(method):
    A = Dense(random(6, 4))
    y = random(6, 1)
    with pytest.raises(ValueError, match=r"a column \(m, 1\), got shape \(2, 3\)\. Use sinogram.reshape\(-1, 1\)"):
        method(A, y.reshape(2, 3), (2, 2), 3)
    with pytest.raises(ValueError, match=r"\(rows, columns\) or \(slices, rows, columns\), got \(4,\)"):
        method(A, y, (4,), 3)
    with pytest.raises(ValueError, match=r"A\(x\) has shape \(6, 1\), and 5 line integrals .* need \(5, 1\)"):
        method(A, y[:5], (2, 2), 3)
    with pytest.raises(ValueError, match="must be finite, and 6 of 6 are not"):
        method(A, y * math.inf, (2, 2), 3)
    for scale in (1e30, 1e-30):  # conjugate gradients would end at NaN, or at zero
        with pytest.raises(ValueError, match=r"squares outside the range of torch.float32\. Scale them"):
            method(Dense(A.matrix.float()), y.float() * scale, (2, 2), 3)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        method(A, y, (2, 2), 0)


def test_a_wrong_adjoint_is_worded():
    A = Dense(random(6, 4))
    A.adjoint = lambda y: y
    with pytest.raises(ValueError, match=r"A.adjoint\(y\) has shape \(6, 1\), .* need \(4, 1\)"):
        sirt(A, random(6, 1), (2, 2), 3)
