"""Operators: random weight factorization, weight-scaled sines and optimizers on every problem, with tuned rates.

    python -m scripts.compare_operators
    python -m scripts.compare_operators --only advection --scale 10 --device cuda --processes 1

Runs are short; a scale above 1 takes so many times the steps, with the problems' own mini-batches.
"""

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, parser, reproduce

RWF = ("--factorization", "rwf", "--factorization.mean", "0.5")
SINES = ("--field.activation", "sine", "--field.activation.omega", "2", "--field.init", "ws")
FIRST_ORDER, CURVED = (1e-3, 3.16e-3, 1e-2), (0.0316, 0.1, 0.316)
METHODS = {
    "SOAP": (("--optimizer", "soap"), FIRST_ORDER),
    "SOAP, RWF": (("--optimizer", "soap", *RWF), FIRST_ORDER),
    "SOAP, WS sines": (("--optimizer", "soap", *SINES), FIRST_ORDER),
    "Adam": (("--optimizer", "adam"), FIRST_ORDER),
    "Adam, RWF": (("--optimizer", "adam", *RWF), FIRST_ORDER),
    "Muon": (("--optimizer", "muon"), FIRST_ORDER),
    "ESGD": (("--optimizer", "esgd"), CURVED),
}
SMALL = ("--batch", "32", "--n-points", "64", "--n-tests", "50")
# problem, options, options of short runs, steps of SOAP in a short run
PROBLEMS = {
    "antiderivative": ("deeponet_antiderivative", (), (), 400),
    "diffusion_reaction": ("deeponet_diffusion_reaction", (), SMALL[:4], 600),
    "advection": ("deeponet_advection", (), SMALL, 450),
    "burgers": ("deeponet_burgers", (), SMALL, 450),
    "burgers_001": ("deeponet_burgers", ("--nu", "0.001"), SMALL, 450),
    "darcy": ("deeponet_darcy", ("--field", "deeponet"), ("--n-points", "200"), 300),
}
INTRO = """
# Operators: factorization, sines and optimizers

Each method has its own learning rate, tuned on seed 100 (the same functions, other weights and mini-batches); three
other seeds; a cosine schedule for all; the same evaluations and, in a second table, the same processor seconds. The
score is the mean relative L2 error over held-out test functions. RWF has mean 0.5 and deviation 0.1 in all linear
layers; "WS sines" are sin(2 z) with weight-scaling initialisation, alpha = 1.5, in the trunk and the decoder.
Runs are short, so this says who is ahead early; the defaults at their full length are in
[operators.md](operators.md). Made by `python -m scripts.compare_operators`.
"""


def main() -> None:
    means = "the steps; above 1 with the problems' own mini-batches"
    said = parser("Operators: factorization, sines and optimizers, tuned.", 1.0, means).parse_args()
    methods = [Words((("method", name),), words, rates) for name, (words, rates) in METHODS.items()]
    tables = []
    for name, (what, words, small, steps) in PROBLEMS.items():
        count = max(1, round(steps * said.scale))
        settings = Settings(tune=("lr",), steps=count, tune_steps=max(1, count // 2))
        own = [*words, "--schedule", "cosine", *(small if said.scale <= 1 else ())]
        tables.append(Table(name, name.replace("_", " "), what, methods, settings, own))
    reproduce("operators_compared", INTRO, tables, said)


if __name__ == "__main__":
    main()
