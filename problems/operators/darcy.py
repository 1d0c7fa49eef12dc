"""Flow through a medium of two permeabilities as an operator, a -> u, -div(a grad u) = 1 on the unit square.

u = 0 on the boundary; a is 12 or 3 as a Gaussian field is positive or not, both at the nodes of a 29 x 29 grid. From
1000 functions, Lu et al., CMAME 393 (2022) 114778, arXiv 2111.05512, reach relative L2 errors of 2.98 % by a DeepONet,
2.32 % by a POD-DeepONet, 2.41 % by a Fourier neural operator on labels of their own.

    nfsolve run deeponet_darcy
    nfsolve run deeponet_darcy --field deeponet
"""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from nfsolve import Box, InputError, OperatorPDE, Recipe, RunOptions, Stage, main
from nfsolve.data.tables import find_file
from nfsolve.fields import GELU, Convolution, PODDeepONet
from nfsolve.functions import Thresholded
from problems.operators._solvers import read_darcy

SIDE = 29
SYMMETRIES = [(flips, swap) for flips in ((), (-2,), (-1,), (-2, -1)) for swap in (False, True)]
SCALE = 0.15  # u / (x (1 - x) y (1 - y)) is of this order


@dataclass
class Darcy(OperatorPDE):
    """The operator a -> u of -div(a grad u) = 1, from solutions."""

    symmetries: bool = True
    """train on the images of each function under the symmetries of the square, and average predictions over them"""
    physics: bool = field(default=False, kw_only=True)
    """not supported, because a is discontinuous"""
    data: bool = field(default=True, kw_only=True)
    """train on labels"""
    n_tests: int = field(default=200, kw_only=True)
    """test functions"""
    batch: int = field(default=32, kw_only=True)
    """functions in a mini-batch"""
    n_points: int = field(default=SIDE**2, kw_only=True)
    """points of the grid in a mini-batch"""
    sensors: int = field(default=SIDE, init=False)
    data_seed: int = field(default=0, init=False)

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"
    inputs: ClassVar[dict[str, str]] = {"a": "x y"}
    evaluation = (SIDE, SIDE)

    def __post_init__(self):
        super().__post_init__()
        if self.physics:
            raise InputError(
                "Darcy's residual needs a derivative of the coefficient, which jumps and has none on its interfaces",
                do="leave --physics out, and train on data",
            )

    def spaces(self):
        """Gaussian random functions by their sign, of which the file has some."""
        return {"a": Thresholded()}

    def stored(self, part):
        """Read functions and solutions; the training ones with their images under the symmetries."""
        table = read_darcy(find_file("references/darcy_operator.npz", type(self)))
        prefix, wanted = ("", self.n_functions) if part == "train" else ("test_", self.n_tests)
        a, u = (torch.from_numpy(table[prefix + name]) for name in "au")
        if wanted > len(a):
            raise InputError(
                f"the file has {len(a)} functions for '{part}', but {wanted} were asked for", do="ask for fewer"
            )
        a, u = a[:wanted], u[:wanted]
        if part == "train" and self.symmetries:
            a, u = (torch.cat([turned(values, symmetry) for symmetry in SYMMETRIES]) for values in (a, u))
        return {"a": a.flatten(1)}, u, float(table["error"])

    def seen(self, values):
        """Map 3 and 12 to -1 and 1."""
        return (values["a"] - 7.5) / 4.5

    def predict(self, field, functions, points):
        """Evaluate the solutions; with ``symmetries`` the mean over those of all images of a function, turned back."""
        answer = partial(super().predict, field)
        if not self.symmetries:
            return answer(functions, points)
        grids = functions.unflatten(1, (SIDE, SIDE))
        images = (answer(turned(grids, s).flatten(1), moved(points, s)) for s in SYMMETRIES)
        return sum(images) / len(SYMMETRIES)

    def ansatz(self, u, x, y):
        """u = 0 on the boundary."""
        return SCALE * x * (1 - x) * y * (1 - y) * u

    def recipe(self):
        """Modes of the labels and a convolutional branch under AdamW."""
        branch = Convolution(grid=(SIDE, SIDE), channels=(32, 64), width=256, activation=GELU())
        adam = partial(torch.optim.AdamW, lr=2e-3, weight_decay=0.05)
        return Recipe(
            field=partial(PODDeepONet, latent=200, branch=branch),
            stages=(Stage(adam, steps=18_000, schedule="cosine", warmup=0.01),),
            run=RunOptions(log_every=1000),
        )


def turned(values: Tensor, symmetry: tuple[tuple[int, ...], bool]) -> Tensor:
    """Return functions on the grid, ``(..., 29, 29)``, behind a symmetry of the square: swapped and then flipped."""
    flips, swap = symmetry
    values = values.flip(flips) if flips else values
    return values.mT if swap else values


def moved(points: Tensor, symmetry: tuple[tuple[int, ...], bool]) -> Tensor:
    """Return the points ``(n, 2)`` that a symmetry takes to these, where the function behind it has their values."""
    flips, swap = symmetry
    columns = [1 - c if axis in flips else c for axis, c in zip((-2, -1), points.unbind(1), strict=True)]
    return torch.stack(columns[::-1] if swap else columns, 1)


if __name__ == "__main__":
    main(Darcy)
