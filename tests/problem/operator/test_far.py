"""Operators and windows of time far from zero, such as seconds since 1970: points stay apart in float32."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, InputError, OperatorPDE, face, interior

FAR = 1.7e9


def integral(start, lifted=False):
    """u_t = f, u = 0 at the start."""

    @dataclass
    class Integral(OperatorPDE):
        domain = Box(t=(start, start + 1))
        inputs: ClassVar = {"f": "t"}
        evaluation = (41,)

        @interior
        def slope(self, u_t, f):
            return u_t - f

        @face(t=start)
        def begins(self, u):
            return u

        def spaces(self):
            return {"f": nf.ChebyshevSeries(3, bounds=(start, start + 1))}

        def labels(self, f):
            values = f(start + np.linspace(0, 1, 41))
            return np.concatenate([0 * values[:, :1], (values[:, 1:] + values[:, :-1]).cumsum(1) / 80], 1), 1e-3

    if lifted:
        Integral.ansatz = lambda self, u, t, f: (t - start) * (u + f)
    return Integral(n_functions=40, n_tests=5, sensors=8, data=True, batch=16, n_points=32, n_face=1)


@pytest.mark.parametrize("lifted", [False, True], ids=["plain", "ansatz that names the input"])
def test_a_far_operator_is_as_good_as_a_near_one(lifted):
    errors = {}
    for start in (0.0, FAR):
        solution = nf.solve(integral(start, lifted), steps=150, seed=0, dtype="float32", report=None)
        errors[start] = solution.metrics["relative_l2"]
        points = start + torch.tensor([[0.25], [0.26]], dtype=torch.float64)
        a, b = solution.trained(lambda t: 1 + 0 * t, points)[0, :, 0].tolist()
        assert a != b  # float32 would round both times to one
    assert solution.data["grid"].points.dtype == torch.float64
    assert errors[FAR] < 1.5 * errors[0.0] + 0.01


def test_windows_of_a_far_time():
    @dataclass
    class Decay(PDE):
        domain = Box(t=(FAR, FAR + 2))

        @interior
        def decay(self, u, u_t):
            return u_t + u

        @face(t=FAR)
        def start(self, u):
            return u - 1

        def exact(self, t):
            return torch.exp(FAR - t)

    solution = nf.solve(Decay(n_points=64, n_face=1), windows=2, steps=30, dtype="float32", report=None)
    assert solution.metrics["relative_l2"] < 1e-3  # 0.3 where times are rounded


def test_points_alone_are_not_enough():
    solution = nf.solve(integral(0.0), steps=1, report=None)
    with pytest.raises(InputError, match=r"predict takes points alone.*solution.trained\(functions, points\)"):
        solution.predict(torch.rand(3, 1))
