"""Whatever a user has for a measurement operator, as one differentiable function of an image's values.

Matrices (numpy, torch, scipy.sparse), linear operators of scipy (``matvec``, ``rmatvec``), physics of deepinv (``A``,
``A_adjoint``) and functions of torch. Complex data are pairs of real numbers, so that residuals stay real.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from nfsolve._core.errors import InputError, shortened
from nfsolve.forward.radon.linear import LinearMap, check_adjoint

Measure = Callable[..., Tensor]
"""Values at the points of a grid ``(n, k)`` -> what is measured of them, real, ``(m, k)`` or ``(m, 1)``."""


class OfValues:
    """A user's function of the values on a grid, and of scalars by their names.

    Args:
        operator: The function.
        shape: Shape of the grid.
        scalars: Names of its further arguments.
    """

    def __init__(self, operator: Callable[..., Any], shape: Sequence[int], scalars: tuple[str, ...] = ()):
        self._operator, self._shape, self.scalars = operator, tuple(shape), scalars

    def __call__(self, values: Tensor, **scalars: Any) -> Tensor:
        """Return what is measured of values ``(n, k)``, a real column ``(m, 1)``."""
        return real(self._operator(values.reshape(*self._shape, *values.shape[1:][: values.shape[1] > 1]), **scalars))


def measure_with(
    operator: Any,
    shape: Sequence[int],
    data_shape: Sequence[int],
    dtype: torch.dtype,
    device: Any = "cpu",
    scalars: Sequence[str] = (),
) -> Measure:
    """Make a function of values on a grid of whatever a user has.

    Args:
        operator: A matrix ``(m, n)`` for the n values of the grid in row-major order; an object with ``matvec`` and
            ``rmatvec``, or with ``A`` and ``A_adjoint``, which take and give images as deepinv's do; or a function of
            torch that takes the values in the shape of the grid, with the unknowns last where there are several.
        shape: Shape of the grid.
        data_shape: Shape of the data.
        dtype: Type of the field.
        device: Where it lives.
        scalars: Names that further arguments of a function may have.

    Returns:
        The function; a `LinearMap` where the operator is linear, else `OfValues`.

    Raises:
        InputError: The sizes do not fit, an adjoint is wrong, or this is none of those.
    """
    n, m = math.prod(shape), math.prod(data_shape)
    if isinstance(operator, LinearMap):
        linear = operator
    elif isinstance(operator, np.ndarray | Tensor) or sparse.issparse(operator):
        linear = _matrix(operator, dtype, device)
    elif isinstance(operator, list | tuple):
        linear = _matrix(_table(operator), dtype, device)
    elif hasattr(operator, "matvec") and hasattr(operator, "rmatvec"):
        linear = _of_scipy(operator, dtype, device)
        check_adjoint(linear, dtype, device, "rmatvec", "matvec")
    elif callable(getattr(operator, "A", None)):
        made = _of_deepinv(operator, shape, data_shape, dtype, device)
        if not isinstance(made, LinearMap):
            return made
        linear = made
        check_adjoint(linear, dtype, device, "A_adjoint", "A")
    elif callable(operator):
        return OfValues(operator, shape, _arguments(operator, scalars))
    else:
        raise InputError(
            f"an operator must be a matrix, a linear operator or a function, got {shortened(repr(operator))}",
            do="give a function of torch that takes the values on the grid",
        )
    if linear.shape[1] != n or linear.shape[0] not in (m, 2 * m):
        raise InputError(
            f"the operator takes {linear.shape[1]} values to {linear.shape[0]}, but the grid {tuple(shape)} has {n} "
            f"points and the data {tuple(data_shape)} have {m} entries",
            do="give the shape of the grid, and data in the shape of the measurements",
        )
    return linear


def _arguments(operator: Callable[..., Any], scalars: Sequence[str]) -> tuple[str, ...]:
    """Return which scalars a function takes; its first argument are the values."""
    try:
        parameters = list(inspect.signature(operator).parameters.values())[1:]
    except (TypeError, ValueError):  # a function that is not of Python
        return ()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if missing := [name for name in needed if name not in scalars]:
        known = f"unknown scalars of the problem ({', '.join(scalars)})" if scalars else "the values on the grid"
        raise InputError(
            f"the arguments of an operator after its values must be unknown scalars of the problem, got '{missing[0]}'",
            do=f"declare it as {missing[0]}: nf.Unknown = nf.Unknown(1.0), or let the operator take {known} alone",
        )
    return tuple(p.name for p in parameters if p.name in scalars)


def real(values: Any) -> Tensor:
    """Return values of any shape as a real column ``(m, 1)``, of complex ones the real and then the imaginary parts."""
    if not isinstance(values, Tensor):
        raise InputError(
            f"an operator must return a tensor of torch, got {type(values).__name__}",
            do="use functions of torch, or give a matrix or a LinearOperator of scipy",
        )
    flat = torch.cat([values.real.reshape(-1), values.imag.reshape(-1)]) if values.is_complex() else values.reshape(-1)
    return flat[:, None]


def _matrix(matrix: Any, dtype: torch.dtype, device: Any) -> LinearMap:
    if matrix.ndim != 2:
        raise InputError(
            f"a matrix must have two axes, got shape {tuple(matrix.shape)}", do="give one row for each measurement"
        )
    if isinstance(matrix, Tensor) and not matrix.is_sparse:
        matrix = matrix.detach().cpu().numpy()
    if sparse.issparse(matrix):
        table: Any = sparse.csr_array(matrix)
        table = sparse.vstack([table.real, table.imag]) if np.iscomplexobj(table) else table
        there, back = (_compressed(part, dtype, device) for part in (table, table.T))
    elif isinstance(matrix, Tensor):
        there, back = (part.to(device, dtype).coalesce() for part in (matrix, matrix.T))
    else:
        dense = np.concatenate([matrix.real, matrix.imag]) if np.iscomplexobj(matrix) else np.asarray(matrix)
        there = torch.as_tensor(dense, dtype=dtype, device=device)
        back = there.T
    return LinearMap(lambda x: there @ x, lambda y: back @ y, (there.shape[0], there.shape[1]))


def _compressed(table: Any, dtype: torch.dtype, device: Any) -> Tensor:
    """Return a sparse matrix as torch multiplies it fastest."""
    rows = sparse.csr_array(table)
    parts = (torch.as_tensor(part) for part in (rows.indptr, rows.indices, rows.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(*parts, size=rows.shape, dtype=dtype, device=device, check_invariants=True)


def _of_scipy(operator: Any, dtype: torch.dtype, device: Any) -> LinearMap:
    try:
        m, n = operator.shape
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"a linear operator needs its shape, two numbers, got {getattr(operator, 'shape', None)}",
            do="set operator.shape = (m, n)",
        ) from error
    complex_data = np.issubdtype(np.dtype(getattr(operator, "dtype", None) or float), np.complexfloating)

    def to(column: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(column), dtype=dtype, device=device)

    def there(x: Tensor) -> Tensor:
        found = [np.ravel(operator.matvec(column)) for column in x.detach().cpu().numpy().T]
        table: Any = np.stack(found, 1)
        return to(np.concatenate([table.real, table.imag]) if complex_data else table)

    def back(y: Tensor) -> Tensor:
        table: Any = y.detach().cpu().numpy()
        table = table[:m] + 1j * table[m:] if complex_data else table
        try:
            found: Any = np.stack([np.ravel(operator.rmatvec(column)) for column in table.T], 1)
        except NotImplementedError as error:
            raise InputError(
                "the linear operator has no adjoint", do="give rmatvec=, which takes y to A^H y, or the matrix itself"
            ) from error
        return to(found.real)

    return LinearMap(there, back, ((1 + complex_data) * m, n))


def _of_deepinv(
    operator: Any, shape: Sequence[int], data_shape: Sequence[int], dtype: torch.dtype, device: Any
) -> Measure:
    """Take images (1, 1, *shape) to data of any shape with as many entries; by a function where it has no adjoint."""
    image = torch.zeros(1, 1, *shape, dtype=dtype, device=device)
    inner, like = _tried(operator.A, image)
    m, n = math.prod(data_shape), math.prod(shape)
    size = like.numel() * (1 + like.is_complex())
    if size not in (m, 2 * m):
        raise InputError(
            f"A() takes an image {tuple(image.shape)} to data of shape {tuple(like.shape)}, which do not fit data of "
            f"shape {tuple(data_shape)}",
            do="give the data as A() gives them",
        )
    if not hasattr(operator, "A_adjoint"):
        return OfValues(lambda values: operator.A(values.reshape(image.shape).to(inner)).to(values), shape)

    def there(x: Tensor) -> Tensor:
        return torch.cat([real(operator.A(column.reshape(image.shape).to(inner))) for column in x.T], 1).to(x)

    def back(y: Tensor) -> Tensor:
        parts = torch.complex(*y.to(inner).chunk(2)) if like.is_complex() else y.to(inner)
        return torch.cat([operator.A_adjoint(c.reshape(like.shape)).real.reshape(-1, 1) for c in parts.T], 1).to(y)

    return LinearMap(there, back, (size, n))


def _tried(function: Callable[[Tensor], Any], image: Tensor) -> tuple[torch.dtype, Tensor]:
    """Return the type in which a function of images works, that of the image or float32, and what it gives."""
    for dtype in dict.fromkeys((image.dtype, torch.float32)):
        try:
            found = function(image.to(dtype))
        except RuntimeError as error:
            if dtype != torch.float32 and "type" in str(error):  # the operator keeps its constants in float32
                continue
            raise InputError(
                f"A() failed for an image of shape {tuple(image.shape)}: {type(error).__name__}: {error}",
                do="give an operator for images (batch, 1 channel, *shape of the grid), or write a function of torch",
            ) from error
        if not isinstance(found, Tensor):
            break
        return dtype, found
    raise InputError(
        f"A() must return a tensor of torch, got {type(found).__name__}",
        do="of several parts concatenate all, in a function of torch",
    )


def _table(rows: Sequence[Any]) -> np.ndarray:
    """Return the matrix that a list of rows is; refuse several operators."""
    if all(isinstance(row, list | tuple) for row in rows):
        try:
            return np.asarray(rows, dtype=np.complex128 if np.iscomplexobj(np.asarray(rows)) else np.float64)
        except (TypeError, ValueError):
            pass
    raise InputError(
        f"an operator must be one matrix, linear operator or function, got a {type(rows).__name__} of {len(rows)}",
        do="stack several matrices by numpy.vstack or scipy.sparse.vstack, or write a function of torch that returns "
        "torch.cat of what each gives; data, noise and mask likewise by numpy.concatenate",
    )
