"""A float32 walk through the cells of an occupancy grid, and the fixture that the sampler is checked against.

The walk goes from cell to cell (Amanatides and Woo, "A fast voxel traversal algorithm", Eurographics 1987) and adds
up t step by step, in float32 like nerfacc's `traverse_grids`, whose rule for intervals it follows: those are the steps
of the lattice whose midpoint lies in an occupied cell. `walk.npz` holds what THIS walk found, on a CPU; it was not
recorded from the CUDA kernel. On a machine with CUDA and a built nerfacc, the kernel's own answer is recorded by

    python -m tests.forward.rendering.walk kernel
"""

import sys
from pathlib import Path

import numpy as np
import torch

FIXTURE = Path(__file__).with_name("walk.npz")
BOUNDS = ((-1.0, 1.0), (-0.8, 1.1), (-0.6, 0.7))
RESOLUTION, STEP, N_RAYS = 12, 0.0517, 96
F = np.float32


def case() -> dict[str, np.ndarray]:
    """Rays from outside and inside the box, along axes, and past it; 30 % of the cells are occupied."""
    rng = np.random.default_rng(5)
    target = rng.uniform(-0.7, 0.7, (N_RAYS, 3))
    origins = 2.5 * rng.standard_normal((N_RAYS, 3))
    origins[::8] = rng.uniform(-0.5, 0.5, origins[::8].shape)
    target[3::16] += 4
    directions = target - origins
    directions[5::12] = np.eye(3)[rng.integers(0, 3, len(directions[5::12]))] * -np.sign(origins[5::12])
    origins[5::12] = np.where(directions[5::12] == 0, target[5::12], origins[5::12])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return {
        "origins": origins.astype(F),
        "directions": directions.astype(F),
        "near": rng.uniform(0, STEP, (N_RAYS, 1)).astype(F),
        "occupied": rng.random((RESOLUTION,) * 3) < 0.3,
    }


def walk_ray(o: np.ndarray, d: np.ndarray, near: np.float32, occupied: np.ndarray) -> list[tuple[float, float]]:
    """Intervals (t0, t1) of one ray."""
    low, high = np.array(BOUNDS, F).T
    with np.errstate(divide="ignore", invalid="ignore"):
        walls = np.sort(np.stack([(low - o) / d, (high - o) / d]), 0)
    parallel = d == 0
    if (parallel & ((o < low) | (o > high))).any():
        return []
    enter = max(F(walls[0][~parallel].max()), near)
    leave = F(walls[1][~parallel].min())
    if enter >= leave:
        return []
    size = (high - low) / F(RESOLUTION)
    entry = o + d * (enter + F(1e-6))
    cell = np.clip(((entry - low) / size).astype(int), 0, RESOLUTION - 1)
    turn = np.sign(d).astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(parallel, F(np.inf), (low + (cell + (turn > 0)).astype(F) * size - o) / d)
        stride = np.where(parallel, F(np.inf), size / np.abs(d))
    found, t, dt = [], near, F(STEP)
    while t + dt / F(2) < enter:
        t = t + dt
    while True:
        axis = int(crossing.argmin())
        end = min(crossing[axis], leave)
        while t + dt / F(2) < end:
            if occupied[tuple(cell)]:
                found.append((t, t + dt))
            t = t + dt
        cell[axis] += turn[axis]
        crossing[axis] += stride[axis]
        if end >= leave or not 0 <= cell[axis] < RESOLUTION:
            return found


def walk(rays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Intervals of all rays, packed."""
    found = [
        walk_ray(o, d, near[0], rays["occupied"])
        for o, d, near in zip(rays["origins"], rays["directions"], rays["near"], strict=True)
    ]
    ray = np.repeat(np.arange(N_RAYS), [len(x) for x in found])
    t0, t1 = np.array([pair for x in found for pair in x], F).reshape(-1, 2).T
    return {"ray": ray.astype(np.int16), "t0": t0, "t1": t1}


def kernel(rays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same from nerfacc's CUDA kernel."""
    import nerfacc

    o, d, near, occupied = (torch.from_numpy(rays[k]).cuda() for k in ("origins", "directions", "near", "occupied"))
    box = torch.tensor(BOUNDS, device="cuda").T.reshape(1, 6)
    intervals, middles, _ = nerfacc.traverse_grids(o, d, occupied[None], box, near_planes=near[:, 0], step_size=STEP)
    t0, t1 = (intervals.vals[side].cpu().numpy() for side in (intervals.is_left, intervals.is_right))
    return {"ray": middles.ray_indices.cpu().numpy().astype(np.int16), "t0": t0, "t1": t1}


def record(source: str = "walk", path: Path = FIXTURE) -> None:
    """Write the fixture; ``source`` is ``walk`` or ``kernel``."""
    rays = case()
    np.savez_compressed(path, **rays, **{"walk": walk, "kernel": kernel}[source](rays), source=np.array(source))


if __name__ == "__main__":
    record(*sys.argv[1:])
