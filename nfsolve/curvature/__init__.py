"""Curvature: the optimizers' view of residuals, Hessian and Gauss-Newton products, tangent kernels."""

from nfsolve.curvature.conditioning import Conditioning, conditioning, hessian_matrix, preconditioned, row_norms
from nfsolve.curvature.least_squares import LeastSquares
from nfsolve.curvature.ntk import (
    NTKProduct,
    captured_energy,
    condition_number,
    empirical_ntk,
    kernel_alignment,
    ntk_by_parameter,
    ntk_traces,
    top_eigenpairs,
)
from nfsolve.curvature.products import HessianProduct, gauss_newton_product, hessian_product, linear_maps

__all__ = [
    "Conditioning",
    "HessianProduct",
    "LeastSquares",
    "NTKProduct",
    "captured_energy",
    "condition_number",
    "conditioning",
    "empirical_ntk",
    "gauss_newton_product",
    "hessian_matrix",
    "hessian_product",
    "kernel_alignment",
    "linear_maps",
    "ntk_by_parameter",
    "ntk_traces",
    "preconditioned",
    "row_norms",
    "top_eigenpairs",
]
