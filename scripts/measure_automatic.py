"""Measure the automatic recipe: its error, the error that it estimates by itself, and its seconds.

    python -m scripts.measure_automatic                            # problems that no recipe was made for, seed 0
    python -m scripts.measure_automatic --seeds 0 1 2
    python -m scripts.measure_automatic --gallery                  # PDEs of the gallery, without their own recipes
    python -m scripts.measure_automatic --only Heat Kovasznay --again

Each run is a process of its own. Rows are added to benchmarks/automatic.json one by one, so that a killed measurement
goes on where it was; benchmarks/automatic.md is the table made from them.
"""

import argparse
import json
import statistics
from typing import Any

from scripts.measuring import FOLDER, Row, chosen, markdown, measure_rows, options, read_rows, solve_automatically

ROWS = FOLDER / "automatic.json"
GALLERY = {
    "poisson": {},
    "helmholtz": {},
    "convection, beta 30": {},
    "convection, beta 80": {"beta": 80.0},
    "reaction": {},
    "wave": {},
    "burgers": {},
    "allen_cahn": {},
    "kdv": {},
    "kuramoto_sivashinsky": {},
    "poisson_5d": {},
    "lshape": {},
    "cavity, Re 400": {"reynolds": 400.0},
}
WITHIN = 3.0  # factor on the true error within which an estimate is right


def problem_of(case: str, gallery: bool) -> Any:
    """Build a problem by the name of its case."""
    if gallery:
        from nfsolve.problem.registry import find

        return find(case.split(",")[0])(**GALLERY[case])
    return next(made for made in _own() if made.__name__ == case)()


def _own() -> list[Any]:
    from tests.automatic import cases, later_cases, more_cases

    return [*cases.CASES, *more_cases.CASES, *later_cases.CASES]


def table(rows: list[Row]) -> str:
    """Lay out medians over seeds, with how many estimates were within a factor of the truth."""
    lines = []
    keys = dict.fromkeys((row["suite"], row["case"], row["budget"]) for row in rows)
    for suite, case, budget in keys:
        own = [row for row in rows if (row["suite"], row["case"], row["budget"]) == (suite, case, budget)]
        errors = [row["error"] for row in own]
        told = [row["estimate"] for row in own if isinstance(row["estimate"], float)]
        right = sum(is_right(row) for row in own)
        lines.append(
            [
                case,
                f"{statistics.median(errors):.1e}",
                f"{min(errors):.1e} to {max(errors):.1e}" if len(errors) > 1 else "-",
                f"{statistics.median(told):.1e}" if told else "not to be trusted",
                f"{right} of {len(told)}" + (f", {len(own) - len(told)} not given" if len(told) < len(own) else ""),
                f"{statistics.median([row['seconds'] for row in own]):.1f}",
                chosen(own[0]),
            ]
        )
    header = ["problem", "error", "over seeds", "estimate", f"within {WITHIN:g}x", "seconds", "chosen"]
    return markdown(header, lines)


def is_right(row: Row) -> bool:
    """Whether an estimate lies within the factor of the true error, or both are below the floor of the reference."""
    estimate = row["estimate"]
    if not isinstance(estimate, float) or not estimate > 0:
        return False
    floor = 3 * max(row["floor"], 1e-14)
    return max(row["error"], floor) / WITHIN <= max(estimate, floor) <= WITHIN * max(row["error"], floor)


def measure(arguments: argparse.Namespace) -> None:
    """Measure what has no row yet, each in a process of its own."""
    names = list(GALLERY) if arguments.gallery else [case.__name__ for case in _own()]
    suite = "gallery" if arguments.gallery else "own"
    cases = [(case, seed) for case in arguments.only or names for seed in arguments.seeds]
    keys = [{"suite": suite, "case": case, "seed": seed, "budget": arguments.seconds} for case, seed in cases]
    measure_rows(ROWS, "scripts.measure_automatic", keys, arguments.threads, arguments.again, arguments.processor)
    rows = read_rows(ROWS)
    right = [is_right(row) for row in rows if isinstance(row["estimate"], float)]
    head = (
        f"Estimates within a factor {WITHIN:g} of the truth: {sum(right)} of {len(right)} given, {len(rows)} runs.\n\n"
    )
    parts = [f"## {suite}\n\n{table([r for r in rows if r['suite'] == suite])}\n" for suite in ("own", "gallery")]
    ROWS.with_suffix(".md").write_text("# The automatic recipe\n\n" + head + "\n".join(parts))


def main() -> None:
    """Read the command line."""
    parser = options(__doc__, 60.0)
    parser.add_argument("--only", nargs="+", default=[], help="names of cases")
    parser.add_argument("--gallery", action="store_true", help="PDEs of the gallery instead of problems of our own")
    arguments = parser.parse_args()
    if arguments.row:
        key = json.loads(arguments.row)
        problem = problem_of(key["case"], key["suite"] == "gallery")
        print(json.dumps(solve_automatically(problem, key["seed"], key["budget"], key["threads"], key["processor"])[1]))
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
