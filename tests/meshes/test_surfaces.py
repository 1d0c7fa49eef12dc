"""Implicit solids, level sets and views: closed forms, and the full grid as the slow oracle."""

import math

import numpy as np
import pytest
import torch

from nfsolve.meshes import Implicit, Mesh, View, grid_values, level_set, render
from tests.meshes.test_mesh import SIDES, TETRA

CENTRE = torch.tensor([[0.1, -0.2, 0.05]], dtype=torch.float64)


def ball(x):
    return (x - CENTRE.to(x)).norm(dim=1, keepdim=True) - 0.6


def depth(points):
    return -ball(torch.from_numpy(points)).numpy().reshape(-1)


def test_samples_of_an_implicit_ball_are_uniform_on_its_sphere():
    solid = Implicit(ball)
    points = solid.sample(6000, torch.Generator().manual_seed(0))
    assert points.shape == (6000, 3)
    assert ball(points).abs().max() < 1e-9
    direction = (points - CENTRE) / 0.6
    # Archimedes: each coordinate is uniform in [-1, 1]
    assert direction.mean(0).abs().max() < 4 / math.sqrt(3 * 6000)
    assert direction.square().mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert torch.equal(solid.sample(6000, torch.Generator().manual_seed(0)), points)


def test_an_implicit_solid_without_a_surface_is_refused(monkeypatch):
    monkeypatch.setattr("nfsolve.meshes.implicit.CHUNK", 100)
    with pytest.raises(ValueError, match=r"without a surface in \[-1, 1\]\^3"):
        Implicit(lambda x: x[:, :1] ** 2 + 1).sample(1, torch.Generator().manual_seed(0))


def test_coarse_to_fine_gives_the_surface_of_the_full_grid():
    seen = []

    def counted(points):
        seen.append(len(points))
        return depth(points)

    values = grid_values(counted, 60, 0.0)
    axis = np.linspace(-1, 1, 61)
    full = depth(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)).reshape(61, 61, 61)
    assert values.shape == full.shape
    assert np.array_equal(values > 0, full > 0)
    near = np.abs(full) < 2 / 60  # all that marching cubes looks at
    assert np.allclose(values[near], full[near], rtol=0, atol=1e-12)
    assert sum(seen) < full.size / 2


def test_a_feature_that_one_coarse_cell_touches_is_followed():
    def rod(points):  # thinner than a coarse cell, found at one coarse point
        return 0.03 - np.hypot(points[:, 0] - 0.3 * points[:, 2], points[:, 1] + 0.2 * points[:, 2])

    axis = np.linspace(-1, 1, 49)
    full = rod(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)).reshape(49, 49, 49)
    assert 0 < ((full > 0)[::4, ::4, ::4]).sum() < 13  # some slices have no coarse point inside
    assert np.array_equal(grid_values(rod, 49, 0.0) > 0, full > 0)


def test_level_sets_are_closed_and_face_outwards():
    mesh = level_set(depth, 41, 0.0)
    assert mesh.defects() == (0, 0, 0)
    assert mesh.volume() == pytest.approx(4 * math.pi * 0.6**3 / 3, rel=0.01)
    assert np.abs(depth(mesh.vertices)).max() < 1e-3
    cut = level_set(lambda points: points[:, 0] - 0.5, 41, 0.0)  # reaches the walls of the cube
    assert cut.defects() == (0, 0, 0)
    assert cut.volume() == pytest.approx(0.5 * 4, rel=0.15)  # half a step more on each wall


def test_a_function_below_the_level_has_no_surface():
    with pytest.raises(ValueError, match="above 0.5 nowhere on the grid"):
        level_set(lambda points: 0 * points[:, 0], 20, 0.5)
    with pytest.raises(ValueError, match="resolution = 5: at least 8"):
        grid_values(depth, 5, 0.0)


def test_a_view_of_a_ball_has_its_depth_and_brightness():
    mesh = Implicit(ball).mesh(61)
    view, size = View(azimuth=35.0, elevation=-25.0, reach=1.0), 64
    axes = view.axes()
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    shade, z = render(mesh, view, size)
    column, row = (np.arange(size) - (size - 1) / 2) * 2 / size, -(np.arange(size) - (size - 1) / 2) * 2 / size
    centre = axes @ CENTRE[0].numpy()
    square = 0.36 - (column[None] - centre[0]) ** 2 - (row[:, None] - centre[1]) ** 2
    assert np.isnan(z[square < -0.02]).all()
    sure = square > 0.05
    exact = centre[2] + np.sqrt(square[sure])
    assert np.abs(z[sure] - exact).max() < 0.01
    across, along = (np.broadcast_to(c, square.shape)[sure] for c in (column[None], row[:, None]))
    normal = (np.stack([across, along, exact], 1) - centre) / 0.6
    expected = 0.12 + 0.88 * (normal @ [-0.45, 0.55, 0.70]).clip(0, 1)
    assert np.abs(shade[sure] - expected).max() < 0.03


def test_the_nearer_of_two_bodies_hides_the_other():
    away = Mesh(np.concatenate([0.5 * TETRA, 0.5 * TETRA + [0, 0, -0.9]]), np.concatenate([SIDES, SIDES + 4]))
    view = View(azimuth=0.0, elevation=0.0, reach=1.0)
    both, alone = render(away, view, 40)[1], render(Mesh(0.5 * TETRA, SIDES), view, 40)[1]
    assert np.array_equal(both, alone, equal_nan=True)
    assert np.isfinite(alone).any()
    behind = render(away, View(azimuth=180.0, elevation=0.0, reach=1.0), 40)[1]
    assert np.nanmedian(behind) == pytest.approx(0.9, abs=1e-9)  # the flat sides, seen from behind
    nothing = render(Mesh(TETRA + 50, SIDES), view, 40)[0]
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("up", [1, 2])
def test_the_upward_axis_points_upwards(up):
    axes = View(azimuth=20.0, elevation=15.0, up=up).axes()
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[0, up] == 0 and axes[1, up] > 0.9
