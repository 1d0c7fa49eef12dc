"""A problem on a part of its time: which conditions hold there, and what is handed over."""

import math
from dataclasses import dataclass

import pytest
import torch

from nfsolve import MLP, PDE, Box, Unknown, boundary, face, interior, measured, paired, periodic
from nfsolve._core.errors import InputError
from nfsolve.domains import Disk
from nfsolve.problem import SamplerState, check_windows, window_of
from problems.pde.burgers import Burgers
from problems.pde.wave import Wave


@dataclass
class Beam(PDE):
    """Two unknowns of different order in time; the slope of v is free at the start."""

    domain = Box(x=periodic(0, 1), t=(0, 2))
    unknowns = "u v"

    @interior
    def bending(self, u_tt, u_xxxx, v):
        return u_tt + u_xxxx - v

    @interior
    def decay(self, v_t, v, u_tx):
        return v_t + v

    @face(t=0, points=7, weight=3.0)
    def start(self, u, v, x):
        return torch.cat([u - torch.sin(2 * math.pi * x), v], -1)

    def exact(self, t, x):
        return t * x, t + x


def field_for(problem, seed=0):
    return MLP.for_problem(problem, width=6, depth=2, seed=seed, dtype=torch.float64)


def sample(problem):
    data = problem.load("cpu", torch.float64)
    return problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))


def test_the_first_window_is_the_problem_on_a_part_of_its_time():
    problem = Wave(n_points=20, n_face=8)
    view = window_of(problem, 0.0, 0.25)
    assert isinstance(view, Wave)
    assert view.domain == Box(t=(0, 0.25), x=(0, 1))
    assert problem.domain == Box(t=(0, 1), x=(0, 1))
    assert list(view.conditions()) == list(problem.conditions())
    batch = sample(view)
    assert float(batch["balance"].points[:, 0].max()) <= 0.25
    assert not batch["shape"].points[:, 0].any()


def test_later_windows_take_over_values_and_slopes():
    problem = Wave(n_points=20, n_face=8)
    previous = field_for(window_of(problem, 0.0, 0.5))
    view = window_of(problem, 0.5, 1.0, previous)
    conditions = view.conditions()
    assert list(conditions) == ["balance", "ends", "handover", "handover_t"]
    assert (conditions["handover"].weight, conditions["handover_t"].weight) == (1000.0, 100.0)
    assert view.weights()["handover"] == 1000.0
    batch = sample(view)
    assert torch.equal(batch["handover"].points[:, 0], torch.full((8,), 0.5, dtype=torch.float64))
    same = view.residuals(previous, batch)
    assert not same["handover"].any()
    assert same["handover_t"].abs().max() < 1e-14  # another engine under no_grad
    assert same["balance"].any()
    # u = x and u_t = 3 at all times, by hand against the previous field and its derivative
    other = view.residuals(lambda t, x: x + 3 * (t - 0.5), batch)
    points = batch["handover_t"].points.clone().requires_grad_()
    slope = torch.autograd.grad(previous(points).sum(), points)[0][:, :1]
    assert torch.allclose(other["handover_t"], 3 - slope, rtol=1e-12)
    at = batch["handover"].points
    assert torch.allclose(other["handover"], at[:, 1:] - previous(at), rtol=1e-12)
    assert not batch["handover"].columns["u_data"].requires_grad


def test_the_order_in_time_decides_what_is_handed_over():
    problem = Beam(n_points=10, n_face=5)
    previous = field_for(window_of(problem, 0.0, 1.0))
    view = window_of(problem, 1.0, 2.0, previous)
    conditions = view.conditions()
    assert conditions["handover"].names == ("u", "v")
    assert conditions["handover_t"].names == ("u_t",)
    assert (conditions["handover"].weight, conditions["handover"].points) == (3.0, 7)
    residuals = view.residuals(field_for(view, seed=1), sample(view))
    assert residuals["handover"].shape == (7, 2)
    assert residuals["handover_t"].shape == (7, 1)
    assert view.domain.periodic == (True, False)


def test_a_hard_constraint_at_the_start_is_handed_over_too():
    @dataclass
    class Hard(PDE):
        domain = Box(t=(0, 1), x=(0, 1))

        @interior
        def heat(self, u_t, u_xx):
            return u_t - u_xx

        def ansatz(self, u, t, x):
            return torch.sin(math.pi * x) + t * u

    problem = Hard(n_face=6)
    view = window_of(problem, 0.5, 1.0, field_for(window_of(problem, 0.0, 0.5)))
    assert list(view.conditions()) == ["heat", "handover"]
    assert sample(view)["handover"].columns["u_data"].shape == (6, 1)


def test_faces_that_share_a_condition_with_the_start_keep_it():
    @dataclass
    class Shared(PDE):
        domain = Box(t=(0, 1), x=(0, 1))

        @interior
        def heat(self, u_t, u_xx):
            return u_t - u_xx

        @face(t=0, x=(0, 1))
        def zero(self, u):
            return u

    view = window_of(Shared(), 0.5, 1.0, field_for(Shared()))
    assert view.conditions()["zero"].sides == {"x": (0, 1)}


def test_adaptive_points_bring_the_values_of_the_previous_field():
    for adaptive in ("rad", "rar_d", "r3"):
        problem = Wave(n_points=20, n_face=8, adaptive=adaptive)
        previous = field_for(problem)
        view = window_of(problem, 0.5, 1.0, previous)
        data, generator = view.load("cpu", torch.float64), torch.Generator().manual_seed(0)
        first = view.sample(data, SamplerState(), generator)
        batch = view.sample(data, SamplerState(first, field_for(view, seed=1)), generator)
        rows = batch["handover"]
        assert torch.allclose(rows.columns["u_data"], previous(rows.points), rtol=1e-12)


def test_scores_and_measurements_are_those_of_the_window(tmp_path, monkeypatch):
    (tmp_path / "probes.csv").write_text("t,x,u\n0.1,0.5,1\n0.7,0.5,2\n0.9,0.1,3\n")
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))

    @dataclass
    class Probed(Burgers):
        @measured("probes")
        def probes(self, u, u_data):
            return u - u_data

    view = window_of(Probed(), 0.5, 1.0, field_for(Burgers()))
    data = view.load("cpu", torch.float64)
    assert data["measured"]["probes"].columns["u_data"].reshape(-1).tolist() == [2.0, 3.0]
    assert float(data["reference"].points[:, 0].min()) == 0.5
    assert len(data["reference"].points) == 51 * 201
    assert view.metrics(view.exact, data)["relative_l2"] < 1e-14
    with pytest.raises(InputError, match=".probes. has none between t = 0.2 and 0.4. Use fewer windows"):
        window_of(Probed(), 0.2, 0.4).load("cpu", torch.float64)


def test_a_shape_at_all_times():
    @dataclass
    class Plate(PDE):
        domain = Box(t=(0, 1)) * Disk(x=0, y=0, radius=1)

        @interior
        def heat(self, u_t, u_xx, u_yy):
            return u_t - u_xx - u_yy

        @face(t=0)
        def start(self, u):
            return u - 1

        @boundary
        def rim(self, u):
            return u

    problem = Plate(n_points=10, n_face=5)
    check_windows(problem)
    view = window_of(problem, 0.5, 1.0, field_for(problem))
    batch = sample(view)
    assert list(batch) == ["heat", "rim", "handover"]
    assert float(batch["rim"].points[:, 0].min()) >= 0.5
    assert torch.equal(batch["handover"].points[:, 0], torch.full((5,), 0.5, dtype=torch.float64))


def test_problems_that_cannot_be_marched_are_worded():
    def refused(message, **members):
        def heat(self, u_t, u_xx):
            return u_t - u_xx

        base = {"domain": Box(t=(0, 1), x=(0, 1)), "heat": interior(heat)} | members
        cls = dataclass(type("Heat", (PDE,), base))
        with pytest.raises(InputError, match=message):
            check_windows(cls())

    def zero(self, u):
        return u

    def match(self, u_low, u_high):
        return u_high - u_low

    def steady(self, u_xx):
        return u_xx

    elsewhere = {"domain": Box(s=(0, 1), x=(0, 1)), "heat": interior(steady)}
    refused("need a PDE on a Box with a coordinate t.*got Heat", **elsewhere)
    refused("Heat is periodic in t", domain=Box(t=periodic(0, 1), x=(0, 1)))
    at_the_end = "need conditions at the start or at all times, but 'zero' holds later"
    refused(at_the_end, zero=face(t=1)(zero))
    refused(at_the_end, zero=face(t=(0, 1))(zero))
    refused(at_the_end, zero=boundary(zero))
    refused(at_the_end, zero=boundary(part="t=1")(zero))
    refused("but 'match' holds later", match=paired(t=(0, 1))(match))
    refused(
        "need known parameters, but Heat learns k from all times together",
        k=Unknown(1.0),
        __annotations__={"k": Unknown},
    )


@dataclass
class Placed(Wave):
    """Points that fill all times, whatever the domain is."""

    def place(self, unit):
        points = unit.clone()
        low, high = Wave.domain.bounds[0]
        points[:, 0] = low + (high - low) * unit[:, 0] ** 2
        return points


def test_points_of_a_place_that_fills_all_times_are_mapped_to_the_window():
    whole = Placed()
    assert whole.domain.names[0] == "t"
    view = window_of(whole, 0.5, 0.75, field_for(whole))
    batch = view.sample(view.load("cpu", torch.float64), SamplerState(), torch.Generator().manual_seed(0))
    name = next(name for name, c in whole.conditions().items() if c.kind == "interior")
    times = batch[name].points[:, 0]
    assert 0.5 <= times.min() < 0.51 and 0.74 < times.max() <= 0.75
    assert (times < 0.5 + 0.25 / 4).double().mean() > 0.45
