"""Natural mistakes in a call of solve or in a residual: each ends in a sentence, or in the right value."""

import json
import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, InputError, Unknown, face, interior
from nfsolve._core.spec import build, describe
from nfsolve.run.plan import Plan

PLANE = Box(t=(0, 1), x=(-1, 1))


def solve(body, names="u", **options):
    members = {"domain": PLANE, "unknowns": names, "law": interior(body)}
    problem = dataclass(type("Made", (PDE,), members))(n_points=16)
    return nf.solve(problem, partial(nf.MLP, width=4), **({"steps": 1, "report": None} | options))


def python_number(self, u, u_t):
    return u_t - u.item()


def a_float(self, u, u_t):
    return u_t - float(u)


def of_math(self, u_t, x):
    return u_t - math.sin(x)


def of_numpy(self, u, u_t):
    return u_t - np.sin(u)


def of_numpy_method(self, u, u_t):
    return u_t - torch.as_tensor(u.numpy())


def branch(self, u, u_t):
    return u_t if u > 0 else u


def divided(self, u_t):
    return u_t / (1 // 0)


def attribute(self, u_t):
    return self.nu * u_t


def twice_the_name(self, u_t):
    return undefined * u_t  # noqa: F821


def no_value(self, u_t):
    u_t + 1


def a_list(self, u_t, u_x):
    return [u_t, u_x]


def a_mapping(self, u_t):
    return {"u": u_t}


def a_number(self, u_t):
    return 0.0


def an_array(self, x):
    return np.zeros((len(x), 1))


def a_mean(self, u_t):
    return u_t.square().mean()


def flat(self, u_t):
    return u_t[:, 0]


def outer(self, u_t, x):
    return u_t - x[:, 0]


def deepxde(self, u, x):
    return u - x[:, 1:2]


def complex_valued(self, u_t, u_x):
    return u_t + 1j * u_x


def truth(self, u_t):
    return u_t > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (python_number, "Python number"),
        (a_float, "Python number"),
        (of_math, "turned into one Python number"),
        (of_numpy, "a numpy function got a tensor that is trained"),
        (of_numpy_method, "a numpy function got a tensor that is trained"),
        (branch, "a condition asks about many points at once.*torch.where"),
        (divided, "ZeroDivisionError"),
        (attribute, "AttributeError: .*nu"),
        (twice_the_name, "NameError: .*undefined"),
        (no_value, "it returned None.*Add the missing return"),
        (a_list, "it returned a list.*torch.cat"),
        (a_mapping, "it returned a dict"),
        (a_number, "it returned a float"),
        (an_array, "it returned a ndarray"),
        (a_mean, r"got shape \(\) for 16 points.*not its mean square"),
        (flat, r"got shape \(16,\) for 16 points.*keep columns"),
        (outer, r"got shape \(16, 16\) for 16 points.*keep columns"),
        (deepxde, r"got shape \(16, 0\) for 16 points.*is one column"),
        (complex_valued, r"must be real, but it is complex.*r.real, r.imag"),
        (truth, "must be real, but it is torch.bool"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_residual_that_cannot_be_is_refused_with_its_line(body, message):
    with pytest.raises(InputError, match=message) as caught:
        solve(body)
    assert "test_mistakes.py, line" in str(caught.value)


def test_a_table_at_hand_may_be_interpolated_by_numpy():
    knots = np.linspace(-1, 1, 51)

    def start(self, u, x):
        return u - torch.as_tensor(np.interp(x.numpy(), knots, np.sin(knots)))

    assert not solve(start).failed


@pytest.mark.parametrize(("singular", "value"), [(lambda x: torch.log(x), "nan"), (lambda x: 1 / (x - x), "inf")])
def test_a_residual_that_is_not_finite_says_where(singular, value):
    def law(self, u_t, x):
        return u_t + singular(x)

    stopped = solve(law).stopped
    assert stopped.startswith("non-finite residual 'law' at step 1: ")
    assert value in stopped and " at t = " in stopped and ", x = " in stopped


def decay(self, u, u_t):
    return u_t + u


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 5}, "unknown argument of solve 'epochs'.*Write steps="),
        ({"learning_rate": 1e-3}, "Write lr="),
        ({"weights": {"law": 2}}, "Write weight= in the mark"),
        ({"n_points": 5}, "number of points to the problem"),
        ({"sead": 5}, "unknown argument of solve 'sead': did you mean 'seed'"),
        ({"optimizer": torch.optim.Adam([torch.zeros(1)])}, "got an Adam that is built.*partial"),
        ({"optimizer": 3}, "must be a class, a partial of one, or its name, got an int"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
        ({"dtype": int}, "unknown dtype 'int'"),
    ],
    ids=str,
)
def test_arguments_of_solve_that_are_not_there_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        solve(decay, **options)


@pytest.mark.parametrize("dtype", [float, np.float64, "float64", torch.float64])
def test_a_type_may_be_that_of_any_library(dtype):
    assert next(solve(decay, dtype=dtype).field.parameters()).dtype == torch.float64


def made():
    return dataclass(type("Made", (PDE,), {"domain": PLANE, "law": interior(decay)}))


@pytest.mark.parametrize(
    ("problem", "message"), [(made(), r"the class Made. Write solve\(Made\(\)\)"), (3, "got 3"), (None, "got None")]
)
def test_solve_needs_an_instance(problem, message):
    with pytest.raises(InputError, match=message):
        nf.solve(problem)


class Named(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(2, 1, dtype=torch.float64)

    def forward(self, x, t):
        return torch.tanh(self.net(torch.cat([t, x], 1)))


def test_a_module_may_take_the_coordinates_by_name():
    solution = nf.solve(made()(n_points=16), Named(), steps=3, report=None)
    points = torch.rand(5, 2, dtype=torch.float64)
    assert torch.equal(solution.field(points), solution.field.module(x=points[:, 1:], t=points[:, :1]))
    assert solution.history[-1]["loss"] < solution.history[0]["loss"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.nn.Linear, "got the class Linear. Build it"),
        (lambda problem, **options: 3, "must return an nn.Module, got 3"),
        (3, "field must be a field, a class .*, got 3"),
        (torch.nn.Linear(1, 1), "shapes or types of tensors do not fit"),
        (torch.nn.Linear(2, 3).double(), r"must have 1 output \(u\), got 3"),
        (torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0)).double(), "must map points"),
        (torch.nn.Identity(), "at least one parameter"),
    ],
    ids=["class", "maker", "number", "inputs", "outputs", "flat", "empty"],
)
def test_what_is_no_field_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        nf.solve(made()(n_points=16), given, steps=1, report=None)


@pytest.mark.parametrize("activation", [torch.nn.SiLU(), torch.nn.Mish(), torch.nn.ELU(), torch.nn.Softplus(),
                                        torch.nn.GELU(), torch.nn.Softplus(beta=2)], ids=str)  # fmt: skip
@pytest.mark.parametrize("optimizer", [None, "adam", "ssbroyden"])
def test_networks_with_any_activation_are_trained(activation, optimizer):
    def law(self, u_xx, t):
        return u_xx + t

    problem = dataclass(type("Made", (PDE,), {"domain": PLANE, "law": interior(law)}))(n_points=16)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 6), activation, torch.nn.Linear(6, 1)).double()
    solution = nf.solve(problem, net, optimizer, steps=3, resample=0, report=None)  # on the same points
    assert solution.history[-1]["loss"] < solution.history[0]["loss"]


def test_what_seems_to_be_missing_is_said_before_training():
    rows = []
    solve(decay, names="u v", report=rows.append)
    said = [row["warning"] for row in rows[: rows.index(next(r for r in rows if "step" in r))]]
    assert any("unknown 'v' does not occur in any residual" in text for text in said)
    assert any("no initial or boundary condition" in text for text in said)


@dataclass
class Clock(PDE):
    domain = Box(t=(1.7e9, 1.7e9 + 3600))

    @interior
    def decay(self, u, u_t, t):
        return u_t * 3600 + u + 0 * torch.sin((t - 1.7e9) / 3600)

    @face(t=1.7e9)
    def start(self, u):
        return u - 1

    def exact(self, t):
        return torch.exp(-(t - 1.7e9) / 3600)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-3), ("float64", 1e-8)])
def test_times_in_seconds_since_1970_are_solved_in_either_type(dtype, error):
    solution = nf.solve(Clock(n_points=50, n_face=4), steps=60, dtype=dtype, report=None)
    assert solution.metrics["relative_l2"] < error
    at = np.array([[1.7e9 + 1800.0]])
    assert solution.predict(at).item() == pytest.approx(math.exp(-0.5), abs=error)
    with pytest.raises(InputError, match="your own network loses their digits in float32"):
        nf.solve(Clock(n_points=50), torch.nn.Linear(1, 1), steps=1, report=None)


VALUES = {
    "array": np.linspace(0, 1, 7) ** 3,
    "float32": np.float32([[0.1, 1e-30]]),
    "integers": np.arange(6).reshape(2, 3),
    "booleans": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "not finite": np.array([np.nan, -np.inf]),
    "tensor": torch.linspace(0, 1, 5, dtype=torch.float64),
    "integer tensor": torch.arange(4),
    "no dimension": np.array(0.1),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_arrays_are_stored_losslessly(value):
    found = build(json.loads(json.dumps(describe({"k": value}))))["k"]
    assert type(found) is type(value) and found.dtype == value.dtype and found.shape == value.shape
    assert np.array_equal(np.asarray(found), np.asarray(value), equal_nan=value.dtype in (np.float64,))


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float64(0.1), np.float32(0.1), np.int64(3), np.bool_(True)])
def test_numbers_are_stored_losslessly(value):
    assert build(json.loads(json.dumps(describe(value)))) == value


@dataclass
class Tabulated(PDE):
    table: Any = field(default_factory=lambda: np.array([1.0, 2.0]))
    source: Any = None
    k: Unknown = Unknown(1.0)  # noqa: RUF009
    domain = PLANE

    @interior
    def law(self, u_t):
        return u_t - self.k * float(self.table[1])

    @face(t=0)
    def start(self, u):
        return u


def test_a_run_with_an_array_as_parameter_is_loaded_again(tmp_path):
    table = np.array([0.1, 1 / 3])
    nf.solve(Tabulated(table, n_points=8, n_face=4), steps=1, out=tmp_path / "run", report=None)
    assert np.array_equal(nf.reopen(tmp_path / "run", problem=Tabulated).problem.table, table)


def test_a_parameter_that_cannot_be_stored_is_said_before_training(tmp_path):
    rows = []
    problem = Tabulated(source=lambda x: x, n_points=8, n_face=4)
    assert Plan.unstored(problem) == ["source"]
    nf.solve(problem, steps=1, out=tmp_path / "run", report=rows.append)
    assert any("parameter 'source' cannot be stored" in row.get("warning", "") for row in rows)
    with pytest.raises(InputError, match="which config.json cannot hold"):
        nf.load(tmp_path / "run", problem=Tabulated)
    assert nf.load(tmp_path / "run", problem=problem) is not None


def test_former_names_lead_to_the_present_ones():
    with pytest.warns(DeprecationWarning, match=r"nfsolve.matched is now called nfsolve.paired"):
        assert nf.matched is nf.paired
    with pytest.raises(AttributeError, match="did you mean 'Box'"):
        nf.Bax  # noqa: B018
