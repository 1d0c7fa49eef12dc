"""The Darcy operator, from a coefficient of two values to the solution: 1000 training and 200 test functions.

The coefficient is 12 or 3 as a Gaussian field is positive or negative, -div(a grad u) = 1 on the unit square, u = 0
on its boundary (Z. Li et al., ICLR 2021, appendix A.3.2); both are stored at the nodes of a 29 x 29 grid, as L. Lu et
al., Computer Methods in Applied Mechanics and Engineering 393 (2022) 114778, section 5.2, take them. The equation is
solved on a finer grid: the coarse one does not see where the interfaces are.
"""

from pathlib import Path

import numpy as np
import torch

from nfsolve import generator
from nfsolve.functions import Thresholded
from problems.operators._solvers import darcy, relative_gap

SPACE = Thresholded()
STEPS = 28  # of the stored grid
TRAIN, TEST = 1000, 200
FINE, CELLS = 8, 4  # nodes for each stored one, and lattice steps between nodes
CHUNK = 20
LEVELS = 65535


def solutions(coefficients: torch.Tensor, fine: int = FINE, cells: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
    """Solve for some functions.

    Args:
        coefficients: What ``SPACE.draw`` gave.
        fine: Nodes of the solver for each stored one, along each coordinate.
        cells: Lattice steps between the nodes of the solver.

    Returns:
        a and u at the stored nodes, (n, 29, 29).
    """
    a = SPACE.on_grid(coefficients, torch.linspace(0, 1, STEPS * fine * cells + 1, dtype=torch.float64)).numpy()
    return a[:, :: fine * cells, :: fine * cells], darcy(a, cells)[:, ::fine, ::fine]


def darcy_operator(
    folder: Path, train: int = TRAIN, test: int = TEST, fine: int = FINE, cells: int = CELLS
) -> tuple[Path, float]:
    """Write the data set in chunks that a second call continues.

    Args:
        folder: Where the file, and until it is complete the chunks, go.
        train: Training functions.
        test: Test functions.
        fine: As in `solutions`.
        cells: As in `solutions`.

    Returns:
        The file, and the largest relative L2 error of a solution among those that are solved on a finer grid too.
    """
    drawn = torch.cat([SPACE.sample(n, generator(0, name)) for name, n in (("train", train), ("test", test))])
    parts = []
    for first in range(0, len(drawn), CHUNK):
        part = folder / f"darcy_operator.{train}.{test}.{fine}.{cells}.{first}.part.npz"
        if not part.exists():
            a, u = solutions(drawn[first : first + CHUNK], fine, cells)
            unfinished = part.with_suffix(".tmp")
            with unfinished.open("wb") as file:
                np.savez(file, a=a, u=u)
            unfinished.rename(part)
        parts.append(part)
    loaded = [np.load(part) for part in parts]
    a, u = (np.concatenate([table[name] for table in loaded]) for name in ("a", "u"))
    error = relative_gap(u[:4], solutions(drawn[:4], 3 * fine, 2)[1])
    unit = u.max() / LEVELS
    stored = np.round(u[:, 1:-1, 1:-1] / unit).astype(np.uint16)
    error += relative_gap(np.pad(stored * unit, ((0, 0), (1, 1), (1, 1))), u)
    path = folder / "darcy_operator.npz"
    high = np.packbits(a.reshape(len(a), -1) == SPACE.above, axis=1)
    np.savez_compressed(path, high=high, u=stored, unit=unit, train=train, error=np.float64(f"{error:.2g}"))
    for table, part in zip(loaded, parts, strict=True):
        table.close()
        part.unlink()
    return path, error
