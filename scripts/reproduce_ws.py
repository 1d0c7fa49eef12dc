"""Weight-scaling initialisation: as published, and against baselines with tuned rates.

Yeom, Lee & Lee, Fast Training of Sinusoidal Neural Fields via Scaling Initialization, ICLR 2025.

    NFSOLVE_DATA=... python -m scripts.reproduce_ws                 # a quarter of the paper's size
    NFSOLVE_DATA=... python -m scripts.reproduce_ws --scale 1 --device cuda --processes 1
    NFSOLVE_DATA=... python -m scripts.reproduce_ws --full --hours 8      # goes on where it was, benchmarks/*_full.md
    NFSOLVE_DATA=... python -m scripts.reproduce_ws --full --scale 0.5 --only sphere audio occupancy

Without the data the portrait that comes with matplotlib stands in for the Kodak pictures.
"""

import math
from argparse import Namespace
from dataclasses import replace

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, made_from, method, parser

METHODS = ("siren", "ws", "xavier_sine", "relu_pe", "ffn", "gauss", "mfn", "wire", "nfsl", "sinc")
RATES = (3.16e-4, 1e-3, 3.16e-3)  # and beyond, where the best one lies at the edge
TABLE = {  # Table 1 of the paper, means over all Kodak pictures; its Figure 1 on one picture, at step 150
    "xavier_sine": "0.46 dB (one picture 1.3)",
    "relu_pe": "18.60 dB (15.5)",
    "ffn": "20.52 dB (20.3)",
    "siren": "24.58 dB (20.7)",
    "gauss": "21.94 dB (16.4)",
    "mfn": "28.54 dB (25.6)",
    "wire": "28.94 dB (28.2)",
    "nfsl": "24.93 dB (21.6)",
    "sinc": "27.73 dB (24.3)",
    "ws": "42.83 dB (45.2)",
}
PUBLISHED = {  # Table 1 of the paper: Kodak, DIV2K, Lucy, ERA5, Bach
    "xavier_sine": ("0.46 dB", "0.39 dB", "0.0000", "4.11 dB", "7.77 dB"),
    "relu_pe": ("18.60 dB", "16.72 dB", "0.9896", "33.30 dB", "24.98 dB"),
    "ffn": ("20.52 dB", "19.81 dB", "0.9843", "38.69 dB", "16.66 dB"),
    "siren": ("24.58 dB", "22.86 dB", "0.9925", "38.72 dB", "37.37 dB"),
    "gauss": ("21.94 dB", "19.22 dB", "0.9914", "38.56 dB", "27.47 dB"),
    "mfn": ("28.54 dB", "26.42 dB", "0.9847", "36.89 dB", "16.16 dB"),
    "wire": ("28.94 dB", "28.20 dB", "0.9912", "31.27 dB", "16.83 dB"),
    "nfsl": ("24.93 dB", "23.39 dB", "0.9925", "38.92 dB", "37.17 dB"),
    "sinc": ("27.73 dB", "26.42 dB", "0.9936", "36.15 dB", "23.03 dB"),
    "ws": ("42.83 dB", "42.03 dB", "0.9941", "45.28 dB", "45.04 dB"),
}
RATE = "Adam runs at 1e-4 for every method"
TUNED = "every method has its own rate, tuned on the same data with another seed, and a cosine"
MEANS = "Published are the means of Table 1, over all data of the task."
SINES = ("--field.activation.omega", "3000", "--field.activation.hidden", "30")
SOUND = {  # what is 100 times larger on [-1, 1] than on [-100, 100]
    **dict.fromkeys(("siren", "ws", "xavier_sine", "nfsl"), SINES),
    "relu_pe": ("--field.encoding.bands", "15"),  # 8 octaves and log2 100
    "ffn": ("--field.encoding.scale", "500"),
    "mfn": ("--field.scale", f"{25600 / math.sqrt(6):.6g}"),
}
SPHERE, BACH = "sphere_era5_tz_3deg_20170101.npz", "audio_gt_bach.wav"
LUCY, LUCY_POINTS = "mesh_lucy.npz", "occ_points_lucy.npz"
PICTURES = (  # with kodim05 and the lion: the ten pictures
    "kodim01",
    "kodim03",
    "kodim08",
    "kodim19",
    "kodim24",
    "div2k_test00_512",
    "div2k_test03_512",
    "div2k_test06_512",
)
INTRO = """
# Weight-scaling initialisation

Yeom, Lee & Lee (ICLR 2025) fit all pixels of a gray 512 x 512 picture with a network of four layers of 512 for 150
steps of Adam at 1e-4, and report the PSNR on the pixels that are fitted. The picture's side and the network's width
are multiplied by the same factor (`scale`); depth, steps and all else are the paper's, unless a table says otherwise.
Made by `python -m scripts.reproduce_ws`.
"""


def main() -> None:
    options = parser("Weight-scaling initialisation: as published, and fair.")
    options.add_argument("--methods", nargs="*", default=list(METHODS))
    options.add_argument("--steps", type=int, help="of every run; default 150 of images, 1000 of the other tasks")
    made_from("reproduce_ws", INTRO, options, tables)


def tables(said: Namespace) -> list[Table]:
    """Return the tables that the options ask for; with ``--full`` those of Table 1 first, and all of them."""
    shown = [name for name in METHODS if name in said.methods]
    images = _images(said, shown)
    if not said.full:
        return images
    tasks = [_sphere(said, shown), _audio(said, shown), _occupancy(said, shown)]
    first = [images[0], _picture(said, shown, "div2k_test14_lion_512"), *tasks]
    return [*first, *(_picture(said, shown, stem) for stem in PICTURES), *images[1:], *map(_fair, tasks)]


def _images(said: Namespace, shown: list[str]) -> list[Table]:
    size, width = round(512 * said.scale), round(512 * said.scale)
    picture, other = found("kodim05.png"), found("kodim01.png")
    common = ["--protocol", "ws", "--field.width", str(width)]
    common += ["--image", picture] if picture else []
    data = "kodim05, squeezed to a square" if picture else "the portrait of matplotlib, not the paper's picture"
    auto = [method("ws auto", "--field", "ws", "--field.init.alpha", "auto", rates=RATES)]
    fair = [method(name, "--field", name, rates=RATES) for name in shown] + auto
    side = min(2 * size, 512)  # pixels of the Kodak pictures
    held_out = [*common, "--size", str(side), "--stride", "2", "--schedule", "cosine"]
    tuned = Settings(tune=("lr",), tune_with=f"--image {other}" if other else "", steps=said.steps)
    needs = ("kodim05.png", "kodim01.png")
    return [
        Table(
            "published",
            "As published: every method at learning rate 1e-4, PSNR on the fitted pixels",
            "image",
            [method(name, "--field", name) for name in shown],
            Settings(budgets=("steps",), steps=said.steps),
            [*common, "--size", str(size)],
            TABLE,
            f"Picture: {data}, {size} x {size}; networks of four layers of {width}.",
            needs,
        ),
        Table(
            "fitted",
            "Tuned learning rates, PSNR on the fitted pixels",
            "image",
            [method(name, "--field", name, rates=RATES) for name in shown],
            replace(tuned, score="psnr"),
            [*common, "--size", str(size), "--schedule", "cosine"],
            note=(
                "As published, but every method has its own rate, tuned on "
                f"{'kodim01' if other else 'the same picture'} by the PSNR on the fitted pixels, and a cosine."
            ),
            needs=needs,
        ),
        Table(
            "fair",
            "Tuned learning rates, PSNR on held-out pixels",
            "image",
            fair,
            tuned,
            held_out,
            note=(
                f"Picture: {data}, {side} x {side}; every second pixel of every second row is given, the others "
                f"are held out. Rates were tuned on {'kodim01' if other else 'the same picture'}; all decay as a "
                'cosine. "ws auto" has alpha by the bandwidth rule, which knows the spacing of the given pixels.'
            ),
            needs=needs,
        ),
        Table(
            "alpha",
            "Held-out PSNR over alpha, tuned learning rates",
            "image",
            [*(_alpha(value) for value in ("1", "1.25", "1.5", "1.75", "2", "2.5", "3")), *auto],
            replace(tuned, budgets=("evaluations",)),  # alpha costs nothing
            held_out,
            note='As above. "ws auto" is the bandwidth rule; alpha 1 is SIREN.',
            needs=needs,
        ),
    ]


def _picture(said: Namespace, shown: list[str], stem: str) -> Table:
    """Return the table of another picture, as published."""
    size = round(512 * said.scale)
    return Table(
        stem,
        f"As published: {stem.removesuffix('_512')}, PSNR on the fitted pixels",
        "image",
        [method(name, "--field", name) for name in shown],
        Settings(budgets=("steps",), steps=said.steps),
        ["--protocol", "ws", "--field.width", str(size), "--image", f"{stem}.png", "--size", str(size)],
        {} if stem.startswith("kodim") else column(1),
        f"{size} x {size} pixels, networks of four layers of {size}. {MEANS}",
        (f"{stem}.png",),
    )


def _sphere(said: Namespace, shown: list[str]) -> Table:
    width = round(256 * said.scale)
    return Table(
        "sphere",
        "As published: a temperature on the sphere (ERA5), PSNR on the fitted points",
        "sphere",
        [method(name, "--field", name) for name in shown],
        Settings(budgets=("steps",), steps=said.steps),
        ["--protocol", "ws", "--data", SPHERE, "--variable", "t850", "--field.width", str(width)],
        column(3),
        "Temperature at 850 hPa, 61 x 120 points, all given and weighted by area; unit vectors as coordinates, "
        f"networks of four layers of {width}. Frames, coordinates, width, steps and alpha of the paper are not known "
        f"for this task; here alpha is 2.5 and {RATE}. {MEANS}",
        (SPHERE,),
    )


def _audio(said: Namespace, shown: list[str]) -> Table:
    width, reduce = round(256 * said.scale), max(1, round(1 / said.scale))
    return Table(
        "audio",
        "As published: Bach, PSNR on the fitted samples",
        "audio",
        [method(name, "--field", name, *SOUND.get(name, ())) for name in shown],
        Settings(budgets=("steps",), steps=said.steps),
        ["--protocol", "ws", "--audio", BACH, "--reduce", str(reduce), "--field.width", str(width)],
        column(4),
        f"SIREN's clip of 7 s, 44,100 / {reduce} samples a second, all given; networks of four layers of {width}. "
        "SIREN puts the clip on [-100, 100]; here it spans [-1, 1], and frequencies are 100 times larger instead: "
        "omega 3000 in the first layer of sines, 15 octaves for relu_pe, a hundredfold scale for ffn and mfn. gauss, "
        "wire and sinc have no constant of the first layer alone and are as for images, which is against them. Steps "
        f"and alpha of the paper are not known for this task; here alpha is 2.5 and {RATE}. {MEANS}",
        (BACH,),
    )


def _occupancy(said: Namespace, shown: list[str]) -> Table:
    width, pool = round(512 * said.scale), round(1_000_000 * said.scale**2)
    solid = ["--protocol", "ws", "--mesh", LUCY, "--points", LUCY_POINTS]
    return Table(
        "occupancy",
        "As published: Lucy, IoU on held-out points",
        "occupancy",
        [method(name, "--field", name) for name in shown],
        Settings(budgets=("steps",), steps=said.steps, score="iou"),
        [*solid, "--field.width", str(width), "--pool", str(pool), "--batch", str(pool // 20)],
        column(2),
        f"A decimated Lucy of 100,000 faces, {pool} labelled points in batches of {pool // 20}, networks of four "
        f"layers of {width}; IoU of 100,000 uniform points that are not trained on; `iou_train` in the rows "
        "is of those that are, which few points let a net memorise. Grid, batch, width, steps and "
        f"alpha of the paper are not known for this task; here alpha is 2.5 and {RATE}. {MEANS}",
        (LUCY, LUCY_POINTS),
    )


def _fair(table: Table) -> Table:
    """Return a task with tuned rates for the four methods that matter most, on held-out points where it has them."""
    kept = [
        replace(words, rates=RATES) for words in table.methods if words.labels[0][1] in ("siren", "ws", "wire", "mfn")
    ]
    options = [*table.options, "--schedule", "cosine"]
    options += ["--stride", "2"] if table.what in ("sphere", "audio") else []
    return replace(
        table,
        name=f"fair_{table.name}",
        title=f"Fair: {table.title.removeprefix('As published: ').partition(',')[0]}, tuned rates, held-out points",
        methods=kept,
        settings=replace(table.settings, tune=("lr",), budgets=("evaluations",)),
        options=options,
        published={},
        note=table.note.replace("all given", "every second one given").replace(RATE, TUNED).replace(MEANS, "").strip(),
    )


def column(index: int) -> dict[str, str]:
    """Return a column of the paper's Table 1: 0 Kodak, 1 DIV2K, 2 Lucy, 3 ERA5, 4 Bach."""
    return {name: values[index] for name, values in PUBLISHED.items()}


def _alpha(value: str) -> Words:
    return method(f"alpha {value}", "--field", "ws", "--field.init.alpha", value, rates=RATES)


if __name__ == "__main__":
    main()
