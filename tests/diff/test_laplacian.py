import pytest
import torch

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.diff import Name, laplacian, parse, partials
from nfsolve.diff.jets import plan
from nfsolve.diff.reverse import cheaper, products
from nfsolve.problem.pde.evaluate import values
from nfsolve.problem.rows import Rows
from tests.diff.test_partials import FUNCTIONS
from tests.oracles import derivative

SPACE = laplacian([0, 1])


def points(n: int = 7, d: int = 2) -> torch.Tensor:
    return torch.linspace(-0.9, 1.1, n * d, dtype=torch.float64).reshape(d, n).T.contiguous()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("engine", ["jets", "nested"])
def test_the_collapsed_channel_is_the_sum_of_second_derivatives(name, engine):
    if engine == "nested" and name in ("relu", "abs"):
        pytest.skip("forward mode of kinked functions is tested by jets")
    x, mixing = points(), torch.tensor([[0.6, -0.3], [0.2, 0.9]], dtype=torch.float64)

    def composed(z):
        return FUNCTIONS[name](torch.nn.functional.linear(z, mixing))

    expected = derivative(composed, x, (0, 0)) + derivative(composed, x, (1, 1))
    result = partials(composed, x, [SPACE, (0,)], engine=engine)
    assert torch.allclose(result[SPACE], expected, rtol=1e-9, atol=1e-10)
    assert torch.allclose(result[0,], derivative(composed, x, (0,)), rtol=1e-9, atol=1e-10)


def test_it_lives_beside_other_derivatives():
    x = points(5, 3)

    def function(z):
        return torch.tanh(z[:, :1] * z[:, 1:2] + torch.sin(z[:, 2:])) * torch.exp(z[:, :1])

    wanted = [laplacian([1, 2]), (1, 1), (0, 2, 2), ()]
    result = partials(function, x, wanted, engine="jets")
    assert set(result) == set(wanted)
    for along in wanted[1:]:
        assert torch.allclose(result[along], derivative(function, x, along), rtol=1e-9, atol=1e-10)
    expected = derivative(function, x, (1, 1)) + derivative(function, x, (2, 2))
    assert torch.allclose(result[wanted[0]], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("d", [1, 3])
def test_gradients_of_all_engines_agree(d):
    box = nf.Box(**dict.fromkeys("xyz"[:d], (0, 1)))
    net, x, wanted = nf.MLP(box, width=5, depth=2, dtype=torch.float64), points(6, d), [laplacian(range(d))]
    gradients = []
    for engine in ("jets", "reverse", "nested"):
        loss = partials(net, x, wanted, engine=engine)[wanted[0]].square().sum()
        gradients.append(torch.autograd.grad(loss, list(net.parameters())[:-1]))
    for a, b, c in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
        assert torch.allclose(a, c, rtol=1e-9, atol=1e-12)


def test_d_dimensions_take_d_and_two_channels():
    ten = laplacian(range(10))
    assert len(plan([ten]).indices) == 12
    assert len(plan([(i, i) for i in range(10)]).indices) == 21
    assert products([ten]) == 22
    assert not cheaper([ten], plan([ten]))


def test_the_written_name_leaves_time_out():
    assert parse("lap_v", ("u", "v"), ("x", "t", "y")) == Name(1, laplacian([0, 2]))
    assert parse("lap_u_x", ("lap_u",), ("t", "x")) == Name(0, (1,))
    with pytest.raises(InputError, match=r"'lap_u' needs a coordinate of space, and this problem has t"):
        parse("lap_u", ("u",), ("t",))
    with pytest.raises(InputError, match="unknown name 'lap_w'"):
        parse("lap_w", ("u",), ("x",))


def test_residuals_ask_for_it_by_name():
    x = points(4, 3)

    def both(z):
        return torch.cat([z[:, :1] * z[:, 1:2] ** 2, z[:, 1:2] ** 3 * z[:, 2:] ** 2], 1)

    found = values(("lap_u", "lap_v", "u_t"), both, Rows(x), ("u", "v"), ("t", "x", "y"))
    assert torch.allclose(found["lap_u"], 2 * x[:, :1])
    assert torch.allclose(found["lap_v"], 6 * x[:, 1:2] * x[:, 2:] ** 2 + 2 * x[:, 1:2] ** 3)
    assert torch.allclose(found["u_t"], x[:, 1:2] ** 2)
