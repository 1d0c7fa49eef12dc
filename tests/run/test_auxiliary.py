"""What a problem trains beside its field: optimized, saved, loaded and resumed with it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

import nfsolve as nf
from nfsolve import Box, Problem, Recipe, Stage
from nfsolve.problem import Batch, SamplerState


@dataclass
class Shifted(Problem):
    """x^2 measured through an unknown offset of the positions; u(0) = 0 tells it from a shift of the field."""

    offset: float = 0.3
    domain = Box(x=(-1, 1))

    def auxiliary_modules(self, seed: int) -> dict[str, nn.Module]:
        layer = nn.Linear(1, 1, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.fill_(1.0)
            layer.bias.fill_(0.01 * seed)
        return {"gauge": layer.requires_grad_(True)}

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        return {"data": {"points": 2 * torch.rand(40, 1, generator=generator) - 1}}

    def residuals(self, field: Any, batch: Batch) -> dict[str, Tensor]:
        x = batch["data"]["points"]
        moved = field.auxiliary["gauge"](x)
        return {"data": moved - x - self.offset + 0 * field(x)}

    def metrics(self, field: Any, data: Batch) -> dict[str, float]:
        return {"found": float(field.auxiliary["gauge"](torch.zeros(1, 1)))}

    def recipe(self) -> Recipe:
        return Recipe(field=partial(nf.MLP, width=4, depth=1), stages=(Stage(partial(torch.optim.Adam, lr=0.05), 150),))


@pytest.mark.parametrize("optimizer", [None, partial(nf.optim.ESGD, lr=0.1), torch.optim.LBFGS, nf.optim.GaussNewton])
def test_every_optimizer_trains_them(optimizer):
    solution = nf.solve(Shifted(), optimizer=optimizer, steps=None if optimizer is None else 30, report=None)
    assert solution.metrics["found"] == pytest.approx(0.3, abs=0.05)
    assert solution.metrics["parameters"] == 4 + 4 + 4 + 1 + 2


def test_they_are_saved_loaded_and_resumed_with_the_field(tmp_path: Path):
    options = {"seed": 3, "report": None}
    whole = nf.solve(Shifted(), steps=20, **options)
    half = nf.solve(Shifted(), steps=10, out=tmp_path / "run", **options)
    assert half.history[0]["found"] == pytest.approx(0.03), "made with the seed of the run, in the type of the field"
    assert torch.equal(nf.load(tmp_path / "run").auxiliary["gauge"].bias, half.field.auxiliary["gauge"].bias)
    resumed = nf.resume(tmp_path / "run", steps=20, report=None)
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name


def test_a_field_that_was_trained_goes_on_with_its_own():
    first = nf.solve(Shifted(), steps=20, report=None)
    before = float(first.metrics["found"])
    again = nf.solve(Shifted(), first.field, steps=0, report=None)
    assert again.metrics["found"] == before != 0
