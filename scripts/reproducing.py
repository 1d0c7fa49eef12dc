"""What the reproductions of the three papers share: tables of compared methods, beside what was published."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence

from nfsolve.studies.comparison import Words, compare_words
from scripts.campaign import WORK, Table, campaign, is_there
from scripts.measuring import FOLDER, markdown, stamp

__all__ = ["Table", "found", "made_from", "method", "parser", "reproduce"]
QUARTER = 0.25


def parser(
    description: str, scale: float = QUARTER, means: str = "pixels a side and on the width; 1 is the paper"
) -> argparse.ArgumentParser:
    """Return the options that all reproductions have; ``scale`` is the default factor on what ``means`` says."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--scale", type=float, default=scale, help=f"factor on {means}")
    made.add_argument("--seeds", type=int, default=3, help="reported seeds")
    made.add_argument("--only", nargs="*", default=[], help="names of tables; default all")
    made.add_argument("--processes", type=int, default=0, help="runs at the same time; 0 takes one for each core")
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    return made


def made_from(
    name: str, intro: str, made: argparse.ArgumentParser, tables: Callable[[argparse.Namespace], Sequence[Table]]
) -> None:
    """Read the command line of a reproduction, and make its tables, or with ``--full`` go on with its campaign.

    Args:
        name: Of the reproduction.
        intro: First paragraph of the report.
        made: The parser of its options, without those of a campaign.
        tables: Makes the tables from the options; ``said.full`` says whether the paper's own budgets are to be taken.
    """
    made.add_argument("--full", action="store_true", help="the paper's size; each run is kept at once, see --hours")
    made.add_argument("--hours", type=float, help="with --full: start no run after so many hours")
    made.set_defaults(scale=None)
    said = complete(made.parse_args())
    if said.hours is not None and not said.full:
        made.error("--hours belongs to --full")
    if said.full:
        campaign(name, intro, made, lambda found: tables(complete(found)), said)
    else:
        reproduce(name, intro, tables(said), said)


def complete(said: argparse.Namespace) -> argparse.Namespace:
    """Return the options with a scale: that of the paper, or a quarter of it."""
    return argparse.Namespace(**vars(said) | ({"scale": 1.0 if said.full else QUARTER} if said.scale is None else {}))


def found(name: str) -> str:
    """Return the name of a file under $NFSOLVE_DATA, or an empty string, with which a problem takes its own data."""
    return name if is_there(name) else ""


def method(name: str, *words: str, rates: Sequence[float] = (), **labels: str) -> Words:
    """Return a method by its name and options, with more labels where claims are to be made along axes."""
    return Words(tuple(labels.items()) or (("method", name),), words, tuple(rates))


def reproduce(name: str, intro: str, tables: Sequence[Table], said: argparse.Namespace) -> None:
    """Make tables and write benchmarks/NAME.json, NAME.md and a figure of each table.

    Args:
        name: Of the reproduction.
        intro: First paragraph of the report.
        tables: What is compared.
        said: The options; tables that ``--only`` leaves out keep what was written of them before.
    """
    path = FOLDER / f"{name}.json"
    parts = json.loads(path.read_text()) if path.exists() else {}
    for table in tables:
        if said.only and table.name not in said.only:
            continue
        print(f"== {name}: {table.title}", flush=True)
        folder = WORK / name / table.name
        settings = dataclasses.replace(table.settings, seeds=said.seeds, processes=said.processes, out=folder)
        options = [*table.options, *(("--device", said.device) if said.device != "cpu" else ())]
        comparison = compare_words(table.what, table.methods, settings, options, lambda line: print(line, flush=True))
        rows = json.loads((folder / "rows.json").read_text())
        FOLDER.mkdir(exist_ok=True)
        comparison.figure().savefig(FOLDER / f"{name}_{table.name}.png", dpi=80)
        text = _text(table, comparison.text(), f"{name}_{table.name}.png")
        stamped = stamp() | ({"machine": said.device} if said.device != "cpu" else {})
        parts[table.name] = {"title": table.title, **rows, **stamped, "scale": said.scale, "text": text}
        path.write_text(json.dumps(parts, indent=1) + "\n")
        order = [t.name for t in tables if t.name in parts]
        report = "\n".join(parts[key]["text"] for key in order)
        (FOLDER / f"{name}.md").write_text(f"{intro.strip()}\n\n{report}")


def _text(table: Table, body: str, figure: str) -> str:
    lines = [f"## {table.title}", "", table.note, ""] if table.note else [f"## {table.title}", ""]
    if table.published:
        published = [list(row) for row in table.published.items()]
        lines += ["Published, in the paper's own setting:", "", markdown(["method", "published"], published)]
    return "\n".join([*lines, body, f"![curves]({figure})", ""])
