"""What was called otherwise before still works and says its name of today; an override of it is refused."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from nfsolve import MLP, PDE, Box, InputError, Stage, interior, solve
from nfsolve.cli import run_cli
from nfsolve.forward.radon import FanBeam
from nfsolve.forward.rendering import Rays
from nfsolve.functions import GaussianField
from nfsolve.optim import Adam
from nfsolve.problem.problem import SamplerState
from problems.ct.phantom import CTPhantom
from problems.operators.antiderivative import Antiderivative
from problems.pde.poisson import Poisson
from problems.signals.image import ImageFit

MOVED = {
    "problems.ct_scan": ("problems.ct.scan", "CTScan"),
    "problems.burgers": ("problems.pde.burgers", "Burgers"),
    "problems.deeponet_pairs": ("problems.operators.pairs", "PairsOperator"),
    "problems.image": ("problems.signals.image", "ImageFit"),
    "nfsolve.optim.esgd": ("nfsolve.optim.diagonal", "ESGD"),
    "nfsolve.problem.photos": ("nfsolve.data.photos", "read_photographs"),
    "nfsolve.problem.tables": ("nfsolve.data.tables", "read_columns"),
}


@dataclass
class Decay(PDE):
    domain = Box(t=(0, 1))

    @interior
    def decay(self, u, u_t):
        return u_t + u


@pytest.mark.parametrize("old", MOVED)
def test_a_module_is_found_by_its_older_name(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    new, name = MOVED[old]
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        found = importlib.import_module(old)
    assert getattr(found, name) is getattr(importlib.import_module(new), name)


def test_a_package_that_was_a_module():
    package = importlib.import_module("problems.nerf")
    with pytest.warns(DeprecationWarning, match="is now problems.nerf.photographs.NeRF"):
        assert package.NeRF is importlib.import_module("problems.nerf.photographs").NeRF
    with pytest.raises(AttributeError, match="no attribute 'Nerf'"):
        _ = package.Nerf
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("problems.never_there")


def test_older_calls_of_a_problem():
    problem = Decay(n_points=8)
    data = problem.load("cpu", torch.float64)
    with pytest.warns(DeprecationWarning, match=r"draw\(data, generator\) is now sample\("):
        old = problem.draw(data, torch.Generator().manual_seed(3))
    rows = problem.sample(data, SamplerState(), torch.Generator().manual_seed(3))["decay"]
    with pytest.warns(DeprecationWarning, match=r'rows\["points"\] is now rows.points'):
        assert torch.equal(old["decay"]["points"], rows.points)
    with pytest.raises(InputError, match="unknown part of these rows 'pionts': did you mean 'points'"):
        rows["pionts"]
    with pytest.warns(DeprecationWarning, match=r"with_points\(30\) is now with_\(n_points=240\)"):
        assert problem.with_points(30).n_points == 240


def test_rays_by_the_names_of_their_parts():
    rays = Rays(*(torch.rand(4, 3) for _ in range(3)), torch.rand(4, 1), torch.rand(4, 1))
    with pytest.warns(DeprecationWarning, match=r'rays\["directions"\] is now rays.directions'):
        assert rays["directions"] is rays.directions
    with pytest.raises(InputError, match="unknown attribute of rays 'direction': did you mean 'directions'"):
        rays["direction"]
    assert len(rays[1:3]) == 2


def test_an_override_of_an_older_method_is_refused():
    class Own(Decay):
        def draw(self, data, generator):
            return {}

    with pytest.raises(InputError, match=r"`draw.* of Own is never called.*test_moved.py.*sample\(self, data, st"):
        solve(Own(), steps=1, report=None)


def overriding(base: type, name: str, *parameters: str):
    """Solve a problem that overrides something under its older name."""
    made = eval(f"lambda self, {', '.join(parameters)}: {{}}")
    return lambda: solve(type("Own", (base,), {name: made})(), steps=1, report=None)


def stage(problem, **factors):
    return lambda: solve(problem, stages=(Stage(Adam, 1, **factors),), report=None)


def reference():
    return Poisson().load("cpu", torch.float64)["reference"]["points"]


def on_command(*words: str):
    """Run a command whose exit code stands for a refusal."""

    def run():
        code = run_cli(["run", *words, "--steps", "1"])
        if code:
            raise SystemExit(code)

    return run


def from_module(module: str, *names: str):
    def read():
        found = importlib.import_module(module)
        assert all(hasattr(found, name) for name in names[1:])
        return getattr(found, names[0])

    return read


REFUSED = {
    "a problem that overrides `draw(self, data, generator)`": [(overriding(Decay, "draw", "data", "rng"), "sample")],
    "`solve(..., redraw=100)`": [(lambda: solve(Decay(), steps=1, redraw=9, report=None), "Write resample=")],
    "`redraw`, `redraw_every` of problems": [
        (overriding(Decay, "redraw", "data", "generator", "field", "batch"), r"never called.*sample\(self"),
        (lambda: solve(type("Own", (Decay,), {"redraw_every": 3})(), steps=1, report=None), "Write resample_every"),
    ],
    "`transform` of fields and problems": [
        (overriding(Decay, "transform"), r"`transform.* of Own is never called.*output_transform\(self\)"),
        (lambda: MLP(Decay.domain, outputs="u", transform=lambda x, y: y), "did you mean 'output_transform'"),
    ],
    "`Problem.companions`": [(overriding(Decay, "companions", "seed"), r"auxiliary_modules\(self, seed\)")],
    "`Callback`": [(from_module("nfsolve.problem", "Callback", "FieldFunction"), "Callback")],
    "`answers` of an operator": [
        (overriding(Antiderivative, "answers", "field", "functions", "points"), r"predict\(self, field, functions"),
        (lambda: Antiderivative().answers, "answers"),
    ],
    "`Stage(points=0.25)` for pixels and bins": [
        (stage(CTPhantom(size=16), points=0.25), "has no points.*a stage has coarsen here"),
        (stage(ImageFit(size=32), points=0.25), "a stage of ImageFit has no points"),
    ],
    "residuals called with dicts of points": [
        (lambda: Decay().residuals(lambda t: t, {"decay": {"points": torch.rand(3, 1)}}), r"Write Rows\(points\)")
    ],
    '`data["reference"]["points"]`': [(reference, "subscriptable")],
    "counts of an operator's functions": [(lambda: Antiderivative(functions=5), "did you mean 'n_functions'")],
    "`refuse_shared`, `fingerprints`, `on_lattice`": [
        (from_module("nfsolve.functions", "refuse_shared", "check_leakage"), "refuse_shared"),
        (from_module("nfsolve.functions", "fingerprints", "row_hashes"), "fingerprints"),
        (lambda: GaussianField().on_lattice, "on_lattice"),
    ],
    "`source`, `detector`, `incident`, `foreign` of tomography": [
        (lambda: FanBeam(torch.arange(3.0), 8, 1.0, source=9.0, detector=18.0), "source"),
        (from_module("nfsolve.forward.radon", "foreign", "wrap_operator"), "foreign"),
    ],
    "`--view`, `--lattice`": [
        (on_command("nerf_scene", "--view", "2"), "2"),  # the exit code
        (on_command("image", "--lattice", "2"), "2"),
    ],
}  # fmt: skip
TABLE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text().split("\n## ")[2]


def test_all_rows_of_the_page_are_tried():
    assert [row.split("|")[1].strip() for row in TABLE.splitlines() if row.startswith("| ")][1:] == list(REFUSED)


@pytest.mark.parametrize("row", REFUSED)
def test_what_the_page_says_is_refused(row):
    for attempt, message in REFUSED[row]:
        with pytest.raises((InputError, AttributeError, TypeError, SystemExit), match=message):
            attempt()


def test_own_methods_by_these_names_are_not_refused():
    own = type("Own", (Decay,), {"transform": lambda self, u: 2 * u, "companions": ("a",)})
    own().check()
