"""Evolution in a plane by Fourier and sine series and ETDRK4: Gray-Scott, Burgers and a pulsing source of PINNacle."""

import numpy as np
from scipy.fft import dstn, idstn, irfft2, rfft2

from problems.operators._etdrk4 import march

Table = dict[str, np.ndarray]
BURGERS = ((320, 130), (448, 180))  # points along an axis, and steps in a tenth of the time, of each level


def periodic_waves(n: int, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the wave numbers along x ``(n, 1)`` and y ``(1, n / 2 + 1)`` of what `rfft2` gives."""
    return 2 * np.pi * np.fft.fftfreq(n, period / n)[:, None], 2 * np.pi * np.fft.rfftfreq(n, period / n)[None]


def gs(level: int, ends: int = 10) -> Table:
    """Solve GS of PINNacle, the Gray-Scott reaction with period 2, up to t = 200.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        ends: How many of ten intervals of time, from the first.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u``, ``v`` over them.
    """
    n, steps = ((320, 60), (400, 100))[level]
    a, b = periodic_waves(n, 2.0)
    square = (a**2 + b**2).ravel()
    side = -1 + 2 * np.arange(n) / n
    x, y = side[:, None], side[None]
    start = np.stack(
        [
            1 - np.exp(-80 * ((x + 0.05) ** 2 + (y + 0.02) ** 2)),
            np.exp(-80 * ((x - 0.05) ** 2 + (y - 0.02) ** 2)),
        ]
    )

    def nonlinear(w: np.ndarray) -> np.ndarray:
        u, v = irfft2(w.reshape(2, n, -1))
        gone = u * v**2
        return rfft2(np.stack([0.04 - gone, gone])).ravel()

    linear = np.concatenate([-1e-5 * square - 0.04, -5e-6 * square - 0.1])
    found = march(rfft2(start).ravel(), linear, nonlinear, [(20.0, steps)] * ends)
    return _over_time(np.linspace(0, 200, 11)[: ends + 1], start, [irfft2(w.reshape(2, n, -1)) for w in found], 40)


def _over_time(t: np.ndarray, start: np.ndarray, found: list[np.ndarray], points: int) -> Table:
    """Lay out u and v on a grid of a period from -1 to 1, both ends among its points."""
    n = start.shape[-1]
    kept = np.append(np.arange(0, n, n // points), 0)
    u, v = np.stack([start, *found])[:, :, kept][..., kept].transpose(1, 0, 2, 3)
    axis = np.linspace(-1, 1, points + 1)
    return {"t": t, "x": axis, "y": axis, "u": u, "v": v}


def burgers2d(level: int, ends: int = 10) -> Table:
    """Solve Burgers2d of PINNacle with the waves of seed 0, period 1, up to t = 1.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        ends: How many of ten intervals of time, from the first.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u``, ``v`` over them.
    """
    import torch

    from problems.pinnacle.burgers2d import NU, Burgers2d

    n, steps = BURGERS[level]
    a, b = periodic_waves(n, 1.0)
    side = torch.arange(n, dtype=torch.float64) / n
    x, y = (values.reshape(-1, 1) for values in torch.meshgrid(side, side, indexing="ij"))
    start = Burgers2d().waves(x, y).numpy().T.reshape(2, n, n)
    # viscosity leaves so little near the cut that aliases of products above two thirds do no harm
    kept = (np.abs(a) < 0.9 * np.pi * n) & (b < 0.9 * np.pi * n)
    along, across = 1j * a * kept, 1j * b * kept

    def nonlinear(w: np.ndarray) -> np.ndarray:
        w = w.reshape(2, n, -1)
        u, v = irfft2(w)
        turn = irfft2(along * w[1] - across * w[0])  # (u . grad) u = grad |u|^2 / 2 + turn (-v, u)
        energy, first, second = rfft2(np.stack([(u**2 + v**2) / 2, turn * v, turn * u]))
        return np.stack([kept * first - along * energy, -1.0 * kept * second - across * energy]).ravel()

    linear = np.tile(-NU * (a**2 + b**2).ravel(), 2)
    found = march(rfft2(start).ravel(), linear, nonlinear, [(0.1, steps)] * ends)
    table = _over_time(np.linspace(0, 1, 11)[: ends + 1], start, [irfft2(w.reshape(2, n, -1)) for w in found], 32)
    return table | {c: (table[c] + 1) / 2 for c in "xy"}


def heat2d_lt(level: int, ends: int = 40) -> Table:
    """Solve Heat2d-LT of PINNacle, a source that depends on u and pulses, by sines up to t = 100.

    Time is a third unknown with t' = 1, so that the equation does not depend on it.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        ends: How many of forty intervals of time, from the first.

    Returns:
        Axes ``t``, ``x``, ``y`` and ``u`` over them.
    """
    n, steps = ((192, 100), (256, 160))[level]
    inner = np.arange(1, n) / n
    x, y = inner[:, None], inner[None]
    k = np.pi * np.arange(1, n)
    start = np.sin(4 * np.pi * x) * np.sin(3 * np.pi * y)
    place = np.sin(4 * np.pi * x) * np.sin(2 * np.pi * y)

    def nonlinear(w: np.ndarray) -> np.ndarray:
        u = idstn(w[:-1].reshape(n - 1, n - 1), 1)
        pulse = 1 + 2 * np.sin(np.pi * w[-1] / 4)
        return np.append(dstn(5 * np.sin(u**2) * pulse * place, 1).ravel(), 1.0)

    linear = np.append(-0.001 * (k[:, None] ** 2 + k**2).ravel(), 0.0)
    found = march(np.append(dstn(start, 1).ravel(), 0.0), linear, nonlinear, [(2.5, steps)] * ends)
    u = np.stack([start] + [idstn(w[:-1].reshape(n - 1, n - 1), 1) for w in found])
    u = np.pad(u, ((0, 0), (1, 1), (1, 1)))[:, :: n // 32, :: n // 32]
    axis = np.linspace(0, 1, 33)
    return {"t": np.linspace(0, 100, 41)[: ends + 1], "x": axis, "y": axis, "u": u}
