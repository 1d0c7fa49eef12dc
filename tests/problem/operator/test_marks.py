from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nfsolve import integral, interior, measured
from nfsolve._core.errors import InputError
from problems.operators.antiderivative import Antiderivative


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        (integral(equals=0), "an operator has no integrals over its points yet, but 'more' is @integral"),
        (interior(points=np.array([[0.5]])), r"cannot train on given points, but 'more' is @interior\(points=...\)"),
        (measured({"x": [0.5], "s": [1.0]}), "cannot train on given points, but 'more' is @measured"),
    ],
    ids=["integral", "points", "measured"],
)
def test_marks_that_an_operator_does_not_hear_are_refused(mark, said):
    @dataclass
    class More(Antiderivative):
        more = mark(lambda self, s: s)

    with pytest.raises(InputError, match=said):
        More().load("cpu", torch.float64)
