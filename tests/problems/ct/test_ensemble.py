"""Ensembles: mean and spread of the seeds, what they say of the error, runs repeated and resumed, bad input."""

import json
import math
from functools import partial

import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve.metrics import psnr
from problems.ct import ensemble as tomography_ensemble
from problems.ct.cone import CTCone
from problems.ct.ensemble import Ensemble, ensemble, ensemble_of_run, main, warn_of_short_arcs, with_intervals
from problems.ct.limited import CTLimited
from problems.ct.phantom import CTPhantom
from problems.pde.poisson import Poisson

SMALL = {"views": 8, "size": 32, "classical": ()}
OPTIONS = {"field": partial(MLP, width=8, depth=1), "steps": 2, "report": None}


def image_of(problem, seed):
    data = problem.load("cpu", torch.float32)
    with torch.no_grad():
        return problem.image(nfsolve.solve(problem, seed=seed, **OPTIONS).field, data)


@pytest.fixture
def run(tmp_path):
    """A folder of a run with options of its own."""
    nfsolve.solve(CTPhantom(**SMALL | {"classical": ("fbp",)}), seed=5, **OPTIONS, out=tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("problem", [CTPhantom(**SMALL), CTCone(views=4, size=12, classical=())], ids=["plane", "cone"])
def test_an_ensemble_gives_the_mean_and_what_differs_between_seeds(problem):
    found = ensemble(problem, (0, 1), **OPTIONS)
    one, two = (image_of(problem, seed) for seed in (0, 1))
    assert found.spread.max() > 0
    assert torch.allclose(found.mean, (one + two) / 2)
    assert torch.allclose(found.spread, (one - two).abs() / math.sqrt(2), atol=1e-6)
    assert found.reference.shape == found.mean.shape == one.shape


def test_intervals_hold_the_truth_where_it_errs_as_its_twin_does():
    chance = torch.Generator().manual_seed(1)
    truth = (torch.linspace(-1, 1, 60)[:, None].square() + torch.linspace(-1, 1, 50) ** 2 < 0.5).float()
    size = 0.01 + 0.2 * torch.stack(torch.gradient(truth)).norm(dim=0)
    one, two = (size * torch.randn(60, 50, generator=chance) for _ in range(2))
    found = with_intervals(Ensemble(truth + one, 0.2 * size, truth), truth + one + two)
    scores = found.metrics()
    assert 0.93 < scores["ensemble_coverage"] < 0.97  # of the error itself, which was not calibrated on
    edges = size > 0.05
    assert 0.9 < float((one.abs() <= found.half_width)[edges].double().mean()) < 0.99
    assert float(found.half_width[edges].mean()) > 4 * float(found.half_width[~edges].mean())


@pytest.mark.parametrize(
    "problem",
    [
        CTPhantom(**SMALL),
        CTPhantom(counts=1e4, loss="poisson", **SMALL),
        CTCone(views=4, size=12, counts=1e4, classical=()),
    ],
    ids=["plane", "counts", "cone"],
)
def test_a_twin_is_scanned_as_its_object_was(problem):
    image = problem.scan.reference if hasattr(problem, "scan") else problem.body.truth().numpy()
    twins = [problem.twin(torch.as_tensor(2 * image), seed).measured for seed in (1, 2)]
    assert all(twin.sinogram.shape == problem.measured.sinogram.shape for twin in twins)
    assert float((twins[0].sinogram - twins[1].sinogram).abs().max()) > 0  # of its noise
    ratio = float(twins[0].sinogram.sum() / problem.measured.sinogram.sum())
    assert ratio == pytest.approx(2, rel=0.05)
    assert (twins[0].counts is None) == (problem.measured.counts is None)


def test_intervals_of_a_short_arc_are_not_to_be_trusted():
    with pytest.warns(UserWarning, match="views are those of a short arc"):
        warn_of_short_arcs(CTLimited(size=16, step=10.0))
    warn_of_short_arcs(CTPhantom(**SMALL))


def test_one_seed_twice_has_no_spread():
    same = ensemble(CTPhantom(**SMALL), (3, 3), **OPTIONS, dtype="float64")
    assert same.mean.dtype == torch.float32 and float(same.spread.abs().max()) == 0
    with pytest.raises(ValueError, match=r"at least two seeds, got \[4\]"):
        ensemble(CTPhantom(**SMALL), (4,), **OPTIONS)


def test_the_spread_is_compared_with_the_error():
    mean = torch.full((20, 30), 2.0)
    error = torch.rand(20, 30, generator=torch.Generator().manual_seed(0))
    told, contrary = (Ensemble(mean, s, mean + error).metrics() for s in (3 * error + 0.5, 4 - error))
    assert told["ensemble_correlation"] == pytest.approx(1) and contrary["ensemble_correlation"] == pytest.approx(-1)
    assert told["ensemble_error"] == pytest.approx(float(error.square().mean().sqrt()) / 2)
    assert told["ensemble_spread"] == pytest.approx(float((3 * error + 0.5).square().mean().sqrt()) / 2)
    assert told["psnr_ensemble"] == psnr(mean, mean + error, float((mean + error).max()))
    assert set(Ensemble(mean, error).metrics()) == {"ensemble_spread"}


@pytest.mark.parametrize("shape", [(12, 16), (4, 12, 16)], ids=["image", "volume"])
def test_the_picture_has_a_panel_of_the_spread(shape):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    titles = [axes.get_title() for axes in Ensemble(values, values).picture().axes]
    assert titles[:2] == ["mean of the ensemble", "standard deviation"]
    panels = Ensemble(values, values, values + 1).picture().axes
    assert panels[2].get_title() == "absolute error of the mean"
    assert panels[1].images[0].get_array().shape == (12, 16)


def test_a_run_is_repeated_with_all_that_was_said(run, capsys):
    assert main([str(run), "--members", "3"]) == 0
    said = capsys.readouterr().out
    assert "ensemble_spread" in said and "ensemble_correlation" in said
    members = [nfsolve.load(folder) for folder in (run, run / "seed_6", run / "seed_7")]
    config = json.loads((run / "seed_7" / "config.json").read_text())
    assert config["run"]["seed"] == 7 and config["problem"]["parameters"]["views"] == 8
    assert all(
        sum(p.numel() for p in m.parameters()) == sum(p.numel() for p in members[0].parameters()) for m in members
    )
    problem = CTPhantom(**SMALL)
    data = problem.load("cpu", torch.float32)
    with torch.no_grad():
        images = torch.stack([problem.image(member, data) for member in members])
    arrays = np.load(run / "ensemble.npz")
    assert set(arrays) == {"mean", "spread", "half_width"}
    assert np.allclose(arrays["mean"], images.mean(0), atol=1e-6)
    assert np.allclose(arrays["spread"], images.std(0), atol=1e-6) and arrays["spread"].max() > 0
    scores = json.loads((run / "ensemble.json").read_text())
    assert scores["members"] == 3 and scores["ensemble_spread"] > 0 and (run / "ensemble.png").stat().st_size > 0
    alone = ensemble(problem, (5, 6, 7), **OPTIONS)  # the same by hand
    assert np.allclose(arrays["mean"], alone.mean, atol=1e-6)


def test_members_that_are_there_are_not_trained_again_and_others_are_resumed(run, monkeypatch):
    first = ensemble_of_run(run, 2)
    before = (run / "seed_6" / "checkpoint.pt").stat().st_mtime_ns
    (run / "seed_7").mkdir()  # a member that was killed before its first checkpoint
    (run / "seed_7" / "config.json").write_text((run / "seed_6" / "config.json").read_text())
    more = ensemble_of_run(run, 3)
    assert (run / "seed_6" / "checkpoint.pt").stat().st_mtime_ns == before
    assert (run / "seed_7" / "checkpoint.pt").exists() and not torch.equal(first.mean, more.mean)
    monkeypatch.setattr(tomography_ensemble.Run, "go", None)  # nothing is left to train
    assert torch.equal(ensemble_of_run(run, 3).spread, more.spread)


def test_runs_that_cannot_be_repeated_are_worded(run, tmp_path, capsys):
    def refused(*words):
        assert main([str(word) for word in words]) == 2
        return capsys.readouterr().err

    assert "an ensemble needs at least two members, got 1" in refused(run, "--members", "1")
    assert f"no run in '{tmp_path}'" in refused(tmp_path)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save(state | {"stopped": ""}, run / "checkpoint.pt")
    assert "has not ended. Continue it: nfsolve run --resume" in refused(run)
    nfsolve.solve(Poisson(), steps=1, field=OPTIONS["field"], report=None, out=tmp_path / "other")
    assert "is a run of Poisson, not of tomography. Give the folder of a run of ct_phantom" in refused(
        tmp_path / "other"
    )
