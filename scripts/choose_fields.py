"""Which field for which signal? Sines, grids of features, hashed grids and Fourier features, at equal seconds.

    NFSOLVE_DATA=... python -m scripts.choose_fields
    NFSOLVE_DATA=... python -m scripts.choose_fields --only audio --seeds 5 --scale 4

The first method is the default of `nfsolve run`. Each kind of field has a learning rate of its own, and all have Adam,
a cosine and the seconds that the default takes. The score is of values that were held out, where there are any; the
table also has that of the fitted ones. Without the data every problem takes its own signal.
"""

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, method, parser, reproduce

INTRO = """
# Signals: which field

The default field of each kind of signal beside others, three seeds, the same processor seconds for all. Nothing was
tuned: each kind of field has the learning rates that its row says, Adam and a cosine. Made by
`python -m scripts.choose_fields`.
"""


def main() -> None:
    """Make the tables that are asked for."""
    said = parser("Signals: which field.", 1.0, "the steps of the default field").parse_args()
    tasks = {
        "image": ("image", ["--size", "128", *_with("--image", "kodim05.png")], 64, 150),
        "pixels": ("image", ["--size", "128", "--stride", "1", *_with("--image", "kodim05.png")], 128, 150),
        "audio": ("audio", ["--seconds", "0.5", *_with("--audio", "audio_gt_bach.wav")], 2048, 200),
        "sphere": ("sphere", _with("--data", "sphere_t2m_monthly_1x1.npz"), 64, 150),
        "occupancy": (
            "occupancy",
            ["--pool", "60000", "--resolution", "64", *_with("--mesh", "mesh_armadillo.npz")],
            64,
            80,
        ),
    }
    tables = [
        Table(
            name,
            f"{name}: kinds of fields",
            what,
            _fields(finest),
            Settings(steps=max(1, round(said.scale * steps)), budgets=("seconds",)),
            options,
        )
        for name, (what, options, finest, steps) in tasks.items()
    ]
    reproduce("fields", INTRO, tables, said)


def _fields(finest: int) -> list[Words]:
    """Return the default and its rivals; the finest grid has as many points along an axis as are given."""
    sines = ["--field", "mlp", "--field.activation", "sine", "--field.encoding", "identity", "--field.init", "ws"]
    sines += ["--field.init.alpha", "1.25", "--field.width", "128", "--field.depth", "4"]
    net = ["--field", "mlp", "--field.activation", "relu"]
    grid = [*net, "--field.width", "64", "--field.depth", "1", "--field.encoding", "grid"]
    grid += ["--field.encoding.levels", "5", "--field.encoding.coarsest", "8"]
    hashed = [*grid, "--field.encoding.finest", str(2 * finest), "--field.encoding.hash-size", "13"]
    fourier = [*net, "--field.width", "128", "--field.depth", "4", "--field.encoding", "gaussian_fourier"]
    fourier += ["--field.encoding.features", "64", "--field.encoding.scale", str(max(1, finest // 16))]
    return [
        method("default"),
        method("sines, lr 3e-3", *sines, "--optimizer.lr", "3e-3"),
        method("grid, lr 1e-2", *grid, "--field.encoding.finest", str(finest), "--optimizer.lr", "1e-2"),
        method("hashed grid, lr 1e-2", *hashed, "--optimizer.lr", "1e-2"),
        method("Fourier features, lr 1e-3", *fourier, "--optimizer.lr", "1e-3"),
    ]


def _with(option: str, name: str) -> list[str]:
    return [option, name] if found(name) else []


if __name__ == "__main__":
    main()
