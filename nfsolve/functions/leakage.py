"""Leakage of test functions into training, found by hashes of their values."""

import hashlib
from collections.abc import Iterable
from itertools import chain

import numpy as np
from torch import Tensor

from nfsolve._core.errors import InputError


def row_hashes(values: Tensor) -> list[bytes]:
    """Return a short hash of each function, the same on every machine.

    Args:
        values: Functions at their sensors ``(n, m)``, or any rows that tell them apart.

    Returns:
        One hash for each row. Rows that differ by rounding in float64 have the same: values count in units of
        2^-32 of the largest. Give both sets of functions in one type: a row and its copy in float32 differ.
    """
    rows = values.detach().cpu().double().numpy()
    size = np.frexp(np.abs(rows).max(1, keepdims=True))[1]
    # the sum with zero turns -0 into 0
    rounded = np.concatenate([size, np.rint(np.ldexp(rows, 32 - size)) + 0.0], 1).astype("<f8")
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rounded]


def check_leakage(train: Tensor | Iterable[Tensor], test: Tensor) -> None:
    """Check that no test function is among the training functions.

    Args:
        train: Training functions at the sensors ``(n, m)``, or parts of them one after the other.
        test: Test functions there ``(n', m)``.

    Raises:
        InputError: There are such functions; the message says how many, and one of them.
    """
    parts = [train] if isinstance(train, Tensor) else train
    known = {key: row for row, key in enumerate(chain.from_iterable(map(row_hashes, parts)))}
    shared = [(row, known[key]) for row, key in enumerate(row_hashes(test)) if key in known]
    if shared:
        raise InputError(
            f"training must never see the test functions, but {len(shared)} of {len(test)} are training functions "
            f"(test {shared[0][0]} is training {shared[0][1]})",
            do="sample them with another seed, or take other rows of the file",
        )
