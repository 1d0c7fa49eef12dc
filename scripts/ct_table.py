"""Tomography: the field beside filtered back-projection, SIRT and total variation, on phantoms and real data.

Every method sees the same data. The weight of the classical total variation is the best of those tried by the score
against the reference itself, which favours it: WEIGHTS, and by factors of two beyond them where the best is at an end.
The field has the defaults of its problem, or what CASES says, chosen once on seed 0, and three seeds; "mean of fields"
is the mean of their images, in the seconds of all of them. PSNR "inside" is that within the circle that every view
sees. Rows go to benchmarks/ct.json, the table to benchmarks/ct.md.

    NFSOLVE_DATA=... python -m scripts.ct_table
    NFSOLVE_DATA=... python -m scripts.ct_table --only phantom tooth --seeds 1
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
MEAN = "mean of fields"
METHODS = ("field", MEAN, "fbp", "fdk", "sirt", "cgls", "tv")
SEARCH, CONVERGED = 400, 1500  # iterations of the classical total variation


@dataclass(frozen=True)
class Case:
    """One row group: a problem with its options, the score that decides, and what the field is to reach."""

    title: str
    problem: str
    options: dict[str, Any] = field(default_factory=dict)
    score: str = "psnr"
    goal: str = "best of all rows"
    weights: tuple[float, ...] = WEIGHTS


CASES = {
    "phantom": Case("Shepp-Logan 128 x 128, 40 views", "ct_phantom", goal=">= 36 dB, 45 s"),
    "counts": Case(
        "Shepp-Logan 256 x 256, 40 views, 1e5 photons",
        "ct_phantom",
        {"size": 256, "counts": 1e5},
        goal=">= 36 dB, 90 s",
    ),
    "abdomen": Case(
        "abdomen 256 x 256, 60 views, 1e5 photons", "ct_scan", {"data": "ct_abdomen_tcia_pancreas0001_512.npz"}
    ),
    "htc": Case("HTC 2022 01a, 60 of 720 views", "ct_scan", {"data": "ct_htc2022_01a.npz", "every": 12, "tv": 0.1}),
    "limited": Case(
        "HTC 2022 04b, its arc of 60 degrees, 128 x 128",
        "ct_scan",
        {"data": "ct_htc2022_04b.npz", "limited": True, "size": 128, "peak": 0.036, "tv": 0.03, "one_material": True},
        score="matthews",
    ),
    "tooth": Case("tooth, 30 of 181 views", "ct_scan", {"data": "ct_tooth_aps_sinogram.npz", "every": 6, "tv": 0.1}),
    "cone": Case(
        "cone beam, head 64 x 64 x 64, 50 views",
        "ct_cone",
        {"data": "ct_tigre_head_128.npz"},
        goal=">= FDK + 6 dB",
        weights=(1e-3, 2e-3),
    ),
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Tomography beside the classical methods.")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="measure rows that are there already")
    said = parser.parse_args()
    torch.set_num_threads(1)
    for name in said.only:
        known = [row["method"] for row in read_rows(PATH) if row["case"] == name]
        if said.again or MEAN not in known or known.count("field") < said.seeds:
            _measure_fields(name, CASES[name], said.seeds)
        if said.again or "tv" not in known:
            _measure_classical(name, CASES[name])
    (FOLDER / "ct.md").write_text(table())


def _measure_fields(name: str, case: Case, seeds: int) -> None:
    problem, images, rows = find(case.problem)(**case.options, classical=()), [], []
    for seed in range(seeds):
        solution = nfsolve.solve(problem, seed=seed, device="cpu", report=None, out=None)
        found = whole_scores(solution)
        images.append(problem.image(solution.field, solution.data))
        rows.append(_row(name, "field", seed, found, found["cpu_seconds"], found["seconds"]))
        _save(name, rows[-1])
    scores = problem.scores(torch.stack(images).mean(0), solution.data)
    seconds = (sum(row[key] for row in rows) for key in ("cpu_seconds", "seconds"))
    _save(name, _row(name, MEAN, 0, scores, *seconds))


def _measure_classical(name: str, case: Case) -> None:
    classical = ("fdk", "sirt", "cgls") if case.problem == "ct_cone" else ("fbp", "sirt")
    problem = find(case.problem)(**case.options, classical=classical)
    data = problem.load("cpu", torch.float32)
    for method, compute in problem.baselines(data, lambda: None).items():
        found = compute()
        _save(name, _row(name, method, 0, problem.scores(found.image, data), None, found.seconds))
    _save(name, _best_total_variation(name, case, problem, data))


def _best_total_variation(name: str, case: Case, problem: Any, data: Any) -> dict[str, Any]:
    tried: dict[float, float] = {}
    new, best = list(case.weights), case.weights[0]
    while new:
        images = {weight: problem.total_variation(data, weight, SEARCH).image for weight in new}
        tried |= {weight: problem.scores(image, data)[case.score] for weight, image in images.items()}
        best = (max if larger_is_better(case.score) else min)(tried, key=lambda weight: tried[weight])
        new = [weight for weight in (best / 2, 2 * best) if weight not in tried and LEAST < weight < MOST]
    start = time.process_time()
    final = problem.total_variation(data, best, CONVERGED)
    row = _row(name, "tv", 0, problem.scores(final.image, data), time.process_time() - start, final.seconds)
    return row | {"weight": best, "gap": final.gap, "tried": {f"{weight:g}": score for weight, score in tried.items()}}


def _row(case: str, method: str, seed: int, found: dict[str, Any], cpu: float | None, wall: float) -> dict[str, Any]:
    scores = {key: found[key] for key in (*SCORES, "residual") if key in found}
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
            lines.append([case.title, label, *scores, f"{sum(seconds) / len(seconds):.1f}", case.goal])
    header = ["case", "method", "PSNR / dB", "inside / dB", "SSIM", "Matthews", "seconds", "goal of the field"]
    return f"# Tomography\n\n{__doc__ or ''}\n{markdown(header, lines)}"


def _over_seeds(values: list[float]) -> str:
    if not values:
        return ""
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)) ** 0.5
    digits = 2 if mean > 2 else 3
    return f"{mean:.{digits}f}" + (f" +- {spread:.{digits}f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
