"""Further rows of a scan, reconstructed like one that is done, as a stack of slices.

Begin with one row, look at it, and then repeat it for others: with the same options, recipe and seed, the rotation axis
and the weight of the prior that were found there, so that slices fit each other. Each slice has a folder of its own
inside that of the run, and the same command goes on where it was stopped. The stack goes to stack.tif, one page of
float32 for each row, attenuation per unit of length, and to stack.npz.

    nfsolve run ct_scan --data stack.h5 --row 100 --out runs/tooth
    python -m problems.ct.stack runs/tooth --rows 90:110
    python -m problems.ct.stack runs/tooth --rows 0:200:10
"""

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfsolve import InputError
from nfsolve.problem import Batch
from problems.ct._repeated import ended_run, exit_code, repeated
from problems.ct.scan import CTScan

ROLLED = 0.5  # bins by which the axis may lie elsewhere in the last row than in the first


def rows_of(words: str) -> list[int]:
    """Return the rows that are meant by FIRST:END or FIRST:END:STEP, as of Python's ranges.

    Raises:
        InputError: It is neither, or there is no such row.
    """
    try:
        found = list(range(*map(int, words.split(":"))))
    except (TypeError, ValueError):
        found = []
    if ":" not in words or not found or min(found) < 0:
        raise InputError(f"rows must be FIRST:END or FIRST:END:STEP, got '{words}'", do="give --rows 0:100, say")
    return found


def stack_of_run(folder: str | Path, rows: Sequence[int], report: Any = None) -> np.ndarray:
    """Reconstruct rows of the scan of a run, and write the stack into its folder.

    Args:
        folder: Folder of a run of ct_scan that has ended.
        rows: Rows of the detector, or slices of a series, in the order of the pages.
        report: As for `nfsolve.solve`.

    Returns:
        The slices, (rows, size, size), attenuation per unit of length.

    Raises:
        InputError: The folder holds no such run, there is no such row, or a slice failed.
        KeyboardInterrupt: The user stopped a slice; it is saved.
    """
    import imageio.v3 as iio

    runs, first, plan, _ = ended_run(folder)
    if not isinstance(first, CTScan):
        raise InputError(
            f"'{folder}' is a run of {type(first).__name__}, not of a scan with several rows",
            do="give the folder of a run of ct_scan",
        )
    alike: dict[str, Any] = {"classical": ()}
    scan = first.scan
    if not first.simulates:
        alike |= {"axis": scan.axis, "find_axis": False}
        _check_roll(first, rows)
    if first.classical_tv is None:
        alike |= {"classical_tv": first.fine_weight, "tv": first.field_weight}
    slices = []
    for row in rows:
        problem = replace(first, row=row, **alike)
        field = repeated(problem, plan, Path(folder) / f"row_{row:04d}", report)
        data: Batch = problem.load("cpu", torch.float32)
        with torch.no_grad():
            slices.append(problem.image(field.to("cpu", torch.float32), data).numpy().astype(np.float32))
    stack = np.stack(slices)
    pixel = first.grid.pixel
    runs.write("stack.tif", lambda path: iio.imwrite(path, stack))
    runs.write("stack.npz", lambda path: np.savez_compressed(path, image=stack, rows=np.asarray(rows), pixel=pixel))
    return stack


def _check_roll(problem: CTScan, rows: Sequence[int]) -> None:
    """Warn where the rotation axis lies elsewhere in the last row than in the first."""
    if len(rows) < 2:
        return
    try:
        low, high = (replace(problem, row=row, axis=None, find_axis=True).scan.axis for row in (min(rows), max(rows)))
    except InputError:
        return  # the axis cannot be found in one of them: air, say
    if abs(high - low) > ROLLED:
        roll = problem.roll - math.degrees(math.atan((high - low) / (max(rows) - min(rows))))
        warnings.warn(
            f"the rotation axis lies at bin {low:.2f} in row {min(rows)} and at {high:.2f} in row {max(rows)}: if rows "
            f"are as far apart as bins, the detector may be turned by about {roll:.1g} degrees; try --roll with the "
            "first run",
            stacklevel=3,
        )


def main(words: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        words: Command-line arguments; None takes the program's own.

    Returns:
        Exit code: 0 finished, 2 wrong usage, 130 interrupted (saved).
    """
    parser = argparse.ArgumentParser(description="Further rows of a scan, like a run of one of them.")
    parser.add_argument("folder", type=Path, help="folder of a run of ct_scan")
    parser.add_argument("--rows", required=True, help="rows of the detector, FIRST:END or FIRST:END:STEP")
    said = parser.parse_args(words)

    def write() -> None:
        stack = stack_of_run(said.folder, rows_of(said.rows), "auto")
        print(f"wrote {len(stack)} slices to {said.folder / 'stack.tif'} and stack.npz")

    return exit_code(write)


if __name__ == "__main__":
    sys.exit(main())
