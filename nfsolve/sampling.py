"""Point sets in the unit cube, and choices among candidate points by the size of the residual; each draw is new.

Residual-adaptive choices: RAD and RAR-D by Wu, Zhu, Tan, Kartha & Lu, arXiv 2207.10289; R3 by Daw et al., arXiv
2207.02338.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, unknown


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


ADAPTIVE = ("none", "rad", "rar_d", "r3")


def by_density(magnitude: Tensor, n: int, generator: Generator, power: float = 1.0, offset: float = 1.0) -> Tensor:
    """Choose candidates with probability proportional to magnitude^power / mean(magnitude^power) + offset.

    Args:
        magnitude: Size of the residual at each candidate ``(m,)``, not negative.
        n: Number of candidates to choose, none of them twice.
        generator: CPU generator; its state moves on.
        power: k of the paper: larger concentrates more.
        offset: c of the paper: larger is closer to uniform.

    Returns:
        Indices ``(n,)``.

    Raises:
        InputError: Fewer candidates than points, or a magnitude that is not finite.

    Reference:
        Wu et al., arXiv 2207.10289, eq. 2 (RAD).
    """
    if n > len(magnitude):
        raise InputError(f"There must be at least as many candidates as points, got {len(magnitude)} for {n} points")
    raised = magnitude.detach().to("cpu", torch.float64) ** power
    if not torch.isfinite(raised).all():
        raise InputError(
            "Residuals must be finite to choose points by them, but some are not finite at candidate points",
            do="look for a logarithm, a root or a division in the residual",
        )
    mean = raised.mean()
    weight = raised / mean + offset if mean > 0 else torch.ones_like(raised)
    # n smallest of Exp(1) / weight: a draw without replacement (Efraimidis & Spirakis 2006), of any size
    keys = torch.empty_like(weight).exponential_(generator=generator) / weight
    return torch.topk(keys, n, largest=False).indices.sort().values


def retained(magnitude: Tensor) -> Tensor:
    """Return the points that R3 keeps: those with a residual above the mean.

    Args:
        magnitude: Size of the residual at each point ``(n,)``.

    Returns:
        Mask ``(n,)``.

    Reference:
        Daw et al., arXiv 2207.02338, algorithm 1 (retain, resample, release).
    """
    return magnitude > magnitude.mean()
