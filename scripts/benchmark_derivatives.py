"""Time one full Adam step of a physics loss with each derivative engine, in turn in one process.

    python -m scripts.benchmark_derivatives                    every case, about half an hour of CPU
    python -m scripts.benchmark_derivatives --only burgers --widths 20 --dtypes float32

A step is residual, loss, gradient to the parameters and update; the net, its weights, the points and the loss are the
same for every engine (checked before timing). Milliseconds are CPU time, the least over interleaved rounds; memory is
the peak of what torch allocates during one step. Writes benchmarks/derivatives.json and benchmarks/derivatives.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nfsolve import MLP, Box
from nfsolve.diff import parse, partials
from scripts import measuring
from scripts.measuring import FOLDER, ONE_THREAD, Row, markdown, read_rows, stamp, write_rows

AXES = "abcdefghij"
DEPTH = {20: 3, 32: 3, 64: 4}
ROUNDS, SLICE = 12, 0.06  # rounds of the interleaved timing, CPU seconds of one engine in one round


@dataclass(frozen=True)
class Case:
    """A residual, the derivatives that it names, and the ratio to nested reverse mode that is aimed at."""

    coordinates: str
    names: tuple[str, ...]
    residual: Callable[..., Tensor]
    goal: float
    n: int = 2048


CASES = {
    "burgers": Case("tx", ("u", "u_t", "u_x", "u_xx"), lambda u, t, x, xx: t + u * x - 0.0032 * xx, 1.5),
    "poisson_2d": Case("xy", ("u_xx", "u_yy"), lambda xx, yy: xx + yy + 1, 2.0),
    "kdv": Case("tx", ("u", "u_t", "u_x", "u_xxx"), lambda u, t, x, xxx: t + u * x + 0.022**2 * xxx, 2.0),
    "kuramoto_sivashinsky": Case(
        "tx",
        ("u", "u_t", "u_x", "u_xx", "u_xxxx"),
        lambda u, t, x, xx, xxxx: t + 5 * u * x + 0.5 * xx + 0.005 * xxxx,
        4.0,
    ),
    "laplacian_10d": Case(AXES, tuple(f"u_{a}{a}" for a in AXES), lambda *second: torch.cat(second, 1).sum(1, keepdim=True) + 1, 3.0, 512),
    "allen_cahn": Case("tx", ("u", "u_t", "u_xx"), lambda u, t, xx: t - 1e-4 * xx - 5 * u + 5 * u**3, 1.0),
}
NESTED = "nested reverse"  # what the ratios are taken to
ENGINES = (NESTED, "nested forward", "jets", "jets compiled", "auto", "deepxde")


def make_net(case: Case, width: int, dtype: torch.dtype) -> MLP:
    box = Box(**dict.fromkeys(case.coordinates, (-1.0, 1.0)))
    return MLP(box, width=width, depth=DEPTH[width], dtype=dtype, seed=0)


def make_points(case: Case, dtype: torch.dtype) -> Tensor:
    shape = (case.n, len(case.coordinates))
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype) - 1


def by_nested_reverse(case: Case, field: torch.nn.Module, points: Tensor) -> Tensor:
    """Residual by autograd.grad of autograd.grad, as PINN codes write it; shared derivatives are taken once."""
    x = points.detach().requires_grad_()
    gradients: dict[tuple[int, ...], Tensor] = {}
    value = field(x)

    def derivative(along: tuple[int, ...]) -> Tensor:
        if not along:
            return value
        below = along[:-1]
        if below not in gradients:
            gradients[below] = torch.autograd.grad(derivative(below).sum(), x, create_graph=True)[0]
        return gradients[below][:, along[-1] : along[-1] + 1]

    return case.residual(*(derivative(along) for along in indices(case)))


def indices(case: Case) -> list[tuple[int, ...]]:
    return [parse(name, ("u",), tuple(case.coordinates)).along for name in case.names]


def evaluator(case: Case, engine: str, field: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """Give points -> residual by one engine."""
    if engine == NESTED:
        return lambda points: by_nested_reverse(case, field, points)
    along = indices(case)
    how: Any = {"nested forward": "nested"}.get(engine.removesuffix(" compiled"), engine.removesuffix(" compiled"))

    def evaluate(points: Tensor) -> Tensor:
        columns = partials(field, points, along, engine=how)
        return case.residual(*(columns[index] for index in along))

    return torch.compile(evaluate) if engine.endswith("compiled") else evaluate


def make_step(case: Case, engine: str, width: int, dtype: torch.dtype) -> Callable[[], float]:
    """Give a function that does one Adam step and returns the loss before it."""
    field, points = make_net(case, width, dtype), make_points(case, dtype)
    evaluate = evaluator(case, engine, field)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-5)

    def step() -> float:
        optimizer.zero_grad()
        loss = evaluate(points).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def make_deepxde_step(case: Case, width: int, dtype: str) -> Callable[[], float]:
    """DeepXDE's own training step on the same net, weights and points, without boundary conditions."""
    dde = measuring.import_deepxde(dtype)
    along, d = indices(case), len(case.coordinates)

    def pde(x: Tensor, y: Tensor) -> Tensor:
        def derivative(index: tuple[int, ...]) -> Tensor:
            if len(index) == 0:
                return y
            if len(index) == 1:
                return dde.grad.jacobian(y, x, i=0, j=index[0])
            inner = derivative(index[:-2])
            return dde.grad.hessian(inner, x, i=index[-2], j=index[-1])

        return case.residual(*(derivative(index) for index in along))

    points = make_points(case, getattr(torch, dtype)).numpy()
    data = dde.data.PDE(dde.geometry.Hypercube([-1] * d, [1] * d), pde, [], anchors=points)
    net = dde.nn.FNN([d] + [width] * DEPTH[width] + [1], "tanh", "Glorot normal")
    ours = [m for m in make_net(case, width, getattr(torch, dtype)).body.modules() if isinstance(m, torch.nn.Linear)]
    for theirs, layer in zip(net.linears, ours, strict=True):
        theirs.load_state_dict(layer.state_dict())
    model = dde.Model(data, net)
    model.compile("adam", lr=1e-5, verbose=0)
    inputs = data.train_next_batch()[0]

    def step() -> float:
        model._train_step(inputs, None, None)
        return first

    first = float(model._outputs_losses(True, inputs, None, None)[1].sum())
    return step


def peak_bytes(step: Callable[[], float]) -> int:
    """Give the peak of what torch holds during a step above what it held before, from the profiler's record."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def measure(name: str, width: int, dtype: str) -> list[Row]:
    """Time every engine on one case, one width and one type; call it in a process of its own."""
    torch.set_num_threads(1)
    case, steps, rows = CASES[name], {}, {}
    engines = [e for e in ENGINES if e != "deepxde" or measuring.deepxde_version()]
    for engine in engines:
        made = make_deepxde_step(case, width, dtype) if engine == "deepxde" else make_step(
            case, engine, width, getattr(torch, dtype)
        )  # fmt: skip
        start = time.perf_counter()
        loss = made()
        rows[engine] = {"loss": loss, "first_step_seconds": round(time.perf_counter() - start, 3)}
        steps[engine] = made
    check_losses({engine: row["loss"] for engine, row in rows.items()}, dtype)
    for engine, step in steps.items():
        step()
        rows[engine]["peak_megabytes"] = round(peak_bytes(step) / 1e6, 2)
    for engine, times in interleaved(steps).items():
        rows[engine] |= {"milliseconds": min(times), "median_milliseconds": statistics.median(times)}
    common = {"case": name, "width": width, "depth": DEPTH[width], "points": case.n, "dtype": dtype, "seed": 0}
    return [
        {**common, "method": engine, "budget": "one Adam step", **row,
         "ratio": rows[NESTED]["milliseconds"] / row["milliseconds"], **stamp()}
        for engine, row in rows.items()
    ]  # fmt: skip


def check_losses(losses: dict[str, float], dtype: str) -> None:
    """Stop where two engines disagree: they would not do the same work."""
    tolerance = 1e-3 if dtype == "float32" else 1e-9
    for engine, loss in losses.items():
        if not abs(loss - losses[NESTED]) <= tolerance * abs(losses[NESTED]):
            raise SystemExit(f"{engine} gives loss {loss}, {NESTED} gives {losses[NESTED]}")


def interleaved(steps: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """CPU milliseconds of a step of each, for each round; all of them in turn, so that a busy moment hits all."""
    counts, times = {}, {name: [] for name in steps}
    for name, step in steps.items():
        start = time.process_time()
        for _ in range(3):
            step()
        counts[name] = max(2, round(SLICE / ((time.process_time() - start) / 3 + 1e-9)))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.process_time()
            for _ in range(counts[name]):
                step()
            times[name].append((time.process_time() - start) / counts[name] * 1e3)
    return times


def run_child(name: str, width: int, dtype: str) -> list[Row]:
    """Measure in a fresh process without a compiler cache, so that the first compiled step shows its whole cost."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            **ONE_THREAD,
            "TORCHINDUCTOR_CACHE_DIR": cache,
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        answer = Path(cache) / "rows.json"
        command = [sys.executable, "-m", "scripts.benchmark_derivatives", "--child", str(answer)]
        command += ["--only", name, "--widths", str(width), "--dtypes", dtype]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(answer.read_text())


def best(rows: list[Row]) -> Row:
    """Give the fastest of our engines."""
    return max((row for row in rows if row["method"] not in (NESTED, "deepxde")), key=lambda row: row["ratio"])


def table(rows: list[Row]) -> str:
    """Word the results: a table of milliseconds, and each goal with whether it was met."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["case"], row["dtype"], row["width"]), []).append(row)
    lines, goals = [], []
    for (name, dtype, width), group in groups.items():
        by = {row["method"]: row for row in group}
        cells = [f"{by[e]['milliseconds']:.2f} ({by[e]['peak_megabytes']:.1f})" if e in by else "-" for e in ENGINES]
        fastest = best(group)
        rival = f"{by['deepxde']['milliseconds'] / fastest['milliseconds']:.2f}" if "deepxde" in by else "-"
        latency = f"{by['jets compiled']['first_step_seconds']:.0f}" if "jets compiled" in by else "-"
        auto = f"{by['auto']['ratio']:.2f}" if "auto" in by else "-"
        lines.append([name, dtype, str(width), *cells, latency, auto, f"{fastest['ratio']:.2f}", rival])
    for name, case in CASES.items():
        found = [row for row in rows if row["case"] == name and row["method"] not in (NESTED, "deepxde")]
        if found:
            goals.append(goal_line(name, case.goal, found))
    header = ["case", "dtype", "width", *ENGINES, "compile, s", "auto gains", "best gains", "best over DeepXDE"]
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return (
        "# Derivative engines: one Adam step\n\nMilliseconds of CPU time (peak megabytes in brackets); gains are over "
        f"nested reverse mode. {about}\n\n{markdown(header, lines)}\n{''.join(goals)}"
    )


def goal_line(name: str, goal: float, rows: list[Row]) -> str:
    """Say whether the best engine reaches the goal at every width and type, and where `auto` loses."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["dtype"], row["width"]), []).append(row)
    gains = {key: max(row["ratio"] for row in group) for key, group in groups.items()}
    met = [key for key, gain in gains.items() if gain >= goal]
    least, most = min(gains.values()), max(gains.values())
    slow = [
        f"{r['dtype']} width {r['width']} ({r['ratio']:.2f})"
        for r in rows
        if r["method"] == "auto" and r["ratio"] < 0.97
    ]
    return (
        f"- {name}: goal {goal:g}x, measured {least:.2f}x to {most:.2f}x: "
        f"{'met everywhere' if len(met) == len(gains) else f'met in {len(met)} of {len(gains)} settings'}"
        f"{'; auto is slower than nested reverse at ' + ', '.join(slow) if slow else ''}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--widths", nargs="*", type=int, choices=[*DEPTH], default=[*DEPTH])
    parser.add_argument("--dtypes", nargs="*", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        said.child.write_text(json.dumps(measure(said.only[0], said.widths[0], said.dtypes[0])))
        return
    path = said.folder / "derivatives.json"
    for name in said.only:
        for dtype in said.dtypes:
            for width in said.widths:
                new = run_child(name, width, dtype)
                kept = [r for r in read_rows(path) if (r["case"], r["dtype"], r["width"]) != (name, dtype, width)]
                write_rows(path, kept + new)
                print(table(new).split("\n\n")[2].splitlines()[-1], flush=True)
    text = table(read_rows(path))
    (said.folder / "derivatives.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
