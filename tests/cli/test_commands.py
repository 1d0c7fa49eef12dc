import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nfsolve as nf
from nfsolve.cli import cite, run_cli
from nfsolve.cli.cite import METHODS, bibtex, used_in
from nfsolve.options.options import override, take_choices
from nfsolve.options.request import read_request
from nfsolve.problem.names import choose
from nfsolve.problem.registry import find, names
from problems.signals.image import ImageFit

FAST = ["--steps", "3", "--n-points", "30", "--n-face", "8", "--field.width", "5"]


def call(*words):
    return run_cli([str(word) for word in words])


def test_list_names_every_problem_with_what_it_needs(capsys):
    assert call("list") == 0
    shown = capsys.readouterr().out
    for name in names():
        assert f"{name} " in shown
    assert shown.count("[needs") == len(names()) >= 6


def test_help_shows_the_equation_and_the_options(capsys):
    assert call("run", "burgers", "--help") == 0
    shown = capsys.readouterr().out
    for word in (
        "u_t + u u_x = nu u_xx",
        "--nu",
        "viscosity",
        "--field.width",
        "--time-limit",
        "gauss_newton",
    ):
        assert word in shown
    for words in (["--help"], ["list", "--help"], ["eval", "-h"], ["cite", "--help"]):
        assert call(*words) == 0
        assert "run --resume DIR" in capsys.readouterr().out
    assert call() == 2


def test_run_eval_compare_cite_and_resume(tmp_path, capsys):
    out, other = tmp_path / "one", tmp_path / "two"
    assert call("run", "poisson", *FAST, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "relative_l2" in shown
    assert "of the reference itself" in shown
    assert {"solution.png", "metrics.json"} <= {path.name for path in out.iterdir()}
    metrics = json.loads((out / "metrics.json").read_text())
    (out / "solution.png").unlink()
    (out / "metrics.json").unlink()
    assert call("eval", out) == 0
    again = json.loads((out / "metrics.json").read_text())
    assert again == metrics
    assert (out / "solution.png").exists()
    assert call("run", "poisson", *FAST, "--optimizer", "adam", "--optimizer.lr", "0.01", "--factorization", "rwf",
                "--factorization.mean", "0.5", "--schedule", "cosine", "--warmup", "0.25",
                "--out", other) == 0  # fmt: skip
    config = json.loads((other / "config.json").read_text())
    assert config["factorization"]["mean"] == 0.5
    assert config["stages"][0]["optimizer"]["lr"] == 0.01
    assert config["stages"][0]["schedule"] == "cosine"
    assert config["stages"][0]["warmup"] == 0.25
    capsys.readouterr()
    assert call("compare", out, other) == 0
    assert "one" in capsys.readouterr().out
    assert call("cite", other) == 0
    assert "wang2022random" in capsys.readouterr().out
    assert call("run", "--resume", out, "--steps", "5") == 0
    assert json.loads((out / "metrics.json").read_text())["steps"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "run needs a problem"),
        (["run", "burgres"], "unknown problem 'burgres': did you mean 'burgers'?"),
        (["run", "burgers", "--optimizer", "adan"], "unknown optimizer 'adan': did you mean 'adam'?"),
        (["run", "burgers", "--field", "mpl"], "unknown field 'mpl': did you mean 'mlp'?"),
        (["run", "burgers", "--field.init", "sirenn"], "unknown init 'sirenn': did you mean 'siren'?"),
        (["run", "burgers", "--optimizer"], "--optimizer needs a name. Choose one of"),
        (["run", "burgers", "--device", "cud"], "unknown device 'cud': did you mean 'cuda'?"),
        (["run", "missing.py"], "there is no problem file 'missing.py'"),
        (["run", "nowhere.module:Class"], "the module 'nowhere.module' of 'nowhere.module:Class' cannot be imported"),
        (["run", "problems.pde.burgers:Nothing"], "problems.pde.burgers has no problem 'Nothing'"),
        (["runn", "burgers"], "unknown command 'runn': did you mean 'run'?"),
        (["eval"], "eval needs one run folder, got 0"),
        (["eval", "nowhere"], "no run in 'nowhere'"),
        (["compare"], "compare needs run folders"),
        (["run", "--resume", "nowhere"], "no run in 'nowhere'"),
        (
            ["run", "burgers", "--resume", "nowhere"],
            "--resume takes the problem from the folder, got 'burgers' as well",
        ),
    ],
)
def test_wrong_usage_is_worded_and_exits_with_2(words, message, capsys):
    assert call(*words) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_option_suggests_the_nearest(capsys):
    assert call("run", "burgers", "--field.wdth", "3") == 2
    captured = capsys.readouterr()
    assert "--field.width" in captured.out + captured.err
    assert call("run", "burgers", "--nu", "many") == 2


def test_files_must_define_one_problem(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert call("run", tmp_path / "empty.py") == 2
    assert "but it has 0" in capsys.readouterr().err


def test_a_failed_run_exits_with_1(tmp_path, capsys):
    (tmp_path / "bad.py").write_text(
        "from dataclasses import dataclass\nfrom nfsolve import PDE, Box, interior\n"
        "@dataclass\nclass Bad(PDE):\n    domain = Box(x=(0, 1))\n\n    @interior\n"
        "    def wrong(self, u, x):\n        return u / (x - x)\n"
    )
    assert call("run", tmp_path / "bad.py", "--optimizer", "adam", "--steps", "3", "--out", tmp_path / "run") == 1
    assert "non-finite residual 'wrong' at step 1" in capsys.readouterr().out


def test_choices_are_separated_from_options():
    chosen, rest = take_choices(["--nu", "1", "--optimizer", "adam", "--optimizer.lr", "3", "--field.init=ws"])
    assert chosen == {"optimizer": "adam", "field.init": "ws"}
    assert rest == ["--nu", "1", "--optimizer.lr", "3"]
    assert choose("field.init", "ws").__name__ == "WeightScaling"
    assert choose("field", "modified_mlp").__name__ == "ModifiedMLP"
    assert choose("factorization", "rwf").__name__ == "RandomWeightFactorization"


@pytest.mark.parametrize("name", sorted(names()))
def test_every_problem_is_found_by_name_and_has_a_recipe(name):
    recipe = find(name)().recipe()
    assert recipe.stages
    assert recipe.run.dtype in (None, "float32", "float64")


def test_a_swapped_optimizer_keeps_schedule_and_draws():
    recipe = ImageFit().recipe()
    assert recipe.stages[0].schedule == "cosine"
    swapped = override(recipe, {"optimizer": "esgd"}).stages[0]
    assert dataclasses.replace(swapped, optimizer=recipe.stages[0].optimizer) == recipe.stages[0]
    assert swapped.optimizer is nf.optim.ESGD


@pytest.mark.parametrize(
    ("words", "gray"),
    [
        (["--gray"], True),
        (["--no-gray"], False),
        (["--gray", "False"], False),
        (["--gray", "--size", "64"], True),
        ([], None),
    ],
)
def test_flags_of_which_none_is_the_protocols(words, gray):
    assert read_request(ImageFit, words, "nfsolve run image").problem.gray is gray


def test_a_reader_that_leaves_is_no_traceback():
    words = [sys.executable, "-m", "nfsolve", "run", "burgers", "--help"]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()  # before it writes: importing torch takes longer
        assert run.stderr.read() == b""
    assert run.returncode == 1


def test_help_names_the_defaults_and_the_choices_of_a_problem(capsys):
    assert call("run", "deeponet_antiderivative", "--field", "nonlinear_deeponet", "--help") == 0
    shown = capsys.readouterr().out
    lines = {line.split(" ")[0]: line for line in shown.splitlines() if line.startswith("--")}
    assert lines["--field"].endswith("(chosen: nonlinear_deeponet)")
    assert lines["--field.activation"].endswith("(default: gelu)")
    assert lines["--field.init"].endswith("(default: the one that fits the activation)")
    assert lines["--field.branch"].endswith("(default: linear)")
    assert lines["--factorization"].endswith("or none (default: none)")
    assert lines["--optimizer"].endswith("(default: soap, then last_layer)")
    assert lines["--weighting"].endswith("(default: constant)")
    assert "Width of the trunk's hidden layers" in shown
    assert "Number of products in each sum." in shown
    assert call("run", "poisson", "--help") == 0
    assert "--field.branch" not in capsys.readouterr().out


def test_help_hides_what_cannot_be_said_on_a_command_line(capsys):
    assert call("run", "deeponet_advection", "--help") == 0
    shown = capsys.readouterr().out
    assert "--field.branch.width" in shown
    assert "fixed" not in shown


def test_help_of_run_shows_its_usage(capsys):
    assert call("run", "--help") == 0
    shown = capsys.readouterr().out
    assert "--resume DIR" in shown
    assert "usage: nfsolve run WHAT" in shown
    assert "--time-limit" in shown


HEAT = (
    "from dataclasses import dataclass\nfrom nfsolve import PDE, Box, interior\n"
    "@dataclass\nclass Heat(PDE):\n    domain = Box(x=(0, 1))\n\n    @interior\n"
    "    def flat(self, u_xx):\n        return u_xx\n"
)


@pytest.mark.parametrize("module", ["", '"""Heat that flows.\n\nMore."""\n'])
def test_a_problem_without_a_docstring_is_not_described_by_its_signature(module, tmp_path, capsys):
    (tmp_path / "heat.py").write_text(module + HEAT)
    assert call("run", tmp_path / "heat.py", "--help") == 0
    shown = capsys.readouterr().out
    assert call("run", tmp_path / "heat.py", *FAST, "--out", tmp_path / "run") == 0
    shown += (captured := capsys.readouterr()).err
    assert "Heat(" not in shown + captured.out
    assert shown.count("Heat that flows.") == (2 if module else 0)
    assert captured.err.count(f"run folder: {tmp_path / 'run'}\n") == 1


def test_a_run_that_is_refused_names_no_folder(tmp_path, capsys):
    (tmp_path / "heat.py").write_text(HEAT + "    def load(self, device, dtype):\n        return {'x': 1 / 0}\n")
    with pytest.raises(ZeroDivisionError):
        call("run", tmp_path / "heat.py", *FAST, "--out", tmp_path / "run")
    assert "run folder" not in capsys.readouterr().err


def test_a_run_without_a_checkpoint_starts_again_and_says_so(tmp_path, capsys):
    assert call("run", "poisson", *FAST, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert call("run", "--resume", tmp_path / "run") == 0
    assert "no checkpoint" not in capsys.readouterr().err
    (tmp_path / "run" / "checkpoint.pt").unlink()
    assert call("run", "--resume", tmp_path / "run") == 0
    assert "no checkpoint yet: starting again\n" in capsys.readouterr().err


def test_a_class_is_cited_by_its_whole_name():
    assert used_in({"optimizer": {"partial": "nfsolve.optim.diagonal:ESGD"}}) == ["ESGD"]
    assert used_in({"optimizer": {"partial": "nfsolve.optim.diagonal:ESGDMax"}}) == ["ESGDMax"]
    assert "dauphin" not in bibtex(["ESGDMax"]) and bibtex(["ESGD", "ESGDMax"]).count("chng2024") == 1


def test_every_method_is_cited_by_entries_that_are_there_and_every_entry_by_a_method():
    text = bibtex(list(METHODS))
    keys = re.findall(r"^@\w+{(\w+),$", text, re.M)
    stored = re.findall(r"^@\w+{(\w+),$", (Path(cite.__file__).parent / "citations.bib").read_text(), re.M)
    assert sorted(keys) == sorted(stored) and len(set(keys)) == len(keys)
    assert {key for entries in METHODS.values() for key in entries.split()} | {"nfsolve"} == set(keys)
