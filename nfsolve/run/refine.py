"""Refinement of an operator's answer: it is the start of a solution for one function, as accurate as wanted."""

from functools import partial
from typing import Any

import torch
from torch import nn

from nfsolve.fields import MLP
from nfsolve.fields.corrected import Corrected
from nfsolve.optim import GaussNewton
from nfsolve.problem.operator.single import Answer, single
from nfsolve.problem.operator.trained import TrainedOperator
from nfsolve.run.solution import Solution
from nfsolve.run.solve import solve

STEPS = 200
SMALL = partial(MLP, width=48, depth=1, activation="sine")  # what an operator leaves is rough


def refine(
    operator: TrainedOperator,
    functions: Any,
    correction: Any = SMALL,
    optimizer: Any = GaussNewton,
    n_points: int = 1500,
    **options: Any,
) -> Solution:
    """Solve the PDE of an operator for given input functions, starting from the operator's answer.

    The solution is the answer plus a correction, a network that begins at zero, under the hard constraint of the
    problem; the answer itself is trained no further.

    Args:
        operator: The trained operator, as `nfsolve.load` gives it, or ``problem.trained(field)``.
        functions: A callable of its coordinates by place, made of torch functions, or a number; a mapping by name where
            there are several input functions.
        correction: A class of `nfsolve.fields`, or a partial of one.
        optimizer: As for `nfsolve.solve`.
        n_points: Points inside the domain.
        **options: Options of `nfsolve.solve`, such as ``steps`` (200 where neither it nor ``time_limit`` is given) and
            ``out``.

    Returns:
        The solution, scored where the operator problem has a solver.

    Raises:
        InputError: The problem has no equations, or a function is not callable.
    """
    problem = single(operator, functions, n_points=n_points)
    small = correction.func if isinstance(correction, partial) else correction
    words = correction.keywords if isinstance(correction, partial) else {}
    network = small.for_problem(problem, dtype=torch.float64, **{**words, "output_transform": None})
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    if not {"steps", "time_limit"} & set(options):
        options["steps"] = STEPS
    return solve(problem, Corrected(Answer(operator, problem), network), optimizer, **{"report": None, **options})
