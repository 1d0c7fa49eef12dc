import math

import numpy as np
import pytest
import torch

from nfsolve import MLP, Box, RandomWeightFactorization, Sine, factorize
from nfsolve.studies.analysis import Subject
from problems.signals.image import ImageFit
from scripts.demonstrations import hyperbolas


def test_descent_on_factors_conserves_the_difference_of_squares_to_first_order():
    for mean in (0.0, 1.0):
        found = hyperbolas.path(mean)
        assert found.drift == pytest.approx(10 * found.drift_tenth, rel=0.05)
        assert found.s[-1] * found.v[-1] == pytest.approx(2.0, rel=1e-3)
    slow, fast = (hyperbolas.path(mean).steps_to_solution for mean in (0.0, 1.0))
    assert fast < slow
    w = np.linspace(-2, 3, 7)
    numeric = (hyperbolas.loss(w + 1e-6) - hyperbolas.loss(w - 1e-6)) / 2e-6
    np.testing.assert_allclose(hyperbolas.slope(w), numeric, atol=1e-8)


def test_the_induced_step_is_the_corrected_formula():
    for mean in hyperbolas.MEANS:
        random = torch.Generator().manual_seed(1)
        found = hyperbolas.induced_step(mean, random)
        assert found.multiplier == pytest.approx(math.exp(2 * mean))
        assert found.rank_one == pytest.approx(1.25 * math.exp(-2 * mean))
        assert found.exact < 1e-9
        assert found.corrected < 1e-4
        assert found.printed > 0.01
    coarse = hyperbolas.induced_step(0.5, torch.Generator().manual_seed(1), eta=1e-4)
    fine = hyperbolas.induced_step(0.5, torch.Generator().manual_seed(1), eta=1e-5)
    assert coarse.corrected == pytest.approx(10 * fine.corrected, rel=0.01)
    assert coarse.printed == pytest.approx(fine.printed, rel=0.01)


def test_solution_sets_approach_each_other_as_the_scale_grows():
    for radius in (10.0, 100.0):
        assert hyperbolas.set_distance(-1.0, 2.0, radius) == pytest.approx(3 / radius, rel=0.02)


def test_invariants_of_a_factorized_field():
    problem = ImageFit(size=48, gray=True, batch=64)
    field = MLP.for_problem(problem, width=7, depth=2, activation=Sine(30.0))
    weight = field.body[1].linear.weight.detach().double()
    factorize(field, RandomWeightFactorization(mean=0.5, std=0.0))
    difference, square = hyperbolas.invariants(field)["body.1.linear"]
    e = math.exp(1.0)
    assert float(square.mean()) == pytest.approx(e, rel=1e-5)
    torch.testing.assert_close(difference.double(), e - weight.square().sum(1) / e, rtol=1e-5, atol=1e-6)
    result = hyperbolas.analyse(Subject.of_field(problem, field))
    assert result.invariants == {}
    assert hyperbolas.figure(result).axes
    assert set(result.multipliers) == {"body.0.linear", "body.1.linear", "body.2"}
    assert hyperbolas.invariants(MLP(Box(x=(-1, 1)))) == {}
    assert "not factorized" in hyperbolas.analyse().summary()["this field"]
