"""A page about a run: one HTML file without links to others, made from what the run folder holds."""

import base64
import html
import json
import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from nfsolve.metrics import larger_is_better
from nfsolve.plot.explore import Explorer
from nfsolve.plot.measurement import named
from nfsolve.run.folder import CONFIG, ENVIRONMENT, METRICS, RunFolder
from nfsolve.run.solution import in_words

COUNTS = ("step", "seconds", "evaluations", "cpu_seconds")  # columns of the history that a curve may run over
SCORES = {
    "psnr_heldout": ("The PSNR", " dB", " on held-out data"),
    "psnr": ("The PSNR", " dB", ""),
    "iou": ("The intersection over union", "", ""),
}
GRADES = ((1e-6, "very accurate"), (1e-3, "accurate"), (5e-2, "rough"))
EXACT = 1e-12  # errors below it are those of rounding, which more steps do not lower
BETWEEN = 10.0  # held-out residuals that are as many times larger than trained ones are worth a sentence


def page(folder: RunFolder, citation: str, explored: Explorer | None = None, note: str = "") -> str:
    """Write the page of a run.

    Args:
        folder: The run folder.
        citation: BibTeX of what the run used.
        explored: Its solution, evaluated for maps and curves with sliders; None leaves them out.
        note: What to say where they are left out.

    Returns:
        HTML that needs no other file and no network.

    Raises:
        InputError: The folder holds no run, or one of its files is damaged.
    """
    config, rows = folder.config(), folder.history()
    metrics = folder.metrics() if (folder.path / METRICS).is_file() else {}
    environment = folder.path / ENVIRONMENT
    known = json.loads(environment.read_text()) if environment.is_file() else {}
    name, drawn = name_of(config), "n_points" in config["problem"].get("parameters", {})
    pictures = [_picture(path.name, path.read_bytes()) for path in sorted(folder.path.glob("*.png"), key=_place)]
    notes = [text for text in (explored.note if explored else "", note) if text]
    parts = [
        f"<h1>{html.escape(name)}</h1><p class='about'>{html.escape(_about(folder, known))}</p>",
        f"<div class='verdict'>{paragraphs(verdict(metrics, str(folder.path), drawn))}</div>",
        *(["<h2>Solution</h2>", paragraphs(notes), "<div id='explore'></div>"] if explored or notes else []),
        *(["<h2>History</h2><div id='history'></div>"] if len(rows) > 1 else []),
        *(["<h2>Pictures</h2><div class='pictures'>", *pictures, "</div>"] if pictures else []),
        *(["<h2>Scores</h2>", _table(in_words(metrics))] if metrics else []),
        "<h2>Configuration</h2>",
        _table(flat(config)),
        *(["<h2>Environment</h2>", _table(flat(known))] if known else []),
        f"<h2>Citation</h2><pre>{html.escape(citation)}</pre>",
    ]
    curves = {"history": [run_curves(name, rows)]} if len(rows) > 1 else {}
    return document(name, parts, curves, explored)


def side_by_side(runs: list[RunFolder]) -> str:
    """Write a page on several runs: what they reached, how, and in what their configurations differ.

    Args:
        runs: The run folders; they have ended.

    Returns:
        HTML as that of `page`.

    Raises:
        InputError: A folder holds no run that has ended.
    """
    names = _short([str(run.path) for run in runs])
    scores = {name: run.metrics() for name, run in zip(names, runs, strict=True)}
    configs = {name: flat(run.config()) for name, run in zip(names, runs, strict=True)}
    curves = [run_curves(name, rows) for name, run in zip(names, runs, strict=True) if len(rows := run.history()) > 1]
    keys = dict.fromkeys(key for config in configs.values() for key in config)
    differ = [key for key in keys if len({str(config.get(key)) for config in configs.values()}) > 1]
    said = best_of(scores)
    if len({str(run.config()["problem"]) for run in runs}) > 1:
        said.append(
            "The runs are not of the same problem with the same parameters, so their scores may not be comparable."
        )
    parts = [
        "<h1>Comparison</h1>",
        f"<div class='verdict'>{paragraphs(said)}</div>",
        *(["<h2>History</h2><div id='history'></div>"] if curves else []),
        "<h2>Scores</h2>",
        columns({name: in_words(values) for name, values in scores.items()}),
        "<h2>Where the configurations differ</h2>",
        columns({name: {key: config.get(key) for key in differ} for name, config in configs.items()}),
    ]
    return document("Comparison", parts, {"history": curves} if curves else {})


def best_of(scores: dict[str, dict[str, Any]]) -> list[str]:
    """Say which run is best in the first score that all of them have.

    Args:
        scores: Run -> its metrics.

    Returns:
        Sentences.
    """
    for key in ("relative_l2", *SCORES, "error_estimate"):
        values = {name: found.get(key) for name, found in scores.items()}
        if all(isinstance(value, float) and math.isfinite(value) for value in values.values()):
            order = sorted(values, key=lambda name: values[name] or 0.0, reverse=larger_is_better(key))
            listed = ", ".join(f"{name} {values[name]:.3g}" for name in order)
            return [
                f"By {curve_name(key)}, {order[0]} is best: {listed}.",
                "One run of each says nothing about the spread over seeds; nfsolve compare WHAT --axis measures that.",
            ]
    return ["The runs have no score in common."]


def columns(values: dict[str, dict[str, Any]]) -> str:
    """Write a table with a column for each of several dictionaries."""
    keys = dict.fromkeys(key for found in values.values() for key in found)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in values)
    rows = []
    for key in keys:
        cells = "".join(f"<td>{_shown(found.get(key))}</td>" for found in values.values())
        rows.append(f"<tr><td>{html.escape(key)}</td>{cells}</tr>")
    return f"<div class='wide'><table><tr><th></th>{head}</tr>{''.join(rows)}</table></div>"


def _short(paths: list[str]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart."""
    for parts in range(1, 10):
        names = ["/".join(Path(path).resolve().parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({i})" for i, path in enumerate(paths, 1)]


def document(
    title: str, parts: Iterable[str], curves: dict[str, list[dict[str, Any]]], explored: Explorer | None = None
) -> str:
    """Put a page together.

    Args:
        title: Its title.
        parts: HTML of its parts.
        curves: Identifier of a place in the parts -> what `run_curves` returns for each run to be drawn there.
        explored: What is drawn in the place ``explore``.

    Returns:
        HTML with style and program inside.
    """
    style, program = (Path(__file__).with_name(f"page.{end}").read_text(encoding="utf-8") for end in ("css", "js"))
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>"
        f"<title>{html.escape(title)}</title><style>{style}</style>"
    )
    data = {
        "histories": [{"id": place, "runs": runs} for place, runs in curves.items()],
        "explorer": explored.plain() if explored else None,
    }
    kept = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    program = f"<script type='application/json' id='data'>{kept}</script><script>{program}</script>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>{''.join(parts)}{program}</body></html>\n"


def name_of(config: dict[str, Any]) -> str:
    """Return the name of the problem of a run."""
    return str(config["problem"].get("class") or config["problem"].get("what", "run")).rpartition(":")[2]


def run_curves(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the history of a run as a page draws it: its rows, and the names of its curves."""
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in COUNTS and not _beside(key)]
    kept = [
        {key: row[key] for key in (*COUNTS, *keys) if isinstance(row.get(key), int | float) and math.isfinite(row[key])}
        for row in rows
    ]
    drawn = [key for key in keys if any(key in row for row in kept)]
    return {"name": name, "rows": kept, "names": {key: curve_name(key) for key in drawn}}


def curve_name(key: str) -> str:
    """Return the name of a column of the history for readers."""
    for start, word in {"rms/": "residual ", "heldout/": "held-out residual ", "unknown/": ""}.items():
        if key.startswith(start):
            return word + key.removeprefix(start)
    named = {"relative_l2": "relative L2 error", "psnr": "PSNR / dB", "psnr_heldout": "PSNR on held-out data / dB"}
    return named.get(key, key.replace("_", " "))


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries and lists of them into one of ``a.b``, without what is not set."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        items = value if isinstance(value, dict) else {}
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            items = {str(i): item for i, item in enumerate(value, 1)}
        if items:
            found |= flat({str(k): v for k, v in items.items()}, f"{before}{key}.")
        elif value is not None and value != {} and value != []:
            found[f"{before}{key}"] = value
    return found


def _about(folder: RunFolder, environment: dict[str, Any]) -> str:
    """Say which run it is, with which version, and when it was made."""
    made = datetime.fromtimestamp((folder.path / CONFIG).stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    version = environment.get("nfsolve")
    return f"run folder {folder.path}, of {made}" + (f", nfsolve {version}" if version else "")


def verdict(metrics: dict[str, Any], folder: str, drawn: bool = True) -> list[str]:
    """Say how good a run is, why it ended, and what to try.

    Args:
        metrics: What ``metrics.json`` holds; nothing where the run has not ended.
        folder: Path of the run folder.
        drawn: Whether its points were drawn, so that there may be more of them; they are data otherwise.

    Returns:
        Sentences.
    """
    if not metrics:
        return [f"The run has not ended. Continue it: nfsolve run --resume {folder}"]
    stopped = str(metrics.get("stopped", ""))
    said = [_quality(metrics), f"Why it ended: {stopped}." if stopped else ""]
    if any(word in stopped for word in ("diverge", "non-finite")):
        return [
            *said,
            "The result cannot be used. Try a smaller learning rate, or another optimizer, such as gauss_newton.",
        ]
    grown = [
        key[8:]
        for key, value in metrics.items()
        if key.startswith("heldout/") and _larger(value, metrics.get(f"rms/{key[8:]}"))
    ]
    if grown:
        said.append(
            f"Between the trained points the residual of {', '.join(grown)} is more than {BETWEEN:g} times as large. "
            + ("Try more points (--n-points) or --adaptive rad." if drawn else "Try a smoother or smaller field.")
        )
    error = metrics.get("relative_l2", metrics.get("error_estimate"))
    if "limit" in stopped and not (isinstance(error, float) and error < EXACT):
        said.append(f"It had not converged; more steps may help: nfsolve run --resume {folder} --steps N")
    return [text for text in said if text]


def _quality(metrics: dict[str, Any]) -> str:
    for key, what in {"relative_l2": "compared with the reference", "error_estimate": "estimated"}.items():
        error = metrics.get(key)
        if isinstance(error, float):
            grade = next((word for most, word in GRADES if error <= most), "not yet a solution")
            return f"The result is {grade}: its relative L2 error, {what}, is {error:.2g}."
    for key, (name, unit, where) in SCORES.items():
        if isinstance(metrics.get(key), float):
            return f"{name}{where} is {metrics[key]:.4g}{unit}.{_rival(metrics, key, unit)}"
    return "There is nothing to compare the result with: judge it by the residuals at held-out points below."


def _rival(metrics: dict[str, Any], key: str, unit: str) -> str:
    """Return what the best classical method reaches in a score, as a sentence; empty where none was run."""
    found = {
        k.removeprefix(f"{key}_"): v for k, v in metrics.items() if k.startswith(f"{key}_") and isinstance(v, float)
    }
    others = {name: value for name, value in found.items() if f"seconds_{name}" in metrics}
    if not others:
        return ""
    best = max(others, key=others.__getitem__)
    return f" The best of the classical methods, {named(best)}, reaches {others[best]:.4g}{unit}."


def _larger(heldout: Any, trained: Any) -> bool:
    numbers = isinstance(heldout, float) and isinstance(trained, float)
    return numbers and heldout > BETWEEN * trained and heldout > 1e-10


def _beside(key: str) -> bool:
    return key.endswith("_per_second") or key in ("window", "windows", "stage", "points")


def _place(path: Path) -> tuple[bool, str]:
    """Put the picture of the solution first."""
    return path.name != "solution.png", path.name


def _picture(name: str, data: bytes) -> str:
    return f"<img alt='{html.escape(name)}' src='data:image/png;base64,{base64.b64encode(data).decode()}'>"


def _table(values: dict[str, Any]) -> str:
    cells = (f"<tr><td>{html.escape(key)}</td><td>{_shown(value)}</td></tr>" for key, value in values.items())
    return f"<div class='wide'><table>{''.join(cells)}</table></div>"


def _shown(value: Any) -> str:
    return html.escape("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))


def paragraphs(sentences: Iterable[str]) -> str:
    """Write sentences as paragraphs of HTML."""
    return "".join(f"<p>{html.escape(text)}</p>" for text in sentences)
