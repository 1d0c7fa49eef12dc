"""Rigid motions against the matrix exponential, at zero too, and poses found again from images of points."""

import pytest
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.cameras import Cameras, PoseCorrections, dome, pose_errors, rigid_motion


def twists(n: int, size: float) -> Tensor:
    rows = torch.randn(n, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return rows * size / rows[:, :3].norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("angle", [1e-12, 1e-4, 0.3, 3.1])
def test_motion_is_the_exponential_of_its_twist(angle):
    rows = twists(8, angle)
    matrix = torch.zeros(8, 4, 4, dtype=torch.float64)
    for (i, j), k in {(2, 1): 0, (0, 2): 1, (1, 0): 2}.items():
        matrix[:, i, j], matrix[:, j, i] = rows[:, k], -rows[:, k]
    matrix[:, :3, 3] = rows[:, 3:]
    torch.testing.assert_close(rigid_motion(rows), torch.linalg.matrix_exp(matrix), rtol=0, atol=2e-14)


def test_a_whole_turn_comes_back():
    turn = rigid_motion(torch.tensor([[0.0, 2 * torch.pi, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(turn[0], torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [0.0, 0.7])
def test_derivatives_exist_at_zero_and_elsewhere(size):
    rows = twists(1, 1.0) * size
    rows.requires_grad_()
    assert torch.autograd.gradcheck(rigid_motion, (rows,))
    assert torch.autograd.gradgradcheck(rigid_motion, (rows,))


def test_second_derivative_at_zero_is_that_of_a_rotation():
    def corner(angle: Tensor) -> Tensor:
        zero = torch.zeros(5, dtype=torch.float64)
        return rigid_motion(torch.cat([zero[:2], angle[None], zero[2:]])[None])[0, 0, 0]

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(corner(zero), zero, create_graph=True)
    assert float(torch.autograd.grad(slope, zero)[0]) == pytest.approx(-1.0)  # cos''(0)


def test_corrections_are_nothing_at_first_and_keep_the_first_view():
    poses = dome(3, 4.0, (0.2, 1.0))
    corrections = PoseCorrections(3).double()
    torch.testing.assert_close(corrections(poses), poses)
    with torch.no_grad():
        corrections.twists.add_(0.1)
    moved = corrections(poses)
    torch.testing.assert_close(moved[0], poses[0])
    assert (moved[1:, :3] - poses[1:, :3]).abs().amin() > 1e-4
    rotation = moved[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(3, 3, 3))
    assert PoseCorrections(3, fix_first=False).twists.shape == (3, 6)


def test_a_unit_scales_what_a_parameter_moves():
    poses = dome(3, 4.0, (0.2, 1.0))
    small, large = PoseCorrections(3, unit=0.1).double(), PoseCorrections(3).double()
    with torch.no_grad():
        small.twists.add_(1.0)
        large.twists.add_(0.1)
    torch.testing.assert_close(small(poses), large(poses))
    torch.testing.assert_close(small.motions()[1:], torch.full((2, 6), 0.1, dtype=torch.float64))


def test_poses_are_compared_after_the_best_similarity():
    exact = dome(20, 4.0, (0.2, 1.0))
    moved = rigid_motion(twists(1, 0.8)) @ exact
    moved[:, :3, 3] = 1.7 * moved[:, :3, 3] + 3
    assert pose_errors(moved, exact) == pytest.approx((0, 0), abs=1e-6)
    turned = torch.zeros(20, 6, dtype=torch.float64)
    turned[:, 0] = torch.tensor([0.02, -0.02]).repeat(10)
    assert pose_errors(moved @ rigid_motion(turned), exact) == pytest.approx((0.02 * 180 / torch.pi, 0), abs=1e-6)
    shifted = moved.clone()
    shifted[:, :3, 3] += 1.7 * 0.01 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    turns, shifts = pose_errors(shifted, exact)
    assert 0 < turns < 0.2 and shifts == pytest.approx(0.01 * 1.6, rel=0.25)
    mirrored = exact.clone()
    mirrored[:, 0, 3] *= -1
    assert pose_errors(mirrored, exact)[1] > 0.5, "a mirror image is no similarity of cameras"


def test_poses_are_found_again_from_images_of_points():
    generator = torch.Generator().manual_seed(2)
    poses, wrong = dome(3, 4.0, (0.2, 1.0)), twists(3, 0.05)
    wrong[0] = 0
    points = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    both = torch.full((3, 2), 50.0, dtype=torch.float64)
    cameras = Cameras(poses @ rigid_motion(wrong), both, both, torch.full((3, 2), 100))
    views = torch.arange(3).repeat_interleave(9)
    images = cameras.project(views, points.repeat(3, 1), poses)[0]
    corrections = PoseCorrections(3).double()
    optimizer = torch.optim.LBFGS(corrections.parameters(), max_iter=50, tolerance_grad=1e-12, tolerance_change=0)

    def misfit() -> Tensor:
        optimizer.zero_grad()
        seen = cameras.project(views, points.repeat(3, 1), corrections(cameras.poses))[0]
        loss = (seen - images).square().mean()
        loss.backward()
        return loss

    optimizer.step(misfit)
    torch.testing.assert_close(corrections(cameras.poses), poses, rtol=0, atol=1e-5)


def test_wrong_numbers_of_views_are_named():
    with pytest.raises(InputError, match="one pose for each of the 3 corrected views, got 2"):
        PoseCorrections(3)(torch.eye(4).expand(2, 4, 4))
    with pytest.raises(InputError, match="n_views must be at least 1, got 0"):
        PoseCorrections(0)
