"""Time and weigh the derivatives of an operator by four ways: one jet for all functions, and its rivals.

    python -m scripts.benchmark_operators                  a few minutes of CPU, and about 10 GB
    python -m scripts.benchmark_operators --device cuda

A step is the residual s_t - D s_xx - k s^2 - f of diffusion-reaction for B functions on N shared points, and the
gradient of its mean square to the parameters of a DeepONet. All ways are checked to give the same loss. Times are the
least over interleaved rounds in one process (CPU time, on a GPU wall time); memory is what the peak of a process of its
own grows by (on a GPU what torch allocates). Writes benchmarks/operator_derivatives.json and .md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nfsolve.diff import partials
from nfsolve.domains import Box
from nfsolve.fields import DeepONet
from scripts.measuring import FOLDER, ONE_THREAD, Row, markdown, read_rows, stamp, write_rows

JET, NESTED, ONCE, SHIFT = "one jet", "nested", "nested, branch once", "zero coordinate shift"
GOALS = {"time": 5.0, "memory": 10.0}
DIFFUSION, REACTION, SENSORS = 0.01, 0.01, 100
Columns = tuple[Tensor, Tensor, Tensor]


class Case:
    """A DeepONet with functions and points.

    Args:
        functions: B.
        points: N.
        width: Width of both networks, and number of products.
        depth: Hidden layers of both networks.
        dtype: ``float32`` or ``float64``.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, functions: int, points: int, width: int, depth: int, dtype: str, device: str):
        kind = getattr(torch, dtype)
        sizes = {"width": width, "depth": depth, "latent": width, "dtype": kind, "device": device}
        self.field = DeepONet(Box(t=(0, 1), x=(0, 1)), "s", SENSORS, **sizes)
        generator = torch.Generator().manual_seed(0)
        self.x = torch.rand(points, 2, generator=generator, dtype=torch.float64).to(device, kind)
        at = torch.linspace(0, 1, SENSORS, dtype=torch.float64)[None]
        a, b = torch.randn(2, functions, 1, generator=generator, dtype=torch.float64)
        self.f = (a * torch.sin(3 * at) + b * torch.cos(5 * at)).to(device, kind)
        here = self.x[:, 1].double().cpu()
        self.force = (a * torch.sin(3 * here) + b * torch.cos(5 * here)).to(device, kind)

    def gradient(self, way: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the loss and its gradient; ``way`` says how the columns s, s_t and s_xx are made."""
        s, s_t, s_xx = WAYS[way](self)
        loss = (s_t - DIFFUSION * s_xx - REACTION * s * s - self.force).square().mean()
        return loss.detach(), torch.autograd.grad(loss, list(self.field.parameters()))


def by_jet(case: Case) -> Columns:
    """Our way: the jet of the trunk on N points, combined by the coefficients of B functions."""
    wanted = [(), (0,), (1, 1)]
    found = partials(partial(case.field.across, case.f), case.x, wanted)
    s, s_t, s_xx = (found[index].T for index in wanted)
    return s, s_t, s_xx


def nested(case: Case) -> Columns:
    """Reverse mode of reverse mode on B N rows, each with its point and its function."""
    n = len(case.x)
    x = case.x.repeat(len(case.f), 1).requires_grad_()
    return _twice(case.field(x, case.f.repeat_interleave(n, 0)), x, n)


def nested_once(case: Case) -> Columns:
    """The same, with the branch on B rows."""
    n = len(case.x)
    x = case.x.repeat(len(case.f), 1).requires_grad_()
    trunk = case.field.trunk(case.field.encode(x)).unflatten(0, (-1, n))
    return _twice(torch.einsum("bnl,bl->bn", trunk, case.field.branch(case.f)).reshape(-1, 1) + case.field.bias, x, n)


def _twice(s: Tensor, x: Tensor, n: int) -> Columns:
    (first,) = torch.autograd.grad(s.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 1].sum(), x, create_graph=True)
    return s.view(-1, n), first[:, 0].view(-1, n), second[:, 1].view(-1, n)


def shifted(case: Case) -> Columns:
    """Zero coordinate shift (Leng, Shankar & Thiyagalingam, arXiv 2311.00860).

    One number z is added to a coordinate of all points. With omega = sum_ij a_ij s_ij, the derivative of s_ij along
    the coordinate is d/da_ij of d omega / dz, because a enters linearly.
    """
    z = torch.zeros(2, dtype=case.x.dtype, device=case.x.device, requires_grad=True)
    s = case.field.on_grid(case.f, case.x + z)[..., 0]
    a = torch.ones_like(s, requires_grad=True)
    gradient = partial(torch.autograd.grad, create_graph=True)
    (first,) = gradient((a * s).sum(), z)
    (second,) = gradient(first[1], z)
    return s, gradient(first[0], a)[0], gradient(second[1], a)[0]


WAYS: dict[str, Callable[[Case], Columns]] = {JET: by_jet, NESTED: nested, ONCE: nested_once, SHIFT: shifted}


def least_times(case: Case, rounds: int) -> dict[str, float]:
    """Milliseconds of a step by each way, the least over rounds in which all take their turn."""
    cuda = case.x.is_cuda
    clock = time.perf_counter if cuda else time.process_time
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    losses = {}
    for _ in range(rounds):
        for way in WAYS:
            start = clock()
            losses[way] = float(case.gradient(way)[0])
            if cuda:
                torch.cuda.synchronize()
            times[way].append(1e3 * (clock() - start))
    for way, loss in losses.items():
        if not abs(loss - losses[NESTED]) <= 1e-3 * losses[NESTED]:
            raise SystemExit(f"{way} gives loss {loss}, {NESTED} gives {losses[NESTED]}")
    return {way: min(found) for way, found in times.items()}


def peak(case: Case, small: Case, way: str) -> float:
    """Megabytes by which the peak grows in a step; call it in a process of its own."""
    small.gradient(way)
    if case.x.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        case.gradient(way)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case.gradient(way)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 1e6


def peak_in_child(words: list[str], way: str) -> float:
    """Measure the peak in a fresh process."""
    command = [sys.executable, "-m", "scripts.benchmark_operators", *words, "--child", way]
    answer = subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, text=True)
    return float(json.loads(answer.stdout))


def table(rows: list[Row]) -> str:
    """Word the results: a table for each machine and type, and each goal with whether it was met."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["machine"], row["dtype"]), []).append(row)
    text = "# Derivatives of an operator: residual of order 2 and its gradient\n"
    for (machine, dtype), group in groups.items():
        by = {row["method"]: row for row in group}
        ours, old = by[JET], by[NESTED]
        lines = [
            [way, f"{row['milliseconds']:.4g}", f"{row['peak_megabytes']:.4g}"]
            + [f"{row[key] / ours[key]:.3g}" for key in ("milliseconds", "peak_megabytes")]
            for way, row in by.items()
        ]
        gains = {"time": old["milliseconds"] / ours["milliseconds"]}
        gains["memory"] = old["peak_megabytes"] / ours["peak_megabytes"]
        said = [
            f"{gain:.3g}x less {what} than {NESTED} (goal {GOALS[what]:g}x, {('missed', 'met')[gain >= GOALS[what]]})"
            for what, gain in gains.items()
        ]
        sizes = f"{ours['functions']} functions x {ours['points']} points, width {ours['width']}, depth {ours['depth']}"
        text += f"\n{sizes}, {dtype}; {machine}; {ours['version']}; {ours['date']}.\n\n"
        text += (
            markdown(["way", "ms", "peak MB", "times ours", "memory over ours"], lines)
            + f"\nOne jet takes {', '.join(said)}.\n"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--functions", type=int, default=64)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    said = parser.parse_args()
    torch.set_num_threads(1)
    make = partial(Case, width=100, depth=5, dtype=said.dtype, device=said.device)
    sizes = {"functions": said.functions, "points": said.points}
    if said.child:
        print(json.dumps(peak(make(**sizes), make(functions=2, points=3), said.child)))
        return
    words = [f"--{name}={value}" for name, value in {"device": said.device, "dtype": said.dtype, **sizes}.items()]
    # first, while this process is small: a new process starts with the peak of the one that made it
    peaks = {way: peak_in_child(words, way) for way in WAYS}
    times = least_times(make(**sizes), said.rounds)
    common = {
        "case": "diffusion-reaction",
        **sizes,
        "width": 100,
        "depth": 5,
        "dtype": said.dtype,
        "seed": 0,
        **stamp(),
    }
    if said.device == "cuda":
        common["machine"] = torch.cuda.get_device_name()
    new = [{**common, "method": w, "milliseconds": times[w], "peak_megabytes": peaks[w]} for w in WAYS]
    path = said.folder / "operator_derivatives.json"
    keys = ("machine", "dtype")
    kept = [row for row in read_rows(path) if any(row[key] != common[key] for key in keys)]
    write_rows(path, kept + new)
    text = table(kept + new)
    (said.folder / "operator_derivatives.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
