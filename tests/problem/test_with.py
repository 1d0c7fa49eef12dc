"""One problem with something changed: a copy that is checked as a new one, and forgets what it had computed."""

import dataclasses
from functools import cached_property

import pytest
import torch

from nfsolve import PDE, Box, InputError, interior
from problems.ct.phantom import CTPhantom


@dataclasses.dataclass
class Decay(PDE):
    rate: float = 2.0
    domain = Box(t=(0, 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate <= 0:
            raise InputError(f"rate must be positive, got {self.rate:g}")

    @cached_property
    def doubled(self) -> float:
        return 2 * self.rate

    @interior
    def balance(self, u, u_t):
        return u_t + self.rate * u


def test_the_copy_has_the_change_and_the_problem_does_not():
    problem = Decay(n_points=7)
    other = problem.with_(rate=3.0, domain=Box(t=(0, 9)))
    assert type(other) is Decay and (other.rate, other.n_points, other.domain.bounds) == (3.0, 7, ((0.0, 9.0),))
    assert (problem.rate, problem.domain.bounds) == (2.0, ((0.0, 1.0),))
    assert len(dataclasses.fields(other)) == len(dataclasses.fields(problem))


def test_what_was_computed_from_the_old_values_is_forgotten():
    problem = Decay()
    assert problem.doubled == 4.0
    assert problem.with_(rate=3.0).doubled == 6.0
    assert problem.doubled == 4.0


def test_a_method_and_a_tensor_may_be_given():
    problem = Decay()
    assert problem.with_(method=lambda name, inputs=None: name.upper()).method("balance") == "BALANCE"
    rate = torch.tensor(-1.0, requires_grad=True)  # no number, so no constructor checks it
    assert problem.with_(rate=rate).rate is rate


@pytest.mark.parametrize(
    ("problem", "changes", "words"),
    [
        (Decay(), {"rate": -1.0}, "rate must be positive, got -1"),
        (Decay(), {"n_points": 0}, "n_points"),
        (Decay(), {"rat": 1.0}, "unknown attribute 'rat': did you mean 'rate'.*of Decay"),
        (CTPhantom(), {"domain": Box(x=(0, 1))}, "unknown attribute 'domain'"),  # a property, which nothing would read
        (CTPhantom(), {"classical": ("mri",)}, "unknown classical method 'mri'"),
    ],
)
def test_what_cannot_be_changed_is_worded(problem, changes, words):
    with pytest.raises(InputError, match=f"(?i){words}"):
        problem.with_(**changes)
