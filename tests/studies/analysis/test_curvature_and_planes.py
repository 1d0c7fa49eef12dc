import math

import numpy as np
import pytest
import torch
from torch import nn

from nfsolve import MLP, Box, RandomWeightFactorization, Sine, factorize
from nfsolve._core.errors import InputError
from nfsolve.fields import ReLU
from nfsolve.studies.analysis import Subject, hessian, hyperbolas, zeros
from problems.signals.image import ImageFit

LINE = Box(x=(-1, 1))


def test_hessian_of_a_regression_against_torch_and_with_its_parts():
    field = MLP(LINE, width=5, depth=2, activation=Sine(10.0), dtype=torch.float64)
    objective = hessian.regression(field, points=20)
    found = hessian.hessian_of("net", "initial", objective)
    theta = objective.theta()
    dense = torch.func.hessian(lambda t: objective.stacked(t).square().sum())(theta)
    torch.testing.assert_close(
        found.plain.spectrum, torch.linalg.eigvalsh(dense).abs().sort(descending=True).values, rtol=1e-7, atol=1e-9
    )
    d = dense.square().sum(1).sqrt()
    scaled = dense / torch.sqrt(d[:, None] * d)
    assert found.equilibrated.largest == pytest.approx(float(torch.linalg.eigvalsh(scaled).abs().max()))
    assert found.gauss_newton.kept[1e-8] <= 20  # no more than residuals
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    assert found.loss == pytest.approx(float((field(x) - hessian.signal(x)).square().mean().detach()))
    with pytest.raises(InputError, match="the Hessian of .* parameters: at most 3000. Take a smaller network"):
        hessian.hessian_of("net", "initial", hessian.regression(MLP(LINE, width=80, depth=2, dtype=torch.float64)))


def test_diagonal_preconditioners_help_trained_sine_networks():
    result = hessian.analyse(width=6, depth=2, steps=40)
    assert {h.name for h in result.hessians} == set(hessian.NETWORKS)
    trained = next(h for h in result.hessians if h.name == "sine" and h.moment == "after 40 steps")
    assert trained.loss < 0.7
    assert trained.equilibrated.effective_rank > trained.plain.effective_rank
    assert hessian.figure(result).axes


def test_dead_units_are_zeros_of_product_and_gradient_alike():
    x = torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]
    field = MLP(LINE, width=10, depth=2, activation=ReLU(), dtype=torch.float64)
    with torch.no_grad():
        field.body[1].linear.bias[:4] = -100.0  # never active
    found = zeros.zero_fractions("relu", 0, lambda: (field(x) - x).square().mean(), dict(field.named_parameters()))
    # rows and biases of the four units, and the four columns of the last layer
    dead = 4 * 10 + 4 + 4
    size = sum(p.numel() for p in field.parameters())
    assert found.product[0.0] == pytest.approx(found.gradient[0.0])
    assert found.product[0.0] >= dead / size
    assert found.both == 1
    assert found.layers["body.1.linear"] >= 44 / 110
    sine = MLP(LINE, width=10, depth=2, activation=Sine(30.0), dtype=torch.float64)
    found = zeros.zero_fractions("sine", 0, lambda: (sine(x) - x).square().mean(), dict(sine.named_parameters()))
    assert found.product[0.0] == found.gradient[0.0] == 0


def test_thresholds_are_relative_to_the_largest_entry_of_the_layer():
    weight = nn.Parameter(torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    scale = torch.tensor([1.0, 1e-5, 1e-7, 0.0], dtype=torch.float64)
    found = zeros.zero_fractions("q", 0, lambda: (scale * weight.square()).sum(), {"w": weight})
    assert found.product == {0.0: 0.25, 1e-6: 0.5, 1e-4: 0.75}
    assert found.gradient == found.product


def test_zeros_by_activation_on_a_picture():
    problem = ImageFit(size=48, gray=True, batch=50)
    subject = Subject.of_field(problem, MLP.for_problem(problem, width=6, depth=2, activation=Sine(30.0)))
    result = zeros.analyse(subject, steps=2)
    assert [(row.name, row.step) for row in result.rows[:3]] == [("this problem", 0), ("sine", 0), ("sine", 2)]
    relu = [row for row in result.rows if row.name == "ReLU+PE"]
    assert all(row.product[0.0] == row.gradient[0.0] for row in relu)
    assert "this problem's on 50 points" in result.loss
    assert zeros.figure(result).axes


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
    assert hyperbolas.invariants(MLP(LINE)) == {}
    assert "not factorized" in hyperbolas.analyse().summary()["this field"]


def test_the_problems_own_hessian_is_formed_where_it_is_small(monkeypatch):
    monkeypatch.setattr(hessian, "NETWORKS", {"sine": hessian.NETWORKS["sine"]})
    problem = ImageFit(size=48, gray=True, batch=40)
    small, large = (Subject.of_field(problem, MLP.for_problem(problem, width=w, depth=2)) for w in (4, 30))
    own = hessian.analyse(small, width=3, depth=1, steps=1)
    assert own.hessians[-1].name == "this problem"
    assert own.hessians[-1].parameters == sum(p.numel() for p in small.field.parameters())
    assert own.missing == ""
    told = hessian.analyse(large, width=3, depth=1, steps=1).summary()["this problem"]
    assert told == "not formed: 1,051 parameters, and at most 800 are taken"
