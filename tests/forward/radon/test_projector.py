"""Sparse projectors against closed forms, quadrature along rays, scikit-image, ASTRA and a real scan."""

import math
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.transform import radon

from nfsolve._core.errors import InputError
from nfsolve.forward.phantoms import SHEPP_LOGAN, SHEPP_LOGAN_3D, phantom_image, phantom_projections
from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, Projector, VoxelGrid, line_integrals
from tests.forward.radon.cases import (
    ANGLES,
    CASES,
    ODD,
    ODD_FAN,
    ODD_GRID,
    bin_averages,
    gaussian,
    gaussian_integrals,
    pixel_averages,
    random_column,
    relative,
)


def full_turn(n):
    return tuple(2 * math.pi * i / n for i in range(n))


def parallel(n, views=6):
    return ParallelBeam.half_turn(views, n)


def fan(n, views=6):
    return FanBeam(full_turn(views), n, 3.4 / n, source_origin=3.0, source_detector_distance=4.2)


def cone(n):
    return ConeBeam((0.3, 2.5), (n, n), (3.0 / n, 3.2 / n), source_origin=4.0, source_detector_distance=5.6)


@lru_cache
def phantom(n):
    return phantom_image(SHEPP_LOGAN, PixelGrid(n, n, 2 / n), per_cell=16).reshape(-1, 1)


def nearest(image, grid):
    """The field that has the value of the pixel or voxel that holds a point."""

    def field(points):
        low, high = points.new_tensor(grid.bounds).T
        side = (high - low)[0] / grid.shape[-1]
        index = ((points - low) / side).long().clamp(min=0)
        column, row = index[:, 0].clamp(max=grid.shape[-1] - 1), index[:, 1].clamp(max=grid.shape[-2] - 1)
        where = (grid.shape[-2] - 1 - row) * grid.shape[-1] + column
        if len(grid.shape) == 3:
            where = where + index[:, 2].clamp(max=grid.shape[0] - 1) * grid.shape[1] * grid.shape[2]
        return image[where]

    return field


# --- accuracy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("beam", [parallel, fan])
def test_projector_of_the_phantom_halves_its_error_with_each_doubling(beam):
    errors = []
    for n in (64, 128, 256):
        geometry, grid = beam(n), PixelGrid(n, n, 2 / n)
        projected = Projector(geometry, grid)(phantom(n)).reshape(geometry.shape)
        errors.append(relative(projected, phantom_projections(SHEPP_LOGAN, geometry)))
    assert errors[2] <= 0.008
    assert errors[0] / errors[1] > 1.7
    assert errors[1] / errors[2] > 1.7


def test_cone_projector_of_the_phantom():
    errors = []
    for n in (16, 32):
        geometry, grid = cone(n), VoxelGrid((n, n, n), 2 / n)
        volume = phantom_image(SHEPP_LOGAN_3D, grid, per_cell=27).reshape(-1, 1)
        projected = Projector(geometry, grid)(volume).reshape(geometry.shape)
        errors.append(relative(projected, phantom_projections(SHEPP_LOGAN_3D, geometry)))
    assert errors[1] < min(0.08, errors[0] / 1.4)


@pytest.mark.parametrize(
    ("beam", "sizes", "order", "bound"),
    # where pixels are aligned with the rays, bins of about a pixel (but not one) cost a part of the second order
    [(parallel, (32, 64), 3.5, 6e-3), (fan, (32, 64), 3.2, 6e-3), (cone, (20, 40), 3.0, 1.5e-2)],
)
def test_projector_of_a_gaussian_converges_at_second_order(beam, sizes, order, bound):
    errors, masses = [], []
    for n in sizes:
        geometry = beam(n)
        grid = VoxelGrid((n, n, n), 2 / n) if beam is cone else PixelGrid(n, n, 2 / n)
        projected = Projector(geometry, grid)(pixel_averages(gaussian, grid, 3)).reshape(geometry.shape)
        exact = bin_averages(gaussian_integrals, geometry, 8)
        errors.append(relative(projected, exact))
        masses.append(abs(float(projected.sum() / exact.sum()) - 1))
    assert errors[0] / errors[1] > order
    assert errors[1] < bound
    assert masses[1] < 1e-4


@pytest.mark.parametrize(("name", "sub_rays", "bound"), [("parallel", 64, 6e-3), ("fan", 16, 6e-3), ("cone", 8, 2e-2)])
def test_projector_is_the_bin_average_of_rays_through_pixels(name, sub_rays, bound):
    geometry, grid = CASES[name]
    image = random_column(math.prod(grid.shape)).abs()
    sampled = bin_averages(lambda rays: line_integrals(nearest(image, grid), rays, 70, grid.bounds), geometry, sub_rays)
    assert relative(Projector(geometry, grid)(image).reshape(geometry.shape), sampled) < bound


def test_matrix_entries_are_areas_of_pixels_inside_strips():
    dense = Projector(ODD, ODD_GRID).matrix.to_dense().reshape(*ODD.shape, -1)
    fine = ODD_GRID.refined(200)
    points = fine.centres().reshape(7, 200, 5, 200, 2).movedim(2, 1).reshape(35, -1, 2)
    for view, t in enumerate(ODD.angles):
        position = points @ torch.tensor([math.cos(t), math.sin(t)], dtype=torch.float64)
        bins = torch.floor((position - ODD.offsets()[0]) / ODD.spacing + 0.5)
        counted = torch.stack([(bins == j).sum(-1) for j in range(ODD.n_bins)])
        areas = counted.double() * fine.pixel**2 / ODD.spacing
        assert torch.allclose(dense[view], areas, atol=2e-2 * ODD_GRID.pixel)


def test_each_view_keeps_the_mass_of_the_image_and_its_centre():
    geometry, grid = ParallelBeam.half_turn(9, 60, width=3.0), PixelGrid(8, 8, 0.25)
    centres = grid.centres()
    for index in (0, 13, 63):
        pixel = torch.zeros(64, 1, dtype=torch.float64)
        pixel[index] = 1.0
        views = Projector(geometry, grid)(pixel).reshape(geometry.shape) * geometry.spacing
        assert torch.allclose(views.sum(-1), torch.full((9,), 0.25**2, dtype=torch.float64), rtol=1e-6)
        for t, view in zip(geometry.angles, views, strict=True):
            position = centres[index, 0] * math.cos(t) + centres[index, 1] * math.sin(t)
            assert abs((view @ geometry.offsets()) / view.sum() - position) < geometry.spacing / 4


def test_limits_of_fan_and_cone():
    far = FanBeam(ANGLES, 9, 0.17 * 2, source_origin=1e6, source_detector_distance=2e6, centre=0.1)
    assert relative(Projector(far, ODD_GRID).matrix.to_dense(), Projector(ODD, ODD_GRID).matrix.to_dense()) < 1e-5
    flat = ConeBeam(ANGLES, (1, 9), (0.01, 0.3), 3.0, 5.0, (0.0, 0.05))  # a row so low that all of it sees one slice
    thin = Projector(flat, VoxelGrid((1, 7, 5), 0.21)).matrix.to_dense()
    assert relative(thin, Projector(ODD_FAN, ODD_GRID).matrix.to_dense()) < 1e-5


def test_a_grid_off_the_axis_is_a_part_of_a_larger_one():
    large = PixelGrid(6, 8, 0.2)
    part = PixelGrid(2, 3, 0.2, centre=(-0.1, 0.2))  # rows 1 and 2, columns 2 to 4
    for geometry in (ODD, ODD_FAN):
        whole = Projector(geometry, large).matrix.to_dense().reshape(-1, 6, 8)[:, 1:3, 2:5].reshape(-1, 6)
        assert torch.allclose(Projector(geometry, part).matrix.to_dense(), whole, atol=1e-8)


# --- the matrix --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*CASES.values(), (parallel(64), PixelGrid(64, 64, 1 / 32))])
def test_adjoint_is_exact(case):
    projector = Projector(*case)
    m, n = projector.shape
    x, y = random_column(n), random_column(m, 1)
    left, right = (projector(x) * y).sum(), (x * projector.adjoint(y)).sum()
    assert abs(left - right) < 1e-10 * projector(x).norm() * y.norm()


@pytest.mark.parametrize("name", CASES)
def test_float32_is_float64_rounded_with_indices_of_32_bits(name):
    single, double = (Projector(*CASES[name], dtype=dtype) for dtype in (torch.float32, torch.float64))
    for ours, exact in ((single.matrix, double.matrix), (single.transposed, double.transposed)):
        assert ours.dtype == torch.float32
        assert ours.crow_indices().dtype == ours.col_indices().dtype == torch.int32
        assert relative(ours.to_dense().double(), exact.to_dense()) < 1e-6
    torch.sparse_csr_tensor(
        single.matrix.crow_indices(),
        single.matrix.col_indices(),
        single.matrix.values(),
        single.matrix.shape,
        check_invariants=True,
    )


# --- other software ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [64, 65])
def test_projector_is_scikit_images_about_its_own_centre(n):
    pixel = 2 / n
    shift = 0 if n % 2 else pixel / 2  # scikit-image rotates about pixel n // 2
    angles = (0.0, 0.4, 1.2, math.pi / 2, 2.8)
    grid = PixelGrid(n, n, pixel, centre=(-shift, shift))
    image = pixel_averages(gaussian, grid, 2).reshape(n, n)
    image[grid.centres().norm(dim=-1).reshape(n, n) > 0.9] = 0  # tails; scikit-image warns of values in the corners
    theirs = torch.from_numpy(radon(image.numpy(), np.degrees(angles), circle=True).T) * pixel
    ours = Projector(ParallelBeam(angles, n, pixel, -shift), grid)(image.reshape(-1, 1)).reshape(theirs.shape)
    assert relative(ours, theirs) < 3e-3
    half_a_pixel_off = Projector(ParallelBeam(angles, n, pixel, -shift + pixel / 2), grid)(image.reshape(-1, 1))
    assert relative(half_a_pixel_off.reshape(theirs.shape), theirs) > 5e-2


@pytest.mark.parametrize("kind", ["parallel", "fanflat"])
def test_projector_is_astras_on_a_smooth_image(kind):
    astra = pytest.importorskip("astra")
    n, angles = 64, (0.1, 0.4, 1.2, 2.8, 4.0)
    grid = PixelGrid(n, n, 1.0)
    if kind == "parallel":
        geometry = ParallelBeam(angles, 80, 1.3)
        detector, model = astra.create_proj_geom(kind, 1.3, 80, np.array(angles)), "line"
    else:
        geometry = FanBeam(angles, 80, 2.0, source_origin=200.0, source_detector_distance=300.0)
        detector, model = astra.create_proj_geom(kind, 2.0, 80, np.array(angles), 200.0, 100.0), "line_fanflat"
    number = astra.create_projector(model, detector, astra.create_vol_geom(n, n))  # on the CPU
    image = pixel_averages(lambda x: gaussian(x / 32), grid, 2)
    index, theirs = astra.create_sino(image.reshape(n, n).numpy(), number)
    astra.data2d.delete(index)
    astra.projector.delete(number)
    assert relative(Projector(geometry, grid)(image).reshape(geometry.shape), torch.from_numpy(theirs).double()) < 3e-2


@pytest.mark.parametrize(("name", "margin"), [("01a", 1e-3), ("04b", 0.05)])  # 01a is nearly symmetric
def test_a_real_fan_scan_is_the_projection_of_its_own_reconstruction(name, margin):
    path = Path(os.environ.get("NFSOLVE_DATA", "nowhere")) / f"ct_htc2022_{name}.npz"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in $NFSOLVE_DATA")
    with np.load(path) as scan:
        views = slice(0, 720, 150)
        angles = np.radians(scan["angles_deg"][views])
        source, detector = float(scan["geom_distanceSourceOrigin"]), float(scan["geom_distanceSourceDetector"])
        spacing = float(scan["geom_pixelSizePost"])
        measured = torch.from_numpy(scan["sinogram"][views]).double()
        image = torch.from_numpy(scan["fbp_512"]).double().reshape(128, 4, 128, 4).mean((1, 3)).reshape(-1, 1)
    pixel = spacing * source / detector  # of the supplied image, whose values are per this length
    geometry = FanBeam(tuple(angles), 560, spacing, source, detector)
    grid = PixelGrid(128, 128, 4 * pixel)

    def correlation(g):
        projected = Projector(g, grid)(image).reshape(measured.shape)
        return float(torch.corrcoef(torch.stack([projected.reshape(-1), measured.reshape(-1)]))[0, 1])

    right = correlation(geometry)
    assert right > 0.996
    assert correlation(replace(geometry, angles=tuple(-angles))) < right - margin
    projected = Projector(geometry, grid)(image).reshape(measured.shape) / pixel
    assert float((projected * measured).sum() / projected.square().sum()) == pytest.approx(1.0, abs=0.03)


# --- bad input ---------------------------------------------------------------------------------


def test_bad_pairs_are_worded():
    near = replace(ODD_FAN, source_origin=0.8)
    with pytest.raises(ValueError, match=r"outside the grid .* 0.8 from the axis and the grid reaches 0.90"):
        Projector(near, ODD_GRID)
    with pytest.raises(ValueError, match=r"same unit of length"):
        Projector(replace(CASES["cone"][0], source_origin=0.5), CASES["cone"][1])
    with pytest.raises(
        ValueError, match=r"parallel and fan beams project a PixelGrid, .* got a ConeBeam with a PixelGrid"
    ):
        Projector(CASES["cone"][0], ODD_GRID)
    with pytest.raises(ValueError, match=r"a FanBeam with a VoxelGrid"):
        Projector(ODD_FAN, CASES["cone"][1])
    with pytest.raises(ValueError, match=r"no ray of the ParallelBeam meets the grid over"):
        Projector(replace(ODD, centre=40.0), ODD_GRID)


@pytest.mark.parametrize("name", CASES)
def test_a_matrix_that_does_not_fit_into_memory_is_worded_and_its_size_is_about_right(name, monkeypatch):
    geometry, grid = CASES[name]
    A = Projector(geometry, grid)
    size = 2 * 12 * len(A.matrix.values())
    for share, refused in ((0.3, True), (3.0, False)):
        monkeypatch.setattr("nfsolve.forward.radon.projector.memory", lambda share=share: share * size)
        if refused:
            with pytest.raises(InputError, match=r"the matrix of 5 views and .* pixels takes about .* GiB, and this"):
                Projector(geometry, grid, form="sparse")
        else:
            Projector(geometry, grid, form="sparse")


def test_a_truncated_view_is_a_part_of_the_whole():
    narrow = replace(ODD_FAN, n_bins=3)
    whole = Projector(ODD_FAN, ODD_GRID).matrix.to_dense().reshape(5, 9, -1)[:, 3:6]
    assert torch.allclose(Projector(narrow, ODD_GRID).matrix.to_dense().reshape(5, 3, -1), whole, atol=1e-9)
