"""The rotation axis of every geometry, stripes, and bins that do not answer."""

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.data.scans.axis import axis_of
from nfsolve.data.scans.scan import Reading, read_scan
from nfsolve.data.scans.stripes import without_stripes
from nfsolve.forward.phantoms import Ellipse, phantom_projections
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid
from nfsolve.reconstruct import filtered_back_projection

OBJECT = (
    Ellipse(1.0, 0.5, 0.7, 0.1, 0.1, 20.0),
    Ellipse(-0.4, 0.1, 0.2, 0.2, 0.3),
    Ellipse(0.7, 0.05, 0.1, -0.25, -0.3),
)
TURN = tuple(np.radians(np.arange(0, 360, 3.0)))


def geometry_of(beam, centre, angles=TURN, n_bins=100, spacing=0.02):
    if beam == "parallel":
        return ParallelBeam(angles, n_bins, spacing, centre)
    return FanBeam(angles, n_bins, 1.5 * spacing, 4.0, 6.0, 1.5 * centre)


def axis_in_bins(geometry):
    return (geometry.n_bins - 1) / 2 - geometry.centre / geometry.spacing


@pytest.mark.parametrize("centre", [0.0, 0.037, -0.11, 0.7, -0.7], ids=lambda c: f"centre {c:g}")  # the last: half-beam
@pytest.mark.parametrize("beam", ["parallel", "fan"])
def test_the_axis_is_found_wherever_lines_are_measured_twice(beam, centre):
    geometry = geometry_of(beam, centre)
    sinogram = phantom_projections(OBJECT, geometry).numpy()
    assert axis_of(sinogram, geometry_of(beam, 0.0)) == pytest.approx(axis_in_bins(geometry), abs=0.1)


def test_a_fan_of_a_short_scan_has_an_axis_and_one_of_a_quarter_turn_has_none():
    short = geometry_of("fan", 0.05, tuple(np.radians(np.arange(0, 240, 2.0))))
    assert axis_of(phantom_projections(OBJECT, short).numpy(), short) == pytest.approx(axis_in_bins(short), abs=0.15)
    quarter = geometry_of("fan", 0.05, tuple(np.radians(np.arange(0, 90, 2.0))))
    with pytest.raises(InputError, match="measured from both sides, but hardly any line is. Give the axis in bins"):
        axis_of(phantom_projections(OBJECT, quarter).numpy(), quarter)


@pytest.fixture
def write(tmp_path):
    def written(geometry, **changes):
        arrays = {
            **({} if "counts" in changes else {"sinogram": phantom_projections(OBJECT, geometry).numpy()}),
            "angles_deg": np.degrees(geometry.angles),
            "spacing": geometry.spacing,
            "geometry": "parallel",
        }
        if isinstance(geometry, FanBeam):
            arrays |= {"geometry": "fan", "source_origin": 4.0, "source_detector_distance": 6.0}
        np.savez(tmp_path / "scan.npz", **arrays | changes)
        return tmp_path / "scan.npz"

    return written


@pytest.mark.parametrize("beam", ["parallel", "fan"])
def test_an_axis_that_the_views_contradict_is_told_and_can_be_estimated(write, beam):
    geometry = geometry_of(beam, 0.08)
    path = write(geometry)
    with pytest.warns(UserWarning, match=r"puts the rotation axis on bin 49\.50 .*, but .* about bin 45\.[45]"):
        read_scan(path)
    found = read_scan(path, Reading(find_axis=True))
    assert found.axis == pytest.approx(axis_in_bins(geometry), abs=0.1)
    path = write(geometry, centre=geometry.centre)
    assert read_scan(path).geometry.centre == geometry.centre  # and no warning, which would be an error
    with pytest.raises(InputError, match="either given or estimated, got axis = 40 and find_axis"):
        read_scan(path, Reading(axis=40.0, find_axis=True))


def test_stripes_are_removed_and_the_rest_stays():
    geometry = geometry_of("parallel", 0.0)
    clean = phantom_projections(OBJECT, geometry)
    striped = clean + 0.1 * torch.from_numpy(np.random.default_rng(0).normal(size=100) * (np.arange(100) % 7 == 0))
    mended = torch.from_numpy(without_stripes(striped.numpy(), 9))
    grid = PixelGrid(64, 64, 2 / 64)
    truth, rings, after = (filtered_back_projection(p, geometry, grid).image for p in (clean, striped, mended))
    assert float((after - truth).norm()) < 0.6 * float((rings - truth).norm())
    assert float((torch.from_numpy(without_stripes(clean.numpy(), 9)) - clean).norm() / clean.norm()) < 0.02


@pytest.mark.parametrize("width", [1, 2, 101, -3])
def test_a_window_that_is_none_is_refused(width):
    with pytest.raises(InputError, match=rf"a median over 3 to 100 bins, .* got {width}"):
        without_stripes(np.ones((4, 100)), width)


@pytest.mark.parametrize("key", ["sinogram", "counts"])
def test_a_bin_that_is_stuck_between_others_that_vary_is_named_and_can_be_masked(write, key):
    geometry = geometry_of("parallel", 0.0)
    values = phantom_projections(OBJECT, geometry).numpy()
    broken = values.copy() if key == "sinogram" else np.round(1e4 * np.exp(-values))
    broken[:, 47] = 0.3 if key == "sinogram" else 5000.0
    given = {"sinogram": broken} if key == "sinogram" else {"counts": broken, "flat": 1e4}
    path = write(geometry, **given)
    with pytest.raises(InputError, match=rf"'{key}' of .* is unknown in detector columns 47 \(1 of 100\)"):
        read_scan(path)
    scan = read_scan(path, Reading(mask_bad=True))
    assert scan.weights is not None and not scan.weights[:, 47].any() and scan.weights.sum() == values.size - 120
    assert np.abs(scan.sinogram - values).max() < 0.05
