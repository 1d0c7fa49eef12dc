"""The objective: what an optimizer sees of a problem and a field."""

from dataclasses import dataclass

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
