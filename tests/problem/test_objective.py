"""The objective: what an optimizer sees of a problem and a field."""

from dataclasses import dataclass

import torch

import nfsolve as nf


def test_candidates_of_adaptive_points_are_evaluated_in_pieces(monkeypatch):
    lengths = []

    @dataclass
    class Heat(nf.PDE):
        domain = nf.Box(t=(0, 1), x=(0, 1))
        unknowns = "u"
        adaptive: str = "rad"
        n_points: int = 300

        @nf.interior
        def heat(self, u_t, u_xx):
            lengths.append(len(u_t))
            return u_t - u_xx

    nf.solve(Heat(), nf.MLP, nf.optim.Adam, steps=2, resample=1, report=None)
    at_once = max(lengths)
    monkeypatch.setattr("nfsolve.problem.objective.rows_at_once", lambda *_: 100)
    lengths.clear()
    nf.solve(Heat(), nf.MLP, nf.optim.Adam, steps=2, resample=1, report=None)
    assert at_once == 8 * 300 and max(lengths) == 300


def test_a_system_may_have_as_many_unknowns_as_a_start_has_points():
    @dataclass
    class Cascade(nf.PDE):
        domain = nf.Box(t=(0, 1))
        unknowns = "a b c d e"

        @nf.interior
        def flows(self, a, b, c, d, e, a_t, b_t, c_t, d_t, e_t):
            return torch.cat([a_t + a, b_t + b - a, c_t + c - b, d_t + d - c, e_t - d], 1)

        @nf.face(t=0, points=5)
        def start(self, a, b, c, d, e):
            return torch.cat([a - 1, b, c, d, e], 1)

    solution = nf.solve(Cascade(), nf.MLP, nf.optim.Adam, steps=1, report=None)
    assert solution.metrics["rms/start"] > 0
