"""Exit codes over kinds of ends: 0 finished, 1 failed, 2 wrong usage; test_folder has 130, test_streams the streams."""

import re

import pytest

import nfsolve as nf
from nfsolve.cli import run_cli

SMALL = ["--n-points", "20", "--n-face", "4", "--field.width", "4"]
ADAM, SGD = ["--optimizer", "adam"], ["--optimizer", "sgd"]
LONG = "n" * 256
FINISHED = {
    "steps": [*ADAM, "--steps", "2"],
    "no step": [*ADAM, "--steps", "0"],
    "tolerance": [*ADAM, "--steps", "50", "--tolerance", "1e9"],
    "time limit": [*ADAM, "--steps", "100000", "--time-limit", "0.2"],
}
FAILED = {
    "not finite": [*SGD, "--optimizer.lr", "1e300", "--steps", "9"],
    "diverged": [*SGD, "--optimizer.lr", "0.05", "--steps", "5"],
    "diverged at the walls": [*SGD, "--optimizer.lr", "0.01", "--steps", "5"],
    "diverged within its time": [*SGD, "--optimizer.lr", "0.05", "--steps", "5", "--time-limit", "100"],
    "at the last step": [*SGD, "--optimizer.momentum", "nan", "--steps", "2"],
    "unwritable": ["--out", "/proc/nowhere", "--steps", "1"],
    "name too long": ["--out", LONG, "--steps", "1"],
}
WRONG = {
    "nan": ["--k", "nan"],
    "limit nan": ["--time-limit", "nan"],
    "limit -inf": ["--time-limit=-inf"],
    "tolerance nan": ["--tolerance", "nan"],
    "accuracy nan": ["--accuracy", "nan"],
    "warm-up nan": ["--warmup", "nan", *ADAM],
    "rate nan": [*ADAM, "--optimizer.lr", "nan"],
    "damping nan": ["--optimizer", "gauss_newton", "--optimizer.damping", "nan"],
    "points": ["--n-points", "nan"],
    "no points": ["--n-points", "0"],
    "negative steps": ["--steps", "-1"],
    "unknown option": ["--stpes", "3"],
    "long name": ["--optimizer", LONG],
}
COMMANDS = {
    "nothing": [],
    "unknown": ["rum"],
    "no problem": ["run", LONG],
    "no file": ["run", f"{LONG}.py"],
    "no module": ["run", f"{LONG}.{LONG}:X"],
    "no folder": ["eval", LONG],
    "empty folder": ["eval", "."],
    "nothing to resume": ["run", "--resume", "."],
    "nothing to render": ["render", LONG],
    "nothing to compare": ["compare", LONG],
    "picture": ["run", "image", "--image", LONG, "--steps", "1"],
    "pairs": ["run", "deeponet_pairs", "--pairs", LONG],
    "photographs": ["run", "nerf", "--data", LONG],
    "weight -inf": ["run", "inverse_diffusivity", "--steps", "1", "--data-weight=-inf"],
    "weight nan": ["run", "inverse_diffusivity", "--steps", "1", "--data-weight=nan"],
    "show into nowhere": ["show", "poisson", "--out", "nowhere/picture.png"],
}


def ends(words, capsys):
    code = run_cli(words)
    said = "".join(capsys.readouterr())
    assert "Traceback" not in said, said
    return code, said


@pytest.mark.parametrize(
    ("code", "words"),
    [(code, row) for code, rows in enumerate((FINISHED, FAILED, WRONG)) for row in rows.values()],
    ids=[name for rows in (FINISHED, FAILED, WRONG) for name in rows],
)
def test_a_run_ends_with_its_code(code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    got, said = ends(["run", "poisson", *SMALL, *words], capsys)
    assert got == code, said
    assert (
        code == 0
        or "error" in said.lower()
        or "non-finite" in said
        or "diverged: the loss grew" in said
        or "Unrecognized" in said
    )


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
def test_wrong_usage_of_any_command_ends_with_2(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    got, said = ends(words, capsys)
    assert got == 2 and len(said) > 10, said
    assert LONG not in said


def test_eval_of_a_run_that_diverged_ends_as_the_run_did(capsys, tmp_path):
    out = str(tmp_path / "run")
    assert run_cli(["run", "poisson", *SMALL, *FAILED["diverged"], "--out", out]) == 1
    code, said = ends(["eval", out], capsys)
    assert code == 1 and "diverged: the loss grew" in said


def test_eval_of_a_run_that_became_non_finite_says_which_checkpoint_it_scores(capsys, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)
    words = [*SGD, "--optimizer.lr", "1e-6", "--optimizer.momentum", "1e99", "--steps", "9"]
    assert run_cli(["run", "poisson", *SMALL, *words, "--out", str(out)]) == 1
    ended = nf.RunFolder(out).metrics()["stopped"]
    assert ended.startswith("non-finite")
    for _ in range(2):  # the second finds what the first wrote
        code, said = ends(["eval", str(out)], capsys)
        assert code == 1
        assert re.search(rf"stopped +{re.escape(ended)} \(the scores are those of the checkpoint at step \d\)\n", said)


def test_eval_of_a_run_that_was_killed_says_so_and_ends_with_0(capsys, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)

    def die(*_):
        raise MemoryError

    monkeypatch.setattr("nfsolve.run.loop.Run._keep", die)
    with pytest.raises(MemoryError):
        run_cli(["run", "poisson", *SMALL, *FINISHED["steps"], "--out", str(out)])
    code, said = ends(["eval", str(out)], capsys)
    assert code == 0 and re.search(r"not ended \(the scores are those of the checkpoint at step \d\)", said)
