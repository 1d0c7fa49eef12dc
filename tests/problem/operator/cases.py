"""A linear operator problem whose operator is known, and a small field, for the tests of operators."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor, nn

from nfsolve import Box, DeepONet, Recipe, RunOptions, Stage, interior
from nfsolve.functions import FunctionSpace
from nfsolve.problem import OperatorPDE

MODES = 4


@dataclass(frozen=True)
class Sines(FunctionSpace):
    """Sums of sin(k pi x) with coefficients of deviation 1 / k."""

    scale: float = 1.0

    def sample(self, n: int, generator: Generator) -> Tensor:
        z = torch.randn(n, MODES, generator=generator, dtype=torch.float64)
        return self.scale * z / torch.arange(1, MODES + 1, dtype=torch.float64)

    def basis(self, x: Tensor) -> Tensor:
        k = math.pi * torch.arange(1, MODES + 1, dtype=torch.float64)[:, None].to(x.device, x.dtype)
        return torch.sin(torch.nn.functional.linear(x, k))


def heated(t: Tensor, x: Tensor, coefficients: Tensor, diffusivity: float) -> Tensor:
    """Sum of c_k sin(k pi x) (1 - exp(-D k^2 pi^2 t)) / (D k^2 pi^2): (n, 1), (n, 1), (B, k) -> (n, B)."""
    columns = []
    for k in range(1, MODES + 1):
        rate = diffusivity * (k * math.pi) ** 2
        columns.append(torch.sin(k * math.pi * x) * (1 - torch.exp(-rate * t)) / rate)
    return torch.nn.functional.linear(torch.cat(columns, -1), coefficients)


@dataclass
class Heated(OperatorPDE):
    """s_t = D s_xx + f(x), s = 0 at the start and at the ends."""

    diffusivity: float = 0.1
    scale: float = 1.0

    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "s"
    evaluation = (9, 11)

    def spaces(self):
        return {"f": Sines(self.scale)}

    def shifted(self):
        import dataclasses

        return dataclasses.replace(self, scale=3.0)

    @interior
    def balance(self, s_t, s_xx, f):
        return s_t - self.diffusivity * s_xx - f

    def ansatz(self, s, t, x):
        return t * x * (1 - x) * s

    def labels(self, f):
        # the coefficients of f, by the discrete sine transform
        n = 64
        x = np.arange(1, n) / n
        k = np.arange(1, MODES + 1)
        c = torch.from_numpy(2 / n * f(x) @ np.sin(np.pi * k * x[:, None]))
        grid = self.domain.grid(*self.evaluation)
        return heated(grid[:, :1], grid[:, 1:], c, self.diffusivity).T.reshape(-1, *self.evaluation), 1e-14

    def recipe(self):
        return Recipe(
            field=partial(DeepONet, sensors=self.sensor_counts, width=8, depth=2, latent=6),
            stages=(Stage(partial(torch.optim.Adam, lr=1e-2), steps=20),),
            run=RunOptions(log_every=10),
        )


class Exact(nn.Module):
    """The operator itself, from values at the sensors."""

    def __init__(self, problem: Heated):
        super().__init__()
        self.problem = problem
        self.inverse = torch.linalg.pinv(Sines().basis(problem.sensor_points("f")))

    def across(self, functions: Tensor, x: Tensor) -> Tensor:
        c = functions @ self.inverse.to(functions).T
        return heated(x[..., :1], x[..., 1:], c, self.problem.diffusivity)


SMALL = {"n_functions": 12, "n_tests": 5, "batch": 4, "n_points": 7, "sensors": 9, "n_face": 6}


def small(**changes) -> Heated:
    return Heated(**(SMALL | changes))


def generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)
