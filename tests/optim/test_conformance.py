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
    "gauss_newton_qr": partial(optim.GaussNewton, form="qr"),
    "linear_least_squares": optim.LinearLeastSquares,
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
    "output_layer": optim.OutputLayer,
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


MATRICES = ("last_layer", "output_layer", "kfac", "shampoo", "soap", "muon")  # act on weight matrices


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
    with pytest.raises(InputError, match="needs float64.*got float32 parameters. Build the field with dtype float64"):
        ROWS[name](objective(torch.float32).parameters)


def test_every_named_optimizer_has_a_row():
    rows = {getattr(row, "func", row) for row in ROWS.values()}
    assert set(optim.named().values()) <= rows | {optim.BandedLeastSquares}  # which needs a field of local functions


# How torch.optim users meet an optimizer: parameters of every kind, groups, copies, thawed and added parameters.

LAYERS = ("last_layer", "output_layer")  # which solve for one layer and rest else
MADE = {name: row for name, row in ROWS.items() if name not in LAYERS}
# rates that suit the network below
MADE |= {name: partial(MADE[name], lr=0.03) for name in ("sgd", "jacobi", "diag_gn", "esgd")}
MADE |= {"esgd_gauss_newton": partial(ROWS["esgd_gauss_newton"], lr=0.005)}
ONE_GROUP = tuple(name for name in MADE if name.startswith(("gauss", "linear", "ss", "nystrom", "lbfgs")))
MOVED_BY_GRADIENT = tuple(name for name in MADE if name not in ONE_GROUP)
REAL_ONLY = ("kfac", "shampoo", "soap")
HAS_RATE = (*MOVED_BY_GRADIENT, "lbfgs")
X = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]


def network() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    source = torch.Generator().manual_seed(1)
    for p in net.parameters():
        p.data.copy_(0.6 * torch.randn(p.shape, generator=source, dtype=torch.float64))
    return net


def fit(net: nn.Module, **extra: nn.Parameter) -> LeastSquares:
    """A fit by a network, and what further parameters add to it; names decide how."""
    y = torch.sin(3 * X)

    def residual(values):
        own = {name: value for name, value in values.items() if name not in extra}
        r = (torch.func.functional_call(net, own, (X,)) - y) / len(X) ** 0.5
        if "scalar" in values:
            r = r + 0.1 * values["scalar"]
        if "complex" in values:
            r = r + 0.1 * (values["complex"] * torch.exp(1j * X)).sum(1, keepdim=True).real
        if "flat" in values:
            r = r + 0 * values["flat"].sum()
        return r

    return LeastSquares(residual, {**extra, **dict(net.named_parameters())})


def rate(made, lr):
    for group in made.param_groups:
        group["lr"] = lr


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("whole", [True, False])
def test_a_thawed_layer_moves_at_once_and_not_too_far(name, whole):
    net = network()
    thawed = list(net[2].parameters()) if whole else [net[2].bias]
    for p in thawed:
        p.requires_grad_(False)
    before = [p.detach().clone() for p in thawed]
    made = MADE[name](list(net.parameters()))
    for _ in range(13):
        made.step(fit(net))
    assert all(torch.equal(p, b) for p, b in zip(thawed, before, strict=True))
    for p in thawed:
        p.requires_grad_(True)
    first = float(made.step(fit(net)))
    solved = bool(getattr(made, "stop_reason", ""))  # then there is nothing left to move for, as it says
    assert solved or all(not torch.equal(p, b) for p, b in zip(thawed, before, strict=True))
    for _ in range(5):
        made.step(fit(net))
    assert float(fit(net).loss().detach()) < 2 * first + 0.05


@pytest.mark.parametrize("name", MADE)
def test_a_layer_that_is_frozen_later_rests(name):
    net = network()
    made = MADE[name](list(net.parameters()))
    for _ in range(4):
        made.step(fit(net))
    net[2].requires_grad_(False)
    before, other = net[2].weight.detach().clone(), net[4].weight.detach().clone()
    for _ in range(4):
        made.step(fit(net))
    assert torch.equal(net[2].weight, before)
    assert not torch.equal(net[4].weight, other)


@pytest.mark.parametrize("name", MOVED_BY_GRADIENT)
def test_an_added_group_moves_at_once_with_its_own_rate(name):
    net, late, resting = network(), nn.Parameter(torch.ones(()).double()), nn.Parameter(torch.ones(()).double())
    made = MADE[name](list(net.parameters()))
    for _ in range(13):
        made.step(fit(net))
    made.add_param_group({"params": [late]})
    made.step(fit(net, scalar=late))
    assert late != 1
    made.add_param_group({"params": [resting], "lr": 0.0})
    made.step(fit(net, scalar=resting))
    assert resting == 1


@pytest.mark.parametrize("name", [*ONE_GROUP, *LAYERS])
def test_a_second_group_is_refused_in_words(name):
    net = network()
    made = ROWS[name](list(net.parameters()))
    with pytest.raises(InputError, match="needs one parameter group.*Pass all parameters as one list"):
        made.add_param_group({"params": [nn.Parameter(torch.ones(2).double())]})
    with pytest.raises(InputError, match="needs one parameter group"):
        ROWS[name]([{"params": [p]} for p in net.parameters()])
    assert len(made.param_groups) == 1
    ROWS[name]([{"params": list(net.parameters())}])


@pytest.mark.parametrize("name", MOVED_BY_GRADIENT)
def test_groups_have_rates_of_their_own(name):
    net = network()
    groups = [
        {"params": list(net[0].parameters()), "lr": 0.0},
        {"params": [*net[2].parameters(), *net[4].parameters()]},
    ]
    made = MADE[name](groups)
    before = net[0].weight.detach().clone(), net[2].weight.detach().clone()
    for _ in range(3):
        made.step(fit(net))
    assert torch.equal(net[0].weight, before[0])
    assert not torch.equal(net[2].weight, before[1])


@pytest.mark.parametrize("name", HAS_RATE)
def test_a_rate_of_zero_rests_and_a_warm_up_goes_on_from_it(name):
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    made = MADE[name](list(net.parameters()), lr=0.0)
    for _ in range(3):
        made.step(fit(net))
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    rate(made, 0.01)
    first = float(made.step(fit(net)))
    for _ in range(5):
        last = float(made.step(fit(net)))
    assert last < first


@pytest.mark.parametrize("name", HAS_RATE)
@pytest.mark.parametrize("lr", [-1.0, float("nan")])
def test_a_negative_rate_is_refused(name, lr):
    if lr == lr or name not in ("adam", "adamw", "sgd"):
        with pytest.raises(ValueError, match="lr|learning rate"):
            MADE[name](list(network().parameters()), lr=lr)


@pytest.mark.parametrize("name", ROWS)
def test_a_copy_goes_on_as_the_original(name):
    net = network()
    made = ROWS[name](list(net.parameters()))
    for _ in range(4):
        made.step(fit(net))
    other, copied = copy.deepcopy((net, made))
    assert not {id(p) for g in copied.param_groups for p in g["params"]} & {id(p) for p in net.parameters()}
    assert getattr(copied, "stop_reason", "") == "" or copied.stop_reason == made.stop_reason
    for _ in range(4):
        assert torch.equal(made.step(fit(net)), copied.step(fit(other)))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))


KINDS = {
    "scalar": lambda: nn.Parameter(torch.ones((), dtype=torch.float64)),
    "unused": lambda: nn.Parameter(torch.ones(3, dtype=torch.float64)),
    "flat": lambda: nn.Parameter(torch.ones(3, dtype=torch.float64)),
    "complex": lambda: nn.Parameter(torch.ones(2, dtype=torch.complex128)),
    "frozen": lambda: nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), ("scalar", "complex"), tuple(KINDS)])
def test_every_kind_of_parameter_moves_or_rests_or_is_refused(name, kinds):
    net, extra = network(), {kind: KINDS[kind]() for kind in kinds}
    given = [*extra.values(), *net.parameters()]
    if "complex" in kinds and name in REAL_ONLY:
        with pytest.raises(InputError, match="needs real parameters"):
            MADE[name](given)
        return
    made = MADE[name](given)
    first = float(made.step(fit(net, **extra)))
    for _ in range(8):
        last = float(made.step(fit(net, **extra)))
    assert last < first
    for kind, p in extra.items():
        rests = kind in ("unused", "flat", "frozen")
        decays = name == "adamw" and kind == "flat"  # a gradient of zeros lets the weights decay, as in torch
        if not decays:
            assert bool((p.detach() == 1).all()) == rests, kind
        assert bool(torch.isfinite(torch.view_as_real(p) if p.is_complex() else p).all())


@pytest.mark.parametrize("name", ONE_GROUP)
def test_a_step_is_found_far_from_the_linear(name):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    made, first = MADE[name](list(net.parameters())), float(fit(net).loss().detach())
    for _ in range(3):
        made.step(fit(net))
    assert float(fit(net).loss().detach()) < first
