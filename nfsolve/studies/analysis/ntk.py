"""Spectrum of the empirical tangent kernel of a field, and its alignment with the target, along training.

Gradient descent on a squared loss moves residuals by u <- (1 - eta K) u (Jacot, Gabriel & Hongler, arXiv 1806.07572).
Alignment A = y^T K y / (|K|_F |y|^2) and the energy of y in the top eigenvectors are both reported: the weight-scaling
paper (Yeom, Lee & Lee, ICLR 2025) does not say which normalisation it plots.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.curvature import (
    NTKProduct,
    captured_energy,
    kernel_alignment,
    ntk_by_parameter,
    ntk_traces,
    top_eigenpairs,
)
from nfsolve.linalg.dense import flatten, unflatten
from nfsolve.plot.panels import head, legend_below, new_figure
from nfsolve.studies.analysis.sample import Sample
from nfsolve.studies.analysis.subject import Subject, project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CUTOFFS = (0.0, 1e-12, 1e-8, 1e-4)
SHARES = (0.01, 0.05, 0.1, 0.5)  # of all eigenvectors, at which the energy is quoted
ENTRIES = 4 * 10**7  # of the Jacobian: with more the kernel is not formed (0.3 GB)
TOP = 40  # eigenvalues that Lanczos iteration finds of a kernel that is not formed
PROBES = 20


@dataclass(frozen=True)
class Kernel:
    """The kernel at one moment.

    Attributes:
        step: Step of training.
        rows: Number of points.
        formed: Whether the whole spectrum is known; else the ``TOP`` largest eigenvalues are.
        eigenvalues: Largest first.
        mean: Mean of all eigenvalues, trace / n.
        condition: Relative cut-off -> largest over smallest eigenvalue above it; empty where not all are known.
        alignment: A of the target less its mean, NaN where there is none.
        energy: E_k of the target for k = 1, 2, ...; empty where there is none.
        shares: Layer -> its share of the trace.
    """

    step: int
    rows: int
    formed: bool
    eigenvalues: Tensor
    mean: float
    condition: dict[float, float]
    alignment: float
    energy: Tensor
    shares: dict[str, float]

    @property
    def peak(self) -> float:
        """Largest eigenvalue over the mean."""
        return float(self.eigenvalues[0]) / self.mean

    def energy_at(self, share: float) -> float:
        """Return the energy of the target in the first ``share`` of all eigenvectors, NaN where it is not known."""
        k = max(1, round(share * self.rows))
        return float(self.energy[k - 1]) if k <= len(self.energy) else math.nan


@dataclass(frozen=True)
class KernelAnalysis:
    """Kernels along training.

    Attributes:
        lattice: The points, in words.
        target: Whether the problem has a target.
        kernels: One for each moment.
    """

    lattice: str
    target: bool
    kernels: tuple[Kernel, ...]

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        rows: dict[str, Any] = {"points": self.lattice}
        for kernel in self.kernels:
            at = f"step {kernel.step}"
            kappa = kernel.condition.get(0.0)
            rows[f"{at}: kappa"] = kappa if kappa is not None else "not known: only the largest eigenvalues were found"
            if kappa == math.inf:
                kept = int((kernel.eigenvalues > 1e-12 * kernel.eigenvalues[0]).sum())
                rows[f"{at}: kappa above 1e-12"] = f"{kernel.condition[1e-12]:.3g} ({kept} of {kernel.rows} kept)"
            rows[f"{at}: lambda max / mean"] = kernel.peak
            if self.target:
                rows[f"{at}: alignment A"] = kernel.alignment
                rows[f"{at}: energy in the top 10 %"] = kernel.energy_at(0.1)
            shares = " ".join(f"{share:.2f}" for share in kernel.shares.values())
            rows[f"{at}: trace by layer"] = shares
        return rows


def analyse(subject: Subject, points: int = 576) -> KernelAnalysis:
    """Analyse the tangent kernel at every recorded moment.

    Args:
        subject: The subject.
        points: At most so many rows of the kernel.

    Returns:
        The kernels. Of several outputs it is the kernel of their projection on (1, .., 1)/sqrt(k).
    """
    sample = subject.sample(points)
    target = None
    if sample.values is not None:
        target = project(sample.values.double())[:, 0]
        target = target - target.mean()
        target = None if float(target.abs().max()) == 0 else target
    kernels = []
    for step in sorted(subject.states):
        with subject.at(step):
            kernels.append(kernel_at(subject, sample, target, step))
    return KernelAnalysis(sample.words, target is not None, tuple(kernels))


def kernel_at(subject: Subject, sample: Sample, target: Tensor | None, step: int, entries: int = ENTRIES) -> Kernel:
    """Analyse the kernel of the field as it stands.

    Args:
        subject: The subject.
        sample: Points.
        target: ``(n,)``, or None.
        step: For the record.
        entries: Largest Jacobian with which the kernel is formed.

    Returns:
        The kernel.
    """
    params, function = subject.parameters(), subject.function()
    n = len(sample.points)
    formed = n * sum(p.numel() for p in params.values()) <= entries
    alignment, condition = math.nan, {}
    if formed:
        parts = ntk_by_parameter(function, params, sample.points)
        kernel = torch.stack(list(parts.values())).sum(0)
        values, vectors = torch.linalg.eigh(kernel)
        values, vectors = values.flip(0), vectors.flip(1)
        traces = {name: float(part.trace()) for name, part in parts.items()}
        condition = {cutoff: _condition(values, cutoff) for cutoff in CUTOFFS}
        alignment = kernel_alignment(kernel, target) if target is not None else math.nan
    else:
        product = NTKProduct(lambda theta: function(unflatten(theta, params), sample.points)[:, 0], flatten(params))
        values, vectors = top_eigenpairs(product, n, min(TOP, n - 1), generator(0, "lanczos"))
        traces = ntk_traces(function, params, sample.points)
        if target is not None:
            size = product.frobenius(PROBES, generator(0, "probes"))
            alignment = float(target @ product(target)) / (size * float(target @ target))
    energy = captured_energy(vectors, target) if target is not None else torch.zeros(0)
    total = sum(traces.values())
    shares: dict[str, float] = {}
    for name, trace in traces.items():
        layer = layer_of(name)
        shares[layer] = shares.get(layer, 0.0) + trace / total
    return Kernel(step, n, formed, values, total / n, condition, alignment, energy, shares)


def layer_of(name: str) -> str:
    """Return the layer that a parameter belongs to: ``body.0.linear`` for its weight and bias, however factorized."""
    return name.split(".parametrizations.")[0].removesuffix(".weight").removesuffix(".bias")


def _condition(values: Tensor, cutoff: float) -> float:
    kept = values if cutoff == 0.0 else values[values > cutoff * values[0]]
    smallest = float(kept[-1]) if len(kept) else 0.0
    return float(values[0]) / smallest if smallest > 0 else math.inf


def figure(result: KernelAnalysis) -> "Figure":
    """Draw the spectra, the energy of the target, trends along training and the share of each layer.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure.
    """
    drawn = new_figure(9.0, 6.4)
    spectrum, energy, trend, layers = drawn.subplots(2, 2).flat
    first = result.kernels[0]
    for kernel in result.kernels:
        index = torch.arange(1, len(kernel.eigenvalues) + 1)
        shown = kernel.eigenvalues.clamp_min(1e-17 * float(kernel.eigenvalues[0])) / kernel.mean
        spectrum.loglog(index, shown, label=f"step {kernel.step}")
        if result.target:
            energy.semilogx(index, kernel.energy, label=f"step {kernel.step}")
    spectrum.set(title="eigenvalues / mean", xlabel="index", ylabel="lambda / (trace / n)")
    spectrum.legend(fontsize="small")
    energy.set(title="energy of the target in the top k", xlabel="k", ylim=(0, 1.02))
    if not result.target:
        energy.text(0.5, 0.5, "this problem has no target", ha="center", transform=energy.transAxes)
    steps = [kernel.step for kernel in result.kernels]
    trend.semilogy(steps, [kernel.peak for kernel in result.kernels], "o-", label="lambda max / mean")
    if first.formed:
        trend.semilogy(steps, [kernel.condition[0.0] for kernel in result.kernels], "s-", label="kappa, all kept")
        trend.semilogy(
            steps, [kernel.condition[1e-4] for kernel in result.kernels], "v:", label="kappa, cut-off 1e-4", alpha=0.6
        )
    if result.target:
        trend.semilogy(steps, [kernel.alignment for kernel in result.kernels], "^-", label="alignment A")
    trend.set(title="along training", xlabel="step")
    legend_below(trend)
    names = list(first.shares)
    for i, kernel in enumerate(result.kernels):
        width = 0.8 / len(result.kernels)
        at = [j + (i - 0.5 * (len(result.kernels) - 1)) * width for j in range(len(names))]
        layers.bar(at, [kernel.shares[name] for name in names], width, label=f"step {kernel.step}")
    layers.set_xticks(range(len(names)), [str(i + 1) for i in range(len(names))])
    layers.set(title="share of the trace", xlabel="layer")
    head(drawn, f"empirical tangent kernel on {result.lattice}")
    return drawn
