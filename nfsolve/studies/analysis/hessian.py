"""Condition number of the Hessian before and after diagonal preconditioning, on a regression in one dimension.

Chng, Saratchandran & Lucey, CVPR 2025, arXiv 2402.08784, theory figure: D^E (norms of the rows) against D^J (absolute
diagonal). Their network and signal are not known; here both are stated, in float64, with `eigvalsh`, at several
relative cut-offs. In float32 the smallest eigenvalue of an over-parameterised network is rounding, and kappa means
nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import Conditioning, LeastSquares, conditioning, hessian_matrix, preconditioned, row_norms
from nfsolve.domains import Box
from nfsolve.fields import MLP, Gabor, Gaussian, Positional, ReLU, Sine
from nfsolve.plot.panels import head, new_figure
from nfsolve.studies.analysis.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 3000  # parameters of a network whose Hessian is formed
OWN_MOST = 800  # parameters of the problem's own network whose Hessian is formed as well
QUOTED = 1e-8  # cut-off of the table
STEPS, RATE = 300, 1e-3
TONES = ((1.0, 1.0, 0.3), (3.0, 0.6, 1.1), (8.0, 0.3, 2.0))  # cycles on [-1, 1], amplitude, phase
NETWORKS: dict[str, dict[str, Any]] = {
    "sine": {"activation": Sine(30.0)},
    "Gaussian": {"activation": Gaussian(5.0)},
    "wavelet": {"activation": Gabor(10.0, 5.0)},
    "ReLU+PE": {"activation": ReLU(), "encoding": Positional(6)},
}


@dataclass(frozen=True)
class Hessian:
    """One network at one moment.

    Attributes:
        name: Which network.
        moment: ``"initial"``, or how it was trained.
        parameters: Their number.
        loss: Loss at this moment.
        plain: Of H.
        equilibrated: Of D^{-1/2} H D^{-1/2} with D^E.
        jacobi: The same with D^J.
        gauss_newton: Of 2 J^T J.
    """

    name: str
    moment: str
    parameters: int
    loss: float
    plain: Conditioning
    equilibrated: Conditioning
    jacobi: Conditioning
    gauss_newton: Conditioning


@dataclass(frozen=True)
class HessianAnalysis:
    """Hessians of several networks.

    Attributes:
        task: The regression, in words.
        hessians: One for each network and moment.
        missing: Why the problem's own Hessian is not among them; may be empty.
    """

    task: str
    hessians: tuple[Hessian, ...]
    missing: str = ""

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the table: kappa at a cut-off, and largest over median eigenvalue."""
        rows: dict[str, Any] = {"task": self.task}
        for h in self.hessians:
            at = f"{h.name}, {h.moment}, {h.parameters} parameters"
            parts = {"H": h.plain, "D^E": h.equilibrated, "D^J": h.jacobi}
            kappas = [f"{k} {c.condition[QUOTED]:.2g} ({c.kept[QUOTED]})" for k, c in parts.items()]
            kappas += [f"Gauss-Newton {h.gauss_newton.condition[QUOTED]:.2g} ({h.gauss_newton.kept[QUOTED]})"]
            rows[f"{at}: kappa above {QUOTED:g} (kept)"] = ", ".join(kappas)
            told = (f"{k} {c.median_ratio:.2g}, {c.effective_rank:.0f}" for k, c in parts.items())
            rows[f"{at}: largest / median, effective rank"] = "; ".join(told)
        if self.missing:
            rows["this problem"] = self.missing
        return rows


def signal(x: Tensor) -> Tensor:
    """Return the target of the regression, three tones, at ``(n, 1)``."""
    return sum((a * torch.sin(math.pi * f * x + p) for f, a, p in TONES), torch.zeros_like(x))


def hessian_of(name: str, moment: str, objective: LeastSquares) -> Hessian:
    """Analyse the Hessian of a sum of squares at its current parameters.

    Args:
        name: For the record.
        moment: For the record.
        objective: The loss.

    Returns:
        The analysis.

    Raises:
        InputError: More than 3000 parameters.
    """
    theta = objective.theta()
    if len(theta) > MOST:
        raise InputError(
            f"A Hessian is formed for at most {MOST} parameters, got {len(theta)}", do="take a smaller network"
        )
    matrix = hessian_matrix(objective.loss, objective.parameters)
    residual, jacobian = objective.jacobian(theta)
    return Hessian(
        name,
        moment,
        len(theta),
        float(residual.square().sum()),
        conditioning(matrix),
        conditioning(preconditioned(matrix, row_norms(matrix))),
        conditioning(preconditioned(matrix, matrix.diagonal().abs())),
        conditioning(2 * jacobian.T @ jacobian),
    )


def regression(field: nn.Module, points: int = 128) -> LeastSquares:
    """Return the mean squared error of a field on [-1, 1] to `signal`.

    Args:
        field: One coordinate, one output.
        points: Number of equidistant points.

    Returns:
        The objective.
    """
    like = next(field.parameters())
    x = torch.linspace(-1, 1, points, dtype=like.dtype)[:, None]
    y = signal(x)
    scale = 1 / math.sqrt(points)

    def residual(params: dict[str, Tensor]) -> Tensor:
        return scale * (torch.func.functional_call(field, params, (x,)) - y)

    return LeastSquares(residual, dict(field.named_parameters()))


def train(objective: Callable[[], Tensor], parameters: list[nn.Parameter], steps: int, rate: float = RATE) -> None:
    """Take some steps of Adam."""
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for _ in range(steps):
        objective()
        optimizer.step()


def analyse(subject: Subject | None = None, width: int = 12, depth: int = 3, steps: int = STEPS) -> HessianAnalysis:
    """Analyse reference networks, one with the parts of the subject's, and the subject itself where it is small.

    Args:
        subject: The subject, or None for the references only.
        width: Width of the networks.
        depth: Their hidden layers.
        steps: Steps of Adam between the two moments.

    Returns:
        The analysis.

    Raises:
        InputError: A network with too many parameters.
    """
    kinds = dict(NETWORKS)
    parts = parts_of(subject)
    if parts:
        kinds = {"this field's kind": parts} | kinds
    found = []
    for name, options in kinds.items():
        field = MLP(Box(x=(-1, 1)), width=width, depth=depth, dtype=torch.float64, **options)
        objective = regression(field)
        found.append(hessian_of(name, "initial", objective))
        train(objective, objective.parameters, steps)
        found.append(hessian_of(name, f"after {steps} steps", objective))
    size = 0 if subject is None else sum(p.numel() for p in subject.objective.parameters)
    missing = f"not formed: {size:,} parameters, and at most {OWN_MOST} are taken" if size > OWN_MOST else ""
    if subject is not None and not missing:
        for step in sorted(subject.states):
            with subject.at(step):
                found.append(hessian_of("this problem", f"step {step}", subject.objective))
    tones = " + ".join(f"{a:g} sin(pi {f:g} x + {p:g})" for f, a, p in TONES)
    task = f"mean squared error to {tones} at 128 points of [-1, 1], MLP {width} x {depth}, Adam {RATE:g}"
    return HessianAnalysis(task, tuple(found), missing)


def parts_of(subject: Subject | None) -> dict[str, Any]:
    """Return activation, encoding and initialisation of a subject's MLP; empty where it is built otherwise."""
    maker = getattr(subject, "maker", None)
    if not isinstance(maker, partial) or maker.func is not MLP:
        return {}
    return {key: v for key, v in maker.keywords.items() if key in ("activation", "encoding", "init") and v is not None}


def figure(result: HessianAnalysis) -> "Figure":
    """Draw the spectra: H, preconditioned, and Gauss-Newton, a column for each network.

    Args:
        result: What `analyse` gave.

    Returns:
        The figure; initial on top, trained below.
    """
    names = list(dict.fromkeys(h.name for h in result.hessians))
    columns = {name: [h for h in result.hessians if h.name == name] for name in names}
    shown = {name: [rows[0], rows[-1]] if len(rows) > 1 else rows for name, rows in columns.items()}
    drawn = new_figure(3.4 * len(names), 10.4)
    axes = drawn.subplots(2, len(names), squeeze=False, sharey=True)
    styles = (("H", "plain", "k:"), ("D^E", "equilibrated", "C0-"), ("D^J", "jacobi", "C1-"))
    for j, name in enumerate(names):
        for i in range(2):
            cell = axes[i, j]
            if i >= len(shown[name]):
                cell.axis("off")
                continue
            h = shown[name][i]
            for label, key, style in (*styles, ("GN", "gauss_newton", "C2--")):
                c: Conditioning = getattr(h, key)
                index = torch.arange(1, len(c.spectrum) + 1) / len(c.spectrum)
                told = f"{label}: {c.condition[QUOTED]:.1e} ({c.kept[QUOTED]})"
                cell.semilogy(index, (c.spectrum / c.largest).clamp_min(1e-20), style, lw=1.2, label=told)
            cell.axhline(QUOTED, color="0.8", lw=0.8)
            cell.set(title=f"{name},\n{h.moment},\nloss {h.loss:.2g}", ylim=(1e-18, 3))
            cell.title.set_fontsize("small")
            beside = {"fontsize": 7, "title_fontsize": 7, "loc": "upper center", "borderaxespad": 6.0}
            cell.legend(title=f"kappa above {QUOTED:g} (kept)", bbox_to_anchor=(0.5, 0.0), **beside)
    axes[0, 0].set_ylabel("|eigenvalue| / largest")
    axes[1, 0].set_ylabel("|eigenvalue| / largest")
    for cell in axes.flat:
        cell.set_xlabel("index / parameters")
    head(drawn, f"Hessian spectra: {result.task}")
    return drawn
