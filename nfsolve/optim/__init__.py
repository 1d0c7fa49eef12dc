"""Optimizers: curvature-aware ones of this project beside torch's own, under one contract ``step(objective)``."""

import torch
from torch.optim import LBFGS, SGD, Adam, AdamW

from nfsolve.optim.esgd import ESGD
from nfsolve.optim.gauss_newton import GaussNewton

__all__ = ["ESGD", "LBFGS", "SGD", "Adam", "AdamW", "GaussNewton", "named"]


def named() -> dict[str, type[torch.optim.Optimizer]]:
    """Give the optimizers by the names that the command line uses.

    Returns:
        Name -> class.
    """
    return {
        "gauss_newton": GaussNewton,
        "esgd": ESGD,
        "adam": Adam,
        "adamw": AdamW,
        "lbfgs": LBFGS,
        "sgd": SGD,
    }
