"""Presets: parts, parameter counts, initial bounds, and what they become on the command line and in a config."""

import json
import math
from functools import partial

import pytest
import torch

import nfsolve
from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve._core.spec import build, describe
from nfsolve.domains import Box
from nfsolve.optim import Adam
from nfsolve.options.options import override
from nfsolve.options.request import read_request
from nfsolve.problem import Recipe, Stage
from nfsolve.problem.names import choose
from problems.signals.image import ImageFit

SQUARE = Box(x=(-1, 1), y=(-1, 1))
TABLE = ("xavier_sine", "relu_pe", "ffn", "siren", "gauss", "mfn", "wire", "nfsl", "sinc", "ws")


def made(name: str, outputs: str = "v", **options) -> nf.Field:
    options = {"width": 64, "depth": 4, **options}
    return nf.preset(name, **options)(SQUARE, outputs)


def linears(field: torch.nn.Module) -> list[torch.nn.Linear]:
    return [m for m in field.modules() if isinstance(m, torch.nn.Linear)]


def size(field: torch.nn.Module) -> int:
    return sum(p.numel() for p in field.parameters())


def check_bounds(field: nf.Field, bounds: list[float]) -> None:
    layers = linears(field)
    assert len(layers) == len(bounds)
    for layer, bound in zip(layers, bounds, strict=True):
        largest = float(layer.weight.detach().abs().max())
        # the largest of n uniform draws is on average n / (n + 1) of the bound
        assert bound * (1 - 12 / layer.weight.numel()) < largest <= bound * (1 + 1e-6)


def test_the_ten_methods_of_the_table_and_rivals_are_there():
    assert {*TABLE, "finer", "combette", "wavelet", "grid"} == set(nf.PRESETS)


@pytest.mark.parametrize("name", nf.PRESETS)
def test_every_preset_is_a_finite_field_with_the_size_that_is_asked_for(name):
    field = made(name, "r g b", width=12, depth=2)
    x = torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    y = field(x)
    assert y.shape == (9, 3) and bool(torch.isfinite(y).all())
    assert float(y.detach().std(0).min()) > (1e-6 if name == "grid" else 1e-4)  # the values of grids start at 1e-4
    assert (field.config["width"], field.config["depth"]) == (12, 2)
    assert size(field) < size(made(name, "r g b", width=13, depth=2))
    assert size(field) < size(made(name, "r g b", width=12, depth=3))


@pytest.mark.parametrize(
    ("name", "outputs", "width", "expected"),
    [
        ("siren", "v", 512, 790_017),
        ("ws", "v", 512, 790_017),
        ("wire", "v", 512, 790_247),  # the code's 790,248 holds an imaginary last bias, which nothing reads
        ("gauss", "r g b", 256, 198_915),
        ("siren", "r g b", 256, 198_915),
        ("wavelet", "r g b", 256, 397_059),
        ("relu_pe", "r g b", 256, 207_107),
    ],
)
def test_parameters_are_as_many_as_published(name, outputs, width, expected):
    assert size(made(name, outputs, width=width)) == expected


def test_the_constants_of_the_activations():
    z = torch.linspace(-0.3, 0.3, 7, dtype=torch.float64)
    expected = {
        "siren": torch.sin(30 * z),
        "gauss": torch.exp(-((20 * z) ** 2)),
        "sinc": torch.sinc(8 * z),
        "finer": torch.sin(30 * (z.abs() + 1) * z),
        "relu_pe": z.clamp(min=0),
        "ffn": z.clamp(min=0),
    }
    for name, values in expected.items():
        assert torch.allclose(nf.PRESETS[name].keywords["activation"](z, 1), values, atol=1e-12), name
    other = z.flip(0)
    both = torch.stack([z, other], -1)
    wavelet = torch.cos(10 * z) * torch.exp(-((10 * other) ** 2))
    assert torch.allclose(nf.PRESETS["wavelet"].keywords["activation"](both, 1)[:, 0], wavelet)
    complex_wave = torch.exp(1j * 10 * (z + 1j * other) - (10 * (z + 1j * other)).abs() ** 2)
    parts = nf.PRESETS["wire"].keywords["activation"](both, 1)
    assert torch.allclose(torch.complex(*parts.T), complex_wave)


def test_the_encodings_are_those_of_the_sources():
    x = torch.tensor([[0.3, -0.7]])
    features = made("relu_pe").encode(x)
    assert features.shape == (1, 34)
    waves = [f(math.pi * 2**k * x) for f in (torch.cos, torch.sin) for k in range(8)]
    expected = torch.cat([x, *waves], 1)
    assert torch.allclose(features.sort().values, expected.sort().values, atol=1e-4)
    field = made("ffn")
    assert field.encode(x).shape == (1, 512)
    # cycles on an interval of length 1 have sigma 10, so on [-1, 1], of length 2, it is 5
    assert float(field.encoding.matrix.std()) / (2 * math.pi) == pytest.approx(5, rel=0.1)


SIREN = [1 / 2, *[math.sqrt(6 / 64) / 30] * 4]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("siren", SIREN),
        ("finer", SIREN),
        ("ws", [2.5 * b for b in SIREN[:-1]] + SIREN[-1:]),
        ("nfsl", [*SIREN[:-1], SIREN[-1] * 64**-0.25]),
        ("xavier_sine", [math.sqrt(6 / 66), *[math.sqrt(6 / 128)] * 3, math.sqrt(6 / 65)]),
        ("gauss", [1 / math.sqrt(2), *[1 / 8] * 4]),
        ("sinc", [1 / math.sqrt(2), *[1 / 8] * 4]),
        ("wavelet", [1 / math.sqrt(2), *[1 / 8] * 4]),
        ("relu_pe", [1 / math.sqrt(34), *[1 / 8] * 4]),
        ("combette", [1 / 2, *[math.sqrt(6 / (1 + math.exp(-2)) / 64) / 30] * 3, SIREN[-1]]),
        # int(64 / sqrt2) = 45 complex units; the last layer reads 90 real numbers
        ("wire", [1 / math.sqrt(2), *[1 / math.sqrt(45)] * 6, 1 / math.sqrt(90)]),
    ],
)
def test_initial_bounds(name, bounds):
    check_bounds(made(name), bounds)


def test_the_last_layer_of_nfsl_has_a_variance_that_falls_like_width_to_the_minus_three_halves():
    outputs = " ".join(f"v{i}" for i in range(40))
    variances = [float(linears(made("nfsl", outputs, width=w))[-1].weight.detach().var()) for w in (64, 1024)]
    assert variances[0] / variances[1] == pytest.approx(16**1.5, rel=0.1)
    assert variances[1] == pytest.approx(2 / 30**2 * 1024**-1.5, rel=0.05)
    with pytest.raises(InputError, match="SmallLast needs power to be .*, got 0"):
        nf.SmallLast(power=0)


def test_finer_draws_its_first_biases_from_its_own_interval():
    biases = linears(made("finer", width=2000, depth=1))[0].bias.detach()
    assert 0.7 < float(biases.abs().max()) <= 1 / math.sqrt(2)


def test_combette_keeps_phases_and_gradients_at_unit_size():
    field = nf.preset("combette", width=512, depth=12, dtype=torch.float64)(SQUARE)
    phases = []
    for layer in linears(field)[1:-1]:
        layer.register_forward_hook(lambda module, x, z: phases.append(z))
    x = 2 * torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    y = field(x)
    for z in phases[3:]:  # behind the first layer the distribution is not yet the fixed one
        assert 30 * float(z.detach().std()) == pytest.approx(1, abs=0.05)
    gradients = torch.autograd.grad(y.sum(), phases)
    sizes = [float(g.square().mean().sqrt()) for g in gradients]
    assert sizes[3] / sizes[9] == pytest.approx(1, abs=0.15)  # SIREN: 1.7
    siren = made("siren", width=512, depth=12, dtype=torch.float64)
    for p, q in zip((linears(field)[0].weight, linears(field)[0].bias), linears(siren)[0].parameters(), strict=True):
        assert torch.equal(p, q)


def test_mfn_has_the_published_scale_of_frequencies():
    field = made("mfn", width=400, depth=4)
    bound = 256 / math.sqrt(4) / math.sqrt(2)  # input scale / sqrt(filters), on torch's 1 / sqrt(inputs)
    for filter in field.filters:
        assert bound * 0.97 < float(filter.frequencies.detach().abs().max()) <= bound


def test_weight_scaling_is_absorbed_by_relu():
    options = {"width": 20, "depth": 3, "activation": nf.ReLU(), "dtype": torch.float64}
    plain, scaled = (nf.MLP(SQUARE, init=init, **options) for init in (nf.Glorot(), nf.weight_scaling(2.0)))
    x = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(scaled(x), 8 * plain(x))


def test_weight_scaling_multiplies_the_standard_initialisation_of_every_activation():
    for activation in (nf.Gaussian(), nf.Finer(), nf.ComplexGabor(), nf.RealGabor(), nf.Tanh(), nf.Sinc()):
        options = {"width": 16, "depth": 2, "activation": activation}
        plain, scaled = (linears(nf.MLP(SQUARE, init=init, **options)) for init in (None, nf.weight_scaling(1.5)))
        for a, b in zip(plain[:-1], scaled[:-1], strict=True):
            assert torch.equal(b.weight, 1.5 * a.weight) and torch.equal(a.bias, b.bias)
        assert torch.equal(plain[-1].weight, scaled[-1].weight)


@pytest.mark.parametrize("name", nf.PRESETS)
def test_a_preset_survives_a_config(name):
    maker = nf.preset(name, width=7, depth=2)
    again = build(json.loads(json.dumps(describe(maker))))
    assert again.func is maker.func and again.keywords == maker.keywords
    a, b = (m(SQUARE, "v", seed=3) for m in (maker, again))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("name", nf.PRESETS)
def test_the_command_line_keeps_width_and_depth_and_nothing_else_of_the_recipe(name):
    changed = override(ImageFit().recipe(), {"field": name})
    preset = nf.PRESETS[name]
    assert changed.field.func is preset.func
    assert changed.field.keywords == {**preset.keywords, "width": 128, "depth": 4}


def test_a_preset_with_changes_from_the_command_line(tmp_path):
    words = "--size 32 --field siren --field.width 9 --field.activation.omega 5 --steps 2"
    request = read_request(ImageFit, words.split(), "test")
    assert request.options["field"].keywords["activation"] == nf.Sine(5.0)
    assert request.options["field"].keywords["width"] == 9
    assert request.options["field"].keywords["init"] == nf.Siren()
    solution = nfsolve.solve(request.problem, **request.options, out=tmp_path / "run", report=None)
    field = nfsolve.load(tmp_path / "run")
    x = torch.rand(3, 2)
    assert torch.equal(field(x), solution.field(x))
    words = "--size 32 --field ws --field.width 9 --field.init.alpha auto --steps 1"
    auto = read_request(ImageFit, words.split(), "test")
    assert auto.options["field"].keywords["init"] == nf.WeightScaling("auto")
    solution = nfsolve.solve(auto.problem, **auto.options, report=None)
    assert solution.field.config["init"].resolution == 16
    assert choose("field.init", "ws") is nf.WeightScaling


def test_auto_without_a_resolution_anywhere_is_worded():
    class Plain:
        domain, unknowns = SQUARE, "v"

    maker = nf.preset("ws", init=nf.weight_scaling("auto"))
    with pytest.raises(InputError, match=r"WeightScaling\('auto'\) needs a resolution.*resolution=N"):
        maker.func.for_problem(Plain(), **maker.keywords)


def test_mistakes_are_worded():
    with pytest.raises(InputError, match="unknown preset 'sirenn': did you mean 'siren'"):
        nfsolve.preset("sirenn")
    with pytest.raises(InputError, match="unknown option of preset 'siren' 'widht': did you mean 'width'"):
        nfsolve.preset("siren", widht=3)
    with pytest.raises(InputError, match="unknown option of preset 'mfn' 'activation'"):
        nfsolve.preset("mfn", activation=nf.Tanh())
    with pytest.raises(InputError, match="unknown field 'sirenn': did you mean 'siren'"):
        override(Recipe(partial(nf.MLP), (Stage(Adam, 1),)), {"field": "sirenn"})
