"""Whole runs on the device of `standin`: loading, sampling, residuals, steps, scores, a picture, a saved folder.

``python -m tests.devices.grid [all]`` prints a JSON line for each problem, optimizer, type: ``ok``, or what is wrong.
"""

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nfsolve as nf
from nfsolve.forward.radon import projector
from nfsolve.problem.registry import find, names
from nfsolve.run import plan, solve
from problems.pde.burgers import Burgers
from scripts.measuring import NEEDS_FILES, smaller
from tests.devices import standin

QUICK = (
    "burgers",
    "lshape",
    "inverse_diffusivity",
    "oscillator_eigen",
    "deeponet_antiderivative",
    "deconvolution",
    "nerf_scene",
)
OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "lbfgs": nf.optim.LBFGS,
    "soap": nf.optim.SOAP,
    "shampoo": nf.optim.Shampoo,
    "muon": nf.optim.Muon,
    "esgd": nf.optim.ESGD,
    "adahessian": nf.optim.AdaHessian,
    "diag_gn": nf.optim.DiagGN,
    "kfac": nf.optim.KFAC,
    "ssbroyden": nf.optim.SSBroyden,
    "nystrom_newton": partial(nf.optim.NystromNewtonCG, rank=2, cg_steps=2),
    **{form: partial(nf.optim.GaussNewton, form=form) for form in ("parameters", "qr", "samples", "blocks")},
    "matrix_free": partial(nf.optim.GaussNewton, form="matrix_free", cg_steps=2),
}
QUICK_OPTIMIZERS = ("soap", "esgd", "kfac", "ssbroyden", "nystrom_newton", "parameters", "qr", "samples")
SQUARE = ("parameters", "qr", "blocks", "ssbroyden")  # which hold a matrix of the size of the parameters
GAP = {"float32": 1e-3, "float64": 1e-8}  # between the losses of a step here and on the CPU, whose pieces differ


@dataclasses.dataclass
class Mixed(Burgers):
    """A residual with a constant that is on the CPU wherever the field is."""

    def residuals(self, field: Any, batch: Any) -> dict[str, Tensor]:
        """Return the residuals of Burgers' equation, wrongly shifted."""
        return {name: r + torch.zeros(len(r), 1, dtype=r.dtype) for name, r in super().residuals(field, batch).items()}


def problem_of(name: str) -> nf.Problem:
    """Return a problem of the grid."""
    make: Any = Mixed if name == "mixed" else find(name)
    return make(**smaller(make))


def options_of(name: str, optimizer: str, dtype: str) -> dict[str, Any]:
    """Return the options of a run: one step of each optimizer of the recipe, or of another one."""
    problem = problem_of(name)
    if optimizer == "own":
        stages = getattr(problem.recipe(), "stages", ())
        return {"steps": len(stages) or 1, "dtype": dtype} if stages else {"steps": 1, "optimizer": "adam"}
    field = {} if name.startswith("deeponet") else {"field": partial(nf.MLP, width=6, depth=2)}
    return {"steps": 2, "dtype": dtype, "optimizer": OPTIMIZERS[optimizer], **field}


def outcome(name: str, optimizer: str, dtype: str) -> str:
    """Return ``ok``, or what was wrong."""
    options = {**options_of(name, optimizer, dtype), "report": None, "seed": 0, "log_every": 1}
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = nf.solve(problem_of(name), device=standin.NAME, out=Path(folder) / "run", **options)
            if optimizer == "own" and (picture := found.plot()) is not None:
                picture.savefig(Path(folder) / "picture.png")
                picture.clear()
        if next(found.field.parameters()).device.type != standin.NAME:
            return "the field is on the CPU"
        if optimizer == "own":
            here, there = (
                solution.history[-1]["loss"] for solution in (found, _on_cpu(name, optimizer, dtype, options))
            )
            if abs(here - there) > GAP[dtype] * abs(there):
                return f"the loss is {here}, and {there} on the CPU"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "ok"


def _on_cpu(name: str, optimizer: str, dtype: str, options: dict[str, Any]) -> nf.Solution:
    return nf.solve(problem_of(name), device="cpu", **options)


def cases(everything: bool) -> Iterator[tuple[str, str, str]]:
    """Yield problems with their own optimizers, one problem with other optimizers, and one that mixes devices.

    Args:
        everything: Whether to take the whole gallery, in both types, and every optimizer on problems of all kinds.
    """
    yield "mixed", "adam", "float32"
    if not everything:
        yield from ((name, "own", "float32") for name in QUICK)
        yield from (("inverse_diffusivity", optimizer, "float64") for optimizer in QUICK_OPTIMIZERS)
        return
    for dtype in GAP:
        yield from ((name, "own", dtype) for name in names() if name not in NEEDS_FILES)
        kinds = ("burgers", "inverse_diffusivity", "image", "deeponet_antiderivative")
        for name, optimizer in ((name, optimizer) for name in kinds for optimizer in OPTIMIZERS):
            if optimizer == "ssbroyden" and dtype == "float32":
                continue  # refused
            if name.startswith("deeponet") and optimizer in SQUARE:
                continue  # refused: its 19,008 parameters squared do not fit
            yield name, optimizer, dtype


def main(everything: bool) -> None:
    """Print what happens in each case."""
    import matplotlib

    matplotlib.use("Agg")
    torch.set_num_threads(1)
    standin.register()
    projector.SHARE = 0.0  # no memory for matrices: DLPack has none that are sparse
    chosen = plan.choose_device
    solve.choose_device = plan.choose_device = lambda name: (
        torch.device(standin.NAME) if str(name).startswith(standin.NAME) else chosen(name)
    )
    for case in cases(everything):
        print(json.dumps([*case, outcome(*case)]), flush=True)


if __name__ == "__main__":
    main("all" in sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # threads of a stand-in may abort the end of the interpreter, after everything is said
