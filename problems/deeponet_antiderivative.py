"""The antiderivative as an operator, f -> s(x) = int_0^x f, on [0, 1], learned from pairs of functions.

f is a Gaussian random field with covariance exp(-(x - x')^2 / (2 l^2)), seen at equidistant sensors (Lu et
al., "Learning nonlinear operators via DeepONet", Nature Machine Intelligence 3 (2021), 1-D dynamic systems).
Each f is a Chebyshev series, so its integral, the label, is exact up to rounding at every x.

    nfsolve run deeponet_antiderivative
    nfsolve run deeponet_antiderivative --length 0.1
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Generator, Tensor

from nfsolve import Box, DeepONet, Problem, Recipe, Stage, main, plot
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator as seeded
from nfsolve.fields import GELU, Glorot
from nfsolve.problem import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LABEL_ERROR = 1e-13  # largest difference of the labels from 60-point Gauss-Legendre quadrature, relative


@dataclass
class Antiderivative(Problem):
    """The operator f -> s, ds/dx = f, s(0) = 0."""

    length: float = 0.2
    """correlation length l of the random functions"""
    sensors: int = 100
    """equidistant points of [0, 1] at which the network sees f"""
    functions: int = 2000
    """training functions"""
    tests: int = 500
    """test functions"""
    batch: int = 100
    """functions in a mini-batch"""
    points: int = 100
    """points x in a mini-batch, new ones for each"""
    data_seed: int = 0
    """seed of the functions; test functions have a stream of their own"""

    domain = Box(x=(0, 1))
    score = "relative_l2"
    unknowns = "s"

    def __post_init__(self) -> None:
        if not 0.01 <= self.length <= 10:
            raise InputError(f"length = {self.length:g}", "a correlation length from 0.01 to 10")
        for name, least in {"functions": 1, "tests": 2, "batch": 1, "points": 1, "sensors": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}", f"at least {least}")

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Draw the functions; give them at the sensors, and their integrals as Chebyshev coefficients."""
        train = random_series(self.functions, self.length, seeded(self.data_seed, "train"))
        test = random_series(self.tests, self.length, seeded(self.data_seed, "test"))
        sensors = np.linspace(0, 1, self.sensors)
        x = np.linspace(0, 1, 201)
        arrays = {
            "f": values(train, sensors),
            "s": integral(train),
            "size": np.sqrt(np.mean(values(integral(train), x) ** 2, 1, keepdims=True)),
            "test_f": values(test, sensors),
            "test_x": x[:, None],
        }
        data = {name: torch.from_numpy(array).to(device, dtype) for name, array in arrays.items()}
        # The truth keeps all its digits, whatever the type of the field.
        return data | {"test_s": torch.from_numpy(values(integral(test), x)).to(device)}

    def draw(self, data: Batch, generator: Generator) -> Batch:
        """Pick functions and points; the labels are evaluated at these points."""
        f = data["f"]
        rows = torch.randint(len(f), (self.batch,), generator=generator).to(f.device)
        x = torch.rand(self.points, 1, generator=generator, dtype=torch.float64)
        order = torch.arange(data["s"].shape[1], dtype=torch.float64)
        basis = torch.cos(order * torch.acos(2 * x - 1)).to(f)
        return {"f": f[rows], "x": x.to(f), "s": data["s"][rows] @ basis.T, "size": data["size"][rows]}

    def residuals(self, field: Any, batch: Batch) -> dict[str, Tensor]:
        """Compare with the labels, relative to the size of each s, as in the score."""
        misfit = _on_grid(field, batch["f"], batch["x"])[..., 0] - batch["s"]
        return {"data": (misfit / batch["size"]).reshape(-1, 1)}

    def metrics(self, field: Any, data: Batch) -> dict[str, float]:
        """Score each test function by its relative L2 error on 201 points."""
        errors = self.errors(field, data)
        return {
            "relative_l2": float(errors.mean()),
            "relative_l2_std": float(errors.std()),
            "relative_l2_max": float(errors.max()),
            "reference_floor/s": LABEL_ERROR,
        }

    def errors(self, field: Any, data: Batch) -> Tensor:
        """Give the relative L2 error of each test function, ``(tests,)``."""
        with torch.no_grad():
            misfit = _on_grid(field, data["test_f"], data["test_x"])[..., 0] - data["test_s"]
        return (misfit.norm(dim=1) / data["test_s"].norm(dim=1)).cpu()

    def picture(self, field: Any, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw the best, the median and the worst test function, all errors, and the history."""
        errors = self.errors(field, data)
        order = errors.argsort()
        figure = plot.new_figure(14.0, 9.5)
        axes = figure.subplot_mosaic([list("abc"), list("def"), list("ghh")], height_ratios=[3, 2, 3])
        chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
        for (name, row), top, bottom in zip(chosen.items(), "abc", "def", strict=True):
            self._function_panels(axes[top], axes[bottom], field, data, int(row))
            axes[top].set_title(f"{name} of {len(order)} test functions: relative L2 {errors[row]:.1e}")
        axes["g"].hist(np.log10(errors.numpy()), bins=30, color="C0")
        axes["g"].axvline(math.log10(float(errors.mean())), color="k", ls="--")
        axes["g"].set(
            title=f"errors: mean {errors.mean():.2e}, max {errors.max():.2e}",
            xlabel="log10 of relative L2 error (dashed: mean)",
            ylabel="test functions",
        )
        plot.history_panel(axes["h"], history)
        return figure

    def _function_panels(self, top: Any, bottom: Any, field: Any, data: Batch, row: int) -> None:
        x, s, f = (plot.array(data[name]) for name in ("test_x", "test_s", "test_f"))
        u = plot.array(_on_grid(field, data["test_f"][row : row + 1], data["test_x"])[0, :, 0])
        top.plot(np.linspace(0, 1, self.sensors), f[row], color="0.6", lw=1, label="f, the input")
        top.plot(x[:, 0], s[row], color="k", lw=4, alpha=0.3, label="s, exact")
        top.plot(x[:, 0], u, color="C3", lw=1.2, label="s, predicted")
        top.legend(fontsize="small")
        bottom.plot(x[:, 0], u - s[row], color="C3")
        bottom.axhline(0, color="k", lw=0.5)
        bottom.set(xlabel="x", ylabel="predicted - exact")
        bottom.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))

    def recipe(self) -> Recipe:
        """Branch and trunk of three layers under Adam."""
        sizes = {"sensors": self.sensors, "width": 100, "depth": 3, "latent": 100}
        return Recipe(
            field=partial(DeepONet, **sizes, activation=GELU(), init=Glorot()),
            stages=(Stage(partial(torch.optim.Adam, lr=5e-3, fused=True), steps=15000, schedule="cosine"),),
            log_every=200,
        )


def _on_grid(field: Any, f: Tensor, x: Tensor) -> Tensor:
    if not hasattr(field, "on_grid"):
        raise InputError(f"a field of type {type(field).__name__}", "one that takes functions", "use DeepONet")
    return field.on_grid(f, x)


def random_series(n: int, length: float, generator: Generator) -> np.ndarray:
    """Draw Gaussian random functions as Chebyshev series on [0, 1].

    The values at Chebyshev nodes are V sqrt(lambda) z with V lambda V^T the covariance at the nodes. Between
    the nodes the series has the same covariance to 1e-12, because the covariance is analytic.

    Args:
        n: Number of functions.
        length: Correlation length l.
        generator: CPU generator.

    Returns:
        Coefficients ``(n, k)`` of T_0 .. T_(k-1) in 2 x - 1.
    """
    k = 24 + math.ceil(4.8 / length)
    nodes = chebyshev.chebpts1(k)
    covariance = np.exp(-((nodes[:, None] - nodes) ** 2) / (8 * length**2))
    variance, vectors = np.linalg.eigh(covariance)
    # Signs of eigenvectors are the linear algebra library's choice; without this a seed would depend on it.
    vectors = vectors * np.sign(vectors[0])
    z = torch.randn(n, k, generator=generator, dtype=torch.float64).numpy()
    at_nodes = (z * np.sqrt(np.where(variance > 1e-14 * variance[-1], variance, 0))) @ vectors.T
    return np.linalg.solve(chebyshev.chebvander(nodes, k - 1), at_nodes.T).T


def integral(series: np.ndarray) -> np.ndarray:
    """Integrate series from x = 0, exactly: (n, k) -> (n, k + 1)."""
    return chebyshev.chebint(series, lbnd=-1, scl=0.5, axis=1)


def values(series: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Evaluate series (n, k) at points (m,) of [0, 1]: (n, m)."""
    return chebyshev.chebval(2 * x - 1, series.T)


if __name__ == "__main__":
    main(Antiderivative)
