import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.diff import partials
from nfsolve.domains import Box
from tests.oracles import derivative

SQUARE = Box(x=(-1, 1), y=(-1, 1))
KINDS = {
    "rwf": nf.RandomWeightFactorization(),
    "rwf log": nf.RandomWeightFactorization(0.5, 0.2, log=True),
    "weight normalization": nf.WeightNormalization(),
    "slope by layer": nf.AdaptiveActivation("layer", n=4.0),
    "slope by neuron": nf.AdaptiveActivation("neuron", n=0.5),
}
NETWORKS = {
    "mlp": (nf.MLP, {"encoding": nf.GaussianFourier(3, trainable=True)}),
    "grid": (nf.MLP, {"encoding": nf.FeatureGrid(2, 2, 4, initial=0.5)}),
    "complex": (nf.MLP, {"activation": nf.ComplexGabor(3.0, 1.0)}),
    "modified": (nf.ModifiedMLP, {}),
    "residual": (nf.ResidualMLP, {}),
    "fourier filters": (nf.FourierFilterNetwork, {}),
    "gabor filters": (nf.GaborFilterNetwork, {}),
}
PAIRS = [(network, kind) for network in NETWORKS for kind in KINDS]


def build(network: str = "mlp", dtype: torch.dtype = torch.float64, seed: int = 0) -> nf.Field:
    make, options = NETWORKS[network]
    return make(SQUARE, "u v", **{"width": 6, "depth": 2, "dtype": dtype, "seed": seed, **options})


def points(n: int = 5) -> torch.Tensor:
    return 2 * torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) - 1


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("network", "kind"), PAIRS)
def test_factorizing_and_folding_leave_the_function_as_it_is(network, kind):
    field, x = build(network), points()
    before, size = field(x).detach(), count(field)
    names = set(field.state_dict())
    assert nf.factorize(field, KINDS[kind]) is field
    assert torch.allclose(field(x), before, rtol=0, atol=1e-12)
    assert count(field) > size
    assert field.config["factorization"] == KINDS[kind]
    assert nf.fold(field) is field
    assert torch.allclose(field(x), before, rtol=0, atol=1e-12)
    assert count(field) == size
    assert set(field.state_dict()) == names
    assert "factorization" not in field.config
    assert all(type(m) is nn.Linear for m in field.modules() if isinstance(m, nn.Linear))
    assert all(p.requires_grad and p.is_leaf for p in field.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_folded_field_keeps_what_was_trained_and_can_be_factorized_again(kind):
    field, x = nf.factorize(build(), KINDS[kind]), points()
    steps(field, 3, 0.05)
    trained = field(x).detach()
    nf.fold(field)
    assert torch.allclose(field(x), trained, rtol=0, atol=1e-12)
    nf.factorize(field, KINDS[kind])
    assert torch.allclose(field(x), trained, rtol=0, atol=1e-12)


def steps(field: nn.Module, n: int, rate: float) -> None:
    x = points(16)
    target = torch.sin(3 * x)
    optimizer = torch.optim.SGD(field.parameters(), lr=rate)
    for _ in range(n):
        optimizer.zero_grad()
        (field(x) - target).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_state_dict_fits_a_freshly_factorized_field(kind, dtype):
    field, x = nf.factorize(build(dtype=dtype), KINDS[kind]), points()
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(1.1)
    other = nf.factorize(build(dtype=dtype, seed=1), KINDS[kind], seed=9)
    assert not torch.equal(other(x), field(x))
    other.load_state_dict(field.state_dict())
    assert other(x).dtype == dtype
    assert torch.equal(other(x), field(x))
    nf.fold(other)
    assert torch.allclose(other(x), field(x), atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_equal_and_independent(kind):
    field, x = nf.factorize(build(), KINDS[kind]), points()
    before = field(x).detach()
    other = copy.deepcopy(field)
    assert torch.equal(other(x), before)
    assert count(other) == count(field)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1)
    assert torch.equal(field(x), before)
    assert not torch.equal(other(x), before)


@pytest.mark.parametrize("kind", KINDS)
def test_factorized_fields_are_differentiated_by_every_engine(kind):
    field, x = nf.factorize(build(), KINDS[kind]), points(3)
    result = partials(field, x, [(0,), (1, 1), (0, 1, 1)], engine="jets")
    for along, value in result.items():
        expected = derivative(field, x, along)
        assert bool(expected.isfinite().all())
        assert torch.allclose(value, expected, rtol=1e-9, atol=1e-10)
    parameters = {name: p.detach() for name, p in field.named_parameters()}

    def value(p, row):
        return torch.func.functional_call(field, p, (row[None],))[0, 0]

    before = field(x).detach()
    rows = torch.func.vmap(torch.func.grad(value), (None, 0))(parameters, x)
    value({name: 2 * p for name, p in parameters.items()}, x[0])
    assert torch.equal(field(x), before)  # a functional call leaves no trace
    whole = torch.autograd.grad(field(x)[:, 0].sum(), list(field.parameters()))
    for name, gradient in zip(parameters, whole, strict=True):
        assert torch.allclose(rows[name].sum(0), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_optimizers_move_every_parameter_of_a_factorized_field(kind):
    field = nf.factorize(build(), KINDS[kind])
    before = {name: p.detach().clone() for name, p in field.named_parameters()}
    steps(field, 1, 0.1)
    assert all(not torch.equal(before[name], p) for name, p in field.named_parameters())


def test_without_mean_and_spread_the_scale_is_one():
    field = nf.factorize(build(), nf.RandomWeightFactorization(0.0, 0.0))
    for m in field.modules():
        if isinstance(m, nn.Linear):
            assert torch.equal(m.parametrizations["weight"].original0, torch.ones(m.out_features).double())


def test_scales_are_seeded_on_their_own():
    def scales(weights: int, **options) -> torch.Tensor:
        field = nf.factorize(build(seed=weights), nf.RandomWeightFactorization(), **options)
        linears = [m for m in field.modules() if isinstance(m, nn.Linear)]
        return torch.cat([m.parametrizations["weight"].original0.detach() for m in linears])

    assert torch.equal(scales(0), scales(1))  # other weights, the same scales
    assert torch.equal(scales(0, seed=5), scales(0, seed=5))
    assert not torch.equal(scales(0, seed=5), scales(0, seed=6))
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(*(scales(0, generator=g) for g in generators))


def test_the_generator_of_torch_is_left_alone():
    before = torch.random.get_rng_state()
    nf.factorize(build(), nf.RandomWeightFactorization())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("network", ["mlp", "grid", "fourier filters", "gabor filters"])
@pytest.mark.parametrize("kind", KINDS)
def test_matrices_of_encodings_and_filters_stay_plain(network, kind):
    field = build(network)
    plain = {id(p) for m in field.modules() if not isinstance(m, nn.Linear) for p in m.parameters(recurse=False)}
    assert plain
    nf.factorize(field, KINDS[kind])
    assert plain <= {id(p) for p in field.parameters()}
    for module in field.modules():
        assert isinstance(module, nn.Linear) or not parametrize.is_parametrized(module)


def slopes(field: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each layer the slope of its weight and the slope of its bias."""
    layers = [m for m in field.modules() if isinstance(m, nn.Linear) and parametrize.is_parametrized(m)]
    pairs = [(m.parametrizations["weight"][0].a, m.parametrizations["bias"][0].a) for m in layers]
    assert pairs
    return pairs


@pytest.mark.parametrize("mode", ["layer", "neuron"])
def test_weight_and_bias_of_a_layer_share_one_slope_always(mode):
    plain = build()
    field = nf.factorize(build(), nf.AdaptiveActivation(mode, n=2.0))
    extra = 2 if mode == "layer" else 12  # two hidden layers of width 6
    assert count(field) == count(plain) + extra
    assert all(a is b and a.shape == (1 if mode == "layer" else 6,) for a, b in slopes(field))
    for other in (copy.deepcopy(field), copy.deepcopy(field).float()):
        assert all(a is b for a, b in slopes(other))
        assert count(other) == count(field)
    loaded = nf.factorize(build(seed=1), nf.AdaptiveActivation(mode, n=2.0))
    loaded.load_state_dict(field.state_dict())
    steps(loaded, 2, 0.1)
    assert all(a is b for a, b in slopes(loaded))
    assert count(loaded) == count(field)


@pytest.mark.parametrize("mode", ["layer", "neuron"])
def test_a_slope_scales_the_whole_preactivation(mode):
    field, x = nf.factorize(build(), nf.AdaptiveActivation(mode, n=2.0)), points()
    plain = build()
    with torch.no_grad():
        for a, _ in slopes(field):
            a.mul_(3)
        for m in plain.body[:-1]:
            m.linear.weight.mul_(3)
            m.linear.bias.mul_(3)
    assert torch.allclose(field(x), plain(x), rtol=1e-12)


def test_any_module_is_factorized():
    module = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1, bias=False)).double()
    before = module(points()).detach()
    for kind in KINDS.values():
        nf.factorize(module, kind)
        assert torch.allclose(module(points()), before, rtol=0, atol=1e-12)
        nf.fold(module)
    assert torch.allclose(module(points()), before, rtol=0, atol=1e-12)


def test_nothing_to_do_is_no_mistake():
    field = build()
    assert nf.fold(field) is field
    assert nf.factorize(field, None) is field
    assert not any(parametrize.is_parametrized(m) for m in field.modules())


def test_mistakes_are_worded():
    field = nf.factorize(build(), nf.RandomWeightFactorization())
    for kind in KINDS.values():
        with pytest.raises(InputError, match=r"factorized already.*[Cc]all fold\(module\) first"):
            nf.factorize(field, kind)
    with pytest.raises(InputError, match="acts on linear layers, and this"):
        nf.factorize(nn.Tanh(), nf.WeightNormalization())
    with pytest.raises(InputError, match=r"RandomWeightFactorization needs std to be .*, got -0\.1"):
        nf.RandomWeightFactorization(1.0, -0.1)
    with pytest.raises(InputError, match="AdaptiveActivation needs n to be .*, got 0"):
        nf.AdaptiveActivation(n=0.0)
    with pytest.raises(InputError, match="unknown mode 'row'"):
        nf.AdaptiveActivation("row")  # type: ignore[arg-type]
    zero = nn.Linear(2, 2)
    nn.init.zeros_(zero.weight)
    with pytest.raises(InputError, match="a row of zeros"):
        nf.factorize(zero, nf.WeightNormalization())
