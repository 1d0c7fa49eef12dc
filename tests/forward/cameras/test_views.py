"""Many views against one at a time, NDC against its defining map, and errors by name."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.cameras import Cameras, dome, ndc_rays, orbit, sway


def tensor(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def views() -> Cameras:
    return Cameras(
        poses=dome(3, 4.0, (0.2, 1.0)),
        focals=tensor([[9.0, 8.0], [7.0, 7.5], [6.0, 6.0]]),
        centres=tensor([[4.1, 2.9], [3.0, 2.0], [1.0, 1.5]]),
        sizes=torch.tensor([[8, 6], [6, 4], [2, 3]]),
        distortion=tensor([[0.05, -0.02, 0, 0, 0.002, -0.001], [-0.1, 0.01, 0, 0, 0, 0], [0.0] * 6]),
    )


@pytest.mark.parametrize("fisheye", [False, True])
def test_project_undoes_rays_of_all_pixels(fisheye):
    cameras = replace(views(), fisheye=fisheye)
    number, pixels = cameras.locate(torch.arange(48 + 24 + 6))
    origins, directions = cameras.rays(number, pixels)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(78, dtype=torch.float64))
    seen, depth = cameras.project(number, origins + 2.5 * directions)
    torch.testing.assert_close(seen, pixels, rtol=0, atol=1e-9)
    assert (depth > 0).all()


def test_numbers_of_pixels_run_view_by_view_and_row_by_row():
    cameras = views()
    number, pixels = cameras.locate(torch.arange(78))
    rows = torch.cat([cameras.pixels(view)[1] for view in range(3)])
    torch.testing.assert_close(pixels, rows)
    assert number.bincount().tolist() == [48, 24, 6]
    assert cameras.locate(torch.tensor([49]))[1].tolist() == [[1.5, 0.5]], "second pixel of the second view"


def test_without_distortion_a_view_is_a_pinhole():
    """Against the ideal camera with its axes written out: x to the right, y up, z back."""
    poses = orbit(2, 3.0, 0.4)
    cameras = Cameras(poses, tensor([[7.5, 7.0]] * 2), tensor([[4.5, 2.5]] * 2), torch.tensor([[8, 6]] * 2))
    number, pixels = cameras.pixels(1)
    across = torch.stack([(pixels[:, 0] - 4.5) / 7.5, (2.5 - pixels[:, 1]) / 7.0, -torch.ones(48).double()], -1)
    towards = across @ poses[1, :3, :3].T
    origins, directions = cameras.rays(number, pixels)
    torch.testing.assert_close(origins, poses[1, :3, 3].expand(48, 3))
    torch.testing.assert_close(directions, towards / towards.norm(dim=-1, keepdim=True))
    straight = replace(cameras, distortion=torch.zeros(2, 6, dtype=torch.float64))
    torch.testing.assert_close(straight.rays(number, pixels)[1], directions)


def test_a_resized_view_sees_the_same_at_its_corners():
    cameras = views()
    small = cameras.resized(torch.tensor([[4, 3], [3, 1], [1, 7]]))
    number = torch.tensor([0, 1, 2])
    for share in (0.0, 0.3, 1.0):
        for ours, theirs in zip(
            small.rays(number, share * small.sizes), cameras.rays(number, share * cameras.sizes), strict=True
        ):
            torch.testing.assert_close(ours, theirs)


def test_some_views_and_other_poses():
    cameras = views()
    number, pixels = cameras[[2, 0]].pixels(1)
    alone = cameras.rays(torch.zeros_like(number), pixels)
    torch.testing.assert_close(cameras[[2, 0]].rays(number, pixels), alone)
    moved = cameras.poses.clone()
    moved[:, :3, 3] += 1
    origins, directions = cameras.rays(number * 0, pixels, moved)
    torch.testing.assert_close(origins, alone[0] + 1)
    torch.testing.assert_close(directions, alone[1])
    single = cameras.to("cpu", torch.float32)
    assert single.rays(*single.pixels(0))[1].dtype == torch.float32
    assert single.sizes.dtype == torch.int64


def test_lenses_that_cannot_be_undone_are_named():
    cameras = views()
    cameras.check_lenses(["a", "b", "c"])
    folded = cameras.distortion
    assert folded is not None
    folded = folded.clone()
    folded[1, 0] = -3.0
    with pytest.raises(InputError, match=r"the distortion of view 'b' cannot be undone at pixel \[0.0, 0.0\].*'k1'"):
        replace(cameras, distortion=folded).check_lenses(["a", "b", "c"])


def test_wrong_shapes_are_named():
    with pytest.raises(InputError, match=r"focals of 3 views must have shape \(3, 2\), got \(3,\)"):
        replace(views(), focals=torch.ones(3))


def ndc(points: Tensor, extent: tuple[float, float], near: float) -> Tensor:
    x, y, z = points.unbind(-1)
    return torch.stack([-x / (extent[0] * z), -y / (extent[1] * z), 1 + 2 * near / z], -1)


def test_points_of_ndc_rays_are_points_of_the_rays():
    generator = torch.Generator().manual_seed(0)
    origins = 0.3 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    directions = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    directions[:, 2] = -0.5 - directions[:, 2].abs()
    extent, near = (0.8, 0.6), 1.2
    start, along, length = ndc_rays(origins, directions, extent, near)
    torch.testing.assert_close(start[:, 2], torch.full((50,), -1.0, dtype=torch.float64))
    torch.testing.assert_close((start + length * along)[:, 2], torch.ones(50, dtype=torch.float64))
    for t in (5.0, 20.0, 1e6):
        mapped = ndc(origins + t * directions, extent, near)
        s = (mapped - start).norm(dim=-1, keepdim=True)
        torch.testing.assert_close(start + s * along, mapped, rtol=0, atol=1e-12)
        assert (s < length).all()
    torch.testing.assert_close(s, length, rtol=1e-5, atol=0)


def test_image_of_the_camera_at_the_origin_fills_the_cube():
    camera = Cameras(tensor(torch.eye(4).tolist())[None], tensor([[7.5] * 2]), tensor([[4, 3]]), torch.tensor([[8, 6]]))
    origins, directions = camera.rays(torch.tensor([0, 0]), tensor([[0.0, 0.0], [8.0, 6.0]]))
    start, along, length = ndc_rays(origins, directions, (4 / 7.5, 3 / 7.5), 1.0)
    torch.testing.assert_close(start, tensor([[-1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]))
    torch.testing.assert_close(start + length * along, tensor([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]))


def test_swaying_cameras_look_at_one_point_and_close_their_loop():
    poses = sway(12, (0.3, 0.2, 0.1), 5.0)
    to = tensor([0.0, 0.0, -5.0]) - poses[:, :3, 3]
    torch.testing.assert_close(-poses[:, :3, 2], to / to.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(poses[:, :3, 3].mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(poses[:, :3, 3].amax(0), tensor([0.3, 0.2, 0.1 * 0.75**0.5]))
