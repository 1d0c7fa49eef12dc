"""Sinograms of other programs: the same image comes back, without a shift, as theirs or better."""

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import (
    FanBeam,
    ParallelBeam,
    PixelGrid,
    Projector,
    VoxelGrid,
    from_astra,
    from_odl,
    from_skimage,
    from_tigre,
    from_tomopy,
)
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


def test_an_array_of_tomopy_has_its_centre_from_the_edge_of_the_first_bin():
    stack = np.arange(24.0).reshape(2, 3, 4)
    found = from_tomopy(stack, [0.0, 7.0], row=1)
    assert found.geometry == ParallelBeam((0.0, 7.0 % (2 * np.pi)), 4, 1.0) and found.grid == PixelGrid(4, 4, 1.0)
    assert np.array_equal(found.sinogram, stack[:, 1])
    shifted = from_tomopy(stack[:, 0], [0.0, 7.0], center=2.5).geometry
    assert (shifted.n_bins - 1) / 2 - shifted.centre == 2.0  # the middle of the third bin
    with pytest.raises(InputError, match="has rows 0 to 2, got 3"):
        from_tomopy(stack, [0.0, 7.0], row=3)
    with pytest.raises(InputError, match=r"tomopy keeps a sinogram with the views first, and \(2, 4\) .* 3 angles"):
        from_tomopy(stack, [0.0, 1.0, 2.0])


def odl(kind, curved=None):
    from types import SimpleNamespace

    detector = SimpleNamespace(min_pt=[-3.0], max_pt=[5.0])
    radii = {"src_radius": 20.0, "det_radius": 10.0, "det_curvature_radius": curved} if kind == "fan" else {}
    geometry = SimpleNamespace(angles=np.array([0.0, 1.0]), det_partition=detector, **radii)
    return geometry, SimpleNamespace(shape=(6, 4), min_pt=[-3.0, 0.0], max_pt=[3.0, 4.0])


def test_geometries_of_odl_become_ours():
    found = from_odl(np.ones((2, 4)), *odl("parallel"))
    assert found.geometry == ParallelBeam((0.0, 1.0), 4, 2.0, 1.0) and found.grid == PixelGrid(4, 6, 1.0, (0.0, 2.0))
    assert from_odl(np.ones((2, 4)), *odl("fan")).geometry == FanBeam((0.0, 1.0), 4, 2.0, 20.0, 30.0, 1.0)
    with pytest.raises(InputError, match="this one of ODL is curved"):
        from_odl(np.ones((2, 4)), *odl("fan", curved=(30.0,)))
    geometry, space = odl("parallel")
    space.max_pt = [3.0, 5.0]
    with pytest.raises(InputError, match=r"pixels must be square, but ODL's are 1 x 1\.25"):
        from_odl(np.ones((2, 4)), geometry, space)


def tigre(**changes):
    from types import SimpleNamespace

    arrays = {"nDetector": (5, 7), "dDetector": (0.5, 0.6), "nVoxel": (2, 4, 6), "dVoxel": (0.1, 0.1, 0.1)}
    return SimpleNamespace(**{"DSO": 4.0, "DSD": 6.0, "mode": "cone", "offDetector": [0.25, 0.0], **arrays} | changes)


def test_the_source_of_tigre_begins_on_the_x_axis_and_turns_towards_y():
    found = from_tigre(np.ones((2, 5, 7)), tigre(offDetector=None), [0.0, np.pi / 2])
    feet, directions = found.geometry.rays()
    feet, directions = (z.reshape(2, 5, 7, 3) for z in (feet, directions))
    for view, source in enumerate(torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]], dtype=torch.float64)):
        assert float(torch.linalg.cross(feet[view] - source, directions[view]).abs().max()) < 1e-12
    assert directions[0, 2, 6, 1] > 0 > directions[0, 2, 0, 1] and directions[0, 4, 3, 2] > 0  # columns along y, rows z
    assert found.grid == VoxelGrid((2, 4, 6), 0.1)
    assert from_tigre(np.ones((2, 5, 7)), tigre(), [0.0, 1.0]).geometry.centre == (0.25, 0.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "parallel"}, "mode of TIGRE's geometry 'parallel'"),
        ({"rotDetector": [0.0, 0.1, 0.0]}, "not taken over from TIGRE, got rotDetector"),
        ({"dVoxel": (0.1, 0.1, 0.2)}, "voxels must be cubes"),
        ({"nDetector": (7, 5)}, r"have shape \(2, 5, 7\), and TIGRE's geometry \(2, 7, 5\)"),
    ],
)
def test_a_geometry_of_tigre_that_is_not_taken_over_is_worded(changes, words):
    with pytest.raises(InputError, match=words):
        from_tigre(np.ones((2, 5, 7)), tigre(**changes), [0.0, 1.0])


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
