"""Harmonics of an initial sine network: W3 sin(W2 sin(W1 x)) = 2 W3 sum over odd k of J_k(W2) sin(k W1 x).

Jacobi-Anger expansion and ratio lemma of the weight-scaling paper (Yeom, Lee & Lee, ICLR 2025, arXiv 2410.04779):
scaling W2 raises the harmonics against the fundamental, scaling W1 (omega_0) only stretches the frequency axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import jv

from nfsolve.fields import Sine
from nfsolve.fields.layers import Dense
from nfsolve.plot.panels import new_figure
from nfsolve.studies.analysis import signals
from nfsolve.studies.analysis.subject import NotApplicable, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHAS = (1.0, 1.5, 2.0, 2.5)
ORDERS = tuple(range(1, 16, 2))
SAMPLES = 256  # of one period: harmonics above 128 are below 1e-100 for the weights considered


@dataclass(frozen=True)
class Harmonics:
    """Harmonics of a width-1 network for one alpha.

    Attributes:
        alpha: Factor on W1 and W2.
        w2: alpha W2.
        expansion: 2 |J_k(W2)| for the odd orders k.
        measured: The same by FFT of the network.
        ratios: J_{k+2} / J_k for the orders but the last.
        identity_error: Largest difference between the network and its expansion.
    """

    alpha: float
    w2: float
    expansion: np.ndarray
    measured: np.ndarray
    ratios: np.ndarray
    identity_error: float


@dataclass(frozen=True)
class BesselAnalysis:
    """The check, and where the field under study stands.

    Attributes:
        harmonics: One for each alpha.
        valid: Order k -> largest W2 up to which W2^2/((2k+2)(2k+4)) < J_{k+2}/J_k < W2^2/((2k+1)(2k+3)).
        field_w2: sqrt2 times the sd of what the weights of the second layer contribute to its phases, without the
            biases: the W2 of a width-1 network whose phases vary as much.
        field_ratios: J_3/J_1 and so on there.
    """

    harmonics: tuple[Harmonics, ...]
    valid: dict[int, float]
    field_w2: float
    field_ratios: np.ndarray

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        rows: dict[str, Any] = {"identity, largest error": max(h.identity_error for h in self.harmonics)}
        rows["FFT against J_k, largest error"] = max(
            float(np.abs(h.expansion - h.measured).max()) for h in self.harmonics
        )
        for h in self.harmonics:
            rows[f"width 1, alpha {h.alpha:g}: J3/J1 J5/J3 at W2 = {h.w2:.3g}"] = _pair(h.ratios)
        rows["ratio lemma holds for W2 up to"] = " ".join(f"{v:.3f} (k={k})" for k, v in self.valid.items())
        rows["initial field: equivalent W2"] = self.field_w2
        rows["initial field: J3/J1 J5/J3"] = _pair(self.field_ratios)
        return rows


def network(x: np.ndarray, w1: float, w2: float, w3: float) -> np.ndarray:
    """Return W3 sin(W2 sin(W1 x))."""
    return w3 * np.sin(w2 * np.sin(w1 * x))


def expansion(x: np.ndarray, w1: float, w2: float, w3: float, orders: Sequence[int]) -> np.ndarray:
    """Return 2 W3 sum over k of J_k(W2) sin(k W1 x); the orders are positive and odd."""
    return 2 * w3 * sum((jv(k, w2) * np.sin(k * w1 * x) for k in orders), np.zeros_like(x))


def harmonics(w2: float, alpha: float = 1.0, orders: Sequence[int] = ORDERS) -> Harmonics:
    """Compare a width-1 network with its expansion.

    Args:
        w2: Hidden weight, before alpha.
        alpha: Factor on it.
        orders: Odd orders.

    Returns:
        The comparison; frequencies are in units of the fundamental, alpha W1.
    """
    scaled = alpha * w2
    x = 2 * math.pi * np.arange(SAMPLES) / SAMPLES
    values = network(x, 1.0, scaled, 1.0)
    measured = 2 * np.abs(np.fft.rfft(values))[list(orders)] / SAMPLES
    told = np.array([2 * abs(jv(k, scaled)) for k in orders])
    all_orders = range(1, SAMPLES // 2, 2)
    error = float(np.abs(values - expansion(x, 1.0, scaled, 1.0, all_orders)).max())
    return Harmonics(alpha, scaled, told, measured, ratios(scaled, orders), error)


def ratios(w2: float, orders: Sequence[int] = ORDERS) -> np.ndarray:
    """Return J_{k+2}(W2) / J_k(W2) for all orders but the last."""
    return np.array([jv(k + 2, w2) / jv(k, w2) for k in orders[:-1]])


def lemma_bounds(w2: np.ndarray | float, k: int) -> tuple[Any, Any]:
    """Return the two bounds of the ratio lemma."""
    square = np.square(w2)
    return square / ((2 * k + 2) * (2 * k + 4)), square / ((2 * k + 1) * (2 * k + 3))


def lemma_range(k: int, most: float = 8.0, step: float = 1e-3) -> float:
    """Find the largest W2 below which both bounds hold, to within a step."""
    w2 = np.arange(step, most, step)
    low, high = lemma_bounds(w2, k)
    ratio = jv(k + 2, w2) / jv(k, w2)
    fails = ~((low < ratio) & (ratio < high) & (w2 > 0.05))  # below, the three agree to rounding
    fails &= w2 > 0.05
    return float(w2[int(fails.argmax()) - 1]) if fails.any() else most


def analyse(subject: Subject) -> BesselAnalysis:
    """Check identity and lemma, and place the initial field.

    Args:
        subject: The subject; its earliest moment counts.

    Returns:
        The check.

    Raises:
        NotApplicable: The field has no two sine layers one behind the other.
    """
    layers = [module for module in subject.field.modules() if isinstance(module, Dense)]
    if len(layers) < 2 or not all(isinstance(layer.activation, Sine) for layer in layers[:2]):
        raise NotApplicable("the field has no two sine layers one behind the other")
    points = subject.sample(1024).points
    with subject.at(min(subject.states)) as field:
        first, second = signals.layers_of(field, lambda f: f(points).mean())[:2]
    base = math.sqrt(2 * (1 - math.exp(-2 * first.spread**2)))  # what alpha 1 would give
    equivalent = second.alpha * base
    return BesselAnalysis(
        tuple(harmonics(base, alpha) for alpha in ALPHAS),
        {k: lemma_range(k) for k in (1, 3, 5)},
        equivalent,
        ratios(equivalent),
    )


def _pair(values: np.ndarray) -> str:
    return " ".join(f"{v:.3g}" for v in values[:2])


def figure(result: BesselAnalysis) -> "Figure":
    """Draw the harmonics for each alpha, for frequency scaling, and the ratio lemma.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure.
    """
    drawn = new_figure(15.0, 4.2)
    scaled, stretched, lemma = drawn.subplots(1, 3)
    for i, h in enumerate(result.harmonics):
        label = f"alpha {h.alpha:g}, W2 = {h.w2:.2f}"
        at = [k * h.alpha for k in ORDERS]
        scaled.semilogy(at, h.expansion, "-", lw=0.8, color=f"C{i}", label=label)
        scaled.semilogy(at, h.measured, "o", ms=5, color=f"C{i}")
        stretched.semilogy(
            at, result.harmonics[0].expansion, "o-", lw=0.8, color=f"C{i}", label=f"omega_0 x {h.alpha:g}"
        )
    for axes, title in ((scaled, "weights x alpha (line: Bessel, dots: FFT)"), (stretched, "omega_0 x alpha only")):
        axes.set(title=title, xlabel="frequency / W1", ylabel="amplitude", ylim=(1e-8, 3), xlim=(0, 20))
        axes.legend(fontsize="small")
    w2 = np.linspace(0.01, 4.0, 400)
    for i, k in enumerate(result.valid):
        low, high = lemma_bounds(w2, k)
        ratio = jv(k + 2, w2) / jv(k, w2)
        lemma.semilogy(w2, np.where(ratio > 0, ratio, np.nan), color=f"C{i}", label=f"J{k + 2}/J{k}")
        lemma.fill_between(w2, low, high, color=f"C{i}", alpha=0.2)
        lemma.axvline(result.valid[k], color=f"C{i}", lw=0.8, ls=":")
    lemma.axvline(result.field_w2, color="k", lw=1, label="initial field")
    lemma.set(title="ratio lemma: bands, valid up to the dotted lines", xlabel="W2", ylim=(1e-4, 10), xlim=(0, 4))
    lemma.legend(fontsize="small")
    return drawn
