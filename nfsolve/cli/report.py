"""``nfsolve report DIR``: one HTML file about a run."""

import sys
from pathlib import Path

from nfsolve._core.errors import InputError
from nfsolve.cli.cite import bibtex, used_in
from nfsolve.plot.page import page
from nfsolve.run.folder import RunFolder


def report_command(words: list[str]) -> int:
    """Write the page of a run into its folder, or to another file.

    Args:
        words: The run folder, and perhaps ``--out`` and a file.

    Returns:
        Exit code 0.

    Raises:
        InputError: Other words, or no run in the folder.
    """
    if len(words) not in (1, 3) or words[0].startswith("-") or (len(words) == 3 and words[1] != "--out"):
        raise InputError(
            f"report needs one run folder, got '{' '.join(words)}'", do="write nfsolve report DIR [--out FILE.html]"
        )
    folder = RunFolder(words[0])
    path = Path(words[2]) if len(words) == 3 else folder.path / "report.html"
    path.write_text(page(folder, bibtex(used_in(folder.config()))), encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)
    return 0
