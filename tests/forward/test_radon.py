"""Filtered back-projection against closed forms and scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.transform import iradon

from nfsolve.forward.ellipses import SHEPP_LOGAN, ellipse_sinogram
from nfsolve.forward.fbp import filtered_back_projection
from nfsolve.forward.radon import ParallelBeam, PixelGrid

CENTRE, SD = (0.2, -0.3), 0.12
ODD = ParallelBeam((0.0, 0.3, math.pi / 2, 2.5, -1.0), n_bins=9, spacing=0.17, centre=0.05)
ODD_GRID = PixelGrid(rows=7, columns=5, pixel=0.21)


def gaussian(points):
    away = points - points.new_tensor(CENTRE)
    return torch.exp(-0.5 * away.square().sum(-1, keepdim=True) / SD**2)


def gaussian_sinogram(geometry):
    t = torch.tensor(geometry.angles, dtype=torch.float64)[:, None]
    s = geometry.offsets() - (CENTRE[0] * t.cos() + CENTRE[1] * t.sin())
    return SD * math.sqrt(2 * math.pi) * torch.exp(-0.5 * (s / SD) ** 2)


def relative(u, reference):
    return float((u - reference).norm() / reference.norm())


@pytest.mark.parametrize(("window", "filter_name"), [("ram-lak", "ramp"), ("hann", "hann")])
def test_filtered_back_projection_is_scikit_images(window, filter_name):
    n = 65  # odd: scikit-image rotates about pixel n // 2, which is the centre only then
    geometry, grid = ParallelBeam.half_turn(30, n), PixelGrid(n, n, 2 / n)
    sinogram = ellipse_sinogram(SHEPP_LOGAN, geometry)
    degrees = np.degrees(np.array(geometry.angles))
    theirs = iradon(sinogram.T.numpy(), degrees, filter_name=filter_name, circle=True) / grid.pixel
    ours = filtered_back_projection(sinogram, geometry, grid, window).numpy()
    inside = (grid.centres().square().sum(-1) < 0.97**2).reshape(n, n).numpy()
    tolerance = 1e-6 if window == "ram-lak" else 2e-2  # scikit-image: float32; Hann window half a bin off
    assert np.linalg.norm((ours - theirs)[inside]) < tolerance * np.linalg.norm(theirs[inside])


def test_filtered_back_projection_recovers_a_smooth_image():
    grid = PixelGrid(48, 40, 2 / 48)
    truth = gaussian(grid.centres()).reshape(48, 40)
    for turn in (1, 2):
        angles = tuple(turn * math.pi * i / (90 * turn) for i in range(90 * turn))
        geometry = ParallelBeam(angles, n_bins=101, spacing=0.03, centre=0.2)
        image = filtered_back_projection(gaussian_sinogram(geometry), geometry, grid)
        assert relative(image, truth) < 0.01


def test_bad_values_are_worded():
    with pytest.raises(ValueError, match=r"a sinogram of shape \(9, 5\): \(5, 9\) = \(views, bins\)"):
        filtered_back_projection(torch.zeros(9, 5), ODD, ODD_GRID)
    with pytest.raises(ValueError, match="not finite"):
        filtered_back_projection(torch.full((5, 9), math.nan), ODD, ODD_GRID)
    with pytest.raises(ValueError, match="unknown filter window 'han': did you mean 'hann'"):
        filtered_back_projection(torch.zeros(5, 9), ODD, ODD_GRID, "han")
