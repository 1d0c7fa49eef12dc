"""Functions from files: values on a uniform grid, between which a cubic spline runs.

C. de Boor, "A Practical Guide to Splines", 1978, chapters IV (not-a-knot) and IX (B-splines).
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve._core.arrays import real_numbers
from nfsolve._core.errors import InputError
from nfsolve.functions.space import FunctionSpace
from nfsolve.functions.stored import column, open_arrays, rows_of


@dataclass(frozen=True)
class FunctionFile(FunctionSpace):
    """Functions of one coordinate from a file, drawn without repetition; coefficients are those of B-splines.

    Attributes:
        path: What `open_arrays` takes; it is opened when the space is made.
        name: Array of the values, (functions, points).
        grid: Array of the positions, (points,), equidistant.
        rows: Which functions, (first, end); None takes all. Training and test functions take separate rows.

    Raises:
        InputError: A file, array or row is missing, or the grid is not equidistant.
    """

    path: str
    name: str = "f"
    grid: str = "x"
    rows: tuple[int, int] | None = None
    _grid: tuple[float, float, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        arrays = open_arrays(self.path)
        x = np.ravel(real_numbers(column(arrays, self.grid, self.path), f"'{self.grid}' of '{self.path}'"))
        f = column(arrays, self.name, self.path)
        if f.ndim != 2 or f.shape[1] != len(x) or len(x) < 4:
            raise InputError(
                f"'{self.name}' of '{self.path}' must have a row for each function and a column for each of at least 4 "
                f"points, but it has shape {f.shape}, and '{self.grid}' has {len(x)} points",
                do="store values and points that fit each other",
            )
        step = (x[-1] - x[0]) / (len(x) - 1)
        if not (step > 0 and np.abs(np.diff(x) - step).max() < 1e-5 * step):
            raise InputError(
                f"'{self.grid}' of '{self.path}' must be an equidistant, increasing grid, but it is not",
                do="resample the functions on one",
            )
        first, end = self._range(len(f))
        if not 0 <= first < end <= len(f):
            raise InputError(
                f"rows must lie within the {len(f)} functions of '{self.path}', got {first} to {end}",
                do="choose (first, end) with 0 <= first < end",
            )
        # plain numbers, so that `basis` never opens the file
        object.__setattr__(self, "_grid", (float(x[0]), float(step), len(x)))

    def _range(self, functions: int) -> tuple[int, int]:
        return self.rows or (0, functions)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Pick functions; as in `FunctionSpace`."""
        f = column(open_arrays(self.path), self.name, self.path)
        first, end = self._range(len(f))
        if n > end - first:
            raise InputError(
                f"'{Path(self.path).name}' must have {n} functions to draw, each once, but it has {end - first}",
                do="ask for fewer functions, or allow more rows",
            )
        rows = first + torch.randperm(end - first, generator=generator)[:n].numpy()
        return torch.from_numpy(_spline(rows_of(f, rows, f"'{self.name}' of '{self.path}'").numpy()))

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate the B-splines around every grid point and one beyond each end; as in `FunctionSpace`."""
        low, step, m = self._grid
        z = (x - low) / step - torch.arange(-1, m + 1, dtype=x.dtype, device=x.device)
        below = torch.where(z > 0, -z, z)  # not -|z|, whose slope 0 at the grid points would enter the derivatives
        return (torch.relu(2 + below) ** 3 - 4 * torch.relu(1 + below) ** 3) / 6


def _spline(values: np.ndarray) -> np.ndarray:
    """Return the B-spline coefficients (n, m + 2) of the not-a-knot interpolants of values (n, m)."""
    m = values.shape[1]
    bands = np.zeros((9, m + 2))  # bands[4 + i - j, j] is entry (i, j)
    for distance, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
        columns = np.arange(1, m + 1) + distance
        bands[4 - distance, columns] = weight
    for j, weight in enumerate((1.0, -4.0, 6.0, -4.0, 1.0)):
        bands[4 - j, j] = weight  # the third derivative does not jump at the second point,
        bands[8 - j, m - 3 + j] = weight  # nor at the last but one
    sides = np.pad(values, ((0, 0), (1, 1)))
    from scipy.linalg import solve_banded  # takes 0.3 s

    return solve_banded((4, 4), bands, sides.T).T
