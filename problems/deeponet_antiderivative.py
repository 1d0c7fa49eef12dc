"""The antiderivative as an operator, f -> s(x) = int_0^x f, on [0, 1], learned from pairs of functions.

f is a Gaussian random field with covariance exp(-(x - x')^2 / (2 l^2)), seen at equidistant sensors (Lu et
al., "Learning nonlinear operators via DeepONet", Nature Machine Intelligence 3 (2021), 1-D dynamic systems).
Each f is a sum of cosines and sines, so its integral, the label, is exact up to rounding at every x.

    nfsolve run deeponet_antiderivative
    nfsolve run deeponet_antiderivative --length 0.1
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve import Box, DeepONet, Problem, Recipe, Stage, main, plot
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator as seeded
from nfsolve.fields import GELU, Glorot
from nfsolve.functions import GaussianField, refuse_shared
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
        """Draw the functions; give them at the sensors, and by their coefficients."""
        space = GaussianField(self.length)
        train = space.draw(self.functions, seeded(self.data_seed, "train"))
        test = space.draw(self.tests, seeded(self.data_seed, "test"))
        sensors = torch.linspace(0, 1, self.sensors, dtype=torch.float64)[:, None]
        x = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
        arrays = {
            "f": space.evaluate(train, sensors),
            "c": train,
            "size": (train @ integrals(space, x).T).square().mean(1, keepdim=True).sqrt(),
            "test_f": space.evaluate(test, sensors),
            "test_x": x,
        }
        refuse_shared(arrays["f"], arrays["test_f"])
        data = {name: array.to(device, dtype) for name, array in arrays.items()}
        # The truth keeps all its digits, whatever the type of the field.
        return data | {"test_s": (test @ integrals(space, x).T).to(device)}

    def draw(self, data: Batch, generator: Generator) -> Batch:
        """Pick functions and points; the labels are evaluated at these points."""
        f = data["f"]
        rows = torch.randint(len(f), (self.batch,), generator=generator).to(f.device)
        x = torch.rand(self.points, 1, generator=generator, dtype=torch.float64)
        basis = integrals(GaussianField(self.length), x).to(f)
        return {"f": f[rows], "x": x.to(f), "s": data["c"][rows] @ basis.T, "size": data["size"][rows]}

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


def integrals(space: GaussianField, x: Tensor) -> Tensor:
    """Integrate the basis of a space from 0, exactly.

    Args:
        space: The functions; their basis is cosines, the first constant, and then sines.
        x: Points ``(m, 1)``.

    Returns:
        Integrals of the basis up to x, ``(m, k)``.
    """
    w = space.frequencies()[1:, 0].to(x)
    return torch.cat([x, torch.sin(x * w) / w, 2 * torch.sin(x * w / 2).square() / w], -1)


if __name__ == "__main__":
    main(Antiderivative)
