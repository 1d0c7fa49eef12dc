"""Unknown numbers under the automatic recipe: found from poor guesses, with and without noise, with their intervals."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp

import nfsolve as nf
from nfsolve.problem import Objective
from nfsolve.run.automatic import is_automatic
from nfsolve.run.beginning import start_at_data

TRUTH = {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}


def lorenz(t):
    def slopes(_, u):
        x, y, z = u
        return [10 * (y - x), x * (15 - z) - y, x * y - 8 / 3 * z]

    return solve_ivp(slopes, (0, 3), [-8, 7, 27], "DOP853", t, rtol=1e-12, atol=1e-12).y


TIMES = np.linspace(0.1, 3, 30)
STATES = dict(zip("xyz", lorenz(TIMES), strict=True))


@dataclass
class Lorenz(nf.PDE):
    """Three numbers from thirty states, begun at half or twice their values."""

    sigma: nf.Unknown = nf.Unknown(5.0)  # noqa: RUF009  # frozen
    rho: nf.Unknown = nf.Unknown(5.0)  # noqa: RUF009  # frozen
    beta: nf.Unknown = nf.Unknown(5.0)  # noqa: RUF009  # frozen
    noise: float = 0.0

    domain = nf.Box(t=(0, 3))
    unknowns = "x y z"

    @nf.interior
    def first(self, x_t, x, y):
        """x' = sigma (y - x)."""
        return x_t - self.sigma * (y - x)

    @nf.interior
    def second(self, y_t, x, y, z):
        """y' = x (rho - z) - y."""
        return y_t - x * (self.rho - z) + y

    @nf.interior
    def third(self, z_t, x, y, z):
        """z' = x y - beta z."""
        return z_t - x * y + self.beta * z

    @nf.face(t=0)
    def start(self, x, y, z):
        """It begins so."""
        return torch.cat([x + 8, y - 7, z - 27], 1)

    def observe(self):
        """Measure, with noise."""
        chance = np.random.default_rng(0)
        noisy = {name: values + self.noise * chance.standard_normal(30) for name, values in STATES.items()}
        return {"t": TIMES, **noisy}

    @nf.measured(observe)
    def probes(self, x, y, z, x_data, y_data, z_data):
        """States are as measured."""
        return torch.cat([x - x_data, y - y_data, z - z_data], 1)


def errors(solution):
    return {name: abs(solution.metrics[f"unknown/{name}"] - value) for name, value in TRUTH.items()}


def test_numbers_without_noise_are_found_to_many_digits():
    """From poor guesses, by features whose bandwidth is found by held-out equations."""
    solution = nf.solve(Lorenz(), report=None, time_limit=60)
    assert "random features" in solution.decisions[-1]
    assert max(errors(solution).values()) < 1e-5


def test_numbers_from_noisy_data_have_intervals_that_hold_them():
    """Equations hold far better than the noise, and the posterior knows of no step that is left."""
    solution = nf.solve(Lorenz(noise=0.3), report=None, time_limit=60, uncertainty=True)
    assert "random features" in solution.decisions[-1]
    for name, error in errors(solution).items():
        spread = solution.metrics[f"standard_error/{name}"]
        assert error < 4 * spread < 4.0, name
    assert not any("not converged" in text for text in solution.warnings)


def test_numbers_that_data_alone_tell_need_no_conditions():
    """Where the equations hold at zero, the measurements are what a trial is compared with."""

    @dataclass
    class Growth(nf.PDE):
        rate: nf.Unknown = nf.Unknown(1.0, positive=True)  # noqa: RUF009  # frozen
        capacity: nf.Unknown = nf.Unknown(1.0, positive=True)  # noqa: RUF009  # frozen
        domain = nf.Box(t=(0, 3))
        unknowns = "u"

        @nf.interior
        def growth(self, u, u_t):
            return u_t - self.rate * u * (1 - u / self.capacity)

        def observe(self):
            t = np.linspace(0, 3, 40)
            noise = 0.03 * np.random.default_rng(0).standard_normal(40)
            return {"t": t, "u": 1.5 / (1 + 6.5 * np.exp(-2 * t)) + noise}

        @nf.measured(observe)
        def probes(self, u, u_data):
            return u - u_data

    solution = nf.solve(Growth(), report=None, uncertainty=True)
    assert len(solution.decisions) == 1 and "random features" in solution.decisions[0]
    for name, value in (("rate", 2.0), ("capacity", 1.5)):
        assert abs(solution.metrics[f"unknown/{name}"] - value) < 3 * solution.metrics[f"standard_error/{name}"] < 0.2


def begun(problem, width, scale):
    """Return the objective of random features before the first step."""
    made = {"seed": 0, "dtype": torch.float64}
    field = nf.RandomFeatures.for_problem(problem, width=width, scale=scale, **made)
    return Objective(problem, field, problem.load("cpu", torch.float64), torch.Generator().manual_seed(0))


def test_features_begin_with_the_measurements():
    """What the data suggest replaces a poor guess before the first step."""
    objective = begun(Lorenz(), 80, 16.0)
    before = float(objective.loss().detach())
    start_at_data(objective)
    assert float(objective.loss().detach()) < 0.5 * before
    found = objective.unknown_values()
    assert abs(found["sigma"] - 10) < 4 and abs(found["rho"] - 15) < 1 and abs(found["beta"] - 8 / 3) < 0.5


def test_a_problem_without_equations_of_its_numbers_begins_as_it_is():
    """Where numbers do not lower any equation, nothing is changed."""

    @dataclass
    class Offset(nf.PDE):
        shift: nf.Unknown = nf.Unknown(1.0)  # noqa: RUF009  # frozen
        domain = nf.Box(x=(0, 1))
        unknowns = "u"

        @nf.interior
        def straight(self, u_xx):
            return u_xx

        @nf.measured({"x": [0.1, 0.5, 0.9], "u": [1.1, 1.5, 1.9]})
        def probes(self, u, u_data):
            return u + self.shift - u_data

    objective = begun(Offset(), 20, 4.0)
    before = objective.theta()
    start_at_data(objective)
    torch.testing.assert_close(objective.theta(), before)


def test_numbers_need_measurements():
    """A number that only a norm or a sign determines is left to the recipe of a network."""

    @dataclass
    class Eigen(nf.PDE):
        e: nf.Unknown = nf.Unknown(1.0)  # noqa: RUF009  # frozen
        domain = nf.Box(x=(0, 1))
        unknowns = "u"

        @nf.interior
        def wave(self, u, u_xx):
            return u_xx + self.e * u

    assert is_automatic(Lorenz())
    assert not is_automatic(Eigen())
