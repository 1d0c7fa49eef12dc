"""What a user may write by mistake in the class of a PDE: each gets a sentence, with the line of this file."""

import importlib
import inspect
import math
import pkgutil
import types
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import nfsolve as nf
import problems.pde
from nfsolve import (
    PDE,
    Box,
    Disk,
    InputError,
    boundary,
    face,
    integral,
    interior,
    measured,
    paired,
    parameter,
    periodic,
)
from nfsolve.problem import Unknown
from nfsolve.problem.problem import SamplerState

LINE = Box(x=(0, 1))
PLANE = Box(t=(0, 1), x=(-1, 1))


def make(names="u", domain=LINE, **members):
    return dataclass(type("Made", (PDE,), {"domain": domain, "unknowns": names, **members}))


def free(self, u_x):
    return u_x


@pytest.mark.parametrize("unknowns", ["u v", ("u", "v"), ["u", "v"]])
def test_unknowns_may_be_words_or_a_sequence(unknowns):
    problem = make(unknowns, free=interior(free))()
    problem.check()
    assert problem.outputs == ("u", "v")


@pytest.mark.parametrize("unknowns", ["u, v", "u-v", "", (), "2u", ("u v",)])
def test_unknowns_that_are_no_names_are_refused(unknowns):
    with pytest.raises(InputError, match="unknowns of Made must be names, got"):
        make(unknowns)().check()


def test_an_unknown_that_is_no_name_is_told_before_what_its_residuals_name():
    with pytest.raises(InputError, match="unknowns of Made must be names, got 'u:complex'"):
        make("u:complex", free=interior(free))()


def test_a_delay_is_told_in_words():
    def delayed(self, u_t, u, t):
        return u_t - u(t - 1)

    problem = make("u", domain=Box(t=(0, 2)), delayed=interior(delayed))()
    said = r"not a function that can be evaluated elsewhere .*a delay, u\(t - 1\), cannot be written"
    with pytest.raises(InputError, match=said):
        nf.solve(problem, steps=1, report=None)


@pytest.mark.parametrize("domain", [None, (0, 1), {"x": (0, 1)}, Box, "x"])
def test_a_domain_is_needed(domain):
    cls = dataclass(type("Made", (PDE,), {"free": interior(free)} | ({"domain": domain} if domain else {})))
    with pytest.raises(InputError, match="Made needs a domain, but .*write domain = Box|Write domain = Box"):
        cls().check()


@pytest.mark.parametrize(
    ("unknowns", "domain", "meaning"),
    [
        ("x", LINE, "the coordinate x"),
        ("u t", PLANE, "the coordinate t"),
        ("D", LINE, r"D\(...\), the derivative"),
        ("n_x", LINE, "the outward normal along x"),
        ("normal_x u", LINE, "the outward normal along x"),
        ("lap_u u", LINE, "the Laplacian of u"),
        ("u u_xx", LINE, "the derivative of u along x, x"),
        ("u u_tx", PLANE, "the derivative of u along t, x"),
    ],
)
def test_an_unknown_with_the_name_of_something_else_is_refused(unknowns, domain, meaning):
    with pytest.raises(InputError, match=rf"The unknown '.*' has the name of {meaning}"):
        make(unknowns, domain)()


def test_a_coordinate_with_the_name_of_the_operator_is_refused():
    with pytest.raises(InputError, match=r"The coordinate 'D' has the name of D\("):
        make(domain=Box(D=(0, 1)))()


@pytest.mark.parametrize("unknowns", ["n", "phi n p", "normal"])
@pytest.mark.parametrize("mark", [face(x=1), boundary], ids=["face", "boundary"])
def test_on_a_boundary_a_derivative_with_the_name_of_the_normal_must_say_which(unknowns, mark):
    out = "normal" if unknowns == "normal" else "n"
    space = {"mark": mark}
    exec(f"@mark\ndef flux(self, {out}_x): return {out}_x", space)
    with pytest.raises(InputError, match=rf"'{out}_x' in `flux` may mean .* normal along x or the derivative of {out}"):
        make(unknowns, flux=space["flux"])()


def test_the_normal_has_a_long_name_and_the_derivative_another_form():
    @dataclass
    class Robin(PDE):
        domain, unknowns = LINE, "n"

        @interior
        def balance(self, n_x):  # there are no normals inside
            return n_x - 2

        @face(x=(0, 1))
        def outward(self, D, normal_x):
            return D(lambda n: n, "x") * normal_x

    problem = Robin(n_points=4, n_face=2)
    batch = problem.sample(problem.load("cpu", torch.float64), SamplerState(), torch.Generator().manual_seed(0))
    found = problem.residuals(lambda x: 1 + 2 * x, batch)
    assert found["balance"].abs().max() < 1e-12
    assert torch.allclose(found["outward"], torch.tensor([[-2.0], [2.0]], dtype=torch.float64))


def test_suffixes_are_free_where_they_mean_nothing():
    def both(self, u, u_low, u_low_x, u_data):
        return u - u_low * u_low_x - u_data

    make("u u_low u_data", both=interior(both))()
    with pytest.raises(InputError, match="'u_low' in `both` may mean the unknown u_low or the unknown u at the low"):
        make("u u_low u_data", both=paired(x=(0, 1))(both))()
    with pytest.raises(InputError, match="'u_data' in `both` may mean the unknown u_data or the measured values of u"):
        make("u u_low u_data", both=measured("probes")(both))()


def test_a_derivative_that_can_be_read_in_two_ways_is_refused():
    def second(self, u_xx):
        return u_xx

    with pytest.raises(InputError, match="may mean the derivative of u along xx or the derivative of u along x, x"):
        make(domain=Box(x=(0, 1), xx=(0, 1)), second=interior(second))()
    make(domain=Box(x=(0, 1), xi=(0, 1)), second=interior(lambda self, u_xxi, u_xixi: u_xxi - u_xixi))()


def no_self(u_x):
    return u_x


def nothing():
    return 0


def with_default(self, u_x, k=2.0):
    return u_x - k


def with_many(self, *names):
    return names


def misspelt(self, u_t, ux):
    return u_t - ux


def normal_derivative(self, u_n):
    return u_n


def plate(self, lap_lap_u):
    return lap_lap_u


def moment(self, u_nn):
    return u_nn


def by_letters(self, dudx):
    return dudx


def gradient(self, grad_u):
    return grad_u


def normal_by_letters(self, nx):
    return nx


def normal(self, n_x):
    return n_x


def pair(self, u_low):
    return u_low


def data(self, u_data):
    return u_data


def of_the_field(self, u, field):
    return u - field(0.5)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (no_self, r"must take self first, got \(u_x\)"),
        (nothing, r"must take self first, got \(\)"),
        (with_default, "'k' in .* is neither .* Make it a parameter .*`k: float = 2.0`"),
        (with_many, r"must name each value that it needs, got \*names"),
        (misspelt, "unknown name 'ux'"),
        (normal_derivative, r"unknown coordinate 'n' in 'u_n'.*outward normal write n_x \* u_x"),
        (plate, r"unknown name 'lap_lap_u'.*Write u_xxxx"),
        (moment, r"second derivative along the outward normal write n_x\*\*2 \* u_xx"),
        (by_letters, "unknown name 'dudx'.* Write u_x"),
        (gradient, "unknown name 'grad_u'.* Name its components, u_x"),
        (normal_by_letters, "unknown name 'nx'.* Write n_x for the outward normal along x"),
        (normal, "is the normal, which exists only on faces"),
        (pair, "compares two places, which only @paired does"),
        (data, "is a measured value, which exists only for @measured"),
        (of_the_field, "'field' in .* is not a value at a point"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_signatures_that_cannot_be_served_are_refused_with_their_line(method, message):
    line = inspect.getsourcelines(method)[1]
    with pytest.raises(InputError, match=message) as caught:
        make(domain=PLANE, wrong=interior(method))()
    assert f"test_declared.py, line {line})" in str(caught.value)


def test_what_has_no_name_is_written_out():
    square = Box(x=(0, 1), y=(0, 1))
    with pytest.raises(InputError, match=r"Write u_xxxx \+ 2 \* u_xxyy \+ u_yyyy"):
        make(domain=square, wrong=interior(plate))()
    with pytest.raises(InputError, match=r"write n_x\*\*2 \* u_xx \+ 2 \* n_x \* n_y \* u_xy \+ n_y\*\*2 \* u_yy"):
        make(domain=square, wrong=interior(moment))()


@pytest.mark.parametrize("name", ["load", "sample", "weights", "place", "recipe", "check"])
def test_a_condition_must_not_replace_a_method_of_the_library(name):
    with pytest.raises(InputError, match=f"The condition '{name}' has the name of a method of every PDE"):
        make(**{name: interior(free)})()


def exact_of_y(self, x, y):
    return x + y


def exact_without_self(x):
    return x


def ansatz_of_v(self, v, x):
    return v * x


def ansatz_of_nothing(self, x):
    return x


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        ("exact", exact_of_y, "Unknown argument 'y' of `exact`: this problem has x"),
        ("exact", exact_without_self, r"`exact` must take self first, got \(x\)"),
        ("ansatz", ansatz_of_v, "Unknown argument 'v' of `ansatz`: this problem has u, x"),
        ("ansatz", ansatz_of_nothing, r"`ansatz` must take an unknown, u, got \(x\)"),
    ],
)
def test_signatures_of_exact_and_ansatz_are_checked(name, method, message):
    with pytest.raises(InputError, match=message):
        make(free=interior(free), **{name: method})()


TRUE = {
    "a column": lambda self, x: torch.sin(x),
    "an array (n,)": lambda self, x: torch.sin(x)[:, 0],
    "a number": lambda self, x: 0.5,
    "numpy": lambda self, x: np.sin(np.asarray(x)),
    "numpy (n,)": lambda self, x: np.sin(np.asarray(x))[:, 0],
    "a tuple": lambda self, x: (torch.sin(x),),
    "a list": lambda self, x: [torch.sin(x)],
    "a dictionary": lambda self, x: {"u": torch.sin(x)},
}


@pytest.mark.parametrize("exact", TRUE.values(), ids=TRUE)
def test_an_exact_solution_may_come_in_any_natural_form(exact):
    problem = make(free=interior(free), exact=exact)()
    found = problem.load("cpu", torch.float64)
    expected = (
        torch.full_like(found["reference"].points, 0.5)
        if exact is TRUE["a number"]
        else torch.sin(found["reference"].points)
    )
    assert torch.allclose(found["reference"].values, expected)


@pytest.mark.parametrize(
    ("unknowns", "returned", "message"),
    [
        ("u v", lambda self, x: x, r"must return 2 columns \(u, v\), but at .* points it returned shape \(20000, 1\)"),
        ("u", lambda self, x: (x, x), r"must return 1 column \(u\), but"),
        ("u v", lambda self, x: {"u": x}, "but it returned a dict of u"),
        ("u", lambda self, x: None, "but it returned None"),
        ("u", lambda self, x: "sin", "but it returned a str"),
        ("u", lambda self, x: x[:3], r"but at .* points it returned shape \(3, 1\)"),
    ],
)
def test_an_exact_solution_of_another_form_is_refused(unknowns, returned, message):
    with pytest.raises(InputError, match=message) as caught:
        make(unknowns, free=interior(free), exact=returned)().load("cpu", torch.float64)
    assert "test_declared.py, line" in str(caught.value)


@pytest.mark.parametrize(
    "ansatz",
    [
        lambda self, u, v, x: (x * u, v),
        lambda self, u, v, x: [x * u, v],
        lambda self, u, v, x: torch.cat([x * u, v], 1),
    ],
    ids=["tuple", "list", "tensor"],
)
def test_an_ansatz_of_two_unknowns_may_return_them_in_any_form(ansatz):
    points, values = torch.rand(5, 1), torch.rand(5, 2)
    found = make("u v", free=interior(free), ansatz=ansatz)().output_transform()(points, values)
    assert torch.equal(found, values * torch.cat([points, torch.ones_like(points)], 1))


@pytest.mark.parametrize("returned", [lambda u, v: u, lambda u, v: (u[:, 0], v[:, 0]), lambda u, v: None,
                                      lambda u, v: (u, v, u), lambda u, v: (u, 1.0)])  # fmt: skip
def test_an_ansatz_that_returns_something_else_is_refused(returned):
    problem = make("u v", free=interior(free), ansatz=lambda self, u, v: returned(u, v))()
    with pytest.raises(InputError, match=r"`ansatz` takes u, v and must return a column \(n, 1\) for each, but"):
        problem.output_transform()(torch.rand(5, 1), torch.rand(5, 2))


class Undecorated(PDE):
    nu: float = 0.1
    domain = LINE

    @interior
    def balance(self, u_x):
        return self.nu * u_x


def test_parameters_without_dataclass_are_refused():
    for make_it in (lambda: Undecorated(nu=0.3), lambda: Undecorated().check()):
        with pytest.raises(
            InputError, match="`Undecorated` declares nu but is not a dataclass .*line.*Write @dataclass"
        ):
            make_it()

    class Facts(PDE):
        domain: Box = LINE
        unknowns: str = "u"
        order: ClassVar[int] = 3
        balance = interior(free)

    Facts().check()


def test_an_unknown_parameter_is_refused_with_the_nearest():
    @dataclass
    class Heat(PDE):
        conductivity: float = 1.0
        domain = LINE

    with pytest.raises(InputError, match="unknown parameter of Heat 'conductvity': did you mean 'conductivity'"):
        Heat(conductvity=2.0)


def laplacian(self, lap_u):
    return lap_u


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (Box(x=(0, 1), k=(1, 3)), r"along k as along x.*k=nf.parameter"),
        (Box(s=(0, 1), x=(0, 1)), r"along s as along x.*s=nf.parameter"),
        (Box(r=(0, 1), theta=(0, 1)), "not the Laplacian in the coordinates r, theta"),
        (Box(x=(0, 1), phi=(0, 1)), "not the Laplacian in the coordinates x, phi"),
    ],
)
def test_a_laplacian_along_what_may_be_no_space_is_refused(domain, message):
    with pytest.raises(InputError, match=message):
        make(domain=domain, balance=interior(laplacian))()


@pytest.mark.parametrize(
    "domain",
    [
        Box(t=(0, 1), x=(0, 1), k=parameter(1, 3)),
        Box(time=(0, 1), x=(0, 1)),
        Box(s=parameter(0, 1), x=(0, 1)),
        Box(tau=(0, 1), k=parameter(1, 3), x=periodic(0, 1)),
    ],
    ids=str,
)
def test_a_laplacian_is_of_space_alone(domain):
    problem = make(domain=domain, balance=interior(laplacian))(n_points=8)
    batch = problem.sample(problem.load("cpu", torch.float64), SamplerState(), torch.Generator().manual_seed(0))
    column = domain.index("x")
    found = problem.residuals(lambda points: points.pow(3).sum(1, keepdim=True), batch)["balance"]
    assert torch.allclose(found, 6 * batch["balance"].points[:, column : column + 1])
    make(domain=Box(a=(0, 1), b=(0, 1)), balance=interior(laplacian))()  # no name says otherwise
    make(domain=Box(x1=(0, 1), x_2=(0, 1), z=(0, 1)), balance=interior(laplacian))()


def inside(self, u_xx):
    return u_xx


def value(self, u):
    return u


def slope(self, u_x):
    return u_x


def again(method):
    """A copy, because a mark stays with its function."""
    return types.FunctionType(method.__code__, method.__globals__, method.__name__)


CAUTIONS = {
    "no condition": ({"a": interior(again(slope))}, "no initial or boundary condition and no data"),
    "an unknown in no residual": (
        {"unknowns": "u v", "a": interior(again(slope)), "b": face(x=0)(again(value))},
        "unknown 'v'",
    ),
    "one end of two": (
        {"a": interior(again(inside)), "b": face(x=0)(again(value))},
        "no condition on u at x=1, though u has second",
    ),
    "the other end": (
        {"a": interior(again(inside)), "b": boundary(part="x=1")(again(value))},
        "no condition on u at x=0",
    ),
    "behind D": (
        {"a": interior(lambda self, D, x: D(lambda x, u_x: x * u_x, "x")), "b": face(x=0)(again(value))},
        "no condition on u at x=1",
    ),
    "behind a Laplacian": (
        {"domain": Box(x=(0, 1), y=(0, 1)), "a": interior(again(laplacian)), "b": face(x=(0, 1))(again(value))},
        "no condition on u at y=0 and y=1",
    ),
    "around a disk": (
        {
            "domain": Box(t=(0, 1)) * Disk(x=0, y=0, radius=1),
            "a": interior(lambda self, u_t, lap_u: u_t - lap_u),
            "b": face(t=0)(again(value)),
        },
        "no condition on u at the boundary",
    ),
    "a wave without a velocity": (
        {
            "domain": PLANE,
            "a": interior(lambda self, u_tt, u_xx: u_tt - u_xx),
            "b": face(x=(-1, 1))(again(value)),
            "c": face(t=0)(again(value)),
        },
        "no condition on u at t=0, though u has second derivatives along t",
    ),
    "an end of time in place of a start": (
        {
            "domain": PLANE,
            "a": interior(lambda self, u_t, u_xx: u_t - u_xx),
            "b": face(x=(-1, 1))(again(value)),
            "c": face(t=1)(again(value)),
        },
        "u is known at the end of time, t=1, and not at its start: diffusion backward in time is ill-posed",
    ),
    "a constant": (
        {"domain": PLANE, "a": interior(lambda self, u_t, u_xx: u_t - u_xx), "b": boundary(again(slope))},
        "only derivatives of u occur, so a constant may be added to it: fix its value at a point, @face(t=..., x=...)",
    ),
    "the constant of a pressure": (
        {
            "unknowns": "u p",
            "a": interior(lambda self, u, u_xx, p_x: torch.cat([u_xx - p_x, u - 1], 1)),
            "b": boundary(lambda self, u: u - 1),
        },
        "only derivatives of p occur",
    ),
    "a forgotten mark": (
        {"a": interior(again(slope)), "b": face(x=0)(again(value)), "start": again(value)},
        "method 'start' takes u but has no mark",
    ),
}


@pytest.mark.parametrize(("members", "message"), CAUTIONS.values(), ids=CAUTIONS)
def test_what_seems_to_be_missing_is_said(members, message):
    members = dict(members)
    found = make(members.pop("unknowns", "u"), members.pop("domain", LINE), **members)().cautions()
    assert len(found) == 1 and message in found[0], found


class Helped(PDE):
    """A method that another one calls is no condition without a mark."""

    domain = LINE

    @interior
    def balance(self, u, u_x):
        return self.flux(u, u_x)

    def flux(self, u, u_x):
        return u - u_x

    @boundary(where="left")
    def wall(self, u):
        return u

    def left(self, x):
        return x < 0.5


QUIET = {
    "Cauchy data": {"a": interior(again(inside)), "b": face(x=0)(again(value)), "c": face(x=0)(again(slope))},
    "both ends": {"a": interior(again(inside)), "b": face(x=(0, 1))(again(value))},
    "the whole boundary": {"a": interior(again(inside)), "b": boundary(again(value))},
    "periodic": {"domain": Box(t=(0, 1), x=periodic(0, 1)), "b": face(t=0)(again(value)),
                 "a": interior(lambda self, u_t, u_xx: u_t - u_xx)},
    "an orbit": {"domain": Box(t=periodic(0, 1)), "a": interior(lambda self, u, u_tt: u_tt + u**3)},
    "paired": {"a": interior(again(inside)), "b": paired(x=(0, 1))(lambda self, u_low, u_high: u_low - u_high)},
    "measured": {"a": interior(again(inside)), "b": measured("probes")(lambda self, u, u_data: u - u_data)},
    "an ansatz": {"a": interior(again(inside)), "ansatz": lambda self, u, x: x * (1 - x) * u},
    "transport from the end of time": {"domain": PLANE, "a": interior(lambda self, u_t, u_x: u_t + u_x),
                                       "b": face(t=1)(again(value))},
    "a mean": {"a": interior(again(inside)), "b": boundary(again(slope)), "c": integral(equals=0)(again(value))},
    "a kernel": {"a": interior(lambda self, u_xx, integral: u_xx - integral(lambda u: u, x=(0, 1))),
                 "b": boundary(again(slope))},
    "a fit": {"a": interior(lambda self, u, x: u - torch.sin(math.pi * x))},
    "a wave": {"domain": PLANE, "a": interior(lambda self, u_tt, u_xx: u_tt - u_xx), "b": face(x=(-1, 1))(again(value)),
               "c": face(t=0)(again(value)), "d": face(t=0)(lambda self, u_t: u_t)},
}  # fmt: skip


@pytest.mark.parametrize("members", QUIET.values(), ids=QUIET)
def test_nothing_is_said_where_nothing_is_missing(members):
    members = dict(members)
    assert make(domain=members.pop("domain", LINE), **members)().cautions() == []
    assert Helped().cautions() == []


def test_the_gallery_is_cautious():
    for module in pkgutil.iter_modules(problems.pde.__path__):
        found = vars(importlib.import_module(f"problems.pde.{module.name}"))
        for cls in found.values():
            if inspect.isclass(cls) and issubclass(cls, PDE) and cls.__module__.endswith(f".{module.name}"):
                problem = cls()
                problem.check()
                assert problem.cautions() == [], module.name


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, list], ids=["numpy", "torch", "list"])
def test_measured_columns_may_be_in_memory(array):
    columns = {"x": array([0.0, 0.5]), "u": array([1.0, 2.0])}
    problem = make(probes=measured(columns)(lambda self, u, u_data: u - u_data))()
    rows = problem.load("cpu", torch.float64)["measured"]["probes"]
    assert rows.points.tolist() == [[0.0], [0.5]] and rows.columns["u_data"].tolist() == [[1.0], [2.0]]
    for wrong, message in (({"x": array([0.0])}, "must have columns x and"), ({"x": [2.0], "u": [1.0]}, "outside")):
        with pytest.raises(InputError, match=message):
            make(probes=measured(wrong)(value))().load("cpu", torch.float64)


class Frame:
    """What a table of pandas shows of itself."""

    columns = ("x", "u")

    def __getitem__(self, name):
        return np.array({"x": [0.0, 0.5], "u": [1.0, 2.0]}[name])


@pytest.mark.parametrize(
    "columns",
    [
        {"x": torch.tensor([0.0, 0.5], requires_grad=True), "u": np.array([[1.0], [2.0]])},
        {"x": (0, 0.5), "u": [1, 2], "note": ["a", "b"]},
        Frame(),
    ],
    ids=["gradient", "integers", "frame"],
)
def test_what_holds_measured_columns(columns):
    problem = make(probes=measured(columns)(lambda self, u, u_data: u - u_data))()
    rows = problem.load("cpu", torch.float64)["measured"]["probes"]
    assert rows.points.tolist() == [[0.0], [0.5]] and rows.columns["u_data"].tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [0.0], "y": [0.0]}, "the data of 'probes' must have columns x and at least one of u, but it has x, y"),
        ({"x": [0.0], "u": [1.0, 2.0]}, "the columns of the data of 'probes' must have one length"),
        ({"x": [0.0], "u": [math.nan]}, "column 'u' of the data of 'probes' must hold finite numbers, but it is nan"),
        ({"x": [0.0], "u": [1j]}, "'u' of the data of 'probes' must hold real numbers, not complex numbers"),
        ({"x": [0.0], "u": ["a"]}, "'u' of the data of 'probes' must hold real numbers, not text"),
        ({"x": [0.0], "u": [[1.0], [1.0, 2.0]]}, "'u' of the data of 'probes' must be an array of numbers"),
    ],
)
def test_measured_columns_in_memory_that_do_not_fit(columns, message):
    with pytest.raises(InputError, match=message) as caught:
        make(probes=measured(columns)(value))().load("cpu", torch.float64)
    assert "file" not in str(caught.value)


def test_a_class_inside_a_module_of_the_library_is_a_users_class():
    lonely = make(balance=interior(value))
    lonely.__module__ = "nfsolve.problem.operator.of"
    lonely.check(lonely())
    assert "no initial or boundary condition" not in str(lonely().cautions())  # of first order nowhere
    slope = make(names="u v", balance=interior(free))
    slope.__module__ = "nfsolve.problem.pde.window"
    assert any("unknown 'v' does not occur in any residual" in text for text in slope().cautions())


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (lambda: boundary(points=np.zeros((3, 1)))(value), "points of condition 'value' must be a whole number"),
        (lambda: interior(points=1e3)(value), "must be a whole number of at least 1, got 1000.0"),
        (lambda: interior(points=True)(value), "must be a whole number of at least 1, got True"),
        (lambda: face(x=0, weight=[1, 2])(value), "weight of condition 'value' must be a number"),
        (lambda: face(x=0, weight="2")(value), "must be a number that is not negative, got '2'"),
        (lambda: interior(part="rim"), "@interior takes where=, points= and weight=, got part="),
        (lambda: boundary(x=0), r"@boundary takes .* got x=. The sides of a Box are faces: write @face\(x=0\)"),
        (lambda: paired(x=(0, 1), where=3), "@paired takes points= and weight=, got where="),
        (lambda: interior(3), "@interior marks a method, got 3"),
        (lambda: measured(value), "@measured needs the name of a file, the columns by name or a method"),
        (lambda: measured(3), "@measured needs the name .* or a method that returns them, got 3"),
    ],
)
def test_marks_that_cannot_be_meant_are_refused(mark, message):
    with pytest.raises(InputError, match=message):
        mark()


def test_unknown_scalars_are_no_directions():
    problem = make(free=interior(free), nu=Unknown(1.0))()
    problem.check()


@pytest.mark.parametrize(
    ("wanted", "open_"), [("u u_t", False), ("u", True), ("u_t", True)], ids=["both", "value", "slope"]
)
def test_one_method_may_say_value_and_slope_at_the_start(wanted, open_):
    space = {"face": face, "interior": interior, "torch": torch}
    names = ", ".join(wanted.split())
    exec(f"@face(t=0)\ndef start(self, {names}): return torch.cat([{names}], -1)", space)
    exec("@interior\ndef motion(self, u_tt): return u_tt", space)
    problem = make(domain=Box(t=(0, 1)), start=space["start"], motion=space["motion"])()
    assert any("no condition on u at t=0" in text for text in problem.cautions()) is open_


def test_measured_data_may_depend_on_the_parameters():
    @dataclass
    class Probed(PDE):
        shift: float = 0.5
        domain = Box(x=(0, 1))

        def observe(self):
            return {"x": [0.0, 1.0], "u": [self.shift, 2.0]}

        @measured(observe)
        def gap(self, u, u_data):
            return u - u_data

    data = Probed(shift=3.0).load("cpu", torch.float64)
    assert data["measured"]["gap"].columns["u_data"].flatten().tolist() == [3.0, 2.0]


@pytest.mark.parametrize("typed", [True, False])
def test_a_parameter_with_the_name_of_a_method_is_refused(typed):
    body = {"load": 10.0} | ({"__annotations__": {"load": float}} if typed else {})
    beam = dataclass(type("Beam", (PDE,), {"domain": Box(x=(0, 1)), "unknowns": "w", "a": interior(value_of_w)} | body))
    with pytest.raises(InputError, match="'load' of Beam has the name of a method of every PDE"):
        nf.solve(beam(), report=None)


def value_of_w(self, w):
    return w
