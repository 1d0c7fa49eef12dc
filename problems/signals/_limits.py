"""Limits of the parameters of signals, in words."""

import math
from collections.abc import Mapping
from typing import Any

from nfsolve import InputError


def check_least(values: Mapping[str, Any], least: Mapping[str, float]) -> None:
    """Refuse a parameter below its least value, or one that is not finite.

    Args:
        values: Parameters by name; None is not looked at.
        least: Their least values by name.

    Raises:
        InputError: One is too small.
    """
    for name, low in least.items():
        value = values[name]
        if value is not None and not low <= value < math.inf:
            raise InputError(
                f"{name} must be at least {low:g}{' and finite' if value == math.inf else ''}, got {value:g}"
            )


def check_batch(batch: int | None, given: int) -> None:
    """Refuse a mini-batch of more than there is.

    Raises:
        InputError: It is too large.
    """
    if batch is not None and batch > given:
        raise InputError(
            f"batch must be at most {given}, the number of given values, got {batch}", do="write 0 for all of them"
        )
