"""Inverse problems as a user would write them, about twenty lines each, whose coverage is measured as well.

None of them is in the gallery. They take the defaults of nfsolve: neither field, optimizer nor weights were chosen.
`scripts.measure_coverage` runs them with new noise each time, as ``own_abel`` and so on.
"""

from dataclasses import dataclass

import numpy as np
import torch

import nfsolve as nf


@dataclass
class Abel(nf.Measurement):
    """Emissivity of a flame by radius, from integrals along lines of sight."""

    noise_seed: int = 0

    shape = (40,)

    def observe(self):
        """Measure, with noise."""
        edges = np.linspace(0, 1, 41)
        r = (edges[:-1] + edges[1:]) / 2
        half = np.sqrt(np.maximum(edges**2 - r[:, None] ** 2, 0))
        lengths = 2 * np.diff(half, axis=1)
        truth = np.exp(-(((r - 0.4) / 0.15) ** 2)) + 0.3 * np.exp(-((r / 0.3) ** 2))
        noise = 0.02 * np.random.default_rng(self.noise_seed).standard_normal(40)
        return nf.Observed(lengths, lengths @ truth + noise, noise=0.02, truth=truth)


@dataclass
class Gravity(nf.Measurement):
    """Density along a line at a depth of 0.1, from gravity at the surface."""

    noise_seed: int = 0

    shape = (60,)

    def observe(self):
        """Measure, with noise."""
        x, depth = (np.arange(60) + 0.5) / 60, 0.1
        pull = depth / (depth**2 + np.subtract.outer(np.linspace(0, 1, 40), x) ** 2) ** 1.5 / 60
        truth = np.sin(np.pi * x) + 0.5 * np.sin(3 * np.pi * x)
        spread = 0.01 * abs(pull @ truth).max()
        noise = spread * np.random.default_rng(self.noise_seed).standard_normal(40)
        return nf.Observed(pull, pull @ truth + noise, noise=spread, truth=truth)


@dataclass
class Telescopes(nf.Measurement):
    """A line seen by two telescopes, one of them with less noise but an unknown blur and gain."""

    width: nf.Unknown = nf.Unknown(4.0, positive=True)  # noqa: RUF009  # frozen
    gain: nf.Unknown = nf.Unknown(1.0)  # noqa: RUF009  # frozen
    noise_seed: int = 0

    shape = (48,)

    def observe(self):
        """Measure, with noise."""
        at = torch.arange(48, dtype=torch.float64)

        def both(values, width, gain):
            blur = torch.exp(-((at[:, None] - at) ** 2) / (2 * width**2))
            return torch.stack([values, gain * (blur / blur.sum(1, keepdim=True)) @ values])

        truth = torch.exp(-((at - 15) ** 2) / 18) + 0.6 * torch.exp(-((at - 33) ** 2) / 8)
        spread = torch.tensor([[0.05], [0.01]]).expand(2, 48)
        noise = spread * torch.from_numpy(np.random.default_rng(self.noise_seed).standard_normal((2, 48)))
        return nf.Observed(both, both(truth, 2.5, 1.5) + noise, noise=spread, truth=truth)


@dataclass
class Reflectivity(nf.Measurement):
    """Intercept, gradient and curvature of a seismic reflectivity, from amplitudes at twelve angles (Shuey)."""

    noise_seed: int = 0

    shape = (30,)
    unknowns = "a b c"

    def observe(self):
        """Measure, with noise."""
        sine, tangent = (
            f(torch.deg2rad(torch.linspace(0, 40, 12, dtype=torch.float64))) for f in (torch.sin, torch.tan)
        )
        z = torch.linspace(0, 1, 30, dtype=torch.float64)
        truth = torch.stack([0.1 * torch.sin(6 * z), -0.2 * torch.cos(5 * z), 0.1 * z], 1)

        def amplitudes(v):
            return v[:, :1] + v[:, 1:2] * sine**2 + v[:, 2:] * (tangent**2 - sine**2)

        exact = amplitudes(truth)
        noise = 0.01 * torch.from_numpy(np.random.default_rng(self.noise_seed).standard_normal(exact.shape))
        return nf.Observed(amplitudes, exact + noise, noise=0.01, truth=truth)


@dataclass
class Epidemic(nf.PDE):
    """Rates of infection and recovery, from daily counts among 1000 people (Kermack & McKendrick)."""

    infection: nf.Unknown = nf.Unknown(0.5, positive=True)  # noqa: RUF009  # frozen
    recovery: nf.Unknown = nf.Unknown(0.5, positive=True)  # noqa: RUF009  # frozen
    noise_seed: int = 0

    domain = nf.Box(t=(0, 30))
    unknowns = "S I"

    @nf.interior
    def susceptible(self, S, I, S_t):  # noqa: E741
        """S_t + infection S I = 0."""
        return S_t + self.infection * S * I

    @nf.interior
    def infected(self, S, I, I_t):  # noqa: E741
        """I_t - infection S I + recovery I = 0."""
        return I_t - self.infection * S * I + self.recovery * I

    @nf.face(t=0)
    def start(self, S, I):  # noqa: E741
        """It begins so."""
        return torch.cat([S - 0.99, I - 0.01], -1)

    def observe(self):
        """Measure, with noise."""
        from scipy.integrate import solve_ivp

        def rates(t, y):
            return [-0.6 * y[0] * y[1], 0.6 * y[0] * y[1] - 0.2 * y[1]]

        days = np.arange(1.0, 31.0)
        exact = solve_ivp(rates, (0, 30), [0.99, 0.01], t_eval=days, rtol=1e-10, atol=1e-12).y[1]
        return {"t": days, "I": np.random.default_rng(self.noise_seed).poisson(1000 * exact) / 1000}

    @nf.measured(observe)
    def counts(self, I, I_data):  # noqa: E741
        """Counts are as measured."""
        return I - I_data


@dataclass
class Chain(nf.PDE):
    """Both decay rates of a radioactive chain A -> B -> C, from the activity of B alone."""

    first: nf.Unknown = nf.Unknown(1.0, positive=True)  # noqa: RUF009  # frozen
    second: nf.Unknown = nf.Unknown(0.1, positive=True)  # noqa: RUF009  # frozen
    noise_seed: int = 0

    domain = nf.Box(t=(0, 10))
    unknowns = "A B"

    @nf.interior
    def parent(self, A, A_t):
        """A_t + first A = 0."""
        return A_t + self.first * A

    @nf.interior
    def daughter(self, A, B, B_t):
        """B_t - first A + second B = 0."""
        return B_t - self.first * A + self.second * B

    @nf.face(t=0)
    def start(self, A, B):
        """It begins so."""
        return torch.cat([A - 1, B], -1)

    def observe(self):
        """Measure, with noise."""
        t, a, b = np.linspace(0.5, 10, 25), 0.7, 0.25
        exact = a / (b - a) * (np.exp(-a * t) - np.exp(-b * t))
        return {"t": t, "B": exact + 0.01 * np.random.default_rng(self.noise_seed).standard_normal(25)}

    @nf.measured(observe)
    def activity(self, B, B_data):
        """The activity is as measured."""
        return B - B_data
