import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.diff import partials
from nfsolve.domains import Box, periodic
from tests.oracles import derivative

STRIP = Box(t=(0, 1), x=periodic(-1, 1))
LAYERED = (nf.MLP, nf.ModifiedMLP, nf.ResidualMLP)
FILTERS = (nf.FourierFilterNetwork, nf.GaborFilterNetwork)
ACTIVATIONS = {
    "tanh": nf.Tanh(),
    "relu": nf.ReLU(),
    "gelu": nf.GELU(),
    "softplus": nf.Softplus(),
    "sine": nf.Sine(3.0, hidden=2.0),
    "finer": nf.Finer(2.0),
    "gaussian": nf.Gaussian(1.0),
    "sinc": nf.Sinc(3.0),
    "gabor": nf.Gabor(3.0, 1.0),
    "real gabor": nf.RealGabor(3.0, 1.0),
    "complex gabor": nf.ComplexGabor(3.0, 1.0),
}
ENCODINGS = {
    "identity": nf.Identity(),
    "positional": nf.Positional(2),
    "fourier": nf.GaussianFourier(3),
    "trained fourier": nf.GaussianFourier(3, trainable=True),
    "period": nf.Periodic(("t",), 2.0, harmonics=2),
    "trained period": nf.Periodic(period=2.0, trainable=True),
    "grid": nf.FeatureGrid(2, 2, 4, initial=0.5),
    "smooth hashed grid": nf.FeatureGrid(2, 2, 5, hash_size=5, smooth=True, initial=0.5),
}
# every network with every activation and encoding, as (class, options)
CASES = {
    f"{network.__name__}, {a}, {e}": (network, {"activation": ACTIVATIONS[a], "encoding": ENCODINGS[e]})
    for network, a, e in itertools.product(LAYERED, ACTIVATIONS, ENCODINGS)
} | {network.__name__: (network, {}) for network in FILTERS}
# every network, activation and encoding at least once
FEW = {
    name: case
    for name, case in CASES.items()
    if "identity" in name or "MLP, tanh" in name or "Filter" in name or name == "MLP, complex gabor, fourier"
}


def points(n: int = 4) -> torch.Tensor:
    unit = torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return STRIP.scale(unit)


def build(case, outputs: str = "u", dtype: torch.dtype | None = torch.float64, **options) -> nf.Field:
    network, parts = case
    field = network(STRIP, outputs, **{"width": 6, "depth": 2, "dtype": dtype, **parts, **options})
    if isinstance(field, nf.ResidualMLP):  # away from the identity at which its blocks start
        with torch.no_grad():
            for block in field.blocks:
                block.mix.fill_(0.4)
    return field


@pytest.mark.parametrize("name", CASES)
def test_taylor_jets_of_every_field_equal_nested_reverse_mode(name):
    field, x, wanted = (
        build(CASES[name], depth=1 if "Residual" in name else 2),
        points(3),
        [(0,), (1, 1), (0, 1)],
    )
    result = partials(field, x, wanted, engine="jets")
    for along in wanted:
        expected = derivative(field, x, along)
        assert torch.allclose(result[along], expected, rtol=1e-9, atol=1e-9 * float(1 + expected.abs().max()))
    assert any(float(value.detach().abs().max()) > 1e-6 for value in result.values())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_values_have_a_column_for_each_output_and_the_type_of_the_parameters(name, dtype):
    field = build(CASES[name], "u v", dtype)
    value = field(points(7))
    assert value.shape == (7, 2)
    assert value.dtype == (dtype or torch.float32)
    assert all(p.dtype == value.dtype or p.is_complex() for p in field.parameters())
    assert bool(value.isfinite().all())
    assert float((value[0] - value[1]).detach().abs().max()) > 0


@pytest.mark.parametrize("name", FEW)
def test_third_derivatives_are_finite(name):
    field = build(FEW[name])
    for along in [(1, 1, 1), (0, 1, 1)]:
        value = derivative(field, points(), along)
        assert bool(value.isfinite().all())
        assert "relu" in name or float(value.abs().max()) > 0


@pytest.mark.parametrize("name", FEW)
def test_copies_are_equal_and_independent(name):
    field, x = build(FEW[name]), points()
    before = field(x).detach()
    other = copy.deepcopy(field)
    assert torch.equal(other(x), before)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1)
    assert torch.equal(field(x), before)
    assert not torch.equal(other(x), before)


@pytest.mark.parametrize("name", FEW)
def test_a_state_dict_carries_the_function_to_another_seed(name):
    field, x = build(FEW[name]), points()
    other = build(FEW[name], seed=1)
    assert not torch.equal(other(x), field(x))
    other.load_state_dict(field.state_dict())
    assert torch.equal(other(x), field(x))


@pytest.mark.parametrize("name", FEW)
def test_gradients_by_row_run_under_vmap(name):
    field, x = build(FEW[name]), points(3)
    parameters = {key: p.detach() for key, p in field.named_parameters()}

    def value(p, row):
        return torch.func.functional_call(field, p, (row[None],))[0, 0]

    rows = torch.func.vmap(torch.func.grad(value), (None, 0))(parameters, x)
    whole = torch.autograd.grad(field(x)[:, 0].sum(), list(field.parameters()))
    for key, gradient in zip(parameters, whole, strict=True):
        assert torch.allclose(rows[key].sum(0), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FEW)
def test_a_seed_fixes_the_weights(name):
    one, same, other = (build(FEW[name], seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), same.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", FEW)
def test_every_parameter_is_used(name):
    field = build(FEW[name])
    gradients = torch.autograd.grad(field(points(20)).square().sum(), list(field.parameters()))
    assert all(bool(g.isfinite().all()) and float(g.abs().max()) > 0 for g in gradients)


@pytest.mark.parametrize("name", CASES)
def test_fields_are_periodic_where_the_domain_is(name):
    harmonics = 1 if "grid" in name else 2  # two harmonics and time are five coordinates, which no grid has
    field = build(CASES[name], harmonics=harmonics, **({"depth": 1} if "Residual" in name else {}))
    x = points(5)
    shifted = x + torch.tensor([0.0, 2.0], dtype=torch.float64)
    for along in [(), (1,)]:
        a, b = derivative(field, x, along), derivative(field, shifted, along)
        assert torch.allclose(a, b, rtol=0, atol=1e-12 * float(1 + a.abs().max()))
    moved = x + torch.tensor([0.0, 0.7], dtype=torch.float64)
    assert not torch.allclose(field(x), field(moved), atol=1e-6)


@given(low=st.floats(-1e3, 1e3), length=st.floats(1e-2, 1e3), seed=st.integers(0, 10**9))
@settings(max_examples=20, deadline=None)
def test_fields_see_normalised_coordinates_only(low, length, seed):
    unit = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    reference = nf.MLP(Box(x=(-1, 1)), width=5, depth=1, seed=seed, dtype=torch.float64)
    domain = Box(x=(low, low + length))
    field = nf.MLP(domain, width=5, depth=1, seed=seed, dtype=torch.float64)
    assert torch.allclose(field(domain.scale(unit)), reference(2 * unit - 1), rtol=0, atol=1e-9)


def test_the_transform_is_applied_last():
    def hard_walls(x, y):
        return (x[:, :1] * (1 - x[:, :1])) * y

    x = points(6)
    plain = nf.MLP(STRIP, "u v", width=6, dtype=torch.float64)
    walled = nf.MLP(STRIP, "u v", width=6, dtype=torch.float64, output_transform=hard_walls)
    assert torch.equal(walled(x), hard_walls(x, plain(x)))
    edge = x.clone()
    edge[:, 0] = 1.0
    assert float(walled(edge).detach().abs().max()) == 0


def test_names_and_configuration_say_how_the_field_was_built():
    field = nf.MLP(STRIP, "u v", width=8, depth=2, activation=nf.Sine(5.0), encoding=nf.Positional(3))
    assert field.inputs == ("t", "x")
    assert field.outputs == ("u", "v")
    options = dict(field.config)
    assert options.pop("call") == "MLP"
    assert (options["width"], options["depth"]) == (8, 2)
    assert options["activation"] == nf.Sine(5.0)
    again = nf.MLP(STRIP, "u v", **options)
    assert torch.equal(again(points()), field(points()))
    assert nf.MLP(STRIP, ("u", "v")).outputs == ("u", "v")


@pytest.mark.parametrize("network", [*LAYERED, *FILTERS])
def test_every_configuration_rebuilds_its_field(network):
    field = network(STRIP, "p", width=5, depth=2)
    options = dict(field.config)
    assert options.pop("call") == network.__name__
    assert torch.equal(network(STRIP, "p", **options)(points()), field(points()))


def test_for_problem_takes_domain_unknowns_and_transform():
    problem = SimpleNamespace(domain=STRIP, unknowns="u v", output_transform=lambda: lambda x, y: 0 * y + x)
    field = nf.MLP.for_problem(problem, width=6, dtype=torch.float64)
    assert (field.inputs, field.outputs, field.config["width"]) == (("t", "x"), ("u", "v"), 6)
    assert torch.equal(field(points()), points())
    problem.output_transform = lambda: None
    assert nf.MLP.for_problem(problem).output_transform is None
    with pytest.raises(InputError, match=r"unknown option.* 'widht'.*width"):
        nf.MLP.for_problem(problem, widht=6)


@pytest.mark.parametrize("network", [*LAYERED, *FILTERS])
def test_bad_sizes_and_points_are_worded(network):
    name = network.__name__
    for option in ("width", "depth", "harmonics"):
        with pytest.raises(InputError, match=f"{name} needs {option} to be .*at least 1, got 0"):
            network(STRIP, **{option: 0})
    with pytest.raises(InputError, match=f"{name} needs width to be a whole number.*got 2.5"):
        network(STRIP, width=2.5)
    with pytest.raises(InputError, match=r"shape \(n, 2\) with columns t, x, got shape \(4, 3\)"):
        network(STRIP)(torch.zeros(4, 3))


@pytest.mark.parametrize("outputs", ["", (), "u u", ("u", "u")])
def test_outputs_need_names(outputs):
    with pytest.raises(InputError, match="at least one output"):
        nf.MLP(STRIP, outputs)


def test_device_and_dtype_options_reach_every_parameter_and_buffer():
    for network in (*LAYERED, *FILTERS):
        field = network(STRIP, dtype=torch.float64, device="cpu")
        for tensor in (*field.parameters(), *field.buffers()):
            assert tensor.dtype == torch.float64
            assert tensor.device.type == "cpu"
    for network in LAYERED:
        assert all(p.device.type == "meta" for p in network(STRIP, device="meta").parameters())


@pytest.mark.gpu
def test_seeds_give_the_same_weights_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for case in FEW.values():
        here, there = build(case), build(case, device="cuda")
        for p, q in zip(here.parameters(), there.parameters(), strict=True):
            assert torch.equal(p, q.cpu())
        assert torch.allclose(here(points()), there(points().cuda()).cpu(), rtol=1e-9, atol=1e-10)


def test_residual_blocks_start_as_the_identity():
    field = nf.ResidualMLP(STRIP, width=6, depth=2, dtype=torch.float64)
    x = points()
    direct = field.last(field.first(field.encode(x)))
    assert torch.allclose(field(x), direct, rtol=1e-14)


def test_the_modified_network_follows_its_formula():
    field = nf.ModifiedMLP(STRIP, width=6, depth=2, dtype=torch.float64)
    features = field.encode(points())
    body = field.body
    u, v, h = body.gate_u(features), body.gate_v(features), features
    for layer in body.hidden:
        z = layer(h)
        h = (1 - z) * u + z * v
    assert torch.allclose(field(points()), body.last(h), rtol=1e-12)


@pytest.mark.parametrize("network", FILTERS)
def test_filter_networks_start_with_the_bandwidth_that_was_asked_for(network):
    field = network(Box(x=(-1, 1), y=(-1, 1)), width=400, depth=3, scale=7.0, dtype=torch.float64)
    variances = [f.frequencies.detach().square().mean() for f in field.filters]
    assert float(sum(variances)) ** 0.5 == pytest.approx(7.0, rel=0.05)  # they add up in the product


def test_a_complex_network_is_what_its_complex_formula_says():
    field = nf.MLP(STRIP, "u", width=9, depth=2, activation=nf.ComplexGabor(3.0, 1.0), dtype=torch.float64)
    first, second, last = field.body
    z = first.linear(field.encode(points())).to(torch.complex128)

    def wavelet(z):
        return torch.exp(1j * 3.0 * z - z.abs() ** 2)

    real, imag = second.linear.real, second.linear.imag
    weight, bias = torch.complex(real.weight, imag.weight), torch.complex(real.bias, imag.bias)
    h = wavelet(wavelet(z) @ weight.T + bias)
    width = h.shape[1]
    outward = torch.complex(last.weight[:, :width], -last.weight[:, width:])
    assert torch.allclose(field(points()), (h @ outward.T).real + last.bias, rtol=1e-12)


def test_a_field_on_what_is_no_domain_is_refused():
    with pytest.raises(InputError, match="must be a domain, got list"):
        nf.MLP([torch.zeros(2)])
