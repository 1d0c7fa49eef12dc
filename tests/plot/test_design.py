"""The picture of the next measurement: its best place, and what cannot be drawn."""

import pytest
import torch

from nfsolve import InputError
from nfsolve.plot.design import design_picture
from nfsolve.run.design import NextMeasurement


@pytest.mark.parametrize("d", [1, 2])
def test_the_best_place_is_marked(d):
    points = torch.rand(9, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    remaining = torch.linspace(0.9, 0.1, 9, dtype=torch.float64)
    figure = design_picture(NextMeasurement(points, remaining, "u", "k", ("x", "y")[:d]))
    axes = figure.axes[0]
    star = axes.lines[-1]
    expected = points[-1].tolist() if d == 2 else [float(points[-1]), 0.1**0.5]
    assert [float(star.get_xdata()[0]), float(star.get_ydata()[0])] == pytest.approx(expected)
    assert axes.get_xlabel() == "x"
    assert "standard error of k" in axes.get_title()


def test_three_coordinates_are_refused():
    with pytest.raises(InputError, match="one or two coordinates, got 3"):
        design_picture(NextMeasurement(torch.rand(4, 3), torch.rand(4), "u", "u", ("x", "y", "z")))
