import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares
from nfsolve.optim import LBFGS


def fit(dtype=torch.float64, n: int = 6) -> LeastSquares:
    x = torch.linspace(0, 1, 20, dtype=dtype)[:, None]
    first = torch.linspace(-2, 2, n, dtype=dtype)
    start = {"w": nn.Parameter(3 * first), "b": nn.Parameter(first.flip(0)), "c": nn.Parameter(0.3 * first + 0.1)}

    def residual(q):
        return (torch.tanh(x * q["w"] + q["b"]) @ q["c"] - torch.sin(3 * x[:, 0])) / 5

    return LeastSquares(residual, start)


def test_fifty_steps_of_one_iteration_are_one_step_of_fifty():
    single, many = fit(), fit()
    one, fifty = LBFGS(single.parameters), LBFGS(many.parameters, max_iter=50)
    for _ in range(50):
        one.step(single)
    fifty.step(many)
    assert torch.equal(single.theta(), many.theta())
    assert one.state[single.parameters[0]]["n_iter"] == fifty.state[many.parameters[0]]["n_iter"] == 50
    assert len(one.state[single.parameters[0]]["old_dirs"]) > 40


def test_the_path_is_torchs_where_torch_keeps_its_pairs():
    ours, theirs = fit(), fit()
    made = LBFGS(ours.parameters, max_iter=20)
    options = {"max_iter": 20, "max_eval": 501, "history_size": 50, "tolerance_grad": 0.0, "tolerance_change": 0.0}
    plain = torch.optim.LBFGS(theirs.parameters, line_search_fn="strong_wolfe", **options)
    # torch's first step is the gradient over max(1, |g|_1), ours the gradient over |g|_1: start where both are one
    scale = 4.0
    for goal in (ours, theirs):
        function = goal._residual_function
        goal._residual_function = lambda q, function=function: scale * function(q)
    ours()
    assert sum(float(p.grad.abs().sum()) for p in ours.parameters) > 1
    made.step(ours)
    plain.step(theirs)
    assert torch.allclose(ours.theta(), theirs.theta(), rtol=1e-5)


def test_it_goes_on_below_the_loss_where_torch_drops_its_pairs():
    ours, theirs = fit(), fit()
    made = LBFGS(ours.parameters, max_iter=20)
    plain = torch.optim.LBFGS(
        theirs.parameters,
        max_iter=20,
        max_eval=500,
        history_size=50,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    for _ in range(40):
        made.step(ours)
        plain.step(theirs)
    assert float(ours.loss().detach()) < 0.1 * float(theirs.loss().detach())


def test_an_iteration_after_another_evaluates_the_loss_alone_and_then_only_its_trials():
    goal = fit()
    made = LBFGS(goal.parameters)
    made.step(goal)
    calls = []
    goal.loss = lambda inner=goal.loss: calls.append("loss") or inner()
    made.step(goal)
    assert calls[0] == "loss"
    assert len(calls) == 2  # the check and one trial, which the search accepts


def test_a_pair_that_spans_new_points_has_both_gradients_on_the_older_ones():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    start = {"a": nn.Parameter(torch.tensor([1.0, 0.3, 0.2], dtype=torch.float64))}
    goal = LeastSquares(lambda q: q["a"][0] * torch.exp(-q["a"][1] * x) + q["a"][2] * x**2 - 2, start)
    made = LBFGS(goal.parameters)
    for _ in range(3):
        made.step(goal)
    older = [goal.theta(), made.state["shared"]["gradient"].clone()]
    made.step(goal)
    s = goal.theta() - older[0]
    y = made.state["shared"]["gradient"] - older[1]
    x.add_(0.2).mul_(1.3)
    made.step(goal)
    state = made.state[goal.parameters[0]]
    assert torch.allclose(state["old_dirs"][-1], 2.0**30 * y, rtol=1e-9)
    assert torch.allclose(state["old_stps"][-1], s, rtol=1e-9)


def test_max_iter_is_the_limit_and_gradients_are_those_of_the_loss():
    goal = fit()
    made = LBFGS(goal.parameters, max_iter=7)
    for k in range(1, 4):
        made.step(goal)
        assert made.state[goal.parameters[0]]["n_iter"] == 7 * k
    left = [p.grad.clone() for p in goal.parameters]
    goal()
    assert all(torch.allclose(a, p.grad) for a, p in zip(left, goal.parameters, strict=True))


def test_float32_says_that_it_is_the_limit():
    goal = fit(torch.float32)
    made = LBFGS(goal.parameters)
    for _ in range(3000):
        made.step(goal)
        if made.stop_reason:
            break
    iterations = made.state[goal.parameters[0]]["n_iter"]
    assert made.stop_reason == (
        f"stopped after {iterations} iterations: the step is below what float32 resolves; try dtype float64"
    )


def test_other_reasons_are_worded():
    exact = LeastSquares(lambda q: q["a"] - 1, {"a": nn.Parameter(torch.ones(1, dtype=torch.float64))})
    made = LBFGS(exact.parameters)
    made.step(exact)
    assert made.stop_reason == "converged: the gradient is zero"
    loose = LBFGS(fit().parameters, tolerance_grad=10.0)
    goal = fit()
    loose = LBFGS(goal.parameters, tolerance_grad=10.0)
    loose.step(goal)
    assert loose.stop_reason.startswith("converged: the gradient is ")
    assert loose.stop_reason.endswith("in its largest entry")
    assert loose.param_groups[0]["tolerance_grad"] == 10.0
    bad = LeastSquares(lambda q: q["a"] / 0.0, {"a": nn.Parameter(torch.ones(1, dtype=torch.float64))})
    made = LBFGS(bad.parameters)
    made.step(bad)
    assert made.stop_reason == "non-finite loss: parameters unchanged"
    assert bad.theta().tolist() == [1.0]
    floor = LeastSquares(lambda q: q["a"] * q["a"] + 1, {"a": nn.Parameter(torch.ones(1, dtype=torch.float64))})
    made = LBFGS(floor.parameters)
    for _ in range(100):
        made.step(floor)
        if made.stop_reason:
            break
    assert made.stop_reason.startswith(("stopped after", "converged: the gradient is zero"))
    with pytest.raises(InputError, match="LBFGS needs .*max_iter at least 1, but got lr=1.0 and max_iter=0"):
        LBFGS(goal.parameters, max_iter=0)


def test_a_plain_closure_works():
    w = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    made = LBFGS([w])

    def closure():
        made.zero_grad()
        loss = (torch.tensor([1.0, 30.0]) * (w - 1) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(15):
        made.step(closure)
    assert torch.allclose(w.detach(), torch.ones(2, dtype=torch.float64))
