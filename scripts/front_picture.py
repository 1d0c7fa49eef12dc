"""The picture of README: what its two examples find, and a head from 40 views.

    python -m scripts.front_picture

solves all three (about a minute and a half on one thread) and writes docs/pictures/front.png.
"""

import io
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

import nfsolve as nf
from nfsolve.plot.panels import colour_bar, styled
from nfsolve.reconstruct import classical_images
from problems.ct.phantom import CTPhantom
from problems.pde.burgers import cole_hopf

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "front.png"


def examples() -> Any:
    """Run the first two blocks of Python in README, as they are; return the module that holds what they define."""
    module = types.ModuleType("readme")
    sys.modules["readme"] = module  # dataclasses look their module up
    for code in re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)[:2]:
        exec(code, module.__dict__)
    return module


def burgers(axes: Any, module: Any) -> None:
    """Draw the solution of the first example, and its error against the formula of Cole and Hopf."""
    problem = module.Burgers(nu=0.1)
    solution = nf.solve(problem, seed=0, time_limit=600)  # enough on a busy machine
    points = problem.domain.grid(201, 201).double()
    values, exact = solution.predict(points), cole_hopf(points[:, :1], points[:, 1:], problem.nu)
    error = float((values - exact).norm() / exact.norm())
    values = values.reshape(201, 201)
    shown = axes.imshow(values.T, origin="lower", extent=(0, 1, -1, 1), aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1)
    colour_bar(axes, shown, "u")
    axes.set(title=f"Burgers' equation,\nerror {error:.0e}", xlabel="t", ylabel="x")


def logistic(axes: Any, module: Any) -> None:
    """Draw the data of the second example and the band of what was found."""
    at = np.linspace(0, 3, 121)
    band = module.posterior.band(at[:, None])
    axes.fill_between(at, band.low.ravel(), band.high.ravel(), color="C0", alpha=0.3, label="95 % band")
    axes.plot(at, band.value.ravel(), "C0", label="solution")
    axes.plot(module.t, module.u, "k.", ms=4, label="data")
    low, high = module.posterior.interval("rate")
    axes.set(title=f"growth, its rate {low:.2f}\nto {high:.2f} (true: 2)", xlabel="t", ylabel="u")
    axes.legend(frameon=False, loc="lower right")


def head(left: Any, right: Any) -> None:
    """Draw the head as filtered back-projection and as a field find it."""
    problem = CTPhantom(classical=("fbp",))
    solution = nf.solve(problem, seed=0)
    classical = classical_images(solution.data)["fbp"].image
    images = {"back-projection": classical, "neural field": problem.image(solution.field, solution.data)}
    for axes, (name, image) in zip((left, right), images.items(), strict=True):
        axes.imshow(image.detach(), cmap="gray", vmin=0, vmax=0.5)
        psnr = problem.scores(image, solution.data)["psnr"]
        axes.set(title=f"40 X-ray views,\n{name}\n{psnr:.1f} dB", xticks=[], yticks=[])


def main() -> None:
    """Solve the three problems and write the picture."""
    torch.set_num_threads(1)
    with styled(), rc_context({"font.size": 9}):
        figure = Figure(figsize=(8.8, 2.5), layout="constrained")
        panels = figure.subplots(1, 4, width_ratios=(1.2, 1.2, 1, 1))
        module = examples()
        burgers(panels[0], module)
        logistic(panels[1], module)
        head(*panels[2:])
        picture = io.BytesIO()
        figure.savefig(picture, dpi=125)
    PICTURE.parent.mkdir(exist_ok=True)
    Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
