"""A device that is not the CPU and computes nothing: tensors have shapes, types and a device, and refuse to mix.

``python -m tests.devices.grid`` prints a JSON line for each problem, optimizer and type: what happened in a step.
"""

import copy
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode, UnsupportedFakeTensorException
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

import nfsolve as nf
from nfsolve.problem import Objective, SamplerState
from nfsolve.problem.registry import find
from nfsolve.run.plan import Plan, make_field
from problems.pde.burgers import Burgers

NAME = "gpu"
SMALL: dict[str, dict[str, Any]] = {
    "burgers": {"n_points": 40, "n_face": 8},
    "cavity": {},
    "kdv": {},
    "wave": {},
    "poisson_5d": {},
    "inverse_diffusivity": {},
    "oscillator_eigen": {},
    "lshape": {},
    "two_materials": {},
    "deeponet_antiderivative": {"n_functions": 10, "n_tests": 2, "batch": 4, "n_points": 10},
    "image": {"size": 32},
    "audio": {},
    "sphere": {},
}
SLOW = ("nystrom_newton", "matrix_free")  # double backward of every operation
NO_VALUES = {
    ("oscillator_eigen", "adam"),
    *((name, "ssbroyden") for name in ("burgers", "image", "inverse_diffusivity")),
}
"""Cases that need what a device without values cannot give; they are followed up to there."""
OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "soap": nf.optim.SOAP,
    "esgd": nf.optim.ESGD,
    "diag_gn": nf.optim.DiagGN,
    "kfac": nf.optim.KFAC,
    "ssbroyden": nf.optim.SSBroyden,
    "nystrom_newton": partial(nf.optim.NystromNewtonCG, rank=2, cg_steps=2),
    "gauss_newton": partial(nf.optim.GaussNewton, form="parameters"),
    "samples": partial(nf.optim.GaussNewton, form="samples"),
    "matrix_free": partial(nf.optim.GaussNewton, form="matrix_free", cg_steps=2),
}


class Mixed(Burgers):
    """A residual with a constant that is on the CPU wherever the field is."""

    def residuals(self, field: Any, batch: Any) -> dict[str, Tensor]:
        """Return the residuals of Burgers' equation, wrongly shifted."""
        return {name: r + torch.zeros(len(r), 1, dtype=r.dtype) for name, r in super().residuals(field, batch).items()}


NEEDS_VALUES = (DynamicOutputShapeException, UnsupportedFakeTensorException, NotImplementedError)


class Values(TorchDispatchMode):
    """Numbers that are read off tensors are one, so that what depends on them goes on."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            kind = args[0].dtype
            return True if kind == torch.bool else 1.0 if kind.is_floating_point else 0  # of factorizations: no error
        return func(*args, **(kwargs or {}))


def moved(thing: Any) -> Any:
    """Return a tensor, or what holds tensors, on the device."""
    if isinstance(thing, nn.Parameter):
        return nn.Parameter(torch.empty(thing.shape, dtype=thing.dtype, device=NAME), thing.requires_grad)
    if isinstance(thing, Tensor):
        return torch.empty(thing.shape, dtype=thing.dtype, device=NAME)
    if isinstance(thing, dict):
        return {key: moved(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return type(thing)(moved(value) for value in thing)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        other = copy.copy(thing)
        for name, value in vars(thing).items():
            object.__setattr__(other, name, moved(value))
        return other
    if isinstance(thing, nn.Module):
        other = copy.copy(thing)
        for name in ("_parameters", "_buffers", "_modules"):
            vars(other)[name] = {k: None if v is None else moved(v) for k, v in getattr(thing, name).items()}
        return other
    return thing


def outcome(name: str, optimizer: str, dtype: str) -> str:
    """Return ``ok``, ``values``: what a fake device cannot know is needed, or the error."""
    problem = Mixed(n_points=40, n_face=8) if name == "mixed" else find(name)(**SMALL[name])
    kind = getattr(torch, dtype)
    plan = Plan.of(problem.recipe(), nf.RunOptions(dtype=kind, device="cpu"))  # type: ignore[arg-type]
    field, data = make_field(problem, plan), problem.load("cpu", kind)
    if optimizer not in ("adam", "soap"):  # matrices of a few parameters are enough
        field = (
            nf.MLP.for_problem(problem, width=4, depth=2, dtype=kind) if name != "deeponet_antiderivative" else field
        )
    batch = problem.sample(data, SamplerState(), nf.generator(0, "points"))
    coupled = frozenset({"norm"}) if name == "oscillator_eigen" else frozenset()
    try:
        with FakeTensorMode(allow_non_fake_inputs=False):
            held = moved(batch)
            problem.sample = lambda *_: held  # type: ignore[method-assign]
            with Values():
                objective = Objective(problem, moved(field), moved(data), nf.generator(0, "points"), coupled=coupled)
                OPTIMIZERS[optimizer](objective.parameters).step(objective)
    except NEEDS_VALUES as error:
        return f"values: {type(error).__name__} {error}"[:200]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "ok"


def cases() -> Iterator[tuple[str, str, str]]:
    """Yield problems with Adam in both types, three with every optimizer, and one that mixes devices."""
    yield from ((name, "adam", dtype) for name in SMALL for dtype in ("float32", "float64"))
    yield "mixed", "adam", "float32"
    for optimizer in OPTIMIZERS:
        names = ("burgers",) if optimizer in SLOW else ("burgers", "image", "inverse_diffusivity")
        yield from ((name, optimizer, "float64") for name in names)


def main() -> None:
    """Print what happens in each case."""
    torch.set_num_threads(1)
    backend_registration._setup_privateuseone_for_python_backend(NAME)  # type: ignore[attr-defined]
    for case in cases():
        print(json.dumps([*case, outcome(*case)]), flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # threads of the stand-in device may abort the end of the interpreter, after everything is said
