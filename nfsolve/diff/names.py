"""Written names of derivatives: ``u_xx`` is the second derivative of output u along x, ``lap_u`` its Laplacian."""

from dataclasses import dataclass

from nfsolve._core.coordinates import TIMES
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


def parse(
    text: str, outputs: tuple[str, ...], coordinates: tuple[str, ...], space: tuple[int, ...] | None = None
) -> Name:
    """Read the name of an output or of one of its derivatives.

    Args:
        text: ``"u"``, ``"u_x"``, ``"u_txx"``...; ``"lap_u"`` is the sum of the second derivatives along the
            coordinates of space, cheaper than asking for each.
        outputs: Names of the outputs.
        coordinates: Names of the coordinates; longer ones such as ``"theta"`` are allowed.
        space: Columns of the coordinates of space; None takes all that are not named as a time.

    Returns:
        The parsed name. Derivatives commute, so ``u_tx`` and ``u_xt`` are the same.

    Raises:
        InputError: An unknown output or coordinate.

    Examples:
        >>> parse("v_txx", ("u", "v"), ("t", "x"))
        Name(output=1, along=(0, 1, 1))
    """
    if text in outputs:
        return Name(outputs.index(text), ())
    if text.startswith("lap_") and text[4:] in outputs:
        if space is None:
            space = tuple(column for column, name in enumerate(coordinates) if name not in TIMES)
        if not space:
            raise InputError(
                f"'{text}' needs a coordinate of space, and this problem has {', '.join(coordinates)}",
                do=f"write the derivatives out, such as {text[4:]}_{2 * coordinates[0]}",
            )
        return Name(outputs.index(text[4:]), laplacian(space))
    head = max((out for out in outputs if text.startswith(out + "_")), key=len, default=None)
    if head is None:
        known = (*coordinates, *outputs)
        raise InputError(
            f"unknown name '{text}': this problem has coordinates {', '.join(coordinates)} and unknowns "
            f"{', '.join(outputs)}",
            do=f"name a coordinate, an unknown or a derivative such as "
            f"{outputs[0]}_{coordinates[-1]} ({nearest(text, known)})",
        )
    tail = text[len(head) + 1 :]
    along = readings(tail, coordinates)
    if not along:
        raise _no_coordinate(text, head, tail, coordinates)
    return Name(outputs.index(head), along[0])


def _no_coordinate(text: str, head: str, tail: str, coordinates: tuple[str, ...]) -> InputError:
    bad = next((c for c in tail if c not in "".join(coordinates)), tail)
    normal = " + ".join(f"n_{c} * {head}_{c}" for c in coordinates if c not in TIMES)
    return InputError(
        f"unknown coordinate '{bad}' in '{text}': this problem has {', '.join(coordinates)}",
        do=f"for the derivative along the outward normal write {normal}" if tail == "n" else "",
    )


def readings(tail: str, coordinates: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Return every way to read a string of coordinate names as sorted columns, the longest names first."""
    found: list[tuple[int, ...]] = []
    for column, name in sorted(enumerate(coordinates), key=lambda item: -len(item[1])):
        if tail == name:
            found.append((column,))
        elif name and tail.startswith(name):
            found += [tuple(sorted((column, *rest))) for rest in readings(tail[len(name) :], coordinates)]
    return list(dict.fromkeys(found))
