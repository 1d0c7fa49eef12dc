"""Total variation against closed forms, subgradient conditions and its own duality gap."""

import math

import pytest
import torch

from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image, phantom_projections
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr
from nfsolve.reconstruct import total_variation
from nfsolve.reconstruct.total_variation import differences, differences_adjoint
from tests.reconstruct.test_iterative import Dense, least_squares, random


class Scaled:
    """A multiple of the identity."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x

    adjoint = __call__


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("shape", [(4, 5), (1, 6), (3, 4, 2)])
def test_differences_have_their_adjoint(shape):
    image, steps = random(*shape), random(len(shape), *shape, seed=1)
    assert float((differences(image) * steps).sum()) == pytest.approx(float((image * differences_adjoint(steps)).sum()))


def test_differences_are_those_of_neighbours():
    image = torch.tensor([[1.0, 2.0, 4.0], [0.0, 5.0, 5.0]])
    expected = torch.tensor([[[-1.0, 3.0, 1.0], [0.0, 0.0, 0.0]], [[1.0, 2.0, 0.0], [5.0, 0.0, 0.0]]])
    assert torch.equal(differences(image), expected)


@pytest.mark.parametrize(("factor", "shape"), [(1.0, (1, 3)), (1e-3, (3, 1)), (40.0, (1, 1, 3))])
def test_a_step_shrinks_by_twice_the_weight_over_its_length(factor, shape):
    # ... whatever the scale of the map: the weight is in units of the image
    found = total_variation(Scaled(factor), factor * column(1.0, 3.0, 3.0), shape, weight=0.1, iterations=1000)
    assert found.image.reshape(-1).tolist() == pytest.approx([1.1, 2.95, 2.95], abs=3e-3)
    assert 0 <= found.gap < 2e-3


def test_isotropic_variation_of_a_corner_pixel():
    # one pixel against a constant background: sqrt(2) of variation at its near corner, 1 at each of two neighbours
    y = torch.zeros(5, 5, dtype=torch.float64)
    y[2, 2] = 1.0
    image = total_variation(Scaled(), y.reshape(-1, 1), (5, 5), 0.01, 800).image
    assert float(image[2, 2]) == pytest.approx(1 - 0.01 * (2 + math.sqrt(2)), abs=2e-3)


def test_no_weight_is_least_squares():
    matrix, y = random(20, 4) + 3 * torch.eye(20, 4, dtype=torch.float64), random(20, 1, seed=1) - 0.3
    free = total_variation(Dense(matrix), y, (2, 2), 0.0, 200, nonnegative=False)
    assert torch.allclose(free.image.reshape(-1, 1), least_squares(matrix, y), atol=1e-6)
    weights = random(20, 1, seed=2)
    weights[3] = 0.0
    found = total_variation(Dense(matrix), y, (2, 2), 0.0, 300, weights, nonnegative=False)
    root = weights.sqrt()
    assert torch.allclose(found.image.reshape(-1, 1), least_squares(root * matrix, root * y), atol=1e-6)
    assert free.gap < 1e-3 and found.gap < 1e-3


def test_a_huge_weight_gives_the_best_constant():
    matrix, y = random(20, 6), random(20, 1, seed=1)
    image = total_variation(Dense(matrix), y, (2, 3), 100.0, 600).image
    ones = matrix.sum(1, keepdim=True)
    assert torch.allclose(image, ((ones * y).sum() / ones.square().sum()).expand(2, 3), atol=1e-6)


def test_values_stay_nonnegative_unless_asked():
    y = column(-2.0, -2.0, 1.0, 1.0)
    clipped, free = (total_variation(Scaled(), y, (2, 2), 0.1, 500, nonnegative=n).image for n in (True, False))
    assert torch.allclose(clipped, torch.tensor([[0.0, 0.0], [0.9, 0.9]], dtype=torch.float64), atol=1e-5)
    assert torch.allclose(free, torch.tensor([[-1.9, -1.9], [0.9, 0.9]], dtype=torch.float64), atol=1e-5)


def test_values_stay_below_the_largest_one():
    # the upper pair would be 2 - 0.1, and moves to its bound; the lower one feels the same pull as without a bound
    y = column(0.5, 0.5, 2.0, 2.0)
    found = total_variation(Scaled(), y, (2, 2), 0.1, 500, largest=1.5)
    assert torch.allclose(found.image, torch.tensor([[0.6, 0.6], [1.5, 1.5]], dtype=torch.float64), atol=1e-5)
    assert found.gap < 1e-3
    far = total_variation(Scaled(), y, (2, 2), 0.1, 500, largest=50.0)
    assert torch.allclose(far.image, torch.tensor([[0.6, 0.6], [1.9, 1.9]], dtype=torch.float64), atol=1e-5)


def test_the_gap_bounds_the_distance_from_the_minimum_under_a_largest_value():
    matrix, y = random(15, 12) - 0.2, random(15, 1, seed=1)
    terms = (matrix, y, torch.ones_like(y), 0.02, (3, 4))
    ends = [total_variation(Dense(matrix), y, (3, 4), 0.02, n, largest=0.06) for n in (10, 40, 150, 1000)]
    values = [float(objective(end.image.reshape(-1, 1), *terms)) for end in ends]
    free = total_variation(Dense(matrix), y, (3, 4), 0.02, 1000)
    assert float(ends[-1].image.max()) == pytest.approx(0.06) and free.image.max() > 0.09
    assert ends[-1].gap < 1e-3 < ends[0].gap
    for end, value in zip(ends, values, strict=True):
        assert (value - values[-1]) / value <= end.gap + 1e-9


def objective(x, matrix, y, weights, weight, shape):
    variation = differences(x.reshape(shape)).square().sum(0).sqrt().sum()
    norm = torch.linalg.matrix_norm(weights.sqrt() * matrix, 2)
    return 0.5 * (weights * (matrix @ x - y) ** 2).sum() / norm**2 + weight * variation


def test_no_feasible_direction_lowers_the_objective():
    matrix, weights = random(15, 12) - 0.2, random(15, 1, seed=2)
    y = matrix @ (random(12, 1, seed=4) - 0.5)
    terms = (matrix, y, weights, 2e-3, (2, 2, 3))
    x = total_variation(Dense(matrix), y, terms[-1], 2e-3, 400, weights).image.reshape(-1, 1)
    best = objective(x, *terms)
    assert x.min() == 0 and x.max() > 0.1
    generator = torch.Generator().manual_seed(3)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(40):
            step = size * torch.randn(12, 1, generator=generator, dtype=torch.float64)
            assert objective((x + step).clamp(min=0), *terms) > best - 1e-9


@pytest.mark.parametrize("nonnegative", [True, False])
def test_the_gap_bounds_the_distance_from_the_minimum(nonnegative):
    matrix, y = random(15, 12) - 0.2, random(15, 1, seed=1)
    terms = (matrix, y, torch.ones_like(y), 0.02, (3, 4))
    ends = [total_variation(Dense(matrix), y, (3, 4), 0.02, n, nonnegative=nonnegative) for n in (10, 40, 150, 1000)]
    values = [float(objective(end.image.reshape(-1, 1), *terms)) for end in ends]
    assert ends[-1].gap < 1e-3 < ends[0].gap
    for end, value in zip(ends, values, strict=True):
        assert (value - values[-1]) / value <= end.gap + 1e-9
    assert ends[0].note == f"relative duality gap {ends[0].gap:.1e}"


def test_the_head_comes_out_of_few_views():
    geometry, grid = ParallelBeam.half_turn(20, 48), PixelGrid(48, 48, 2 / 48)
    y = phantom_projections(SHEPP_LOGAN, geometry).reshape(-1, 1).float()
    truth = phantom_image(SHEPP_LOGAN, grid).float()
    found = total_variation(Projector(geometry, grid, torch.float32), y, (48, 48), 3e-4, 250)
    assert found.image.dtype == torch.float32
    assert psnr(found.image, truth) > 28
    assert found.gap < 0.02
    assert found.iterations == 250 and found.seconds > 0


def test_bad_input_is_worded():
    y = random(4, 1)
    with pytest.raises(ValueError, match="weight must be a finite number of at least 0, got -1"):
        total_variation(Scaled(), y, (2, 2), -1)
    with pytest.raises(ValueError, match="weight must be .*, got inf"):
        total_variation(Scaled(), y, (2, 2), math.inf)
    with pytest.raises(ValueError, match=r"weights must be \(4, 1\) finite numbers .* smallest value of -1"):
        total_variation(Scaled(), y, (2, 2), 1, weights=column(1.0, 1.0, -1.0, 1.0))
    with pytest.raises(ValueError, match=r"weights must be \(4, 1\) finite numbers of at least 0, got shape \(4,\)"):
        total_variation(Scaled(), y, (2, 2), 1, weights=torch.ones(4))
    with pytest.raises(ValueError, match="no ray of positive weight meets"):
        total_variation(Scaled(0.0), y, (2, 2), 1)
    with pytest.raises(ValueError, match=r"a column \(m, 1\), got shape \(2, 2\)"):
        total_variation(Scaled(), y.reshape(2, 2), (2, 2), 1)
