"""The audio problem: exact sounds, the stride, cutting and resampling, outputs, protocols, bad input."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.io import wavfile

import nfsolve
from nfsolve import MLP, Sine
from nfsolve.data.sounds import read_wav, write_wav
from nfsolve.data.tables import find_file
from nfsolve.metrics import psnr, snr
from nfsolve.problem import SamplerState
from problems.signals.audio import AudioFit, cut, plucked

RATE, COUNT = 8000, 1601
TONE = 40 * math.pi  # radians on [-1, 1]: a period of 80 samples


def tone(points):
    """A tone that a wave of 1601 samples holds exactly."""
    return torch.sin(TONE * points)


@pytest.fixture
def tone_file(tmp_path):
    t = np.linspace(-1, 1, COUNT)
    path = tmp_path / "tone.wav"
    stereo = np.stack([np.sin(TONE * t), 0 * t], -1)
    wavfile.write(path, RATE, (0.5 * stereo).astype(np.float32))
    return path


def small(path, **options):
    return AudioFit(audio=str(path), **({"seconds": 0, "reduce": 1, "channel": 0} | options))


def test_the_default_is_a_clip_from_a_formula():
    data = AudioFit().load("cpu", torch.float32)
    assert data["wave"].shape == data["points"].shape == (22050, 1)
    assert data["given"].points.shape == (11025, 1)
    assert data["wave"].abs().max() == 1
    assert data["points"][[0, -1]].tolist() == [[-1], [1]]
    again = AudioFit().load("cpu", torch.float32)
    assert torch.equal(data["wave"], again["wave"])


def test_plucked_strings_are_in_tune_and_fade():
    sound, rate, _ = plucked()
    assert sound.shape == (2 * rate, 1)
    first = sound[: rate // 4, 0]  # the first note alone
    spectrum = np.abs(np.fft.rfft(first * np.hanning(len(first)), 8 * len(first)))
    loudest = np.fft.rfftfreq(8 * len(first), 1 / rate)[spectrum.argmax()]
    base = 440 * 2 ** (-26 / 12)
    assert min(abs(loudest / base - p * math.sqrt(1 + 1e-4 * p**2)) for p in (1, 2, 3)) < 0.02
    assert np.square(first[-1000:]).mean() < 0.5 * np.square(first[500:1500]).mean()


def test_the_exact_sound_has_no_residual_and_perfect_scores(tone_file):
    problem = small(tone_file)
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(), torch.Generator().manual_seed(0))
    assert data["peak"] == pytest.approx(0.5, abs=1e-6)
    assert problem.residuals(tone, batch)["sound"].abs().max() < 1e-6
    scores = problem.metrics(tone, data)
    assert min(scores.values()) > 60
    assert set(scores) == {"psnr", "snr", "psnr_heldout", "snr_heldout", "psnr_heldout_spline"}
    backwards = problem.metrics(lambda points: tone(-points), data)
    assert backwards["psnr_heldout"] < 10


def test_peak_is_the_largest_amplitude(tone_file):
    data = small(tone_file).load("cpu", torch.float64)
    scores = small(tone_file).metrics(lambda t: tone(t) + 0.01, data)
    assert scores["psnr"] == pytest.approx(40.0, abs=1e-3)
    assert scores["snr"] == pytest.approx(40.0 - 10 * math.log10(2), abs=0.02)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_only_strided_samples_are_given(tone_file, stride):
    problem = small(tone_file, stride=stride, batch=64)
    data = problem.load("cpu", torch.float64)
    expected = torch.linspace(-1, 1, COUNT, dtype=torch.float64)[::stride, None]
    assert torch.equal(data["given"].points, expected)
    drawn = problem.sample(data, SamplerState(), torch.Generator().manual_seed(1))["sound"].points
    assert drawn.shape == (64, 1)
    assert torch.isin(drawn, expected).all()
    assert drawn.equal(problem.sample(data, SamplerState(), torch.Generator().manual_seed(1))["sound"].points)
    assert ("psnr_heldout" in problem.metrics(tone, data)) == (stride > 1)
    assert problem.score == ("psnr_heldout" if stride > 1 else "psnr")


def test_a_batch_larger_than_the_data_is_refused(tone_file):
    with pytest.raises(ValueError, match="batch must be at most 801, the number of given values, got 1000000. Write 0"):
        small(tone_file, batch=10**6).load("cpu", torch.float64)
    problem = small(tone_file)  # the protocol's own batch is cut
    data = problem.load("cpu", torch.float64)
    assert problem.sample(data, SamplerState(), torch.Generator())["sound"] is data["given"]


def test_short_clips_get_a_lower_frequency(tone_file):
    problem = small(tone_file)
    assert problem.resolution == 801
    assert problem.recipe().field.keywords["activation"].omega == pytest.approx(0.4 * torch.pi * 800 / 2)
    assert AudioFit().recipe().field.keywords["activation"].omega == 3000


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_quick_scores_see_given_and_held_out_samples(stride, monkeypatch):
    import problems.signals.audio

    monkeypatch.setattr(problems.signals.audio, "QUICK", 500)
    problem = AudioFit(seconds=0.2, stride=stride)
    data = problem.load("cpu", torch.float64)
    seen = []
    quick = problem.quick_metrics(lambda t: (seen.append(len(t)), 0 * t)[1], data)
    assert 400 < sum(seen) < 900
    full = problem.metrics(lambda t: 0 * t, data)
    assert set(quick) == set(full) - {"psnr_heldout_spline", "heldout"}  # a sentence where nothing was held out
    assert all(abs(quick[name] - full[name]) < 1.5 for name in quick)


def test_parts_begin_and_end_at_the_same_times():
    samples = np.sin(np.arange(1000) / 30)
    wave, original = cut(samples, 1000, 4, 0.2, 0.5)
    assert (len(wave), len(original)) == (125, 497)
    assert np.array_equal(original, samples[200:697])
    assert np.abs(wave - original[::4]).max() < 2e-3
    assert len(cut(samples, 1000, 1, 0.9, 5.0)[0]) == 100
    assert len(cut(samples, 1000, 1, 0.25, 0)[0]) == 750


def test_channels_are_averaged_or_chosen(tone_file):
    mean = small(tone_file, channel=-2).load("cpu", torch.float64)
    left = small(tone_file).load("cpu", torch.float64)
    assert mean["peak"] == pytest.approx(left["peak"] / 2)
    assert torch.allclose(mean["wave"], left["wave"])
    with pytest.raises(ValueError, match="the clip must be a sound, but it is silent"):
        small(tone_file, channel=1).load("cpu", torch.float64)
    with pytest.raises(ValueError, match="channel must be less than 2, .* got 2. Count from 0"):
        small(tone_file, channel=2).load("cpu", torch.float64)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize(("k", "unknowns"), [(1, "v"), (2, "v0 v1"), (6, "v0 v1 v2 v3 v4 v5")])
@pytest.mark.parametrize("reduce", [1, 2])
def test_every_channel_is_an_output_and_comes_out_again(tmp_path, kind, k, unknowns, reduce):
    t = np.linspace(-1, 1, COUNT)
    tones = np.stack([0.8 / (i + 1) * np.sin(TONE * (i + 1) * t) * (-1) ** i for i in range(k)], -1)
    write_wav(tmp_path / "many.wav", tones, RATE, kind)
    problem = small(tmp_path / "many.wav", channel=-1, reduce=reduce)
    assert problem.unknowns == unknowns
    data = problem.load("cpu", torch.float64)
    assert data["wave"].shape == ((COUNT + reduce - 1) // reduce, k)

    def exact(points):
        return torch.cat([(-1) ** i / (i + 1) * torch.sin(TONE * (i + 1) * points) for i in range(k)], -1)

    scores = problem.metrics(lambda points: 0.8 / data["peak"] * exact(points), data)
    assert min(scores["psnr"], scores["psnr_heldout"]) > 35
    problem.export(lambda points: 0.8 / data["peak"] * exact(points), data, tmp_path)
    (field, rate, found), (clip, *_) = (read_wav(tmp_path / name) for name in ("field.wav", "clip.wav"))
    assert (rate, found, field.shape) == (RATE, kind, (COUNT, k))
    assert np.abs(field - clip).max() < (0.02 if kind == np.uint8 else 1e-3)
    solution = nfsolve.solve(problem, partial(MLP, width=8, depth=1), "adam", steps=2, report=None)
    assert solution.field.numpy([[0.1]]).shape == (1, k)
    solution.problem.picture(solution.field, solution.data, solution.history).draw_without_rendering()


def test_the_field_comes_out_at_the_amplitude_rate_and_type_of_the_file(tmp_path):
    t = np.linspace(-1, 1, COUNT)
    wavfile.write(tmp_path / "tone.wav", RATE, (2**14 * np.sin(TONE * t)).round().astype(np.int16))
    problem = AudioFit(audio=str(tmp_path / "tone.wav"), seconds=0, reduce=4)
    data = problem.load("cpu", torch.float64)
    problem.export(lambda t: 0.5 / data["peak"] * tone(t), data, tmp_path)
    rate, field = wavfile.read(tmp_path / "field.wav")
    _, clip = wavfile.read(tmp_path / "clip.wav")
    assert rate == RATE
    assert field.dtype == clip.dtype == np.int16
    assert field.shape == clip.shape == (COUNT,)
    middle = slice(100, -100)  # the filter has no signal beyond the ends
    assert np.abs(field[middle].astype(int) - clip[middle]).max() < 0.01 * 2**14
    upright = snr(torch.from_numpy(field[middle] * 1.0), torch.from_numpy(clip[middle] * 1.0))
    assert upright > 40


def test_the_picture_shows_scores_and_spectrograms(tone_file):
    problem = small(tone_file)
    history = [{"step": s, "seconds": float(s), "psnr": 20.0 + s, "psnr_heldout": 20.0} for s in range(3)]
    figure = problem.picture(tone, problem.load("cpu", torch.float64), history)
    titles = [axes.get_title() for axes in figure.axes]
    assert any("held-out" in title and "dB" in title for title in titles)
    assert any("SNR" in title for title in titles)
    figure.draw_without_rendering()


def test_the_ws_protocol_is_sirens():
    problem = AudioFit(protocol="ws")
    assert [problem.of(name) for name in ("seconds", "reduce", "stride", "batch")] == [0, 1, 1, 0]
    assert problem.score == "psnr"
    recipe = problem.recipe()
    assert recipe.field.keywords["activation"] == Sine(3000.0, 30.0)
    assert recipe.field.keywords["width"] == 256
    assert recipe.stages[0].optimizer.keywords["lr"] == 1e-4
    assert AudioFit(protocol="ws", stride=2).score == "psnr_heldout"


def test_three_steps_are_finite_and_follow_the_seed():
    problem = AudioFit(seconds=0.1, batch=100)
    field = partial(MLP, width=8, depth=2)
    runs = [nfsolve.solve(problem, field, steps=3, seed=s, report=None) for s in (3, 3, 4)]
    losses = [run.history[-1]["loss"] for run in runs]
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1] != losses[2]
    assert {"psnr", "psnr_heldout", "snr", "snr_heldout"} <= set(runs[0].metrics)


def test_gauss_newton_fits_a_slow_tone(tmp_path):
    t = np.linspace(-1, 1, 400)
    wavfile.write(tmp_path / "slow.wav", 400, np.sin(3 * math.pi * t + 0.3))
    problem = AudioFit(audio=str(tmp_path / "slow.wav"), seconds=0, reduce=1, batch=0)
    field = partial(MLP, width=12, depth=1, activation=Sine(15.0))
    solution = nfsolve.solve(problem, field, nfsolve.optim.GaussNewton, steps=15, dtype="float64", report=None)
    assert solution.metrics["psnr_heldout"] > 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"reduce": 0}, "reduce must be at least 1, got 0"),
        ({"batch": -1}, "batch must be at least 0, got -1"),
        ({"seconds": math.inf}, "seconds must be at least 0 and finite, got inf"),
        ({"start": -1.0}, "start must be at least 0, got -1"),
        ({"channel": -3}, "channel must be at least -2, got -3"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        AudioFit(**options)


def test_bad_clips_are_worded(tmp_path):
    with pytest.raises(ValueError, match=r"'nowhere.wav' was not found.*NFSOLVE_DATA"):
        AudioFit(audio="nowhere.wav").load("cpu", torch.float32)
    with pytest.raises(ValueError, match=r"start must be less than 2 s, the length of the sound, got 9"):
        AudioFit(start=9.0).load("cpu", torch.float32)
    with pytest.raises(
        ValueError, match=r"at least 32 samples, 16 of them given, but after reduce=2 it has 22050, 3 of them"
    ):
        AudioFit(stride=10000).load("cpu", torch.float32)
    wavfile.write(tmp_path / "flat.wav", 1000, np.full(500, 7, np.int16))
    with pytest.raises(ValueError, match="but it is constant. Choose another start"):
        small(tmp_path / "flat.wav").load("cpu", torch.float32)


def test_the_bach_clip_scores_what_the_papers_peak_says():
    try:
        path = find_file("audio_gt_bach.wav")
    except ValueError:
        pytest.skip("needs audio_gt_bach.wav in $NFSOLVE_DATA")
    data = AudioFit(audio=str(path), protocol="ws").load("cpu", torch.float64)
    assert data["wave"].shape == (308207, 1)
    assert psnr(0 * data["wave"], data["wave"]) == pytest.approx(16.16, abs=0.01)
