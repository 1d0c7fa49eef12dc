"""Error bars of a reconstruction, from a small ensemble and from a twin of the object whose errors are known.

The spread of an ensemble shows where the seeds of the field differ, but not the size of the errors, which all seeds
share: for three seeds of `ct_phantom` its rms was a sixth of that of the errors. So a twin is reconstructed as well, by
the same recipe: its object is the mean of the ensemble, scanned as the real one was, with new noise, so its errors are
known. A sum of the spread, of the slopes of the image and of a constant is fitted to their size, and multiplied by what
makes 95 % of the intervals of the twin hold its truth (a parametric bootstrap: B. Efron & R. Tibshirani, An
Introduction to the Bootstrap, 1993, section 6.5; calibrated by a quantile, as conformal prediction is: J. Lei et al.,
J. Am. Stat. Assoc. 113 (2018) 1094, section 5.2). What the twin lacks, because the reconstruction has lost it, is not
in the intervals, and a warning says so of short arcs: `benchmarks/ct_coverage.md` says how many of them hold the truth
of phantoms.

The first member is a finished run; the others repeat it with the next seeds, in folders of their own inside it. They
use the same field, optimizer, steps and other options as that run, as recorded in its folder. The same command also
resumes a member that was interrupted. Means, standard deviations and half widths of the intervals go to ensemble.npz,
the picture to ensemble.png, and the scores to ensemble.json. Source of the ensemble: B. Lakshminarayanan, A. Pritzel,
C. Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.

    nfsolve run ct_phantom --out runs/head
    python -m problems.ct.ensemble runs/head --members 3
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from nfsolve import InputError, solve
from nfsolve.forward.radon import ConeBeam
from nfsolve.metrics import psnr
from nfsolve.plot import panels
from nfsolve.problem import Batch
from nfsolve.run.loop import Run
from problems.ct._prior import is_short
from problems.ct._repeated import ended_run, exit_code, repeated
from problems.ct._tomography import Tomography

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TWIN = 1_000_003  # added to the seed of the noise: that of the twin is new
LEAST = 1e-3  # smallest scale of an interval, in units of the rms error of the twin


@dataclass(frozen=True)
class Ensemble:
    """Images of several seeds.

    Attributes:
        mean: Mean of the images, (rows, columns) or (slices, rows, columns).
        spread: Their standard deviation, likewise.
        reference: The true image, where it is known.
        half_width: Of the interval of 95 % around the mean, likewise; None without a twin.
    """

    mean: Tensor
    spread: Tensor
    reference: Tensor | None = None
    half_width: Tensor | None = None

    def metrics(self) -> dict[str, float]:
        """Return the rms of the spread over that of the mean; and of known images, how the spread tells the error.

        Returns:
            ``ensemble_spread``; with a twin ``ensemble_half_width``, the rms of that; with a reference also
            ``psnr_ensemble``, of the mean, ``ensemble_error``, the rms of the error of the mean over that of the mean,
            and ``ensemble_correlation``, that of the spread with the absolute error of the mean over the pixels; with
            both ``ensemble_coverage``, the share of pixels whose interval holds the truth, and
            ``ensemble_coverage_inside``, of those where the truth is not 0.
        """
        size = float(self.mean.square().mean().sqrt())
        found = {"ensemble_spread": float(self.spread.square().mean().sqrt()) / size}
        if self.half_width is not None:
            found["ensemble_half_width"] = float(self.half_width.square().mean().sqrt()) / size
        if self.reference is None:
            return found
        error = (self.mean - self.reference).abs()
        both = torch.stack([self.spread.flatten(), error.flatten()])
        if self.half_width is not None:
            held = (error <= self.half_width).double()
            found["ensemble_coverage"] = float(held.mean())
            found["ensemble_coverage_inside"] = float(held[self.reference > 0].mean())
        return found | {
            "ensemble_error": float(error.square().mean().sqrt()) / size,
            "ensemble_correlation": float(torch.corrcoef(both)[0, 1]),
            "psnr_ensemble": psnr(self.mean, self.reference, float(self.reference.max())),
        }

    def picture(self) -> "Figure":
        """Draw mean, spread and, where it is known, the absolute error of the mean; of a volume the middle slice."""
        shown = {"mean of the ensemble": (self.mean, "gray"), "standard deviation": (self.spread, "magma")}
        if self.half_width is not None:
            shown["half width of the 95 % interval"] = (self.half_width, "magma")
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


def ensemble(problem: Tomography, seeds: Sequence[int] = (0, 1, 2), twin: bool = True, **options: Any) -> Ensemble:
    """Reconstruct from several seeds of the field.

    Args:
        problem: The problem; the noise of its data stays the same.
        seeds: Seeds of the fields, at least two.
        twin: Reconstruct a twin as well, for intervals.
        **options: As for `nfsolve.solve`.

    Returns:
        The ensemble.

    Raises:
        InputError: Fewer than two seeds.
    """
    if len(seeds) < 2:
        raise InputError(f"an ensemble needs at least two seeds, got {list(seeds)}", do="give another one")
    bare = replace(problem, classical=())
    found = _of_fields(bare, [solve(bare, seed=seed, **options).field for seed in seeds])
    if not twin:
        return found
    warn_of_short_arcs(bare)
    other = bare.twin(found.mean, TWIN)
    return with_intervals(found, _image(other, solve(other, seed=max(seeds) + 1, **options).field))


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
    warn_of_short_arcs(bare)
    other = bare.twin(found.mean, TWIN)
    plan = plan.with_run(seed=plan.run.seed + members)
    found = with_intervals(found, _image(other, repeated(other, plan, Path(folder) / f"twin_of_{members}", report)))
    runs.write_json("ensemble.json", found.metrics() | {"members": members})
    shown = {"mean": found.mean, "spread": found.spread, "half_width": found.half_width}
    arrays: dict[str, Any] = {name: panels.array(values) for name, values in shown.items()}
    runs.write("ensemble.npz", lambda path: np.savez_compressed(path, **arrays))
    with panels.styled():
        runs.write("ensemble.png", lambda path: found.picture().savefig(path))
    return found


def with_intervals(found: Ensemble, twin: Tensor, level: float = 0.95) -> Ensemble:
    """Return an ensemble with intervals that hold the truth of its twin in a share of all pixels.

    Args:
        found: The ensemble; its mean is the truth of the twin.
        twin: Reconstruction of the twin, like the mean.
        level: That share.
    """
    error = (twin - found.mean).abs().double()
    slopes = torch.stack(torch.gradient(found.mean.double())).norm(dim=0)
    parts = torch.stack([torch.ones_like(error), found.spread.double(), slopes], -1)
    units = parts.flatten(0, -2).square().mean(0).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    shares, _ = nnls((parts / units).flatten(0, -2).numpy(), error.flatten().numpy())
    shares[0] = max(shares[0], LEAST * float(error.square().mean().sqrt()))  # no interval is without width
    scale = (parts / units) @ torch.as_tensor(shares)
    factor = np.quantile((error / scale.clamp_min(torch.finfo(torch.float64).tiny)).numpy(), level)
    return replace(found, half_width=(factor * scale).to(found.mean))


def warn_of_short_arcs(problem: Tomography) -> None:
    """Warn where the twin cannot know how much is lost: what the views of a short arc miss is not in it."""
    geometry = problem.measured.geometry
    if not isinstance(geometry, ConeBeam) and is_short(geometry):
        warnings.warn(
            "the intervals are too narrow: the views are those of a short arc, and what they miss is not in the twin "
            "either; of a phantom seen over 90 degrees they held the truth at 65 % of the pixels instead of 95 %",
            stacklevel=3,
        )


def _image(problem: Tomography, field: nn.Module) -> Tensor:
    with torch.no_grad():
        return problem.image(field.to("cpu", torch.float32), problem.load("cpu", torch.float32))


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
    parser = argparse.ArgumentParser(
        description="Error bars of a reconstruction, by further seeds of its run and a twin of the object."
    )
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
