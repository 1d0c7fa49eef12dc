"""Line integrals, projector and ellipses against closed forms."""

import math

import pytest
import torch
from torch.func import jvp, vjp, vmap

from nfsolve.forward.ellipses import (
    SHEPP_LOGAN,
    Ellipse,
    ellipse_image,
    ellipse_integrals,
    ellipse_sinogram,
    ellipse_values,
)
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector, line_integrals

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


def random_column(n, seed=0):
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- rays --------------------------------------------------------------------------------------


def test_line_integrals_of_a_gaussian_are_exact_to_quadrature():
    geometry = ParallelBeam.half_turn(12, 40)
    sinogram = line_integrals(gaussian, geometry.rays(), 128, bounds=((-1, 1), (-1.2, 1)))
    assert relative(sinogram.reshape(geometry.shape), gaussian_sinogram(geometry)) < 1e-5


def test_line_integrals_of_one_are_chords_of_the_box():
    geometry = ParallelBeam((0.0, math.pi / 2, math.pi / 4), n_bins=3, spacing=1.0)
    chords = line_integrals(lambda x: torch.ones_like(x[:, :1]), geometry.rays(), 4, ((-0.5, 0.5), (-0.75, 0.75)))
    diagonal = 2 * (0.5 * math.sqrt(2))
    expected = torch.tensor([[0, 1.5, 0], [0, 1.0, 0], [0, diagonal, 0]], dtype=torch.float64)
    assert torch.allclose(chords.reshape(3, 3), expected, atol=1e-9)


def test_rays_that_miss_the_box_are_zero_and_have_finite_gradients():
    scale = torch.tensor(2.0, requires_grad=True)
    feet, directions = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    value = line_integrals(lambda x: scale * x[:, :1], (feet, directions), 5)
    assert value.item() == 0.0
    assert torch.autograd.grad(value.sum(), scale)[0].item() == 0.0


def test_stratified_samples_follow_the_generator_and_stay_near_the_midpoint_rule():
    geometry = ParallelBeam.half_turn(5, 20)
    drawn = [
        line_integrals(gaussian, geometry.rays(), 64, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert 0 < relative(drawn[0].reshape(geometry.shape), gaussian_sinogram(geometry)) < 0.05


def test_views_follow_the_stated_convention():
    geometry = ParallelBeam((0.4, 2.0), n_bins=4, spacing=0.25, centre=0.1)
    feet, directions = geometry.rays()
    assert geometry.offsets().tolist() == pytest.approx([-0.275, -0.025, 0.225, 0.475])
    assert feet[4 + 3].tolist() == pytest.approx([0.475 * math.cos(2.0), 0.475 * math.sin(2.0)])
    assert directions[0].tolist() == pytest.approx([-math.sin(0.4), math.cos(0.4)])


# --- ellipses ----------------------------------------------------------------------------------


def test_ellipse_integrals_are_the_quadrature_of_ellipse_values():
    phantom = (Ellipse(1.5, 0.5, 0.2, 0.1, -0.2, 25.0), Ellipse(-0.7, 0.3, 0.4, -0.2, 0.1, -70.0))
    rays = ParallelBeam.half_turn(7, 9).rays()
    sampled = line_integrals(lambda x: ellipse_values(phantom, x), rays, 20_000)
    exact = ellipse_integrals(phantom, rays)
    assert exact.abs().max() > 0.5
    assert torch.allclose(sampled, exact, atol=1e-3)


def test_bin_averages_tend_to_exact_averages():
    geometry = ParallelBeam.half_turn(6, 32)
    coarse, fine = (ellipse_sinogram(SHEPP_LOGAN, geometry, k) for k in (16, 256))
    assert relative(coarse, fine) < 1e-3 < relative(ellipse_sinogram(SHEPP_LOGAN, geometry, 1), fine)


def test_the_phantom_has_its_published_values():
    points = torch.tensor([[0.0, 0.9], [0.0, 0.3], [0.22, 0.0], [0.0, -0.4], [0.9, 0.9]], dtype=torch.float64)
    assert ellipse_values(SHEPP_LOGAN, points)[:, 0].tolist() == pytest.approx([1.0, 0.3, 0.0, 0.2, 0.0])
    image = ellipse_image(SHEPP_LOGAN, PixelGrid(16, 16, 0.125))
    mass = sum(e.value * math.pi * e.a * e.b for e in SHEPP_LOGAN)
    assert float(image.sum()) * 0.125**2 == pytest.approx(mass, rel=5e-3)
    assert image[:8].sum() != pytest.approx(image[8:].sum())  # row 0 is at +y: the phantom is not symmetric


# --- projector ---------------------------------------------------------------------------------


def test_projector_of_the_phantom_halves_its_error_with_each_doubling():
    errors = []
    for n in (64, 128, 256):
        geometry, grid = ParallelBeam.half_turn(12, n), PixelGrid(n, n, 2 / n)
        image = ellipse_image(SHEPP_LOGAN, grid).reshape(-1, 1)
        projected = Projector(geometry, grid)(image).reshape(geometry.shape)
        errors.append(relative(projected, ellipse_sinogram(SHEPP_LOGAN, geometry)))
    assert errors[2] <= 0.008
    assert errors[0] / errors[1] > 1.7
    assert errors[1] / errors[2] > 1.7


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


def test_projector_of_a_gaussian_converges_at_second_order():
    errors = []
    for n in (32, 64):
        geometry = ParallelBeam.half_turn(8, n)
        grid = PixelGrid(n, n, 2 / n)
        averages = gaussian(grid.refined(8).centres()).reshape(n, 8, n, 8).mean((1, 3)).reshape(-1, 1)
        fine = geometry.refined(16)
        exact = gaussian_sinogram(fine).reshape(*geometry.shape, 16).mean(-1)
        errors.append(relative(Projector(geometry, grid)(averages).reshape(geometry.shape), exact))
    assert errors[0] / errors[1] > 3.5
    assert errors[1] < 0.01


@pytest.mark.parametrize(
    ("geometry", "grid"), [(ODD, ODD_GRID), (ParallelBeam.half_turn(20, 64), PixelGrid(64, 64, 1 / 32))]
)
def test_adjoint_is_exact(geometry, grid):
    projector = Projector(geometry, grid)
    x, y = random_column(grid.rows * grid.columns), random_column(math.prod(geometry.shape), 1)
    left, right = (projector(x) * y).sum(), (x * projector.adjoint(y)).sum()
    assert abs(left - right) < 1e-10 * projector(x).norm() * y.norm()


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own, on the first jvp
def test_projector_has_derivatives_and_batches_like_its_dense_matrix():
    projector = Projector(ODD, ODD_GRID)
    dense = projector.matrix.to_dense()
    x = random_column(35).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: projector(z**2), x)
    assert torch.autograd.gradgradcheck(lambda z: projector(z**2), x)
    x, v, y = x.detach(), random_column(35, 1), random_column(45, 2)
    assert torch.allclose(jvp(projector, (x,), (v,))[1], dense @ v)
    assert torch.allclose(vjp(projector, x)[1](y)[0], dense.T @ y)
    stack = torch.stack([x, v, x - v])
    assert torch.allclose(vmap(projector)(stack), dense @ stack)
    assert torch.allclose(vmap(lambda z: vjp(projector, z)[1](y)[0])(stack), (dense.T @ y).expand(3, -1, -1))
    assert torch.allclose(vmap(lambda z: jvp(projector, (z,), (z,))[1])(stack), dense @ stack)


# --- bad input ---------------------------------------------------------------------------------


def test_bad_geometry_is_worded():
    with pytest.raises(ValueError, match=r"an angle of 179: radians were expected. Convert degrees by math.radians"):
        ParallelBeam(tuple(range(180)), 16, 0.1)
    with pytest.raises(ValueError, match="0 angles: at least one"):
        ParallelBeam((), 16, 0.1)
    with pytest.raises(ValueError, match="1 angles: at least one, all finite"):
        ParallelBeam((math.nan,), 16, 0.1)
    with pytest.raises(ValueError, match=r"a detector of 0 bins of width 0.1"):
        ParallelBeam((0.0,), 0, 0.1)
    with pytest.raises(ValueError, match=r"a detector of 8 bins of width -1"):
        ParallelBeam((0.0,), 8, -1)
    with pytest.raises(ValueError, match="0 views on 8 bins"):
        ParallelBeam.half_turn(0, 8)
    with pytest.raises(ValueError, match="0 x 4 pixels of side 1"):
        PixelGrid(0, 4, 1)


def test_bad_values_are_worded():
    projector = Projector(ODD, ODD_GRID)
    with pytest.raises(ValueError, match=r"values of shape \(7, 5\): \(35, k\) was expected"):
        projector(torch.zeros(7, 5))
    with pytest.raises(ValueError, match=r"values of shape \(5, 9\): \(45, k\)"):
        projector.adjoint(torch.zeros(5, 9))
    with pytest.raises(ValueError, match=r"field values of shape \(4,\): \(4, 1\) was expected"):
        line_integrals(lambda x: x[:, 0], (torch.zeros(2, 2), torch.ones(2, 2)), 2)
    with pytest.raises(ValueError, match="n_samples=0"):
        line_integrals(gaussian, ODD.rays(), 0)
