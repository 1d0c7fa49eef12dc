"""The occupancy problem: exact solids, points, both losses, protocols, outputs, bad input."""

import dataclasses
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import nfsolve
from nfsolve import MLP
from nfsolve.fields import Gaussian, ReLU, Sine
from nfsolve.meshes import Implicit, Mesh, around, read_points, root_cross_entropy
from nfsolve.problem import SamplerState
from problems.signals.occupancy import PROBABILITY, SETTINGS, Occupancy, gyroid_ball

SMALL = {"pool": 3000, "batch": 500}
COARSE = SMALL | {"resolution": 16}
TETRA = np.array([[10, 0, 0], [14, 0, 0], [10, 4, 0], [10, 0, 4]], float)
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


@pytest.fixture(autouse=True)
def few_tests(monkeypatch):
    """Fewer points and pixels, so that loading and drawing are quick."""
    few = {name: type(s)(**(vars(s) | {"tests": 2000, "pool": 3000, "batch": 500})) for name, s in SETTINGS.items()}
    for name, setting in few.items():
        monkeypatch.setitem(SETTINGS, name, setting)
    monkeypatch.setattr("nfsolve.meshes.implicit.CHUNK", 2**13)
    monkeypatch.setattr("nfsolve.meshes.implicit.SURFACE", 2**13)
    monkeypatch.setattr("problems.signals.occupancy.COMPARED", 3000)
    monkeypatch.setattr("problems.signals.occupancy.SLICE", 40)


@pytest.fixture
def tetra_file(tmp_path):
    path = tmp_path / "tetra.npz"
    np.savez(path, vertices=TETRA, faces=SIDES)
    return str(path)


IOUS = ("iou", "iou_near", "iou_train")


def tetra(x):
    """The occupancy of the tetrahedron in the default's frame: bounding box [-0.9, 0.9]^3."""
    corner = (x + 0.9) / 1.8
    return ((corner > 0).all(1, keepdim=True) & (corner.sum(1, keepdim=True) < 1)).to(x)


def exact(x):
    return (gyroid_ball(x) < 0).to(x)


def test_the_exact_solid_has_no_residual_and_perfect_scores():
    problem = Occupancy(**COARSE)
    data = problem.load("cpu", torch.float32)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    assert batch["occupancy"].points.shape == (500, 3)
    assert batch["occupancy"].values.shape == (500, 1)
    assert problem.residuals(lambda x: exact(x.double()).float(), batch)["occupancy"].abs().max() == 0
    scores = problem.metrics(lambda x: exact(x.double()).float(), data)
    assert {key: scores[key] for key in IOUS} == dict.fromkeys(IOUS, 1.0)
    empty = problem.metrics(lambda x: 0 * x[:, :1], data)
    assert {key: empty[key] for key in IOUS} == dict.fromkeys(IOUS, 0.0)
    assert "nowhere" in empty["surface"]
    full = problem.metrics(lambda x: 0 * x[:, :1] + 1, data)
    assert full["iou"] == pytest.approx(data["uniform"].values.mean().item())
    assert problem.quick_metrics(lambda x: exact(x.double()).float(), data)["iou_near"] == 1
    assert problem.score in scores


def test_the_gyroid_ball_is_closed_and_the_pool_is_mixed():
    axis = torch.linspace(-1, 1, 21, dtype=torch.float64)
    wall = torch.cartesian_prod(axis, axis, torch.tensor([-1.0, 1.0], dtype=torch.float64))
    assert all((gyroid_ball(wall.roll(k, 1)) > 0).all() for k in range(3))
    x, y, z = (7.0 * c for c in torch.tensor([[0.3, -0.2, 0.4]], dtype=torch.float64).T)
    gyroid = x.sin() * y.cos() + y.sin() * z.cos() + z.sin() * x.cos()
    assert torch.allclose(gyroid_ball(torch.stack([x, y, z], 1) / 7)[0], (gyroid.abs() - 0.5) / 7)
    data = Occupancy().load("cpu", torch.float64)
    near, wide, uniform = data["pool"].points.split(1000)
    distances = [gyroid_ball(part).abs().mean() for part in (near, wide, uniform)]
    assert distances[0] < 0.02 < distances[1] < distances[2]
    assert uniform.abs().max() <= 1
    assert 0.4 < data["near"].values.mean() < 0.6
    assert not torch.equal(data["uniform"].points[:1000], uniform)
    assert torch.equal(data["pool"].points, data["pool"].points.float().double())


def test_a_mesh_fills_its_frame_and_labels_follow(tetra_file):
    problem = Occupancy(mesh=tetra_file)
    data = problem.load("cpu", torch.float64)
    for rows in data.values():
        assert torch.equal(rows.values, tetra(rows.points))
    solid, centre, scale = problem.solid()
    assert centre == pytest.approx([12, 2, 2])
    assert scale == pytest.approx(2 / 0.9)
    _, _, sphere = Occupancy(mesh=tetra_file, protocol="preconditioners").solid()
    assert sphere == pytest.approx(2 * math.sqrt(3) / 0.95)
    assert isinstance(solid, Mesh)


def points_file(path, labels=tetra, pack=True, **changes):
    """Held-out points in a frame of their own: [0, 1]^3 around the same tetrahedron."""
    generator = torch.Generator().manual_seed(5)
    arrays = {"center": np.array([10.0, 0, 0]), "scale": np.array(4.0)}
    for name in ("uniform", "near"):
        points = torch.rand(1003, 3, generator=generator, dtype=torch.float64)
        values = labels(1.8 * points - 0.9).numpy().astype(np.uint8).ravel()
        arrays |= {f"points_{name}": points.numpy(), f"occ_{name}": np.packbits(values) if pack else values}
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return str(path)


@pytest.mark.parametrize("pack", [True, False])
def test_points_of_a_file_are_brought_into_the_frame(tetra_file, tmp_path, pack):
    points = points_file(tmp_path / "points.npz", pack=pack)
    for protocol in ("default", "preconditioners"):
        problem = Occupancy(mesh=tetra_file, points=points, protocol=protocol)
        data = problem.load("cpu", torch.float64)
        solid = problem.solid()[0]
        assert data["near"].points.shape == (1003, 3)
        assert 0.1 < data["uniform"].values.mean() < 0.25  # a sixth of the cube
        assert torch.equal(solid.contains(data["near"].points).double(), data["near"].values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"labels": lambda x: 1 - tetra(x)},
            r"the uniform points of '.*p.npz' must be labelled by this mesh, but 100 % are",
        ),
        (
            {"center": np.zeros(3)},
            r"\d+ % are labelled otherwise. .* in the frame that the file's centre and scale say",
        ),
        ({"occ_near": None}, "must have points and labels, .* lacks occ_near"),
        ({"occ_near": np.zeros(7, np.uint8)}, r"near points .* shape \(1003, 3\) and 7 labels"),
        ({"points_near": np.zeros((1003, 2))}, r"shape \(1003, 2\)"),
        ({"points_near": np.full((1003, 3), np.nan)}, r"near points .* must be finite"),
        ({"points_near": np.zeros((1003, 3), complex)}, "'points_near' of .* not complex numbers"),
        ({"center": np.zeros(2)}, "'center' of .* must be three finite numbers"),
        ({"scale": np.zeros(1)}, "'scale' of .* must be a number from 1e-15"),
    ],
)
def test_bad_points_are_worded(tetra_file, tmp_path, changes, words):
    points = points_file(tmp_path / "p.npz", **changes)
    with pytest.raises(ValueError, match=words):
        Occupancy(mesh=tetra_file, points=points).load("cpu", torch.float32)


def test_an_unreadable_points_file_is_worded(tmp_path):
    (tmp_path / "p.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="'.*p.npz' could not be read"):
        read_points(tmp_path / "p.npz", np.zeros(3), 1.0)


def test_the_square_of_the_root_is_the_cross_entropy():
    z = torch.linspace(-60, 60, 241, dtype=torch.float64)[:, None]
    for label in (0.0, 1.0):
        y = torch.full_like(z, label)
        r = root_cross_entropy(z, y)
        expected = torch.logaddexp(torch.zeros_like(z), (1 - 2 * y) * z)
        assert torch.allclose(r**2, expected, rtol=1e-13, atol=0)
        assert (r > 0).all() == (label == 0) and (r < 0).all() == (label == 1)


def test_the_root_of_the_cross_entropy_has_exact_derivatives_everywhere():
    z = torch.tensor([-700.0, -90, -20.001, -19.999, -3, 0, 0.4, 19, 21, 300], dtype=torch.float64)[:, None]
    y = torch.tensor([0.0, 1] * 5, dtype=torch.float64)[:, None]
    for labels in (y, 1 - y):
        point = z.clone().requires_grad_()
        assert gradcheck(lambda x, at=labels: root_cross_entropy(x, at), (point,), atol=1e-7)
        assert gradgradcheck(lambda x, at=labels: root_cross_entropy(x, at), (point,), atol=1e-6)
    single = torch.tensor([[-300.0], [-88], [-30], [30], [200]], requires_grad=True)
    for label in (0.0, 1.0):
        loss = root_cross_entropy(single, torch.full((5, 1), label)).square().sum()
        (slope,) = torch.autograd.grad(loss, single)
        sign = 1 - 2 * label
        assert torch.allclose(slope, sign * torch.sigmoid(sign * single), rtol=1e-5, atol=1e-30)


def test_three_steps_follow_the_seed():
    field = partial(MLP, width=8, depth=2)
    runs = [nfsolve.solve(Occupancy(**COARSE), field, steps=3, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_gauss_newton_fits_a_ball(monkeypatch, loss):
    monkeypatch.setattr("problems.signals.occupancy.gyroid_ball", lambda x: x.norm(dim=1, keepdim=True) - 0.6)
    problem = Occupancy(pool=400, batch=0, loss=loss, resolution=16)
    field = partial(MLP, width=6, depth=1)
    solution = nfsolve.solve(problem, field, nfsolve.optim.GaussNewton, steps=12, dtype="float64", report=None)
    assert solution.history[-1]["loss"] < 0.65 * solution.history[0]["loss"]
    assert solution.metrics["iou"] > 0.65


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_the_surface_is_where_the_probability_is_a_half(loss, monkeypatch):
    problem = Occupancy(loss=loss, resolution=33, **SMALL)
    data = problem.load("cpu", torch.float64)

    def field(x):  # probability 0.5 on a sphere of radius 0.5
        logit = 8 * (0.5 - x.norm(dim=1, keepdim=True))
        return torch.sigmoid(logit) if loss == "mse" else logit

    mesh = problem.surface(field, data)
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(0.5, abs=0.01)
    inside = (data["near"].points.norm(dim=1, keepdim=True) < 0.5).double()
    truth = data["near"].values
    expected = float((inside * truth).sum() / ((inside + truth) > 0).sum())
    assert PROBABILITY == 0.5
    assert problem.metrics(field, data)["iou_near"] == pytest.approx(expected)


def test_the_surface_is_written_in_the_coordinates_of_the_mesh(tetra_file, tmp_path):
    problem = Occupancy(mesh=tetra_file, resolution=33)
    data = problem.load("cpu", torch.float64)
    problem.export(tetra, data, tmp_path)
    written = Mesh.read(tmp_path / "surface.ply")
    # binary values put the surface half a step of the grid outside or inside
    assert written.vertices.min(0) == pytest.approx(TETRA.min(0), abs=0.3)
    assert written.vertices.max(0) == pytest.approx(TETRA.max(0), abs=0.3)
    assert written.volume() == pytest.approx(64 / 6, rel=0.15)


def test_a_field_without_a_surface_or_library_ends_in_words(tmp_path, capsys, monkeypatch):
    problem = Occupancy(resolution=16, **SMALL)
    data = problem.load("cpu", torch.float32)
    problem.export(lambda x: 0 * x[:, :1], data, tmp_path)
    assert "no mesh: a solid must be above 0.5 somewhere" in capsys.readouterr().out
    monkeypatch.setitem(__import__("sys").modules, "skimage.measure", None)
    problem.export(exact, data, tmp_path)
    assert "nfsolve[mesh]" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_picture_shows_solid_and_field(tmp_path):
    problem = Occupancy(resolution=24, loss="bce", **SMALL)
    data = problem.load("cpu", torch.float32)
    history = [{"step": s, "seconds": float(s), "iou": 0.5 + 0.1 * s, "iou_near": 0.4} for s in range(3)]
    figure = problem.picture(lambda x: -gyroid_ball(x), data, history)
    titles = [axes.get_title() for axes in figure.axes]
    assert "solid: gyroid ball" in titles
    assert any(title.startswith("field: IoU 1.0000,\nnear the surface 1.0000, chamfer 0.00") for title in titles)
    assert "wrong: 0.00 %\n(red: too much)" in titles
    figure.savefig(tmp_path / "solution.png", dpi=30)


def ball(x):
    return x.norm(dim=1, keepdim=True) - 0.6


def test_the_exact_distance_has_no_residual_and_no_chamfer_distance(monkeypatch):
    monkeypatch.setattr("problems.signals.occupancy.gyroid_ball", ball)
    problem = Occupancy(sdf=True, resolution=65, **SMALL)
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    assert (len(batch["distance"]), len(batch["eikonal"])) == (500, 125)
    off = problem.residuals(ball, batch)
    assert off["distance"].abs().max() < 5e-4  # near the centre, where all of the 2^13 points are about as near
    assert off["eikonal"].abs().max() < 1e-6
    scores = problem.metrics(ball, data)
    assert {key: scores[key] for key in IOUS} == dict.fromkeys(IOUS, 1.0)
    assert (scores["parts"], scores["parts_left_out"]) == (1, 0)
    assert scores["chamfer"] < 5e-4  # chords of cells of 1/32: 1/32^2 / (8 * 0.6) = 2e-4
    assert scores["distance_error"] < 5e-5
    twice = problem.residuals(lambda x: 2 * ball(x), batch)
    assert twice["eikonal"] == pytest.approx(1, abs=1e-6)
    shifted = problem.metrics(lambda x: ball(x) - 0.1, data)
    assert shifted["chamfer"] == pytest.approx(0.1, abs=1e-3)
    assert shifted["distance_error"] == pytest.approx(0.1, abs=1e-4)


def test_a_distance_is_learned_and_its_slope_is_one_by_the_eikonal_equation(monkeypatch):
    monkeypatch.setattr("problems.signals.occupancy.gyroid_ball", ball)
    found = {}
    for weight in (0.0, 0.1):
        problem = Occupancy(sdf=True, eikonal=weight, resolution=33, pool=400, batch=0)
        field = partial(MLP, width=10, depth=1)
        run = nfsolve.solve(problem, field, nfsolve.optim.GaussNewton, steps=60, dtype="float64", report=None)
        found[weight] = run.metrics
        assert found[weight]["iou"] > 0.95
        assert found[weight]["chamfer"] < 0.02
    assert found[0.1]["slope_error"] < 0.9 * found[0.0]["slope_error"]


def test_the_default_field_learns_a_distance(monkeypatch):
    monkeypatch.setattr("problems.signals.occupancy.gyroid_ball", ball)
    problem = Occupancy(sdf=True, resolution=33, pool=10_000, batch=1000)
    scores = nfsolve.solve(problem, steps=80, report=None).metrics
    assert scores["iou"] > 0.8, "fast sines keep the slope of their waves, and learn nothing"
    assert scores["chamfer"] < 0.05


def test_several_bodies_stay_apart_and_specks_are_left_out_in_words(tmp_path, capsys):
    centres = torch.tensor([[-0.5, 0, 0], [0.5, 0, 0], [0, 5 / 6, 0]], dtype=torch.float64)
    radii = torch.tensor([0.35, 0.3, 0.03], dtype=torch.float64)

    def field(x):
        balls = [(x - c).norm(dim=1, keepdim=True) - float(r) for c, r in zip(centres, radii, strict=True)]
        return torch.cat(balls, 1).amin(1, keepdim=True)

    problem = Occupancy(sdf=True, resolution=97, **SMALL)
    data = problem.load("cpu", torch.float64)
    assert problem.surface(field, data).parts == 2
    scores = problem.metrics(field, data)
    assert (scores["parts"], scores["parts_left_out"]) == (2, 1)
    problem.export(field, data, tmp_path)
    assert "mesh: left out 1 small parts" in capsys.readouterr().out
    assert Mesh.read(tmp_path / "surface.ply").parts == 2
    assert dataclasses.replace(problem, smallest=0.0).surface(field, data).parts == 3


def test_protocols_set_up_what_their_papers_say():
    published = Occupancy(protocol="preconditioners")
    recipe = published.recipe()
    field = recipe.field(published.domain, published.unknowns)
    assert sum(p.numel() for p in field.parameters()) == 198_657  # its table
    activation = recipe.field.keywords["activation"]
    assert isinstance(activation, Gaussian)
    assert activation(torch.tensor(0.09), 0).item() == pytest.approx(math.exp(-0.5))
    assert published.level == 0
    assert Occupancy(protocol="ws").level == 0.5
    assert isinstance(Occupancy(protocol="ws").recipe().field.keywords["activation"], Sine)
    tancik = Occupancy(protocol="rwf")
    assert isinstance(tancik.recipe().field.keywords["activation"], ReLU)
    assert tancik.load("cpu", torch.float64)["pool"].points.abs().max() <= 1
    assert Occupancy(protocol="preconditioners", loss="mse").level == 0.5


def test_published_sizes(monkeypatch):
    monkeypatch.undo()
    s = SETTINGS["preconditioners"]
    assert (s.loss, s.batch, s.pool, s.fit, s.reach) == ("bce", 50_000, 1_000_000, "sphere", 0.95)
    assert (SETTINGS["rwf"].batch, SETTINGS["rwf"].tests) == (32_768, 2**18)


def test_uniform_points_need_no_surface_and_near_ones_keep_their_distance():
    ball = Implicit(lambda x: x.norm(dim=1, keepdim=True) - 0.5)
    points = around(ball, 4000, 0.01, torch.Generator().manual_seed(0))
    offset = points.norm(dim=1) - 0.5
    assert float(offset.std()) == pytest.approx(0.01, rel=0.06)
    assert around(Implicit(lambda x: x[:, :1] + 9), 10, None, torch.Generator()).shape == (10, 3)


def test_the_command_line_knows_the_parameters(tetra_file, tmp_path, capsys):
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as end:
        nfsolve.main(Occupancy, ["--mesh", tetra_file, "--loss", "bce", "--steps", "2", "--resolution", "12",
                                 "--field.width", "8", "--out", str(out)])  # fmt: skip
    assert end.value.code == 0
    assert "iou_near" in capsys.readouterr().out
    assert (out / "solution.png").is_file()
    again = nfsolve.load(out)
    assert again is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "presconditioners"}, "unknown protocol 'presconditioners': did you mean 'preconditioners'"),
        ({"loss": "bse"}, "unknown loss 'bse': did you mean"),
        ({"pool": 0}, "pool must be at least 1, got 0"),
        ({"batch": -1}, "batch must be at least 0, got -1"),
        ({"resolution": 3}, "resolution must be at least 8, got 3"),
        ({"pool": 100, "batch": 101}, "batch must be at most 100, .* got 101.*--batch 0 takes the whole"),
        ({"smallest": 2.0}, "smallest must be at most 1, the largest part, got 2"),
        ({"eikonal": 0.5}, "eikonal is for distances, but the occupancy is sought. Give --sdf"),
        ({"sdf": True, "loss": "bce"}, "no logit and no protocol, got loss = bce. Leave it out"),
        ({"sdf": True, "protocol": "ws"}, "no logit and no protocol, got protocol = ws"),
        ({"points": "p.npz"}, "'p.npz' was given without one. Give --mesh"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        Occupancy(**options)


def test_a_mesh_with_a_hole_is_refused(tmp_path):
    np.savez(tmp_path / "open.npz", vertices=TETRA, faces=SIDES[1:])
    with pytest.raises(ValueError, match="must be watertight, .* 3 open edges and 0 non-manifold edges"):
        Occupancy(mesh=str(tmp_path / "open.npz")).load("cpu", torch.float32)
    with pytest.raises(ValueError, match="'nowhere.obj' was not found"):
        Occupancy(mesh="nowhere.obj").load("cpu", torch.float32)


def test_the_armadillo_is_scored_on_the_points_of_the_data_folder():
    folder = Path(os.environ.get("NFSOLVE_DATA", "nowhere"))
    names = ("mesh_armadillo.npz", "occ_points_armadillo.npz")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} under $NFSOLVE_DATA")
    problem = Occupancy(mesh=names[0], points=names[1], protocol="preconditioners")
    data = problem.load("cpu", torch.float32)
    assert data["near"].points.shape == (100_000, 3)
    assert data["uniform"].points.abs().max() <= 1
    assert 0.45 < data["near"].values.mean() < 0.5
