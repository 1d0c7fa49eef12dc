"""Tomography with every other field, optimizer, factorization, weighting and loss, as the command line names them."""

import math

import pytest

import nfsolve
from nfsolve.options.request import read_request
from problems.ct.phantom import CTPhantom

SWAPS = {
    "the recipe": "",
    "siren": "--field siren",
    "siren with ws": "--field siren --field.init ws",
    "rwf": "--factorization rwf",
    "mfn": "--field mfn",
    "grid": "--field grid",
    "ffn": "--field ffn",
    "esgd": "--optimizer esgd",
    "soap": "--optimizer soap",
    "muon": "--optimizer muon --field mlp --field.width 8 --field.depth 3",
    "lbfgs": "--optimizer lbfgs",
    "nystrom": "--optimizer nystrom_newton --field mlp --field.width 8 --field.depth 1",
    "gauss_newton": "--optimizer gauss_newton --field mlp --field.width 4 --field.depth 1",
    "ssbroyden": "--optimizer ssbroyden --field mlp --field.width 4 --field.depth 1 --dtype float64",
    "weighting": "--weighting gradient_norm",
    "poisson": "--loss poisson --counts 1e4",
    "gaussian": "--loss gaussian --tv 0",
}


@pytest.mark.parametrize("name", SWAPS)
def test_every_swap_of_the_command_line_trains(name):
    words = f"--size 24 --views 6 --steps 2 --classical fbp {SWAPS[name]}".split()
    request = read_request(CTPhantom, words, "nfsolve run")
    options = request.options | {"report": None}
    solution = nfsolve.solve(request.problem, **options)
    assert solution.history[-1]["step"] == 2
    assert math.isfinite(solution.history[-1]["loss"])
    assert {"psnr", "ssim", "residual", "psnr_fbp", "ssim_fbp", "residual_fbp", "seconds_fbp"} <= set(solution.metrics)
