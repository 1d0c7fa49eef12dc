"""``nfsolve report DIR``: one HTML file about a run."""

import sys
from pathlib import Path

from nfsolve._core.errors import InputError, shortened
from nfsolve.cli.cite import bibtex, used_in
from nfsolve.plot.explore import Explorer, explorer
from nfsolve.plot.page import page
from nfsolve.run.folder import METRICS, RunFolder
from nfsolve.run.solve import reopen


def report_command(words: list[str]) -> int:
    """Write the page of a run into its folder, or to another file.

    Args:
        words: The run folder, and perhaps ``--out`` and a file, and ``--trust`` where its problem may be imported.

    Returns:
        Exit code 0.

    Raises:
        InputError: Other words, or no run in the folder.
    """
    trust, words = "--trust" in words, [word for word in words if word != "--trust"]
    if len(words) not in (1, 3) or words[0].startswith("-") or (len(words) == 3 and words[1] != "--out"):
        raise InputError(
            f"report needs one run folder, got '{' '.join(words)}'",
            do="write nfsolve report DIR [--out FILE.html] [--trust]",
        )
    folder = RunFolder(words[0])
    path = Path(words[2]) if len(words) == 3 else folder.path / "report.html"
    citation = bibtex(used_in(folder.config()))
    explored, note = _explored(folder, trust) if (folder.path / METRICS).is_file() else (None, "")
    if note:
        print(note, file=sys.stderr)
    path.write_text(page(folder, citation, explored, note), encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)
    return 0


def _explored(folder: RunFolder, trust: bool) -> tuple[Explorer | None, str]:
    """Evaluate the solution of a run that has ended; where that cannot be, say why in a sentence."""
    try:
        return explorer(reopen(folder.path, trust=trust, bare=True)), ""
    except (InputError, OSError) as error:
        return None, f"Maps with sliders are left out: {shortened(str(error), 300)}"
