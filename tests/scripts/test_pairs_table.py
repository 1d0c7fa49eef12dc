"""Pairs of the table of operators: what they satisfy, a row, the table, and rows that are there already."""

import sys
import time

import numpy as np
import pytest

from scripts import pairs_table
from scripts.measuring import read_rows
from scripts.pairs_table import CASES, X


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(pairs_table, "COUNT", 33)


@pytest.mark.parametrize("case", CASES)
def test_pairs_are_solutions(case):
    f, s = CASES[case]()
    assert f.shape == s.shape == (33, 101) and np.isfinite(s).all() and not np.allclose(f, s)
    if case == "antiderivative":
        np.testing.assert_allclose(np.gradient(s, X, axis=1)[:, 5:-5], f[:, 5:-5], atol=0.02)
    elif case == "heat":
        assert np.abs(s[:, [0, -1]]).max() < 1e-12 and (np.abs(s).max(1) < np.abs(f).max(1)).all()
    else:  # periodic, and the mean is kept
        np.testing.assert_allclose(s[:, 0], s[:, -1], atol=1e-9)
        np.testing.assert_allclose(s[:, :-1].mean(1), f[:, :-1].mean(1), atol=2e-3)
    if case == "advection":
        np.testing.assert_allclose(np.sort(s).max(1), np.sort(f).max(1), rtol=0.02)


def test_functions_at_places_of_their_own_are_the_same():
    (f, _), (own, at) = CASES["burgers_own"](), pairs_table.own_places()
    assert own.shape == at.shape[:2] == (33, 60)
    found = [np.interp(z, X, row) for z, row in zip(at[..., 0], f, strict=True)]
    np.testing.assert_allclose(own, found, atol=0.01 * np.abs(f).max())


def test_the_files_of_neuraloperator_become_a_case(tmp_path, monkeypatch):
    chance = np.random.default_rng(0)
    for part, n in (("train", 9), ("test", 3)):
        arrays = {"a": chance.random((n, 16, 16)) < 0.5, "u": chance.normal(size=(n, 1, 1)) * np.outer(X[:16], X[:16])}
        np.savez(tmp_path / f"op_darcy_neuralop_{part}_16.npz", **arrays)
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))
    (tmp_path / "made").mkdir()
    problem = pairs_table.made("darcy_16", tmp_path / "made")
    assert problem.layout()["grid"] == (16, 16)
    np.testing.assert_allclose(problem.domain.bounds, [(0, 15 / 16), (0, 15 / 16)])
    assert len(problem._known.held_out) == 3 and len(problem._known.training) == 9


def test_a_row_and_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", time.perf_counter)  # which the script replaces
    words = ["--only", "heat", "--fields", "default", "--seeds", "1", "--seconds", "0.5", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["pairs_table", *words])
    pairs_table.main()
    [row] = read_rows(tmp_path / "operator_pairs.json")
    assert row["field"] == "FNO" and 0 < row["relative_l2"] < 1
    text = (tmp_path / "operator_pairs.md").read_text()
    assert "| heat | FNO, the default |" in text
    monkeypatch.setattr(pairs_table, "measure", lambda *_: pytest.fail("measured again"))
    pairs_table.main()
