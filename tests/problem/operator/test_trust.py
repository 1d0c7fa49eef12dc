"""The predicted error of an answer: coverage on functions that did not calibrate it, and what is refused."""

import pytest
import torch

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.problem.operator.trust import Trust, features
from problems.operators.antiderivative import Antiderivative


@pytest.fixture(scope="module")
def solution():
    problem = Antiderivative(n_functions=60, n_tests=200, batch=16, n_points=32, sensors=20)
    return nf.solve(problem, steps=60, report=None)


def test_bounds_hold_for_functions_that_did_not_calibrate_them(solution):
    trust = Trust(solution.trained, solution.data, level=0.8)
    assert trust.tested == 100 and 0.68 <= trust.coverage <= 0.92  # three standard errors of both halves
    assert trust.correlation > 0.2
    assert "bounds for 80% of functions hold for" in str(trust)
    test, problem = solution.data["test"], solution.problem
    expected, bound = trust(test.values)
    errors = problem.errors(solution.field, solution.data)[:, 0]
    assert expected.shape == bound.shape == (200,) and (bound > expected).all()
    assert float((errors[1::2] <= bound[1::2]).double().mean()) == pytest.approx(trust.coverage, abs=0.011)
    rough = trust(lambda x: torch.sin(40 * x))[0]
    assert rough > expected.max()


def test_features_are_what_the_last_layer_reads():
    net = nf.fields.FNO(nf.Box(x=(0, 1)), sensors=5, grid=(5,), width=3, depth=1, dtype=torch.float64)
    f = torch.rand(2, 5, dtype=torch.float64)
    h = features(net, f, net.points)
    last = net.head[1]
    assert h.shape == (10, 13)
    torch.testing.assert_close(h[:, :-1] @ last.weight.T + last.bias, net.table((f,)).reshape(-1, 1))


def test_too_few_functions_and_levels_are_refused(solution):
    with pytest.raises(InputError, match=r"level must be between 0 and 1, got 1.0"):
        Trust(solution.trained, solution.data, level=1.0)
    few = solution.data | {"test": solution.problem.with_(n_tests=4).load("cpu", torch.float64)["test"]}
    with pytest.raises(InputError, match="needs at least 20 held-out functions with solutions, got 4"):
        Trust(solution.trained, few)
