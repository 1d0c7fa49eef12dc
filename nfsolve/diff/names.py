"""Written names of derivatives: ``u_xx`` is the second derivative of output u along x, ``lap_u`` its Laplacian."""

from dataclasses import dataclass

from nfsolve._core.errors import InputError, nearest
from nfsolve.diff.jets import laplacian


@dataclass(frozen=True)
class Name:
    """An output with the coordinates along which it is differentiated.

    Attributes:
        output: Index of the output.
        along: Sorted columns of the coordinates, one entry for each differentiation; ``()`` is the value, negative
            entries are a sum of second derivatives (see `nfsolve.diff.jets.laplacian`).
    """

    output: int
    along: tuple[int, ...]


def parse(text: str, outputs: tuple[str, ...], coordinates: tuple[str, ...]) -> Name:
    """Read the name of an output or of one of its derivatives.

    Args:
        text: ``"u"``, ``"u_x"``, ``"u_txx"``...; ``"lap_u"`` is the sum of the second derivatives along every
            coordinate but t, cheaper than asking for each.
        outputs: Names of the outputs.
        coordinates: Names of the coordinates; longer ones such as ``"theta"`` are allowed.

    Returns:
        The parsed name. Derivatives commute, so ``u_tx`` and ``u_xt`` are the same.

    Raises:
        InputError: An unknown output or coordinate.
    """
    if text in outputs:
        return Name(outputs.index(text), ())
    if text.startswith("lap_") and text[4:] in outputs:
        space = [column for column, name in enumerate(coordinates) if name != "t"]
        if not space:
            raise InputError(f"'{text}' on the coordinates {', '.join(coordinates)}", "a coordinate other than t")
        return Name(outputs.index(text[4:]), laplacian(space))
    head = max((out for out in outputs if text.startswith(out + "_")), key=len, default=None)
    if head is None:
        known = (*coordinates, *outputs)
        raise InputError(
            f"unknown name '{text}'",
            f"this problem has coordinates {', '.join(coordinates)} and unknowns {', '.join(outputs)}",
            f"name a coordinate, an unknown or a derivative such as "
            f"{outputs[0]}_{coordinates[-1]} ({nearest(text, known)})",
        )
    tail = text[len(head) + 1 :]
    along = _split(tail, coordinates)
    if along is None:
        bad = next((c for c in tail if c not in "".join(coordinates)), tail)
        raise InputError(f"unknown coordinate '{bad}' in '{text}'", f"this problem has {', '.join(coordinates)}")
    return Name(outputs.index(head), tuple(sorted(along)))


def _split(tail: str, coordinates: tuple[str, ...]) -> list[int] | None:
    """Cut a string of coordinate names into columns, longest name first, or give None."""
    if not tail:
        return None
    for column, name in sorted(enumerate(coordinates), key=lambda item: -len(item[1])):
        if tail == name:
            return [column]
        if tail.startswith(name):
            rest = _split(tail[len(name) :], coordinates)
            if rest is not None:
                return [column, *rest]
    return None
