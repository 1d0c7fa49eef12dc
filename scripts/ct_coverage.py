"""Measure how often the intervals of `problems.ct.ensemble` hold the truth of phantoms, which no interval has seen.

Two seeds and a twin each, with the default recipe; the objects are those of `ct_phantom` and `scripts.ct_made`.
Coverage is the share of pixels, and inside the object that of pixels where the truth is not 0; beside it stands the
coverage of two standard deviations of the seeds alone, as before there were twins. Rows are added to
benchmarks/ct_coverage.json one by one, so that the command goes on where it stopped; the table is
benchmarks/ct_coverage.md.

    python -m scripts.ct_coverage
    python -m scripts.ct_coverage --only "pieces, 30 views"
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from problems.ct._plane import PlaneTomography
from problems.ct.ensemble import ensemble
from problems.ct.phantom import CTPhantom
from scripts.ct_made import Made
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, write_rows

PATH = FOLDER / "ct_coverage.json"
SEEDS = (0, 1)

CASES: dict[str, Callable[[], PlaneTomography]] = {
    "head, 40 views, 1e5 photons": partial(CTPhantom, size=64, counts=1e5, classical=()),
    "pieces, 30 views, 3e4 photons": partial(Made, kind="pieces", views=30, counts=3e4, seed=201),
    "texture, 40 views, 1e5 photons": partial(Made, kind="texture", views=40, counts=1e5, seed=202),
    "smooth, 40 views, 1e4 photons": partial(Made, kind="smooth", views=40, counts=1e4, seed=203),
    "boxes, 45 views over 90 degrees": partial(Made, kind="boxes", views=45, arc=90.0, counts=1e5, seed=204),
    "boxes, 16 views, no noise": partial(Made, kind="boxes", views=16, counts=0.0, seed=205),
}


def measured(name: str) -> Row:
    """Reconstruct one case from two seeds, with its twin."""
    began = time.process_time()
    found = ensemble(CASES[name](), SEEDS, report=None)
    assert found.reference is not None and found.half_width is not None
    error = (found.mean - found.reference).abs()
    alone = error <= 1.96 * found.spread
    inside = found.reference > 0
    return {
        "case": name,
        **found.metrics(),
        "seeds_coverage": float(alone.double().mean()),
        "seeds_coverage_inside": float(alone[inside].double().mean()),
        "seconds": round(time.process_time() - began, 1),
    }


def table(rows: list[Row]) -> str:
    """Lay out the coverage as Markdown."""
    header = [
        "case",
        "95% intervals hold the truth",
        "inside the object",
        "seeds alone",
        "inside",
        "rms half width / 1.96",
        "rms error",
        "seconds",
    ]
    lines = [
        [
            row["case"],
            *(f"{row[key]:.1%}" for key in ("ensemble_coverage", "ensemble_coverage_inside")),
            *(f"{row[key]:.1%}" for key in ("seeds_coverage", "seeds_coverage_inside")),
            f"{row['ensemble_half_width'] / 1.96:.2%}",
            f"{row['ensemble_error']:.2%}",
            f"{row['seconds']:g}",
        ]
        for name in CASES
        for row in rows
        if row["case"] == name
    ]
    about = " ".join(sorted({f"{r['machine']}; {r['version']}; {r['date']}." for r in rows}))
    return (
        "# Error bars of tomography, as measured\n\nOf the mean of two seeds, with intervals from a twin. Sizes are "
        "relative to the rms of the image. The cases were chosen before any was run, and nothing was tuned on them. "
        f"Made by `python -m scripts.ct_coverage`. {about}\n\n{markdown(header, lines)}\n"
    )


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of cases; default all")
    parser.add_argument("--threads", type=int, default=1)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    for name in CASES:
        if said.only and not any(part in name for part in said.only):
            continue
        if name not in {row["case"] for row in read_rows(PATH)}:
            row = {**measured(name), **stamp(said.threads)}
            write_rows(PATH, [*read_rows(PATH), row])
            print(row, flush=True)
    PATH.with_suffix(".md").write_text(table(read_rows(PATH)))


if __name__ == "__main__":
    main()
