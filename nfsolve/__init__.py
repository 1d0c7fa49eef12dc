"""Physics and inverse problems solved with neural fields.

Write the physics of a problem as named residuals of a neural field; nfsolve gives the field, the
derivatives, the optimizer, the run and the honest score::

    import nfsolve as nf
    from problems.pde.burgers import Burgers

    solution = nf.solve(Burgers(nu=0.02))
    print(solution)
"""

import warnings
from typing import Any

import nfsolve._core.startup  # noqa: F401  # before PyTorch
from nfsolve import optim, weighting
from nfsolve._core.errors import InputError, MissingExtra, nearest
from nfsolve._core.errors import require as require_extra
from nfsolve._core.errors import unknown as unknown_name
from nfsolve._core.moved import moved
from nfsolve._core.random import generator
from nfsolve._core.version import VERSION
from nfsolve.domains import (
    Box,
    Cylinder,
    Disk,
    Ellipse,
    Extrusion,
    Interval,
    PointCloud,
    Polygon,
    Rectangle,
    Solid,
    Sphere,
    parameter,
    periodic,
)
from nfsolve.fields import (
    MLP,
    DeepONet,
    FeatureGrid,
    Field,
    FourierFilterNetwork,
    GaborFilterNetwork,
    GaussianFourier,
    ModifiedMLP,
    Positional,
    RandomFeatures,
    RandomWeightFactorization,
    ResidualMLP,
    Sine,
    Tanh,
    factorize,
    fold,
    preset,
    weight_scaling,
)
from nfsolve.functions import (
    ChebyshevSeries,
    FourierSeries,
    FunctionSpace,
    GaussianField,
    PeriodicField,
)
from nfsolve.plot import solution as _pictures  # noqa: F401  # gives a Solution its picture
from nfsolve.plot.problem import show
from nfsolve.problem import (
    PDE,
    FieldFunction,
    Measurement,
    Objective,
    Observed,
    OperatorPDE,
    Problem,
    Recipe,
    RunOptions,
    Stage,
    Unknown,
    boundary,
    face,
    integral,
    interface,
    interior,
    measured,
    operator_of,
    paired,
)
from nfsolve.problem.registry import names as problem_names
from nfsolve.run.fit import fit
from nfsolve.run.folder import RunFolder, SaveError
from nfsolve.run.posterior import Posterior, posterior
from nfsolve.run.refine import refine
from nfsolve.run.report import StopRun
from nfsolve.run.solution import Solution
from nfsolve.run.solve import load, reopen, resume, solve
from nfsolve.studies.comparison import compare

__version__ = VERSION

__all__ = [
    "MLP",
    "PDE",
    "Box",
    "ChebyshevSeries",
    "Cylinder",
    "DeepONet",
    "Disk",
    "Ellipse",
    "Extrusion",
    "FeatureGrid",
    "Field",
    "FieldFunction",
    "FourierFilterNetwork",
    "FourierSeries",
    "FunctionSpace",
    "GaborFilterNetwork",
    "GaussianField",
    "GaussianFourier",
    "InputError",
    "Interval",
    "Measurement",
    "MissingExtra",
    "ModifiedMLP",
    "Objective",
    "Observed",
    "OperatorPDE",
    "PeriodicField",
    "PointCloud",
    "Polygon",
    "Positional",
    "Posterior",
    "Problem",
    "RandomFeatures",
    "RandomWeightFactorization",
    "Recipe",
    "Rectangle",
    "ResidualMLP",
    "RunFolder",
    "RunOptions",
    "SaveError",
    "Sine",
    "Solid",
    "Solution",
    "Sphere",
    "Stage",
    "StopRun",
    "Tanh",
    "Unknown",
    "boundary",
    "compare",
    "face",
    "factorize",
    "fit",
    "fold",
    "generator",
    "integral",
    "interface",
    "interior",
    "load",
    "main",
    "measured",
    "operator_of",
    "optim",
    "paired",
    "parameter",
    "periodic",
    "posterior",
    "preset",
    "refine",
    "reopen",
    "require_extra",
    "resume",
    "show",
    "solve",
    "unknown_name",
    "weight_scaling",
    "weighting",
]


_RENAMED = {"matched": "paired"}  # what was public once -> its name now
_READERS = ("latlon", "photos", "pictures", "slices", "sounds", "tables")
moved({f"nfsolve.problem.{name}": f"nfsolve.data.{name}" for name in _READERS})
moved({"nfsolve.problem.scans": "nfsolve.data.scans"})
moved({f"nfsolve.optim.{n}": "nfsolve.optim.diagonal" for n in ("adahessian", "diag_gn", "esgd", "esgd_max", "jacobi")})
# before each kind had a folder, the files of the gallery had the names by which they are run
moved(
    {
        f"problems.{name}": target.partition(":")[0]
        for name, target in problem_names().items()
        if target.startswith("problems.")
    }
)


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module 'nfsolve' has no attribute '{name}': {nearest(name, __all__)}")
    now = _RENAMED[name]
    warnings.warn(f"nfsolve.{name} is now called nfsolve.{now}", DeprecationWarning, stacklevel=2)
    return globals()[now]


def main(problem: type[Problem], arguments: list[str] | None = None) -> Any:
    """Run a problem from the command line: the last line of a problem file.

    Args:
        problem: The class of the problem.
        arguments: Command-line arguments; None takes the program's own.

    Raises:
        SystemExit: Always, with the exit code.
    """
    from nfsolve.cli import run_problem  # the command line's library stays out of `import nfsolve`

    raise SystemExit(run_problem(problem, arguments))
