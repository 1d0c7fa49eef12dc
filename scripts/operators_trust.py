"""Measure predicted errors of operators, and refinement of their answers from a cold and from a warm start.

    python -m scripts.operators_trust                     # one seed of each case, one thread
    python -m scripts.operators_trust --only refine

Rows are added to benchmarks/operators_trust.json one by one; benchmarks/operators_trust.md is made from them.
"""

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

import nfsolve as nf
from nfsolve.optim import GaussNewton
from nfsolve.problem.operator.scores import relative_errors
from nfsolve.problem.operator.single import single
from nfsolve.problem.operator.trust import Trust
from nfsolve.run.refine import SMALL
from problems.operators.antiderivative import Antiderivative
from problems.operators.diffusion_reaction import DiffusionReaction
from scripts.compare_operators import pairs
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, write_rows

# case -> problem, steps of its training
TRUSTED: dict[str, tuple[Any, int]] = {
    "Burgers pairs, FNO": (partial(pairs, 0), 400),
    "antiderivative, DeepONet": (partial(Antiderivative, n_tests=400), 400),
}
# case -> problem, steps of its training, error to reach, points
REFINED: dict[str, tuple[Any, int, float, int]] = {
    "antiderivative": (partial(Antiderivative, n_tests=20), 400, 1e-8, 100),
    "antiderivative, solved first": (partial(Antiderivative, n_tests=20, solved=500), 2, 1e-8, 100),
    "diffusion-reaction": (partial(DiffusionReaction, batch=32, n_points=64, n_tests=20), 600, 1e-6, 400),
}
FUNCTIONS = 2  # that are refined
LIMIT = 20.0  # processor seconds of a solution


def trusted(case: str) -> Row:
    """Train, calibrate on half of the held-out functions, and say what bounds cover of the other half."""
    make, steps = TRUSTED[case]
    problem = make()
    solution = nf.solve(problem, steps=steps, report=None)
    begin = time.process_time()
    trust = Trust(solution.trained, solution.data)
    row = {"error": solution.metrics["relative_l2"], "coverage": trust.coverage, "tested": trust.tested}
    row |= {"correlation": trust.correlation, "cpu_seconds": round(time.process_time() - begin, 2)}
    if "ood" in solution.data:  # functions of another kind, for which no bound is promised
        other = solution.data["ood"]
        with torch.no_grad():
            values = problem.predict(solution.field, other.functions, solution.data["grid"].points)
        errors = relative_errors(values, other.truth).amax(1)
        row["coverage_ood"] = float((errors <= trust(other.values)[1]).double().mean())
    return row


def refined(case: str) -> Row:
    """Return processor seconds to an error, from the operator's answer and without it, for a few functions."""
    make, steps, goal, points = REFINED[case]
    problem = make()
    operator = problem.trained(nf.solve(problem, steps=steps, report=None).field)
    space = problem.spaces()["f"]
    drawn = space.sample(FUNCTIONS, nf.generator(0, "refined"))
    row: Row = {"goal": goal, "start": [], "warm": [], "cold": []}
    for c in drawn:

        def function(x: torch.Tensor, c: torch.Tensor = c) -> torch.Tensor:
            return space.basis(x) @ c[:, None].to(x)

        one = single(operator, function, n_points=points)
        cold = partial(nf.solve, one, partial(SMALL.func, **SMALL.keywords), GaussNewton, steps=400, dtype="float64")
        for kind, start in {
            "warm": partial(nf.refine, operator, function, n_points=points, steps=400),
            "cold": cold,
        }.items():
            row[kind].append(_seconds(start, goal, row["start"] if kind == "warm" else []))
    return row


def _seconds(start: Any, goal: float, errors: list[float]) -> float | None:
    """Run until the error is reached; None where it is not."""
    begin, reached = time.process_time(), []

    def told(row: dict[str, Any]) -> bool:
        now = row.get("relative_l2")
        if now is None:
            return True
        if row["step"] == 0:
            errors.append(now)
        if now <= goal:
            reached.append(time.process_time() - begin)
        return not reached and time.process_time() - begin < LIMIT

    start(report=told, log_every=1)
    return round(reached[0], 2) if reached else None


def table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown."""
    parts = [INTRO.strip()]
    lines = [
        [r["case"], f"{r['error']:.1e}", f"{r['coverage']:.1%} of {r['tested']}", f"{r['correlation']:.2f}",
         f"{r['coverage_ood']:.1%}" if "coverage_ood" in r else "-", f"{r['cpu_seconds']:.1f}"]
        for r in rows if r["kind"] == "trust"
    ]  # fmt: skip
    if lines:
        head = [
            "operator",
            "error",
            "bounds for 90 % hold for",
            "rank correlation",
            "functions of another kind",
            "seconds",
        ]
        parts += ["## Predicted errors", markdown(head, lines)]
    lines = []
    for r in (r for r in rows if r["kind"] == "refine"):
        said = {kind: ", ".join("not reached" if s is None else f"{s:g}" for s in r[kind]) for kind in ("warm", "cold")}
        lines.append([
            r["case"], f"{statistics.mean(r['start']):.1e}", f"{r['goal']:.0e}", said["warm"], said["cold"],
        ])  # fmt: skip
    if lines:
        head = ["problem", "error of the operator", "error to reach", "seconds, warm", "seconds, cold"]
        parts += ["## Refinement", markdown(head, lines)]
    if rows:
        parts.append(f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}.")
    return "\n\n".join(parts) + "\n"


INTRO = """
# Operators: how good an answer is, and how to make it better

Predicted errors are those of `nfsolve.problem.operator.trust`: half of the functions held out calibrate bounds for 90 %
of functions, and the other half says for how many they hold; "functions of another kind" have another correlation
length, and nothing is promised for them. Refinement is `nf.refine`, the operator's answer plus a small network by
Gauss-Newton, for two functions, warm; cold is the same network, optimizer and points without the operator. Processor
seconds of one thread, with those of the score after each step; 20 at most, and 400 steps. Operators were trained for a
few hundred steps only; "solved first" starts from solutions of its equations and has two steps.
Made by `python -m scripts.operators_trust`.
"""


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=["trust", "refine"], default=["trust", "refine"])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(1)
    path = said.folder / "operators_trust.json"
    for kind, cases, measure in (("trust", TRUSTED, trusted), ("refine", REFINED, refined)):
        for case in cases if kind in said.only else ():
            if any((r["kind"], r["case"]) == (kind, case) for r in read_rows(path)):
                continue
            row = {"kind": kind, "case": case, **measure(case), **stamp(1)}
            write_rows(path, [*read_rows(path), row])
            (said.folder / "operators_trust.md").write_text(table(read_rows(path)))
            print(row, flush=True)


if __name__ == "__main__":
    main()
