"""Measure the default recipe of every PDE of the gallery, and hold the errors against their targets.

    python -m scripts.measure_gallery                      # seed 0, what `make accuracy` asserts
    python -m scripts.measure_gallery --seeds 0 1 2
    python -m scripts.measure_gallery --only burgers kdv --again
    python -m scripts.measure_gallery --recipe own         # the recipes that are only a starting point of changes, too

Each run is a process of its own. Rows are added to benchmarks/gallery.json one by one, so a killed measurement goes on
where it was; benchmarks/gallery.md is the table made from them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows

SECONDS = 300.0  # the budget of a hand-made recipe on 2 cores; the automatic one has its usual 60


@dataclass(frozen=True)
class Case:
    """A problem with its parameters, the score that counts, and what it must reach."""

    what: str
    target: float
    rival: str
    key: str = "relative_l2"
    parameters: dict[str, Any] = field(default_factory=dict)
    truth: float = 0.0
    stretch: float | None = None

    def score(self, metrics: Row) -> float:
        """The error: the metric itself, or its relative distance from the truth."""
        value = float(metrics[self.key])
        return abs(value - self.truth) / self.truth if self.truth else value


CASES = {
    "poisson": Case("poisson", 1e-8, "-", stretch=1e-9),
    "helmholtz": Case("helmholtz", 1e-6, "5.8e-4 (literature)", stretch=1e-7),
    "convection, beta 30": Case("convection", 1e-6, "1.9e-3 (NNCG paper)", stretch=1e-7),
    "convection, beta 80": Case("convection", 1e-4, "6.9e-4", parameters={"beta": 80.0}),
    "reaction": Case("reaction", 1e-6, "9.9e-3 (NNCG paper)"),
    "wave": Case("wave", 1e-6, "1.2e-5 (jaxpi2)"),
    "burgers": Case("burgers", 1e-6, "4.0e-5 (jaxpi2), 1.6e-8 (SSBroyden paper)", stretch=1e-7),
    "allen_cahn": Case("allen_cahn", 1e-5, "4.0e-6 (jaxpi2)", stretch=1e-6),
    "kdv": Case("kdv", 1e-5, "1.5e-4 (jaxpi2)"),
    "kuramoto_sivashinsky": Case("kuramoto_sivashinsky", 1e-4, "2.7e-5 (SSBroyden paper)"),
    "poisson_5d": Case("poisson_5d", 1e-4, "1e-5 in 325 s on a GPU (ENGD-W)"),
    "lshape": Case("lshape", 1e-3, "-"),
    "cavity, Re 100": Case("cavity", 1e-3, "4.7e-2 (PaddleScience)"),
    "cavity, Re 400": Case("cavity", 5e-3, "9.3e-2 (PaddleScience)", parameters={"reynolds": 400.0}),
    "wake, lambda1": Case("wake", 1e-4, "7.8e-4 (Raissi et al. 2019)", key="unknown/lambda1", truth=1.0),
    "wake, lambda2": Case("wake", 5e-3, "4.67e-2 (Raissi et al. 2019)", key="unknown/lambda2", truth=0.01),
    "inverse_diffusivity, k": Case("inverse_diffusivity", 1e-2, "-", key="relative_l2/k"),
}


def default_of(what: str) -> str:
    """Return which recipe a problem takes where nothing is said: auto or own."""
    from nfsolve.problem.registry import find
    from nfsolve.run.automatic import is_automatic

    return "auto" if is_automatic(find(what)()) else "own"


def run(what: str, parameters: dict[str, Any], seed: int, threads: int, recipe: str, processor: bool) -> Row:
    """Solve a problem with one of its recipes."""
    import torch

    import nfsolve as nf
    from nfsolve.problem.registry import find

    torch.set_num_threads(threads)
    if processor:  # so that other work on the machine does not matter
        time.perf_counter = time.process_time
    used, limit = time.process_time(), SECONDS if recipe == "own" else None
    solution = nf.solve(find(what)(**parameters), seed=seed, recipe=recipe, report=None, time_limit=limit)  # type: ignore[arg-type]
    metrics = whole_scores(solution)
    return {
        "size": metrics.pop("parameters"),
        **metrics,
        "cpu_seconds": round(time.process_time() - used, 1),
        "threads": threads,
    }


def measure(what: str, parameters: dict[str, Any], recipe: str, said: argparse.Namespace, seed: int) -> Row:
    """Solve in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        command = [sys.executable, "-m", "scripts.measure_gallery", "--child", str(answer), "--only", what]
        command += ["--parameters", json.dumps(parameters), "--seeds", str(seed), "--threads", str(said.threads)]
        command += ["--recipe", recipe, *["--processor"] * said.processor]
        environment = {**os.environ, "OMP_NUM_THREADS": str(said.threads)}
        subprocess.run(command, check=True, env=environment)
        metrics = json.loads(answer.read_text())
    return {
        "case": what,
        "parameters": parameters,
        "seed": seed,
        "recipe": recipe,
        "budget": f"{SECONDS:g} s" if recipe == "own" else "60 s",
        **metrics,
        **stamp(said.threads),
    }


def recipe_of(row: Row) -> str:
    """Return the recipe of a row; there was none but that of the problem at first."""
    return row.get("recipe", "own")


def middle(case: Case, rows: list[Row]) -> str:
    """Return the median error and seconds of some rows in words."""
    if not rows:
        return "-"
    seconds = statistics.median(row["seconds"] for row in rows)
    return f"{statistics.median(case.score(row) for row in rows):.1e} in {seconds:.0f} s"


def table(rows: list[Row]) -> str:
    """Lay out the cases as Markdown: the default of each problem, and a hand-made recipe that is none."""
    header = ["problem", "seed 0", "median", "seeds", "target", "", "to beat", "floor", "seconds", "parameters"]
    header += ["recipe", "hand-made recipe"]
    lines = []
    for label, case in CASES.items():
        every = [r for r in rows if r["case"] == case.what and r["parameters"] == case.parameters]
        recipe = "auto" if any(recipe_of(r) == "auto" for r in every) else "own"
        mine, other = ([r for r in every if (recipe_of(r) == recipe) is same] for same in (True, False))
        if not mine:
            continue
        scores = {row["seed"]: case.score(row) for row in mine}
        first = scores.get(0, float("nan"))
        floors = [float(value) for key, value in mine[0].items() if key.startswith("reference_floor")]
        verdict = "met" if first <= case.target else "missed"
        if case.stretch is not None and first <= case.stretch:
            verdict = "met, stretch too"
        seconds = [row["seconds"] for row in mine]
        lines.append([
            label, f"{first:.1e}", f"{statistics.median(scores.values()):.1e}", str(len(scores)),
            f"{case.target:.0e}" + (f" ({case.stretch:.0e})" if case.stretch else ""), verdict, case.rival,
            f"{max(floors):.0e}" if floors else "-", f"{statistics.median(seconds):.0f}", str(mine[0]["size"]),
            "found by trials" if recipe == "auto" else "hand-made", middle(case, other),
        ])  # fmt: skip
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return f"# The gallery, as measured\n\nError of the final field, float64. {about}\n\n{markdown(header, lines)}"


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(dict.fromkeys(case.what for case in CASES.values())))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--recipe", choices=("own", "auto"), help="default is what each problem takes by itself")
    parser.add_argument("--processor", action="store_true", help="limits in processor seconds")
    parser.add_argument("--again", action="store_true", help="measure again what the file holds already")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parameters", type=json.loads, default={}, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        given = (said.parameters, said.seeds[0], said.threads, said.recipe, said.processor)
        said.child.write_text(json.dumps(run(said.only[0], *given)))
        return
    path = said.folder / "gallery.json"
    wanted = {(case.what, json.dumps(case.parameters)) for case in CASES.values() if case.what in said.only}
    order = list(dict.fromkeys((case.what, json.dumps(case.parameters)) for case in CASES.values()))
    for seed in said.seeds:
        for what, text in (pair for pair in order if pair in wanted):
            parameters, rows, recipe = json.loads(text), read_rows(path), said.recipe or default_of(what)
            key = (what, parameters, seed, recipe)
            held = [r for r in rows if (r["case"], r["parameters"], r["seed"], recipe_of(r)) == key]
            if held and not said.again:
                continue
            row = measure(what, parameters, recipe, said, seed)
            rows = [r for r in read_rows(path) if r not in held]
            write_rows(path, [*rows, row])
            (said.folder / "gallery.md").write_text(table(read_rows(path)))
            print(what, text, seed, {k: row[k] for k in row if k in ("relative_l2", "seconds", "stopped")}, flush=True)
    (said.folder / "gallery.md").write_text(table(read_rows(path)))


if __name__ == "__main__":
    main()
