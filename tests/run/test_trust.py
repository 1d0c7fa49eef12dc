"""A run folder is data: opening it runs no file that the user did not import or name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.problem.registry import recall
from nfsolve.studies.analysis import Subject

SCRIPT = """
from dataclasses import dataclass
from pathlib import Path
import nfsolve as nf
from nfsolve import PDE, Box, face, interior

with open("ran.txt", "a") as file:
    file.write("x")

@dataclass
class Coarse(PDE):
    domain = Box(x=(0, 1))
    @interior
    def pde(self, u_xx):
        return u_xx + 1
    @face(x=(0, 1))
    def ends(self, u):
        return u

@dataclass
class Fine(Coarse):
    def ansatz(self, u, x):
        return x * (1 - x) * u

if not Path("out").exists():
    nf.solve(Fine(n_points=16, n_face=2), steps=2, report=None, out="out")
    assert type(nf.reopen("out").problem).__name__ == "Fine"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The run of one of two classes of a script without a guard, and of another process."""
    monkeypatch.chdir(tmp_path)
    Path("mine_unguarded.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "mine_unguarded.py"], check=True, timeout=120)
    assert Path("ran.txt").read_text() == "x"  # loading inside the script does not run it again
    yield "out"
    sys.modules.pop("mine_unguarded", None)


def test_a_file_runs_only_where_it_was_named(folder):
    config = json.loads((Path(folder) / "config.json").read_text())["problem"]
    assert config["class"] == "Fine"
    for opened in (nf.load, nf.reopen, nf.resume, Subject.of_folder):
        with pytest.raises(InputError, match="--trust"):
            opened(folder)
    assert Path("ran.txt").read_text() == "x"
    assert type(nf.reopen(folder, trust=True).problem).__name__ == "Fine"
    assert Path("ran.txt").read_text() == "xx"
    nf.load(folder)  # imported by now
    known = recall(config["what"], "Coarse")
    assert known.__name__ == "Coarse" and Path("ran.txt").read_text() == "xx"


def test_a_problem_that_is_given_replaces_the_recorded_one(folder):
    cls = recall(str(Path("mine_unguarded.py").resolve()), "Fine", trust=True)
    sys.modules.pop("mine_unguarded")
    for problem in (cls, cls(n_points=16, n_face=2)):
        nf.load(folder, problem=problem)
        assert isinstance(nf.reopen(folder, problem=problem).problem, cls)
        nf.resume(folder, problem=problem, report=None)
    assert Path("ran.txt").read_text() == "xx"


@pytest.mark.parametrize("command", [["eval"], ["run", "--resume"], ["analyze"]])
def test_the_command_line_asks_for_trust(folder, command, capsys):
    from nfsolve.cli import run_cli

    extra = ["--only", "gradients"] if command == ["analyze"] else []
    assert run_cli([*command, folder, *extra]) == 2
    assert "--trust" in capsys.readouterr().err
    assert Path("ran.txt").read_text() == "x"
    run_cli([*command, folder, "--trust", *extra])
    assert Path("ran.txt").read_text() == "xx"


@pytest.mark.parametrize("what", ["antigravity:Flight", "this:Zen", "nfsolve.__main__:run_cli"])
def test_other_modules_are_not_imported(what):
    module = what.partition(":")[0]
    sys.modules.pop(module, None)
    with pytest.raises(InputError, match="--trust"):
        recall(what)
    assert module not in sys.modules
