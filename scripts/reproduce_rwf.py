"""Random weight factorization: five nets, five parametrizations, one grid of rates; and two PDEs.

Wang, Wang, Seidman & Perdikaris, arXiv 2210.01274. The tables of that paper were not at hand: the image task is the one
that it takes from Tancik et al. (NeurIPS 2020), the PDEs are those of the Expert's Guide (arXiv 2308.08468).

    NFSOLVE_DATA=... python -m scripts.reproduce_rwf
    NFSOLVE_DATA=... python -m scripts.reproduce_rwf --scale 1 --steps 2000 --device cuda --processes 1
    NFSOLVE_DATA=... python -m scripts.reproduce_rwf --full --hours 8               # goes on where it was, *_full.md
"""

import math
from argparse import Namespace

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, made_from, parser

NETS = {
    "relu": ("--field", "mlp", "--field.activation", "relu", "--field.encoding", "identity"),
    "relu + PE": ("--field", "relu_pe"),
    "relu + FF": ("--field", "ffn"),
    "siren": ("--field", "siren"),
    "modified": ("--field", "modified_mlp", "--field.activation", "relu", "--field.encoding", "gaussian_fourier"),
}
METHODS = {
    "plain": ("--factorization", "none"),
    "adaptive": ("--factorization", "adaptive_activation"),
    "weight norm": ("--factorization", "weight_normalization"),
    "rwf 0.5": ("--factorization", "rwf", "--factorization.mean", "0.5"),
    "rwf 1": ("--factorization", "rwf", "--factorization.mean", "1.0"),
}
RATES = tuple(float(f"{1e-3 * math.e**k:.3g}") for k in (-1, 0, 1, 2))
HALF_STEPS = tuple(float(f"{1e-3 * math.exp(k / 2):.3g}") for k in (-2, -1, 0, 1))
INTRO = """
# Random weight factorization

RWF writes W = diag(s) V with s = exp(N(mu, 0.1^2)) and trains s and V (Wang et al., arXiv 2210.01274). To Adam that is
about a weight step larger by e^mu, so every method gets the same grid of rates a factor e apart: "plain at e^mu times
the rate" is in it, and each method has its own best rate. The tables of the paper were not at hand; the Expert's Guide
(arXiv 2308.08468), by the same authors, gives 11.3x on Allen-Cahn and 1.2x to 1.3x on three of four other PDEs, one
seed, equal rates. Made by `python -m scripts.reproduce_rwf`.
"""


def main() -> None:
    options = parser("Random weight factorization against plain networks, every method on the same grid of rates.")
    options.add_argument(
        "--steps", type=int, help="of images, half as many of scans; default 400, --full 2000 as Tancik et al."
    )
    options.add_argument(
        "--pde-steps", type=int, help="of PDEs; default 1000, --full 20,000; the Expert's Guide takes 200,000"
    )
    made_from("reproduce_rwf", INTRO, options, tables)


def tables(said: Namespace) -> list[Table]:
    """Return the tables that the options ask for; with ``--full`` also a solid, and more PDEs, to convergence."""
    steps = said.steps or (2000 if said.full else 400)
    size, width = round(512 * said.scale), max(16, round(256 * said.scale))
    picture, other = found("div2k_test03_512.png"), found("div2k_train01_fox_512.png")
    tune = {"tune": ("lr",), "rates": RATES}
    image = ["--protocol", "rwf", "--size", str(size), "--field.width", str(width)]
    scan = ["--size", str(size // 2), "--views", "20", "--field.width", str(width), "--field.depth", "3"]
    text, fox = "div2k_test03_512.png", "div2k_train01_fox_512.png"
    made = [
        Table(
            "image",
            "Image: every second pixel given, PSNR on held-out pixels",
            "image",
            _methods(NETS),
            Settings(
                steps=steps,
                tune_with=f"--image {other}" if other else "",
                budgets=("evaluations",),
                **tune,
            ),
            [*image, *(("--image", picture) if picture else ())],
            note=(
                f"Picture: {'div2k test 03' if picture else 'the portrait of matplotlib'}, {size} pixels a side; "
                f"rates tuned on {'the fox of DIV2K' if other else 'the same picture'}."
            ),
            needs=(text, fox),
        ),
        Table(
            "rates",
            "Image, SIREN: plain and factorized over learning rates a factor e^0.5 apart",
            "image",
            [_at(method, rate) for method in ("plain", "rwf 0.5") for rate in HALF_STEPS],
            Settings(steps=steps, budgets=("steps",)),
            [*image, *(("--image", picture) if picture else ()), *NETS["siren"]],
            note="The same picture; nothing is tuned. RWF(0.5) at a rate belongs beside the plain network one row "
            "further, at e^0.5 times that rate.",
        ),
        Table(
            "ct",
            "Computed tomography: 20 views of an analytic phantom, PSNR of the slice",
            "ct_phantom",
            _methods(NETS),
            Settings(steps=max(1, steps // 2), budgets=("evaluations",), **tune),
            [*scan, "--optimizer", "adam"],
        ),
    ]
    return [*made, _shape(said, width), *_pdes(said)] if said.full else [*made, *_pdes(said)]


def _shape(said: Namespace, width: int) -> Table:
    steps = max(1, round(2000 * said.scale))
    nets = {name: NETS[name] for name in ("relu + PE", "relu + FF", "siren")}
    solid = ["--protocol", "rwf", "--mesh", "mesh_armadillo.npz", "--points", "occ_points_armadillo.npz"]
    return Table(
        "shape",
        "Occupancy of the armadillo, IoU near the surface",
        "occupancy",
        _methods(nets),
        Settings(tune=("lr",), rates=RATES, steps=steps, budgets=("evaluations",)),
        [*solid, "--field.width", str(width), "--field.depth", "7"],
        note=f"As Tancik et al., in width {width} (theirs 256), with {steps} steps (theirs 10,000).",
        needs=("mesh_armadillo.npz", "occ_points_armadillo.npz"),
    )


def _pdes(said: Namespace) -> list[Table]:
    """Return the tables of PDEs: under Adam, and at full size under Gauss-Newton as well."""
    width, depth, points, steps = (128, 4, 2000, 20_000) if said.full else (32, 3, 500, 1000)
    net = ["--field", "mlp", "--field.activation", "tanh", "--field.width", str(width), "--field.depth", str(depth)]
    adam = [*net, "--optimizer", "adam", "--dtype", "float32", "--schedule", "exponential", "--resample", "1"]
    methods = [Words((("method", m),), METHODS[m]) for m in ("plain", "rwf 0.5", "rwf 1")]
    names = {"allen_cahn": "Allen-Cahn", "convection": "Convection, beta = 30"}
    if said.full:
        names |= {"burgers": "Burgers", "cavity": "Lid-driven cavity"}
    first = said.pde_steps or steps
    made = [
        Table(
            name,
            f"{title}: Adam, tanh network, relative L2 error",
            name,
            methods,
            Settings(steps=first, budgets=("evaluations",), tune=("lr",), rates=RATES),
            [*adam, "--n-points", str(points)],
            note=f"{first} steps with {points} points, where the Expert's Guide has 200,000 with 4096, and without its "
            "weighting, causal training and encoding: what is compared is the parametrization alone"
            + (", early in training." if first < 10_000 else "."),
        )
        for name, title in names.items()
    ]
    if not said.full:
        return made
    newton = ["--field", "mlp", "--field.activation", "tanh", "--field.width", "32", "--field.depth", "3"]
    newton += ["--optimizer", "gauss_newton", "--dtype", "float64", "--n-points", str(points)]
    return made + [
        Table(
            f"{name}_gauss_newton",
            f"{title}: Gauss-Newton, tanh network, relative L2 error",
            name,
            methods,
            Settings(steps=300, budgets=("steps",)),
            newton,
            note="300 steps of three layers of 32; Gauss-Newton has no rate to tune.",
        )
        for name, title in names.items()
    ]


def _at(method: str, rate: float) -> Words:
    return Words(
        (("method", f"{method} at {rate:.2g}"),),
        (*METHODS[method], "--optimizer", "adam", "--optimizer.lr", f"{rate:g}"),
    )


def _methods(nets: dict[str, tuple[str, ...]]) -> list[Words]:
    return [
        Words((("net", net), ("method", method)), (*words, *more))
        for net, words in nets.items()
        for method, more in METHODS.items()
    ]


if __name__ == "__main__":
    main()
