"""Sinograms of other programs: the same image comes back, without a shift, as theirs or better."""

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector, from_astra, from_skimage
from nfsolve.metrics import psnr
from nfsolve.reconstruct import filtered_back_projection


@pytest.mark.parametrize("circle", [True, False], ids=["circle", "whole"])
@pytest.mark.parametrize("n", [64, 65])
def test_a_sinogram_of_scikit_image_gives_its_image(n, circle):
    image = resize(shepp_logan_phantom(), (n, n), anti_aliasing=True)
    y, x = np.mgrid[:n, :n] - n // 2
    image[np.hypot(x, y) > n // 2 - 1] = 0
    theta = np.arange(0, 180, 2.0)
    sinogram = radon(image, theta, circle=circle)
    found = from_skimage(sinogram, theta, circle)
    assert found.geometry.shape == sinogram.T.shape
    projected = Projector(found.geometry, found.grid)(torch.as_tensor(image).reshape(-1, 1)) if circle else None
    if projected is not None:
        assert float((projected.reshape(found.sinogram.shape) - found.sinogram).norm() / found.sinogram.norm()) < 0.03
    ours = filtered_back_projection(found.sinogram, found.geometry, found.grid).image
    assert ours.shape == image.shape or not circle
    theirs = torch.as_tensor(iradon(sinogram, theta, circle=circle, output_size=len(ours)))
    truth = torch.as_tensor(image[: len(ours), : len(ours)])
    inside = found.grid.centres().norm(dim=1).reshape(truth.shape) < n // 2 - 1  # theirs is 0 outside
    assert psnr(ours[inside], truth[inside], 1.0) > psnr(theirs[inside], truth[inside], 1.0) - 0.1
    middle = ParallelBeam(found.geometry.angles, found.geometry.n_bins, 1.0)
    naive = filtered_back_projection(found.sinogram, middle, PixelGrid(*found.grid.shape, 1.0)).image
    if n % 2 == 0 and circle:
        assert psnr(ours[inside], truth[inside], 1.0) > psnr(naive[inside], truth[inside], 1.0) + 3


def test_the_views_of_scikit_image_are_spread_over_half_a_turn_by_default():
    found = from_skimage(np.ones((8, 4)))
    assert np.allclose(np.degrees(found.geometry.angles), [0, 45, 90, 135])


def test_geometries_of_astra_become_ours():
    volume = {"GridRowCount": 6, "GridColCount": 8, "option": {}}
    flat = {"type": "parallel", "DetectorWidth": 1.5, "DetectorCount": 5, "ProjectionAngles": np.array([0.0, 7.0])}
    found = from_astra(np.ones((2, 5)), flat, volume)
    assert found.geometry == ParallelBeam((0.0, 7.0 % (2 * np.pi)), 5, 1.5) and found.grid == PixelGrid(6, 8, 1.0)
    fan = flat | {"type": "fanflat", "DistanceOriginSource": 200.0, "DistanceOriginDetector": 100.0}
    window = {"WindowMinX": 0.0, "WindowMaxX": 4.0, "WindowMinY": -1.0, "WindowMaxY": 2.0}
    found = from_astra(np.ones((2, 5)), fan, volume | {"option": window})
    assert found.geometry == FanBeam((0.0, 7.0 % (2 * np.pi)), 5, 1.5, 200.0, 300.0)
    assert found.grid == PixelGrid(6, 8, 0.5, (2.0, 0.5))


def test_what_does_not_fit_is_worded():
    with pytest.raises(InputError, match=r"keeps a sinogram as \(bins, views\), and \(8, 4\) does not fit 8 angles"):
        from_skimage(np.ones((8, 4)), range(8))
    with pytest.raises(InputError, match=r"must have two axes \(bins, views\), got shape \(8,\)"):
        from_skimage(np.ones(8))
    volume = {"GridRowCount": 6, "GridColCount": 8, "option": {"WindowMinX": 0.0, "WindowMaxX": 4.0}}
    flat = {"type": "parallel", "DetectorWidth": 1.0, "DetectorCount": 5, "ProjectionAngles": [0.0]}
    with pytest.raises(InputError, match="pixels must be square, but ASTRA's are 0.5 x 1"):
        from_astra(np.ones((1, 5)), flat, volume)
    with pytest.raises(InputError, match=r"the sinogram has shape \(2, 5\), and ASTRA's geometry \(1, 5\)"):
        from_astra(np.ones((2, 5)), flat, {"GridRowCount": 6, "GridColCount": 8})
    with pytest.raises(InputError, match="cone"):
        from_astra(np.ones((1, 5)), flat | {"type": "cone"}, volume)
