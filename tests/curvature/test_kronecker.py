import math

import pytest
import torch
from torch import Generator, nn
from torch.func import functional_call

import nfsolve as nf
from nfsolve.curvature import LeastSquares, kronecker_factors
from nfsolve.problem import Objective
from problems.pde.poisson import Poisson
from tests.oracles import gauss_newton_product


def random(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=Generator().manual_seed(seed))


def filled(net: nn.Module, dtype=torch.float64) -> nn.Module:
    for i, p in enumerate(net.to(dtype).parameters()):
        p.data.copy_(random(*p.shape, seed=i) * 0.7)
    return net


def fit(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> LeastSquares:
    named = dict(net.named_parameters())
    return LeastSquares(lambda q: (functional_call(net, q, (x,)) - y) / math.sqrt(y.numel()), named)


def signs(n: int) -> torch.Tensor:
    return torch.randint(0, 2, (n,), generator=Generator().manual_seed(5)).double() * 2 - 1


@pytest.mark.parametrize("bias", [True, False])
def test_of_one_linear_layer_they_are_the_exact_gauss_newton_matrix(bias):
    goal = fit(filled(nn.Linear(3, 1, bias=bias)), random(20, 3), random(20, 1, seed=1))
    (found,) = goal.kronecker_factors(Generator().manual_seed(5))
    _, jacobian = goal.jacobian(goal.theta())  # columns: the weights, then the bias, as in the factors
    assert torch.allclose(torch.kron(found.outputs, found.inputs), 2 * jacobian.T @ jacobian, rtol=1e-12, atol=0)
    basis = torch.eye(len(goal.theta()), dtype=torch.float64)
    products = torch.stack([2 * gauss_newton_product(goal._at, goal.theta(), e) for e in basis])
    assert torch.allclose(torch.kron(found.outputs, found.inputs), products, rtol=1e-10, atol=1e-14)


def test_with_several_outputs_they_are_so_on_average():
    n, draws = 10, 400
    goal = fit(filled(nn.Linear(2, 3)), random(n, 2), random(n, 3, seed=1))
    source = Generator().manual_seed(5)
    (found,) = goal.kronecker_factors(source, samples=draws)
    exact = 2 / 3 * torch.eye(3, dtype=torch.float64)  # 2 sum over points of (1 / sqrt(3 n))^2
    assert torch.allclose(found.outputs.diagonal(), exact.diagonal(), rtol=1e-12)
    standard_error = 2 / (3 * math.sqrt(n * draws))
    assert float((found.outputs - exact).abs().max()) < 3 * standard_error
    assert float((found.outputs - exact).abs().max()) > 0.05 * standard_error
    assert goal.evaluations == draws


def test_of_two_layers_they_are_what_loops_over_points_give():
    net, x, y = filled(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))), random(7, 2), random(7, 2, seed=1)
    first, last = fit(net, x, y).kronecker_factors(Generator().manual_seed(5))
    w = signs(14).reshape(7, 2)
    a1, a2 = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(5, 5, dtype=torch.float64)
    g1, g2 = torch.zeros(4, 4, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    for i in range(7):
        hidden = torch.tanh(net[0].weight @ x[i] + net[0].bias).detach()
        below, above = torch.cat([x[i], one]), torch.cat([hidden, one])
        delta2 = w[i] / math.sqrt(14)
        delta1 = (net[2].weight.detach().T @ delta2) * (1 - hidden**2)
        a1 += torch.outer(below, below) / 7
        a2 += torch.outer(above, above) / 7
        g1 += 2 * torch.outer(delta1, delta1)
        g2 += 2 * torch.outer(delta2, delta2)
    for found, a, g in ((first, a1, g1), (last, a2, g2)):
        assert torch.allclose(found.inputs, a, rtol=1e-12) and torch.allclose(found.outputs, g, rtol=1e-12)
    assert first.weight is net[0].weight and first.bias is net[0].bias


def test_taylor_channels_are_rows_and_only_the_value_sees_the_bias():
    problem = Poisson(n_points=12, n_face=4)
    field = nf.MLP.for_problem(problem, width=5, depth=2, dtype=torch.float64)
    data = problem.load("cpu", torch.float64)
    goal = Objective(problem, field, data, Generator().manual_seed(0))
    found = goal.kronecker_factors(Generator().manual_seed(5))
    weights = [p for name, p in field.named_parameters() if name.endswith("weight")]
    assert [id(f.weight) for f in found] == [id(p) for p in weights]
    inside, sides = (len(goal.batch[name].points) for name in ("balance", "sides"))
    values, rows = inside + sides, 4 * inside + sides  # inside: u, its two first derivatives, the Laplacian
    for f in found:
        assert float(f.inputs[-1, -1]) == pytest.approx(values / rows)
        assert torch.linalg.eigvalsh(f.outputs)[0] > -1e-12


def test_layers_that_act_elsewhere_too_have_no_factors():
    net = filled(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)))
    x, known = random(7, 2), list(net.parameters())  # odd: signs that add up to zero would hide a common shift

    def weights(residual) -> list[int]:
        return [id(f.weight) for f in kronecker_factors(residual, known, Generator().manual_seed(5))]

    every = [id(net[0].weight), id(net[2].weight), id(net[4].weight)]
    assert weights(lambda: net(x)) == every
    assert weights(lambda: net(x) + net[2].weight.sum()) == [every[0], every[2]]
    assert weights(lambda: net(x) + net[4].bias.square()) == every[:2]
    assert weights(lambda: net[:2](x) @ (2 * net[2].weight)) == every[:1]
    along = torch.ones_like(x)
    assert weights(lambda: torch.func.jvp(net, (x,), (along,))[1]) == []

    def peeks() -> torch.Tensor:
        with torch.no_grad():
            scale = net(x).norm()
        return net(x) / scale

    assert weights(peeks) == every

    def by_reverse_mode() -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf).sum(), leaf, create_graph=True)[0][:, :1]

    assert weights(by_reverse_mode) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_rows_do_not_look_like_another_place(dtype):
    net = filled(nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)), dtype)
    x = random(20000, 2, dtype=dtype)
    found = kronecker_factors(lambda: net(x), net.parameters(), Generator().manual_seed(5))
    assert len(found) == 3 and found[1].inputs.shape == (65, 65) and found[1].inputs.dtype == dtype
    found = kronecker_factors(lambda: net(x) + net[2].bias.sum(), net.parameters(), Generator().manual_seed(5))
    assert len(found) == 2
