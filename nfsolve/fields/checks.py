"""Sizes and scales that no constructor of this package accepts, worded alike everywhere."""

import math

from nfsolve._core.errors import InputError


def check_counts(owner: str, **values: int) -> None:
    """Refuse sizes that are not whole numbers of at least one.

    Args:
        owner: What they belong to, for the message.
        **values: Sizes by name.

    Raises:
        InputError: The first size that is not.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(
                f"{owner} needs {name} to be a whole number of at least 1, got {value!r}", do=f"choose {name}=1 or more"
            )


def check_positive(owner: str, **values: float) -> None:
    """Refuse numbers that are not positive and finite.

    Args:
        owner: What they belong to, for the message.
        **values: Numbers by name.

    Raises:
        InputError: The first number that is not.
    """
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise InputError(
                f"{owner} needs {name} to be a positive finite number, got {value!r}", do=f"choose {name} above 0"
            )
