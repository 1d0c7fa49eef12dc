"""Weight-scaling initialisation on images: as published, and against baselines with tuned rates.

Yeom, Lee & Lee, Fast Training of Sinusoidal Neural Fields via Scaling Initialization, ICLR 2025.

    NFSOLVE_DATA=... python -m scripts.reproduce_ws                 # a quarter of the paper's size
    NFSOLVE_DATA=... python -m scripts.reproduce_ws --scale 1 --device cuda --processes 1

Without the data the portrait that comes with matplotlib stands in for the Kodak pictures.
"""

from dataclasses import replace

from nfsolve.studies.comparison import Settings, Words
from scripts.reproducing import Table, found, method, parser, reproduce

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
INTRO = """
# Weight-scaling initialisation

Yeom, Lee & Lee (ICLR 2025) fit all pixels of a gray 512 x 512 picture with a network of four layers of 512 for 150
steps of Adam at 1e-4, and report the PSNR on the pixels that are fitted. Here the picture's side and the network's
width are smaller by the same factor (`scale` in the JSON file); depth, steps and all else are the paper's, unless a
table says otherwise. Made by `python -m scripts.reproduce_ws`.
"""


def main() -> None:
    options = parser("Weight-scaling initialisation: as published, and fair.")
    options.add_argument("--methods", nargs="*", default=list(METHODS))
    said = options.parse_args()
    size, width = round(512 * said.scale), round(512 * said.scale)
    picture, other = found("kodim05.png"), found("kodim01.png")
    common = ["--protocol", "ws", "--field.width", str(width)]
    common += ["--image", picture] if picture else []
    shown = [name for name in METHODS if name in said.methods]
    data = "kodim05, squeezed to a square" if picture else "the portrait of matplotlib, not the paper's picture"
    auto = [method("ws auto", "--field", "ws", "--field.init.alpha", "auto", rates=RATES)]
    fair = [method(name, "--field", name, rates=RATES) for name in shown] + auto
    held_out = [*common, "--size", str(2 * size), "--stride", "2", "--schedule", "cosine"]
    tuned = Settings(tune=("lr",), tune_with=f"--image {other}" if other else "")
    reproduce(
        "reproduce_ws",
        INTRO,
        [
            Table(
                "published",
                "As published: every method at learning rate 1e-4, PSNR on the fitted pixels",
                "image",
                [method(name, "--field", name) for name in shown],
                Settings(budgets=("steps",)),
                [*common, "--size", str(size)],
                TABLE,
                f"Picture: {data}.",
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
            ),
            Table(
                "fair",
                "Tuned learning rates, PSNR on held-out pixels",
                "image",
                fair,
                tuned,
                held_out,
                note=(
                    f"Picture: {data}, of twice the side; every second pixel of every second row is given, the others "
                    f"are held out. Rates were tuned on {'kodim01' if other else 'the same picture'}; all decay as a "
                    'cosine. "ws auto" has alpha by the bandwidth rule, which knows the spacing of the given pixels.'
                ),
            ),
            Table(
                "alpha",
                "Held-out PSNR over alpha, tuned learning rates",
                "image",
                [*(_alpha(value) for value in ("1", "1.25", "1.5", "1.75", "2", "2.5", "3")), *auto],
                replace(tuned, budgets=("evaluations",)),  # alpha costs nothing
                held_out,
                note='As above. "ws auto" is the bandwidth rule; alpha 1 is SIREN.',
            ),
        ],
        said,
    )


def _alpha(value: str) -> Words:
    return method(f"alpha {value}", "--field", "ws", "--field.init.alpha", value, rates=RATES)


if __name__ == "__main__":
    main()
