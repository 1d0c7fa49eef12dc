"""What a comparison found: rows, tables, claims with standard errors, curves."""

import csv
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfsolve._core.version import VERSION
from nfsolve.metrics import larger_is_better
from nfsolve.studies.comparison.cells import Cell
from nfsolve.studies.comparison.jobs import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BESIDE = ("psnr", "psnr_heldout", "snr_heldout", "ssim", "iou", "iou_near", "relative_l2")  # scores that tables show


@dataclass(frozen=True)
class Result:
    """One reported run.

    Attributes:
        budget: What all methods got the same of: ``steps``, ``evaluations`` or ``seconds``.
        cell: The method.
        tuned: Options that tuning chose.
        tuning_score: Score of the tuning run that chose them.
        steps: Optimizer steps it was given.
        seed: Its seed.
        outcome: What it left.
    """

    budget: str
    cell: Cell
    tuned: tuple[str, ...]
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
        cells: The methods; the first one is the baseline.
        results: The runs.
        settings: How they were made, plain values.
        target: Score whose time is reported; None takes what every seed of the baseline reaches.
    """

    what: str
    score: str
    cells: list[Cell]
    results: list[Result]
    settings: dict[str, Any]
    target: float | None = None

    @property
    def budgets(self) -> list[str]:
        """The budgets, in order."""
        return list(dict.fromkeys(result.budget for result in self.results))

    def of(self, budget: str, cell: Cell) -> list[Result]:
        """Return the runs of one method at one budget, by seed."""
        return [result for result in self.results if result.budget == budget and result.cell == cell]

    def scores(self, budget: str, cell: Cell, key: str = "") -> list[float]:
        """Return a score of each seed; NaN where a run failed."""
        found = (result.outcome.metrics.get(key or self.score) for result in self.of(budget, cell))
        return [float(value) if isinstance(value, int | float) else math.nan for value in found]

    def goal(self, budget: str) -> float:
        """Return the score whose time is reported: what every seed of the baseline reached, unless one was named."""
        if self.target is not None:
            return self.target
        return (min if larger_is_better(self.score) else max)(self.scores(budget, self.cells[0]))

    def reached(self, budget: str, cell: Cell, column: str) -> float:
        """Return the mean over seeds of the steps, evaluations or seconds at which the goal was first reached.

        Args:
            budget: The budget.
            cell: The method.
            column: Column of the history.

        Returns:
            The mean; infinite where a seed never reached it.
        """
        return mean(
            _first(result.outcome.history, self.score, self.goal(budget), column) for result in self.of(budget, cell)
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row of plain values for each method and budget."""
        return [self._row(budget, cell) for budget in self.budgets for cell in self.cells]

    def _row(self, budget: str, cell: Cell) -> dict[str, Any]:
        runs = self.of(budget, cell)
        scores = self.scores(budget, cell)
        beside = [key for key in BESIDE if key != self.score and any(key in run.outcome.metrics for run in runs)]
        failed = [run.outcome.why for run in runs if self.score not in run.outcome.metrics]
        return {
            "case": self.what,
            "method": cell.name,
            "budget": f"equal {budget}",
            "options": " ".join(cell.words),
            "tuned": " ".join(runs[0].tuned),
            "tuning_score": runs[0].tuning_score,
            self.score: mean(scores),
            f"{self.score}_se": standard_error(scores),
            f"{self.score}_seeds": scores,
            **{key: mean(self.scores(budget, cell, key)) for key in beside},
            "seeds": len(runs),
            "steps": runs[0].steps,
            "evaluations": mean(self.scores(budget, cell, "evaluations")),
            "seconds": mean(self.scores(budget, cell, self.settings["clock"])),
            "target": self.goal(budget),
            "steps_to_target": self.reached(budget, cell, "step"),
            "seconds_to_target": self.reached(budget, cell, self.settings["clock"]),
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
        axes = dict.fromkeys(axis for cell in self.cells for axis, _ in cell.labels)
        for axis in axes:
            values = list(dict.fromkeys(dict(cell.labels).get(axis, "") for cell in self.cells))
            # of two values, one sentence says it all
            for value in values[1:] if len(values) < 3 else values:
                own = [cell for cell in self.cells if dict(cell.labels).get(axis) == value]
                other = [cell for cell in self.cells if cell not in own]
                lines.append(
                    self._claim(budget, f"{axis} {value}", self._chosen(budget, own), self._chosen(budget, other))
                )
        return lines

    def _chosen(self, budget: str, cells: list[Cell]) -> Cell:
        """Choose the method with the best mean in the table."""
        sign = 1 if larger_is_better(self.score) else -1

        def value(cell: Cell) -> float:
            score = mean(self.scores(budget, cell))
            return sign * score if math.isfinite(score) else -math.inf

        return max(cells, key=value)

    def _claim(self, budget: str, what: str, own: Cell, other: Cell) -> str:
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
            return head + f"gain {gain:+.3g} on one seed, which says nothing of its spread."
        if error == 0:
            return head + f"gain {gain:+.3g} on every seed."
        ratio = gain / error
        verdict = "better" if ratio > 2 else "worse" if ratio < -2 else "no difference beyond 2 standard errors"
        return head + f"gain {gain:+.3g} +- {error:.2g} (n = {len(gains)}), {ratio:+.1f} standard errors: {verdict}."

    def table(self) -> str:
        """Return the Markdown tables, one for each budget."""
        return "\n".join(self._table(budget) for budget in self.budgets)

    def _table(self, budget: str) -> str:
        rows = [self._row(budget, cell) for cell in self.cells]
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
                        row["tuned"].replace("--optimizer.", "").replace("--", "") or "-",
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
        """Write rows.json, table.csv, report.md and curves.png.

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
        self.figure().savefig(folder / "curves.png", dpi=120)

    def figure(self) -> "Figure":
        """Draw the score over steps and over seconds, mean and spread over seeds, one row for each budget."""
        from nfsolve.studies.comparison.curves import draw

        return draw(self)


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
    """Word a number for a table; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _first(history: list[dict[str, float]], key: str, goal: float, column: str) -> float:
    sign = 1 if larger_is_better(key) else -1
    reached = (row[column] for row in history if key in row and sign * row[key] >= sign * goal)
    return next(reached, math.inf)
