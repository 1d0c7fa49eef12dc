"""DeepONet: s(f)(x)_k = sum_l branch(f)_kl trunk(x)_kl + b_k, an operator from functions to fields.

Lu, Jin, Pang, Zhang & Karniadakis, Nature Machine Intelligence 3 (2021), arXiv 1910.03193 (unstacked, with a
bias). The branch sees f through its values at fixed sensors.
"""

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from nfsolve.fields.branches import PLAIN, Branch
from nfsolve.fields.field import Domain
from nfsolve.fields.network import Network
from nfsolve.fields.operators import Separable, make_branches, make_trunk
from nfsolve.fields.start import Start, nearest


class DeepONet(Separable, Network):
    """A field over the trunk's coordinates that also takes input functions.

    Arguments and errors as for `Network`, and:

    Args:
        sensors: Number of values by which an input function is given; a tuple where there are several functions.
        width: Width of the trunk's hidden layers, and of those of a branch without a width of its own.
        depth: Number of the trunk's hidden layers, and of those of a branch without a depth of its own.
        latent: Number of products that are summed, for each output.
        trunk: Network of the trunk: ``plain``, as an `MLP`, or ``modified``, as a `ModifiedMLP`.
        branch: Network that reads a function; a tuple has one for each function.
        bias: Whether a trained constant is added to each output.
        start: A map to raw outputs at points of its own, to which the network, zero at first, is added; None starts
            without. `for_problem` fits an affine map and a kernel regression to labels at common points that are no
            grid, or to solutions of the equations, and takes the better one where it misses few of their deviation.
            From labels it has no derivatives by Taylor jets.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        latent: int = 64,
        trunk: Literal["plain", "modified"] = "plain",
        branch: Branch | tuple[Branch, ...] = PLAIN,
        bias: bool = True,
        start: Start | None = None,
        **options: Any,
    ):
        own = {"latent": latent, "trunk": trunk, "branch": branch, "bias": bias}
        super().__init__(domain, outputs, sensors, **own, **options)
        k, like = len(self.outputs), self.coordinates.matrix
        self.trunk = make_trunk(self.layers(self.config["depth"]), trunk, k * latent)
        self.branches = make_branches(self, branch, k * latent)
        self.bias: Tensor
        zero = torch.zeros(k, dtype=like.dtype, device=like.device)
        if bias:
            self.bias = nn.Parameter(zero)
        else:
            self.register_buffer("bias", zero)
        if start is not None:
            self.begin(start)

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field for a problem; as for `Operator`.

        Args:
            problem: As for `Operator`; a method ``on_places`` gives points, functions and labels to start from, or
                None.
            **options: Arguments of the constructor.

        Returns:
            The field.
        """
        given = problem.on_places() if "start" not in options and hasattr(problem, "on_places") else None
        if given is not None:
            points, functions, labels = given
            found = nearest(functions, labels.flatten(1))
            options["start"] = None if found is None else Start(found, points, labels)
        return super().for_problem(problem, **options)

    def basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the trunk, and give the bias."""
        return self.trunk(self.encode(x)), self.bias

    @property
    def small(self) -> float:
        """Size of a product, of which there are so many in a sum."""
        return self.config["latent"] ** -0.5

    def last(self) -> list[nn.Module]:
        """Return the last layer of the trunk."""
        return [[m for m in self.trunk.modules() if isinstance(m, nn.Linear)][-1]]
