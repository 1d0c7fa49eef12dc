"""The gallery: each file is one problem to run, read and copy."""

import nfsolve  # noqa: F401  # which finds the files by the names that they had before, too
