"""The last layer of a branch against dense least squares, as a stage of a run, and its errors."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import Box, DeepONet, OperatorPDE, Stage, face, interior, optim
from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares, last_affine
from nfsolve.fields import RandomWeightFactorization, Skip, factorize
from nfsolve.functions import GaussianField
from nfsolve.optim import LastLayer
from nfsolve.problem import Objective
from tests.problem.operator.cases import generator, small


@dataclass
class Coupled(OperatorPDE):
    """Two unknowns, a product of them, a face, weights, two input functions."""

    inputs: ClassVar[dict[str, str]] = {"f": "x", "g": "x"}
    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u v"
    evaluation = (5, 6)

    @interior(weight=3.0)
    def first(self, u, u_t, v_xx, f):
        return u_t + u * u - v_xx - f

    @interior
    def second(self, u_x, v, g):
        return u_x * v - g

    @face(t=0, weight=0.1)
    def start(self, u, v, f):
        return u - f + v**2

    def spaces(self):
        return {"f": GaussianField(0.5), "g": GaussianField(0.3)}

    def recipe(self):
        return small().recipe()


def posed(problem, **options) -> Objective:
    torch.manual_seed(0)
    sizes = {"width": 5, "depth": 2, "latent": 3, "dtype": torch.float64, "sensors": problem.sensor_counts}
    field = DeepONet.for_problem(problem, **(sizes | options))
    return Objective(problem, field, problem.load("cpu", torch.float64), generator(1))


def coupled(**changes) -> Coupled:
    return Coupled(**({"n_functions": 9, "n_tests": 3, "batch": 4, "n_points": 6, "n_face": 3, "sensors": 7} | changes))


def by_rows(layer) -> torch.Tensor:
    """J_b (x) h_b as rows, functions first: (B m, out * h)."""
    rows = layer.jacobian[..., None] * layer.inputs[:, None, None]
    return rows.flatten(2).flatten(0, 1)


def test_blocks_are_the_jacobian_of_the_whole_residual():
    """Several unknowns and residuals with weights, a nonlinear one among them, against autograd by every parameter."""
    objective = posed(coupled())
    objective.choose("branches.0")
    layer = last_affine(objective.parts, objective.parameters)
    assert layer.weight is objective.parameters[-2] and layer.bias is objective.parameters[-1]
    objective.choose("branches.0.2")
    residual, jacobian = objective.jacobian(objective.theta())
    mine, outputs = by_rows(layer), len(layer.weight)
    assert torch.allclose(layer.residual.square().sum(), residual.square().sum())
    for columns, h in ((slice(0, -1), layer.inputs.shape[1] - 1), (slice(-1, None), 1)):
        ours = mine.unflatten(1, (outputs, -1))[..., columns].flatten(1)
        theirs = jacobian[:, : outputs * h] if h > 1 else jacobian[:, -outputs:]
        # rows are in another order: compare what does not depend on it
        assert torch.allclose(ours.T @ ours, theirs.T @ theirs, rtol=1e-10, atol=1e-14)
        assert torch.allclose(ours.T @ layer.residual.flatten(), theirs.T @ residual, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("damping", [1e-1, 1e-4])
def test_a_step_is_the_damped_solution_of_dense_normal_equations(damping):
    objective = posed(coupled(batch=9), branch=Skip(width=4, depth=1))
    objective.choose("branches.1")
    layer = last_affine(objective.parts, objective.parameters)
    start = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().clone()
    rows = by_rows(layer)
    squares = (layer.jacobian.square().sum((0, 1)) / 9)[:, None] * layer.inputs.square().sum(0)
    matrix = rows.T @ rows + damping * squares.flatten().diag()
    expected = start - torch.linalg.solve(matrix, rows.T @ layer.residual.flatten()).view_as(start)
    LastLayer(objective.parameters, batches=1, damping=damping, cg_tolerance=1e-12, cg_steps=1000).step(objective)
    assert torch.allclose(torch.cat([layer.weight, layer.bias[:, None]], 1), expected, rtol=1e-7, atol=1e-9)


def test_a_linear_problem_is_solved_over_all_its_batches_in_one_step():
    """The mean over the mini-batches that were drawn is as small as dense least squares on all their rows makes it."""
    objective, again = (posed(small(n_functions=40, batch=8)) for _ in range(2))
    rows, rights = [], []
    for i in range(6):
        if i:
            again.resample()
        layer = last_affine(again.parts, list(again.system.field.branches.parameters()))
        rows.append(by_rows(layer))
        rights.append(layer.residual.flatten())
    matrix, right = torch.cat(rows), torch.cat(rights)
    best = torch.linalg.lstsq(matrix, -right, driver="gelsd").solution
    expected = float((right + matrix @ best).square().sum())
    objective.choose("branches")
    optimizer = LastLayer(objective.parameters, batches=6, damping=1e-13, cg_tolerance=1e-10)
    before = torch.cat([p.detach().flatten() for p in (layer.weight, layer.bias)])
    assert float(optimizer.step(objective)) == pytest.approx(float(right.square().sum()) / 6)
    assert torch.equal(objective.batch["balance"].points, again.batch["balance"].points)
    field = objective.system.field.branches[0][-1]
    moved = torch.cat([field.weight, field.bias[:, None]], 1).detach()
    start = torch.cat([before[: -len(field.bias)].view_as(field.weight), before[-len(field.bias) :, None]], 1)
    found = float((right + matrix @ (moved - start).flatten()).square().sum())
    assert found == pytest.approx(expected, rel=1e-3) and expected < 0.7 * float(right.square().sum())


def test_only_the_chosen_layer_moves_and_then_all_are_trained_again():
    problem = small()
    stages = (Stage(partial(LastLayer, batches=3), steps=1, only="branches"),)
    first = nf.solve(problem, steps=0, report=None)
    moved = nf.solve(problem, stages=stages, report=None)
    pairs = zip(first.field.named_parameters(), moved.field.parameters(), strict=True)
    assert [name for (name, a), b in pairs if not torch.equal(a, b)] == ["branches.0.2.weight", "branches.0.2.bias"]
    assert moved.metrics["parameters"] == first.metrics["parameters"]
    assert all(p.requires_grad for p in moved.field.parameters())


@pytest.mark.parametrize("optimizer", [partial(torch.optim.Adam, lr=1e-2), partial(optim.SOAP, lr=1e-2)])
def test_gradient_methods_train_a_part_too(optimizer):
    problem = small()
    start = nf.solve(problem, steps=0, report=None).field
    field = nf.solve(problem, stages=(Stage(optimizer, steps=3, only="trunk.0"),), report=None).field
    changed = [n for (n, a), b in zip(start.named_parameters(), field.parameters(), strict=True) if (a != b).any()]
    assert changed == ["trunk.0.linear.weight", "trunk.0.linear.bias"]
    assert field.trunk[1].linear.weight.grad is None


@pytest.mark.parametrize("stop_at", [2, 4])
def test_stages_of_parts_resume_bit_identically(tmp_path, monkeypatch, stop_at):
    adam, last = partial(torch.optim.Adam, lr=1e-2), partial(LastLayer, batches=2, damping=1e-6)
    stages = (Stage(adam, 3), Stage(last, 2, only="branches"), Stage(adam, 2))
    whole = nf.solve(small(n_functions=0), stages=stages, report=None)
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)
    original = nf.RunFolder.save_checkpoint

    def save_then_stop(self, saved):
        original(self, saved)
        if saved["steps"] == stop_at:
            raise KeyError("stop")

    monkeypatch.setattr("nfsolve.run.folder.RunFolder.save_checkpoint", save_then_stop)
    with pytest.raises(KeyError, match="stop"):
        nf.solve(small(n_functions=0), stages=stages, out=tmp_path / "run", report=None)
    monkeypatch.setattr("nfsolve.run.folder.RunFolder.save_checkpoint", original)
    resumed = nf.resume(tmp_path / "run", report=None)
    assert resumed.steps == whole.steps == 7
    for a, b in zip(whole.field.parameters(), resumed.field.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_would_not_help_leaves_the_parameters():
    objective = posed(small(n_functions=8, batch=8), branch=nf.fields.Linear())
    objective.choose("branches")
    optimizer = LastLayer(objective.parameters, batches=1, damping=1e-12)
    for _ in range(6):
        optimizer.step(objective)
    before = objective.theta()
    optimizer.step(objective)
    assert optimizer.stop_reason.startswith("line search failed: no damping up to")
    assert torch.equal(objective.theta(), before)


def test_errors_say_what_to_do():
    objective = posed(small())
    with pytest.raises(InputError, match=r"unknown part of the parameters 'brnches'.*branches"):
        objective.choose("brnches")
    with pytest.raises(
        InputError, match=r"a layer of 3 outputs and 6 inputs, 18 parameters, needs .* for 20 .*Take batches=2, "
    ):
        LastLayer(objective.parameters, batches=5, max_bytes=8 * (3 * 6**2 + 20 * 6 + 2 * 4 * 3**2) + 1).step(objective)
    with pytest.raises(InputError, match=r"LastLayer needs batches .*got batches=0"):
        LastLayer(objective.parameters, batches=0)
    with pytest.raises(TypeError, match=r"without residuals"):
        LastLayer(objective.parameters).step(lambda: torch.zeros(()))


def test_fields_without_such_a_layer_are_refused():
    objective = posed(small())
    factorize(objective.system.field, RandomWeightFactorization(), seed=0)
    with pytest.raises(InputError, match=r"must end in a linear layer without a factorization"):
        last_affine(objective.parts, list(objective.system.field.parameters()))
    layer, mixing = nn.Linear(2, 3).double(), torch.randn(5, 5, generator=generator()).double()
    x = torch.randn(5, 2, generator=generator()).double()
    entangled = LeastSquares(
        lambda q: mixing @ torch.func.functional_call(layer, q, (x,)).sum(1), dict(layer.named_parameters())
    )
    before = layer.weight.clone()
    optimizer = LastLayer(entangled.parameters)
    loss = optimizer.step(entangled)
    assert torch.equal(layer.weight, before) and loss == entangled.parts()[0].square().sum()
    assert "The residuals of each of the 5 rows" in optimizer.stop_reason


def test_a_recipe_ends_in_words_where_the_field_was_swapped_for_one_without_such_a_layer():
    stages = (Stage(partial(torch.optim.Adam, lr=1e-3), steps=2), Stage(LastLayer, steps=2, only="branches"))
    field = factorize(posed(small()).system.field, RandomWeightFactorization(), seed=0)
    found = nf.solve(small(), field, stages=stages, report=None)
    assert "no last layer to solve for" in found.stopped and not found.failed
