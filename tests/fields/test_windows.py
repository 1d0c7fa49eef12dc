import pytest
import torch

from nfsolve import MLP, Box
from nfsolve._core.errors import InputError
from nfsolve.diff import partials
from nfsolve.fields import Windows

DOMAIN = Box(t=(0, 3), x=(-1, 1))


def make(dtype=torch.float64):
    fields = [MLP(DOMAIN, "u v", width=5, depth=1, seed=seed, dtype=dtype) for seed in range(3)]
    return fields, Windows(fields, (1.0, 2.0))


def test_each_point_is_given_to_its_window():
    fields, whole = make()
    points = torch.tensor([[-0.5, 0.1], [0.5, 0.2], [1.0, 0.3], [1.9, 0.4], [2.0, 0.5], [7.0, 0.6]]).double()
    expected = [fields[w](points[i : i + 1]) for i, w in enumerate((0, 0, 1, 1, 2, 2))]
    assert torch.allclose(whole(points), torch.cat(expected), rtol=1e-14)
    assert torch.allclose(whole(points.reshape(3, 2, 2)), torch.cat(expected).reshape(3, 2, 2), rtol=1e-14)
    assert whole(points[:0]).shape == (0, 2)
    assert whole.inputs == ("t", "x")
    assert whole.outputs == ("u", "v")
    one_by_one = torch.func.vmap(lambda point: whole(point[None])[0])(points)
    assert torch.allclose(one_by_one, whole(points), rtol=1e-14)


def test_derivatives_and_gradients_are_those_of_the_window():
    fields, whole = make()
    points = torch.tensor([[0.4, 0.1], [1.3, -0.7], [2.8, 0.9]], dtype=torch.float64)
    wanted = [(), (0,), (1, 1)]
    found = partials(whole, points, wanted)
    for i, field in enumerate(fields):
        own = partials(field, points[i : i + 1], wanted)
        for index in wanted:
            assert torch.allclose(found[index][i : i + 1], own[index], rtol=1e-12)
    whole(points[:1]).sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in fields[1].parameters())
    assert any(p.grad is not None and p.grad.any() for p in fields[0].parameters())


def test_weights_come_back_in_float32():
    _, whole = make(torch.float32)
    _, other = make(torch.float32)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.load_state_dict(whole.state_dict())
    points = DOMAIN.grid(7, 3, dtype=torch.float32)
    assert torch.equal(other(points), whole(points))
    assert whole(points).dtype == torch.float32


@pytest.mark.parametrize("cuts", [(1.0,), (2.0, 1.0), (1.0, 1.0)])
def test_cuts_that_do_not_fit_are_worded(cuts):
    with pytest.raises(
        InputError, match="one field for each interval between ascending cuts, got 3 fields and cuts at"
    ):
        Windows(make()[0], cuts)


def test_derivatives_are_those_of_the_field_of_each_window():
    fields, joined = make()
    points = 3 * torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = {(), (0,), (1, 1)}
    found, nested = partials(joined, points, wanted), partials(joined, points, wanted, engine="nested")
    assert all(torch.allclose(found[index], nested[index], atol=1e-12) for index in wanted)
    assert partials(joined, points[:0], wanted)[()].shape == (0, 2)
    late = points[points[:, 0] > 2]
    assert all(
        torch.equal(partials(joined, late, {index})[index], partials(fields[2], late, {index})[index])
        for index in wanted
    )
