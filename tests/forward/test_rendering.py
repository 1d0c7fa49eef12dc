"""Volume rendering: closed forms, equality of the engines to second order, sampling along rays."""

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsolve._core.errors import InputError, MissingExtra
from nfsolve.forward import rendering
from nfsolve.forward.rendering import box_intersection, choose_backend, render, render_weights, stratified

ENGINES = [
    "torch",
    pytest.param(
        "nerfacc",
        marks=pytest.mark.skipif(importlib.util.find_spec("nerfacc") is None, reason="nerfacc not installed"),
    ),
]
nerfacc_only = pytest.mark.skipif(importlib.util.find_spec("nerfacc") is None, reason="nerfacc not installed")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rays(n_rays: int, n_samples: int, k: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    g = generator()
    density = 8 * torch.rand(n_rays, n_samples, generator=g, dtype=dtype)
    channels = torch.randn(n_rays, n_samples, k, generator=g, dtype=dtype)
    dt = 0.01 + 0.2 * torch.rand(n_rays, n_samples, generator=g, dtype=dtype)
    return [density, channels, 1 + dt.cumsum(-1) - dt / 2, dt]


def loop_oracle(density, channels, t, dt):
    """The definition, sample by sample."""
    out = []
    for r in range(len(density)):
        passed, seen, opacity, distance = 1.0, torch.zeros(channels.shape[-1], dtype=density.dtype), 0.0, 0.0
        for i in range(density.shape[1]):
            weight = passed * (1 - torch.exp(-density[r, i] * dt[r, i]))
            seen, opacity = seen + weight * channels[r, i], opacity + weight
            distance = distance + weight * t[r, i]
            passed = passed * torch.exp(-density[r, i] * dt[r, i])
        out.append((seen, opacity, distance / opacity))
    return [torch.stack([row[j] for row in out]) for j in range(3)]


@pytest.mark.parametrize("backend", ENGINES)
@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(1e-4, 30), length=st.floats(0.1, 3), n=st.integers(1, 40))
def test_homogeneous_slab_has_the_closed_form(backend: str, sigma: float, length: float, n: int):
    near = torch.full((2, 1), 0.5, dtype=torch.float64)
    t, dt = stratified(near, near + length, n, generator())
    density = torch.full((2, n), sigma, dtype=torch.float64)
    seen = render(density, torch.full((2, n, 1), 3.0, dtype=torch.float64), t, dt, backend=backend)
    absorbed = -torch.expm1(torch.tensor(-sigma * length, dtype=torch.float64))
    torch.testing.assert_close(seen.opacity, absorbed.expand(2, 1), rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(seen.channels, 3 * absorbed.expand(2, 1), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("backend", ENGINES)
def test_depth_of_a_slab_converges_to_the_closed_form(backend: str):
    sigma, length = 3.0, 1.5
    near = torch.full((1, 1), 0.5, dtype=torch.float64)
    t, dt = stratified(near, near + length, 4000)
    density = torch.full_like(t, sigma)
    seen = render(density, torch.zeros(1, 4000, 0, dtype=torch.float64), t, dt, backend=backend)
    # int_0^L t sigma exp(-sigma t) dt / (1 - exp(-sigma L)) = 1/sigma - L / (exp(sigma L) - 1)
    expected = 0.5 + 1 / sigma - length / torch.expm1(torch.tensor(sigma * length, dtype=torch.float64))
    assert float(seen.depth) == pytest.approx(float(expected), abs=1e-6)
    assert seen.channels.shape == (1, 0)


@pytest.mark.parametrize("backend", ENGINES)
def test_render_equals_the_definition_and_says_which_engine_ran(backend: str):
    rays = random_rays(6, 9, 4)
    seen = render(*rays, backend=backend)
    channels, opacity, depth = loop_oracle(*rays)
    assert seen.backend == backend
    torch.testing.assert_close(seen.channels, channels, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(seen.opacity, opacity[:, None], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(seen.depth, depth[:, None], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(seen.weights, render_weights(rays[0], rays[3], backend=backend))


def derivatives(backend: str, dtype: torch.dtype) -> list[torch.Tensor]:
    density, channels, t, dt = random_rays(7, 12, 3, dtype)
    inputs = [density.requires_grad_(), channels.requires_grad_()]
    seen = render(density, channels, t, dt, backend=backend)
    loss = (seen.channels**2).sum() + (seen.depth * seen.opacity).sin().sum()
    gradient = torch.autograd.grad(loss, inputs, create_graph=True)
    direction = [torch.randn(x.shape, generator=generator(3), dtype=dtype) for x in inputs]
    slope = sum((g * v).sum() for g, v in zip(gradient, direction, strict=True))
    return [*seen[:4], *gradient, *torch.autograd.grad(slope, inputs)]


@nerfacc_only
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_engines_agree_on_values_gradients_and_second_order_products(dtype: torch.dtype, tolerance: float):
    for ours, theirs in zip(derivatives("torch", dtype), derivatives("nerfacc", dtype), strict=True):
        scale = float(theirs.detach().abs().max())
        assert scale > 0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("backend", ENGINES)
def test_first_and_second_derivatives_are_right(backend: str):
    density, channels, t, dt = random_rays(2, 4, 2)

    def seen(density, channels, dt):
        return render(density, channels, t, dt, backend=backend)[:3]

    inputs = tuple(x.requires_grad_() for x in (density, channels, dt))
    assert torch.autograd.gradcheck(seen, inputs)
    assert torch.autograd.gradgradcheck(seen, inputs)


@pytest.mark.parametrize("backend", ENGINES)
def test_reverse_and_forward_over_reverse_products_agree(backend: str):
    density, channels, t, dt = random_rays(3, 5, 1)

    def loss(density):
        return (render(density, channels, t, dt, backend=backend).channels ** 2).sum()

    v = torch.randn(density.shape, generator=generator(1), dtype=torch.float64)
    forward = torch.func.jvp(torch.func.grad(loss), (density,), (v,))[1]
    reverse = torch.autograd.functional.hvp(loss, density, v)[1]
    torch.testing.assert_close(forward, reverse, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", ENGINES)
def test_works_under_vmap(backend: str):
    rays = random_rays(4, 5, 3)
    one = torch.func.vmap(lambda *ray: render(*(x[None] for x in ray), backend=backend).channels[0])
    torch.testing.assert_close(one(*rays), render(*rays, backend=backend).channels)


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize(("n_rays", "n_samples"), [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_render_gives_nothing_and_keeps_the_graph(backend: str, n_rays: int, n_samples: int):
    density = torch.zeros(n_rays, n_samples, requires_grad=True)
    channels = torch.zeros(n_rays, n_samples, 3, requires_grad=True)
    seen = render(density, channels, torch.zeros_like(density), torch.zeros_like(density), backend=backend)
    assert seen.channels.shape == (n_rays, 3)
    assert seen.opacity.shape == seen.depth.shape == (n_rays, 1)
    assert float(seen.channels.detach().abs().sum()) == 0
    seen.channels.sum().backward()
    assert channels.grad is not None
    assert channels.grad.shape == channels.shape


@pytest.mark.parametrize("backend", ENGINES)
def test_empty_space_has_depth_zero_with_a_finite_gradient(backend: str):
    density = torch.zeros(2, 6, requires_grad=True)
    t, dt = stratified(torch.ones(2, 1), torch.full((2, 1), 3.0), 6)
    seen = render(density, torch.ones(2, 6, 3), t, dt, backend=backend)
    seen.depth.sum().backward()
    assert density.grad is not None
    assert seen.depth.abs().max() == 0
    assert density.grad.abs().max() == 0


@pytest.mark.parametrize("backend", ENGINES)
def test_an_opaque_sample_hides_what_is_behind(backend: str):
    density = torch.tensor([[0.0, 1e30, 5.0]])
    channels = torch.tensor([[[1.0], [2.0], [3.0]]])
    seen = render(density, channels, torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3), backend=backend)
    assert [float(x) for x in (seen.channels, seen.opacity, seen.depth)] == [2.0, 1.0, 2.0]


def test_thin_samples_keep_their_digits():
    weights = render_weights(torch.full((1, 1), 1e-9), torch.ones(1, 1), backend="torch")
    assert float(weights) == pytest.approx(1e-9, rel=1e-6)


def test_choice_of_the_engine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "_HAS_NERFACC", True)
    assert choose_backend() == choose_backend("auto") == "nerfacc"
    assert choose_backend("torch") == "torch"
    monkeypatch.setattr(rendering, "_HAS_NERFACC", False)
    assert choose_backend(None) == choose_backend("auto") == "torch"
    with pytest.raises(InputError, match=r"unknown rendering backend 'nerfac'.*did you mean 'nerfacc'"):
        choose_backend("nerfac")


def test_missing_nerfacc_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    def missing(module: str, *_: object) -> None:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr(rendering, "_HAS_NERFACC", False)
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=r"needs nerfacc, .*pip install 'nfsolve\[nerf\]'"):
        render(*random_rays(1, 2, 3), backend="nerfacc")


def test_wrong_shapes_are_named():
    density, channels, t, dt = random_rays(4, 5, 3)
    with pytest.raises(InputError, match=r"density \(20, 1\).*reshape\(n_rays, n_samples\)"):
        render(density.reshape(-1, 1), channels, t, dt)
    with pytest.raises(InputError, match=r"channels \(20, 3\) for density \(4, 5\): \(4, 5, k\)"):
        render(density, channels.reshape(-1, 3), t, dt)


def test_box_intersection_of_straight_oblique_missing_and_inner_rays():
    bounds = ((-1.0, 1.0), (-2.0, 2.0), (0.0, 1.0))
    origins = torch.tensor([[-3.0, 0, 0.5], [-2.0, -1.0, 0.5], [-3.0, 0, 5.0], [0.5, 0, 0.5], [3.0, 0, 0.5]])
    directions = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    near, far = box_intersection(origins, directions, bounds)
    assert near[:, 0].tolist() == pytest.approx([2.0, 1 / 0.6, 0.0, 0.0, 0.0])
    assert far[:, 0].tolist() == pytest.approx([4.0, 3 / 0.8, 0.0, 0.5, 0.0])


def test_stratified_samples_lie_one_in_each_interval_and_repeat_with_the_seed():
    near = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    far = torch.tensor([[3.0], [2.5]], dtype=torch.float64)
    t, dt = stratified(near, far, 50, generator(4))
    edges = near + torch.arange(51, dtype=torch.float64) / 50 * (far - near)
    assert ((t >= edges[:, :-1]) & (t <= edges[:, 1:])).all()
    torch.testing.assert_close(dt.sum(-1, keepdim=True), far - near)
    assert torch.equal(t, stratified(near, far, 50, generator(4))[0])
    assert not torch.equal(t, stratified(near, far, 50, generator(5))[0])
    middle, _ = stratified(near, far, 50)
    torch.testing.assert_close(middle, (edges[:, 1:] + edges[:, :-1]) / 2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5), st.integers(1, 9))
def test_samples_fall_only_where_it_is_occupied(rows: list[list[bool]], n: int):
    occupied = torch.tensor(rows)
    near = torch.full((len(rows), 1), 1.0)
    t, dt = stratified(near, near + 3, n, generator(1), occupied)
    total = occupied.sum(-1) * 0.5
    torch.testing.assert_close(dt.sum(-1), total)
    assert (t.diff(dim=-1) >= 0).all()
    bins = ((t - 1) / 0.5).long().clamp(0, 5)
    # Rounding may put a sample on the edge of its bin.
    edge = ((t - 1) / 0.5 - ((t - 1) / 0.5).round()).abs() < 1e-4
    assert (occupied.gather(1, bins) | edge)[occupied.any(-1)].all()


def test_all_bins_occupied_is_the_same_as_no_bins():
    near, far = torch.full((3, 1), 0.5, dtype=torch.float64), torch.full((3, 1), 2.0, dtype=torch.float64)
    plain = stratified(near, far, 20, generator(2))
    marked = stratified(near, far, 20, generator(2), torch.ones(3, 8, dtype=torch.bool))
    for a, b in zip(plain, marked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_stratified_optical_depth_is_unbiased():
    g = generator(7)
    near, far = torch.zeros(20000, 1, dtype=torch.float64), torch.ones(20000, 1, dtype=torch.float64)
    t, dt = stratified(near, far, 3, g)
    estimates = (t**4 * dt).sum(-1)
    error = float(estimates.std()) / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - 0.2) < 4 * error < 3e-3
