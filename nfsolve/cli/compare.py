"""``nfsolve compare``: run folders side by side, or a fair comparison of one-line swaps."""

import sys
from pathlib import Path

from nfsolve._core.errors import InputError
from nfsolve.plot.page import side_by_side
from nfsolve.run.folder import CONFIG, RunFolder
from nfsolve.studies.comparison import Settings, compare_words, grid

AXIS = "--axis"
HELP = """\
Compare methods on one problem: each is tuned on its own, then all run with equal evaluations and with equal seconds,
over the same seeds.

WHAT is a name from nfsolve list, FILE.py, or package.module:Class. --axis may be given several times: all combinations
are run, and the combination of the first values is the baseline. NAME is an option of nfsolve run without its dashes
(optimizer, field, field.width, schedule, a parameter of the problem), or short for one: init, activation, encoding, lr.
A VALUE may have options of its own, as in ws:alpha=2,kappa=0.3.

All options of nfsolve run WHAT are allowed too, and apply to every run. To continue an interrupted comparison, give the
same command again.
"""


def compare_command(words: list[str]) -> int:
    """Compare runs that exist, or make them.

    Args:
        words: Run folders, and ``--out FILE.html`` for a page about them; or a problem, ``--axis NAME VALUE VALUE ...``
            at least once, settings, and options of every run.

    Returns:
        Exit code 0.

    Raises:
        InputError: What is asked for does not fit.
    """
    if AXIS in words or {"-h", "--help"} & set(words):
        return _study(words)
    if not words:
        raise InputError(
            "compare needs run folders, or a problem with an axis",
            do="write nfsolve compare DIR DIR ..., or nfsolve compare WHAT --axis NAME VALUE VALUE ...",
        )
    if not any((Path(word) / CONFIG).is_file() for word in words) and not Path(words[0]).is_dir():
        raise InputError(
            f"compare needs run folders, or a problem with an axis, got '{' '.join(words)}'",
            do="add an axis, as in --axis optimizer adam esgd",
        )
    out, words = _take_out(words)
    runs = [RunFolder(word) for word in words]
    _side_by_side(runs)
    if out is not None:
        out.write_text(side_by_side(runs), encoding="utf-8")
        print(f"wrote {out}", file=sys.stderr)
    return 0


def _take_out(words: list[str]) -> tuple[Path | None, list[str]]:
    """Separate ``--out FILE.html`` from run folders."""
    if "--out" not in words:
        return None, words
    at = words.index("--out")
    if words[at + 1 : at + 2] == [] or not words[at + 1].endswith((".html", ".htm")):
        raise InputError("--out needs an HTML file for run folders", do="write nfsolve compare DIR DIR --out FILE.html")
    return Path(words[at + 1]), words[:at] + words[at + 2 :]


def _study(words: list[str]) -> int:
    import tyro

    axes, rest = take_axes(words)
    what = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    prog = f"nfsolve compare WHAT {AXIS} NAME VALUE VALUE ..."
    settings, options = tyro.cli(Settings, args=rest, prog=prog, description=HELP, return_unknown_args=True)
    if not what or not axes:
        raise InputError(f"compare needs a problem and an axis, got '{' '.join(words)}'", do=f"write {prog}")
    try:
        comparison = compare_words(what, grid(axes), settings, options, lambda line: print(line, file=sys.stderr))
    except KeyboardInterrupt:
        print("\nthe same command continues where this one stopped", file=sys.stderr)
        raise
    print(f"\n{comparison.text()}")
    return 0


def take_axes(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Separate the axes from the other words.

    Args:
        words: Words of the command line.

    Returns:
        Axis -> values, and the remaining words.

    Raises:
        InputError: An axis without a name, or one that comes twice.
    """
    axes: dict[str, list[str]] = {}
    rest: list[str] = []
    values = None
    for word in words:
        if word == AXIS:
            values = []
            axes[f"?{len(axes)}"] = values
        elif word.startswith("--") or values is None:
            values = None
            rest.append(word)
        else:
            values.append(word)
    named = [(values[0] if values else "", values[1:]) for values in axes.values()]
    names = [name for name, _ in named]
    if "" in names or len(set(names)) < len(names):
        came = f"{AXIS} {next(name for name in names if names.count(name) > 1)} twice" if all(names) else "none"
        raise InputError(f"every {AXIS} needs a name of its own, got {came}", do=f"write {AXIS} init siren ws")
    return dict(named), rest


def _side_by_side(runs: list[RunFolder]) -> None:
    scores = [run.metrics() for run in runs]
    keys = list(dict.fromkeys(key for score in scores for key in score))
    table = [["", *(run.path.name for run in runs)]]
    table += [[key, *(_cell(score.get(key)) for score in scores)] for key in keys]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
