import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from nfsolve import Box, OperatorPDE, face, interior, periodic
from nfsolve.diff import Unsupported
from nfsolve.functions import PeriodicField
from nfsolve.problem.operator.families import as_callable
from nfsolve.problem.operator.marched import Marcher, _solved, time_of
from nfsolve.problem.operator.solved import labels, solved
from problems.operators._solvers import burgers

TAU = 2 * math.pi


@dataclass
class Waves(OperatorPDE):
    """Two unknowns that turn into each other while they travel and decay, forced in time; x comes first."""

    domain = Box(x=periodic(0, 1), t=(1, 1.5))
    unknowns = "a b"
    inputs: ClassVar[dict[str, str]] = {"u": "x"}
    evaluation = (9, 9)

    @interior
    def first(self, a_t, a_x, a_xx, b, t):
        return 2 * (a_t + a_x - 0.01 * a_xx - 3 * b - torch.cos(t))

    @interior
    def second(self, a, b_t, b_x, b_xx):
        return a + b_t / 3 + (b_x - 0.01 * b_xx) / 3

    @face(t=1)
    def begins(self, a, b, u):
        return torch.cat([2 * a - 2 * u, b + u], -1)

    def spaces(self):
        return {"u": PeriodicField(sigma=1e7, tau=5.0, alpha=8.0)}


@dataclass
class Burger(OperatorPDE):
    """Burgers' equation whose ansatz names the input function."""

    domain = Box(t=(0, 0.5), x=periodic(0, 1))
    unknowns = "s"
    inputs: ClassVar[dict[str, str]] = {"u": "x"}
    evaluation = (9, 16)

    @interior
    def momentum(self, s, s_t, s_x, s_xx):
        return (s_t + s * s_x - 0.02 * s_xx) / (1 + s_x.detach().abs())

    def ansatz(self, s, u, t):
        return u + t * s

    def spaces(self):
        return {"u": PeriodicField(tau=5.0)}


def marcher(problem, sizes):
    sides = tuple((*b, w) for b, w in zip(problem.domain.bounds, problem.domain.periodic, strict=True))
    return Marcher(problem, sides, sizes, time_of(problem))


def test_a_linear_system_is_solved_as_by_waves(monkeypatch):
    monkeypatch.setattr("nfsolve.problem.operator.marched.TOLERANCE", 1e-3)
    problem = Waves()
    drawn = problem.to_solve(2)
    basis = marcher(problem, (15, 9))
    x, t = torch.tensor([0.1, 0.55]).double(), torch.tensor([1.2, 1.47]).double()
    values = basis.values(drawn, basis.solve(drawn, None), torch.cartesian_prod(x, t)).view(2, 2, 2, 2)
    # with z = exp(ik(x - t)) each wave turns: a' = 3 b, b' = -3 a, and decays; the mean is forced
    grid = torch.arange(64).double() / 64
    waves = torch.fft.fft(problem.spaces()["u"].evaluate(drawn["u"], grid[:, None]))[:, :, None] / 64
    k = torch.fft.fftfreq(64, 1 / 64).double()[:, None]
    for j, at in enumerate(t.tolist()):
        s = at - 1
        turn = torch.exp(-0.01 * (TAU * k) ** 2 * s)
        a, b = waves * (math.cos(3 * s) - math.sin(3 * s)) * turn, waves * (-math.sin(3 * s) - math.cos(3 * s)) * turn
        place = torch.exp(1j * TAU * k * (x - s))
        # the mean is forced: a' = 3 b + cos t, b' = -3 a, with particular solution a = -sin(t)/8, b = -3 cos(t)/8
        pa, pb = -math.sin(at) / 8, -3 * math.cos(at) / 8
        qa, qb = math.sin(1) / 8, 3 * math.cos(1) / 8
        extra = (pa + qa * math.cos(3 * s) + qb * math.sin(3 * s), pb + qb * math.cos(3 * s) - qa * math.sin(3 * s))
        for c, (wave, more) in enumerate(zip((a, b), extra, strict=True)):
            torch.testing.assert_close(
                values[:, :, j, c], (wave * place).sum(1).real + more, rtol=0, atol=2e-4 * float(values.abs().max())
            )


def test_errors_fall_with_the_fourth_power_of_the_step(monkeypatch):
    problem = Burger()
    drawn = problem.to_solve(2)
    basis = marcher(problem, (4, 15))
    value, rows = basis._initial(drawn), basis.rows(drawn, basis.inner, 0.0)
    basis._check(rows, value)

    def slope(_, state):
        return _solved(lambda s: basis._residuals(rows, state, s), torch.zeros_like(state))

    def after(steps):
        state = value
        for i in range(steps):
            state = basis._step(slope, lambda _: rows, i * 0.4 / steps, state, 0.4 / steps)[0]
        return state

    exact = after(64)
    gaps = [float((after(n) - exact).norm()) for n in (4, 8)]
    assert 3.3 < math.log2(gaps[0] / gaps[1]) < 5.5


def test_burgers_agrees_with_its_formula(monkeypatch):
    monkeypatch.setattr("nfsolve.problem.operator.solved.FIRST_MARCHED", {False: 12, True: 61})
    monkeypatch.setattr("nfsolve.problem.operator.solved.ENOUGH", 1e-3)
    problem = Burger()
    found = solved(problem, 8)
    assert isinstance(found.basis, Marcher)
    exact = burgers(as_callable(problem.spaces()["u"], found.drawn["u"]), nt=3, nx=33, nu=0.02)[:, 1]  # t = 0.5
    points = torch.cartesian_prod(torch.tensor([0.5]).double(), torch.linspace(0, 1, 33, dtype=torch.float64))
    values = found.basis.values(found.drawn, found.coefficients, points)[..., 0]
    torch.testing.assert_close(values, torch.as_tensor(exact), rtol=0, atol=3e-5)
    given = labels(problem, 8)
    again = found.basis.values(found.drawn, found.coefficients, given.points)
    torch.testing.assert_close(given.truth, again)


def test_what_cannot_be_marched():
    @dataclass
    class Second(Burger):
        @interior
        def momentum(self, s_tt, s_xx):
            return s_tt - s_xx

    @dataclass
    class Free(Burger):
        def ansatz(self, s, u, x):
            return u + s

    @dataclass
    class Square(Burger):
        @interior
        def momentum(self, s_t, s_x):
            return s_t**2 + s_t - s_x

    assert time_of(Second()) == "'momentum' has other derivatives along t than the first one"
    for problem, why in ((Free(), "initial value is not given"), (Square(), "not affine in the time derivatives")):
        with pytest.raises(Unsupported, match=why):
            marcher(problem, (4, 9)).solve(problem.to_solve(2), None)
