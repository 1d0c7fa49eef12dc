"""Unknown scalars that would not be learned are refused, or named before training."""

import math
from dataclasses import dataclass, field

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Unknown, interior
from nfsolve._core.errors import InputError

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
    with pytest.raises(InputError, match="must stay a tensor"):
        nf.solve(kind(), steps=1, report=None)


def test_an_unknown_in_no_residual_is_named_before_training():
    rows = []
    nf.solve(Rate(), steps=1, report=rows.append)
    assert "'positive' occurs in no residual" in rows[0]["warning"]
    assert not any("'k'" in row.get("warning", "") for row in rows)
