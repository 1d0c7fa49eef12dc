"""The seconds of a run, and the end of those that it may take."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE, LEAST_GRACE = 0.1, 5.0  # share of a time limit, and seconds, in which what was trained is scored and drawn


class OutOfTime(Exception):
    """What was going on is left out, since the time limit has passed."""


class Deadline:
    """The end of the time that a command may take.

    Args:
        limit: Seconds in all, or None for no end.
        elapsed: Those of them that have passed.
    """

    def __init__(self, limit: float | None = None, elapsed: float = 0.0):
        self.end = math.inf if limit is None else time.perf_counter() + limit - elapsed
        self.grace = 0.0 if limit is None else max(GRACE * limit, LEAST_GRACE)

    def check(self) -> None:
        """Raise `OutOfTime` after the end."""
        if time.perf_counter() >= self.end:
            raise OutOfTime

    @contextmanager
    def within_grace(self, field: Any) -> Iterator[None]:
        """Raise `OutOfTime` where a field is still evaluated some time after the end, so that no score takes hours."""

        def check(*_: Any) -> None:
            if time.perf_counter() >= self.end + self.grace:
                raise OutOfTime

        hooks = [module.register_forward_pre_hook(check) for module in field.modules()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class Stopwatch:
    """Wall-clock and processor seconds since the start, on top of those of an earlier part of the run.

    Attributes:
        seconds: Wall-clock seconds of training at the latest lap.
        cpu_seconds: Processor seconds of this process, summed over its threads. With one thread they do not depend
            on what else the machine does.
    """

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0, elapsed: float = 0.0):
        self.seconds, self.cpu_seconds = seconds, cpu_seconds
        self._made = time.perf_counter() - elapsed
        self.start()

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds since the run began, with loading and scoring."""
        return time.perf_counter() - self._made

    def start(self) -> None:
        """Go on from here: what passed since the latest lap does not count."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> None:
        """Count what passed since the latest lap."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.seconds += wall - self._wall
        self.cpu_seconds += cpu - self._cpu
        self._wall, self._cpu = wall, cpu
