"""Finding problems: by name, by file, or by dotted path."""

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from nfsolve._core.errors import InputError, shortened, unknown
from nfsolve._core.installed import problem_names as names
from nfsolve.problem import Problem

OWN = ("nfsolve", "problems")


def find(what: str) -> type[Problem]:
    """Find the class of a problem.

    Args:
        what: A name that `names` gives, a ``FILE.py`` with one problem class, or ``package.module:Class``.

    Returns:
        The class.

    Raises:
        InputError: There is no such problem; the nearest name is suggested.
    """
    if not isinstance(what, str):
        raise InputError(
            f"a problem is given by its name, as FILE.py or as package.module:Class, got {what!r}",
            do="give its parameters as options",
        )
    if what.endswith(".py"):
        return _in_file(Path(what))
    known = names()
    target = known.get(what, what)
    if ":" not in target:
        raise unknown("problem", what, known, "or give FILE.py or package.module:Class")
    module_name, _, class_name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the module '{shortened(module_name)}' of '{shortened(target)}' cannot be imported: "
            f"{shortened(str(error))}",
            do="check its name",
        ) from error
    found: Any = getattr(module, class_name, None)
    if not _is_problem(found):
        here = _problems_of(module)
        raise InputError(f"{module_name} has no problem '{class_name}'", do=f"name one of {', '.join(here) or 'none'}")
    return found


def recall(what: str, name: str = "", trust: bool = False) -> type[Problem]:
    """Find the class of a recorded problem without running code of a stranger.

    Args:
        what: What `where` gave.
        name: Name of the class, where ``what`` is a file.
        trust: Whether a file or module that this process has not imported may be imported.

    Raises:
        InputError: Finding it would run a file or module that was not named by the user, or there is no such problem.
    """
    found = _imported(what, name)
    if found is not None:
        return found
    if not trust and not is_own(what):
        raise InputError(
            f"the problem of this run is in '{what}', which would have to be run first and was not imported here",
            do="import it, give problem=, or add --trust on the command line if you trust the file",
        )
    return _in_file(Path(what), name) if what.endswith(".py") else find(what)


def is_own(what: str) -> bool:
    """Return whether a problem is installed or comes with nfsolve, so that a run folder may name it."""
    known = names()
    module = known.get(what, what).partition(":")[0]
    if what.endswith(".py") or module.endswith(".__main__"):
        return False
    return module.partition(".")[0] in OWN or module in {target.partition(":")[0] for target in known.values()}


def _imported(what: str, name: str) -> type[Problem] | None:
    """Return a class of a module that this process runs or has imported."""
    if what.endswith(".py"):
        path = Path(what).resolve()
        files = [(m, getattr(m, "__file__", None)) for m in list(sys.modules.values())]
        modules = [m for m, file in files if isinstance(file, str) and Path(file).name == path.name]
        modules = [m for m in modules if Path(str(m.__file__)).resolve() == path]
    else:
        module_name, _, name = names().get(what, what).partition(":")
        modules = [sys.modules[module_name]] if module_name in sys.modules else []
    found: list[Any] = [vars(module).get(name) for module in modules]
    return next((cls for cls in found if _is_problem(cls)), None)


def where(problem: Problem) -> str:
    """Say what finds the class of a problem again: ``module:Class``, or the path of its file.

    Args:
        problem: The problem.

    Returns:
        What `find` takes.
    """
    cls = type(problem)
    module = sys.modules.get(cls.__module__)
    spec = getattr(module, "__spec__", None)
    if module is not None and (spec is None or getattr(module, "loaded_from_file", False)):
        file = getattr(module, "__file__", None)
        if file:
            return str(Path(file).resolve())
    return f"{cls.__module__}:{cls.__qualname__}"


def _in_file(path: Path, name: str = "") -> type[Problem]:
    if not path.is_file():
        raise InputError(f"there is no problem file '{path}'", do="give a Python file that defines one problem")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # a .py path always has a loader
    module = importlib.util.module_from_spec(spec)
    module.loaded_from_file = True  # type: ignore[attr-defined]  # so that `where` names the file
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    found = _problems_of(module)
    if name in found:
        return found[name]
    if name or len(found) != 1:
        raise InputError(
            f"'{path}' must define {f'a problem named {name}' if name else 'exactly one subclass of PDE or Problem'}, "
            f"but it has {len(found)} ({', '.join(found) or 'none'})",
            do="put each into its own file, or give package.module:Class",
        )
    return next(iter(found.values()))


def _problems_of(module: ModuleType) -> dict[str, type[Problem]]:
    return {
        name: value
        for name, value in vars(module).items()
        if _is_problem(value) and value.__module__ == module.__name__
    }


def _is_problem(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Problem) and not inspect.isabstract(value)
