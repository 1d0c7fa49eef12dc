import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nfsolve import MLP, Box, InputError, ModifiedMLP, ResidualMLP
from nfsolve._core.spec import build, describe
from nfsolve.fields import Activation, ReLU, Siren, Tanh, WeightScaling
from nfsolve.fields.chosen import Custom, Elementwise, chosen

DOMAIN = Box(t=(0, 1), x=(-1, 1))


def doubled(z):
    return torch.tanh(2 * z)


GIVEN = {
    "a name": ("tanh", Tanh()),
    "a name with capitals": ("ReLU", ReLU()),
    "a name of PyTorch": ("silu", Elementwise("silu")),
    "a class": (Tanh, Tanh()),
    "a function that is known": (torch.tanh, Tanh()),
    "another function of PyTorch": (torch.sin, Elementwise("sin")),
    "a functional": (F.mish, Elementwise("mish")),
    "a module": (torch.nn.SiLU(), Elementwise("silu")),
    "a module that works in place": (torch.nn.SiLU(inplace=True), Elementwise("silu")),
    "a class of modules": (torch.nn.Tanh, Tanh()),
    "a module of two words": (torch.nn.LeakyReLU(), Elementwise("leaky_relu")),
    "a function of one's own": (doubled, Custom(doubled)),
}


@pytest.mark.parametrize(("given", "meant"), GIVEN.values(), ids=GIVEN)
def test_an_activation_may_be_given_as_users_of_pytorch_would(given, meant):
    assert chosen(given, None)[0] == meant


def test_a_module_with_options_keeps_them():
    module = torch.nn.ELU(alpha=0.3)
    assert chosen(module, None)[0] == Custom(module)


@pytest.mark.parametrize("kind", [MLP, ModifiedMLP, ResidualMLP])
@pytest.mark.parametrize("activation", ["tanh", torch.nn.SiLU(), doubled], ids=["name", "module", "function"])
def test_every_network_takes_them(kind, activation):
    field = kind(DOMAIN, width=4, activation=activation, init="ws")
    assert isinstance(field.config["activation"], Activation)
    assert field.config["init"] == WeightScaling()
    assert field(torch.rand(3, 2)).shape == (3, 1)


def test_an_initialisation_may_be_named():
    assert chosen("sine", "siren")[1] == Siren()
    with pytest.raises(InputError, match="unknown init 'xavier'"):
        chosen("tanh", "xavier")
    with pytest.raises(InputError, match="must be an initialisation or its name, got 3"):
        chosen("tanh", 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tahn", "did you mean 'tanh'"),
        (3, "must be an activation, its name or a function, got 3"),
        (torch.nn.PReLU(), "must have no parameters of its own"),
        (torch.nn.LayerNorm(4), "must have no parameters of its own"),
    ],
    ids=str,
)
def test_what_is_no_activation_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        MLP(DOMAIN, activation=given)


def test_a_function_that_is_known_by_name_can_be_built_again():
    activation = chosen(torch.nn.Mish(), None)[0]
    assert build(describe(activation)) == activation


@pytest.mark.parametrize("points", [np.zeros((3, 2)), np.zeros((3, 2), np.float32), np.zeros((3, 2), int), [[0, 0.5]]])
def test_arrays_are_answered_with_arrays(points):
    field = MLP(DOMAIN, "u v", width=4, dtype=torch.float64)
    values = field.numpy(points)
    expected = field(torch.tensor(np.asarray(points, float))).detach().numpy()
    assert isinstance(values, np.ndarray)
    assert np.array_equal(values, expected)
    with pytest.raises(InputError, match=r"call field.numpy\(points\)|Call field.numpy\(points\)"):
        field(points)


@pytest.mark.parametrize("points", ["text", [["a", "b"]], [[1, 2], [3]], None])
def test_arrays_that_are_no_points_are_refused(points):
    with pytest.raises(InputError, match="Points must"):
        MLP(DOMAIN, width=4).numpy(points)


@pytest.mark.parametrize(("low", "length"), [(1.7e9, 3600.0), (-1e6, 1.0), (1e4, 1.0)])
def test_far_from_zero_a_float32_field_sees_the_coordinate_that_float64_gives(low, length):
    far, near = (Box(t=(start, start + length), x=(0, 1)) for start in (low, -length / 2))
    field, twin = MLP(far, width=8, seed=3), MLP(near, width=8, seed=3)
    unit = torch.rand(50, 2, dtype=torch.float64)
    assert torch.allclose(field(far.scale(unit)), twin(near.scale(unit).float()), atol=1e-5)
    assert field(far.scale(unit)).dtype == torch.float32
    assert torch.equal(copy.deepcopy(field).double().float()(far.scale(unit)), field(far.scale(unit)))
