"""Wav files: every type of samples there and back, and the wording of bad files."""

import numpy as np
import pytest
from scipy.io import wavfile

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
    with pytest.raises(ValueError, match=r"text.wav' could not be read .*a wav file of PCM"):
        read_wav(tmp_path / "text.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.wav' could not be read"):
        read_wav(tmp_path / "empty.wav")
    wavfile.write(tmp_path / "none.wav", 100, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match=r"none.wav' has no samples: at least one"):
        read_wav(tmp_path / "none.wav")
    wavfile.write(tmp_path / "nan.wav", 100, np.array([0, np.nan], np.float32))
    with pytest.raises(ValueError, match=r"nan.wav' has samples that are NaN or infinite: numbers"):
        read_wav(tmp_path / "nan.wav")
