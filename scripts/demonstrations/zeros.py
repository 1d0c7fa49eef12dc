"""How many entries of a Hessian-vector product are zero, beside those of the gradient, by layer and activation.

Chng, Saratchandran & Lucey, CVPR 2025, arXiv 2402.08784, theorems 4.2 and 4.3 and figure 3, say H v is dense for sine,
Gaussian and wavelet fields and sparse for ReLU. Threshold and probe are not known there; here an entry counts as zero
where |h| <= tau max |h| of its layer, with one Rademacher probe. The zeros of the gradient stand beside it: where both
coincide they are dead units, which no optimizer moves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nfsolve._core.random import generator
from nfsolve.curvature import hessian_product
from nfsolve.fields import MLP, Gabor, Gaussian, Positional, ReLU, Sine
from nfsolve.plot.panels import new_figure
from nfsolve.problem.rows import row_count
from nfsolve.studies.analysis.hessian import train
from nfsolve.studies.analysis.ntk import layer_of
from nfsolve.studies.analysis.sample import Sample
from nfsolve.studies.analysis.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAUS = (0.0, 1e-6, 1e-4)
BATCH = 512
WIDTH, DEPTH = 64, 3  # of the networks that are compared by activation
MOST_STEPS = 300
RATE = 1e-3
NETWORKS: dict[str, dict[str, Any]] = {
    "sine": {"activation": Sine(30.0)},
    "Gaussian": {"activation": Gaussian(20.0)},
    "wavelet": {"activation": Gabor(10.0, 10.0)},
    "ReLU+PE": {"activation": ReLU(), "encoding": Positional(8)},
}


@dataclass(frozen=True)
class Zeros:
    """Fractions of zeros at one moment.

    Attributes:
        name: Which network.
        step: Step of training.
        product: tau -> fraction of zeros of H v over all parameters.
        gradient: The same for the gradient.
        layers: Layer -> fraction of exact zeros of H v.
        both: Share of the exact zeros of H v that are zeros of the gradient too; 1 where there are none.
    """

    name: str
    step: int
    product: dict[float, float]
    gradient: dict[float, float]
    layers: dict[str, float]
    both: float


@dataclass(frozen=True)
class ZeroAnalysis:
    """Fractions of zeros.

    Attributes:
        loss: Which loss, in words.
        rows: One for each network and moment.
    """

    loss: str
    rows: tuple[Zeros, ...]

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        table: dict[str, Any] = {"loss": self.loss}
        for row in self.rows:
            parts = (f"{tau:g}: {row.product[tau]:.4f} / {row.gradient[tau]:.4f}" for tau in TAUS)
            table[f"{row.name}, step {row.step}: zeros of H v / gradient, tau"] = ", ".join(parts)
        return table


def zero_fractions(
    name: str, step: int, loss: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter], seed: int = 0
) -> Zeros:
    """Count the zeros of one Hessian-vector product and of the gradient.

    Args:
        name: For the record.
        step: For the record.
        loss: Gives the scalar loss with its graph.
        parameters: Parameter name -> parameter.
        seed: Of the Rademacher probe.

    Returns:
        The fractions.
    """
    signs = generator(seed, "probe")
    leaves = list(parameters.values())
    probes = [2.0 * torch.randint(2, p.shape, generator=signs).to(p) - 1.0 for p in leaves]
    found = hessian_product(loss, leaves, probes)
    grouped: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for key, h, g in zip(parameters, found.product, found.gradient, strict=True):
        grouped.setdefault(layer_of(key), []).append((h.reshape(-1), g.reshape(-1)))
    layers = {
        key: (torch.cat([h for h, _ in parts]), torch.cat([g for _, g in parts])) for key, parts in grouped.items()
    }
    size = sum(len(h) for h, _ in layers.values())
    product = {tau: sum(int(_small(h, tau).sum()) for h, _ in layers.values()) / size for tau in TAUS}
    gradient = {tau: sum(int(_small(g, tau).sum()) for _, g in layers.values()) / size for tau in TAUS}
    exact = sum(int((h == 0).sum()) for h, _ in layers.values())
    shared = sum(int(((h == 0) & (g == 0)).sum()) for h, g in layers.values())
    by_layer = {key: float((h == 0).double().mean()) for key, (h, _) in layers.items()}
    return Zeros(name, step, product, gradient, by_layer, shared / exact if exact else 1.0)


def _small(entries: Tensor, tau: float) -> Tensor:
    return entries.abs() <= tau * entries.abs().max()


def analyse(subject: Subject, steps: int | None = None) -> ZeroAnalysis:
    """Count zeros of the subject along training, and of one network for each activation on the same data.

    Args:
        subject: The subject.
        steps: Steps of Adam for the networks compared by activation; None takes the subject's, at most 300.

    Returns:
        The fractions; networks by activation only where the problem has given values.
    """
    steps = min(subject.last, MOST_STEPS) if steps is None else steps
    objective = subject.objective
    named = {name: p for name, p in objective.system.named_parameters() if p.requires_grad}
    rows = []
    for step in sorted(subject.states):
        with subject.at(step):
            rows.append(zero_fractions("this problem", step, objective.loss, named))
    words = f"this problem's on {_size(objective.batch)}"
    sample = subject.sample()
    if sample.values is not None:
        for name, options in NETWORKS.items():
            rows += _by_activation(name, options, subject, sample, steps)
        words += f"; by activation: mean squared error on {BATCH} of {sample.words}, MLP {WIDTH} x {DEPTH}, Adam"
    return ZeroAnalysis(words, tuple(rows))


def _by_activation(name: str, options: dict[str, Any], subject: Subject, sample: Sample, steps: int) -> list[Zeros]:
    values = sample.values
    assert values is not None
    outputs = tuple(f"u{i}" for i in range(values.shape[1]))
    field = MLP(subject.problem.domain, outputs, width=WIDTH, depth=DEPTH, dtype=torch.float64, **options)
    draws = generator(0, "batches")
    batch: list[Tensor] = [sample.points[:BATCH], values[:BATCH]]

    def resample() -> None:
        index = torch.randint(len(sample.points), (BATCH,), generator=draws)
        batch[:] = [sample.points[index], values[index]]

    def loss() -> Tensor:
        return (field(batch[0]) - batch[1]).square().mean()

    def closure() -> Tensor:
        resample()
        for p in field.parameters():
            p.grad = None
        value = loss()
        value.backward()
        return value.detach()

    named = dict(field.named_parameters())
    resample()
    rows = [zero_fractions(name, 0, loss, named)]
    if steps:
        train(closure, list(field.parameters()), steps, RATE)
        rows.append(zero_fractions(name, steps, loss, named))
    return rows


def _size(batch: dict[str, Any]) -> str:
    sizes = [n for n in map(row_count, batch.values()) if n is not None]
    return f"{sum(sizes)} points" if sizes else "its first draw"


def figure(result: ZeroAnalysis) -> "Figure":
    """Draw the fractions by network and by layer.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure.
    """
    drawn = new_figure(14.0, 4.2)
    cells = drawn.subplots(1, 2, width_ratios=(3, 2))
    rows = result.rows
    width = 0.8 / (2 * len(TAUS))
    for i, tau in enumerate(TAUS):
        for j, (key, alpha) in enumerate((("product", 1.0), ("gradient", 0.4))):
            at = [k + (2 * i + j - len(TAUS) + 0.5) * width for k in range(len(rows))]
            heights = [getattr(row, key)[tau] for row in rows]
            label = f"{'H v' if j == 0 else 'gradient'}, tau {tau:g}"
            cells[0].bar(at, heights, width, color=f"C{i}", alpha=alpha, label=label)
    cells[0].set_xticks(range(len(rows)), [f"{row.name}\nstep {row.step}" for row in rows], fontsize=7)
    cells[0].set(
        title="fraction of entries with |h| <= tau max |h| of the layer", ylim=(0, 1.3 * cells[0].get_ylim()[1])
    )
    cells[0].legend(fontsize="small", ncols=3)
    for k, row in enumerate(rows):
        values = list(row.layers.values())
        style = "-" if row.step else ":"
        cells[1].plot(
            range(1, len(values) + 1), values, f"o{style}", ms=4, color=f"C{k}", label=f"{row.name}, {row.step}"
        )
    cells[1].set(title="exact zeros of H v by layer", xlabel="layer")
    cells[1].legend(fontsize=6, title="network, step", title_fontsize=6)
    drawn.suptitle(f"zeros: {result.loss}", fontsize="small")
    return drawn
