"""Fair comparisons of methods, each tuned on its own, at equal evaluations and at equal seconds."""

from nfsolve.studies.comparison.methods import Method
from nfsolve.studies.comparison.results import Comparison
from nfsolve.studies.comparison.study import Settings, compare, compare_words
from nfsolve.studies.comparison.words import Words, grid

__all__ = ["Comparison", "Method", "Settings", "Words", "compare", "compare_words", "grid"]
