"""What problems on a square grid of cells share."""

import numpy as np


def differences(side: int) -> np.ndarray:
    """Return the differences between neighbours on a grid as a matrix ``(2 side (side - 1), side^2)``."""
    step, one = np.diff(np.eye(side), axis=0), np.eye(side)
    return np.concatenate([np.kron(step, one), np.kron(one, step)])
