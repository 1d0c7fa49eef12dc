"""The last layer of a network by least squares against dense least squares, and when it stays as it is."""

from functools import partial

import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import Stage
from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares
from nfsolve.fields import FNO, ScatteredOperator
from nfsolve.optim import OutputLayer
from nfsolve.optim.output_layer import _layer
from nfsolve.problem import Objective
from tests.problem.operator.cases import generator, small

FIELDS = {
    "FNO": (partial(FNO, width=3, depth=1, grid=(6, 7), shapes=((1, 9),)), "head"),
    "attention": (partial(ScatteredOperator, width=4, depth=1, slices=3), "head"),
}


def labelled(**changes):
    return small(physics=False, data=True, **{"n_functions": 24, "batch": 8, "n_points": 10} | changes)


def posed(problem, field) -> Objective:
    built = field.func.for_problem(problem, **field.keywords, dtype=torch.float64, sensors=problem.sensor_counts)
    return Objective(problem, built, problem.load("cpu", torch.float64), generator(1))


@pytest.mark.parametrize("name", FIELDS)
def test_a_layer_that_gives_the_labels_is_found(name):
    field, layer = FIELDS[name]
    objective = posed(labelled(), field)
    net, points = objective.system.field, objective.batch["data"].points
    points = net.points if name == "FNO" else points
    *_, (weight, start), (_, bias) = [(n, p) for n, p in net.named_parameters() if n.startswith(layer)]
    objective.choose(weight.rpartition(".")[0])

    def draw():
        """Labels of the same network with another last layer, for functions of a new mini-batch."""
        Objective.resample(objective)
        rows, kept = objective.batch["data"], (start.detach().clone(), bias.detach().clone())
        with torch.no_grad():
            start.copy_(truth[0])
            bias.copy_(truth[1])
            labels = net.across(rows.functions, points).T.reshape(-1, 1)
            start.copy_(kept[0])
            bias.copy_(kept[1])
        given = {"points": points, "truth": labels, "size": torch.ones_like(labels)}
        objective._use({"data": type(rows)(functions=rows.functions, lifting={}, **given)})

    truth = [torch.randn(p.shape, generator=generator(5)).double() for p in (start, bias)]
    objective.resample = draw
    draw()
    before = float(objective.parts()[0].detach().square().sum())
    OutputLayer(objective.parameters, batches=4).step(objective)
    assert float(objective.parts()[0].detach().square().sum()) < 1e-12 * before


def test_a_linear_layer_that_is_not_the_end_of_the_network_stays():
    net = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.linspace(0, 1, 12, dtype=torch.float64)[:, None]
    objective = LeastSquares(lambda p: torch.func.functional_call(net, p, (x,)) - x.exp(), dict(net.named_parameters()))
    first = OutputLayer(net.parameters(), batches=3)
    before = float(first.step(objective))
    assert not first.stop_reason and float(objective.parts()[0].detach().square().sum()) < 1e-3 * before
    held = {n: p for n, p in net.named_parameters() if n.startswith("0")}
    start = [p.clone() for p in held.values()]
    second = OutputLayer(held.values())
    second.step(objective)
    assert second.stop_reason and all(torch.equal(a, b) for a, b in zip(start, held.values(), strict=True))


@pytest.mark.parametrize("name", FIELDS)
def test_the_jacobian_is_that_of_the_whole_residual(name):
    """At points between those of a grid several outputs enter one residual."""
    field, layer = FIELDS[name]
    objective = posed(labelled(batch=3), field)
    last = [n for n, _ in objective.system.field.named_parameters() if n.startswith(layer)][-1].rpartition(".")[0]
    objective.choose(last)
    found = _layer(objective, {id(p) for p in objective.parameters})
    residual, jacobian = objective.jacobian(objective.theta())
    torch.testing.assert_close(found.residual.detach(), residual)
    torch.testing.assert_close(found.jacobian(), jacobian, rtol=1e-8, atol=1e-12)


def test_functions_are_always_in_the_same_half():
    problem = labelled(batch=8)
    data = problem.load("cpu", torch.float64)
    halves = {}
    for seed in range(6):
        rows = problem.sample(data, nf.problem.SamplerState(), generator(seed))["data"]
        for f, half in zip(rows.functions, rows.halves().view(8, -1), strict=True):
            assert len(half) == len(rows.points) and len(half.unique()) == 1
            assert halves.setdefault(tuple(f.tolist()), bool(half[0])) == bool(half[0])
    assert 0 < sum(halves.values()) < len(halves)


def test_it_is_a_stage_that_moves_the_end_of_a_network_alone():
    problem = labelled()
    field = FIELDS["attention"][0]
    first = nf.solve(problem, field, steps=0, report=None)
    moved = nf.solve(problem, field, stages=(Stage(OutputLayer, steps=1, only="head"),), report=None)
    pairs = zip(first.field.named_parameters(), moved.field.parameters(), strict=True)
    changed = [name for (name, a), b in pairs if not torch.equal(a, b)]
    assert changed == ["head.2.weight", "head.2.bias"]
    assert moved.metrics["relative_l2"] < 0.7 * first.metrics["relative_l2"]


def test_a_large_layer_stays():
    objective = posed(labelled(), partial(nf.DeepONet, width=33, depth=1, latent=32))
    before = objective.theta()
    optimizer = OutputLayer(objective.parameters)
    optimizer.step(objective)
    assert "parameters, and at most 1024 are solved for" in optimizer.stop_reason
    assert torch.equal(objective.theta(), before)


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match="OutputLayer needs batches of at least 1, got 0"):
        OutputLayer([torch.ones(2, requires_grad=True)], batches=0)
    with pytest.raises(TypeError, match="without residuals"):
        OutputLayer([torch.ones(2, requires_grad=True)]).step(lambda: torch.zeros(()))
