"""Windows of time that find their own length and features."""

from dataclasses import dataclass

import pytest
import torch
from scipy.integrate import solve_ivp

import nfsolve as nf
from nfsolve import PDE, Box, face, interior
from nfsolve.problem import Marched, RunOptions
from nfsolve.run.adaptive import AdaptiveMarch
from nfsolve.run.ladder import Trial
from nfsolve.run.plan import Plan
from tests.automatic.more_cases import LongWave


@dataclass
class SwitchesLate(PDE):
    """A slow rotation that becomes a fast one near the end: the first windows are the easy ones."""

    domain = Box(t=(0, 10))
    unknowns = "u v"

    @interior
    def turns(self, u, v, u_t, v_t, t):
        speed = 1 + 30 * torch.sigmoid(4 * (t - 8))
        return torch.cat([u_t + speed * v * (1 + 0 * u), v_t - speed * u], -1)

    @face(t=0)
    def start(self, u, v):
        return torch.cat([u - 1, v], -1)

    def exact(self, t):
        turned = t + 7.5 * (torch.nn.functional.softplus(4 * (t - 8)) - torch.nn.functional.softplus(0 * t - 32.0))
        return torch.cos(turned), torch.sin(turned)


def trial(width=40, scale=8.0, windows=4):
    return Trial(width, (scale,), windows, 0, 1e-3, 5, 0.1)


def march(problem, seconds=300.0, **first):
    plan = Plan.of(problem.recipe(), RunOptions(seed=0, device="cpu"))
    said = []
    return AdaptiveMarch(problem, trial(**first), plan, seconds, said.append), said


def test_windows_are_shorter_where_the_solution_is_faster():
    marching, said = march(SwitchesLate())
    assert marching.go()
    lengths = [piece.end - piece.start for piece in marching.pieces]
    assert max(lengths) > 2 * min(lengths[1:-1]) and len(said) == len(lengths)
    solution = marching.solution()
    assert solution.metrics["relative_l2"] < 1e-8
    for more in (1.5, 1.0):
        found = marching.estimate(more)
        assert found.trusted
        assert solution.metrics["relative_l2"] / 3 < found.worst < 3 * solution.metrics["relative_l2"]


def test_a_march_that_found_its_windows_is_a_run_like_any_other(tmp_path):
    solution = nf.solve(SwitchesLate(), report=None, time_limit=300, out=tmp_path / "run")
    assert "windows" in solution.decisions[-1] and solution.metrics["relative_l2"] < 1e-8
    points = torch.linspace(0, 10, 50, dtype=torch.float64)[:, None]
    again = nf.reopen(tmp_path / "run")
    assert torch.equal(again.field(points), solution.field(points))
    assert again.metrics["relative_l2"] == solution.metrics["relative_l2"]
    assert nf.resume(tmp_path / "run", report=None).metrics["relative_l2"] == solution.metrics["relative_l2"]
    assert [row["window"] for row in again.history] == sorted(row["window"] for row in again.history)


def test_a_march_without_time_gives_up_and_says_where():
    marching, said = march(SwitchesLate(), seconds=0.0)
    assert not marching.go()
    assert said[-1].startswith("gave up marching at t = 0: window to t = ")


def test_windows_of_their_own_are_plain_data():
    fields = (nf.RandomFeatures, nf.MLP)
    plan = Plan.of(SwitchesLate().recipe(), RunOptions(windows=2), field=Marched((3.0,), fields, (1.0, 2.0)))
    _, read = Plan.from_config(plan.config(SwitchesLate()), SwitchesLate())
    assert [each.func for each in read.field.fields] == list(fields)
    assert (read.field.ends, read.field.points) == (plan.field.ends, plan.field.points)


@pytest.mark.parametrize(("width", "more"), [(40, 80), (80, None)])
def test_windows_without_space_are_shortened_beyond_a_few_features(width, more):
    assert march(SwitchesLate(), width=width)[0]._more(width) == more


class Ripples(LongWave):
    domain = Box(t=(0, 1), x=(0, 1))


@pytest.mark.parametrize(("width", "more"), [(100, 200), (200, 400), (4800, None)])
def test_the_next_number_of_features_is_larger_and_fits(width, more):
    plan = Plan.of(Ripples().recipe(), RunOptions(seed=0, device="cpu"))
    marching = AdaptiveMarch(Ripples(), Trial(width, (4.0, 8.0), 4, 0, 1e-3, 5, 0.1), plan, 300.0, lambda _: None)
    assert marching._more(width) == more


class Relaxation(PDE):
    """Van der Pol's oscillator, which jumps in between slow times."""

    domain = Box(t=(0, 12))
    unknowns = "x"

    @interior
    def motion(self, x, x_t, x_tt):
        return x_tt - 10 * (1 - x**2) * x_t + x

    @face(t=0)
    def start(self, x, x_t):
        return torch.cat([x - 2, x_t], -1)

    def exact(self, t):
        found = solve_ivp(
            lambda _, y: [y[1], 10 * (1 - y[0] ** 2) * y[1] - y[0]],
            (0, 12), [2, 0], "DOP853", dense_output=True, rtol=1e-13, atol=1e-14,
        )  # fmt: skip
        return torch.from_numpy(found.sol(t.numpy()[:, 0])[:1].T.copy())


def test_jumps_in_between_slow_times_take_short_windows():
    marching, _ = march(Relaxation(), scale=16.0, windows=32)
    assert marching.go()
    lengths = [piece.end - piece.start for piece in marching.pieces]
    assert max(lengths) > 5 * min(lengths[:-1])
    assert all(piece.choice.scales[0] <= 0.8 * piece.choice.width for piece in marching.pieces)
    assert marching.solution().metrics["relative_l2"] < 1e-9


def test_a_window_keeps_the_bandwidth_that_did_well_where_nothing_becomes_steeper():
    plan = Plan.of(Ripples().recipe(), RunOptions(seed=0, device="cpu"))
    marching = AdaptiveMarch(Ripples(), Trial(200, (4.0, 8.0), 4, 0, 1e-3, 1, 0.1), plan, 300.0, lambda _: None)
    marching.tolerance = 1e-6
    assert marching.go()
    assert len(marching.pieces) > 2
    assert len({piece.choice.scales[1] for piece in marching.pieces}) == 1


class Growing(Ripples):
    """The same waves at a speed that grows."""

    @interior
    def waves(self, u_tt, u_xx, t, x):
        return super().waves(u_tt, (1 + t) * u_xx)


def waves(problem):
    plan = Plan.of(problem.recipe(), RunOptions(seed=0, device="cpu"))
    return AdaptiveMarch(problem, Trial(100, (3.0, 6.0), 4, 0, 1e-3, 1, 0.1), plan, 300.0, lambda _: None)


def test_windows_of_one_length_share_their_factors_where_the_coefficients_are_steady():
    steady = waves(Ripples())
    assert steady.alike
    assert steady._of_all(1.0, 11) < 5 < 10 < waves(Growing())._of_all(1.0, 11)
    steady.tolerance = 1e-3
    assert steady.go()
    later = steady.pieces[1:]
    assert len({id(piece.factors) for piece in later if piece.choice == later[0].choice}) == 1
    assert not waves(Growing()).alike
    assert not march(SwitchesLate())[0].alike  # which it seems to be at the start


def test_a_march_with_time_left_is_made_again_more_finely():
    rough = waves(Ripples())
    rough.tolerance = 1e-3  # more than that is given up
    assert rough.go() and rough.again(1e-3) is None
    finer = rough.again(100.0)
    assert finer is not None and finer.go()
    assert (len(finer.pieces), finer.pieces[-1].end) in ((len(rough.pieces), 1.0), (2 * len(rough.pieces), 1.0))
    before, after = rough.solution(), finer.solution()
    assert after.metrics["relative_l2"] < 0.3 * before.metrics["relative_l2"]
    assert [piece.end for piece in rough.pieces][-1] == 1.0  # which is as it was
