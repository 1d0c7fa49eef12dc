"""Modules under the names that they had before: importing one gives the new one, and says its name."""

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Moved(MetaPathFinder, Loader):
    """A finder for modules that exist under another name; it is asked after all others.

    Args:
        within: What the old names begin with.
        names: Returns the old dotted names with the new ones; called when a module within is not found.
    """

    def __init__(self, within: str, names: Callable[[], Mapping[str, str]]):
        self.within, self.read = within, names

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Old dotted name -> new one."""
        return self.read()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a spec where the name is an old one."""
        return ModuleSpec(fullname, self) if fullname.startswith(self.within) and fullname in self.names else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the contents of the new one, and say where that is."""
        old, new = module.__name__, self.names[module.__name__]
        warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=2)
        own = vars(importlib.import_module(new))
        vars(module).update({name: value for name, value in own.items() if not name.startswith("__")})


def moved(within: str, names: Callable[[], Mapping[str, str]]) -> None:
    """Let modules be imported by the names that they had before, with a `DeprecationWarning`.

    Args:
        within: What the old names begin with, such as ``"problems."``.
        names: Returns the old dotted names with the new ones.
    """
    sys.meta_path.append(Moved(within, names))
