"""``nfsolve new FILE.py``: a commented problem to start from."""

import importlib.util
import keyword
import sys
from pathlib import Path

from nfsolve._core.errors import InputError

CLASS = "MyProblem"


def new_command(words: list[str]) -> int:
    """Write the template of a problem, with a class that is called as the file is.

    Args:
        words: The file to write.

    Returns:
        Exit code 0.

    Raises:
        InputError: The file exists, or its name cannot be that of a module.
    """
    if len(words) != 1:
        raise InputError(f"new needs one file to write, got {len(words)} words", do="write nfsolve new my_problem.py")
    path = Path(words[0])
    _check(path)
    text = Path(__file__).with_name("template.py").read_text(encoding="utf-8")
    path.write_text(text.replace(CLASS, _class_name(path)).replace("FILE", str(path)), encoding="utf-8")
    print(f"wrote {path}. Next: nfsolve show {path}, nfsolve run {path}", file=sys.stderr)
    return 0


def _class_name(path: Path) -> str:
    return "".join(part[:1].upper() + part[1:] for part in path.stem.split("_"))


def _check(path: Path) -> None:
    """Refuse a file that exists, and a name that Python cannot import or that hides another module."""
    if path.suffix != ".py":
        raise InputError(f"new writes a Python file, got '{path}'", do="end its name with .py")
    if path.exists():
        raise InputError(f"'{path}' exists already", do="choose another name, or remove it first")
    names = (path.stem, _class_name(path))
    if not all(map(str.isidentifier, names)) or any(map(keyword.iskeyword, names)):
        raise InputError(
            f"the name of a problem file must consist of letters, digits and _, and must not be a keyword of Python, "
            f"got '{path.name}'",
            do="choose a name such as my_problem.py",
        )
    if importlib.util.find_spec(path.stem) is not None:
        raise InputError(f"'{path.name}' would hide the module '{path.stem}'", do="choose another name")
