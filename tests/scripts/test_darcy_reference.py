"""The Darcy operator's data set: continued after an interruption, read back, and what the stored file says."""

import numpy as np
import pytest
import torch

from nfsolve._core.random import generator
from nfsolve.functions import check_leakage
from problems.operators._solvers import read_darcy, relative_gap
from scripts.make_references import OPERATORS, home, write
from scripts.references import darcy


def test_an_interrupted_run_is_continued(tmp_path, monkeypatch):
    calls, solutions = [], darcy.solutions

    def counted(coefficients, *options):
        calls.append(len(coefficients))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return solutions(coefficients, *options)

    monkeypatch.setattr(darcy, "solutions", counted)
    monkeypatch.setattr(darcy, "CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        darcy.darcy_operator(tmp_path, 3, 2, 1, 2)
    path, error = darcy.darcy_operator(tmp_path, 3, 2, 1, 2)
    assert calls == [2, 2, 2, 1, 4], "the first chunk is not made twice; the last call estimates the error"
    assert [file.name for file in tmp_path.iterdir()] == ["darcy_operator.npz"]
    data = read_darcy(path)
    assert {name: len(array) for name, array in data.items() if name != "error"} == {
        "a": 3,
        "u": 3,
        "test_a": 2,
        "test_u": 2,
    }
    assert 1e-3 < error < 2e-2
    assert float(data["error"]) == pytest.approx(error, rel=0.1)
    a, u = solutions(darcy.SPACE.sample(2, generator(0, "test")), 1, 2)
    np.testing.assert_array_equal(data["test_a"], a)
    assert relative_gap(data["test_u"], u) < 1e-4


def test_the_stored_functions_are_those_of_the_seed_and_state_their_error():
    path = home("darcy_operator") / "darcy_operator.npz"
    assert path.stat().st_size < 2_000_000
    data = read_darcy(path)
    assert data["a"].shape == data["u"].shape == (darcy.TRAIN, 29, 29)
    assert data["test_a"].shape == data["test_u"].shape == (darcy.TEST, 29, 29)
    assert 1e-5 < float(data["error"]) < 1e-3
    a, u = darcy.solutions(darcy.SPACE.sample(darcy.TEST, generator(0, "test"))[:2], 4, 4)
    np.testing.assert_array_equal(data["test_a"][:2], a)
    assert relative_gap(u, data["test_u"][:2]) < 2e-3
    assert not data["u"][:, 0].any() and not data["u"][:, :, -1].any()
    check_leakage(*(torch.from_numpy(data[name]).flatten(1) for name in ("a", "test_a")))


def test_the_script_knows_the_operator(tmp_path, monkeypatch):
    monkeypatch.setitem(OPERATORS, "darcy_operator", lambda folder: (folder / "file", 0.5))
    assert write("darcy_operator", tmp_path) == (tmp_path / "file", 0.5)
