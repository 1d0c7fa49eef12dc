"""How far real scans can be told apart by their references: bounds on the rows of `scripts.ct_table`.

The reference of a real scan is a filtered back-projection of all its views, with noise of its own. That of the even
views and that of the odd ones differ by twice this noise and by what their fewer views leave; half their difference
gives the PSNR that the true object could reach against the mean of both, about. Beside it stand the misfits of the
reference to the views that the methods see and to those that no method sees, as in the table, and those of its rows:
where the reference fits measured views worse than the methods do, the last tenths of a decibel are those of the
reference. The noise of the views, which no method can predict, is estimated by second differences along the bins, from
their median, as if it were independent from bin to bin. The table is printed and kept in benchmarks/ct_bound.json.

    NFSOLVE_DATA=... python -m scripts.ct_bound
"""

import math
from typing import Any

import torch

from nfsolve.metrics import psnr
from nfsolve.problem.registry import find
from nfsolve.reconstruct import filtered_back_projection
from scripts.ct_table import CASES
from scripts.ct_table import PATH as TABLE
from scripts.measuring import FOLDER, Row, markdown, read_rows, stamp, write_rows

PATH = FOLDER / "ct_bound.json"
REAL = ("htc", "tooth")
MEDIAN_OF_SQUARES = 0.4549  # of a normal variable of variance 1


def of_case(name: str) -> Row:
    """Return the bounds of a case, and its rows of the table beside them."""
    case = CASES[name]
    problem: Any = find(case.problem)(**case.options, classical=())
    data = problem.load("cpu", torch.float32)
    scores = problem.scores(data["reference"].float(), data)
    whole = find(case.problem)(**case.options | {"every": 1}, classical=())
    found = {"case": name, "limit_inside": limit(whole, data), "residual": scores["residual"]}
    found["unseen"] = scores["unseen"]
    p = data["unseen"][1].reshape(len(data["unseen"][0].geometry.angles), -1).double()
    found["noise"] = math.sqrt(
        float(p.diff(2, 1).square().median()) / (6 * MEDIAN_OF_SQUARES) / float(p.square().mean())
    )
    for row in read_rows(TABLE):
        if row["case"] == name and row["method"] in ("field", "tv") and row["seed"] == 0:
            found |= {f"{key}_{row['method']}": row[key] for key in ("psnr_inside", "residual", "unseen")}
    return found | stamp()


def limit(whole: Any, data: Any) -> float:
    """Return the PSNR that the true object could reach inside, from references of half the views each, in dB."""
    full, grid = whole.scan, whole.grid
    halves = []
    for first in (0, 1):
        part = full.subset(range(first, len(full.geometry.angles), 2))
        image = filtered_back_projection(torch.as_tensor(part.sinogram), part.geometry, grid, "hann").image
        halves.append(image.clamp(min=0)[data["inside"]])
    peak = float(data["reference"].max())
    return psnr(halves[0], halves[1], peak) + 20 * math.log10(2)


def table(rows: list[Row]) -> str:
    """Lay out all rows."""
    head = ["case", "true object, at most about / dB", "field / dB", "TV / dB"]
    head += [f"{of} of {who} / %" for of in ("misfit", "unseen") for who in ("reference", "field", "TV")]
    head.append("noise / %")
    lines = []
    for row in rows:
        decibels = [row["limit_inside"], *(row.get(f"psnr_inside_{who}", math.nan) for who in ("field", "tv"))]
        misfits = [
            100 * row.get(key + who, math.nan) for key in ("residual", "unseen") for who in ("", "_field", "_tv")
        ]
        numbers = [*decibels, *misfits, 100 * row["noise"]]
        lines.append([CASES[row["case"]].title, *(f"{x:.2f}" for x in numbers)])
    return markdown(head, lines)


def main() -> None:
    """Compute, keep and print."""
    torch.set_num_threads(1)
    rows = [of_case(name) for name in REAL]
    write_rows(PATH, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
