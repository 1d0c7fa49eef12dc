import copy

import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import Estimator, LeastSquares, central_difference
from nfsolve.curvature.differences import step_size
from nfsolve.curvature.sampled import draw_like, sample_products


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def linear() -> tuple[LeastSquares, torch.Tensor]:
    """Residuals whose Hessian 2 A^T A is the same everywhere."""
    a = random(6, 4, seed=2)
    return LeastSquares(lambda q: a @ q["x"] - 1, {"x": nn.Parameter(torch.ones(4, dtype=torch.float64))}), a


def curved() -> LeastSquares:
    x, y = random(9, 2), random(9, 1, seed=1)
    start = {"w": nn.Parameter(random(3, 2, seed=3)), "v": nn.Parameter(random(1, 3, seed=4))}
    return LeastSquares(lambda q: (torch.sin(x @ q["w"].T) @ q["v"].T - y) / 3, start)


def variance(quantity, probes, hessian, a):
    """Of one value, from the fourth moments of the probe."""
    gaussian = probes == "gaussian"
    if quantity == "diagonal":
        own = hessian.diagonal().square()
        return hessian.square().sum(1) - own + (2 * own if gaussian else 0)
    rows = 2**0.5 * a.T if quantity == "gauss_newton" else hessian
    return 2 * (rows.square().sum(1) ** 2 - (0 if gaussian else rows.pow(4).sum(1)))


@pytest.mark.parametrize("probes", ["rademacher", "gaussian"])
@pytest.mark.parametrize("quantity", ["row_norm", "diagonal", "gauss_newton"])
def test_the_mean_is_within_three_standard_errors_of_the_truth(quantity, probes):
    goal, a = linear()
    hessian = 2 * a.T @ a
    estimator = Estimator(quantity, probes=probes, average="mean", refresh_every=1)
    state, average, n = estimator.start(0), None, 400
    for _ in range(n):
        sample = estimator.sample(goal, goal.parameters, state)
        estimator.accept(state, sample)
        average = estimator.blend(average, sample.values[0], state)
    truth = {"row_norm": hessian.square().sum(1), "diagonal": hessian.diagonal(), "gauss_newton": hessian.diagonal()}
    error = (average - truth[quantity]).abs()
    assert (error <= 3 * (variance(quantity, probes, hessian, a) / n).sqrt()).all()
    assert estimator.correction(state) == 1
    expected = average.sqrt() if quantity == "row_norm" else average
    assert torch.equal(estimator.curvature(average), expected)


def test_products_of_every_method_agree_with_dense_matrices():
    goal = curved()
    theta = goal.theta()
    jacobian = torch.func.jacrev(goal.stacked)(theta)
    hessian = torch.func.hessian(lambda t: goal.stacked(t).square().sum())(theta)
    gradient = 2 * jacobian.T @ goal.stacked(theta)
    v = torch.cat([draw_like(p, "rademacher", g).reshape(-1) for g in [source()] for p in goal.parameters])
    w = draw_like(goal.stacked(theta).detach(), "rademacher", source())
    truth = {
        "autograd": hessian @ v,
        "gauss_newton": 2 * jacobian.T @ jacobian @ v,
        "finite_difference": hessian @ v,
        "rows": jacobian.T @ w,
    }
    for method, expected in truth.items():
        found = sample_products(goal, goal.parameters, method, "rademacher", source())
        got = torch.cat([h.reshape(-1) for h in found.products])
        tolerance = 1e-8 if method == "finite_difference" else 1e-12
        assert torch.linalg.vector_norm(got - expected) <= tolerance * torch.linalg.vector_norm(expected), method
        assert torch.allclose(torch.cat([g.reshape(-1) for g in found.gradient]), gradient, rtol=1e-10), method
        assert torch.allclose(found.loss, goal.stacked(theta).square().sum(), rtol=1e-12), method
        assert torch.equal(goal.theta(), theta), method


def source():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(
    ("method", "count"), [("autograd", 3), ("gauss_newton", 3), ("finite_difference", 3), ("rows", 2)]
)
def test_evaluations_are_counted(method, count):
    goal = curved()
    sample_products(goal, goal.parameters, method, "rademacher", source(), guard=True)
    assert goal.evaluations == count


def test_other_parameters_of_the_objective_stay_out():
    goal = curved()
    for method in ("autograd", "gauss_newton", "rows"):
        found = sample_products(goal, goal.parameters[1:], method, "rademacher", source())
        assert [h.shape for h in found.products] == [(1, 3)]
    theta = goal.theta()
    block = torch.func.hessian(lambda t: goal.stacked(t).square().sum())(theta)[6:, 6:]
    found = sample_products(goal, goal.parameters[1:], "autograd", "rademacher", source())
    assert torch.allclose(found.products[0][0], block @ found.probes[0][0], rtol=1e-12)


def test_float32_differences_are_good_enough_for_a_preconditioner():
    x = torch.linspace(-1, 1, 64)[:, None]
    net = nn.Sequential(nn.Linear(1, 32), nn.Linear(32, 1))
    for p in net.parameters():
        p.data.copy_(0.3 * torch.randn(p.shape, generator=source()))
    named = dict(net.named_parameters())

    def residual(q):
        return (torch.sin(30 * (x @ q["0.weight"].T) + q["0.bias"]) @ q["1.weight"].T + q["1.bias"]) / 8

    goal = LeastSquares(residual, named)
    exact = sample_products(goal, goal.parameters, "autograd", "gaussian", source()).products
    close = sample_products(goal, goal.parameters, "finite_difference", "gaussian", source()).products
    apart = sum(float((a - b).square().sum()) for a, b in zip(exact, close, strict=True)) ** 0.5
    assert apart < 5e-3 * sum(float(a.square().sum()) for a in exact) ** 0.5


def test_differences_move_complex_and_zero_parameters_and_bring_them_back():
    z = nn.Parameter(torch.complex(random(3), random(3, seed=1)))
    zero = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    kept = z.detach().clone()
    v = [torch.ones_like(z), torch.ones_like(zero)]
    assert step_size([zero], v[1:]) > 0
    (found,) = central_difference(lambda: [z.abs().square().sum() + zero.square().sum()], [z, zero], v, 1e-4)
    assert torch.allclose(found, 2 * kept.real.sum(), rtol=1e-8)
    assert torch.equal(z, kept)
    with pytest.raises(ZeroDivisionError):
        central_difference(lambda: [torch.tensor(1 / 0)], [z, zero], v, 1e-4)
    assert torch.equal(z, kept)


@pytest.mark.parametrize(("every", "warmup"), [(5, 3), (1, 0), (4, 0), (3, 1)])
def test_the_schedule_is_exact(every, warmup):
    goal, _ = linear()
    estimator = Estimator(refresh_every=every, warmup=warmup)
    state, at = estimator.start(0), []
    for step in range(20):
        if estimator.due(state):
            estimator.accept(state, estimator.sample(goal, goal.parameters, state))
            at.append(step)
        estimator.advance(state)
    last = max(warmup, 1) - 1
    assert at == [*range(max(warmup, 1)), *range(last + every, 20, every)]
    assert state["refreshes"] == len(at) and state["steps"] == 20


def test_averages_are_what_they_say():
    values = [torch.tensor([v], dtype=torch.float64) for v in (4.0, 1.0, 9.0)]

    def run(estimator):
        state, average = estimator.start(0), None
        for value in values:
            state["refreshes"] += 1
            state["steps"] += 10
            average = estimator.blend(average, value.clone(), state)
        return float(average), estimator.correction(state)

    assert run(Estimator(average="mean")) == (pytest.approx(14 / 3), 1.0)
    assert run(Estimator(average="max", decay=0.5)) == (9.0, 1.0)
    assert run(Estimator(average="max", decay=0.5, quantity="root_magnitude"))[1] == 1.0
    ema = 0.5**3 * 4 + 0.5**2 * 1 + 0.5 * 9
    assert run(Estimator(decay=0.5, quantity="diagonal", warmup=0)) == (ema, 1 - 0.5**3)
    assert run(Estimator(decay=0.5)) == (ema, (1 - 0.5**3) ** 0.5)
    assert run(Estimator(decay=0.5, bias_correction="steps")) == (ema, (1 - 0.5**30) ** 0.5)


def test_correction_by_steps_makes_the_published_factors():
    by = {kind: Estimator(bias_correction=kind) for kind in ("refreshes", "steps")}
    for steps, factor in {50: 1.00, 100: 1.40, 2000: 3.60, 25_600: 1.95, 200_000: 1.07}.items():
        # the refreshes after the warm-up come at steps 150, 250, ...
        state = {"steps": steps, "refreshes": 50 + (steps - 50) // 100}
        assert by["steps"].correction(state) / by["refreshes"].correction(state) == pytest.approx(factor, abs=0.011)


def test_probes_do_not_depend_on_precision_and_the_state_alone_decides_them():
    p32, p64 = torch.zeros(50), torch.zeros(50, dtype=torch.float64)
    for kind in ("rademacher", "gaussian"):
        assert torch.equal(draw_like(p32, kind, source()), draw_like(p64, kind, source()).float())
    assert draw_like(torch.zeros(3, dtype=torch.complex128), "rademacher", source()).imag.abs().eq(1).all()
    goal, _ = linear()
    estimator = Estimator()
    state = estimator.start(3)
    kept = copy.deepcopy(state)
    first, again = (estimator.sample(goal, goal.parameters, s).values[0] for s in (state, kept))
    assert torch.equal(first, again)
    assert torch.equal(state["generator"], kept["generator"])


def test_mistakes_are_worded():
    with pytest.raises(InputError, match=r"unknown quantity 'rows'"):
        Estimator("rows")
    with pytest.raises(InputError, match=r"unknown probes 'normal'"):
        Estimator(probes="normal")
    with pytest.raises(InputError, match=r"beta2 in \[0, 1\), refresh_every >= 1"):
        Estimator(refresh_every=0)
    with pytest.raises(InputError, match="signed estimates of a diagonal"):
        Estimator("diagonal", average="max")
    goal, _ = linear()
    other = nn.Parameter(torch.ones(2, dtype=torch.float64))
    for method in ("autograd", "gauss_newton", "finite_difference", "rows"):
        with pytest.raises(InputError, match="none of the 1 parameters of the optimizer"):
            sample_products(goal, [other], method, "rademacher", source())
    flat = LeastSquares(lambda q: torch.ones(3, dtype=torch.float64), {"x": other})
    for method in ("autograd", "gauss_newton", "rows"):
        with pytest.raises(InputError, match="(depends on none|depends on any) of the"):
            sample_products(flat, [other], method, "rademacher", source())
