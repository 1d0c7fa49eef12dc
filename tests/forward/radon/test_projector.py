"""Sparse projectors against closed forms, quadrature along rays, scikit-image, ASTRA and a real scan."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.transform import radon

from nfsolve.forward.ellipses import SHEPP_LOGAN, ellipse_image, ellipse_sinogram
from nfsolve.forward.ellipsoids import SHEPP_LOGAN_3D, ellipsoid_projections, ellipsoid_volume
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


def parallel(n, views=12):
    return ParallelBeam.half_turn(views, n)


def fan(n, views=12):
    return FanBeam(full_turn(views), n, 3.0 / n, source=3.0, detector=4.2)


def cone(n, views=3):
    return ConeBeam(full_turn(views), (n, n), (3.0 / n, 3.2 / n), source=4.0, detector=5.6)


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
        image = ellipse_image(SHEPP_LOGAN, grid).reshape(-1, 1)
        projected = Projector(geometry, grid)(image).reshape(geometry.shape)
        errors.append(relative(projected, ellipse_sinogram(SHEPP_LOGAN, geometry)))
    assert errors[2] <= 0.008
    assert errors[0] / errors[1] > 1.7
    assert errors[1] / errors[2] > 1.7


def test_cone_projector_of_the_phantom():
    errors = []
    for n in (16, 32):
        geometry, grid = cone(n), VoxelGrid((n, n, n), 2 / n)
        volume = ellipsoid_volume(SHEPP_LOGAN_3D, grid).reshape(-1, 1)
        projected = Projector(geometry, grid)(volume).reshape(geometry.shape)
        errors.append(relative(projected, ellipsoid_projections(SHEPP_LOGAN_3D, geometry)))
    assert errors[1] < min(0.08, errors[0] / 1.4)


@pytest.mark.parametrize(
    ("beam", "sizes", "bound"), [(parallel, (32, 64), 0.01), (fan, (32, 64), 0.01), (cone, (24, 48), 0.02)]
)
def test_projector_of_a_gaussian_converges_at_second_order(beam, sizes, bound):
    errors = []
    for n in sizes:
        geometry = beam(n)
        grid = VoxelGrid((n, n, n), 2 / n) if beam is cone else PixelGrid(n, n, 2 / n)
        image = pixel_averages(gaussian, grid, 4)
        projected = Projector(geometry, grid)(image).reshape(geometry.shape)
        errors.append(relative(projected, bin_averages(gaussian_integrals, geometry, 4)))
    assert errors[0] / errors[1] > 3.4
    assert errors[1] < bound


@pytest.mark.parametrize(("name", "bound"), [("parallel", 2e-3), ("fan", 4e-3), ("cone", 2e-2)])
def test_projector_is_the_bin_average_of_rays_through_pixels(name, bound):
    geometry, grid = CASES[name]
    image = random_column(math.prod(grid.shape)).abs()
    sampled = bin_averages(lambda rays: line_integrals(nearest(image, grid), rays, 200, grid.bounds), geometry, 8)
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
    far = FanBeam(ANGLES, 9, 0.17 * 2, source=1e6, detector=2e6, centre=0.1)
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
    theirs = torch.from_numpy(radon(image.numpy(), np.degrees(angles), circle=True).T) * pixel
    ours = Projector(ParallelBeam(angles, n, pixel, -shift), grid)(image.reshape(-1, 1)).reshape(theirs.shape)
    assert relative(ours, theirs) < 1e-2
    half_a_pixel_off = Projector(ParallelBeam(angles, n, pixel, -shift + pixel / 2), grid)(image.reshape(-1, 1))
    assert relative(half_a_pixel_off.reshape(theirs.shape), theirs) > 5e-2


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_projector_is_astras_strip_model(kind):
    astra = pytest.importorskip("astra")
    n, angles = 64, (0.0, 0.4, 1.2, 2.8, 4.0)
    grid = PixelGrid(n, n, 1.0)
    volume = astra.create_vol_geom(n, n)
    if kind == "parallel":
        geometry = ParallelBeam(angles, 80, 1.3)
        detector, model = astra.create_proj_geom("parallel", 1.3, 80, np.array(angles)), "strip"
    else:
        geometry = FanBeam(angles, 80, 2.0, source=200.0, detector=300.0)
        detector = astra.create_proj_geom("fanflat", 2.0, 80, np.array(angles), 200.0, 100.0)
        model = "strip_fanflat"
    number = astra.create_projector(model, detector, volume)
    image = pixel_averages(lambda x: gaussian(x / 32), grid, 2)
    index, theirs = astra.create_sino(image.reshape(n, n).numpy(), number)
    astra.data2d.delete(index)
    astra.projector.delete(number)
    ours = Projector(geometry, grid)(image).reshape(geometry.shape)
    assert relative(ours, torch.from_numpy(theirs).double() / (geometry.spacing if kind == "fan" else 1)) < 1e-2


def test_a_real_fan_scan_is_the_projection_of_its_own_reconstruction():
    path = Path(os.environ.get("NFSOLVE_DATA", "nowhere")) / "ct_htc2022_01a.npz"
    if not path.is_file():
        pytest.skip("needs ct_htc2022_01a.npz in $NFSOLVE_DATA")
    with np.load(path) as scan:
        views = slice(0, 720, 72)
        angles = np.radians(scan["angles_deg"][views])
        source, detector = float(scan["geom_distanceSourceOrigin"]), float(scan["geom_distanceSourceDetector"])
        spacing = float(scan["geom_pixelSizePost"])
        measured = torch.from_numpy(scan["sinogram"][views]).double()
        image = torch.from_numpy(scan["fbp_512"]).double().reshape(256, 2, 256, 2).mean((1, 3)).reshape(-1, 1)
    pixel = spacing * source / detector  # of the supplied image, whose values are per this length
    geometry = FanBeam(tuple(angles), 560, spacing, source, detector)
    grid = PixelGrid(256, 256, 2 * pixel)

    def correlation(g):
        projected = Projector(g, grid)(image).reshape(measured.shape)
        return float(torch.corrcoef(torch.stack([projected.reshape(-1), measured.reshape(-1)]))[0, 1])

    right = correlation(geometry)
    assert right > 0.997
    assert correlation(replace(geometry, angles=tuple(-angles))) < right - 1e-3
    projected = Projector(geometry, grid)(image).reshape(measured.shape) / pixel
    assert float((projected * measured).sum() / projected.square().sum()) == pytest.approx(1.0, abs=0.03)


# --- bad input ---------------------------------------------------------------------------------


def test_bad_pairs_are_worded():
    near = replace(ODD_FAN, source=0.8)
    with pytest.raises(ValueError, match=r"a source 0.8 from the axis and a grid that reaches 0.90\d*: the source out"):
        Projector(near, ODD_GRID)
    with pytest.raises(ValueError, match=r"same unit of length"):
        Projector(replace(CASES["cone"][0], source=0.5), CASES["cone"][1])
    with pytest.raises(ValueError, match=r"a ConeBeam with a PixelGrid: a PixelGrid for parallel and fan"):
        Projector(CASES["cone"][0], ODD_GRID)
    with pytest.raises(ValueError, match=r"a FanBeam with a VoxelGrid"):
        Projector(ODD_FAN, CASES["cone"][1])
    with pytest.raises(ValueError, match=r"which no ray of the ParallelBeam meets: a grid in view of the detector"):
        Projector(replace(ODD, centre=40.0), ODD_GRID)


def test_a_truncated_view_is_a_part_of_the_whole():
    narrow = replace(ODD_FAN, n_bins=3)
    whole = Projector(ODD_FAN, ODD_GRID).matrix.to_dense().reshape(5, 9, -1)[:, 3:6]
    assert torch.allclose(Projector(narrow, ODD_GRID).matrix.to_dense().reshape(5, 3, -1), whole, atol=1e-9)
