"""How good an operator's answer to one function is: a predicted error, calibrated on functions that were held out.

The error of a network is larger for functions whose last hidden layer is unlike those of the training. With the layers
before it fixed, the last layer is a linear model, whose posterior has the variance h (sum of h h^T + mu)^-1 h^T at
features h (Snoek et al., ICML 2015, arXiv 1502.05700). Its root mean over the points of an answer, relative to that of
the answer, ranks functions; what it means as an error, and a bound for a given part of functions, comes from functions
held out:
locally weighted split conformal prediction, Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, J. Am. Stat. Assoc. 113
(2018) 1094, section 5.2.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.problem.operator.families import as_read, several
from nfsolve.problem.operator.scores import relative_errors
from nfsolve.problem.operator.trained import Given, TrainedOperator
from nfsolve.problem.problem import Batch, SamplerState

BATCHES = 32  # of training functions, of which features are gathered
DAMPING = 1e-6  # mu, relative to the mean of the diagonal of the sum
SMALLEST = 1e-3  # size of an answer, relative to the mean size
FEWEST = 10  # functions for calibration


class Trust:
    """Predicts the relative L2 errors of an operator's answers.

    Half of the held-out functions calibrate it; the other half, which it has not seen, says what its bounds cover.
    Bounds hold for new functions of the kind of these, not for others; of others it only says that they are unlike.

    Args:
        operator: The trained operator, ``solution.trained``.
        data: What its problem loaded, ``solution.data``, with test functions and their solutions.
        level: Part of the functions for which the bound should hold.

    Attributes:
        coverage: Part of the held-out functions, of those that did not calibrate, whose error is below the bound.
        tested: Their number.
        correlation: Rank correlation of predicted and true errors of these.

    Raises:
        InputError: Too few functions with solutions, each with points of its own, or a level outside (0, 1).

    Examples:
        With ``solution = nf.solve(problem)`` of an operator problem, ``Trust(solution.trained, solution.data)(f)``
        gives the predicted error and the bound of functions f.
    """

    def __init__(self, operator: nn.Module, data: Batch, level: float = 0.9):
        if not isinstance(operator, TrainedOperator):
            raise InputError(
                f"a predicted error needs a trained operator, got {type(operator).__name__}", do="give solution.trained"
            )
        test = data["test"]
        if not 0 < level < 1:
            raise InputError(f"level must be between 0 and 1, got {level}", do="take 0.9")
        if test.truth is None or len(test) < 2 * FEWEST:
            count = 0 if test.truth is None else len(test)
            raise InputError(
                f"a predicted error needs at least {2 * FEWEST} held-out functions with solutions, got {count}",
                do="hold out more, by n_tests= or every=",
            )
        if data["grid"].points.ndim != 2:
            raise InputError(
                "a predicted error needs points that all held-out functions share, but each has its own",
                do="test on functions at common points",
            )
        self.operator, self.level = operator, level
        self._inverse = self._gather(data)
        with torch.no_grad():
            values = operator.problem.predict(operator.field, test.functions, data["grid"].points)
        errors = relative_errors(values, test.truth).nan_to_num(-1.0).amax(1)
        kept = errors >= 0  # a solution that is zero has no relative error
        spread = self._spread(test.functions, data["grid"].points)[kept]
        ratio, errors = errors[kept] / spread, errors[kept]
        first = torch.arange(len(ratio)) % 2 == 0
        scores = ratio[first].sort().values
        rank = min(math.ceil((len(scores) + 1) * level), len(scores)) - 1
        self._points, self._usual, self._largest = data["grid"].points, float(scores.median()), float(scores[rank])
        other = ~first
        self.coverage = float((ratio[other] <= self._largest).double().mean())
        self.tested, self.correlation = int(other.sum()), _correlation(spread[other], errors[other])

    def __call__(self, functions: Given, at: Any = None) -> tuple[Tensor, Tensor]:
        """Predict the errors of the answers to some functions.

        Args:
            functions: As for `TrainedOperator`.
            at: As there.

        Returns:
            The error that is to be expected, its median, and the bound at the level, each ``(B,)``, relative L2.
        """
        seen = self.operator.seen(functions, at)
        spread = self._spread(seen, self._points)
        return spread * self._usual, spread * self._largest

    def __str__(self) -> str:
        return (
            f"bounds for {self.level:.0%} of functions hold for {self.coverage:.1%} of {self.tested} that did not "
            f"calibrate them; rank correlation of predicted and true errors {self.correlation:.2f}"
        )

    def _gather(self, data: Batch) -> Tensor:
        """Return the inverse of the damped sum of h h^T over mini-batches of training functions."""
        problem, field, chance = self.operator.problem, self.operator.field, generator(0, "trust")
        total: Any = 0.0
        for _ in range(BATCHES):
            batch = problem.sample(data, SamplerState(), chance)
            rows = next(iter(batch.values()))
            h = features(field, rows.functions, rows.points)
            total = total + h.T @ h
        damping = DAMPING * float(total.diagonal().mean())
        return torch.linalg.inv(total + damping * torch.eye(len(total)).to(total))

    def _spread(self, functions: Any, points: Tensor) -> Tensor:
        """Return the posterior deviation of each answer, relative to its size and up to a factor, ``(B,)``."""
        with torch.no_grad():
            answers = self.operator.problem.predict(self.operator.field, functions, points).double()
        size = answers.square().mean((1, 2)).sqrt()
        given = several(functions)
        found = []
        for i in range(max(map(len, given))):
            one = as_read([f[i : i + 1] if len(f) > 1 else f for f in given])
            h = features(self.operator.field, one, points)
            found.append(((h @ self._inverse) * h).sum(1).mean().sqrt())
        return (torch.stack(found) / size.maximum(SMALLEST * size.mean())).cpu()


def features(field: nn.Module, functions: Any, points: Tensor) -> Tensor:
    """Return what the last linear layer of an operator reads when it answers, ``(rows, h + 1)``, float64, and a 1.

    Args:
        field: The operator's field.
        functions: What it reads of them.
        points: Points ``(n, d)``, or ``(n, B, d)``.

    Raises:
        InputError: The field has no linear layer.
    """
    weights = {id(m.weight) for m in field.modules() if isinstance(m, nn.Linear)}
    weights |= {id(p) for p in field.parameters() if p.ndim == 2}
    with torch.no_grad(), _Last(weights) as found:
        field.across(functions, points)  # type: ignore[operator]
    if found.reads is None:
        raise InputError(f"{type(field).__name__} has no linear layer whose features could be compared")
    h = found.reads.reshape(-1, found.reads.shape[-1]).double()
    return torch.cat([h, h.new_ones(len(h), 1)], 1)


class _Last(TorchFunctionMode):
    """Keeps what the last linear layer of a field reads."""

    def __init__(self, weights: set[int]):
        super().__init__()
        self.weights, self.reads = weights, None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and id(args[1]) in self.weights and isinstance(args[0], Tensor):
            self.reads = args[0]
        return func(*args, **(kwargs or {}))


def _correlation(a: Tensor, b: Tensor) -> float:
    """Return Spearman's rank correlation."""
    ranks = torch.stack([v.double().argsort().argsort().double() for v in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])
