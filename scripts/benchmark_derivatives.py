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
from pathlib import Path

import torch

from scripts import measuring
from scripts.engines import CASES, DEPTH, ENGINES, NESTED, make_step
from scripts.measuring import FOLDER, ONE_THREAD, Row, markdown, read_rows, stamp, write_rows

ROUNDS, SLICE = 12, 0.06  # rounds of the interleaved timing, CPU seconds of one engine in one round


def peak_bytes(step: Callable[[], float]) -> int:
    """Return the peak of what torch holds during a step above what it held before, from the profiler's record."""
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
        made = make_step(case, engine, width, dtype)
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
    """Return the fastest of our engines."""
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
