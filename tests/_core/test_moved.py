"""What was called otherwise before still works and says its name of today; an override of it is refused."""

import importlib
import sys
from dataclasses import dataclass

import pytest
import torch

from nfsolve import PDE, Box, InputError, interior, solve
from nfsolve.forward.rendering import Rays
from nfsolve.problem.problem import SamplerState

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
