import numpy as np
import pytest
import torch
from torch import Generator, nn

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.curvature import KroneckerFactors, LeastSquares
from nfsolve.optim import KFAC
from nfsolve.optim.kfac import damped_inverse
from nfsolve.problem import Objective
from problems.pde.poisson import Poisson
from tests.curvature.test_kronecker import filled, fit, random


class Script:
    """A closure with gradients, factors and a loss that are given, so that only the optimizer decides the path."""

    def __init__(self):
        self.weight, self.bias = nn.Parameter(random(3, 4)), nn.Parameter(random(3, seed=1))
        self.rest = nn.Parameter(random(2, 2, seed=2))
        self.parameters = [self.bias, self.rest, self.weight]
        self.calls = self.refreshes = 0

    def gradients(self, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return tuple(random(*p.shape, seed=10 * k + 50 + i) for i, p in enumerate((self.weight, self.bias, self.rest)))

    def factors(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        a, g = random(9, 5, seed=1000 + k), random(8, 3, seed=2000 + k)
        return a.T @ a / 9, 2 * g.T @ g

    def kronecker_factors(self, generator: Generator, samples: int) -> list[KroneckerFactors]:
        self.refreshes += 1
        return [KroneckerFactors(self.weight, self.bias, *self.factors(self.refreshes - 1))]

    def __call__(self) -> torch.Tensor:
        self.weight.grad, self.bias.grad, self.rest.grad = self.gradients(self.calls)
        self.calls += 1
        return torch.tensor(0.3, dtype=torch.float64)


def test_it_follows_its_formulas():
    lr, momentum, decay, damping, clip, decline = 0.1, 0.8, 0.6, 0.02, 0.5, 0.1
    script, clipped = Script(), 0
    w = torch.cat([script.weight, script.bias[:, None]], 1).detach().numpy()
    velocity, mean_a, mean_g = np.zeros_like(w), np.zeros((5, 5)), np.zeros((3, 3))
    for k in range(9):
        if k % 3 == 0:
            a, g = (m.numpy() for m in script.factors(k // 3))
            share = max(1 / (k // 3 + 1), 1 - decay)
            mean_a, mean_g = (1 - share) * mean_a + share * a, (1 - share) * mean_g + share * g
            size_a, size_g = np.trace(mean_a) / 5, np.trace(mean_g) / 3
            strength, pi = damping * size_a * size_g, np.sqrt(size_a / size_g)
            inverse_a = np.linalg.inv(mean_a + pi * np.sqrt(strength) * np.eye(5))
            inverse_g = np.linalg.inv(mean_g + np.sqrt(strength) / pi * np.eye(3))
        by_weight, by_bias, _ = script.gradients(k)
        gradient = np.concatenate([by_weight.numpy(), by_bias.numpy()[:, None]], 1)
        step = inverse_g @ gradient @ inverse_a
        nu = min(1.0, clip * 0.3 / (step * gradient).sum())
        clipped += nu < 1
        velocity = momentum * velocity + (1 - momentum) * nu * step
        w = (1 - lr * decline) * w - lr * velocity / (1 - momentum ** (k + 1))
    options = {"momentum": momentum, "decay": decay, "damping": damping, "clip": clip, "weight_decay": decline}
    made = KFAC(script.parameters, lr=lr, precondition_frequency=3, **options)
    for _ in range(9):
        assert float(made.step(script)) == 0.3
    found = torch.cat([script.weight, script.bias[:, None]], 1).detach().numpy()
    assert script.refreshes == 3 and clipped > 0
    assert np.allclose(found, w, rtol=1e-10)


def test_what_is_no_linear_layer_gets_adam():
    script, other = Script(), Script()
    made = KFAC(script.parameters, lr=0.5, rest=0.02, betas=(0.8, 0.9), weight_decay=0.1)
    adam = torch.optim.AdamW([other.rest], lr=0.01, betas=(0.8, 0.9), weight_decay=0.1)
    for _ in range(7):
        made.step(script)
        adam.step(other)
    assert torch.allclose(script.rest, other.rest, rtol=1e-12)


def test_one_step_on_linear_least_squares_reaches_the_minimum():
    x, y = random(30, 4), random(30, 1, seed=1)
    net = filled(nn.Linear(4, 1))
    goal = fit(net, x, y)
    KFAC(goal.parameters, lr=1.0, momentum=0.0, damping=0.0).step(goal)
    columns = torch.cat([x, torch.ones_like(y)], 1)
    best = torch.linalg.lstsq(columns, y).solution[:, 0]
    assert torch.allclose(goal.theta(), best, rtol=1e-10)


@pytest.mark.parametrize("factor", [1e-4, 1e3])
def test_the_path_does_not_depend_on_the_scale_of_the_residual(factor):
    ends = []
    for scale in (1.0, factor):
        net = filled(nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)))
        x = random(12, 1)
        goal = LeastSquares(
            lambda q, net=net, x=x, scale=scale: scale * (torch.func.functional_call(net, q, (x,)) - x.sin()),
            dict(net.named_parameters()),
        )
        made = KFAC(goal.parameters)
        for _ in range(12):
            made.step(goal)
        ends.append(goal.theta())
    assert torch.allclose(ends[0], ends[1], rtol=1e-8)


def test_it_beats_adam_step_for_step():
    x = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None]
    ends = {}
    for made, options in ((KFAC, {"lr": 0.3}), (torch.optim.Adam, {"lr": 0.01})):
        net = filled(nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)))
        goal = fit(net, x, (4 * x).sin())
        optimizer = made(goal.parameters, **options)
        for _ in range(150):
            loss = optimizer.step(goal)
        ends[made] = float(loss)
    assert ends[KFAC] < 0.1 * ends[torch.optim.Adam]


def test_a_pde_through_taylor_channels():
    problem = Poisson(n_points=40, n_face=8)
    field = nf.MLP.for_problem(problem, width=10, depth=2, dtype=torch.float64)
    goal = Objective(problem, field, problem.load("cpu", torch.float64), Generator().manual_seed(0))
    made = KFAC(goal.parameters)
    first = float(made.step(goal))
    for _ in range(40):
        last = float(made.step(goal))
    assert last < 0.3 * first


def test_factorized_weights_are_left_to_adam():
    problem = Poisson(n_points=10, n_face=4)
    field = nf.MLP.for_problem(problem, width=4, depth=1, dtype=torch.float64)
    goal = Objective(problem, field, problem.load("cpu", torch.float64), Generator().manual_seed(0))
    assert len(goal.kronecker_factors(Generator())) == 2
    nf.factorize(field, nf.RandomWeightFactorization())
    goal = Objective(problem, field, problem.load("cpu", torch.float64), Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"linear layers that hold their weights.*Use SOAP, Shampoo or Adam"):
        KFAC(goal.parameters).step(goal)


def test_damped_inverses():
    g = random(6, 4)
    matrix = g @ g.T  # two eigenvalues are zero
    inverse = damped_inverse(matrix, 0.1)
    exact = torch.linalg.inv(matrix + 0.1 * matrix.trace() / 6 * torch.eye(6, dtype=torch.float64))
    assert torch.allclose(inverse, exact, rtol=1e-10)
    assert torch.isfinite(damped_inverse(matrix, 0.0)).all()
    assert torch.equal(damped_inverse(torch.zeros(3, 3), 0.1), torch.zeros(3, 3))
    assert damped_inverse(matrix.float(), 0.1).dtype == torch.float32


def test_a_layer_that_the_loss_does_not_feel_rests():
    net = filled(nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)))
    net[2].weight.data.zero_()
    before = net[0].weight.detach().clone()
    goal = fit(net, random(5, 1), random(5, 1, seed=1))
    KFAC(goal.parameters).step(goal)
    assert torch.equal(net[0].weight, before)
    assert torch.isfinite(goal.theta()).all() and float(net[2].weight.detach().abs().sum()) > 0


def test_reasons_and_mistakes_are_worded():
    w = nn.Parameter(torch.ones(2, 2))
    for closure in (None, lambda: w.sum()):
        with pytest.raises(TypeError, match="KFAC got a closure without kronecker_factors.*Pass an nfsolve objective"):
            KFAC([w]).step(closure)
    script = Script()
    script.factors = lambda k: (torch.full((5, 5), float("inf")), torch.eye(3))  # type: ignore[method-assign]
    before = script.weight.detach().clone()
    made = KFAC(script.parameters)
    made.step(script)
    assert made.stop_reason == "non-finite Kronecker factors at step 1: parameters unchanged"
    script = Script()
    script.gradients = lambda k: [torch.full_like(p, float("nan")) for p in (script.weight, script.bias, script.rest)]
    made = KFAC(script.parameters)
    made.step(script)
    assert made.stop_reason == "non-finite gradient at step 1: parameters unchanged"
    assert torch.equal(script.weight, before)
    with pytest.raises(InputError, match="KFAC needs real parameters.*complex parameter.*Use Adam or ESGD"):
        KFAC([nn.Parameter(torch.ones(3, dtype=torch.complex64))])
    with pytest.raises(InputError, match="lr >= 0, and momentum, decay and betas"):
        KFAC([w], lr=-1.0)
    with pytest.raises(InputError, match="clip and eps > 0"):
        KFAC([w], clip=0.0)
    with pytest.raises(InputError, match="precondition_frequency and samples of at least 1"):
        KFAC([w], samples=0)
