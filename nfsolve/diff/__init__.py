"""Derivatives of a callable at points: Taylor jets where every operation has a rule, nested jvp otherwise."""

from nfsolve.diff.jets import Unsupported
from nfsolve.diff.names import Name, parse
from nfsolve.diff.partials import partials
from nfsolve.diff.rows import jacobian_by_rows

__all__ = ["Name", "Unsupported", "jacobian_by_rows", "parse", "partials"]
