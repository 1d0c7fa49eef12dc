"""operator_of: a parameter, a coefficient and an initial condition as the input of an operator."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.functions import GaussianField, Numbers, PeriodicField
from nfsolve.plot.solution import picture
from nfsolve.problem import Objective, Rows, SamplerState
from problems.pde.burgers import Burgers
from problems.pde.convection import Convection
from problems.pde.reaction import Reaction
from problems.pde.wave import Wave

SMALL = {"n_functions": 12, "n_tests": 4, "batch": 3, "n_points": 7, "sensors": 9, "n_face": 6}
TURN = 2 * math.pi


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loaded(problem):
    data = problem.load("cpu", torch.float64)
    return data, problem.sample(data, SamplerState(), generator())


def test_residuals_are_those_of_the_pde_with_each_value():
    problem = nf.operator_of(Burgers(), varies="nu", over=(0.02, 0.1), **SMALL)
    data, batch = loaded(problem)
    assert set(batch) == {"momentum", "initial", "walls"}
    field = nf.DeepONet.for_problem(problem, sensors=1, width=6, depth=2, latent=5, dtype=torch.float64)
    together = problem.residuals(field, batch)
    functions = batch["momentum"].functions
    assert functions.shape == (3, 1) and float(functions.abs().max()) <= 1
    for b in range(3):
        nu = float(0.02 + 0.04 * (functions[b, 0] + 1))
        alone = {name: Rows(rows.points, rows.normals) for name, rows in batch.items()}

        def one(x, b=b):
            return field(x, functions[b : b + 1])

        for name, r in Burgers(nu=nu).residuals(one, alone).items():
            torch.testing.assert_close(together[name].reshape(3, -1)[b], r[:, 0], rtol=1e-9, atol=1e-11)
    assert data["test"].truth is not None


class Advected(nn.Module):
    """sin(x - beta t) for numbers beta that are read on [-1, 1]."""

    def across(self, functions, x):
        beta = 2 + 1.5 * (functions[:, 0] + 1)
        return torch.sin(x[..., 1:] - x[..., :1] * beta)


def test_labels_of_a_number_come_from_the_exact_solution():
    problem = nf.operator_of(Convection(beta=3.0), varies="beta", over=(2.0, 5.0), **SMALL)
    data, batch = loaded(problem)
    assert all(float(r.abs().max()) < 1e-12 for r in problem.residuals(Advected(), batch).values())
    scores = problem.metrics(Advected(), data)
    assert scores["relative_l2_max"] < 1e-13 and scores["relative_l2_own"] < 1e-13
    assert problem.weights()["initial"] == 100.0


class Carried(nn.Module):
    """f(x - beta t) for periodic functions f given at 40 points: trigonometric interpolation."""

    def across(self, functions, x):
        k = torch.arange(1, 20, dtype=torch.float64)
        spectrum = torch.fft.rfft(functions) / functions.shape[1]
        phase = (x[..., 1:] - 3 * x[..., :1]) * k
        waves = torch.cat([torch.cos(phase), torch.sin(phase)], -1)
        parts = torch.cat([2 * spectrum.real[:, 1:20], -2 * spectrum.imag[:, 1:20]], 1)
        return torch.nn.functional.linear(waves, parts) + spectrum.real[:, 0]


def carried(f):
    """Solve u_t + 3 u_x = 0 on the evaluation grid of Convection."""
    t, x = np.linspace(0, 1, 101), np.linspace(0, TURN, 201)
    return np.stack([f(x - 3 * at) for at in t], 1), 1e-15


def test_an_initial_condition_varies():
    space = PeriodicField(sigma=2e3, bounds=(0.0, TURN), modes=10)
    options = SMALL | {"sensors": 40, "data": True}
    problem = nf.operator_of(Convection(beta=3.0), varies="initial", over=space, solver=carried, **options)
    data, batch = loaded(problem)
    assert problem.inputs == {"initial": "x"}
    residuals = problem.residuals(Carried(), batch)
    assert set(residuals) == {"transport", "initial", "data"}
    assert all(float(r.abs().max()) < 1e-10 for r in residuals.values())
    scores = problem.metrics(Carried(), data)
    assert scores["relative_l2_max"] < 1e-12
    assert scores["relative_l2_own"] < 1e-12, "sin x is what Convection starts from"


def test_without_labels_the_score_is_that_of_the_pde_itself():
    problem = nf.operator_of(Reaction(), varies="initial", over=GaussianField(1.0, bounds=(0.0, TURN)), **SMALL)
    data, _ = loaded(problem)

    class Grown(nn.Module):
        def across(self, functions, x):
            # the bump of Reaction at the middle sensor is 1
            assert functions.shape == (1, 9) and float(functions[0, 4]) == pytest.approx(1)
            return Reaction().exact(x[:, :1], x[:, 1:])

    assert problem.quick_metrics(Grown(), data) == {"relative_l2": 0.0}
    assert problem.metrics(Grown(), data)["reference_floor_own"] == 1e-15


@dataclass
class Layered(nf.PDE):
    """-k u'' = 1 with a number k."""

    k: float = 1.0

    domain = nf.Box(x=(0, 1))

    @nf.interior
    def balance(self, u_xx):
        return -self.k * u_xx - 1

    def ansatz(self, u, x):
        return x * (1 - x) * u


def test_a_number_becomes_a_function_of_a_coordinate():
    problem = nf.operator_of(Layered(), varies="k", over=GaussianField(0.3), of="x", **SMALL)
    _, batch = loaded(problem)
    field = nf.DeepONet.for_problem(problem, sensors=9, width=6, depth=2, latent=5, dtype=torch.float64)
    r = problem.residuals(field, batch)["balance"].reshape(3, 7)
    rows = batch["balance"]
    for b in range(3):
        x = rows.points.clone().requires_grad_()
        u = field(x, rows.functions[b : b + 1])
        (u_x,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x.sum(), x)
        k = rows.inputs["k"].reshape(3, 7)[b]
        torch.testing.assert_close(r[b], (-k[:, None] * u_xx - 1)[:, 0].detach(), rtol=1e-9, atol=1e-10)
    assert len({round(float(k), 9) for k in rows.inputs["k"]}) == 21


def test_a_derivative_at_the_start_varies():
    problem = nf.operator_of(Wave(), varies="rest", over=GaussianField(0.3), **SMALL)
    _, batch = loaded(problem)
    field = nf.DeepONet.for_problem(problem, sensors=9, width=6, depth=2, latent=5, dtype=torch.float64)
    r = problem.residuals(field, batch)["rest"]
    plain = batch["rest"]

    def one(points):
        return field(points, plain.functions[:1])

    slope = Wave().residuals(one, {"rest": Rows(plain.points)})["rest"]
    torch.testing.assert_close(r[:6], slope - batch["rest"].inputs["rest"][:6], rtol=1e-9, atol=1e-10)


def test_it_trains_and_resumes_from_its_folder(tmp_path):
    problem = nf.operator_of(Convection(beta=3.0), varies="beta", over=Numbers(2.0, 4.0, log=True), **SMALL)
    stage = dataclasses.replace(problem.recipe().stages[0], steps=2, schedule="constant")
    nf.solve(problem, stages=(stage,), out=tmp_path / "run", report=None)
    resumed = nf.resume(tmp_path / "run", steps=4, report=None)
    whole = nf.solve(problem, stages=(dataclasses.replace(stage, steps=4),), report=None)
    for a, b in zip(whole.field.parameters(), resumed.field.parameters(), strict=True):
        assert torch.equal(a, b)
    operator = nf.load(tmp_path / "run")
    assert operator([2.5, 3.0], torch.rand(5, 2)).shape == (2, 5, 1)
    objective = Objective(problem, whole.field, whole.data, generator())
    objective.check()
    figure = picture(whole)
    assert figure is not None and sum("input beta = " in ax.get_title() for ax in figure.axes) == 3


def test_a_value_that_is_not_trained_is_not_scored():
    inside, outside = (nf.operator_of(Burgers(nu=nu), varies="nu", over=(0.02, 0.1), **SMALL) for nu in (0.02, 0.01))
    assert "own" in loaded(inside)[0] and "own" not in loaded(outside)[0]


@dataclass
class Hard(nf.PDE):
    k: float = 1.0

    domain = nf.Box(x=(0, 1))
    unknowns = "u v"

    @nf.interior
    def balance(self, u_x):
        return u_x

    @nf.face(x=0)
    def both(self, u, v):
        return u - v

    def ansatz(self, u):
        return self.k * u


def test_what_cannot_vary_is_named():
    with pytest.raises(
        InputError,
        match=r"unknown parameter or condition 'mu': choose one of initial, momentum, nu, walls. Burgers has these",
    ):
        nf.operator_of(Burgers(), varies="mu", over=(0.1, 1.0))
    with pytest.raises(InputError, match=r"'k' cannot vary, because the ansatz of Hard depends on it"):
        nf.operator_of(Hard(), varies="k", over=(0.1, 1.0))
    with pytest.raises(InputError, match=r"'both' is @face and names u, v"):
        nf.operator_of(Hard(), varies="both", over=GaussianField(0.2))
    with pytest.raises(InputError, match=r"'momentum' is @interior"):
        nf.operator_of(Burgers(), varies="momentum", over=GaussianField(0.2))
    with pytest.raises(InputError, match=r"bounds \(low, high\) or a space of functions, got over='gauss'"):
        nf.operator_of(Burgers(), varies="nu", over="gauss")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'initial' holds on a face, so what varies there are functions"):
        nf.operator_of(Burgers(), varies="initial", over=(0.0, 1.0))
    with pytest.raises(InputError, match=r"unknown coordinate 'y': choose one of t, x"):
        nf.operator_of(Burgers(), varies="nu", over=GaussianField(0.2, bounds=(-1, 1)), of="y")
    with pytest.raises(InputError, match=r"all of -1 <= x <= 1, but theirs is \[0, 1\].*bounds=\(-1, 1\)"):
        nf.operator_of(Burgers(), varies="initial", over=GaussianField(0.4))
    with pytest.raises(InputError, match=r"unknown option of operator_of 'wrong'"):
        nf.operator_of(Burgers(), varies="nu", over=(0.02, 0.1), wrong=3)
    with pytest.raises(InputError, match=r"OperatorOf has no solutions to train on"):
        nf.operator_of(Reaction(), "initial", GaussianField(1.0, bounds=(0.0, TURN)), data=True, **SMALL).load(
            "cpu", torch.float64
        )
