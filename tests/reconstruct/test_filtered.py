"""Filtered back-projection against closed forms, scikit-image, and one geometry against another."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.transform import iradon

from nfsolve.forward.phantoms import SHEPP_LOGAN, Ellipse, Ellipsoid, phantom_image, phantom_projections
from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, VoxelGrid
from nfsolve.metrics import psnr
from nfsolve.reconstruct import fdk, filtered_back_projection, ramp_filter
from nfsolve.reconstruct.filtered import _fan_weights, _parallel_weights
from tests.forward.radon.cases import gaussian, gaussian_integrals, relative

PARALLEL = ParallelBeam.half_turn(5, 9)
SOURCE, DETECTOR = 3.0, 5.0
FAN_ANGLE = 25.0  # half of it, in degrees: a detector that sees the disk of radius 1.26


def degrees(*range_and_number):
    return tuple(np.radians(np.linspace(*range_and_number, endpoint=False)))


def fan(angles, n_bins=128, source=SOURCE, detector=DETECTOR):
    width = 2 * detector * math.tan(math.radians(FAN_ANGLE)) if source == SOURCE else 2.2 * detector / source
    return FanBeam(angles, n_bins, width / n_bins, source, detector)


def gaussian_sinogram(geometry):
    return gaussian_integrals(geometry.rays()).reshape(geometry.shape)


def error_of_gaussian(geometry, grid=None):
    grid = grid or PixelGrid(48, 40, 2 / 48)
    found = filtered_back_projection(gaussian_sinogram(geometry), geometry, grid)
    return relative(found.image.reshape(-1, 1), gaussian(grid.centres()))


# --- parallel ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "filter_name"), [("ram-lak", "ramp"), ("hann", "hann")])
def test_parallel_beams_are_scikit_images(window, filter_name):
    n = 65  # odd: scikit-image rotates about pixel n // 2, which is the centre only then
    geometry, grid = ParallelBeam.half_turn(30, n), PixelGrid(n, n, 2 / n)
    sinogram = phantom_projections(SHEPP_LOGAN, geometry)
    turned = np.degrees(np.array(geometry.angles))
    theirs = iradon(sinogram.T.numpy(), turned, filter_name=filter_name, circle=True) / grid.pixel
    ours = filtered_back_projection(sinogram, geometry, grid, window).image.numpy()
    inside = (grid.centres().square().sum(-1) < 0.97**2).reshape(n, n).numpy()
    tolerance = 1e-6 if window == "ram-lak" else 2e-2  # scikit-image: float32; Hann window half a bin off
    assert np.linalg.norm((ours - theirs)[inside]) < tolerance * np.linalg.norm(theirs[inside])


@pytest.mark.parametrize("turns", [0.5, 1, 1.5, 2])
def test_parallel_beams_recover_a_smooth_image_from_any_number_of_half_turns(turns):
    geometry = ParallelBeam(degrees(0, 360 * turns, int(180 * turns)), n_bins=101, spacing=0.03, centre=0.2)
    assert error_of_gaussian(geometry) < 0.01


def test_uneven_views_in_any_order_are_weighted_by_the_angle_they_stand_for():
    t = torch.cat([torch.arange(0, 90, 1.0), torch.arange(90, 180, 4.0)])
    order = torch.randperm(len(t), generator=torch.Generator().manual_seed(0))
    geometry = ParallelBeam(tuple(torch.deg2rad(t[order]).tolist()), n_bins=101, spacing=0.03)
    assert error_of_gaussian(geometry) < 0.02
    found = filtered_back_projection(gaussian_sinogram(geometry), geometry, PixelGrid(8, 8, 0.25))
    assert found.note == "views over 180 degrees"
    assert found.iterations == 1 and found.seconds > 0


def test_a_limited_arc_is_the_part_of_the_sum_that_exists():
    whole, half = (ParallelBeam(degrees(0, end, end), 64, 2.2 / 64) for end in (180, 90))
    rest = replace(whole, angles=whole.angles[90:])
    grid = PixelGrid(20, 20, 0.1)
    full, first, second = (filtered_back_projection(gaussian_sinogram(g), g, grid) for g in (whole, half, rest))
    assert torch.allclose(first.image + second.image, full.image)
    assert first.note == "a limited arc: views over 90 of 180 degrees"


# --- fan ---------------------------------------------------------------------------------------


def test_a_far_source_is_a_parallel_beam():
    angles, n, far = degrees(0, 360, 60), 64, 1e6
    grid = PixelGrid(32, 32, 2 / 32)
    for detector in (far, 2 * far):
        geometry = fan(angles, n, far, detector)
        parallel = ParallelBeam(angles, n, 2.2 / n)
        sinogram = phantom_projections(SHEPP_LOGAN, parallel)
        assert relative(phantom_projections(SHEPP_LOGAN, geometry), sinogram) < 1e-4
        ours, limit = (filtered_back_projection(sinogram, g, grid).image for g in (geometry, parallel))
        assert torch.allclose(ours, limit, atol=1e-5)


@pytest.mark.parametrize(
    ("angles", "note"),
    [
        (degrees(0, 360, 360), "views over 360 degrees"),
        (degrees(100, 460, 180), "views over 360 degrees"),
        (tuple(np.radians(np.linspace(0, 360, 361))), "views over 360 degrees"),  # the first view is there twice
        (degrees(20, 250, 230), "a short scan: views over 230 degrees, 229.7 needed"),
        (degrees(-200, 100, 300), "a short scan: views over 300 degrees, 229.7 needed"),
    ],
)
def test_fan_beams_recover_a_smooth_image(angles, note):
    geometry = fan(angles)
    assert error_of_gaussian(geometry) < 0.02
    assert filtered_back_projection(gaussian_sinogram(geometry), geometry, PixelGrid(4, 4, 0.5)).note == note


def test_the_fan_meets_the_head_like_the_parallel_beam():
    grid = PixelGrid(64, 64, 2 / 64)
    truth = phantom_image(SHEPP_LOGAN, grid)
    scores = []
    for geometry in (ParallelBeam.half_turn(60, 96), fan(degrees(0, 360, 120)), fan(degrees(0, 230, 100))):
        image = filtered_back_projection(phantom_projections(SHEPP_LOGAN, geometry, 4), geometry, grid).image
        scores.append(psnr(image, truth))
    assert min(scores) > 28 and max(scores) < min(scores) + 1.5


class EvenFan(FanBeam):
    """Bins half a degree apart, so that the other view of each line is there too."""

    def offsets(self, dtype=torch.float64, device="cpu"):
        return self.source_detector_distance * (super().offsets(dtype, device) / 2).deg2rad().tan()


@pytest.mark.parametrize("arc", [150, 180, 200, 231, 300])
def test_the_two_directions_of_a_line_count_as_one(arc):
    geometry = EvenFan(degrees(0, arc, arc), 41, 1.0, 57.0, 57.0)
    g = torch.arange(-20, 21).double() / 2
    weights = _fan_weights(geometry)[0] / g.deg2rad().cos()
    other = (torch.arange(arc)[:, None] + 180 - 2 * g).long() % 360  # sees the same line at -g
    there = other < arc
    mirrored = torch.where(there, weights.flip(1).gather(0, other.clamp(max=arc - 1)), 0.0)
    assert there.any() != (arc == 150) and not there.all()
    assert torch.allclose(weights + mirrored, torch.full_like(weights, math.radians(1)), rtol=1e-6)


def test_a_detector_off_the_middle_sees_the_same_image():
    geometry = replace(fan(degrees(0, 360, 180), 160), centre=0.31)
    assert error_of_gaussian(geometry) < 0.02


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9], ids=lambda share: f"{share:g} of half its width")
@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("beam", ["parallel", "fan", "cone"])
def test_a_shifted_detector_sees_twice_its_width_in_a_full_turn(beam, turns, share, side):
    angles, whole = degrees(0.0, 360.0 * turns, 240), 1.1  # half the width that a centred detector has at the axis
    reach = whole * (2 if beam == "parallel" else 2.2)  # to the farther end, on the detector
    half = reach / (1 + share)
    n, spacing, centre = 96, 2 * half / 96, side * share * half
    grid = PixelGrid(32, 32, 1.4 / 32)
    if beam == "cone":
        cone = ConeBeam(angles, (1, n), (1e-3, spacing), 4.0, 8.0, (0.0, centre))
        projections = phantom_projections([Ellipsoid(1.0, 0.4, 0.5, 9.0, 0.1, -0.05)], cone, 1)
        image = fdk(projections, cone, VoxelGrid((1, 32, 32), 1.4 / 32)).image[0]
        truth = phantom_image([Ellipse(1.0, 0.4, 0.5, 0.1, -0.05)], grid)
        assert float((image - truth)[truth == truth.max()].abs().mean()) < 0.02
        return
    parallel = beam == "parallel"
    made = ParallelBeam(angles, n, spacing, centre) if parallel else FanBeam(angles, n, spacing, 4.0, 8.0, centre)
    assert error_of_gaussian(made, grid) < 0.01


@pytest.mark.parametrize("centre", [0.6, -0.6])
def test_the_line_seen_from_both_sides_counts_once_on_a_shifted_detector(centre):
    geometry = ParallelBeam(degrees(0, 360, 8), 10, 0.3, centre)  # bins of one side mirror those of the other
    weights = _parallel_weights(geometry)[0][0]
    mirrored = {round(float(-u), 6): float(w) for u, w in zip(geometry.offsets(), weights, strict=True)}
    sums = [float(w) + mirrored.get(round(float(u), 6), 0) for u, w in zip(geometry.offsets(), weights, strict=True)]
    assert len(mirrored) == 10 and sums == pytest.approx([math.pi / 4] * 10)


def test_half_a_turn_of_a_shifted_detector_is_said():
    geometry = ParallelBeam(degrees(0, 180, 90), 40, 0.05, 0.3)
    found = filtered_back_projection(gaussian_sinogram(geometry), geometry, PixelGrid(4, 4, 0.25))
    assert found.note == "views over 180 degrees, and farther than 0.7 from the axis only half of them"


def test_less_than_a_short_scan_is_said():
    geometry = fan(degrees(0, 150, 150))
    found = filtered_back_projection(gaussian_sinogram(geometry), geometry, PixelGrid(24, 24, 2 / 24))
    assert found.note == "a limited arc: views over 150 of the 229.7 degrees of a short scan"
    truth = gaussian(PixelGrid(24, 24, 2 / 24).centres()).reshape(24, 24)
    assert 0.05 < relative(found.image, truth) < 0.5


# --- cone --------------------------------------------------------------------------------------


CONE = ConeBeam(
    degrees(0, 360, 90), (48, 64), (0.07, 0.07), source_origin=4.0, source_detector_distance=6.0, centre=(0.02, -0.03)
)


@pytest.mark.parametrize("angles", [degrees(0, 360, 90), degrees(0, 230, 115)])
def test_fdk_of_a_ball(angles):
    geometry = replace(CONE, angles=angles)
    place, grid = (0.2, -0.1, 0.15), VoxelGrid((20, 24, 28), 0.08)
    projections = phantom_projections([Ellipsoid(1.0, 0.6, 0.6, 0.6, *place)], geometry, 1)
    volume = fdk(projections, geometry, grid).image
    assert volume.shape == grid.shape
    away = (grid.centres() - torch.tensor(place, dtype=torch.float64)).norm(dim=-1).reshape(grid.shape)
    assert float(volume[away < 0.25].mean()) == pytest.approx(1.0, abs=0.02)
    assert float(volume[away < 0.45].std()) < 0.03
    assert float(volume[(away > 0.75) & (away < 0.85)].mean()) == pytest.approx(0.0, abs=0.03)


def test_the_middle_slice_of_fdk_is_the_fan_beam():
    cone = ConeBeam(degrees(0, 360, 40), (3, 64), (0.05, 0.06), SOURCE, DETECTOR)
    fan_beam = FanBeam(cone.angles, 64, 0.06, SOURCE, DETECTOR)
    projections = gaussian_sinogram(fan_beam)[:, None].expand(-1, 3, -1)
    volume = fdk(projections, cone, VoxelGrid((1, 16, 16), 0.1)).image
    image = filtered_back_projection(projections[:, 1], fan_beam, PixelGrid(16, 16, 0.1)).image
    assert torch.allclose(volume[0], image)


# --- the ramp ----------------------------------------------------------------------------------


def test_half_a_ramp_twice_is_the_ramp():
    row = torch.rand(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = torch.nn.functional.pad(row, (200, 200))
    twice = ramp_filter(ramp_filter(padded, 0.1, "hann", 0.5), 0.1, "hann", 0.5)
    assert relative(twice[:, 200:250], ramp_filter(padded, 0.1, "hann")[:, 200:250]) < 1e-3


def test_the_ramp_is_the_derivative_of_the_hilbert_transform():
    s = (torch.arange(4001, dtype=torch.float64) - 2000) * 0.01
    ours = ramp_filter((1 / (1 + s**2))[None], 0.01)[0]
    exact = (1 - s**2) / (1 + s**2) ** 2 / (2 * math.pi)  # the transform of pi exp(-2 pi |f|) |f|
    assert torch.allclose(ours[1900:2101], exact[1900:2101], atol=1e-4)


# --- bad input ---------------------------------------------------------------------------------


def test_bad_input_is_worded():
    grid = PixelGrid(7, 5, 0.21)
    with pytest.raises(
        ValueError, match=r"sinogram has shape \(9, 5\), but its geometry has \(5, 9\) = \(views, bins\)"
    ):
        filtered_back_projection(torch.zeros(9, 5), PARALLEL, grid)
    with pytest.raises(ValueError, match="must be finite, and 45 of 45"):
        filtered_back_projection(torch.full((5, 9), math.nan), PARALLEL, grid)
    with pytest.raises(ValueError, match="unknown filter window 'han': did you mean 'hann'"):
        filtered_back_projection(torch.zeros(5, 9), PARALLEL, grid, "han")
    with pytest.raises(ValueError, match="source must lie outside the image. Make the image smaller, .* same unit"):
        filtered_back_projection(torch.zeros(4, 9), fan(degrees(0, 360, 4), 9), PixelGrid(7, 7, 1.0))
    with pytest.raises(ValueError, match=r"sinogram has shape \(2, 2\), .* \(90, 48, 64\) = \(views, rows, columns\)"):
        fdk(torch.zeros(2, 2), CONE, VoxelGrid((2, 2, 2), 0.1))
