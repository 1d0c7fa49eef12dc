"""A wide network that begins where a narrow one is: the same function, and all of it can be trained."""

import pytest
import torch

import nfsolve as nf
from nfsolve.fields.widened import widen

BOX = nf.Box(t=(0, 1), x=(-1, 1))


@pytest.mark.parametrize("outputs", ["u", "u v"])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_wider_network_is_the_same_function(outputs, depth):
    """Widening changes no value, though it has more parameters."""
    narrow = nf.MLP(BOX, outputs, width=5, depth=depth, seed=1, dtype=torch.float64)
    wide = nf.MLP(BOX, outputs, width=9, depth=depth, seed=2, dtype=torch.float64)
    points = torch.rand(20, 2, dtype=torch.float64)
    assert not torch.allclose(wide(points), narrow(points))
    widen(wide, narrow)
    torch.testing.assert_close(wide(points), narrow(points), rtol=1e-14, atol=1e-14)


def test_the_new_units_can_be_trained():
    """The weights that read new units have a gradient, and new units differ from each other."""
    narrow = nf.MLP(BOX, width=4, depth=2, seed=1, dtype=torch.float64)
    wide = nf.MLP(BOX, width=7, depth=2, seed=2, dtype=torch.float64)
    widen(wide, narrow)
    wide(torch.rand(20, 2, dtype=torch.float64)).square().sum().backward()
    last = wide.body[-1].weight.grad
    assert last is not None and (last[:, 4:] != 0).all()
    assert len(set(last[0, 4:].tolist())) == 3
