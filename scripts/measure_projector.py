"""Time and peak memory of projectors, as a sparse matrix and without one, each in a process of its own.

A product is A x of one image, or A^T y of one sinogram, in single precision on one thread; seconds are those of the
processor, the least of three. Memory is the peak of the process (getrusage) less what it had before the projector was
made: matrix, its making, and the products. "odd angles" are views of which no two see the same of a turned image, the
worst case without a matrix; in all other cases views a quarter turn apart, and mirror images, share their footprints.

    python -m scripts.measure_projector
    python -m scripts.measure_projector --only fan --size 256 --views 360
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from typing import Any

from scripts.measuring import FOLDER, ONE_THREAD, markdown, read_rows, stamp, write_rows

PATH = FOLDER / "projector.json"
CASES = ("parallel", "fan", "fan, odd angles", "cone")
FORMS = ("sparse", "matrix-free")
CONE = 64, 90  # voxels along each side, and views


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Time and peak memory of projectors.")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--size", type=int, default=512, help="pixels along each side, and bins")
    parser.add_argument("--views", type=int, default=720)
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=FORMS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        print(json.dumps(measured(said.only[0], said.size, said.views, said.forms[0])))
        return
    for case in said.only:
        size, views = CONE if case == "cone" else (said.size, said.views)
        for form in said.forms:
            words = ["--only", case, "--size", str(size), "--views", str(views), "--forms", form, "--child"]
            done = subprocess.run(
                [sys.executable, "-m", "scripts.measure_projector", *words],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | ONE_THREAD,
            )
            row = {"case": case, "size": size, "views": views, "form": form, **json.loads(done.stdout), **stamp()}
            same = (case, size, views, form)
            known = [r for r in read_rows(PATH) if (r["case"], r["size"], r["views"], r["form"]) != same]
            write_rows(PATH, [*known, row])
    print(table())


def measured(case: str, size: int, views: int, form: Any) -> dict[str, float]:
    """Return seconds and memory of one projector."""
    import torch

    from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, Projector, VoxelGrid

    torch.set_num_threads(1)
    grid: PixelGrid | VoxelGrid = PixelGrid(size, size, 2 / size)
    turn = tuple(2 * math.pi * i / views for i in range(views))
    golden = tuple((math.pi * (3 - math.sqrt(5)) * i) % (2 * math.pi) for i in range(views))
    if case == "parallel":
        geometry: Any = ParallelBeam.half_turn(views, size)
    elif case == "cone":
        bins = round(1.25 * size)
        geometry, grid = (
            ConeBeam(turn, (bins, bins), (4 / bins, 4 / bins), 4.0, 6.0),
            VoxelGrid((size, size, size), 2 / size),
        )
    else:
        geometry = FanBeam(golden if "odd" in case else turn, size, 3.4 / size, 3.0, 4.2)
    x, y = torch.rand(math.prod(grid.shape), 1), torch.rand(math.prod(geometry.shape), 1)
    before = _peak()
    start = time.process_time()
    A = Projector(geometry, grid, torch.float32, form=form)
    made = time.process_time() - start
    forward, adjoint = (_least(lambda f=f, z=z: f(z)) for f, z in ((A, x), (A.adjoint, y)))
    return {"made": made, "forward": forward, "adjoint": adjoint, "megabytes": _peak() - before}


def _least(product: Any) -> float:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        product()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _peak() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def table() -> str:
    """Lay out all rows."""
    lines = []
    for row in read_rows(PATH):
        size = " x ".join([str(row["size"])] * (3 if row["case"] == "cone" else 2))
        seconds = [f"{row[key]:.2f}" for key in ("made", "forward", "adjoint")]
        lines.append([f"{row['case']}, {size}, {row['views']} views", row["form"], *seconds, f"{row['megabytes']:.0f}"])
    return markdown(["scan", "form", "made / s", "A x / s", "A^T y / s", "peak / MB"], lines)


if __name__ == "__main__":
    main()
