"""Fair comparisons: a grid of one-line swaps, each tuned on its own, at equal evaluations and at equal seconds."""

from nfsolve.studies.comparison.cells import Cell, grid
from nfsolve.studies.comparison.results import Comparison
from nfsolve.studies.comparison.study import Settings, compare, run_cells

__all__ = ["Cell", "Comparison", "Settings", "compare", "grid", "run_cells"]
