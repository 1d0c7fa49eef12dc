"""Held-out residuals: warned of where a field fits its points only, silent where it solves the equation."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch

import nfsolve
from nfsolve.domains import Box
from nfsolve.fields import MLP
from nfsolve.optim import GaussNewton
from nfsolve.problem import Rows, Stage
from nfsolve.problem.pde.conditions import boundary, face, interior
from nfsolve.problem.pde.pde import PDE
from nfsolve.run.heldout import NEGLIGIBLE, diverged, mean_rms, row_before, warnings

LARGE = partial(MLP, width=20, depth=2)
SMALL = partial(MLP, width=6, depth=1)
BOX = Box(x=(-1, 1), y=(-1, 1))


@dataclass
class Poisson(PDE):
    """Poisson equation on a square, or on one with a hole."""

    domain = BOX

    @interior
    def equation(self, u_xx, u_yy):
        return u_xx + u_yy + 1

    @boundary
    def edge(self, u):
        return u


@dataclass
class Holed(Poisson):
    """Poisson equation on a square minus a disk."""

    domain = BOX - nfsolve.Disk(x=0, y=0, radius=0.5)


@dataclass
class Decay(PDE):
    """u_t = -u."""

    domain = Box(t=(0, 1))

    @interior
    def equation(self, u_t, u):
        return u_t + u

    @face(t=0)
    def start(self, u):
        return u - 1


def solved(problem, field, steps=15, **options):
    options.setdefault("dtype", "float64")
    stages = (Stage(GaussNewton, steps=steps, resample=0),)
    return nfsolve.solve(problem, field=field, stages=stages, **options)


@pytest.mark.parametrize("kind", [Holed, Poisson])
def test_few_fixed_points_are_warned_of(kind):
    messages = []
    solution = solved(kind(n_points=8, n_face=8), LARGE, report=messages.append)
    assert solution.metrics["heldout/equation"] > 3 * solution.metrics["rms/equation"]
    assert solution.metrics["heldout_max/equation"] >= solution.metrics["heldout/equation"]
    [first, *_] = solution.warnings
    assert "the residual 'equation' is" in first and "not trained on" in first
    assert {"warning": first} in messages and first in str(solution)
    said = [line.split("  ")[0] for line in str(solution).splitlines()]
    assert {"stopped", "training", "loss", "residuals"} <= set(said)
    [row] = [line.split() for line in str(solution).splitlines() if line.startswith("  equation ")]
    assert [float(number) for number in row[1:]] == pytest.approx(
        [solution.metrics[f"{kind}/equation"] for kind in ("rms", "heldout", "heldout_max")], rel=1e-3
    )


def test_many_points_are_not_warned_of():
    solution = solved(Poisson(n_points=400, n_face=200), SMALL, steps=5)
    assert solution.warnings == [] and "warning" not in str(solution)
    assert solution.metrics["heldout/equation"] < 3 * solution.metrics["rms/equation"]


def test_a_folder_holds_them_and_a_resumed_run_repeats_them(tmp_path):
    whole = solved(Decay(n_points=20), SMALL, steps=4, out=tmp_path / "whole")
    written = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    keys = [f"{kind}/{name}" for kind in ("rms", "heldout", "heldout_max") for name in ("equation", "start")]
    assert all(written[key] == whole.metrics[key] for key in [*keys, "loss"])
    again = nfsolve.resume(tmp_path / "whole")
    assert {key: again.metrics[key] for key in keys} == {key: whole.metrics[key] for key in keys}


def test_windows_have_those_of_the_joined_field():
    solution = solved(Decay(n_points=20), SMALL, steps=4, windows=2)
    assert {"heldout/equation", "heldout/start", "rms/equation", "rms/handover", "loss"} <= solution.metrics.keys()
    points = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    residual = solution.problem.residuals(solution.field, {"equation": Rows(points)})["equation"]
    assert 0 < solution.metrics["heldout/equation"] < 2 * float(residual.detach().abs().max())


def test_a_row_and_the_metrics_are_of_the_same_parameters():
    solution = solved(Decay(n_points=20), SMALL, steps=3)
    row, weights = solution.history[-1], (row_weight for row_weight in (1.0, 1.0))
    loss = sum(w * row[f"rms/{name}"] ** 2 for w, name in zip(weights, ("equation", "start"), strict=True))
    assert row["loss"] == pytest.approx(loss, rel=1e-9)
    assert solution.metrics["loss"] == pytest.approx(row["loss"], rel=1e-12)


@pytest.mark.parametrize(
    ("trained", "fresh", "dtype", "warned"),
    [
        (1e-3, 2.9e-3, torch.float64, False),
        (1e-3, 3.1e-3, torch.float64, True),
        (1e-20, NEGLIGIBLE / 2, torch.float64, False),
        (0.0, 1.0, torch.float64, True),
        (1e-9, 1e-6, torch.float32, False),
        (1e-9, 1e-6, torch.float64, True),
    ],
)
def test_only_what_is_larger_and_not_rounding_is_warned_of(trained, fresh, dtype, warned):
    assert bool(warnings({"rms/r": trained, "heldout/r": fresh, "heldout_max/r": 9.0}, dtype, {})) == warned


def test_rounding_is_measured_by_the_size_of_the_first_residual():
    scores = {"rms/r": 1e-13, "heldout/r": 5e-12}
    assert warnings(scores, torch.float64, {"rms/r": 0.05})
    assert not warnings(scores, torch.float64, {"rms/r": 40.0})


def test_the_mean_of_windows_takes_those_that_have_a_residual():
    assert mean_rms([{"rms/a": 3.0}, {"rms/a": 4.0, "rms/b": 1.0}]) == pytest.approx({"rms/a": 12.5**0.5, "rms/b": 1.0})


@dataclass
class Nothing(Poisson):
    """A problem of which one unknown, or each, is zero."""

    size: float = 0.0
    unknowns = "u v"

    @interior
    def equation(self, u_xx, v_yy):
        return u_xx + v_yy

    def exact(self, x, y):
        return 0 * x, self.size * x


@pytest.mark.parametrize("size", [0.0, 1e-320, 1e-300, 1.0])
def test_relative_errors_of_references_that_vanish_are_said_in_words(size, tmp_path):
    solution = solved(Nothing(size), SMALL, steps=2, out=tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert None not in written.values()
    assert written["relative_l2/u"] == "undefined"
    [about_u, *more] = [text for text in solution.warnings if "undefined" in text]
    assert about_u.startswith("relative_l2/u is undefined, since its reference is zero; max_error/u is ")
    assert len(more) == (size == 0)
    assert "undefined" in str(solution) and written["max_error/u"] > 0
    if size:
        assert written["relative_l2"] == written["relative_l2/v"] != "undefined"
    infinite = [text for text in solution.warnings if text.startswith("relative_l2/v is infinite, too large")]
    assert len(infinite) == (written["relative_l2/v"] == "infinite") == (size == 1e-320)


def test_what_a_solution_says_reads_well_in_a_notebook_too():
    solution = solved(Nothing(1.0), SMALL, steps=2)
    assert solution._repr_html_().startswith("<pre>Nothing by MLP (")
    lines = str(solution).splitlines()
    assert lines[2].split()[0] == "stopped" and lines[3].split()[0] == "training" and lines[4].split()[0] == "loss"
    assert max(map(len, lines[:12])) < 100


def test_a_residual_that_is_larger_between_points_comes_with_a_cure():
    scores = {"rms/r": 1e-6, "heldout/r": 1e-2, "heldout_max/r": 9.0}
    kinds: tuple[dict[str, Any], ...] = ({}, {"timed": True}, {"coupled": {"r"}}, {"drawn": False})
    plain, timed, coupled, data = (warnings(scores, torch.float64, {}, **options)[0] for options in kinds)
    assert data.endswith("use a smoother or smaller field, or more data")
    assert "use more points or a smaller resample" in plain
    assert "more windows=... of time" in timed
    assert "sums over its points are not more accurate" in coupled and "resample" not in coupled


@pytest.mark.parametrize("windows", [1, 2])
def test_a_solution_says_what_its_problem_lacks(windows):
    class Free(PDE):
        domain = Box(t=(0, 1))

        @interior
        def balance(self, u, u_t):
            return u_t + u

    rows = []
    solution = nfsolve.solve(Free(n_points=8), steps=1, windows=windows, report=rows.append)
    said = "no initial or boundary condition and no data"
    assert said in str(solution) and any(said in text for text in solution.warnings)
    assert sum(said in row.get("warning", "") for row in rows) == 1


@dataclass
class Long(Decay):
    """u_t = -u up to a time that is a parameter."""

    end: float = 1.0

    @property
    def domain(self):
        return Box(t=(0, self.end))


class Memory(Decay):
    """u_t = -u with the mean of u as a residual of its own: `residuals` reads all points at once."""

    def residuals(self, field, batch):
        t = torch.linspace(0, 1, 50).to(batch["equation"].points)[:, None]
        total = field(t).mean(0, keepdim=True) - (1 - 1 / torch.e)
        return super().residuals(field, batch) | {"total": total * len(batch["start"].points) / 4}


@pytest.mark.parametrize("field", [SMALL, nfsolve.RandomFeatures], ids=["mlp", "random features"])
def test_a_residual_that_reads_all_points_is_held_out_as_a_whole(field):
    assert not Memory.pointwise and Decay.pointwise
    solution = nfsolve.solve(Memory(n_points=30, n_face=4), field, GaussNewton, steps=15, dtype="float64", report=None)
    assert {"heldout/equation", "heldout/start", "heldout/total"} <= set(solution.metrics)
    assert solution.metrics["heldout/total"] < 1e-3


def test_a_domain_that_follows_from_parameters_is_cut_into_windows():
    problem, options = Long(end=1.0, n_points=30, n_face=4), {"windows": 2, "dtype": "float64", "report": None}
    solution = nfsolve.solve(problem, SMALL, GaussNewton, steps=20, **options)
    assert solution.metrics["heldout/equation"] < 1e-2 and problem.domain.bounds == ((0.0, 1.0),)


def test_a_run_without_a_row_before_its_first_step_has_not_diverged():
    after = [{"step": 3, "rms/balance": 1e-12}, {"step": 5, "rms/balance": 1e-3}]
    assert diverged(row_before(after), after[-1], {}) == ""
    before = [{"step": 0, "rms/balance": 1e-12}, *after]
    assert diverged(row_before(before), after[-1], {}).startswith("diverged")
