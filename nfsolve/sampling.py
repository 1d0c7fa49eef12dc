"""Point sets in the unit cube: uniform, scrambled Sobol, Latin hypercube; every draw is a new one."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import unknown


def uniform(n: int, d: int, generator: Generator) -> Tensor:
    """Draw independent uniform points.

    Args:
        n: Number of points.
        d: Dimension.
        generator: CPU generator; its state moves on.

    Returns:
        Points ``(n, d)`` in [0, 1)^d, float64 on the CPU.
    """
    return torch.rand(n, d, generator=generator, dtype=torch.float64)


def sobol(n: int, d: int, generator: Generator) -> Tensor:
    """Draw a scrambled Sobol sequence (Owen 1998), with a new scrambling at every call.

    Args:
        n: Number of points.
        d: Dimension.
        generator: CPU generator that draws the scrambling; its state moves on.

    Returns:
        Points ``(n, d)`` in [0, 1)^d, float64 on the CPU.
    """
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    engine = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed)
    return engine.draw(n, dtype=torch.float64)


def latin_hypercube(n: int, d: int, generator: Generator) -> Tensor:
    """Draw a Latin hypercube: each of n equal slices of each axis holds one point (McKay et al. 1979).

    Args:
        n: Number of points.
        d: Dimension.
        generator: CPU generator; its state moves on.

    Returns:
        Points ``(n, d)`` in [0, 1)^d, float64 on the CPU.
    """
    cells = torch.stack([torch.randperm(n, generator=generator) for _ in range(d)], -1)
    return (cells + uniform(n, d, generator)) / n


SAMPLERS: dict[str, Callable[[int, int, Generator], Tensor]] = {
    "uniform": uniform,
    "sobol": sobol,
    "latin_hypercube": latin_hypercube,
}


def sampler(name: str) -> Callable[[int, int, Generator], Tensor]:
    """Find a sampler by name.

    Args:
        name: ``uniform``, ``sobol`` or ``latin_hypercube``.

    Returns:
        A function ``(n, d, generator) -> (n, d)``.

    Raises:
        InputError: There is no such sampler.
    """
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    return SAMPLERS[name]
