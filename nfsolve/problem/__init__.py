"""Problems as named residuals, and the objective that an optimizer sees."""

from nfsolve.functions import Numbers
from nfsolve.problem.measurement import Measurement, Observed
from nfsolve.problem.objective import Objective
from nfsolve.problem.operator.of import OperatorOf, operator_of
from nfsolve.problem.operator.pde import OperatorPDE
from nfsolve.problem.operator.trained import TrainedOperator
from nfsolve.problem.pde.conditions import boundary, face, integral, interface, interior, measured, paired
from nfsolve.problem.pde.evaluate import in_pieces
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.pde.window import (
    check_windows,
    cuts_of,
    hands_over_slopes,
    may_have_windows,
    orders_along,
    window_of,
)
from nfsolve.problem.problem import Batch, FieldFunction, Problem, SamplerState
from nfsolve.problem.recipe import Marched, Recipe, RunOptions, Stage, is_starting_point, starting_point
from nfsolve.problem.rows import Rows
from nfsolve.problem.unknowns import Unknown

__all__ = [
    "PDE",
    "Batch",
    "FieldFunction",
    "Marched",
    "Measurement",
    "Numbers",
    "Objective",
    "Observed",
    "OperatorOf",
    "OperatorPDE",
    "Problem",
    "Recipe",
    "Rows",
    "RunOptions",
    "SamplerState",
    "Stage",
    "TrainedOperator",
    "Unknown",
    "boundary",
    "check_windows",
    "cuts_of",
    "face",
    "hands_over_slopes",
    "in_pieces",
    "integral",
    "interface",
    "interior",
    "is_starting_point",
    "may_have_windows",
    "measured",
    "operator_of",
    "orders_along",
    "paired",
    "starting_point",
    "window_of",
]
