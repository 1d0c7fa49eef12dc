"""Space without end in a cube: what the map keeps, how rays are cut, and integrals along them."""

import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering import Contraction, OccupancyGrid, composite

CUBE = Contraction((0.5, -0.2, 0.1), 2.0)


def rays(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    middle = torch.tensor(CUBE.centre, dtype=torch.float64)
    origins = middle + 1.6 * (2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1)
    directions = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return origins, directions / directions.norm(dim=-1, keepdim=True)


def test_the_inner_cube_stays_and_everything_fits_into_the_outer_one():
    middle = torch.tensor(CUBE.centre, dtype=torch.float64)
    directions = rays()[1]
    unit = directions / directions.abs().amax(-1, keepdim=True)
    inside = middle + 2 * 0.99 * unit
    torch.testing.assert_close(CUBE(inside), inside)
    for radius, expected in ((1.0, 1.0), (2.0, 1.5), (10.0, 1.9), (1e9, 2.0)):
        torch.testing.assert_close(CUBE(middle + 2 * radius * unit), middle + 2 * expected * unit)
    low, high = torch.tensor(CUBE.outer, dtype=torch.float64).unbind(-1)
    assert bool(((CUBE(1e12 * directions) >= low - 1e-9) & (CUBE(1e12 * directions) <= high + 1e-9)).all())


def test_the_map_can_be_differentiated_twice():
    points = (rays(6)[0] * 3).requires_grad_()
    assert torch.autograd.gradcheck(CUBE, points) and torch.autograd.gradgradcheck(CUBE, points)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_rays_are_cut_in_steps_that_rise_and_are_small_where_they_are_drawn_in(shift: float):
    origins, directions = rays()
    edges = CUBE.edges(origins, directions, 0.1, shift)
    assert bool((edges.diff(dim=-1) >= 0).all())
    at = CUBE((origins[:, None] + edges[..., None] * directions[:, None]).reshape(-1, 3)).unflatten(0, edges.shape)
    steps = at.diff(dim=1).norm(dim=-1)
    assert float(steps.max()) < 0.16 and float(edges[:, -1].min()) > 0.9 * CUBE.far
    assert float(steps.sum(-1).min()) > 2.0


def test_samples_fill_whole_rays_and_lie_in_occupied_cells():
    origins, directions = rays()
    grid = OccupancyGrid(CUBE.outer, 8, 1.0, contraction=CUBE)
    full = grid.sample(origins, directions, 0.05)
    depth = composite(full, torch.ones_like(full.t)).optical_depth[:, 0]
    for row in range(3):  # the length of the contracted path, by a fine polygon
        t = torch.cat([torch.linspace(0, 10, 20001), 10 * torch.logspace(0, 3, 20001)]).double()
        path = CUBE(origins[row] + t[:, None] * directions[row])
        assert float(depth[row]) == pytest.approx(float(path.diff(dim=0).norm(dim=-1).sum()), rel=0.02)
    grid.occupied[: 8**3 // 2] = False
    half = grid.sample(origins, directions, 0.05, torch.Generator().manual_seed(1))
    assert 0 < len(half.t) < len(full.t)
    points = CUBE(half.points(origins, directions))
    assert bool(grid.occupied_at(points).all())
    assert bool((half.t1 > half.t0).all())


def test_a_cube_without_size_is_refused():
    with pytest.raises(InputError, match="half must be positive, got 0"):
        Contraction((0.0, 0.0, 0.0), 0.0)
