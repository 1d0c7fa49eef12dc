"""Progress of a run: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from nfsolve._core.errors import unknown

Reporter = Callable[[dict[str, Any]], Any]
Kind = Reporter | str | None

_SCORES = ("relative_l2", "psnr_heldout", "psnr", "iou_near", "iou")  # the first that a problem has is shown


class StopRun(Exception):
    """Raised by a ``report=`` callable, ends the run as Ctrl-C does: it is scored, saved and can be resumed.

    The callable may as well return False. A message goes into ``solution.stopped``.

    Examples:
        >>> import nfsolve as nf
        >>> def report(row):
        ...     if row.get("relative_l2", 1.0) < 1e-3:
        ...         raise nf.StopRun("accurate enough")
    """


class Listener:
    """What shows progress, and whether it has asked for the end of the run.

    Args:
        tell: Gets each row of the history and each message.

    Attributes:
        asked: What asked for the end of the run, or None while it goes on.
    """

    def __init__(self, tell: Reporter):
        self.tell = tell
        self.asked: StopRun | None = None

    def __call__(self, row: dict[str, Any]) -> bool:
        """Tell a row; return whether the run goes on."""
        try:
            answer = self.tell(row)
            if isinstance(answer, bool | np.bool_) and not answer:
                raise StopRun
        except StopRun as stop:
            self.asked = stop
        except StopIteration as stop:
            self.asked = StopRun(*stop.args)
        return self.asked is None

    def close(self) -> None:
        """Close what shows progress, where it can be closed."""
        getattr(self.tell, "close", lambda: None)()


def reporter(kind: Kind | tuple[Kind, ...] | list[Kind], total: int, time_limit: float | None) -> Listener:
    """Choose how progress is shown.

    Args:
        kind: A callable that gets each row of the history (and may have ``close()``), None for silence,
            ``"bar"``, ``"lines"``, or ``"auto"``: a bar on a terminal or in a notebook, and warnings only elsewhere;
            or several of these.
        total: Steps of the whole run.
        time_limit: Seconds of the whole run, or None.

    Returns:
        What takes rows of the history; a row with the key ``warning`` is a message, and of what is built here also
        one with the key ``note``.

    Raises:
        InputError: Another word.
    """
    if isinstance(kind, tuple | list):
        return Listener(Several([reporter(one, total, time_limit).tell for one in kind]))
    if kind is None:
        return Listener(lambda row: None)
    if kind == "auto" and not (sys.stderr.isatty() or _in_notebook()):
        return Listener(_warnings_only)
    if kind in ("auto", "bar"):
        return Listener(Bar(total, time_limit))
    if kind == "lines":
        return Listener(Lines(total))
    if isinstance(kind, str):
        raise unknown("report", kind, ("auto", "bar", "lines"))
    return Listener(kind)


def _warnings_only(row: dict[str, Any]) -> None:
    """Print what a user must know to standard error, where nobody watches the progress."""
    if "warning" in row:
        print(_message(row), file=sys.stderr)


def _in_notebook() -> bool:
    shell: Any = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


def summary(row: dict[str, Any]) -> str:
    """Summarize a row of the history: window, loss, the rms of each residual by name and on fresh points, the score.

    Args:
        row: A row of the history.

    Returns:
        One line.
    """
    parts = [f"window {row['window']}/{row['windows']}"] if "windows" in row else []
    parts += [f"loss {row['loss']:.1e}"]
    for key, value in row.items():
        if key.startswith("rms/"):
            fresh = row.get(f"heldout/{key[4:]}")
            parts.append(f"{key[4:]} {value:.1e}" + (f" (held out {fresh:.1e})" if fresh is not None else ""))
    score = next((key for key in _SCORES if key in row), None)
    if score == "relative_l2":
        parts.append(f"error {row[score]:.2e}")
    elif score:
        digits = 3 if score.startswith("iou") else 2
        parts.append(f"{score.replace('_', ' ')} {row[score]:.{digits}f}")
    if "matthews" in row:
        parts.append(f"matthews {row['matthews']:.3f}")
    parts += [f"{key[8:]} {value:.5g}" for key, value in row.items() if key.startswith("unknown/")]
    speeds = {key.removesuffix("_per_second"): v for key, v in row.items() if key.endswith("_per_second") and v > 0}
    parts += [f"{value:.0f} {name}/s" for name, value in speeds.items()]
    return " | ".join(parts)


def note(report: Listener, text: str) -> None:
    """Show what is going on, where progress is shown; a callable of the user's gets rows and warnings only."""
    for tell in report.tell.tells if isinstance(report.tell, Several) else [report.tell]:
        if isinstance(tell, Bar | Lines):
            tell({"note": text})


def _message(row: dict[str, Any]) -> str:
    return f"warning: {row['warning']}" if "warning" in row else row.get("note", "")


class Several:
    """Several reports in one; the run ends where one of them asks for it, after all were told.

    Args:
        tells: What gets each row.
    """

    def __init__(self, tells: list[Reporter]):
        self.tells = tells

    def __call__(self, row: dict[str, Any]) -> bool:
        """Tell all; return whether none of them answered False."""
        stopped: StopRun | StopIteration | None = None
        going = True
        for tell in self.tells:
            try:
                answer = tell(row)
                going = going and not (isinstance(answer, bool | np.bool_) and not answer)
            except (StopRun, StopIteration) as stop:
                stopped = stop
        if stopped is not None:
            raise stopped
        return going

    def close(self) -> None:
        """Close those that can be closed."""
        for tell in self.tells:
            getattr(tell, "close", lambda: None)()


class Bar:
    """A live progress bar with the time left.

    Args:
        total: Steps of the whole run.
        time_limit: Seconds of the whole run, or None.
        file: Where it is drawn.
    """

    def __init__(self, total: int, time_limit: float | None = None, file: TextIO | None = None):
        with warnings.catch_warnings():  # in notebooks without ipywidgets the bar is one of text, which will do
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

        drawn = any(cls.__module__ == "tqdm.notebook" for cls in tqdm.__mro__)  # by the notebook, between two texts
        self.time_limit = time_limit
        self.bar = tqdm(
            total=total,
            file=file or sys.stderr,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% {bar:12} {n_fmt}/{total_fmt} {elapsed}<{remaining} {postfix}".replace(
                "{bar:12}", "{bar}" if drawn else "{bar:12}"
            ),
            mininterval=0.1,
        )

    def __call__(self, row: dict[str, Any]) -> None:
        """Move the bar to the row's step, or write its warning above it."""
        if message := _message(row):
            self.bar.write(message, file=self.bar.fp)
            return
        self.bar.set_postfix_str(summary(row), refresh=False)
        self.bar.update(row["step"] - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()


class Lines:
    """A line of text every few seconds, for logs.

    Args:
        total: Steps of the whole run.
        every: Seconds between lines.
        file: Where they are written.
    """

    def __init__(self, total: int, every: float = 5.0, file: TextIO | None = None):
        self.total, self.every, self.file = total, every, file
        self.last = -float("inf")
        self.row: dict[str, Any] | None = None

    def __call__(self, row: dict[str, Any]) -> None:
        """Write the row if the last line is old enough, or its warning at once."""
        if message := _message(row):
            print(message, file=self.file or sys.stderr, flush=True)
            return
        self.row = row
        if time.monotonic() - self.last >= self.every:
            self._print(row)

    def close(self) -> None:
        """Write the last row if it was not."""
        if self.row is not None:
            self._print(self.row)

    def _print(self, row: dict[str, Any]) -> None:
        self.last, self.row = time.monotonic(), None
        left = row["seconds"] / row["step"] * (self.total - row["step"]) if row["step"] else 0.0
        text = f"step {row['step']}/{self.total} {row['seconds']:.0f}s, {left:.0f}s left | {summary(row)}"
        print(text, file=self.file or sys.stderr, flush=True)
