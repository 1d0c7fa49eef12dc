"""Operator problems: residuals of the exact operator, batches, scores, labels, what is refused."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.functions import GaussianField, PeriodicField
from nfsolve.problem import Objective, OperatorPDE, Rows, SamplerState
from nfsolve.problem.operator.families import reconstruction
from nfsolve.problem.pde.evaluate import call
from tests.problem.operator.cases import SMALL, Exact, Heated, Sines, generator, heated, small


def loaded(problem, dtype=torch.float64, seed=0):
    data = problem.load("cpu", dtype)
    return data, problem.sample(data, SamplerState(), generator(seed))


def test_the_exact_operator_gives_no_residual_and_a_perfect_score():
    problem = small(data=True)
    data, batch = loaded(problem)
    residuals = problem.residuals(Exact(problem), batch)
    assert set(residuals) == {"balance", "data"}
    for name, r in residuals.items():
        assert r.shape == (4 * 7, 1)
        assert float(r.abs().max()) < 1e-11, name
    wrong = problem.residuals(Exact(small(diffusivity=0.2)), batch)
    assert all(float(r.abs().max()) > 1e-2 for r in wrong.values())
    scores = problem.metrics(Exact(problem), data)
    assert scores["relative_l2"] <= scores["relative_l2_max"] < 1e-13
    assert scores["relative_l2_ood"] < 1e-13 and scores["ood_scale"] == 3.0
    assert scores["reference_floor/s"] == 1e-14


def test_a_batch_equals_one_function_at_a_time():
    """The oracle: each function on its own, as an ordinary PDE with nested derivatives."""
    problem = small()
    field = nf.DeepONet.for_problem(problem, sensors=9, width=6, depth=2, latent=5, dtype=torch.float64)
    _, batch = loaded(problem)
    rows = batch["balance"]
    together = problem.residuals(field, batch)["balance"].reshape(4, 7)
    for b in range(4):

        def one(x, b=b):
            return field(x, rows.functions[b : b + 1])

        alone = Rows(rows.points, inputs={"f": rows.inputs["f"].reshape(4, 7)[b][:, None]})
        r = call(problem.balance, one, alone, ("s",), ("t", "x"))
        torch.testing.assert_close(together[b], r[:, 0], rtol=1e-10, atol=1e-12)


@dataclass
class Everything(Heated):
    """Names of every kind in one residual, on faces, pairs and inside."""

    def ansatz(self, s):
        return s

    @nf.interior
    def balance(self, s, s_t, s_xx, f, f_x, x, D):
        flux = D(lambda s, s_x: s * s_x, "x")
        return s_t - s_xx - f - f_x + x + flux

    @nf.face(x=(0, 1))
    def ends(self, s, s_x, n_x, f):
        return s - n_x * s_x - f

    @nf.paired(x=(0, 1))
    def pairs(self, s_low, s_x_high, t):
        return s_low - s_x_high * t

    @nf.boundary(part="x=1")
    def rim(self, s, n_x, x):
        return s * n_x * x


def test_every_kind_of_name_has_one_row_for_each_function_and_point():
    problem = Everything(n_functions=12, n_tests=5, batch=3, n_points=7, sensors=9, n_face=6)
    _, batch = loaded(problem)
    found = problem.residuals(Exact(problem), batch)
    c = batch["balance"].functions @ Exact(problem).inverse.T
    for b in range(3):

        def s(points, b=b):
            return heated(points[..., :1], points[..., 1:], c[b : b + 1], problem.diffusivity)

        for name, rows in batch.items():
            n = len(rows.points)
            inputs = {k: v.reshape(3, n)[b][:, None] for k, v in rows.inputs.items()}
            alone = Rows(rows.points, rows.normals, rows.partners, inputs=inputs)
            expected = call(getattr(problem, name), s, alone, ("s",), ("t", "x"))
            torch.testing.assert_close(found[name].reshape(3, n)[b][:, None], expected, rtol=1e-10, atol=1e-11)
    x = batch["balance"].points[:, 1:]
    k = math.pi * torch.arange(1, 5, dtype=torch.float64)
    slope = (k * torch.cos(k * x)) @ c.T
    torch.testing.assert_close(batch["balance"].inputs["f_x"].reshape(3, 7), slope.T, rtol=1e-10, atol=1e-10)


def test_an_ansatz_may_name_the_input_function():
    class Starting(Heated):
        """The field gives zero, so that the solution is f(x) and its derivatives are known."""

        def ansatz(self, s, f, t):
            return f + t * s

        @nf.interior
        def balance(self, s, s_t, s_x, s_xx, f, f_x, f_xx):
            return torch.cat([s - f, s_x - f_x, s_xx - f_xx, s_t], -1)

    class Nothing(nn.Module):
        def across(self, functions, x):
            return 0 * x[..., :1] * torch.ones(1, len(functions), dtype=functions.dtype)

    problem = Starting(**SMALL)
    assert problem.output_transform() is None
    data, batch = loaded(problem)
    assert float(problem.residuals(Nothing(), batch)["balance"].abs().max()) < 1e-9
    at = torch.rand(6, 2, generator=generator(), dtype=torch.float64)
    values = problem.predict(Nothing(), data["test"].functions, at)
    expected = Sines().evaluate(data["test"].coefficients["f"], at[:, 1:])
    torch.testing.assert_close(values[..., 0], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-5)])
def test_functions_are_known_between_the_sensors(dtype, tolerance):
    like, x = torch.empty(0, dtype=dtype), torch.linspace(0, 1, 301, dtype=torch.float64)[:, None]
    for space, sensors in (
        (PeriodicField(), torch.arange(100, dtype=torch.float64)[:, None] / 100),
        (GaussianField(0.2), torch.linspace(0, 1, 100, dtype=torch.float64)[:, None]),
    ):
        c = space.sample(20, generator(5))
        seen = space.evaluate(c, sensors).to(dtype)
        found = seen @ reconstruction(space, sensors, like).T
        gap = (space.evaluate(found, x.to(dtype)).double() - space.evaluate(c, x)).abs().max()
        assert float(gap) < 10 * tolerance, space


def test_an_input_function_inside_a_composite_term_is_refused():
    class Inside(Heated):
        @nf.interior
        def balance(self, D):
            return D(lambda s, f: s * f, "x")

    problem = Inside(n_functions=3, n_tests=2)
    _, batch = loaded(problem)
    with pytest.raises(
        InputError, match=r"D\(..., 'x'\) takes .* got the input function 'f'.*product rule out, with f_x"
    ):
        problem.residuals(Exact(problem), batch)


def test_known_error_gives_the_known_score():
    problem = small()
    data, _ = loaded(problem)

    class More(Exact):
        def across(self, functions, x):
            return 1.1 * super().across(functions, x)

    scores = problem.metrics(More(problem), data)
    assert scores["relative_l2"] == pytest.approx(0.1, abs=1e-9)
    assert scores["relative_l2_std"] == pytest.approx(0, abs=1e-9)
    assert problem.quick_metrics(More(problem), data)["relative_l2"] == pytest.approx(0.1, abs=1e-9)


def test_draws_follow_the_generator_and_new_functions_come_with_zero():
    for problem in (small(), small(n_functions=0), small(data=True, physics=False)):
        data, first = loaded(problem, seed=1)
        again, other = (
            problem.sample(data, SamplerState(), generator(1)),
            problem.sample(data, SamplerState(), generator(2)),
        )
        name = next(iter(first))
        assert all(torch.equal(getattr(first[name], k), getattr(again[name], k)) for k in ("points", "functions"))
        assert not torch.equal(first[name].points, other[name].points)
        assert not torch.equal(first[name].functions, other[name].functions)
    problem = small(n_functions=0)
    _, batch = loaded(problem)
    assert batch["balance"].functions.shape == (4, 9)
    assert float(problem.residuals(Exact(problem), batch)["balance"].abs().max()) < 1e-11


def test_more_functions_than_there_are_is_all_of_them():
    _, batch = loaded(small(batch=50))
    assert batch["balance"].copies == 12


def test_test_functions_are_of_their_own_and_the_truth_keeps_its_digits():
    data, _ = loaded(small(data=True), torch.float32)
    assert data["test"].truth.dtype == torch.float64
    assert data["train"].functions.dtype == torch.float32
    assert not torch.isin(data["test"].coefficients["f"], data["train"].coefficients["f"]).any()


def test_labels_are_relative_to_the_size_of_each_function():
    problem = small(data=True, physics=False)
    _, batch = loaded(problem)

    class Nothing(nn.Module):
        def across(self, functions, x):
            return x.new_zeros(len(x), len(functions))

    r = problem.residuals(Nothing(), batch)["data"].reshape(4, 7)
    rows = batch["data"]
    torch.testing.assert_close(r, -(rows.truth / rows.size).reshape(4, 7))
    full = small(data=True, physics=False, n_points=99)
    r = full.residuals(Nothing(), loaded(full)[1])["data"].reshape(4, 99)
    torch.testing.assert_close(r.square().mean(1), torch.ones(4, dtype=torch.float64))


def test_gauss_newton_sees_the_whole_jacobian():
    problem = small(data=True)
    data = problem.load("cpu", torch.float64)
    field = nf.DeepONet.for_problem(problem, sensors=9, width=3, depth=1, latent=2, dtype=torch.float64)
    objective = Objective(problem, field, data, generator())
    objective.check()
    theta = objective.theta()
    r, jacobian = objective.jacobian(theta)
    assert r.shape == (2 * 4 * 7,)
    torch.testing.assert_close(objective.stacked(theta), r)
    step = 1e-6
    for i in (0, 5, len(theta) - 1):
        ahead, behind = theta.clone(), theta.clone()
        ahead[i] += step
        behind[i] -= step
        slope = (objective.stacked(ahead) - objective.stacked(behind)) / (2 * step)
        torch.testing.assert_close(jacobian[:, i], slope.detach(), rtol=1e-5, atol=1e-7)
    solution = nf.solve(problem, field, nf.optim.GaussNewton, steps=5, report=None)
    assert not solution.failed and solution.history[-1]["loss"] < solution.history[0]["loss"]


def test_causal_weights_follow_the_times_of_the_points():
    problem = small(n_points=64)
    data = problem.load("cpu", torch.float64)
    field = nf.DeepONet.for_problem(problem, sensors=9, width=4, depth=1, latent=3, dtype=torch.float64)
    objective = Objective(problem, field, data, generator(), weighting=nf.weighting.Causal(epsilon=5.0))
    objective.reweigh(0)
    rows = objective.batch["balance"]
    scales = objective.weights.scale("balance", objective.residuals()["balance"])
    assert isinstance(scales, torch.Tensor) and scales.shape == (4 * 64, 1)
    by_function = scales.reshape(4, 64)[:, rows.points[:, 0].argsort()]
    assert torch.equal(by_function, by_function[:1].expand(4, -1))
    assert (by_function[0].diff() <= 0).all() and float(by_function[0, -1]) < 0.5 * float(by_function[0, 0])


def test_resuming_gives_the_same_numbers(tmp_path):
    for i, problem in enumerate((small(data=True), small(n_functions=0))):
        whole = nf.solve(problem, steps=12, report=None)
        path = tmp_path / str(i)
        stopped = nf.solve(problem, stages=(half(problem),), out=path, report=None)
        assert stopped.steps == 5
        resumed = nf.resume(path, steps=12, report=None)
        for a, b in zip(whole.field.parameters(), resumed.field.parameters(), strict=True):
            assert torch.equal(a, b)
        assert resumed.metrics["relative_l2"] == whole.metrics["relative_l2"]


def half(problem):
    return dataclasses.replace(problem.recipe().stages[0], steps=5)


def test_export_has_everything(tmp_path):
    problem = small()
    data, _ = loaded(problem)
    problem.export(Exact(problem), data, tmp_path)
    with np.load(tmp_path / "predictions.npz") as file:
        assert file["predicted"].shape == file["solved"].shape == (5, 9, 11, 1)
        assert np.abs(file["predicted"] - file["solved"]).max() < 1e-6
        assert file["f"].shape == (5, 9) and file["f_sensors"].shape == (9, 1)
        np.testing.assert_allclose(file["x"], np.linspace(0, 1, 11), atol=1e-7)
        assert file["t"].shape == (9,) and file["relative_l2"].shape == (5, 1)


REFUSED = [
    ({"physics": False}, "trains on physics, on data or on both, got neither"),
    ({"n_functions": 0, "data": True}, "data=True needs labelled functions, got n_functions = 0"),
    ({"n_tests": 1}, "n_tests must be at least 2, got 1"),
    ({"adaptive": "rad"}, "cannot adapt to the residual of one, got adaptive=rad"),
    ({"batch": 0}, "batch must be at least 1, got 0"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_bad_parameters_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_labels_that_are_not_numbers_are_refused():
    class Broken(Heated):
        def labels(self, f):
            values, error = super().labels(f)
            values[2, 3, 4] = math.nan
            return values, error

    with pytest.raises(InputError, match=r"those of 1 of 5 functions are NaN.*first 1 values of function 2"):
        Broken(n_functions=3, n_tests=5).load("cpu", torch.float64)

    class Flat(Heated):
        def labels(self, f):
            return super().labels(f)[0][:, 0], 0.0

    with pytest.raises(InputError, match=r"labels for 5 functions .*must have shape \(5, 9, 11, 1\), got \(5, 11\)"):
        Flat(n_functions=3, n_tests=5).load("cpu", torch.float64)


def test_a_field_that_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"needs a field that takes functions, which MLP does not. Use DeepONet"):
        nf.solve(small(), nf.MLP, steps=1, report=None)
    with pytest.raises(InputError, match=r"Sensor values must have shape \(n, 20\).*got \(4, 9\)"):
        nf.solve(small(), nf.DeepONet(small().domain, "s", 20), steps=1, report=None)
    with pytest.raises(InputError, match="windows of time need .*got Heated"):
        nf.solve(small(), windows=2, report=None)


def test_snapshots_are_the_training_labels():
    problem = small(data=True)
    axes, values = problem.snapshots()
    data, _ = loaded(problem)
    assert torch.equal(torch.cartesian_prod(*axes), data["grid"].points)
    assert torch.equal(values.reshape(12, 99, 1), data["train"].truth)
    with pytest.raises(InputError, match=r"this field is made of training labels.*Give --data"):
        small().snapshots()


def test_functions_and_labels_may_be_stored():
    drawn = small(data=True)
    kept = {part: drawn.load("cpu", torch.float64)[part] for part in ("train", "test", "ood")}

    class Stored(Heated):
        def stored(self, part):
            return {"f": kept[part].values}, kept[part].truth.reshape(-1, 9, 11), 1e-14

        def shifted(self):
            return None

    problem = Stored(**SMALL | {"n_functions": 3}, physics=False, data=True)
    data, batch = loaded(problem)
    assert not data["train"].coefficients and len(data["train"].truth) == 12
    assert float(problem.residuals(Exact(problem), batch)["data"].abs().max()) < 1e-11
    assert problem.metrics(Exact(problem), data)["relative_l2_max"] < 1e-13


def test_an_operator_needs_spaces():
    class Without(OperatorPDE):
        domain = nf.Box(x=(0, 1))

    with pytest.raises(InputError, match=r"`Without` has no spaces\(\).*Define it in the class"):
        Without()
    assert Sines().sample(2, generator()).shape == (2, 4)


def test_an_operator_without_a_recipe_of_its_own_has_one():
    @dataclasses.dataclass
    class Bare(Heated):
        recipe = OperatorPDE.recipe

    solution = nf.solve(Bare(n_tests=2, n_functions=8, batch=4, n_points=8), steps=2, report=None)
    assert isinstance(solution.field, nf.DeepONet) and solution.steps == 2
    assert solution.field.sensors == (100,)


def test_spaces_are_named_as_the_inputs():
    class Other(Heated):
        def spaces(self):
            return {"g": Sines()}

    with pytest.raises(InputError, match=r"one space for each of f, got g"):
        Other(**SMALL).load("cpu", torch.float32)


@pytest.mark.parametrize("physics", [True, False])
def test_without_physics_no_equation_is_missed(physics):
    @dataclass
    class Open(OperatorPDE):
        domain, unknowns = nf.Box(x=(0, 1)), "s v"

        @nf.interior
        def balance(self, s_x, f):
            return s_x - f

        def spaces(self):
            return {"f": GaussianField(0.2)}

    said = Open(physics=physics, data=True).cautions()
    assert any("unknown 'v' does not occur in any residual" in text for text in said) is physics
    assert bool(said) is physics
