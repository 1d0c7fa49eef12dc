"""Uncertainty of a reconstruction from a small ensemble: the data do not determine what differs between seeds.

The spread of the ensemble shows where the errors are, but underestimates their size, since it misses the errors that
all seeds share. Fields of a slice end with steps that find nearly the same image from every seed: give `--tv 0` or
`--loss gaussian` for a spread of the fields themselves. For three seeds of `ct_phantom` without these steps the rms of
the spread was a sixth of the rms error, and its correlation with the error 0.61.

The first member is a finished run; the others repeat it with the next seeds, in folders of their own inside it. They
use the same field, optimizer, steps and other options as that run, as recorded in its folder. The same command also
resumes a member that was interrupted. Means and standard deviations go to ensemble.npz, the picture to ensemble.png,
and the scores to ensemble.json. Source: B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and Scalable
Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.

    nfsolve run ct_phantom --out runs/head
    python -m problems.ct.ensemble runs/head --members 3
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nfsolve import InputError, solve
from nfsolve.metrics import psnr
from nfsolve.plot import panels
from nfsolve.problem import Batch
from nfsolve.run.loop import Run
from problems.ct._repeated import ended_run, exit_code, repeated
from problems.ct._tomography import Tomography

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Ensemble:
    """Images of several seeds.

    Attributes:
        mean: Mean of the images, (rows, columns) or (slices, rows, columns).
        spread: Their standard deviation, likewise.
        reference: The true image, where it is known.
    """

    mean: Tensor
    spread: Tensor
    reference: Tensor | None = None

    def metrics(self) -> dict[str, float]:
        """Return the rms of the spread over that of the mean; and of known images, how the spread tells the error.

        Returns:
            ``ensemble_spread``; with a reference also ``psnr_ensemble``, of the mean, ``ensemble_error``, the rms of
            the error of the mean over that of the mean, and ``ensemble_correlation``, that of the spread with the
            absolute error of the mean over the pixels.
        """
        size = float(self.mean.square().mean().sqrt())
        found = {"ensemble_spread": float(self.spread.square().mean().sqrt()) / size}
        if self.reference is None:
            return found
        error = (self.mean - self.reference).abs()
        both = torch.stack([self.spread.flatten(), error.flatten()])
        return found | {
            "ensemble_error": float(error.square().mean().sqrt()) / size,
            "ensemble_correlation": float(torch.corrcoef(both)[0, 1]),
            "psnr_ensemble": psnr(self.mean, self.reference, float(self.reference.max())),
        }

    def picture(self) -> "Figure":
        """Draw mean, spread and, where it is known, the absolute error of the mean; of a volume the middle slice."""
        shown = {"mean of the ensemble": (self.mean, "gray"), "standard deviation": (self.spread, "magma")}
        if self.reference is not None:
            shown["absolute error of the mean"] = ((self.mean - self.reference).abs(), "magma")
        figure = panels.new_figure(4.6 * len(shown), 4.2)
        for axes, (title, (values, colours)) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
            flat = values if values.dim() == 2 else values[len(values) // 2]
            # a few pixels at edges hold most of the error, and would leave the rest dark
            top = float(flat.quantile(0.995)) if colours == "magma" else float(flat.max())
            image = axes.imshow(panels.array(flat), cmap=colours, vmin=0, vmax=top or 1.0, interpolation="nearest")
            axes.set(title=title, xticks=[], yticks=[])
            figure.colorbar(image, ax=axes, shrink=0.8)
        return figure


def ensemble(problem: Tomography, seeds: Sequence[int] = (0, 1, 2), **options: Any) -> Ensemble:
    """Reconstruct from several seeds of the field.

    Args:
        problem: The problem; the noise of its data stays the same.
        seeds: Seeds of the fields, at least two.
        **options: As for `nfsolve.solve`.

    Returns:
        The ensemble.

    Raises:
        InputError: Fewer than two seeds.
    """
    if len(seeds) < 2:
        raise InputError(f"an ensemble needs at least two seeds, got {list(seeds)}", do="give another one")
    bare = replace(problem, classical=())
    return _of_fields(bare, [solve(bare, seed=seed, **options).field for seed in seeds])


def ensemble_of_run(folder: str | Path, members: int = 3, report: Any = None) -> Ensemble:
    """Repeat a run with further seeds, and write the ensemble into its folder.

    Args:
        folder: Folder of a run of a problem of tomography that has ended.
        members: Number of fields, that of the run among them, at least two.
        report: As for `nfsolve.solve`.

    Returns:
        The ensemble.

    Raises:
        InputError: Fewer than two members, the folder holds no such run, or a member failed.
        KeyboardInterrupt: The user stopped a member; it is saved.
    """
    if members < 2:
        raise InputError(f"an ensemble needs at least two members, got {members}", do="give --members 3")
    runs, problem, plan, state = ended_run(folder)
    if not isinstance(problem, Tomography):
        raise InputError(
            f"'{folder}' is a run of {type(problem).__name__}, not of tomography",
            do="give the folder of a run of ct_phantom, ct_scan, ct_limited or ct_cone",
        )
    bare = replace(problem, classical=())  # their images are those of the run
    fields = [Run(bare, plan, runs, None, state).field]
    for seed in range(plan.run.seed + 1, plan.run.seed + members):
        fields.append(repeated(bare, plan.with_run(seed=seed), Path(folder) / f"seed_{seed}", report))
    found = _of_fields(bare, fields)
    runs.write_json("ensemble.json", found.metrics() | {"members": members})
    arrays: dict[str, Any] = {"mean": panels.array(found.mean), "spread": panels.array(found.spread)}
    runs.write("ensemble.npz", lambda path: np.savez_compressed(path, **arrays))
    with panels.styled():
        runs.write("ensemble.png", lambda path: found.picture().savefig(path))
    return found


def _of_fields(problem: Tomography, fields: Sequence[nn.Module]) -> Ensemble:
    data: Batch = problem.load("cpu", torch.float32)
    with torch.no_grad():
        stack = torch.stack([problem.image(field.to("cpu", torch.float32), data) for field in fields])
    reference = data.get("reference")
    return Ensemble(stack.mean(0), stack.std(0), None if reference is None else reference.to(stack))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        words: Command-line arguments; None takes the program's own.

    Returns:
        Exit code: 0 finished, 2 wrong usage, 130 interrupted (saved).
    """
    parser = argparse.ArgumentParser(description="Uncertainty of a reconstruction, by further seeds of its run.")
    parser.add_argument("folder", type=Path, help="folder of a run of ct_phantom, ct_scan, ct_limited or ct_cone")
    parser.add_argument("--members", type=int, default=3, help="number of fields, that of the run among them")
    said = parser.parse_args(words)

    def write() -> None:
        found = ensemble_of_run(said.folder, said.members, "auto")
        for name, value in found.metrics().items():
            print(f"{name:<20}  {value:.4g}")
        print(f"wrote {said.folder / 'ensemble.npz'}, ensemble.png, ensemble.json")

    return exit_code(write)


if __name__ == "__main__":
    sys.exit(main())
