"""Run folders: everything that a run leaves behind, written so that a crash spoils nothing.

A folder holds ``config.json`` (rebuilds the run), ``environment.json``, ``history.csv``, ``metrics.json``,
``checkpoint.pt``, ``field.pt``, pictures and what the problem exports. Each file is written to a temporary
name and renamed, so a reader sees the old file or the new one, never a part.
"""

import contextlib
import csv
import json
import math
import os
import pickle
import platform
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nfsolve._core.errors import InputError
from nfsolve._core.version import VERSION

CONFIG, ENVIRONMENT, HISTORY, METRICS = "config.json", "environment.json", "history.csv", "metrics.json"
CHECKPOINT, FIELD = "checkpoint.pt", "field.pt"


class SaveError(OSError):
    """A file of the run folder could not be written; what was saved before is intact."""


class RunFolder:
    """One run on disk.

    Args:
        path: The folder; made when something is first written.
        resumed: Whether the run in it goes on, even where it was killed before its first checkpoint.
    """

    def __init__(self, path: str | Path, resumed: bool = False):
        self.path, self.resumed = Path(path), resumed
        self._started = False

    def start(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Make the folder and write what describes the run.

        Args:
            config: Everything that rebuilds the run.
            environment: Versions, device, threads, precision.

        Raises:
            InputError: The folder holds another run already.
            SaveError: The folder cannot be written.
        """
        if (self.path / CONFIG).exists() and self.resumed:
            return
        if (self.path / CONFIG).exists():
            raise InputError(
                f"folder '{self.path}' holds a run already",
                "a new folder",
                f"continue that run with --resume {self.path}, or choose another --out",
            )
        self._started = True
        self.write_json(CONFIG, config)
        self.write_json(ENVIRONMENT, environment)

    def forget(self) -> None:
        """Remove what describes a run that was started here and refused before anything of it was saved."""
        if not self._started or (self.path / CHECKPOINT).exists():
            return
        for name in (CONFIG, ENVIRONMENT):
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
                f"no run in '{self.path}'", f"a run folder with {CONFIG}", "give the folder that --out named"
            )
        try:
            config = json.loads(path.read_text())
            if not isinstance(config, dict) or "problem" not in config:
                raise ValueError("no problem in it")
        except (ValueError, UnicodeDecodeError) as error:
            raise InputError(
                f"'{path}' is damaged ({error})", "the JSON that a run wrote", "restore it from a copy"
            ) from error
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
                f"no metrics in '{self.path}' ({error})", "a finished run", "nfsolve eval makes them"
            ) from error

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file; numbers that are not finite become null."""
        text = json.dumps(_finite(value), indent=2) + "\n"
        self.write(name, lambda path: path.write_text(text))

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Write all rows of the history as CSV, one column for each key that occurs."""
        keys = list(dict.fromkeys(key for row in rows for key in row))

        def save(path: Path) -> None:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, keys, restval="")
                writer.writeheader()
                writer.writerows(rows)

        self.write(HISTORY, save)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the state from which the run resumes bit-identically."""
        self.write(CHECKPOINT, lambda path: torch.save(state, path))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the last good checkpoint, or None where none was written.

        Raises:
            InputError: The file is damaged.
        """
        path = self.path / CHECKPOINT
        return load_tensors(path) if path.exists() else None

    def save_field(self, state: dict[str, Any]) -> None:
        """Write the weights of the field and the unknown scalars."""
        self.write(FIELD, lambda path: torch.save(state, path))

    def write(self, name: str, save: Callable[[Path], Any]) -> None:
        """Write one file under a temporary name and rename it.

        Args:
            name: File name in the folder.
            save: Writes to the path it is given.

        Raises:
            SaveError: The folder is not writable or the disk is full; an older file of that name is intact.
        """
        temporary = self.path / f".{name}.part{Path(name).suffix}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
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
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"'{path}' is missing", "a file that a run wrote") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"'{path}' is damaged ({reason})", "a file that a run wrote", "restore it, or start the run anew"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"'{path}' holds a {type(state).__name__}", "the state of a run")
    return state


def environment(device: torch.device) -> dict[str, Any]:
    """Describe the machine and the versions of a run.

    Args:
        device: The device that is used.

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
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
