"""Partial derivatives of a callable at points, by the engine that fits it."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.diff.jets import Index, Jet, Unsupported, plan, summands
from nfsolve.diff.reverse import added, cheaper, possible, reverse

Engine = Literal["auto", "jets", "nested", "reverse"]


def partials(
    function: Callable[[Tensor], Tensor],
    points: Tensor,
    wanted: Iterable[Index],
    engine: Engine = "auto",
) -> dict[Index, Tensor]:
    """Evaluate a function and its partial derivatives.

    Args:
        function: Maps points ``(n, d)`` to values ``(n, k)``, each row on its own. Where it has a method
            ``pieces(points)``, which yields rows of points and the function there, each piece is derived for itself.
            One that knows its derivatives in closed form has a method ``known_derivatives(points, wanted)``, which
            returns them, or None where it does not. One that knows those of a part has ``raw_derivatives`` of the same
            kind, and ``finish(points, raw)``, which makes the values of the part.
        points: Points ``(n, d)``.
        wanted: Multi-indices as sorted columns: ``()`` is the value, ``(1, 1)`` the second derivative
            along column 1, ``laplacian([0, 1])`` the sum of those along columns 0 and 1.
        engine: ``jets`` carries all derivatives through one pass and needs a Taylor rule for every
            operation; ``reverse`` is nested reverse mode, for one output; ``nested`` is nested forward mode, and
            reverse mode with a `UserWarning` where an operation has no forward-mode rule; ``auto`` takes the cheaper
            of jets and reverse mode, as far as they are possible, and ``nested`` otherwise.

    Returns:
        For each multi-index the derivative of all outputs, ``(n, k)``.

    Raises:
        InputError: The function does not give ``(n, k)``.
        TypeError: ``engine="jets"`` and an operation has no rule, or ``engine="reverse"`` and the function does
            not have one output with a graph.

    Examples:
        >>> x = torch.tensor([[0.5, 2.0]])
        >>> found = partials(lambda x: x[:, :1] ** 3 * x[:, 1:], x, {(), (0, 0), (0, 1)})
        >>> [round(float(found[index]), 3) for index in ((), (0, 0), (0, 1))]
        [0.25, 6.0, 0.75]

    Reference:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., chapter 13 (Taylor propagation).
    """
    wanted = frozenset(wanted)
    if engine == "auto" and getattr(function, "pieces", None) is not None and not _is_wrapped(points):
        return _joined(function, points, wanted)
    known = getattr(function, "known_derivatives", None)
    found = known(points, wanted) if known is not None and engine == "auto" else None
    if found is None and engine == "auto" and hasattr(function, "raw_derivatives"):
        found = _finished(function, points, wanted)
    if found is not None:
        return found
    ways: list[tuple[str, Callable[..., dict[Index, Tensor]]]] = [("jets", _jets)]
    if engine == "reverse" or (engine == "auto" and possible(function) and cheaper(wanted, plan(wanted))):
        ways.insert(0, ("reverse", reverse))
    for name, way in ways if wanted != {()} else []:
        if engine in ("auto", name):
            try:
                return way(function, points, wanted)
            except Unsupported:
                if engine == name:
                    raise
    result = _nested(function, points, wanted)
    for value in result.values():
        _check(value, points)
    return result


def _is_wrapped(points: Tensor) -> bool:
    """Return whether points are those of `torch.func`, of which no rows can be chosen."""
    return torch._C._functorch.is_functorch_wrapped_tensor(points)  # type: ignore[attr-defined]


def _joined(function: Any, points: Tensor, wanted: frozenset[Index]) -> dict[Index, Tensor]:
    """Evaluate a function that is another one on each of several sets of rows."""
    found = [(rows, partials(piece, points[rows], wanted)) for rows, piece in function.pieces(points)]
    order = torch.cat([rows for rows, _ in found]).argsort()
    return {index: torch.cat([values[index] for _, values in found])[order] for index in wanted}


def _finished(function: Any, points: Tensor, wanted: frozenset[Index]) -> dict[Index, Tensor] | None:
    """Carry the derivatives that a function knows of a part through what it makes of it; None where it cannot."""
    layout = plan(wanted)
    raw = function.raw_derivatives(points, layout.indices)
    if raw is None:
        return None
    inner = Jet(torch.stack([raw[index] for index in layout.indices]), layout)
    try:
        jet = function.finish(Jet.seed(function.cast(points), layout), inner)
    except Unsupported:
        return None
    return {index: jet.channels[layout.position[index]] for index in wanted} if isinstance(jet, Jet) else None


def _jets(function: Callable[[Tensor], Tensor], points: Tensor, wanted: frozenset[Index]) -> dict[Index, Tensor]:
    layout = plan(wanted)
    jet = function(Jet.seed(points, layout))  # type: ignore[arg-type]  # a jet stands in for the points
    if not isinstance(jet, Jet):  # the function ignored its argument, or computed outside the rules
        raise Unsupported("the function did not return a jet")
    _check(jet.channels[0], points)
    return {index: jet.channels[layout.position[index]] for index in wanted}


def _nested(function: Callable[[Tensor], Tensor], points: Tensor, wanted: frozenset[Index]) -> dict[Index, Tensor]:
    try:
        return _by_ladders(_ladder, function, points, wanted)
    except RuntimeError as error:  # of autograd, in the words of torch 2.13
        if "forward AD" not in str(error) and "jvp" not in str(error):
            raise
        reason = str(error).splitlines()[0]
    warnings.warn(f"derivatives are taken in reverse mode, which is slower: {reason}", stacklevel=2)
    return _by_ladders(_reverse_ladder, function, points, wanted)


def _by_ladders(
    ladder: Callable[..., list[Tensor]],
    function: Callable[[Tensor], Tensor],
    points: Tensor,
    wanted: frozenset[Index],
) -> dict[Index, Tensor]:
    result: dict[Index, Tensor] = {}
    for index in sorted({part for sought in wanted for part in summands(sought)}, key=len, reverse=True):
        if index in result:
            continue
        values = ladder(function, points, index)
        for m, value in enumerate(values):
            result.setdefault(index[:m], value)
    return {index: added(result, index) for index in wanted}


def _reverse_ladder(function: Callable[[Tensor], Tensor], points: Tensor, index: Index) -> list[Tensor]:
    """As `_ladder`, by nested reverse mode: a pass for each output, each row of values being of its own point."""
    if not index:
        return [function(points)]

    def below(x: Tensor) -> tuple[Tensor, list[Tensor]]:
        values = _reverse_ladder(function, x, index[:-1])
        return values[-1].sum(0), values

    _, pull, values = cast(Any, torch.func.vjp(below, points, has_aux=True))
    eye = torch.eye(values[-1].shape[-1], dtype=values[-1].dtype, device=points.device)
    slopes = [pull(row)[0][..., index[-1]] for row in eye]
    return [*values, torch.stack(slopes, -1)]


def _ladder(function: Callable[[Tensor], Tensor], points: Tensor, index: Index) -> list[Tensor]:
    """Return the value and derivatives along the prefixes of a multi-index, by nested forward mode."""
    if not index:
        return [function(points)]
    direction = torch.zeros_like(points)
    direction[..., index[-1]] = 1.0

    def below(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(_ladder(function, x, index[:-1]))

    values, slopes = torch.func.jvp(below, (points,), (direction,))[:2]
    return [*values, slopes[-1]]


def _check(value: Tensor, points: Tensor) -> None:
    if value.ndim != 2 or value.shape[0] != points.shape[0]:
        raise InputError(
            f"A field must map points {tuple(points.shape)} to values ({points.shape[0]}, k), "
            f"but it gives shape {tuple(value.shape)}",
            do="keep the point axis first and give every output a column",
        )
