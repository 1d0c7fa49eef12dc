import math

import numpy as np
import pytest

from nfsolve.plot.panels import colour_scale, image_panel, new_figure


@pytest.mark.parametrize(
    ("values", "symmetric", "expected"),
    [
        (([0.1, 0.9], [0.2, math.nan, 1.1]), False, ("viridis", 0.1, 1.1)),
        (([-3.0, -1.0],), False, ("viridis", -3.0, -1.0)),
        (([-0.01, 1.0],), False, ("viridis", -0.01, 1.0)),
        (([-0.5, 1.0], [-2.0]), False, ("RdBu_r", -2.0, 2.0)),
        (([0.1, 0.9],), True, ("RdBu_r", -0.9, 0.9)),
        (([0.0, 0.0],), False, ("RdBu_r", -1.0, 1.0)),
    ],
)
def test_colours_follow_the_signs_of_all_values(values, symmetric, expected, tmp_path):
    first, *others = (np.array([row]) for row in values)
    scale = colour_scale(first, *others, symmetric=symmetric)
    assert (scale["cmap"], scale["vmin"], scale["vmax"]) == expected
    figure = new_figure(3.0, 3.0)
    image_panel(figure.subplots(), first, [(0, 1), (0, 1)], "xy", "", symmetric=symmetric, compared=others)
    [image] = figure.axes[0].images
    assert (image.get_cmap().name, *image.get_clim()) == expected
    figure.savefig(tmp_path / "drawn.png", dpi=40)
