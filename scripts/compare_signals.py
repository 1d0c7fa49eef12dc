"""Do WS, RWF and ESGD compose? And what is the fastest way to fit a signal? Small nets, equal seconds, tuned rates.

    NFSOLVE_DATA=... python -m scripts.compare_signals

Without the data every problem takes its own signal.
"""

from collections.abc import Sequence

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, parser, reproduce

INITS = {"siren": ("siren",), "ws": ("ws", "--field.init.alpha", "1.5")}
FACTORIZATIONS = {"plain": ("none",), "rwf": ("rwf", "--factorization.mean", "0.5")}
OPTIMIZERS = {"adam": (3.16e-4, 1e-3, 3.16e-3), "esgd": (0.1, 0.316, 1.0), "muon": (3.16e-4, 1e-3, 3.16e-3)}
FASTER = 5  # times that a rival has to be
INTRO = """
# Signals: what composes, and what is fast

Small networks on every kind of problem that fits data, each method with its own tuned learning rate (seed 100), all
with a warm-up over the first tenth of the steps and a cosine, compared on seeds that were not tuned on and at the same
processor seconds. Made by `python -m scripts.compare_signals`.
"""


def main() -> None:
    said = parser("Signals: what composes, and what is fast.").parse_args()
    width = max(16, round(256 * said.scale))
    net = ["--field.width", str(width), "--schedule", "cosine", "--warmup", "0.1"]
    sine = ["--field", "mlp", "--field.activation", "sine", "--field.encoding", "identity"]
    image = ["--size", str(round(512 * said.scale)), "--gray", "True", "--batch", "1024"]
    tasks: dict[str, tuple[str, list[str], int]] = {
        "image": ("image", [*image, *_with("--image", "kodim05.png")], 250),
        "audio": ("audio", ["--seconds", "0.5", *_with("--audio", "audio_gt_bach.wav")], 250),
        "sphere": ("sphere", _with("--data", "sphere_t2m_monthly_1x1.npz"), 250),
        "occupancy": ("occupancy", ["--pool", "60000", *_with("--mesh", "mesh_armadillo.npz"), "--batch", "2048"], 100),
        "ct": ("ct_phantom", ["--size", "64", "--views", "30", *sine, "--field.depth", "3"], 200),
        "pde": (
            "helmholtz",
            [*sine, "--field.activation.omega", "5", "--field.depth", "3", "--dtype", "float32", "--resample", "1"],
            200,
        ),
    }
    composed = [
        Table(
            f"compose_{name}",
            f"{name}: initialisation x factorization x optimizer",
            what,
            _composed(),
            Settings(tune=("lr",), steps=steps, budgets=("seconds",)),
            [*options, *net],
        )
        for name, (what, options, steps) in tasks.items()
    ]
    fast = [table for name in ("image", "audio", "sphere") for table in _fast(name, *tasks[name], net)]
    reproduce("signals", INTRO, [*composed, *fast], said)


def _with(option: str, name: str) -> list[str]:
    return [option, name] if found(name) else []


def _composed() -> list[Words]:
    return [
        Words(
            (("init", init), ("weights", factorization), ("optimizer", optimizer)),
            ("--field.init", *alpha, "--factorization", *mean, "--optimizer", optimizer),
            rates,
        )
        for init, alpha in INITS.items()
        for factorization, mean in FACTORIZATIONS.items()
        for optimizer, rates in OPTIMIZERS.items()
    ]


def _fast(name: str, what: str, options: Sequence[str], steps: int, net: Sequence[str]) -> list[Table]:
    """SIREN with Adam given 5 times as long as its rivals, then all of them in the short time."""
    everything = [*options, *net]
    adam, soap, muon = OPTIMIZERS["adam"], (1e-3, 3.16e-3, 1e-2), OPTIMIZERS["muon"]
    siren, scaled = ("--field.init", "siren"), ("--field.init", "ws", "--field.init.alpha", "1.5")
    finer = ("--field.activation", "finer", "--field.init", "siren")
    rivals = [
        Words((("method", "siren adam"),), (*siren, "--optimizer", "adam"), adam),
        Words((("method", "ws adam"),), (*scaled, "--optimizer", "adam"), adam),
        Words((("method", "finer adam"),), (*finer, "--optimizer", "adam"), adam),
        Words((("method", "siren muon"),), (*siren, "--optimizer", "muon"), muon),
        Words((("method", "siren soap"),), (*siren, "--optimizer", "soap"), soap),
        Words((("method", "ws soap"),), (*scaled, "--optimizer", "soap"), soap),
        Words((("method", "finer soap"),), (*finer, "--optimizer", "soap"), soap),
        Words((("method", "ws esgd"),), (*scaled, "--optimizer", "esgd"), OPTIMIZERS["esgd"]),
    ]
    long = Settings(tune=("lr",), steps=2 * steps, budgets=("steps",))
    short = Settings(tune=("lr",), steps=2 * steps // FASTER, budgets=("seconds",))
    return [
        Table(f"long_{name}", f"{name}: SIREN with a tuned Adam, the time to beat", what, rivals[:1], long, everything),
        Table(
            f"fast_{name}",
            f"{name}: a fifth of that time",
            what,
            rivals,
            short,
            everything,
            note=f"To be compared with the score of SIREN and Adam above, which had {FASTER} times as many steps.",
        ),
    ]


if __name__ == "__main__":
    main()
