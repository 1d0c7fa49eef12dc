"""The page of a comparison: verdicts, tables, and curves that a reader can move."""

import html
import math
from typing import TYPE_CHECKING, Any

from nfsolve.metrics import larger_is_better
from nfsolve.plot.page import columns, document, paragraphs, run_curves

if TYPE_CHECKING:
    from nfsolve.studies.comparison.methods import Method
    from nfsolve.studies.comparison.results import Comparison

SHOWN = ("options", "tuned", "seeds", "steps", "evaluations", "seconds", "seconds_to_target", "parameters", "failed")


def comparison_page(comparison: "Comparison") -> str:
    """Write a comparison as one HTML file that needs no other.

    Args:
        comparison: The comparison.

    Returns:
        HTML: the claims, for each budget a table and the history of the middle seed of each method, and the protocol.
    """
    parts = [f"<h1>{html.escape(comparison.what)}</h1><div class='verdict'>{paragraphs(comparison.claims())}</div>"]
    curves: dict[str, list[dict[str, Any]]] = {}
    for budget in comparison.budgets:
        drawn = [_curves(comparison, budget, method) for method in comparison.methods]
        curves[f"history-{budget}"] = [found for found in drawn if found["names"]]
        parts += [
            f"<h2>Equal {budget}</h2>",
            columns({method.name: _column(comparison, budget, method) for method in comparison.methods}),
            paragraphs([f"Curves are those of the middle seed by {comparison.score}, or of the better of two."]),
            f"<div id='history-{budget}'></div>",
        ]
    parts += ["<h2>How it was done</h2>", paragraphs([comparison.protocol()])]
    return document(comparison.what, parts, {place: runs for place, runs in curves.items() if runs})


def _column(comparison: "Comparison", budget: str, method: "Method") -> dict[str, Any]:
    """Return what the table says about a method."""
    row = next(row for row in comparison.rows() if (row["method"], row["budget"]) == (method.name, f"equal {budget}"))
    error = row[f"{comparison.score}_se"]
    spread = f" +- {error:.2g}" if math.isfinite(error) else ""
    found = {comparison.score: f"{row[comparison.score]:.4g}{spread}"}
    found |= {key.replace("_", " "): row[key] for key in SHOWN if row[key] not in ("", None)}
    return {key: "never" if value == math.inf else value for key, value in found.items()}


def _curves(comparison: "Comparison", budget: str, method: "Method") -> dict[str, Any]:
    """Return the history of the seed in the middle; none where all runs failed."""
    runs = [run for run in comparison.of(budget, method) if comparison.score in run.outcome.metrics]
    runs.sort(key=lambda run: run.outcome.metrics[comparison.score], reverse=not larger_is_better(comparison.score))
    found = run_curves(method.name, runs[len(runs) // 2].outcome.history if runs else [])
    first = comparison.score if comparison.score in found["names"] else "loss"
    names = sorted(found["names"], key=lambda key: key != first)  # the score is what the chart begins with
    return found | {"names": {key: found["names"][key] for key in names}}
