"""What a residual method may return."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import face
from nfsolve._core.errors import InputError
from nfsolve.problem import Rows, SamplerState
from nfsolve.problem.pde.evaluate import call


@pytest.mark.parametrize(
    ("returned", "came"),
    [(None, "None"), ([1], "a list"), ((1, 2), "a tuple"), (0.0, "a float"), (np.ones((3, 1)), "a ndarray")],
)
def test_a_residual_that_is_no_tensor_is_refused_with_its_place(returned, came):
    def balance(self, u):
        return returned

    method = balance.__get__(object())
    with pytest.raises(InputError, match=rf"`balance` must return a tensor.*{came} \(.*test_evaluate.py, line"):
        call(method, lambda points: points, Rows(torch.zeros(3, 1)), ("u",), ("x",))


def test_bare_face_is_refused_in_words():
    with pytest.raises(InputError, match="needs a coordinate and its end"):

        @face
        def start(self, u):
            return u


@dataclass
class Decay(nf.PDE):
    domain = nf.Box(x=(0, 1))
    unknowns = "u"
    rate: float = nf.Unknown(0.5)

    @nf.interior
    def decays(self, u, u_x):
        return u_x + self.rate * u

    @face(x=0)
    def start(self, u):
        return u - 1


def test_residuals_without_a_number_for_an_unknown_scalar_are_refused():
    problem = Decay()
    batch = problem.sample(problem.load("cpu", torch.float64), SamplerState(), torch.Generator())
    with pytest.raises(InputError, match=r"an Unknown for rate. Write problem.with_\(rate=0.5\)"):
        problem.residuals(lambda x: x, batch)
    assert problem.with_(rate=1.0).residuals(torch.cos, batch)["decays"].shape == (problem.n_points, 1)
