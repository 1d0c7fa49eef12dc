import shutil
import subprocess

import pytest

from nfsolve.cli import run_cli
from nfsolve.cli.commands import COMMANDS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "cls"), [("my_rod.py", "MyRod"), ("rod2d.py", "Rod2d"), ("sub/HeatFlow.py", "HeatFlow")]
)
def test_the_template_runs_as_it_stands(name, cls, tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    assert run_cli(["new", name]) == 0
    text = (tmp_path / name).read_text()
    assert f"class {cls}(PDE)" in text and f"main({cls})" in text and f"nfsolve run {name}" in text
    few = ["--optimizer", "adam", "--steps", "2", "--n-points", "20", "--n-face", "4", "--field.width", "4"]
    assert run_cli(["run", name, *few, "--diffusivity", "0.02", "--out", "out"]) == 0
    assert "relative L2" in capsys.readouterr().out
    assert run_cli(["show", name, "--out", "shown.png"]) == 0
    assert (tmp_path / "shown.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "new needs one file to write, got 0 words"),
        (["a.py", "b.py"], "got 2 words"),
        (["heat"], "new writes a Python file, got 'heat'"),
        (["there.py"], "'there.py' exists already"),
        (["1d.py"], "must consist of letters, digits and _"),
        (["my-heat.py"], "must consist of letters, digits and _"),
        (["true.py"], "must consist of letters, digits and _"),
        (["_.py"], "must consist of letters, digits and _"),
        (["class.py"], "must consist of letters, digits and _"),
        (["torch.py"], "'torch.py' would hide the module 'torch'"),
        (["random.py"], "'random.py' would hide the module 'random'"),
        (["nowhere/cooling_of_a_rod.py"], "'nowhere/cooling_of_a_rod.py' cannot be used"),
    ],
)
def test_names_that_would_not_work_are_refused(words, message, tmp_path, capsys):
    (tmp_path / "there.py").write_text("kept")
    assert run_cli(["new", *words]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "there.py").read_text() == "kept"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("nfsolve re", {"render", "report"}), ("nfsolve run bur", {"burgers"}), ("nfsolve eval bur", set())],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_and_problems(typed, expected, tmp_path, capsys):
    assert run_cli(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    words = typed.split()
    ask = f'source ./script; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _nfsolve; echo "${{COMPREPLY[@]}}"'
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert set(found) == expected


def test_other_shells(capsys):
    for shell in ("zsh", "fish"):
        assert run_cli(["completion", shell]) == 0
        assert " ".join(COMMANDS) in capsys.readouterr().out
    assert run_cli(["completion", "tcsh"]) == 2
    assert "completion needs the name of a shell, bash, zsh, fish, got 'tcsh'" in capsys.readouterr().err
