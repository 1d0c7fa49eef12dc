"""Solutions that are zero everywhere have no relative error: they are left out, counted, and said."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import Box, InputError, OperatorPDE, interior
from nfsolve.plot.solution import picture


@dataclass
class Two(OperatorPDE):
    """u = f; v is zero for some functions, or for all."""

    zeros: int = 3

    domain = Box(x=(0, 1))
    unknowns = "u v"
    evaluation = (21,)

    @interior
    def equal(self, u, f):
        return u - f

    def spaces(self):
        return {"f": nf.FourierSeries(2)}

    def labels(self, f):
        u = f(np.linspace(0, 1, 21))
        v = u.copy()
        v[: self.zeros] = 0
        return np.stack([u, v], -1), 1e-12


def solved(zeros):
    problem = Two(zeros=zeros, n_functions=8, n_tests=8, sensors=9, data=True, batch=8, n_points=21)
    return nf.solve(problem, steps=5, report=None)


@pytest.mark.parametrize("zeros", [0, 3, 8])
def test_scores_of_solutions_that_are_zero(zeros):
    solution = solved(zeros)
    scores = solution.metrics
    assert math.isfinite(scores["relative_l2"]) and math.isfinite(scores["relative_l2/u"])
    assert math.isfinite(scores["loss"]) and not solution.failed
    assert scores.get("zero_solutions/v", 0) == zeros
    assert math.isnan(scores["relative_l2/v"]) == (zeros == 8)
    assert ("max_error/v" in scores) == (zeros > 0)
    words = " ".join(solution.warnings)
    assert ("relative_l2/v leaves out 3 test functions" in words) == (zeros == 3)
    assert ("relative_l2/v is undefined, since its reference is zero; max_error/v is" in words) == (zeros == 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture(solution) is not None


@pytest.mark.parametrize(
    ("dtype", "words"), [(np.complex128, "complex numbers"), (np.str_, "text"), (object, "Python objects")]
)
def test_labels_are_real(dtype, words, monkeypatch):
    monkeypatch.setattr(Two, "labels", lambda self, f: (np.ones((8, 21, 2)).astype(dtype), 0.0))
    with pytest.raises(InputError, match=f"labels must hold real numbers, not {words}"):
        Two(n_functions=8, n_tests=8, data=True).load("cpu", torch.float64)
