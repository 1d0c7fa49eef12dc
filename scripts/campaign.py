"""Campaigns: comparisons that take days, of which every finished run is a row in a file at once.

A run is a run of `nfsolve.compare`, in a process of one thread. Its row holds its scores, its processor seconds and a
short history; from these rows alone the comparison goes on, in another session or on another machine. What a killed
run had reached is in its run folder, as of ten seconds before, and the same command on the same machine goes on there.
"""

import argparse
import csv
import dataclasses
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import pickle
import shlex
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nfsolve.run.folder import HISTORY, METRICS
from nfsolve.studies.comparison import Settings, Words, compare_words
from nfsolve.studies.comparison.jobs import ERROR, Job, Outcome, read
from scripts.measuring import FOLDER, ONE_THREAD, Row, markdown, read_rows, stamp, write_rows

WORK = Path("comparisons")
CONTROL = ("full", "only", "seeds", "hours", "processes", "methods")  # what is run and when, not what it is
KEY = ("table", "options", "method", "pilot", "tuned", "steps", "seed")  # columns that make a row one of its kind
CURVE = ("step", "evaluations", "seconds", "cpu_seconds")  # columns of the short history, besides the score


@dataclass(frozen=True)
class Table:
    """One table of a reproduction.

    Attributes:
        name: Short, for file names.
        title: Heading.
        what: The problem.
        methods: The methods, the baseline first.
        settings: How they are compared.
        options: Options of every run.
        published: Method -> what the paper says of it, in its own setting.
        note: What is different from the paper, and what to look at.
        needs: Files of $NFSOLVE_DATA without which a campaign leaves it out.
    """

    name: str
    title: str
    what: str
    methods: Sequence[Words]
    settings: Settings
    options: Sequence[str] = ()
    published: dict[str, str] = field(default_factory=dict)
    note: str = ""
    needs: Sequence[str] = ()


class TimeUp(Exception):
    """No more runs may be started."""


class Keeping(Executor):
    """Runs one after the other, each of which is written as a row as soon as it ends.

    Args:
        path: File of the rows.
        about: Columns that all rows have: the table, the options of the campaign, and the score, empty for the
            problem's own.
        inner: Where the runs are done.
        until: What `time.monotonic` says when no more of them are started.
        told: Called after each row.
    """

    def __init__(self, path: Path, about: Row, inner: Executor, until: float, told: Callable[[], None]):
        self.path, self.about, self.inner, self.until, self.told = path, about, inner, until, told
        self._turn = ThreadPoolExecutor(1)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a run of a comparison."""
        return self._turn.submit(self._run, fn, *args)

    def _run(self, fn: Callable[..., Outcome], packed: bytes, out: Path, threads: int, file: str) -> Outcome:
        if time.monotonic() > self.until:
            raise TimeUp
        outcome = self.inner.submit(fn, packed, out, threads, file).result()
        job: Job = pickle.loads(packed)
        score = {"score": self.about["score"] or job.start().problem.score}
        row = self.about | score | row_of(job, outcome, out) | stamp(threads)
        write_rows(self.path, [kept for kept in read_rows(self.path) if not _same(kept, row)] + [row])
        self.told()
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget the runs that have not begun."""
        self._turn.shutdown(wait, cancel_futures=cancel_futures)


def _same(row: Row, other: Row) -> bool:
    return all(row[name] == other[name] for name in KEY)


def row_of(job: Job, outcome: Outcome, out: Path) -> Row:
    """Return what is kept of a run, all that a comparison needs of it.

    Args:
        job: The run.
        outcome: What it left.
        out: Folder of the comparison.
    """
    used = [name for name in outcome.metrics if name in {n for row in outcome.history for n in row}]
    scores = [name for name in used if name not in CURVE and "/" not in name and name not in ("loss", "steps")]
    curve = [
        {name: float(f"{row[name]:.6g}") for name in (*CURVE, *scores) if name in row and math.isfinite(row[name])}
        for row in outcome.history
    ]
    return {
        "method": job.method.name,
        "changes": job.method.changes,
        "pilot": job.pilot,
        "tuned": dict(job.tuned),
        "steps": job.steps,
        "seed": job.seed,
        "run": job.folder(out).relative_to(out / "runs").as_posix(),
        "metrics": outcome.metrics,
        "error": outcome.error,
        "curve": curve,
    }


def restore(rows: Sequence[Row], out: Path) -> None:
    """Write run folders from rows, so that a comparison finds these runs done, and only these.

    A run that was killed between its end and its row is done again.

    Args:
        rows: The rows of one table.
        out: Folder of the comparison.
    """
    known = {out / "runs" / row["run"] for row in rows}
    for folder in (out / "runs").glob("*/*"):
        if folder not in known and read(folder) is not None:
            shutil.rmtree(folder)
    for folder, row in ((out / "runs" / row["run"], row) for row in rows):
        if read(folder) is not None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if row["error"]:
            (folder / ERROR).write_text(row["error"])
            continue
        with (folder / HISTORY).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for point in row["curve"] for name in point)))
            writer.writeheader()
            writer.writerows(row["curve"])
        (folder / METRICS).write_text(json.dumps(row["metrics"]))  # last: it says that the run is done


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, which a kill would leave without an owner."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def process() -> Executor:
    """Return a process of one thread that ends with this one."""
    for name, value in ONE_THREAD.items():  # which a process that is started reads before it imports anything
        os.environ[name] = value
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent)


def is_there(name: str) -> bool:
    """Whether a file lies under $NFSOLVE_DATA."""
    return (Path(os.environ.get("NFSOLVE_DATA", ".")) / name).is_file()


def words_of(made: argparse.ArgumentParser, said: argparse.Namespace) -> str:
    """Return the options that decide what the runs are, as written on the command line."""
    changed = {n: v for n, v in vars(said).items() if n not in CONTROL and v != made.get_default(n)}
    return shlex.join(word for n, v in changed.items() for word in (f"--{n.replace('_', '-')}", f"{v}"))


def campaign(
    name: str,
    intro: str,
    made: argparse.ArgumentParser,
    tables: Callable[[argparse.Namespace], Sequence[Table]],
    said: argparse.Namespace,
    inner: Executor | None = None,
) -> None:
    """Do what has no row yet, the first seed of all tables before the second one, and write benchmarks/NAME_full.md.

    Args:
        name: Of the reproduction.
        intro: First paragraph of the report.
        made: The parser of the options.
        tables: Makes the tables from them.
        said: The options.
        inner: Where the runs are done; default a process of one thread.

    Raises:
        SystemExit: More than one run at the same time was asked for, or another process does this campaign.
    """
    if said.processes > 1:
        raise SystemExit(
            f"a campaign does one run at a time, got --processes {said.processes}; leave it out, and start another "
            "script of a reproduction beside this one"
        )
    path, options = FOLDER / f"{name}_full.json", words_of(made, said)
    until = math.inf if said.hours is None else time.monotonic() + 3600 * said.hours

    def told() -> None:
        path.with_suffix(".md").write_text(report(name, intro, made, tables, read_rows(path), said.seeds))

    mine = []
    for table in tables(said):
        missing = [file for file in table.needs if not is_there(file)]
        if said.only and table.name not in said.only:
            continue
        if missing:
            print(f"== {table.name}: left out, for $NFSOLVE_DATA has no {', '.join(missing)}", flush=True)
            continue
        mine.append(table)
    lock = FileLock(WORK / f"{name}_full" / "lock", timeout=0)
    (WORK / f"{name}_full").mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise SystemExit(f"another process does the campaign of {name}; wait until it ends, or end it") from error
    own, inner = inner is None, inner or process()
    try:
        for seeds in range(1, said.seeds + 1):
            for table in mine:
                about = {"table": table.name, "options": options, "score": table.settings.score}
                out = WORK / f"{name}_full" / table.name
                restore([r for r in read_rows(path) if r["table"] == table.name], out)
                print(f"== {name}: {table.title}, {options}, {seeds} of {said.seeds} seeds", flush=True)
                keeping = Keeping(path, about, inner, until, told)
                settings = dataclasses.replace(
                    table.settings, seeds=seeds, processes=1, threads=1, out=out, executor=keeping
                )
                extra = ("--device", said.device) if said.device != "cpu" else ()
                try:
                    compare_words(table.what, table.methods, settings, [*table.options, *extra], _say)
                finally:
                    keeping.shutdown(cancel_futures=True)
    except TimeUp:
        print("the time is up: the same command goes on from here", flush=True)
    finally:
        lock.release()
        if own:
            inner.shutdown(cancel_futures=True)
    if path.exists():
        told()


def _say(line: str) -> None:
    print(line, flush=True)


def report(
    name: str,
    intro: str,
    made: argparse.ArgumentParser,
    tables: Callable[[argparse.Namespace], Sequence[Table]],
    rows: Sequence[Row],
    seeds: int,
) -> str:
    """Lay out all rows, a section for each table and size, those that are not finished labelled as such.

    Args:
        name: Of the reproduction.
        intro: First paragraph.
        made: The parser of the options.
        tables: Makes the tables from them.
        rows: The rows.
        seeds: Seeds that were asked for.
    """
    command = f"python -m scripts.{name} --full"
    title, _, rest = intro.strip().partition("\n")
    parts = [
        f"{title}, run by run\n{rest}",
        f"Every run is a row of `{name}_full.json`. `{command}` goes on with what is missing.",
    ]
    for options in dict.fromkeys(row["options"] for row in rows):
        for table in tables(made.parse_args(["--full", *shlex.split(options)])):
            own = [r for r in rows if r["options"] == options and r["table"] == table.name]
            if own:
                parts.append(f"## {table.title} ({options.replace('--', '')})\n\n{section(table, own, seeds)}")
                parts.append(f"`{command} {options} --only {table.name}`")
    return "\n\n".join(parts) + "\n"


def section(table: Table, rows: Sequence[Row], seeds: int) -> str:
    """Lay out the rows of one table: means over seeds, the number of runs that there are, and what is missing.

    Args:
        table: The table.
        rows: Its rows, those of tuning among them.
        seeds: Seeds that were asked for.
    """
    score = rows[0]["score"]
    done = [row for row in rows if not row["pilot"]]
    seeds = max([seeds, *(row["seed"] + 1 for row in done)])
    groups: dict[tuple[str, int, str], list[Row]] = {}
    names = [", ".join(value for _, value in words.labels) for words in table.methods]
    for row in sorted(done, key=lambda row: names.index(row["method"]) if row["method"] in names else 10**6):
        groups.setdefault((row["method"], row["steps"], json.dumps(row["tuned"])), []).append(row)
    lines = []
    for (method, steps, tuned), own in groups.items():
        found = [r["metrics"][score] for r in own if isinstance(r["metrics"].get(score), int | float)]
        spread = f" ± {statistics.stdev(found):.2g}" if len(found) > 1 else ""
        seconds = [r["metrics"]["cpu_seconds"] for r in own if "cpu_seconds" in r["metrics"]]
        lines.append(
            [
                method,
                ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in json.loads(tuned).items())
                or "-",
                f"{statistics.mean(found):.4g}{spread}" if found else f"failed: {own[0]['error'][:80]}",
                str(len(own)),
                str(steps),
                f"{statistics.mean(seconds):.0f}" if seconds else "-",
                table.published.get(method, "-"),
            ]
        )
    pairs = {(row["method"], row["seed"]) for row in done}
    total = len(names) * seeds
    label = f"{len(pairs)} of {total} runs" + ("." if len(pairs) >= total else ": **a partial table**.")
    tuning = sum(row["pilot"] for row in rows)
    missing = [name for name in names if not any(row["method"] == name for row in done)]
    label += f" {tuning} runs for tuning are not among them." if tuning else ""
    label += f" Not run yet: {', '.join(missing)}." if missing else ""
    machines = "; ".join(dict.fromkeys(f"{row['machine']}, {row['version']}" for row in rows))
    header = ["method", "tuned", f"{score} (mean ± s.d.)", "seeds", "steps", "processor seconds a run", "published"]
    others = [f"{key}: {value}" for key, value in table.published.items() if key not in names]
    published = f"Published, in the paper's own setting: {'; '.join(others)}." if others else ""
    texts = [
        table.note,
        published,
        label,
        markdown(header, lines).rstrip() if lines else "",
        f"Measured on {machines}.",
    ]
    return "\n\n".join(text for text in texts if text)
