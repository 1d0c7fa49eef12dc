"""Lenses: the polynomials by the letter of their sources, and undistortion against bisection-free round trips."""

import math

import pytest
import torch
from torch import Tensor

from nfsolve.forward.cameras import lenses

PLAIN = (0.08, -0.05, 0.01, 0.002, 0.003, -0.004)
BARREL = (-0.25, 0.07, -0.005, 0.0, 0.001, 0.002)
FISH = (0.05, -0.02, 0.004, -0.0005, 0.0, 0.0)


def tensor(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def directions(n: int, reach: float) -> Tensor:
    flat = reach * (2 * torch.rand(n, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 1)
    return torch.cat([flat, torch.ones(n, 1, dtype=torch.float64)], -1)


def opencv(x: float, y: float, k) -> tuple[float, float]:
    k1, k2, k3, k4, p1, p2 = k
    r = math.hypot(x, y)
    radial = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6 + k4 * r**8
    return (
        x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
        y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
    )


def fish(x: float, y: float, z: float, k) -> tuple[float, float]:
    r = math.hypot(x, y)
    t = math.atan2(r, z)
    bent = t * (1 + k[0] * t**2 + k[1] * t**4 + k[2] * t**6 + k[3] * t**8)
    return bent * x / r, bent * y / r


@pytest.mark.parametrize("k", [PLAIN, BARREL])
def test_opencv_polynomial_by_the_letter(k):
    towards = directions(20, 0.7)
    expected = tensor([opencv(x, y, k) for x, y, _ in towards.tolist()])
    seen = lenses.bend(2.5 * towards, tensor(k).expand(20, 6), fisheye=False)
    torch.testing.assert_close(seen, expected, rtol=1e-13, atol=1e-14)


def test_fisheye_polynomial_by_the_letter_also_behind_the_image_plane():
    towards = directions(20, 1.0) * tensor([1.0, 1.0, -0.2])
    expected = tensor([fish(x, y, z, FISH) for x, y, z in towards.tolist()])
    seen = lenses.bend(towards, tensor(FISH).expand(20, 6), fisheye=True)
    torch.testing.assert_close(seen, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("k", "fisheye"), [(PLAIN, False), (BARREL, False), (FISH, True)])
def test_straightening_undoes_bending(k, fisheye):
    towards = torch.cat([directions(300, 0.7), tensor([[0.0, 0.0, 1.0]])])
    rows = tensor(k).expand(len(towards), 6)
    back = lenses.straighten(lenses.bend(towards, rows, fisheye), rows, fisheye)
    torch.testing.assert_close(back / back[:, 2:], towards, rtol=0, atol=1e-12)
    single = lenses.straighten(lenses.bend(towards, rows, fisheye).float(), rows.float(), fisheye)
    torch.testing.assert_close((single / single[:, 2:]).double(), towards, rtol=0, atol=3e-6)


def test_a_fisheye_sees_behind_itself():
    towards = tensor([[0.6, -0.8, -0.3]])
    rows = tensor(FISH)[None]
    back = lenses.straighten(lenses.bend(towards, rows, True), rows, True)
    torch.testing.assert_close(back / back.norm(), towards / towards.norm(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("k", "fisheye"), [(PLAIN, False), (FISH, True)])
def test_derivatives_of_straightening_are_those_of_the_inverse(k, fisheye):
    points = directions(1, 0.5)[:, :2].clone().requires_grad_()
    rows = tensor(k).repeat(1, 1).requires_grad_()

    def straighten(points: Tensor, rows: Tensor) -> Tensor:
        return lenses.straighten(points, rows, fisheye)

    assert torch.autograd.gradcheck(straighten, (points, rows))
    assert torch.autograd.gradgradcheck(straighten, (points, rows))


def test_a_folding_lens_is_not_faithful_where_it_folds():
    # x (1 - x^2) rises up to x = 0.577, where it is 0.385: nothing appears farther out.
    points = tensor([[0.0, 0.0], [0.38, 0.0], [0.39, 0.0], [2.0, 0.0]])
    rows = tensor((-1.0, 0, 0, 0, 0, 0)).expand(4, 6)
    assert lenses.faithful(points, rows, fisheye=False)[:, 0].tolist() == [True, True, False, False]
    assert lenses.faithful(points, rows, fisheye=True)[:, 0].tolist() == [True, True, False, False]
