"""Floor 4: problems as named residuals, and the objective that an optimizer sees."""

from nfsolve.problem.conditions import boundary, face, interior, matched, measured
from nfsolve.problem.evaluate import in_pieces
from nfsolve.problem.objective import Objective
from nfsolve.problem.operator_of import Numbers, OperatorOf, operator_of
from nfsolve.problem.operators import OperatorPDE
from nfsolve.problem.pde import PDE
from nfsolve.problem.problem import Batch, Problem
from nfsolve.problem.recipe import Recipe, Stage
from nfsolve.problem.trained_operator import TrainedOperator
from nfsolve.problem.unknowns import Unknown
from nfsolve.problem.window import check_windows, cuts_of, window_of

__all__ = [
    "PDE",
    "Batch",
    "Numbers",
    "Objective",
    "OperatorOf",
    "OperatorPDE",
    "Problem",
    "Recipe",
    "Stage",
    "TrainedOperator",
    "Unknown",
    "boundary",
    "check_windows",
    "cuts_of",
    "face",
    "in_pieces",
    "interior",
    "matched",
    "measured",
    "operator_of",
    "window_of",
]
