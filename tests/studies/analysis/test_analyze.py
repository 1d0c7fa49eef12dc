import json
from functools import partial

import pytest
import torch

from nfsolve import MLP, RandomWeightFactorization, RunFolder, RunOptions, Sine
from nfsolve._core.errors import InputError
from nfsolve.cli import run_cli
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan
from nfsolve.studies.analysis import ANALYSES, Subject, analyze
from nfsolve.studies.analysis.run import plain
from problems.signals.image import ImageFit

SMALL = ["--size", "48", "--gray", "--batch", "60", "--field.width", "8", "--field.depth", "2"]


def call(*words):
    return run_cli([str(word) for word in words])


def test_a_problem_along_training(tmp_path, capsys):
    out = tmp_path / "out"
    names = ["ntk"]
    code = call("analyze", "image", *SMALL, "--field.init", "ws", "--field.init.alpha", "2", "--steps", "4",
                "--every", "2", "--points", "30", "--only", *names, "--out", out)  # fmt: skip
    shown = capsys.readouterr().out
    assert code == 0, shown
    found = json.loads((out / "analysis.json").read_text())
    assert list(found["analyses"]) == names
    assert [k["step"] for k in found["analyses"]["ntk"]["kernels"]] == [0, 2, 4]
    assert {f"analysis_{name}.png" for name in names} <= {path.name for path in out.iterdir()}
    assert "step 4: kappa" in shown


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    problem = ImageFit(size=48, gray=True, batch=60)
    field = partial(MLP, width=8, depth=2, activation=Sine(30.0))
    # a partial of the class and the factorization are what a command line gives too
    options = RunOptions(steps=3, log_every=3)
    plan = Plan.of(problem.recipe(), options, field=field, factorization=RandomWeightFactorization())
    Run(problem, plan, RunFolder(folder)).go()
    return folder


def test_a_run_folder_shows_the_initial_and_the_trained_field(run, tmp_path, capsys):
    assert call("analyze", run, "--only", "gradients", "spectrum", "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "step 0: rms dL/dz" in shown
    assert "step 3: rms dL/dz" in shown
    assert (tmp_path / "out" / "analysis.json").is_file()
    assert not (run / "analysis.json").exists()


def test_what_does_not_apply_is_said(capsys, tmp_path):
    problem = ImageFit(size=48, gray=True)
    subject = Subject.of_field(problem, MLP.for_problem(problem, width=6, depth=2))
    chosen = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:99]
    subject.data["given"] = subject.data["given"][chosen]
    report = analyze(subject, ["spectrum", "gradients"], tmp_path)
    assert list(report.skipped) == ["spectrum"]
    assert "spectrum: does not apply, the given points form no grid" in str(report)
    assert json.loads((tmp_path / "analysis.json").read_text())["skipped"] == report.skipped
    assert [path.name for path in report.files] == ["analysis_gradients.png", "analysis.json"]
    with pytest.raises(InputError, match="unknown analysis 'ntkk': did you mean 'ntk'?"):
        analyze(subject, ["ntkk"])


def test_every_analysis_explains_itself():
    assert list(ANALYSES) == ["ntk", "gradients", "spectrum", "hessian"]
    for module in ANALYSES.values():
        assert callable(module.analyse)
        assert callable(module.figure)


def test_long_curves_are_thinned_in_the_file():
    rows = plain({0.5: torch.arange(1001.0)})
    assert len(rows["0.5"]) <= 501
    assert rows["0.5"][0] == 0
    assert rows["0.5"][-1] == 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "analyze needs a run folder or a problem"),
        (["imag"], "unknown problem 'imag': did you mean 'image'?"),
        (["image", "--only"], "--only needs the name of an analysis. Choose from ntk, gradients"),
        (["image", "--only", "ntkk", "--size", "48"], "unknown analysis 'ntkk': did you mean 'ntk'?"),
        (["image", "--points", "-3"], "--points needs a positive whole number, got -3"),
        (["image", "--points", "2", "--size", "48", "--only", "ntk"], "at least 4 points, got 2"),
        (["image", "--every", "x"], "--every needs a positive whole number, got x"),
        (["."], "folder '.' holds no run"),
    ],
)
def test_mistakes_are_worded(words, message, capsys, tmp_path):
    where = ["--out", str(tmp_path / "out")] if words[:1] == ["image"] else []
    assert call("analyze", *words, *where) == 2
    assert message in capsys.readouterr().err


def test_options_of_a_run_are_refused_with_a_folder(run, capsys):
    assert call("analyze", run, "--steps", "5") == 2
    assert "takes only --only, --points, --out and --trust, got --steps" in capsys.readouterr().err
    assert call("analyze", "--help") == 0
    assert "--every M" in capsys.readouterr().out
