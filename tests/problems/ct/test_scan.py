"""Scans and slices from files: every layout, fewer views, references, swaps by name, bad files, real ones."""

import json
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.cli import run_cli
from nfsolve.data.scans import scan as scans
from nfsolve.data.slices import MU_WATER
from nfsolve.data.tables import find_file
from nfsolve.forward.phantoms import Ellipse, phantom_image, phantom_projections
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr
from problems.ct import scan as ct_scan
from problems.ct.scan import CTScan, _distinct

DISC = (Ellipse(0.03, 15.0, 12.0, 2.0, -1.0, 20.0), Ellipse(-0.03, 3.0, 5.0, -4.0, 2.0))  # mm
FAN = FanBeam(tuple(np.radians(np.arange(0.0, 361.0, 10.0))), 48, 1.5, 120.0, 180.0)
QUICK = {"size": 32, "classical": ()}


def fan_arrays(**changes):
    grid = PixelGrid(64, 64, 0.625)
    image = phantom_image(DISC, grid).numpy()
    arrays = {
        "sinogram": phantom_projections(DISC, FAN).numpy(),
        "angles_deg": np.degrees(FAN.angles),
        "geometry": "fan",
        "spacing": FAN.spacing,
        "source_origin": FAN.source_origin,
        "source_detector_distance": FAN.source_detector_distance,
        "limited_angles_deg": np.arange(40.0, 131.0, 10.0),
        "reference": image,
        "segmentation": image > 0.015,
        "pixel": grid.pixel,
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def save(arrays):
        np.savez(tmp_path / "file.npz", **arrays)
        return str(tmp_path / "file.npz")

    return save


@pytest.fixture
def slice_file(write):
    y, x = np.mgrid[:64, :64] - 31.5
    inside = x**2 / 20**2 + y**2 / 28**2 < 1
    bone = (x - 6) ** 2 + (y + 9) ** 2 < 16
    return write({"hu": np.where(inside, 40.0, -1000.0) + 800.0 * bone, "pixel_mm": 1.5})


def test_a_fan_beam_comes_with_its_reference_and_segmentation_on_the_pixels_of_the_image(write):
    problem = CTScan(data=write(fan_arrays()), **QUICK)
    scan = problem.scan
    assert np.allclose(scan.geometry.angles, FAN.angles[:-1])  # the last view repeats the first
    assert replace(scan.geometry, angles=FAN.angles) == FAN
    assert scan.grid == PixelGrid(32, 32, 1.25)
    blocks = {name: fan_arrays()[name].reshape(32, 2, 32, 2).mean((1, 3)) for name in ("reference", "segmentation")}
    assert np.allclose(scan.reference, blocks["reference"])
    assert np.array_equal(scan.segmentation, blocks["segmentation"] > 0.5)
    data = problem.load("cpu", torch.float64)
    found = problem.scores(data["reference"], data)
    assert found["residual"] < 0.06 and found["matthews"] > 0.9
    assert psnr(problem._back_projection(data["coarsened"][1]).image, data["reference"], 0.03) > 18


def test_fewer_views_and_the_limited_arc(write):
    file = write(fan_arrays())
    some, arc = CTScan(data=file, every=4, **QUICK).scan, CTScan(data=file, limited=True, every=3, **QUICK).scan
    assert np.allclose(np.degrees(some.geometry.angles), np.arange(0, 360, 40))
    assert np.allclose(np.degrees(arc.geometry.angles), [40, 70, 100, 130])
    assert np.array_equal(some.sinogram, fan_arrays()["sinogram"][:-1:4])
    assert np.array_equal(some.reference, arc.reference)


def test_an_image_is_judged_by_views_that_were_not_used(write):
    file, all_views = write(fan_arrays()), CTScan(data=write(fan_arrays()), **QUICK)
    assert "unseen" not in all_views.load("cpu", torch.float64)
    problem = CTScan(data=file, every=4, **QUICK)
    data = problem.load("cpu", torch.float64)
    truth = data["reference"]
    found, none = problem.scores(truth, data)["unseen"], problem.scores(0 * truth, data)["unseen"]
    assert found < 0.06 and none == pytest.approx(1)
    projector, sinogram = data["unseen"]
    assert set(projector.geometry.angles).isdisjoint(problem.scan.geometry.angles)
    assert len(sinogram) == (36 - 9) * 48


def test_without_a_reference_that_of_all_views_stands_in(write):
    without = write(fan_arrays(reference=None, segmentation=None, pixel=None))
    problem = CTScan(data=without, every=6, **QUICK)
    seen = 2 * 120 * np.sin(np.arctan(36 / 180))
    assert problem.grid.pixel == pytest.approx(seen / 32)
    truth = phantom_image(DISC, problem.grid)
    assert problem.scan.reference.min() >= 0
    assert psnr(torch.from_numpy(problem.scan.reference), truth, 0.03) > 20
    assert problem.scan.geometry.shape == (6, 48)


def test_a_file_is_opened_once_and_its_axis_found_once(write, monkeypatch):
    geometry = ParallelBeam(tuple(np.radians(np.arange(0.0, 180.0, 5.0))), 48, 1.0, 1.5)
    file = write({"sino": phantom_projections(DISC, geometry).numpy(), "theta_deg": np.arange(0.0, 180.0, 5.0)})
    calls = []

    def counting(module, name):
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: (calls.append(name), inner(*given))[1])

    counting(ct_scan, "open_arrays")
    counting(scans, "open_arrays")
    counting(scans, "axis_estimated")
    assert CTScan(data=file, every=3, **QUICK).scan.geometry.shape == (12, 48)
    assert calls == ["open_arrays", "axis_estimated"]


def test_air_takes_the_drift_of_the_beam_away(write):
    sinogram = fan_arrays()["sinogram"]
    drift = np.linspace(-0.3, 0.3, len(sinogram))[:, None]
    assert np.abs(sinogram[:, [*range(6), *range(42, 48)]]).max() == 0
    scan = CTScan(data=write(fan_arrays(sinogram=sinogram + drift)), every=4, air=6, **QUICK).scan
    assert np.allclose(scan.sinogram, sinogram[:-1:4], atol=1e-12)


@pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")
def test_what_not_every_view_sees_is_left_out_of_the_score_inside(write):
    narrow = replace(FAN, n_bins=40, spacing=1.0)  # sees a circle of 26.5 mm, in an image of 40 mm
    arrays = fan_arrays(sinogram=phantom_projections(DISC, narrow).numpy(), spacing=narrow.spacing)
    problem = CTScan(data=write(arrays), **QUICK)
    data = problem.load("cpu", torch.float64)
    radius = 120 * np.sin(np.arctan(20 / 180))
    assert float(data["inside"].double().mean()) == pytest.approx(np.pi * radius**2 / 40**2, rel=0.02)
    truth = data["reference"]
    hazy = torch.where(data["inside"], truth + 0.003, truth + 0.1)
    found = problem.scores(hazy, data)
    peak = float(truth.max())
    assert found["psnr_inside"] == pytest.approx(20 * np.log10(peak / 0.003)) and found["psnr"] < 0
    beside = CTScan(data=write(arrays), **QUICK | {"classical": ("fbp",)})
    data["classical"] = {"fbp": beside.baselines(data, lambda: None)["fbp"]()}
    with pytest.warns(UserWarning, match="unexplained; "):
        metrics = beside.metrics(lambda x: 0.01 + 0 * x[:, :1], data)
    assert metrics["psnr_inside"] > 0 and "psnr_inside_fbp" in metrics
    wide = CTScan(data=write(fan_arrays()), **QUICK)  # 47 mm, and corners at 56
    data = wide.load("cpu", torch.float64)
    assert 0.9 < float(data["inside"].double().mean()) < 1
    all_seen = replace(FAN, n_bins=100)
    arrays = fan_arrays(sinogram=phantom_projections(DISC, all_seen).numpy())
    whole = CTScan(data=write(arrays), **QUICK)
    assert "psnr_inside" not in whole.scores(truth, whole.load("cpu", torch.float64))


def test_a_segmentation_alone_keeps_its_pixels(write):
    scan = CTScan(data=write(fan_arrays(reference=None)), **QUICK).scan
    assert scan.grid == PixelGrid(32, 32, 1.25) and scan.segmentation.shape == (32, 32)
    assert psnr(torch.from_numpy(scan.reference), phantom_image(DISC, scan.grid), 0.03) > 20


@pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")
def test_a_synchrotron_sinogram_has_its_axis_and_no_view_twice(write):
    geometry = ParallelBeam(tuple(np.radians(np.arange(0.0, 181.0, 5.0))), 48, 1.0, 1.5)
    arrays = {"sino": phantom_projections(DISC, geometry).numpy(), "theta_deg": np.arange(0.0, 181.0, 5.0)}
    scan = CTScan(data=write(arrays), every=3, **QUICK).scan
    assert np.allclose(np.degrees(scan.geometry.angles), np.arange(0, 180, 15))
    assert scan.geometry.centre == pytest.approx(1.5, abs=0.1) and scan.unit == "bin"
    assert scan.grid.pixel * 32 == pytest.approx(48 - 2 * scan.geometry.centre)
    given = CTScan(data=write(arrays), axis=24.5, **QUICK).scan
    assert given.geometry.centre == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("degrees", "opposite", "kept"),
    [
        ([0, 60, 120, 180], True, 3),
        ([0, 60, 120, 180], False, 4),
        ([0, 90, 180, 270, 360], False, 4),
        ([180, 120, 60, 0], True, 3),
        ([0, 45, 90], True, 3),
        ([0, 111.25, 42.5, 153.75, 85, 16.25], True, 6),  # golden section: any order
        ([0, 180], True, 2),
    ],
)
def test_a_last_view_that_repeats_the_first_is_left_out(degrees, opposite, kept):
    assert _distinct(tuple(np.radians(degrees)), opposite) == list(range(kept))


def test_a_slice_is_projected_on_finer_pixels_and_counted(slice_file):
    options = {"data": slice_file, "views": 8, **QUICK}
    exact, noisy = CTScan(**options, counts=0).scan, CTScan(**options).scan
    assert exact.geometry == ParallelBeam.half_turn(8, 32, 96.0) and exact.grid == PixelGrid(32, 32, 3.0)
    assert exact.reference[16, 16] == pytest.approx(1.04 * MU_WATER) and exact.unit == "mm"
    assert exact.reference.max() == pytest.approx(1.84 * MU_WATER)
    own = Projector(exact.geometry, exact.grid)(torch.from_numpy(exact.reference).reshape(-1, 1)).numpy()
    apart = np.linalg.norm(own.reshape(8, 32) - exact.sinogram) / np.linalg.norm(exact.sinogram)
    assert 1e-4 < apart < 0.05
    assert exact.counts is None and (noisy.I0 == 1e5).all()
    assert np.allclose(noisy.sinogram, exact.sinogram, atol=0.1)
    again, other = CTScan(**options).scan, CTScan(**options, noise_seed=1).scan
    assert np.array_equal(noisy.counts, again.counts) and not np.array_equal(noisy.counts, other.counts)


def test_dead_columns_can_be_left_out(write):
    sinogram = fan_arrays()["sinogram"]
    sinogram[:, 20] = np.nan
    file = write(fan_arrays(sinogram=sinogram))
    with pytest.raises(InputError, match=r"unknown in detector columns 20 \(1 of 48\).*mask_bad"):
        _ = CTScan(data=file, **QUICK).scan
    problem = CTScan(data=file, mask_bad=True, every=6, tv=0, **QUICK)
    data = problem.load("cpu", torch.float64)
    image = data["reference"]
    misfit = problem.residuals(lambda points: image.reshape(-1, 1), {"scan": data["coarsened"][1]})["sinogram"].reshape(
        6, 48
    )
    assert (misfit[:, 20] == 0).all() and (misfit[:, 22] != 0).all()


@pytest.mark.filterwarnings("ignore:the field leaves")
def test_the_command_line_runs_a_file(write, tmp_path):
    words = f"--size 32 --every 6 --steps 2 --classical fbp sirt --out {tmp_path / 'run'} --device cpu".split()
    assert run_cli(["run", "problems.ct.scan:CTScan", "--data", write(fan_arrays()), *words]) == 0
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"psnr", "matthews", "psnr_fbp", "matthews_sirt", "residual_sirt"} <= set(found)
    assert {"reconstruction.npz", "reconstruction.png", "reconstruction.tiff", "solution.png"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


@pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")
def test_a_scan_that_is_not_explained_is_told(write):
    right = CTScan(data=write(fan_arrays()), **QUICK)
    truth = phantom_image(DISC, right.grid)  # the scan is read here

    def field(points, factor=1.0):
        pixels = ((points.T / (right.grid.pixel) * points.new_tensor([[1], [-1]])) + right.size / 2).long()
        return factor * truth[pixels[1].clamp(0, 31), pixels[0].clamp(0, 31)].to(points)[:, None]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right.metrics(field, right.load("cpu", torch.float64))
    data = right.load("cpu", torch.float64)
    with pytest.warns(UserWarning, match=r"leaves 5\d% of the line integrals unexplained; check angles, centre, width"):
        right.metrics(partial(field, factor=0.5), data)
    data["classical"] = {"sirt": right.with_(classical=("sirt",)).baselines(data, lambda: None)["sirt"]()}
    with pytest.warns(UserWarning, match="unexplained; the classical methods do better: train longer"):
        right.metrics(partial(field, factor=0.5), data)
    few = {
        "sinogram": None,
        "counts": np.random.default_rng(0).poisson(10 * np.exp(-fan_arrays()["sinogram"])),
        "flat": 10.0,
    }
    noisy = CTScan(data=write(fan_arrays(**few)), mask_bad=True, **QUICK)
    assert noisy.scan.weights is not None
    with warnings.catch_warnings():  # noise that is known is not held against the field
        warnings.simplefilter("error")
        assert noisy.metrics(field, noisy.load("cpu", torch.float64))["residual"] > 0.25


def test_missing_data_names_the_problems_that_need_none():
    with pytest.raises(InputError, match=r"ct_scan needs a scan .*Give --data FILE.*run ct_phantom or ct_limited"):
        _ = CTScan().scan
    with pytest.raises(InputError, match="data file 'none.npz' was not found"):
        _ = CTScan(data="none.npz").scan


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"angles_deg": 9 * np.arange(5.0)}, r"'sinogram' of .* has shape \(37, 48\), and no axis of it fits 5 angles"),
        ({"angles_deg": np.asarray(FAN.angles)}, "radians"),
        ({"source_origin": None}, "lacks 'source_origin'"),
        ({"geometry": None}, "lacks 'geometry'"),
        ({"spacing": None}, "lacks 'spacing'"),
        ({"centre": 400.0}, "the rotation axis of .* must lie on the detector"),
        ({"pixel": None}, "lacks 'pixel'"),
        ({"sinogram": None, "counts": np.full((37, 48), -1.0), "flat": 10.0}, "1776 of 1776 of .* are negative"),
        ({"sinogram": None, "counts": np.zeros((37, 48)), "flat": 10.0}, "counts of .* are zero"),
        ({"reference": np.ones((64, 32)), "segmentation": None}, "as many rows as columns, got 64 x 32 pixels"),
        ({"limited_angles_deg": None}, "limited"),
    ],
)
def test_bad_files_are_worded(write, changes, words):
    with pytest.raises(InputError, match=words):
        _ = CTScan(data=write(fan_arrays(**changes)), limited="limited_angles_deg" in changes, **QUICK).scan


def test_options_that_do_not_fit_the_file_are_worded(write, slice_file):
    with pytest.raises(InputError, match="is a slice, and only scans have every = 3. .*choose their number by --views"):
        _ = CTScan(data=slice_file, every=3, **QUICK).scan
    of_scans = {"limited": True, "row": 1, "axis": 3.5, "angle_unit": "degrees", "mask_bad": True, "air": 4}
    with pytest.raises(
        InputError,
        match="is a slice, and only scans have limited = True and row = 1 and axis = 3.5 .*mask_bad = True and air = 4",
    ):
        _ = CTScan(data=slice_file, **of_scans, **QUICK).scan
    with pytest.raises(InputError, match=r"multiple of size = 48, got 64 x 64 pixels\. Choose --size 32"):
        _ = CTScan(data=slice_file, size=48).scan
    with pytest.raises(InputError, match="holds a volume, not a scan or a slice.*ct_cone"):
        _ = CTScan(data=write({"volume": np.zeros((4, 4, 4))})).scan
    file = write(fan_arrays())
    for options, words in (
        ({"views": 60}, "views = 60"),
        ({"counts": 1e4}, "counts = 10000.0"),
        ({"noise_seed": 1}, "noise_seed = 1"),
    ):
        with pytest.raises(InputError, match=f"is a scan, and only slices have {words}.*choose among .* --every"):
            _ = CTScan(data=file, **options, **QUICK).scan
    with pytest.raises(InputError, match="every must be 1 to 36, the number of views, got 0"):
        _ = CTScan(data=file, every=0).scan
    with pytest.raises(InputError, match="compares counts, and 'file' has none"):
        _ = CTScan(data=file, loss="poisson").scan
    with pytest.raises(InputError, match=r"the rotation axis of .* got 60.*axis="):
        _ = CTScan(data=file, axis=60.0).scan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 8}, "size must .* at least 16, got 8"),
        ({"views": 0}, "views must .* got 0"),
        ({"counts": -5.0}, "counts must .* got -5"),
        ({"peak": -1.0}, "peak must .* got -1"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(InputError, match=words):
        CTScan(**options)


def test_pixels_are_as_wide_as_the_bins_unless_there_are_very_many(write, slice_file):
    def scanned(bins, size=0):
        geometry = ParallelBeam.half_turn(12, bins, 40.0)
        given = {"geometry": "parallel", "spacing": geometry.spacing, "angles_deg": np.degrees(geometry.angles)}
        return CTScan(data=write(given | {"sinogram": phantom_projections(DISC, geometry).numpy()}), size=size)

    assert CTScan(data=slice_file).image_shape == (32, 32)  # of 64
    assert scanned(61).image_shape == (64, 64) and scanned(61).grid.pixel == pytest.approx(40 / 64)
    assert scanned(61, 32).image_shape == (32, 32)
    many = scanned(700)
    assert many.image_shape == (512, 512)
    assert any("512 x 512 pixels; --size 704 makes them as wide as the bins" in text for text in many.cautions())
    assert CTScan().resolution == 256  # without a file, for the help


REAL = {
    "ct_htc2022_01a.npz": ({"every": 12}, (60, 560), 0.1),
    "ct_htc2022_04b.npz": ({"limited": True, "every": 10}, None, 0.1),
    "ct_tooth_aps_sinogram.npz": ({"every": 6}, (30, 640), 0.2),
    "ct_abdomen_tcia_pancreas0001_512.npz": ({"views": 12}, (12, 64), 0.2),
}


@pytest.mark.filterwarnings("ignore::nfsolve.data.scans.doubts.Doubt")  # two spikes of the tooth
@pytest.mark.parametrize("name", REAL)
def test_the_reference_of_real_data_explains_the_scan(name):
    options, shape, apart = REAL[name]
    try:
        find_file(name)
    except InputError as error:
        pytest.skip(f"needs {name}: {error}")
    problem = CTScan(data=name, size=64, classical=(), **options)
    data = problem.load("cpu", torch.float32)
    assert shape is None or problem.scan.geometry.shape == shape
    found = problem.scores(data["reference"].float(), data)
    assert found["residual"] < apart
    assert found.get("matthews", 1.0) > 0.8
