"""A page about a run: one HTML file without links to others, made from what the run folder holds."""

import base64
import html
import io
from collections.abc import Iterable
from typing import Any

from nfsolve._core.errors import require
from nfsolve.run.folder import CONFIG, ENVIRONMENT, METRICS, RunFolder
from nfsolve.run.solution import in_words

STYLE = """body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
img,svg{max-width:100%;height:auto}table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
pre{background:#f4f4f4;padding:1rem;overflow:auto}.verdict{border-left:.4rem solid #0072b2;padding:.2rem 1rem}"""
GRADES = ((1e-6, "very accurate"), (1e-3, "accurate"), (5e-2, "rough"))
BETWEEN = 10.0  # held-out residuals that are as many times larger than trained ones are worth a sentence


def page(folder: RunFolder, citation: str) -> str:
    """Write the page of a run.

    Args:
        folder: The run folder.
        citation: BibTeX of what the run used.

    Returns:
        HTML that needs no other file and no network.

    Raises:
        InputError: The folder holds no run, or one of its files is damaged.
        MissingExtra: matplotlib is not installed.
    """
    config, rows = folder.config(), folder.history()
    metrics = folder.metrics() if (folder.path / METRICS).is_file() else {}
    files = [path for name in (CONFIG, ENVIRONMENT) if (path := folder.path / name).is_file()]
    name = str(config["problem"].get("class") or config["problem"].get("what", "run")).rpartition(":")[2]
    pictures = [_picture(path.name, path.read_bytes()) for path in sorted(folder.path.glob("*.png"))]
    parts = [
        f"<h1>{html.escape(name)}</h1><div class='verdict'>{_paragraphs(verdict(metrics, str(folder.path)))}</div>",
        *(["<h2>Pictures</h2>", *pictures] if pictures else []),
        *(["<h2>History</h2>", curves(rows)] if len(rows) > 1 else []),
        *(["<h2>Scores</h2>", _table(in_words(metrics))] if metrics else []),
        *(f"<h2>{path.name}</h2><pre>{html.escape(path.read_text())}</pre>" for path in files),
        f"<h2>Citation</h2><pre>{html.escape(citation)}</pre>",
    ]
    head = f"<meta charset='utf-8'><title>{html.escape(name)}</title><style>{STYLE}</style>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>{''.join(parts)}</body></html>\n"


def verdict(metrics: dict[str, Any], folder: str) -> list[str]:
    """Say how good a run is, why it ended, and what to try.

    Args:
        metrics: What ``metrics.json`` holds; nothing where the run has not ended.
        folder: Path of the run folder.

    Returns:
        Sentences.
    """
    if not metrics:
        return [f"The run has not ended. Continue it: nfsolve run --resume {folder}"]
    stopped = str(metrics.get("stopped", ""))
    said = [_quality(metrics), f"It ended because of this: {stopped}." if stopped else ""]
    if any(word in stopped for word in ("diverge", "non-finite")):
        return [*said, "The result cannot be used. Try a smaller learning rate, or another optimizer, as gauss_newton."]
    grown = [
        key[8:]
        for key, value in metrics.items()
        if key.startswith("heldout/") and _larger(value, metrics.get(f"rms/{key[8:]}"))
    ]
    if grown:
        said.append(
            f"Between the trained points the residual of {', '.join(grown)} is more than {BETWEEN:g} times as large. "
            "Try more points (--n-points) or --adaptive rad."
        )
    if "limit" in stopped:
        said.append(f"It had not converged; more steps may help: nfsolve run --resume {folder} --steps N")
    return [text for text in said if text]


def _quality(metrics: dict[str, Any]) -> str:
    for key, what in {"relative_l2": "compared with the reference", "error_estimate": "estimated"}.items():
        error = metrics.get(key)
        if isinstance(error, float):
            grade = next((word for most, word in GRADES if error <= most), "not yet a solution")
            return f"The result is {grade}: its relative L2 error, {what}, is {error:.2g}."
    for key, unit in {"psnr_heldout": " dB on what was held out", "psnr": " dB", "iou": ""}.items():
        if isinstance(metrics.get(key), float):
            return f"Its score {key} is {metrics[key]:.4g}{unit}."
    return "There is nothing to compare the result with: judge it by the residuals at held-out points below."


def _larger(heldout: Any, trained: Any) -> bool:
    numbers = isinstance(heldout, float) and isinstance(trained, float)
    return numbers and heldout > BETWEEN * trained and heldout > 1e-10


def curves(rows: list[dict[str, Any]]) -> str:
    """Draw loss, residuals and error over the steps.

    Args:
        rows: The history.

    Returns:
        An SVG element.
    """
    require("matplotlib", "plot", "the history of a report")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if _drawn(key)]
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if _positive(row.get(key))]
        if points:
            name = key.replace("rms/", "residual ").replace("relative_l2", "relative error")
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) < 30 else "")
    axes.set(xlabel="steps", ylabel="loss, rms of residuals, error", yscale="log")
    if axes.lines:
        figure.legend(loc="outside right upper", fontsize="small")
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "nfsolve"}):  # text as text, and the same ids each time
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _drawn(key: str) -> bool:
    return key in ("loss", "relative_l2") or key.startswith("rms/")


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < float("inf")


def _picture(name: str, data: bytes) -> str:
    return f"<p><img alt='{html.escape(name)}' src='data:image/png;base64,{base64.b64encode(data).decode()}'></p>"


def _table(values: dict[str, Any]) -> str:
    def shown(value: Any) -> str:
        return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))

    cells = (f"<tr><td>{html.escape(key)}</td><td>{shown(value)}</td></tr>" for key, value in values.items())
    return f"<table>{''.join(cells)}</table>"


def _paragraphs(sentences: Iterable[str]) -> str:
    return "".join(f"<p>{html.escape(text)}</p>" for text in sentences)
