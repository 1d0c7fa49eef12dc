import math

import pytest
import torch
from torch import nn

from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.domains import Box, periodic
from tests.oracles import derivative

SQUARE = Box(x=(-1, 1), y=(-1, 1))


def build(encoding: nf.Encoding, d: int = 2, seed: int = 0) -> nn.Module:
    names = ("x", "y", "z")[:d]
    return encoding.build(names, torch.Generator().manual_seed(seed))


def points(n: int = 5, d: int = 2) -> torch.Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def as_sets(features: torch.Tensor) -> torch.Tensor:
    return features.sort(-1).values


def test_identity_passes_coordinates():
    assert torch.equal(build(nf.Identity())(points()), points())


def test_positional_features_are_octaves_along_each_axis():
    x = points()
    waves = [f(2**k * math.pi * x) for k in range(3) for f in (torch.cos, torch.sin)]
    expected = torch.cat([x, *waves], -1)
    module = build(nf.Positional(3))
    assert module.out_features == expected.shape[1] == 14
    assert torch.allclose(as_sets(module(x)), as_sets(expected), atol=1e-13)
    bare = build(nf.Positional(3, raw=False))
    assert bare.out_features == 12
    assert torch.allclose(as_sets(bare(x)), as_sets(torch.cat(waves, -1)), atol=1e-13)


def test_gaussian_features_have_the_asked_for_spread_and_unit_amplitude():
    module = build(nf.GaussianFourier(4000, scale=3.0))
    assert module.out_features == 8000
    frequencies = module.matrix / (2 * math.pi)
    assert float(frequencies.mean()) == pytest.approx(0.0, abs=4 * 3 / math.sqrt(8000))
    assert float(frequencies.std()) == pytest.approx(3.0, rel=0.04)
    features = module(points())
    assert torch.allclose(features[:, :4000] ** 2 + features[:, 4000:] ** 2, torch.ones(5, 4000).double())


def test_gaussian_features_are_seeded_and_trained_only_when_asked():
    encoding = nf.GaussianFourier(6)
    x = points()
    assert torch.equal(build(encoding, seed=2)(x), build(encoding, seed=2)(x))
    assert not torch.equal(build(encoding, seed=2)(x), build(encoding, seed=3)(x))
    assert not list(build(encoding).parameters())
    trained = build(nf.GaussianFourier(6, trainable=True))
    assert [p.shape for p in trained.parameters()] == [(6, 2)]
    assert torch.equal(trained(x), build(encoding)(x))


def test_the_encoding_does_not_shift_the_weights():
    fixed, trained = (
        nf.MLP(SQUARE, encoding=nf.GaussianFourier(8, scale, trainable=t)) for scale, t in ((1.0, False), (2.0, True))
    )
    for a, b in zip(fixed.body.parameters(), trained.body.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("trainable", [False, True])
def test_a_given_period_is_exact_in_value_and_slope(trainable):
    encoding = nf.Periodic(("y",), period=0.5, harmonics=2, trainable=trainable)
    field = nf.MLP(SQUARE, width=8, encoding=encoding, dtype=torch.float64)
    x = points()
    for along in [(), (1,)]:
        a = derivative(field, x, along)
        # half of the interval [-1, 1] is 1
        b = derivative(field, x + torch.tensor([0.0, 1.0], dtype=torch.float64), along)
        assert torch.allclose(a, b, rtol=0, atol=1e-12 * float(1 + a.abs().max()))
    moved = field(x + torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert not torch.allclose(moved, field(x), atol=1e-6)
    assert len(list(field.encoding.parameters())) == int(trainable)


def test_a_trained_period_is_learned():
    encoding = nf.Periodic(period=0.9, trainable=True)
    module = build(encoding, d=1)
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    target = torch.cat([torch.cos(math.pi * x), torch.sin(math.pi * x)], -1)  # period 1
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        (module(x) - target).square().mean().backward()
        optimizer.step()
    assert float(next(module.parameters()).detach()) == pytest.approx(1.0, abs=0.01)


def test_the_embedding_of_a_periodic_domain_has_its_harmonics():
    domain = Box(t=(0, 2), x=periodic(1, 4))
    field = nf.MLP(domain, harmonics=3, dtype=torch.float64)
    x = domain.scale(points(5).abs())
    phase = 2 * math.pi * (x[:, 1:] - 1) / 3
    waves = [f(k * phase) for k in (1, 2, 3) for f in (torch.cos, torch.sin)]
    features = field.encode(x)
    assert features.shape == (5, 7)
    assert torch.allclose(features[:, 0], x[:, 0] - 1)
    # the phase is counted from the middle of the interval: odd harmonics change sign
    expected = torch.cat(waves, -1)
    assert torch.allclose(as_sets(features[:, 1:].abs()), as_sets(expected.abs()), atol=1e-12)


def test_mistakes_are_worded():
    with pytest.raises(InputError, match="Positional needs bands to be .*, got 0"):
        nf.Positional(0)
    with pytest.raises(InputError, match="GaussianFourier needs features to be .*, got 0"):
        nf.GaussianFourier(0)
    with pytest.raises(InputError, match=r"GaussianFourier needs scale to be a positive.*got -1\.0"):
        nf.GaussianFourier(4, -1.0)
    with pytest.raises(InputError, match="Periodic needs period to be .*, got 0"):
        nf.Periodic(period=0)
    with pytest.raises(InputError, match="unknown coordinate 'time'"):
        nf.MLP(SQUARE, encoding=nf.Periodic(("time",)))
    with pytest.raises(InputError, match="unknown coordinate 'x'"):  # periodic already
        nf.MLP(Box(t=(0, 1), x=periodic(0, 1)), encoding=nf.Periodic(("x",)))
