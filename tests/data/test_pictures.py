"""Resizing of pictures against loops; files of every mode against what a viewer shows.

Kinds of fault of the reader: modes without a scale (I, F, LAB), dropped bits, hidden alpha, orientation, several
pictures in a file, bombs (of pixels, of texts), damaged and cut-off files, values that are not finite.
"""

import io
import struct
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from nfsolve._core.errors import InputError
from nfsolve.data.pictures import (
    REC601,
    STORED,
    crop,
    decode,
    from_pillow,
    orientation,
    read,
    shrink,
    squeeze,
    to_values,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def averaged(picture: torch.Tensor, side: int) -> torch.Tensor:
    """Cut every pixel into side x side small ones, so that every average is over whole ones."""
    height, width = picture.shape[:2]
    fine = picture.repeat_interleave(side, 0).repeat_interleave(side, 1)
    out = torch.empty(side, side, picture.shape[2], dtype=picture.dtype)
    for i in range(side):
        for j in range(side):
            out[i, j] = fine[i * height : (i + 1) * height, j * width : (j + 1) * width].mean((0, 1))
    return out


@pytest.mark.parametrize("shape", [(33, 50), (48, 26), (25, 25)])
def test_squeezing_averages_over_areas(shape):
    picture = noise(*shape, 2)
    assert torch.allclose(squeeze(picture, 24), averaged(picture, 24), atol=1e-14)


def test_squeezing_never_enlarges_and_keeps_the_mean():
    picture = noise(30, 44, 3)
    small = squeeze(picture, 512)
    assert small.shape == (30, 30, 3)
    assert torch.allclose(small.mean((0, 1)), picture.mean((0, 1)))


def test_bilinear_squeezing_by_two_averages_four_pixels():
    picture = noise(60, 60, 1)
    four = picture.reshape(30, 2, 30, 2, 1).mean((1, 3))
    assert torch.allclose(squeeze(picture, 30, "bilinear"), four)
    third = squeeze(noise(90, 90, 1), 30, "bilinear")  # without antialiasing: the middle pixel of three
    assert torch.allclose(third, noise(90, 90, 1)[1::3, 1::3])


def test_cropping_cuts_the_centre():
    picture = noise(40, 61, 3)
    assert torch.equal(crop(picture, 40), picture[:, 10:50])
    assert torch.allclose(crop(picture, 25), squeeze(picture[:, 10:50], 25))


def test_shrinking_keeps_the_shape():
    assert shrink(noise(50, 100, 1), 60).shape == (30, 60, 1)
    small = noise(30, 40, 1)
    assert shrink(small, 60) is small


@pytest.mark.parametrize("resize", [squeeze, crop, shrink])
def test_small_pictures_are_worded(resize):
    with pytest.raises(ValueError, match="at least 22 pixels .* has 40 x 21 pixels"):
        resize(noise(21, 40, 1), 64)


def test_brightness_has_the_weights_asked_for(tmp_path):
    colours = (255 * noise(30, 30, 3)).round().numpy().astype(np.uint8)
    iio.imwrite(tmp_path / "a.png", colours)
    gray = read(str(tmp_path / "a.png"), True, luma=REC601)
    assert np.allclose(gray[..., 0], colours @ np.array([0.299, 0.587, 0.114]) / 255)


Y, X = np.mgrid[0:40, 0:60]
COLOURS = np.stack([X * 4, Y * 6, 255 - X * 4], -1).astype(np.uint8)
GRAY16 = (X / 59 * 65535).astype(np.uint16)
BASE = Image.fromarray(COLOURS)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_opaque_modes_are_as_a_viewer_shows_them(mode):
    image = BASE.convert(mode)
    values = to_values(image, "a").numpy()
    assert np.allclose(np.broadcast_to(values, (40, 60, 3)), np.asarray(image.convert("RGB")) / 255)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_straight(mode):
    colours = np.dstack([COLOURS, (X * 4 + 10).astype(np.uint8)])
    image = Image.fromarray(colours).convert(mode)
    straight = np.asarray(image) / 255
    assert np.allclose(to_values(image, "a"), straight)
    faint = {"LA": "La", "RGBA": "RGBa"}[mode]
    assert np.abs(to_values(image.convert(faint), "a").numpy() - straight)[:, 40:].max() < 0.01


def test_palettes_with_transparency_keep_it():
    image = BASE.quantize(16)
    values = decode(encoded(image, "PNG", transparency=3), "a")
    assert values.shape == (40, 60, 4)
    assert np.array_equal(values[..., 3] == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_files(kind):
    content = encoded(BASE.convert("CMYK"), kind)
    assert np.allclose(decode(content, "a"), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(BASE, "PNG", exif=exif)
    assert np.allclose(decode(content, "a"), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))) / 255)
    assert decode(content, "a").shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PGM"])
def test_brightness_of_16_bits(kind):
    content = b"P5\n60 40\n65535\n" + GRAY16.astype(">u2").tobytes()
    if kind != "PGM":
        content = encoded(Image.fromarray(GRAY16), kind)
    assert np.allclose(decode(content, "a")[..., 0], GRAY16 / 65535)
    big = Image.frombytes("I;16B", (60, 40), GRAY16.astype(">u2").tobytes())
    assert np.allclose(to_values(big, "a")[..., 0], GRAY16 / 65535)


def test_pgm_of_other_peaks():
    content = b"P5\n60 40\n4095\n" + (GRAY16 // 16).astype(">u2").tobytes()
    assert np.allclose(decode(content, "a")[..., 0], (GRAY16 // 16) / 4095, atol=1e-5)


DEEP = np.random.default_rng(0).integers(0, 65536, (40, 60, 4)).astype(np.uint16)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("key", [False, True])
def test_png_of_16_bits_keeps_all_of_them(colour, channels, key):
    values = DEEP[..., :channels]
    content = png(60, 40, 16, colour, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    want = values / 65535
    if key and colour in (0, 2):  # one colour that is transparent
        content = content[:33] + chunk(b"tRNS", values[3, 4].astype(">u2").tobytes()) + content[33:]
        want = np.concatenate([want, (values != values[3, 4]).any(-1, keepdims=True)], -1)
    assert np.array_equal(decode(content, "a"), want)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "deflate"},
        {"compression": "deflate", "predictor": True},
        {"compression": "deflate", "byteorder": ">"},
        {"tile": (16, 16)},
        {"rowsperstrip": 7},
        {"extratags": [(274, "H", 1, 6, True)]},
        {"photometric": "separated"},
    ],
    ids=str,
)
def test_tiff_of_16_bits_keeps_all_of_them(options, channels):
    tifffile = pytest.importorskip("tifffile")
    file, values = io.BytesIO(), DEEP[..., :channels]
    if options.get("photometric"):
        values = DEEP
        want = (1 - DEEP[..., :3] / 65535) * (1 - DEEP[..., 3:] / 65535)
    else:
        want = np.rot90(values, -1 if "extratags" in options else 0) / 65535
    tifffile.imwrite(file, values, **{"photometric": "rgb"} | options)
    assert np.allclose(decode(file.getvalue(), "a"), want, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}])
@pytest.mark.parametrize("planes", [True, False])
def test_layouts_of_16_bits_that_pillow_cuts_are_refused(options, planes):
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    if planes:
        values = np.moveaxis(DEEP, -1, 0).copy()
        tifffile.imwrite(file, values, photometric="rgb", planarconfig="separate", **options)
    else:
        tifffile.imwrite(file, DEEP, photometric="rgb", extrasamples=[1], **options)
    with pytest.raises(InputError, match="must have 8 bits in each channel of mode RGBA, but it has 16"):
        decode(file.getvalue(), "a")


@pytest.mark.parametrize("peak", [300, 1023, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_portable_pixmaps_of_any_peak(peak, plain):
    values = DEEP[..., :3].astype(np.int64) % (peak + 1)
    values[0, 0] = peak
    body = " ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes()
    content = (b"P3" if plain else b"P6") + f" # made\n60 40\n# by hand\n{peak}\n".encode() + body
    assert np.array_equal(decode(content, "a"), values / peak)
    for damaged in (content[:-8], content.replace(f"{peak}\n".encode(), b"%d\n" % (peak - 1), 1)):
        with pytest.raises(InputError, match="could not be decoded"):
            decode(damaged, "a")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_gray_png_of_few_bits_with_a_transparent_level(bits):
    levels = DEEP[..., 0] % 2**bits
    digits = (levels[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(digits.reshape(40, -1).astype(np.uint8), 1)
    content = png(60, 40, bits, 0, b"".join(b"\0" + row.tobytes() for row in rows))
    content = content[:33] + chunk(b"tRNS", b"\0\1") + content[33:]
    assert np.allclose(decode(content, "a"), np.stack([levels / (2**bits - 1), levels != 1], -1))


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiff_whose_white_is_0_is_inverted(kind, orientation):
    tifffile = pytest.importorskip("tifffile")
    file, values = io.BytesIO(), (X / 59 * {"u1": 255, "u2": 65535, "f4": 1}[kind]).astype(kind)
    tifffile.imwrite(file, values, photometric="miniswhite", extratags=[(274, "H", 1, orientation, True)])
    want = 1 - values / (np.iinfo(kind).max if kind != "f4" else 1)
    assert np.allclose(decode(file.getvalue(), "a")[..., 0], np.rot90(want, -1 if orientation == 6 else 0), atol=1e-6)


@pytest.mark.parametrize("kind", ["i1", "i2", "u4", "f2", "f8", "colours", "alpha"])
def test_tiff_of_other_kinds_is_refused_in_words(kind):
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    if kind == "colours":
        tifffile.imwrite(file, COLOURS / np.float32(255), photometric="rgb")
    elif kind == "alpha":
        tifffile.imwrite(file, DEEP[..., :2], photometric="minisblack", extrasamples=[2], planarconfig="contig")
    else:
        tifffile.imwrite(file, np.ones((40, 60), kind), photometric="minisblack")
    with pytest.raises(InputError, match="kind of TIFF|stored with a sign|mode whose colours and scale are defined"):
        decode(file.getvalue(), "a")


def test_a_progressive_jpeg_is_read():
    content = encoded(BASE, "JPEG", progressive=True, quality=95)
    assert np.abs(decode(content, "a").numpy() - COLOURS / 255).max() < 0.1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_that_pillow_holds(mode):
    image = {"I;16": Image.fromarray(GRAY16), "F": Image.fromarray((X / 59).astype(np.float32))}.get(mode)
    values = from_pillow(BASE.convert(mode) if image is None else image)
    shown = GRAY16 / 65535 if mode in ("I;16", "F") else np.asarray(BASE.convert(mode).convert("RGB")) / 255
    want = shown[..., None] if mode in ("I;16", "F") else shown
    assert np.allclose(np.broadcast_to(values[..., : 1 if values.shape[-1] < 3 else 3], want.shape), want, atol=2e-5)


def test_pillow_with_16_bits_not_yet_cut_is_refused(tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP)
    with pytest.raises(InputError, match="its file has 16. Give the path"):
        from_pillow(Image.open(io.BytesIO(png(60, 40, 16, 6, rows))))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (BASE.convert("LAB"), "it has LAB"),
        (Image.fromarray(GRAY16.astype(np.int32)), "it has I"),
        (Image.fromarray((X * 4).astype(np.float32)), "mode F .* from 0 to 236"),
        (Image.fromarray(np.where(X == 3, np.nan, 0.5).astype(np.float32)), "NaN or infinite"),
    ],
)
def test_modes_without_a_scale_are_refused(image, words):
    with pytest.raises(InputError, match=words):
        decode(encoded(image, "TIFF"), "a")


def test_floats_between_0_and_1():
    values = (X / 59).astype(np.float32)
    assert np.array_equal(decode(encoded(Image.fromarray(values), "TIFF"), "a")[..., 0], values)


def test_transparent_pictures_are_refused_and_opaque_ones_read(tmp_path):
    path = tmp_path / "a.png"
    for alpha in (np.full_like(X, 255), np.where(X < 30, 255, 0)):
        path.write_bytes(encoded(Image.fromarray(np.dstack([COLOURS, alpha]).astype(np.uint8)), "PNG"))
        if alpha.min() == 255:
            assert np.allclose(read(str(path), False), COLOURS / 255)
        else:
            with pytest.raises(InputError, match="must be opaque, but 50 % of its pixels"):
                read(str(path), False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        encoded(Image.effect_noise((60, 40), 90), "PNG")[:900],
        encoded(BASE, "JPEG")[:600],
        encoded(BASE, "TIFF")[:900],
        encoded(BASE, "PNG")[:20],
        png(60000, 60000, 8, 0, b""),
        png(10000, 9500, 8, 0, b""),
        b"P6\n60 40",
    ],
)
def test_damaged_files_and_bombs_end_in_a_sentence(content):
    with pytest.raises(InputError, match="^picture 'a' must be a .*picture.*, but"):
        decode(content, "picture 'a'")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_pictures_in_a_file_are_refused(kind):
    content = encoded(BASE, kind, save_all=True, append_images=[BASE.rotate(180)])
    with pytest.raises(InputError, match="must be one picture, but it holds 2 pictures"):
        decode(content, "a")
    assert decode(encoded(BASE, kind), "a").shape[:2] == (40, 60)


def test_a_photograph_with_its_preview_is_read():
    content = encoded(BASE, "MPO", save_all=True, append_images=[BASE.rotate(180)], quality=95)
    assert np.abs(decode(content, "a").numpy() - COLOURS / 255).max() < 0.1


def test_bombs_of_text_end_in_a_sentence():
    content = encoded(BASE, "PNG")
    text = b"zTXta\0\0" + zlib.compress(bytes(10**8))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    with pytest.raises(InputError, match="could not be decoded"):
        decode(content[:33] + chunk + content[33:], "a")


@pytest.mark.parametrize("turn", range(1, 9))
def test_pixels_as_they_are_stored_come_back_from_the_upright_picture(turn: int):
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    said, file = Image.Exif(), io.BytesIO()
    said[0x0112] = turn
    Image.fromarray(stored).save(file, "PNG", exif=said)
    back = STORED[orientation(file.getvalue())](decode(file.getvalue(), "it"))
    assert torch.equal((back * 255).round().byte(), torch.from_numpy(stored))
