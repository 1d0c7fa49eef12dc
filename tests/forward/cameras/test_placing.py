"""Cameras: conventions, round trips and the safety of the visual hull."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsolve._core.errors import InputError
from nfsolve.forward.cameras import Cameras, dome, focal_from_angle, look_at, orbit


def one_camera(
    pose: torch.Tensor, focal: float = 7.5, size: tuple[int, int] = (8, 6), centre: tuple[float, float] = (4.0, 3.0)
) -> Cameras:
    rows = [torch.tensor([row], dtype=torch.float64) for row in ((focal, focal), centre)]
    return Cameras(pose[None], *rows, torch.tensor([size]))


def rays(camera: Cameras, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return camera.rays(torch.zeros(len(pixels), dtype=torch.long), pixels)


def identity() -> torch.Tensor:
    return torch.eye(4, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_poses(n: int) -> torch.Tensor:
    eyes = 4 * torch.randn(n, 3, generator=generator(), dtype=torch.float64)
    target = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    return look_at(eyes, target, torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64))


def test_centre_of_the_image_looks_along_minus_z_of_the_camera():
    pose = random_poses(1)[0]
    origins, directions = rays(one_camera(pose), torch.tensor([[4.0, 3.0]], dtype=torch.float64))
    torch.testing.assert_close(directions[0], -pose[:3, 2], rtol=0, atol=1e-15)
    torch.testing.assert_close(origins[0], pose[:3, 3])


def test_identity_pose_has_x_right_and_y_up_and_row_zero_on_top():
    camera = one_camera(identity())
    pixels = camera.pixels(0)[1]
    _, directions = rays(camera, pixels)
    grid = directions.reshape(6, 8, 3)
    assert pixels[:2].tolist() == [[0.5, 0.5], [1.5, 0.5]]
    assert (grid[:, 1:, 0] > grid[:, :-1, 0]).all(), "columns go right"
    assert (grid[1:, :, 1] < grid[:-1, :, 1]).all(), "rows go down"
    expected = torch.tensor([(0.5 - 4) / 7.5, (3 - 0.5) / 7.5, -1.0], dtype=torch.float64)
    torch.testing.assert_close(grid[0, 0], expected / expected.norm(), rtol=0, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 50), st.floats(0, 8), st.floats(0, 6), st.integers(0, 9))
def test_project_undoes_rays(distance: float, column: float, row: float, view: int):
    pose = random_poses(10)[view]
    pixels = torch.tensor([[column, row]], dtype=torch.float64)
    camera = one_camera(pose)
    origins, directions = rays(camera, pixels)
    image, depth = camera.project(torch.zeros(1, dtype=torch.long), origins + distance * directions)
    torch.testing.assert_close(image, pixels, rtol=0, atol=1e-10)
    cosine = -(directions[0] @ pose[:3, 2])
    torch.testing.assert_close(depth[0, 0], distance * cosine, rtol=1e-12, atol=0)


def test_principal_point_moves_the_axis():
    _, directions = rays(one_camera(identity(), centre=(1.0, 2.0)), torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    assert directions[0].tolist() == [0.0, 0.0, -1.0]


def test_focal_length_of_an_angle_reaches_the_edge_of_the_image():
    camera = one_camera(identity(), focal_from_angle(100, 0.8), (100, 10), (50.0, 5.0))
    _, directions = rays(camera, torch.tensor([[100.0, 5.0]], dtype=torch.float64))
    assert math.atan2(float(directions[0, 0]), -float(directions[0, 2])) == pytest.approx(0.4)


@pytest.mark.parametrize("poses", [orbit(7, 3.0, 0.4, target=(0.1, 0.2, 0.3)), dome(9, 3.0, (-0.2, 1.2))])
def test_placed_cameras_are_rigid_upright_and_look_at_the_target(poses: torch.Tensor):
    rotation = poses[:, :3, :3]
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(poses), dtype=torch.float64))
    assert (rotation[:, 2, 1] > 0).all(), "up in the image is up in the world"
    assert rotation[:, 2, 0].abs().max() < 1e-12, "the horizon is level"
    target = poses[:, :3, 3] - 3.0 * rotation[:, :, 2]
    torch.testing.assert_close(target, target[:1].expand_as(target), rtol=0, atol=1e-12)


def test_orbit_is_level_and_dome_stays_in_its_zone():
    assert orbit(5, 2.0, 0.5)[:, 2, 3] == pytest.approx(2.0 * math.sin(0.5))
    elevation = torch.asin(dome(50, 2.0, (0.1, 1.0))[:, 2, 3] / 2.0)
    assert 0.1 < elevation.min() < 0.13
    assert 0.96 < elevation.max() < 1.0


def test_look_at_refuses_a_view_along_up():
    eyes = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    with pytest.raises(InputError, match=r"not look along up, but camera 1 is at"):
        look_at(eyes, torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


def test_no_pixels_give_no_rays():
    origins, directions = rays(one_camera(identity()), torch.zeros(0, 2, dtype=torch.float64))
    assert origins.shape == directions.shape == (0, 3)
