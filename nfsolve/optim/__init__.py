"""Optimizers: curvature-aware ones of this project beside torch's own, under one contract ``step(objective)``."""

import torch
from torch.optim import SGD, Adam, AdamW

from nfsolve.optim.esgd import ESGD
from nfsolve.optim.gauss_newton import GaussNewton
from nfsolve.optim.lbfgs import LBFGS
from nfsolve.optim.self_scaled import SSBFGS, SSBroyden

__all__ = ["ESGD", "LBFGS", "SGD", "SSBFGS", "Adam", "AdamW", "GaussNewton", "SSBroyden", "named"]


def named() -> dict[str, type[torch.optim.Optimizer]]:
    """Give the optimizers by the names that the command line uses.

    Returns:
        Name -> class.
    """
    return {
        "gauss_newton": GaussNewton,
        "ssbroyden": SSBroyden,
        "ssbfgs": SSBFGS,
        "esgd": ESGD,
        "adam": Adam,
        "adamw": AdamW,
        "lbfgs": LBFGS,
        "sgd": SGD,
    }
