"""Measure operators: the error over the test functions of each problem, at the budget of a CPU or of a GPU.

    python -m scripts.operators_table                              # 3 seeds, one thread, one run after the other
    python -m scripts.operators_table --only advection --seeds 1
    python -m scripts.operators_table --only burgers_001 --device cuda --scale 10

Rows are added to benchmarks/operators.json one by one, so a killed measurement goes on where it was;
benchmarks/operators.md is the table made from them. A seed is that of the weights, of the training functions and of the
test functions; Darcy flow has one set of functions, which is shipped.
"""

import argparse
import dataclasses
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import nfsolve as nf
from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows


@dataclass(frozen=True)
class Case:
    """A problem with its options, the goal, and what was published, in the authors' own setting."""

    what: str
    words: tuple[str, ...]
    goal: float
    published: str
    drawn: bool = True
    """whether its functions are drawn by --data-seed"""


LABELS, FAST = ("--no-physics", "--data"), ("--compile",)
PLAIN = ("--field", "deeponet", "--field.latent", "128", "--steps", "14000")  # more seconds than the default
SOLVED = ("--steps", "2")  # the start alone: two steps of a network of its size change nothing
TRACED = ("--no-physics", "--data", "--solved", "6000", "--n-points", "256", "--steps", "14000")
FRONTS = ("--nu", "0.001", "--field.features", "32")
CASES = {
    "antiderivative": Case("deeponet_antiderivative", (), 1e-3, "2.5e-3"),
    "antiderivative_labels": Case("deeponet_antiderivative", LABELS, 1e-4, "5.0e-3"),
    "antiderivative_solved": Case("deeponet_antiderivative", ("--solved", "500", *SOLVED), 1e-6, "2.5e-3"),
    "diffusion_reaction_solved": Case("deeponet_diffusion_reaction", ("--solved", "300", *SOLVED), 1e-4, "5.33e-3"),
    "burgers_solved": Case("deeponet_burgers", ("--solved", "500", *SOLVED), 1e-3, "1.42e-2"),
    "burgers_001_solved": Case("deeponet_burgers", ("--nu", "0.001", "--solved", "1000", *SOLVED), 5e-3, "3.49e-2"),
    "diffusion_reaction": Case("deeponet_diffusion_reaction", (), 2e-3, "5.33e-3"),
    "diffusion_reaction_labels": Case("deeponet_diffusion_reaction", LABELS, 0, "9.71e-3"),
    "advection": Case("deeponet_advection", FAST, 5e-3, "2.39e-2, 9.50e-3"),
    "advection_deeponet": Case("deeponet_advection", PLAIN, 0, "2.39e-2"),
    "advection_solved": Case("deeponet_advection", TRACED, 2e-3, "2.39e-2, 9.50e-3"),
    "burgers": Case("deeponet_burgers", FAST, 5e-3, "1.42e-2"),
    "burgers_001": Case("deeponet_burgers", (*FRONTS, *FAST), 2e-2, "3.49e-2"),
    "darcy": Case("deeponet_darcy", (), 2e-2, "2.32e-2 (POD), 2.41e-2 (FNO)", drawn=False),
    "darcy_deeponet": Case("deeponet_darcy", ("--field", "deeponet"), 0, "2.98e-2", drawn=False),
}


def measure(name: str, seed: int, said: argparse.Namespace) -> Row:
    """Run one case with one seed."""
    case = CASES[name]
    words = [*case.words, "--seed", str(seed), "--device", said.device]
    words += ["--data-seed", str(seed)] if case.drawn else []
    request = read_request(find(case.what), words, f"nfsolve run {case.what}")
    options: dict[str, Any] = dict(request.options)
    stages = options["stages"]
    options["stages"] = tuple(dataclasses.replace(s, steps=round(s.steps * said.scale)) for s in stages)
    begin = time.process_time()
    out = said.runs and said.runs / f"{name}_{seed}_{said.device}_{said.scale:g}"
    if out is not None and (out / "config.json").exists():
        solution = nf.resume(out, report=None)
    else:
        solution = nf.solve(request.problem, **options, out=out, report=None)
    row = {"case": name, "seed": seed, "scale": said.scale, "words": " ".join(words), "goal": case.goal}
    row |= {"field": type(solution.field).__name__} | whole_scores(solution)
    if "--solved" in case.words:  # the clock of a run begins when its field has been made
        row["cpu_seconds"] = round(time.process_time() - begin, 1)
    return row | {"device": said.device, "threads": said.threads, **stamp(said.threads)}


def table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown, one line for each case, device and scale."""
    header = ["case", "field", "error, each seed", "mean and deviation", "deviation over functions", "worst function"]
    header += ["goal", "published"]
    header += ["other functions", "error of the labels", "processor seconds", "steps", "on"]
    groups: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (list(CASES).index(row["case"]), row["device"], row["scale"], row["seed"])):
        groups.setdefault((row["case"], row["device"], row["scale"]), []).append(row)
    lines = []
    for (name, device, scale), group in groups.items():
        errors = [row["relative_l2"] for row in group]
        spread = f" +- {statistics.stdev(errors):.1e}" if len(errors) > 1 else ", one seed"
        floor = max(v for row in group for key, v in row.items() if key.startswith("reference_floor"))
        ood = [row["relative_l2_ood"] for row in group if "relative_l2_ood" in row]
        clock = "seconds" if device == "cuda" else "cpu_seconds"
        lines.append([
            name, group[0]["field"], ", ".join(f"{e:.2e}" for e in errors), f"{statistics.mean(errors):.2e}{spread}",
            f"{statistics.mean(row['relative_l2_std'] for row in group):.1e}",
            f"{max(row['relative_l2_max'] for row in group):.1e}",
            f"{CASES[name].goal:.0e}" if CASES[name].goal else "-", CASES[name].published,
            f"{statistics.mean(ood):.1e}" if ood else "-",
            f"{floor:.0e}", f"{statistics.mean(row[clock] for row in group):.0f}", str(group[0]["steps"]),
            device if scale == 1 else f"{device}, steps times {scale:g}",
        ])  # fmt: skip
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return f"{INTRO.strip()}\n\n{about}\n\n{markdown(header, lines)}"


INTRO = """
# Operators, as measured

Relative L2 error, mean over the test functions (500 for the antiderivative, 200 for Darcy flow, 100 elsewhere), by the
default of each problem but for the words in operators.json; a seed is that of weights and functions. "published" is
what the authors name for their own functions and budgets: Wang, Wang & Perdikaris (Science Advances 2021; J. Sci.
Comput. 2022) and Lu et al. (CMAME 2022). "other functions" have another correlation length than those of the training.
Rows called "solved" have no training: the equations are solved for some functions (`--solved`), and a regression on
these solutions is all that there is; their seconds are those of all of it, with the test functions and the scores.
Made by `python -m scripts.operators_table`.
"""


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, help="folder for the run folders, from which killed runs go on")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    path = said.folder / "operators.json"
    for seed in range(said.seeds):
        for name in said.only:
            key = (name, seed, said.device, said.scale)
            if any((r["case"], r["seed"], r["device"], r["scale"]) == key for r in read_rows(path)):
                continue
            row = measure(name, seed, said)
            write_rows(path, [*read_rows(path), row])
            (said.folder / "operators.md").write_text(table(read_rows(path)))
            print(name, {k: row[k] for k in ("seed", "relative_l2", "cpu_seconds", "steps", "stopped")}, flush=True)


if __name__ == "__main__":
    main()
