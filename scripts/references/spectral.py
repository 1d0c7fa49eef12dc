"""Real functions of period 2 by their Fourier coefficients."""

import numpy as np


def wave_numbers(n: int) -> np.ndarray:
    """Return the wave numbers pi k, k = 0 .. n/2, of real functions of period 2."""
    return np.pi * np.arange(n // 2 + 1)


def on_grid(coefficients: np.ndarray, points: int) -> np.ndarray:
    """Evaluate a function of period 2 on a regular grid over [-1, 1] that includes both ends.

    Args:
        coefficients: What `numpy.fft.rfft` gives of values at -1 + 2 j / n, (n / 2 + 1,).
        points: Number of points; ``points - 1`` divides n.

    Returns:
        Values ``(points,)``.
    """
    values = np.fft.irfft(coefficients)
    skip, rest = divmod(len(values), points - 1)
    if rest:
        raise ValueError(f"{len(values)} samples on {points - 1} intervals: choose a multiple")
    return np.append(values[::skip], values[0])
