"""Inverse problems as a first user poses them: what is found, and what is said where it cannot be trusted."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Disk, face, interior, measured
from nfsolve.optim import GaussNewton

ANGLES = np.linspace(0, 2 * math.pi, 60, endpoint=False)
X, Y = np.cos(ANGLES), np.sin(ANGLES)
NOISE = 0.01


SMALL = partial(nf.MLP, width=10, depth=2)


def solved(problem, steps, field=SMALL):
    solution = nf.solve(problem, field, GaussNewton, steps=steps, dtype="float64", report=None, log_every=1000)
    return nf.posterior(solution)


@dataclass
class Ring(PDE):
    """How much heat enters a ring at its inner rim, from thermometers on the outer one: T = 1 - log r + 0.3 x / r^2."""

    domain = Disk(x=0, y=0, radius=1).named("outside") - Disk(x=0, y=0, radius=0.5).named("hole")
    unknowns = "T q(x, y)"

    @interior
    def conduction(self, lap_T):
        return lap_T

    @face("outside")
    def cooled(self, T, T_x, T_y, n_x, n_y):
        return n_x * T_x + n_y * T_y + T

    @face("hole")
    def heated(self, T_x, T_y, q, n_x, n_y):
        return n_x * T_x + n_y * T_y - q

    @measured({"x": X, "y": Y, "T": 1 + 0.3 * X + NOISE * np.random.default_rng(0).standard_normal(60)})
    def seen(self, T, T_data):
        return T - T_data


def test_the_flux_into_a_ring_is_found_and_that_its_error_is_not_to_be_trusted_yet():
    found = solved(Ring(n_points=200), 40)
    band = found.band(np.stack([X, Y], 1) / 2, of="q")
    error = np.abs(band.value[:, 0] - (2 + 1.2 * np.cos(ANGLES)))
    assert error.max() < 0.5
    assert any("has not converged" in text for text in found.warnings) or (error < 2 * band.standard_error[:, 0]).all()


@dataclass
class Both(Ring):
    """The rim of a ring is both of its circles, so that this one is cooled where it is heated."""

    domain = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5).named("hole")

    @face("rim")
    def cooled(self, T, T_x, T_y, n_x, n_y):
        return n_x * T_x + n_y * T_y + T


def test_equations_that_contradict_the_data_are_said_to_be_a_bias():
    found = solved(Both(n_points=120), 6, partial(nf.RandomFeatures, width=60, scale=3.0))
    assert any("the equations do not hold well enough" in text for text in found.warnings)


def wall(x):
    before, after = np.clip(x, None, 0.5), np.clip(x - 0.5, 0, None)
    return before - before**2 / 2 + (0.5 * after - after**2 / 2) / 3


@dataclass
class Jump(PDE):
    """(k u')' = -1, and k jumps from 1 to 3 in the middle, of which a smooth field knows nothing."""

    domain = Box(x=(0, 1))
    unknowns = "u k"

    @interior
    def balance(self, u_x, u_xx, k, k_x):
        return k * u_xx + k_x * u_x + 1

    @face(x=0)
    def left(self, u, u_x, k):
        return torch.cat([u, k * u_x - 1], 1)

    def observe(self):
        x = np.linspace(0, 1, 60)
        return {"x": x, "u": wall(x) + 1e-3 * np.random.default_rng(0).standard_normal(60)}

    @measured(observe, weight=10)
    def seen(self, u, u_data):
        return u - u_data

    def ansatz(self, k):
        return torch.exp(k)


def test_a_coefficient_that_jumps_is_found_on_both_sides():
    found = solved(Jump(n_points=150), 80)
    x = np.linspace(0.05, 0.8, 31)[:, None]
    band = found.band(x, of="k")
    assert (band.low > 0).all()
    left, right = band.value[x < 0.4], band.value[(x > 0.6) & (x < 0.8)]
    assert np.abs(left - 1).max() < 0.15 and np.abs(right - 3).max() < 0.8
    assert (band.standard_error[x > 0.6]).min() > 3 * band.standard_error[x < 0.4].max()  # the flux falls to 0
