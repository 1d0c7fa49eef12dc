"""What every optimizer must do, one row each; torch's own stand beside ours."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from nfsolve import optim
from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares

ROWS = {
    "gauss_newton": optim.GaussNewton,
    "gauss_newton_plain": partial(optim.GaussNewton, acceleration=0.0, corrections=0),
    "gauss_newton_samples": partial(optim.GaussNewton, form="samples", momentum=0.3),
    "gauss_newton_matrix_free": partial(optim.GaussNewton, form="matrix_free"),
    "ssbroyden": optim.SSBroyden,
    "ssbfgs": optim.SSBFGS,
    "nystrom_newton": partial(optim.NystromNewtonCG, rank=2, refresh_every=3),
    "nystrom_newton_hessian": partial(optim.NystromNewtonCG, rank=2, curvature="hessian"),
    "esgd": partial(optim.ESGD, lr=0.3, refresh_every=3, warmup=2),
    "kfac": partial(optim.KFAC, lr=0.3, precondition_frequency=3),
    "shampoo": partial(optim.Shampoo, lr=0.03, precondition_frequency=3),
    "esgd_paper": partial(optim.ESGD, lr=0.15, refresh_every=5, warmup=2, paper=True),
    "esgd_gauss_newton": partial(optim.ESGD, lr=0.3, refresh_every=3, warmup=2, method="gauss_newton", average="mean"),
    "esgd_difference": partial(optim.ESGD, lr=0.3, refresh_every=3, warmup=2, method="finite_difference"),
    "esgd_max": partial(optim.ESGDMax, lr=0.5, refresh_every=2, warmup=2, rate_warmup=0.5),
    "adahessian": partial(optim.AdaHessian, lr=0.3),
    "jacobi": partial(optim.Jacobi, lr=0.2, refresh_every=3, warmup=2),
    "diag_gn": partial(optim.DiagGN, lr=0.2, refresh_every=3, warmup=2),
    "last_layer": optim.LastLayer,
    "soap": partial(optim.SOAP, lr=0.03, precondition_frequency=3),
    "muon": partial(optim.Muon, lr=0.02),
    "adam": partial(optim.Adam, lr=0.05),
    "adamw": partial(optim.AdamW, lr=0.05),
    "sgd": partial(optim.SGD, lr=0.5),
    "lbfgs": partial(optim.LBFGS, max_iter=3, line_search_fn="strong_wolfe"),
}

NEED_FLOAT64 = ("ssbroyden", "ssbfgs")
CASES = [(name, dtype) for name in ROWS for dtype in (torch.float32, torch.float64)]
CASES = [(name, dtype) for name, dtype in CASES if dtype == torch.float64 or name not in NEED_FLOAT64]


MATRICES = ("last_layer", "kfac", "shampoo", "soap", "muon")  # act on weight matrices


def objective(dtype=torch.float64, name="") -> LeastSquares:
    x = torch.linspace(0, 1, 12, dtype=dtype)
    y = 2 * torch.exp(-1.5 * x)
    if name in MATRICES:
        net = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)
        source = torch.Generator().manual_seed(0)
        for p in net.parameters():
            p.data.copy_(torch.randn(p.shape, generator=source) * 0.7)
        named = dict(net.named_parameters())
        return LeastSquares(lambda q: (torch.func.functional_call(net, q, (x[:, None],))[:, 0] - y) / 3, named)
    start = {"a": nn.Parameter(torch.tensor([1.0], dtype=dtype)), "k": nn.Parameter(torch.tensor([0.3], dtype=dtype))}
    return LeastSquares(lambda p: (p["a"] * torch.exp(-p["k"] * x) - y) / 3, start)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_the_loss_falls_and_types_stay(name, dtype):
    goal = objective(dtype, name)
    made = ROWS[name](goal.parameters)
    assert isinstance(made, torch.optim.Optimizer)
    first = float(made.step(goal))
    for _ in range(40):
        last = float(made.step(goal))
    assert last < 0.2 * first
    assert all(p.dtype == dtype for p in goal.parameters)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_resumed_optimizer_takes_the_identical_next_steps(name, dtype):
    whole = objective(dtype, name)
    made = ROWS[name](whole.parameters)
    for _ in range(7):
        made.step(whole)
    parts = objective(dtype, name)
    parts.assign(whole.theta())
    again = ROWS[name](parts.parameters)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    for _ in range(4):
        made.step(whole)
        again.step(parts)
        assert torch.equal(whole.theta(), parts.theta())


@pytest.mark.parametrize("name", ROWS)
def test_the_state_survives_a_file(name, tmp_path):
    goal = objective(name=name)
    made = ROWS[name](goal.parameters)
    made.step(goal)
    torch.save(made.state_dict(), tmp_path / "state.pt")
    again = ROWS[name](objective(name=name).parameters)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))


@pytest.mark.parametrize("name", NEED_FLOAT64)
def test_a_method_that_needs_float64_says_so(name):
    with pytest.raises(InputError, match="with float32 parameters: float64.*Build the field with dtype float64"):
        ROWS[name](objective(torch.float32).parameters)


def test_every_named_optimizer_has_a_row():
    rows = {getattr(row, "func", row) for row in ROWS.values()}
    assert set(optim.named().values()) <= rows
