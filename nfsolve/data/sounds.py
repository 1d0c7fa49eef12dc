"""Sounds from and to wav files, as shares of full scale.

Integers of k bits are divided by 2^(k - 1); those of 8 bits have no sign, their zero is 128 (Microsoft & IBM,
Multimedia Programming Interface and Data Specifications 1.0, 1991). Floating-point samples are shares already.
"""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError

LOUDEST = 256.0  # times full scale: floating-point samples beyond are those of another scale
UNKNOWN = 2**32 - 1  # size that programs write which do not know it yet


def read_wav(path: Path) -> tuple[np.ndarray, int, Any]:
    """Read a wav file.

    Args:
        path: The file.

    Returns:
        Samples ``(n, channels)`` as shares of full scale, float64; samples a second; the type of the samples in the
        file, for `write_wav`.

    Raises:
        InputError: This is not a wav file, it is damaged, cut off or empty, or a sample is not finite or not a share.
    """
    from scipy.io import wavfile

    try:
        _check_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # parts of the file that are not sound
            rate, raw = wavfile.read(path)
    except Exception as error:  # the reader raises whatever it likes
        raise InputError(
            f"sound '{path}' must be a wav file of PCM or floating-point samples, but it could not be read "
            f"({reason(error)})",
            do="convert it, or save it again",
        ) from error
    if raw.size == 0 or rate < 1:
        raise InputError(
            f"sound '{path}' must have samples and a rate, but it has {len(raw)} samples at {rate} a second",
            do="record or save it again",
        )
    samples = decode(raw.reshape(len(raw), -1))
    if not np.isfinite(samples).all():
        raise InputError(
            f"samples of sound '{path}' must be finite, but some are NaN or infinite", do="repair or cut the file"
        )
    if np.abs(samples).max() > LOUDEST:
        raise InputError(
            f"samples of sound '{path}' must be shares of full scale, but they reach {np.abs(samples).max():.6g}",
            do="divide floating-point samples by their full scale and save them again",
        )
    return samples, int(rate), raw.dtype.type


def _check_size(path: Path) -> None:
    """Refuse a file whose parts claim more than it holds, or do not fit each other; scipy reads what there is."""
    block, names = 1, list[bytes]()
    with path.open("rb") as file:
        length = path.stat().st_size
        first = file.read(12)
        order = {b"RIFF": "<", b"RIFX": ">"}.get(first[:4])  # the second is big-endian
        if order is None or len(first) < 12:
            return
        whole = 8 + struct.unpack(order + "I", first[4:8])[0]
        while len(head := file.read(8)) == 8:
            (name, size), held = struct.unpack(order + "4sI", head), length - file.tell()
            names.append(name)
            if name == b"data" and size == UNKNOWN:
                return
            if held < size:
                raise ValueError(f"a part claims {size} bytes, but {held} follow")
            start = file.tell()
            if name == b"fmt " and size >= 16:
                channels, block, bits = struct.unpack(order + "2xH8xHH", file.read(16))
                if block != channels * -(-bits // 8) or not block:
                    raise ValueError(f"{channels} channels of {bits} bits do not make samples of {block} bytes")
            if name == b"data" and start > whole:
                raise ValueError(f"it claims {whole} bytes, but its samples come after them")
            if name == b"data" and size % block:
                raise ValueError(f"{size} bytes are not a whole number of samples of {block} bytes")
            file.seek(start + size + size % 2)
    if names.count(b"data") > 1:
        raise ValueError("its samples lie in several parts")
    if not {b"fmt ", b"data"} <= set(names):
        raise ValueError("it has no samples, or does not say of what kind they are")


def write_wav(path: Path, samples: np.ndarray, rate: int, kind: Any) -> None:
    """Write a wav file.

    Args:
        path: The file.
        samples: ``(n,)`` or ``(n, channels)``, shares of full scale.
        rate: Samples a second.
        kind: NumPy type of the samples in the file.
    """
    from scipy.io import wavfile

    wavfile.write(path, rate, encode(samples, kind))


def decode(raw: np.ndarray) -> np.ndarray:
    """Return samples as float64 shares of full scale; 8-bit integers are unsigned in wav files, with 128 as zero."""
    if raw.dtype.kind == "f":
        return raw.astype(np.float64)
    bits = 8 * raw.dtype.itemsize
    return raw / 2.0 ** (bits - 1) - (1 if raw.dtype.kind == "u" else 0)


def encode(samples: np.ndarray, kind: Any) -> np.ndarray:
    """Return shares of full scale as samples of a type; integers are rounded and cut, not wrapped around."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return samples.astype(dtype)
    limits = np.iinfo(dtype)
    scaled = (samples + (1 if dtype.kind == "u" else 0)) * 2.0 ** (limits.bits - 1)
    top = np.nextafter(float(limits.max) + 1, 0) if limits.bits > 53 else limits.max
    return scaled.round().clip(limits.min, top).astype(dtype)
