"""A problem made of an operator and its data: defaults, scores, and what cannot be meant."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator

import nfsolve as nf
from nfsolve import InputError, Measurement, Observed
from nfsolve.reconstruct import Reconstruction

SIDE = 6
SHARP = np.exp(-((np.arange(SIDE)[:, None] - 2) ** 2 + (np.arange(SIDE) - 3) ** 2) / 4)
MATRIX = np.random.default_rng(0).standard_normal((30, SIDE**2))


@dataclass
class Seen(Measurement):
    """A small image through a random matrix."""

    change: Any = None

    shape = (SIDE, SIDE)

    def observe(self):
        given: dict[str, Any] = {"operator": MATRIX, "data": MATRIX @ SHARP.ravel(), "noise": 0.1, "truth": SHARP}
        return Observed(**given | (self.change or {}))

    def rivals(self, observed, measure):
        return {
            "pseudo": lambda: np.linalg.pinv(observed.operator) @ observed.data,
            "zero": lambda: Reconstruction(torch.zeros(self.shape), 0.5, 1, ""),
        }


def test_everything_else_has_a_default():
    solution = nf.solve(Seen(), steps=5, report=None)
    expected = np.linalg.pinv(MATRIX) @ MATRIX @ SHARP.ravel()
    gap = np.linalg.norm(expected - SHARP.ravel()) / np.linalg.norm(SHARP)
    assert solution.metrics["relative_l2_pseudo"] == pytest.approx(gap)
    assert solution.metrics["relative_l2_zero"] == 1
    assert solution.metrics["seconds_zero"] == 0.5
    assert {"psnr", "misfit", "relative_l2"} <= set(solution.metrics)
    assert solution.plot() is not None
    assert solution.metrics["determined"].startswith("30 of 36 values on the grid")


def test_the_misfit_is_in_units_of_the_noise():
    data = Seen().load("cpu", torch.float64)
    exact = torch.as_tensor(SHARP).reshape(-1, 1)
    field = lambda points: exact + 0.1  # noqa: E731
    expected = MATRIX @ np.full(SIDE**2, 0.1) / 0.1
    np.testing.assert_allclose(Seen().residuals(field, data)["data"][:, 0].numpy(), expected)
    unknown = Seen({"noise": None})
    size = np.sqrt(np.mean((MATRIX @ SHARP.ravel()) ** 2))
    found = unknown.residuals(field, unknown.load("cpu", torch.float64))["data"]
    np.testing.assert_allclose(found[:, 0].numpy(), 0.1 * expected / size)


def test_what_is_masked_does_not_count():
    kept = np.arange(30) % 3 > 0
    broken = np.where(kept, MATRIX @ SHARP.ravel(), np.nan)
    problem = Seen({"mask": kept, "data": broken, "noise": np.where(kept, 0.1, 0.0)})
    residual = problem.residuals(lambda p: torch.as_tensor(SHARP).reshape(-1, 1), problem.load("cpu", torch.float64))
    assert residual["data"].shape == (20, 1)
    assert residual["data"].abs().max() < 1e-10


def test_the_variation_is_that_of_the_grid():
    problem = Seen(tv=2.0)
    found = problem.residuals(lambda p: torch.as_tensor(SHARP).reshape(-1, 1), problem.load("cpu", torch.float64))
    steps = [np.diff(SHARP, axis=i, append=np.take(SHARP, [-1], i)) for i in (0, 1)]
    assert float(found["variation"].square().sum()) == pytest.approx(np.hypot(*steps).sum(), rel=0.01)
    assert problem.weights() == {"variation": 2.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"operator": np.eye(36), "data": SHARP.ravel()}, None),
        ({"operator": np.eye(36), "data": SHARP.ravel(), "mask": np.arange(36) < 20}, "20 of 36"),
        ({"operator": np.ones((36, 36)), "data": SHARP.ravel()}, "1 of 36"),
        ({"operator": lambda image: image**2, "data": SHARP}, None),
    ],
)
def test_what_the_data_leave_open_is_said(change, said):
    problem = Seen(change)
    field = lambda points: torch.zeros(len(points), 1, dtype=torch.float64)  # noqa: E731
    found = problem.metrics(field, problem.load("cpu", torch.float64)).get("determined")
    assert found is None if said is None else found.startswith(said)


def test_points_are_the_centres_of_cells():
    @dataclass
    class Line(Seen):
        shape = (2, 4)

    assert Line().domain == nf.Box(x=(0, 0.5), y=(0, 1))
    assert Line().points()[[0, 1, -1]].tolist() == [[0.125, 0.125], [0.125, 0.375], [0.375, 0.875]]


def test_a_solution_has_an_uncertainty():
    solution = nf.solve(Seen(), steps=20, report=None)
    band = nf.posterior(solution, noise=1.0).band(Seen().points())  # in units of the noise
    assert band.standard_error.shape == (36, 1)
    assert bool((band.standard_error > 0).all())


@dataclass
class TwoTelescopes(Measurement):
    """One line through a sharp telescope and, with less noise, through one of unknown blur and gain."""

    width: nf.Unknown = nf.Unknown(4.0, positive=True)  # noqa: RUF009  # frozen
    gain: nf.Unknown = nf.Unknown(1.0)  # noqa: RUF009  # frozen

    shape = (24,)

    def observe(self):
        at = torch.arange(24, dtype=torch.float64)

        def both(values, width, gain):
            blur = torch.exp(-((at[:, None] - at) ** 2) / (2 * width**2))
            return torch.stack([values, gain * (blur / blur.sum(1, keepdim=True)) @ values])

        exact = both(torch.exp(-((at - 9) ** 2) / 8), 2.0, 1.5)
        noise = torch.tensor([[0.05], [0.01]]).expand(2, 24)
        chance = torch.randn(2, 24, generator=torch.Generator().manual_seed(0))
        return Observed(both, exact + noise * chance, noise=noise)


def test_an_operator_takes_unknown_scalars():
    solution = nf.solve(TwoTelescopes(), steps=40, report=None)
    posterior = nf.posterior(solution)
    for name, true in {"width": 2.0, "gain": 1.5}.items():
        error = posterior.standard_errors[name]
        assert 0 < error < 0.2 * true
        assert abs(posterior.values[name] - true) < 3 * error
    assert solution.metrics["misfit"] < 1.5  # with the scalars as they were found


def test_arguments_that_are_no_unknown_scalars_are_refused():
    with pytest.raises(InputError, match="must be unknown scalars of the problem, got 'width'. Declare it as width"):
        Seen({"operator": lambda values, width: values}).load("cpu", torch.float64)

    class Closed(TwoTelescopes):
        def observe(self):
            return Observed(lambda values: values**self.width, np.ones(24))

    with pytest.raises(InputError, match="Take unknown scalars as arguments of the operator, by their names"):
        Closed().load("cpu", torch.float64)


@dataclass
class Dim(Measurement):
    """A blurred line with noise that is known, or said to be another one."""

    said: float | None = 0.02

    shape = (40,)

    def observe(self):
        at = np.arange(40)
        blur = np.exp(-(np.subtract.outer(at, at) ** 2) / 18) / 7.5
        sharp = np.exp(-((at - 15) ** 2) / 50)
        data = blur @ sharp + 0.02 * np.random.default_rng(0).standard_normal(40)
        return Observed(blur, data, noise=self.said, truth=sharp)


def test_a_field_of_which_nothing_is_said_is_smooth_as_the_evidence_says():
    smooth, rough = (nf.solve(problem, report=None) for problem in (Dim(), Dim(slopes=0.0)))
    assert smooth.metrics["relative_l2"] < 0.6 * rough.metrics["relative_l2"]
    assert "slopes=0 for none" in smooth.metrics["prior"]
    assert "prior" not in rough.metrics
    posterior = nf.posterior(smooth)
    assert posterior.noise == {"data": (1.0,)}  # as it was given
    assert np.isinf(posterior.freedom)
    assert not posterior.warnings
    assert "slopes" not in Dim(tv=1.0).weights()


def test_noise_that_residuals_contradict_is_said():
    warnings = nf.posterior(nf.solve(Dim(0.2), report=None)).warnings
    assert any("times what the noise that was given" in text and "the noise is smaller" in text for text in warnings)
    assert np.isfinite(nf.posterior(nf.solve(Dim(None), report=None)).freedom)


MISTAKES = {
    r"the mask must have the shape \(30,\) of the data, got \(7,\)": {"mask": np.ones(7)},
    "the mask must keep at least one": {"mask": np.zeros(30)},
    "noise must be positive, because misfits are divided by it, got 0": {"noise": 0},
    r"noise must be a number, or have the shape \(30,\) of the data": {"noise": np.ones(3)},
    "truth must have the shape": {"truth": np.ones(3)},
    "takes 36 values to 30, but the grid": {"data": np.ones(29)},
    "the operator gives 1 real numbers for a grid": {"operator": torch.sum},
    "the operator must see the field": {"operator": 0 * MATRIX},
    "data must hold at least one number": {"data": []},
    "data must be an array of numbers": {"data": object()},
    "noise must be positive, because misfits are divided by it, got -1": {"noise": -1.0},
    "noise must be positive, because misfits are divided by it, got nan": {"noise": float("nan")},
    "noise must be real, got complex": {"noise": 1j},
    "noise must be an array of numbers": {"noise": "much"},
    "the mask must hold True and False, or 1 and 0": {"mask": np.arange(30)},
    "the mask must be an array of numbers": {"mask": ["yes"] * 30},
    "random values between 0 and 1 30 of 30 are NaN or infinite": {"operator": np.full((30, 36), np.nan)},
    r"30 real numbers .* but the complex data \(30,\) have 60. A real operator has real data": {
        "data": 1j * np.ones(30)
    },
    r"60 real numbers .* but the data \(30,\) have 30. A complex operator": {"operator": 1j * MATRIX},
    "must return a tensor of torch, got ndarray": {"operator": lambda u: MATRIX @ u.numpy().ravel()},
    "must return a tensor of torch, got tuple": {"operator": lambda u: (u, u)},
    "data must be finite, but 30 of the 30 real numbers": {"data": np.full(30, np.nan)},
    "the mask must keep at least one entry": {"data": np.ma.masked_all(30)},
    "noise must be a standard deviation, got True": {"noise": True},
    r"got \(30, 30\). Give standard deviations; with a covariance": {"noise": np.eye(30)},
    "truth must be real": {"truth": 1j * SHARP},
    "two calls differ. Draw what is random once": {
        "operator": lambda u: torch.as_tensor(MATRIX) @ u.ravel() + torch.rand(30)
    },
    "bring constants to it": {"operator": lambda u: torch.as_tensor(MATRIX).float() @ u.ravel()},
    "got a tuple of 2. Stack several matrices by numpy.vstack": {"operator": (MATRIX, MATRIX)},
    "must be differentiable, but what it gives does not depend": {"operator": lambda u: u.detach().reshape(-1)[:30]},
    r"the operator failed for values on a grid of shape \(6, 6\): RuntimeError": {
        "operator": lambda u: u @ torch.ones(7)
    },
}


@pytest.mark.parametrize("message", MISTAKES)
def test_what_cannot_be_meant_is_refused(message):
    with pytest.raises(InputError, match=message):
        Seen(MISTAKES[message]).load("cpu", torch.float64)


UNITS = {
    "which a network fits badly: choose units": {"data": 1e12 * np.ones(30), "noise": None},
    "times as large as the data, which then say next to nothing": {"noise": 1e9},
    "below the rounding of numbers: check its units": {"noise": 1e-30},
}


@pytest.mark.parametrize("message", UNITS)
def test_units_that_cannot_be_meant_are_said(message):
    with pytest.warns(UserWarning, match=message):
        Seen(UNITS[message]).load("cpu", torch.float64)


def test_what_a_masked_array_hides_does_not_count():
    hidden = np.arange(30) % 3 == 0
    data = np.ma.masked_array(np.where(hidden, np.nan, 1.0), hidden)
    noise = np.ma.masked_array(np.full(30, 0.1), np.arange(30) == 1)
    kept = Seen({"data": data, "noise": noise}).load("cpu", torch.float64)["kept"]
    assert kept.tolist() == [i for i in range(30) if i % 3 and i != 1]


def test_a_linear_operator_acts_on_one_unknown():
    @dataclass
    class Two(Seen):
        unknowns = "u v"

    with pytest.raises(InputError, match="acts on one unknown, and Two has several"):
        Two({}).load("cpu", torch.float64)


NAMES = {
    "the name 'x' has two meanings in Named": {"unknowns": "x"},
    "the name 'u' has two meanings in Named": {"unknowns": "u u"},
    "the name 'y' has two meanings in Named": {"scalar": "y"},
    "unknowns must be a text of names": {"unknowns": ["u"]},
    "tv must be a number, got 'much'": {"tv": "much"},
    "slopes must be a number, got Unknown": {"slopes": nf.Unknown(1.0)},
    r"positive whole numbers, got \(6.0, 6\)": {"shape": (6.0, 6)},
    "positive whole numbers, got '66'": {"shape": "66"},
}


@pytest.mark.parametrize("message", NAMES)
def test_names_and_weights_that_cannot_be_meant_are_refused(message):
    said = dict(NAMES[message])
    scalar = said.pop("scalar", "")
    weights = {name: said.pop(name) for name in ("tv", "slopes") if name in said}
    named = type("Named", (Seen,), said)
    problem = named({}, **weights)
    if scalar:
        setattr(problem, scalar, nf.Unknown(1.0))
    with pytest.raises(InputError, match=message):
        nf.solve(problem, steps=1, report=None)


def test_a_class_without_observe_is_said_to_need_it():
    class Nothing(nf.Measurement):
        shape = (3,)

    with pytest.raises(InputError, match=r"`Nothing` has no observe\(\)"):
        Nothing()


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: np.ones(5), r"must have the shape \(6, 6\)"),
        (lambda: np.full(36, np.nan), "36 that are not finite"),
    ],
)
def test_a_rival_that_fails_costs_the_comparison_and_not_the_run(rival, said):
    class Compared(Seen):
        def rivals(self, observed, measure):
            return {"good": lambda: np.ones(36), "bad": rival}

    with pytest.warns(UserWarning, match=f"the rival 'bad' is left out: .*{said}"):
        metrics = nf.solve(Compared({}), steps=1, report=None).metrics
    assert "psnr_good" in metrics
    assert "psnr_bad" not in metrics


@pytest.mark.parametrize("kind", ["LinearOperator", "float32 physics", "physics without adjoint"])
def test_operators_that_torch_cannot_follow_are_solved_by_gauss_newton(kind):
    class Alone(Seen):
        def rivals(self, observed, measure):
            return {}

    class Physics:
        def A(self, x):
            return torch.as_tensor(MATRIX).float() @ x.reshape(-1)

    class WithAdjoint(Physics):
        def A_adjoint(self, y):
            return torch.as_tensor(MATRIX).float().T @ y.reshape(-1)

    operators = {
        "LinearOperator": aslinearoperator(MATRIX),
        "float32 physics": WithAdjoint(),
        "physics without adjoint": Physics(),
    }
    given = {"data": MATRIX @ SHARP.ravel(), "noise": 0.1}
    both = (MATRIX, operators[kind])
    metrics = [nf.solve(Alone({"operator": op, **given}), steps=5, report=None).metrics for op in both]
    assert metrics[1]["misfit"] == pytest.approx(metrics[0]["misfit"], rel=1e-3)


def test_what_observe_must_return():
    @dataclass
    class Forgotten(Seen):
        def observe(self):
            return MATRIX, np.ones(30)

    with pytest.raises(InputError, match=r"observe\(\) of Forgotten must return an Observed, got tuple"):
        nf.solve(Forgotten(), steps=1, report=None)


def test_values_that_data_do_not_determine_are_named():
    blurred = np.exp(-(np.subtract.outer(np.linspace(0, 1, 30), np.linspace(0, 1, 36)) ** 2) / 0.5) / 36
    change = {"operator": blurred, "data": blurred @ SHARP.ravel(), "noise": 0.01, "truth": None}
    solution = nf.solve(Seen(change), steps=20, report=None)
    said = " ".join(nf.posterior(solution, noise=1.0).warnings)
    assert "'u' is not identifiable at" in said
    assert "by slopes= or tv=" in said
    clear = Seen({"operator": np.eye(36), "data": SHARP.ravel(), "noise": 0.01})
    assert "not identifiable" not in str(nf.posterior(nf.solve(clear, steps=40, report=None), noise=1.0))


def test_a_grid_needs_a_shape():
    @dataclass
    class None_(Seen):
        shape = ()

    with pytest.raises(InputError, match="shape of a grid must have 1 to 4 positive whole numbers"):
        None_().domain  # noqa: B018

    @dataclass
    class Number(Seen):
        shape = 36

    with pytest.raises(InputError, match="1 to 4 positive whole numbers, got 36"):
        nf.solve(Number(), steps=1, report=None)
