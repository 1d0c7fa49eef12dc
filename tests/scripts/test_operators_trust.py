from functools import partial

from problems.operators.antiderivative import Antiderivative
from scripts import operators_trust


def test_rows_are_measured_and_laid_out(monkeypatch):
    make = partial(Antiderivative, n_functions=20, n_tests=20, batch=4, n_points=8, sensors=10)
    monkeypatch.setattr(operators_trust, "TRUSTED", {"one": (make, 3)})
    monkeypatch.setattr(operators_trust, "REFINED", {"one": (make, 3, 1e-2, 30), "none": (make, 3, 1e-30, 10)})
    monkeypatch.setattr(operators_trust, "FUNCTIONS", 1)
    monkeypatch.setattr(operators_trust, "LIMIT", 0.5)
    stamp = {"machine": "m", "version": "v", "date": "d"}
    rows = [{"kind": "trust", "case": "one", **operators_trust.trusted("one"), **stamp}]
    assert {"coverage", "coverage_ood", "correlation"} <= set(rows[0]) and rows[0]["tested"] == 10
    rows += [{"kind": "refine", "case": c, **operators_trust.refined(c), **stamp} for c in ("one", "none")]
    assert rows[2]["warm"] == rows[2]["cold"] == [None] and len(rows[1]["start"]) == 1
    text = operators_trust.table(rows)
    assert "| none |" in text and "not reached | not reached |" in text and "m; v; d." in text
