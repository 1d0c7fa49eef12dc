"""Compute the reference solutions of the gallery, each with an estimate of its own error.

    python -m scripts.make_references             all solutions of one problem, a minute to ten each for PINNacle's
    python -m scripts.make_references kdv --folder /tmp
    NFSOLVE_DATA=FOLDER python -m scripts.make_references wave2d_cg     coefficients are those of the benchmark
    python -m scripts.make_references darcy_operator        1200 functions and their solutions, 4 minutes or more

A file holds one axis for each coordinate, each unknown on their grid, and ``error``: the relative L2 error that the
method certifies (a bound), or the difference between the stored solution and one of lower resolution.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from scripts.references import evolution, flows, materials, planes
from scripts.references.cavity import cavity
from scripts.references.cube import poisson3d_cg
from scripts.references.darcy import darcy_operator
from scripts.references.heated_plate import heat2d_cg
from scripts.references.lshape import lshape
from scripts.references.particular import poisson2d_c, poisson2d_cg

Table = dict[str, np.ndarray]
PROBLEMS = Path(__file__).resolve().parent.parent / "problems"
FINEST = 2.0**-40  # of what values are stored as multiples of, a hundredth of their error: then the files compress


def two_levels(compute: Callable[[int], Table]) -> tuple[Table, float]:
    """Solve at two resolutions; the error is that of the coarse solution, so a bound in practice."""
    coarse, fine = compute(0), compute(1)
    return fine, distance(coarse, fine)


def distance(table: Table, reference: Table) -> float:
    """Return the largest relative L2 difference of an unknown, where both are known (not NaN)."""
    gaps = []
    for name, values in reference.items():
        if values.ndim < 2:
            continue
        known = np.isfinite(values) & np.isfinite(table[name])
        if not known.any():
            continue
        gaps.append(np.linalg.norm((table[name] - values)[known]) / np.linalg.norm(values[known]))
    return float(max(gaps))


PINNACLE: dict[str, Callable[[int], Table]] = {
    "ks": evolution.ks,
    "gs": planes.gs,
    "burgers2d": planes.burgers2d,
    "heat2d_lt": planes.heat2d_lt,
    "heat2d_cg": heat2d_cg,
    "heat2d_vc": materials.heat2d_vc,
    "wave2d_cg": materials.wave2d_cg,
    "poisson2d_ms": materials.poisson2d_ms,
    "poisson3d_cg": poisson3d_cg,
    "ns2d_c": flows.ns2d_c,
    "ns2d_cg": flows.ns2d_cg,
    "ns2d_lt": flows.ns2d_lt,
}
REFERENCES: dict[str, Callable[[], tuple[Table, float]]] = {
    "allen_cahn": partial(two_levels, evolution.allen_cahn),
    "kdv": partial(two_levels, evolution.kdv),
    "kuramoto_sivashinsky": partial(two_levels, evolution.kuramoto_sivashinsky),
    "lshape": lshape,
    **{name: partial(two_levels, compute) for name, compute in PINNACLE.items()},
    "poisson2d_c": poisson2d_c,
    "poisson2d_cg": poisson2d_cg,
    "cavity_100": partial(cavity, 100.0),
    "cavity_400": partial(cavity, 400.0),
}


OPERATORS: dict[str, Callable[[Path], tuple[Path, float]]] = {"darcy_operator": darcy_operator}


def home(name: str) -> Path:
    """Return the folder where the gallery looks for a reference."""
    return (
        PROBLEMS
        / (
            "operators"
            if name in OPERATORS
            else "pinnacle"
            if name in (*PINNACLE, "poisson2d_c", "poisson2d_cg")
            else "pde"
        )
        / "references"
    )


def write(name: str, folder: Path) -> tuple[Path, float]:
    """Compute one reference and write it.

    Args:
        name: A key of `REFERENCES` or of `OPERATORS`.
        folder: Where the file goes.

    Returns:
        The file, and the relative L2 error stored in it.
    """
    if name in OPERATORS:
        return OPERATORS[name](folder)
    table, error = REFERENCES[name]()
    stored = {n: rounded(v, error) if v.ndim > 1 else v for n, v in table.items()}
    error += distance(stored, table)
    path = folder / f"{name}.npz"
    np.savez_compressed(path, error=np.float64(f"{error:.2g}"), **stored)
    return path, error


def rounded(values: np.ndarray, error: float) -> np.ndarray:
    """Round values to a hundredth of their error, given relative to their root mean square; NaN stays."""
    known = values[np.isfinite(values)]
    if not known.any():
        return values
    quantum = max(FINEST, 2.0 ** np.floor(np.log2(error / 100 * np.sqrt(np.mean(known**2)))))
    return np.round(values / quantum) * quantum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *REFERENCES, *OPERATORS], help="default: all but operators")
    parser.add_argument("--folder", type=Path, help="default: where the gallery looks for them")
    said = parser.parse_args()
    for name in said.names or REFERENCES:
        start = time.perf_counter()
        folder = said.folder or home(name)
        folder.mkdir(parents=True, exist_ok=True)
        path, error = write(name, folder)
        print(f"{path}: error {error:.1e}, {path.stat().st_size / 1000:.0f} kB, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
