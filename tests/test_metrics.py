"""Scores against scikit-image, closed forms, and the wording of bad input."""

import math

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nfsolve.metrics import (
    iou,
    larger_is_better,
    matthews,
    max_error,
    otsu,
    psnr,
    relative_l2,
    relative_to_variation,
    snr,
    ssim,
)

SCORES = (relative_l2, max_error, psnr, snr, ssim, iou, matthews)


def noisy_pair(shape, peak=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(shape, generator=generator, dtype=torch.float64)
    truth = torch.cumsum(truth - 0.5, 0)  # some structure along the columns
    truth = peak * (truth - truth.min()) / (truth.max() - truth.min())
    image = truth + 0.1 * peak * torch.randn(shape, generator=generator, dtype=torch.float64)
    return image, truth


@pytest.mark.parametrize("shape", [(11, 11), (40, 23)])
@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_ssim_of_gray_images_is_scikit_images(shape, peak):
    image, truth = noisy_pair(shape, peak)
    expected = structural_similarity(
        truth.numpy(),
        image.numpy(),
        data_range=peak,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert abs(ssim(image, truth, peak) - expected) < 1e-10


def test_ssim_of_colour_images_is_scikit_images():
    image, truth = noisy_pair((32, 27, 3))
    expected = structural_similarity(
        truth.numpy(),
        image.numpy(),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1,
    )
    assert abs(ssim(image, truth) - expected) < 1e-10
    assert abs(ssim(image.float(), truth.float()) - expected) < 1e-6


def test_ssim_of_identical_images_is_one():
    image, _ = noisy_pair((16, 16))
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-14)


def test_snr_counts_decades_of_power():
    truth = torch.tensor([[1.0], [-1.0], [2.0]], dtype=torch.float64)
    assert snr(0.9 * truth, truth) == pytest.approx(20.0, abs=1e-12)
    assert snr(0 * truth, truth) == 0.0
    assert snr(truth, truth) == math.inf
    assert snr(truth, 0 * truth) == -math.inf
    noise = torch.full_like(truth, 0.1)
    zero = -10 * math.log10(float(truth.square().mean()))  # what a signal of zeros scores as PSNR of peak 1
    assert psnr(truth + noise, truth) - snr(truth + noise, truth) == pytest.approx(zero, abs=1e-12)


def test_psnr_is_scikit_images():
    image, truth = noisy_pair((20, 20, 3), 255.0)
    expected = peak_signal_noise_ratio(truth.numpy(), image.numpy(), data_range=255.0)
    assert psnr(image, truth, 255.0) == pytest.approx(expected, rel=1e-12)


def test_psnr_of_a_constant_error():
    truth = torch.zeros(7, 3)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-5)
    assert psnr(truth, truth) == math.inf


def test_relative_l2_and_max_error_by_hand():
    reference = torch.tensor([[3.0], [4.0]])
    u = torch.tensor([[3.0], [4.5]])
    assert relative_l2(u, reference) == pytest.approx(0.1)
    assert max_error(u, reference) == pytest.approx(0.5)
    assert relative_l2(-u, -reference) == pytest.approx(0.1)


def test_relative_l2_in_float32_keeps_its_digits():
    reference = torch.ones(2_000_000, 1)
    u = reference * (1 + 2**-20)
    assert relative_l2(u, reference) == pytest.approx(2**-20, rel=1e-6)


def test_iou_by_hand():
    prediction = torch.tensor([1.0, 1.0, 0.0, 0.0])
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert iou(prediction, truth) == pytest.approx(1 / 3)
    assert iou(truth, truth) == 1.0
    assert iou(torch.zeros(4), torch.zeros(4)) == 1.0
    assert iou(0.3 * prediction, truth) == 0.0
    assert iou(0.3 * prediction, truth, threshold=0.2) == pytest.approx(1 / 3)


def test_matthews_is_its_formula_in_true_and_false_members():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(40, 30, generator=generator) < 0.3
    guess = truth ^ (torch.rand(40, 30, generator=generator) < 0.1)
    tp, tn = int((guess & truth).sum()), int((~guess & ~truth).sum())
    fp, fn = int((guess & ~truth).sum()), int((~guess & truth).sum())
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert 0.5 < expected < 0.9
    assert matthews(guess, truth) == pytest.approx(expected)
    assert matthews(~guess, truth) == pytest.approx(-expected)
    assert matthews(truth, truth) == pytest.approx(1)


def test_matthews_of_nothing_and_everything_is_zero():
    some, none = torch.arange(4) > 1, torch.zeros(4, dtype=torch.bool)
    assert matthews(none, some) == matthews(some, none) == matthews(~none, some) == matthews(none, none) == 0


def two_classes():
    generator = torch.Generator().manual_seed(1)
    dark, bright = torch.randn(700, generator=generator), 6 + 2 * torch.randn(300, generator=generator)
    return torch.cat([dark, bright])


def test_otsu_is_scikit_images_to_a_bin():
    values = two_classes()
    bin_width = float(values.max() - values.min()) / 256
    assert otsu(values) == pytest.approx(threshold_otsu(values.numpy()), abs=1.01 * bin_width)
    assert otsu(values.reshape(20, 50)) == otsu(values)
    assert otsu(3e-5 * values) == pytest.approx(3e-5 * otsu(values), rel=1e-4)


def test_otsu_separates_best_of_all_edges_by_hand():
    values = two_classes().double()
    edges = np.linspace(float(values.min()), float(values.max()), 17)

    def between(edge):
        low, high = values[values <= edge], values[values > edge]
        return len(low) * len(high) * float(low.mean() - high.mean()) ** 2

    found = otsu(values, bins=16)
    assert np.abs(edges - found).min() < 1e-9
    assert between(found) > 0.99 * max(between(edge) for edge in edges[1:-1])


def test_otsu_of_two_values_lies_between_them_and_of_one_is_it():
    assert 1 < otsu(torch.tensor([1.0, 1.0, 3.0])) <= 3
    two = torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    assert torch.equal(two > otsu(two), two == 5)
    assert otsu(torch.full((3, 3), 2.0)) == 2
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        otsu(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize(
    ("key", "larger"),
    [("psnr", True), ("ssim_tv", True), ("iou", True), ("matthews_fbp", True), ("snr", True), ("relative_l2", False)],
)
def test_scores_say_which_way_they_are_read(key, larger):
    assert larger_is_better(key) == larger
    assert not larger_is_better(f"seconds_{key}")


@pytest.mark.parametrize("score", SCORES)
def test_shapes_must_agree(score):
    with pytest.raises(
        ValueError, match=r"equal shapes, got values of shape \(16, 1\) and a reference of shape \(16,\)"
    ):
        score(torch.ones(16, 1), torch.ones(16))


@pytest.mark.parametrize("score", SCORES)
def test_values_must_be_finite(score):
    bad = torch.ones(16, 16)
    bad[0, :2] = math.nan
    with pytest.raises(ValueError, match="2 of 256 values are not finite"):
        score(bad, torch.ones(16, 16))
    with pytest.raises(ValueError, match="2 of 256 reference values are not finite"):
        score(torch.ones(16, 16), bad)


def test_other_bad_input_is_worded():
    with pytest.raises(ValueError, match=r"(?i)zero everywhere.*use max_error"):
        relative_l2(torch.ones(3), torch.zeros(3))
    with pytest.raises(ValueError, match="at least 11 x 11 pixels"):
        ssim(torch.ones(10, 20), torch.ones(10, 20))
    with pytest.raises(ValueError, match="no values to score"):
        psnr(torch.ones(0, 1), torch.ones(0, 1))


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-160, 1.0, 1e200, 1e300])
def test_scores_do_not_depend_on_the_magnitude(scale):
    image, truth = noisy_pair((16, 16))
    tiny = scale < 1e-310  # subnormal numbers have few digits
    assert relative_l2(scale * image, scale * truth) == pytest.approx(
        relative_l2(image, truth), rel=0.1 if tiny else 1e-9
    )
    assert snr(scale * image, scale * truth) == pytest.approx(snr(image, truth), abs=1.0 if tiny else 1e-9)
    assert psnr(scale * image, scale * truth, scale) == pytest.approx(psnr(image, truth), abs=1.0 if tiny else 1e-9)
    if not tiny:
        assert ssim(scale * image, scale * truth, scale) == pytest.approx(ssim(image, truth), rel=1e-9)


def test_images_of_zeros_have_scores():
    image, nothing = noisy_pair((16, 16))[0], torch.zeros(16, 16)
    assert psnr(image, nothing, 0.0) == -math.inf and psnr(nothing, nothing, 0.0) == math.inf
    assert ssim(nothing, nothing, 0.0) == 1.0 and ssim(image, nothing, 1.0) < 0.5


@pytest.mark.parametrize(("mean", "size"), [(5e3, 1e-9), (300.0, 10.0), (-1e-200, 1e-203)])
def test_an_error_is_told_in_terms_of_a_small_variation(mean, size):
    shape = torch.linspace(-1, 1, 101, dtype=torch.float64)
    truth = mean + size * shape
    assert relative_to_variation(torch.full_like(truth, mean), truth) == pytest.approx(1, rel=1e-2)
    assert relative_to_variation(truth + 0.1 * size * shape, truth) == pytest.approx(0.1, rel=1e-2)


@pytest.mark.parametrize("truth", [torch.ones(9), torch.zeros(9), torch.arange(9.0), torch.full((9,), 0.1)])
def test_where_the_relative_error_says_enough_there_is_no_other(truth):
    assert math.isnan(relative_to_variation(truth + 1, truth))
