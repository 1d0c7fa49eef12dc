"""A user's own module, with the names of a problem and its output transform."""

import inspect
from typing import Any

from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.field import Domain, OnArrays, OutputTransform, output_names


class Transformed(OnArrays):
    """A plain module whose outputs go through the transform of a problem, such as its ansatz.

    Args:
        module: Maps points ``(n, d)`` to raw outputs ``(n, k)``; or takes a column ``(n, 1)`` for each coordinate, by
            the names of the coordinates, as in ``forward(self, t, x)``.
        domain: Names of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        output_transform: Maps coordinates ``(n, d)`` and raw outputs ``(n, k)`` to ``(n, k)``, or None.

    Attributes:
        inputs: Coordinate names.
        outputs: Output names.
    """

    def __init__(
        self,
        module: nn.Module,
        domain: Domain,
        outputs: str | tuple[str, ...],
        output_transform: OutputTransform | None,
    ):
        super().__init__()
        self.module, self.output_transform = module, output_transform
        self.inputs, self.outputs = tuple(domain.names), output_names(outputs)
        self.columns = column_names(module, self.inputs)

    def forward(self, x: Tensor, *functions: Tensor) -> Tensor:
        """Evaluate the module at points ``(n, d)`` and transform its outputs, ``(n, k)``.

        Raises:
            InputError: The module has another number of outputs.
        """
        columns = [x[..., i : i + 1] for i in map(self.inputs.index, self.columns)]
        y = self.module(*(columns or [x]), *functions)
        if y.shape[-1] != len(self.outputs):
            raise InputError(
                f"The field must have {len(self.outputs)} outputs ({', '.join(self.outputs)}), got {y.shape[-1]}",
                do="change the width of its last layer",
            )
        return y if self.output_transform is None else self.output_transform(x, y)


def column_names(module: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of a module that takes each of several coordinates by its name; empty for any other."""
    parameters = inspect.signature(module.forward).parameters
    wanted = tuple(name for name, p in parameters.items() if p.default is p.empty)
    return wanted if len(names) > 1 and set(wanted) == set(names) else ()


def with_output_transform(field: nn.Module, problem: Any) -> nn.Module:
    """Return a field that applies the transform of a problem, whatever the field was built for.

    The transform of a field that was built for the same kind of problem gives way to that of this problem, which may
    have other parameters. A plain module is wrapped.

    Args:
        field: A field that was built already.
        problem: The problem; has ``output_transform()``, ``domain`` and ``unknowns``.

    Returns:
        The field, or a wrapper around the module.

    Raises:
        InputError: The field has a transform that is not the problem's, so that one of them would be lost.
    """
    own: Any = getattr(field, "output_transform", None)
    wanted = problem.output_transform()
    ansatz = _is_ansatz(own)
    if wanted is None:
        if ansatz:
            raise InputError(
                f"The field was built with the ansatz of {own.owner}, and this problem has none",
                do="build the field for this problem, or set `field.output_transform = None`",
            )
        named = not hasattr(field, "output_transform") and column_names(field, problem.domain.names)
        return Transformed(field, problem.domain, problem.unknowns, None) if named else field
    if not hasattr(field, "output_transform"):
        return Transformed(field, problem.domain, problem.unknowns, wanted)
    if own is None and not getattr(field, "transformable", True):
        return field
    if own is None or (ansatz and _is_ansatz(wanted)):
        field.output_transform = wanted
    elif _kind(own) != _kind(wanted):
        raise InputError(
            "The field has a transform that is not the transform (or ansatz) of the problem",
            do="set `field.output_transform = None` for that of the problem, or write both into the ansatz",
        )
    return field


def _is_ansatz(transform: Any) -> bool:
    return hasattr(transform, "owner")


def _kind(transform: Any) -> str:
    """Name what made a transform: two closures of one function, or two objects of one class, are of one kind."""
    named = transform if hasattr(transform, "__qualname__") else type(transform)
    return f"{named.__module__}.{named.__qualname__}"
