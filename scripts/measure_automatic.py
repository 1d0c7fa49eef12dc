"""Measure the automatic recipe: its error, the error that it estimates by itself, and its seconds.

    python -m scripts.measure_automatic                            # problems that no recipe was made for, seed 0
    python -m scripts.measure_automatic --seeds 0 1 2
    python -m scripts.measure_automatic --gallery                  # PDEs of the gallery, without their own recipes
    python -m scripts.measure_automatic --only Heat Kovasznay --again
    python -m scripts.measure_automatic --files plate.py "waves.py, speed=2" --seconds 120    # a user's own files

Each run is a process of its own. Rows are added to benchmarks/automatic.json one by one, so that a killed measurement
goes on where it was; benchmarks/automatic.md is the table made from them.
"""

import argparse
import json
import statistics
from pathlib import Path
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


def problem_of(case: str, suite: str) -> Any:
    """Build a problem by the name of its case."""
    from nfsolve.problem.registry import find

    if suite == "gallery":
        return find(case.split(",")[0])(**GALLERY[case])
    if suite == "files":
        file, *words = case.split(",")
        pairs = (word.split("=") for word in words)
        return find(file)(**{name.strip(): float(value) for name, value in pairs})
    return next(made for made in _own() if made.__name__ == case)()


def keys_of(arguments: argparse.Namespace) -> list[Row]:
    """Return what is to be measured: suite, case, seed and budget of each run."""
    if arguments.files:
        suite, names = "files", arguments.files
    elif arguments.gallery:
        suite, names = "gallery", arguments.only or list(GALLERY)
    else:
        suite, names = "own", arguments.only or [case.__name__ for case in _own()]
    return [
        {"suite": suite, "case": case, "seed": seed, "budget": arguments.seconds}
        for case in names
        for seed in arguments.seeds
    ]


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
    path = arguments.rows
    measure_rows(
        path, "scripts.measure_automatic", keys_of(arguments), arguments.threads, arguments.again, arguments.processor
    )
    rows = read_rows(path)
    right = [is_right(row) for row in rows if isinstance(row["estimate"], float)]
    head = (
        f"Estimates within a factor {WITHIN:g} of the truth: {sum(right)} of {len(right)} given, {len(rows)} runs.\n\n"
    )
    suites = {suite: [row for row in rows if row["suite"] == suite] for suite in ("own", "gallery", "files")}
    parts = [f"## {suite}\n\n{table(own)}\n" for suite, own in suites.items() if own]
    path.with_suffix(".md").write_text("# The automatic recipe\n\n" + head + "\n".join(parts))


def main() -> None:
    """Read the command line."""
    parser = options(__doc__, 60.0)
    parser.add_argument("--only", nargs="+", default=[], help="names of cases")
    parser.add_argument("--gallery", action="store_true", help="PDEs of the gallery instead of problems of our own")
    parser.add_argument("--files", nargs="+", default=[], help="files with one PDE each, with numbers that it has")
    parser.add_argument("--rows", type=Path, default=ROWS, help="file of the rows")
    arguments = parser.parse_args()
    if arguments.row:
        key = json.loads(arguments.row)
        problem = problem_of(key["case"], key["suite"])
        recipe = None if key["suite"] == "files" else "auto"  # a user's file is solved as the command line would
        run = (key["seed"], key["budget"], key["threads"], key["processor"], recipe)
        print(json.dumps(solve_automatically(problem, *run)[1]))
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
