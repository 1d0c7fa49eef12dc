"""Limited arcs: the disc and its holes, its segmentation and score, the scanner, bad input."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import nfsolve
from nfsolve import MLP
from nfsolve.forward.phantoms import Ellipse
from problems.ct.limited import ACRYLIC, DISC, CTLimited, disc_with_holes

SMALL = {"size": 32, "step": 10.0, "classical": ()}


def outline(ellipse: Ellipse, n=200):
    """Points on an ellipse, (n, 2)."""
    t, turn = np.linspace(0, 2 * np.pi, n), math.radians(ellipse.angle)
    u, v = ellipse.a * np.cos(t), ellipse.b * np.sin(t)
    return np.stack(
        [ellipse.x + u * math.cos(turn) - v * math.sin(turn), ellipse.y + u * math.sin(turn) + v * math.cos(turn)], 1
    )


@pytest.mark.parametrize("seed", range(8))
def test_holes_touch_neither_each_other_nor_the_rim(seed):
    disc, *holes = disc_with_holes(6, seed)
    assert (disc.a, disc.b, disc.value) == (DISC, DISC, ACRYLIC)
    assert 3 <= len(holes) <= 6 and all(hole.value == -ACRYLIC for hole in holes)
    outlines = [outline(hole) for hole in holes]
    assert all(np.hypot(*line.T).max() < DISC - 1.9 for line in outlines)
    for i, one in enumerate(outlines):
        for other in outlines[:i]:
            assert np.hypot(*(one[:, None] - other).transpose(2, 0, 1)).min() > 0.9
    assert disc_with_holes(6, seed) == [disc, *holes]


def test_discs_differ_between_seeds_and_can_be_whole():
    assert disc_with_holes(6, 0) != disc_with_holes(6, 1)
    assert len(disc_with_holes(0, 0)) == 1
    assert len(disc_with_holes(1000, 0)) < 60  # as many as there is room for


def test_the_scan_is_that_of_a_fan_over_its_arc_with_the_segmentation_of_the_truth():
    scan = CTLimited(arc=60, step=7.5, size=64).scan
    assert np.allclose(np.degrees(scan.geometry.angles), np.arange(0, 60.1, 7.5))
    assert scan.geometry.shape == scan.sinogram.shape == (9, 128)
    assert scan.reference.max() == pytest.approx(ACRYLIC) and scan.reference.min() == 0
    assert np.array_equal(scan.segmentation, scan.reference > ACRYLIC / 2)
    area = DISC**2 - sum(hole.a * hole.b for hole in disc_with_holes(6, 0)[1:])
    assert scan.segmentation.sum() * scan.grid.pixel**2 == pytest.approx(math.pi * area, rel=0.02)
    assert scan.counts is not None and CTLimited(counts=0, size=32).scan.counts is None
    assert scan.unit == "mm"


def test_the_truth_scores_well_and_noise_is_that_of_the_counts():
    problem = CTLimited(size=48, step=5.0, loss="gaussian", counts=1e3, classical=())
    data = problem.load("cpu", torch.float64)
    truth = data["reference"]
    found = problem.scores(truth, data)
    assert found["matthews"] > 0.98 and found["psnr"] == math.inf
    scan = data["coarsened"][1]
    misfit = problem.residuals(lambda points: truth.reshape(-1, 1), {"scan": scan})["sinogram"]
    assert float(misfit.square().mean().sqrt()) == pytest.approx(1, abs=0.15)


def test_a_short_run_is_scored_by_its_segmentation():
    problem = CTLimited(**SMALL)
    run = nfsolve.solve(problem, partial(MLP, width=8, depth=1), steps=3, report=None)
    assert problem.score == "matthews" and -1 <= run.metrics["matthews"] <= 1
    assert "matthews" in run.history[-1]
    data = problem.load("cpu", torch.float32)
    with torch.no_grad():
        image = problem.image(run.field, data)
    assert image.min() >= 0 and image.max() <= ACRYLIC  # what is known of the material
    assert CTLimited(**SMALL, peak=0.0, one_material=False).peak == 0


@pytest.mark.parametrize("arc", [90.0, 357.0])
def test_the_attenuation_of_one_material_is_estimated_where_it_is_not_given(arc):
    problem = CTLimited(size=64, arc=arc, step=3.0, peak=0.0, classical=())
    assert problem.one_material and problem.largest == pytest.approx(ACRYLIC, rel=0.03)
    assert any("one material is estimated from the data, 0.0" in words for words in problem.cautions())
    assert not any("one material is" in words for words in replace(problem, peak=ACRYLIC).cautions())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arc": 0.0}, "0 < step <= arc <= 360 degrees, .* arc = 0"),
        ({"step": 100.0}, "step = 100"),
        ({"arc": 400.0}, "arc = 400"),
        ({"step": math.nan}, "step = nan"),
        ({"size": 8}, "size must .* at least 16, got 8"),
        ({"holes": -1}, "holes must .* got -1"),
        ({"counts": -1.0}, "counts must .* got -1"),
        ({"tv": -1.0}, "tv must .* got -1"),
    ],
)
def test_bad_parameters_are_worded(options, words):
    with pytest.raises(ValueError, match=words):
        CTLimited(**options)
