"""What tests of operator problems share."""

from typing import Any


def parts_of(figure: Any) -> dict[str, Any]:
    """Return the parts of a picture that show a test function, by the word with which their title begins."""
    titled = {part.get_suptitle(): part for part in figure.subfigs}
    return {title.split()[0]: part for title, part in titled.items() if title}
