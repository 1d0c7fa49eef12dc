import sys

import pytest
import torch
import torch.nn.functional as F

import nfsolve as nf
from nfsolve._core.random import generator
from nfsolve.diff import partials, reverse
from nfsolve.diff.jets import plan
from nfsolve.problem import Objective
from problems.pde.burgers import Burgers
from tests.oracles import derivative

ORDERS = [(), (0,), (1,), (0, 1), (1, 1), (0, 0, 1), (1, 1, 1, 1)]
BURGERS = [(), (0,), (1,), (1, 1)]


def field(**options):
    return nf.MLP(nf.Box(t=(0, 1), x=nf.periodic(-1, 1)), width=6, depth=2, dtype=torch.float64, **options)


def points(n=7):
    return torch.linspace(-0.9, 0.9, 2 * n, dtype=torch.float64).reshape(2, n).T.contiguous()


def test_reverse_mode_agrees_with_jets_in_value_and_gradient():
    net, x = field(), points()
    sums = {}
    for engine in ("reverse", "jets"):
        columns = partials(net, x, ORDERS, engine=engine)
        for along in ORDERS:
            assert torch.allclose(columns[along], derivative(net, x, along), rtol=1e-10, atol=1e-11), along
        loss = sum((columns[along] ** 2).sum() for along in ORDERS)
        sums[engine] = torch.autograd.grad(loss, list(net.parameters()))
    for a, b in zip(sums["reverse"], sums["jets"], strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-9)


def test_the_products_are_those_of_the_text_book():
    second = [(i, i) for i in range(10)]
    counts = {"burgers": BURGERS, "poisson": [(0, 0), (1, 1)], "kdv": [(), (0,), (1,), (1, 1, 1)], "ten": second}
    assert {name: reverse.products(wanted) for name, wanted in counts.items()} == {
        "burgers": 4,
        "poisson": 6,
        "kdv": 8,
        "ten": 22,
    }
    assert reverse.cheaper(BURGERS, plan(BURGERS))
    fourth = [(), (0,), (1,), (1, 1), (1, 1, 1, 1)]
    assert not reverse.cheaper(fourth, plan(fourth))


def chosen(monkeypatch, function, wanted=BURGERS, x=None):
    """Say whether `auto` takes reverse mode."""
    taken = []

    def spy(*said):
        taken.append(True)
        return reverse.reverse(*said)

    monkeypatch.setattr(sys.modules["nfsolve.diff.partials"], "reverse", spy)
    partials(function, points() if x is None else x, wanted)
    return bool(taken)


def test_auto_takes_the_cheaper_engine(monkeypatch):
    assert chosen(monkeypatch, field())
    assert not chosen(monkeypatch, field(), [(), (1, 1, 1, 1)])


def test_auto_takes_jets_where_a_graph_is_no_choice(monkeypatch):
    net = field()
    with torch.no_grad():
        assert not chosen(monkeypatch, net)
    assert not chosen(monkeypatch, lambda z: net(z))
    assert not chosen(monkeypatch, nf.MLP(nf.Box(t=(0, 1), x=(-1, 1)), outputs="u v", dtype=torch.float64))

    def inside(row):
        assert not chosen(monkeypatch, net, x=row[None])
        return row

    torch.func.vmap(inside)(points())


def test_gauss_newton_still_records_linear_layers():
    problem = Burgers(n_points=30, n_face=6)
    net = nf.MLP.for_problem(problem, width=6, depth=2, dtype=torch.float64)
    objective = Objective(problem, net, problem.load("cpu", torch.float64), generator(0, "points"))
    theta = torch.cat([p.detach().reshape(-1) for p in objective.parameters])
    r, jacobian = objective.jacobian(theta)
    assert objective._recordable == {"momentum": True, "initial": True, "walls": True}
    objective()  # by reverse mode
    gradient = torch.cat([p.grad.reshape(-1) for p in objective.parameters])
    assert torch.allclose(2 * jacobian.T @ r, gradient, rtol=1e-9, atol=1e-12)


def test_a_field_that_is_linear_has_zero_second_derivatives():
    net = torch.nn.Linear(2, 1, dtype=torch.float64)
    columns = partials(net, points(), BURGERS, engine="reverse")
    assert torch.equal(columns[1, 1], torch.zeros(7, 1, dtype=torch.float64))
    assert torch.allclose(columns[0,], net.weight[:, :1].expand(7, 1))


def test_what_cannot_be_followed_is_refused_and_auto_falls_back():
    class Cut(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, 2, dtype=torch.float64))

        def forward(self, z):
            return F.linear(z.detach() if isinstance(z, torch.Tensor) else z, self.weight)

    with pytest.raises(TypeError, match="does not depend on the points"):
        partials(Cut(), points(), BURGERS, engine="reverse")
    with pytest.raises(TypeError, match="one real output"):
        partials(lambda z: torch.cat([z, z], 1), points(), BURGERS, engine="reverse")
    assert torch.equal(partials(Cut(), points(), BURGERS)[1,], torch.ones(7, 1, dtype=torch.float64))


def test_points_that_are_differentiated_themselves_keep_their_graph():
    net, x = field(), points().requires_grad_()
    slope = partials(net, x, BURGERS, engine="reverse")[0,]
    (again,) = torch.autograd.grad(slope.sum(), x)
    assert torch.allclose(again[:, 1:], derivative(net, x, (0, 1)), rtol=1e-10)
