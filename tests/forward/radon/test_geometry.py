"""Grids and beams: conventions, limits and what they refuse."""

import math

import pytest
import torch

from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, VoxelGrid

ANGLES = (0.0, 0.3, math.pi / 2, 2.5, -1.0)
FAN = FanBeam(ANGLES, n_bins=7, spacing=0.4, source_origin=3.0, source_detector_distance=5.0, centre=0.1)
CONE = ConeBeam(
    ANGLES, n_bins=(4, 7), spacing=(0.3, 0.4), source_origin=3.0, source_detector_distance=5.0, centre=(-0.2, 0.1)
)


def source_and_bins(geometry):
    """Positions of source (views, 1, 1, 3) and bins (views, rows, columns, 3), built point by point."""
    v, u = geometry.offsets() if isinstance(geometry, ConeBeam) else (torch.zeros(1).double(), geometry.offsets())
    sources, bins = [], []
    for t in geometry.angles:
        n, d = torch.tensor([[math.cos(t), math.sin(t), 0.0], [-math.sin(t), math.cos(t), 0.0]]).double()
        sources.append(-geometry.source_origin * d)
        middle = (geometry.source_detector_distance - geometry.source_origin) * d
        up = torch.tensor([0.0, 0.0, 1.0]).double()
        bins.append(torch.stack([torch.stack([middle + x * n + z * up for x in u]) for z in v]))
    return torch.stack(sources)[:, None, None], torch.stack(bins)


def test_parallel_views_follow_the_stated_convention():
    geometry = ParallelBeam((0.4, 2.0), n_bins=4, spacing=0.25, centre=0.1)
    feet, directions = geometry.rays()
    assert geometry.offsets().tolist() == pytest.approx([-0.275, -0.025, 0.225, 0.475])
    assert feet[4 + 3].tolist() == pytest.approx([0.475 * math.cos(2.0), 0.475 * math.sin(2.0)])
    assert directions[0].tolist() == pytest.approx([-math.sin(0.4), math.cos(0.4)])


@pytest.mark.parametrize("geometry", [FAN, CONE], ids=["fan", "cone"])
def test_rays_run_from_the_source_through_the_bins(geometry):
    feet, directions = geometry.rays()
    d = directions.shape[1]
    source, bins = source_and_bins(geometry)
    towards = torch.nn.functional.normalize(bins - source, dim=-1)[..., :d].reshape(-1, d)
    assert torch.allclose(directions, towards, atol=1e-12)
    start = source.expand_as(bins)[..., :d].reshape(-1, d)
    along = ((feet - start) * directions).sum(-1, keepdim=True)
    assert torch.allclose(start + along * directions, feet, atol=1e-12)
    assert (feet * directions).sum(-1).abs().max() < 1e-12  # nearest to the origin: no digits lost far away


def test_a_far_source_gives_the_parallel_beam_magnified():
    source, magnification = 1e7, 2.0
    fan = FanBeam(ANGLES, 9, 0.2 * magnification, source, source * magnification, 0.05 * magnification)
    parallel = ParallelBeam(ANGLES, 9, 0.2, 0.05)
    for far, expected in zip(fan.rays(), parallel.rays(), strict=True):
        assert torch.allclose(far, expected, atol=1e-6)


def test_fan_rays_are_rays_of_a_parallel_beam_at_the_angle_less_the_fan_angle():
    feet, directions = FAN.rays()
    gamma = torch.atan(FAN.offsets() / FAN.source_detector_distance)
    turned = (torch.tensor(ANGLES).double()[:, None] - gamma).reshape(-1)
    assert torch.allclose(directions, torch.stack([-turned.sin(), turned.cos()], -1))
    assert torch.allclose(feet[:, 0] * turned.cos() + feet[:, 1] * turned.sin(), (3 * gamma.sin()).repeat(len(ANGLES)))


def test_the_middle_row_of_a_cone_is_the_fan():
    cone = ConeBeam(ANGLES, (1, 7), (0.3, 0.4), 3.0, 5.0, (0.0, 0.1))
    for inside, flat in zip(cone.rays(), FAN.rays(), strict=True):
        assert torch.allclose(inside[:, :2], flat)
        assert inside[:, 2].abs().max() == 0


@pytest.mark.parametrize("geometry", [ParallelBeam(ANGLES, 7, 0.4, 0.1), FAN, CONE], ids=["parallel", "fan", "cone"])
def test_refined_subset_shape_and_dtype(geometry):
    feet, directions = geometry.rays(torch.float32)
    assert feet.dtype == directions.dtype == torch.float32
    assert len(feet) == len(directions) == math.prod(geometry.shape)
    part = geometry.subset([3, 0])
    whole = geometry.rays()[1].reshape(*geometry.shape, -1)
    assert torch.equal(part.rays()[1].reshape(*part.shape, -1), whole[[3, 0]])
    fine = geometry.refined(3)
    axes = zip(*((g.offsets() if isinstance(g, ConeBeam) else (g.offsets(),)) for g in (geometry, fine)), strict=True)
    for coarse, split in axes:
        assert torch.allclose(split.reshape(-1, 3).mean(-1), coarse)
        assert len(split) == 3 * len(coarse)


def test_pixel_centres_keep_to_the_convention():
    grid = PixelGrid(rows=2, columns=3, pixel=0.5, centre=(1.0, -2.0))
    expected = [[0.5, -1.75], [1.0, -1.75], [1.5, -1.75], [0.5, -2.25], [1.0, -2.25], [1.5, -2.25]]
    assert grid.centres().tolist() == expected
    assert grid.bounds == ((0.25, 1.75), (-2.5, -1.5))
    fine = grid.refined(4)
    assert fine.bounds == grid.bounds
    assert fine.centres().mean(0).tolist() == pytest.approx([1.0, -2.0])


def test_voxel_centres_keep_to_the_convention():
    grid = VoxelGrid((2, 3, 4), 0.5)
    centres = grid.centres().reshape(2, 3, 4, 3)
    assert centres[0, 0, 0].tolist() == [-0.75, 0.5, -0.25]
    assert centres[1, 0, 0].tolist() == [-0.75, 0.5, 0.25]
    assert centres[0, 1, 2].tolist() == [0.25, 0.0, -0.25]
    assert grid.bounds == ((-1.0, 1.0), (-0.75, 0.75), (-0.5, 0.5))
    assert grid.refined(2) == VoxelGrid((4, 6, 8), 0.25)


def test_bad_geometry_is_worded():
    with pytest.raises(ValueError, match=r"angles are in radians, .* got 179. Convert degrees by math.radians"):
        ParallelBeam(tuple(range(180)), 16, 0.1)
    with pytest.raises(ValueError, match="angles are in radians, .* got 90"):
        FanBeam((0, 90), 16, 0.1, 3.0, 5.0)
    with pytest.raises(ValueError, match="angles are in radians, .* got 90"):
        ConeBeam((0, 90), (4, 4), (0.1, 0.1), 3.0, 5.0)
    with pytest.raises(ValueError, match="at least one view, got no angle"):
        ParallelBeam((), 16, 0.1)
    with pytest.raises(ValueError, match="the angle of view 0 must be finite, got nan"):
        ParallelBeam((math.nan,), 16, 0.1)
    with pytest.raises(ValueError, match=r"a detector needs .*, got 0 bins of width 0.1"):
        ParallelBeam((0.0,), 0, 0.1)
    with pytest.raises(ValueError, match=r"got 8 bins of width -1"):
        FanBeam((0.0,), 8, -1, 3.0, 5.0)
    with pytest.raises(ValueError, match=r"got 8 bins of width 0"):
        ConeBeam((0.0,), (4, 8), (0.1, 0), 3.0, 5.0)
    with pytest.raises(ValueError, match="must be positive, got 3.0 to the axis of rotation and -5.0 to the detector"):
        FanBeam((0.0,), 8, 0.1, 3.0, -5.0)
    with pytest.raises(ValueError, match="got 0.0 to the axis"):
        ConeBeam((0.0,), (4, 8), (0.1, 0.1), 0.0, 5.0)
    with pytest.raises(ValueError, match="got 0 views of 8 bins"):
        ParallelBeam.half_turn(0, 8)


def test_bad_grids_are_worded():
    with pytest.raises(ValueError, match="0 x 4 pixels of side 1"):
        PixelGrid(0, 4, 1)
    with pytest.raises(ValueError, match=r"two finite coordinates \(x, y\), got \(0.0, nan\)"):
        PixelGrid(4, 4, 1, (0.0, math.nan))
    with pytest.raises(ValueError, match=r"\(4, 0, 4\) voxels of side 1"):
        VoxelGrid((4, 0, 4), 1)


@pytest.mark.parametrize("side", [1, 2, 3, 4])
@pytest.mark.parametrize("geometry", [ParallelBeam(ANGLES, 7, 0.4, 0.1), FAN, CONE], ids=["parallel", "fan", "cone"])
def test_merged_bins_lie_in_the_middle_of_those_they_merge(geometry, side):
    merged = geometry.coarsened(side)
    fine, coarse = geometry.offsets(), merged.offsets()
    fine, coarse = (fine, coarse) if isinstance(fine, tuple) else ((fine,), (coarse,))
    for before, after in zip(fine, coarse, strict=True):
        start = len(before) % side // 2
        groups = before[start : start + len(after) * side].reshape(-1, side)
        assert len(after) == len(before) // side and torch.allclose(after, groups.mean(1))
    if side == 1:
        assert merged == geometry
