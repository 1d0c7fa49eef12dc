"""Trained operators in the hands of a user: own functions and points, and what is refused."""

import math
import warnings

import pytest
import torch

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.problem import TrainedOperator
from problems.pde.burgers import Burgers
from tests.problem.operator.cases import Exact, Heated, Sines, heated, small


class Known(Exact):
    """The exact operator with a parameter, whose type is that of the field."""

    def __init__(self, problem: Heated):
        super().__init__(problem)
        self.parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))


def operator() -> TrainedOperator:
    problem = small()
    return problem.trained(Known(problem))  # type: ignore[return-value]


POINTS = torch.rand(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def expected(c: list[list[float]]) -> torch.Tensor:
    coefficients = torch.tensor(c, dtype=torch.float64)
    return heated(POINTS[:, :1], POINTS[:, 1:], coefficients, 0.1).T[..., None]


def test_functions_are_callables_or_values_at_the_sensors():
    first, second = (lambda x: torch.sin(math.pi * x)), (lambda x: 2 * torch.sin(2 * math.pi * x))
    truth = expected([[1, 0, 0, 0], [0, 2, 0, 0]])
    found = operator()([first, second], POINTS)
    torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(operator()(first, POINTS), truth[:1], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(operator()({"f": second}, POINTS), truth[1:], rtol=1e-10, atol=1e-12)
    sensors = operator().sensor_points()
    values = torch.cat([first(sensors), second(sensors)], 1).T
    torch.testing.assert_close(operator()(values, POINTS, at=sensors), truth, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(operator()(values, POINTS, at=sensors[:, 0]), truth, rtol=1e-10, atol=1e-12)
    fine = torch.linspace(0, 1, 33, dtype=torch.float64)
    for at in (fine, fine**2):  # functions on another grid are brought to the sensors
        values = torch.stack([first(at), second(at)])
        torch.testing.assert_close(operator()(values, POINTS, at=at), truth, rtol=1e-3, atol=1e-3)
    assert operator()(lambda x: 0.0, POINTS).abs().max() == 0
    assert Sines().basis(sensors).shape == (9, 4)


REFUSED = [
    (
        (torch.ones(2, 7), None),
        r"'f' must have one value for each sensor, \(functions, 9\), got shape \(2, 7\).*sensor_points\('f'\)",
    ),
    ((torch.full((1, 9), math.nan), None), "values of 'f' must be finite, but 9 are NaN"),
    ((torch.ones(2, 9), torch.linspace(1, 0, 9)), "'f' is given at 9 places that are neither the 9 sensors"),
    ((torch.ones(2, 9), torch.linspace(0, 0.7, 9)), "'f' is given for 0 <= x <= 0.7, .* reach 0.3 beyond"),
    ((torch.ones(2, 9), torch.linspace(0, 1, 10)), r"one value for each place, \(functions, 10\), got shape \(2, 9\)"),
    ((lambda t, y: y, None), r"'f' must be a function of x, got one of t, y"),
    (({"g": torch.ones(2, 9)}, None), "unknown input function 'g'"),
    (({}, None), "this operator reads f, but 'f' is missing"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_functions_that_do_not_fit_are_named(given, message):
    functions, at = given
    with pytest.raises(InputError, match=message):
        operator()(functions, POINTS, at)


def test_functions_say_their_parameters_in_many_ways():
    def shifted(x, by=0.0):
        return torch.sin(x) + by

    same = operator()(shifted, POINTS)

    def as_numpys(a, /, out=None, *, where=True):
        return torch.sin(a)

    for function in (torch.sin, as_numpys, lambda z: torch.sin(z), lambda *x: torch.sin(x[0])):
        torch.testing.assert_close(operator()(function, POINTS), same, rtol=1e-10, atol=1e-12)


def test_points_are_checked():
    f = torch.zeros(1, 9)
    assert torch.equal(operator()(f, POINTS.numpy()), operator()(f, POINTS))
    with pytest.raises(InputError, match=r"columns t, x, \(n, 2\), got shape \(6,\)"):
        operator()(f, POINTS[:, 0])
    with pytest.raises(InputError, match="points must be finite, but 1 of 6 are NaN"):
        operator()(f, torch.cat([POINTS[:5], torch.full((1, 2), math.nan)]))


def test_values_that_no_training_function_has_are_said():
    with pytest.warns(
        UserWarning, match=r"'f' ranges from -100 to 100, but the operator was trained on -\d.* to \d"
    ) as caught:
        operator()(lambda x: 100 * torch.cos(math.pi * x), POINTS)
    assert caught[0].filename == __file__
    problem = nf.operator_of(Burgers(), varies="nu", over=(0.02, 0.1), n_functions=4, n_tests=2, batch=2, n_points=4)
    trained = nf.solve(problem, steps=1, report=None).trained
    with pytest.warns(UserWarning, match=r"'nu' ranges from 5 to 5, but the operator was trained on 0.02 to 0.1"):
        trained(5.0, POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained([0.02, 0.1], POINTS)


def test_points_outside_the_box_are_evaluated_with_a_warning():
    points = POINTS.clone()
    points[2, 1] = 1.25
    with pytest.warns(UserWarning, match=r"1 of 6 points lie outside 0 <= x <= 1.*by up to 0.25 \(25 %") as caught:
        values = operator()(lambda x: 0 * x, points)
    assert values.shape == (1, 6, 1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator()(lambda x: 0 * x, POINTS)


def test_a_loaded_run_is_such_an_operator(tmp_path):
    solution = nf.solve(small(), steps=2, out=tmp_path / "run", report=None)
    loaded = nf.load(tmp_path / "run")
    assert isinstance(loaded, TrainedOperator)
    x = POINTS.float()
    f = torch.ones(2, 9)
    assert torch.equal(loaded(f, x), solution.field.on_grid(f, x))
    assert torch.equal(solution.trained(f, x), loaded(f, x))


def test_a_field_of_a_plain_problem_is_loaded_as_it_is(tmp_path):
    from problems.pde.poisson import Poisson

    nf.solve(Poisson(n_points=20), steps=1, out=tmp_path / "run", report=None)
    assert isinstance(nf.load(tmp_path / "run"), nf.MLP)


def test_the_test_functions_may_not_be_training_functions():
    class Same(Heated):
        def spaces(self):
            class Fixed(Sines):
                def sample(self, n, generator):
                    return super().sample(n, torch.Generator().manual_seed(0))

            return {"f": Fixed()}

    with pytest.raises(InputError, match="but 5 of 5 are training functions"):
        Same(n_functions=5, n_tests=5).load("cpu", torch.float64)
