"""Reads a MATLAB file as a program of its own, since scipy's compiled reader can crash on a damaged one.

Run with the path and the bytes that may be taken; writes the arrays, pickled, to its output.
"""

import math
import pickle
import sys

from scipy.io import loadmat, whosmat


def main(path: str, memory: int) -> None:
    """Write the arrays of a file to the output, or end with a sentence."""
    claimed = sum(math.prod(shape) for _, shape, _ in whosmat(path))  # at least a byte for each number
    if claimed > memory:
        sys.exit(f"it claims {claimed} numbers, and this machine has {memory / 2**30:.3g} GiB")
    arrays = {name: value for name, value in loadmat(path, simplify_cells=True).items() if not name.startswith("__")}
    pickle.dump(arrays, sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
