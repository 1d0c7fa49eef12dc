import math

import torch

from nfsolve.fields.gathered import gather, gathered


def rows(n: int, m: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Functions at places of their own, value and place by turns, and their three coefficients."""
    chance = torch.Generator().manual_seed(seed)
    c = torch.randn(n, 3, generator=chance, dtype=torch.float64)
    at = 2 * torch.rand(n, m, generator=chance, dtype=torch.float64) - 1
    return torch.stack([waves(c, at), at], -1).flatten(1), c


def waves(c: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    return sum(c[:, j : j + 1] * torch.cos(math.pi * j * at / 2 + j) for j in range(3))


def test_functions_are_brought_to_common_places():
    given, _ = rows(30, 25, 0)
    how = gather(given, 1)
    other, c = rows(10, 25, 1)
    found, exact = gathered(how, other), waves(c, how.at.T)
    inside = how.at[:, 0].abs() < 0.8  # beyond the outermost sensors nothing is known
    assert (found - exact)[:, inside].square().mean() < 1e-6 * exact.square().mean()
    assert how.error < 0.02
    kept = torch.cat([other, torch.full((10, 4), math.nan, dtype=torch.float64)], 1)
    torch.testing.assert_close(gathered(how, kept), found)  # sensors that a function does not have take no part


def test_noise_is_damped():
    given, _ = rows(40, 30, 0)
    table = given.unflatten(1, (-1, 2))
    table[..., 0] += 0.1 * torch.randn(40, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    how = gather(table.flatten(1), 1)
    assert how.damping > 1e-6 and 0.09 < how.error < 0.2
