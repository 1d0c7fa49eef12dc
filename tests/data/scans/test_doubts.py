"""What a scan says against itself: each fault is told, in words that name it, and a sound scan is silent."""

import re
import warnings

import numpy as np
import pytest

from nfsolve._core.errors import InputError
from nfsolve.data.scans.scan import Reading, read_scan
from nfsolve.forward.phantoms import phantom_projections
from nfsolve.forward.radon import FanBeam, ParallelBeam
from tests.data.scans.test_axis import OBJECT

HALF = np.arange(0, 180, 3.0)
WHOLE = np.arange(0, 360, 4.0)
PARALLEL = {"geometry": "parallel", "spacing": 0.02}
FAN = {"geometry": "fan", "spacing": 0.03, "source_origin": 4.0, "source_detector_distance": 6.0}


def parallel(degrees=HALF, n_bins=100, centre=0.0):
    return phantom_projections(OBJECT, ParallelBeam(tuple(np.radians(degrees)), n_bins, 0.02, centre)).numpy()


def fan(degrees=WHOLE, n_bins=110, centre=0.0):
    return phantom_projections(OBJECT, FanBeam(tuple(np.radians(degrees)), n_bins, 0.03, 4.0, 6.0, centre)).numpy()


def counted(sinogram, beam=2e4):
    return np.random.default_rng(0).poisson(beam * np.exp(-sinogram)).astype(float)


@pytest.fixture
def read(tmp_path):
    def reading(options=None, **arrays):
        np.savez(tmp_path / "scan.npz", **arrays)
        return read_scan(tmp_path / "scan.npz", Reading(**options or {}))

    return reading


def with_value(sinogram, value, *where):
    changed = sinogram.copy()
    changed[where] = value
    return changed


SOUND = {
    "half a turn": lambda: PARALLEL | {"sinogram": parallel(), "angles_deg": HALF},
    "its end twice": lambda: PARALLEL | {"sinogram": parallel([*HALF, 180.0]), "angles_deg": [*HALF, 180.0]},
    "few views": lambda: PARALLEL | {"sinogram": parallel(HALF[::6]), "angles_deg": HALF[::6]},
    "an arc": lambda: PARALLEL | {"sinogram": parallel(HALF[:25]), "angles_deg": HALF[:25]},
    "two turns": lambda: PARALLEL | {"sinogram": parallel(np.tile(WHOLE, 2)), "angles_deg": [*WHOLE, *WHOLE + 360]},
    "half a beam": lambda: PARALLEL | {"sinogram": parallel(WHOLE, 62, 0.4), "angles_deg": WHOLE, "centre": 0.4},
    "a fan": lambda: FAN | {"sinogram": fan(), "angles_deg": WHOLE},
    "a short fan": lambda: FAN | {"sinogram": fan(WHOLE[:58]), "angles_deg": WHOLE[:58]},
    "half a fan": lambda: FAN | {"sinogram": fan(WHOLE, 66, 0.6), "angles_deg": WHOLE, "centre": 0.6},
    "many photons": lambda: PARALLEL | {"counts": counted(parallel()), "flat": 2e4, "angles_deg": HALF},
    "few photons": lambda: PARALLEL | {"counts": counted(parallel(), 900.0), "flat": 900.0, "angles_deg": HALF},
    "a fan of few photons": lambda: FAN | {"counts": counted(fan(), 900.0), "flat": 900.0, "angles_deg": WHOLE},
}


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_said_of_a_sound_scan(read, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(**SOUND[name]())


DRIFT = 0.2 * np.sin(HALF / 30)[:, None]
FAULTS = {
    "half a pixel": ({"sinogram": parallel(centre=-0.01)}, r"on bin 49\.50 .* centres of mass .* about bin 50\.00"),
    "wrong sign": ({"sinogram": parallel(centre=-0.06), "centre": 0.06}, r"on bin 46\.50 .* about bin 52\.50"),
    "flat field": ({"counts": counted(parallel()), "flat": 4e4}, r"stay at 0\.69\d at both borders .* give air=6"),
    "offset": ({"sinogram": parallel() + 0.15}, r"stay at 0\.15 at both borders"),
    "cut": ({"sinogram": parallel(n_bins=60)}, r"at the border of the detector .* object is wider than what is seen"),
    "transmissions": ({"sinogram": np.exp(-parallel(n_bins=60))}, r"as are transmissions I / I0 of an object wider"),
    "scaled": ({"sinogram": 200 * parallel()}, r"-log\(I / I0\) .* reach .*, and no detector measures exp"),
    "blank view": ({"sinogram": with_value(parallel(), 0.0, 20)}, r"some views .* 100% off .*: view 20;"),
    "ring": ({"sinogram": parallel() * (1 + 0.3 * (np.arange(100) == 41))}, r"unlike their neighbours .*: bin 41;"),
    "mark": ({"sinogram": with_value(parallel(), -1.0, 9, 8)}, r"1 line integrals .* such as bin 8 of view 9"),
    "gradians": ({"sinogram": parallel(), "angles_deg": HALF / 0.9}, r"along one line differ by .*; check the angles"),
    "other name": (
        {"sinogram": parallel(), "center": 52.0},
        r"'center' is not used; 'center' may be 'centre', .*--axis",
    ),
    "no use": ({"sinogram": parallel(), "sample": "tooth"}, r"of 'scan\.npz' 'sample' is not used$"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told(read, name):
    changes, words = FAULTS[name]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read(**PARALLEL | {"angles_deg": HALF} | changes)
    assert any(re.search(words, str(one.message)) for one in told), [str(one.message) for one in told]


@pytest.mark.parametrize("data", [fan()[::-1], fan()[:, ::-1]], ids=["views", "bins"])
def test_a_fan_that_turns_the_other_way_is_told(read, data):
    with pytest.warns(UserWarning, match=r"if the object turns the other way; negate the angles, or reverse the bins"):
        read(**FAN, sinogram=data, angles_deg=WHOLE)


def test_distances_in_another_unit_are_told(read):
    with pytest.warns(UserWarning, match=r"wherever the axis is; .* and the distances of source and detector"):
        read(**FAN | {"source_origin": 1.6, "source_detector_distance": 2.4}, sinogram=fan(), angles_deg=WHOLE)


def test_an_overexposed_detector_is_told(read):
    counts = np.minimum(counted(parallel(), 7e4), 65535).astype(np.uint16)
    with pytest.warns(UserWarning, match=r"of the counts .* are 65535, the largest number of uint16"):
        read(**PARALLEL, counts=counts, flat=65535.0, angles_deg=HALF)


REFUSED = {
    "theta": ({"theta": HALF}, r"lacks 'angles_deg' \(angle of each view, in degrees\); is it 'theta'\?"),
    "no angles": ({}, r"lacks 'angles_deg'"),
    "detector": (
        FAN | {"source_detector_distance": 2.0, "angles_deg": HALF},
        r"must lie beyond the rotation axis, but the source is 2 from it and 4 from the axis",
    ),
    "silent": ({"sinogram": with_value(parallel(), 0.0, slice(None), 47), "angles_deg": HALF}, r"unknown in .* 47 \(1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(read, name):
    changes, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        read(**PARALLEL | {"sinogram": parallel()} | changes)


@pytest.mark.parametrize("order", ["vrb", "rvb", "rbv", "vbr", "bvr", "brv"])
@pytest.mark.parametrize(
    ("rows", "key"), [(1, "sinogram"), (3, "sinogram"), (3, "counts"), (130, "sinogram")], ids=str
)  # 130: a detector higher than it is wide
def test_the_axes_are_found_in_any_order(read, order, rows, key):
    stack = np.stack([parallel() * factor for factor in np.linspace(0.5, 1.5, rows)], 1)  # (views, rows, bins)
    given = stack.transpose(["vrb".index(axis) for axis in order])
    arrays = {"sinogram": given} if key == "sinogram" else {"counts": 1e4 * np.exp(-given), "flat": 1e4}
    scan = read({"row": rows // 2}, **PARALLEL, **arrays, angles_deg=HALF)
    assert np.allclose(scan.sinogram, stack[:, rows // 2])


def test_views_of_a_file_without_angles_are_spread_over_a_turn(read):
    scan = read({"turn": 180.0}, **PARALLEL, sinogram=parallel())
    assert np.allclose(np.degrees(scan.geometry.angles), HALF)
    with pytest.raises(InputError, match="gives its angles already, got turn = 180"):
        read({"turn": 180.0}, **PARALLEL, sinogram=parallel(), angles_deg=HALF)


def test_the_axis_of_half_a_turn_without_opposite_views_is_found_by_mass(read):
    degrees = np.arange(0, 170, 10.0)
    scan = read({"find_axis": True}, **PARALLEL, sinogram=parallel(degrees, centre=0.05), angles_deg=degrees)
    assert scan.axis == pytest.approx(49.5 - 2.5, abs=0.05)
