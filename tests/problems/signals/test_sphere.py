"""The sphere problem: exact fields, areas, poles, the stride, outputs, protocols, bad input."""

import math
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP, Sine
from nfsolve.data.latlon import unit_vectors
from nfsolve.data.tables import find_file
from nfsolve.problem import SamplerState
from problems.signals.sphere import SphereFit

LAT, LON = np.linspace(90, -90, 25), np.arange(48) * 7.5


def smooth(points):
    """A field on the sphere from -1 to 1 that the grid holds."""
    return points[:, 2:] ** 2 * points[:, :1] * 1.5 * math.sqrt(3)


@pytest.fixture
def map_file(tmp_path):
    points = torch.from_numpy(unit_vectors(LAT, LON).reshape(-1, 3))
    values = smooth(points).numpy().reshape(25, 48)
    values = values / np.abs(values).max()
    np.savez(tmp_path / "map.npz", lat=LAT, lon=LON, t=280 + 30 * values)
    return tmp_path / "map.npz"


def scaled(data):
    """The field that fits the file exactly."""
    peak = smooth(data["points"]).abs().max()
    return lambda points: smooth(points) / peak


def small(path, **options):
    return SphereFit(data=str(path), **options)


def test_the_default_is_random_and_deterministic():
    first, second = (SphereFit(rows=31).load("cpu", torch.float32) for _ in range(2))
    assert first["points"].shape == (31 * 60, 3)
    assert torch.equal(first["values"], second["values"])
    assert (first["values"].min(), first["values"].max()) == (-1, 1)
    assert torch.allclose(first["points"].square().sum(1), torch.ones(31 * 60))


def test_the_exact_field_has_no_residual_and_perfect_scores(map_file):
    problem = small(map_file)
    data = problem.load("cpu", torch.float64)
    exact = scaled(data)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    assert problem.residuals(exact, batch)["field"].abs().max() < 1e-12
    assert (data["middle"], data["range"]) == pytest.approx((280, 60))
    scores = problem.metrics(exact, data)
    assert min(v for k, v in scores.items() if k.startswith("psnr") and "spline" not in k) > 200
    assert scores["psnr_heldout_spline"] > 40
    turned = problem.metrics(lambda points: exact(-points), data)
    assert turned["psnr_heldout"] < 25


def test_scores_weigh_by_area(map_file):
    data = small(map_file).load("cpu", torch.float64)
    exact = scaled(data)
    off = small(map_file).metrics(lambda p: exact(p) + 0.1, data)
    assert off["psnr"] == pytest.approx(20 * math.log10(2 / 0.1))
    assert [off["rmse"], off["rmse_heldout"]] == pytest.approx([0.1 * 30] * 2)
    polar = small(map_file, stride=1).metrics(lambda p: exact(p) + 0.1 * (p[:, 2:].abs() > 0.9), data_all(map_file))
    cap = 1 - math.sin(math.radians((64.15806 // 7.5 + 0.5) * 7.5))  # rows above the band edge, both caps
    assert polar["rmse"] == pytest.approx(3 * math.sqrt(cap), rel=1e-6)
    assert polar["psnr_unweighted"] < polar["psnr"] - 2


def data_all(path):
    return small(path, stride=1).load("cpu", torch.float64)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_only_strided_points_are_given_and_a_pole_is_one_point(map_file, stride):
    problem = small(map_file, stride=stride, batch=64)
    data = problem.load("cpu", torch.float64)
    mask = data["mask"].reshape(25, 48)
    inner = torch.zeros(25, 48, dtype=torch.bool)
    inner[::stride, ::stride] = True
    assert torch.equal(mask[1:-1], inner[1:-1])
    assert mask[0].all()
    assert mask[-1].all() == (24 % stride == 0)
    drawn = problem.sample(data, SamplerState(), torch.Generator().manual_seed(1))["field"]
    assert drawn.points.shape == (64, 3)
    assert torch.cdist(drawn.points, data["given"].points).min(1).values.max() < 1e-6
    assert problem.score == ("psnr_heldout" if stride > 1 else "psnr")
    assert ("rmse_heldout" in problem.metrics(lambda p: 0 * p[:, :1], data)) == (stride > 1)


def test_points_are_drawn_by_area(map_file):
    problem = small(map_file, stride=1, batch=0)
    data = problem.load("cpu", torch.float64)
    assert problem.sample(data, SamplerState(), torch.Generator())["field"] is data["given"]
    problem = small(map_file, stride=1, batch=1199)
    generator = torch.Generator().manual_seed(0)
    z = torch.cat([problem.sample(data, SamplerState(), generator)["field"].points[:, 2] for _ in range(20)])
    square = float((data["weights"][:, 0] * data["points"][:, 2] ** 2).mean())
    assert square == pytest.approx(1 / 3, abs=3e-3)  # uniform on the sphere
    error = float(z.square().std()) / math.sqrt(len(z))
    assert abs(float(z.square().mean()) - square) < 4 * error
    whole = problem.residuals(lambda p: 0 * p[:, :1], {"field": data["given"]})["field"].square().mean()
    sampled = (
        problem.residuals(lambda p: 0 * p[:, :1], problem.sample(data, SamplerState(), generator))["field"]
        .square()
        .mean()
    )
    assert float(sampled) == pytest.approx(float(whole), rel=0.25)


def test_the_values_of_a_pole_are_averaged(tmp_path):
    values = np.random.default_rng(0).normal(size=(25, 48))
    np.savez(tmp_path / "map.npz", lat=LAT, lon=LON, v=values)
    data = small(tmp_path / "map.npz").load("cpu", torch.float64)
    read = data["middle"] + data["range"] / 2 * data["values"].reshape(25, 48)
    assert torch.allclose(read[-1], torch.full((48,), values[0].mean(), dtype=torch.float64))  # latitudes rise
    assert np.allclose(read[1:-1], values[::-1][1:-1])


@pytest.mark.parametrize("stride", [2, 3])
def test_quick_scores_see_given_and_held_out_points(stride, monkeypatch):
    import problems.signals.sphere

    monkeypatch.setattr(problems.signals.sphere, "QUICK", 700)
    problem = SphereFit(rows=61, stride=stride)
    data = problem.load("cpu", torch.float64)
    seen = []
    quick = problem.quick_metrics(lambda p: (seen.append(len(p)), 0 * p[:, :1])[1], data)
    assert 300 < sum(seen) < 1100
    full = problem.metrics(lambda p: 0 * p[:, :1], data)
    assert set(quick) == {"psnr", "rmse", "psnr_heldout", "rmse_heldout"}
    assert all(quick[name] == pytest.approx(full[name], rel=0.1) for name in quick)


def test_files_hold_the_field_in_the_unit_of_the_data(tmp_path, map_file):
    problem = small(map_file, variable="t", spacing=7.5)
    data = problem.load("cpu", torch.float64)
    problem.export(scaled(data), data, tmp_path)
    with np.load(tmp_path / "field.npz") as arrays, np.load(map_file) as given:
        assert arrays["lat"].tolist() == LAT[::-1].tolist()
        assert arrays["lon"].tolist() == LON.tolist()
        assert np.abs(arrays["t"] - given["t"][::-1]).max() < 1e-3
    picture = iio.imread(tmp_path / "field.png")
    assert picture.shape == (25, 48, 3)
    row, column = np.unravel_index(given_max(map_file), (25, 48))  # the file's latitudes fall: north on top
    assert picture[row, column].tolist() == [165, 0, 38]


def given_max(path):
    with np.load(path) as arrays:
        return arrays["t"].argmax()


def test_the_picture_shows_scores_and_both_poles(map_file):
    problem = small(map_file)
    data = problem.load("cpu", torch.float64)
    history = [{"step": s, "seconds": float(s), "psnr": 20.0 + s, "psnr_heldout": 20.0} for s in range(3)]
    figure = problem.picture(scaled(data), data, history)
    titles = [axes.get_title() for axes in figure.axes]
    assert any("held-out" in title and "dB" in title for title in titles)
    assert {"field from above the north pole", "field from above the south pole"} <= set(titles)
    figure.canvas.draw()
    disk = problem.from_above(lambda p: p[:, 2:], data, -1, size=51)
    assert disk[25, 25] == pytest.approx(280 - 30)
    assert np.isnan(disk[0, 0])
    east = [problem.from_above(lambda p: p[:, :1], data, side, size=51)[25, 45] > 280 for side in (1, -1)]
    assert east == [True, False]  # from below, x points to the left


def test_coasts_are_drawn_over_the_maps(map_file, tmp_path):
    path = tmp_path / "coast.json"
    path.write_text('{"type": "LineString", "coordinates": [[10, 20], [30, 40]]}')
    problem = small(map_file, coastlines=str(path))
    data = problem.load("cpu", torch.float64)
    figure = problem.picture(lambda x: x[:, :1], data, [])
    drawn = [len(axes.lines) for axes in figure.axes[:3]]
    assert drawn == [1, 1, 1]
    path.write_text("{}")
    with pytest.raises(ValueError, match="must be GeoJSON"):
        problem.load("cpu", torch.float64)


def test_the_ws_protocol_takes_all_points():
    problem = SphereFit(protocol="ws")
    assert [problem.of(name) for name in ("stride", "batch")] == [1, 0]
    assert problem.score == "psnr"
    recipe = problem.recipe()
    assert recipe.field.keywords["activation"] == Sine(30.0)
    assert recipe.stages[0].optimizer.keywords["lr"] == 1e-4
    assert SphereFit(protocol="ws", stride=2).score == "psnr_heldout"


def test_three_steps_are_finite_and_follow_the_seed():
    problem = SphereFit(rows=21, batch=100)
    field = partial(MLP, width=8, depth=2)
    runs = [nfsolve.solve(problem, field, steps=3, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]
    assert {"psnr", "psnr_heldout", "rmse", "rmse_heldout"} <= set(runs[0].metrics)


def test_gauss_newton_fits_a_smooth_field(map_file):
    problem = small(map_file, batch=0)
    field = partial(MLP, width=8, depth=1)
    solution = nfsolve.solve(problem, field, nfsolve.optim.GaussNewton, steps=25, dtype="float64", report=None)
    assert solution.metrics["psnr_heldout"] > 35


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"batch": -1}, "batch must be at least 0, got -1"),
        ({"rows": 5}, "rows must be at least 12, got 5"),
        ({"spacing": 0.0}, "spacing must be at least 0.05, got 0"),
        ({"spacing": 50.0}, "spacing must be at most 45 degrees, got 50"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        SphereFit(**options)


def test_bad_fields_are_worded(tmp_path):
    with pytest.raises(ValueError, match=r"'nowhere' was not found.*NFSOLVE_DATA"):
        SphereFit(data="nowhere").load("cpu", torch.float32)
    with pytest.raises(
        ValueError, match="at least 6 rows and columns must be given, but with stride=40 .* 91 x 180 there are 3 and 5"
    ):
        SphereFit(stride=40).load("cpu", torch.float32)
    np.savez(tmp_path / "flat.npz", lat=LAT, lon=LON, v=np.full((25, 48), 3.0))
    with pytest.raises(ValueError, match="the field must vary, but it is 3 everywhere"):
        small(tmp_path / "flat.npz").load("cpu", torch.float32)


REAL = {
    "sphere_ecmwf_t2m_20170723T12_0p75deg.npz": ({}, 113.9, (241, 480)),
    "sphere_era5_tz_3deg_20170101.npz": ({"variable": "t850"}, 65.8, (61, 120)),
    "sphere_eraint_z500_monthly_0p75deg.npz": ({"level": 1}, None, (241, 480)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_fields_are_read(name):
    try:
        path = find_file(name)
    except ValueError:
        pytest.skip(f"needs {name} in $NFSOLVE_DATA")
    options, extent, shape = REAL[name]
    data = small(path, **options).load("cpu", torch.float32)
    assert (len(data["lat"]), len(data["lon"])) == shape
    assert extent is None or data["range"] == pytest.approx(extent, abs=0.1)
    assert (data["lon"][0], data["lat"][0]) == (0, -90)


def test_a_few_values_of_another_scale_are_doubted(map_file, tmp_path, recwarn):
    SphereFit(data=str(map_file)).load("cpu", torch.float64)
    assert not recwarn
    arrays = dict(np.load(map_file))
    arrays["t"][3, 5] = 1e5
    np.savez(tmp_path / "wild.npz", **arrays)
    with pytest.warns(UserWarning, match=r"but the field reaches from 2\d\d(\.\d+)? to 1e\+05"):
        SphereFit(data=str(tmp_path / "wild.npz")).load("cpu", torch.float64)
