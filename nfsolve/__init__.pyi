"""What ``import nfsolve as nf`` offers; `nfsolve/__init__.py` imports each name when it is first used."""

import collections.abc
import types

from . import curvature as curvature
from . import data as data
from . import diff as diff
from . import domains as domains
from . import fields as fields
from . import forward as forward
from . import functions as functions
from . import linalg as linalg
from . import meshes as meshes
from . import metrics as metrics
from . import optim as optim
from . import options as options
from . import plot as plot
from . import problem as problem
from . import reconstruct as reconstruct
from . import run as run
from . import sampling as sampling
from . import studies as studies
from . import weighting as weighting
from ._core.errors import InputError as InputError
from ._core.errors import MissingExtra as MissingExtra
from ._core.random import generator as generator
from .domains import Box as Box
from .domains import Cylinder as Cylinder
from .domains import Disk as Disk
from .domains import Ellipse as Ellipse
from .domains import Extrusion as Extrusion
from .domains import Interval as Interval
from .domains import PointCloud as PointCloud
from .domains import Polygon as Polygon
from .domains import Rectangle as Rectangle
from .domains import Solid as Solid
from .domains import Sphere as Sphere
from .domains import parameter as parameter
from .domains import periodic as periodic
from .fields import MLP as MLP
from .fields import DeepONet as DeepONet
from .fields import FeatureGrid as FeatureGrid
from .fields import Field as Field
from .fields import FourierFilterNetwork as FourierFilterNetwork
from .fields import GaborFilterNetwork as GaborFilterNetwork
from .fields import GaussianFourier as GaussianFourier
from .fields import ModifiedMLP as ModifiedMLP
from .fields import Positional as Positional
from .fields import RandomFeatures as RandomFeatures
from .fields import RandomWeightFactorization as RandomWeightFactorization
from .fields import ResidualMLP as ResidualMLP
from .fields import Sine as Sine
from .fields import Sum as Sum
from .fields import Tanh as Tanh
from .fields import factorize as factorize
from .fields import fold as fold
from .fields import preset as preset
from .fields import weight_scaling as weight_scaling
from .functions import ChebyshevSeries as ChebyshevSeries
from .functions import FourierSeries as FourierSeries
from .functions import FunctionSpace as FunctionSpace
from .functions import GaussianField as GaussianField
from .functions import PeriodicField as PeriodicField
from .plot.problem import show as show
from .problem import PDE as PDE
from .problem import FieldFunction as FieldFunction
from .problem import Measurement as Measurement
from .problem import Objective as Objective
from .problem import Observed as Observed
from .problem import OperatorPDE as OperatorPDE
from .problem import Problem as Problem
from .problem import Recipe as Recipe
from .problem import RunOptions as RunOptions
from .problem import Stage as Stage
from .problem import Unknown as Unknown
from .problem import boundary as boundary
from .problem import face as face
from .problem import integral as integral
from .problem import interface as interface
from .problem import interior as interior
from .problem import measured as measured
from .problem import operator_of as operator_of
from .problem import paired as paired
from .problem import starting_point as starting_point
from .run.fit import fit as fit
from .run.folder import RunFolder as RunFolder
from .run.folder import SaveError as SaveError
from .run.posterior import Posterior as Posterior
from .run.posterior import posterior as posterior
from .run.reconstructor import FieldReconstructor as FieldReconstructor
from .run.refine import refine as refine
from .run.report import StopRun as StopRun
from .run.solution import Solution as Solution
from .run.solve import load as load
from .run.solve import reopen as reopen
from .run.solve import resume as resume
from .run.solve import solve as solve
from .studies.comparison import compare as compare

__version__: str

def main(problem: type[Problem], arguments: list[str] | None = None) -> None: ...
def require_extra(module: str, extra: str, purpose: str) -> types.ModuleType: ...
def unknown_name(kind: str, name: str, known: collections.abc.Iterable[str], do: str = "") -> InputError: ...
