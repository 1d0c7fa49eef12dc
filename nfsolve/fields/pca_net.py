"""PCA-Net: from principal components of the input functions to those of the solutions, by a network or a regression.

Bhattacharya, Hosseini, Kovachki & Stuart, SMAI J. Comput. Math. 7 (2021) 121, arXiv 2005.03180; with a kernel
regression between the components, Batlle, Darcy, Hosseini & Owhadi, J. Comput. Phys. 496 (2024) 112549.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve.fields.affine import Affine, affine
from nfsolve.fields.branches import PLAIN, Branch
from nfsolve.fields.checks import check_counts
from nfsolve.fields.field import Domain
from nfsolve.fields.kernel import Kernel, kernel
from nfsolve.fields.operators import joined, make_branch
from nfsolve.fields.pod_deeponet import PODDeepONet
from nfsolve.fields.start import Start

REGRESSIONS = {"affine": affine, "kernel": kernel}


class PCANet(PODDeepONet):
    """s(f)(x)_k = mean(x)_k + sum_l c(z(f))_kl sigma_kl mode(x)_kl, where z are principal components of f.

    The network c is trained alone, or added to a regression from the components of training functions to those of
    their solutions, zero at first: then the field is that regression before its first step, a linear or kernel
    baseline. Components are centred, and of deviation one over the training functions where a network reads them.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        sensors: Number of values by which an input function is given; a tuple where there are several functions.
        axes: As for `PODDeepONet`.
        snapshots: As for `PODDeepONet`, of the functions in the order of ``functions``.
        functions: Training functions as the field reads them, ``(n, sensors)`` each.
        latent: Number of components of the solutions for each output; None as for `PODDeepONet`.
        components: Largest number of components of the input functions, of all of them together.
        regression: ``affine`` or ``kernel``, to which the network is added; ``none`` leaves all to the network.
        width: Width of the hidden layers of a branch that does not say it.
        depth: Number of hidden layers of a branch that does not say it.
        branch: Network from components to components.
        **options: Arguments of `Field`.

    Raises:
        InputError: As for `PODDeepONet`; functions that do not fit the snapshots, or a regression that finds nothing.
    """

    transformable: ClassVar[bool] = False
    centre: Tensor
    directions: Tensor

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        axes: Sequence[Tensor],
        snapshots: Tensor,
        functions: Sequence[Tensor],
        latent: int | None = None,
        components: int = 100,
        regression: Literal["none", "affine", "kernel"] = "none",
        width: int = 64,
        depth: int = 3,
        branch: Branch = PLAIN,
        **options: Any,
    ):
        if regression not in ("none", *REGRESSIONS):
            raise unknown("regression", regression, ("none", *REGRESSIONS))
        check_counts("PCANet", components=components)
        sizes = {"latent": latent, "width": width, "depth": depth, "branch": branch}
        own = {"components": components, "regression": regression}
        super().__init__(domain, outputs, sensors, axes=axes, snapshots=snapshots, **sizes, **own, **options)
        rows, like = joined([f.to("cpu", torch.float64) for f in functions]), self.coordinates.matrix
        if len(rows) != len(snapshots) or rows.shape[1] != sum(self.sensors) or not bool(rows.isfinite().all()):
            raise InputError(
                f"functions must be finite values ({len(snapshots)}, {sum(self.sensors)}) of those whose solutions the "
                f"snapshots are, got {tuple(rows.shape)}",
                do="give training functions as the field reads them",
            )
        centre = rows.mean(0)
        _, found, vt = torch.linalg.svd(rows - centre, full_matrices=False)
        count = max(1, min(components, int((found > 1e-9 * found[0]).sum())))
        deviation = (found[:count] / math.sqrt(max(1, len(rows) - 1))).clamp_min(1e-300)
        self.register_buffer("centre", centre.to(like))
        self.register_buffer("directions", (vt[:count].T / deviation).to(like))
        self.branches = nn.ModuleList(
            [make_branch(self, branch, count, len(self.outputs) * self.config["latent"], "branch")]
        )
        self.regression: Start | None = None
        if regression != "none":
            coefficients, weights = self._coefficients(axes, snapshots)
            known = REGRESSIONS[regression](((rows - centre) @ vt[:count].T), coefficients * weights)
            self._add(regression, known, deviation, weights)

    def _coefficients(self, axes: Sequence[Tensor], snapshots: Tensor) -> tuple[Tensor, Tensor]:
        """Return the components of the solutions, in deviations, ``(n, k * latent)``, and how much each counts."""
        k, like = len(self.outputs), self.coordinates.matrix
        values, offset = self.basis(torch.cartesian_prod(*axes).reshape(-1, len(axes)).to(like))
        modes = values.double().cpu().unflatten(-1, (k, -1))
        gaps = snapshots.to("cpu", torch.float64).flatten(1, -2) - offset.double().cpu()
        found = [torch.linalg.lstsq(modes[:, j], gaps[..., j].T).solution.T for j in range(k)]
        return torch.cat(found, 1), modes.square().sum(0).sqrt().flatten()

    def _add(self, name: str, known: Affine | Kernel | None, deviation: Tensor, weights: Tensor) -> None:
        if known is None:
            raise InputError(
                f"the {name} regression finds nothing in so few functions, or in such as are all the same",
                do='give more functions, or regression="none"',
            )
        device = self.coordinates.matrix.device
        for buffer, value in {"deviation": deviation, "weights": weights, "missed": torch.tensor(known.error)}.items():
            self.register_buffer(buffer, value.to(device))
        self.regression = Start(known, like=self.coordinates.matrix)
        last = [m for m in self.branches[0].modules() if isinstance(m, nn.Linear)][-1]
        for p in last.parameters():
            nn.init.zeros_(p)

    @property
    def remarks(self) -> list[str]:
        """What the network is added to, in words."""
        if self.regression is None:
            return []
        error = float(self.get_buffer("missed"))
        kind = "an affine map" if self.regression.kind == "affine" else "a kernel regression"
        return [
            f"the network is added to {kind} between {self.directions.shape[1]} and {self.config['latent']} principal "
            f"components, which misses {error:.1e} of the deviation of solutions left out"
        ]

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field from the problem's training functions and labels; as for `PODDeepONet`.

        Args:
            problem: As for `PODDeepONet`; its method ``training_functions`` gives ``functions``.
            **options: Arguments of the constructor.

        Raises:
            InputError: The problem has no training labels.
        """
        if "functions" not in options and hasattr(problem, "training_functions"):
            options = {"functions": problem.training_functions()} | options
        return super().for_problem(problem, **options)

    def branch(self, *functions: Tensor) -> Tensor:
        """Map sensor values ``(n, sensors)`` of all input functions to coefficients ``(n, k * latent)``."""
        z = (joined(functions) - self.centre) @ self.directions
        found = self.branches[0](z)
        if self.regression is None:
            return found
        near = self.regression(z.double() * self.get_buffer("deviation")) / self.get_buffer("weights")
        return near.to(found) + self.get_buffer("missed").to(found) * found
