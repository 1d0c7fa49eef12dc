"""The engines: equal to second order, differentiable any number of times, chosen and never tried."""

import importlib
import types

import pytest
import torch

from nfsolve._core.errors import InputError, MissingExtra
from nfsolve.forward.rendering import composite, engine, engines
from nfsolve.forward.rendering.engines import SegmentSum
from tests.forward.rendering.cases import ENGINES, even, generator, nerfacc_only, ragged, values


def flat_exclusive_sum(x: torch.Tensor, starts: torch.Tensor, counts: torch.Tensor, from_end: bool) -> torch.Tensor:
    """What nerfacc's packed kernel computes, without a graph, like the kernel."""
    out = torch.empty_like(x)
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        part = x.detach()[start : start + count]
        part = part.flip(0) if from_end else part
        part = part.cumsum(0) - part
        out[start : start + count] = part.flip(0) if from_end else part
    return out


class NaiveSum(torch.autograd.Function):
    """nerfacc 0.5.3's own wrapper in outline: its backward is the raw kernel, which has no derivative."""

    @staticmethod
    def forward(ctx, x, starts, counts, from_end):
        ctx.segments = starts, counts
        return flat_exclusive_sum(x, starts, counts, from_end)

    @staticmethod
    def backward(ctx, *grads):
        return flat_exclusive_sum(grads[0], *ctx.segments, True), None, None, None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch):
    """Make composite take the packed path, with the emulated kernel in place of CUDA's."""
    monkeypatch.setattr(engines, "_kernel", flat_exclusive_sum)
    monkeypatch.setattr("nfsolve.forward.rendering.integral.choose", lambda name, packed: name)


def derivatives(name: str, samples, dtype: torch.dtype) -> list[torch.Tensor]:
    """Values, gradients and a Hessian-vector product."""
    density, channels = (x.requires_grad_() for x in values(samples, 3, dtype))
    seen = composite(samples, density, channels, engine=name)
    loss = seen.channels.square().sum() + (seen.depth() * seen.opacity).sin().sum() + seen.weights.pow(3).sum()
    gradient = torch.autograd.grad(loss, [density, channels], create_graph=True)
    slope = sum((g * torch.randn(g.shape, generator=generator(3), dtype=dtype)).sum() for g in gradient)
    return [*seen[:4], *gradient, *torch.autograd.grad(slope, [density, channels])]


def assert_equal(ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        scale = float(b.detach().abs().max())
        assert scale > 0
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale)


PRECISIONS = [(torch.float64, 1e-12), (torch.float32, 1e-6)]


@nerfacc_only
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", [ragged, lambda dtype: even(7, 12, dtype)], ids=["ragged", "even"])
def test_engines_agree_on_values_gradients_and_second_order_products(case, dtype: torch.dtype, tolerance: float):
    samples = case(dtype=dtype)
    assert_equal(derivatives("torch", samples, dtype), derivatives("nerfacc", samples, dtype), tolerance)


@nerfacc_only
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_weights_and_sums_are_those_of_nerfaccs_own_functions(dtype: torch.dtype, tolerance: float):
    import nerfacc

    samples = ragged(dtype=dtype)
    density, channels = values(samples, 3, dtype)
    seen = composite(samples, density, channels, engine="torch")
    rows = [samples.rows(x) for x in (samples.t0, samples.t1, density)]
    weights = nerfacc.render_weight_from_density(*rows)[0].reshape(-1)[samples.slots()[1]]
    summed = nerfacc.accumulate_along_rays(weights, channels, samples.ray, samples.n_rays)
    assert_equal([seen.weights[:, 0], seen.channels], [weights, summed], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_the_packed_kernel_agrees_with_the_padded_sum_to_second_order(kernel, dtype: torch.dtype, tolerance: float):
    samples = ragged(dtype=dtype)
    assert_equal(derivatives("nerfacc-cuda", samples, dtype), derivatives("torch", samples, dtype), tolerance)


def test_a_backward_that_is_the_raw_kernel_loses_second_derivatives_in_silence(kernel, monkeypatch):
    samples = ragged((30, 0, 48, 5))
    density, channels = values(samples, 3)
    density.requires_grad_()
    v = torch.randn(density.shape, generator=generator(1), dtype=torch.float64)

    def gradient_and_product(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        loss = composite(samples, density, channels, engine=name).channels.square().sum()
        gradient = torch.autograd.grad(loss, density, create_graph=True)[0]
        return gradient, torch.autograd.grad((gradient * v).sum(), density)[0]

    right = gradient_and_product("torch")
    assert_equal([*gradient_and_product("nerfacc-cuda")], [*right], 1e-12)
    monkeypatch.setattr(engines, "SegmentSum", NaiveSum)
    naive = gradient_and_product("nerfacc-cuda")
    assert_equal([naive[0]], [right[0]], 1e-12)  # nothing shows it
    error = float((naive[1] - right[1]).norm() / right[1].norm())
    assert error > 0.3


@pytest.mark.parametrize("name", [*ENGINES, "nerfacc-cuda"])
@pytest.mark.parametrize("samples", [ragged((2, 0, 3)), even(2, 3)], ids=["ragged", "even"])
def test_first_and_second_derivatives_are_right(name: str, samples, kernel):
    density, channels = (x.requires_grad_() for x in values(samples, 2))
    t1 = samples.t1.clone().requires_grad_()

    def seen(density, channels, t1):
        out = composite(samples._replace(t1=t1), density, channels, engine=name)
        return *out[:4], out.opacity, out.depth()[[0, -1]]

    assert torch.autograd.gradcheck(seen, (density, channels, t1))
    assert torch.autograd.gradgradcheck(seen, (density, channels, t1))


@pytest.mark.parametrize("name", [*ENGINES, "nerfacc-cuda"])
def test_reverse_and_forward_over_reverse_products_agree(name: str, kernel):
    samples = ragged()
    density, channels = values(samples, 1)

    def loss(density):
        return composite(samples, density, channels, engine=name).channels.square().sum()

    v = torch.randn(density.shape, generator=generator(1), dtype=torch.float64)
    forward = torch.func.jvp(torch.func.grad(loss), (density,), (v,))[1]
    reverse = torch.autograd.functional.hvp(loss, density, v)[1]
    torch.testing.assert_close(forward, reverse, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ENGINES)
def test_rays_of_equal_length_work_under_vmap(name: str):
    samples = even(4, 5)
    rows = [x.reshape(4, 5, -1) for x in (*samples[:3], *values(samples, 3))]

    def one(t0, t1, t, density, channels):
        row = type(samples).from_rows(t0.T, t1.T, t.T)
        return composite(row, density, channels, engine=name).channels[0]

    whole = composite(samples, *values(samples, 3), engine=name).channels
    torch.testing.assert_close(torch.func.vmap(one)(*rows), whole)


def test_the_engine_is_chosen_by_what_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "_OVERRIDE", "auto")
    monkeypatch.setattr(engines, "_HAS_NERFACC", True)
    on_cuda = types.SimpleNamespace(is_cuda=True, dtype=torch.float32)
    for built, name in ((True, "nerfacc-cuda"), (False, "nerfacc")):
        monkeypatch.setattr(engines, "_kernels_built", lambda built=built: built)
        assert engine(packed=on_cuda) == name
    assert engine() == engine("auto") == engine(packed=torch.zeros(1)) == "nerfacc"
    assert engine("torch", packed=on_cuda) == "torch"
    monkeypatch.setattr(engines, "_kernels_built", lambda: True)
    assert engine(packed=types.SimpleNamespace(is_cuda=True, dtype=torch.float64)) == "nerfacc"
    monkeypatch.setattr(engines, "_HAS_NERFACC", False)
    assert engine(packed=on_cuda) == engine("auto") == "torch"
    with pytest.raises(InputError, match=r"unknown rendering engine 'nerfac'.*did you mean 'nerfacc'"):
        engine("nerfac")


def test_the_environment_decides_where_the_call_does_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "_HAS_NERFACC", True)
    monkeypatch.setattr(engines, "_OVERRIDE", "torch")
    assert engine() == engine("auto") == "torch"
    assert engine("nerfacc") == "nerfacc"
    monkeypatch.setattr(engines, "_OVERRIDE", "cuda")
    with pytest.raises(InputError, match="unknown rendering engine 'cuda'"):
        engine()


def test_missing_nerfacc_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    def missing(module: str, *_: object) -> None:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr(engines, "_HAS_NERFACC", False)
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=r"needs nerfacc, .*pip install 'nfsolve\[nerf\]'"):
        engine("nerfacc")


@pytest.mark.parametrize("why", ["there is no nvcc", "CUDA_HOME is not set"])
def test_kernels_that_cannot_be_built_are_reported_once(monkeypatch: pytest.MonkeyPatch, why: str):
    def build(module: str) -> types.SimpleNamespace:
        if "CUDA_HOME" in why:
            raise OSError(why)
        return types.SimpleNamespace(_C=None)

    engines._kernels_built.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", build)
        with pytest.warns(UserWarning, match=f"batched functions render: {why}"):
            assert not engines._kernels_built()
    assert not engines._kernels_built()
    engines._kernels_built.cache_clear()


@pytest.mark.gpu
def test_kernels_on_cuda_agree_with_the_padded_sum_to_second_order():
    if not torch.cuda.is_available() or not engines._kernels_built():
        pytest.skip("needs CUDA and nerfacc's kernels (nvcc)")
    samples = ragged(dtype=torch.float32)
    x = values(samples, 1, torch.float32)[0][:, 0].cuda()
    counts = samples.counts().cuda()
    starts = counts.cumsum(0) - counts
    for from_end in (False, True):
        ours = SegmentSum.apply(x, starts, counts, from_end).cpu()
        torch.testing.assert_close(ours, flat_exclusive_sum(x.cpu(), starts.cpu(), counts.cpu(), from_end))
    on_cuda = type(samples)(*(z.cuda() if isinstance(z, torch.Tensor) else z for z in samples))
    density, channels = (z.cuda().requires_grad_() for z in values(samples, 3, torch.float32))
    products = []
    for name in ("auto", "torch"):
        seen = composite(on_cuda, density, channels, engine=name)
        gradient = torch.autograd.grad(seen.channels.square().sum(), density, create_graph=True)[0]
        products.append([seen.channels, gradient, *torch.autograd.grad(gradient.square().sum(), [density, channels])])
    assert composite(on_cuda, density, channels).engine == "nerfacc-cuda"
    assert_equal(*products, 1e-5)
