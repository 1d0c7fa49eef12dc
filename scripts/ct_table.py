"""Tomography: the field beside filtered back-projection, SIRT and total variation, on phantoms and real data.

Every method sees the same data. The weight of the classical total variation is the best of those tried by the score
against the reference itself, which favours it: WEIGHTS, and by factors of two beyond them where the best is at an end;
so is its time, which is that of the field or, if that is longer, that of CONVERGED iterations, without the search.
The field has the defaults of its problem: its weight is that which best predicts views that are left out, and no
reference is looked at. That the object is of one material, in the limited arc, is knowledge that total variation does
not get. PSNR "inside" is that within the circle that every view sees; "unseen" is the relative misfit of views of the
file that no method was given, in percent. It needs no reference: that of real scans is a filtered back-projection of
all views, with noise of its own, some of it that of the views that the methods see. Every row is kept at once in
benchmarks/ct.json, and the same command goes on where it was stopped; rows that were measured before the date --since
are measured again. The table goes to benchmarks/ct.md.

    NFSOLVE_DATA=... python -m scripts.ct_table
    NFSOLVE_DATA=... python -m scripts.ct_table --only phantom tooth --seeds 1 --since 2026-12-01
"""

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

import torch

import nfsolve
from nfsolve.metrics import larger_is_better
from nfsolve.problem.registry import find
from scripts.measuring import FOLDER, markdown, read_rows, stamp, whole_scores, write_rows

PATH = FOLDER / "ct.json"
WEIGHTS = (1e-4, 2e-4, 4e-4, 8e-4)  # of the contrast
LEAST, MOST = 1e-5, 1e-1  # likewise, where the search ends
SCORES = ("psnr", "psnr_inside", "ssim", "matthews")
NAMES = {"fbp": "FBP", "fdk": "FDK", "sirt": "SIRT", "cgls": "CGLS"}
METHODS = ("field", "fbp", "fdk", "sirt", "cgls", "tv")
SEARCH, CONVERGED, OF_A_VOLUME = 400, 1500, 600  # iterations of the classical total variation


@dataclass(frozen=True)
class Case:
    """One row group: a problem with its options, the score that decides, and what the field is to reach."""

    title: str
    problem: str
    options: dict[str, Any] = field(default_factory=dict)
    score: str = "psnr"
    goal: str = "best of all rows"
    weights: tuple[float, ...] = WEIGHTS
    converged: int = 0  # iterations of the classical total variation, CONVERGED if 0


CASES = {
    "phantom": Case("Shepp-Logan 128 x 128, 40 views", "ct_phantom", goal=">= 36 dB, 45 s"),
    "counts": Case(
        "Shepp-Logan 256 x 256, 40 views, 1e5 photons",
        "ct_phantom",
        {"size": 256, "counts": 1e5},
        goal=">= 36 dB, 90 s",
    ),
    "abdomen": Case(
        "abdomen 256 x 256, 60 views, 1e5 photons",
        "ct_scan",
        {"data": "ct_abdomen_tcia_pancreas0001_512.npz", "size": 256},
    ),
    "htc": Case("HTC 2022 01a, 60 of 720 views", "ct_scan", {"data": "ct_htc2022_01a.npz", "every": 12, "size": 256}),
    "limited": Case(
        "HTC 2022 04b, its arc of 60 degrees, 128 x 128",
        "ct_scan",
        {"data": "ct_htc2022_04b.npz", "limited": True, "size": 128, "peak": 0.036, "one_material": True},
        score="matthews",
    ),
    "tooth": Case("tooth, 30 of 181 views", "ct_scan", {"data": "ct_tooth_aps_sinogram.npz", "every": 6, "size": 256}),
    "cone": Case(
        "cone beam, head 64 x 64 x 64, 50 views",
        "ct_cone",
        {"data": "ct_tigre_head_128.npz"},
        goal=">= FDK + 6 dB, best of all rows",
        weights=(1e-3, 2e-3),
        converged=OF_A_VOLUME,
    ),
    "ellipsoids": Case(
        "cone beam, ellipsoids 64 x 64 x 64, 50 views",
        "ct_cone",
        weights=(1e-3, 2e-3),
        converged=OF_A_VOLUME,
    ),
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Tomography beside the classical methods.")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--since", default="", help="measure rows again that are older than this date, 2026-12-01, say")
    said = parser.parse_args()
    torch.set_num_threads(1)
    for name in said.only:
        for seed in range(said.seeds):
            if ("field", seed) not in _known(name, said.since):
                _measure_field(name, CASES[name], seed)
        if ("tv", 0) not in _known(name, said.since):
            _measure_classical(name, CASES[name], said.since)
        (FOLDER / "ct.md").write_text(table())


def _known(name: str, since: str) -> set[tuple[str, int]]:
    """Return methods and seeds of the rows of a case that are no older than a date."""
    return {(row["method"], row["seed"]) for row in read_rows(PATH) if row["case"] == name and row["date"] >= since}


def _measure_field(name: str, case: Case, seed: int) -> None:
    problem = find(case.problem)(**case.options, classical=())
    solution = nfsolve.solve(problem, seed=seed, device="cpu", report=None, out=None)
    found = whole_scores(solution)
    row = _row(name, "field", seed, found, found["cpu_seconds"], found["seconds"])
    _save(name, row | ({"weight": problem.fine_weight} if hasattr(problem, "fine_weight") else {}))


def _measure_classical(name: str, case: Case, since: str) -> None:
    classical = ("fdk", "sirt", "cgls") if case.problem == "ct_cone" else ("fbp", "sirt")
    problem = find(case.problem)(**case.options, classical=classical)
    data = problem.load("cpu", torch.float32)
    for method, compute in problem.baselines(data, lambda: None).items():
        if (method, 0) not in _known(name, since):
            start = time.process_time()
            found = compute()
            spent = time.process_time() - start
            _save(name, _row(name, method, 0, problem.scores(found.image, data), spent, found.seconds))
    _save(name, _best_total_variation(name, case, problem, data))


def _best_total_variation(name: str, case: Case, problem: Any, data: Any) -> dict[str, Any]:
    tried: dict[float, float] = {}
    new, best = list(case.weights), case.weights[0]
    start = time.process_time()
    while new:
        images = {weight: problem.total_variation(data, weight, SEARCH).image for weight in new}
        tried |= {weight: problem.scores(image, data)[case.score] for weight, image in images.items()}
        best = (max if larger_is_better(case.score) else min)(tried, key=lambda weight: tried[weight])
        new = [weight for weight in (best / 2, 2 * best) if weight not in tried and LEAST < weight < MOST]
    each = (time.process_time() - start) / (SEARCH * len(tried))
    seconds = [row["cpu_seconds"] or 0.0 for row in read_rows(PATH) if (row["case"], row["method"]) == (name, "field")]
    iterations = max(case.converged or CONVERGED, *(round(spent / each) for spent in [*seconds, 0.0]))
    start = time.process_time()
    final = problem.total_variation(data, best, iterations)
    row = _row(name, "tv", 0, problem.scores(final.image, data), time.process_time() - start, final.seconds)
    return row | {"weight": best, "gap": final.gap, "tried": {f"{weight:g}": score for weight, score in tried.items()}}


def _row(case: str, method: str, seed: int, found: dict[str, Any], cpu: float | None, wall: float) -> dict[str, Any]:
    scores = {key: found[key] for key in (*SCORES, "unseen", "residual") if key in found}
    return {"case": case, "method": method, "seed": seed, **scores, "cpu_seconds": cpu, "seconds": wall, **stamp()}


def _save(name: str, new: dict[str, Any]) -> None:
    same = (name, new["method"], new["seed"])
    write_rows(PATH, [*(row for row in read_rows(PATH) if (row["case"], row["method"], row["seed"]) != same), new])
    print({key: value for key, value in new.items() if key not in ("machine", "date", "version")}, flush=True)


def table() -> str:
    """Lay out all rows: mean and standard deviation over seeds for the field."""
    lines = []
    for name, case in CASES.items():
        rows = [row for row in read_rows(PATH) if row["case"] == name]
        for method in sorted({row["method"] for row in rows}, key=METHODS.index):
            own = [row for row in rows if row["method"] == method]
            scores = [_over_seeds([row[key] for row in own if key in row]) for key in SCORES]
            seconds = [row["cpu_seconds"] or row["seconds"] for row in own]
            label = f"TV, weight {own[0]['weight']:g}, gap {own[0]['gap']:.0e}" if method == "tv" else method
            unseen = _over_seeds([100 * row["unseen"] for row in own if "unseen" in row])
            if method == "field":
                weight = own[0].get("weight")
                label = f"field, weight {weight:.2g}" if weight else "field of an older recipe"
            lines.append([case.title, label, *scores, unseen, f"{sum(seconds) / len(seconds):.1f}", case.goal])
    header = ["case", "method", "PSNR / dB", "inside / dB", "SSIM", "Matthews", "unseen / %", "seconds", "goal"]
    return f"# Tomography\n\n{__doc__ or ''}\n{in_one_look()}\n{markdown(header, lines)}"


def in_one_look() -> str:
    """Lay out who is ahead where: in each case the field, tuned total variation, and the best of the other rows."""
    lines = []
    for name, case in CASES.items():
        rows = [row for row in read_rows(PATH) if row["case"] == name]
        key = "psnr_inside" if rows and all("psnr_inside" in row for row in rows) else case.score
        unit, digits = (" dB", 1) if key.startswith("psnr") else ("", 3)
        found: dict[str, float] = {}
        for method in sorted({row["method"] for row in rows}, key=METHODS.index):
            own = [row[key] for row in rows if row["method"] == method]
            found[method] = sum(own) / len(own)
        if "field" not in found or len(found) < 2:
            continue
        others = {method: value for method, value in found.items() if method not in ("field", "tv")}
        best = max(others, key=lambda method: others[method]) if others else ""
        ahead = found["field"] - max(value for method, value in found.items() if method != "field")
        by = f"{abs(ahead):.{max(digits, 2)}f}{unit}"
        who = f"field, by {by}" if ahead > 0 else f"not the field, by {by}"
        shown = [f"{found[method]:.{digits}f}{unit}" if method in found else "-" for method in ("field", "tv")]
        beside = f"{NAMES.get(best, best)} {others[best]:.{digits}f}{unit}" if best else "-"
        lines.append([case.title + (", inside" if key == "psnr_inside" else ""), *shown, beside, who])
    return markdown(["scan", "field", "total variation, tuned on the score", "best of the others", "ahead"], lines)


def _over_seeds(values: list[float]) -> str:
    if not values:
        return ""
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)) ** 0.5
    digits = 2 if mean > 2 else 3
    return f"{mean:.{digits}f}" + (f" +- {spread:.{digits}f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
