"""A field as a reconstructor of deepinv: called with measurements and physics."""

from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import FieldReconstructor, InputError
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector

GRID, GEOMETRY = PixelGrid(12, 12, 2 / 12), ParallelBeam.half_turn(16, 12)


class Scanner:
    """Physics as deepinv has them."""

    project = Projector(GEOMETRY, GRID, torch.float64)

    def A(self, x):
        return self.project(x.reshape(len(x), -1).T).T.reshape(len(x), 1, *GEOMETRY.shape)

    def A_adjoint(self, y):
        return self.project.adjoint(y.reshape(len(y), -1).T).T.reshape(len(y), 1, *GRID.shape)


def test_a_batch_is_reconstructed_image_by_image_and_can_be_evaluated_anywhere():
    blobs = torch.stack([torch.exp(-6 * (GRID.centres() - x).square().sum(1)) for x in (-0.3, 0.3)]).reshape(
        2, 1, 12, 12
    )
    model = FieldReconstructor(
        (12, 12), field=partial(nf.MLP, width=16, depth=2), steps=12, dtype=torch.float64, seed=0
    )
    found = model(Scanner().A(blobs), Scanner())
    errors = (found - blobs).square().mean((1, 2, 3))
    apart = float((blobs[0] - blobs[1]).square().mean())
    assert found.shape == blobs.shape and float(errors.max()) < 0.25 * apart
    assert len(model.solutions) == 2
    assert model.solutions[0](torch.tensor([[0.35, 0.65]], dtype=torch.float64)).shape == (1, 1)
    again = FieldReconstructor(
        (12, 12), field=partial(nf.MLP, width=16, depth=2), steps=12, dtype=torch.float64, seed=0
    )(Scanner().A(blobs[1:]), Scanner())
    assert torch.allclose(again, found[1:])


def test_what_does_not_fit_is_worded():
    with pytest.raises(InputError, match=r"axes \(batch, channels, ...\), got shape \(12, 16\)"):
        nf.FieldReconstructor((12, 12))(torch.zeros(12, 16), Scanner())
