"""Radiance fields from posed photographs, and absorption from X-ray pictures."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "NeRF":
        raise AttributeError(f"module 'problems.nerf' has no attribute '{name}'")
    from problems.nerf.photographs import NeRF

    warnings.warn("problems.nerf.NeRF is now problems.nerf.photographs.NeRF", DeprecationWarning, stacklevel=2)
    return NeRF
