"""What curvature costs: an amortised step of the diagonal optimizers over a step of Adam, on three fields.

Fields of 4 layers x 256, 2 inputs and 3 outputs, 512 points of a fixed batch, float32, one thread. A plain step and a
step with a refresh are timed apart and interleaved, Adam among them, in CPU time; a ratio is taken within each round,
and the median over rounds counts. With a refresh every N steps the amortised step is ((N - 1) plain + refresh) / N.

    python -m scripts.benchmark_curvature
    python -m scripts.benchmark_curvature --only sine --rounds 5
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from scripts.measuring import FOLDER, ONE_THREAD, Row, markdown, read_rows, stamp, write_rows

os.environ.update(ONE_THREAD)

import torch  # after the number of threads is set
from torch.func import functional_call

from nfsolve import optim
from nfsolve.curvature import LeastSquares
from nfsolve.domains import Box
from nfsolve.fields import MLP, Activation, Gaussian, ReLU, Sine

FIELDS: dict[str, Activation] = {"sine": Sine(30.0), "gaussian": Gaussian(0.05), "relu": ReLU()}
N = 100  # steps between refreshes
FUSED = "Adam, fused"  # torch's other implementation, not its default
GOAL = 0.05  # amortised overhead of ESGD over Adam
MADE: dict[str, Callable[..., Any]] = {
    "ESGD": partial(optim.ESGD, lr=1e-4, refresh_every=N, warmup=0),
    "ESGD, 2 J^T J v": partial(optim.ESGD, lr=1e-4, refresh_every=N, warmup=0, method="gauss_newton"),
    "ESGD, differences": partial(optim.ESGD, lr=1e-4, refresh_every=N, warmup=0, method="finite_difference"),
    "Jacobi": partial(optim.Jacobi, lr=1e-4, refresh_every=N, warmup=0),
    "DiagGN": partial(optim.DiagGN, lr=1e-4, refresh_every=N, warmup=0),
    "AdaHessian": partial(optim.AdaHessian, lr=1e-4),
}


def make_objective(activation: Activation, width: int = 256, batch: int = 512) -> LeastSquares:
    """A colour field and a batch of smooth colours at random points."""
    source = torch.Generator().manual_seed(0)
    field = MLP(Box(x=(-1, 1), y=(-1, 1)), "r g b", width=width, depth=4, activation=activation, seed=0)
    x = 2 * torch.rand(batch, 2, generator=source) - 1
    y = 0.5 + 0.3 * torch.sin(x @ torch.tensor([[7.0, 3.0, 1.0], [2.0, 5.0, 9.0]]))
    scale = y.numel() ** -0.5
    return LeastSquares(lambda q: (functional_call(field, q, (x,)) - y) * scale, dict(field.named_parameters()))


def steps_of(activation: Activation, width: int = 256, batch: int = 512) -> dict[str, Callable[[], Any]]:
    """Adam's step, and of each optimizer the plain one and the one with a refresh."""
    objective = make_objective(activation, width, batch)
    adam = optim.Adam(objective.parameters, lr=1e-4)
    fused = optim.Adam(objective.parameters, lr=1e-4, fused=True)
    steps: dict[str, Callable[[], Any]] = {"Adam": lambda: adam.step(objective), FUSED: lambda: fused.step(objective)}
    for name, maker in MADE.items():
        optimizer = maker(objective.parameters)
        optimizer.step(objective)

        def go(since: int, optimizer: Any = optimizer) -> Any:
            optimizer.state["shared"]["since"] = since
            return optimizer.step(objective)

        if name != "AdaHessian":
            steps[f"{name}/plain"] = partial(go, 0)
        steps[f"{name}/refresh"] = partial(go, N)
    return steps


def measure(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of each step in each round, all in turn, so that a busy moment hits all."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(2):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            times[name].append((time.process_time() - start) * 1e3)
    return times


def rows_of(field: str, times: dict[str, list[float]]) -> list[Row]:
    """Return one row for each optimizer: milliseconds, ratios to Adam, and the amortised ratio."""
    adam = times["Adam"]

    def ratio(name: str) -> float:
        return statistics.median(t / a for t, a in zip(times[name], adam, strict=True))

    common = {"case": f"{field} field, batch 512", "seed": 0, "budget": f"{len(adam)} rounds of one step"}
    rows: list[Row] = [
        {**common, "method": name, "milliseconds": statistics.median(times[name]), "amortised": ratio(name), **stamp()}
        for name in ("Adam", FUSED)
    ]
    for name in MADE:
        refresh = ratio(f"{name}/refresh")
        plain = ratio(f"{name}/plain") if f"{name}/plain" in times else None
        amortised = refresh if plain is None else ((N - 1) * plain + refresh) / N
        rows.append({**common, "method": name, "plain": plain, "refresh": refresh, "amortised": amortised, **stamp()})
    return rows


def table(rows: list[Row]) -> str:
    """Word the results: a table of ratios to Adam's step, and whether the goal is met."""
    lines = []
    for row in rows:
        plain, refresh = (f"{row[k]:.2f}" if row.get(k) else "-" for k in ("plain", "refresh"))
        cost = f"{row['milliseconds']:.1f}" if "milliseconds" in row else "-"
        lines.append([row["case"], row["method"], cost, plain, refresh, f"{100 * (row['amortised'] - 1):+.1f} %"])
    header = ["case", "method", "CPU ms", "plain step", "step with refresh", f"amortised, N = {N}"]
    about = f"{rows[-1]['machine']}; {rows[-1]['version']}; {rows[-1]['date']}." if rows else ""
    return (
        "# Cost of curvature: steps relative to one step of Adam\n\nFields of 4 layers x 256 in float32, medians over "
        "rounds of ratios within a round, CPU time; AdaHessian refreshes in every step. Adam is that of `torch.optim` "
        f"with its defaults. {about}\n\n{markdown(header, lines)}\n"
        f"Goal: ESGD at N = {N} costs at most {100 * GOAL:.0f} % more than Adam.\n\n{goals(rows)}"
    )


def goals(rows: list[Row]) -> str:
    """Say for each field whether the goal is met, against Adam and against its fused form."""
    text = ""
    for case in dict.fromkeys(row["case"] for row in rows):
        found = {row["method"]: row["amortised"] for row in rows if row["case"] == case}
        over, over_fused = found["ESGD"] - 1, found["ESGD"] / found[FUSED] - 1
        text += (
            f"- {case}: {100 * over:+.1f} %, {'met' if over <= GOAL else 'missed'}; {100 * over_fused:+.1f} % over the "
            "fused form.\n"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*FIELDS], default=[*FIELDS])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    torch.set_num_threads(1)
    path = said.folder / "curvature_overhead.json"
    for field in said.only:
        new = rows_of(field, measure(steps_of(FIELDS[field]), said.rounds))
        kept = [row for row in read_rows(path) if row["case"] != new[0]["case"]]
        write_rows(path, kept + new)
    text = table(read_rows(path))
    (said.folder / "curvature_overhead.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
