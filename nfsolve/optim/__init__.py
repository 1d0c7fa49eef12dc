"""Optimizers: curvature-aware ones of this project beside torch's own, under one contract ``step(objective)``.

An objective for a module of one's own is `nfsolve.curvature.LeastSquares`.
"""

import torch
from torch.optim import SGD, Adam, AdamW

from nfsolve.optim.banded_least_squares import BandedLeastSquares
from nfsolve.optim.diagonal import ESGD, AdaHessian, DiagGN, ESGDMax, Jacobi
from nfsolve.optim.gauss_newton import GaussNewton
from nfsolve.optim.kfac import KFAC
from nfsolve.optim.last_layer import LastLayer
from nfsolve.optim.lbfgs import LBFGS
from nfsolve.optim.linear_least_squares import LinearLeastSquares
from nfsolve.optim.muon import Muon
from nfsolve.optim.nystrom_newton import NystromNewtonCG
from nfsolve.optim.output_layer import OutputLayer
from nfsolve.optim.self_scaled import SSBFGS, SSBroyden
from nfsolve.optim.shampoo import Shampoo
from nfsolve.optim.soap import SOAP

__all__ = [
    "ESGD",
    "KFAC",
    "LBFGS",
    "SGD",
    "SOAP",
    "SSBFGS",
    "AdaHessian",
    "Adam",
    "AdamW",
    "BandedLeastSquares",
    "DiagGN",
    "ESGDMax",
    "GaussNewton",
    "Jacobi",
    "LastLayer",
    "LinearLeastSquares",
    "Muon",
    "NystromNewtonCG",
    "OutputLayer",
    "SSBroyden",
    "Shampoo",
    "named",
]


def named() -> dict[str, type[torch.optim.Optimizer]]:
    """Return the optimizers by the names that the command line uses.

    Returns:
        Name -> class.
    """
    return {
        "gauss_newton": GaussNewton,
        "ssbroyden": SSBroyden,
        "ssbfgs": SSBFGS,
        "nystrom_newton": NystromNewtonCG,
        "esgd": ESGD,
        "kfac": KFAC,
        "shampoo": Shampoo,
        "esgd_max": ESGDMax,
        "adahessian": AdaHessian,
        "jacobi": Jacobi,
        "diag_gn": DiagGN,
        "soap": SOAP,
        "muon": Muon,
        "adam": Adam,
        "adamw": AdamW,
        "lbfgs": LBFGS,
        "last_layer": LastLayer,
        "output_layer": OutputLayer,
        "linear_least_squares": LinearLeastSquares,
        "banded_least_squares": BandedLeastSquares,
        "sgd": SGD,
    }
