"""Measure the problems of PINNacle: error, estimate, seconds, and the best published error.

    NFSOLVE_DATA=FOLDER python -m scripts.pinnacle              # what has no row yet, seed 0, 15 minutes each at most
    python -m scripts.pinnacle --only PNd HNd --seeds 0 1 2
    python -m scripts.pinnacle --only PNd --seconds 20 --again

    python -m scripts.pinnacle --recipe auto                    # also where a problem brings a recipe of its own

A problem with a recipe of its own is solved by that, others by the automatic one. Each run is a process of its own.
Rows are added to benchmarks/pinnacle.json one by one, so that a killed measurement goes on where it was;
benchmarks/pinnacle.md is the table made from them. All references are our own; where the benchmark's file is found, the
error against that is in the table too.
"""

import importlib
import json
import math
import statistics
from typing import Any

from scripts.measuring import FOLDER, Row, chosen, markdown, measure_rows, options, read_rows, solve_automatically, told

ROWS = FOLDER / "pinnacle.json"
PROBLEMS = {  # in the order of the benchmark
    "Burgers1d": "burgers1d:Burgers1d",
    "Burgers2d": "burgers2d:Burgers2d",
    "Poisson2d-C": "poisson2d_c:Poisson2dC",
    "Poisson2d-CG": "poisson2d_cg:Poisson2dCG",
    "Poisson2d-MS": "poisson2d_ms:Poisson2dMS",
    "Poisson3d-CG": "poisson3d_cg:Poisson3dCG",
    "Heat2d-VC": "heat2d_vc:Heat2dVC",
    "Heat2d-MS": "heat2d_ms:Heat2dMS",
    "Heat2d-CG": "heat2d_cg:Heat2dCG",
    "Heat2d-LT": "heat2d_lt:Heat2dLT",
    "NS2d-C": "ns2d_c:NS2dC",
    "NS2d-CG": "ns2d_cg:NS2dCG",
    "NS2d-LT": "ns2d_lt:NS2dLT",
    "Wave1d-C": "wave1d_c:Wave1dC",
    "Wave2d-CG": "wave2d_cg:Wave2dCG",
    "Wave2d-MS": "wave2d_ms:Wave2dMS",
    "GS": "gs:GS",
    "KS": "ks:KS",
    "PNd": "pnd:PNd",
    "HNd": "hnd:HNd",
    "PInv": "pinv:PInv",
    "HInv": "hinv:HInv",
}


def class_of(name: str) -> Any:
    """Return the class of a problem by what the benchmark calls it."""
    module, _, cls = PROBLEMS[name].partition(":")
    return getattr(importlib.import_module(f"problems.pinnacle.{module}"), cls)


def recipe_of(name: str, asked: str) -> str:
    """Return whose recipe solves a problem, ``own`` or ``auto``, where ``own`` is asked for: not all bring one."""
    from nfsolve.problem import is_starting_point

    return "auto" if asked == "auto" or is_starting_point(class_of(name)) else "own"


def run(name: str, seed: int, seconds: float, threads: int, processor: bool, recipe: str) -> Row:
    """Solve a problem; where the benchmark's own file is not its reference, score it on that as well."""
    problem = class_of(name)()
    solution, row = solve_automatically(
        problem, seed, seconds, threads, processor, "auto" if recipe == "auto" else None
    )
    if recipe == "own":
        row["chosen"] = first_line(problem.recipe.__doc__)
    return row | {"error_on_file": error_on_file(problem, solution.field)}


def first_line(text: str | None) -> str:
    """Return what a docstring says first, without the full stop."""
    return (text or "").strip().partition("\n")[0].removesuffix(".")


def error_on_file(problem: Any, field: Any) -> float | None:
    """Return the relative L2 error on the benchmark's file, which is less good than the reference; None without it."""
    import torch

    from nfsolve import InputError
    from nfsolve.metrics import relative_l2
    from problems.pinnacle._benchmark import read_export

    if not problem.public_file:
        return None
    told = tuple(problem.in_file.split()) or problem.outputs
    try:
        points, values = read_export(problem.public_file, type(problem), problem.domain.names, told)
    except InputError:
        return None
    like = next(field.parameters())
    with torch.no_grad():
        return float(relative_l2(field(points.to(like))[:, : len(told)], values.to(like)))


def kind_of(row: Row) -> tuple[str, float, str]:
    """Return what a line of the table is about: the problem, the time limit and whose recipe."""
    return row["problem"], row["budget"], row.get("recipe", "auto")


def table(rows: list[Row]) -> str:
    """Lay out medians over seeds, with the best published errors."""
    lines = []
    for name, budget, recipe in dict.fromkeys(map(kind_of, rows)):
        cls = class_of(name)
        own = [row for row in rows if kind_of(row) == (name, budget, recipe)]
        error = statistics.median(row["error"] for row in own)
        # the median of errors has an estimate beside it: that of the same run
        middle = min(own, key=lambda row: abs(row["error"] - error))
        on_file = "-" if middle["error_on_file"] is None else f"{middle['error_on_file']:.1e}"
        lines.append(
            [
                name,
                "unknown" if math.isnan(error) else f"{error:.1e}",
                told(middle["estimate"]),
                f"{cls.published:.1e}",
                # below its floor an error says nothing
                "-" if math.isnan(error) else f"{cls.published / max(error, middle['floor']):.0e}",
                "-" if math.isnan(error) else f"{middle['floor']:.0e}",
                on_file,
                f"{statistics.median(row['seconds'] for row in own):.0f} of {budget:g}",
                str(len(own)),
                "automatic" if recipe == "auto" else "its own",
                middle["chosen"] if recipe == "own" else chosen(middle),
                cls.repaired or "nothing",
            ]
        )
    order = list(PROBLEMS)
    header = ["problem", "error", "estimate", "best published", "times better", "error of the reference"]
    header += ["error on the benchmark's file", "seconds", "seeds", "recipe", "what it is", "repaired"]
    return markdown(header, sorted(lines, key=lambda line: order.index(line[0])))


def main() -> None:
    """Read the command line."""
    parser = options(__doc__, 900.0)
    parser.add_argument("--only", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--recipe", default="own", choices=["own", "auto"], help="whose recipe, where there are two")
    arguments = parser.parse_args()
    if arguments.row:
        key = json.loads(arguments.row)
        print(json.dumps(run(*(key[k] for k in ("problem", "seed", "budget", "threads", "processor", "recipe")))))
        return
    cases = [(name, seed) for name in arguments.only for seed in arguments.seeds]
    keys = [
        {"problem": name, "seed": seed, "budget": arguments.seconds, "recipe": recipe_of(name, arguments.recipe)}
        for name, seed in cases
    ]
    measure_rows(ROWS, "scripts.pinnacle", keys, arguments.threads, arguments.again, arguments.processor)
    rows = read_rows(ROWS)
    ROWS.with_suffix(".md").write_text(f"# PINNacle\n\n{table(rows)}")


if __name__ == "__main__":
    main()
