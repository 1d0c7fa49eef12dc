"""Rows of the history for other tools: TensorBoard, Weights & Biases, MLflow, each through its own library.

A logger is what `nfsolve.solve` takes as ``report``, alone or beside a bar: ``report=("auto", TensorBoard("runs/a"))``.
"""

import math
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from nfsolve._core.errors import require

Numbers = dict[str, float]


class Logger(ABC):
    """What hands the numbers of each row to a library.

    Args:
        folder: Run folder; its name is the name of the run. Nothing is written before the first row.

    Raises:
        MissingExtra: The library is not installed.
    """

    name: ClassVar[str]
    """library, and extra that brings it"""

    def __init__(self, folder: str | Path):
        self.folder, self.opened = Path(folder), False
        self.library: Any = require(self.name, self.name, f"logging to {self.name}")

    def __call__(self, row: dict[str, Any]) -> None:
        """Log a row of the history; messages have no numbers and are left to what shows progress."""
        if "step" not in row:
            return
        if not self.opened:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.open()
            self.opened = True
        numbers = {key: float(v) for key, v in row.items() if isinstance(v, int | float) and math.isfinite(v)}
        self.log({key: value for key, value in numbers.items() if key != "step"}, int(row["step"]))

    def close(self) -> None:
        """Write what is still held back."""
        if self.opened:
            self.end()
        self.opened = False

    @abstractmethod
    def open(self) -> None:
        """Begin a run of the library."""

    @abstractmethod
    def log(self, numbers: Numbers, step: int) -> None:
        """Hand over the numbers of a step."""

    @abstractmethod
    def end(self) -> None:
        """End the run of the library."""


class TensorBoard(Logger):
    """Events beside the other files of a run folder, for ``tensorboard --logdir runs``."""

    name = "tensorboard"

    def open(self) -> None:
        """Open a file of events."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder))

    def log(self, numbers: Numbers, step: int) -> None:
        """Write a scalar for each number."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)

    def end(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases(Logger):
    """A run of Weights & Biases in the project nfsolve, which stays on this machine unless ``WANDB_MODE=online``.

    ``wandb sync`` sends later what was written under the run folder.
    """

    name = "wandb"

    def open(self) -> None:
        """Begin a run."""
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = self.library.init(project="nfsolve", name=self.folder.name, dir=str(self.folder), mode=mode)

    def log(self, numbers: Numbers, step: int) -> None:
        """Log the numbers at the step."""
        self._run.log(numbers, step=step)

    def end(self) -> None:
        """End the run."""
        self._run.finish()


class MLflow(Logger):
    """A run of MLflow in the experiment nfsolve, stored where ``MLFLOW_TRACKING_URI`` says, else in the run folder."""

    name = "mlflow"

    def open(self) -> None:
        """Begin a run."""
        if "MLFLOW_TRACKING_URI" not in os.environ:
            self.library.set_tracking_uri(f"sqlite:///{(self.folder / 'mlflow.db').resolve()}")
        self.library.set_experiment("nfsolve")
        self.library.start_run(run_name=self.folder.name)

    def log(self, numbers: Numbers, step: int) -> None:
        """Log the numbers at the step, with the characters that MLflow allows in names."""
        plain = {"".join(c if c.isalnum() or c in "_-. :/" else "_" for c in key): v for key, v in numbers.items()}
        self.library.log_metrics(plain, step=step)

    def end(self) -> None:
        """End the run."""
        self.library.end_run()


LOGGERS: dict[str, type[Logger]] = {kind.name: kind for kind in (TensorBoard, WeightsAndBiases, MLflow)}
"""Name on the command line -> class."""
