"""What the package says of itself, in every place that says it; each extra brings what the code asks it for."""

import ast
import pkgutil
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import nfsolve as nf
from nfsolve import MissingExtra
from nfsolve._core.version import VERSION
from nfsolve.cli.view import view_command
from nfsolve.data.scans.files import open_arrays as open_scan
from nfsolve.functions.stored import open_arrays
from nfsolve.plot.problem import show
from nfsolve.run.loggers import LOGGERS
from nfsolve.studies.comparison.executors import executor_of
from problems.nerf._exported import write_scene
from problems.nerf._pictures import write_frames
from problems.pde.poisson import Poisson

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NO_CODE = {"docs", "all", "dev"}  # extras of the repository, or of other extras
DISTRIBUTIONS = {"skimage": "scikit-image", "igl": "libigl", "imageio_ffmpeg": "imageio-ffmpeg", "distributed": "dask"}


def plain(requirement):
    """Return the name of a requirement, without extras and versions."""
    return re.split(r"[\[<>=! ]", requirement)[0]


def asked_for():
    """Yield module, extra and place of every library that the code requires by name."""
    for path in [*(ROOT / "nfsolve").rglob("*.py"), *(ROOT / "problems").rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in ("require", "require_extra"):
                continue
            given = [*call.args, *(word.value for word in call.keywords if word.arg == "extra")]
            if len(given) > 1 and all(isinstance(value, ast.Constant) for value in given[:2]):
                yield given[0].value, given[1].value, f"{path.name}:{call.lineno}"


def test_each_library_is_in_the_extra_that_its_message_names():
    found = list(asked_for())
    assert len(found) > 20
    wrong = [
        (module, extra, place)
        for module, extra, place in found
        if DISTRIBUTIONS.get(module.split(".")[0], module.split(".")[0]) not in map(plain, EXTRAS.get(extra, ()))
    ]
    assert wrong == []


def actions(folder):
    """Return for each extra what a user does that needs it, and the library to be missing."""
    solution = nf.solve(Poisson(n_points=10), steps=1, report=None, device="cpu")
    for name in ("a.dcm", "a.h5", "a.nc", "a.stl", "a.msh"):
        (folder / name).write_bytes(b"\x89HDF\r\n\x1a\n" if name in ("a.h5", "a.nc") else b"x")
    (folder / "a.zarr").mkdir()
    (folder / "a.zarr" / "zarr.json").write_text("{}")
    return {
        "plot": ("matplotlib", lambda: show(Poisson())),
        "nerf": ("nerfacc", lambda: nf.require_extra("nerfacc", extra="nerf", purpose="rendering")),
        "video": ("imageio_ffmpeg", lambda: write_frames(folder / "a.mp4", [])),
        "viewer": ("viser", lambda: view_command([str(folder)])),
        "onnx": ("onnx", lambda: write_scene(SimpleNamespace(), folder / "a.onnx")),
        "ct": ("h5py", lambda: open_scan(folder / "a.h5")),
        "operators": ("zarr", lambda: open_arrays(folder / "a.zarr")),
        "mesh": ("trimesh", lambda: nf.Solid(folder / "a.stl")),
        "vtk": ("meshio", lambda: solution.export(folder / "a.vtu")),
        "xarray": ("xarray", solution.to_xarray),
        **{name: (name, lambda name=name: executor_of(name, 1, 1, folder)) for name in ("dask", "ray")},
        "slurm": ("submitit", lambda: executor_of("slurm", 1, 1, folder)),
        **{name: (name, lambda name=name: LOGGERS[name](folder / "run")) for name in LOGGERS},
    }


def test_every_missing_extra_is_named_in_a_sentence(tmp_path, monkeypatch):
    known = actions(tmp_path)
    assert set(known) == set(EXTRAS) - NO_CODE
    for extra, (module, action) in known.items():
        with monkeypatch.context() as patch:
            for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
                patch.setitem(sys.modules, name, None)
            patch.setitem(sys.modules, module, None)
            with pytest.raises(MissingExtra, match=rf" needs {module}, which is not installed: .*'nfsolve\[{extra}\]'"):
                action()


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == VERSION
    for name in ("CITATION.cff", "nfsolve/cli/citations.bib", "packaging/conda/recipe.yaml"):
        assert re.search(rf'version(:|\s*=) ["{{]?{re.escape(VERSION)}["}}]?', (ROOT / name).read_text()), name
    assert f"## [{VERSION}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_conda_recipe_needs_what_the_package_needs():
    recipe = SimpleNamespace(**yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text()))
    told = {word.replace(" ", "") for word in recipe.requirements["run"]}
    needed = {
        need.replace("torch", "pytorch", 1) if need.startswith("torch") else need for need in PROJECT["dependencies"]
    }
    assert told == needed | {f"python{PROJECT['requires-python']}"}
    scripts = {f"{name} = {target}" for name, target in PROJECT["scripts"].items()}
    assert set(recipe.build["python"]["entry_points"]) == scripts
    assert (ROOT / "packaging/conda" / recipe.source["path"] / "pyproject.toml").is_file()


def test_older_names_of_the_migration_note_lead_to_the_new_ones():
    table = (ROOT / "docs/migration.md").read_text().partition("## What works")[2].partition("## What is refused")[0]
    pairs = re.findall(r"^\| `from (\S+) import (\w+)` \| `from (\S+) import (\w+)` \|$", table, re.M)
    assert len(pairs) == 5
    for old, name, new, now in pairs:
        if old != "problems.nerf":  # a package now
            sys.modules.pop(old, None)
        with pytest.warns(DeprecationWarning, match="is now"):
            found = pkgutil.resolve_name(f"{old}:{name}")
        assert found is pkgutil.resolve_name(f"{new}:{now}")
