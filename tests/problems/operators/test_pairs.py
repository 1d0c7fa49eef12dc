"""An operator from a user's file: what a mini-batch holds, every kind of file, what is refused, what comes out."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.fields import FNO, DeepONet, GatheredDeepONet, PODDeepONet, ScatteredOperator
from nfsolve.options.request import read_request
from nfsolve.plot.solution import picture
from nfsolve.problem import SamplerState
from nfsolve.problem.registry import find
from nfsolve.run.solve import reopen
from problems.operators._form import disordered, grid_sizes
from problems.operators.pairs import PairsOperator
from tests.problems.operators.shared import parts_of

COUNT, SENSORS = 23, 6


def columns(kind: str) -> dict[str, np.ndarray]:
    """Pairs s = (sum of c_j x^j y, and 100 times its square) of f = sum of c_j z^j."""
    chance = np.random.default_rng(3)
    c, z = chance.normal(size=(COUNT, 3)), np.linspace(-1, 1, SENSORS)
    if kind == "grid":
        x = np.stack(np.meshgrid(np.linspace(0, 2, 5), np.linspace(1, 2, 4), indexing="ij"), -1).reshape(-1, 2)
    else:
        x = chance.uniform((0, 1), (2, 2), ((COUNT,) if kind == "unaligned" else ()) + (20, 2))
    powers = x[..., :1] ** np.arange(3) * x[..., 1:]
    s = np.einsum("nj,npj->np", c, np.broadcast_to(powers, (COUNT, 20, 3)))
    f = c @ z ** np.arange(3)[:, None]
    return {"f": f, "x": x, "s": np.stack([s, 100 * s**2], -1), "f_sensors": z[:, None]}


def write(folder: Path, kind: str, ending: str = "npz", **changes) -> Path:
    arrays = {name: array for name, array in (columns(kind) | changes).items() if array is not None}
    path = folder / f"{kind}.{ending}"
    if ending == "npz":
        np.savez(path, **arrays)
    elif ending == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return path


def problem_of(path: Path, **options) -> PairsOperator:
    return PairsOperator(str(path), **{"every": 5, "batch": 3, "n_points": 7, **options})


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


KINDS = ("grid", "scattered", "unaligned")
SMALL = partial(nf.DeepONet, width=4, depth=1, latent=3)


@pytest.mark.parametrize("kind", KINDS)
def test_residuals_are_those_of_one_pair_after_the_other(kind, tmp_path):
    """The oracle: each point with its function and its label, found again in the arrays of the file."""
    problem, arrays = problem_of(write(tmp_path, kind)), columns(kind)
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), chance())
    field = nf.DeepONet.for_problem(problem, width=4, depth=1, latent=3, dtype=torch.float64)
    r = problem.residuals(field, batch)["data"].reshape(3, 7, 2)
    seen = (arrays["f"] - np.mean(f := arrays["f"][np.arange(COUNT) % 5 != 4])) / f.std(ddof=1)
    for b, read in enumerate(batch["data"].functions):
        row = int(np.abs(seen - read.numpy()).sum(1).argmin())
        assert row % 5 != 4
        np.testing.assert_allclose(seen[row], read, rtol=1e-12)
        x = torch.from_numpy(arrays["x"][row] if kind == "unaligned" else arrays["x"])
        s = torch.from_numpy(arrays["s"][row])
        expected = (field(x, read[None]) - s) / s.square().mean(0).sqrt()
        at = batch["data"].points[:, b] if kind == "unaligned" else batch["data"].points
        places = torch.cdist(at, x).argmin(1)
        assert len(places.unique()) == 7
        torch.testing.assert_close(r[b], expected[places], rtol=1e-9, atol=1e-12)
    held = arrays["s"][4::5]
    errors = problem.errors(field, data)
    values = torch.stack(
        [
            field(torch.from_numpy(arrays["x"][i] if kind == "unaligned" else arrays["x"]), g[None])
            for i, g in zip(range(4, COUNT, 5), data["test"].functions, strict=True)
        ]
    )
    gap = (values.detach().numpy() - held) ** 2
    np.testing.assert_allclose(errors, np.sqrt(gap.sum(1) / (held**2).sum(1)), rtol=1e-10)


def test_files_of_every_kind_give_the_same_run(tmp_path):
    found = []
    for ending in ("npz", "h5", "npy"):
        problem = problem_of(write(tmp_path, "unaligned", ending))
        solution = nf.solve(problem, SMALL, steps=2, report=None)
        assert not solution.failed
        found.append(torch.cat([p.flatten() for p in solution.field.parameters()]))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_has_scores_pictures_and_arrays_and_goes_on(kind, tmp_path):
    problem, run = problem_of(write(tmp_path, kind)), tmp_path / "run"
    whole = nf.solve(problem, SMALL, steps=2, out=run, report=None)
    assert set(whole.metrics) >= {"relative_l2", "relative_l2_max", "relative_l2/s1", "relative_l2/s2"}
    assert not any("floor" in name for name in whole.metrics)
    figure = picture(whole)
    parts = parts_of(figure)
    assert "best of 4 test functions: relative L2 error" in parts["best"].get_suptitle()
    assert "(largest of s1, s2)" in parts["best"].get_suptitle()
    panels = {ax.get_title(): ax for ax in parts["worst"].axes}
    drawn = [panels[what] for what in ("reference s1", "operator s1", "operator - reference")]
    scales = [(ax.images or ax.collections)[0].get_clim() for ax in drawn]
    assert scales[0] == scales[1] and scales[2][0] == -scales[2][1]
    if kind != "grid":
        reference, operator, apart = (ax.collections[0].get_array() for ax in drawn)
        np.testing.assert_allclose(apart, operator - reference, rtol=1e-12)
        comparison = panels["operator against reference"]
        np.testing.assert_array_equal(comparison.lines[1].get_xydata(), np.stack([reference, operator], 1))
        assert comparison.get_xlabel() == "s1, reference" and comparison.get_aspect() == 1
    problem.export(whole.field, whole.data, tmp_path)
    with np.load(tmp_path / "predictions.npz") as file:
        shape = (4, 5, 4, 2) if kind == "grid" else (4, 20, 2)
        assert file["predicted"].shape == file["solved"].shape == shape
        assert file["x"].shape == {"grid": (5,), "scattered": (20,), "unaligned": (4, 20)}[kind]
        if kind == "unaligned":
            np.testing.assert_allclose(file["y"], columns(kind)["x"][4::5, :, 1], rtol=1e-6)
    trained, x = nf.load(run), torch.full((5, 2), 1.5)
    squared = torch.linspace(-1, 1, SENSORS, dtype=torch.float64)[None] ** 2
    assert torch.equal(trained(lambda x: x**2, x), trained(squared, x, at=problem.sensor_points("f")))


def test_resuming_gives_the_same_numbers(tmp_path):
    problem, run = problem_of(write(tmp_path, "unaligned", "npy")), tmp_path / "run"
    options = {"optimizer": torch.optim.Adam, "schedule": "constant", "report": None}
    whole = nf.solve(problem, nf.DeepONet, steps=6, **options)
    nf.solve(problem, nf.DeepONet, steps=3, out=run, **options)
    resumed = nf.resume(run, steps=6, report=None)
    for a, b in zip(whole.field.parameters(), resumed.field.parameters(), strict=True):
        assert torch.equal(a, b)


def test_modes_need_a_grid(tmp_path):
    problem = problem_of(write(tmp_path, "grid"))
    solution = nf.solve(problem, partial(PODDeepONet, latent=2, width=4), steps=2, report=None)
    held_out = columns("grid")["s"][4]
    grid, mean = problem.snapshots()[0], problem.snapshots()[1].mean(0)
    assert [len(axis) for axis in grid] == [5, 4] and mean.shape == (5, 4, 2)
    training = columns("grid")["s"][np.arange(COUNT) % 5 != 4]
    torch.testing.assert_close(mean.reshape(20, 2), torch.from_numpy(training.mean(0)))
    torch.testing.assert_close(
        solution.field.basis(solution.data["grid"].points)[1], mean.reshape(20, 2).float(), rtol=1e-4, atol=1e-4
    )
    assert np.abs(training - held_out).sum((1, 2)).min() > 0
    with pytest.raises(InputError, match=r"modes of labels need points x of a grid"):
        PODDeepONet.for_problem(problem_of(write(tmp_path, "scattered")))


def test_grids_are_recognized():
    a, b = torch.linspace(0, 1, 5), torch.linspace(3, 4, 3)
    grid = torch.cartesian_prod(a, b)
    assert grid_sizes(grid) == (5, 3)
    assert grid_sizes(grid.flip(0)) == grid_sizes(grid**2) == grid_sizes(torch.cat([grid, grid])[1:16]) == ()
    assert grid_sizes(a[:, None]) == (5,) and grid_sizes(a[:, None] ** 2) == grid_sizes(a[:, None].flip(0)) == ()
    assert all(map(disordered, (grid.flip(0), a[:, None].flip(0), grid.view(5, 3, 2).transpose(0, 1).reshape(-1, 2))))
    assert not any(map(disordered, (grid, grid.flip(0) ** 2, torch.cat([grid, grid])[:20])))


def test_several_functions_and_names(tmp_path):
    path = write(tmp_path, "grid", g=np.random.default_rng(0).normal(size=(COUNT, 4)), f_sensors=None)
    problem = problem_of(path, reads="g f", coordinates="t z")
    assert problem.domain.names == ("t", "z") and problem.domain.bounds == ((0, 2), (1, 2))
    assert problem.sensor_counts == (4, 6) and problem.inputs == {"g": "sensor", "f": "sensor"}
    solution = nf.solve(problem, SMALL, steps=2, report=None)
    assert solution.metrics["relative_l2"] > 0 and picture(solution) is not None
    trained = problem.trained(solution.field)
    with pytest.raises(InputError, match=r"'f' must be a function of sensor.*, got one of t"):
        trained({"g": torch.ones(1, 4), "f": lambda t: t}, torch.ones(3, 2))


def spoilt(name: str) -> np.ndarray:
    array = columns("grid")[name].copy()
    array[7] = math.nan
    return array


def repeated() -> np.ndarray:
    f = columns("grid")["f"].copy()
    f[9] = f[2]
    return f


REFUSED = [
    ({"f": repeated()}, {}, r"but 1 of 4 are training functions \(test 1 is training 2\)"),
    ({"s": spoilt("s")}, {}, "the outputs must hold finite numbers, .* but row 7 has infinity, or NaN alone"),
    ({"f": spoilt("f")}, {}, "the input functions must hold finite numbers, but row 7"),
    ({"s": None}, {}, "must have an array 's', but it has f, "),
    ({"f_sensors": np.zeros(5)}, {}, r"sensors must be 6 rows of finite coordinates, .* shape \(5,\)"),
    ({"x": columns("grid")["x"][:7]}, {}, r"must be \(points, d\), .* fit outputs of shape .* but they are x \(7, 2\)"),
    ({}, {"every": 1}, r"every must be at least 2, got 1"),
    ({}, {"every": 20}, r"at least 2 pairs must be held out, but of 23 only 1 would be"),
    ({}, {"coordinates": "t"}, r"points of 2 columns need 2 coordinates, got 1"),
    ({}, {"coordinates": "f y"}, r"'f' names a coordinate and a function"),
]


@pytest.mark.parametrize(("arrays", "options", "message"), REFUSED)
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_bad_pairs_are_named(arrays, options, message, ending, tmp_path):
    path = write(tmp_path, "grid", ending, **arrays)

    def run():
        nf.solve(problem_of(path, **options), SMALL, steps=9, report=None)

    with pytest.raises(InputError, match=message):
        run()


def test_the_command_line_reads_the_file_and_asks_for_it(tmp_path, monkeypatch, capsys):
    write(tmp_path, "grid")
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))
    cls = find("problems.operators.pairs:PairsOperator")
    words = "--pairs grid.npz --every 4 --steps 2 --field.latent 5 --n-points 9"
    request = read_request(cls, words.split(" "), "run")
    solution = nf.solve(request.problem, **request.options, report=None)
    assert solution.steps == 2 and not solution.failed
    with pytest.raises(SystemExit):
        read_request(cls, ["--help"], "run")
    assert "--pairs" in capsys.readouterr().out
    with pytest.raises(
        InputError, match=r"needs a file or folder with functions f, points x and solutions s. Give --pairs"
    ):
        nf.solve(PairsOperator(), steps=1, report=None)
    with pytest.raises(InputError, match=r"data file 'none.npz' was not found"):
        nf.solve(PairsOperator("none.npz"), steps=1, report=None)


def test_a_tiny_variation_about_a_large_mean_is_scored_as_such(tmp_path):
    arrays = columns("grid")
    path = write(tmp_path, "grid", s=5e3 + 1e-6 * arrays["s"])
    solution = nf.solve(problem_of(path), SMALL, steps=2, dtype="float64", report=None)
    assert solution.metrics["relative_l2"] < 1e-6 and solution.metrics["relative_to_variation/s1"] > 0.1
    assert any("hardly varies" in text for text in solution.warnings)
    with pytest.raises(InputError, match="which float32 does not resolve.*dtype float64"):
        nf.solve(problem_of(path), SMALL, steps=2, dtype="float32", report=None)


def ragged(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Pairs s = integral of f, each function with sensors and points of its own, fewer for some."""
    chance = np.random.default_rng(1)
    c, z, x = chance.normal(size=(200, 3)), np.sort(chance.random((200, 20)), 1), chance.random((200, 15))
    k = np.pi * np.arange(1, 4)
    f, s = (np.einsum("nk,nmk->nm", c, wave) for wave in (np.cos(z[..., None] * k), np.sin(x[..., None] * k) / k))
    z[::3, 14:] = f[::3, 14:] = s[::4, 9:] = x[::4, 9:] = np.nan
    arrays = {"f": f, "f_sensors": z, "x": x, "s": s}
    np.savez(folder / "ragged.npz", **arrays)
    return folder / "ragged.npz", arrays


@pytest.mark.parametrize(("field", "name"), [(None, "GatheredDeepONet"), ("attention", "ScatteredOperator")])
def test_functions_with_sensors_of_their_own(field, name, tmp_path):
    path, arrays = ragged(tmp_path)
    problem = problem_of(path, batch=16, n_points=0)
    solution = nf.solve(problem, field, steps=150, seed=0, report=None, out=tmp_path / "run", log_every=150)
    assert type(solution.field).__name__ == name and solution.metrics["relative_l2"] < 0.8
    assert any("s is NaN at" in text for text in problem.cautions()) and picture(solution) is not None
    trained = nf.load(tmp_path / "run")
    x, few = torch.linspace(0.1, 0.9, 7)[:, None], slice(0, 14)
    f, z = (torch.from_numpy(arrays[name][3:4, few]) for name in ("f", "f_sensors"))
    padded = torch.from_numpy(np.stack([arrays["f"][3:4], arrays["f_sensors"][3:4]], -1)).flatten(1)
    whole = problem.predict(solution.field, problem.seen({"f": padded.float()}), x)
    torch.testing.assert_close(trained(f, x, at=z[0]), whole, rtol=1e-4, atol=1e-5)
    order = torch.randperm(14)
    torch.testing.assert_close(trained(f[:, order], x, at=z[:, order, None]), whole, rtol=1e-4, atol=1e-5)
    assert trained(lambda x: torch.cos(math.pi * x), x).shape == (1, 7, 1)
    with pytest.raises(InputError, match=r"must have values \(functions, m\) at places at="):
        trained(f, x, at=z[0, :5])
    with pytest.raises(InputError, match=r"sensors of its own for 'f', and DeepONet reads values at common ones"):
        nf.DeepONet.for_problem(problem)


@pytest.mark.parametrize("zeros", ["one", "all of an output"])
def test_solutions_of_zero_are_left_out_of_relative_errors_and_counted(zeros, tmp_path):
    s = columns("grid")["s"]
    s = s * (np.arange(COUNT) != 4)[:, None, None] if zeros == "one" else s * [1, 0]
    solution = nf.solve(problem_of(write(tmp_path, "grid", s=s)), SMALL, steps=2, report=None)
    assert math.isfinite(solution.metrics["relative_l2"]) and math.isfinite(solution.metrics["loss"])
    assert solution.metrics["zero_solutions/s2"] == (1 if zeros == "one" else 4)


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_an_output_with_one_value_has_no_slopes_and_is_named(value, tmp_path):
    pairs = waves(40, 17, 0)
    np.savez(tmp_path / "a.npz", **pairs | {"s": np.stack([pairs["s"], 0 * pairs["s"] + value], -1)})
    problem = problem_of(tmp_path / "a.npz", n_points=0)
    assert any(f"'s2' has one value everywhere, {value:g}" in text for text in problem.cautions())
    solution = nf.solve(problem, partial(FNO, width=4, depth=1), steps=3, report=None)
    assert solution.steps == 3 and math.isfinite(solution.metrics["loss"])
    assert math.isfinite(solution.metrics["relative_l2/s1"])


def test_missing_labels_take_no_part(tmp_path):
    s = columns("grid")["s"].copy()
    s[:, 15:] = np.nan
    rest = write(tmp_path, "grid", s=columns("grid")["s"][:, :15], x=columns("grid")["x"][:15])
    fewer = nf.solve(problem_of(rest, n_points=0), SMALL, steps=0, report=None)
    problem = problem_of(write(tmp_path, "grid", s=s), n_points=0)
    solution = nf.solve(problem, SMALL, steps=3, report=None)
    assert math.isfinite(solution.metrics["loss"]) and math.isfinite(solution.metrics["relative_l2"])
    assert any("are NaN" in text or "is NaN at" in text for text in problem.cautions())
    start = nf.solve(problem, SMALL, steps=0, report=None)
    assert start.metrics["relative_l2/s1"] == pytest.approx(fewer.metrics["relative_l2/s1"], rel=0.1)


def waves(n: int, points: int, seed: int) -> dict[str, np.ndarray]:
    """Pairs f -> f^2 / 2 of functions with period 1, both ends of it among the points."""
    x, c = np.linspace(0, 1, points), np.random.default_rng(seed).normal(size=(n, 3, 2))
    phase = 2 * np.pi * np.arange(1, 4)[:, None] * x
    f = c[..., 0] @ np.cos(phase) + c[..., 1] @ np.sin(phase)
    return {"f": f, "x": x, "s": f**2 / 2}


def test_pairs_on_a_grid_take_a_fourier_neural_operator_and_a_file_of_tests(tmp_path):
    np.savez(tmp_path / "train.npz", **waves(200, 33, 0))
    np.savez(tmp_path / "test.npz", **waves(9, 33, 1))
    problem = PairsOperator(str(tmp_path / "train.npz"), str(tmp_path / "test.npz"))
    assert problem.domain.periodic == (True,) and any("periodic in x" in text for text in problem.cautions())
    small = partial(problem.recipe().field, width=12, depth=2)
    solution = nf.solve(problem, small, steps=200, seed=0, report=None, out=tmp_path / "run", log_every=200)
    assert type(solution.field).__name__ == "FNO" and solution.metrics["relative_l2"] < 0.5
    assert len(solution.data["test"]) == 9 and solution.field.grid == (32,)
    trained, at = nf.load(tmp_path / "run"), torch.rand(5, 1)
    f = torch.from_numpy(waves(2, 33, 2)["f"])
    assert torch.allclose(trained(f, at), trained(f, at + 1), atol=1e-4)
    finer = solution.field.on(problem.domain, (64,), ((65,),))
    g = torch.from_numpy(waves(2, 65, 2)["f"])
    known = problem._form.scaled
    coarse, fine = (net.on_grid(known("f", v.float()), at).detach() for net, v in ((solution.field, f), (finer, g)))
    assert torch.allclose(coarse, fine, atol=0.1 * float(coarse.abs().max()))
    tests = {"test.npz": waves(9, 65, 1), "open.npz": {k: v[..., :-1] for k, v in waves(9, 33, 1).items()}}
    for name, pairs in tests.items():  # the same functions on other grids
        np.savez(tmp_path / name, **pairs)
        other = problem_of(tmp_path / "train.npz", test=str(tmp_path / name))
        metrics = other.metrics(solution.field, other.load("cpu", torch.float32))
        assert metrics["relative_l2"] == pytest.approx(solution.metrics["relative_l2"], rel=0.1)
        assert any("other places: they are interpolated to the 33 sensors" in text for text in other.cautions())
    np.savez(tmp_path / "test.npz", **waves(9, 65, 1) | {"f": waves(9, 40, 1)["f"]})  # at places that nobody knows
    with pytest.raises(InputError, match=r"test pairs must have the inputs and outputs of the others"):
        nf.solve(problem_of(tmp_path / "train.npz", test=str(tmp_path / "test.npz")), steps=1, report=None)


SMALL_FIELDS = {
    "FNO": partial(FNO, width=6, depth=1),
    "DeepONet": partial(DeepONet, width=6, depth=1, latent=4),
    "attention": partial(ScatteredOperator, width=6, depth=1, slices=2),
    "gathered": partial(GatheredDeepONet, width=6, depth=1, latent=4),
}


@pytest.mark.parametrize("field", SMALL_FIELDS)
@pytest.mark.parametrize("kind", ["waves", "images", "linear", "ragged"])
def test_a_trained_operator_needs_its_file_no_longer(kind, field, tmp_path):
    path = tmp_path / "pairs.npz"
    if kind == "ragged":
        path, _ = ragged(tmp_path)
        if field not in ("attention", "gathered"):
            pytest.skip("it does not read functions with sensors of their own")
    elif kind == "images":
        chance = np.random.default_rng(0)
        np.savez(path, a=chance.normal(size=(20, 5, 6)), u=chance.normal(size=(20, 5, 6)))
    else:
        pairs = waves(40, 33, 0)
        np.savez(path, **pairs | ({"s": pairs["f"]} if kind == "linear" else {}))
    problem = PairsOperator(str(path))
    solution = nf.solve(problem, SMALL_FIELDS[field], steps=3, report=None, out=tmp_path / "run")
    test = problem._known.pairs.input_rows(0, np.arange(2))
    name = next(iter(problem.inputs))
    at = torch.rand(4, len(problem.domain.names))
    with torch.no_grad():
        expected = problem.predict(solution.field, problem.seen({name: test.float()}), at)
    path.unlink()
    again = nf.load(tmp_path / "run")
    form, kept = problem._form, again.problem._form
    assert form.same(kept) and form.inputs == kept.inputs and repr(form.domain) == repr(kept.domain)
    with torch.no_grad():
        found = again.problem.predict(again.field, again.problem.seen({name: test.float()}), at)
    torch.testing.assert_close(found, expected)
    with pytest.raises(InputError, match=f"data file '{path}' was not found"):
        reopen(tmp_path / "run")


def test_scales_stay_those_of_the_training_where_the_file_changes(tmp_path):
    np.savez(tmp_path / "a.npz", **waves(40, 33, 0))
    problem = PairsOperator(str(tmp_path / "a.npz"))
    solution = nf.solve(problem, SMALL_FIELDS["FNO"], steps=3, report=None, out=tmp_path / "run")
    f, at = torch.from_numpy(waves(2, 33, 1)["f"]), torch.rand(4, 1)
    np.savez(tmp_path / "a.npz", **{n: 10 * v if n != "x" else v for n, v in waves(40, 33, 2).items()})
    torch.testing.assert_close(nf.load(tmp_path / "run")(f, at), problem.trained(solution.field)(f, at))
    with pytest.warns(UserWarning, match="are not those of the run, whose names, places and scales are used"):
        reopen(tmp_path / "run")


def test_grids_without_their_upper_end_may_be_periodic(tmp_path):
    x = np.arange(40) / 40
    waves_of = lambda c: c[:, :3] @ np.cos(2 * np.pi * np.arange(3)[:, None] * x) + c[:, 3:] * np.sin(4 * np.pi * x)  # noqa: E731
    f = waves_of(np.random.default_rng(0).normal(size=(30, 4)))
    np.savez(tmp_path / "a.npz", f=f, x=x, s=f**2)
    problem = PairsOperator(str(tmp_path / "a.npz"))
    assert problem.domain.periodic == (True,) and problem.domain.bounds[0] == pytest.approx((0.0, 1.0))
    assert problem.layout()["grid"] == (40,) and any("periodic in x" in text for text in problem.cautions())
    np.savez(tmp_path / "b.npz", f=f, x=x, s=f * np.sin(np.pi * x))  # zero at both ends, with a kink between them
    assert PairsOperator(str(tmp_path / "b.npz")).domain.periodic == (False,)


def smooth(n: int, at: np.ndarray, seed: int) -> np.ndarray:
    """Functions with random amplitudes, squared."""
    c = np.random.default_rng(seed).normal(size=(n, 3))
    return (c @ np.cos(np.arange(1, 4)[:, None] * at.sum(-1))) ** 2


@pytest.mark.parametrize("kind", ["grid", "scattered"])
def test_smooth_operators_start_from_a_kernel_regression_which_is_said(tmp_path, kind):
    at = np.linspace(0, 1, 30)[:, None] if kind == "grid" else np.random.default_rng(5).uniform(size=(50, 2))
    f = np.random.default_rng(0).normal(size=(150, 3)) @ np.cos(np.arange(1, 4)[:, None] * np.linspace(0, 1, 20))
    np.savez(tmp_path / "a.npz", f=f, f_sensors=np.linspace(0, 1, 20), x=at, s=smooth(150, at, 0))
    problem = PairsOperator(str(tmp_path / "a.npz"), every=5)
    options = {"width": 8, "depth": 1} | ({} if kind == "grid" else {"latent": 4})
    solution = nf.solve(problem, partial(problem.recipe().field, **options), steps=0, report=None, out=tmp_path / "run")
    assert solution.metrics["relative_l2"] < 0.02, "the map is there before the first step"
    assert any("kernel regression" in text for text in solution.warnings)
    assert any("the default field is a" in text for text in solution.warnings)
    loaded, f = nf.load(tmp_path / "run"), torch.from_numpy(f[:2])
    places = torch.from_numpy(at[:7])
    assert torch.equal(loaded(f, places), solution.trained(f, places))
    apart = nf.solve(problem, partial(problem.recipe().field, start=None, **options), steps=0, report=None)
    assert apart.metrics["relative_l2"] > 10 * solution.metrics["relative_l2"]


def test_the_last_layer_is_solved_for_within_a_time_limit(tmp_path):
    np.savez(tmp_path / "train.npz", **waves(60, 17, 0))
    problem = PairsOperator(str(tmp_path / "train.npz"))
    first, last = problem.recipe().stages
    calls = []

    class Counted(last.optimizer):  # type: ignore[misc, name-defined]
        def step(self, objective=None):
            calls.append(objective)
            return super().step(objective)

    small = partial(problem.recipe().field, width=8, depth=1)
    stages = (first, nf.Stage(Counted, 1, share=last.share))
    solution = nf.solve(problem, small, stages=stages, time_limit=2.0, report=None)
    assert len(calls) == 1 and 1 < solution.steps < first.steps


def test_points_that_are_no_uniform_grid_in_order_are_not_taken_for_one(tmp_path):
    x, order = np.linspace(0, 1, 33)[:-1], np.random.default_rng(0).permutation(32)
    c = np.random.default_rng(1).normal(size=(30, 3))
    for name, at in {"shuffled": x[order], "descending": x[::-1], "uneven": x**2}.items():
        f = c @ np.cos(2 * np.pi * np.arange(3)[:, None] * at)
        np.savez(tmp_path / "a.npz", f=f, f_sensors=at, x=at, s=f**2)
        problem = PairsOperator(str(tmp_path / "a.npz"))
        said = problem.cautions()
        assert any("the default field is a DeepONet" in text for text in said), name
        assert any("the points are those of a uniform grid in another order" in t for t in said) == (name != "uneven")
        assert any("the sensors of 'f' are those of a uniform grid" in t for t in said) == (name != "uneven")
        with pytest.raises(InputError, match="needs points x of a uniform grid"):
            FNO.for_problem(problem)
    assert PODDeepONet.for_problem(problem, latent=3, width=4).outputs == ("s",), "modes need no equal steps"


def test_a_file_may_hold_its_test_pairs(tmp_path):
    first, second = waves(30, 33, 0), waves(9, 17, 1)
    more = {"f_test": second["f"], "s_test": second["s"], "x_test": second["x"], "f_test_sensors": second["x"]}
    np.savez(tmp_path / "a.npz", **first, f_sensors=first["x"], **more)
    problem = PairsOperator(str(tmp_path / "a.npz"))
    data = problem.load("cpu", torch.float64)
    assert len(data["test"]) == 9 and len(problem._known.training) == 30
    np.testing.assert_allclose(data["test"].truth[..., 0], second["s"])
    assert any("interpolated to the 33 sensors" in text for text in problem.cautions())
    pina = {f"{kind}_{part}": waves(n, 33, n)[key] for kind, key in (("input", "f"), ("output", "s"))
            for part, n in (("training", 20), ("testing", 7))}  # fmt: skip
    np.savez(tmp_path / "b.npz", **pina)
    assert len(PairsOperator(str(tmp_path / "b.npz")).load("cpu", torch.float64)["test"]) == 7


def test_test_points_beyond_those_of_the_training_are_said(tmp_path):
    pairs, c = square(20, 6, True), np.random.default_rng(3).normal(size=(4, 1, 1))
    np.savez(tmp_path / "a.npz", **pairs)
    np.savez(tmp_path / "t.npz", f=c + pairs["f"][:4], x=pairs["x"] * [1, 2], s=pairs["s"][:4], f_sensors=pairs["x"])
    problem = PairsOperator(str(tmp_path / "a.npz"), str(tmp_path / "t.npz"))
    assert "test points reach 1 beyond those of the training in y" in problem.cautions()


def test_neither_jumps_nor_kinks_are_periods(tmp_path):
    x = np.linspace(0, 1, 200)
    for name, f in {"jump": waves(20, 200, 0)["f"] + x, "kink": waves(20, 200, 0)["f"] * np.sin(np.pi * x)}.items():
        np.savez(tmp_path / "a.npz", f=f, x=x, s=f)
        assert PairsOperator(str(tmp_path / "a.npz")).domain.periodic == (False,), name
    few = np.linspace(0, 1, 9)
    arches = np.random.default_rng(0).normal(size=(30, 2)) @ np.sin(np.pi * np.outer([1, 2], few))
    np.savez(tmp_path / "b.npz", f=arches, x=few, s=arches)
    assert PairsOperator(str(tmp_path / "b.npz")).domain.periodic == (False,), "a kink between few points"
    said = PairsOperator(str(tmp_path / "a.npz"), periodic="x")
    assert said.domain.periodic == (True,)


def test_an_operator_that_is_nearly_linear_starts_from_its_affine_map(tmp_path):
    chance, x = np.random.default_rng(0), np.linspace(0, 1, 30)
    c, k = chance.normal(size=(60, 5)), np.pi * np.arange(1, 6)
    np.savez(tmp_path / "a.npz", f=c @ np.cos(np.outer(k, x)), x=x, s=c @ (np.sin(np.outer(k, x)) / k[:, None]))
    problem = PairsOperator(str(tmp_path / "a.npz"))
    small = partial(problem.recipe().field, width=8, depth=1)
    solution = nf.solve(problem, small, steps=20, report=None, out=tmp_path / "run")
    assert solution.metrics["relative_l2"] < 1e-5
    f, at = torch.from_numpy(c[:2] @ np.cos(np.outer(k, x))), torch.rand(4, 1)
    assert torch.equal(nf.load(tmp_path / "run")(f, at), problem.trained(solution.field)(f, at))
    finer = solution.field.on(problem.domain, (59,), ((59,),))  # the map answers on its own grid, which is interpolated
    assert torch.allclose(
        finer.table([torch.ones(1, 59)])[:, ::2], solution.field.table([torch.ones(1, 30)]), atol=1e-3
    )
    with pytest.raises(InputError, match="was moved to another grid already"):
        finer.on(problem.domain, (60,), ((60,),))
    assert small.func.for_problem(problem, start=None, width=8).start is None


def square(n: int, points: int, upper: bool) -> dict[str, np.ndarray]:
    """Pairs a -> u on a square grid, of an operator that keeps swaps of coordinates and mirrors."""
    axis = np.linspace(0, 1, points) if upper else np.arange(points) / points
    x, y = np.meshgrid(axis, axis, indexing="ij")
    c = np.random.default_rng(0).normal(size=(n, 4))
    kinds = np.stack([x, y, x * y, np.cos(3 * x + y)])
    a = np.einsum("nk,kij->nij", c, kinds)
    return {"f": a, "x": np.stack([x, y], -1), "s": np.tanh(a)}


def test_slopes_are_differences_relative_to_those_of_the_solution(tmp_path):
    pairs = square(12, 5, True)
    np.savez(tmp_path / "a.npz", **pairs)
    problem = problem_of(tmp_path / "a.npz", batch=4, every=6, n_points=0)
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), chance())
    field = FNO.for_problem(problem, width=4, depth=1, dtype=torch.float64)
    found = problem.residuals(field, batch)
    rows = batch["data"]
    values = problem.predict(field, rows.functions, rows.points)[..., 0].detach().view(4, 5, 5)
    truth = rows.truth.view(4, 5, 5)
    gap = [(values - truth).diff(dim=i).square().flatten(1).sum(1) for i in (1, 2)]
    true = [truth.diff(dim=i).square().flatten(1).sum(1) for i in (1, 2)]
    expected = (sum(gap) / sum(true)).mean()
    torch.testing.assert_close(found["slopes"].square().mean().detach(), expected, rtol=1e-8, atol=0)
    assert problem.weights() == {"data": 1.0, "slopes": 0.3}
    for plain in (problem_of(tmp_path / "a.npz", slopes=0.0, n_points=0), problem_of(tmp_path / "a.npz", n_points=7)):
        assert set(plain.sample(plain.load("cpu", torch.float64), SamplerState(), chance())) == {"data"}
        assert plain.weights() == {"data": 1.0}


@pytest.mark.parametrize("symmetry", ["x=y", "-x", "x=y -y"])
def test_symmetries_vary_functions_with_their_solutions(symmetry, tmp_path):
    np.savez(tmp_path / "a.npz", **square(20, 6, True))
    problem = problem_of(tmp_path / "a.npz", symmetries=symmetry, batch=16, n_points=0)
    known = problem.load("cpu", torch.float64)
    batch = problem.sample(known, SamplerState(), chance())["data"]
    plain = problem.with_(symmetries="").sample(known, SamplerState(), chance())["data"]
    assert not torch.equal(batch.functions, plain.functions)
    (mean, size), rows = problem._form.input_scales["f"], batch.functions
    a = (rows * size + mean).view(16, -1)
    torch.testing.assert_close(torch.tanh(a), batch.truth.view(16, -1))  # the operator acts value by value
    ours, theirs = (f.sort(1).values for f in (batch.functions, plain.functions))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("symmetry", ["x=z", "x=", "x", "-x=y"])
def test_symmetries_that_the_grid_lacks_are_refused(symmetry, tmp_path):
    np.savez(tmp_path / "a.npz", **square(20, 6, True))
    with pytest.raises(InputError, match=r"symmetries must be swaps, x=y, or mirrors, -x, of x, y that map"):
        nf.solve(problem_of(tmp_path / "a.npz", symmetries=symmetry), SMALL_FIELDS["FNO"], steps=1, report=None)


def test_sensors_of_their_own_start_from_a_regression_at_common_places(tmp_path):
    chance = np.random.default_rng(0)
    n, m, x = 150, 30, np.linspace(0, 1, 26)
    c, z = chance.normal(size=(n, 3)), chance.random((n, m))
    k = np.pi * np.arange(1, 4)
    f = np.einsum("nj,nmj->nm", c, np.cos(k * z[..., None]))
    np.savez(tmp_path / "own.npz", f=f, f_sensors=z[..., None], x=x, s=(c @ np.sin(np.outer(k, x))) ** 2)
    solution = nf.solve(problem_of(tmp_path / "own.npz", batch=16), steps=2, seed=0, report=None)
    said = " ".join(solution.field.remarks)
    assert solution.metrics["relative_l2"] < 0.05, said
    assert "is brought to 64 common places by Gaussian regression" in said and "kernel regression" in said
