"""A detector that is turned in its own plane."""

import math
import warnings

import numpy as np
import pytest

from nfsolve._core.errors import InputError
from nfsolve.data.scans.doubts import Doubt
from nfsolve.data.scans.roll import unrolled
from nfsolve.data.scans.scan import Reading, read_scan

ROWS, BINS, ANGLES = 21, 40, np.arange(0, 190, 10.0)
BLOBS = ((4.0, 3.0, -2.0, 3.5), (-6.0, 2.0, 5.0, 3.0))  # x, y, z, width


def panel(roll: float) -> np.ndarray:
    """Project Gaussian blobs onto a panel that is turned counter-clockwise, (views, rows, bins)."""
    along, up = np.arange(BINS) - (BINS - 1) / 2, (ROWS - 1) / 2 - np.arange(ROWS)
    a, c = np.meshgrid(along, up)
    t = math.radians(roll)
    u, v = a * math.cos(t) - c * math.sin(t), a * math.sin(t) + c * math.cos(t)
    views = []
    for angle in np.radians(ANGLES):
        views.append(
            sum(
                np.exp(-((u - x * math.cos(angle) - y * math.sin(angle)) ** 2 + (v - z) ** 2) / w**2)
                for x, y, z, w in BLOBS
            )
        )
    return np.asarray(views)


@pytest.mark.parametrize("roll", [3.0, -8.0])
def test_a_row_is_that_of_a_panel_that_is_not_turned(roll, tmp_path):
    file, straight = tmp_path / "rolled.npz", panel(0.0)
    np.savez(file, sinogram=panel(roll), angles_deg=ANGLES, geometry="parallel", spacing=1.0)
    apart = []
    for row in (7, 12):
        scan = read_scan(file, Reading(row=row, roll=roll, axes="views rows bins"))
        with warnings.catch_warnings():  # its last view is not the first one from the other side
            warnings.simplefilter("ignore", Doubt)
            raw = read_scan(file, Reading(row=row, axes="views rows bins"))
        assert np.abs(scan.sinogram - straight[:, row][: len(scan.sinogram)]).max() < 0.04
        apart.append(float(np.abs(raw.sinogram - straight[: len(raw.sinogram), row]).max()))
    assert max(apart) > 0.1


@pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")  # the axis of a turned panel moves with rows
def test_counts_are_taken_between_rows_and_what_lies_beyond_the_panel_is_unknown(tmp_path):
    file = tmp_path / "counts.npz"
    counts, flat = 1e4 * np.exp(-panel(8.0)), np.full((ROWS, BINS), 1e4)
    counts[:, 10, 20] = 0  # a dead spot is left out, and its neighbours with it
    np.savez(file, counts=counts, flat=flat, angles_deg=ANGLES, geometry="parallel", spacing=1.0)
    scan = read_scan(file, Reading(row=10, roll=8.0, axes="views rows bins", mask_bad=True))
    known = scan.weights == 1
    assert 0 < (~known).sum(1).max() < 5
    assert np.abs(scan.sinogram - panel(0.0)[: len(known), 10])[known].max() < 0.04
    assert np.allclose(scan.I0, 1e4)
    edge = read_scan(file, Reading(row=0, roll=8.0, axes="views rows bins", mask_bad=True))
    assert (edge.weights[:, -12:] == 0).all() or (edge.weights[:, :12] == 0).all()


def test_bad_rolls_are_worded(tmp_path):
    file = tmp_path / "flat.npz"
    np.savez(file, sinogram=panel(0.0)[:, 10], angles_deg=ANGLES, geometry="parallel", spacing=1.0)
    with pytest.raises(InputError, match=r"between its rows, got 2 degrees for the 1 rows .*Give the whole stack"):
        read_scan(file, Reading(roll=2.0))
    with pytest.raises(InputError, match="of up to 45 degrees .*got 80"):
        unrolled(file, lambda row: {}, 0, 5, 80.0)
