import math

import numpy as np
import pytest

from nfsolve.plot.panels import colour_scale, history_panel, image_panel, new_figure, score_panel


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


ROWS = [{"seconds": float(i), "loss": 0.5**i, "psnr": 20.0 + i, "psnr_heldout": 19.0 + i} for i in range(9)]
RESIDUALS = [row | {"rms/a": 0.7, "heldout/a": 0.8, "relative_l2": 0.9 ** row["seconds"]} for row in ROWS]
LABELS = {"psnr": "PSNR given", "psnr_heldout": "PSNR held-out"}


@pytest.mark.parametrize("size", [(4.0, 2.5), (4.0, 3.0), (6.0, 6.0)])
@pytest.mark.parametrize(
    ("draw", "rows"),
    [
        (history_panel, ROWS),
        (lambda axes, rows: history_panel(axes, rows, "psnr"), RESIDUALS),
        (history_panel, RESIDUALS),
        (lambda axes, rows: score_panel(axes, rows, LABELS), ROWS),
    ],
    ids=["loss", "psnr", "errors", "scores"],
)
def test_no_legend_covers_a_curve_or_a_label(draw, rows, size):
    figure = new_figure(*size)
    axes = figure.subplots()
    draw(axes, rows)
    figure.draw_without_rendering()
    legend = axes.get_legend()
    assert (legend is None) == (len(axes.lines) == 1)
    if legend is not None:
        box = legend.get_window_extent()
        assert not box.overlaps(axes.get_window_extent()) and not box.overlaps(axes.xaxis.label.get_window_extent())
        assert box.y0 >= 0
