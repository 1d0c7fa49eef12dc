"""Reads a MATLAB file as a program of its own, since scipy's compiled reader can crash on a damaged one.

Run with the path and the bytes that may be taken; writes the arrays, pickled, to its output.
"""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any


def read_matlab(path: Path, memory: int) -> dict[str, Any]:
    """Read the arrays of a MATLAB file of version 7 or older by the program below.

    Args:
        path: The file.
        memory: Bytes that may be taken.

    Returns:
        Name -> array, and nested dictionaries for structures.

    Raises:
        ValueError: The file is damaged, or claims more than memory; the message says which.
    """
    command = [sys.executable, "-P", __file__, str(path), str(memory)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(said[-1] if said and done.returncode > 0 else "it is damaged")
    return pickle.loads(done.stdout)  # our own program wrote it


def main(path: str, memory: int) -> None:
    """Write the arrays of a file to the output, or end with a sentence."""
    from scipy.io import loadmat, whosmat

    claimed = sum(math.prod(shape) for _, shape, _ in whosmat(path))  # at least a byte for each number
    if claimed > memory:
        sys.exit(f"it claims {claimed} numbers, and this machine has {memory / 2**30:.3g} GiB")
    arrays = {name: value for name, value in loadmat(path, simplify_cells=True).items() if not name.startswith("__")}
    pickle.dump(arrays, sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
