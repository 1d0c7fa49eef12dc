"""Race DeepXDE with its documented settings against the default recipes here: error against CPU-seconds.

    python -m scripts.race_deepxde                              everything, hours; a killed race goes on where it was
    python -m scripts.race_deepxde --only burgers --seeds 0
    python -m scripts.race_deepxde --budget 0.01 --folder /tmp  a rehearsal

Every run is a process of its own with one thread, both sides in float64, one after the other, never tuned against
each other. Seconds are CPU time of building and training; evaluating the error (on the evaluation grid of the
problem, for both) is subtracted. Errors are those of the field as it stood, the last one of the final field. Writes
benchmarks/race_deepxde.json, .png and .md. The settings of DeepXDE and their sources: `scripts.rivals`.
"""

import argparse
import json
import os
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

OURS, THEIRS = "nfsolve", "deepxde"
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


def run_ours(name: str, seed: int, budget: float) -> Row:
    """Solve with the default recipe; as `nfsolve.solve` does, points, weights and compilation included."""
    import torch

    import nfsolve as nf
    from nfsolve.problem.registry import find

    torch.set_num_threads(1)
    problem = find(name)()
    steps = sum(stage.steps for stage in problem.recipe().stages)
    clock = Clock()
    # loading lays out the grid and the reference for the score, which training does not need
    for method in ("load", "quick_metrics", "metrics"):
        object.__setattr__(problem, method, clock.uncounted(getattr(problem, method)))

    def watch(row: Row) -> None:
        if "relative_l2" in row and clock.due():
            clock.record(row["relative_l2"])

    solution = nf.solve(problem, seed=seed, report=watch, steps=None if budget == 1 else max(2, round(budget * steps)))
    error = measuring.whole_scores(solution).get("relative_l2", float("nan"))  # a failed run has none
    clock.record(error)
    return {
        "relative_l2": error,
        "loss": solution.history[-1]["loss"],
        "steps": solution.metrics["steps"],
        "parameters": solution.metrics["parameters"],
        "settings": "the default recipe",
        "stopped": solution.stopped,
        "curve": clock.curve,
    }


def run_theirs(name: str, seed: int, budget: float) -> Row:
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

    class Watch(dde.callbacks.Callback):
        def on_epoch_end(self) -> None:
            watch()

    steps = max(2, round(budget * rival.adam))
    model.compile("adam", lr=1e-3)
    model.train(iterations=steps, callbacks=[Watch()])
    losses = {"loss_adam": float(np.sum(model.train_state.loss_train))}
    if rival.lbfgs:
        if budget != 1:
            dde.optimizers.config.LBFGS_options.update(
                maxiter=max(2, round(15000 * budget)), iter_per_step=max(2, round(1000 * budget))
            )
        model.compile("L-BFGS")
        _watch_evaluations(model.opt, watch)
        model.train(callbacks=[Watch()])
    clock.record(_error(model, problem, grid, data))
    return {
        "relative_l2": clock.curve[-1][1],
        "loss": float(np.sum(model.train_state.loss_train)),
        **losses,
        "steps": int(model.train_state.step),
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "settings": rival.settings,
        "stopped": "as documented" if budget == 1 else f"budget {budget:g}",
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


def run_child(name: str, method: str, seed: int, budget: float) -> Row:
    """Solve one case in a fresh process; DeepXDE changes global settings of PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        command = [sys.executable, "-m", "scripts.race_deepxde", "--child", str(answer), "--method", method]
        command += ["--only", name, "--seeds", str(seed), "--budget", str(budget)]
        subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD})
        row = json.loads(answer.read_text())
    seconds = row["curve"][-1][0]
    return {"case": name, "method": method, "seed": seed, "budget": budget, **row, "seconds": seconds, **stamp()}


def at(curve: list[list[float]], seconds: float) -> float:
    """Return the error of the last recorded field not later than some CPU seconds (the first one, where none is)."""
    return next((error for s, error in reversed(curve) if s <= seconds), curve[0][1])


def compare(rows: list[Row]) -> list[Row]:
    """Pair the runs of a case, seed and budget: DeepXDE's final error, ours at that time, and the ratio."""
    by = {(row["case"], row["seed"], row["budget"], row["method"]): row for row in rows}
    pairs = []
    for (name, seed, budget, method), theirs in by.items():
        ours = by.get((name, seed, 1.0, OURS), by.get((name, seed, budget, OURS)))
        if method == THEIRS and ours is not None:
            error = at(ours["curve"], theirs["seconds"])
            pairs.append({
                "case": name, "seed": seed, "budget": budget, "theirs": theirs, "ours": ours,
                "error": error, "ratio": theirs["relative_l2"] / error,
            })  # fmt: skip
    return pairs


def verdict(pair: Row) -> str:
    """Say whether our error is a hundredth of theirs; a rival that was stopped early is not judged."""
    if pair["budget"] < 1:
        return "not judged"
    return "met" if pair["ratio"] >= 100 else "missed"


def table(rows: list[Row]) -> str:
    """Lay out the race as Markdown."""
    header = ["case", "seed", "DeepXDE error", "its CPU-s", "its loss after Adam / at the end", "our error then"]
    header += ["our CPU-s in all", "ratio", "100x"]
    lines = []
    for pair in compare(rows):
        theirs, ours = pair["theirs"], pair["ours"]
        lines.append([
            pair["case"] + ("" if pair["budget"] == 1 else f" (budget {pair['budget']:g})"), str(pair["seed"]),
            f"{theirs['relative_l2']:.2e}", f"{theirs['seconds']:.0f}",
            f"{theirs['loss_adam']:.1e} / {theirs['loss']:.1e}", f"{pair['error']:.2e}", f"{ours['seconds']:.0f}",
            f"{pair['ratio']:.0f}", verdict(pair),
        ])  # fmt: skip
    used = dict.fromkeys(row["case"] for row in rows)
    settings = "".join(f"- {name}: {CASES[name].settings}.\n" for name in used)
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return (
        f"# The race with DeepXDE\n\nRelative L2 error on our evaluation grid, float64. {about}\n\n"
        f"{markdown(header, lines)}\nSettings of DeepXDE:\n\n{settings}"
    )


def draw(rows: list[Row], path: Path) -> None:
    """Draw error against CPU-seconds, one panel for each case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["case"] for row in rows))
    figure, panels = plt.subplots(1, len(names), figsize=(3.4 * len(names), 3.2), squeeze=False, layout="constrained")
    colours = {OURS: "tab:blue", THEIRS: "tab:orange"}
    for panel, name in zip(panels[0], names, strict=True):
        labelled = set()
        for row in (row for row in rows if row["case"] == name):
            seconds, errors = zip(*row["curve"], strict=True)
            label = None if row["method"] in labelled else {OURS: "nfsolve", THEIRS: "DeepXDE"}[row["method"]]
            labelled.add(row["method"])
            panel.loglog(np.maximum(seconds, 0.1), errors, color=colours[row["method"]], label=label, linewidth=1)
        panel.set(title=name.replace("_", " "), xlabel="CPU seconds", ylabel="relative L2 error")
        panel.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--method", choices=[THEIRS, OURS], help="only this side")
    parser.add_argument("--budget", type=float, default=1.0, help="factor on the iterations of both sides")
    parser.add_argument("--again", action="store_true", help="measure again what the file holds already")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        run = run_ours if said.method == OURS else run_theirs
        said.child.write_text(json.dumps(run(said.only[0], said.seeds[0], said.budget)))
        return
    if said.method != OURS and not measuring.deepxde_version():
        raise SystemExit(measuring.INSTALL)
    path = said.folder / "race_deepxde.json"
    methods = [said.method] if said.method else [THEIRS, OURS]
    for name, seed, method in ((n, s, m) for s in said.seeds for n in said.only for m in methods):
        key = (name, method, seed, said.budget)
        rows = [r for r in read_rows(path) if (r["case"], r["method"], r["seed"], r["budget"]) != key]
        if said.again or len(rows) == len(read_rows(path)):
            write_rows(path, [*rows, run_child(name, method, seed, said.budget)])
            row = read_rows(path)[-1]
            print(f"{name}, {method}, seed {seed}: error {row['relative_l2']:.2e}, loss {row['loss']:.1e}, "
                  f"{row['seconds']:.0f} CPU-s", flush=True)  # fmt: skip
    rows = read_rows(path)
    (said.folder / "race_deepxde.md").write_text(table(rows))
    draw(rows, said.folder / "race_deepxde.png")
    print(table(rows))


if __name__ == "__main__":
    main()
