import pytest
import torch

from nfsolve.diff import partials
from nfsolve.fields.tensor_basis import nodes, tensor_basis

SIDES = ((0.0, 2.0, False), (-1.0, 1.0, True))


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (12, 9)])
def test_jets_pass_through_and_periods_repeat(sizes):
    x = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - torch.tensor([0.0, 1.0])

    def basis(at):
        return tensor_basis(at, SIDES, sizes)

    wanted = [(), (0,), (1, 1), (0, 1)]
    jets, nested = (partials(basis, x, wanted, engine=engine) for engine in ("jets", "nested"))
    for index in wanted:
        torch.testing.assert_close(jets[index], nested[index], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(basis(x + torch.tensor([0.0, 2.0])), basis(x))
    degrees = torch.cos(torch.arange(sizes[0]) * torch.arccos(x[:, :1] - 1))
    torch.testing.assert_close(basis(x)[:, :: sizes[1]], degrees)  # the constant wave comes first


def test_nodes_tell_the_basis_apart():
    singular = torch.linalg.svdvals(tensor_basis(nodes(SIDES, (9, 9)), SIDES, (8, 7)))
    assert singular[-1] > 0.3 * singular[0]
