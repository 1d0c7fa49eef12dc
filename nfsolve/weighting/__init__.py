"""Weights of the residuals that adapt during training, each scheme a small frozen dataclass."""

from nfsolve.weighting.balance import NTK, GradientNorm
from nfsolve.weighting.causal import Causal
from nfsolve.weighting.discrepancy import Discrepancy
from nfsolve.weighting.evidence import Evidence
from nfsolve.weighting.points import RBA, SelfAdaptive
from nfsolve.weighting.scheme import Constant, Terms, Weighting, Weights

__all__ = [
    "NTK",
    "RBA",
    "Causal",
    "Constant",
    "Discrepancy",
    "Evidence",
    "GradientNorm",
    "SelfAdaptive",
    "Terms",
    "Weighting",
    "Weights",
    "named",
]


def named() -> dict[str, type[Weighting]]:
    """Return the schemes by the names that the command line uses.

    Returns:
        Name -> class.
    """
    return {
        "constant": Constant,
        "gradient_norm": GradientNorm,
        "ntk": NTK,
        "self_adaptive": SelfAdaptive,
        "rba": RBA,
        "causal": Causal,
        "discrepancy": Discrepancy,
        "evidence": Evidence,
    }
