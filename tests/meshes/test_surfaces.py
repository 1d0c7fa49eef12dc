"""Implicit solids, level sets and views: closed forms, and the full grid as the slow oracle."""

import math

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nfsolve.meshes import Implicit, Mesh, View, draw_mesh, grid_values, level_set
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
    with pytest.raises(ValueError, match=r"must have a surface in \[-1, 1\]\^3, but"):
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
    with pytest.raises(ValueError, match="must be above 0.5 somewhere, but"):
        level_set(lambda points: 0 * points[:, 0], 20, 0.5)
    with pytest.raises(ValueError, match="resolution must be at least 8, got 5"):
        grid_values(depth, 5, 0.0)


def drawn(mesh, view, size=64):
    """Return brightness ``(size, size)`` of the picture, row 0 on top; 1 where the mesh is not."""
    figure = Figure((1, 1), dpi=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    draw_mesh(axes, mesh, view)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 0] / 255


def test_a_view_of_a_ball_has_its_outline_and_brightness():
    view, size = View(azimuth=35.0, elevation=-25.0, reach=1.0), 64
    axes = view.axes()
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    shade = drawn(Implicit(ball).mesh(61), view, size)
    column, row = (np.arange(size) - (size - 1) / 2) * 2 / size, -(np.arange(size) - (size - 1) / 2) * 2 / size
    centre = axes @ CENTRE[0].numpy()
    x, y = np.broadcast_arrays(column[None] - centre[0], row[:, None] - centre[1])
    square = 0.36 - x**2 - y**2
    assert (shade[square < -0.05] == 1).all()
    sure = square > 0.05
    normal = np.stack([x[sure], y[sure], np.sqrt(square[sure])], 1) / 0.6
    expected = 0.12 + 0.88 * (normal @ [-0.45, 0.55, 0.70]).clip(0, 1)
    assert np.abs(shade[sure] - expected).max() < 0.05


@pytest.mark.parametrize("first", [0, 1])
def test_the_nearer_of_two_bodies_hides_the_other(first):
    turned = TETRA @ np.diag([-1.0, -1.0, 1.0]) + [0.8, 0.8, 0]  # its slanted face looks the other way
    bodies = [0.5 * TETRA, 0.5 * turned + [0, 0, -0.9]]
    view = View(azimuth=0.0, elevation=0.0, reach=1.0)
    shades = [drawn(Mesh(body, SIDES), view, 256) for body in bodies]
    both = drawn(
        Mesh(np.concatenate([bodies[first], bodies[1 - first]]), np.concatenate([SIDES, SIDES + 4])), view, 256
    )
    overlap = (shades[0] < 1) & (shades[1] < 1)
    assert overlap.sum() > 100
    assert np.mean(both[overlap] == shades[0][overlap]) > 0.9  # but for the pixels of its edges
    assert np.mean(both[overlap] == shades[1][overlap]) < 0.1
    assert (drawn(Mesh(TETRA + 50, SIDES), view) == 1).all()


@pytest.mark.parametrize("up", [1, 2])
def test_the_upward_axis_points_upwards(up):
    axes = View(azimuth=20.0, elevation=15.0, up=up).axes()
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[0, up] == 0 and axes[1, up] > 0.9
