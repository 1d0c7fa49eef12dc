"""Partial derivatives by nested reverse mode: torch.autograd.grad of torch.autograd.grad.

Eager, with derivatives of order two at most, this does as many matrix products as jets and fewer elementwise passes.
It needs a graph of its own, so it cannot be used under no_grad, torch.compile, a functorch transformation, or where the
calls of linear layers are recorded.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from nfsolve.diff.jets import Index, Plan, Unsupported, summands

# time of one channel of an eager jet over that of one product of nested reverse mode, width 20 to 64, one CPU thread
CHANNEL = 1.6


def cheaper(wanted: Iterable[Index], plan: Plan) -> bool:
    """Return whether nested reverse mode is cheaper than an eager jet with these channels, for one output.

    A layer costs a jet one matrix product for each channel. Reverse mode costs one for the value and, each time that
    a derivative of order m is differentiated again, 2^m: the graph of the derivative has grown that much. Both are
    followed by the gradient to the parameters, which triples them.
    """
    return products(wanted) < CHANNEL * len(plan.indices)


def products(wanted: Iterable[Index]) -> int:
    """Count the matrix products of a layer in nested reverse mode, before the gradient to the parameters."""
    below = {part[:m] for index in wanted for part in summands(index) for m in range(len(part))}
    return 1 + sum(2 ** len(index) for index in below)


def possible(function: Callable[[Tensor], Tensor]) -> bool:
    """Return whether a function may be differentiated by graphs here: it must be a module with one output."""
    return (
        not torch.compiler.is_compiling()
        and isinstance(function, nn.Module)  # other functions may leave the graph without a word, as by numpy
        and len(getattr(function, "outputs", ("u",))) == 1
        and torch.is_grad_enabled()
        and torch._C._functorch.peek_interpreter_stack() is None  # type: ignore[attr-defined]
        and torch._C._len_torch_function_stack() == 0
    )


def reverse(function: Callable[[Tensor], Tensor], points: Tensor, wanted: Iterable[Index]) -> dict[Index, Tensor]:
    """Evaluate a function of one output and its partial derivatives; arguments as for `partials`.

    Raises:
        Unsupported: More than one output, a complex one, or one that autograd cannot follow to the points.
    """
    x = points if points.requires_grad else points.detach().requires_grad_()
    value = function(x)
    if value.ndim != 2 or value.shape[-1] != 1 or value.is_complex() or not value.requires_grad:
        raise Unsupported("nested reverse mode needs one real output with a graph")
    columns: dict[Index, Tensor] = {(): value}
    gradients: dict[Index, Tensor] = {}

    def derivative(index: Index) -> Tensor:
        if index not in columns:
            below = index[:-1]
            if below not in gradients:
                gradients[below] = _gradient(derivative(below), x, first=not below)
            columns[index] = gradients[below][:, index[-1] : index[-1] + 1]
        return columns[index]

    for part in [part for index in wanted for part in summands(index)]:
        derivative(part)
    return {index: added(columns, index) for index in wanted}


def added(columns: dict[Index, Tensor], index: Index) -> Tensor:
    """Add up the plain derivatives of an index."""
    first, *others = (columns[part] for part in summands(index))
    return sum(others, first)


def _gradient(column: Tensor, x: Tensor, first: bool) -> Tensor:
    """Differentiate a column (n, 1) along all coordinates, (n, d)."""
    if not column.requires_grad:
        return torch.zeros_like(x)
    try:
        (gradient,) = torch.autograd.grad(column.sum(), x, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        raise Unsupported(str(error)) from error
    if gradient is None and first:
        raise Unsupported("the value does not depend on the points, or its graph was cut")
    return torch.zeros_like(x) if gradient is None else gradient  # linear in x
