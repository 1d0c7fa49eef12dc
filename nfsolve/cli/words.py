"""The words after a command that takes one thing and options, such as ``nfsolve render DIR --size 400``."""

from typing import TypeVar

from nfsolve._core.errors import InputError

Options = TypeVar("Options")


def options_after(words: list[str], options: type[Options], usage: str, missing: str, do: str) -> Options:
    """Read the options after the first word; with ``--help`` among them, show these and end.

    Args:
        words: What the command is about, then options.
        options: A dataclass of the options.
        usage: The command as one writes it, without options.
        missing: What to say where the first word is missing.
        do: What to do then.

    Returns:
        The options.

    Raises:
        InputError: The first word is missing.
    """
    import tyro

    asks_help = bool({"-h", "--help"} & set(words))
    if not asks_help and (not words or words[0].startswith("-")):
        raise InputError(missing, do=do)
    return tyro.cli(options, args=["--help"] if asks_help else words[1:], prog=usage)
