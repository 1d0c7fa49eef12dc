"""All analyses of one subject: numbers in ``analysis.json``, a figure each, and why some do not apply."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfsolve._core.errors import MissingExtra, unknown
from nfsolve.plot.panels import styled
from nfsolve.run.folder import RunFolder
from nfsolve.studies.analysis import hessian, ntk, signals, spectrum
from nfsolve.studies.analysis.subject import NotApplicable, Subject

ANALYSES: dict[str, Any] = {
    "ntk": ntk,
    "gradients": signals,
    "spectrum": spectrum,
    "hessian": hessian,
}


@dataclass
class Report:
    """What `analyze` found.

    Attributes:
        results: Analysis -> its result.
        skipped: Analysis -> why it does not apply.
        seconds: Analysis -> time it took.
        files: What was written.
        note: What else one should know; may be empty.
    """

    results: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    note: str = ""

    def numbers(self) -> dict[str, Any]:
        """Return everything as plain data."""
        found = {name: {"summary": plain(result.summary()), **plain(result)} for name, result in self.results.items()}
        return {"analyses": found, "skipped": self.skipped, "seconds": self.seconds, "note": self.note}

    def __str__(self) -> str:
        lines = [f"note: {self.note}"] if self.note else []
        for name, result in self.results.items():
            title = f"{name} ({self.seconds[name]:.1f} s)"
            rows = result.summary().items()
            width = max((len(key) for key, _ in rows), default=0)
            lines += ["", title, "-" * len(title)]
            lines += [f"{key:<{width}}  {_cell(value)}" for key, value in rows]
        lines += ["", *(f"{name}: does not apply, {why}" for name, why in self.skipped.items())]
        return "\n".join(lines).strip("\n")


def analyze(
    subject: Subject,
    only: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    points: int | None = None,
    tell: Callable[[str], None] | None = None,
    analyses: Mapping[str, Any] = ANALYSES,
) -> Report:
    """Run analyses.

    Args:
        subject: The subject.
        only: Names of analyses; empty runs all.
        out: Folder for ``analysis.json`` and ``analysis_NAME.png``; None writes nothing.
        points: Largest number of rows of the tangent kernel.
        tell: Called with the name of each analysis before it begins.
        analyses: Those to choose from: modules with ``analyse`` and ``figure``, by name.

    Returns:
        The report.

    Raises:
        InputError: A name that is not known.
        SaveError: The folder cannot be written.
    """
    for name in only:
        if name not in analyses:
            raise unknown("analysis", name, analyses)
    report = Report(note=subject.note)
    folder = RunFolder(out) if out is not None else None
    for name in only or analyses:
        if tell is not None:
            tell(name)
        started = time.perf_counter()
        options = {"points": points} if points is not None and name == "ntk" else {}
        try:
            report.results[name] = analyses[name].analyse(subject, **options)
        except NotApplicable as reason:
            report.skipped[name] = str(reason)
            continue
        finally:
            report.seconds[name] = round(time.perf_counter() - started, 2)
        if folder is not None:
            _draw(name, analyses[name], report, folder)
    if folder is not None:
        folder.write_json("analysis.json", report.numbers())
        report.files.append(folder.path / "analysis.json")
    return report


def _draw(name: str, analysis: Any, report: Report, folder: RunFolder) -> None:
    try:
        with styled():
            drawn = analysis.figure(report.results[name])
    except MissingExtra as error:
        report.note = f"no figures: {error}"
        return
    path = f"analysis_{name}.png"
    with styled():
        folder.write(path, lambda temporary: drawn.savefig(temporary, format="png"))
    report.files.append(folder.path / path)


def plain(value: Any) -> Any:
    """Turn results into what JSON holds: dataclasses and named tuples into objects, arrays into lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {f"{key:g}" if isinstance(key, float) else str(key): plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, torch.Tensor | np.ndarray):
        return _thinned(value.tolist())
    return value


def _thinned(rows: list[Any], most: int = 500) -> list[Any]:
    """Keep a curve readable: every k-th entry and the last."""
    if len(rows) <= most:
        return rows
    step = -(-len(rows) // most)
    return rows[::step] + ([rows[-1]] if (len(rows) - 1) % step else [])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
