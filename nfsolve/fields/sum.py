"""A sum of fields that are trained one after another, each on what those before leave of the residuals.

u = u_0 + u_1 + ...: a first field finds the solution, a later one its error, which is smaller and oscillates faster
(multi-stage networks: Wang & Lai, J. Comput. Phys. 504 (2024) 112865). Each later part begins at zero; least squares
needs no scale for it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.field import Domain, Field


class Sum(Field):
    """The sum of several fields, under one output transform.

    A stage trains the parameters whose names begin with its ``only``: ``only="parts.0"`` is the first field.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        parts: What builds each part: a class of fields, or a ``functools.partial`` of one. All but the first begin at
            zero, with a last layer of zeros.
        **options: Arguments of `Field`.

    Raises:
        InputError: No parts, or a later one that does not end in a linear layer.

    Examples:
        >>> from functools import partial
        >>> import nfsolve as nf
        >>> from problems.pde.poisson import Poisson
        >>> parts = (partial(nf.MLP, width=12, depth=2), partial(nf.RandomFeatures, width=300, scale=8.0))
        >>> stages = (
        ...     nf.Stage(nf.optim.GaussNewton, 20, only="parts.0"),
        ...     nf.Stage(nf.optim.LinearLeastSquares, 2, only="parts.1", resample=0),
        ... )
        >>> solution = nf.solve(Poisson(), field=partial(nf.Sum, parts=parts), stages=stages, report=None)
        >>> solution.metrics["relative_l2"] < 1e-6
        True
    """

    def __init__(
        self, domain: Domain, outputs: str | tuple[str, ...] = "u", *, parts: tuple[Any, ...] = (), **options: Any
    ):
        self.check_options(options)
        if not parts or not all(callable(part) for part in parts):
            raise InputError(
                f"Sum needs the classes of its fields as parts, got {parts!r}",
                do="write parts=(nfsolve.MLP, nfsolve.RandomFeatures), for example",
            )
        super().__init__(domain, outputs, parts=tuple(parts), **options)
        like = self.coordinates.matrix
        made = {"dtype": like.dtype, "device": like.device}
        fields = [part(domain, outputs, seed=self.seed + i, **made) for i, part in enumerate(parts)]
        for field in fields[1:]:
            self._begin_at_zero(field, domain)
        self.parts = nn.ModuleList(fields)

    @torch.no_grad()
    def _begin_at_zero(self, field: nn.Module, domain: Domain) -> None:
        """Set the last linear layer of a field to zero."""
        layers = [module for module in field.modules() if isinstance(module, nn.Linear)]
        for parameter in layers[-1].parameters() if layers else ():
            nn.init.zeros_(parameter)
        corners = torch.tensor(domain.bounds, dtype=torch.float64).T.to(self.coordinates.matrix)
        if bool(field(corners).any()):
            raise InputError(
                f"a later part of a Sum begins at zero, but {type(field).__name__} does not end in a linear layer",
                do="choose RandomFeatures or MLP",
            )

    def network(self, features: Tensor) -> Tensor:
        """Add up the outputs of the parts, whose own encodings read the points; see `raw`."""
        raise TypeError("the parts of a Sum read points, not encoded coordinates")

    def raw(self, points: Tensor) -> Tensor:
        """Evaluate at points ``(n, d)`` without the output transform, ``(n, k)``."""
        return torch.stack([part(points) for part in self.parts]).sum(0)
