"""Unknown scalars that would not be learned are refused, or named before training."""

import math
from dataclasses import dataclass, field

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Unknown, interior
from nfsolve._core.errors import InputError
from nfsolve.problem.unknowns import Unknowns

WAYS = {
    "math": lambda k: math.exp(k),
    "float": lambda k: float(k),
    "item": lambda k: k.item(),
    "int": lambda k: int(k),
    "of an expression": lambda k: math.sqrt(2 * k + 1),
    "list": lambda k: k.tolist(),
}


@dataclass
class Rate(PDE):
    k: Unknown = field(default=Unknown(1.0))
    positive: Unknown = field(default=Unknown(2.0, positive=True))
    domain = Box(x=(0, 1))
    unknowns = "u"
    way = staticmethod(torch.exp)

    @interior(points=8)
    def law(self, u, u_x):
        return u_x - self.way(self.k) * u


@pytest.mark.parametrize("way", WAYS)
def test_an_unknown_that_becomes_a_number_is_refused(way):
    kind = type("Converted", (Rate,), {"way": staticmethod(WAYS[way])})
    with pytest.raises(InputError, match=r"must stay a tensor.*torch.exp\(self.k\)") as caught:
        nf.solve(kind(), steps=1, report=None)
    assert "test_unknowns.py, line" in str(caught.value)


def test_an_unknown_in_no_residual_is_named_before_training():
    rows = []
    nf.solve(Rate(), steps=1, report=rows.append)
    assert any("'positive' does not occur in any residual" in row["warning"] for row in rows[:2])
    assert not any("'k'" in row.get("warning", "") for row in rows)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 1e3, 1e12])
def test_unknowns_of_any_size_are_learned_alike(size, positive):
    unknowns = Unknowns({"k": Unknown(size, positive=positive), "like": Unknown(1.0, positive=positive)})
    assert unknowns.values()["k"].item() == pytest.approx(size, rel=1e-14)
    assert unknowns.raw["k"].item() == unknowns.raw["like"].item()
    optimizer = torch.optim.Adam(unknowns.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        found = unknowns.values()
        loss = (found["k"] / size - 3) ** 2 + (found["like"] - 3) ** 2
        loss.backward()
        optimizer.step()
    assert found["k"].item() / size == pytest.approx(3, rel=1e-2)
