"""One random probe of the curvature of an objective, with the loss and the gradient that come with it.

Four ways: H v by double backward, 2 J^T J v, H v by central differences of gradients, and J^T w with random signs w
on the residuals. All four see the batch that the objective has at the moment.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.curvature.differences import central_difference, step_size
from nfsolve.curvature.guard import check_products, foreign_operations
from nfsolve.curvature.products import hessian_product, linear_maps
from nfsolve.linalg.dense import flatten, real

ONCE = (
    "differentiate twice",
    "double backward",
    "not implemented",
    "Checkpointing",
    "does not require grad",
)  # in torch's words


class Products(NamedTuple):
    """Loss, gradient (None where the loss does not depend on a parameter), the probes and what they gave."""

    loss: Tensor
    gradient: list[Tensor | None]
    probes: list[Tensor]
    products: list[Tensor]


def sample_products(
    closure: Any,
    parameters: Sequence[Tensor],
    method: Literal["autograd", "gauss_newton", "finite_difference", "rows"],
    probes: Literal["rademacher", "gaussian"],
    generator: Generator,
    guard: bool = False,
) -> Products:
    """Draw a probe and multiply.

    Evaluations of a closure that counts them, the one of the loss and its gradient included: 3 for ``autograd``,
    ``gauss_newton`` and ``finite_difference``, 2 for ``rows``. What the guard needs comes on top, once.

    Args:
        closure: ``autograd`` needs ``loss()`` (and takes ``eager_loss()`` where there is one), ``gauss_newton`` and
            ``rows`` need ``theta()`` and ``stacked(theta)``, see `LeastSquares`; ``finite_difference`` takes any
            torch closure that uses the same batch each time.
        parameters: What to probe; other parameters of the closure stay fixed.
        method: The way.
        probes: Signs or normal numbers.
        generator: CPU generator of the probes.
        guard: Compare the product with finite differences.

    Returns:
        The probe and its product; for ``rows`` J^T w in the place of products, and no probes of parameters.

    Raises:
        InputError: The loss depends on none of the parameters, or cannot be differentiated twice.
    """
    if method == "rows":
        found = _rows(closure, parameters, probes, generator)
    else:
        vectors = [draw_like(p, probes, generator) for p in parameters]
        found = {"autograd": _autograd, "gauss_newton": _gauss_newton}.get(method, _differences)(
            closure, parameters, vectors, guard
        )
    if all(g is None for g in found.gradient):
        raise InputError(
            f"The loss depends on none of the {len(parameters)} parameters of the optimizer",
            do="check that the optimizer got the parameters of this objective",
        )
    return found


def draw_like(parameter: Tensor, kind: str, generator: Generator) -> Tensor:
    """Draw signs or normal numbers on the CPU, so that every device sees the same; complex ones for both parts."""
    like = real(parameter)
    if kind == "rademacher":
        drawn = torch.randint(0, 2, like.shape, generator=generator).to(like) * 2 - 1
    else:  # in float64, so that every precision sees the same too
        drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
    return torch.view_as_complex(drawn) if parameter.is_complex() else drawn


def _autograd(closure: Any, parameters: Sequence[Tensor], vectors: list[Tensor], guard: bool) -> Products:
    loss = getattr(closure, "eager_loss", closure.loss)
    foreign: list[str] = []

    def watched() -> Tensor:
        value = loss()
        foreign.extend(foreign_operations(value) if guard else ())
        return value

    def gradient() -> list[Tensor]:
        with torch.enable_grad():
            return list(torch.autograd.grad(loss(), parameters, materialize_grads=True))

    def product(v: Sequence[Tensor]) -> list[Tensor]:
        return hessian_product(loss, parameters, v).product

    with _twice():
        found = hessian_product(watched, parameters, vectors)
    if foreign:
        check_products(gradient, product, parameters, vectors, found.product, foreign)
    _count(closure, 2)
    kept = [g if used else None for g, used in zip(found.gradient, found.used, strict=True)]
    return Products(found.loss, kept, vectors, found.product)


def _gauss_newton(closure: Any, parameters: Sequence[Tensor], vectors: list[Tensor], guard: bool) -> Products:
    theta, residual = _residual(closure)
    with _twice():  # J v is the second derivative of w -> J^T w
        ahead, back = linear_maps(residual, theta)
        along = ahead(_join(closure, parameters, vectors))
    foreign = foreign_operations(residual) if guard else []
    if foreign:

        def residuals() -> list[Tensor]:
            return [closure.stacked(closure.theta()).detach()]

        def product(v: Sequence[Tensor]) -> list[Tensor]:
            return [ahead(_join(closure, parameters, v))]

        check_products(residuals, product, parameters, vectors, [along], foreign)
    found = _split(closure, parameters, 2 * back(along))
    gradient = _split(closure, parameters, 2 * back(residual.detach()))
    _count(closure, 2)
    return _from_rows(residual, gradient, vectors, found)


def _differences(closure: Any, parameters: Sequence[Tensor], vectors: list[Tensor], guard: bool) -> Products:
    def evaluate() -> tuple[Tensor, list[Tensor | None]]:
        with torch.enable_grad():
            loss = closure()
        loss = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss))
        # copies: a closure may zero the gradients in place
        return loss, [None if p.grad is None else p.grad.detach().clone() for p in parameters]

    def gradients() -> list[Tensor]:
        found = evaluate()[1]
        return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]

    loss, gradient = evaluate()
    products = central_difference(gradients, parameters, vectors, step_size(parameters, vectors))
    return Products(loss, gradient, vectors, products)


def _rows(closure: Any, parameters: Sequence[Tensor], probes: str, generator: Generator) -> Products:
    theta, residual = _residual(closure)
    signs = draw_like(residual.detach(), probes, generator)
    (along,) = torch.autograd.grad(residual, theta, signs, retain_graph=True)
    (gradient,) = torch.autograd.grad(residual, theta, 2 * residual.detach())
    _count(closure, 1)
    return _from_rows(
        residual,
        _split(closure, parameters, gradient),
        [torch.zeros_like(p) for p in parameters],
        _split(closure, parameters, along),
    )


def _residual(closure: Any) -> tuple[Tensor, Tensor]:
    theta = closure.theta().requires_grad_()
    with torch.enable_grad():
        residual = closure.stacked(theta)
    if not residual.requires_grad:
        raise InputError(
            f"No residual depends on any of the {theta.numel()} parameter values",
            do="check that the residuals evaluate the field with the parameters that they are given",
        )
    return theta, residual


def _from_rows(residual: Tensor, gradient: list[Tensor], vectors: list[Tensor], found: list[Tensor]) -> Products:
    # theta is one vector here, so a tensor that the residual does not depend on shows by zeros alone
    kept = [g if bool(g.any()) or bool(h.any()) else None for g, h in zip(gradient, found, strict=True)]
    return Products(residual.detach().square().sum(), kept, vectors, found)


def _join(closure: Any, parameters: Sequence[Tensor], vectors: Sequence[Tensor]) -> Tensor:
    """Put probes in the order of theta; parameters that are not probed get zeros."""
    known = {id(p): v for p, v in zip(parameters, vectors, strict=True)}
    return flatten([known.get(id(p), torch.zeros_like(p)) for p in closure.parameters])


def _split(closure: Any, parameters: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    """Return the parts of theta that belong to the parameters."""
    parts = {id(p): part for p, part in zip(closure.parameters, closure.unflatten(vector).values(), strict=True)}
    return [parts.get(id(p), torch.zeros_like(p)).detach() for p in parameters]


def _count(closure: Any, more: int) -> None:
    if hasattr(closure, "evaluations"):
        closure.evaluations += more


@contextmanager
def _twice() -> Iterator[None]:
    """Explain the failure of a second derivative."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in ONCE):
            raise
        raise InputError(
            "Hessian-vector products need second derivatives, which this loss does not have "
            f"({str(error).splitlines()[0]})",
            do='use method="finite_difference", or DiagGN, which needs first derivatives only',
        ) from error
