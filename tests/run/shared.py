"""Small runs of every kind, for one process or several: ``torchrun -m tests.run.shared FILE DIR``."""

import sys
from functools import partial
from typing import Any

import torch

import nfsolve as nf
from nfsolve._core.ranks import join
from nfsolve.optim import linearized
from nfsolve.problem.registry import find

linearized.BLOCK_BYTES = 0.0  # the fewest rows at once, so that small runs have several blocks

FEW = {"n_points": 60, "n_face": 11}
MLP = partial(nf.MLP, width=8, depth=2)
DEEP = partial(nf.MLP, width=8, depth=3)
GN = nf.optim.GaussNewton
BURGERS: dict[str, Any] = {"what": "burgers", "problem": FEW, "field": MLP, "dtype": "float64"}

CASES: dict[str, dict[str, Any]] = {
    "parameters": BURGERS | {"optimizer": partial(GN, form="parameters"), "steps": 12},
    "qr": BURGERS | {"optimizer": partial(GN, form="qr"), "steps": 12},
    "samples": BURGERS | {"optimizer": partial(GN, form="samples"), "field": DEEP, "steps": 6},
    "matrix_free": BURGERS | {"optimizer": partial(GN, form="matrix_free", cg_steps=8), "steps": 2},
    "blocks": BURGERS | {"optimizer": partial(GN, form="blocks"), "steps": 4},
    "many": BURGERS
    | {"problem": {"n_points": 400, "n_face": 11}, "optimizer": partial(GN, form="parameters"), "steps": 6},
    "sharded_samples": BURGERS | {"optimizer": partial(GN, form="sharded"), "field": DEEP, "steps": 6},
    "windows": BURGERS | {"optimizer": GN, "windows": 2, "steps": 3},
    "lbfgs": BURGERS | {"optimizer": "lbfgs", "steps": 6},
    "kfac": BURGERS | {"optimizer": "kfac", "field": DEEP, "steps": 4},
    "esgd": BURGERS | {"optimizer": "esgd", "steps": 3},
    "finite_difference": BURGERS | {"optimizer": partial(nf.optim.ESGD, method="finite_difference"), "steps": 3},
    "diag_gn": BURGERS | {"optimizer": "diag_gn", "steps": 3},
    "nystrom_newton": BURGERS | {"optimizer": partial(nf.optim.NystromNewtonCG, rank=5, cg_steps=5), "steps": 2},
    "gradient_norm": BURGERS | {"optimizer": "adam", "weighting": nf.weighting.GradientNorm(every=2), "steps": 4},
    "ntk": BURGERS | {"optimizer": "adam", "weighting": nf.weighting.NTK(every=2), "steps": 4},
    "rba": BURGERS | {"optimizer": partial(GN, form="parameters"), "weighting": "rba", "steps": 3},
    "adaptive": BURGERS | {"problem": FEW | {"adaptive": "rad"}, "optimizer": "adam", "resample": 2, "steps": 5},
    "coupled": {"what": "oscillator_eigen", "field": MLP, "optimizer": GN, "steps": 3, "dtype": "float64"},
    "unknown": {"what": "inverse_diffusivity", "field": MLP, "optimizer": GN, "steps": 4, "dtype": "float64"},
    "operator": {
        "what": "deeponet_antiderivative",
        "problem": {"n_functions": 20, "n_tests": 4, "batch": 9, "n_points": 20, "n_face": 4},
        "field": partial(nf.DeepONet, width=8, depth=2, latent=6, bias=False),
        "stages": (
            nf.Stage(torch.optim.Adam, steps=3),  # SOAP is not stable: rounding alone moves it by percents
            nf.Stage(partial(nf.optim.LastLayer, damping=1e-4), steps=1, only="branches"),
        ),
        "dtype": "float64",
    },
    "measurement": {"what": "deconvolution", "steps": 3, "dtype": "float64"},
    "tomography": {"what": "ct_phantom", "problem": {"size": 16, "classical": ()}, "steps": 4, "dtype": "float64"},
    "rays": {
        "what": "nerf_absorption",
        "problem": {"points": 256, "cells": 4, "samples": 8},
        "field": MLP,
        "optimizer": "adam",
        "steps": 3,
        "dtype": "float64",
    },
}


SHARDED = {"sharded": 3e5, "sharded_blocks": 2e5}  # what two processes take in so many bytes -> for case "many"
ROUNDING = {"finite_difference": 1e-8}  # differences of gradients lose half the digits; 1e-10 elsewhere


def run(name: str, **options: Any) -> nf.Solution:
    """Return what a case reaches."""
    case = dict(CASES[name])
    problem = find(case.pop("what"))(**case.pop("problem", {}))
    return nf.solve(problem, report=None, seed=0, **case | options)


def reached(solution: nf.Solution) -> torch.Tensor:
    """Return the parameters of a solution as one vector."""
    parts = [p.detach() for p in solution.field.parameters()]
    return torch.cat([p.reshape(-1).double() for p in parts])


def main(path: str, folder: str) -> None:
    """Run all cases, save one to a folder, continue those that are there, and write what all reach."""
    found: dict[str, Any] = {name: reached(run(name)) for name in CASES}
    for form, most in SHARDED.items():
        found[form] = reached(run("many", optimizer=partial(GN, max_bytes=most)))
    found["saved"] = reached(run("parameters", out=f"{folder}/two"))
    found["resumed"] = reached(nf.resume(f"{folder}/one", steps=12, report=None))
    found["adaptive resumed"] = reached(nf.resume(f"{folder}/adaptive", steps=8, report=None))
    if join().first:
        torch.save(found, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
