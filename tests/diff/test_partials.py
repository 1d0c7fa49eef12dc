import itertools

import pytest
import scipy.special
import torch
import torch.nn.functional as F

from nfsolve._core.errors import InputError
from nfsolve.diff import partials
from tests.oracles import derivative

ORDERS = [(), (0,), (1,), (0, 1), (1, 1), (0, 0, 1), (1, 1, 1), (0, 0, 1, 1), (1, 1, 1, 1)]


def points(n: int = 7, d: int = 2) -> torch.Tensor:
    return torch.linspace(-0.9, 1.1, n * d, dtype=torch.float64).reshape(d, n).T.contiguous()


WEIGHT = torch.tensor([[0.5, -1.0], [0.3, 0.2], [1.0, 2.0]], dtype=torch.float64)
BIAS = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
FUNCTIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": lambda z: torch.sin(3 * z),
    "cos": torch.cos,
    "exp": torch.exp,
    "log": lambda z: torch.log(z * z + 2),
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "elu": lambda z: F.elu(z, 0.7),
    "leaky relu": lambda z: F.leaky_relu(z, 0.2),
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "square": torch.square,
    "cube": lambda z: z**3,
    "sqrt": lambda z: torch.sqrt(z * z + 1),
    "power": lambda z: (z * z + 1) ** -1.5,
    "reciprocal": lambda z: 1 / (2 + z * z),
    "quotient": lambda z: z / (1 + torch.exp(z)),
    "relu": lambda z: torch.relu(z) ** 2,
    "abs": lambda z: torch.abs(z - 0.3) * z,
    "where": lambda z: torch.where(z > 0.2, torch.sin(z), z * z),
    "products": lambda z: torch.sin(z[:, :1]) * torch.exp(z[:, 1:]) - 2 * z[:, :1],
    "cat": lambda z: torch.cat([torch.cos(z[:, 1:]), z], -1) + 1,
    "stack": lambda z: torch.stack([torch.sin(column) for column in z.unbind(-1)], -1),
    "clamp": lambda z: torch.clamp(z, -0.4, 0.5) ** 2 * z,
    "floor": lambda z: (z - torch.floor(z)) ** 3,
    "lerp": lambda z: torch.lerp(torch.sin(z), z * z, torch.cos(z)),
    "lerp of numbers": lambda z: torch.lerp(*torch.eye(2, dtype=z.dtype), torch.cos(z)),
    "sum": lambda z: (z * z).sum(-1, keepdim=True),
    "linear on three axes": lambda z: F.linear(torch.sin(z)[..., None] * z[:, None], WEIGHT, BIAS).flatten(-2),
    "axes split and joined": lambda z: torch.sin(torch.cat([z, z * z], 1).unflatten(1, (2, 2))[:, :1]).flatten(1),
    "points joined": lambda z: torch.sin(z)[:, None].flatten(0, 1),
    "complex": lambda z: torch.exp(torch.complex(-z * z, 2 * z)).real,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("engine", ["jets", "nested"])
def test_every_function_agrees_with_nested_reverse_mode(name, engine):
    function = FUNCTIONS[name]
    if engine == "nested" and name in ("relu", "abs"):
        pytest.skip("forward mode of kinked functions is tested by jets")
    x = points()
    mixing = torch.tensor([[0.6, -0.3], [0.2, 0.9]], dtype=torch.float64)

    def composed(z):
        return function(F.linear(z, mixing))

    result = partials(composed, x, ORDERS, engine=engine)
    for along in ORDERS:
        expected = derivative(composed, x, along)
        assert torch.allclose(result[along], expected, rtol=1e-9, atol=1e-10), (name, along)


@pytest.mark.parametrize("n", [0, 1])
def test_bessel_functions_have_derivatives_that_torch_lacks(n):
    x = torch.tensor([0.0, 1e-3, 0.7, 2.0, 3.9, 6.0, 25.0], dtype=torch.float64)[:, None]
    function = (torch.special.bessel_j0, torch.special.bessel_j1)[n]
    found = partials(function, x, {(0,) * m for m in range(5)})
    for m in range(5):
        expected = torch.from_numpy(scipy.special.jvp(n, x.numpy(), m))
        torch.testing.assert_close(found[(0,) * m], expected, rtol=1e-11, atol=1e-13)
        short = partials(function, x.float(), {(0,) * m})[(0,) * m]
        torch.testing.assert_close(short, expected.float(), rtol=1e-5, atol=1e-6)


def test_a_function_whose_derivative_torch_takes_for_zero_is_refused():
    x = torch.ones(3, 1, dtype=torch.float64)
    with pytest.raises(InputError, match="torch knows no derivative of torch.special.airy_ai, and takes it for zero"):
        partials(torch.special.airy_ai, x, {(0,)})
    assert partials(torch.special.airy_ai, x, {()})[()].shape == (3, 1)
    with pytest.raises(InputError, match="nothing can be trained through it"):
        partials(lambda z: torch.special.bessel_j0(z * x.requires_grad_()), x.detach(), {(0,)})


def test_only_what_is_asked_for_is_given():
    result = partials(lambda z: torch.sin(z), points(), [(1, 1)])
    assert set(result) == {(1, 1)}


def test_operations_without_a_rule_fall_back_to_nested_forward_mode():
    def function(z):
        return torch.atan2(z[:, :1], 2 + z[:, 1:])

    x = points()
    with pytest.raises(TypeError, match="no Taylor rule for atan2"):
        partials(function, x, [(0,)], engine="jets")
    result = partials(function, x, [(0, 1)])
    assert torch.allclose(result[0, 1], derivative(function, x, (0, 1)), rtol=1e-10)


class Cubed(torch.autograd.Function):
    """z^3 as a user writes it, without a rule for forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        return z**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


def test_functions_without_forward_mode_are_differentiated_in_reverse_and_say_so():
    x = points()

    def composed(z):
        return Cubed.apply(torch.cat([z[:, :1] * z[:, 1:], z], 1))

    with pytest.warns(UserWarning, match="reverse mode, which is slower"):
        result = partials(composed, x, ORDERS, engine="nested")
    for along in ORDERS:
        assert torch.allclose(result[along], derivative(composed, x, along), rtol=1e-9, atol=1e-10), along
    with pytest.warns(UserWarning, match="reverse mode"):
        rows = torch.func.vmap(lambda row: partials(composed, row[None], [(0, 1)], "nested")[0, 1][0])(x)
    assert torch.allclose(rows, result[0, 1])


@pytest.mark.parametrize("function", [F.silu, F.mish])
def test_reverse_mode_steps_in_where_pytorch_has_no_second_forward_derivative(function):
    x = points()
    with torch.no_grad(), pytest.warns(UserWarning, match="silu_backward|mish_backward"):
        slow = partials(function, x, [(1, 1)], engine="nested")
    assert torch.allclose(slow[1, 1], partials(function, x, [(1, 1)], engine="jets")[1, 1])


def test_fourth_order_in_three_coordinates():
    x = points(5, 3)

    def function(z):
        return torch.tanh(z[:, :1] * z[:, 1:2] + torch.sin(z[:, 2:]))

    wanted = [tuple(sorted(c)) for c in itertools.combinations_with_replacement(range(3), 4)]
    result = partials(function, x, wanted, engine="jets")
    for along in wanted:
        assert torch.allclose(result[along], derivative(function, x, along), rtol=1e-9, atol=1e-9)


def test_gradients_to_parameters_pass_through_jets():
    weight = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight.requires_grad_()
    x = points()

    def loss(engine):
        d = partials(lambda z: torch.tanh(F.linear(z, weight)), x, [(), (0,), (1, 1)], engine=engine)
        return sum((value**2).sum() for value in d.values())

    for a, b in zip(
        torch.autograd.grad(loss("jets"), weight), torch.autograd.grad(loss("nested"), weight), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-10)


def test_jets_work_under_vmap_and_in_float32():
    x = points()
    weight = torch.eye(2, dtype=torch.float64) * 0.7

    def second(row):
        return partials(lambda z: torch.sin(F.linear(z, weight)), row[None], [(1, 1)], "jets")[1, 1][0]

    whole = partials(lambda z: torch.sin(F.linear(z, weight)), x, [(1, 1)])[1, 1]
    assert torch.allclose(torch.func.vmap(second)(x), whole, rtol=1e-12)
    single = partials(torch.sin, x.float(), [(1, 1)])[1, 1]
    assert single.dtype == torch.float32


def test_a_field_of_the_wrong_shape_is_worded():
    with pytest.raises(InputError, match=r"points \(7, 2\) to values \(7, k\), but it gives shape \(7,\)"):
        partials(lambda z: z[:, 0], points(), [(0,)])
    with pytest.raises(InputError, match=r"points \(7, 2\) to values \(7, k\), but it gives shape \(7,\)"):
        partials(lambda z: z[:, 0], points(), [()])
