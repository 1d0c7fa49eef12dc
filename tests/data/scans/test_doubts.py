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
    "drift": ({"sinogram": parallel() + DRIFT}, r"rise and fall together, by 0\.\d+ from view to view .* give air=6"),
    "rings everywhere": (
        {"sinogram": parallel() + 0.05 * np.random.default_rng(0).standard_normal(100)},
        r"respond unlike each other, by 0\.0\d+ \(.* give rings=9",
    ),
    "another order": ({"sinogram": parallel()[np.random.default_rng(0).permutation(60)]}, r"not in the same order"),
    "ends twice": ({"sinogram": parallel(), "angles_deg": np.linspace(0, 180, 60)}, r"leave out the end"),
    "a fan called parallel": ({"sinogram": fan(), "angles_deg": WHOLE}, r"better with a fan of about \d+ degrees"),
    "ratios": ({"sinogram": np.exp(parallel())}, r"unless these are ratios of intensities"),
    "marks": (
        {"sinogram": with_value(parallel(), -999.0, slice(3, 7), 8)},
        r"4 values in 'sinogram' of 'scan\.npz' are -999, .* a mark for missing values",
    ),
    "two kinds of data": (
        {"sinogram": parallel(), "counts": counted(parallel()), "flat": 2e4},
        r"'sinogram' is not used; line integrals are computed from 'counts'",
    ),
    "flat field of no counts": ({"sinogram": parallel(), "flat": 2e4}, r"of 'scan\.npz' 'flat' is not used$"),
    "distances of a parallel beam": ({"sinogram": parallel(), "source_origin": 2.0}, r"'source_origin' is not used$"),
    "12 bits": (
        {"counts": np.minimum(counted(parallel(), 5e3), 4095), "flat": 5e3},
        r"% of the counts of 'scan\.npz' are 4095, the largest number of 12 bits: the detector was overexposed",
    ),
    "clipped": (
        {"counts": np.minimum(counted(parallel(), 5e3), 3000), "flat": 5e3},
        r"are 3000, and none is larger, though the flat field is",
    ),
    "no use": ({"sinogram": parallel(), "sample": "tooth"}, r"of 'scan\.npz' 'sample' is not used$"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told(read, name):
    changes, words = FAULTS[name]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read({"mask_bad": name == "marks"}, **PARALLEL | {"angles_deg": HALF} | changes)
    assert any(re.search(words, str(one.message)) for one in told), [str(one.message) for one in told]


@pytest.mark.parametrize("data", [fan()[::-1], fan()[:, ::-1]], ids=["views", "bins"])
def test_a_fan_that_turns_the_other_way_is_told(read, data):
    with pytest.warns(UserWarning, match=r"if the object turns the other way; negate the angles, or reverse the bins"):
        read(**FAN, sinogram=data, angles_deg=WHOLE)


def test_distances_in_another_unit_are_told(read):
    with pytest.warns(UserWarning, match=r"a fan of about \d+ degrees than with what the distances .* say"):
        read(**FAN | {"source_origin": 1.6, "source_detector_distance": 2.4}, sinogram=fan(), angles_deg=WHOLE)


def test_an_overexposed_detector_is_told(read):
    counts = np.minimum(counted(parallel(), 7e4), 65535).astype(np.uint16)
    with pytest.warns(UserWarning, match=r"of the counts .* are 65535, the largest number of uint16"):
        read(**PARALLEL, counts=counts, flat=65535.0, angles_deg=HALF)


@pytest.mark.parametrize(("beam", "most"), [(8e4, 65535), (5e3, 3000)])
def test_of_an_overexposed_detector_nothing_but_that_is_told(read, beam, most):
    counts = np.minimum(counted(parallel(), beam), most).astype(np.uint16)  # as if the beam were not that of the flat
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read(**PARALLEL, counts=counts, flat=beam, angles_deg=HALF)
    assert len(told) == 1 and "the detector was overexposed there" in str(told[0].message)


STEP, TURNS = np.where(np.arange(60) < 30, 1.0, 0.5)[:, None], np.where(np.arange(60) % 2, 1.0, 0.6)[:, None]


def test_views_of_unlike_exposure_are_told_where_the_axis_is_sought(read):
    known = PARALLEL | {"counts": STEP * counted(parallel()), "flat": 2e4, "angles_deg": HALF}
    words = r"rotation axis of 'scan\.npz' .* rise and fall together, by 0\.\d+ .* exposed differently; .* give air=6"
    with pytest.raises(InputError, match=words):
        read({"find_axis": True}, **known)
    assert read({"find_axis": True, "air": 6}, **known).axis == pytest.approx(49.5, abs=0.1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read(**known)
    assert len(told) == 1 and "or views were exposed differently" in str(told[0].message)


def test_views_that_are_brighter_than_the_flat_field_are_refused_until_air_is_given(read):
    known = PARALLEL | {"counts": TURNS * counted(parallel()), "flat": 0.6 * 2e4 / 8, "angles_deg": HALF}
    with pytest.raises(InputError, match=r"negative on average .* ends of the detector .* Give air=6 \(--air\)"):
        read(**known)
    scan = read({"air": 6}, **known)
    assert np.abs(scan.sinogram - parallel()).mean() < 0.02


def test_line_integrals_of_the_wrong_sign_are_refused_with_air_too(read):
    with pytest.raises(InputError, match=r"negative on average .* bins of air\. Change their sign"):
        read({"air": 6}, **PARALLEL, sinogram=-parallel(), angles_deg=HALF)


def test_degrees_that_are_said_to_be_radians_are_told(read):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read({"angle_unit": "radians"}, **PARALLEL, sinogram=parallel(), angles_deg=HALF)
    assert "taken as radians, as stated, but look like degrees: all are multiples" in str(told[0].message)


def test_distances_that_make_the_fan_narrower_are_told(read):
    with pytest.warns(UserWarning, match=r"with a fan of about \d+ degrees than with what the distances"):
        read(**FAN | {"source_detector_distance": 12.0}, sinogram=fan(), angles_deg=WHOLE)


def test_angles_of_a_full_turn_that_were_spread_with_their_end_are_told(read):
    with pytest.warns(UserWarning, match=r"is 360 degrees from the first, .* \(endpoint=False\)"):
        read(**FAN, sinogram=fan(), angles_deg=np.linspace(0, 360, len(WHOLE)))


def test_a_blank_view_is_left_out_where_bad_bins_are(read):
    blank = with_value(parallel(), np.nan, 20)
    with pytest.warns(UserWarning, match=r"no bin of 'scan\.npz' is known in view 20, which is left out"):
        scan = read({"mask_bad": True}, **PARALLEL, sinogram=blank, angles_deg=HALF)
    assert np.allclose(scan.sinogram, np.delete(parallel(), 20, 0))
    assert np.allclose(np.degrees(scan.geometry.angles), np.delete(HALF, 20))


def test_a_synchrotron_sinogram_keeps_what_else_its_file_says(read):
    given = {"sino": parallel(centre=0.1), "theta_deg": HALF}
    found = read(**given, spacing=0.02, centre=0.1)
    assert (found.unit, found.geometry.spacing, found.geometry.centre) == ("mm", 0.02, 0.1)
    plain = read(**given)
    assert plain.unit == "bin" and plain.axis == pytest.approx(49.5 - 5, abs=0.1)


REFUSED = {
    "theta": ({"theta": HALF}, r"lacks 'angles_deg' \(angle of each view, in degrees; is it 'theta'\?\)"),
    "almost the name": ({"angle_deg": HALF}, r"; is it 'angle_deg'\?\)"),
    "no angles": ({}, r"lacks 'angles_deg' .* or give angles_deg also by --turn 180"),
    "two names": ({"geometry": FAN["geometry"], "DSO": 4.0}, r"'angles_deg' .*'source_origin' .* is it 'DSO'\?"),
    "little absorption": ({"sinogram": np.exp(-parallel() / 50), "angles_deg": HALF}, r"object that absorbs little"),
    "yes and no": ({"sinogram": parallel() > 0.1, "angles_deg": HALF}, r"'sinogram' of .* holds only true and false"),
    "an empty reference": (
        {"reference": np.zeros((8, 8)), "pixel": 0.2, "angles_deg": HALF},
        r"must show something to compare with, but it is 0 everywhere",
    ),
    "axes that are stated": (
        {"axes": "bins views", "angles_deg": HALF},
        r"with the axes \(bins, views\) it has 100 views for 60 angles",
    ),
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
