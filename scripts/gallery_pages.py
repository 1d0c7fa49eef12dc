"""The pages of the gallery: each problem is run briefly, which gives a page with its picture and its score.

    python -m scripts.gallery_pages                      all of them, about twenty minutes of processor time
    python -m scripts.gallery_pages --only burgers wave  some of them, again

A row goes to docs/gallery/rows.json as soon as a problem is done, so the same command goes on where it was; problems
whose options in CASES changed are run again. A score outside its bound ends the command with exit code 1.
"""

import argparse
import importlib
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from nfsolve._core.installed import problem_names
from nfsolve.cli.catalogue import kind_of
from scripts.measuring import ONE_THREAD, stamp

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "gallery"
WIDTH, QUALITY = 850, 33  # of pictures: all of them together stay below 2 MB
FURTHER_UP = ("psnr", "psnr_heldout", "iou")  # scores that are better the larger they are
KINDS = {
    "pde": "Differential equations",
    "measurements": "Inverse problems",
    "ct": "Tomography",
    "signals": "Pictures, sounds, shapes",
    "nerf": "Radiance fields",
    "operators": "Operators",
    "pinnacle": "The PINNacle benchmark",
}
RESULTS = {
    "pde": "../results.md",
    "measurements": "../inverse_problems.md",
    "ct": "../tomography.md",
    "signals": "../signals.md",
    "nerf": "../scenes.md",
    "operators": "../operators.md",
    "pinnacle": "../pinnacle.md",
}
"""Where each kind is measured."""
NEED_FILES = {
    "ct_cone_scan": "projections of a cone beam (docs/tomography.md)",
    "ct_scan": "a scan (docs/tomography.md)",
    "deeponet_pairs": "pairs of functions (docs/operators.md)",
    "nerf": "photographs (docs/scenes.md)",
    "wake": "velocities behind a cylinder (see its docstring)",
    "pinnacle_poisson2d_ms": "the coefficients of the benchmark (docs/pinnacle.md)",
    "pinnacle_wave2d_cg": "the coefficients of the benchmark (docs/pinnacle.md)",
    "pinnacle_heat2d_vc": "the coefficients of the benchmark (docs/pinnacle.md)",
}
"""Problems that read files, which the pictures of those in CASES are made with (under $NFSOLVE_DATA)."""
RUN = "to be run"  # what all others need
BY_TRIALS = "--time-limit 60"  # the default of problems whose recipe is found by trials
OWN = ""  # no options: the recipe of the problem itself, where it takes no more than a few minutes
UNSOLVED = 0.3  # relative L2 error above which a page says that its run is no solution


PROGRAM = """import sys, time
time.perf_counter = time.process_time
from nfsolve.cli import run_cli
sys.exit(run_cli(sys.argv[1:]))"""
"""``nfsolve`` with time limits in processor time, so that other work on the machine does not matter."""


@dataclass(frozen=True)
class Case:
    """How a problem is run for its page, and the bound on its score there.

    Attributes:
        options: Words of the command line.
        score: Key of metrics.json.
        bound: Largest error, or smallest PSNR or IoU.
    """

    options: str
    score: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a score is within the bound; NaN is not."""
        return value >= self.bound if self.score in FURTHER_UP else value <= self.bound


def error(options: str, bound: float) -> Case:
    """Return the case of a relative L2 error."""
    return Case(options, "relative_l2", bound)


CASES = {
    "allen_cahn": error(BY_TRIALS, 1e-6),
    "burgers": error(BY_TRIALS, 1e-8),
    "cavity": error("--steps 25", 2e-01),
    "convection": error(BY_TRIALS, 1e-12),
    "helmholtz": error(BY_TRIALS, 1e-12),
    "inverse_diffusivity": error("--steps 60", 2e-02),
    "kdv": error(BY_TRIALS, 1e-4),
    "klein_gordon": error(BY_TRIALS, 1e-9),
    "kuramoto_sivashinsky": error(BY_TRIALS, 1e-5),
    "layers": error("--steps 60", 4e-01),
    "lorenz_inverse": error("--steps 60", 3e-01),
    "lshape": error(BY_TRIALS, 1e-9),
    "oscillator_eigen": error("--steps 30", 4e-06),
    "poisson": error(BY_TRIALS, 1e-12),
    "poisson_5d": error(BY_TRIALS, 1e-12),
    "reaction": error(BY_TRIALS, 1e-10),
    "stefan": error(BY_TRIALS, 1e-8),
    "stl_poisson": error(BY_TRIALS, 1e-08),
    "two_materials": error(BY_TRIALS, 1e-7),
    "unknown_flux": error("--steps 40", 6e-02),
    "volterra": error(BY_TRIALS, 1e-9),
    "wave": error(BY_TRIALS, 1e-11),
    "deconvolution": Case("--steps 300", "psnr", 22.8),
    "impedance": Case("--steps 20", "psnr", 22.4),
    "heat_source": Case("--steps 120", "psnr", 25.2),
    "mri": Case("--steps 300", "psnr", 27.7),
    "phase_retrieval": Case("--steps 600", "psnr", 31.9),
    "ct_phantom": Case("--steps 200", "psnr", 36.6),
    "ct_limited": Case("--steps 200", "psnr", 25.6),
    "ct_cone": Case("--steps 60 --size 32", "psnr", 25.7),
    "image": Case("--steps 300 --size 128", "psnr_heldout", 20.5),
    "audio": Case("--steps 500", "psnr_heldout", 42.8),
    "occupancy": Case("--steps 300", "iou", 0.90),
    "sphere": Case("--steps 300", "psnr_heldout", 48.0),
    "nerf_scene": Case("--steps 300 --size 32", "psnr_heldout", 23.1),
    "nerf_absorption": Case("--steps 300", "psnr_heldout", 33.4),
    "deeponet_advection": error("--steps 300", 3e-01),
    "deeponet_antiderivative": error("--steps 500", 8e-04),
    "deeponet_burgers": error("--steps 200", 2e-01),
    "deeponet_darcy": error("--steps 100", 1e-01),
    "deeponet_diffusion_reaction": error("--steps 500", 1e-01),
    "pinnacle_burgers1d": error(OWN, 9e-05),
    "pinnacle_burgers2d": error(BY_TRIALS, 2e00),
    "pinnacle_gs": error("--time-limit 30", 4e00),
    "pinnacle_heat2d_cg": error(OWN, 5e-02),
    "pinnacle_heat2d_lt": error("--time-limit 15", 3e00),
    "pinnacle_heat2d_ms": error(OWN, 4e-04),
    "pinnacle_heat2d_vc": error("--time-limit 15", 3e00),
    "pinnacle_hinv": error(OWN, 1e-01),
    "pinnacle_hnd": error("--steps 60", 5e-04),
    "pinnacle_ks": error(OWN, 3e-02),
    "pinnacle_ns2d_c": error(OWN, 7e-04),
    "pinnacle_ns2d_cg": error(OWN, 1.5e-01),
    "pinnacle_ns2d_lt": error("--time-limit 15", 4e00),
    "pinnacle_pinv": error(OWN, 3.5e-02),
    "pinnacle_pnd": error("--steps 60", 7e-06),
    "pinnacle_poisson2d_c": error(BY_TRIALS, 1e-5),
    "pinnacle_poisson2d_cg": error(BY_TRIALS, 2e-04),
    "pinnacle_poisson2d_ms": error(OWN, 2e-01),
    "pinnacle_poisson3d_cg": error(OWN, 6e-02),
    "pinnacle_wave1d_c": error(BY_TRIALS, 1e-9),
    "pinnacle_wave2d_cg": error("--time-limit 15", 3e00),
    "pinnacle_wave2d_ms": error("--time-limit 15", 3e00),
}
"""Problem -> its run. Bounds are 2.5 times the error, or 1 dB below the PSNR, that was measured first."""


def run(name: str, case: Case, folder: Path) -> dict[str, Any]:
    """Run a problem in a process of its own.

    Args:
        name: Its name.
        case: How.
        folder: Where the run folder and the picture go.

    Returns:
        A row: problem, options, score, value, steps, processor seconds, parameters, machine.

    Raises:
        RuntimeError: The run failed.
    """
    out = folder / name
    command = [sys.executable, "-c", PROGRAM, "run", name, *case.options.split(), "--out", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{name} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    metrics = json.loads((out / "metrics.json").read_text())
    return {
        "problem": name,
        "options": case.options,
        "score": case.score,
        "value": metrics[case.score],
        "steps": metrics["steps"],
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "parameters": metrics["parameters"],
        **stamp(),
    }


def shrink(picture: Path, to: Path) -> None:
    """Write a picture that is small enough to be kept in the repository."""
    image = Image.open(picture).convert("RGB")
    image.thumbnail((WIDTH, 3 * WIDTH))
    image.save(to, "webp", quality=QUALITY, method=6)


def page(name: str, row: dict[str, Any] | None) -> str:
    """Write the page of a problem: docstring, command, picture, score, source.

    Args:
        name: Its name.
        row: What was measured; None where the problem needs a file.
    """
    module = importlib.import_module(problem_names()[name].partition(":")[0])
    source = Path(str(module.__file__)).relative_to(ROOT).as_posix()
    text = inspect.cleandoc(module.__doc__ or "")
    parts = [f"# {name}", f"```text\n{text}\n```", f"Source: [{source}](../../{source})"]
    if row is None:
        parts.append(f"There is no picture here, because it needs {NEED_FILES.get(name, RUN)}.")
    else:
        needs = f" this command, which needs {NEED_FILES[name]}:" if name in NEED_FILES else " this command:"
        unsolved = row["score"] == "relative_l2" and row["value"] > UNSOLVED
        results = f"[the results]({RESULTS[kind_of(problem_names()[name])]})"
        if unsolved:
            more = f"This run does not solve the problem; {results} say what others reach."
        elif row["options"] == BY_TRIALS:
            more = f"Short trials found the recipe, within the usual 60 seconds; {results} compare it with others."
        elif row["options"] == OWN:
            more = f"This is the recipe of the problem itself; {results} compare it with others."
        else:
            more = f"The run is short, or the problem easier than by default; {results} say what default recipes reach."
        parts += [
            f"![What a run of {name} finds]({name}.webp)",
            f"The picture was made by{needs}\n\n    {command(row)}",
            f"{words(row)} after {row['steps']} steps of {row['parameters']:,} parameters, in "
            f"{row['processor_seconds']:.0f} processor seconds of one thread with start and pictures "
            f"({row['date']}). {more}",
        ]
    return "\n\n".join(parts) + "\n"


def command(row: dict[str, Any]) -> str:
    """Return the command of a row."""
    return f"nfsolve run {row['problem']} {row['options']}".rstrip()


def words(row: dict[str, Any]) -> str:
    """Word the score of a row."""
    value = row["value"]
    return {
        "relative_l2": f"Relative L2 error {value:.1e}",
        "psnr": f"PSNR {value:.1f} dB",
        "psnr_heldout": f"PSNR {value:.1f} dB on what was held out",
        "iou": f"Intersection over union {value:.3f}",
    }[row["score"]]


def index(rows: dict[str, dict[str, Any]]) -> str:
    """Write the list of all problems by kind."""
    lines = [
        "# Gallery",
        "",
        "Every problem is one file that you can copy and change. Each page shows a run of seconds to minutes, mostly",
        "shorter than by default, with its picture and its score (`python -m scripts.gallery_pages`). What the default",
        "recipes reach: [results](../results.md), [inverse problems](../inverse_problems.md),",
        "[tomography](../tomography.md), [scenes](../scenes.md), [operators](../operators.md),",
        "[signals](../signals.md) and [PINNacle](../pinnacle.md).",
    ]
    for kind, title in KINDS.items():
        lines += ["", f"## {title}", "", "| problem | what it is | run of the page |", "|---|---|---|"]
        for name, target in sorted(problem_names().items()):
            if kind_of(target) == kind:
                module, _, cls = target.partition(":")
                said = inspect.cleandoc(getattr(importlib.import_module(module), cls).__doc__ or "").partition("\n")[0]
                score = words(rows[name]) if name in rows else f"needs {NEED_FILES.get(name, RUN).partition(' (')[0]}"
                lines.append(f"| [{name}]({name}.md) | {said.replace('|', chr(92) + '|')} | {score} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Run what is missing, and write all pages.

    Args:
        arguments: Of the command line.
        folder: Where rows, pages and pictures go.

    Returns:
        Exit code: 1 where a score is outside its bound.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), help="problems to run again")
    only = parser.parse_args(arguments).only
    store = folder / "rows.json"
    known = json.loads(store.read_text()) if store.exists() else []
    rows = {row["problem"]: row for row in known if row["problem"] in CASES}
    for name in only or sorted(CASES):
        if only or rows.get(name, {}).get("options") != CASES[name].options:
            with tempfile.TemporaryDirectory() as temporary:
                rows[name] = run(name, CASES[name], Path(temporary))
                shrink(Path(temporary) / name / "solution.png", folder / f"{name}.webp")
            store.write_text(json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n")
            print(f"{name}: {words(rows[name])}, {rows[name]['processor_seconds']} s", flush=True)
    for name in (name for name, target in problem_names().items() if kind_of(target) in KINDS):
        (folder / f"{name}.md").write_text(page(name, rows.get(name)))
    (folder / "index.md").write_text(index(rows))
    outside = [name for name, row in rows.items() if name in CASES and not CASES[name].holds(row["value"])]
    for name in outside:
        print(f"{name}: {words(rows[name])}, outside its bound {CASES[name].bound:g}", file=sys.stderr)
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
