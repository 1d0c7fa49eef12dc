"""Coefficients of two values, on the two sides of a level of a random field, as the benchmark draws it."""

import numpy as np
import torch
from torch import Tensor

from nfsolve import InputError
from nfsolve.data.tables import find_file, read_arrays

FIELD = "pinnacle/coef_fields_seed20220722.npz"


def two_values(name: str, owner: type, low: float, high: float) -> Tensor:
    """Read the random field of the benchmark (numpy's legacy generator, seed 20220722) as a coefficient of two values.

    Args:
        name: File with its values ``darcy`` on a regular grid of the unit square, y along rows, found as any data file.
        owner: The problem's class.
        low: Coefficient where the field is low.
        high: Coefficient where it is high.

    Returns:
        The coefficient on the grid, float64.

    Raises:
        InputError: There is no such file, or no such values in it.
    """
    path = find_file(name, owner, ("", ".npz"))
    arrays = read_arrays(path)
    if "darcy" not in arrays or arrays["darcy"].ndim != 2:
        raise InputError(
            f"'{path}' must hold a table 'darcy', but it holds {', '.join(arrays) or 'nothing'}",
            do="name the file of the benchmark's random fields",
        )
    field = arrays["darcy"]
    return torch.from_numpy(np.where(field > (field.min() + field.max()) / 2, high, low).astype(np.float64))


def bilinear(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate values on a regular grid of the unit square.

    Args:
        values: Values ``(m, n)``, y along rows and x along columns.
        x: Coordinates ``(k, 1)``.
        y: Coordinates ``(k, 1)``.

    Returns:
        Values ``(k, 1)``.
    """
    (m, n), rows, columns = values.shape, y * (values.shape[0] - 1), x * (values.shape[1] - 1)
    i, j = rows.detach().long().clamp(0, m - 2), columns.detach().long().clamp(0, n - 2)
    down, right = rows - i, columns - j
    upper = values[i, j] * (1 - right) + values[i, j + 1] * right
    lower = values[i + 1, j] * (1 - right) + values[i + 1, j + 1] * right
    return upper * (1 - down) + lower * down
