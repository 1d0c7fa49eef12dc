"""The occupancy grid: the walk sample for sample, what is kept and forgotten, fewer evaluations for the same image."""

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering import OccupancyGrid, box_intersection, composite
from nfsolve.metrics import psnr
from tests.forward.rendering import walk
from tests.forward.rendering.cases import generator

CUBE = ((-1.0, 1.0),) * 3


def ball(x: torch.Tensor) -> torch.Tensor:
    """Density of a ball with a soft edge, 1/length; 0 outside radius 0.4."""
    q = ((0.4 - torch.linalg.vector_norm(x - 0.1, dim=-1, keepdim=True)) / 0.08).clamp(0, 1)
    return 40 * q * q * (3 - 2 * q)


def rays(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    origins = torch.randn(n, 3, generator=generator(seed))
    origins = 3 * origins / torch.linalg.vector_norm(origins, dim=-1, keepdim=True)
    target = 0.8 * (2 * torch.rand(n, 3, generator=generator(seed + 1)) - 1)
    directions = target - origins
    return origins, directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)


def grid_of_the_walk(recorded) -> OccupancyGrid:
    grid = OccupancyGrid(walk.BOUNDS, walk.RESOLUTION, threshold=1.0)
    grid.occupied = torch.from_numpy(recorded["occupied"]).reshape(-1, 1)
    return grid


def test_samples_are_those_of_the_recorded_walk_but_for_ties_on_cell_faces():
    recorded = np.load(walk.FIXTURE)
    origins, directions, near = (torch.from_numpy(recorded[name]) for name in ("origins", "directions", "near"))
    ours = grid_of_the_walk(recorded)._march(origins, directions, walk.STEP, near)
    starts = (
        dict(zip(zip(ray, number, strict=True), t0, strict=True))
        for ray, t0 in ((recorded["ray"], recorded["t0"]), (ours.ray.numpy(), ours.t0[:, 0].numpy()))
        for number in [np.round((t0 - recorded["near"][ray, 0]) / walk.STEP).astype(int)]
    )
    theirs, mine = starts
    assert len(theirs) == len(recorded["t0"]) > 800
    ties = set(theirs) ^ set(mine)
    low, high = np.array(walk.BOUNDS).T
    for ray, number in ties:
        middle = float(recorded["near"][ray, 0]) + (number + 0.5) * walk.STEP
        point = recorded["origins"][ray].astype(float) + middle * recorded["directions"][ray].astype(float)
        cells = (point - low) / (high - low) * walk.RESOLUTION
        assert np.abs(cells - cells.round()).min() < 1e-4, (ray, number)
    assert {(int(ray), int(number)) for ray, number in ties} <= {(90, 120)}
    assert max(abs(theirs[key] - mine[key]) for key in set(theirs) & set(mine)) < 2e-5
    torch.testing.assert_close(ours.t, (ours.t0 + ours.t1) / 2, rtol=0, atol=1e-6)


def test_the_fixture_is_what_the_walk_still_gives_and_is_no_trivial_case():
    recorded = np.load(walk.FIXTURE)
    if str(recorded["source"]) == "walk":
        again = walk.walk(walk.case())
        assert all(np.array_equal(recorded[name], again[name]) for name in again)
    counts = np.bincount(recorded["ray"], minlength=walk.N_RAYS)
    inside = OccupancyGrid(walk.BOUNDS, walk.RESOLUTION, threshold=1.0)
    arguments = [torch.from_numpy(recorded[name]) for name in ("origins", "directions")]
    everything = inside._march(*arguments, walk.STEP, torch.from_numpy(recorded["near"]))
    assert (counts == 0).any()
    assert 2 * counts.sum() < len(everything.t)


def test_the_lattice_of_an_all_occupied_grid_fills_the_box():
    origins, directions = rays(50)
    grid = OccupancyGrid(CUBE, 8, threshold=1.0)
    enter, leave = box_intersection(origins, directions, CUBE)
    for seed in (None, 1):
        samples = grid.sample(origins, directions, 0.01, None if seed is None else generator(seed))
        lengths = (leave - enter)[:, 0]
        torch.testing.assert_close(samples.counts() * 0.01, lengths, rtol=0, atol=0.0101)
        torch.testing.assert_close(samples.dt, torch.full_like(samples.t, 0.01), rtol=0, atol=2e-6)
    lattice = grid.sample(origins, directions, 0.01, near=0.5)
    places = (lattice.t0 - 0.5) / 0.01
    torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-3)
    assert not torch.equal(samples.t[:9], lattice.t[:9])


def test_rays_from_inside_and_rays_that_miss():
    origins = torch.tensor([[0.0, 0.0, 0.0], [3.0, 3.0, 0.0]])
    directions = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    samples = OccupancyGrid(CUBE, 4, threshold=1.0).sample(origins, directions, 0.25)
    assert samples.t[:, 0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert samples.n_rays == 2
    empty = OccupancyGrid(CUBE, 4, threshold=1.0).sample(origins[:0], directions[:0], 0.25)
    assert composite(empty, empty.t).optical_depth.shape == (0, 1)


def test_occupied_cells_are_those_with_density():
    grid = OccupancyGrid(CUBE, 20, threshold=0.5, every=1)
    for _ in range(20):
        grid.update(ball, generator(grid.calls))
    points = 2 * torch.rand(20000, 3, generator=generator(3)) - 1
    occupied = grid.occupied_at(points)
    assert occupied[ball(points) > 5].float().mean() > 0.99  # a corner of a cell may not have been looked at
    assert occupied[ball(points) > 30].all()
    far = torch.linalg.vector_norm(points - 0.1, dim=-1, keepdim=True) > 0.4 + 0.1 * 3**0.5
    assert not occupied[far].any()
    assert 0.02 < grid.fraction < 0.15


def test_cells_of_a_rectangle_lie_where_their_points_do():
    bounds = ((0.0, 2.0), (-3.0, 1.0))
    grid = OccupancyGrid(bounds, 10, threshold=0.5, every=1)
    grid.update(lambda x: ((x[:, :1] > 1) & (x[:, 1:] < -1)).float(), generator())
    points = torch.tensor([[1.5, -2.0], [1.5, 0.0], [0.5, -2.0], [2.0, -3.0]])
    assert grid.occupied_at(points)[:, 0].tolist() == [True, False, False, True]


def test_what_was_seen_fades_and_comes_back():
    grid = OccupancyGrid(((0.0, 1.0),), 4, threshold=1.0, every=1, decay=0.5)
    densities = iter([8.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    open_cell = []
    for density in densities:
        grid.update(lambda x, d=density: torch.where(x < 0.25, d, torch.where(x > 0.75, 4.0, 0.0)), generator())
        open_cell.append(bool(grid.occupied[0]))
    # 8, 4, 2, 1 are at least the threshold 1; then 0.5 is not
    assert open_cell == [True, True, True, True, False, True]


def test_looks_come_on_every_sixteenth_call_first_at_all_cells_then_at_half_as_many():
    sizes = []
    grid = OccupancyGrid(((0.0, 1.0),) * 2, 8, threshold=1.0, warmup=2)

    def density(x: torch.Tensor) -> torch.Tensor:
        sizes.append((grid.calls, len(x)))
        return 100.0 * (x[:, :1] < 0.5)

    for _ in range(50):
        grid.update(density, generator(grid.calls))
    assert sizes == [(1, 64), (17, 64), (33, 32), (49, 32)]
    assert grid.fraction == 0.5


@pytest.mark.parametrize("level", [0.0, 0.7, float("nan")])
def test_a_field_of_one_density_stays_occupied_everywhere(level: float):
    grid = OccupancyGrid(CUBE, 7, threshold=5.0, every=1, warmup=1)
    for call in range(3):
        grid.update(lambda x: torch.full_like(x[:, :1], level), generator(call))
        assert grid.fraction == 1


def test_a_restored_grid_goes_on_as_if_never_stopped():
    def run(grid: OccupancyGrid, calls: int) -> None:
        for _ in range(calls):
            grid.update(ball, generator(grid.calls))

    straight = OccupancyGrid(CUBE, 8, threshold=0.5, every=2, warmup=3)
    run(straight, 20)
    first, second = (OccupancyGrid(CUBE, 8, threshold=0.5, every=2, warmup=3) for _ in range(2))
    run(first, 9)
    second.load_state_dict(first.state_dict())
    run(first, 3)  # the copy must not feel this
    run(second, 11)
    assert second.calls == straight.calls == 20
    assert torch.equal(second.density, straight.density)
    assert torch.equal(second.occupied, straight.occupied)


def test_the_same_image_from_a_quarter_of_the_evaluations():
    """Trained-scene conditions in small: the grid alone decides, no ray stops early."""
    origins, directions = rays(400)
    grid = OccupancyGrid(CUBE, 24, threshold=0.01 / 0.06, every=1)
    full = grid.sample(origins, directions, 0.06)
    for _ in range(30):
        grid.update(ball, generator(grid.calls))
    pruned = grid.sample(origins, directions, 0.06)
    truth = OccupancyGrid(CUBE, 1, threshold=1.0).sample(origins, directions, 0.002)

    def image(samples):
        points = samples.points(origins, directions)
        seen = composite(samples, ball(points), 0.5 + 0.5 * torch.sin(9 * points))
        return seen.channels + seen.transmitted

    assert 4 * len(pruned.t) < len(full.t)
    exact = image(truth)
    assert abs(psnr(image(pruned), exact) - psnr(image(full), exact)) < 0.1
    assert 30 < psnr(image(full), exact) < 60, "the step must matter, or the comparison says nothing"


def test_empty_points_lie_in_cells_that_are_not_occupied():
    grid = OccupancyGrid(CUBE, 4, threshold=1.0)
    assert grid.sample_empty(9, generator()).shape == (0, 3)
    grid.occupied[::3] = False
    points = grid.sample_empty(500, generator())
    assert points.shape == (500, 3)
    assert not grid.occupied_at(points).any()
    assert len(grid._cells(points.unbind(-1)).unique()) == len(range(0, 64, 3))
    assert torch.equal(points, grid.sample_empty(500, generator()))


def test_mistakes_are_named():
    with pytest.raises(
        InputError, match=r"a positive threshold .* got resolution=\d+, every=\d+, threshold=0, decay=0.95"
    ):
        OccupancyGrid(CUBE, 8, threshold=0)
    grid = OccupancyGrid(CUBE, 8, threshold=1.0)
    with pytest.raises(InputError, match="step must be positive and finite, got 0"):
        grid.sample(*rays(2), 0)
    with pytest.raises(InputError, match=r"densities at 512 points must have shape \(512, 1\), got \(512,\)"):
        grid.update(lambda x: x[:, 0], generator())
    with pytest.raises(InputError, match="must be that of a grid of 64 cells, but it has 512"):
        OccupancyGrid(CUBE, 4, threshold=1.0).load_state_dict(grid.state_dict())


@pytest.mark.gpu
def test_the_kernel_on_cuda_gives_the_samples_of_the_lattice():
    from nfsolve.forward.rendering import engine

    if not torch.cuda.is_available() or engine(packed=torch.zeros(1, device="cuda")) != "nerfacc-cuda":
        pytest.skip("needs CUDA and nerfacc's kernels (nvcc)")
    recorded = np.load(walk.FIXTURE)
    grid = grid_of_the_walk(recorded)
    arguments = [torch.from_numpy(recorded[name]) for name in ("origins", "directions")]
    start = torch.from_numpy(recorded["near"])
    ours = grid._march(*arguments, walk.STEP, start)
    grid.occupied = grid.occupied.cuda()
    theirs = grid._traverse(*(x.cuda() for x in arguments), walk.STEP, start.cuda())
    assert (ours.counts() - theirs.counts().cpu()).abs().sum() <= 3
