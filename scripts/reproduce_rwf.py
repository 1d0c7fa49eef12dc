"""Random weight factorization: five nets, five parametrizations, one grid of rates; and two PDEs.

Wang, Wang, Seidman & Perdikaris, arXiv 2210.01274. The tables of that paper were not at hand: the image task is the one
that it takes from Tancik et al. (NeurIPS 2020), the PDEs are those of the Expert's Guide (arXiv 2308.08468).

    NFSOLVE_DATA=... python -m scripts.reproduce_rwf
    NFSOLVE_DATA=... python -m scripts.reproduce_rwf --scale 1 --steps 2000 --device cuda --processes 1
"""

import math

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, parser, reproduce

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
    options.add_argument("--steps", type=int, default=400, help="of images and scans; Tancik et al. take 2000 and 1000")
    options.add_argument("--pde-steps", type=int, default=1000, help="of PDEs; the Expert's Guide takes 200 000")
    said = options.parse_args()
    size, width = round(512 * said.scale), max(16, round(256 * said.scale))
    picture, other = found("div2k_test03_512.png"), found("div2k_train01_fox_512.png")
    tune = {"tune": ("lr",), "rates": RATES}
    image = ["--protocol", "rwf", "--size", str(size), "--field.width", str(width)]
    scan = ["--size", str(size // 2), "--views", "20", "--field.width", str(width), "--field.depth", "3"]
    pde = ["--field", "mlp", "--field.activation", "tanh", "--field.width", "32", "--field.depth", "3"]
    pde += ["--optimizer", "adam", "--dtype", "float32", "--schedule", "exponential", "--resample", "1"]
    pde += ["--n-points", "500"]
    reproduce(
        "reproduce_rwf",
        INTRO,
        [
            Table(
                "image",
                "Image: every second pixel given, PSNR on held-out pixels",
                "image",
                _methods(NETS),
                Settings(
                    steps=said.steps,
                    tune_with=f"--image {other}" if other else "",
                    budgets=("evaluations",),
                    **tune,
                ),
                [*image, *(("--image", picture) if picture else ())],
                note=(
                    f"Picture: {'div2k test 03' if picture else 'the portrait of matplotlib'}, {size} pixels a side; "
                    f"rates tuned on {'the fox of DIV2K' if other else 'the same picture'}."
                ),
            ),
            Table(
                "rates",
                "Image, SIREN: plain and factorized over learning rates a factor e^0.5 apart",
                "image",
                [_at(method, rate) for method in ("plain", "rwf 0.5") for rate in HALF_STEPS],
                Settings(steps=said.steps, budgets=("steps",)),
                [*image, *(("--image", picture) if picture else ()), *NETS["siren"]],
                note="The same picture; nothing is tuned. RWF(0.5) at a rate belongs beside the plain network one row "
                "further, at e^0.5 times that rate.",
            ),
            Table(
                "ct",
                "Computed tomography: 20 views of an analytic phantom, PSNR of the slice",
                "ct_phantom",
                _methods(NETS),
                Settings(steps=max(1, said.steps // 2), budgets=("evaluations",), **tune),
                [*scan, "--optimizer", "adam"],
            ),
            *(
                Table(
                    name,
                    f"{title}: Adam, tanh network, relative L2 error",
                    name,
                    [Words((("method", m),), METHODS[m]) for m in ("plain", "rwf 0.5", "rwf 1")],
                    Settings(steps=said.pde_steps, budgets=("evaluations",), **tune),
                    pde,
                    note="Far from the budget of the Expert's Guide, and without its weighting, causal training and "
                    "encoding: what is compared is the parametrization alone, early in training.",
                )
                for name, title in (("allen_cahn", "Allen-Cahn"), ("convection", "Convection, beta = 30"))
            ),
        ],
        said,
    )


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
