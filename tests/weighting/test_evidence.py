"""Weights by the evidence against its maximum in closed form, and against noise that is known."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, InputError, interior, measured
from nfsolve.optim import GaussNewton
from nfsolve.weighting import Constant, Evidence
from problems.pde.poisson import Poisson

N = 24
BLUR = np.exp(-(np.subtract.outer(np.arange(N), np.arange(N)) ** 2) / 8) / 5
TRUTH = np.cumsum(np.random.default_rng(3).standard_normal(N)) / 3
NOISE = 0.05
DATA = BLUR @ TRUTH + NOISE * np.random.default_rng(4).standard_normal(N)


@dataclass
class Walk(nf.Measurement):
    """A blurred random walk: its slopes are the prior that it was drawn from."""

    slopes: float | None = 1.0
    known: bool = True
    shape = (N,)

    def observe(self):
        return nf.Observed(BLUR, DATA, noise=NOISE if self.known else None)


def most_evident(known: bool) -> float:
    """The weight of the slopes with the largest evidence, by the marginal likelihood of the data on a grid."""
    step = np.diff(np.eye(N), axis=0) * N
    values, vectors = np.linalg.eigh(step.T @ step)
    level = BLUR @ vectors[:, :1]
    left = np.linalg.svd(level)[0][:, 1:]  # without the mean, of which the prior knows nothing
    walk = (BLUR @ vectors[:, 1:] / values[1:]) @ (BLUR @ vectors[:, 1:]).T
    seen, best = left.T @ DATA / NOISE, []
    weights = np.exp(np.linspace(-12, 6, 721))
    for weight in weights:
        C = left.T @ (np.eye(N) + walk / NOISE**2 / (weight * N / (N - 1))) @ left
        squares = seen @ np.linalg.solve(C, seen)
        half = squares if known else len(seen) * np.log(squares)
        best.append(half + np.linalg.slogdet(C)[1])
    return float(weights[np.argmin(best)])


@pytest.mark.parametrize("known", [True, False])
def test_the_weight_of_a_prior_is_that_of_the_largest_evidence(known):
    scheme = Evidence(every=1, after=3)
    field = partial(nf.RandomFeatures, width=80, scale=30.0)
    units = 1.0 if known else NOISE**2 / np.mean(DATA**2)  # of a misfit that is relative to the data
    walk = Walk(slopes=units, known=known)
    solution = nf.solve(walk, field, GaussNewton, steps=40, weighting=scheme, dtype="float64", report=None)
    assert solution.history[-1]["weight/slopes"] == pytest.approx(units * most_evident(known), rel=0.1)


@dataclass
class Decay(PDE):
    """u' = -u exactly, measured with noise: the equation deserves nearly all of the weight."""

    domain = Box(t=(0, 2))
    unknowns = "u"

    @interior
    def law(self, u, u_t):
        return u_t + u

    def observe(self):
        t = np.linspace(0, 2, 40)
        return {"t": t, "u": np.exp(-t) + 0.1 * np.random.default_rng(0).standard_normal(40)}

    @measured(observe)
    def probes(self, u, u_data):
        return u - u_data


def test_equations_that_hold_outweigh_noisy_measurements():
    field = partial(nf.MLP, width=8, depth=1)
    errors = {}
    for name, scheme in (("stated", Constant()), ("evidence", Evidence())):
        problem = Decay(n_points=60)
        solution = nf.solve(problem, field, GaussNewton, steps=40, weighting=scheme, dtype="float64", report=None)
        t = torch.linspace(0, 2, 50, dtype=torch.float64)[:, None]
        with torch.no_grad():
            u = solution.field(t)
        errors[name] = float((u - u[0] * torch.exp(-t)).abs().max())  # from a solution of the equation
    assert errors["evidence"] < 0.1 * errors["stated"]


def test_measurements_of_which_no_weight_is_said_have_that_of_the_evidence():
    @dataclass
    class Unsaid(Decay):
        start: nf.Unknown = nf.Unknown(1.0)  # noqa: RUF009  # frozen

    class Stated(Unsaid):
        def weights(self):
            return super().weights() | {"probes": 0.5}

    assert Unsaid().recipe().weighting == Evidence()
    assert Stated().recipe().weighting == Constant()
    assert Decay().recipe().weighting == Constant()  # without a number that is unknown


def test_measurements_weigh_no_less_than_exact_equations_need():
    field, problem = partial(nf.MLP, width=8, depth=1), Decay(n_points=60)
    solution = nf.solve(problem, field, GaussNewton, steps=80, weighting=Evidence(), dtype="float64", report=None)
    weights = [row["weight/probes"] for row in solution.history]
    assert 1e-6 < weights[-1] < 0.1
    assert weights[-1] == weights[-3]


def test_what_evidence_cannot_weigh_is_said():
    with pytest.raises(InputError, match="no residual of Poisson holds any"):
        nf.solve(Poisson(), steps=1, weighting=Evidence(), report=None)
    with pytest.raises(InputError, match="against equations or a prior, and there are none"):
        nf.solve(Walk(slopes=0.0), steps=1, weighting=Evidence(), report=None)
    with pytest.raises(InputError, match="needs a positive noise"):
        Evidence(noise=0.0)


def test_weights_that_wait_for_the_loss_to_settle_stay_while_it_falls():
    field, problem = partial(nf.MLP, width=8, depth=1), Decay(n_points=60)
    scheme = Evidence(every=1, after=0, settled=True)
    options = {"dtype": "float64", "report": None, "log_every": 1}
    solution = nf.solve(problem, field, GaussNewton, steps=60, weighting=scheme, **options)
    rows = solution.history
    first = next(i for i, row in enumerate(rows) if row["weight/probes"] != rows[0]["weight/probes"])
    assert first > 2 and rows[-1]["weight/probes"] < 0.1
    falls = [rows[i + 1]["loss"] / rows[i]["loss"] for i in range(first - 2)]
    assert max(falls) <= 0.9
