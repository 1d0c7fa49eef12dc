"""Race DeepXDE with its documented settings against nfsolve: at equal processor seconds, and in full.

    python -m scripts.race_deepxde                              60 seconds for both, three seeds; a killed race goes on
    python -m scripts.race_deepxde --only kdv --seeds 0 --seconds 300
    python -m scripts.race_deepxde --full --only burgers        as documented, to its end, beside our own recipe

Every run is a process of its own with one thread, both sides in float64, never tuned against each other. At equal
seconds DeepXDE has Adam for the first half and L-BFGS for the second, if it is documented with both, and nfsolve its
automatic recipe, which is told nothing of the problem but its equations. Seconds are processor time of building and
training; evaluating the error of DeepXDE (on the evaluation grid of the problem, for both) is subtracted, what nfsolve
takes to score itself is not. Errors are those of the field as it stood, the last one of the final field. Writes
benchmarks/race_deepxde.json, .png and .md. The settings of DeepXDE and their sources: `scripts.rivals`.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from scripts import measuring
from scripts.measuring import FOLDER, ONE_THREAD, Row, markdown, read_rows, stamp, write_rows
from scripts.rivals import CASES, Rival

OURS, THEIRS, AUTOMATIC = "nfsolve", "deepxde", "automatic"
ADAM = 0.5  # of equal seconds, that Adam has where L-BFGS follows
DENSITY = 1.08  # the curve gets a point when the CPU time has grown by this factor


class Clock:
    """CPU seconds of this process, without those spent on watching it."""

    def __init__(self) -> None:
        self.start, self.watching = time.process_time(), 0.0
        self.curve: list[list[float]] = []

    def seconds(self) -> float:
        """Return the CPU seconds that count, so far."""
        return time.process_time() - self.start - self.watching

    def due(self) -> bool:
        """Whether the curve should get a point now."""
        return not self.curve or self.seconds() > DENSITY * self.curve[-1][0] + 0.05

    def uncounted(self, function: Any) -> Any:
        """Wrap a function so that its time does not count."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            begin = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.watching += time.process_time() - begin

        return wrapped

    def record(self, error: float) -> None:
        """Add a point to the curve."""
        self.curve.append([round(self.seconds(), 3), error])


class Over(Exception):
    """The seconds of a run have passed."""


def run_automatic(name: str, seed: int, seconds: float | None) -> Row:
    """Solve with the automatic recipe within so many processor seconds."""
    from nfsolve.problem.registry import find

    solution, row = measuring.solve_automatically(find(name)(), seed, seconds or 60.0, 1, processor=True)
    return {
        "relative_l2": row["error"],
        "estimate": row["estimate"],
        "loss": solution.history[-1]["loss"],
        "steps": solution.metrics["steps"],
        "parameters": solution.metrics["parameters"],
        "settings": row["chosen"],
        "stopped": row["stopped"],
        "curve": [[row["seconds"], row["error"]]],
    }


def run_ours(name: str, seed: int, seconds: float | None) -> Row:
    """Solve with the recipe of the problem; as `nfsolve.solve` does, points, weights and compilation included."""
    import torch

    import nfsolve as nf
    from nfsolve.problem.registry import find

    torch.set_num_threads(1)
    problem = find(name)()
    clock = Clock()
    # loading lays out the grid and the reference for the score, which training does not need
    for method in ("load", "quick_metrics", "metrics"):
        object.__setattr__(problem, method, clock.uncounted(getattr(problem, method)))

    def watch(row: Row) -> None:
        if "relative_l2" in row and clock.due():
            clock.record(row["relative_l2"])

    solution = nf.solve(problem, seed=seed, recipe="own", report=watch, time_limit=seconds)
    error = measuring.whole_scores(solution).get("relative_l2", float("nan"))  # a failed run has none
    clock.record(error)
    return {
        "relative_l2": error,
        "loss": solution.history[-1]["loss"],
        "steps": solution.metrics["steps"],
        "parameters": solution.metrics["parameters"],
        "settings": "the recipe of the problem",
        "stopped": solution.stopped,
        "curve": clock.curve,
    }


def run_theirs(name: str, seed: int, seconds: float | None) -> Row:
    """Solve with DeepXDE; the error is also watched inside L-BFGS, whose own callbacks come every 1000 iterations."""
    import torch

    from nfsolve.problem.registry import find

    dde = measuring.import_deepxde("float64")
    torch.set_num_threads(1)
    dde.config.set_random_seed(seed)
    rival: Rival = CASES[name]
    problem = find(name)()
    data = problem.load("cpu", torch.float64)
    grid = data["reference"].points[:, list(rival.columns)]
    clock = Clock()
    model = rival.build(dde, problem)
    watch = clock.uncounted(lambda: clock.record(_error(model, problem, grid, data)) if clock.due() else None)
    limit = math.inf if seconds is None else seconds

    class Watch(dde.callbacks.Callback):
        def on_epoch_end(self) -> None:
            watch()
            if clock.seconds() > limit * (ADAM if rival.lbfgs else 1.0):
                self.model.stop_training = True

    def within() -> None:
        watch()
        if clock.seconds() > limit:
            raise Over

    model.compile("adam", lr=1e-3)
    model.train(iterations=rival.adam, callbacks=[Watch()])
    losses = {"loss_adam": float(np.sum(model.train_state.loss_train))}
    if rival.lbfgs:
        model.compile("L-BFGS")
        _watch_evaluations(model.opt, within)
        with contextlib.suppress(Over):
            model.train()
    clock.record(_error(model, problem, grid, data))
    return {
        "relative_l2": clock.curve[-1][1],
        "loss": float(np.sum(model.train_state.loss_train)),
        **losses,
        "steps": int(model.train_state.step),
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "settings": rival.settings,
        "stopped": "as documented" if seconds is None else f"after {seconds:g} s",
        "curve": clock.curve,
    }


def _watch_evaluations(optimizer: Any, watch: Any) -> None:
    """Watch after each evaluation inside a step of L-BFGS: at its trial points, which it mostly accepts."""
    step = optimizer.step

    def watched(closure: Any) -> Any:
        def evaluate() -> Any:
            loss = closure()
            watch()
            return loss

        return step(evaluate)

    optimizer.step = watched


def _error(model: Any, problem: Any, grid: Any, data: Any) -> float:
    import torch

    def field(points: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([model.net(part) for part in grid.split(20000)])

    return float(problem.metrics(field, data)["relative_l2"])


RUNS = {OURS: run_ours, THEIRS: run_theirs, AUTOMATIC: run_automatic}


def run_child(name: str, method: str, seed: int, seconds: float | None) -> Row:
    """Solve one case in a fresh process; DeepXDE changes global settings of PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        command = [sys.executable, "-m", "scripts.race_deepxde", "--child", str(answer), "--method", method]
        command += ["--only", name, "--seeds", str(seed)]
        command += ["--full"] if seconds is None else ["--seconds", str(seconds)]
        subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD})
        row = json.loads(answer.read_text())
    took = row["curve"][-1][0]
    return {"case": name, "method": method, "seed": seed, "limit": seconds, **row, "seconds": took, **stamp()}


def at(curve: list[list[float]], seconds: float) -> float:
    """Return the error of the last recorded field not later than some CPU seconds (the first one, where none is)."""
    return next((error for s, error in reversed(curve) if s <= seconds), curve[0][1])


def equal(rows: list[Row]) -> str:
    """Lay out the race at equal seconds: medians over seeds, and all of them."""
    lines = []
    for name, limit in dict.fromkeys((row["case"], row["limit"]) for row in rows if row["limit"] is not None):
        own = [row for row in rows if (row["case"], row["limit"]) == (name, limit)]
        theirs, ours = ([row for row in own if row["method"] == method] for method in (THEIRS, AUTOMATIC))
        if not (theirs and ours):
            continue
        estimates = [measuring.told(row["estimate"]) for row in ours]
        each = [", ".join(f"{row['relative_l2']:.1e}" for row in side) for side in (theirs, ours)]
        seconds = statistics.median([row["seconds"] for row in ours])
        lines.append([name, f"{limit:g}", *each, ", ".join(estimates), f"{seconds:.0f}"])
    header = ["case", "seconds", "DeepXDE, each seed", "nfsolve, each seed", "its estimates", "its seconds"]
    return markdown(header, lines)


def whole(rows: list[Row]) -> str:
    """Lay out what DeepXDE reaches as documented, and what our own recipes have in as many seconds."""
    lines = []
    for theirs in rows:
        if theirs["method"] != THEIRS or theirs["limit"] is not None:
            continue
        key = (theirs["case"], theirs["seed"], OURS, None)
        ours = next((r for r in rows if (r["case"], r["seed"], r["method"], r["limit"]) == key), None)
        if ours is None:
            continue
        error = at(ours["curve"], theirs["seconds"])
        ratio = theirs["relative_l2"] / error
        lines.append([
            theirs["case"], str(theirs["seed"]), f"{theirs['relative_l2']:.2e}", f"{theirs['seconds']:.0f}",
            f"{theirs['loss_adam']:.1e} / {theirs['loss']:.1e}", f"{error:.2e}", f"{ours['seconds']:.0f}",
            f"{ratio:.0f}", "met" if ratio >= 100 else "missed",
        ])  # fmt: skip
    header = ["case", "seed", "DeepXDE error", "its CPU-s", "its loss after Adam / at the end", "our error then"]
    return markdown([*header, "our CPU-s in all", "ratio", "100x"], lines)


def table(rows: list[Row]) -> str:
    """Lay out the race as Markdown."""
    used = dict.fromkeys(row["case"] for row in rows)
    settings = "".join(f"- {name}: {CASES[name].settings}.\n" for name in used)
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return (
        f"# The race with DeepXDE\n\nRelative L2 error on our evaluation grid, float64. {about}\n\n"
        "## At equal processor seconds\n\nDeepXDE has Adam for the first half and L-BFGS for the second, where it is "
        "documented with both; nfsolve its automatic recipe (`--recipe auto`), whose seconds include its estimate and "
        f"its scores.\n\n{equal(rows)}\n## As documented, to its end\n\nBeside the recipe of our "
        f"problem, which was made for it.\n\n{whole(rows)}\nSettings of DeepXDE:\n\n{settings}"
    )


def draw(rows: list[Row], path: Path) -> None:
    """Draw error against CPU-seconds, one panel for each case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["case"] for row in rows))
    figure, panels = plt.subplots(1, len(names), figsize=(3.4 * len(names), 3.2), squeeze=False, layout="constrained")
    colours = {OURS: "tab:blue", THEIRS: "tab:orange", AUTOMATIC: "tab:green"}
    words = {OURS: "nfsolve, own recipe", THEIRS: "DeepXDE", AUTOMATIC: "nfsolve, automatic"}
    for panel, name in zip(panels[0], names, strict=True):
        labelled = set()
        for row in (row for row in rows if row["case"] == name):
            seconds, errors = zip(*row["curve"], strict=True)
            label = None if row["method"] in labelled else words[row["method"]]
            labelled.add(row["method"])
            mark = "o" if len(seconds) == 1 else None
            colour = colours[row["method"]]
            panel.loglog(np.maximum(seconds, 0.1), errors, marker=mark, color=colour, label=label, lw=1, ms=5)
        panel.set(title=name.replace("_", " "), xlabel="processor seconds", ylabel="relative L2 error")
        panel.set_xlim(left=0.5)
        panel.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--method", choices=[*RUNS], help="only this side")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor seconds of each side")
    parser.add_argument("--full", action="store_true", help="to the end of the documented settings instead")
    parser.add_argument("--again", action="store_true", help="measure again what the file holds already")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    seconds = None if said.full else said.seconds
    if said.child:
        said.child.write_text(json.dumps(RUNS[said.method](said.only[0], said.seeds[0], seconds)))
        return
    methods = [said.method] if said.method else [THEIRS, OURS if said.full else AUTOMATIC]
    if THEIRS in methods and not measuring.deepxde_version():
        raise SystemExit(measuring.INSTALL)
    path = said.folder / "race_deepxde.json"
    for name, seed, method in ((n, s, m) for s in said.seeds for n in said.only for m in methods):
        key = (name, method, seed, seconds)
        rows = [r for r in read_rows(path) if (r["case"], r["method"], r["seed"], r["limit"]) != key]
        if said.again or len(rows) == len(read_rows(path)):
            write_rows(path, [*rows, run_child(name, method, seed, seconds)])
            row = read_rows(path)[-1]
            print(f"{name}, {method}, seed {seed}: error {row['relative_l2']:.2e}, loss {row['loss']:.1e}, "
                  f"{row['seconds']:.0f} CPU-s", flush=True)  # fmt: skip
    rows = read_rows(path)
    (said.folder / "race_deepxde.md").write_text(table(rows))
    draw(rows, said.folder / "race_deepxde.png")
    print(table(rows))


if __name__ == "__main__":
    main()
