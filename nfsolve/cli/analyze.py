"""``nfsolve analyze DIR|WHAT``: tangent kernel, gradients, spectra and curvature."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nfsolve._core.errors import InputError
from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from nfsolve.run.folder import CONFIG
from nfsolve.studies.analysis import ANALYSES, Subject, analyze

HELP = """\
usage: nfsolve analyze DIR [--trust] [--only NAME ...] [--points N] [--out DIR]
       nfsolve analyze WHAT [--steps N] [--every M] [--only NAME ...] [--points N] [--out DIR] [options of run]

  DIR        a run folder: analyze its trained field and its initial field, which is rebuilt; results go into it
  WHAT       a problem: analyze its initial field, and with --steps N also the field along N steps of training
  --only     analyze only some of {names}; default all
  --every M  steps between analyses; default a quarter of --steps
  --trust    allow running the file or module that defines the problem of the run folder
  --points N largest number of rows of the tangent kernel; default 576
  --out DIR  folder for analysis.json and analysis_NAME.png; default analysis-NAME-DATE

All options of nfsolve run are allowed too, such as --field.init ws --field.init.alpha 2.
"""


def analyze_command(words: list[str], analyses: Mapping[str, Any] = ANALYSES) -> int:
    """Analyse a run folder or a problem.

    Args:
        words: What, then options.
        analyses: Those to choose from, by name.

    Returns:
        Exit code 0.

    Raises:
        InputError: Nothing is named, or an option does not fit.
    """
    if {"-h", "--help"} & set(words):
        print(HELP.format(names=" ".join(analyses)))
        return 0
    if not words or words[0].startswith("-"):
        raise InputError(
            "analyze needs a run folder or a problem", do="write nfsolve analyze DIR or nfsolve analyze WHAT"
        )
    what, (only, rest) = words[0], _take_only(words[1:], analyses)
    points, rest = _take_number("--points", rest)
    every, rest = _take_number("--every", rest)
    if (Path(what) / CONFIG).is_file():
        trust, rest = "--trust" in rest, [word for word in rest if word != "--trust"]
        out = Path(what)
        if rest[:1] == ["--out"] and len(rest) == 2:
            out = Path(rest[1])
        elif rest or every is not None:
            raise InputError(
                "the analysis of a run folder takes only --only, --points, --out and --trust, "
                f"got {(rest or ['--every'])[0]}",
                do="name a problem instead of the folder to analyse another run",
            )
        subject = Subject.of_folder(what, trust=trust)
    elif Path(what).is_dir():
        raise InputError(
            f"folder '{what}' holds no run, because it has no {CONFIG}", do="give another folder, or name a problem"
        )
    else:
        subject, out = _of_problem(what, rest, every)
    report = analyze(subject, only, out, points=points, tell=_tell, analyses=analyses)
    print(report)
    for path in report.files:
        print(f"wrote {path}", file=sys.stderr)
    return 0


def _tell(name: str) -> None:
    print(f"{name} ...", file=sys.stderr)


def _of_problem(what: str, words: list[str], every: int | None) -> tuple[Subject, Path]:
    problem_class = find(what)
    request = read_request(problem_class, words, "nfsolve analyze WHAT")
    trained = any(word == "--steps" or word.startswith("--steps=") for word in words)
    steps = sum(stage.steps for stage in request.options["stages"]) if trained else 0
    name = Path(what).stem.replace(":", ".")
    out = request.out or Path(f"analysis-{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    return Subject.of_problem(request.problem, steps, every, **request.options), out


def _take_only(words: list[str], analyses: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Separate the names after ``--only`` from the other words."""
    if "--only" not in words:
        return [], words
    start = words.index("--only") + 1
    end = next((i for i in range(start, len(words)) if words[i].startswith("-")), len(words))
    if start == end:
        raise InputError("--only needs the name of an analysis", do=f"choose from {', '.join(analyses)}")
    return words[start:end], words[: start - 1] + words[end:]


def _take_number(option: str, words: list[str]) -> tuple[int | None, list[str]]:
    """Separate a positive number from the other words."""
    if option not in words:
        return None, words
    at = words.index(option)
    value = words[at + 1] if at + 1 < len(words) else ""
    if not value.isdigit() or int(value) < 1:
        raise InputError(
            f"{option} needs a positive whole number, got {value or 'nothing'}",
            do=f"write {option} 100 for one hundred",
        )
    return int(value), words[:at] + words[at + 2 :]
