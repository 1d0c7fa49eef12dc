"""Spaces of functions and pairs of functions: what operators take, and what they are trained on."""

from nfsolve.functions.gaussian import GaussianField, PeriodicField
from nfsolve.functions.plane import NeumannField, Thresholded
from nfsolve.functions.series import ChebyshevSeries, FourierSeries
from nfsolve.functions.space import FunctionSpace

__all__ = [
    "ChebyshevSeries",
    "FourierSeries",
    "FunctionSpace",
    "GaussianField",
    "NeumannField",
    "PeriodicField",
    "Thresholded",
]
