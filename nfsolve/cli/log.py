"""``--log NAME`` of ``nfsolve run``: the history of a run in other tools."""

from pathlib import Path

from nfsolve._core.errors import InputError, unknown
from nfsolve.run.folder import HISTORY
from nfsolve.run.loggers import LOGGERS, Logger

CSV = "csv"  # which every run folder has anyway


def take_log(words: list[str]) -> tuple[list[str], list[str]]:
    """Take ``--log NAME`` out of a command line, where it may stand several times, or once with several names.

    Args:
        words: The command line.

    Returns:
        The names, separated by commas in one word or not, and all other words.

    Raises:
        InputError: No name follows, or one that is not known.
    """
    names: list[str] = []
    rest: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--log" and (not words or words[0].startswith("-")):
            raise InputError("--log needs a name, got none", do=f"write --log {' or '.join((CSV, *LOGGERS))}")
        if word == "--log" or word.startswith("--log="):
            names += (words.pop(0) if word == "--log" else word.partition("=")[2]).split(",")
        else:
            rest.append(word)
    for name in names:
        if name not in (CSV, *LOGGERS):
            raise unknown("logger", name, (CSV, *LOGGERS))
    return list(dict.fromkeys(names)), rest


def open_loggers(names: list[str], folder: Path) -> list[Logger]:
    """Make loggers for a run folder; a CSV file needs none, for ``history.csv`` is there in every one.

    Args:
        names: What `take_log` found.
        folder: The run folder.

    Raises:
        MissingExtra: A library is not installed.
    """
    return [LOGGERS[name](folder) for name in names if name != CSV]


def where(names: list[str], folder: Path) -> str:
    """Say where the history of a run goes besides the progress.

    Args:
        names: What `take_log` found.
        folder: The run folder.

    Returns:
        A sentence, empty for no names.
    """
    places = {CSV: str(folder / HISTORY)} | {name: f"{name}, in {folder}" for name in LOGGERS}
    return f"the history goes to {' and '.join(places[name] for name in names)}" if names else ""
