import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import nfsolve as nf
from nfsolve import Box, OperatorPDE, face, interior, periodic
from nfsolve.diff import partials
from nfsolve.fields import FNO, DeepONet, NonlinearDeepONet
from nfsolve.functions import GaussianField
from nfsolve.problem.operator.solved import _Solver, solved
from problems.operators.antiderivative import Antiderivative

SMALL = {"width": 8, "depth": 2, "latent": 6, "dtype": torch.float64}


@dataclass
class Growth(OperatorPDE):
    """a_t = -a^2 + b f, b_t = -b, a = b = 1 at t = 0, which is a residual."""

    domain = Box(t=(0, 1))
    unknowns = "a b"
    inputs: ClassVar[dict[str, str]] = {"f": "t"}
    evaluation = (21,)

    @interior
    def first(self, a, a_t, b, f):
        return a_t + a**2 - b * f

    @interior
    def second(self, b, b_t):
        return b_t + b

    @face(t=0)
    def starts(self, a, b):
        return torch.cat([a - 1, b - 1], -1)

    def spaces(self):
        return {"f": GaussianField(length=0.5)}


@dataclass
class Burger(OperatorPDE):
    """Burgers' equation whose ansatz names the input function."""

    domain = Box(t=(0, 0.2), x=periodic(0, 1))
    unknowns = "s"
    inputs: ClassVar[dict[str, str]] = {"u": "x"}
    evaluation = (9, 16)

    @interior
    def momentum(self, s, s_t, s_x, s_xx):
        return s_t + s * s_x - 0.1 * s_xx

    def ansatz(self, s, u, t):
        return u + t * s

    def spaces(self):
        from nfsolve.functions import PeriodicField

        return {"u": PeriodicField(tau=5.0)}


def test_the_jacobian_is_that_of_autograd():
    for problem in (Growth(), Burger()):
        drawn = problem.to_solve(2)
        sides = tuple((*b, w) for b, w in zip(problem.domain.bounds, problem.domain.periodic, strict=True))
        solver = _Solver(problem, sides, (5,) * len(sides))
        rows = solver.rows(drawn)
        at = torch.randn(2, solver.m, solver.k, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for name in rows:
            _, mine = solver._linearised(name, rows[name], at)

            def residual(c, name=name, rows=rows, solver=solver):
                return solver._residual(name, rows[name], c).flatten(1)

            whole = torch.autograd.functional.jacobian(residual, at)  # (B, rows, B, m, k)
            for b in range(2):
                torch.testing.assert_close(mine[b], whole[b, :, b].flatten(1))


def test_distances_of_coefficients_are_those_of_solutions():
    problem = Burger()
    solver = _Solver(problem, ((0, 0.2, False), (0, 1, True)), (8, 41))
    drawn = problem.to_solve(2)
    c = torch.randn(2, *solver.sizes, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    c[:, 4:] = 0  # as of solutions that the basis resolves
    c = c.flatten(1, 2)
    torch.testing.assert_close(solver.of_nodes(solver.at_nodes(c)), c)
    weighted = solver.at_nodes(c) * solver.weights(drawn)
    t, x = torch.linspace(0, 0.2, 401, dtype=torch.float64), torch.arange(100, dtype=torch.float64) / 100
    same = {"u": drawn["u"][:1].expand(2, -1)}
    gap = solver.values(same, c, torch.cartesian_prod(t, x)).diff(dim=0).square().mean().sqrt()
    torch.testing.assert_close((weighted[0] - weighted[1]).norm(), gap, rtol=0.03, atol=0)


def test_equations_are_solved():
    problem = Growth()
    found = solved(problem, 130)  # more than are solved for from nothing
    assert not isinstance(found, str)
    drawn = problem.to_solve(130)
    solver = found.basis
    t = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    values = solver.values(drawn, found.coefficients, t)
    torch.testing.assert_close(values[..., 1], torch.exp(-t).T.expand(130, -1), rtol=0, atol=1e-6)
    forces = problem.spaces()["f"]

    def slope(at, a):
        f = forces.evaluate(drawn["f"], torch.tensor([[at]], dtype=torch.float64))[:, 0]
        return -(a**2) + math.exp(-at) * f

    a, h = torch.ones(130, dtype=torch.float64), 1 / 400  # Runge and Kutta
    for i in range(400):
        at = i * h
        k1 = slope(at, a)
        k2 = slope(at + h / 2, a + h / 2 * k1)
        k3 = slope(at + h / 2, a + h / 2 * k2)
        a = a + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(at + h, a + h * k3))
    torch.testing.assert_close(values[:, -1, 0], a, rtol=1e-5, atol=1e-5)


def test_an_operator_starts_from_solved_equations(tmp_path):
    problem = Antiderivative(n_functions=200, n_tests=20, solved=200)
    solution = nf.solve(problem, steps=2, report=None, out=tmp_path / "run")
    assert solution.metrics["relative_l2"] < 1e-6  # two steps of a network have 0.3
    assert any("an affine map fitted to solutions of the equations" in text for text in solution.field.remarks)
    x = torch.linspace(0, 1, 5)[:, None]
    torch.testing.assert_close(nf.load(tmp_path / "run")(torch.sin, x), solution.trained(torch.sin, x))


@pytest.mark.parametrize("field", [DeepONet, NonlinearDeepONet, FNO])
def test_fields_with_a_start_have_derivatives(field, monkeypatch):
    monkeypatch.setattr("nfsolve.problem.operator.solved.MOST_MARCHED", 500)
    problem = Burger(solved=60, n_functions=0)
    options = {"width": 6, "dtype": torch.float64} if field is FNO else SMALL
    operator = field.for_problem(problem, **options)
    assert operator.start is not None and operator.start.based
    with torch.no_grad():
        for p in operator.parameters():
            p += 0.1 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1))
    f = problem.at_sensors(problem.to_solve(3))["u"]
    x = torch.tensor([[0.03, 0.2], [0.11, 0.77]], dtype=torch.float64)

    def across(points):
        return operator.across(f, points)

    wanted = [(), (0,), (1, 1)]
    jets, nested = (partials(across, x, wanted, engine=engine) for engine in ("jets", "nested"))
    for index in wanted:
        torch.testing.assert_close(jets[index], nested[index], rtol=1e-6, atol=1e-6)
    one = torch.stack([operator(x[i : i + 1], f[2:])[0] for i in range(2)])
    torch.testing.assert_close(one[:, 0], across(x)[:, 2])


def test_what_cannot_be_solved_is_said():
    @dataclass
    class Composite(Growth):
        @interior
        def second(self, D, b_t):
            return D(lambda b: b, "t") - b_t

    with pytest.warns(UserWarning, match="not solved before the training: a residual differentiates a composite term"):
        field = DeepONet.for_problem(Composite(solved=20), **SMALL)
    assert field.start is None
    with pytest.raises(nf.InputError, match="solved must be at least 0"):
        Growth(solved=-1)
