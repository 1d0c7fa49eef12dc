"""Curvature: the optimizers' view of residuals, Hessian and Gauss-Newton products, tangent kernels."""

from nfsolve.curvature.kronecker import KroneckerFactors, kronecker_factors
from nfsolve.curvature.least_squares import LeastSquares
from nfsolve.curvature.ntk import condition_number, empirical_ntk
from nfsolve.curvature.products import HessianProduct, gauss_newton_product, hessian_product, linear_maps

__all__ = [
    "HessianProduct",
    "KroneckerFactors",
    "LeastSquares",
    "condition_number",
    "empirical_ntk",
    "gauss_newton_product",
    "hessian_product",
    "kronecker_factors",
    "linear_maps",
]
