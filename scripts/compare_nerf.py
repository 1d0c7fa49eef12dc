"""Which optimizer for inverse rendering? Adam, ESGD and Muon on sine and Gaussian fields, with tuned rates.

And which samples: every occupied step, or few by importance, with the default field and its own rate.

    python -m scripts.compare_nerf
    NFSOLVE_DATA=... python -m scripts.compare_nerf --only lego sampling_fern

The scene of nerf_scene is its own ground truth and needs no data; Lego is left out without them. Hessian-vector
products go through the same renderer as the gradient. The occupancy grid follows each field as it trains.
"""

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, method, parser, reproduce

LEGO, FERN = "nerf_lego_200.npz", "nerf_llff_fern_8.npz"
FEW = "24"  # samples on a ray
FIELDS = {
    "sine": ("sine", "--field.init", "siren"),
    "gaussian": ("gaussian",),
}
OPTIMIZERS = {"adam": (3.16e-4, 1e-3, 3.16e-3), "esgd": (0.1, 0.316, 1.0), "muon": (1e-3, 3.16e-3, 1e-2)}
INTRO = """
# Inverse rendering: optimizers

Adam, ESGD and Muon on fields of sines and of Gaussians (three hidden layers, no encoding), each with its own learning
rate, tuned on seed 100, all with a warm-up over the first tenth of the steps and a cosine; three other seeds; the same
processor seconds for all. Made by `python -m scripts.compare_nerf`.
"""


def main() -> None:
    said = parser("Inverse rendering: optimizers.").parse_args()
    width = str(max(16, round(256 * said.scale)))
    net = ["--field", "mlp", "--field.encoding", "identity", "--field.depth", "3", "--field.width", width]
    net += ["--schedule", "cosine", "--warmup", "0.1", "--points", "4096"]
    tasks = {"scene": ("nerf_scene", ["--size", str(round(128 * said.scale)), "--views", "20"])}
    if found(LEGO):
        tasks["lego"] = ("nerf", ["--data", LEGO, "--downscale", str(1 / said.scale)])
    methods = [
        Words(
            (("field", name), ("optimizer", optimizer)),
            ("--field.activation", *field, "--optimizer", optimizer),
            rates,
        )
        for name, field in FIELDS.items()
        for optimizer, rates in OPTIMIZERS.items()
    ]
    settings = Settings(tune=("lr",), steps=300, budgets=("seconds",))
    tables = [
        Table(name, f"{name}: field x optimizer", what, methods, settings, [*options, *net])
        for name, (what, options) in tasks.items()
    ]
    reproduce("nerf_optimizers", INTRO, [*tables, *_sampled(said.scale)], said)


def _sampled(scale: float) -> list[Table]:
    tasks = {"scene": ("nerf_scene", ["--size", str(round(192 * scale))])}
    small = ["--downscale", str(1 / scale), "--samples", "96"]
    tasks |= {
        name: ("nerf", ["--data", data, *small]) for name, data in (("lego", LEGO), ("fern", FERN)) if found(data)
    }
    methods = [method("every occupied step"), method(f"at most {FEW} samples", "--importance", FEW)]
    steps = Settings(steps=200, budgets=("seconds",))
    return [
        Table(f"sampling_{name}", f"{name}: samples on training rays", what, methods, steps, options)
        for name, (what, options) in tasks.items()
    ]


if __name__ == "__main__":
    main()
