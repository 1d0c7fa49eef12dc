"""Scans from files: every layout, the axis of rotation, real files where they lie, and the wording of bad ones."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from nfsolve._core.errors import InputError
from nfsolve.data.scans.axis import rotation_axis
from nfsolve.data.scans.scan import Scan, read_scan
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
    def write_and_read(arrays, **options):
        np.savez(tmp_path / "scan.npz", **arrays)
        return read_scan(tmp_path / "scan.npz", **options)

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
    with pytest.raises(InputError, match=r"row=2: a detector row from 0 to 1 of .* was expected"):
        read(general(sinogram=stack), row=2)
    with pytest.raises(InputError, match=r"every=13: a number from 1 to 12, that of the views"):
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
    assert read_scan(tmp_path / "a.mat", limited=True).geometry == scan.geometry


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
    with pytest.raises(InputError, match=r"no two views are opposite to within 7 degrees: .* Give the axis"):
        rotation_axis(np.ones((50, 9)), np.linspace(0, 2, 50))


def test_dead_detector_columns_are_named_and_can_be_masked(read):
    broken = general()["sinogram"].copy()
    broken[:, 2] = np.nan
    broken[3, 4] = np.inf
    with pytest.raises(
        InputError, match=r"'sinogram' of .* unknown in detector columns 2, 4 \(2 of 5\): .* Give mask_bad=True"
    ):
        read(general(sinogram=broken))
    scan = read(general(sinogram=broken), mask_bad=True)
    filled = general()["sinogram"]
    filled[3, 4] = filled[3, 3]
    assert np.allclose(scan.sinogram, filled)
    assert scan.weights.sum() == 60 - 13 and not scan.weights[:, 2].any()
    broken[5] = np.nan
    with pytest.raises(InputError, match=r"no known bin in view 5: at least one\. Remove this view"):
        read(general(sinogram=broken), mask_bad=True)


def test_zero_counts_are_refused_by_the_logarithm_and_kept_for_the_likelihood(read):
    counts = np.full((12, 5), 100.0)
    counts[4, 1], counts[:, 3] = 3.0, np.nan
    with pytest.raises(
        InputError,
        match=r"1 of 60 counts of .* are zero or below the dark field: .* Give mask_bad=True, .* keeps the counts",
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
    with pytest.raises(InputError, match=r"1 of 60 counts of .* are negative: numbers of photons, >= 0"):
        read(counted(counts=counts), mask_bad=True)


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
    with pytest.raises(InputError, match=r"no bin of the 2 of air of .* is known in every view: at least one"):
        read(general(sinogram=p), air=1, mask_bad=True)


def test_air_that_is_none_is_refused(read):
    p = np.pad(general()["sinogram"], ((0, 0), (2, 2)))
    with pytest.raises(
        InputError, match=r"in the 3 bins of air at either border reach \d+ % of the largest: less than 5 %.*fewer bins"
    ):
        read(general(sinogram=p), air=3)
    for air in (5, -1):
        with pytest.raises(InputError, match=rf"air = {air} bins at either border of .*: from 1 to 4, of 9 bins"):
            read(general(sinogram=p), air=air)


def test_parts_of_a_scan_that_was_read(read):
    scan = read(challenge())
    assert scan.arc == (30, 60)
    assert np.array_equal(scan.part(every=7).sinogram, read(challenge(), every=7).sinogram)
    assert scan.part(limited=True, every=2).geometry == read(challenge(), limited=True, every=2).geometry


BAD = [
    (general(sinogram=np.zeros((5, 12))), r"shape \(5, 12\), but there are 12 angles: .* Transpose 'sinogram'"),
    (general(sinogram=np.zeros((11, 5))), r"shape \(11, 5\), but there are 12 angles: .* Give one angle for each row"),
    (challenge(geom_numDetectorsPost=6), r"shape \(25, 5\), but there are 25 angles and 6 detector bins"),
    (challenge(sinogram=np.zeros((5, 25))), r"25 angles and 5 detector bins: .* Transpose 'sinogram'"),
    (
        general(angles_deg=np.linspace(0, 3, 12)),
        r"'angles_deg' of .* 12 angles of at most 3: degrees .* look like radians",
    ),
    (general(angles_deg=np.linspace(0, 900, 12)), r"'angles_deg' of .* holds 900: at most two turns"),
    (general(angles_deg=np.array([np.nan] * 12)), r"'angles_deg' of .* is nan in view 0"),
    (general(angles_deg=np.zeros(0)), r"'angles_deg' of .* is empty, of shape \(0,\)"),
    (general(angles_deg=np.array(["north"] * 12)), r"'angles_deg' of .* real numbers were expected"),
    (general(angles_deg=None), r"it lacks 'angles_deg' \(angle of each view, in degrees\)"),
    (general(sinogram=None), r"it lacks 'sinogram' \(line integrals -log\(I / I0\), .* or 'counts' with 'flat'\)"),
    (general(geometry=None), r"it lacks 'geometry' \('parallel' or 'fan'\)"),
    (general(geometry="helix"), r"unknown geometry 'helix'"),
    (general(spacing=None), r"it lacks 'spacing' \(width of a detector bin, in mm\)"),
    (general(spacing=0.0), r"'spacing' of .* is 0: a positive length in mm"),
    (general(bins=6), r"shape \(12, 5\), but there are 12 angles and 6 detector bins"),
    (general(spacing=np.ones(2)), r"'spacing' of .* is \[1.0, 1.0\]: one finite number"),
    (
        general(geometry="fan", source_detector_distance=9.0),
        r"it lacks 'source_origin' \(distance from the source to the rotation axis, in mm\)",
    ),
    (
        general(geometry="fan", source_origin=9.0),
        r"it lacks 'source_detector_distance' \(distance from the source to the detector, in mm\)",
    ),
    (general(centre=1.6), r"the rotation axis of .* falls on bin -1.2: inside the detector, from 0 to 4"),
    (general(reference=np.zeros((2, 2))), r"it lacks 'pixel' \(side of the pixels of 'reference'"),
    (general(reference=np.zeros((2, 2)), segmentation=np.zeros((3, 2)), pixel=1.0), r"shapes \[\(2, 2\), \(3, 2\)\]"),
    (counted(flat=None), r"it lacks 'flat' \(counts of the bare beam"),
    (counted(flat=np.ones(4)), r"'flat' of .* has shape \(4,\), and the counts have \(12, 5\)"),
    (
        challenge(geom_pixelSizePost=None),
        r"it lacks 'geom_pixelSizePost' \(width of a detector bin after binning, in mm\)",
    ),
    (challenge(geom_distanceSourceOrigin=None), r"it lacks 'geom_distanceSourceOrigin' \(distance from the source"),
    ({"sino": np.zeros((2, 3))}, r"it lacks 'theta_deg' \(angle of each view"),
    ({"hu": np.zeros((2, 2))}, r"holds a slice: a sinogram was expected\. Read it by read_slice"),
    ({"volume": np.zeros((2, 2, 2))}, r"holds a volume: a sinogram was expected\. Read it by read_volume"),
]


@pytest.mark.parametrize(("arrays", "words"), BAD, ids=[str(k) for k in range(len(BAD))])
def test_bad_scans_are_worded(read, arrays, words):
    with pytest.raises(InputError, match=words):
        read(arrays)


def test_the_unit_of_angles_can_be_stated(read):
    radians = general(angles_deg=np.linspace(0, 3, 12))
    assert read(radians, angle_unit="radians").geometry.angles[-1] == pytest.approx(3)
    assert read(radians, angle_unit="degrees").geometry.angles[-1] == pytest.approx(np.radians(3))
    assert read(general(sinogram=np.zeros((8, 5)), angles_deg=np.linspace(0, 3, 8))).geometry.shape == (8, 5)
    with pytest.raises(InputError, match=r"unknown angle unit 'grad'"):
        read(radians, angle_unit="grad")


def test_an_axis_outside_the_detector_and_an_arc_that_is_not_there(read):
    with pytest.raises(InputError, match=r"falls on bin 5: inside the detector"):
        read(general(), axis=5.0)
    with pytest.raises(InputError, match=r"it lacks 'limited_angles_deg' \(angles of the limited arc"):
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
        ("a.mat", b"no matlab file", r"a.mat' could not be read .*: a complete .mat file\. Save it again with -v7 "),
        ("a.npy", b"", r"a.npy' could not be read"),
        ("a.tif", b"II", r"a.tif' is of no known kind: a file that ends in .npz, .mat, .npy, .dcm"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_scan(tmp_path / name)
    with pytest.raises(InputError, match=r"data file '.*none.npz' was not found"):
        read_scan(tmp_path / "none.npz")


def real(name):
    try:
        return read_scan(find_file(name), every=60)
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
