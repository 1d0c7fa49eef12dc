"""Hard constraints: what a problem writes as ``ansatz``, as a field applies it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, nearest, place_of
from nfsolve.problem.pde.conditions import arguments


class Ansatz:
    """The hard constraint of a problem.

    Args:
        function: The problem's ``ansatz``, whose arguments are unknowns, coordinates and others by name.
        names: Names of the coordinates.
        outputs: Names of the unknowns.
    """

    broadcasts = True  # its columns meet as tensors do: points (n, 1, d) serve outputs (n, m, k)

    def __init__(self, function: Callable[..., Any], names: tuple[str, ...], outputs: tuple[str, ...]):
        self.function, self.names, self.outputs = function, names, outputs

    @property
    def owner(self) -> str:
        """Name of the class that wrote it."""
        return type(getattr(self.function, "__self__", self.function)).__name__

    def __call__(self, points: Tensor, values: Tensor, given: dict[str, Tensor] | None = None) -> Tensor:
        """Map raw outputs.

        Args:
            points: Points ``(n, d)``.
            values: Raw outputs ``(n, k)``.
            given: Further arguments ``(n, 1)`` by name.

        Returns:
            Outputs ``(n, k)``.
        """
        wanted = arguments(self.function)
        columns = {name: points[..., i : i + 1] for i, name in enumerate(self.names)}
        columns |= {name: values[..., i : i + 1] for i, name in enumerate(self.outputs)} | (given or {})
        missing = [name for name in wanted if name not in columns]
        if missing:
            known = (*self.outputs, *self.names)
            raise InputError(
                f"unknown argument '{missing[0]}' of ansatz: this problem has {', '.join(known)}",
                do=nearest(missing[0], known),
            )
        result = self.function(*(columns[name] for name in wanted))
        taken = [name for name in wanted if name in self.outputs]
        changed = dict(zip(taken, _columns(self.function, result, taken), strict=True))
        return torch.cat([changed.get(name, columns[name]) for name in self.outputs], -1)


def _columns(ansatz: Any, result: Any, taken: list[str]) -> list[Any]:
    """Return the columns (n, 1) that an ansatz returned for the unknowns that it takes."""
    columns: list[Any] = list(result) if isinstance(result, tuple | list) else [result]
    shapes = [getattr(column, "shape", None) for column in columns]
    if len(taken) > 1 and len(columns) == 1 and shapes[0] and shapes[0][-1] == len(taken):
        columns = [columns[0][..., i : i + 1] for i in range(len(taken))]
    elif len(columns) != len(taken) or not all(shape and len(shape) > 1 and shape[-1] == 1 for shape in shapes):
        came = ", ".join(
            f"shape {tuple(s)}" if s is not None else repr(c) for s, c in zip(shapes, columns, strict=True)
        )
        raise InputError(
            f"`ansatz` takes {', '.join(taken)} and must return a column (n, 1) for each, but it returned {came}"
            f"{place_of(ansatz)}",
            do=f"return {', '.join(taken)} after the change, and keep columns, as in x[:, :1]",
        )
    return columns
