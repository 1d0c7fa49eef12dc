"""The installed problems, read from the metadata of packages without importing any of them."""

import importlib.metadata

GROUP = "nfsolve.problems"


def problem_names() -> dict[str, str]:
    """Return the installed problems: name -> ``module:Class``."""
    return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
