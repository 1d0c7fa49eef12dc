"""Curvature: the optimizers' view of residuals, Hessian and Gauss-Newton products, tangent kernels."""

from nfsolve.curvature.affine import AffineLayer, last_affine
from nfsolve.curvature.conditioning import Conditioning, conditioning, hessian_matrix, preconditioned, row_norms
from nfsolve.curvature.differences import central_difference
from nfsolve.curvature.estimator import Estimator
from nfsolve.curvature.guard import check_products, foreign_operations
from nfsolve.curvature.jacobian import Jacobian
from nfsolve.curvature.kronecker import KroneckerFactors, kronecker_factors
from nfsolve.curvature.least_squares import LeastSquares
from nfsolve.curvature.ntk import (
    NTKProduct,
    captured_energy,
    empirical_ntk,
    kernel_alignment,
    ntk_by_parameter,
    ntk_traces,
    top_eigenpairs,
)
from nfsolve.curvature.products import HessianProduct, hessian_product, linear_maps

__all__ = [
    "AffineLayer",
    "Conditioning",
    "Estimator",
    "HessianProduct",
    "Jacobian",
    "KroneckerFactors",
    "LeastSquares",
    "NTKProduct",
    "captured_energy",
    "central_difference",
    "check_products",
    "conditioning",
    "empirical_ntk",
    "foreign_operations",
    "hessian_matrix",
    "hessian_product",
    "kernel_alignment",
    "kronecker_factors",
    "last_affine",
    "linear_maps",
    "ntk_by_parameter",
    "ntk_traces",
    "preconditioned",
    "row_norms",
    "top_eigenpairs",
]
