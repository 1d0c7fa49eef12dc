"""Run folders: everything that a run leaves behind, written so that a crash spoils nothing.

A folder holds ``config.json`` (rebuilds the run), ``environment.json``, ``history.csv``, ``metrics.json``,
``checkpoint.pt``, ``field.pt``, pictures and what the problem exports. Each file is written to a temporary
name or folder and renamed, so a reader sees the old file or the new one, never a part; rows are appended to
``history.csv``, and a checkpoint counts them. One process at a time writes into a folder.
"""

import contextlib
import csv
import hashlib
import json
import math
import os
import platform
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from nfsolve._core.errors import InputError, SaveError
from nfsolve._core.version import VERSION
from nfsolve.problem import Problem

CONFIG, ENVIRONMENT, HISTORY, METRICS = "config.json", "environment.json", "history.csv", "metrics.json"
CHECKPOINT, FIELD = "checkpoint.pt", "field.pt"
LOCK = ".lock"


class RunFolder:
    """One run on disk.

    Args:
        path: The folder; made when something is first written.
        resumed: Whether the run in it goes on, even where it was killed before its first checkpoint.
    """

    def __init__(self, path: str | Path, resumed: bool = False):
        self.path, self.resumed = Path(path), resumed
        self._started = False
        self._rows, self._columns = 0, list[str]()  # of history.csv, as this object wrote it
        self._lock: FileLock | None = None

    def lock(self) -> None:
        """Keep other processes from writing here, until `release` or the end of this one.

        Raises:
            InputError: Another process writes here.
            SaveError: The folder cannot be written.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / LOCK, timeout=0, is_singleton=True, thread_local=False)
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another process is running in folder '{self.path}'", do="wait until it ends, or choose another folder"
            ) from error
        except OSError as error:
            raise SaveError(f"could not write '{self.path}' ({error}); choose a writable --out") from error
        self._lock = lock
        for left in self.path.glob(".*.part*"):  # by a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)

    def release(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def start(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Make the folder and write what describes the run.

        Args:
            config: Everything that rebuilds the run.
            environment: Versions, device, threads, precision.

        Raises:
            InputError: The folder holds another run already.
            SaveError: The folder cannot be written.
        """
        self.lock()
        if (self.path / CONFIG).exists() and self.resumed:
            return
        if (self.path / CONFIG).exists():
            raise InputError(
                f"folder '{self.path}' holds a run already",
                do=f"continue that run with --resume {self.path}, or choose another --out",
            )
        self._started = True
        self.write_json(CONFIG, config)
        self.write_json(ENVIRONMENT, environment)

    def clear(self) -> None:
        """Make way for another recipe of the same run: what the one before saved is removed."""
        for name in (CHECKPOINT, FIELD, METRICS, HISTORY, CONFIG):
            (self.path / name).unlink(missing_ok=True)
        self._rows = 0

    def forget(self) -> None:
        """Remove what describes a run that was started here and refused before anything of it was saved."""
        if not self._started or (self.path / CHECKPOINT).exists():
            return
        for name in (CONFIG, ENVIRONMENT, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds other files
            self.path.rmdir()

    def config(self) -> dict[str, Any]:
        """Read the config.

        Raises:
            InputError: The folder holds no run, or its config is damaged.
        """
        path = self.path / CONFIG
        if not path.is_file():
            raise InputError(
                f"there is no run in '{self.path}', which has no {CONFIG}",
                do="give the folder of a run, such as the one named by --out",
            )
        try:
            config = json.loads(path.read_text())
            if not isinstance(config, dict) or "problem" not in config:
                raise ValueError("no problem in it")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"'{path}' is damaged ({error})", do="restore it from a copy") from error
        return config

    def metrics(self) -> dict[str, Any]:
        """Read the metrics of a finished run.

        Raises:
            InputError: There are none, or the file is damaged.
        """
        self.config()
        try:
            return json.loads((self.path / METRICS).read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"there are no metrics in '{self.path}' ({error})", do=f"make them: nfsolve eval {self.path}"
            ) from error

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file; numbers that are not finite become null."""
        text = json.dumps(_finite(value), indent=2) + "\n"
        self.write(name, lambda path: path.write_text(text))

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Bring ``history.csv`` up to date, one column for each key that occurs: append rows, or write all anew.

        Args:
            rows: All rows so far; those that this object has written before are the same.

        Raises:
            SaveError: The file cannot be written.
        """
        new = rows[self._rows :]
        if self._rows and {key for row in new for key in row} <= set(self._columns):
            self._append(new)
        else:
            self._columns = list(dict.fromkeys(key for row in rows for key in row))
            self.write(HISTORY, lambda path: self._write_rows(path, "w", rows))
        self._rows = len(rows)

    def _append(self, rows: list[dict[str, Any]]) -> None:
        try:
            self._write_rows(self.path / HISTORY, "a", rows)
        except OSError as error:
            self._rows = 0  # the next time everything is written
            raise SaveError(f"could not write '{self.path / HISTORY}' ({error}). Free disk space") from error

    def _write_rows(self, path: Path, mode: str, rows: list[dict[str, Any]]) -> None:
        with path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())

    def history(self, n: int | None = None) -> list[dict[str, Any]]:
        """Read the first rows of ``history.csv``.

        Args:
            n: How many; what was written later, perhaps in part, is left out. None reads all.

        Returns:
            The rows as they were: a number has every digit, an empty cell means that the row lacks the key.

        Raises:
            InputError: The file is missing, damaged or shorter.
        """
        path, rows = self.path / HISTORY, []
        try:
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    if len(rows) == n:
                        break
                    rows.append({key: _cell(cell) for key, cell in row.items() if cell})
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise InputError(f"'{path}' is damaged ({error})", do="restore it from a copy") from error
        if n is not None and len(rows) < n:
            raise InputError(f"'{path}' is damaged: {len(rows)} of {n} rows are left", do="restore it from a copy")
        return rows

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the state from which the run resumes bit-identically; `write_history` goes before."""
        state = state | {"rows": self._rows, "config": self._digest()}
        self.write(CHECKPOINT, lambda path: torch.save(state, path))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the last good checkpoint with its rows as ``history``, or None where none was written.

        Raises:
            InputError: The file is damaged, or ``config.json`` was changed since.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        state = load_tensors(path)
        if state.get("config", "") != self._digest():
            raise InputError(
                f"'{self.path / CONFIG}' does not belong to the checkpoint beside it: one of them was changed",
                do="restore it from a copy; only --steps and --time-limit may change, other options need a new run",
            )
        return state | {"history": self.history(int(state.get("rows", 0)))}

    def _digest(self) -> str:
        """Return the hash of what ``config.json`` says, or nothing where there is none."""
        if not (self.path / CONFIG).is_file():
            return ""
        return hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode()).hexdigest()

    def save_field(self, state: dict[str, Any]) -> None:
        """Write the weights of the field and the unknown scalars."""
        self.write(FIELD, lambda path: torch.save(state, path))

    @contextlib.contextmanager
    def staged(self, name: str) -> Iterator[list[Path]]:
        """Offer an empty folder in this one; when all is written there, its files move here.

        Args:
            name: What is written, in a word.

        Yields:
            A list that holds the empty folder, and in the end the files that have moved.
        """
        self.lock()
        temporary = self.path / f".{name}.part{os.getpid()}"
        paths = [temporary]
        temporary.mkdir()
        try:
            yield paths
            written = sorted(path for path in temporary.rglob("*") if path.is_file())
            paths[:] = [self.path / path.relative_to(temporary) for path in written]
            for path, target in zip(written, paths, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def write(self, name: str, save: Callable[[Path], Any]) -> None:
        """Write one file under a temporary name and rename it.

        Args:
            name: File name in the folder.
            save: Writes to the path it is given.

        Raises:
            SaveError: The folder is not writable or the disk is full; an older file of that name is intact.
        """
        temporary = self.path / f".{name}.part{os.getpid()}{Path(name).suffix}"
        self.lock()
        try:
            save(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except (OSError, RuntimeError) as error:  # torch.save words a full disk as RuntimeError
            try:
                temporary.unlink(missing_ok=True)
            except OSError:
                pass
            kept = f"the last good {name} is intact" if (self.path / name).exists() else "nothing was lost"
            raise SaveError(
                f"could not write '{self.path / name}' ({error}); {kept}. "
                "Free disk space or choose a writable --out, then continue with --resume"
            ) from error


def load_tensors(path: Path) -> dict[str, Any]:
    """Read a file of tensors without running any code in it.

    Args:
        path: A file that `torch.save` wrote.

    Returns:
        What was saved.

    Raises:
        InputError: The file is missing, damaged, or holds more than tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
            bad = archive.testzip()
        if bad is not None:
            raise zipfile.BadZipFile(f"checksum of {bad}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"'{path}' is missing", do="restore it from a copy, or start the run anew") from error
    except Exception as error:  # damaged archives make zipfile, zlib, struct, pickle and torch raise whatever they like
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"'{path}' is damaged ({reason})", do="restore it from a copy, or start the run anew"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"'{path}' holds a {type(state).__name__} instead of the state of a run", do="restore it")
    return state


def load_weights(module: nn.Module, state: dict[str, Any]) -> None:
    """Restore weights from a checkpoint.

    Args:
        module: The field, or what holds it.
        state: What was saved of it.

    Raises:
        InputError: They do not fit.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            "the checkpoint must hold the weights of the field that config.json describes, and it does not "
            f"({str(error).splitlines()[-1].strip()})",
            do="restore the folder from a copy",
        ) from error


def check_same_problem(state: dict[str, Any], problem: Problem) -> None:
    """Refuse the checkpoint of another problem.

    Args:
        state: What was saved.
        problem: The problem to go on with.

    Raises:
        InputError: They are not of one class.
    """
    if state.get("problem") != type(problem).__name__:
        raise InputError(
            f"the checkpoint must be of {type(problem).__name__}, got one of {state.get('problem', 'another program')}",
            do="resume the folder with the problem that made it",
        )


def environment(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """Describe the machine and the versions of a run.

    Args:
        device: The device that is used.
        processes: How many share the run.

    Returns:
        Plain data for ``environment.json``.
    """
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "nfsolve": VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": gpu or "cpu",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
    }


def _cell(text: str) -> Any:
    """Return the value that `csv.DictWriter` wrote: numbers by their shortest spelling that is exact."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"True": True, "False": False}.get(text, text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
