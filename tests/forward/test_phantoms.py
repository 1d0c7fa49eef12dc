"""Ellipses and ellipsoids: values, averages over pixels and chords."""

import math
from dataclasses import replace

import pytest
import torch

from nfsolve.forward.phantoms import (
    SHEPP_LOGAN,
    SHEPP_LOGAN_3D,
    Ellipse,
    Ellipsoid,
    phantom_image,
    phantom_integrals,
    phantom_projections,
    phantom_values,
)
from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, VoxelGrid, line_integrals
from tests.forward.radon.cases import relative

FAN = FanBeam((0.1, 2.0, 4.5), 32, 0.1, source_origin=3.0, source_detector_distance=4.2)


@pytest.mark.parametrize("geometry", [ParallelBeam.half_turn(7, 9), FAN], ids=["parallel", "fan"])
def test_integrals_of_ellipses_are_the_quadrature_of_their_values(geometry):
    phantom = (Ellipse(1.5, 0.5, 0.2, 0.1, -0.2, 25.0), Ellipse(-0.7, 0.3, 0.4, -0.2, 0.1, -70.0))
    rays = geometry.rays()
    sampled = line_integrals(lambda x: phantom_values(phantom, x), rays, 10_000)
    exact = phantom_integrals(phantom, rays)
    assert exact.abs().max() > 0.5
    assert torch.allclose(sampled, exact, atol=2e-3)


@pytest.mark.parametrize("geometry", [ParallelBeam.half_turn(6, 32), FAN], ids=["parallel", "fan"])
def test_bin_averages_tend_to_exact_averages(geometry):
    coarse, fine = (phantom_projections(SHEPP_LOGAN, geometry, k) for k in (16, 256))
    assert relative(coarse, fine) < 1e-3 < relative(phantom_projections(SHEPP_LOGAN, geometry, 1), fine)


def test_the_phantom_has_its_published_values():
    points = torch.tensor([[0.0, 0.9], [0.0, 0.3], [0.22, 0.0], [0.0, -0.4], [0.9, 0.9]], dtype=torch.float64)
    assert phantom_values(SHEPP_LOGAN, points)[:, 0].tolist() == pytest.approx([1.0, 0.3, 0.0, 0.2, 0.0])
    image = phantom_image(SHEPP_LOGAN, PixelGrid(16, 16, 0.125))
    mass = sum(e.value * math.pi * e.a * e.b for e in SHEPP_LOGAN)
    assert float(image.sum()) * 0.125**2 == pytest.approx(mass, rel=5e-3)
    assert image[:8].sum() != pytest.approx(image[8:].sum())  # row 0 is at +y: the phantom is not symmetric


def test_integrals_of_ellipsoids_are_the_quadrature_of_their_values():
    phantom = (
        Ellipsoid(1.5, 0.5, 0.2, 0.3, 0.1, -0.2, 0.1, 25.0),
        Ellipsoid(-0.7, 0.3, 0.4, 0.5, -0.2, 0.1, -0.1, -70.0),
    )
    rays = ConeBeam((0.4, 3.0), (6, 7), (0.2, 0.2), source_origin=3.0, source_detector_distance=4.0).rays()
    sampled = line_integrals(lambda x: phantom_values(phantom, x), rays, 5_000, ((-1.0, 1.0),) * 3)
    exact = phantom_integrals(phantom, rays)
    assert exact.abs().max() > 0.4
    assert torch.allclose(sampled, exact, atol=2e-3)


def test_a_ray_in_the_middle_plane_of_ellipsoids_meets_ellipses():
    flat = [Ellipse(e.value, e.a, e.b, e.x, e.y, e.angle) for e in SHEPP_LOGAN_3D]
    middle = [replace(e, z=0.0) for e in SHEPP_LOGAN_3D]
    thin = ConeBeam(FAN.angles, (1, 32), (1e-6, 0.1), 3.0, 4.2)
    projections = phantom_projections(middle, thin)
    assert projections.shape == (3, 1, 32)
    assert torch.allclose(projections[:, 0], phantom_projections(flat, FAN, 4), atol=1e-6)


def test_the_head_in_three_dimensions_has_its_published_values_and_mass():
    assert [(e.value, e.a, e.b, e.x, e.y, e.angle) for e in SHEPP_LOGAN_3D] == [
        (e.value, e.a, e.b, e.x, e.y, e.angle) for e in SHEPP_LOGAN
    ]
    points = torch.tensor([[0, 0, 0.79], [0, 0.35, -0.15], [0.22, 0, 0], [0, 0, 0.9]], dtype=torch.float64)
    assert phantom_values(SHEPP_LOGAN_3D, points)[:, 0].tolist() == pytest.approx([1.0, 0.3, 0.0, 0.0])
    volume = phantom_image(SHEPP_LOGAN_3D, VoxelGrid((16, 16, 16), 0.125), per_cell=27)
    assert volume.shape == (16, 16, 16)
    mass = sum(e.value * 4 / 3 * math.pi * e.a * e.b * e.c for e in SHEPP_LOGAN_3D)
    assert float(volume.sum()) * 0.125**3 == pytest.approx(mass, rel=1e-2)
    assert volume[:8].sum() != pytest.approx(volume[8:].sum())  # slice 0 is at -z
    assert volume[:, :8].sum() != pytest.approx(volume[:, 8:].sum())  # row 0 is at +y
