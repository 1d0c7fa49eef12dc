"""Spaces of functions and pairs of functions: what operators take, and what they are trained on."""

from nfsolve.functions.files import FunctionFile
from nfsolve.functions.gaussian import GaussianField, PeriodicField
from nfsolve.functions.leakage import check_leakage, row_hashes
from nfsolve.functions.numbers import Numbers
from nfsolve.functions.pairs import Pairs, read_pairs
from nfsolve.functions.plane import NeumannField, Thresholded
from nfsolve.functions.series import ChebyshevSeries, FourierSeries
from nfsolve.functions.space import FunctionSpace

__all__ = [
    "ChebyshevSeries",
    "FourierSeries",
    "FunctionFile",
    "FunctionSpace",
    "GaussianField",
    "NeumannField",
    "Numbers",
    "Pairs",
    "PeriodicField",
    "Thresholded",
    "check_leakage",
    "read_pairs",
    "row_hashes",
]
