"""A neural field as a reconstructor of deepinv: from measurements and physics to images, without training data.

Reconstructors of deepinv are called with measurements (batch, channels, ...) and physics that have `A` and `A_adjoint`;
this one needs nothing else of deepinv, so that it works for physics of one's own as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.problem.measurement import Measurement, Observed
from nfsolve.run.solve import solve


class FieldReconstructor(nn.Module):
    """Fit a neural field to the measurements of each image, by the physics that made them.

    Args:
        shape: Shape of one image, such as (rows, columns).
        tv: Weight of the total variation, for images of order one.
        noise: Standard deviation of the measurements, a number or one for each; None if it is not known.
        **options: As for `nfsolve.solve`: ``steps``, ``time_limit``, ``seed``, ``field`` and others.

    Attributes:
        solutions: Those of the last call, image by image and channel by channel, to be evaluated anywhere.

    Examples:
        >>> import torch, nfsolve as nf
        >>> from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector
        >>> class Scanner:
        ...     project = Projector(ParallelBeam.half_turn(12, 16), PixelGrid(16, 16, 2 / 16), torch.float32)
        ...     def A(self, x): return self.project(x.reshape(1, -1).T).T.reshape(1, 1, 12, 16)
        ...     def A_adjoint(self, y): return self.project.adjoint(y.reshape(1, -1).T).T.reshape(1, 1, 16, 16)
        >>> disc = (PixelGrid(16, 16, 2 / 16).centres().norm(dim=1) < 0.6).float().reshape(1, 1, 16, 16)
        >>> model = nf.FieldReconstructor((16, 16), steps=60)
        >>> found = model(Scanner().A(disc), Scanner())
        >>> found.shape, float((found - disc).square().mean()) < 0.05
        (torch.Size([1, 1, 16, 16]), True)
    """

    def __init__(self, shape: Sequence[int], tv: float = 0.0, noise: Any = None, **options: Any):
        super().__init__()
        self.shape, self.tv, self.noise, self.options = tuple(shape), tv, noise, {"report": None, "out": None} | options
        self.solutions: list[Any] = []

    def forward(self, y: Tensor, physics: Any, **_: Any) -> Tensor:
        """Reconstruct.

        Args:
            y: Measurements (batch, channels, *data), each channel by itself.
            physics: `A` takes images (1, 1, *shape) to (1, 1, *data), `A_adjoint` is its exact adjoint.

        Returns:
            Images (batch, channels, *shape).

        Raises:
            InputError: `y` lacks the axes of batch and channels, or the physics do not fit.
        """
        if y.dim() < 3:
            raise InputError(
                f"measurements have axes (batch, channels, ...), got shape {tuple(y.shape)}",
                do="add them by y[None, None]",
            )
        images, self.solutions = [], []
        for one in y.flatten(0, 1):
            problem: Any = _Given(tv=self.tv)
            problem.given_shape, problem.seen = self.shape, Observed(physics, one.detach().cpu(), noise=self.noise)
            options: dict[str, Any] = {"dtype": y.dtype, **self.options}
            solution = solve(problem, **options)
            with torch.no_grad():
                images.append(problem.on_grid(solution.field, solution.data))
            self.solutions.append(solution)
        return torch.stack(images).reshape(*y.shape[:2], *self.shape).to(y)


@dataclass
class _Given(Measurement):
    """A measurement that is in memory."""

    given_shape: ClassVar[tuple[int, ...]] = ()
    seen: ClassVar[Observed | None] = None

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of the grid."""
        return self.given_shape

    def observe(self) -> Observed:
        """Return what was given."""
        assert self.seen is not None
        return self.seen
