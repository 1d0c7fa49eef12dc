"""Wav files: every type of samples there and back, and the wording of bad files.

Kinds of fault of the reader: samples of 8, 16, 24, 32 and 64 bits, floating-point ones of another scale or not finite,
extensible headers, other codecs, no samples, no rate, no channels, cut-off files, sizes that lie or are not known.
"""

import struct
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from nfsolve._core.errors import InputError
from nfsolve.data.sounds import decode, encode, read_wav, write_wav

KINDS = (np.uint8, np.int16, np.int32, np.float32, np.float64)
STEP = {np.uint8: 2.0**-7, np.int16: 2.0**-15, np.int32: 2.0**-31, np.float32: 1e-7, np.float64: 1e-15}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_survive_the_way_to_a_file_and_back(tmp_path, kind):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 2))
    write_wav(tmp_path / "a.wav", samples, 8000, kind)
    back, rate, found = read_wav(tmp_path / "a.wav")
    assert (rate, found) == (8000, kind)
    assert np.abs(back - samples).max() <= 0.5 * STEP[kind] + 1e-16


def test_full_scale_is_one_in_every_type():
    assert decode(np.array([0, 128, 255], np.uint8)).tolist() == [-1.0, 0.0, 127 / 128]
    assert decode(np.array([-(2**15), 0, 2**14], np.int16)).tolist() == [-1.0, 0.0, 0.5]
    assert decode(np.array([0.25], np.float32)).tolist() == [0.25]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64])
def test_what_is_too_loud_is_cut_and_not_wrapped(kind):
    loud = encode(np.array([1.5, -1.5]), kind)
    assert loud[0] > 0.99 * np.iinfo(kind).max
    assert loud[1] == np.iinfo(kind).min


def test_a_mono_file_has_one_column(tmp_path):
    wavfile.write(tmp_path / "mono.wav", 100, np.arange(5, dtype=np.int16))
    assert read_wav(tmp_path / "mono.wav")[0].shape == (5, 1)


def test_parts_of_a_file_that_are_no_sound_are_passed_over(tmp_path):
    wavfile.write(tmp_path / "a.wav", 100, np.arange(6, dtype=np.int16))
    content = (tmp_path / "a.wav").read_bytes() + b"junk" + (4).to_bytes(4, "little") + b"1234"
    content = content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:]
    (tmp_path / "b.wav").write_bytes(content)
    assert read_wav(tmp_path / "b.wav")[0].shape == (6, 1)


def test_bad_files_are_worded(tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all, only words")
    with pytest.raises(ValueError, match="text.wav' must be a wav file of PCM .* could not be read"):
        read_wav(tmp_path / "text.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(ValueError, match="empty.wav' must be .* could not be read"):
        read_wav(tmp_path / "empty.wav")
    wavfile.write(tmp_path / "none.wav", 100, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match="none.wav' must have samples and a rate, but it has 0 samples"):
        read_wav(tmp_path / "none.wav")
    wavfile.write(tmp_path / "nan.wav", 100, np.array([0, np.nan], np.float32))
    with pytest.raises(ValueError, match="samples of sound '.*nan.wav' must be finite"):
        read_wav(tmp_path / "nan.wav")


def part(name: bytes, data: bytes) -> bytes:
    """Return a part of a file, filled up to a whole number of two bytes."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("before", [b"", b"LIST", b"JUNK", b"bext"])
@pytest.mark.parametrize("after", [b"", b"LIST"])
@pytest.mark.parametrize("channels", [1, 5])
def test_parts_of_odd_size_do_not_shift_the_samples(tmp_path, bits, before, after, channels):
    block = channels * bits // 8
    head = part(b"fmt ", struct.pack("<HHIIHH", PCM, channels, 8000, 8000 * block, block, bits))
    extra = [part(name, b"INFOabc") if name else b"" for name in (before, after)]
    body = b"WAVE" + extra[0] + head + part(b"data", stored(bits)) + extra[1]
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert read_wav(tmp_path / "a.wav")[0].tolist() == LOUD.reshape(-1, channels).tolist()


@pytest.mark.parametrize(("valid", "stored_bits"), [(12, 16), (20, 24), (24, 32)])
def test_fewer_valid_bits_than_stored_ones(tmp_path, valid, stored_bits):
    content = wav(stored(stored_bits), stored_bits, extensible=True)
    at = content.index(struct.pack("<HH", 22, stored_bits)) + 2
    (tmp_path / "a.wav").write_bytes(content[:at] + struct.pack("<H", valid) + content[at + 2 :])
    assert read_wav(tmp_path / "a.wav")[0].ravel().tolist() == LOUD.tolist()


@pytest.mark.parametrize("kind", ["i2", "f4"])
def test_big_endian_files_and_long_ones(tmp_path, kind):
    values = LOUD * (32768 if kind == "i2" else 1)
    bits, code = 8 * int(kind[1]), PCM if kind == "i2" else FLOAT
    for order, name in ((">", b"RIFX"), ("<", b"RF64")):
        data = values.astype(order + kind).tobytes()
        head = struct.pack(order + "HHIIHH", code, 1, 8000, 8000 * bits // 8, bits // 8, bits)
        body = b"WAVE" + (b"" if order == ">" else b"ds64" + struct.pack("<IQQQI", 28, 80 + len(data), len(data), 5, 0))
        body += b"fmt " + struct.pack(order + "I", 16) + head + b"data"
        for lie in (0, 40):
            size = 2**32 - 1 if order == "<" else len(data) + lie
            whole = struct.pack(order + "I", 2**32 - 1 if order == "<" else len(body) + 4 + len(data))
            (tmp_path / "a.wav").write_bytes(name + whole + body + struct.pack(order + "I", size) + data)
            if lie and order == ">":
                with pytest.raises(InputError, match="a part claims"):
                    read_wav(tmp_path / "a.wav")
            else:
                assert read_wav(tmp_path / "a.wav")[0].ravel().tolist() == LOUD.tolist()


PCM, FLOAT, ALAW = 1, 3, 6
LOUD = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])


def wav(data: bytes, bits: int, kind: int = PCM, channels: int = 1, rate: int = 8000, **lies: Any) -> bytes:
    """Return a file by hand, with an extensible header if ``extensible``, and other sizes where they are given."""
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * block, lies.get("block", block), bits)
    if lies.get("extensible"):
        rest = struct.pack("<HHIH", 22, bits, 0, kind) + bytes.fromhex("000000001000800000aa00389b71")
        head = b"\xfe\xff" + head[2:] + rest
    body = b"fmt " + struct.pack("<I", lies.get("head", len(head))) + head
    body += b"data" + struct.pack("<I", lies.get("size", len(data))) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def stored(bits: int) -> bytes:
    """Return LOUD as integers of this many bits."""
    scaled = (LOUD * 2 ** (bits - 1) + (128 if bits == 8 else 0)).astype(int)
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=bits > 8) for v in scaled)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [8, 16, 24, 32, 64, "f4", "f8"])
def test_samples_of_every_width_are_shares_of_full_scale(tmp_path, bits, extensible):
    if isinstance(bits, str):
        content = wav(LOUD.astype(bits).tobytes(), 8 * int(bits[1]), FLOAT, extensible=extensible)
    else:
        content = wav(stored(bits), bits, extensible=extensible)
    (tmp_path / "a.wav").write_bytes(content)
    assert read_wav(tmp_path / "a.wav")[0].ravel().tolist() == LOUD.tolist()


def test_channels_are_columns_and_a_size_may_be_unknown(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(stored(16)[:8], 16, channels=2, size=2**32 - 1))
    assert read_wav(tmp_path / "a.wav")[0].tolist() == [[-1, -0.5], [0, 0.25]]


@pytest.mark.parametrize(
    "content",
    [
        wav(stored(16), 16)[:-1],
        wav(stored(16), 16)[:-6],
        wav(stored(16), 16)[:40],
        wav(stored(16), 16)[:20],
        wav(stored(16), 16, size=2**31),
        wav(stored(16), 16, size=2),
        wav(stored(16), 16, head=2**31),
        wav(stored(16), 16, head=0),
        wav(stored(16), 16, block=3),
        wav(stored(16), 16, channels=0),
        wav(stored(16), 16, rate=0),
        wav(stored(16), 0),
        wav(stored(16), 16) + part(b"data", stored(16)),
        wav(stored(16), 0, block=2),
        wav(stored(16), 1, block=4),
        wav(stored(16)[:-1] + b"", 16),
        wav(stored(16), 16)[:36],
        wav(stored(16), 16)[:4] + bytes(4) + wav(stored(16), 16)[8:],
        b"RIFF" + (4).to_bytes(4, "little") + b"WAVE",
        wav(b"", 16),
        wav(bytes(8), 8, ALAW),
        wav(bytes(8), 16, FLOAT),
        wav((LOUD * 32768).astype("f4").tobytes(), 32, FLOAT),
        wav((LOUD * 1e30).astype("f4").tobytes(), 32, FLOAT),
        b"RIFF",
    ],
)
def test_files_that_lie_or_are_cut_off_end_in_a_sentence(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=r"sound '.*a.wav' must "):
        read_wav(tmp_path / "a.wav")
