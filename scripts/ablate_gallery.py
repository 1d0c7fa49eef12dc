"""What each ingredient of the gallery's recipes brings: the recipe, and the recipe without it, at equal seconds.

    python -m scripts.ablate_gallery --seconds 20 --seeds 0 1 2
    python -m scripts.ablate_gallery --only helmholtz --again

Nothing is tuned here: every variant keeps the settings of the recipe, but for the one that it names. First-order
methods run at three learning rates, a row each. Each run is a process of its own; rows are
added to benchmarks/ablation.json one by one, so a killed measurement goes on where it was.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows

RATES = (3e-4, 1e-3, 3e-3)
Change = Callable[[Any, Any], tuple[Any, Any]]


def options(**changes: Any) -> Change:
    """Change settings of every Gauss-Newton stage."""

    def change(problem: Any, recipe: Any) -> tuple[Any, Any]:
        stages = tuple(dataclasses.replace(s, optimizer=partial(s.optimizer, **changes)) for s in recipe.stages)
        return problem, dataclasses.replace(recipe, stages=stages)

    return change


def parameters(**changes: Any) -> Change:
    """Change parameters of the problem."""
    return lambda problem, recipe: (dataclasses.replace(problem, **changes), recipe)


def run_with(**changes: Any) -> Change:
    """Change the recipe's options of the run."""
    return lambda problem, recipe: (
        problem,
        dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, **changes)),
    )


def activation(name: str) -> Change:
    """Take another activation: ``tanh``, or ``sine`` of frequency 2."""

    def change(problem: Any, recipe: Any) -> tuple[Any, Any]:
        import nfsolve as nf

        chosen = nf.Tanh() if name == "tanh" else nf.Sine(2.0)
        return problem, dataclasses.replace(recipe, field=partial(recipe.field, activation=chosen))

    return change


def weight_scaling(alpha: float) -> Change:
    """Initialise by weight scaling."""

    def change(problem: Any, recipe: Any) -> tuple[Any, Any]:
        import nfsolve as nf

        return problem, dataclasses.replace(recipe, field=partial(recipe.field, init=nf.weight_scaling(alpha=alpha)))

    return change


def factorized(problem: Any, recipe: Any) -> tuple[Any, Any]:
    """Factorize the weights at random (RWF)."""
    import nfsolve as nf

    return problem, dataclasses.replace(recipe, factorization=nf.RandomWeightFactorization(mean=0.5, std=0.1))


def optimizer(name: str, **settings: Any) -> Change:
    """Train by another optimizer, all the points from the start."""

    def change(problem: Any, recipe: Any) -> tuple[Any, Any]:
        import nfsolve as nf
        from nfsolve.optim import named

        stage = nf.Stage(partial(named()[name], **settings), 10**6)
        return problem, dataclasses.replace(recipe, stages=(stage,))

    return change


COMMON: dict[str, Change] = {
    "recipe": lambda problem, recipe: (problem, recipe),
    "no corrections": options(corrections=0),
    "no geodesic acceleration": options(acceleration=0.0),
    "neither": options(corrections=0, acceleration=0.0),
    "RWF(0.5, 0.1)": factorized,
    "SSBroyden": optimizer("ssbroyden"),
    "LBFGS": optimizer("lbfgs"),
    **{f"SOAP, lr {rate:g}": optimizer("soap", lr=rate) for rate in RATES},
    **{f"Adam, lr {rate:g}": optimizer("adam", lr=rate) for rate in RATES},
}
SINE: dict[str, Change] = {"tanh": activation("tanh"), "WS alpha 1.5": weight_scaling(1.5)}
CASES: dict[str, dict[str, Change]] = {
    "helmholtz": COMMON | SINE,
    "convection": COMMON | SINE,
    "burgers": COMMON | {"sine": activation("sine"), "points not adapted": parameters(adaptive="none")},
    "allen_cahn": COMMON | {"one window": run_with(windows=1), "points by RAD": parameters(adaptive="rad")},
}


def run(name: str, variant: str, seed: int, seconds: float) -> Row:
    """Solve with one variant for so many seconds; the stages share them as they share their steps."""
    import torch

    import nfsolve as nf
    from nfsolve.problem.registry import find

    torch.set_num_threads(1)
    problem = find(name)()
    problem, recipe = CASES[name][variant](problem, problem.recipe())
    used = time.process_time()
    solution = nf.solve(
        problem, recipe.field, stages=recipe.stages, factorization=recipe.factorization,
        run=dataclasses.replace(recipe.run, seed=seed, time_limit=seconds, log_every=10**6), report=None,
    )  # fmt: skip
    return {
        "relative_l2": whole_scores(solution).get("relative_l2", float("nan")),
        "loss": solution.history[-1]["loss"],
        "steps": solution.steps,
        "seconds": round(time.process_time() - used, 1),
        "stopped": solution.stopped,
    }


def measure(name: str, variant: str, seed: int, seconds: float) -> Row:
    """Solve in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        command = [sys.executable, "-m", "scripts.ablate_gallery", "--child", str(answer), "--only", name]
        command += ["--variant", variant, "--seeds", str(seed), "--seconds", str(seconds)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        row = json.loads(answer.read_text())
    return {"case": name, "method": variant, "seed": seed, "budget": f"{seconds:g} s", **row, **stamp()}


def table(rows: list[Row]) -> str:
    """Lay out the variants as Markdown, each with its ratio to the recipe."""
    text = (
        "# What each ingredient brings\n\nRelative L2 error of the final field at equal wall-clock seconds, 1 thread.\n"
    )
    for name, budget in dict.fromkeys((row["case"], row["budget"]) for row in rows):
        mine = [r for r in rows if (r["case"], r["budget"]) == (name, budget)]
        errors = {
            m: [r["relative_l2"] for r in mine if r["method"] == m] for m in dict.fromkeys(r["method"] for r in mine)
        }
        base = statistics.median(errors.get("recipe", [float("nan")]))
        lines = [
            [method, f"{statistics.median(found):.1e}", ", ".join(f"{e:.1e}" for e in sorted(found)),
             f"{statistics.median(found) / base:.3g}"]
            for method, found in errors.items()
        ]  # fmt: skip
        text += f"\n## {name}, {budget}\n\n{markdown(['variant', 'median', 'seeds', 'times the recipe'], lines)}"
    return text + (f"\n{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}.\n" if rows else "")


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--variants", nargs="*", help="only these variants")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=20.0, help="wall-clock seconds of a run")
    parser.add_argument("--again", action="store_true", help="measure again what the file holds already")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        said.child.write_text(json.dumps(run(said.only[0], said.variant, said.seeds[0], said.seconds)))
        return
    path = said.folder / "ablation.json"
    for seed in said.seeds:
        for name in said.only:
            for variant in said.variants or CASES[name]:
                key = (name, variant, seed, f"{said.seconds:g} s")
                held = [r for r in read_rows(path) if (r["case"], r["method"], r["seed"], r["budget"]) == key]
                if held and not said.again:
                    continue
                row = measure(name, variant, seed, said.seconds)
                write_rows(path, [*(r for r in read_rows(path) if r not in held), row])
                (said.folder / "ablation.md").write_text(table(read_rows(path)))
                print(*key, f"{row['relative_l2']:.2e}", row["stopped"], flush=True)


if __name__ == "__main__":
    main()
