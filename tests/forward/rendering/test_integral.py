"""The rendering integral: closed forms, the definition, nothing to render, what is opaque, thin or empty."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import ParallelBeam, line_integrals
from nfsolve.forward.rendering import accumulate, box_intersection, composite, distortion, stratified
from tests.forward.rendering.cases import ENGINES, even, generator, loop_oracle, ragged, values


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(1e-4, 30), length=st.floats(0.1, 3), n=st.integers(1, 40))
def test_homogeneous_slab_has_the_closed_form(engine: str, sigma: float, length: float, n: int):
    near = torch.full((2, 1), 0.5, dtype=torch.float64)
    samples = stratified(near, near + length, n, generator())
    seen = composite(samples, torch.full_like(samples.t, sigma), torch.full_like(samples.t, 3.0), engine=engine)
    passed = torch.exp(torch.full((2, 1), -sigma * length, dtype=torch.float64))
    torch.testing.assert_close(seen.transmitted, passed, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(seen.opacity, 1 - passed, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(seen.channels, 3 * (1 - passed), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("engine", ENGINES)
def test_depth_of_a_slab_converges_to_the_closed_form(engine: str):
    sigma, length = 3.0, 1.5
    near = torch.full((1, 1), 0.5, dtype=torch.float64)
    samples = stratified(near, near + length, 4000)
    seen = composite(samples, torch.full_like(samples.t, sigma), engine=engine)
    # int_0^L t sigma exp(-sigma t) dt / (1 - exp(-sigma L)) = 1/sigma - L / (exp(sigma L) - 1)
    assert float(seen.depth()) == pytest.approx(0.5 + 1 / sigma - length / math.expm1(sigma * length), abs=1e-6)
    assert seen.channels.shape == (1, 0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("samples", [ragged(), even(4, 6)], ids=["ragged", "even"])
def test_composite_equals_the_definition_and_says_which_engine_ran(engine: str, samples):
    density, channels = values(samples, 4)
    seen = composite(samples, density, channels, engine=engine)
    assert seen.engine == engine
    for ours, oracle in zip(seen[:4], loop_oracle(samples, density, channels), strict=True):
        torch.testing.assert_close(ours, oracle, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(accumulate(samples, seen.weights), seen.opacity, rtol=1e-12, atol=1e-14)
    depth = seen.distance / seen.opacity
    torch.testing.assert_close(seen.depth(), torch.where(seen.opacity > 0, depth, 0.0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", [None, 3])
def test_absorption_is_the_line_integral_of_tomography_on_the_same_samples(seed: int | None):
    def field(x):
        return torch.exp(-3 * (x - 0.1).square().sum(-1, keepdim=True))

    feet, directions = ParallelBeam.half_turn(5, 9).rays()
    g = None if seed is None else generator(seed)
    expected = line_integrals(field, (feet, directions), 20, generator=g)
    origins = feet - 4 * directions  # rays begin outside, lines have no beginning
    near, far = box_intersection(origins, directions, ((-1.0, 1.0), (-1.0, 1.0)))
    samples = stratified(near, far, 20, None if seed is None else generator(seed))
    seen = composite(samples, field(samples.points(origins, directions)))
    torch.testing.assert_close(seen.optical_depth, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(seen.transmitted, torch.exp(-expected), rtol=1e-12, atol=1e-14)


def test_colours_may_depend_on_the_view():
    origins = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
    directions = -origins / 2
    samples = stratified(torch.ones(2, 1), torch.full((2, 1), 3.0), 8)
    red_from_the_left = (directions[samples.ray][:, :1] > 0).float()
    seen = composite(samples, torch.full_like(samples.t, 50.0), red_from_the_left)
    torch.testing.assert_close(samples.points(origins, directions)[:8], samples.points(origins, directions)[8:].flip(0))
    assert seen.channels.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("counts", [(), (0, 0, 0)])
def test_nothing_to_render_gives_nothing_and_keeps_the_graph(engine: str, counts: tuple[int, ...]):
    samples = ragged(counts) if counts else ragged((2,)).keep(torch.zeros(2, 1, dtype=torch.bool))._replace(n_rays=0)
    density, channels = (x.requires_grad_() for x in values(samples, 3))
    seen = composite(samples, density, channels, engine=engine)
    assert seen.channels.shape == (len(counts), 3)
    assert seen.opacity.shape == seen.depth().shape == (len(counts), 1)
    assert float(seen.channels.detach().abs().sum()) == 0
    (seen.channels.sum() + seen.depth().sum()).backward()
    assert channels.grad is not None
    assert density.grad is not None
    assert channels.grad.shape == (0, 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_rays_with_many_samples_each(engine: str):
    nothing = torch.zeros(0, 1, requires_grad=True)
    seen = composite(stratified(nothing.detach(), nothing.detach(), 5), nothing, nothing, engine=engine)
    assert seen.channels.shape == (0, 1)
    seen.channels.sum().backward()


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_space_has_depth_zero_with_a_finite_gradient(engine: str):
    samples = stratified(torch.ones(2, 1), torch.full((2, 1), 3.0), 6)
    density = torch.zeros(12, 1, requires_grad=True)
    depth = composite(samples, density, engine=engine).depth()
    depth.sum().backward()
    assert density.grad is not None
    assert depth.abs().max() == 0
    assert density.grad.abs().max() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_an_opaque_sample_hides_what_is_behind(engine: str):
    edges = torch.tensor([[0.5, 1.5, 2.5, 3.5]])
    samples = stratified(edges[:, :1], edges[:, 3:], 3)
    density = torch.tensor([[0.0], [1e30], [5.0]])
    seen = composite(samples, density, torch.tensor([[1.0], [2.0], [3.0]]), engine=engine)
    assert [float(x) for x in (seen.channels, seen.opacity, seen.depth())] == [2.0, 1.0, 2.0]


@pytest.mark.parametrize("engine", ENGINES)
def test_thin_samples_keep_their_digits(engine: str):
    samples = stratified(torch.zeros(1, 1), torch.ones(1, 1), 1)
    seen = composite(samples, torch.full((1, 1), 1e-9), torch.ones(1, 1), engine=engine)
    assert [float(x) for x in (seen.weights, seen.opacity, seen.channels)] == pytest.approx([1e-9] * 3, rel=1e-6)


def test_wrong_shapes_are_named():
    samples = ragged()
    density, channels = values(samples, 3)
    with pytest.raises(
        InputError, match=r"density at 17 samples must have shape \(17, 1\), got \(17,\)\. Give the field the points"
    ):
        composite(samples, density[:, 0], channels)
    with pytest.raises(InputError, match=r"channels at 17 samples must have shape \(17, k\), got \(16, 3\)"):
        composite(samples, density, channels[1:])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("samples", [ragged(), even(4, 6)], ids=["ragged", "even"])
def test_the_spread_of_light_along_rays_is_the_double_sum_of_its_definition(engine: str, samples):
    weights = torch.rand(samples.t.shape, dtype=torch.float64, generator=generator())
    found = distortion(samples, weights, 2.5, engine=engine)
    assert found.shape == (samples.n_rays, 1)
    for ray in range(samples.n_rays):
        mine = samples.ray == ray
        w, middle = weights[mine], (0.5 * (samples.t0 + samples.t1) / 2.5)[mine]
        double = (w * w.T * (middle - middle.T).abs()).sum() + (w**2 * samples.dt[mine] / 2.5).sum() / 3
        torch.testing.assert_close(found[ray, 0], double)
    weights = weights.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda w: distortion(samples, w, 2.5, engine=engine).sum(), (weights,))
