"""``nfsolve list``: the installed problems, read from their sources without importing them, which takes seconds."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.installed import problem_names

FIELDS = "fields"
NOTHING = "nothing"  # what `Problem.needs` is where a problem says nothing else


def list_command(words: list[str]) -> int:
    """Print a line for each problem, or the presets of fields.

    Args:
        words: Nothing, or ``--kind`` and a kind.

    Returns:
        Exit code 0.

    Raises:
        InputError: There is no such kind, or something else is asked for.
    """
    kind = _kind(words)
    if kind == FIELDS:
        from nfsolve.fields import PRESETS

        print("\n".join(PRESETS))
        return 0
    shown = {name: target for name, target in sorted(problem_names().items()) if kind in ("", kind_of(target))}
    width = max((len(name) for name in shown), default=0)
    for name, target in shown.items():
        said, needs = facts(target)
        print(f"{name:<{width}}  {said}  [needs {needs}]")
    if not kind:
        kinds = ", ".join(sorted(set(map(kind_of, problem_names().values()))))
        print(f"\nnfsolve list --kind KIND shows one of: {kinds}; or {FIELDS}, the presets for --field NAME")
    return 0


def _kind(words: list[str]) -> str:
    """Return the kind that is asked for, empty for all."""
    if not words:
        return ""
    words = [part for word in words for part in word.split("=", 1)]
    if words[0] != "--kind" or len(words) != 2:
        raise InputError(f"list takes --kind KIND alone, got '{' '.join(words)}'", do="write nfsolve list --kind pde")
    known = {*map(kind_of, problem_names().values()), FIELDS}
    if words[1] not in known:
        raise unknown("kind", words[1], known)
    return words[1]


def kind_of(target: str) -> str:
    """Return the kind of a problem ``module:Class``: its folder in the gallery, or the package that brings it."""
    package, _, rest = target.partition(":")[0].partition(".")
    return rest.partition(".")[0] if package == "problems" else package


def facts(target: str) -> tuple[str, str]:
    """Read the description of a problem, and what it needs, from the source of its class.

    Args:
        target: ``module:Class``.

    Returns:
        The first line of the docstring of the class, else of its module; and its ``needs``, inherited where it has
        none of its own. Where the source does not tell, the class is imported.
    """
    module, _, name = target.partition(":")
    tree, needs = _source(module), _needs(module, name)
    cls = _class(tree, name)
    if tree is None or cls is None or needs is None:
        from nfsolve.options.docstrings import description
        from nfsolve.problem.registry import find

        found = find(target)
        return description(found).partition("\n")[0], found.needs
    said = ast.get_docstring(cls) or ast.get_docstring(tree) or ""
    return said.partition("\n")[0], needs


def _needs(module: str, name: str) -> str | None:
    """Return ``needs`` of a class, or of its first base that has it; None where that cannot be read."""
    if module.partition(".")[0] == "nfsolve":
        return NOTHING
    tree = _source(module)
    cls = _class(tree, name)
    if tree is None or cls is None:
        return None
    for line in cls.body:
        if "needs" in _assigned(line):
            value = getattr(line, "value", None)
            return str(value.value) if isinstance(value, ast.Constant) else None
    imported = {
        alias.asname or alias.name: (line.module, alias.name)
        for line in tree.body
        if isinstance(line, ast.ImportFrom) and line.module and not line.level
        for alias in line.names
    }
    bases = [
        _needs(*imported.get(base.id, (module, base.id))) if isinstance(base, ast.Name) else None for base in cls.bases
    ]
    if None in bases:
        return None
    return next((base for base in bases if base != NOTHING), NOTHING)


def _assigned(line: ast.stmt) -> list[str]:
    targets = line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _class(tree: ast.Module | None, name: str) -> ast.ClassDef | None:
    lines = tree.body if tree else []
    return next((line for line in lines if isinstance(line, ast.ClassDef) and line.name == name), None)


@cache
def _source(module: str) -> ast.Module | None:
    """Return the source of a module of a package, or None where it cannot be read; nfsolve's own are not looked at."""
    if module.partition(".")[0] == "nfsolve":
        return None
    try:
        spec = importlib.util.find_spec(module)
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
