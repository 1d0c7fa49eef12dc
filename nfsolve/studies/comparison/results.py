"""What a comparison found: rows, tables, claims with standard errors, curves."""

import csv
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nfsolve._core.version import VERSION
from nfsolve.metrics import larger_is_better
from nfsolve.plot import panels
from nfsolve.studies.comparison.jobs import Outcome
from nfsolve.studies.comparison.methods import Method, Tuned
from nfsolve.studies.comparison.report import comparison_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BESIDE = ("psnr", "psnr_heldout", "snr_heldout", "ssim", "iou", "iou_near", "relative_l2")  # scores that tables show
POINTS = 100  # of a curve


@dataclass(frozen=True)
class Result:
    """One reported run.

    Attributes:
        budget: What all methods got the same of: ``steps``, ``evaluations`` or ``seconds``.
        method: The method.
        tuned: Options that tuning chose.
        tuning_score: Score of the tuning run that chose them.
        steps: Optimizer steps it was given.
        seed: Its seed.
        outcome: What it left.
    """

    budget: str
    method: Method
    tuned: Tuned
    tuning_score: float
    steps: int
    seed: int
    outcome: Outcome


@dataclass
class Comparison:
    """All reported runs of a comparison.

    Attributes:
        what: The problem.
        score: Key of the score that judges.
        methods: The methods; the first one is the baseline.
        results: The runs.
        settings: How they were made, plain values.
        target: Score whose time is reported; None takes what every seed of the baseline reaches.
    """

    what: str
    score: str
    methods: list[Method]
    results: list[Result]
    settings: dict[str, Any]
    target: float | None = None

    @property
    def budgets(self) -> list[str]:
        """The budgets, in order."""
        return list(dict.fromkeys(result.budget for result in self.results))

    def of(self, budget: str, method: Method) -> list[Result]:
        """Return the runs of one method at one budget, by seed."""
        return [result for result in self.results if result.budget == budget and result.method == method]

    def scores(self, budget: str, method: Method, key: str = "") -> list[float]:
        """Return a score of each seed; NaN where a run failed."""
        found = (result.outcome.metrics.get(key or self.score) for result in self.of(budget, method))
        return [float(value) if isinstance(value, int | float) else math.nan for value in found]

    def goal(self, budget: str) -> float:
        """Return the score whose time is reported: what every seed of the baseline reached, unless one was named."""
        if self.target is not None:
            return self.target
        return (min if larger_is_better(self.score) else max)(self.scores(budget, self.methods[0]))

    def reached(self, budget: str, method: Method, column: str) -> float:
        """Return the mean over seeds of the steps, evaluations or seconds at which the goal was first reached.

        Args:
            budget: The budget.
            method: The method.
            column: Column of the history.

        Returns:
            The mean; infinite where a seed never reached it.
        """
        return mean(
            _first(result.outcome.history, self.score, self.goal(budget), column) for result in self.of(budget, method)
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row of plain values for each method and budget."""
        return [self._row(budget, method) for budget in self.budgets for method in self.methods]

    def _row(self, budget: str, method: Method) -> dict[str, Any]:
        runs = self.of(budget, method)
        scores = self.scores(budget, method)
        beside = [key for key in BESIDE if key != self.score and any(key in run.outcome.metrics for run in runs)]
        failed = [run.outcome.why for run in runs if self.score not in run.outcome.metrics]
        return {
            "case": self.what,
            "method": method.name,
            "budget": f"equal {budget}",
            "options": method.changes,
            "tuned": ", ".join(f"{name} {_plain(value)}" for name, value in runs[0].tuned),
            "tuning_score": runs[0].tuning_score,
            self.score: mean(scores),
            f"{self.score}_se": standard_error(scores),
            f"{self.score}_seeds": scores,
            **{key: mean(self.scores(budget, method, key)) for key in beside},
            "seeds": len(runs),
            "steps": runs[0].steps,
            "evaluations": mean(self.scores(budget, method, "evaluations")),
            "seconds": mean(self.scores(budget, method, self.settings["clock"])),
            "target": self.goal(budget),
            "steps_to_target": self.reached(budget, method, "step"),
            "seconds_to_target": self.reached(budget, method, self.settings["clock"]),
            "parameters": runs[0].outcome.metrics.get("parameters"),
            "failed": "; ".join(dict.fromkeys(failed)),
        }

    def claims(self) -> list[str]:
        """Return a sentence for each value of each axis: its gain over the best method without it.

        Both are the best ones of the table, so that a reader can check the sentence; the gain is paired by seed. With
        many methods and few seeds, the best of many is a little lucky.
        """
        return [line for budget in self.budgets for line in self._claims(budget)]

    def _claims(self, budget: str) -> list[str]:
        lines = []
        axes = dict.fromkeys(axis for method in self.methods for axis, _ in method.labels)
        for axis in axes:
            values = list(dict.fromkeys(dict(method.labels).get(axis, "") for method in self.methods))
            # of two values, one sentence says it all
            for value in values[1:] if len(values) < 3 else values:
                own = [method for method in self.methods if dict(method.labels).get(axis) == value]
                other = [method for method in self.methods if method not in own]
                lines.append(
                    self._claim(budget, f"{axis} {value}", self._chosen(budget, own), self._chosen(budget, other))
                )
        return lines

    def _chosen(self, budget: str, methods: list[Method]) -> Method:
        """Choose the method with the best mean in the table."""
        sign = 1 if larger_is_better(self.score) else -1

        def value(method: Method) -> float:
            score = mean(self.scores(budget, method))
            return sign * score if math.isfinite(score) else -math.inf

        return max(methods, key=value)

    def _claim(self, budget: str, what: str, own: Method, other: Method) -> str:
        sign = 1 if larger_is_better(self.score) else -1
        a, b = self.scores(budget, own), self.scores(budget, other)
        gains = [sign * (x - y) for x, y in zip(a, b, strict=True)]
        gain, error = mean(gains), standard_error(gains)
        head = (
            f"At equal {budget}, {what} ({own.name}: {number(mean(a))}) against the best without it "
            f"({other.name}: {number(mean(b))}): "
        )
        if not math.isfinite(gain):
            return head + "a run failed, no gain can be given."
        if not math.isfinite(error):
            return head + f"gain {gain:+.3g} on one seed, which says nothing about its spread."
        if error == 0:
            return head + f"gain {gain:+.3g} on every seed."
        ratio = gain / error
        verdict = "better" if ratio > 2 else "worse" if ratio < -2 else "no difference beyond 2 standard errors"
        return head + f"gain {gain:+.3g} +- {error:.2g} (n = {len(gains)}), {ratio:+.1f} standard errors: {verdict}."

    def table(self) -> str:
        """Return the Markdown tables, one for each budget."""
        return "\n".join(self._table(budget) for budget in self.budgets)

    def _table(self, budget: str) -> str:
        rows = [self._row(budget, method) for method in self.methods]
        beside = [key for key in BESIDE if key != self.score and any(key in row for row in rows)]
        head = [
            "method", "tuned", f"{self.score} (mean +- s.e.)", *beside, "steps", "evaluations", "seconds",
            f"steps / s to {number(rows[0]['target'])}", "parameters",
        ]  # fmt: skip
        lines = [f"Equal {budget}:", "", _line(head), _line("---" for _ in head)]
        for row in rows:
            error = row[f"{self.score}_se"]
            score = number(row[self.score]) + (f" +- {number(error, 2)}" if math.isfinite(error) else "")
            lines.append(
                _line(
                    [
                        row["method"],
                        row["tuned"] or "-",
                        f"failed: {row['failed']}" if row["failed"] else score,
                        *(number(row.get(key, math.nan)) for key in beside),
                        str(row["steps"]),
                        number(row["evaluations"]),
                        number(row["seconds"], 3),
                        f"{number(row['steps_to_target'])} / {number(row['seconds_to_target'], 3)}",
                        str(row["parameters"]),
                    ]
                )
            )
        return "\n".join([*lines, ""])

    def text(self) -> str:
        """Return tables, claims and protocol as Markdown."""
        return "\n".join([self.table(), "", *(f"- {claim}" for claim in self.claims()), "", self.protocol(), ""])

    def protocol(self) -> str:
        """Say in words how the numbers were made."""
        s = self.settings
        tuned = "Nothing was tuned."
        if s["tune"]:
            other = f" with {s['tune_with']}" if s["tune_with"] else " on the same data"
            tuned = (
                f"For each method on its own, {' and '.join(s['tune'])} was chosen by {self.score} with seed "
                f"{s['tune_seed']}{other}, {s['tune_steps']} steps."
            )
        extra = f" Options of all runs: {s['options']}." if s["options"] else ""
        clock = {
            "cpu_seconds": "Seconds are those of the processor, on one thread.",
            "seconds": "Seconds are wall-clock, with the other runs beside.",
        }[s["clock"]]
        return (
            f"{self.what}, {s['seeds']} seed(s), the same for all methods, {s['threads']} thread(s) a run.{extra} "
            f"{tuned} {clock}"
        )

    def save(self, folder: Path) -> None:
        """Write rows.json, table.csv, report.md, report.html and curves.png.

        Args:
            folder: Where.
        """
        rows = self.rows()
        plain = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows
        ]
        stamped = {"version": VERSION, "settings": self.settings, "rows": plain, "claims": self.claims()}
        (folder / "rows.json").write_text(json.dumps(stamped, indent=1) + "\n")
        with (folder / "table.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
            writer.writeheader()
            writer.writerows(rows)
        (folder / "report.md").write_text(f"# {self.what}\n\n{self.text()}")
        (folder / "report.html").write_text(comparison_page(self), encoding="utf-8")
        with panels.styled():
            self.figure().savefig(folder / "curves.png")

    @panels.styled()
    def figure(self) -> "Figure":
        """Draw the score over steps, evaluations and seconds, mean and standard error over seeds, a row a budget."""
        columns = ("step", "evaluations", self.settings["clock"])
        figure = panels.new_figure(11, 1 + 3 * len(self.budgets))
        axes = figure.subplots(len(self.budgets), len(columns), squeeze=False)
        colours = panels.colours(len(self.methods))
        for row, budget in zip(axes, self.budgets, strict=True):
            for axis, column in zip(row, columns, strict=True):
                for method, colour in zip(self.methods, colours, strict=True):
                    self._curve(axis, budget, method, column, colour)
                axis.axhline(self.goal(budget), color="0.6", linewidth=0.8, linestyle=":")
                axis.set(xlabel=column, title=f"equal {budget}, mean and standard error")
                axis.grid(alpha=0.3)
                if not larger_is_better(self.score):
                    axis.set_yscale("log")
            row[0].set_ylabel(self.score)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(self.methods), 5))
        return figure

    def _curve(self, axis: Any, budget: str, method: Method, column: str, colour: Any) -> None:
        found = []
        for run in self.of(budget, method):
            rows = [row for row in run.outcome.history if self.score in row and column in row]
            if len(rows) > 1:
                found.append((np.array([row[column] for row in rows]), np.array([row[self.score] for row in rows])))
        if not found:
            return
        at = np.linspace(0, min(x[-1] for x, _ in found), POINTS)
        values = np.stack([np.interp(at, x, y) for x, y in found])
        middle = values.mean(0)
        axis.plot(at, middle, color=colour, label=method.name, linewidth=1.3)
        if len(found) > 1:
            error = values.std(0, ddof=1) / len(found) ** 0.5
            axis.fill_between(at, middle - error, middle + error, color=colour, alpha=0.15, linewidth=0)


def mean(values: Iterable[float]) -> float:
    """Return the mean; NaN of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; NaN for fewer than two values, or where one is missing."""
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))


def number(value: float, digits: int = 4) -> str:
    """Return a number as a text for a table; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first(history: list[dict[str, float]], key: str, goal: float, column: str) -> float:
    sign = 1 if larger_is_better(key) else -1
    reached = (row[column] for row in history if key in row and sign * row[key] >= sign * goal)
    return next(reached, math.inf)
