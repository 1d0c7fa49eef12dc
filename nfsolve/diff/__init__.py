"""Derivatives of a callable at points: Taylor jets or nested reverse mode, nested jvp for what fits neither."""

from nfsolve.diff import rules as _rules  # noqa: F401  # fills the table of jets
from nfsolve.diff.jets import Unsupported, laplacian
from nfsolve.diff.names import Name, parse
from nfsolve.diff.partials import partials
from nfsolve.diff.rows import jacobian_by_rows

__all__ = ["Name", "Unsupported", "jacobian_by_rows", "laplacian", "parse", "partials"]
