"""The seconds of a run."""

import time


class Stopwatch:
    """Wall-clock and processor seconds since the start, on top of those of an earlier part of the run.

    Attributes:
        seconds: Wall-clock seconds at the latest lap.
        cpu_seconds: Processor seconds of this process, summed over its threads. With one thread they do not depend
            on what else the machine does.
    """

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0):
        self.seconds, self.cpu_seconds = seconds, cpu_seconds
        self.start()

    def start(self) -> None:
        """Go on from here: what passed since the latest lap does not count."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> None:
        """Count what passed since the latest lap."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.seconds += wall - self._wall
        self.cpu_seconds += cpu - self._cpu
        self._wall, self._cpu = wall, cpu
