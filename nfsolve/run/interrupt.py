"""Ctrl-C, or the polite kill of a batch system, during a run."""

import signal
import threading
from types import FrameType

STOPPED: dict[int, str] = {
    signal.SIGINT: "stopped by user",
    signal.SIGTERM: "stopped by SIGTERM (from kill or a batch system)",
}
"""Signal that asks for an end -> how a run that it stopped is described."""


class Interrupt:
    """Ctrl-C and SIGTERM ask once for a tidy end; the second one interrupts as Ctrl-C usually does.

    Attributes:
        asked: The number of the signal that came; 0 before.
    """

    def __init__(self) -> None:
        self.asked = 0

    def __enter__(self) -> "Interrupt":
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._ask) for number in STOPPED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = signum
