"""What a residual method may return."""

import numpy as np
import pytest
import torch

from nfsolve import face
from nfsolve._core.errors import InputError
from nfsolve.problem import Rows
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
