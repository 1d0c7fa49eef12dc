"""Standard errors against classical least squares, and against the scatter of fits to new noise."""

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit

import nfsolve as nf
from nfsolve import PDE, Box, InputError, Problem, Recipe, Stage, Unknown, face, interior, measured
from nfsolve.cli import run_cli
from nfsolve.optim import GaussNewton
from nfsolve.run.noisy import NoisyRows
from nfsolve.run.posterior import jacobian_at

TIMES = np.linspace(0, 2, 25)
NOISE = 0.02


def decay(t, rate, start):
    return start * np.exp(-rate * t)


def observed(seed=0):
    return decay(TIMES, 1.2, 0.8) + NOISE * np.random.default_rng(seed).standard_normal(len(TIMES))


@dataclass
class Decay(PDE):
    """u' = -rate u, u(0) = start, from noisy values."""

    rate: Unknown = Unknown(1.0, positive=True)  # noqa: RUF009  # frozen
    start: Unknown = Unknown(1.0)  # noqa: RUF009  # frozen
    trust: float = 0.01
    seed: int = 0

    domain = Box(t=(0, 2))
    unknowns = "u"

    @interior
    def law(self, u, u_t):
        return u_t + self.rate * u

    @face(t=0)
    def initial(self, u):
        return u - self.start

    def observe(self):
        return {"t": TIMES, "u": observed(self.seed)}

    @measured(observe)
    def probes(self, u, u_data):
        return u - u_data

    def weights(self):
        return super().weights() | {"probes": self.trust}


@dataclass
class Product(Decay):
    """Only the product of rate and factor is seen."""

    factor: Unknown = Unknown(1.1)  # noqa: RUF009  # frozen

    @interior
    def law(self, u, u_t):
        return u_t + self.rate * self.factor * u


def solved(problem, steps=40, **options):
    field = partial(nf.MLP, width=8, depth=2)
    return nf.solve(problem, field, GaussNewton, steps=steps, dtype="float64", report=None, log_every=1000, **options)


@pytest.fixture(scope="module")
def decayed():
    return solved(Decay(n_points=60))


def classical():
    return curve_fit(decay, TIMES, observed(), p0=[1, 1])


def test_scalars_have_the_errors_of_classical_least_squares(decayed):
    found, (best, covariance) = nf.posterior(decayed), classical()
    expected = np.sqrt(covariance.diagonal())
    assert found.warnings == []
    assert list(found.values.values()) == pytest.approx(best, abs=0.02 * expected.min())
    assert list(found.standard_errors.values()) == pytest.approx(expected, rel=0.02)
    assert float(found.correlations[0, 1]) == pytest.approx(covariance[0, 1] / expected.prod(), rel=0.02)
    assert found.freedom == pytest.approx(len(TIMES) - 2, abs=0.1)
    left = observed() - decay(TIMES, *best)
    assert found.noise["probes"][0] == pytest.approx(math.sqrt(left @ left / (len(TIMES) - 2)), rel=0.01)


def test_bands_are_those_of_the_parameters(decayed):
    found, (best, covariance) = nf.posterior(decayed), classical()
    t = np.linspace(0, 2, 7)
    slopes = np.stack([-t * decay(t, *best), decay(t, 1.0 * best[0], 1.0)], 1)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", slopes, covariance, slopes))
    band = found.band(t[:, None])
    assert band.standard_error[:, 0] == pytest.approx(expected, rel=0.03)
    assert (band.high - band.low)[:, 0] == pytest.approx(2 * 2.0687 * expected, rel=0.03)  # Student, 23 degrees
    assert isinstance(found.band(torch.zeros(1, 1)).low, torch.Tensor)
    torch.testing.assert_close(
        found.band(torch.ones(1, 1).double(), of="u").value, decayed.predict(torch.ones(1, 1).double())
    )


def test_a_derived_quantity_by_the_delta_method(decayed):
    found, (best, covariance) = nf.posterior(decayed), classical()
    halved = found.derived(lambda field, problem: math.log(2) / problem.rate)
    expected = math.log(2) / best[0] ** 2 * math.sqrt(covariance[0, 0])
    assert float(halved.standard_error) == pytest.approx(expected, rel=0.03)
    points = torch.linspace(0, 2, 5, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        found.derived(lambda field, problem: field(points)).standard_error, found.band(points).standard_error
    )
    slope = found.band(points, of="u_t").standard_error  # of -rate u
    product = found.derived(lambda field, problem: -problem.rate * field(points)).standard_error
    torch.testing.assert_close(slope, product, rtol=0.05, atol=5e-4)  # as far as the equation is enforced


def sampled(chains=400, steps=1500):
    """Sample rate and start by Metropolis's algorithm from their exact distribution, flat before the data."""
    chance, y = np.random.default_rng(0), observed()
    best, covariance = classical()
    at = chance.multivariate_normal(best, covariance, chains)
    fall, kept = np.linalg.cholesky(covariance), []

    def misfit(x):
        return ((decay(TIMES, x[:, :1], x[:, 1:]) - y) ** 2).sum(1) / (2 * NOISE**2)

    now = misfit(at)
    for step in range(steps):
        ahead = at + 1.5 * chance.standard_normal(at.shape) @ fall.T
        new = misfit(ahead)
        taken = np.log(chance.uniform(size=chains)) < now - new
        at, now = np.where(taken[:, None], ahead, at), np.where(taken, new, now)
        if step >= 200 and step % 5 == 0:
            kept.append(at)
    return np.concatenate(kept)


def test_intervals_are_those_of_a_sampler(decayed):
    found, draws = nf.posterior(decayed, noise=NOISE), sampled()
    for i, name in enumerate(("rate", "start")):
        error = found.standard_errors[name]
        assert error == pytest.approx(draws[:, i].std(), rel=0.04)
        assert found.interval(name) == pytest.approx(np.quantile(draws[:, i], [0.025, 0.975]), abs=0.15 * error)
    assert float(found.correlations[0, 1]) == pytest.approx(np.corrcoef(draws.T)[0, 1], abs=0.02)


def test_intervals_are_those_of_emcee(decayed):
    """The affine-invariant sampler of a library that others keep, where it is installed (`make test` installs it)."""
    emcee = pytest.importorskip("emcee")
    found, y = nf.posterior(decayed, noise=NOISE), observed()

    def likelihood(x):
        return -((decay(TIMES, x[:, :1], x[:, 1:]) - y) ** 2).sum(1) / (2 * NOISE**2)

    best, covariance = classical()
    sampler = emcee.EnsembleSampler(200, 2, likelihood, vectorize=True)
    sampler.random_state = np.random.RandomState(0).get_state()
    begin = np.random.default_rng(0).multivariate_normal(best, covariance, 200)
    sampler.run_mcmc(begin, 600)
    draws = sampler.get_chain(discard=100, thin=5, flat=True)
    for i, name in enumerate(("rate", "start")):
        error = found.standard_errors[name]
        assert error == pytest.approx(draws[:, i].std(), rel=0.05)
        assert found.interval(name) == pytest.approx(np.quantile(draws[:, i], [0.025, 0.975]), abs=0.2 * error)


def test_samples_have_the_covariance(decayed):
    found = nf.posterior(decayed)
    drawn = found.samples(20_000)
    assert float(drawn[:, -1].std()) == pytest.approx(float(found.root[-1].norm()), rel=0.03)


def test_noise_that_is_given_scales_the_errors(decayed):
    one, two = nf.posterior(decayed, noise=0.02), nf.posterior(decayed, noise={"probes": torch.full((25, 1), 0.04)})
    assert math.isinf(one.freedom)
    assert two.standard_errors["rate"] == pytest.approx(2 * one.standard_errors["rate"], rel=1e-3)
    low, high = one.interval("rate", level=0.5)
    assert high - low == pytest.approx(2 * 0.67449 * one.standard_errors["rate"], rel=1e-4)


def test_a_float32_solution_has_the_same_errors(decayed):
    field = copy.deepcopy(decayed.field).float()
    single = nf.solve(Decay(n_points=60), field, GaussNewton, steps=2, report=None)
    expected = nf.posterior(decayed).standard_errors["start"]
    assert nf.posterior(single).standard_errors["start"] == pytest.approx(expected, rel=0.2)


def test_scalars_that_only_act_together_are_named():
    found = nf.posterior(solved(Product(n_points=60)))
    (text,) = found.warnings
    assert "'rate' and 'factor' together are not identifiable" in text
    assert "not at all" in text
    assert found.standard_errors["start"] < 0.1


def test_a_scalar_in_no_residual_is_named():
    @dataclass
    class Idle(Decay):
        other: Unknown = Unknown(1.0)  # noqa: RUF009

    said = nf.posterior(nf.solve(Idle(n_points=60), steps=2, report=None)).warnings
    assert [text for text in said if "'other' changes no residual" in text]
    assert not [text for text in said if "other" in text and "identifiable" in text]


def test_measurements_of_weight_0_are_said():
    @dataclass
    class Weightless(Decay):
        def weights(self):
            return super().weights() | {"probes": 0.0}

    with pytest.raises(InputError, match="exactly 0 or have weight 0"):
        nf.posterior(nf.solve(Weightless(n_points=60), steps=2, report=None))


def test_a_run_that_has_not_converged_says_so():
    assert any("has not converged" in text for text in nf.posterior(solved(Decay(n_points=60), steps=5)).warnings)


def test_equations_that_give_way_to_noise_say_so():
    found = nf.posterior(solved(Decay(n_points=60, trust=100.0), steps=60))
    assert any("the equations weigh little" in text for text in found.warnings)


@dataclass
class Straight(Problem):
    """Values on a line by random features: linear, so that everything is known in closed form."""

    seed: int = 0
    domain = Box(x=(-1, 1))

    def load(self, device, dtype):
        x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
        noise = torch.randn(x.shape, generator=nf.generator(self.seed, "noise"), dtype=torch.float64)
        return {"misfit": {"points": x, "values": torch.sin(2 * x) + 0.1 * noise}}

    def residuals(self, field: Any, batch: Any):
        return {"misfit": field(batch["misfit"]["points"]) - batch["misfit"]["values"]}

    def recipe(self):
        return Recipe(partial(nf.RandomFeatures, width=8, scale=2.0), (Stage(GaussNewton, steps=20),))


def test_a_linear_field_has_the_band_of_linear_regression():
    solution = nf.solve(Straight(), dtype="float64", report=None)
    found = nf.posterior(solution, data="misfit", prior=1e6)
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]

    def rows(points):
        columns = torch.func.jacrev(lambda p: torch.func.functional_call(solution.field, p, (points,)))(
            {n: p.detach() for n, p in solution.field.named_parameters() if p.requires_grad}
        )
        return torch.cat([c.reshape(len(points), -1) for c in columns.values()], 1)

    A, G = rows(solution.data["misfit"]["points"]), rows(x)
    expected = found.noise["misfit"][0] * (G @ torch.linalg.pinv(A)).norm(dim=1)
    assert found.band(x).standard_error[:, 0].numpy() == pytest.approx(expected.numpy(), rel=1e-3)


def spread_with_one_more(problem, extra, sigma, targets):
    """The sum of variances at targets when a value at ``extra`` is measured as well, from regression in closed form."""
    solution, x = problem
    places = x if extra is None else torch.cat([x, extra[None]])

    def rows(points):
        columns = torch.func.jacrev(lambda p: torch.func.functional_call(solution.field, p, (points,)))(
            {n: p.detach() for n, p in solution.field.named_parameters() if p.requires_grad}
        )
        return torch.cat([c.reshape(len(points), -1) for c in columns.values()], 1)

    return float((sigma * (rows(targets) @ torch.linalg.pinv(rows(places)))).square().sum())


def test_the_next_measurement_is_that_of_brute_force():
    solution = nf.solve(Straight(), dtype="float64", report=None)
    found = nf.posterior(solution, noise=0.1, data="misfit", prior=1e6)
    candidates = torch.linspace(-1, 1, 11, dtype=torch.float64)[:, None]
    at = torch.linspace(0.2, 1, 5, dtype=torch.float64)[:, None]
    given = (solution, solution.data["misfit"]["points"])
    after = [spread_with_one_more(given, extra, 0.1, at) for extra in candidates]
    expected = np.array(after) / spread_with_one_more(given, None, 0.1, at)
    advice = found.next_measurement(candidates, at=at)
    assert advice.remaining.numpy() == pytest.approx(expected, rel=1e-3)
    assert float(advice.best) == pytest.approx(float(candidates[expected.argmin()]))
    assert "measure u at x=1: the standard error of u would fall to" in str(advice)


def test_the_next_measurement_for_a_scalar_is_that_of_least_squares(decayed):
    found, ahead = nf.posterior(decayed, noise=NOISE), np.linspace(0, 2, 6)
    advice = found.next_measurement(ahead[:, None], of="u", target="rate")

    def variance(times):
        slopes = np.stack([-times * decay(times, *found.values.values()), decay(times, found.values["rate"], 1.0)], 1)
        return np.linalg.inv(slopes.T @ slopes)[0, 0]

    expected = [variance(np.append(TIMES, t)) / variance(TIMES) for t in ahead]
    assert advice.remaining.numpy() == pytest.approx(expected, abs=2e-3)


def test_questions_about_measurements_that_have_no_answer_are_said_in_words(decayed):
    found = nf.posterior(decayed)
    for options, message in (
        ({"of": "u", "target": "rat"}, "rat"),
        ({"of": "u", "noise": 0.0}, "noise must be a positive number"),
        ({"of": "u", "noise": torch.ones(2)}, "one for each of 3 candidates"),
    ):
        with pytest.raises(InputError, match=message):
            found.next_measurement(torch.rand(3, 1), **options)
    with pytest.raises(InputError, match=r"points must be a table \(n, 1\)"):
        found.next_measurement(torch.rand(3, 2), of="u")


class Smooth(nf.Measurement):
    """A line of which some values are seen; its slopes are a prior."""

    shape = (12,)

    def observe(self):
        seen = np.eye(12)[::3]
        return nf.Observed(seen, seen @ np.sin(np.arange(12) / 3), noise=0.1)


def test_slopes_are_the_prior_of_the_band():
    weight = 0.02
    field = partial(nf.RandomFeatures, width=60, scale=20.0)
    solution = nf.solve(Smooth(slopes=weight), field, GaussNewton, steps=20, dtype="float64", report=None)
    found = nf.posterior(solution, noise=1.0, prior=1e4)  # of the misfit, which is in units of the noise
    seen, step = np.eye(12)[::3] / 0.1, np.diff(np.eye(12), axis=0) * 12
    precision = seen.T @ seen + weight * len(seen) / len(step) * step.T @ step
    expected = np.sqrt(np.linalg.inv(precision).diagonal())
    band = found.band(solution.problem.points())
    assert band.standard_error[:, 0].numpy() == pytest.approx(expected, rel=0.02)


def test_the_prior_is_as_wide_as_the_evidence_asks():
    field = partial(nf.RandomFeatures, width=30, scale=2.0)  # more than 60 noisy values tell apart
    solution = nf.solve(Straight(), field, GaussNewton, steps=20, dtype="float64", report=None)
    found = nf.posterior(solution, data="misfit")
    params = {n: p.detach() for n, p in solution.field.named_parameters() if p.requires_grad}
    x = solution.data["misfit"]["points"]
    columns = torch.func.jacrev(lambda p: torch.func.functional_call(solution.field, p, (x,)))(params)
    sizes = [p.square().mean().sqrt() for p in params.values()]
    A = torch.cat([c.reshape(len(x), -1) * s for c, s in zip(columns.values(), sizes, strict=True)], 1)
    misfit = (solution.predict(x) - solution.data["misfit"]["values"]).square().mean()
    determined = torch.linalg.eigvalsh(A.T @ A).clamp_min(0)
    count = float((determined / (determined + misfit / found.prior**2)).sum())
    assert count < 15
    assert found.prior == pytest.approx(math.sqrt(A.shape[1] / count), rel=0.02)
    narrow = nf.posterior(solution, data="misfit", prior=1.0)
    assert bool((found.band(x).standard_error > narrow.band(x).standard_error).all())


def test_a_field_that_is_kept_positive_has_a_band_that_is():
    @dataclass
    class Positive(Smooth):
        slopes: float | None = 0.05

        def observe(self):
            return nf.Observed(np.eye(12), np.exp(np.sin(np.arange(12) / 2)), noise=0.1)

        def output_transform(self):
            return lambda points, raw: torch.exp(raw)

    field = partial(nf.RandomFeatures, width=30, scale=10.0)
    solution = nf.solve(Positive(), field, GaussNewton, steps=20, dtype="float64", report=None)
    band = nf.posterior(solution, noise=1.0).band(solution.problem.points())
    assert bool((band.low > 0).all())
    torch.testing.assert_close(band.low * band.high, band.value.square())  # symmetric in the logarithm


def test_a_positive_field_near_0_has_the_band_of_its_measurement():
    @dataclass
    class Dark(nf.Measurement):
        shape = (4,)

        def observe(self):
            return nf.Observed(np.eye(4), np.array([-0.3, 3.0, 2.0, -0.2]), noise=0.1)

        def output_transform(self):
            return lambda points, raw: torch.nn.functional.softplus(raw, beta=10.0)

    field = partial(nf.RandomFeatures, width=40, scale=12.0)
    solution = nf.solve(Dark(slopes=0.0), field, GaussNewton, steps=60, dtype="float64", report=None)
    found = nf.posterior(solution, noise=1.0)
    band = found.band(solution.problem.points())
    assert found._objective.system.field.output_transform is not None  # as it was
    assert bool((band.value[[0, 3]] < 0.01).all()) and bool((band.low >= 0).all())
    assert bool(((band.high > 0.1) & (band.high < 0.5))[[0, 3]].all())  # two deviations of the measurement are 0.2
    assert band.standard_error[[1, 2], 0].numpy() == pytest.approx([0.1, 0.1], rel=0.1)


@pytest.mark.parametrize("slopes", [0.0, 0.3])
def test_a_linear_operator_gives_the_rows_that_the_objective_gives(slopes):
    @dataclass
    class Masked(nf.Measurement):
        shape = (2, 3)

        def observe(self):
            matrix = np.random.default_rng(0).standard_normal((5, 6))
            return nf.Observed(matrix, matrix @ np.ones(6), noise=0.1, mask=[1, 1, 0, 1, 1])

        def output_transform(self):
            return lambda points, raw: torch.exp(raw)

    field = partial(nf.RandomFeatures, width=5, scale=2.0)
    solution = nf.solve(Masked(slopes=slopes), field, GaussNewton, steps=2, dtype="float64", report=None)
    objective = nf.posterior(solution)._objective
    found = NoisyRows.of(objective, (), jacobian_at)
    assert objective.problem.linear_part(objective.batch) is not None
    for mine, theirs in zip((found.residual, found.jacobian), objective.jacobian(objective.theta()), strict=True):
        torch.testing.assert_close(mine, theirs.detach())


def test_outputs_that_a_transform_mixes_have_the_band_of_the_delta_method():
    @dataclass
    class Mixed(PDE):
        domain = Box(x=(0, 1))
        unknowns = "u v"

        @interior
        def line(self, u_xx, v_xx):
            return torch.cat([u_xx, v_xx], 1)

        def observe(self):
            x = np.linspace(0, 1, 20)
            return {"x": x, "u": 1 + x + 0.01 * np.random.default_rng(0).standard_normal(20), "v": 1 - x}

        @measured(observe)
        def probes(self, u, v, u_data, v_data):
            return torch.cat([u - u_data, v - v_data], 1)

        def ansatz(self, u, v):
            return u + v, u - v

    field = partial(nf.MLP, width=6, depth=1)
    solution = nf.solve(Mixed(n_points=30), field, GaussNewton, steps=15, dtype="float64", report=None)
    band = nf.posterior(solution, noise=0.01).band(torch.rand(5, 1).double())
    torch.testing.assert_close((band.low + band.high) / 2, band.value)


def test_the_interval_of_a_positive_scalar_stays_positive(decayed):
    found = nf.posterior(decayed, noise=1.0)  # far too much
    low, high = found.interval("rate")
    assert 0 < low < found.values["rate"] < high
    assert found.values["rate"] - low < high - found.values["rate"]
    low, high = nf.posterior(decayed, noise=1e-4).interval("rate")  # where it is that of the delta method
    error = nf.posterior(decayed, noise=1e-4).standard_errors["rate"]
    assert high - low == pytest.approx(2 * 1.95996 * error, rel=1e-4)


@dataclass
class Rest(PDE):
    """k u' = p with p = 0 beyond the middle, so that nothing is known of k there."""

    domain = Box(x=(0, 1))
    unknowns = "u k"

    @interior
    def conduction(self, u_x, k, x):
        return k * u_x - (0.5 - x).clamp(min=0)

    def observe(self):
        x = torch.linspace(0, 1, 60, dtype=torch.float64)[:, None]
        noise = torch.randn(x.shape, generator=nf.generator(0, "noise"), dtype=torch.float64)
        before = x.clamp(max=0.5)
        return {"x": x, "u": (before - before**2) / 2 + 1e-3 * noise}

    @measured(observe, weight=10)
    def probes(self, u, u_data):
        return u - u_data


def test_a_part_of_a_field_that_data_do_not_tell_is_named():
    field = partial(nf.RandomFeatures, width=40, scale=10.0)
    found = nf.posterior(nf.solve(Rest(n_points=60), field, GaussNewton, steps=12, dtype="float64", report=None))
    (text,) = [text for text in found.warnings if "'k' is not identifiable at" in text]
    assert ", x from" not in text and "x from" in text
    assert found.not_determined("u") == ""
    assert "x from 0.75 to 0.75" in found.not_determined("k", torch.tensor([[0.75]]))


@dataclass
class Level(PDE):
    """The slope of p is measured; its level is not."""

    domain = Box(t=(0, 2))
    unknowns = "u p"

    @interior
    def slope(self, u, p_t):
        return p_t - u

    @measured({"t": TIMES, "u": observed()})
    def probes(self, u, u_data):
        return u - u_data


def test_an_unknown_whose_level_data_do_not_tell_is_said_to_be_known_up_to_it():
    (text,) = [text for text in nf.posterior(solved(Level(n_points=60))).warnings if "'p'" in text]
    assert text.startswith("'p' is determined only up to a constant: its differences are known, its level is not")


def test_bands_cover_what_new_noise_does():
    points = torch.linspace(-0.9, 0.9, 10, dtype=torch.float64)[:, None]
    truth, covered = torch.sin(2 * points), []
    field = None
    for seed in range(40):
        solution = nf.solve(Straight(seed=seed), field, GaussNewton, steps=8, dtype="float64", report=None)
        field = solution.field
        band = nf.posterior(solution, data="misfit").band(points)
        covered.append(((band.low <= truth) & (truth <= band.high)).double().mean())
    assert 0.88 < float(torch.stack(covered).mean()) <= 1


MISTAKES = {
    "noise of 'probes' must be positive, got 0": {"noise": 0},
    "must be positive, got nan": {"noise": math.nan},
    "unknown measured residual 'law'": {"noise": {"law": 1.0}},
    "got shape": {"noise": torch.ones(7, 1)},
    "unknown residual 'probe'": {"data": "probe"},
    "level must be a number between 0 and 1, got 95": {"level": 95},
    "level must be a number between 0 and 1, got '95%'": {"level": "95%"},
    "noise of 'probes' must be a number or an array, got 'a'": {"noise": "a"},
    "noise of 'probes' must be real": {"noise": 1j},
    "prior must be a positive": {"prior": 0.0},
    "prior must be a positive factor, got wide": {"prior": "wide"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_said_in_words(decayed, message):
    with pytest.raises(InputError, match=message):
        nf.posterior(decayed, **MISTAKES[message])


def test_questions_that_have_no_answer_are_said_in_words(decayed):
    found = nf.posterior(decayed)
    questions = {
        "points must be finite": lambda: found.band([[np.nan]]),
        r"with a column for each coordinate, got \(0, 1\)": lambda: found.band(np.zeros((0, 1))),
        r"got \(3,\). Give every point a row, as in x\[:, None\]": lambda: found.band(np.zeros(3)),
        "points must be a table of numbers": lambda: found.band([["a"]]),
        "a function of two arguments, field and problem, got 3": lambda: found.derived(3),
        "a function of two arguments": lambda: found.derived(lambda field: field),
        "n must be a number of samples, got -1": lambda: found.samples(-1),
    }
    for message, ask in questions.items():
        with pytest.raises(InputError, match=message):
            ask()


def test_names_that_are_not_known_are_refused(decayed):
    found = nf.posterior(decayed)
    with pytest.raises(InputError, match="unknown scalar 'rat'"):
        found.interval("rat")
    with pytest.raises(InputError, match="unknown coordinate"):
        found.band(torch.zeros(1, 1), of="u_y")


def test_a_problem_without_measurements_is_refused_before_it_is_trained():
    from problems.pde.poisson import Poisson

    with pytest.raises(InputError, match="no residual of Poisson holds any"):
        nf.solve(Poisson(), steps=10**9, uncertainty=True, report=None)
    with pytest.raises(InputError, match="does not say which of its residuals"):
        nf.posterior(nf.solve(Poisson(), steps=1, report=None))


def test_too_few_measurements_do_not_tell_their_noise():
    @dataclass
    class Two(Decay):
        def observe(self):
            return {"t": TIMES[:2], "u": observed()[:2]}

        @measured(observe)
        def probes(self, u, u_data):
            return u - u_data

    with pytest.raises(InputError, match="2 measurements of 'probes' leave .* degrees of freedom"):
        nf.posterior(solved(Two(n_points=60)))


def test_a_run_with_uncertainty_has_it_in_its_metrics(tmp_path, capsys):
    out = tmp_path / "run"
    words = [
        "run",
        "problems.pde.lorenz_inverse:LorenzInverse",
        "--uncertainty",
        "--steps",
        "3",
        "--n-points",
        "40",
        "--field.width",
        "6",
    ]
    assert run_cli([*words, "--out", str(out)]) == 0
    metrics = nf.RunFolder(out).metrics()
    assert {"standard_error/rho", "interval_low/rho", "correlation/sigma/rho", "noise/probes/2"} <= set(metrics)
    assert "standard error" in capsys.readouterr().out
    bands = np.load(out / "uncertainty.npz")
    assert {"t", "x", "x_standard_error", "z_low", "z_high"} <= set(bands)
    assert (bands["y_low"] < bands["y"]).all()
    assert nf.reopen(out).metrics["standard_error/rho"] == pytest.approx(metrics["standard_error/rho"], rel=1e-6)
