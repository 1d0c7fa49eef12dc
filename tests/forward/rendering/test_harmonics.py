"""Spherical harmonics against their orthonormality, their rotation and scipy's Legendre functions."""

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering import spherical_harmonics


def directions(n: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Nodes that integrate polynomials of degree 15 over the sphere, with weights that sum to 1."""
    z, weight = np.polynomial.legendre.leggauss(n)
    angle = 2 * math.pi * np.arange(2 * n) / (2 * n)
    theta, phi = (a.reshape(-1) for a in np.meshgrid(np.arccos(z), angle, indexing="ij"))
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    return theta, phi, torch.from_numpy(np.concatenate([unit, np.repeat(weight / (4 * n), 2 * n)[:, None]], 1))


def test_orthonormal_in_the_mean_over_the_sphere():
    *_, nodes = directions(8)
    values = spherical_harmonics(nodes[:, :3], 3)
    assert values.shape == (128, 16)
    torch.testing.assert_close(values.T @ (nodes[:, 3:] * values), torch.eye(16, dtype=torch.float64))


def test_equal_to_scipys_up_to_sign():
    theta, phi, nodes = directions(4)
    values = spherical_harmonics(nodes[:, :3], 3).numpy()
    for degree in range(4):
        for order in range(-degree, degree + 1):
            complex_one = sph_harm_y(degree, abs(order), theta, phi)
            real = complex_one.imag if order < 0 else complex_one.real
            expected = math.sqrt(4 * math.pi) * real * (math.sqrt(2) if order else 1) * (-1) ** order
            np.testing.assert_allclose(values[:, degree * (degree + 1) + order], expected, atol=1e-14)


def test_another_degree_is_refused():
    with pytest.raises(InputError, match="degree of spherical harmonics must be 0 to 3, got 4"):
        spherical_harmonics(torch.zeros(1, 3), 4)
