"""Measure inverse rendering: quality at a budget of seconds, what the occupancy grid saves, and rays a second.

    NFSOLVE_DATA=... python -m scripts.nerf_table                     # what a CPU can do, one case after the other
    NFSOLVE_DATA=... python -m scripts.nerf_table --only lego_200 --seeds 3 --processor --threads 1
    NFSOLVE_DATA=... python -m scripts.nerf_table --only scene lego_100_grid --again --steps 3000
    NFSOLVE_DATA=... python -m scripts.nerf_table --only lego_400_grid --device cuda

Rows are added to benchmarks/nerf.json one by one, so a killed measurement goes on where it was; benchmarks/nerf.md is
the table made from them. Data are found under $NFSOLVE_DATA; a case without its data is left out and said so.
"""

import argparse
import dataclasses
import math
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import nfsolve as nf
from nfsolve import InputError
from nfsolve.data.tables import find_file
from nfsolve.options.request import read_request
from nfsolve.plot.solution import save_pictures
from nfsolve.problem.registry import find
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, whole_scores, write_rows

LEGO, LARGE, FERN = "nerf_lego_200.npz", "nerf_lego_400.zip", "nerf_llff_fern_8.npz"
MLP = ("--field.activation", "relu", "--field.encoding", "gaussian_fourier", "--field.encoding.features", "64")
MLP += ("--field.encoding.scale", "1", "--field.width", "64", "--field.depth", "3", "--optimizer.lr", "5e-3")
FINE = ("--field.encoding.levels", "8", "--field.encoding.coarsest", "16", "--field.encoding.finest", "512")
FINE += ("--field.encoding.features", "2", "--field.encoding.hash-size", "19", "--field.depth", "2")
WIDE = ("--field.activation", "relu", "--field.encoding", "positional", "--field.width", "256", "--field.depth", "6")
WIDE += ("--optimizer.lr", "5e-4")
BIG = ("--points", "262144", "--samples", "400", "--cells", "128", "--video", "400", "--mesh", "256")


@dataclass(frozen=True)
class Case:
    """A problem with its options, a budget, the steps that fill it on two quiet cores (or a GPU), and a goal."""

    what: str
    words: tuple[str, ...]
    seconds: float
    steps: int
    goal: float
    data: str = ""
    gpu: bool = False


CASES = {
    "scene": Case("nerf_scene", (), 60, 1800, 32),
    "lego_100_mlp": Case("nerf", ("--downscale", "2", *MLP), 80, 2150, 26, LEGO),
    "lego_100_grid": Case("nerf", ("--downscale", "2"), 80, 2400, 29, LEGO),
    "lego_200_grid": Case("nerf", ("--samples", "192", "--field.encoding.finest", "160"), 600, 10000, 29, LEGO),
    "lego_200_fast": Case("nerf", ("--samples", "147", "--field.encoding.finest", "160"), 150, 100000, 29, LEGO),
    "lego_50_grid": Case("nerf", ("--downscale", "4", "--samples", "96"), 20, 600, 0, LEGO),  # reduced, for more seeds
    "fern_94": Case("nerf", ("--downscale", "4", "--samples", "96"), 20, 600, 0, FERN),
    "fern": Case("nerf", ("--samples", "192", "--field.encoding.finest", "160"), 600, 10000, 21, FERN),
    "lego_400_mlp": Case("nerf", (*BIG, *WIDE), 300, 12000, 33.5, LARGE, gpu=True),
    "lego_400_grid": Case("nerf", (*BIG, *FINE), 300, 15000, 33.5, LARGE, gpu=True),
    "lego_400_grid_torch": Case("nerf", (*BIG, *FINE, "--backend", "torch"), 60, 3000, 0, LARGE, gpu=True),
}


def measure(name: str, case: Case, said: argparse.Namespace) -> Row:
    """Run one case, score it with and without its occupancy grid, and draw its pictures where these are wanted."""
    words = [*case.words, "--steps", str(said.steps or case.steps), "--seed", str(said.seed), "--device", said.device]
    if not said.unlimited:
        words += ["--time-limit", str(case.seconds)]
    if case.data:
        words += ["--data", case.data]
    request = read_request(find(case.what), words, f"nfsolve run {case.what}")
    out = said.pictures / name if said.pictures else None
    solution = nf.solve(request.problem, **request.options, out=out, report="lines")
    start = time.perf_counter()
    if out is not None:
        save_pictures(solution)
    exported = time.perf_counter() - start
    row = {
        "case": name,
        "seed": said.seed,
        "budget": f"{case.seconds:g} s",
        "goal": case.goal,
        "words": " ".join(words),
    }
    row |= {"size": solution.metrics["parameters"], "seconds_export": round(exported, 1)} | whole_scores(solution)
    if said.full:
        everything = dataclasses.replace(solution.problem, cells=1)
        with torch.no_grad():
            row["psnr_heldout_without_grid"] = everything.metrics(solution.field, solution.data)["psnr_heldout"]
    return row | {"device": said.device, "threads": said.threads, **stamp(said.threads)}


def table(rows: list[Row]) -> str:
    """Lay the rows out as Markdown."""
    header = ["case", "seed", "budget", "goal / dB", "held out / dB", "SSIM", "trained / dB", "depth error", "steps"]
    header += ["seconds", "processor seconds", "threads"]
    header += ["rays / s", "evaluations saved", "without grid / dB", "renderer", "measured"]
    lines = []
    for row in sorted(rows, key=lambda row: (list(CASES).index(row["case"]), row["seed"])):
        depth, without = row.get("depth_error"), row.get("psnr_heldout_without_grid")
        lines.append([
            row["case"], str(row["seed"]), row["budget"], f"{row['goal']:g}" if row["goal"] else "-",
            f"{row['psnr_heldout']:.2f}", f"{row.get('ssim_heldout', float('nan')):.3f}", f"{row['psnr']:.2f}",
            "-" if depth is None else f"{100 * depth:.2f} %", str(row["steps"]), f"{row['seconds']:.0f}",
            f"{row['cpu_seconds']:.0f}", str(row["threads"]), f"{row['rays_per_second']:.0f}",
            f"{100 * row['evaluations_saved']:.0f} %", "-" if without is None else f"{without:.2f}",
            f"{row['device']}, {row['renderer']}", row["date"],
        ])  # fmt: skip
    about = f"The last row: {rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return f"# Inverse rendering, as measured\n\n{about}\n\n{markdown(header, lines)}\n{_over_seeds(rows)}"


def _over_seeds(rows: list[Row]) -> str:
    """Lay out the mean and the standard error of cases that have several seeds, beside when they were measured."""
    lines = []
    for name in CASES:
        own = [row for row in rows if row["case"] == name]
        if len(own) > 1:
            scores = [row["psnr_heldout"] for row in own]
            error = statistics.stdev(scores) / math.sqrt(len(scores))
            seconds = statistics.mean(row["cpu_seconds"] for row in own)
            dates = ", ".join(dict.fromkeys(row["date"] for row in own))
            count = str(len(own))
            lines.append([name, count, f"{statistics.mean(scores):.2f} +- {error:.2f}", f"{seconds:.0f}", dates])
    header = ["case", "seeds", "held out / dB (mean +- s.e.)", "processor seconds", "measured"]
    return f"\nOver seeds:\n\n{markdown(header, lines)}" if lines else ""


def main() -> None:
    """Measure what is asked for and not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=[n for n, c in CASES.items() if not c.gpu])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="so many seeds, from --seed on")
    parser.add_argument("--processor", action="store_true", help="budgets are processor seconds: for a busy machine")
    parser.add_argument("--steps", type=int, help="instead of those of the case")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--unlimited", action="store_true", help="no limit by the clock: on a busy machine, judge processor seconds"
    )
    parser.add_argument("--full", action="store_true", help="score again without the occupancy grid, which takes long")
    parser.add_argument("--pictures", type=Path, help="folder for the run folders with pictures, video and mesh")
    parser.add_argument("--again", action="store_true", help="measure again what the file holds already")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    if said.processor:
        time.perf_counter = time.process_time  # the clock of limits
    for name in said.only:
        for seed in range(said.seed, said.seed + said.seeds):
            _add(name, argparse.Namespace(**(vars(said) | {"seed": seed})))


def _add(name: str, said: argparse.Namespace) -> None:
    """Measure one case with one seed, unless the file holds it, and write the file and the table."""
    path = said.folder / "nerf.json"
    held = [r for r in read_rows(path) if (r["case"], r["seed"]) == (name, said.seed)]
    if held and not said.again:
        return
    try:
        if CASES[name].data:
            find_file(CASES[name].data, None, ("", ".npz", ".zip"))
        row = measure(name, CASES[name], said)
    except InputError as error:
        print(f"{name} is left out: {error}", flush=True)
        return
    write_rows(path, [*(r for r in read_rows(path) if r not in held), row])
    (said.folder / "nerf.md").write_text(table(read_rows(path)))
    print(name, {k: row[k] for k in ("psnr_heldout", "seconds", "steps", "rays_per_second", "stopped")}, flush=True)


if __name__ == "__main__":
    main()
