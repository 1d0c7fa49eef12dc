"""A picture as the quantised weights of its field, beside JPEG.

After Dupont, Golinski, Alizadeh, Teh & Doucet, COIN: Compression with Implicit Neural Representations, 2021 (arXiv
2103.03123): a small sine network is trained on all pixels and its weights are stored, here as integers of a few bits
for each tensor's range, packed by LZMA. The size counts everything but the architecture. JPEG is that of Pillow, with
optimised Huffman tables and colours at half the resolution, and counts its whole file.
"""

import copy
import io
import lzma
import struct
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nfsolve import InputError
from nfsolve.metrics import psnr

MOST = 16  # bits of a weight
PACKED: dict[str, Any] = {"format": lzma.FORMAT_RAW, "filters": [{"id": lzma.FILTER_LZMA2, "preset": 9}]}


def pack(field: nn.Module, bits: int) -> bytes:
    """Return the weights as integers of so many bits, each tensor over its own range, packed."""
    ranges, numbers = [], []
    for weights in field.parameters():
        values = weights.detach().double().cpu().numpy().ravel()
        low, step = np.float32(values.min()), np.float32((values.max() - values.min()) / (2**bits - 1))
        ranges.append(struct.pack("<ff", low, step))
        numbers.append(np.rint((values - low) / step if step else 0 * values).clip(0, 2**bits - 1).astype(np.uint16))
    whole = np.concatenate(numbers)
    planes = np.unpackbits(whole.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - bits :]
    content = whole.astype(np.uint8).tobytes() if bits == 8 else np.packbits(planes).tobytes()
    return b"".join(ranges) + lzma.compress(content, **PACKED)


def unpack(content: bytes, field: nn.Module, bits: int) -> nn.Module:
    """Return a copy of a field of the same architecture with the weights that `pack` stored."""
    found = copy.deepcopy(field)
    tensors = list(found.parameters())
    packed = np.frombuffer(lzma.decompress(content[8 * len(tensors) :], **PACKED), np.uint8)
    count = sum(weights.numel() for weights in tensors)
    planes = np.unpackbits(packed)[: count * bits].reshape(count, bits)
    numbers = planes @ (2.0 ** np.arange(bits - 1, -1, -1))
    with torch.no_grad():
        for i, weights in enumerate(tensors):
            low, step = struct.unpack_from("<ff", content, 8 * i)
            mine, numbers = numbers[: weights.numel()], numbers[weights.numel() :]
            weights.copy_(torch.from_numpy(low + step * mine).reshape(weights.shape))
    return found


def jpeg(picture: Tensor, quality: int) -> tuple[int, float]:
    """Return the bytes of a picture ``(height, width, 1 or 3)`` as JPEG, and its PSNR in dB."""
    pixels = (255 * picture.double().cpu().numpy()).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
        file, "JPEG", quality=quality, optimize=True, subsampling=2
    )
    decoded = np.asarray(Image.open(file)).reshape(pixels.shape) / 255
    return file.tell(), psnr(torch.from_numpy(decoded), picture.double().cpu())


def against_jpeg(picture: Tensor, size: int, decibels: float) -> dict[str, Any]:
    """Return the rate of a compressed picture, that of JPEG at equal PSNR, and the PSNR of JPEG at equal rate.

    Args:
        picture: ``(height, width, 1 or 3)`` in [0, 1].
        size: Bytes of the compressed picture.
        decibels: Its PSNR.

    Returns:
        Entries of the metrics; what no quality of JPEG reaches is left out.
    """
    pixels = picture.shape[0] * picture.shape[1]
    made = [jpeg(picture, quality) for quality in range(1, 101, 3)]
    as_good = [length for length, found in made if found >= decibels]
    as_small = [found for length, found in made if length <= size]
    return {
        "bits_per_pixel": 8 * size / pixels,
        **({"bits_per_pixel_jpeg": 8 * min(as_good) / pixels} if as_good else {}),
        **({"psnr_jpeg": max(as_small)} if as_small else {}),
    }


def check_bits(bits: int) -> None:
    """Refuse a number of bits that no weight can have.

    Raises:
        InputError: It is negative, 1, or more than 16.
    """
    if bits and not 2 <= bits <= MOST:
        raise InputError(f"bits must be from 2 to {MOST}, got {bits}", do="give 8, say, or 0 to keep the weights")
