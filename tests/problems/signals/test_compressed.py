"""A picture as quantised weights: there and back, the size that is counted, JPEG beside it."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import nfsolve as nf
from nfsolve import MLP, InputError
from problems.signals._compressed import against_jpeg, jpeg, pack, unpack
from problems.signals.image import ImageFit
from tests.problems.signals.test_image import ramp_file

__all__ = ["ramp_file"]


@pytest.mark.parametrize("bits", [2, 5, 8, 11, 16])
def test_weights_come_back_to_half_a_step(bits):
    field = MLP.for_problem(ImageFit(size=32), width=9, depth=2, seed=0)
    back = unpack(pack(field, bits), field, bits)
    for ours, theirs in zip(map(Tensor.detach, field.parameters()), map(Tensor.detach, back.parameters()), strict=True):
        step = float(ours.max() - ours.min()) / (2**bits - 1)
        assert float((ours - theirs).abs().max()) <= 0.51 * step + 1e-6


def test_fewer_bits_are_fewer_bytes():
    field = MLP.for_problem(ImageFit(size=32), width=32, depth=3, seed=0)
    sizes = [len(pack(field, bits)) for bits in (2, 4, 8, 12, 16)]
    assert sizes == sorted(sizes)
    weights = sum(p.numel() for p in field.parameters())
    assert sizes[2] < 1.05 * weights + 200


def test_jpeg_is_that_of_a_whole_file():
    chance = torch.Generator().manual_seed(0)
    picture = torch.rand(24, 40, 3, generator=chance)
    size, decibels = jpeg(picture, 80)
    file = io.BytesIO()
    Image.fromarray((255 * picture.numpy()).round().astype(np.uint8)).save(
        file, "JPEG", quality=80, optimize=True, subsampling=2
    )
    assert size == len(file.getvalue())
    assert 5 < decibels < 40
    assert against_jpeg(picture, size, decibels)["bits_per_pixel"] == 8 * size / (24 * 40)
    assert "psnr_jpeg" not in against_jpeg(picture, 10, 5.0)


def test_a_run_is_scored_as_it_is_stored(ramp_file, tmp_path):
    problem = ImageFit(image=str(ramp_file), bits=8)
    solution = nf.solve(problem, partial(MLP, width=8, depth=2), steps=60, report=None)
    problem.export(solution.field, solution.data, tmp_path)
    found, content = solution.metrics, (tmp_path / "weights.bin").read_bytes()
    assert found["bits_per_pixel"] == pytest.approx(8 * len(content) / (30 * 44))
    back = unpack(content, solution.field, 8)
    assert problem.metrics(back, solution.data)["psnr"] == pytest.approx(found["psnr_compressed"], abs=1e-3)
    assert found["bits_per_pixel_jpeg"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "from 2 to 16, got 1"),
        ({"bits": 17}, "got 17"),
        ({"bits": 8, "noise": 0.1}, "jobs of their own, got noise and bits"),
    ],
)
def test_bits_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ImageFit(**options)
