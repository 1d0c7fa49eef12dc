"""A check that products with second derivatives are right, made once before an optimizer trusts them.

Operations of torch itself have a second derivative or raise. A custom `torch.autograd.Function`, or one of a C++
extension, whose backward calls code that autograd does not see gives right gradients and a silently wrong H v
(the packed scans of nerfacc 0.5.3 do). So the products are compared with central differences where the graph
holds such a foreign operation, and nowhere else: differences mislead at kinks and at what a model detaches on
purpose. For a 4 x 256 ReLU field with 512 points they differ from H v by more than |H v| at every step size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve._core.ranks import OPERATIONS
from nfsolve.curvature.differences import central_difference, relative_length

LADDER = (3e-2, 3e-3, 3e-4, 3e-5)  # step sizes, times |theta| / |v|
FINER = (3e-6, 3e-7)  # in float64 also these
TRUSTED = 0.03  # differences at two step sizes that agree this well are believed
WRONG = 0.1  # relative error of a product that is refused


def foreign_operations(value: Tensor) -> list[str]:
    """Name the operations in the graph of a tensor that are not torch's own.

    Args:
        value: A tensor with its graph.

    Returns:
        Their names, each once; empty where every backward has a known derivative.
    """
    known: Any = torch._C
    names: dict[str, None] = {}
    seen = set()
    nodes = [value.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__
        ours = getattr(type(node), "_forward_cls", None) in OPERATIONS
        if not ours and getattr(known._functions, name, None) is not type(node):
            names[name.removesuffix("Backward") if name != "CppFunction" else node.name()] = None
        nodes.extend(parent for parent, _ in node.next_functions)
    return list(names)


def check_products(
    evaluate: Callable[[], Sequence[Tensor]],
    multiply: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    parameters: Sequence[Tensor],
    direction: Sequence[Tensor],
    product: Sequence[Tensor],
    foreign: Sequence[str],
) -> None:
    """Compare a product with central differences, and refuse it where it is wrong by a tenth or more.

    Where differences along the direction cannot be trusted, because two step sizes disagree (kinks between), the
    directions of the single parameter tensors are tried as well, from the last: a move of the output layer crosses no
    kink of the hidden ones. Nothing is refused where none can be trusted.

    Args:
        evaluate: Gives the gradient (or the residual) at the present parameters, on the same batch each time.
        multiply: v -> its derivative along v, what is to be checked.
        parameters: They are moved, and come back to the bit.
        direction: v.
        product: ``multiply(direction)``.
        foreign: Names of the operations under suspicion, for the message.

    Raises:
        InputError: The product is wrong.
    """
    gap = relative_gap(evaluate, parameters, direction, product)
    if gap is None:
        for i in reversed(range(len(parameters))):
            alone = [v if j == i else torch.zeros_like(v) for j, v in enumerate(direction)]
            one = relative_gap(evaluate, parameters, alone, multiply(alone))
            gap = one if one is not None and (gap is None or one > gap) else gap
            if gap is not None and gap > WRONG:
                break
    if gap is not None and gap > WRONG:
        raise InputError(
            f"Second derivatives differ by {gap:.0%} from finite differences of the first, and may by {WRONG:.0%}; the "
            f"backward of {', '.join(foreign)} is probably not differentiable",
            do='write that backward with differentiable operations, or use method="finite_difference", or DiagGN, '
            "which needs first derivatives only (guard=False turns this check off)",
        )


def relative_gap(
    evaluate: Callable[[], Sequence[Tensor]],
    parameters: Sequence[Tensor],
    direction: Sequence[Tensor],
    product: Sequence[Tensor],
) -> float | None:
    """Return the distance of a product to central differences, relative to the larger of the two.

    Args:
        evaluate: As for `check_products`.
        parameters: As there.
        direction: v.
        product: What should be the derivative along v.

    Returns:
        The relative distance, or None where no two step sizes agree.
    """
    ladder = LADDER + FINER if parameters[0].dtype in (torch.float64, torch.complex128) else LADDER
    length = relative_length(parameters, direction)
    coarse = None
    for size in ladder:
        fine = central_difference(evaluate, parameters, direction, size * length)
        if coarse is not None and _distance(coarse, fine) <= TRUSTED:
            return _distance(fine, product)
        coarse = fine
    return None


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    apart = _norm([x - y for x, y in zip(a, b, strict=True)])
    return apart / max(_norm(a), _norm(b)) if apart > 0 else apart


def _norm(tensors: Sequence[Tensor]) -> float:
    return sum(float(torch.linalg.vector_norm(t)) ** 2 for t in tensors) ** 0.5
