"""Physics and inverse problems solved with neural fields.

Write the physics of a problem as named residuals of a neural field; nfsolve gives the field, the
derivatives, the optimizer, the run and the honest score::

    import nfsolve as nf
    from problems.pde.burgers import Burgers

    solution = nf.solve(Burgers(nu=0.02))
    print(solution)

``__init__.pyi`` lists the public names. Each is imported when it is first used, so that the command line need not
wait for PyTorch to list problems or to show its help.
"""

import pkgutil
import sys
import warnings
from typing import TYPE_CHECKING, Any

import lazy_loader

import nfsolve._core.startup  # noqa: F401  # before PyTorch
from nfsolve._core.errors import InputError, MissingExtra, nearest  # noqa: F401
from nfsolve._core.errors import require as require_extra  # noqa: F401
from nfsolve._core.errors import unknown as unknown_name  # noqa: F401
from nfsolve._core.installed import problem_names
from nfsolve._core.moved import moved
from nfsolve._core.version import VERSION

if TYPE_CHECKING:
    from nfsolve.problem import Problem

__version__ = VERSION

_imported, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
_ROOMS = {room.name for room in pkgutil.iter_modules(__path__)} - {"optim", "weighting"}
__all__ = sorted({*_names, "main", "require_extra", "unknown_name"} - _ROOMS)  # pyright: ignore[reportUnsupportedDunderAll]

_RENAMED = {"matched": "paired"}  # what was public once -> its name now
_READERS = ("latlon", "photos", "pictures", "slices", "sounds", "tables")
_DIAGONAL = ("adahessian", "diag_gn", "esgd", "esgd_max", "jacobi")


def _rooms_before() -> dict[str, str]:
    """Return modules of nfsolve that have moved: old dotted name -> new one."""
    readers = {f"nfsolve.problem.{name}": f"nfsolve.data.{name}" for name in (*_READERS, "scans")}
    return readers | {f"nfsolve.optim.{name}": "nfsolve.optim.diagonal" for name in _DIAGONAL}


def _gallery_before() -> dict[str, str]:
    """Return what the files of the gallery were called before each kind had a folder: the names of their problems."""
    targets = {name: target.partition(":")[0] for name, target in problem_names().items()}
    return {f"problems.{name}": module for name, module in targets.items() if module.startswith("problems.")}


moved("nfsolve.", _rooms_before)
moved("problems.", _gallery_before)


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        now = _RENAMED[name]
        warnings.warn(f"nfsolve.{name} is now called nfsolve.{now}", DeprecationWarning, stacklevel=2)
        return _imported(now)
    if name not in _names:
        raise AttributeError(f"module 'nfsolve' has no attribute '{name}': {nearest(name, __all__)}")
    return _imported(name)


def main(problem: "type[Problem]", arguments: list[str] | None = None) -> Any:
    """Run a problem from the command line: the last line of a problem file.

    It does nothing where the file is imported, as by ``nfsolve run FILE.py``, even if the line is not under
    ``if __name__ == "__main__":``.

    Args:
        problem: The class of the problem.
        arguments: Command-line arguments; None takes the program's own.

    Raises:
        SystemExit: Always where it acts, with the exit code.
    """
    caller = sys._getframe(1)
    imported = caller.f_code.co_name == "<module>" and caller.f_globals.get("__name__") != "__main__"
    if imported and arguments is None:
        return
    from nfsolve.cli import run_problem  # the command line's library stays out of `import nfsolve`

    raise SystemExit(run_problem(problem, arguments))
