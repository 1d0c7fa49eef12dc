"""Presets: published neural fields by name, the ten methods that the weight-scaling paper compares, and others.

Table 1 of Yeom, Lee & Lee, Fast Training of Sinusoidal Neural Fields via Scaling Initialization, ICLR 2025. Its code
holds SIREN, Gaussian, WIRE, Sinc and WS; the constants of the five other methods are not published there, so here
they are those of the methods' own authors or, where it says so, our own choice.
"""

import inspect
import math
from functools import partial
from typing import Any

from nfsolve._core.errors import unknown
from nfsolve.fields.activations import ComplexGabor, Finer, Gaussian, RealGabor, ReLU, Sinc, Sine
from nfsolve.fields.encodings import Encoding, GaussianFourier, Identity, Positional
from nfsolve.fields.field import Field
from nfsolve.fields.grids import FeatureGrid
from nfsolve.fields.init import Glorot, Init, Siren, TorchDefault, WeightScaling
from nfsolve.fields.init_variants import Combette, SmallLast
from nfsolve.fields.mlp import MLP
from nfsolve.fields.multiplicative import FourierFilterNetwork

Maker = partial[Field]


def _mlp(activation: Any, init: Init, encoding: Encoding | None = None) -> Maker:
    """Return an MLP with all three parts named, so that none of a recipe's stays where a preset is chosen."""
    return partial(MLP, activation=activation, encoding=encoding or Identity(), init=init)


PRESETS: dict[str, Maker] = {
    "xavier_sine": _mlp(Sine(30.0), Glorot()),
    "relu_pe": _mlp(ReLU(), TorchDefault(), Positional(bands=8)),
    "ffn": _mlp(ReLU(), Glorot(), GaussianFourier(features=256, scale=5.0)),
    "siren": _mlp(Sine(30.0), Siren()),
    "gauss": _mlp(Gaussian(20.0), TorchDefault()),
    "mfn": partial(FourierFilterNetwork, scale=256 / math.sqrt(6)),
    "wire": _mlp(ComplexGabor(10.0, 10.0), TorchDefault()),
    "nfsl": _mlp(Sine(30.0), SmallLast()),
    "sinc": _mlp(Sinc(8 * math.pi), TorchDefault()),
    "ws": _mlp(Sine(30.0), WeightScaling(2.5)),
    "finer": _mlp(Finer(30.0), Siren()),
    "combette": _mlp(Sine(30.0), Combette()),
    "wavelet": _mlp(RealGabor(10.0, 10.0), TorchDefault()),
    "grid": _mlp(ReLU(), Glorot(), FeatureGrid(gain=10.0)),
}
"""Name -> field class with its parts; width and depth are not said.

- ``xavier_sine``: sine of omega 30 with Glorot's bound sqrt(6 / (d_in + d_out)) and zero biases. The paper names
  bound and activation; omega and biases are own choices.
- ``relu_pe``: ReLU on 8 octaves of each coordinate and the coordinates themselves, torch's own initialisation, as in
  the code of Chng et al. (CVPR 2025); the weight-scaling paper's number of octaves is not published.
- ``ffn``: ReLU on 256 random Fourier frequencies, sigma = 10 on [0, 1] (here 5 on [-1, 1]), Glorot, as for natural
  images in the code of Tancik et al. (NeurIPS 2020).
- ``siren``: sine of omega 30 with SIREN's bounds (Sitzmann et al., NeurIPS 2020).
- ``gauss``: exp(-(20 z)^2), torch's own initialisation, as in the weight-scaling code.
- ``mfn``: product of Fourier filters with the input scale 256 of the authors' image code, for two coordinates
  (Fathony et al., ICLR 2021); with depth D as many matrices of width x width as an MLP of depth D.
- ``wire``: complex Gabor wavelets, omega = scale = 10, int(width / sqrt2) complex units, torch's own initialisation,
  as in the weight-scaling code; WIRE's authors (CVPR 2023) take 20 and 30 for images.
- ``nfsl``: SIREN with a smaller last layer, its variance in proportion to width^(-3/2) (own reading, `SmallLast`).
- ``sinc``: sin(8 pi z) / (8 pi z), torch's own initialisation, as in the weight-scaling code.
- ``ws``: SIREN with all layers but the last times 2.5, the paper's value for 512 x 512 pixels and four sine layers.
  On coarser grids it is too large for held-out points: give ``init=weight_scaling("auto")`` or a smaller alpha.
- ``finer``: sin(30 (|z| + 1) z) with SIREN's bounds and first biases from U(-1/sqrt2, 1/sqrt2) (Liu et al., CVPR 2024).
- ``combette``: sine of omega 30 with unit gain at any depth (`Combette`).
- ``wavelet``: real Gabor wavelets of two linear maps a layer, both constants 10, torch's own initialisation, as in the
  code of Chng et al. (CVPR 2025).
- ``grid``: ReLU on trainable grids of 8 resolutions up to 256, Glorot, as Mueller et al. (ACM Trans. Graph. 2022), who
  have 16 up to 524,288 with larger tables. Their networks have 64 units and one or two hidden layers, their Adam a
  learning rate of 1e-2: that of the grids here where the recipe's is 1e-3, by the gain.
"""


def pixel_grid(finest: int, dimensions: int = 2, gain: float = 1.0) -> Maker:
    """Return the field for values on a dense grid, the best at equal processor seconds on pictures.

    Features on four grids, the finest as fine as the values, with a narrow ReLU network behind; for Adam at 1e-2. On
    pictures it fits 20 dB closer than sines in the same time, but knows nothing of places without values.

    Args:
        finest: Points of the values along the longest axis.
        dimensions: Number of coordinates.
        gain: Factor on the features: 10 trains the grids at a rate of 1e-3 as fast as at 1e-2, which other networks
            do not stand.

    Returns:
        What `nfsolve.solve` takes as a field.
    """
    most = None if dimensions < 3 else 18
    encoding = FeatureGrid(levels=4, coarsest=8, finest=max(8, finest), features=4, hash_size=most, gain=gain)
    return partial(MLP, width=32, depth=1, activation=ReLU(), encoding=encoding)


def preset(name: str, **options: Any) -> Maker:
    """Return a preset field, to be built for a problem.

    Args:
        name: One of `PRESETS`.
        **options: Arguments of its class, such as ``width`` and ``depth``; they override those of the preset.

    Returns:
        What `nfsolve.solve` takes as a field.

    Raises:
        InputError: There is no such preset, or its class has no such argument.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    maker = PRESETS[name]
    known = [argument for argument in inspect.signature(maker.func).parameters if argument not in ("domain", "outputs")]
    for option in options:
        if option not in known:
            raise unknown(f"option of preset '{name}'", option, known)
    return partial(maker, **options)
