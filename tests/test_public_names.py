import subprocess
import sys

import pytest

import nfsolve as nf


def test_every_public_name_is_there():
    for name in nf.__all__:
        assert getattr(nf, name) is not None, name
    assert {"PDE", "solve", "main", "optim", "weighting", "SaveError", "unknown_name"} <= set(nf.__all__)


@pytest.mark.parametrize("name", ["fields", "problem", "run", "functions", "metrics"])
def test_rooms_are_attributes_but_do_not_come_with_a_star(name):
    assert getattr(nf, name).__name__ == f"nfsolve.{name}"
    assert name not in nf.__all__


def test_a_wrong_name_suggests_the_nearest():
    with pytest.raises(AttributeError, match="module 'nfsolve' has no attribute 'slove': did you mean 'solve'"):
        _ = nf.slove


def test_a_name_of_old_still_works():
    with pytest.warns(DeprecationWarning, match=r"nfsolve.matched is now called nfsolve.paired"):
        assert nf.matched is nf.paired  # pyright: ignore[reportAttributeAccessIssue]


def test_a_solution_draws_itself_where_nothing_else_was_imported():
    program = (
        "from nfsolve.run.solve import solve\nfrom problems.pde.poisson import Poisson\n"
        "print(solve(Poisson(), steps=1, report=None).plot() is not None)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "True\n"
