import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from nfsolve.cli import run_cli
from nfsolve.cli.doctor import PURPOSES

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def versions(monkeypatch):
    """Pretend that libraries have other versions; None stands for missing ones."""
    real, pretended = importlib.metadata.version, dict[str, str | None]()

    def version(name):
        if pretended.get(name, "") is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return pretended.get(name) or real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    return pretended


def shown(capsys, code):
    assert run_cli(["doctor"]) == code
    return capsys.readouterr().out


def test_versions_threads_and_libraries_are_shown(capsys):
    text = shown(capsys, 0)
    for word in (
        str(torch.__version__),
        f"threads           {torch.get_num_threads()},",
        "BLAS",
        "GPU",
        "numpy",
        "plot",
    ):
        assert word in text
    assert text.endswith("All required libraries are installed.\n")


def test_every_extra_has_a_purpose():
    assert set(PURPOSES) == set(PROJECT["optional-dependencies"]) - {"all", "dev"}


@pytest.mark.parametrize(
    ("library", "extra"), [("matplotlib", "plot"), ("trimesh", "mesh"), ("meshio", "vtk"), ("dask", "dask")]
)
def test_a_missing_optional_library_comes_with_the_way_to_install_it(library, extra, versions, capsys):
    versions[library] = None
    line = next(line for line in shown(capsys, 0).splitlines() if line.startswith(f"  {extra} "))
    assert f"{library} is missing" in line and line.endswith(f": pip install 'nfsolve[{extra}]'")


def test_an_extra_that_is_newer_than_the_installation_is_said(monkeypatch, capsys):
    known = [line for line in importlib.metadata.requires("nfsolve") or () if "plot" not in line]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: known)
    line = next(line for line in shown(capsys, 0).splitlines() if line.startswith("  plot "))
    assert "older than its code: install it again (pictures of" in line


def test_an_old_optional_library_is_no_better(versions, capsys):
    versions["matplotlib"] = "2.0"
    assert "matplotlib 2.0, but >=3.9 is needed" in (text := shown(capsys, 0)) and "'nfsolve[plot]'" in text


@pytest.mark.parametrize(("version", "said"), [(None, "is missing"), ("1.0", "1.0, but")])
def test_a_required_library_that_does_not_fit_is_a_failure(version, said, versions, capsys):
    versions["scipy"] = version
    text = shown(capsys, 1)
    assert said in text and "Repair the required libraries: pip install 'scipy>=1.13'" in text


def test_what_is_not_installed_is_said(monkeypatch, capsys):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", nothing)
    assert run_cli(["doctor"]) == 2
    assert "Install it: pip install ." in capsys.readouterr().err
    assert run_cli(["doctor", "please"]) == 2
    assert "doctor takes no arguments, got 'please'" in capsys.readouterr().err


def test_a_missing_pytorch_is_shown_with_all_the_rest(versions, capsys, monkeypatch):
    versions["torch"] = None
    monkeypatch.setitem(sys.modules, "torch", None)
    text = shown(capsys, 1)
    assert "cannot be imported" in text and "Repair the required libraries: pip install 'torch" in text
