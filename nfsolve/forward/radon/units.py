"""Whether the angles of views are in the unit that they should be in: what speaks for the other one."""

import numpy as np

GOLDEN = np.pi * np.array([3 - 5**0.5, 5**0.5 - 1, (5**0.5 - 1) / 2])  # steps of golden-angle scans, in radians
FEW_DEGREES = 7.0, 4 * np.pi  # spans that three, and sixteen, views in degrees hardly have: one turn and two in radians
FEWEST = 8  # views whose steps tell of a unit
PARTS = 4  # of a degree, of which all angles in degrees often are multiples, and in radians hardly ever


def like_radians(angles: np.ndarray) -> str:
    """Say why angles that should be degrees (views,) look like radians; empty where nothing speaks for that."""
    span = float(np.ptp(angles))
    if (len(angles) >= 3 and span < FEW_DEGREES[0]) or (len(angles) >= 16 and span < FEW_DEGREES[1]):
        return f"{len(angles)} views span {span:.4g}"
    steps = np.diff(angles)
    if len(angles) >= 8 and np.ptp(steps) < 1e-4:
        golden = GOLDEN[np.abs(abs(steps.mean()) / GOLDEN - 1) < 2e-6]
        if len(golden):
            return f"each view is {golden[0]:.6g} from the last, a golden angle in radians"
    rising = np.diff(np.unique(angles))
    closed = span + float(np.median(rising)) if len(rising) else span
    for turns in (span / np.pi, closed / np.pi):
        if len(angles) >= 8 and 1 <= round(turns) <= 40 and abs(turns / round(turns) - 1) < 1e-4:
            return f"they span {round(turns)} times pi"
    return ""


def like_degrees(angles: np.ndarray) -> str:
    """Say why angles that should be radians (views,) look like degrees; empty where nothing speaks for that."""
    if len(angles) < FEWEST:
        return ""
    span, steps = float(np.ptp(angles)), np.diff(angles)
    if span > 2 * np.pi and np.abs(PARTS * angles - np.round(PARTS * angles)).max() < 1e-9:
        return f"all are multiples of 1/{PARTS}"
    for turns in (span / 180, (span + abs(float(np.median(steps)))) / 180):
        if np.ptp(steps) < 1e-4 and round(turns) >= 1 and abs(turns / round(turns) - 1) < 1e-4:
            return f"they span {180 * round(turns)}"
    golden = np.degrees(GOLDEN)
    golden = golden[np.abs(abs(steps.mean()) / golden - 1) < 2e-6]
    if len(golden) and np.ptp(steps) < 1e-4:
        return f"each view is {golden[0]:.6g} from the last, a golden angle in degrees"
    return ""
