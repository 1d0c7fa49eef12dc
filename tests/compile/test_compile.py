"""torch.compile takes residuals of jets whole; in a process of its own, because Dynamo changes global state."""

from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve._core.random import generator
from nfsolve.diff import partials
from nfsolve.problem import Objective
from problems.pde.burgers import Burgers


def objective(compile: bool, **options) -> Objective:
    problem = Burgers(n_points=50, n_face=10)
    field = nf.MLP.for_problem(problem, width=8, depth=2, dtype=torch.float64, **options)
    data = problem.load("cpu", torch.float64)
    return Objective(problem, field, data, generator(0, "points"), compile=compile)


@pytest.mark.parametrize(
    "options",
    [{}, {"activation": nf.Sine(3.0)}, {"encoding": nf.FeatureGrid(1, 3, 9, hash_size=4, smooth=True, initial=1.0)}],
    ids=["tanh", "sine", "grid"],
)
def test_compiled_residuals_and_gradients_are_the_same(options):
    plain, compiled = objective(False, **options), objective(True, **options)
    assert torch.allclose(plain(), compiled(), rtol=1e-12)
    for a, b in zip(plain.parameters, compiled.parameters, strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_the_residuals_are_one_graph():
    made = objective(False)
    explained = torch._dynamo.explain(made._evaluate_eagerly)(made.batch)
    assert explained.graph_break_count == 0, explained.break_reasons


@pytest.mark.parametrize(
    "make", [nf.fields.DeepONet, nf.fields.ShiftDeepONet, nf.fields.ModifiedDeepONet, nf.fields.NonlinearDeepONet]
)
def test_derivatives_of_all_functions_are_one_graph(make):
    def walls(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x[:, 1:] * y

    box = nf.Box(t=(0, 1), x=nf.periodic(-1, 1))
    field = make(box, "u v", 3, width=4, depth=1, latent=2, output_transform=walls, dtype=torch.float64)
    f, x = torch.ones(2, 3, dtype=torch.float64), torch.ones(5, 2, dtype=torch.float64)
    explained = torch._dynamo.explain(lambda x: partials(partial(field.across, f), x, [(), (0,), (1, 1)]))(x)
    assert explained.graph_break_count == 0, explained.break_reasons


def test_hessian_products_take_the_evaluation_that_is_not_compiled():
    paths = []
    for compile in (False, True):
        made = objective(compile)
        optimizer = nf.optim.ESGD(made.parameters, lr=1e-2, warmup=1, refresh_every=2)
        losses = [float(optimizer.step(made)) for _ in range(4)]
        assert optimizer.state["shared"]["refreshes"] == 2
        paths.append((losses, made.theta()))
    assert paths[1][0] == pytest.approx(paths[0][0], rel=1e-9)
    assert torch.allclose(paths[1][1], paths[0][1], rtol=1e-8)


def test_solve_compiles_on_request():
    problem = Burgers(n_points=50, n_face=10)
    small = partial(nf.MLP, width=8, depth=2)
    adam = partial(torch.optim.Adam, lr=1e-3)
    plain = nf.solve(problem, small, adam, steps=4, dtype="float64")
    compiled = nf.solve(problem, small, adam, steps=4, dtype="float64", compile=True)
    assert compiled.history[-1]["loss"] == pytest.approx(plain.history[-1]["loss"], rel=1e-9)
