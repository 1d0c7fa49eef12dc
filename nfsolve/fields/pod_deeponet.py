"""POD-DeepONet: the functions of the points are the mean and the leading modes of the training labels.

Lu, Meng, Cai, Mao, Goswami, Zhang & Karniadakis, CMAME 393 (2022), arXiv 2111.05512, section 3.1.3.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.fields.branches import PLAIN, Branch
from nfsolve.fields.field import Domain
from nfsolve.fields.interpolation import Interpolation
from nfsolve.fields.operators import Separable, make_branches

MODES = 32  # for each output, where the labels have as many
ZERO = 1e-9  # part of the largest, below which a mode is none


class PODDeepONet(Separable):
    """s(f)(x)_k = mean(x)_k + sum_l branch(f)_kl sigma_kl mode(x)_kl; the branch alone is trained.

    Modes are those of the labels on their grid, output by output; sigma is the standard deviation of a mode's
    coefficient over the labels, so that the branch has outputs of order one (the paper has no sigma). Between points of
    the grid they are interpolated by cubic polynomials, so their second derivatives are as coarse as the grid.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        sensors: Number of values by which an input function is given; a tuple where there are several functions.
        axes: Coordinates of the grid's points along each axis, ascending.
        snapshots: Labels of training functions on the grid, ``(functions, *grid, k)``.
        latent: Number of modes for each output; None takes 32, or as many as the labels have if these are fewer.
        width: Width of the hidden layers of a branch that does not say it.
        depth: Number of hidden layers of a branch that does not say it.
        branch: Network that reads a function; a tuple has one for each function.
        **options: Arguments of `Field`.

    Raises:
        InputError: A size that is not positive, labels that are not finite or do not fit grid and outputs, or more
            modes than the labels have.
    """

    transformable: ClassVar[bool] = False  # the modes have what the labels share

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        axes: Sequence[Tensor],
        snapshots: Tensor,
        latent: int | None = None,
        width: int = 64,
        depth: int = 3,
        branch: Branch | tuple[Branch, ...] = PLAIN,
        **options: Any,
    ):
        latent = default_modes(snapshots) if latent is None else latent
        own = {"latent": latent, "width": width, "depth": depth, "branch": branch}
        super().__init__(domain, outputs, sensors, **own, **options)
        k, like = len(self.outputs), self.coordinates.matrix
        sizes = tuple(len(axis) for axis in axes)
        if len(axes) != len(self.inputs) or snapshots.shape[1:] != (*sizes, k):
            raise InputError(
                f"snapshots must have shape (functions, *points along {', '.join(self.inputs)}, {k}), got "
                f"{tuple(snapshots.shape)} "
                f"on axes of {sizes} points",
                do="give an axis for each coordinate, and a last column for each output",
            )
        axes, snapshots = closed(domain, axes, snapshots.to("cpu", torch.float64))
        self.grid = Grid(domain, axes, modes(snapshots, latent)).to(like)
        self.branches = make_branches(self, branch, k * latent)

    from_labels = True  # a hard constraint would be applied twice: labels satisfy it already

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field from the problem's training labels, without a transform: modes have what labels share.

        Args:
            problem: As for `Field`; its method ``snapshots`` gives ``axes``, a list of 1-D tensors, and ``values``,
                ``(functions, *grid, k)``.
            **options: Arguments of the constructor.

        Returns:
            The field.

        Raises:
            InputError: The problem has no training labels.
        """
        if not hasattr(problem, "snapshots"):
            raise InputError(
                f"{cls.__name__} takes its modes from training labels, and {type(problem).__name__} has none",
                do="use DeepONet",
            )
        axes, values = problem.snapshots()
        return super().for_problem(problem, **{"axes": axes, "snapshots": values, "output_transform": None, **options})

    def basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Interpolate modes and mean."""
        values, k = self.grid(x), len(self.outputs)
        return values[..., k:], values[..., :k]


def modes(snapshots: Tensor, latent: int) -> Tensor:
    """Return mean and scaled modes, ``(points, k + k * latent)``, of labels ``(functions, *grid, k)``.

    Raises:
        InputError: Labels that are not finite, or fewer modes than asked for.
    """
    if not bool(snapshots.isfinite().all()):
        raise InputError(
            "snapshots must be finite, got values that are NaN or infinite", do="leave out the functions that failed"
        )
    count, k, most = len(snapshots), snapshots.shape[-1], most_modes(snapshots)
    rows = snapshots.reshape(count, -1, k)
    mean = rows.mean(0)
    _, sizes, vectors = torch.linalg.svd((rows - mean).permute(2, 0, 1), full_matrices=False)
    if latent > most:
        raise InputError(
            f"latent must be at most {most}, as there are {count} training functions on "
            f"{rows.shape[1]} points, got {latent}",
            do="give a smaller latent=, as in --field.latent, or more functions",
        )
    vectors, sizes = vectors[:, :latent], sizes[:, :latent] / math.sqrt(count - 1)
    # the sign of a mode is the linear algebra library's choice
    largest = vectors.gather(-1, vectors.abs().argmax(-1, keepdim=True))
    scaled = vectors * largest.sign() * sizes[..., None]
    return torch.cat([mean, scaled.permute(2, 0, 1).flatten(1)], 1)


def default_modes(snapshots: Tensor) -> int:
    """Return the number of modes for labels ``(functions, *grid, k)``: 32, or as many as are not zero, at least 1."""
    rows = snapshots.to("cpu", torch.float64).flatten(1, -2)
    if not bool(rows.isfinite().all()):  # which is told where they are used
        return min(MODES, most_modes(snapshots))
    sizes = torch.linalg.svdvals((rows - rows.mean(0)).permute(2, 0, 1))
    return max(1, min(MODES, most_modes(snapshots), int((sizes > ZERO * sizes[:, :1]).sum(1).min())))


def most_modes(snapshots: Tensor) -> int:
    """Return how many modes labels ``(functions, *grid, k)`` have at most, at least 1."""
    return max(1, min(len(snapshots) - 1, math.prod(snapshots.shape[1:-1])))


def closed(domain: Domain, axes: Sequence[Tensor], values: Tensor) -> tuple[list[Tensor], Tensor]:
    """Repeat the first points of periodic axes that end before their period does at its end."""
    found = []
    for i, axis in enumerate(axes):
        axis = axis.to("cpu", torch.float64)
        low, high = domain.bounds[i]
        if domain.periodic[i] and float(axis[-1] - axis[0]) < (high - low) * (1 - 1e-6):
            axis = torch.cat([axis, axis[:1] + (high - low)])
            values = torch.cat([values, values.narrow(i + 1, 0, 1)], i + 1)
        found.append(axis)
    return found, values


class Grid(Interpolation):
    """Values at the points of a grid, between them the polynomial through the nearest ones along each axis.

    Args:
        domain: Bounds and periodicity of the coordinates.
        axes: Coordinates along each axis, ascending, ``(points,)`` each.
        table: Values, ``(points in all, m)``, those along the last axis next to each other.

    Raises:
        InputError: An axis of one point, or one that does not ascend.
    """

    table: Tensor

    def __init__(self, domain: Domain, axes: Sequence[Tensor], table: Tensor):
        super().__init__(domain, axes)
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:
        """Map points ``(..., d)`` to values ``(..., m)``."""
        index, weights = self.weigh(x)
        return torch.matmul(weights[..., None, :], self.table[index])[..., 0, :]
