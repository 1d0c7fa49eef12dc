"""What the environment says of how torchrun has started this process."""

import os


def launched() -> bool:
    """Return whether torchrun has started this process beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarted() -> bool:
    """Return whether torchrun has started this process again after one had died."""
    return launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def may_restart() -> bool:
    """Return whether torchrun starts the processes again after one has died."""
    return launched() and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0


def speaks() -> bool:
    """Return whether this process speaks for all that torchrun started."""
    return not launched() or os.environ.get("RANK", "0") == "0"
