"""Rates of a device for `scripts.gpu_check`: matmuls, Gram matrices, rays, and steps replayed as CUDA graphs."""

import importlib
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import nfsolve as nf
from nfsolve.linalg.dense import gram
from nfsolve.problem import Objective
from nfsolve.problem.registry import find
from nfsolve.run.plan import Plan, make_field

Row = dict[str, Any]


def seconds_of(work: Callable[[], Any], device: str, seconds: float) -> float:
    """Return the median seconds of some work, after two calls that do not count."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else bool
    times: list[float] = []
    for _ in range(2):
        work()
    wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def matmul_peak(device: str, dtype: torch.dtype, n: int, seconds: float) -> float:
    """Return the operations a second of a square product, multiplications and additions counted."""
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds_of(lambda: a @ b, device, seconds)


def wide_network(device: str, small: bool, seconds: float) -> Row:
    """Compare training a field of width 256 with the peak of a product in the same type.

    Values and gradients of n points through P weights take 6 n P operations.
    """
    n, dtype = 4096 if small else 262144, torch.float32
    field = nf.MLP(nf.Box(x=(0, 1), y=(0, 1)), ("u",), width=256, depth=4, device=device, dtype=dtype)
    points, weights = torch.rand(n, 2, device=device, dtype=dtype), list(field.parameters())
    took = seconds_of(lambda: torch.autograd.grad(field(points).square().mean(), weights), device, seconds)
    rate = 6 * n * sum(p.numel() for p in weights if p.dim() == 2) / took
    peak = matmul_peak(device, dtype, 1024 if small else 8192, seconds)
    return {"method": "width 256, forward and backward", "operations_per_second": rate, "fraction_of_peak": rate / peak}


def gram_matrix(device: str, small: bool, seconds: float) -> Row:
    """Compare J^T J in float64, of which a triangle is needed, with the peak of a product in float64."""
    n, p = (4000, 300) if small else (200_000, 2000)
    jacobian = torch.randn(n, p, device=device, dtype=torch.float64)
    rate = n * p * (p + 1) / seconds_of(lambda: gram(jacobian), device, seconds)
    peak = matmul_peak(device, torch.float64, 512 if small else 4096, seconds)
    return {"method": "Gram matrix, float64", "operations_per_second": rate, "fraction_of_peak": rate / peak}


def objective_of(name: str, device: str, dtype: str, **changes: Any) -> Objective:
    """Return the objective of a gallery problem with its own field."""
    problem = find(name)(**changes)
    plan = Plan.of(problem.recipe(), nf.RunOptions(dtype=dtype, device=device))  # type: ignore[arg-type]
    data = problem.load(torch.device(device), getattr(torch, dtype))
    return Objective(problem, make_field(problem, plan), data, nf.generator(0, "points"))


def scene(device: str, small: bool) -> Objective:
    """Return the objective of the scene of balls in float32."""
    return objective_of("nerf_scene", device, "float32", **({"size": 16, "views": 6} if small else {}))


def rays(device: str, small: bool, seconds: float) -> Row:
    """Return the rays a second of Adam on a scene; nerfacc does the sums where it is installed."""
    objective = scene(device, small)
    count = objective.problem.done(objective.batch)["rays"]
    adam = torch.optim.Adam(objective.parameters, lr=1e-3)
    return {"method": "rays", "rays_per_second": count / seconds_of(partial(adam.step, objective), device, seconds)}


def nerfacc_rays(device: str, small: bool, seconds: float) -> Row:
    """Return the rays a second of the same field on the same rays by nerfacc alone, used as its README shows.

    Its occupancy grid is updated as it trains and chooses the samples; on a CPU, for which that has no kernels, as many
    samples as the scene has steps lie evenly on each ray (Li et al., NerfAcc, arXiv 2305.04966).
    """
    nerfacc: Any = importlib.import_module("nerfacc")
    objective = scene(device, small)
    problem: Any = objective.problem
    field, drawn, step, count = objective.system.field, objective.batch["colour"], problem.step, itertools.count()
    origins, directions = drawn.rays.origins, drawn.rays.directions
    near, far = drawn.rays.near, drawn.rays.far
    bounds = [end for ends in zip(*problem.domain.bounds, strict=True) for end in ends]
    grid = nerfacc.OccGridEstimator(roi_aabb=bounds, resolution=problem.cells, levels=1).to(device)
    white, adam = torch.ones(3, device=device), torch.optim.Adam(objective.parameters, lr=1e-3)
    on_gpu = device.startswith("cuda")

    def values(t0: Tensor, t1: Tensor, ray: Tensor | None) -> tuple[Tensor, Tensor]:
        start, towards = (x[:, None] if ray is None else x[ray] for x in (origins, directions))
        points = start + (t0 + t1)[..., None] / 2 * towards
        found = field(points.reshape(-1, 3)).reshape(*points.shape[:-1], -1)
        return found[..., 1:], found[..., 0]

    def intervals() -> tuple[Tensor | None, Tensor, Tensor]:
        if not on_gpu:
            edges = near + (far - near) * torch.linspace(0, 1, problem.samples + 1)
            return None, edges[:, :-1], edges[:, 1:]
        grid.update_every_n_steps(step=next(count), occ_eval_fn=lambda x: step * field(x)[:, :1])
        return grid.sampling(
            origins, directions, lambda *at: values(*at)[1], t_min=near[:, 0], t_max=far[:, 0],
            render_step_size=step, stratified=True,
        )  # fmt: skip

    def once() -> None:
        ray, t0, t1 = intervals()
        colours = nerfacc.rendering(t0, t1, ray, n_rays=len(origins), rgb_sigma_fn=values, render_bkgd=white)[0]
        adam.zero_grad()
        (colours - drawn.rgb).square().mean().backward()
        adam.step()

    samples = "its occupancy grid" if on_gpu else "even samples, as its grid needs a GPU"
    return {
        "method": f"rays, nerfacc alone: {samples}",
        "rays_per_second": len(origins) / seconds_of(once, device, seconds),
    }


def graphed_step(device: str, small: bool, seconds: float) -> Row:
    """Return the milliseconds of an Adam step of a small network, as it is and replayed as one CUDA graph."""
    objective = objective_of("burgers", device, "float32", **({"n_points": 200} if small else {}))
    on_gpu = device.startswith("cuda")
    adam = torch.optim.Adam(objective.parameters, lr=1e-3, capturable=on_gpu)
    row: Row = {"method": "small network, a step", "milliseconds": 1e3 * seconds_of(
        partial(adam.step, objective), device, seconds
    )}  # fmt: skip
    if not on_gpu:
        return row | {"graphed": "left out: needs a CUDA device"}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            adam.step(objective)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        adam.step(objective)
    return row | {"graphed_milliseconds": 1e3 * seconds_of(graph.replay, device, seconds)}


def rates(device: str, small: bool, seconds: float) -> list[Row]:
    """Return a row for each rate; what fails has its error in words.

    Args:
        device: The device.
        small: Whether to take small sizes, for a rehearsal.
        seconds: How long each timing goes on.
    """
    rows = []
    for measure in (wide_network, gram_matrix, rays, nerfacc_rays, graphed_step):
        try:
            rows.append(measure(device, small, seconds))
        except Exception as error:
            rows.append({"method": measure.__name__, "error": f"{type(error).__name__}: {error}"[:300]})
        rows[-1] |= {"case": "rates", "dtype": "float64" if measure is gram_matrix else "float32"}
    return rows
