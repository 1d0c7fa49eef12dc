import copy
import math

import pytest
import torch

from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.diff import partials
from nfsolve.domains import Box, periodic
from tests.oracles import derivative

LINE = Box(x=(0, 1))


def build(outputs: str = "s", domain: Box = LINE, **options) -> nf.DeepONet:
    options = {"sensors": 9, "width": 7, "depth": 2, "latent": 5, "dtype": torch.float64, **options}
    return nf.DeepONet(domain, outputs, **options)


def functions(m: int) -> torch.Tensor:
    return torch.randn(m, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def points(n: int, d: int = 1) -> torch.Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("outputs", ["s", "u v p"])
@pytest.mark.parametrize("walled", [False, True])
def test_rows_are_the_entries_of_the_grid(outputs, walled):
    field = build(outputs, output_transform=(lambda x, y: x * y + x) if walled else None)
    f, x = functions(3), points(4)
    grid = field.on_grid(f, x)
    assert grid.shape == (3, 4, len(outputs.split()))
    rows = field(x.repeat(3, 1), f.repeat_interleave(4, 0))
    assert rows.shape == (12, len(outputs.split()))
    assert torch.allclose(rows, grid.flatten(0, 1), rtol=1e-12)


def test_one_function_serves_all_points():
    field, f, x = build(), functions(1), points(6)
    assert torch.allclose(field(x, f), field(x, f.expand(6, -1)), rtol=1e-14)


def test_the_value_is_a_sum_of_products_plus_the_bias():
    field, f, x = build("u v"), functions(4), points(4)
    with torch.no_grad():
        field.bias.copy_(torch.tensor([0.5, -2.0]))
    branch, trunk = field.branch(f), field.trunk(field.encode(x))
    expected = torch.stack([(branch * trunk)[:, 5 * k : 5 * k + 5].sum(-1) for k in (0, 1)], -1)
    assert torch.allclose(field(x, f), expected + torch.tensor([0.5, -2.0]), rtol=1e-12)


@pytest.mark.parametrize(
    "activation", [nf.Tanh(), nf.Sine(3.0), nf.ComplexGabor(3.0, 1.0)], ids=["tanh", "sine", "complex"]
)
def test_derivatives_along_the_coordinates_have_taylor_rules(activation):
    domain = Box(t=(0, 1), x=periodic(-1, 1))
    field, f, x = build("u v", domain, activation=activation), functions(4), points(4, 2)
    result = partials(lambda z: field(z, f), x, [(0,), (1, 1), (0, 1)], engine="jets")
    for along, value in result.items():
        assert torch.allclose(value, derivative(lambda z: field(z, f), x, along), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("log", [False, True])
def test_random_weight_factorization_keeps_the_operator(log):
    field, f, x = build("u v"), functions(4), points(4)
    before = field(x, f).detach()
    count = sum(p.numel() for p in field.parameters())
    nf.factorize(field, nf.RandomWeightFactorization(log=log))
    assert torch.allclose(field(x, f), before, rtol=0, atol=1e-12)
    rows = 2 * (7 + 7 + 10)  # one scale for each neuron of trunk and branch
    assert sum(p.numel() for p in field.parameters()) == count + rows
    other = nf.fold(copy.deepcopy(field))
    assert torch.allclose(other(x, f), before, rtol=0, atol=1e-12)
    assert sum(p.numel() for p in other.parameters()) == count


def test_seeds_state_dicts_and_configurations_rebuild_the_operator():
    f, x = functions(4), points(4)
    field, other = build(), build(seed=1)
    assert torch.equal(build()(x, f), field(x, f))
    assert not torch.equal(other(x, f), field(x, f))
    other.load_state_dict(field.state_dict())
    assert torch.equal(other(x, f), field(x, f))
    options = dict(field.config)
    assert options.pop("call") == "DeepONet"
    assert torch.equal(nf.DeepONet(LINE, "s", dtype=torch.float64, **options)(x, f), field(x, f))


def test_values_have_the_type_of_the_parameters():
    field = build(dtype=None)
    assert field(points(4), functions(4)).dtype == torch.float32
    assert field.on_grid(functions(2), points(4)).dtype == torch.float32


def test_the_start_is_of_order_one_at_every_latent_size():
    for latent in (4, 400):
        field = build(latent=latent, width=32)
        size = float(field.on_grid(functions(20), points(20)).detach().square().mean().sqrt())
        assert math.isfinite(size)
        assert 0.02 < size < 20


def test_mistakes_are_worded():
    field = build()
    with pytest.raises(InputError, match=r"Sensor values must have shape \(n, 9\).*got \(4, 8\)"):
        field(points(4), functions(4)[:, :8])
    with pytest.raises(InputError, match=r"Sensor values must have shape \(n, 9\).*got \(2, 3\)"):
        field.on_grid(torch.zeros(2, 3), points(4))
    with pytest.raises(InputError, match=r"shape \(n, 1\) with columns x, got shape \(4, 2\)"):
        field(torch.zeros(4, 2), functions(4))
    for option in ("sensors", "latent", "width", "depth"):
        with pytest.raises(InputError, match=f"DeepONet needs {option} to be .*, got 0"):
            build(**{option: 0})
