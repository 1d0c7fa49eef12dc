"""Fields that are added up, each trained on what those before leave."""

from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import Box, Field, InputError, Stage
from problems.pde.poisson import Poisson

PARTS = (partial(nf.MLP, width=12, depth=2), partial(nf.RandomFeatures, width=300, scale=8.0))
STAGES = (
    Stage(nf.optim.GaussNewton, 15, only="parts.0"),
    Stage(nf.optim.LinearLeastSquares, 2, only="parts.1", resample=0),
)


def test_a_later_part_begins_at_zero_and_takes_the_error_of_the_first_away(tmp_path):
    made = partial(nf.Sum, parts=PARTS)
    field = nf.Sum.for_problem(Poisson(), parts=PARTS, seed=3, dtype=torch.float64)
    points = torch.rand(5, 2, dtype=torch.float64)
    assert torch.equal(field(points), field.parts[0](points))
    one = nf.solve(Poisson(), field=made, stages=STAGES[:1], seed=0, report=None)
    both = nf.solve(Poisson(), field=made, stages=STAGES, seed=0, report=None, out=tmp_path / "run")
    assert both.metrics["relative_l2"] < 1e-3 * one.metrics["relative_l2"] < 1e-3
    assert torch.equal(nf.load(tmp_path / "run")(points), both.field(points))
    further = nf.resume(tmp_path / "run", steps=20, report=None)
    assert further.steps > both.steps or further.stopped.startswith("converged")


def test_two_networks_add_up():
    parts = (partial(nf.MLP, width=8, depth=2), partial(nf.MLP, width=8, depth=2, activation=nf.Sine(5.0)))
    stages = tuple(Stage(nf.optim.GaussNewton, 10, only=f"parts.{i}") for i in range(2))
    solution = nf.solve(Poisson(), field=partial(nf.Sum, parts=parts), stages=stages, seed=0, report=None)
    before = [row for row in solution.history if row["step"] <= 10][-1]
    assert solution.metrics["loss"] < before["loss"]


class Constant(Field):
    """One number everywhere."""

    def __init__(self, domain, outputs="u", **options):
        super().__init__(domain, outputs, **options)
        self.value = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def network(self, features):
        return self.value + 0 * features[:, :1]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((), "needs the classes of its fields"),
        ((nf.MLP, 3), "needs the classes of its fields"),
        ((nf.MLP, Constant), "does not end in a linear layer"),
    ],
)
def test_what_cannot_be_added_is_refused(parts, said):
    with pytest.raises(InputError, match=said):
        nf.Sum(Box(x=(0, 1), y=(0, 1)), parts=parts)
