"""Made objects: what they are, that they are projected as the image says, and the table that goes on."""

from functools import partial

import pytest
import torch

import nfsolve
from scripts import ct_made
from scripts.ct_made import CASES, Made, made, main, table


@pytest.mark.parametrize("kind", ["pieces", "boxes", "smooth", "texture"])
def test_an_object_is_its_seed_and_not_negative(kind):
    image = made(kind, 48, 3)
    assert image.min() == 0 and image.max() > 0.2 and torch.equal(image, made(kind, 48, 3))
    assert not torch.equal(image, made(kind, 48, 4)) and float(image[0].abs().max()) == 0


@pytest.mark.parametrize("fan", [False, True])
def test_the_truth_explains_the_scan(fan):
    problem = Made(size=24, views=10, counts=0.0, fan=fan, arc=360.0 if fan else 180.0)
    data = problem.load("cpu", torch.float64)
    assert problem.scores(data["reference"], data)["residual"] < 0.05
    assert float(problem.scan.sinogram.max()) == pytest.approx(3.0)


def test_the_command_goes_on_and_says_the_gain(tmp_path, monkeypatch):
    monkeypatch.setattr(ct_made, "PATH", tmp_path / "ct_made.json")
    names, asked = list(CASES)[:2], []
    row = {"field": 31.0, "weight": 2e-4, "tv": 30.0, "tv_weight": 4e-4, "field_seconds": 1.0, "tv_seconds": 2.0}
    monkeypatch.setattr(ct_made, "measured", lambda name: asked.append(name) or {"case": name, **row})
    for words in (names[:1], names):
        monkeypatch.setattr("sys.argv", ["ct_made", "--only", *words])
        main()
    assert asked == names
    assert "Mean gain +1.00 dB, ahead on 2 of 2." in table()
    assert "ahead on 2 of 2" in (tmp_path / "ct_made.md").read_text()


def test_a_case_is_measured(monkeypatch):
    monkeypatch.setitem(CASES, "tiny", {"size": 16, "views": 8})
    monkeypatch.setattr(ct_made, "WEIGHTS", (1e-4, 1e-3))
    monkeypatch.setattr(ct_made, "ITERATIONS", 5)
    monkeypatch.setattr(ct_made.nfsolve, "solve", partial(nfsolve.solve, steps=2))
    row = ct_made.measured("tiny")
    assert row["tv"] == max(row["tried"].values()) and len(row["tried"]) == 2
    assert row["field"] > 0 and row["weight"] > 0 and row["field_seconds"] > 0
