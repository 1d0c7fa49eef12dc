"""The ansatz of a problem acts whatever the field is: a class, an instance of any problem, or a plain module."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import MLP, PDE, Box, interior
from nfsolve._core.errors import InputError


@dataclass
class Walled(PDE):
    """Zero at both walls, by construction."""

    size: float = 1.0
    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def law(self, u_xx):
        return u_xx + 1

    def ansatz(self, u, x):
        return self.size * x * (1 - x) * u


class Lifted(Walled):
    """One at x = 0 and zero at x = 1."""

    def ansatz(self, u, x):
        return 1 - x + x * (1 - x) * u


class Free(Walled):
    """Without a constraint."""

    ansatz = None

    def output_transform(self):
        return None


class Plain(nn.Module):
    def __init__(self, k=1):
        super().__init__()
        self.first, self.last = nn.Linear(1, 4).double(), nn.Linear(4, k).double()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


class Built(Plain):
    @classmethod
    def for_problem(cls, problem, seed=0, dtype=None, device=None):
        torch.manual_seed(seed)
        return cls()


SMALL = {"n_points": 8, "n_face": 4}
WALLS = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
OPTIONS = {"width": 4, "depth": 1, "dtype": torch.float64}
FIELDS = {
    "class": partial(MLP, width=4, depth=1),
    "instance": lambda: MLP.for_problem(Lifted(), **OPTIONS),
    "of another problem": lambda: MLP.for_problem(Walled(), **OPTIONS),
    "without a problem": lambda: MLP(Lifted.domain, "u", **OPTIONS),
    "sequential": lambda: nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double(),
    "own module": Plain,
    "own class": Built,
}


@pytest.mark.parametrize("name", FIELDS)
def test_the_ansatz_acts_whatever_the_field_is(name):
    given = FIELDS[name]
    field = given if name in ("class", "own class") else given()
    solution = nf.solve(Lifted(**SMALL), field, steps=2, report=None)
    assert torch.equal(solution.predict(WALLS), torch.tensor([[1.0], [0.0]], dtype=torch.float64))
    assert solution.field.inputs == ("x",) and solution.field.outputs == ("u",)


def test_a_field_of_the_same_class_takes_the_parameters_of_the_new_problem():
    field = MLP.for_problem(Walled(size=1.0), **OPTIONS)
    middle = torch.tensor([[0.5]], dtype=torch.float64)
    before = field(middle).item()
    solution = nf.solve(Walled(size=3.0, **SMALL), field, steps=0, report=None)
    assert solution.predict(middle).item() == pytest.approx(3 * before, rel=1e-14)


def test_one_of_two_transforms_is_never_lost():
    own = MLP(Walled.domain, "u", output_transform=lambda x, y: x * y, **OPTIONS)
    with pytest.raises(InputError, match="transform that is not"):
        nf.solve(Walled(**SMALL), own, steps=0, report=None)
    with pytest.raises(InputError, match="built with the ansatz of Walled"):
        nf.solve(Free(**SMALL), MLP.for_problem(Walled(), **OPTIONS), steps=0, report=None)
    kept = nf.solve(Free(**SMALL), own, steps=0, report=None)
    assert kept.predict(WALLS)[0].item() == 0


def test_a_module_with_another_number_of_outputs_is_refused():
    with pytest.raises(InputError, match="must have 1 outputs"):
        nf.solve(Walled(**SMALL), Plain(2), steps=0, report=None)


def test_a_run_of_a_users_class_is_loaded_with_its_ansatz(tmp_path):
    solution = nf.solve(Lifted(**SMALL), Built, steps=2, out=tmp_path / "run", report=None)
    loaded = nf.load(tmp_path / "run")
    x = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    assert torch.equal(loaded(x), solution.predict(x))
