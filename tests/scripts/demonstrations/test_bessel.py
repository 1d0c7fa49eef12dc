import json
import math

import numpy as np
import pytest

from nfsolve import MLP, Sine, weight_scaling
from nfsolve.studies.analysis import Subject, analyze
from problems.signals.image import ImageFit
from scripts.demonstrations import DEMONSTRATIONS, bessel


def test_bessel_identity_ratios_and_the_range_of_the_lemma():
    for w2 in (0.3, 1.5, 4.0):
        found = bessel.harmonics(w2)
        assert found.identity_error < 1e-13
        np.testing.assert_allclose(found.measured, found.expansion, atol=1e-14)
    x = np.linspace(-2, 3, 50)
    np.testing.assert_allclose(
        bessel.network(x, 1.7, 0.8, 0.4), bessel.expansion(x, 1.7, 0.8, 0.4, range(1, 40, 2)), atol=1e-14
    )
    # without positive odd orders only it is another function
    assert np.abs(bessel.network(x, 1.7, 0.8, 0.4) - bessel.expansion(x, 1.7, 0.8, 0.4, (1, 3))).max() > 1e-6
    assert bessel.lemma_range(1) == pytest.approx(2.42, abs=0.03)
    small = bessel.ratios(0.02, (1, 3, 5))
    np.testing.assert_allclose(small, [0.02**2 / (4 * 6), 0.02**2 / (8 * 10)], rtol=1e-3)
    double = bessel.ratios(0.04, (1, 3, 5))
    np.testing.assert_allclose(double / small, 4, rtol=1e-3)


def test_bessel_places_the_initial_field():
    problem = ImageFit(size=48)
    made = {
        alpha: Subject.of_field(
            problem,
            MLP.for_problem(problem, width=128, depth=2, activation=Sine(30.0), init=weight_scaling(alpha), seed=2),
        )
        for alpha in (1.0, 2.0)
    }
    one, two = (bessel.analyse(subject).field_w2 for subject in made.values())
    assert two == pytest.approx(2 * one, rel=0.01)
    assert one == pytest.approx(math.sqrt(2), rel=0.05)
    assert bessel.figure(bessel.analyse(made[1.0])).axes


def test_a_network_without_sine_layers_is_skipped_with_the_reason(tmp_path):
    problem = ImageFit(size=48, gray=True)
    subject = Subject.of_field(problem, MLP.for_problem(problem, width=6, depth=2))
    report = analyze(subject, ["bessel", "hyperbolas"], tmp_path, analyses=DEMONSTRATIONS)
    assert report.skipped == {"bessel": "the field has no two sine layers one behind the other"}
    assert "bessel: does not apply, the field has no two sine layers" in str(report)
    assert json.loads((tmp_path / "analysis.json").read_text())["skipped"] == report.skipped
    assert [path.name for path in report.files] == ["analysis_hyperbolas.png", "analysis.json"]
