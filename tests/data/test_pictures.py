"""Resizing of pictures against loops."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nfsolve.data.pictures import REC601, crop, read, shrink, squeeze


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
    with pytest.raises(ValueError, match="a picture of 40 x 21 pixels: at least 22"):
        resize(noise(21, 40, 1), 64)


def test_brightness_has_the_weights_asked_for(tmp_path):
    colours = (255 * noise(30, 30, 3)).round().numpy().astype(np.uint8)
    iio.imwrite(tmp_path / "a.png", colours)
    gray = read(str(tmp_path / "a.png"), True, luma=REC601)
    assert np.allclose(gray[..., 0], colours @ np.array([0.299, 0.587, 0.114]) / 255)


def test_values_that_are_not_finite_are_worded(tmp_path, monkeypatch):
    path = tmp_path / "a.tiff"
    path.write_bytes(b"x")
    values = np.ones((30, 30), np.float32)
    values[3, 4] = np.nan
    monkeypatch.setattr(iio, "imread", lambda data, index: values)
    with pytest.raises(ValueError, match="a.tiff' has values that are NaN or infinite"):
        read(str(path), False)
    monkeypatch.setattr(iio, "imread", lambda data, index: np.ones((0, 30)))
    with pytest.raises(ValueError, match=r"a.tiff' has shape \(0, 30\): one picture"):
        read(str(path), False)
