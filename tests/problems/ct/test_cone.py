"""The cone-beam problem: exact data, isometry of the filtered residual, support, noise, swaps, outputs, bad input."""

import json
import math
import signal
import sys
import types
from dataclasses import replace
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve._core.random import generator
from nfsolve.cli import run_cli
from nfsolve.forward.radon import Projector, VoxelGrid
from nfsolve.metrics import psnr
from nfsolve.problem import SamplerState
from problems.ct._cone_phantom import Phantom, Sampled
from problems.ct.cone import CTCone

SMALL = {"views": 6, "size": 16, "classical_tv": 5e-4}  # without a search for the weight
LINE = [
    "run",
    "problems.ct.cone:CTCone",
    "--views",
    "6",
    "--size",
    "16",
    "--steps",
    "4",
    "--device",
    "cpu",
    "--classical",
    "fdk",
    "--classical-tv",
    "5e-4",
]


@pytest.fixture(scope="module")
def small():
    problem = CTCone(**SMALL)
    return problem, problem.load("cpu", torch.float64)


@pytest.fixture
def volume_file(tmp_path):
    """A ball with a shifted smaller one inside, in a volume of 24 x 32 x 32 voxels."""
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / 16 for n in (24, 32, 32)), indexing="ij")
    ball = x**2 + y**2 + z**2 < 0.6**2
    inner = (x - 0.2) ** 2 + (y + 0.25) ** 2 + (z - 0.1) ** 2 < 0.2**2
    path = tmp_path / "volume.npz"
    np.savez(path, volume=0.5 * ball + 0.4 * inner)
    return str(path)


def rms(values):
    return float(values.square().mean().sqrt())


def standing_in(problem, data, volume):
    """A field that has the values of a volume at the unmerged voxels."""
    rows = volume.reshape(-1, 1)[data["coarsened"][1].inside]
    return lambda points: rows


def residual_of(problem, data, volume):
    field = standing_in(problem, data, volume)
    return problem.residuals(field, problem.sample(data, SamplerState(), generator(0, "points")))["projections"]


def test_the_exact_volume_scores_perfectly_and_leaves_the_error_of_the_grid(small):
    problem, data = small
    truth = data["reference"]
    data["classical"] = {name: compute() for name, compute in problem.baselines(data, lambda: None).items()}
    scores = problem.metrics(standing_in(problem, data, truth), data)
    assert scores["psnr"] > 60
    assert scores["ssim"] == pytest.approx(1, abs=1e-3)
    assert 1e-3 < scores["residual"] < 0.15
    assert {f"{key}_{name}" for key in ("psnr", "ssim", "residual", "seconds") for name in problem.classical} < set(
        scores
    )
    assert scores["psnr_fdk"] > 15 and scores["residual_sirt"] < 0.05 and scores["seconds_sirt"] > 0
    assert "gap_sirt" not in scores
    assert problem.quick_metrics(standing_in(problem, data, truth), data)["psnr"] == scores["psnr"]
    left = rms(residual_of(problem, data, truth))
    for wrong in (truth.flip(1), truth.roll(1, 0), truth.roll(1, 1), truth.roll(1, 2)):
        assert rms(residual_of(problem, data, wrong)) > 1.1 * left


def test_the_total_variation_of_a_volume_stands_beside_with_its_gap():
    problem = CTCone(views=6, size=12, classical=("fdk", "tv"))
    data = problem.load("cpu", torch.float32)
    few = problem.total_variation(data, 1e-3, 30)
    data["classical"]["fdk"] = problem.baselines(data, lambda: None)["fdk"]()
    data["classical"]["tv"] = problem.total_variation(data, 1e-3, 300)
    found = problem.metrics(standing_in(problem, data, data["reference"]), data)
    assert 0 <= found["gap_tv"] < 0.2 * few.gap and "gap_fdk" not in found
    assert found["psnr_tv"] > found["psnr_fdk"]


def test_the_filtered_residual_of_a_perturbation_has_the_norm_of_the_perturbation():
    problem = CTCone(views=30, size=20, source_origin=8.0, source_detector_distance=12.0, panel=24 / 7)
    data = problem.load("cpu", torch.float64)
    scan = data["coarsened"][1]
    centre = torch.tensor([0.1, -0.2, 0.1], dtype=torch.float64)
    grid = scan.grid
    bump = torch.exp(-20 * (grid.centres() - centre).square().sum(-1)).reshape(grid.shape)
    bump = problem.image(standing_in(problem, data, bump), data)
    change = residual_of(problem, data, bump) - residual_of(problem, data, 0 * bump)
    assert rms(change) * problem.contrast == pytest.approx(rms(bump), rel=0.05)


def test_nothing_of_the_object_lies_outside_the_support(small):
    _, data = small
    for scan in (data["coarsened"][side] for side in (1, 2, 4)):
        share = len(scan.inside) / math.prod(scan.grid.shape)
        assert share <= 1
    fine, truth = data["coarsened"][1], data["reference"].reshape(-1)
    assert len(fine.inside) < 0.8 * len(truth)
    assert truth[fine.inside].sum() > 0.999 * truth.sum()


def test_coarser_data_merge_voxels_bins_and_counts():
    problem = CTCone(**SMALL, counts=1e5)
    data = problem.load("cpu", torch.float64)
    fine, coarse = data["coarsened"][1], data["coarsened"][2]
    assert (fine.shape, coarse.shape) == ((16, 16, 16), (8, 8, 8))
    assert coarse.geometry.shape == (6, 10, 10)
    assert coarse.counts.sum() == fine.counts.sum()
    assert (coarse.I0 == 4e5).all() and (fine.I0 == 1e5).all()
    first = fine.sinogram.reshape(6, 20, 20)[0, 8:10, 4:6].mean()
    assert coarse.sinogram.reshape(6, 10, 10)[0, 4, 2] == pytest.approx(float(first))
    batch = problem.sample(data, SamplerState(coarsen=2), generator(0, "points"))
    assert batch["scan"].shape == (8, 8, 8)


def test_poisson_noise_has_its_own_seed_and_matched_residuals_have_unit_size():
    clean = CTCone(**SMALL).projections
    first, same, other = (CTCone(**SMALL, counts=1e5, noise_seed=s).projections for s in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert rms((first - clean) * torch.sqrt(1e5 * torch.exp(-clean))) == pytest.approx(1, abs=0.1)
    for loss in ("gaussian", "poisson"):
        problem = CTCone(**SMALL, counts=1e3, loss=loss, tv=0.0)
        scan = problem.load("cpu", torch.float64)["coarsened"][1]
        exact = {"scan": replace(scan, projector=lambda volume: clean.reshape(-1, 1))}  # without the error of the grid
        residuals = problem.residuals(lambda points: points[:, :1], exact)
        assert list(residuals) == ["projections"] and problem.weights() == {}
        assert rms(residuals["projections"]) == pytest.approx(1, abs=0.1)


def test_variation_is_the_total_variation_in_units_of_the_contrast(small):
    problem, data = small
    step = torch.zeros(16, 16, 16, dtype=torch.float64)
    step[8, 8, 8] = problem.contrast
    scan = data["coarsened"][1]
    batch = {"scan": replace(scan, inside=None, points=scan.grid.centres())}
    variation = problem.residuals(lambda points: step.reshape(-1, 1), batch)["variation"]
    expected = math.sqrt(3) + 3 + 1e-3 * (16**3 - 4)
    assert variation.shape == (16**3, 1)
    assert float(variation.square().sum()) == pytest.approx(expected, rel=1e-4)


def test_a_volume_is_projected_at_its_own_resolution(volume_file):
    problem = CTCone(data=volume_file, size=16, views=3)
    assert problem.body.grid == VoxelGrid((12, 16, 16), 2 / 16)
    assert problem.domain.bounds == ((-1, 1), (-1, 1), (-0.75, 0.75))
    body = problem.body
    assert isinstance(body, Sampled)
    values = np.load(volume_file)["volume"]
    at = body.at(body.fine.centres(torch.float32)).reshape(24, 32, 32)
    assert np.allclose(at, values, atol=1e-5)
    blocks = values.reshape(12, 2, 16, 2, 16, 2).mean((1, 3, 5))
    assert psnr(body.truth(), torch.as_tensor(blocks), 0.9) > 28
    exact = Projector(problem.geometry, body.fine, torch.float64)(torch.as_tensor(values).reshape(-1, 1))
    misfit = problem.clean.reshape(-1, 1) - exact
    assert float(misfit.norm() / exact.norm()) < 0.03


def test_lengths_in_mm_enter_the_line_integrals(tmp_path):
    values = np.zeros((24, 24, 24))
    values[8:16, 8:16, 8:16] = 0.02  # per mm
    np.savez(tmp_path / "mm.npz", volume=values, voxel_mm=2.0)
    problem = CTCone(data=str(tmp_path / "mm.npz"), size=12, views=2)
    assert problem.body.unit == 24.0
    assert float(problem.body.truth().max()) == pytest.approx(0.48)
    assert 0.9 * 16 * 0.02 < float(problem.clean.max()) < 1.5 * 16 * 0.02


def test_training_lowers_the_loss_follows_the_seed_and_is_not_negative():
    field = partial(MLP, width=8, depth=1)
    runs = [nfsolve.solve(CTCone(**SMALL, classical=()), field, steps=6, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert losses[0] == losses[1] != losses[2]
    points = torch.rand(50, 3, generator=generator(0, "test")) * 2 - 1
    assert runs[0].field(points).min() >= 0
    assert {"psnr", "ssim", "residual"} <= set(runs[0].metrics)


def test_a_short_run_of_the_recipe_comes_near_the_phantom():
    solution = nfsolve.solve(CTCone(views=8, size=16, classical=(), classical_tv=5e-4), steps=45, report=None)
    assert solution.metrics["psnr"] > solution.history[0]["psnr"] + 2
    assert solution.metrics["residual"] < 0.15


GRID = ["--field.encoding", "grid", "--field.encoding.levels", "2", "--field.encoding.finest", "16"]


@pytest.mark.parametrize(
    "swap", [["--field", "siren", "--loss", "poisson", "--counts", "1e4"], [*GRID, "--factorization", "rwf"]]
)
def test_parts_are_swapped_on_the_command_line(swap, tmp_path):
    assert run_cli([*LINE, *swap, "--optimizer", "esgd", "--out", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert math.isfinite(metrics["psnr"]) and metrics["steps"] == 4


def test_a_run_is_resumed_to_the_same_numbers(tmp_path):
    def interrupt(row):
        if row.get("step") == 0:
            signal.raise_signal(signal.SIGINT)

    problem = CTCone(**SMALL, classical=())
    whole = nfsolve.solve(problem, steps=6, seed=1, report=None)
    nfsolve.solve(problem, steps=6, seed=1, report=interrupt, out=tmp_path / "run")
    rest = nfsolve.resume(tmp_path / "run", report=None)
    assert rest.steps == whole.steps == 6
    assert rest.metrics["psnr"] == whole.metrics["psnr"]


def test_picture_and_files_hold_the_volumes(small, tmp_path, monkeypatch, capsys):
    problem, data = small
    data["classical"] = {name: compute() for name, compute in problem.baselines(data, lambda: None).items()}
    field = standing_in(problem, data, data["reference"])
    figure = problem.picture(field, data, [])
    titles = [axes.get_title() for axes in figure.axes]
    assert any("neural field" in title and "dB" in title for title in titles)
    assert any("SIRT\nminus truth" in title for title in titles)
    figure.savefig(tmp_path / "solution.png", dpi=20)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    problem.export(field, data, tmp_path)
    assert "nfsolve[ct]" in capsys.readouterr().out
    assert "<h1>Reconstruction</h1>" in (tmp_path / "volume.html").read_text()
    arrays = np.load(tmp_path / "reconstruction.npz")
    assert {"field", "truth", "fdk", "sirt", "cgls", "angles", "voxel"} == set(arrays)
    assert np.array_equal(iio.imread(tmp_path / "reconstruction.tif"), arrays["field"])
    written = {}

    def image(values, affine):
        return types.SimpleNamespace(to_filename=lambda path: written.update(values=values, affine=affine, path=path))

    monkeypatch.setitem(sys.modules, "nibabel", types.SimpleNamespace(Nifti1Image=image))
    problem.export(field, data, tmp_path)
    corner = written["affine"] @ np.array([0, 15, 0, 1])
    assert np.allclose(corner[:3], [-0.9375, 0.9375, -0.9375])  # x and z least, y largest: the first of all voxels
    assert written["values"][0, 15, 0] == arrays["field"][0, 0, 0] and written["path"].name == "reconstruction.nii.gz"
    assert np.array_equal(written["values"][5, 15 - 3, 9], arrays["field"][9, 3, 5])


def test_a_panel_that_cuts_the_object_is_told():
    with pytest.warns(UserWarning, match=r"panel is too small.*truncated.*larger --panel than 1.5"):
        _ = CTCone(**SMALL, panel=1.5).clean
    assert float(CTCone(**SMALL).clean[:, [0, -1]].max()) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": -3}, "views must .* at least 1, got -3"),
        ({"size": 8}, "size must .* at least 11, got 8"),
        ({"counts": -1.0}, "counts must .* got -1"),
        ({"tv": math.nan}, "tv must .* got nan"),
        ({"classical": ("fbp",)}, "unknown classical method 'fbp'.*did you mean 'fdk'|choose one of"),
        ({"loss": "l1"}, "unknown loss 'l1'"),
        ({"loss": "poisson"}, "compares counts, and counts = 0 makes none"),
        ({"source_origin": 1.2}, "source_origin must be more than sqrt.* got 1.2.*half the longest side"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        CTCone(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"panel": -1.0}, "bins of width"),
        ({"bins": 0}, "a detector needs .*, got 0 bins"),
    ],
)
def test_impossible_scanners_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        CTCone(**(SMALL | options)).load("cpu", torch.float64)


def test_volumes_that_do_not_fit_are_worded(volume_file, tmp_path):
    with pytest.raises(ValueError, match="longest side of 'volume', .* 24 x 32 x 32 voxels .* got 32.*inverse crime"):
        _ = CTCone(data=volume_file, size=32).domain
    np.savez(tmp_path / "hu.npz", volume=np.full((24, 24, 24), -1000.0))
    with pytest.raises(ValueError, match="not negative, .* from -1000 to -1000.*Hounsfield"):
        _ = CTCone(data=str(tmp_path / "hu.npz"), size=12).domain
    np.savez(tmp_path / "dense.npz", volume=1e12 * np.load(volume_file)["volume"])
    with pytest.raises(ValueError, match=r"line integrals are of order one, .* is \d.*e\+11\. Scale the volume"):
        _ = CTCone(data=str(tmp_path / "dense.npz"), size=16, views=2).clean
    np.savez(tmp_path / "scaled.npz", volume=1e30 * np.load(volume_file)["volume"])
    with pytest.raises(ValueError, match=r"values from 1e-15 to 1e\+15, but the largest is 9e\+29"):
        _ = CTCone(data=str(tmp_path / "scaled.npz"), size=16, views=2).clean
    with pytest.raises(ValueError, match="data file 'none.npz' was not found"):
        _ = CTCone(data="none.npz").domain


def test_the_phantom_fills_the_box():
    assert Phantom(16).grid.bounds == ((-1, 1),) * 3
