"""Curvature preconditioners on fields: as published, and against a tuned and scheduled Adam and Muon.

Chng, Saratchandran & Lucey, Preconditioners for the Stochastic Training of Neural Fields, CVPR 2025, arXiv 2402.08784.

    NFSOLVE_DATA=... python -m scripts.reproduce_preconditioners
    NFSOLVE_DATA=... python -m scripts.reproduce_preconditioners --scale 1 --device cuda --processes 1
    NFSOLVE_DATA=... python -m scripts.reproduce_preconditioners --full --hours 8  # goes on where it was, *_full.md

Without the data the portrait that comes with matplotlib stands in for the lion, and a generated solid for the
armadillo.
"""

import math
from argparse import Namespace

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, made_from, method, parser

EPOCHS, BATCH, SIDE, WIDTH = 200, 512, 256, 256
FIELDS = {  # name -> options, Adam's and ESGD's published rate
    "sine": (("--field", "siren"), "1e-4", "0.15"),
    "gaussian": (("--field", "gauss", "--field.activation.scale", f"{1 / (math.sqrt(2) * 0.05):.6g}"), "1e-4", "0.15"),
    "wavelet": (("--field", "wavelet"), "1e-4", "0.15"),
    "relu_pe": (("--field", "relu_pe"), "1e-3", "0.1"),
}
SOLIDS = {
    "sine": FIELDS["sine"],
    "gaussian": (("--field", "gauss", "--field.activation.scale", f"{1 / (math.sqrt(2) * 0.09):.6g}"), "1e-4", "0.15"),
    "relu_pe": FIELDS["relu_pe"],
}
PAPER = ("--optimizer.paper",)
CURVES = {  # last mini-batch, epoch 195, of the README's curves
    "sine": "Adam 28.74 dB, ESGD 41.47 dB",
    "gaussian": "Adam 30.87 dB, ESGD 35.16 dB",
    "wavelet": "Adam 32.32 dB, ESGD 40.52 dB",
    "relu_pe": "Adam 36.22 dB, ESGD 30.80 dB",
}
RIVALS = {  # optimizer -> rates to try first
    "adam": (3.16e-4, 1e-3, 3.16e-3),
    "esgd": (0.1, 0.316, 1.0),
    "muon": (3.16e-4, 1e-3, 3.16e-3),
}
EVERY = {  # those of the paper -> rates to try first
    "adam": (1e-4, 3.16e-4, 1e-3),
    "esgd": (0.05, 0.15, 0.5),
    "adahessian": (0.05, 0.15, 0.5),
    "jacobi": (0.05, 0.15, 0.5),
    "shampoo": (1e-3, 3.16e-3, 1e-2),
    "kfac": (0.1, 0.3, 1.0),
    "sgd": (0.1, 1.0, 10.0),
}
LION, FOX = "div2k_test14_lion_512.png", "div2k_train01_fox_512.png"
ARMADILLO, POINTS = "mesh_armadillo.npz", "occ_points_armadillo.npz"
INTRO = """
# Curvature preconditioners

Chng, Saratchandran & Lucey (CVPR 2025) fit a 256 x 256 colour picture in mini-batches of 512 pixels for 200 epochs,
with networks of four layers of 256, and compare ESGD with Adam at a constant rate of 1e-4. The picture's side and
the width are multiplied by the same factor (`scale` in the JSON file); where it is below 1, an epoch is fewer steps,
and the first table has 400 epochs (`--epochs 400 --only published`), the others 150. "as published" is the released
algorithm, whose bias correction counts steps instead of refreshes (it multiplies the rate by up to 3.6). Made by
`python -m scripts.reproduce_preconditioners`.
"""


def main() -> None:
    options = parser("Curvature preconditioners: as published, and fair.")
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--points", type=int, help="labelled points of the solid; default 100,000, --full a million")
    made_from("reproduce_preconditioners", INTRO, options, tables)


def tables(said: Namespace) -> list[Table]:
    """Return the tables that the options ask for; with ``--full`` those of the paper's own optimizers as well."""
    pool = said.points or (1_000_000 if said.full else 100_000)
    size, width = round(SIDE * said.scale), round(WIDTH * said.scale)
    picture, other = found(LION), found(FOX)
    mesh, points = found(ARMADILLO), found(POINTS)
    image = ["--protocol", "preconditioners", "--size", str(size), "--field.width", str(width)]
    image += ["--image", picture] if picture else []
    steps = said.epochs * math.ceil(size**2 / BATCH)
    solid_steps = max(1, round((2000 if said.full else 1200) * said.scale))
    data = (
        "the lion of DIV2K (its crop is not confirmed to be the paper's)" if picture else "the portrait of matplotlib"
    )
    solid = [
        "--protocol",
        "preconditioners",
        "--field.width",
        str(width),
        "--pool",
        str(pool),
        "--batch",
        str(pool // 20),
    ]
    solid += ["--mesh", mesh, "--points", points] if mesh and points else []
    tune = Settings(tune=("lr",), steps=steps, tune_with=f"--image {other}" if other else "")
    made = [
        Table(
            "published",
            "As published: constant rates, PSNR on the fitted pixels",
            "image",
            _published(FIELDS, ("adahessian",)),
            Settings(budgets=("steps",), steps=steps),
            image,
            CURVES,
            f"Picture: {data}, {size} x {size}, {steps} steps. The published PSNR are read off curves of the last "
            "mini-batch, of a picture that is not named.",
            (LION,),
        )
    ]
    for name, (field, *_) in FIELDS.items() if said.full else ():
        made.append(
            Table(
                f"optimizers_{name}",
                f"The paper's optimizers: {name} field, constant rates, PSNR on the fitted pixels",
                "image",
                [_rival(optimizer, field, rates) for optimizer, rates in EVERY.items()],
                Settings(tune=("lr",), steps=steps, tune_with=f"--image {FOX}", budgets=("steps",), score="psnr"),
                image,
                note=f"Picture: {data}, {size} x {size}. Every optimizer is this library's, not the released one, and "
                "has its own rate, tuned on the fox of DIV2K.",
                needs=(LION, FOX),
            )
        )
    for name, (field, *_) in FIELDS.items():
        made.append(
            Table(
                f"fair_{name}",
                f"Fair: {name} field, every optimizer with a tuned rate, warm-up and cosine",
                "image",
                [_rival(optimizer, field, rates) for optimizer, rates in RIVALS.items()]
                + [_rival("esgd", field, RIVALS["esgd"], "esgd as published", PAPER)],
                tune,
                [*image, "--stride", "2", "--size", str(2 * size), "--schedule", "cosine", "--warmup", "0.1"],
                note=(
                    f"Picture: {data}, {2 * size} x {2 * size}, of which every second pixel of every second row is "
                    f"given. Rates were tuned on {'the fox of DIV2K' if other else 'the same picture'}."
                ),
                needs=(LION, FOX),
            )
        )
    made.append(
        Table(
            "occupancy",
            "As published: occupancy, constant rates, IoU",
            "occupancy",
            _published(SOLIDS),
            Settings(budgets=("steps",), steps=solid_steps, score="iou_near"),
            solid,
            {"sine": "ESGD .9958, Adam .9895 (5000 epochs)", "relu_pe": "ESGD .974, Adam .992"},
            f"Solid: {'the armadillo, a decimated mesh' if mesh else 'generated'}; IoU on points near the surface that "
            "were not trained on. The published ones are of the training batch, with logits cut at 0.5.",
            (ARMADILLO, POINTS),
        )
    )
    return made


def _published(fields: dict[str, tuple[tuple[str, ...], str, str]], more: tuple[str, ...] = ()) -> list[Words]:
    made = []
    for name, (field, adam, esgd) in fields.items():
        made.append(_named(name, "adam", (*field, "--optimizer", "adam", "--optimizer.lr", adam)))
        for optimizer in ("esgd", *more):
            made.append(_named(name, optimizer, (*field, "--optimizer", optimizer, "--optimizer.lr", esgd, *PAPER)))
    return made


def _named(field: str, optimizer: str, words: tuple[str, ...]) -> Words:
    return Words((("field", field), ("optimizer", optimizer)), words)


def _rival(
    optimizer: str, field: tuple[str, ...], rates: tuple[float, ...], name: str = "", more: tuple[str, ...] = ()
) -> Words:
    return method(name, *field, "--optimizer", optimizer, *more, rates=rates, optimizer=name or optimizer)


if __name__ == "__main__":
    main()
