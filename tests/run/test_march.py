"""Marching in time: windows that hand over, one run folder, exact resumption."""

import csv
import io
import json
import math
from dataclasses import dataclass
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import MLP, PDE, Box, GaussianFourier, RandomWeightFactorization, Sine, face, interior, optim
from nfsolve._core.errors import InputError
from nfsolve.cli import run_cli
from nfsolve.run.folder import RunFolder, SaveError
from nfsolve.run.report import Lines
from nfsolve.weighting import RBA
from problems.pde.convection import Convection
from problems.pde.poisson import Poisson
from problems.pde.wave import Wave
from tests.run.test_folder import identical

SMALL = partial(MLP, width=10, depth=2, activation=Sine(1.0))


def march(out=None, **options):
    problem = Convection(beta=4.0, n_points=30, n_face=10)
    options = {"steps": 6, "windows": 3, "dtype": "float64", "resample": 4, "log_every": 3} | options
    return nf.solve(problem, partial(MLP, width=6, depth=1), optim.GaussNewton, out=out, **options)


def plain(value):
    """The checkpoint without what was measured: seconds and memory."""
    if isinstance(value, dict):
        measured = ("seconds", "cpu_seconds", "elapsed", "began", "parts", "peak_bytes")
        return {key: plain(item) for key, item in value.items() if key not in measured}
    return [plain(item) for item in value] if isinstance(value, list) else value


def saved(folder):
    return plain(torch.load(folder / "checkpoint.pt", weights_only=True))


def test_convection_in_three_windows():
    problem = Convection(beta=2.0, n_points=60, n_face=20)
    solution = nf.solve(
        problem, SMALL, optim.GaussNewton, steps=20, windows=3, dtype="float64", resample=5, log_every=5
    )
    assert solution.metrics["relative_l2"] < 1e-2
    assert solution.steps == solution.metrics["steps"] == 60
    assert solution.stopped == "window 3/3: step limit: 20 steps done"
    assert [row["window"] for row in solution.history] == [1] * 5 + [2] * 5 + [3] * 5
    assert [row["step"] for row in solution.history] == [0, 5, 10, 15, 20, 20, 25, 30, 35, 40, 40, 45, 50, 55, 60]
    assert [row["evaluations"] for row in solution.history] == sorted(row["evaluations"] for row in solution.history)
    x = torch.linspace(0, 2 * math.pi, 50, dtype=torch.float64)[:, None]
    fields = solution.field.fields
    for w, cut in enumerate((1 / 3, 2 / 3)):
        points = torch.cat([torch.full_like(x, cut), x], 1)
        assert float((fields[w](points) - fields[w + 1](points)).detach().abs().max()) < 5e-3
    assert "Convection by Windows" in str(solution)
    assert solution.metrics["parameters"] == 3 * sum(p.numel() for p in fields[0].parameters())


def test_a_wave_hands_over_its_slope():
    problem = Wave(beta=1, c=1.0, n_points=80, n_face=20)
    solution = nf.solve(problem, SMALL, optim.GaussNewton, steps=20, windows=2, dtype="float64", resample=0)
    assert solution.metrics["relative_l2"] < 1e-2
    x = torch.linspace(0, 1, 30, dtype=torch.float64)[:, None]
    points = torch.cat([torch.full_like(x, 0.5), x], 1)
    slopes = [torch.func.jvp(f, (points,), (torch.tensor([1.0, 0.0]).double().expand_as(points),))[1]
              for f in solution.field.fields]  # fmt: skip
    slopes = [slope.detach() for slope in slopes]
    assert float(slopes[0].abs().max()) > 1
    assert float((slopes[0] - slopes[1]).abs().max()) < 0.05
    assert {"rms/handover", "rms/handover_t"} <= solution.history[-1].keys()


@pytest.mark.parametrize("carry", [True, False])
def test_a_window_starts_from_the_weights_of_the_one_before(carry):
    fresh = next(row for row in march(steps=0).history if row["window"] == 2)  # one seed for all windows
    begun = next(row for row in march(carry=carry, steps=4).history if row["window"] == 2)
    assert (begun["rms/transport"] == fresh["rms/transport"]) == (not carry)


def test_fields_with_encodings_and_factorizations_are_carried():
    solution = nf.solve(
        Convection(beta=1.0, n_points=20, n_face=8),
        partial(MLP, width=6, depth=1, encoding=GaussianFourier(features=4, scale=1.0)),
        partial(optim.Adam, lr=1e-2),
        steps=2,
        windows=2,
        factorization=RandomWeightFactorization(),
    )
    first, second = (dict(field.named_buffers()) for field in solution.field.fields)
    assert all(torch.equal(first[key], second[key]) for key in first if key.startswith("encoding"))
    assert any(not torch.equal(first[key], second[key]) for key in first if key.startswith("coordinates"))


@pytest.mark.parametrize(("windows_done", "steps"), [(0, 2), (0, 6), (1, 6), (2, 3)])
def test_an_interrupted_march_resumes_bit_identically(tmp_path, monkeypatch, windows_done, steps):
    options = {"weighting": RBA(rate=0.3)} if windows_done == 2 else {"tolerance": 1e-2}
    whole = march(tmp_path / "whole", **options)
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step

    class Stop(Exception):
        pass

    original = RunFolder.save_checkpoint

    def save_then_die(self, state):
        original(self, state)
        if "windows" in state and len(state["windows"]) == windows_done and state["current"]["steps"] == steps:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_checkpoint", save_then_die)
        with pytest.raises(Stop):
            march(tmp_path / "parts", **options)
    assert len(saved(tmp_path / "parts")["windows"]) == windows_done
    resumed = nf.resume(tmp_path / "parts")
    assert identical(saved(tmp_path / "whole"), saved(tmp_path / "parts"))
    assert identical(plain(resumed.history), plain(whole.history))
    assert resumed.metrics["relative_l2"] == whole.metrics["relative_l2"]


def test_the_folder_holds_one_run_with_one_field(tmp_path):
    solution = march(tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert (folder.config()["run"]["windows"], folder.config()["run"]["carry"]) == (3, True)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["relative_l2"] == solution.metrics["relative_l2"]
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [row["window"] for row in rows] == [str(row["window"]) for row in solution.history]
    field = nf.load(tmp_path / "run")
    points = Convection.domain.grid(7, 5)
    assert torch.equal(field(points), solution.field(points))
    weights = torch.load(tmp_path / "run" / "field.pt", weights_only=True)
    assert weights.keys() == {f"field.{name}" for name in solution.field.state_dict()}
    again = nf.reopen(tmp_path / "run")
    assert (again.stopped, again.steps) == (solution.stopped, 18)
    longer = nf.resume(tmp_path / "run", steps=9)  # as for a single run, the last window goes on
    assert longer.steps == 21
    assert longer.stopped == "window 3/3: step limit: 9 steps done"


def test_a_time_limit_is_shared_by_the_windows():
    solution = march(steps=10**6, time_limit=0.6, log_every=10**6)
    assert solution.stopped.startswith("window 3/3: time limit")
    ends = [max(row["seconds"] for row in solution.history if row["window"] == w) for w in (1, 2, 3)]
    shares = [end - start for start, end in zip((0.0, *ends), ends, strict=False)]
    assert all(0.05 < share < 0.4 for share in shares)  # 0.2, of which scores take a part


def test_a_failure_ends_the_march_and_says_where():
    @dataclass
    class Bad(PDE):
        domain = Box(t=(0, 1), x=(0, 1))

        @interior(points=10)
        def late(self, u, u_t, t):
            return u_t + u / (t < 0.6)

        @face(t=0, points=5)
        def start(self, u):
            return u - 1

    solution = nf.solve(Bad(), SMALL, partial(optim.Adam, lr=1e-3), steps=3, windows=2)
    assert solution.failed
    assert solution.stopped.startswith("window 2/2: non-finite residual 'late' at step 1: -inf at t = ")


def test_progress_says_which_window():
    rows = []
    march(report=rows.append, steps=2)
    assert [(row["window"], row["windows"]) for row in rows] == [(1, 3), (1, 3), (2, 3), (2, 3), (3, 3), (3, 3)]
    text = io.StringIO()
    Lines(18, every=0.0, file=text)(rows[2])
    assert text.getvalue().startswith("step 2/18")
    assert "| window 2/3 | loss" in text.getvalue()


def test_windows_on_the_command_line(tmp_path):
    words = "run convection --beta 2 --n-points 20 --n-face 8 --field.width 5 --steps 2 --windows 2 --out"
    assert run_cli([*words.split(), str(tmp_path / "run")]) == 0
    assert {"solution.png", "field.pt", "metrics.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert RunFolder(tmp_path / "run").config()["run"]["windows"] == 2
    assert run_cli(["eval", str(tmp_path / "run")]) == 0


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(SaveError, match="No space left") as caught:
        march(tmp_path / "run", steps=2)
    assert caught.value.solution.stopped == "window 1/3: step limit: 2 steps done"


def test_wrong_use_is_worded(tmp_path):
    field = MLP.for_problem(Convection(), width=5)
    with pytest.raises(InputError, match="windows=2 needs a class of fields.*got a field that is built"):
        nf.solve(Convection(), field, optim.GaussNewton, windows=2)
    with pytest.raises(InputError, match="windows must be a whole number of at least 1, got 0"):
        nf.solve(Convection(), SMALL, optim.GaussNewton, windows=0)
    with pytest.raises(InputError, match="windows of time need a PDE on a Box with a coordinate t.*got Poisson"):
        nf.solve(Poisson(), SMALL, optim.GaussNewton, windows=2)
    march(tmp_path / "run", steps=1)
    nf.solve(Poisson(n_points=20), SMALL, optim.GaussNewton, steps=1, out=tmp_path / "other")
    (tmp_path / "run" / "checkpoint.pt").write_bytes((tmp_path / "other" / "checkpoint.pt").read_bytes())
    with pytest.raises(InputError, match="does not belong to the checkpoint beside it"):
        nf.resume(tmp_path / "run")
