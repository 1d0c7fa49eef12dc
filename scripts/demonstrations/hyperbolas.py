"""The loss in the (s, v) plane of random weight factorization, w = s v: level sets are hyperbolas.

Wang, Wang, Seidman & Perdikaris, arXiv 2210.01274; theorems as in the Expert's Guide, arXiv 2308.08468, appendix B.
Gradient flow conserves s^2 - |v|^2. One step of gradient descent on (s, v) moves the row w = s v by

    -eta (s^2 I + v v^T) G + eta^2 s (v . G) G,    G = dL/dw,

exactly; the paper prints |v|^2 in the place of v v^T, which is right only where G is parallel to v.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from nfsolve._core.random import generator
from nfsolve.fields.factorize import RowScale
from nfsolve.plot.panels import new_figure
from nfsolve.studies.analysis.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

START, MINIMA = 0.6, (-1.0, 2.0)  # first w, and the minima of the loss
MEANS = (0.0, 0.5, 1.0)  # mu of s = e^mu
ETA, STEPS = 1e-3, 4000
SIZE, SQUARE = 64, 1.25  # of the row on which the induced step is measured: entries, |w|^2


@dataclass(frozen=True)
class Path:
    """Gradient descent in the (s, v) plane.

    Attributes:
        mean: mu; the path starts at s = e^mu, v = w / s.
        s: Along the path.
        v: Along the path.
        drift: Largest change of s^2 - v^2.
        drift_tenth: The same over the same time at a tenth of the step size.
        steps_to_solution: Until w is within 1 % of its minimum, or -1.
    """

    mean: float
    s: np.ndarray
    v: np.ndarray
    drift: float
    drift_tenth: float
    steps_to_solution: int


@dataclass(frozen=True)
class Induced:
    """The step that one step of gradient descent on (s, v) makes in w.

    Attributes:
        mean: mu.
        multiplier: s^2.
        rank_one: |v|^2, the eigenvalue that v v^T adds along v.
        corrected: Relative error of -eta (s^2 I + v v^T) G.
        printed: Relative error of -eta (s^2 + |v|^2) G.
        exact: Relative error with the second-order term.
    """

    mean: float
    multiplier: float
    rank_one: float
    corrected: float
    printed: float
    exact: float


@dataclass(frozen=True)
class HyperbolaAnalysis:
    """The plane, the steps, and the invariants of a factorized field.

    Attributes:
        paths: One for each mu.
        induced: One for each mu, on a row of 64 entries.
        distances: Radius -> distance between the solution sets s v = -1 and s v = 2 with 0 < s <= radius.
        invariants: Layer -> largest relative change of s^2 - |v|^2 between the first and the last moment; empty
            where the field is not factorized, or not trained.
        multipliers: Layer -> mean of s^2 at the last moment.
    """

    paths: tuple[Path, ...]
    induced: tuple[Induced, ...]
    distances: dict[float, float]
    invariants: dict[str, float]
    multipliers: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        rows: dict[str, Any] = {}
        for path in self.paths:
            told = f"{path.drift:.2e}, {path.drift_tenth:.2e} at a tenth"
            rows[f"s = e^{path.mean:g}: drift of s^2 - v^2 at eta {ETA:g}"] = told
            rows[f"s = e^{path.mean:g}: steps to within 1 % of the minimum"] = path.steps_to_solution
        for step in self.induced:
            told = f"s^2 {step.multiplier:.3g}; corrected {step.corrected:.1e}, printed {step.printed:.2g}"
            rows[f"s = e^{step.mean:g}: induced step, relative error at eta 1e-5"] = told
        told = ", ".join(f"{distance:.3g} (0 < s <= {radius:g})" for radius, distance in self.distances.items())
        rows["distance between solution sets"] = told
        for layer, change in self.invariants.items():
            rows[f"{layer}: relative change of s^2 - |v|^2"] = change
        for layer, mean in self.multipliers.items():
            rows[f"{layer}: mean s^2"] = mean
        if not self.multipliers:
            rows["this field"] = "not factorized; --factorization rwf shows its own invariants"
        return rows


def loss(w: Any) -> Any:
    """Return a scalar loss with two minima, (w + 1)^2 (w - 2)^2 / 8."""
    return (w - MINIMA[0]) ** 2 * (w - MINIMA[1]) ** 2 / 8


def slope(w: Any) -> Any:
    """Return its derivative."""
    a, b = MINIMA
    return (w - a) * (w - b) * (2 * w - a - b) / 4


def descend(mean: float, eta: float = ETA, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Descend in (s, v) from s = e^mean and w = START.

    Args:
        mean: mu.
        eta: Step size.
        steps: Number of steps.

    Returns:
        s and v, ``(steps + 1,)`` each.
    """
    s, v = np.empty(steps + 1), np.empty(steps + 1)
    s[0] = math.exp(mean)
    v[0] = START / s[0]
    for i in range(steps):
        g = slope(s[i] * v[i])
        s[i + 1], v[i + 1] = s[i] - eta * g * v[i], v[i] - eta * g * s[i]
    return s, v


def path(mean: float) -> Path:
    """Descend at the step size and at a tenth of it, and measure the drift of the invariant."""
    s, v = descend(mean)
    drift, tenth = _drift(s, v), _drift(*descend(mean, ETA / 10, 10 * STEPS))
    near = np.abs(s * v - MINIMA[1]) < 0.01 * MINIMA[1]
    return Path(mean, s, v, drift, tenth, int(near.argmax()) if near.any() else -1)


def _drift(s: np.ndarray, v: np.ndarray) -> float:
    invariant = s**2 - v**2
    return float(np.abs(invariant - invariant[0]).max())


def induced_step(mean: float, generator: Generator, eta: float = 1e-5) -> Induced:
    """Measure one step of gradient descent on (s, v) in w, with automatic differentiation, against both formulas.

    Args:
        mean: mu.
        generator: CPU generator of w and of the gradient.
        eta: Step size.

    Returns:
        The comparison, on a row of 64 entries with |w|^2 = 1.25 and a linear loss, whose gradient is G.
    """
    w, g = torch.randn(2, SIZE, generator=generator, dtype=torch.float64)
    w = w * math.sqrt(SQUARE) / w.norm()
    s = torch.tensor(math.exp(mean), dtype=torch.float64, requires_grad=True)
    v = (w / s.detach()).requires_grad_()
    ds, dv = torch.autograd.grad((s * v) @ g, (s, v))
    with torch.no_grad():
        step = (s - eta * ds) * (v - eta * dv) - s * v
        corrected = -eta * (s**2 * g + v * (v @ g))
        printed = -eta * (s**2 + v @ v) * g
        exact = corrected + eta**2 * s * (v @ g) * g
        first, second, third = (float((step - told).norm() / step.norm()) for told in (corrected, printed, exact))
        return Induced(mean, float(s**2), float(v @ v), first, second, third)


def set_distance(first: float, second: float, radius: float) -> float:
    """Return the distance between the hyperbolas s v = first and s v = second with 0 < s <= radius.

    Args:
        first: Product on one.
        second: Product on the other.
        radius: Largest s.

    Returns:
        The least distance of points on a fine grid of s; it falls like
        |first - second| / radius, which is theorem 1.
    """
    s = np.geomspace(1e-3 * radius, radius, 1500)
    a, b = np.stack([s, first / s]), np.stack([s, second / s])
    return float(np.sqrt(((a[:, :, None] - b[:, None, :]) ** 2).sum(0)).min())


def invariants(field: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return s^2 - |v|^2 and s^2 of every factorized row, by layer."""
    found = {}
    for name, module in field.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            made: Any = module.parametrizations["weight"]  # type: ignore[index]
            if isinstance(made[0], RowScale) and not made[0].log:
                s, v = made.original0.detach(), made.original1.detach()
                found[name] = (s.square() - v.square().sum(1), s.square())
    return found


def analyse(subject: Subject | None = None) -> HyperbolaAnalysis:
    """Analyse the scalar plane, the induced step of a row, and the invariants of the subject's own factors.

    Args:
        subject: The subject, or None.

    Returns:
        The analysis.
    """
    changes: dict[str, float] = {}
    multipliers: dict[str, float] = {}
    if subject is not None:
        with subject.at(min(subject.states)) as field:
            before = invariants(field)
        with subject.at(subject.last) as field:
            after = invariants(field)
        multipliers = {name: float(square.mean()) for name, (_, square) in after.items()}
        if len(subject.states) > 1:
            changes = {
                name: float((after[name][0] - kept).abs().max() / kept.abs().mean())
                for name, (kept, _) in before.items()
            }
    return HyperbolaAnalysis(
        tuple(path(mean) for mean in MEANS),
        tuple(induced_step(mean, generator(0, "induced step")) for mean in MEANS),
        {radius: set_distance(*MINIMA, radius) for radius in (2.0, 10.0, 100.0)},
        changes,
        multipliers,
    )


def figure(result: HyperbolaAnalysis) -> "Figure":
    """Draw level sets and paths, the drift of the invariant, and w over the steps.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure.
    """
    drawn = new_figure(15.0, 4.6)
    plane, drift, product = drawn.subplots(1, 3)
    s, v = np.meshgrid(np.linspace(-1.0, 4.0, 400), np.linspace(-2.5, 2.5, 400))
    values = np.log10(loss(s * v) + 1e-3)
    plane.contourf(s, v, values, levels=24, cmap="Greys", vmax=values.max() * 1.5)
    line = np.linspace(0.05, 4.0, 300)
    for w in MINIMA:
        plane.plot(line, w / line, "k--", lw=1, label=f"solutions s v = {w:g}")
    plane.plot(-line[line < 1], MINIMA[0] / -line[line < 1], "k--", lw=1)
    for i, found in enumerate(result.paths):
        plane.plot(found.s, found.v, color=f"C{i}", lw=2, label=f"descent from s = e^{found.mean:g}")
        plane.plot(found.s[0], found.v[0], "o", color=f"C{i}")
        side = np.linspace(-2.5, 2.5, 300)
        kept = found.s[0] ** 2 - found.v[0] ** 2
        with_same = np.sqrt(np.maximum(kept + side**2, 0))
        plane.plot(with_same, side, ":", color=f"C{i}", lw=0.8)
        invariant = found.s**2 - found.v**2
        drift.plot(np.abs(invariant - invariant[0]), color=f"C{i}", label=f"s = e^{found.mean:g}")
        product.plot(found.s * found.v, color=f"C{i}", label=f"s = e^{found.mean:g}")
    plane.set(title="log loss; dotted: s^2 - v^2 conserved", xlabel="s", ylabel="v", xlim=(-1, 4), ylim=(-2.5, 2.5))
    plane.legend(fontsize="small", loc="lower right")
    drift.set(title=f"drift of s^2 - v^2, eta {ETA:g}", xlabel="step", yscale="log", ylim=(1e-9, None))
    product.set(title="w = s v", xlabel="step", xlim=(0, 1500))
    product.axhline(MINIMA[1], color="k", ls="--", lw=1)
    for axes in (drift, product):
        axes.legend(fontsize="small")
    return drawn
