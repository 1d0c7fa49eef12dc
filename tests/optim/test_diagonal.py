"""What the optimizers with a diagonal of curvature share, and the published algorithms written out."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares
from nfsolve.optim import ESGD, AdaHessian, DiagGN, ESGDMax, Jacobi

ALL = [ESGD, ESGDMax, AdaHessian, Jacobi, DiagGN]
SHAPES = {"w": (3, 2), "v": (1, 3)}


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def goal() -> LeastSquares:
    x, y = random(9, 2), random(9, 1, seed=1)
    start = {name: nn.Parameter(random(*shape, seed=i)) for i, (name, shape) in enumerate(SHAPES.items())}
    return LeastSquares(lambda q: (torch.sin(x @ q["w"].T) @ q["v"].T - y) / 3, start)


def published(rule, steps, d_warmup, n, lr, decay=0.0):
    """The released loops in numpy with a dense Hessian; `rule` is what differs, after the gradient g and h = H v."""
    made = goal()
    theta, source = made.theta(), torch.Generator().manual_seed(0)
    memory = {"m": np.zeros(9), "D": np.zeros(9), "refreshes": 0}
    since = 0
    for step in range(steps):
        h = None
        g = torch.func.grad(lambda t: made.stacked(t).square().sum())(theta)
        if step < d_warmup or since >= n:
            hessian = torch.func.hessian(lambda t: made.stacked(t).square().sum())(theta)
            signs = [torch.randint(0, 2, shape, generator=source).double() * 2 - 1 for shape in SHAPES.values()]
            h = (hessian @ torch.cat([s.reshape(-1) for s in signs])).numpy()
            memory["refreshes"] += 1
            since = 0
        theta = theta * (1 - decay * lr) - lr * torch.from_numpy(rule(memory, g.numpy(), h, step + 1))
        since += 1
    return theta


def released_esgd(memory, g, h, t, b1=0.9, b2=0.999, eps=1e-4):
    memory["m"] = b1 * memory["m"] + (1 - b1) * g
    if h is not None:
        memory["D"] = b2 * memory["D"] + (1 - b2) * h**2
    denominator = np.sqrt(memory["D"]) / np.sqrt(1 - b2**t) + eps
    return memory["m"] / (1 - b1**t) / denominator


def released_esgd_max(memory, g, h, t, b1=0.9, b2=0.999, eps=1e-4):
    memory["m"] = b1 * memory["m"] + (1 - b1) * g
    ahead = (memory["m"] + (1 - b1) * (g - memory["m"])) / (1 - b1 ** (t + 1))
    if h is not None:
        memory["D"] = np.maximum(b2 * memory["D"], h**2)
    return (1 - 0.99 ** memory["refreshes"]) * ahead / (np.sqrt(memory["D"]) + eps)


def released_adahessian_j(memory, g, h, t, b1=0.9, b2=0.999, eps=1e-4):
    memory["m"] = b1 * memory["m"] + (1 - b1) * g
    memory["D"] = b2 * memory["D"] + (1 - b2) * np.abs(h)
    return memory["m"] / (1 - b1**t) / (np.sqrt(memory["D"]) / np.sqrt(1 - b2**t) + eps)


PUBLISHED = {
    "esgd": (ESGD, released_esgd, {"refresh_every": 7, "warmup": 3}),
    "esgd_max": (ESGDMax, released_esgd_max, {"refresh_every": 4, "warmup": 2}),
    "adahessian": (AdaHessian, released_esgd, {}),
}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", PUBLISHED)
def test_paper_mode_is_the_published_algorithm(name, decay):
    kind, rule, schedule = PUBLISHED[name]
    made = goal()
    optimizer = kind(made.parameters, lr=0.15, paper=True, weight_decay=decay, **schedule)
    for _ in range(30):
        optimizer.step(made)
    expected = published(rule, 30, schedule.get("warmup", 0), schedule.get("refresh_every", 0), 0.15, decay)
    assert torch.allclose(made.theta(), expected, rtol=1e-9)
    plain = kind(goal().parameters, lr=0.15, weight_decay=decay, **schedule)
    assert plain.param_groups[0]["damping"] == 0.1 and optimizer.param_groups[0]["damping"] == 1e-4


def test_the_released_jacobi_variant_is_there_under_its_name():
    made = goal()
    optimizer = AdaHessian(made.parameters, lr=0.15, paper_j=True)
    for _ in range(20):
        optimizer.step(made)
    assert torch.allclose(made.theta(), published(released_adahessian_j, 20, 0, 0, 0.15), rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"paper": True}])
def test_adahessian_is_esgd_with_a_product_in_every_step_to_the_bit(options):
    paths = []
    for kind, schedule in ((AdaHessian, {}), (ESGD, {"refresh_every": 1, "warmup": 0})):
        made = goal()
        optimizer = kind(made.parameters, lr=0.05, **options, **schedule)
        for _ in range(25):
            optimizer.step(made)
        paths.append(made.theta())
    assert torch.equal(*paths)


def test_a_step_is_the_formula():
    made = goal()
    theta = made.theta()
    hessian = torch.func.hessian(lambda t: made.stacked(t).square().sum())(theta)
    gradient = torch.func.grad(lambda t: made.stacked(t).square().sum())(theta)
    jacobian = torch.func.jacrev(made.stacked)(theta)
    source = torch.Generator().manual_seed(7)
    signs = torch.cat(
        [(torch.randint(0, 2, s, generator=source) * 2 - 1).double().reshape(-1) for s in SHAPES.values()]
    )
    rows = (torch.randint(0, 2, (9,), generator=torch.Generator().manual_seed(7)) * 2 - 1).double()
    curvature = {
        ESGD: (hessian @ signs).abs(),
        Jacobi: (signs * (hessian @ signs)).abs(),
        DiagGN: 2 * (jacobian.T @ rows).square(),
    }
    for kind, d in curvature.items():
        for mode, damping in (("relative", 0.3), ("absolute", 0.02)):
            made = goal()
            kind(made.parameters, lr=0.1, seed=7, damping=damping, damping_mode=mode).step(made)
            floor = torch.cat([part.mean().expand(len(part)) for part in d.split([6, 3])]) if mode == "relative" else 1
            assert torch.allclose(made.theta(), theta - 0.1 * gradient / (d + damping * floor), rtol=1e-9)


@pytest.mark.parametrize("kind", ALL)
def test_resume_within_an_interval_is_identical(kind):
    whole = goal()
    made = kind(whole.parameters, lr=1e-2)
    for _ in range(4):
        made.step(whole)
    for group in made.param_groups:
        group["refresh_every" if kind is not AdaHessian else "lr"] = 5 if kind is not AdaHessian else 0.02
    parts = goal()
    parts.assign(whole.theta())
    again = kind(parts.parameters)
    again.load_state_dict(made.state_dict())
    for copied in (again, pickle.loads(pickle.dumps(made))):
        assert copied.state["shared"]["steps"] == 4
    for _ in range(60):
        made.step(whole)
        again.step(parts)
    assert torch.equal(whole.theta(), parts.theta())


@pytest.mark.parametrize(("kind", "steps"), [(ESGD, 2000), (DiagGN, 300)])
def test_nothing_of_the_graphs_stays_over_thousands_of_steps(kind, steps):
    x = nn.Parameter(torch.ones(3))
    seen = []

    def residual(q):
        r = torch.sin(q["x"])
        if r.requires_grad:
            seen.append(weakref.ref(r))
        return r

    made = LeastSquares(residual, {"x": x})
    optimizer = kind(made.parameters, lr=1e-3, refresh_every=20, warmup=5)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    for _ in range(20):
        optimizer.step(made)
    before = tensors()
    for _ in range(steps):
        optimizer.step(made)
    assert all(ref() is None for ref in seen) and len(seen) == steps + 20  # without any help of the collector
    assert tensors() <= before


def test_groups_have_their_own_rates_and_frozen_and_unused_tensors_rest():
    a, b, unused, frozen = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(4))
    frozen.requires_grad_(False)
    made = LeastSquares(lambda q: torch.cat([q["a"] * 2, q["b"] * 3]), {"a": a, "b": b, "unused": unused})
    for kind in ALL:
        with torch.no_grad():
            [p.fill_(1.0) for p in (a, b, unused)]
        groups = [{"params": [a, unused]}, {"params": [b, frozen], "lr": 0.2, "damping": 0.0}]
        optimizer = kind(
            groups, lr=0.1, damping=1.0, weight_decay=0.01, **({"rate_warmup": 0.0} if kind is ESGDMax else {})
        )
        optimizer.step(made)
        # the Hessian is diagonal and every entry of it the same within a tensor
        assert torch.allclose(a, torch.full_like(a, 1 - 0.1 * 0.01 - 0.1 / 2), rtol=1e-12), kind
        assert torch.allclose(b, torch.full_like(b, 1 - 0.2 * 0.01 - 0.2), rtol=1e-12), kind
        assert torch.equal(unused, torch.ones_like(unused)) and unused.grad is None
        optimizer.step(made)
        assert torch.equal(unused, torch.ones_like(unused)) and torch.equal(frozen, torch.ones_like(frozen))


@pytest.mark.parametrize("method", ["autograd", "gauss_newton", "finite_difference"])
def test_complex_parameters_are_pairs_of_real_ones(method):
    paths = []
    for is_complex in (True, False):
        z = random(3, 2)
        p = nn.Parameter(torch.view_as_complex(z.clone()) if is_complex else z.clone())

        def residual(q):
            pair = torch.view_as_real(q["z"]) if q["z"].is_complex() else q["z"]
            return torch.cat([torch.sin(pair[:, 0]) * pair[:, 1], pair[:, 1] ** 2])

        made = LeastSquares(residual, {"z": p})
        optimizer = ESGD(made.parameters, lr=0.05, method=method)
        for _ in range(5):
            optimizer.step(made)
        paths.append(torch.view_as_real(p.detach()) if is_complex else p.detach())
    assert torch.allclose(*paths, rtol=1e-9)


def test_a_tensor_without_curvature_rests_and_wakes_up():
    x, y = (nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))
    scale = {"value": 0.0}
    made = LeastSquares(lambda q: torch.cat([q["x"], scale["value"] * q["y"]]), {"x": x, "y": y})
    optimizer = ESGD(made.parameters, lr=0.1, refresh_every=3, warmup=0)
    for _ in range(3):
        optimizer.step(made)
    assert y.item() == 1 and x.item() < 1
    scale["value"] = 1.0
    optimizer.step(made)
    assert y.item() < 1


def test_curvature_that_is_not_finite_stops_and_leaves_everything():
    x = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    for kind, what in ((ESGD, "Hessian product"), (Jacobi, "Hessian product"), (DiagGN, "Gauss-Newton rows")):
        made = LeastSquares(lambda q: torch.sqrt(q["x"]), {"x": x})  # infinite slope at 0
        optimizer = kind(made.parameters)
        optimizer.step(made)
        assert optimizer.stop_reason == f"non-finite {what} at step 1: parameters unchanged"
        assert x.item() == 0 and optimizer.state["shared"]["refreshes"] == 0


def test_finite_differences_take_a_plain_torch_closure():
    made = goal()
    plain, rich = goal(), goal()
    one = ESGD(plain.parameters, lr=0.05, method="finite_difference", warmup=3)
    two = ESGD(rich.parameters, lr=0.05, method="finite_difference", warmup=3)

    def closure():
        one.zero_grad(set_to_none=False)
        loss = made._residual_function(dict(zip(SHAPES, plain.parameters, strict=True))).square().sum()
        loss.backward()
        return loss

    for _ in range(6):
        one.step(closure)
        two.step(rich)
    assert torch.allclose(plain.theta(), rich.theta(), rtol=1e-12)


def test_a_change_of_damping_acts_at_once_and_deep_copies_work():
    made = goal()
    optimizer = ESGD(made.parameters, lr=0.01, warmup=0)
    optimizer.step(made)
    for kind in (copy.deepcopy(optimizer), optimizer):
        assert kind.param_groups[0]["damping"] == 0.1
    optimizer.param_groups[0]["damping"] = 1e9
    before = made.theta()
    optimizer.step(made)
    assert (made.theta() - before).abs().max() < 1e-9


def test_mistakes_are_worded():
    made = goal()
    with pytest.raises(InputError, match="unknown damping_mode 'relativ'.*did you mean 'relative'"):
        ESGD(made.parameters, damping_mode="relativ")
    with pytest.raises(InputError, match="unknown average 'median'"):
        DiagGN(made.parameters, average="median")
    with pytest.raises(InputError, match="Jacobi needs lr >= 0.*got lr=-1.0"):
        Jacobi(made.parameters, lr=-1.0)
    with pytest.raises(InputError, match="ESGD needs lr >= 0.*got lr=-1"):
        ESGD([{"params": made.parameters, "lr": -1}])
    with pytest.raises(TypeError, match=r"DiagGN got a closure without stacked\(\): it needs the residuals"):
        DiagGN(made.parameters).step(lambda: torch.zeros(1))
    with pytest.raises(TypeError, match=r"Jacobi got a closure without loss\(\)"):
        Jacobi(made.parameters).step()
    other = [nn.Parameter(torch.ones(2))]
    for kind in ALL:
        with pytest.raises(InputError, match="depends on none of the 1 parameters of the optimizer"):
            kind(other).step(made)
