"""One member of a family: its PDE, residuals of an operator's answer, refinements that start from it, roll-outs."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import Box, InputError, OperatorPDE, face, interior, periodic
from nfsolve.fields import FNO, MLP, PODDeepONet
from nfsolve.problem.operator.single import Answer, residuals_of, single
from problems.operators.antiderivative import Antiderivative
from problems.operators.pairs import PairsOperator


@dataclass
class Heat(OperatorPDE):
    """s_t = k s_xx from the initial value f, and from a number k."""

    domain = Box(t=(0, 1), x=periodic(0, 1))
    unknowns = "s"
    inputs = {"f": "x", "k": ""}
    evaluation = (11, 17)

    def spaces(self):
        return {"f": nf.FourierSeries(2), "k": nf.functions.Numbers(0.01, 0.02)}

    @interior
    def balance(self, s_t, s_xx, k):
        return s_t - k * s_xx

    @face(t=0)
    def initial(self, s, f):
        return s - f


def wave(x):
    return torch.sin(2 * math.pi * x)


def test_the_pde_of_one_function_has_its_solution():
    problem = Antiderivative(n_functions=4, n_tests=2)
    one = single(problem.trained(nf.DeepONet.for_problem(problem)), wave, n_points=50)
    rows = one.sample(one.load("cpu", torch.float64), nf.problem.SamplerState(), torch.Generator().manual_seed(0))
    exact = one.residuals(lambda x: (1 - torch.cos(2 * math.pi * x)) / (2 * math.pi), rows)
    assert float(exact["slope"].abs().max()) < 1e-12
    reference = one.load("cpu", torch.float64)["reference"]
    expected = (1 - torch.cos(2 * math.pi * reference.points)) / (2 * math.pi)
    assert torch.allclose(reference.values, expected, atol=1e-10)


def test_numbers_and_functions_enter_the_equations_in_their_places():
    problem = Heat(n_functions=4, n_tests=2, sensors=12)
    one = single(problem.trained(nf.DeepONet.for_problem(problem)), {"f": wave, "k": 0.015})
    rows = one.sample(one.load("cpu", torch.float64), nf.problem.SamplerState(), torch.Generator().manual_seed(0))
    decay = 0.015 * (2 * math.pi) ** 2
    found = one.residuals(lambda t, x: torch.exp(-decay * t) * wave(x), rows)
    assert all(float(r.abs().max()) < 1e-12 for r in found.values())


@pytest.mark.parametrize("field", [nf.DeepONet, FNO], ids=["deeponet", "fno"])
def test_the_answer_is_that_of_the_operator(field):
    problem = Heat(n_functions=4, n_tests=2, sensors=12)
    options = {"depth": 1, "width": 6} | ({"grid": (9, 8)} if field is FNO else {})
    operator = problem.trained(field.for_problem(problem, **options))
    one = single(operator, {"f": wave, "k": 0.015})
    x = problem.domain.grid(4, 5)
    asked = operator({"f": [wave], "k": [0.015]}, x)[0]
    assert torch.allclose(Answer(operator, one)(x).float(), asked, atol=1e-5)
    doubt = residuals_of(operator, {"f": wave, "k": 0.015}, n_points=50)
    assert set(doubt) == {"balance", "initial"} and all(math.isfinite(r) for r in doubt.values())


def test_a_fourier_neural_operator_trains_on_equations():
    problem = Heat(n_functions=16, n_tests=2, sensors=12, batch=8, n_points=32, n_face=16)
    small = partial(FNO, width=8, depth=2, grid=(8, 12), modes=4)
    losses = [nf.solve(problem, small, "adam", steps=n, seed=0, report=None).metrics["loss"] for n in (0, 60)]
    assert losses[1] < 0.5 * losses[0]


def test_a_refinement_starts_from_the_answer_and_ends_far_below_it():
    problem = Antiderivative(n_functions=200, n_tests=4)
    solution = nf.solve(problem, steps=60, seed=0, report=None)
    operator = problem.trained(solution.field)
    start = nf.refine(operator, wave, steps=0, n_points=100)
    with torch.no_grad():
        answer = operator(wave, start.data["reference"].points)[0].double()
    expected = (answer - start.data["reference"].values).norm() / start.data["reference"].values.norm()
    assert start.metrics["relative_l2"] == pytest.approx(float(expected), rel=1e-3, abs=1e-7)
    refined = nf.refine(operator, wave, partial(MLP, width=40, depth=1, activation="sine"), steps=30, n_points=100)
    assert refined.metrics["relative_l2"] < 1e-2 * start.metrics["relative_l2"] + 1e-9


def test_what_cannot_be_refined_is_said(tmp_path):
    problem = Heat(n_functions=4, n_tests=2, sensors=12)
    operator = problem.trained(nf.DeepONet.for_problem(problem))
    with pytest.raises(InputError, match="the input function 'k' is missing"):
        single(operator, wave)
    with pytest.raises(InputError, match="must be a callable of its coordinates.*got Tensor"):
        single(operator, {"f": torch.ones(12), "k": 0.01})
    with pytest.raises(
        InputError, match="a roll-out needs an operator that takes 1 functions to the same functions at a later time"
    ):
        operator.roll_out(torch.ones(12), 3)
    x = np.linspace(0, 1, 9)
    f = np.random.default_rng(0).normal(size=(20, 9))
    np.savez(tmp_path / "a.npz", f=f, x=x, s=f)
    pairs = PairsOperator(str(tmp_path / "a.npz"))
    with pytest.raises(InputError, match="PairsOperator has no residuals"):
        single(pairs.trained(nf.DeepONet.for_problem(pairs)), wave)


def test_roll_outs_apply_an_operator_again_and_again(tmp_path):
    """Decaying waves: each step multiplies by 0.9, which the affine start of the field has exactly."""
    h5py = pytest.importorskip("h5py")
    chance, x = np.random.default_rng(0), np.linspace(0, 1, 17)
    first = chance.normal(size=(30, 4)) @ np.cos(np.pi * np.arange(4)[:, None] * x)
    series = first[:, None] * 0.9 ** np.arange(6)[:, None]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tensor"], file["x-coordinate"], file["t-coordinate"] = series, x, np.arange(7.0)
    problem = PairsOperator(str(tmp_path / "a.h5"), times="next")
    solution = nf.solve(problem, partial(FNO, width=6, depth=1), steps=5, report=None)
    found = problem.trained(solution.field).roll_out(first[:2], 5)
    assert found.shape == (2, 6, 17, 1)
    errors = np.abs(found[..., 0].numpy() - series[:2]).max((0, 2))
    assert errors[0] == 0 and errors.max() < 1e-3
    assert solution.data["test"].truth is not None and len(solution.data["test"]) == 15  # three whole series


def test_modes_of_labels_are_an_answer_too():
    problem = Antiderivative(n_functions=12, n_tests=2, data=True)
    operator = problem.trained(PODDeepONet.for_problem(problem, latent=3, width=4, depth=1))
    assert torch.allclose(
        Answer(operator, single(operator, wave))(torch.rand(5, 1).double()).float().isfinite(), torch.tensor(True)
    )
