"""A line search for the strong Wolfe conditions: algorithms 3.5 and 3.6 of Nocedal & Wright, with cubic interpolation.

Reference: Nocedal & Wright, Numerical Optimization, 2nd ed. (2006), section 3.5 and equation 3.59.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

LONGEST = 10.0  # factor on the length from one trial to the next while the function still falls
SHORTEST = 1.5
MARGIN = 0.1  # trials keep this fraction of the interval away from both of its ends


class Point(NamedTuple):
    """A point on the line.

    Attributes:
        length: Distance from the start, in units of the direction.
        value: The function.
        slope: Its derivative along the direction.
        gradient: Its gradient ``(P,)``.
    """

    length: float
    value: float
    slope: float
    gradient: Tensor


def strong_wolfe(
    at: Callable[[float], Point], start: Point, first: float = 1.0, c1: float = 1e-4, c2: float = 0.9, limit: int = 25
) -> Point | None:
    """Find a length with f(a) <= f(0) + c1 a f'(0) and abs(f'(a)) <= c2 abs(f'(0)).

    Args:
        at: Evaluates the function and its gradient at a length; each length is asked for once.
        start: The point of length 0; its slope must be negative.
        first: First trial.
        c1: Smallest decrease, relative to what the slope promises.
        c2: Largest slope, relative to the one at the start.
        limit: Most evaluations.

    Returns:
        A point that satisfies both conditions; when the evaluations run out, or rounding leaves no room, the
        lowest point with the first one; None where there is no such point.
    """
    before, length = start, first
    for trial in range(limit):
        now = at(length)
        if not _falls(now, start, c1) or (trial > 0 and now.value >= before.value):
            return _zoom(at, start, before, now, c1, c2, limit - trial - 1)
        if abs(now.slope) <= -c2 * start.slope:
            return now
        if now.slope >= 0:
            return _zoom(at, start, now, before, c1, c2, limit - trial - 1)
        longer = _cubic(before, now)
        length = min(max(longer, SHORTEST * now.length), LONGEST * now.length)
        before = now
    return before if before.length > 0 else None


def _zoom(
    at: Callable[[float], Point], start: Point, low: Point, high: Point, c1: float, c2: float, limit: int
) -> Point | None:
    """Shrink an interval that holds acceptable lengths; ``low`` is its better end."""
    for _ in range(limit):
        width = high.length - low.length
        guess = _cubic(low, high)
        ends = sorted((low.length + MARGIN * width, high.length - MARGIN * width))
        length = min(max(guess, ends[0]), ends[1])
        if length in (low.length, high.length):
            break
        now = at(length)
        if not _falls(now, start, c1) or now.value >= low.value:
            high = now
            continue
        if abs(now.slope) <= -c2 * start.slope:
            return now
        if now.slope * width >= 0:
            high = low
        low = now
    return low if low.length > 0 else None


def _falls(now: Point, start: Point, c1: float) -> bool:
    # false for NaN too
    return now.value <= start.value + c1 * now.length * start.slope and math.isfinite(now.slope)


def _cubic(a: Point, b: Point) -> float:
    """Return the minimizer of the cubic with the values and slopes of two points; the middle where there is none."""
    middle = 0.5 * (a.length + b.length)
    if not (math.isfinite(b.value) and math.isfinite(b.slope)):
        return middle
    width = b.length - a.length
    d1 = a.slope + b.slope - 3 * (b.value - a.value) / width
    inside = d1 * d1 - a.slope * b.slope
    if inside < 0:
        # the cubic only falls: beyond b, as far as the caller allows
        return math.inf if b.slope < 0 and b.value < a.value else middle
    d2 = math.copysign(math.sqrt(inside), width)
    below = b.slope - a.slope + 2 * d2
    found = b.length - width * (b.slope + d2 - d1) / below if below != 0 else middle
    return found if math.isfinite(found) else middle
