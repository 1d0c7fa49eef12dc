"""A sound as a function of time: find v with v(t_i) = s_i, the samples of a clip divided by max|s|.

The clip spans t in [-1, 1]. SIREN (Sitzmann et al., NeurIPS 2020, arXiv 2006.09661) puts it on [-100, 100] with
omega 30, which gives the first layer the same frequencies as omega_0 = 3000 here (biases move its phases 100 times
faster here). Every second sample is given, the others are held out and score the field. Without --audio it is an
arpeggio of plucked strings, made from a formula. Of stereo and more, each channel is an output of the field.

    nfsolve run audio
    nfsolve run audio --audio speech.wav --start 2 --seconds 1.5
"""

import math
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve import MLP, Box, InputError, Problem, Recipe, RunOptions, Sine, Stage, main, weight_scaling
from nfsolve.data.sounds import read_wav, write_wav
from nfsolve.data.tables import find_file
from nfsolve.metrics import psnr, snr
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from problems.signals._given import NONE_HELD_OUT, Given, fresh, split
from problems.signals._limits import check_batch, check_least

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 32  # samples of a clip
ZOOM = 200  # samples of the enlarged part in the picture
QUICK = 16384  # samples of the quick score, about
SHARE = 0.4  # of the Nyquist frequency, at most, for omega_0: beyond it a field aliases between short clips' samples
PROTOCOLS = {
    "default": {"seconds": 1.0, "reduce": 2, "stride": 2, "batch": 2048},
    "ws": {"seconds": 0.0, "reduce": 1, "stride": 1, "batch": 0},
}


@dataclass
class AudioFit(Problem):
    """A sound from half of its samples."""

    protocol: Literal["default", "ws"] = "default"
    """default: this file's; ws: SIREN's audio settings, as used for the weight-scaling paper's table"""
    audio: str = ""
    """wav file, a path or a name under $NFSOLVE_DATA; default plucked strings from a formula"""
    channel: int = -1
    """channel of the file, counted from 0; -1 takes all, each an output of the field; -2 their mean"""
    start: float = 0.0
    """where the clip begins, seconds"""
    seconds: float | None = None
    """seconds of the clip, at most to the end of the file; 0 takes all; default the protocol's (default 1, ws all)"""
    reduce: int | None = None
    """divide the sample rate by this, after a low-pass filter; default the protocol's (default 2, ws 1)"""
    stride: int | None = None
    """every k-th sample is given, the others are held out; 1 gives all; default the protocol's (default 2, ws 1)"""
    batch: int | None = None
    """samples in a mini-batch; 0 takes all that are given; default the protocol's (default 2048, ws 0)"""

    domain = Box(t=(-1, 1))
    pointwise = True
    stage_factors = ()

    def __post_init__(self) -> None:
        check_least(vars(self), {"seconds": 0, "reduce": 1, "stride": 1, "batch": 0, "start": 0, "channel": -2})

    @property
    def score(self) -> str:  # type: ignore[override]
        """The key of the metrics by which fields are compared."""
        return "psnr_heldout" if self.of("stride") > 1 else "psnr"

    def of(self, name: str) -> Any:
        """Return a parameter, or the protocol's value where it was not given."""
        value = getattr(self, name)
        return PROTOCOLS[self.protocol][name] if value is None else value

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """One name, or v0, v1 ... where the sound has several channels."""
        k = self._clip()[0].shape[1]
        return "v" if k == 1 else " ".join(f"v{i}" for i in range(k))

    def _clip(self) -> tuple[np.ndarray, np.ndarray, int, Any]:
        """Read the clip: its samples (n, k), those before the rate was reduced, the file's rate and type."""
        channels, rate, kind = read_wav(find_file(self.audio, type(self))) if self.audio else plucked()
        if self.channel >= channels.shape[1]:
            raise InputError(
                f"channel must be less than {channels.shape[1]}, the channels of the sound, got {self.channel}",
                do="count from 0, or write -1 for all of them and -2 for their mean",
            )
        samples = channels if self.channel < 0 else channels[:, [self.channel]]
        samples = samples.mean(1, keepdims=True) if self.channel == -2 else samples
        factor, stride = self.of("reduce"), self.of("stride")
        wave, original = cut(samples, rate, factor, self.start, self.of("seconds"))
        if len(wave[::stride]) < FEWEST // 2 or len(wave) < FEWEST:
            raise InputError(
                f"a clip must have at least {FEWEST} samples, {FEWEST // 2} of them given, but after reduce={factor} "
                f"it has {len(wave)}, {len(wave[::stride])} of them given",
                do="take more seconds, or a smaller reduce or stride",
            )
        if (np.ptp(wave, 0) == 0).all():
            what = "silent" if not wave.any() else "constant"
            raise InputError(f"the clip must be a sound, but it is {what}", do="choose another start, or more seconds")
        check_batch(self.batch, len(wave[::stride]))
        return wave, original, rate, kind

    @property
    def resolution(self) -> int:
        """Number of samples that are given."""
        return len(self._clip()[0][:: self.of("stride")])

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Read the clip (n, k), scaled to max|v| = 1, and take the given samples out of it."""
        wave, original, rate, kind = self._clip()
        factor, stride = self.of("reduce"), self.of("stride")
        peak = float(np.abs(wave).max())
        points = torch.linspace(-1, 1, len(wave), dtype=torch.float64)[:, None].to(device, dtype)
        values = torch.from_numpy(wave / peak).to(device, dtype)
        mask = torch.zeros(len(wave), dtype=torch.bool, device=device)
        mask[::stride] = True
        shape = {"peak": peak, "rate": rate, "kind": kind, "seconds": (len(wave) - 1) * factor / rate}
        shape["original"] = torch.from_numpy(original)
        return {**split(Given(points, values=values), mask), "points": points, "wave": values, "mask": mask} | shape

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick samples at random among those given."""
        return {"sound": data["given"].sample(self.of("batch"), generator)}

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Return the held-out samples."""
        return fresh(data, "sound")

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """v(t) minus the samples."""
        return {"sound": field(batch["sound"].points) - batch["sound"].values}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score given and held-out samples, and a cubic spline through the given ones.

        PSNR has peak 1, the largest amplitude |v|; a peak-to-peak convention would say 6.02 dB more. A field of
        zeros then scores PSNR - SNR, 16.16 dB on SIREN's Bach clip.
        """
        scores = _scores(in_pieces(field, data["points"]), data["wave"], data["mask"])
        if self.of("stride") == 1:
            return scores | NONE_HELD_OUT
        rest = ~data["mask"]
        return scores | {"psnr_heldout_spline": psnr(spline(data)[rest], data["wave"][rest])}

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score some thousand samples."""
        stride = self.of("stride")
        # one more than a multiple of the stride, so that given and held-out samples keep their shares
        some = slice(None, None, 1 + stride * (len(data["wave"]) // (QUICK * stride)))
        return _scores(in_pieces(field, data["points"][some]), data["wave"][some], data["mask"][some])

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw waveform, error, an enlarged part, the spectrograms and the history."""
        shown = int(data["wave"].square().sum(0).argmax())  # the loudest channel
        wave, given = panels.array(data["wave"])[:, shown], panels.array(data["mask"]) > 0
        sound = panels.array(in_pieces(field, data["points"]))[:, shown]
        channel = f", channel {shown}" if data["wave"].shape[1] > 1 else ""
        seconds = self.start + np.linspace(0, data["seconds"], len(wave))
        scores = self.metrics(field, data)
        figure = panels.new_figure(11.0, 6.2)
        axes = figure.subplots(2, 3)
        axes[0, 0].plot(seconds, wave, "k", lw=0.6, alpha=0.4, label="clip")
        axes[0, 0].plot(seconds, sound, "C0", lw=0.6, label="field")
        axes[0, 0].set(title=f"waveform{channel},\n{given.sum()} of {len(wave)} samples given", ylim=(-1.2, 1.2))
        panels.legend_below(axes[0, 0])
        axes[0, 1].plot(seconds, sound - wave, "C3", lw=0.6)
        names = {"psnr": "given", "psnr_heldout": "held-out"}
        said = ", ".join(f"{label} {scores[key]:.1f} dB" for key, label in names.items() if key in scores)
        axes[0, 1].set(title=f"error, PSNR\n{said}")
        self._zoom(axes[0, 2], field, data, shown)
        for panel in axes[0]:
            panel.set(xlabel="seconds", ylabel="amplitude")
        at_rate = data["rate"] / self.of("reduce")
        panels.spectrogram_panel(axes[1, 0], wave, at_rate, "spectrogram of the clip")
        panels.spectrogram_panel(
            axes[1, 1], sound, at_rate, f"of the field,\nSNR {snr(_column(sound), _column(wave)):.1f} dB"
        )
        labels = {"psnr": "PSNR given", "psnr_heldout": "PSNR held-out", "snr_heldout": "SNR held-out"}
        panels.score_panel(axes[1, 2], history, labels)
        return figure

    def _zoom(self, axes: Any, field: FieldFunction, data: Batch, channel: int) -> None:
        """Draw the loudest part of a channel, with the field between the samples."""
        wave = panels.array(data["wave"])[:, channel]
        n, given = len(wave), data["mask"].cpu().numpy()
        width = min(ZOOM, n)
        loud = np.convolve(wave**2, np.ones(width), "valid").argmax()
        part = slice(int(loud), int(loud) + width)
        first, last = data["points"][part][[0, -1], 0].tolist()
        fine = torch.linspace(first, last, 16 * width)[:, None].to(data["points"])
        at = self.start + (np.linspace(-1, 1, n)[part] + 1) / 2 * data["seconds"]
        between = panels.array(in_pieces(field, fine))[:, channel]
        axes.plot(np.linspace(at[0], at[-1], len(fine)), between, "C0", lw=1, label="field")
        axes.plot(at[given[part]], wave[part][given[part]], "ko", ms=3, label="given")
        if not given.all():
            axes.plot(at[~given[part]], wave[part][~given[part]], "C3x", ms=4, label="held-out")
        axes.set(title=f"the loudest {1e3 * (at[-1] - at[0]):.0f} ms")
        panels.legend_below(axes)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write clip and field as wav, at the file's amplitude, sample rate and type of samples."""
        points = torch.linspace(-1, 1, len(data["original"]), dtype=torch.float64)[:, None].to(data["points"])
        sound = data["peak"] * panels.array(in_pieces(field, points))
        for name, samples in (("field.wav", sound), ("clip.wav", panels.array(data["original"]))):
            write_wav(folder / name, samples, data["rate"], data["kind"])

    def recipe(self) -> Recipe:
        """Return a sine network with weights scaled, Adam.

        ``ws`` is SIREN's audio protocol (256 wide, 4 sine layers, omega_0 = 3000 on [-1, 1] and 30 behind, Adam at
        1e-4, full batch) from a weight-scaling initialisation (Yeom, Lee & Lee, ICLR 2025, arXiv 2410.04779).
        The paper's alpha and number of steps for audio are not known: alpha = 2.5 is its value for images, 1000
        steps are our choice.
        """
        if self.protocol == "ws":
            return Recipe(
                field=partial(MLP, width=256, depth=4, activation=Sine(3000.0, 30.0), init=weight_scaling(2.5)),
                stages=(Stage(partial(torch.optim.Adam, lr=1e-4), steps=1000),),
                run=RunOptions(log_every=25),
            )
        nyquist = math.pi * (self.resolution - 1) / 2  # of the given samples, on [-1, 1]
        omega = min(3000.0, SHARE * nyquist)
        return Recipe(
            field=partial(MLP, width=128, depth=4, activation=Sine(omega, 30.0), init=weight_scaling(1.1)),
            stages=(Stage(partial(torch.optim.Adam, lr=3e-4), steps=800, schedule="cosine"),),
            run=RunOptions(log_every=40),
        )


@cache
def plucked(rate: int = 44100, seconds: float = 2.0) -> tuple[np.ndarray, int, Any]:
    """Make an arpeggio of plucked strings: decaying partials p of a stiff string, f_p = p f_1 sqrt(1 + B p^2).

    Amplitudes sin(pi p / 5) / p are those of the force at the end of a string plucked at a fifth of its length
    (Fletcher & Rossing, The Physics of Musical Instruments, 1998, chapter 2). Partials end at 4.5 kHz.
    """
    t = np.arange(int(rate * seconds)) / rate
    sound = np.zeros_like(t)
    for note, semitones in enumerate([-26, -19, -10, -12, -10, -19, -10, -19]):  # above A = 440 Hz
        base, since = 440 * 2 ** (semitones / 12), t[t >= 0.25 * note] - 0.25 * note
        attack = 1 - np.exp(-since / 2e-3)
        for p in range(1, 48):
            frequency = p * base * np.sqrt(1 + 1e-4 * p**2)
            if frequency < 4500:
                envelope = attack * np.sin(np.pi * p / 5) / p * np.exp(-(2 + 0.5 * p) * since)
                sound[-len(since) :] += envelope * np.sin(2 * np.pi * frequency * since)
    return 0.8 * (sound / np.abs(sound).max())[:, None], rate, np.int16


def cut(samples: np.ndarray, rate: int, factor: int, start: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Take a part of a sound, with the rate divided by a factor and as it is; both start and end at the same times.

    A part that is longer than the rest takes the rest, 0 seconds too. The low-pass filter comes before the cut, so
    that no edge rings.
    """
    from scipy.signal import resample_poly

    wave = samples if factor == 1 else resample_poly(samples, 1, factor)
    first, length = round(start * rate / factor), round(seconds * rate / factor)
    if first >= len(wave):
        raise InputError(
            f"start must be less than {len(samples) / rate:.3g} s, the length of the sound, got {start:g}",
            do="begin earlier",
        )
    wave = wave[first:] if seconds == 0 else wave[first : first + max(1, length)]
    return wave, samples[first * factor : (first + len(wave) - 1) * factor + 1]


def spline(data: Batch) -> Tensor:
    """Interpolate the given samples by a cubic spline, constant behind the last."""
    from scipy.interpolate import CubicSpline

    t, given = panels.array(data["given"].points)[:, 0], panels.array(data["given"].values)
    values = CubicSpline(t, given)(panels.array(data["points"])[:, 0].clip(t[0], t[-1]))
    return torch.from_numpy(values).to(data["wave"])


def _scores(sound: Tensor, wave: Tensor, mask: Tensor) -> dict[str, Any]:
    scores = {"psnr": psnr(sound[mask], wave[mask]), "snr": snr(sound[mask], wave[mask])}
    if not mask.all():
        scores |= {"psnr_heldout": psnr(sound[~mask], wave[~mask]), "snr_heldout": snr(sound[~mask], wave[~mask])}
    return scores


def _column(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values)[:, None]


if __name__ == "__main__":
    main(AudioFit)
