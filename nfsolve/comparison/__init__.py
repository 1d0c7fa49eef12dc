"""Fair comparisons: a grid of one-line swaps, each tuned on its own, at equal evaluations and at equal seconds."""

from nfsolve.comparison.cells import Cell, grid
from nfsolve.comparison.results import Comparison
from nfsolve.comparison.study import Settings, compare, run_cells

__all__ = ["Cell", "Comparison", "Settings", "compare", "grid", "run_cells"]
