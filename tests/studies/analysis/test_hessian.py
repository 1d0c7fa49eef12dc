import pytest
import torch

from nfsolve import MLP, Box, Sine
from nfsolve._core.errors import InputError
from nfsolve.studies.analysis import Subject, hessian
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
    with pytest.raises(InputError, match="at most 3000 parameters, got .* Take a smaller network"):
        hessian.hessian_of("net", "initial", hessian.regression(MLP(LINE, width=80, depth=2, dtype=torch.float64)))


def test_diagonal_preconditioners_help_trained_sine_networks():
    result = hessian.analyse(width=6, depth=2, steps=40)
    assert {h.name for h in result.hessians} == set(hessian.NETWORKS)
    trained = next(h for h in result.hessians if h.name == "sine" and h.moment == "after 40 steps")
    assert trained.loss < 0.7
    assert trained.equilibrated.effective_rank > trained.plain.effective_rank
    assert hessian.figure(result).axes


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
