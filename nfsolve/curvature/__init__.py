"""Curvature: the optimizers' view of residuals, Hessian and Gauss-Newton products, tangent kernels."""

from nfsolve.curvature.differences import central_difference
from nfsolve.curvature.estimator import Estimator
from nfsolve.curvature.guard import check_products, foreign_operations
from nfsolve.curvature.kronecker import KroneckerFactors, kronecker_factors
from nfsolve.curvature.least_squares import LeastSquares
from nfsolve.curvature.ntk import condition_number, empirical_ntk
from nfsolve.curvature.products import HessianProduct, gauss_newton_product, hessian_product, linear_maps

__all__ = [
    "Estimator",
    "HessianProduct",
    "KroneckerFactors",
    "LeastSquares",
    "central_difference",
    "check_products",
    "condition_number",
    "empirical_ntk",
    "foreign_operations",
    "gauss_newton_product",
    "hessian_product",
    "kronecker_factors",
    "linear_maps",
]
