"""Residuals of more points than fit into the cache are evaluated in pieces."""

import nfsolve as nf
from nfsolve.problem import objective
from problems.signals.audio import AudioFit


def test_a_problem_whose_only_residual_is_long_is_evaluated_in_pieces(monkeypatch):
    problem = AudioFit(seconds=0.01, batch=0)

    def score():
        return nf.solve(problem, nf.preset("siren", width=8, depth=2), steps=2, seed=0, report=None).metrics[
            "rms/sound"
        ]

    whole = score()
    monkeypatch.setattr(objective, "rows_at_once", lambda system, most: 50)
    assert abs(score() - whole) < 1e-6 * whole
