"""A field that is given is copied: what was trained before stays as it is, and `solution.field` is what was trained."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import PDE, Box, InputError, face, interior


@dataclass
class Growth(PDE):
    domain = Box(x=(0, 1))

    @interior
    def growth(self, u, u_x):
        return u_x - u

    @face(x=0)
    def start(self, u):
        return u - 1


class Started(Growth):
    def ansatz(self, u, x):
        return 1 + x * u


def factorized():
    return nf.factorize(mlp(), nf.RandomWeightFactorization())


def mlp():
    return nf.MLP(Box(x=(0, 1)), "u", width=6, depth=2, dtype=torch.float64)


FIELDS = {
    "mlp": mlp,
    "factorized": factorized,
    "of the problem": lambda: nf.MLP.for_problem(Started(), width=6, depth=2, dtype=torch.float64),
    "sequential": lambda: nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double(),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_given_field_stays_as_it_is(kind):
    problem, field = Started(n_points=16, n_face=2), FIELDS[kind]()
    before = {name: value.clone() for name, value in field.state_dict().items()}
    own = getattr(field, "output_transform", None)
    first = nf.solve(problem, field, steps=3, report=None)
    kept = {name: value.clone() for name, value in first.field.state_dict().items()}
    again = nf.solve(problem, first.field, steps=3, report=None)
    for module, held in ((field, before), (first.field, kept)):
        assert all(torch.equal(value, held[name]) for name, value in module.state_dict().items())
    assert getattr(field, "output_transform", None) is own
    assert again.metrics["loss"] < first.metrics["loss"] < first.history[0]["loss"]


def test_a_field_that_cannot_be_copied_is_trained_in_place():
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1).double()
            self.made = self.layer.weight * 2  # no leaf of the graph: torch refuses to copy it

        def forward(self, x):
            return self.layer(x)

    field = Locked()
    with pytest.warns(UserWarning, match="a Locked cannot be copied, so it is trained in place"):
        solution = nf.solve(Growth(n_points=8, n_face=1), field, steps=1, report=None)
    assert solution.field is field


@pytest.mark.parametrize("problem", [Growth, Started], ids=["plain", "behind an ansatz"])
@pytest.mark.parametrize("built", [True, False], ids=["module", "function"])
def test_a_module_of_ones_own_gets_its_weights_again(problem, built, tmp_path):
    def make(*_, **__):
        return FIELDS["sequential"]()

    given = {"problem": problem, "field": make() if built else make}
    solution = nf.solve(
        problem(n_points=16, n_face=2), given["field"], steps=3, report=None, out=tmp_path / "run", seed=3
    )
    for opened in (nf.load, nf.reopen, nf.resume):
        with pytest.raises(InputError, match=r"module or function of your own \(.*give it as field="):
            opened(tmp_path / "run", problem=problem)
    points = torch.rand(5, 1, dtype=torch.float64)
    assert torch.equal(nf.load(tmp_path / "run", **given)(points), solution.field(points))
    assert nf.reopen(tmp_path / "run", **given).metrics["loss"] == solution.metrics["loss"]
    assert nf.resume(tmp_path / "run", **given, steps=5, report=None).steps == 5


def test_weights_that_do_not_fit_a_module(tmp_path):
    nf.solve(Growth(n_points=8, n_face=1), FIELDS["sequential"](), steps=1, report=None, out=tmp_path / "run")
    with pytest.raises(InputError, match="weights of the field"):
        nf.load(tmp_path / "run", problem=Growth, field=nn.Linear(1, 1).double())


def test_an_optimizer_of_ones_own_is_missed_only_where_a_run_goes_on(tmp_path):
    def mine(parameters):
        return torch.optim.SGD(parameters, lr=1e-3)

    solution = nf.solve(Growth(n_points=8, n_face=1), nf.MLP, mine, steps=1, report=None, out=tmp_path / "run")
    points = torch.rand(5, 1, dtype=torch.float64)
    assert torch.equal(nf.load(tmp_path / "run", problem=Growth)(points), solution.field(points))
    with pytest.raises(InputError, match="config.json cannot hold"):
        nf.resume(tmp_path / "run", problem=Growth, steps=2, report=None)
