"""``nfsolve show WHAT``: a picture of a problem before training."""

import sys
from dataclasses import dataclass
from pathlib import Path

from nfsolve.cli.words import options_after
from nfsolve.plot.panels import styled
from nfsolve.plot.problem import show
from nfsolve.problem.registry import find


@dataclass
class ShowOptions:
    """Draw the domain, the points and normals of every condition, and what each residual says."""

    out: Path | None = None
    """file to write; default NAME.png in the current folder"""
    seed: int = 0
    """seed of the points"""


def show_command(words: list[str]) -> int:
    """Draw a problem with its default parameters.

    Args:
        words: The problem, then options.

    Returns:
        Exit code 0.

    Raises:
        InputError: No problem is named, or it cannot be shown.
    """
    said = options_after(
        words,
        ShowOptions,
        "nfsolve show WHAT",
        "show needs a problem",
        "write nfsolve show WHAT with a name that nfsolve list shows",
    )
    problem = find(words[0])()
    path = said.out or Path(f"{Path(words[0]).stem.replace(':', '.')}.png")
    with styled():
        show(problem, seed=said.seed).savefig(path)
    print(f"wrote {path}", file=sys.stderr)
    return 0
