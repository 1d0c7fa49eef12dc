"""What problems of tomography share: residuals and their scales, bounds, coarser data, files."""

import json
import math
import signal
from dataclasses import replace
from functools import partial, partialmethod

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP, Stage
from nfsolve._core.random import generator
from nfsolve.data.scans.scan import Scan
from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image, phantom_projections
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr, relative_l2
from nfsolve.problem import SamplerState
from nfsolve.reconstruct import HeldOut, cgls, sirt, total_variation
from nfsolve.reconstruct.total_variation import EDGE
from problems.ct._coarsened import PRODUCTS, Checked
from problems.ct._plane import LENGTH, PlaneTomography
from problems.ct._primal_dual import MOST
from problems.ct._prior import UNFITTED, USUAL, WHOLE, is_short, ray_precision
from problems.ct._tomography import Tomography
from problems.ct.limited import CTLimited
from problems.ct.phantom import CTPhantom
from problems.ct.scan import CTScan

SMALL = {"views": 8, "size": 32, "classical": ()}
TINY = partial(MLP, width=8, depth=1)


def given(scan, **options):
    """A problem of tomography with this scan."""

    class Given(PlaneTomography):
        def measure(self):
            return scan

    return Given(size=scan.grid.rows, **options)


def projected(geometry, size=64, width=2.0):
    """A scan without error: what the projector makes of the head's pixels."""
    grid = PixelGrid(size, size, width / size)
    truth = phantom_image(SHEPP_LOGAN, grid)
    sinogram = Projector(geometry, grid)(truth.reshape(-1, 1)).reshape(geometry.shape)
    return Scan("head", sinogram.numpy(), geometry, "", reference=truth.numpy(), grid=grid)


def residuals_of(problem, data, image):
    """Residuals of pixel values (rows, columns) in the place of a field."""
    return problem.residuals(
        lambda points: image.reshape(-1, 1), problem.sample(data, SamplerState(), generator(0, "points"))
    )


def pixelwise(problem, image):
    """A field with the values of an image, at the pixels and at the finer points of its average."""

    def field(points):
        side = round((len(points) / image.numel()) ** 0.5)
        return image.repeat_interleave(side, 0).repeat_interleave(side, 1).reshape(-1, 1).to(points)

    return field


@pytest.fixture
def short_tv(monkeypatch):
    monkeypatch.setattr(Tomography, "total_variation", partialmethod(Tomography.total_variation, iterations=100))


def rms(values):
    return float(values.square().mean().sqrt())


TURN = tuple(np.radians(np.arange(0.0, 360.0, 4.0)))


@pytest.mark.parametrize(
    ("geometry", "within"),
    [(ParallelBeam.half_turn(60, 64), 0.03), (FanBeam(TURN, 64, 3 / 64, 6.0, 9.0), 0.1)],  # as wide as the image
    ids=["parallel", "fan"],
)
@pytest.mark.parametrize("unit", [1.0, 25.0])
def test_the_filtered_residual_of_a_perturbation_has_its_norm_whatever_the_unit_of_length(geometry, within, unit):
    lengths = [name for name in ("spacing", "source_origin", "source_detector_distance") if hasattr(geometry, name)]
    geometry = replace(geometry, **{name: unit * getattr(geometry, name) for name in lengths})
    problem = given(projected(geometry, width=2 * unit))
    data = problem.load("cpu", torch.float64)
    truth, pixels = data["reference"], data["coarsened"][1].points
    bump = torch.exp(-20 * (pixels / unit - 0.2).square().sum(-1)).reshape(truth.shape)
    exact, changed = (residuals_of(problem, data, image)["filtered"] for image in (truth, truth + bump))
    assert rms(exact) < 1e-10
    assert rms(changed) * problem.contrast == pytest.approx(rms(bump), rel=within)


@pytest.mark.parametrize(("loss", "name"), [("poisson", "counts"), ("gaussian", "sinogram")])
def test_residuals_matched_to_the_noise_have_size_one_at_the_truth(loss, name):
    scan = projected(ParallelBeam.half_turn(40, 64)).counted(1e4, seed=0)
    problem = given(scan, loss=loss)
    data = problem.load("cpu", torch.float64)
    found = residuals_of(problem, data, data["reference"])
    assert set(found) == {name, "variation"}
    assert rms(found[name]) == pytest.approx(1, abs=0.05)


def test_a_bin_without_photons_counts_in_the_poisson_loss_alone():
    scan = projected(ParallelBeam.half_turn(10, 32), 32).counted(2.0, seed=0)
    assert 0 < (scan.counts == 0).sum() < scan.counts.size
    none = torch.from_numpy(scan.counts == 0).reshape(-1)
    for loss, name in (("poisson", "counts"), ("gaussian", "sinogram"), ("filtered", "sinogram")):
        problem = given(scan, loss=loss, tv=0.0)
        data = problem.load("cpu", torch.float64)
        found = residuals_of(problem, data, data["reference"])[name][none]
        assert torch.isfinite(found).all()
        assert bool((found.abs() > 0.1).all()) == (loss == "poisson")


def test_bins_without_a_beam_have_no_poisson_residual():
    scan = projected(ParallelBeam.half_turn(10, 32), 32).counted(1e4, seed=0)
    scan.counts[:, 5] = scan.I0[:, 5] = 0  # as `read_scan` gives a dead column
    problem = given(scan, loss="poisson", tv=0.0)
    data = problem.load("cpu", torch.float32)
    image = data["reference"].float().requires_grad_()
    found = residuals_of(problem, data, image)["counts"]
    assert torch.equal(found.reshape(10, 32)[:, 5], torch.zeros(10))
    assert torch.isfinite(torch.autograd.grad(found.square().sum(), image)[0]).all()


def test_the_variation_of_a_step_is_the_length_of_its_edge_at_every_resolution():
    means = []
    for size in (32, 64, 128):
        problem = CTPhantom(views=4, size=size)
        data = problem.load("cpu", torch.float64)
        step = torch.zeros(size, size, dtype=torch.float64)
        step[:, size // 2 :] = 3 * problem.contrast
        flat, edge = (residuals_of(problem, data, image)["variation"] for image in (0 * step, step))
        assert float(flat.square().mean()) == pytest.approx(EDGE)
        means.append(float((edge.square() - flat.square()).mean()))
    assert means == pytest.approx([3 / LENGTH] * 3, rel=0.06)
    assert means[2] == pytest.approx(3 / LENGTH, rel=0.02)
    assert residuals_of(problem, data, step.T)["variation"].square().mean() == pytest.approx(
        float(edge.square().mean())
    )
    assert CTPhantom(tv=0.25).weights()["variation"] == 0.25
    assert "variation" not in residuals_of(CTPhantom(views=4, size=128, tv=0.0), data, step)


@pytest.mark.parametrize("peak", [0.0, 0.4])
def test_a_known_peak_bounds_the_field_and_the_classical_images(peak, short_tv):
    problem = CTPhantom(views=8, size=32, peak=peak)
    data = problem.load("cpu", torch.float32)
    field = MLP.for_problem(problem, width=8, depth=1)
    for parameter in field.parameters():
        parameter.data.mul_(100)
    values = field(2 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 1).detach()
    images = {name: compute().image for name, compute in problem.baselines(data, lambda: None).items()}
    assert set(images) == {"fbp", "sirt", "tv"}
    assert values.shape == (200, 1)
    for image in (values, *images.values()):
        assert image.min() >= 0
        assert float(image.max()) == pytest.approx(peak) if peak else image.max() > 0.5


@pytest.mark.parametrize("size", [32, 33])
def test_coarser_data_are_the_scan_of_wider_bins(size):
    problem = CTPhantom(views=5, size=size)
    data = problem.load("cpu", torch.float64)
    coarse = problem.sample(data, SamplerState(coarsen=2), generator(0, "points"))["scan"]
    assert problem.sample(data, SamplerState(coarsen=2), generator(1, "points"))["scan"] is coarse
    assert problem.sample(data, SamplerState(), generator(0, "points"))["scan"] is data["coarsened"][1]
    assert coarse.geometry.shape == (5, 16)
    assert coarse.shape == (math.ceil(size / 2),) * 2 and len(coarse.points) == math.prod(coarse.shape)
    exact = phantom_projections(SHEPP_LOGAN, coarse.geometry).reshape(-1, 1)
    assert relative_l2(coarse.sinogram, exact) < 0.015  # both sample the chords within a bin, and differently


def test_coarser_data_add_up_photons():
    problem = CTPhantom(views=5, size=32, counts=1e4, loss="poisson")
    data = problem.load("cpu", torch.float64)
    fine, coarse = data["coarsened"][1], problem.sample(data, SamplerState(coarsen=4), generator(0, "points"))["scan"]
    assert torch.equal(coarse.counts, fine.counts.reshape(-1, 4).sum(1, keepdim=True))
    assert (coarse.I0 == 4e4).all() and (fine.I0 == 1e4).all()


def test_a_coarse_stage_comes_first_and_a_resumed_run_is_the_same(tmp_path):
    stages = (
        Stage(partial(torch.optim.Adam, lr=1e-2), 3, schedule="cosine", coarsen=2),
        Stage(partial(torch.optim.Adam, lr=1e-2), 4, schedule="cosine"),
    )
    options = {"field": TINY, "stages": stages, "seed": 2, "report": None}
    whole = nfsolve.solve(CTPhantom(**SMALL), **options, out=tmp_path / "whole")
    options["report"] = lambda row: row.get("step") == 0 and signal.raise_signal(signal.SIGINT)
    nfsolve.solve(CTPhantom(**SMALL), **options, out=tmp_path / "part")
    assert json.loads((tmp_path / "part" / "metrics.json").read_text())["steps"] < 7
    again = nfsolve.resume(tmp_path / "part", report=None)
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, again.field.state_dict()[name]), name
    assert whole.metrics["psnr"] == again.metrics["psnr"]
    assert nfsolve.reopen(tmp_path / "whole").metrics["psnr"] == whole.metrics["psnr"]


def test_large_images_and_short_arcs_train_at_half_the_resolution_first():
    for short in (CTLimited(size=64), CTScan(limited=True)):
        assert [stage.coarsen for stage in short.recipe().stages[:-1]] == [2, 1]
    assert [stage.coarsen for stage in CTLimited(size=64, arc=180.0).recipe().stages[:-1]] == [1]
    assert [stage.coarsen for stage in CTPhantom(size=256).recipe().stages[:-1]] == [2, 1]
    assert [stage.coarsen for stage in CTPhantom(size=128).recipe().stages[:-1]] == [1]


def test_very_large_images_go_from_coarse_to_fine():
    recipe = CTPhantom(size=1024, views=360).recipe()
    assert [stage.coarsen for stage in recipe.stages] == [8, 4, 4, 2, 1]
    coarsest, *finer = recipe.stages[2:]
    assert coarsest.steps == MOST and all(stage.steps < 10 for stage in finer)


def test_scores_of_the_exact_image_and_of_the_classical_ones(short_tv):
    problem = CTPhantom(views=20, size=48, classical=("tv", "fbp"), classical_tv=3e-4)
    data = problem.load("cpu", torch.float32)
    field = pixelwise(problem, data["reference"])
    data["classical"] = {name: compute() for name, compute in problem.baselines(data, lambda: None).items()}
    found = problem.metrics(field, data)
    assert found["psnr"] > 100 and found["ssim"] == pytest.approx(1) and found["residual"] < 0.05
    assert 18 < found["psnr_fbp"] < found["psnr_tv"] < 40
    assert 0 <= found["gap_tv"] < 1 and "gap_fbp" not in found and "psnr_sirt" not in found
    quick = problem.quick_metrics(field, data)
    assert set(quick) == {"psnr", "ssim", "residual"} and problem.score in quick
    data["classical"]["tv"] = None  # there was no time for it
    assert "psnr_tv" not in problem.metrics(field, data)


def history():
    return [{"step": s, "seconds": float(s), "loss": 1.0 / (s + 1), "psnr": 10.0 + s} for s in range(3)]


@pytest.mark.parametrize("known", [True, False], ids=["with reference", "without"])
def test_picture_and_files_show_the_reconstruction(known, tmp_path, short_tv):
    scan = projected(ParallelBeam.half_turn(8, 32), 32)
    truth = torch.from_numpy(scan.reference)
    problem = given(scan if known else replace(scan, reference=None))
    data = problem.load("cpu", torch.float32)
    field = pixelwise(problem, truth)
    data["classical"] = {name: compute() for name, compute in problem.baselines(data, lambda: None).items()}
    figure = problem.picture(field, data, history())
    titles = [axes.get_title() for axes in figure.axes]
    for name in ("neural field", "filtered back-projection", "SIRT", "total variation"):
        assert any(title.startswith(name) and ("dB" in title) == known for title in titles)
    assert titles.count("minus the reference") == 4 * known
    assert ("reference" in titles) == known
    assert any(title.startswith("sinogram p\n8 views, 32 bins") for title in titles)
    figure.savefig(tmp_path / "solution.png", dpi=30)
    problem.export(field, data, tmp_path)
    arrays = np.load(tmp_path / "reconstruction.npz")
    images = {"image", "fbp", "sirt", "tv"} | ({"reference"} if known else set())
    assert set(arrays) == images | {"sinogram", "angles_deg", "pixel"}
    assert all(arrays[name].shape == (32, 32) and arrays[name].dtype == np.float32 for name in images)
    assert np.allclose(arrays["angles_deg"], np.arange(8) * 22.5) and arrays["pixel"] == 2 / 32
    assert np.array_equal(arrays["sinogram"], scan.sinogram)
    written = iio.imread(tmp_path / "reconstruction.tiff")
    assert written.dtype == np.float32 and np.array_equal(written, arrays["image"])
    assert np.allclose(written, truth.numpy(), atol=1e-6)
    saved = torch.from_numpy(iio.imread(tmp_path / "reconstruction.png") / 255)
    assert psnr(saved, truth / truth.max()) > 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tv": -1.0}, r"^tv must be a finite number of at least 0, got -1"),
        ({"classical_tv": math.nan}, "^classical_tv must .* got nan"),
        ({"peak": math.inf}, "^peak must be a finite number .* got inf"),
        ({"loss": "l1"}, "unknown loss 'l1'.*filtered, gaussian, poisson"),
        ({"classical": ("sart",)}, "unknown classical method 'sart'.*sirt"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        CTPhantom(**options)


def test_the_poisson_loss_wants_counts():
    with pytest.raises(ValueError, match="compares counts, and 'Shepp-Logan' has none"):
        CTPhantom(**SMALL, loss="poisson").load("cpu", torch.float32)


def test_the_weight_of_the_prior_follows_the_noise_and_can_be_given():
    clean, noisy = (CTPhantom(views=24, size=64, counts=counts) for counts in (1e6, 1e3))
    assert noisy.fine_weight > 2 * clean.fine_weight and noisy.field_weight > 2 * clean.field_weight
    assert (
        noisy.held_out.by in ("noise", "views")
        and noisy.classical_weight == WHOLE * noisy.fine_weight
        and noisy.cautions() == []
    )
    given_weight = CTPhantom(views=24, size=64, classical_tv=0.01, tv=0.5)
    assert (given_weight.fine_weight, given_weight.classical_weight, given_weight.field_weight) == (0.01, 0.01, 0.5)


def test_with_few_views_the_weight_is_a_guess_which_is_said():
    problem = CTPhantom(views=4, size=32)
    assert problem.fine_weight == USUAL
    assert "of 4 views none can be left out" in problem.cautions()[0]
    assert CTPhantom(views=4, size=32, classical_tv=1e-3).cautions() == []


def test_a_weight_at_the_end_of_those_that_were_tried_is_said():
    problem = CTPhantom(views=12, size=32)
    problem.held_out = HeldOut(2.5e-5, {5e-5: 0.2, 2.5e-5: 0.1}, 1)
    assert "is the last that was tried" in problem.cautions()[0]


@pytest.mark.parametrize(
    ("beam", "arc", "short"),
    [
        ("parallel", 180, False),
        ("parallel", 90, True),
        ("parallel", 360, False),
        ("fan", 200, False),
        ("fan", 90, True),
    ],
)
def test_short_arcs_are_told_and_their_prior_is_not_weaker_than_usual(beam, arc, short):
    angles = tuple(math.radians(arc * i / 20) for i in range(20))
    geometry = ParallelBeam(angles, 8, 1.0) if beam == "parallel" else FanBeam(angles, 8, 1.0, 20.0, 30.0)
    assert is_short(geometry) == short
    if beam == "parallel" and arc < 360:
        problem = given(projected(replace(geometry, n_bins=32, spacing=2 / 32), 32))
        problem.held_out = HeldOut(1e-5, {1e-4: 0.2, 1e-5: 0.1}, 1)
        assert problem.fine_weight == (USUAL if short else 1e-5)
        assert bool(problem.cautions()) != short  # a weight that nothing bounds is said where it is taken


def test_rays_are_weighed_by_counts_and_by_what_pixels_cannot_fit():
    p, counts = torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([[1e9], [1e4], [100.0]])
    known = torch.tensor([[1.0], [1.0], [0.0]])
    found = ray_precision(p, known, counts)
    floor = (UNFITTED * 4) ** 2
    assert float(found[0] / found[1]) == pytest.approx((1e-4 + floor) / (1e-9 + floor), rel=1e-4)
    assert float(found.mean()) == pytest.approx(1) and found[2] == 0
    assert torch.equal(ray_precision(p, known, None), known)


@pytest.mark.parametrize("scale", [0.0, 1e30, 1e-30])
def test_line_integrals_of_no_size_that_can_be_are_worded(scale):
    scan = projected(ParallelBeam.half_turn(8, 32), 32)
    with pytest.raises(ValueError, match="line integrals are of order one, but the largest of 'head' is"):
        replace(scan, sinogram=scale * scan.sinogram)


def test_progress_of_classical_methods_knows_how_many_products_they_make():
    geometry, grid = ParallelBeam.half_turn(16, 16), PixelGrid(16, 16, 0.125)
    A, uses = Projector(geometry, grid), []
    checked = Checked(A, lambda: uses.append(1))
    y = A((grid.centres().norm(dim=1, keepdim=True) < 0.6).double())
    methods = {"sirt": sirt, "cgls": cgls, "tv": partial(total_variation, weight=3e-4)}
    for name, method in methods.items():
        uses.clear()
        found = checked.watched(name, lambda method=method: method(checked, y, grid.shape))()
        assert found.image.shape == grid.shape and len(uses) == PRODUCTS[name]
