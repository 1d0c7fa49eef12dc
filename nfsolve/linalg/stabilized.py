"""Runge-Kutta-Chebyshev: an explicit method for stiff systems of ODEs whose stiffness is diffusion.

s stages are stable for eigenvalues down to -0.65 s^2 / h on the negative axis, so that work grows as the root of the
stiffness; no matrix is needed. Of order 2, with an estimate of the error in each step.

Reference:
    Sommeijer, Shampine & Verwer, RKC: an explicit solver for parabolic PDEs, J. Comput. Appl. Math. 88 (1998) 315.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rate = Callable[[float, Array], Array]

DAMPING = 2 / 13
SAFE = 0.8  # factor on the step that the error allows
LARGEST, SMALLEST = 5.0, 0.1  # changes of the step
REFRESH = 25  # steps, after which the spectral radius is estimated again
WIDER = 1.2  # times the spectral radius that was found
TURNS = 50  # iterations of the power method
STAGES = 2000  # at most, in one step


class Unstable(ArithmeticError):
    """A system of ODEs was not integrated: steps became too small, or values were not finite."""


def integrate(
    rate: Rate, y: Array, times: Sequence[float], rtol: float, atol: float, stop: Callable[[float, Array, Array], bool]
) -> list[Array]:
    """Integrate y' = rate(t, y).

    Args:
        rate: Derivative at a time and a state ``(n,)``.
        y: State at the first time, ``(n,)``.
        times: Ascending times at which the state is wanted; the first is where it begins.
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step.
        stop: Asked before each step whether to end, with the time, the state and its slope.

    Returns:
        The states at all times, ``y`` among them.

    Raises:
        Unstable: No step is small enough, or ``stop`` said so.
    """
    t, end = times[0], times[-1]
    found, slope = [y], rate(t, y)
    radius, direction = spectral_radius(rate, t, y, slope, None)
    h = _first(rate, t, y, slope, 1 / max(WIDER * radius, 1 / (end - t)), rtol, atol, end - t)
    age = 0
    while len(found) < len(times):
        if stop(t, y, slope):
            raise Unstable("the time is up")
        if age >= REFRESH:
            radius, direction = spectral_radius(rate, t, y, slope, direction)
            age = 0
        h = min(h, end - t, 0.65 * STAGES**2 / max(WIDER * radius, 1e-300))
        new = _step(rate, t, y, slope, h, max(2, 1 + math.ceil(math.sqrt(1.54 * h * WIDER * radius + 1))))
        after = rate(t + h, new)
        error = 0.8 * (y - new) + 0.4 * h * (slope + after)
        scale = atol + rtol * np.maximum(np.abs(y), np.abs(new))
        size = float(np.sqrt(np.mean((error / scale) ** 2)))
        if not np.isfinite(size):
            size = (LARGEST / SMALLEST) ** 3
        if size > 1:
            radius, direction = spectral_radius(rate, t, y, slope, direction)
            age = 0
        else:
            last = end - t <= h * (1 + 1e-12)
            while len(found) < len(times) and (last or times[len(found)] <= t + h):
                part = min((times[len(found)] - t) / h, 1.0)
                found.append(_between(part, y, new, h * slope, h * after))
            t, y, slope, age = t + h, new, after, age + 1
        h *= min(LARGEST, max(SMALLEST, SAFE * max(size, 1e-10) ** (-1 / 3)))
        if not h > 1e-13 * (end - times[0]):
            raise Unstable(f"steps became too small at t = {t:g}")
    return found


def _between(part: float, y: Array, new: Array, first: Array, last: Array) -> Array:
    """Interpolate in a step by the cubic polynomial with these values and slopes at its ends."""
    if part == 1.0:
        return new
    p, q = part, 1 - part
    return q * q * (1 + 2 * p) * y + p * p * (1 + 2 * q) * new + p * q * (q * first - p * last)


def _first(rate: Rate, t: float, y: Array, slope: Array, h: float, rtol: float, atol: float, longest: float) -> float:
    """Return a first step whose error, by the change of the slope, is small."""
    scale = atol + rtol * np.abs(y)
    change = float(np.sqrt(np.mean((h * (rate(t + h, y + h * slope) - slope) / scale) ** 2)))
    return min(longest, 0.1 * h / math.sqrt(change) if 0.1 * h < longest * math.sqrt(change) else longest)


def spectral_radius(rate: Rate, t: float, y: Array, slope: Array, direction: Array | None) -> tuple[float, Array]:
    """Return the largest modulus of an eigenvalue of the Jacobian of a rate, by a nonlinear power method.

    Args:
        rate: Derivative at a time and a state.
        t: Time.
        y: State ``(n,)``.
        slope: Its derivative.
        direction: The direction that was found before, or None.

    Returns:
        The radius, and the direction ``(n,)``.
    """
    if direction is None:
        direction = np.random.default_rng(0).standard_normal(len(y))
    size = float(np.linalg.norm(y)) + math.sqrt(len(y)) * 1e-3
    v, radius = direction / np.linalg.norm(direction), 0.0
    step = size * math.sqrt(np.finfo(float).eps)
    for turn in range(TURNS):
        image = (rate(t, y + step * v) - slope) / step
        length = float(np.linalg.norm(image))
        if not math.isfinite(length) or length == 0:
            break
        v, before, radius = image / length, radius, length
        if turn > 2 and abs(radius - before) <= 0.01 * radius:
            break
    return radius, v


def rayleigh(rate: Rate, t: float, y: Array, slope: Array, v: Array) -> float:
    """Return the Rayleigh quotient of the Jacobian of a rate along a direction of unit length."""
    step = (float(np.linalg.norm(y)) + math.sqrt(len(y)) * 1e-3) * math.sqrt(np.finfo(float).eps)
    return float(v @ ((rate(t, y + step * v) - slope) / step))


def _step(rate: Rate, t: float, y: Array, slope: Array, h: float, s: int) -> Array:
    """Do one step of s stages."""
    w0 = 1 + DAMPING / s**2
    root = math.sqrt(w0**2 - 1)
    angle = s * math.log(w0 + root)
    w1 = math.sinh(angle) * (w0**2 - 1) / (math.cosh(angle) * s * root - w0 * math.sinh(angle))
    b = 1 / (2 * w0) ** 2
    bs = [b, b]
    t_before, t_now, d_before, d_now, dd_before, dd_now = 1.0, w0, 0.0, 1.0, 0.0, 0.0
    mu = w1 * b
    before, now = y, y + h * mu * slope
    c_before, c_now = 0.0, mu
    for _ in range(2, s + 1):
        t_new = 2 * w0 * t_now - t_before
        d_new = 2 * w0 * d_now - d_before + 2 * t_now
        dd_new = 2 * w0 * dd_now - dd_before + 4 * d_now
        b_new = dd_new / d_new**2
        a = 1 - bs[-1] * t_now
        mu, nu = 2 * w0 * b_new / bs[-1], -b_new / bs[-2]
        tilde = mu * w1 / w0
        gamma = -tilde * a
        f = rate(t + c_now * h, now)
        new = (1 - mu - nu) * y + mu * now + nu * before + h * tilde * f + h * gamma * slope
        c_new = mu * c_now + nu * c_before + tilde + gamma
        before, now, c_before, c_now = now, new, c_now, c_new
        t_before, t_now, d_before, d_now, dd_before, dd_now = t_now, t_new, d_now, d_new, dd_now, dd_new
        bs.append(b_new)
    return now
