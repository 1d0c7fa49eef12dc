"""What the problems of PINNacle share: what the benchmark calls them, its best score, and its reference files.

Hao et al., PINNacle: A Comprehensive Benchmark of Physics-Informed Neural Networks for Solving PDEs, arXiv 2306.08827.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nfsolve import PDE, InputError
from nfsolve.data.tables import find_file


@dataclass
class Benchmark(PDE):
    """A problem of PINNacle.

    Attributes:
        label: What the benchmark calls it.
        published: Best relative L2 error of a method in the benchmark's table.
        repaired: What differs from the benchmark's code, in a few words; empty where nothing does.
        public_file: The benchmark's own reference file, which is less good than the reference; empty if it is not kept.
        in_file: Which of the unknowns it holds; empty for all.
    """

    label: ClassVar[str]
    published: ClassVar[float]
    repaired: ClassVar[str] = ""
    public_file: ClassVar[str] = ""
    in_file: ClassVar[str] = ""


def read_export(
    name: str, owner: type, coordinates: tuple[str, ...], outputs: tuple[str, ...], every: int = 1
) -> tuple[Tensor, Tensor]:
    """Read a table of the benchmark, most of which COMSOL exported.

    Its columns are those of space, then the unknowns at each time, which its head names; without such a head those of
    space, the time if there is one, and the unknowns.

    Args:
        name: Path or name of the file; lines that begin with % are its head.
        owner: The problem's class.
        coordinates: Names of the coordinates in the problem, with ``t`` first where it has a time.
        outputs: Names of the unknowns.
        every: Which of the times are used.

    Returns:
        Points ``(n, d)`` and values ``(n, k)``, float64.

    Raises:
        InputError: There is no such file, or it has other columns.
    """
    path = find_file(name, owner)
    with path.open(encoding="utf-8") as lines:
        head = [line for line in lines if line.startswith("%")]
    try:
        table = np.loadtxt(path, comments="%", ndmin=2, encoding="utf-8")
    except ValueError as error:
        raise InputError(f"'{path}' must hold columns of numbers ({error})", do="name a file of PINNacle") from error
    d, k, timed = len(coordinates), len(outputs), "t" in coordinates
    times = [float(t) for t in re.findall(r"@ t=(\S+)", "".join(head[-1:]))[::k]] if timed else []
    space = d - bool(times)
    if table.shape[1] != space + k * max(1, len(times)):
        raise InputError(
            f"'{path}' must have {space} columns of coordinates and {k} of values for each of {max(1, len(times))} "
            f"times, but it has {table.shape[1]}",
            do=f"name the file of PINNacle for {owner.__name__}",
        )
    if times:
        values = table[:, space:].reshape(len(table), len(times), k)[:, ::every].transpose(1, 0, 2).reshape(-1, k)
        column = np.repeat(times[::every], len(table))[:, None]
        points = np.concatenate([column, np.tile(table[:, :space], (len(times[::every]), 1))], 1)
    elif timed:
        table = table[np.isin(table[:, d - 1], np.unique(table[:, d - 1])[::every])]
        points, values = np.roll(table[:, :d], 1, 1), table[:, d:]
    else:
        points, values = table[:, :d], table[:, d:]
    return torch.from_numpy(np.ascontiguousarray(points)), torch.from_numpy(np.ascontiguousarray(values))
