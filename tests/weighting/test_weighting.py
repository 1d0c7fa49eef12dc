"""Schemes that adapt weights: formulas by hand, one least-squares problem for all optimizers, exact resumption."""

import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import nfsolve as nf
from nfsolve import MLP, PDE, Box, Objective, Problem, Recipe, Stage, face, interior, optim, weighting
from nfsolve._core.errors import InputError
from nfsolve._core.spec import build, describe
from nfsolve.cli import run_cli
from nfsolve.problem import Rows
from nfsolve.weighting import NTK, RBA, Causal, Constant, Discrepancy, GradientNorm, SelfAdaptive
from tests.run.test_folder import identical, state

SCHEMES = {
    "constant": Constant(),
    "gradient_norm": GradientNorm(every=2),
    "ntk": NTK(every=3, points=7),
    "self_adaptive": SelfAdaptive(rate=0.1),
    "rba": RBA(rate=0.3),
    "causal": Causal(epsilon=0.1, chunks=4, highest=10.0),
    "discrepancy": Discrepancy("initial", "ends", target=2.0, rate=1.0, every=1, after=1),
}
SMALL = partial(MLP, width=6, depth=1)


@dataclass
class Heat(PDE):
    domain = Box(t=(1, 3), x=(0, 1))
    unknowns = "u v"

    @interior(points=24)
    def balance(self, u_t, u_xx):
        return u_t - u_xx

    @interior(points=12, weight=0.5)
    def other(self, u, v_t, v):
        return torch.cat([v_t + v, u * v], -1)

    @face(t=1, points=9, weight=10.0)
    def initial(self, u, v, x):
        return torch.cat([u - torch.sin(math.pi * x), v - 1], -1)

    @face(x=(0, 1), points=8)
    def ends(self, u):
        return u

    def exact(self, t, x):
        return torch.exp(-t) * x, torch.exp(-t)


def objective(scheme, problem=None, field=None, seed=0):
    problem = problem or Heat()
    field = field or SMALL.func.for_problem(problem, width=6, depth=1, seed=seed, dtype=torch.float64)
    data = problem.load("cpu", torch.float64)
    return Objective(problem, field, data, torch.Generator().manual_seed(seed), weighting=scheme)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("engine", ["rows of linear layers", "row by row", "any"])
def test_loss_rows_and_jacobian_are_of_one_weighted_least_squares(scheme, engine):
    subject = objective(scheme)
    for step in range(7):
        subject.reweigh(step)
    if engine == "row by row":
        subject._recordable = dict.fromkeys(subject.residuals(), False)
    if engine == "any":
        subject.problem.__class__ = type("Heat", (Heat,), {"pointwise": False})
    theta = subject.theta()
    loss, stacked = subject(), subject.stacked(theta)
    assert torch.allclose(loss, stacked @ stacked, rtol=1e-12)
    assert torch.allclose(subject.combine(subject.residuals()), loss, rtol=1e-12)
    r, jacobian = subject.jacobian(theta)
    oracle = torch.autograd.functional.jacobian(subject.stacked, theta)
    assert torch.allclose(r, stacked, rtol=1e-12)
    assert torch.allclose(jacobian, oracle, rtol=1e-9, atol=1e-11)
    gradient = torch.cat([p.grad.reshape(-1) for p in subject.parameters])
    assert torch.allclose(gradient, 2 * oracle.T @ stacked, rtol=1e-9, atol=1e-11)
    if not isinstance(scheme, Constant):
        assert not torch.allclose(loss, objective(Constant())(), rtol=1e-3)  # the scheme did something


class Toy(nn.Module):
    """Two parameters with residuals that can be written down: r_a = 3 a x, r_b = b."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (2.0, 5.0))

    def forward(self, x):
        return x


@dataclass
class ToyProblem(Problem):
    domain = Box(x=(0, 1))
    anew = False

    def load(self, device, dtype):
        return {"x": torch.tensor([[1.0], [2.0]], dtype=dtype)}

    def sample(self, data, state, generator):
        return dict(data) if self.anew else data

    def residuals(self, field, batch):
        return {"first": 3 * field.a * batch["x"], "second": field.b.reshape(1, 1)}

    def weights(self):
        return {"second": 4.0}

    def recipe(self):
        return Recipe(SMALL, (Stage(optim.Adam, 3),))


def toy(scheme) -> Objective:
    return objective(scheme, ToyProblem(), Toy())


def factors(subject) -> dict[str, Tensor]:
    return subject.weights.scheme.factors(subject.weights.state, subject)


def test_gradient_norm_by_hand():
    subject = toy(GradientNorm(every=5, decay=0.9))
    subject.reweigh(0)
    # mean r_a^2 = 9 a^2 (1 + 4) / 2 = 22.5 a^2, slope 90 at a = 2; mean r_b^2 = b^2, slope 10 at b = 5
    assert float(factors(subject)["first"]) == pytest.approx(0.9 + 0.1 * 100 / 90)
    assert float(factors(subject)["second"]) == pytest.approx(0.9 + 0.1 * 100 / 10)
    assert float(subject()) == pytest.approx((0.9 + 10 / 90) * 90 + 4 * 1.9 * 25)
    subject.reweigh(4)
    assert float(factors(subject)["second"]) == pytest.approx(1.9)
    subject.reweigh(5)
    assert float(factors(subject)["second"]) == pytest.approx(0.9 * 1.9 + 1.0)
    assert subject.weights.means(["first", "second"])["second"] == pytest.approx(4 * (0.9 * 1.9 + 1.0))


def test_ntk_by_hand():
    subject = toy(NTK(decay=0.0))
    subject.reweigh(0)
    # rows of dr_a/da are 3 and 6, mean square 22.5; dr_b/db = 1
    assert float(factors(subject)["first"]) == pytest.approx(23.5 / 22.5)
    assert float(factors(subject)["second"]) == pytest.approx(23.5)


def test_a_power_of_ntk_is_that_of_its_weights():
    subject = toy(NTK(decay=0.0, power=0.5))
    subject.reweigh(0)
    total = math.sqrt(22.5) + 1
    assert float(factors(subject)["first"]) == pytest.approx(total / math.sqrt(22.5))
    assert float(factors(subject)["second"]) == pytest.approx(total)


@dataclass
class _Scaled(Heat):
    unit: float = 1.0

    @interior
    def balance(self, u_t, u_xx):
        return self.unit * (u_t - 0.1 * u_xx)


@pytest.mark.parametrize("unit", [1e-14, 1e11])
def test_units_of_a_residual_do_not_change_its_share(unit):
    weights = []
    for problem in (_Scaled(), _Scaled(unit=unit)):
        subject = objective(NTK(decay=0.0, power=0.75, units=True), problem)
        subject.reweigh(0)
        found = subject.weights.means(["balance", "initial"])
        weights.append(found["balance"] / found["initial"])
    assert weights[1] * unit**2 == pytest.approx(weights[0])
    slow = [objective(NTK(), problem).slow_squares("balance", 50) for problem in (_Scaled(), _Scaled(unit=unit))]
    assert slow[1] == pytest.approx(unit**2 * slow[0])


class _Table(Heat):
    @face(t=1, points=9)
    def initial(self, u, x):
        return u - torch.as_tensor(x.detach().numpy() ** 2)


def test_ntk_takes_residuals_that_leave_torch():
    subject = objective(NTK(), _Table())
    rows = subject.some_rows("initial", 5)
    assert rows.shape == (5, len(subject.theta())) and rows.any()


def test_ntk_is_the_diagonal_of_the_kernel():
    subject = objective(NTK(points=1000))
    for name, r in subject.residuals().items():
        dense = subject._mapped(name, subject.unflatten(subject.theta()), subject.batch[name])[1]
        rows = subject.some_rows(name, 1000)
        assert rows.shape == (r.numel(), len(subject.theta()))
        assert torch.allclose(rows.square().sum(), torch.trace(dense @ dense.T), rtol=1e-12)
        assert len(subject.some_rows(name, 3)) == 3 * r.shape[1]
    subject.problem.__class__ = type("Heat", (Heat,), {"pointwise": False})
    slow = subject.some_rows("initial", 1000)
    assert torch.allclose(slow.square().sum(), subject.some_rows("initial", 18).square().sum())


def test_a_residual_without_gradient_gets_a_bounded_weight():
    subject = toy(GradientNorm(decay=0.0))
    with torch.no_grad():
        subject.system.field.b.zero_()
    subject.reweigh(0)
    assert float(factors(subject)["second"]) == pytest.approx(1e6)
    with torch.no_grad():
        subject.system.field.a.zero_()
    subject.reweigh(100)  # nothing to balance: the weights stay
    assert float(factors(subject)["second"]) == pytest.approx(1e6)


def test_self_adaptive_by_hand():
    subject = toy(SelfAdaptive(rate=0.01, power=2.0, limit=1.8))
    subject.reweigh(0)
    # lambda = 1 + 0.01 * r^2, r_a = 6 and 12, cut at 1.8; r_b = 5
    assert torch.allclose(factors(subject)["first"], torch.tensor([[1.36], [1.8]], dtype=torch.float64) ** 2)
    assert float(factors(subject)["second"]) == pytest.approx(1.25**2)
    subject.reweigh(1)
    assert float(factors(subject)["second"]) == pytest.approx((1.25 + 0.01 * 1.25 * 25) ** 2)
    # now 1.36 * 1.36 is cut as well
    expected = 1.8**2 * (36 + 144) / 2 + 4 * (1.25 + 0.01 * 1.25 * 25) ** 2 * 25
    assert float(subject()) == pytest.approx(expected)
    cubic = toy(SelfAdaptive(rate=0.01, power=3.0))
    cubic.reweigh(0)
    assert float(factors(cubic)["second"]) == pytest.approx((1 + 0.01 * 1.5 * 25) ** 3)


def test_rba_by_hand():
    subject = toy(RBA(decay=0.9, rate=0.2))
    subject.reweigh(0)
    assert torch.allclose(factors(subject)["first"], torch.tensor([[1.0], [1.1]], dtype=torch.float64) ** 2)
    subject.reweigh(1)
    assert torch.allclose(factors(subject)["first"], torch.tensor([[1.0], [1.19]], dtype=torch.float64) ** 2)
    with torch.no_grad():
        subject.system.field.b.zero_()
    subject.reweigh(2)  # a residual that vanishes only decays
    assert float(factors(subject)["second"]) == pytest.approx((0.9 * 1.19) ** 2)


def test_pointwise_weights_restart_with_their_points():
    subject = toy(RBA())
    subject.reweigh(0)
    subject.resample()  # the same points again
    assert set(factors(subject)) == {"first", "second"}
    subject.problem.anew = True
    subject.resample()
    assert factors(subject) == {}
    assert float(subject()) == pytest.approx(90 + 100)


@dataclass
class Decay(PDE):
    domain = Box(t=(0, 3), x=(0, 1))

    @interior(points=6)
    def balance(self, u):
        return u

    @face(t=0, points=3)
    def initial(self, u):
        return u - 1

    def sample(self, data, state, generator):
        t = torch.tensor([0.1, 0.9, 1.5, 2.2, 2.9, 3.0], dtype=torch.float64)[:, None]
        initial = super().sample(data, state, generator)["initial"]
        return {"balance": Rows(torch.cat([t, t * 0], 1)), "initial": initial}


class Steps(nn.Module):
    """u = 1, 2 and 0.5 in three thirds of the time, times a parameter."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x):
        t = x[:, :1]
        return self.a * torch.where(t < 1, 1.0, torch.where(t < 2, 2.0, 0.5))


def test_causal_by_hand_in_three_chunks():
    subject = objective(Causal(epsilon=0.5, chunks=3), Decay(), Steps())
    subject.reweigh(0)
    # L = 1, 4, 0.25: w = 1, exp(-0.5), exp(-2.5); two points in the first chunk, one in the second, three after
    w = [1.0, math.exp(-0.5), math.exp(-2.5)]
    assert factors(subject)["balance"].reshape(-1).tolist() == pytest.approx([w[0]] * 2 + [w[1]] + [w[2]] * 3)
    assert "initial" not in factors(subject)
    assert float(subject()) == pytest.approx((2 * w[0] + 4 * w[1] + 3 * 0.25 * w[2]) / 6 + 0.0)
    subject.resample()  # new points take the weights of their chunks
    assert factors(subject)["balance"].reshape(-1).tolist() == pytest.approx([w[0]] * 2 + [w[1]] + [w[2]] * 3)


def test_causal_climbs_its_ladder_when_all_is_learned():
    subject = objective(Causal(epsilon=1.0, highest=50.0, chunks=3), Decay(), Steps())
    subject.reweigh(0)
    with torch.no_grad():
        subject.system.field.a.mul_(0.01)  # sum of L before the last chunk: 5e-4
    seen = []
    for step in range(1, 5):
        subject.reweigh(step)
        seen.append(subject.weights.state["epsilon"])
    assert seen == [1.0, 10.0, 50.0, 50.0]
    assert float(subject.weights.state["chunks"][2]) == pytest.approx(math.exp(-50 * 5e-4))


def test_causal_needs_a_time():
    @dataclass
    class Steady(PDE):
        domain = Box(x=(0, 1))

        @interior
        def balance(self, u_xx):
            return u_xx

    with pytest.raises(InputError, match="needs a PDE with a coordinate t .*got Steady. Name the time t"):
        nf.solve(Steady(), SMALL, weighting=Causal(), steps=1)
    with pytest.raises(InputError, match="got ToyProblem"):
        toy(Causal()).check()


STAGES = (Stage(partial(optim.Adam, lr=1e-2), 8, resample=5), Stage(optim.GaussNewton, 5, resample=4))


@pytest.mark.parametrize(
    ("name", "stop_at"),
    [("gradient_norm", 7), ("ntk", 11), ("self_adaptive", 11), ("rba", 7), ("causal", 4), ("causal", 11)],
)
def test_an_interrupted_run_resumes_bit_identically(tmp_path, monkeypatch, name, stop_at):
    options = {"stages": STAGES, "log_every": 4, "dtype": "float64", "weighting": SCHEMES[name]}
    whole = nf.solve(Heat(), SMALL, out=tmp_path / "whole", **options)
    assert all("weight/initial" in row for row in whole.history)
    assert whole.history[-1]["weight/balance"] != 1.0
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)

    class Stop(Exception):
        pass

    original = nf.RunFolder.save_checkpoint

    def save_then_die(self, saved):
        original(self, saved)
        if saved["steps"] == stop_at:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(nf.RunFolder, "save_checkpoint", save_then_die)
        with pytest.raises(Stop):
            nf.solve(Heat(), SMALL, out=tmp_path / "parts", **options)
    nf.resume(tmp_path / "parts")
    assert identical(state(tmp_path / "whole"), state(tmp_path / "parts"))


def test_schemes_are_described_and_chosen_on_the_command_line(tmp_path, capsys):
    for scheme in (*SCHEMES.values(), weighting.Evidence(noise=0.1)):  # which needs measurements: test_evidence
        assert build(describe(scheme)) == scheme
    assert set(weighting.named()) == {*SCHEMES, "evidence"}
    words = "run burgers --n-points 20 --n-face 8 --field.width 5 --optimizer adam --steps 3"
    code = run_cli([*words.split(), "--weighting", "rba", "--weighting.rate", "0.5", "--out", str(tmp_path / "run")])
    assert code == 0
    config = nf.RunFolder(tmp_path / "run").config()
    assert config["weighting"] == {"call": "nfsolve.weighting.points:RBA", "decay": 0.999, "rate": 0.5, "every": 1}
    assert run_cli(["cite", str(tmp_path / "run")]) == 0
    assert "anagnostopoulos2024residual" in capsys.readouterr().out
    assert "weight/momentum" in (tmp_path / "run" / "history.csv").read_text().splitlines()[0]


def test_a_recipe_brings_its_scheme(tmp_path):
    class Weighted(Heat):
        def recipe(self):
            return replace(super().recipe(), field=SMALL, weighting=SCHEMES["ntk"])

    ours = nf.solve(Weighted(), steps=1)
    assert "weight/ends" in ours.history[-1]
    plain = nf.solve(Weighted(), steps=1, weighting=Constant())
    assert "weight/ends" not in plain.history[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientNorm(every=0), "GradientNorm needs every >= 1 .*got every=0 and decay=0.9"),
        (lambda: NTK(points=0), "NTK needs at least 1 point, got points=0"),
        (lambda: NTK(power=2.0), "NTK needs a power from 0 to 1, got power=2"),
        (lambda: SelfAdaptive(rate=-1.0), "SelfAdaptive needs rate > 0.*got rate=-1"),
        (lambda: RBA(decay=1.0), "RBA needs 0 < decay < 1.*got decay=1"),
        (lambda: Causal(chunks=1), "Causal needs .*at least 2 chunks.*chunks=1"),
    ],
)
def test_settings_out_of_range_are_worded(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_points_follow_from_measurements_that_stay(tmp_path, monkeypatch):
    (tmp_path / "probes.csv").write_text("t,x,u\n1.5,0.5,0.2\n2.0,0.1,0.3\n")
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))

    @dataclass
    class Probed(Heat):
        @nf.measured("probes")
        def probes(self, u, u_data):
            return u - u_data

    subject = objective(RBA(), Probed())
    subject.reweigh(0)
    subject.resample()
    assert set(factors(subject)) == {"probes"}


@pytest.mark.parametrize("weight", [-1.0, math.inf, -math.inf, math.nan])
def test_a_weight_that_no_sum_can_have_is_refused(weight):
    problem = ToyProblem().with_(weights=lambda: {"second": weight})
    with pytest.raises(InputError, match="the weight of residual 'second' must be a finite number >= 0, got"):
        objective(Constant(), problem, Toy())


def test_a_weight_of_a_residual_that_is_not_there_is_refused():
    problem = Heat().with_(weights=lambda: {"statr": 2.0})
    with pytest.raises(InputError, match="unknown residual 'statr': .*Weights.. of Heat names it"):
        nf.solve(problem, report=None)


def test_discrepancy_moves_the_penalty_towards_the_target():
    subject = objective(Discrepancy("first", "second", target=2.0, rate=0.1, every=1, after=1), ToyProblem(), Toy())
    misfit = float(subject.residuals()["first"].detach().square().mean())  # 9 a^2 mean(x^2) = 90
    assert misfit == pytest.approx(90)
    subject.reweigh(0)
    assert "logarithm" not in subject.weights.state
    subject.reweigh(1)  # far above the target: the factor shrinks by the largest step
    assert float(subject.weights.state["logarithm"]) == pytest.approx(-0.1)
    assert float(subject.weights.scheme.factors(subject.weights.state, subject)["second"]) == pytest.approx(
        math.exp(-0.1)
    )
    loose = objective(Discrepancy("first", "second", target=90.0, rate=0.1, every=1, after=1), ToyProblem(), Toy())
    for step in range(2):
        loose.reweigh(step)
    assert float(loose.weights.state["logarithm"]) == pytest.approx(0.1 * (1 - 90 / 90**2))


@pytest.mark.parametrize("names", [("misfit", "second"), ("first", "smoothness")])
def test_discrepancy_needs_both_residuals(names):
    with pytest.raises(InputError, match=f"unknown residual '{'misfit' if 'misfit' in names else 'smoothness'}'"):
        nf.solve(ToyProblem(), Toy(), "adam", steps=1, weighting=Discrepancy(*names), report=None)
