"""Stacks of slices: repeated like a run that is done, resumed, written, and warned where the detector is turned."""

from dataclasses import replace
from functools import partial
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

import nfsolve
from nfsolve import MLP, InputError
from problems.ct.phantom import CTPhantom
from problems.ct.scan import CTScan
from problems.ct.stack import main, rows_of, stack_of_run
from tests.data.scans.test_roll import ANGLES, panel

OPTIONS = {"field": partial(MLP, width=8, depth=1), "report": None, "seed": 0}


@pytest.fixture
def run(tmp_path):
    """Give a function that reconstructs one row of a panel that may be turned."""

    def make(roll: float = 0.0, **options) -> Any:
        file = tmp_path / "stack.npz"
        np.savez(file, sinogram=panel(roll), angles_deg=ANGLES, geometry="parallel", spacing=1.0)
        problem = CTScan(data=str(file), size=24, row=10, axes="views rows bins", classical=(), **options)
        steps = (replace(problem.recipe().stages[-1], steps=2),)
        return nfsolve.solve(problem, **OPTIONS, stages=steps, out=tmp_path / "run")

    return make


def test_rows_are_reconstructed_like_the_first_and_not_again(run, capsys, tmp_path):
    first, folder = run(), tmp_path / "run"
    assert main([str(folder), "--rows", "8:11:2"]) == 0
    assert "wrote 2 slices" in capsys.readouterr().out
    pages, kept = iio.imread(folder / "stack.tif"), np.load(folder / "stack.npz")
    assert pages.shape == (2, 24, 24) and pages.dtype == np.float32 and np.array_equal(pages, kept["image"])
    assert kept["rows"].tolist() == [8, 10]
    own = first.problem.image(first.field, first.data).detach().numpy()
    assert np.abs(pages[1] - own).max() < 0.02 * own.max()  # with the axis and the weight that were found there
    assert np.abs(pages[0] - pages[1]).max() > 0.05 * own.max()
    before = (folder / "row_0008" / "config.json").stat().st_mtime_ns
    assert main([str(folder), "--rows", "8:9"]) == 0
    assert (folder / "row_0008" / "config.json").stat().st_mtime_ns == before
    assert iio.imread(folder / "stack.tif").reshape(-1, 24, 24).shape == (1, 24, 24)


@pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")  # rows of a turned panel are not of one slice
def test_an_axis_that_moves_between_rows_tells_the_roll_of_the_detector(run, tmp_path):
    run(6.0)
    folder = tmp_path / "run"
    with pytest.warns(UserWarning, match="turned by about [56] degrees; try --roll"):
        stack_of_run(folder, [6, 14])


@pytest.mark.parametrize("words", ["3", "a:b", "4:4", "-2:3", "1:2:3:4"])
def test_bad_rows_are_worded(words):
    with pytest.raises(InputError, match="FIRST:END"):
        rows_of(words)


def test_other_runs_are_refused(tmp_path, capsys):
    nfsolve.solve(CTPhantom(views=8, size=32, classical=()), **OPTIONS, steps=1, out=tmp_path / "head")
    assert main([str(tmp_path / "head"), "--rows", "0:2"]) == 2
    assert "CTPhantom, not of a scan" in capsys.readouterr().err
