"""The parts of the benchmarks that do not train for hours; DeepXDE itself is never needed here."""

import argparse
import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import nfsolve
from nfsolve.diff import laplacian
from nfsolve.problem.registry import find
from scripts import benchmark_curvature, measuring, race_deepxde
from scripts.benchmark_derivatives import check_losses, goal_line, peak_bytes
from scripts.engines import CASES, NESTED, Case, evaluator, indices, make_net, make_step
from scripts.engines import make_points as points_of
from scripts.race_deepxde import Clock, at, draw, run_ours, table
from scripts.rivals import CASES as RIVALS


@pytest.mark.parametrize("name", CASES)
def test_all_engines_compute_the_residual_that_is_timed(name):
    full = CASES[name]
    case = Case(full.coordinates, full.names, full.residual, full.goal, n=8)
    net, points = make_net(case, 20, torch.float64), points_of(case, torch.float64)
    expected = evaluator(case, NESTED, net)(points)
    assert expected.shape == (8, 1)
    engines = ("jets", "auto") if name.endswith("_by_name") else ("jets", "auto", "nested forward")
    for engine in engines:
        assert torch.allclose(evaluator(case, engine, net)(points), expected, rtol=1e-9, atol=1e-10), engine


def test_ten_second_derivatives_are_one_name():
    assert indices(CASES["laplacian_10d"]) == [laplacian(range(10))]


def test_a_step_lowers_the_loss_and_its_memory_is_seen():
    step = make_step(CASES["laplacian_10d"], "jets", 20, "float32")
    first = step()
    for _ in range(20):
        last = step()
    assert last < first
    # one stacked layer alone: 12 channels of 512 x 20 float32
    assert peak_bytes(step) > 12 * 512 * 20 * 4


def test_engines_that_disagree_stop_the_benchmark():
    check_losses({NESTED: 1.0, "jets": 1.0 + 1e-12}, "float64")
    with pytest.raises(SystemExit, match=r"jets gives loss 1.1, nested reverse gives 1.0"):
        check_losses({NESTED: 1.0, "jets": 1.1}, "float64")


def test_goals_are_worded():
    rows = [
        {"dtype": "float32", "width": 20, "method": "auto", "ratio": 0.8},
        {"dtype": "float32", "width": 20, "method": "jets compiled", "ratio": 2.5},
        {"dtype": "float32", "width": 64, "method": "auto", "ratio": 1.0},
    ]
    assert goal_line("kdv", 2.0, rows) == (
        "- kdv: goal 2x, measured 1.00x to 2.50x: met in 1 of 2 settings; "
        "auto is slower than nested reverse at float32 width 20 (0.80).\n"
    )


def result(method, error, seconds, curve=None, **more):
    return {
        "case": "burgers", "seed": 0, "limit": None, "method": method, "relative_l2": error, "seconds": seconds,
        "loss": 1e-6, "loss_adam": 1e-4, "curve": curve or [[seconds, error]], "machine": "m", "version": "v",
        "date": "d", **more,
    }  # fmt: skip


def test_the_race_takes_our_error_at_their_time():
    curve = [[1.0, 1e-1], [10.0, 1e-3], [30.0, 1e-5]]
    assert [at(curve, s) for s in (0.5, 1.0, 29.0, 400.0)] == [1e-1, 1e-1, 1e-3, 1e-5]
    rows = [result("deepxde", 1e-2, 20.0), result("nfsolve", 1e-5, 30.0, curve), result("deepxde", 1, 2, seed=1)]
    assert "| burgers | 0 | 1.00e-02 | 20 | 1.0e-04 / 1.0e-06 | 1.00e-03 | 30 | 10 | missed |" in table(rows)
    assert "2540 domain" in table(rows)


def test_the_race_at_equal_seconds_has_all_seeds_and_estimates():
    rows = [
        result(method, error, 55.0, seed=seed, limit=60.0, estimate=2 * error)
        for method, error in (("deepxde", 1e-2), ("automatic", 1e-9))
        for seed in (0, 1)
    ]
    line = "| burgers | 60 | 1.0e-02, 1.0e-02 | 1.0e-09, 1.0e-09 | 2.0e-09, 2.0e-09 | 55 |"
    assert line in table(rows) and line not in table(rows[:2])


def test_the_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    draw([result("deepxde", 1e-2, 20.0), result("nfsolve", 1e-5, 30.0)], tmp_path / "race.png")
    assert (tmp_path / "race.png").stat().st_size > 1000


def test_watching_costs_nothing():
    clock = Clock()
    work = clock.uncounted(lambda: sum(np.sin(i) for i in range(100_000)))
    before = clock.seconds()
    work()
    assert clock.watching > 0.01
    assert clock.seconds() - before < 0.5 * clock.watching


def test_our_side_records_a_curve(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)  # of the other tests too
    row = run_ours("poisson", seed=0, seconds=1.0)
    assert row["steps"] >= 1
    assert row["curve"][-1][1] == row["relative_l2"]
    assert json.loads(json.dumps(row)) == row


def test_a_race_goes_on_where_it_was(tmp_path, monkeypatch):
    ran = []

    def child(name, method, seed, seconds):
        ran.append((name, method, seed))
        return result(method, 1e-3, 1.0, case=name, seed=seed, limit=seconds, estimate=1e-3)

    monkeypatch.setattr(race_deepxde, "run_child", child)
    monkeypatch.setattr(race_deepxde, "draw", lambda rows, path: None)
    monkeypatch.setattr(measuring, "deepxde_version", lambda: "1")
    for seeds in (["0"], ["0", "1"]):
        monkeypatch.setattr("sys.argv", ["race", "--only", "poisson", "--folder", str(tmp_path), "--seeds", *seeds])
        race_deepxde.main()
    assert ran == [("poisson", m, s) for s in (0, 1) for m in ("deepxde", "automatic")]
    assert len(measuring.read_rows(tmp_path / "race_deepxde.json")) == 4


def test_without_deepxde_the_way_to_install_it_is_said(monkeypatch):
    monkeypatch.setattr(measuring, "deepxde_version", lambda: "")
    with pytest.raises(SystemExit, match="pip install --no-deps deepxde"):
        measuring.import_deepxde("float64")


def test_every_rival_says_where_its_settings_come_from():
    for rival in RIVALS.values():
        assert "example" in rival.settings
        assert sorted(rival.columns) == [0, 1]


def test_the_cost_of_curvature_is_amortised_and_judged():
    steps = benchmark_curvature.steps_of(benchmark_curvature.FIELDS["sine"], width=8, batch=16)
    times = benchmark_curvature.measure(steps, rounds=1)
    assert set(times) == set(steps) and "AdaHessian/plain" not in steps
    times = {name: [2.0, 4.0] for name in times}
    times["ESGD/refresh"] = [20.0, 40.0]
    rows = benchmark_curvature.rows_of("sine", times)
    assert rows[2]["method"] == "ESGD" and rows[2]["amortised"] == pytest.approx((99 + 10) / 100)
    assert "sine field, batch 512: +9.0 %, missed; +9.0 % over the fused form" in benchmark_curvature.table(rows)


def test_a_timed_refresh_is_a_refresh_and_a_plain_step_is_none():
    objective = benchmark_curvature.make_objective(benchmark_curvature.FIELDS["relu"], width=8, batch=16)
    counted = {}
    for name in ("plain", "refresh"):
        made = benchmark_curvature.MADE["ESGD"](objective.parameters)
        made.step(objective)
        made.state["shared"]["since"] = 0 if name == "plain" else benchmark_curvature.N
        before = objective.evaluations
        made.step(objective)
        counted[name] = objective.evaluations - before
    assert counted == {"plain": 1, "refresh": 3}


SCRIPTS = {
    "ct_table": lambda module, said: module._measure_field("phantom", module.CASES["phantom"], 0),
    "nerf_table": lambda module, said: module.measure("scene", module.CASES["scene"], said),
    "operators_table": lambda module, said: module.measure("antiderivative", 0, said),
    "pairs_table": lambda module, said: module.measure("heat", "DeepONet", 0, 1.0),
    "measure_gallery": lambda module, said: module.run("poisson", {}, 0, 1, "own", False),
    "ablate_gallery": lambda module, said: module.run(
        *next((n, v) for n in module.CASES for v in module.CASES[n]), 0, 1.0
    ),
    "race_deepxde": lambda module, said: module.run_ours("poisson", 0, 1.0),
    "measuring": lambda module, said: module.solve_automatically(find("poisson")(), 0, 1.0, 1),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_row_comes_of_an_interrupted_run(name, monkeypatch, tmp_path):
    module = importlib.import_module(f"scripts.{name}")

    def interrupted(problem, *_, **__):
        return SimpleNamespace(problem=problem, field=None, interrupted=True, metrics={"parameters": 1}, history=[])

    monkeypatch.setattr(nfsolve, "solve", interrupted)
    monkeypatch.setattr(module, "PATH", tmp_path / "rows.json", raising=False)
    said = argparse.Namespace(**dict.fromkeys(("steps", "pictures", "runs", "data")))
    vars(said).update(seed=0, device="cpu", unlimited=False, full=False, threads=1, scale=1.0)
    with pytest.raises(SystemExit, match="was interrupted, so nothing of it is stored"):
        SCRIPTS[name](module, said)
    assert not (tmp_path / "rows.json").exists()


def test_rows_hold_scores_of_all_values():
    problem = SimpleNamespace(metrics=lambda field, data: {"psnr": 30.0, "ssim": 0.9})
    quick = SimpleNamespace(problem=problem, interrupted=False, field=None, data=None)
    quick.metrics = {"psnr": 30.5, "seconds": 2.0, "quick_scores": "of a part"}
    assert measuring.whole_scores(quick) == {"psnr": 30.0, "ssim": 0.9, "seconds": 2.0}
    quick.metrics.pop("quick_scores")
    assert measuring.whole_scores(quick) == {"psnr": 30.5, "seconds": 2.0}
