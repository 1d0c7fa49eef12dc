"""The antiderivative operator: exact labels, right statistics, exact operator gives no residual, seeds."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

import nfsolve
from nfsolve._core.errors import InputError
from nfsolve.functions import GaussianField
from problems.deeponet_antiderivative import LABEL_ERROR, Antiderivative, integrals

SMALL = {"functions": 30, "tests": 20, "batch": 7, "points": 9, "sensors": 40}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class SplineOperator:
    """The exact operator up to the cubic spline through the sensors."""

    def on_grid(self, f: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        spline = CubicSpline(np.linspace(0, 1, f.shape[1]), f.numpy(), axis=1).antiderivative()
        return torch.from_numpy(spline(x[:, 0].numpy()))[..., None]


@pytest.mark.parametrize("length", [0.05, 0.2, 10.0])
def test_labels_equal_gauss_legendre_quadrature(length: float):
    space = GaussianField(length)
    c = space.draw(20, generator())
    nodes, weights = np.polynomial.legendre.leggauss(120)
    x = torch.linspace(0, 1, 13, dtype=torch.float64)[:, None]
    inside = x * (torch.from_numpy(nodes) + 1) / 2
    f = space.evaluate(c, inside.reshape(-1, 1)).unflatten(1, inside.shape)
    quadrature = f @ torch.from_numpy(weights) * x[:, 0] / 2
    s = c @ integrals(space, x).T
    assert float(s[:, 0].abs().max()) == 0
    assert float((s - quadrature).abs().max()) < LABEL_ERROR * 10
    assert float(s.abs().max()) > 0.1


def test_exact_operator_gives_no_residual_and_a_perfect_score():
    problem = Antiderivative(**(SMALL | {"sensors": 200}))
    data = problem.load("cpu", torch.float64)
    residuals = problem.residuals(SplineOperator(), problem.draw(data, generator()))
    assert residuals["data"].shape == (7 * 9, 1)
    assert float(residuals["data"].abs().max()) < 1e-5
    scores = problem.metrics(SplineOperator(), data)
    assert scores["relative_l2"] < 1e-6
    assert scores["relative_l2"] <= scores["relative_l2_max"] < 1e-5


def test_score_of_a_known_error():
    class TenPercentMore(SplineOperator):
        def on_grid(self, f: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return 1.1 * super().on_grid(f, x)

    problem = Antiderivative(**(SMALL | {"sensors": 200}))
    data = problem.load("cpu", torch.float64)
    scores = problem.metrics(TenPercentMore(), data)
    assert scores["relative_l2"] == pytest.approx(0.1, abs=1e-5)
    assert scores["relative_l2_std"] == pytest.approx(0, abs=1e-5)
    size = problem.residuals(TenPercentMore(), problem.draw(data, generator()))["data"].square().mean().sqrt()
    assert 0.05 < float(size) < 0.2, "the residual is relative as the score is"


def test_data_are_the_same_for_every_dtype_and_draws_follow_the_generator():
    problem = Antiderivative(**SMALL)
    double, single = problem.load("cpu", torch.float64), problem.load("cpu", torch.float32)
    torch.testing.assert_close(double["f"].float(), single["f"])
    assert single["test_s"].dtype == torch.float64
    assert not torch.equal(double["f"][:20], double["test_f"]), "test functions are not training functions"
    assert not torch.equal(Antiderivative(**SMALL, data_seed=1).load("cpu", torch.float64)["f"], double["f"])
    first, again, other = (problem.draw(double, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["x"], other["x"])


def test_three_steps_are_finite_and_repeat_with_the_seed():
    first, again, other = (
        nfsolve.solve(Antiderivative(**SMALL), steps=3, seed=seed, report=None) for seed in (0, 0, 1)
    )
    assert not first.failed
    assert math.isfinite(first.metrics["relative_l2"])
    f, x = torch.rand(3, 40, generator=generator()), torch.rand(5, 1, generator=generator())
    assert first.field.on_grid(f, x).shape == (3, 5, 1)
    assert torch.equal(first.field.on_grid(f, x), again.field.on_grid(f, x))
    assert not torch.equal(first.field.on_grid(f, x), other.field.on_grid(f, x))


def test_picture_says_the_errors():
    problem = Antiderivative(**SMALL)
    data = problem.load("cpu", torch.float64)
    figure = problem.picture(SplineOperator(), data, [{"seconds": 1.0, "loss": 0.1, "relative_l2": 0.3}] * 2)
    titles = " ".join(ax.get_title() for ax in figure.axes)
    assert all(word in titles for word in ("best", "median", "worst", "relative L2", "mean"))


def test_bad_parameters_are_named():
    with pytest.raises(InputError, match=r"length = 0: a correlation length from 0.01 to 10"):
        Antiderivative(length=0)
    with pytest.raises(InputError, match="functions = 0: at least 1"):
        Antiderivative(functions=0)
    with pytest.raises(InputError, match="sensors = 1: at least 2"):
        Antiderivative(sensors=1)


def test_a_field_without_input_functions_is_named():
    with pytest.raises(InputError, match=r"a field of type MLP: one that takes functions. Use DeepONet"):
        nfsolve.solve(Antiderivative(**SMALL), nfsolve.MLP, steps=1, report=None)
