"""Scans from files: every layout, the axis of rotation, real files where they lie, and the wording of bad ones.

Kinds of fault of the reader: keys that are missing, of other shapes or types (complex, text, bytes, structures), not
finite, or contradicting each other; angles in radians or beyond two turns; transposed arrays; raw counts as line
integrals, scans that show nothing or are scaled by 1e30; dead bins, zero and negative counts, no air; an axis outside
of the detector; damaged, cut-off and lying files of every kind.
"""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from nfsolve._core.errors import InputError
from nfsolve.data.scans.axis import rotation_axis
from nfsolve.data.scans.scan import Reading, Scan, read_scan
from nfsolve.data.tables import find_file
from nfsolve.forward.counts import poisson_residual
from nfsolve.forward.phantoms import Ellipse, phantom_projections
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, line_integrals

OBJECT = (
    Ellipse(1.0, 0.3, 0.5, 0.1, 0.2, 20.0),
    Ellipse(-0.4, 0.1, 0.2, 0.2, 0.3),
    Ellipse(0.7, 0.05, 0.1, -0.05, -0.1),
)
PARAMETERS = {
    "distanceSourceOrigin": 410.66,
    "distanceSourceDetector": 553.74,
    "pixelSizePost": 0.2,
    "effectivePixelSizePost": 0.148,
    "numDetectorsPost": 5,
}

# arrays of arbitrary numbers are no scans; what is said of scans is tested in test_doubts
pytestmark = pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")


def general(**changes):
    n = np.arange(12.0)
    arrays = {
        "sinogram": n[:, None] + np.arange(5.0) / 10,
        "angles_deg": 15 * n,
        "geometry": "parallel",
        "spacing": 0.5,
    }
    return {k: v for k, v in (arrays | changes).items() if v is not None}


def counted(**changes):
    counts = np.full((12, 5), 100.0)
    return general(**({"sinogram": None, "counts": counts, "flat": np.full(5, 1010.0), "dark": 10.0} | changes))


def challenge(**changes):
    n = np.arange(25.0)
    arrays = {f"geom_{k}": v for k, v in PARAMETERS.items()} | {
        "sinogram": (n[:, None] + np.arange(5.0) / 10).astype(np.float32),
        "angles_deg": 15 * n,
        "limited_angles_deg": np.array([30.0, 45.0, 60.0]),
        "fbp_512": np.full((8, 8), 0.0049, np.float32),
        "segmentation_512": np.eye(8) > 0,
    }
    return {k: v for k, v in (arrays | changes).items() if v is not None}


@pytest.fixture
def read(tmp_path):
    def write_and_read(arrays, every=1, limited=False, **options):
        np.savez(tmp_path / "scan.npz", **arrays)
        return read_scan(tmp_path / "scan.npz", Reading(**options)).part(every, limited)

    return write_and_read


def test_the_general_layout_gives_a_parallel_beam_in_millimetres(read):
    scan = read(general(centre=0.25))
    assert scan.geometry == ParallelBeam(tuple(np.radians(15 * np.arange(12.0))), 5, 0.5, 0.25)
    assert np.array_equal(scan.sinogram, general()["sinogram"]) and scan.sinogram.dtype == np.float64
    assert (scan.name, scan.unit, scan.weights, scan.counts, scan.reference) == ("scan", "mm", None, None, None)


def test_the_general_layout_gives_a_fan_beam_and_a_reference(read):
    image = np.arange(6.0).reshape(2, 3)
    scan = read(general(geometry="fan", source_origin=40.0, source_detector_distance=60.0, reference=image, pixel=2.0))
    assert scan.geometry == FanBeam(tuple(np.radians(15 * np.arange(12.0))), 5, 0.5, 40.0, 60.0)
    assert np.array_equal(scan.reference, image) and scan.grid == PixelGrid(2, 3, 2.0)


def test_counts_become_line_integrals_and_stay_for_the_likelihood(read):
    scan = read(counted())
    assert np.allclose(scan.sinogram, np.log(1000 / 90), atol=1e-13)
    assert (scan.counts == 90).all() and (scan.I0 == 1000).all() and scan.weights is None


def test_the_axis_can_be_given_in_bins(read):
    scan = read(general(centre=7.0), axis=1.0)
    offsets = scan.geometry.offsets()
    assert scan.geometry.centre == 0.5 and float(offsets[1]) == 0


def test_every_and_the_rows_of_a_stack(read):
    stack = np.stack([general()["sinogram"], 100 + general()["sinogram"]])
    scan = read(general(sinogram=stack), every=5, row=1)
    assert np.array_equal(scan.sinogram[:, 0], [100, 105, 110])
    assert np.allclose(np.degrees(scan.geometry.angles), [0, 75, 150])
    with pytest.raises(InputError, match=r"detector rows 0 to 1, got row=2"):
        read(general(sinogram=stack), row=2)
    with pytest.raises(InputError, match=r"every must be 1 to 12, the number of views, got 13"):
        read(general(), every=13)


def test_the_challenge_has_its_fan_its_arc_and_its_reference_per_millimetre(read):
    scan = read(challenge())
    assert scan.geometry == FanBeam(tuple(np.radians(15 * np.arange(24.0))), 5, 0.2, 410.66, 553.74)
    assert scan.sinogram.shape == (24, 5)  # the last of 25 repeats the first
    assert scan.grid == PixelGrid(8, 8, 0.148) and np.allclose(scan.reference, 0.0049 / 0.148)
    assert scan.segmentation.dtype == bool and scan.segmentation.sum() == 8
    arc = read(challenge(), limited=True)
    assert np.allclose(np.degrees(arc.geometry.angles), [30, 45, 60]) and np.array_equal(arc.sinogram[:, 0], [2, 3, 4])


@pytest.mark.parametrize("struct", ["CtDataFull", "CtDataLimited"])
def test_the_challenge_in_matlab_files(tmp_path, struct):
    whole = challenge()
    parameters = PARAMETERS | {"angles": whole["angles_deg"][:7]}
    savemat(tmp_path / "a.mat", {struct: {"sinogram": whole["sinogram"][:7], "parameters": parameters}})
    scan = read_scan(tmp_path / "a.mat")
    assert scan.geometry == FanBeam(tuple(np.radians(15 * np.arange(7.0))), 5, 0.2, 410.66, 553.74)
    assert np.array_equal(scan.sinogram, whole["sinogram"][:7])
    assert read_scan(tmp_path / "a.mat").part(limited=True).geometry == scan.geometry


def test_the_general_layout_in_matlab_files(tmp_path):
    savemat(tmp_path / "a.mat", general())
    assert read_scan(tmp_path / "a.mat").geometry.shape == (12, 5)


def test_a_synchrotron_sinogram_finds_its_axis(read):
    degrees = np.arange(181) * 180 / 181
    beam = ParallelBeam(tuple(np.radians(degrees)), 200, 0.01, 0.117)
    sinogram = phantom_projections(OBJECT, beam, 4).numpy().astype(np.float32)
    scan = read({"sino": sinogram[None], "theta_deg": degrees})
    assert scan.unit == "bin" and scan.geometry.spacing == 1
    assert scan.geometry.centre == pytest.approx(11.7, abs=0.05)
    assert read({"sino": sinogram[None], "theta_deg": degrees}, axis=99.5).geometry.centre == 0


@pytest.mark.parametrize("centre", [0.0, 0.0123, -0.21])
@pytest.mark.parametrize("kind", ["half", "closed", "full", "sparse", "shuffled"])
def test_the_axis_of_rotation_is_found_within_a_twentieth_of_a_bin(kind, centre):
    views = {
        "half": np.arange(180) / 180,
        "closed": np.linspace(0, 1, 91),
        "full": np.arange(90) / 45,
        "sparse": np.arange(60) / 60,
        "shuffled": np.random.default_rng(0).permutation(181) / 181,
    }
    angles = np.pi * views[kind]
    sinogram = phantom_projections(OBJECT, ParallelBeam(tuple(angles), 200, 0.01, centre), 4).numpy()
    noisy = sinogram + 0.005 * np.random.default_rng(0).normal(size=sinogram.shape)
    assert rotation_axis(noisy, angles) == pytest.approx(99.5 - centre / 0.01, abs=0.05)


def test_an_axis_needs_opposite_views():
    with pytest.raises(InputError, match="no two views are opposite to within 7 degrees. Give the axis"):
        rotation_axis(np.ones((50, 9)), np.linspace(0, 2, 50))


def test_dead_detector_columns_are_named_and_can_be_masked(read):
    broken = general()["sinogram"].copy()
    broken[:, 2] = np.nan
    broken[3, 4] = np.inf
    with pytest.raises(
        InputError, match=r"'sinogram' of .* unknown in detector columns 2, 4 \(2 of 5\)\. Give mask_bad=True"
    ):
        read(general(sinogram=broken))
    scan = read(general(sinogram=broken), mask_bad=True)
    filled = general()["sinogram"]
    filled[3, 4] = filled[3, 3]
    assert np.allclose(scan.sinogram, filled)
    assert scan.weights.sum() == 60 - 13 and not scan.weights[:, 2].any()
    broken[5] = np.nan
    with pytest.raises(InputError, match=r"no known bin in view 5\. Leave this view out"):
        read(general(sinogram=broken))


def test_zero_counts_are_refused_by_the_logarithm_and_kept_for_the_likelihood(read):
    counts = np.full((12, 5), 100.0)
    counts[4, 1], counts[:, 3] = 3.0, np.nan
    with pytest.raises(
        InputError,
        match=r"1 of 60 counts of .* are zero or below the dark field, .* Give mask_bad=True, .* keeps the counts",
    ):
        read(counted(counts=counts))
    scan = read(counted(counts=counts), mask_bad=True)
    assert np.allclose(scan.sinogram, np.log(1000 / 90), atol=1e-13)
    assert scan.weights[4, 1] == 0 and not scan.weights[:, 3].any() and scan.weights.sum() == 60 - 13
    assert (scan.counts[4, 1], scan.I0[4, 1]) == (0, 1000)
    assert not scan.counts[:, 3].any() and not scan.I0[:, 3].any()
    q = torch.full((60, 1), 2.0, dtype=torch.float64, requires_grad=True)
    r = poisson_residual(q, *(torch.from_numpy(z).reshape(-1, 1) for z in (scan.counts, scan.I0)))
    (slope,) = torch.autograd.grad(r.sum(), q)
    for values in (r, slope):  # unknown counts say nothing, a zero says that the attenuation is large
        assert torch.isfinite(values).all() and not values.reshape(12, 5)[:, 3].any() and values[4 * 5 + 1] != 0
    counts[0, 0] = -1.0
    with pytest.raises(InputError, match=r"numbers of photons, and 1 of 60 of .* are negative.* or mask_bad=True"):
        read(counted(counts=counts))
    scan = read(counted(counts=counts), mask_bad=True)
    assert (scan.counts[0, 0], scan.weights[0, 0]) == (0, 0)


@pytest.mark.parametrize("make", [general, counted], ids=["line integrals", "counts"])
def test_air_beside_the_object_takes_the_drift_of_the_beam_away(read, make):
    p = np.pad(general()["sinogram"] / 10, ((0, 0), (2, 2)))  # two bins of air at either border
    drift = np.linspace(0.5, 2.0, 12)[:, None]
    drifted, steady = p - np.log(drift), 1e4 * np.exp(-p)
    arrays = {"sinogram": drifted} if make is general else {"counts": drift * steady, "flat": 1e4, "dark": 0.0}
    with_drift, scan = read(make(**arrays)), read(make(**arrays), air=2)
    assert np.abs(with_drift.sinogram - p).max() > 0.6
    assert np.allclose(scan.sinogram, p, atol=1e-12)
    if make is counted:  # the likelihood sees the beam of the view
        assert np.allclose(scan.I0, 1e4 * drift) and np.allclose(scan.counts, drift * steady)
    sparse = read(make(**arrays), air=2, every=4)
    assert np.allclose(sparse.sinogram, p[::4], atol=1e-12)


def test_bins_of_air_that_are_unknown_are_passed_over(read):
    p = np.pad(general()["sinogram"], ((0, 0), (2, 2)))
    p[:, 0], p[3, -1] = np.nan, np.nan
    scan = read(general(sinogram=p + np.arange(12.0)[:, None] / 100), air=2, mask_bad=True)
    assert np.allclose(scan.sinogram[:, 2:-2], p[:, 2:-2])
    with pytest.raises(InputError, match=r"none of the 2 bins of air of .* is known in every view"):
        read(general(sinogram=p), air=1, mask_bad=True)


def test_air_that_is_none_is_refused(read):
    p = np.pad(general()["sinogram"], ((0, 0), (2, 2)))
    with pytest.raises(
        InputError,
        match=r"the 3 bins of air at either border .* below 5 % of the largest .* reach \d+ %\. Give fewer bins",
    ):
        read(general(sinogram=p), air=3)
    for air in (5, -1):
        with pytest.raises(InputError, match=rf"air must be 1 to 4 of the 9 bins of .*, got {air}"):
            read(general(sinogram=p), air=air)


def test_parts_of_a_scan_that_was_read(read):
    scan = read(challenge())
    assert scan.arc == (30, 60)
    assert np.array_equal(scan.part(every=7).sinogram, read(challenge(), every=7).sinogram)
    assert scan.part(limited=True, every=2).geometry == read(challenge(), limited=True, every=2).geometry


BAD = [
    (
        general(sinogram=np.ones((11, 5))),
        r"shape \(11, 5\), and no axis of it fits 12 angles\. Give one angle for each view",
    ),
    (general(sinogram=np.ones(60)), r"shape \(60,\), and no axis of it fits 12 angles"),
    (general(sinogram=np.ones((1, 12, 5, 1))), r"shape \(1, 12, 5, 1\), and no axis of it fits 12 angles"),
    (challenge(geom_numDetectorsPost=6), r"shape \(25, 5\), and no axis of it fits 25 angles and 6 detector bins"),
    (general(sinogram=np.zeros((12, 5))), r"largest of 'scan' is 0\. Check that it is not empty"),
    (general(sinogram=1e30 * general()["sinogram"]), r"of order one, but the largest .* is 1.14e\+31\. Scale them"),
    (general(sinogram=-general()["sinogram"]), r"are negative on average .* Change their sign"),
    (
        general(angles_deg=np.linspace(0, 3, 12)),
        r"'angles_deg' of .* look like radians, not degrees: 12 views span 3",
    ),
    (general(angles_deg=np.array([np.nan] * 12)), r"must be finite and below .*, but 'angles_deg' of .* is nan in"),
    (general(angles_deg=1e30 * np.arange(12)), r"finite and below 1e\+08, but 'angles_deg' of .* is 1e\+30 in view 1"),
    (general(angles_deg=np.zeros(0)), r"'angles_deg' of .* must hold numbers, but it has shape \(0,\)"),
    (general(angles_deg=np.array(["north"] * 12)), "'angles_deg' of .* must hold real numbers, not text"),
    (general(angles_deg=None), r"lacks 'angles_deg' \(angle of each view, in degrees\)"),
    (general(sinogram=None), r"lacks 'sinogram' \(line integrals -log\(I / I0\), .* or 'counts' with 'flat'\)"),
    (general(geometry=None), r"lacks 'geometry' \('parallel', 'fan' or 'cone'\)"),
    (general(geometry="helix"), r"unknown geometry 'helix'"),
    (general(spacing=None), r"lacks 'spacing' \(width of a detector bin, in mm\)"),
    (general(spacing=0.0), r"'spacing' of .* must be a number from 1e-15 to 1e\+15, got 0"),
    (general(bins=6), r"shape \(12, 5\), and no axis of it fits 12 angles and 6 detector bins"),
    (general(spacing=np.ones(2)), r"'spacing' of .* must be a number from 1e-15 to 1e\+15, got \[1.0, 1.0\]"),
    (
        general(geometry="fan", source_detector_distance=9.0),
        r"lacks 'source_origin' \(distance from the source to the rotation axis, in mm\)",
    ),
    (
        general(geometry="fan", source_origin=9.0),
        r"lacks 'source_detector_distance' \(distance from the source to the detector, in mm\)",
    ),
    (general(centre=1.6), r"the rotation axis of .* on bin 0 to 4, got -1.2"),
    (general(reference=np.zeros((2, 2))), r"lacks 'pixel' \(side of the pixels of 'reference'"),
    (
        general(reference=np.zeros((2, 2)), segmentation=np.zeros((3, 2)), pixel=1.0),
        r"one shape .* got \[\(2, 2\), \(3, 2\)\]",
    ),
    (counted(flat=None), r"lacks 'flat' \(counts of the bare beam"),
    (counted(flat=np.ones(4)), r"'flat' of .* has shape \(4,\), which does not fit counts of 12 views of 5 bins"),
    (
        challenge(geom_pixelSizePost=None),
        r"lacks 'geom_pixelSizePost' \(width of a detector bin after binning, in mm\)",
    ),
    (challenge(geom_distanceSourceOrigin=None), r"lacks 'geom_distanceSourceOrigin' \(distance from the source"),
    ({"sino": np.zeros((2, 3))}, r"lacks 'angles_deg' \(angle of each view"),
    (general(sinogram=np.ones((12, 5)) * 1j), "'sinogram' of .* not complex numbers"),
    (general(sinogram=np.ones((12, 5)).astype(str)), "'sinogram' of .* not text"),
    (general(sinogram=np.ones(60)), r"'sinogram' of .* has shape \(60,\), and no axis of it fits"),
    (general(sinogram=np.float64(1)), r"'sinogram' of .* has shape \(\), and no axis of it fits"),
    (general(bins="five"), "'bins' of .* not text"),
    (general(centre=np.nan), "'centre' of .* must be a finite number, got"),
    (general(geometry=np.array(["fan", "fan"])), "unknown geometry 'fanfan'"),
    (general(reference=np.ones((2, 2)), pixel=0.0), "'pixel' of .* must be a number from 1e-15"),
    (general(reference=np.full((2, 2), np.nan), pixel=1.0), "images of .* must be finite"),
    (challenge(geom_effectivePixelSizePost="wide"), "'pixel' of .* not text"),
    (challenge(fbp_512=np.ones((2, 2)).astype(str)), "'fbp_512' of .* not text"),
    ({"hu": np.zeros((2, 2))}, r"holds a slice, not a sinogram\. Read it by read_slice"),
    ({"volume": np.zeros((2, 2, 2))}, r"holds a volume, not a sinogram\. Read it by read_volume"),
]


@pytest.mark.parametrize(("arrays", "words"), BAD, ids=[str(k) for k in range(len(BAD))])
def test_bad_scans_are_worded(read, arrays, words):
    with pytest.raises(InputError, match=words):
        read(arrays)


@pytest.mark.parametrize("beam", [b"parallel", np.array(["parallel"]), np.array([b"parallel"])])
def test_names_of_beams_have_several_types(read, beam):
    assert isinstance(read(general(geometry=beam)).geometry, ParallelBeam)


@pytest.mark.parametrize("struct", [{"sinogram": np.ones((7, 5)), "parameters": 3.0}, {"parameters": {}}, {}])
def test_structures_that_lack_something_are_worded(tmp_path, struct):
    savemat(tmp_path / "a.mat", {"CtDataFull": struct or {"nothing": 1}})
    with pytest.raises(InputError, match=r"a.mat' (lacks '|must be a structure)"):
        read_scan(tmp_path / "a.mat")


@pytest.mark.parametrize("ending", [".npz", ".npy", ".mat"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.98])
def test_files_that_are_cut_off_end_in_a_sentence(tmp_path, ending, share):
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, general()["sinogram"])
    else:
        (np.savez if ending == ".npz" else savemat)(path, **({"mdict": general()} if ending == ".mat" else general()))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"'.*a{ending}' (could not be read|must be a complete)|'.*a{ending}' lacks"):
        read_scan(path)


def test_a_matlab_file_that_crashes_scipy_ends_in_a_sentence(tmp_path):
    savemat(tmp_path / "a.mat", {"sinogram": np.ones((7, 25))})
    content = bytearray((tmp_path / "a.mat").read_bytes())
    here = content.index((9).to_bytes(4, "little") + (1400).to_bytes(4, "little"))  # kind and bytes of the numbers
    content[here : here + 4] = (100).to_bytes(4, "little")  # there is no such kind: a segmentation fault
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"a.mat' must be a complete .mat file, .* \(it is damaged\)"):
        read_scan(tmp_path / "a.mat")


@pytest.mark.parametrize("claim", [9**9, 10**15])
def test_files_that_claim_more_than_they_hold_end_in_a_sentence(tmp_path, claim):
    np.save(tmp_path / "a.npy", np.ones((7, 25)))
    content = (tmp_path / "a.npy").read_bytes()
    shape = f"({claim},)".encode()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(7, 25), }" + b" " * (len(shape) - 7), shape + b", }"))
    with pytest.raises(InputError, match="a.npy' could not be read"):
        read_scan(tmp_path / "a.npy")
    savemat(tmp_path / "a.mat", {"sinogram": np.ones((7, 25))})
    content = (tmp_path / "a.mat").read_bytes()
    here = content.index((7).to_bytes(4, "little") + (25).to_bytes(4, "little"))
    sizes = min(claim, 2**31 - 1).to_bytes(4, "little") * 2
    (tmp_path / "a.mat").write_bytes(content[:here] + sizes + content[here + 8 :])
    with pytest.raises(InputError, match=r"a.mat' must be a complete .mat file, .*\(it claims \d+ numbers"):
        read_scan(tmp_path / "a.mat")


def test_the_unit_of_angles_can_be_stated(read):
    radians = general(angles_deg=np.linspace(0, 3, 12))
    assert read(radians, angle_unit="radians").geometry.angles[-1] == pytest.approx(3)
    assert read(radians, angle_unit="degrees").geometry.angles[-1] == pytest.approx(np.radians(3))
    with pytest.raises(InputError, match=r"unknown angle unit 'grad'"):
        read(radians, angle_unit="grad")


def test_an_axis_outside_the_detector_and_an_arc_that_is_not_there(read):
    with pytest.raises(InputError, match=r"on bin 0 to 4, got 5"):
        read(general(), axis=5.0)
    with pytest.raises(InputError, match=r"names no limited arc\. Add 'limited_angles_deg'"):
        read(general(), limited=True)
    with pytest.raises(InputError, match=r"no view of .* lies from 170 to 175 degrees"):
        read(general(limited_angles_deg=np.array([170.0, 175.0])), limited=True)


def test_photons_are_counted_through_the_object():
    p = np.full((40, 50), 1.5)
    exact = Scan("slab", p, ParallelBeam.half_turn(40, 50))
    assert exact.counted(0, 3) is exact
    scan = exact.counted(1e4, 3)
    assert scan.counts.mean() == pytest.approx(1e4 * np.exp(-1.5), rel=0.002)
    assert scan.counts.var() == pytest.approx(1e4 * np.exp(-1.5), rel=0.1)
    assert np.allclose(scan.sinogram, np.log(1e4 / scan.counts), rtol=1e-14, atol=0)
    assert scan.weights is None and (scan.I0 == 1e4).all() and scan.I0.shape == p.shape
    assert np.array_equal(scan.counts, exact.counted(1e4, 3).counts)
    assert not np.array_equal(scan.counts, exact.counted(1e4, 4).counts)


def test_bins_without_a_photon_have_no_weight_and_a_finite_line_integral():
    scan = Scan("wall", np.full((10, 20), 3.0), ParallelBeam.half_turn(10, 20)).counted(20.0, 0)
    none = scan.counts == 0
    assert 0.2 < none.mean() < 0.6
    assert np.array_equal(scan.weights, 1.0 - none)
    assert np.allclose(scan.sinogram[none], np.log(20.0))
    few = scan.subset([7, 2])
    assert np.array_equal(few.counts, scan.counts[[7, 2]]) and np.array_equal(few.weights, scan.weights[[7, 2]])


def test_unreadable_files_are_worded(tmp_path):
    for name, content, words in (
        ("a.npz", b"no archive", r"a.npz' could not be read \(not a zip archive\)"),
        (
            "a.mat",
            b"no matlab file",
            r"a.mat' must be a complete .mat file, .* could not be read .* Save it again with -v7 ",
        ),
        ("a.npy", b"", r"a.npy' could not be read"),
        ("a.bmp", b"BM", "that end in .npz, .mat, .npy, .dcm, .h5, .* but '.*a.bmp' does not"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_scan(tmp_path / name)
    with pytest.raises(InputError, match=r"data file '.*none.npz' was not found"):
        read_scan(tmp_path / "none.npz")


def real(name):
    try:
        return read_scan(find_file(name)).part(every=60)
    except InputError as error:
        pytest.skip(f"{name}: {error}")


@pytest.mark.parametrize("name", ["ct_htc2022_01a.npz", "ct_htc2022_04b.npz"])
def test_the_supplied_reference_projects_to_the_measured_sinogram(name):
    scan = real(name)
    image = torch.from_numpy(scan.reference)[None, None]
    half = scan.grid.rows * scan.grid.pixel / 2

    def field(points):
        where = torch.stack([points[:, 0], -points[:, 1]], -1)[None, None] / half
        return torch.nn.functional.grid_sample(image, where, align_corners=False)[0, 0, 0][:, None]

    q = line_integrals(field, scan.geometry.rays(), 300, ((-half, half), (-half, half))).numpy().ravel()
    p = scan.sinogram.ravel()
    assert np.corrcoef(q, p)[0, 1] > 0.99
    assert q @ p / (p @ p) == pytest.approx(1, abs=0.03)


def test_the_axis_of_the_tooth():
    assert 319.5 - real("ct_tooth_aps_sinogram.npz").geometry.centre == pytest.approx(295.9, abs=0.1)


# --- the unit of angles, and arcs ---------------------------------------------------------------


TURN = np.arange(0, 360, 3.0)
GOLDEN = np.arange(50) * np.degrees(np.pi * (3 - 5**0.5))


@pytest.mark.parametrize(
    "degrees",
    [
        TURN / 2,
        TURN[::-1],
        TURN - 180,
        np.arange(0, 1080, 9.0),  # three turns
        np.repeat(TURN, 2),
        np.random.default_rng(0).permutation(TURN),
        GOLDEN,
        GOLDEN % 360,
        np.arange(8) * 22.5,
        np.arange(0, 60, 0.5),
        np.arange(90) * 2.4,  # nearly the golden angle, were it radians
        np.arange(0, 44, 1.0),  # nearly 14 pi
    ],
    ids=str,
)
def test_angles_in_degrees_are_taken_and_in_radians_asked_about(read, degrees):
    arrays = {"sinogram": np.ones((len(degrees), 5)), "angles_deg": degrees}
    angles = np.asarray(read(general(**arrays)).geometry.angles)
    kept = degrees[: len(angles)]
    assert np.allclose(np.exp(1j * angles), np.exp(1j * np.radians(kept)), atol=1e-9)
    assert np.abs(angles).max() <= 4 * np.pi
    if np.ptp(degrees) < 90:  # seven turns of radians and more are as good as an arc of so many degrees
        return
    radians = arrays | {"angles_deg": np.radians(degrees)}
    if np.ptp(np.radians(degrees)) < 40 or degrees is GOLDEN:
        with pytest.raises(InputError, match=r"look like radians, not degrees: .* State their unit: angle_unit="):
            read(general(**radians))
    stated = np.asarray(read(general(**radians), angle_unit="radians").geometry.angles)
    assert np.allclose(np.exp(1j * stated), np.exp(1j * angles), atol=1e-9)


@pytest.mark.parametrize("step", [np.pi * (3 - 5**0.5), np.pi * (5**0.5 - 1) / 2, -np.pi * (5**0.5 - 1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_golden_angles_in_radians_are_seen(read, step, dtype):
    angles = (step * np.arange(90)).astype(dtype)
    with pytest.raises(InputError, match="a golden angle in radians"):
        read(general(sinogram=np.ones((90, 5)), angles_deg=angles))


@pytest.mark.parametrize(
    ("views", "arc", "wanted"),
    [
        (TURN, [*range(330, 360, 3), *range(0, 31, 3)], [*range(330, 360, 3), *range(0, 31, 3)]),
        (TURN, [330, 390], [*range(330, 360, 3), *range(0, 31, 3)]),
        (TURN, [-30, 30], [*range(330, 360, 3), *range(0, 31, 3)]),
        (TURN - 180, np.arange(330, 391, 3), range(-30, 31, 3)),
        (TURN[::-1], [60, 57, 54, 51], [60, 57, 54, 51]),
        (TURN, [54, 60, 51, 57], [51, 54, 57, 60]),
        (TURN, [0, 360], TURN),
        (TURN, [30.0], [30]),
        (np.repeat(TURN, 2), [30, 36], [30, 30, 33, 33, 36, 36]),
    ],
    ids=str,
)
def test_limited_arcs_through_zero_in_any_order_and_turn(read, views, arc, wanted):
    arrays = {"sinogram": np.ones((len(views), 5)), "angles_deg": views, "limited_angles_deg": np.asarray(arc, float)}
    chosen = np.degrees(read(general(**arrays), limited=True).geometry.angles)
    assert sorted(np.round(chosen % 360, 6)) == sorted(np.asarray(wanted, float) % 360)
    turned = {name: np.radians(values) if "angles" in name else values for name, values in arrays.items()}
    assert len(read(general(**turned), limited=True, angle_unit="radians").geometry.angles) == len(chosen)


def test_ends_of_an_arc_that_fall_are_asked_about(read):
    with pytest.raises(InputError, match=r"its two ends, rising, got \[330.0, 30.0\]\. Write .* as 330, 390"):
        read(general(limited_angles_deg=np.array([330.0, 30.0])), limited=True)


# --- layouts of counts --------------------------------------------------------------------------


VIEWS, ROWS, BINS = 12, 3, 7
LENGTHS = {"views": VIEWS, "rows": ROWS, "bins": BINS}
BEAM = 1e4 * (1 + 0.1 * np.arange(VIEWS)[:, None, None] + 0.3 * np.arange(ROWS)[:, None] + 0.05 * np.arange(BINS))
INTEGRALS = np.abs(np.sin(1 + np.arange(VIEWS * ROWS * BINS))).reshape(VIEWS, ROWS, BINS)
LAYOUTS = ["views rows bins", "rows views bins", "rows bins views", "bins views rows", "views bins", "bins views"]


def laid_out(values, names):
    """Put (views, rows, bins) into an order of axes; without rows the last row."""
    names = names.split()
    if "rows" not in names:
        values, whole = values[:, -1], ["views", "bins"]
    else:
        whole = ["views", "rows", "bins"]
    return values.transpose([whole.index(name) for name in names])


@pytest.mark.parametrize("field", ["number", "bins", "views", "detector", "frames", "one frame", "like the counts"])
@pytest.mark.parametrize("names", LAYOUTS)
def test_counts_and_fields_in_any_layout(read, names, field):
    varying = {"number": "", "bins": "bins", "views": "views", "like the counts": "views rows bins"}.get(
        field, "rows bins"
    )
    beam = BEAM.mean(tuple(k for k, name in enumerate(LENGTHS) if name not in varying.split()), keepdims=True)
    counts = beam * np.exp(-INTEGRALS) + 100
    whole = np.broadcast_to(beam + 100, INTEGRALS.shape)
    frames = whole[:1] + np.array([-50.0, -10, 10, 50])[:, None, None]
    flat = {
        "number": beam.item() + 100 if beam.size == 1 else None,
        "bins": whole[0, -1],
        "views": whole[:, -1, 0],
        "detector": laid_out(whole, names).take(0, names.split().index("views")),
        "frames": laid_out(frames, "views rows bins" if "rows" in names else "views bins"),
        "one frame": laid_out(whole[:1], names),
        "like the counts": laid_out(whole, names),
    }[field]
    arrays = {"counts": laid_out(counts, names), "flat": flat, "dark": 100.0}
    if names.split()[-1] != "bins":
        arrays["bins"] = BINS
    scan = read(counted(**arrays), row=ROWS - 1 if "rows" in names else 0)
    assert np.allclose(scan.sinogram, INTEGRALS[:, -1])
    assert np.allclose(scan.I0, np.broadcast_to(beam, INTEGRALS.shape)[:, -1])
    line_integrals = arrays | {"sinogram": laid_out(INTEGRALS, names), "counts": None, "flat": None, "dark": None}
    assert np.allclose(
        read(general(**line_integrals), row=ROWS - 1 if "rows" in names else 0).sinogram, INTEGRALS[:, -1]
    )


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_counts_of_any_type(read, kind):
    counts = np.round(2e4 * np.exp(-INTEGRALS[:, 0])).astype(kind)
    flat, dark = np.full(BINS, 20100).astype(kind), np.full(BINS, 100).astype(kind)
    assert np.allclose(
        read(counted(counts=counts + kind(100), flat=flat, dark=dark)).sinogram, INTEGRALS[:, 0], atol=1e-3
    )


def test_axes_of_one_length_are_asked_about_and_can_be_stated(read):
    cube = np.repeat(INTEGRALS[:, :1], VIEWS, 1)  # as many rows as views
    with pytest.raises(
        InputError, match=r"could be \(views, rows, bins\) or \(rows, views, bins\)\. State them: axes="
    ):
        read(general(sinogram=cube))
    assert np.array_equal(read(general(sinogram=cube), axes="views rows bins").sinogram, INTEGRALS[:, 0])
    rows_first = cube.transpose(1, 0, 2)
    assert np.array_equal(read(general(sinogram=rows_first), axes="rows, views, bins").sinogram, INTEGRALS[:, 0])
    for axes in ("views bins", "views rows depth"):
        with pytest.raises(InputError, match=r"axes must name the 3 axes of 'sinogram'"):
            read(general(sinogram=cube), axes=axes)
    counts = np.exp(-cube)
    flat = 1 + 0.1 * np.arange(VIEWS)[:, None] * np.ones(BINS)
    with pytest.raises(InputError, match=r"'flat' of .* shape \(12, 7\), which can be read in two ways"):
        read(counted(counts=counts, flat=flat, dark=0.0), axes="views rows bins")
    assert read(counted(counts=counts, flat=flat[None], dark=0.0), axes="views rows bins").I0[3, 0] == 1
    assert read(counted(counts=counts, flat=flat[:, None], dark=0.0), axes="views rows bins").I0[3, 0] == 1.3


def test_a_square_sinogram_on_its_side_is_asked_about(read):
    geometry = ParallelBeam.half_turn(40, 40)
    sinogram = phantom_projections(OBJECT, geometry, 4).numpy()
    arrays = {"angles_deg": np.degrees(geometry.angles), "spacing": geometry.spacing}
    assert np.array_equal(read(general(sinogram=sinogram, **arrays)).sinogram, sinogram)
    with pytest.raises(InputError, match=r"could be \(views, bins\) or \(bins, views\)"):
        read(general(sinogram=sinogram.T, **arrays))
    assert np.array_equal(read(general(sinogram=sinogram.T, **arrays), axes="bins views").sinogram, sinogram)
    per = 1 + 0.1 * np.arange(40)  # for each bin, or for each view?
    with pytest.raises(InputError, match=r"'flat' of .* shape \(40,\), which can be read in two ways"):
        read(counted(counts=np.exp(-sinogram), flat=per, dark=0.0, **arrays))
    assert read(counted(counts=np.exp(-sinogram), flat=per[None], dark=0.0, **arrays)).I0[0, 1] == 1.1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda p: np.round(2e4 * np.exp(-p)).astype(np.uint16), r"whole numbers up to 20000, which look like counts"),
        (lambda p: np.exp(-p), r"less behind the object, like transmissions I / I0"),
        (lambda p: np.exp(-p).astype(np.float32), r"less behind the object, like transmissions I / I0"),
        (lambda p: 4e3 * np.exp(-p), r"less behind the object, like intensities"),
        (lambda p: -p, r"negative on average .* Change their sign"),
    ],
)
def test_intensities_stored_as_line_integrals_are_seen(read, made, words):
    geometry = ParallelBeam.half_turn(30, 40)
    sinogram = phantom_projections(OBJECT, geometry, 4).numpy()
    arrays = {"angles_deg": np.degrees(geometry.angles), "spacing": geometry.spacing}
    read(general(sinogram=sinogram, **arrays))
    read(general(sinogram=sinogram[:, 8:24], **arrays))  # a part of the detector, inside the object
    with pytest.raises(InputError, match=words):
        read(general(sinogram=made(sinogram), **arrays))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"sinogram": np.ones((5, 4))}, r"the sinogram of 'a' must have the shape \(4, 5\) = \(views, bins\)"),
        ({"sinogram": np.full((4, 5), np.nan)}, r"the sinogram of 'a' must be finite"),
        ({"sinogram": np.zeros((4, 5))}, r"the largest of 'a' is 0\. Check that it is not empty"),
        ({"counts": -np.ones((4, 5))}, r"the counts of 'a' must be finite, and not negative"),
        ({"weights": np.ones(5)}, r"the weights of 'a' must have the shape \(4, 5\)"),
    ],
)
def test_impossible_scans_are_worded(parts, words):
    with pytest.raises(InputError, match=words):
        Scan("a", geometry=ParallelBeam.half_turn(4, 5), **({"sinogram": np.ones((4, 5))} | parts))
