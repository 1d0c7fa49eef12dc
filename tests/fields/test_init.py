import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.domains import Box

SQUARE = Box(x=(-1, 1), y=(-1, 1))


def linears(field: nn.Module) -> list[nn.Linear]:
    return [m for m in field.modules() if isinstance(m, nn.Linear)]


def sines(init: nf.Init | None, omega: float = 30.0, **options) -> nf.MLP:
    options = {"width": 128, "depth": 3, "dtype": torch.float64, **options}
    return nf.MLP(SQUARE, activation=nf.Sine(omega), init=init, **options)


def siren_bounds(width: int, depth: int, omega: float) -> list[float]:
    return [1 / 2, *[math.sqrt(6 / width) / omega] * depth]


def glorot_bounds(width: int, depth: int) -> list[float]:
    sizes = [2, *[width] * depth, 1]
    return [math.sqrt(6 / (a + b)) for a, b in itertools.pairwise(sizes)]


def check_bounds(field: nn.Module, bounds: list[float]) -> None:
    layers = linears(field)
    assert len(layers) == len(bounds)
    for layer, bound in zip(layers, bounds, strict=True):
        largest = float(layer.weight.detach().abs().max())
        # the largest of n uniform draws is on average n / (n + 1) of the bound
        assert bound * (1 - 12 / layer.weight.numel()) < largest <= bound
        assert abs(float(layer.weight.detach().mean())) < 4 * bound / math.sqrt(3 * layer.weight.numel())


def test_siren_bounds():
    check_bounds(sines(nf.Siren(), 25.0), siren_bounds(128, 3, 25.0))
    check_bounds(sines(None, 25.0), siren_bounds(128, 3, 25.0))


def test_a_separate_frequency_of_hidden_layers_enters_their_bounds():
    field = nf.MLP(SQUARE, width=128, depth=2, activation=nf.Sine(40.0, hidden=5.0), dtype=torch.float64)
    check_bounds(field, siren_bounds(128, 2, 5.0))


def test_glorot_and_torch_bounds():
    glorot = nf.MLP(SQUARE, width=128, depth=2, init=nf.Glorot(), dtype=torch.float64)
    check_bounds(glorot, glorot_bounds(128, 2))
    assert all(float(layer.bias.detach().abs().max()) == 0 for layer in linears(glorot))
    default = nf.MLP(SQUARE, width=128, depth=2, init=nf.TorchDefault(), dtype=torch.float64)
    check_bounds(default, [1 / math.sqrt(2), *[1 / math.sqrt(128)] * 2])


def test_tanh_starts_from_glorot():
    a, b = (nf.MLP(SQUARE, activation=nf.Tanh(), init=init) for init in (None, nf.Glorot()))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("alpha", [1.5, 2.5, (3.0, 2.0, 1.5)])
def test_weight_scaling_bounds(alpha):
    factors = (*alpha, 1.0) if isinstance(alpha, tuple) else (alpha, alpha, alpha, 1.0)
    bounds = [a * b for a, b in zip(factors, siren_bounds(128, 3, 30.0), strict=True)]
    check_bounds(sines(nf.weight_scaling(alpha)), bounds)


def test_frequency_scaling_bounds():
    plain = siren_bounds(128, 3, 30.0)
    check_bounds(sines(nf.FrequencyScaling(2.5)), [2.5 * plain[0], *plain[1:]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alpha_one_is_siren_bit_for_bit(dtype):
    siren, scaled = (sines(init, dtype=dtype) for init in (nf.Siren(), nf.weight_scaling(1.0)))
    for p, q in zip(siren.parameters(), scaled.parameters(), strict=True):
        assert torch.equal(p, q)


def test_one_seed_gives_the_same_weights_scaled_exactly_but_for_the_last_layer_and_the_biases():
    one, two = (linears(sines(nf.weight_scaling(alpha), seed=7)) for alpha in (1.0, 2.0))
    for a, b in zip(one[:-1], two[:-1], strict=True):
        assert torch.equal(2 * a.weight, b.weight)  # times two is exact
    assert torch.equal(one[-1].weight, two[-1].weight)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.bias, b.bias)
        assert float(a.bias.detach().abs().max()) <= 1 / math.sqrt(a.in_features)


@given(alpha=st.floats(0.1, 10.0), seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_weight_scaling_is_linear_in_alpha_for_every_seed(alpha, seed):
    one, other = (linears(sines(nf.weight_scaling(a), width=6, seed=seed)) for a in (1.0, alpha))
    for a, b in zip(one[:-1], other[:-1], strict=True):
        assert torch.allclose(alpha * a.weight, b.weight, rtol=1e-14, atol=0)
    assert torch.equal(one[-1].weight, other[-1].weight)


def test_a_draw_does_not_depend_on_the_dtype_nor_touch_torchs_generator():
    before = torch.random.get_rng_state()
    single, double = (sines(nf.Siren(), dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert torch.equal(before, torch.random.get_rng_state())
    for p, q in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(p, q.float())


# alpha* of the bandwidth rule at omega_0 = 30, d0 = 2, kappa = 0.3 and 0.42, to two decimals
AUTO = [
    (3, 128, 1.90, 2.13),
    (3, 512, 3.03, 3.39),
    (4, 256, 1.93, 2.10),
    (4, 512, 2.30, 2.50),
    (4, 1024, 2.73, 2.97),
    (6, 512, 1.74, 1.84),
]


@pytest.mark.parametrize(("depth", "resolution", "safe", "bold"), AUTO)
def test_automatic_alpha_follows_the_table_of_the_bandwidth_rule(depth, resolution, safe, bold):
    siren = linears(sines(nf.Siren(), width=8, depth=depth))
    for kappa, expected in ((0.3, safe), (0.42, bold)):
        init = nf.weight_scaling("auto", resolution=resolution, kappa=kappa)
        scaled = linears(sines(init, width=8, depth=depth))
        ratios = [b.weight.detach() / a.weight.detach() for a, b in zip(siren, scaled, strict=True)]
        assert all(float((r - expected).abs().max()) < 0.0051 for r in ratios[:-1])
        assert torch.equal(ratios[-1], torch.ones_like(ratios[-1]))


def test_automatic_alpha_is_never_below_one():
    scaled = sines(nf.weight_scaling("auto", resolution=8), width=8)
    siren = sines(nf.Siren(), width=8)
    assert all(torch.equal(p, q) for p, q in zip(siren.parameters(), scaled.parameters(), strict=True))


def signals(alpha: float, depth: int = 6, width: int = 512) -> tuple[list[float], list[float]]:
    """Root mean squares of omega (W h) and of the loss's derivatives by it, layer by layer, biases zero."""
    field = sines(nf.weight_scaling(alpha), width=width, depth=depth, seed=3, dtype=torch.float32)
    kept: list[torch.Tensor] = []

    def keep(module, arguments, output):
        output.retain_grad()
        kept.append(output)

    for layer in linears(field):
        nn.init.zeros_(layer.bias)
        layer.register_forward_hook(keep)
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(400, 2, generator=generator) - 1
    (field(x) * torch.randn(400, 1, generator=generator)).sum().backward()
    forward = [30.0 * float(z.detach().square().mean().sqrt()) for z in kept[:-1]]
    backward = [float(z.grad.square().mean().sqrt()) for z in kept[:-1] if z.grad is not None]
    return forward, backward


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.5])
def test_preactivations_and_gradient_gains_follow_the_closed_forms(alpha):
    forward, backward = signals(alpha)
    assert len(forward) == len(backward) == 6
    assert forward[1] == pytest.approx(alpha, rel=0.03)  # behind a sine of many periods E h^2 = 1/2
    for before, after in itertools.pairwise(forward[1:]):
        assert after == pytest.approx(alpha * math.sqrt(1 - math.exp(-2 * before**2)), rel=0.03)
    for i in range(1, 5):
        gain = alpha * math.sqrt(1 + math.exp(-2 * forward[i] ** 2))
        assert backward[i] / backward[i + 1] == pytest.approx(gain, rel=0.03)


def test_siren_drifts_to_its_fixed_point():
    forward, _ = signals(1.0)
    assert forward[1:6] == pytest.approx([1.0, 0.93, 0.91, 0.90, 0.89], rel=0.03)


def condition_number(init: nf.Init) -> float:
    """Of the neural tangent kernel on a lattice of spacing 8 / 95, every fourth pixel of a 96 x 96 image."""
    field = sines(init, width=64, depth=4)
    axis = torch.linspace(-1, 1, 96, dtype=torch.float64)[2::4][:14]
    lattice = torch.cartesian_prod(axis, axis)
    parameters = {name: p.detach() for name, p in field.named_parameters()}

    def value(p, x):
        return torch.func.functional_call(field, p, (x[None],))[0, 0]

    gradients = torch.func.vmap(torch.func.grad(value), (None, 0))(parameters, lattice)
    jacobian = torch.cat([g.flatten(1) for g in gradients.values()], 1)
    spectrum = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    return float(spectrum[-1] / spectrum[0])


def test_weight_scaling_conditions_the_tangent_kernel_and_frequency_scaling_alone_does_not():
    plain = condition_number(nf.weight_scaling(1.0))
    assert plain / condition_number(nf.weight_scaling(2.0)) > 50
    assert plain / condition_number(nf.FrequencyScaling(2.5)) < 15


def test_mistakes_are_worded():
    with pytest.raises(InputError, match=r"needs a resolution.*resolution="):
        sines(nf.weight_scaling("auto"))
    with pytest.raises(InputError, match=r"alpha.*-1"):
        nf.weight_scaling(-1.0)
    with pytest.raises(InputError, match=r"needs 3 values of alpha, one for each layer but the last, got 2"):
        sines(nf.weight_scaling((2.0, 2.0)))
    with pytest.raises(InputError, match="needs factor to be .*, got 0"):
        nf.FrequencyScaling(0.0)
