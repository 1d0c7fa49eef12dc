"""Rates of a device for `scripts.gpu_check`: matmuls, Gram matrices, rays, and steps replayed as CUDA graphs."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

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


def rays(device: str, small: bool, seconds: float) -> Row:
    """Return the rays a second of Adam on a scene in float32; nerfacc does the sums where it is installed."""
    objective = objective_of("nerf_scene", device, "float32", **({"size": 16, "views": 6} if small else {}))
    count = objective.problem.done(objective.batch)["rays"]
    adam = torch.optim.Adam(objective.parameters, lr=1e-3)
    return {"method": "rays", "rays_per_second": count / seconds_of(partial(adam.step, objective), device, seconds)}


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
    for measure in (wide_network, gram_matrix, rays, graphed_step):
        try:
            rows.append(measure(device, small, seconds))
        except Exception as error:
            rows.append({"method": measure.__name__, "error": f"{type(error).__name__}: {error}"[:300]})
        rows[-1] |= {"case": "rates", "dtype": "float64" if measure is gram_matrix else "float32"}
    return rows
