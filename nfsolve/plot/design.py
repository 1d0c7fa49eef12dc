"""The picture of what one more measurement would bring, by the place where it is made."""

from typing import TYPE_CHECKING

from nfsolve._core.errors import InputError
from nfsolve.plot import panels
from nfsolve.run.design import NextMeasurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def design_picture(advice: NextMeasurement) -> "Figure":
    """Draw what each candidate would leave of the standard error.

    Args:
        advice: What `nfsolve.run.posterior.Posterior.next_measurement` returned.

    Returns:
        A curve over one coordinate, coloured points over two, with a star at the best place.

    Raises:
        InputError: The candidates have more than two coordinates.
    """
    points, left, best = panels.array(advice.points), panels.array(advice.remaining.sqrt()), panels.array(advice.best)
    if points.shape[1] > 2:
        raise InputError(
            f"a picture needs candidates with one or two coordinates, got {points.shape[1]}",
            do="read advice.points and advice.remaining",
        )
    figure = panels.new_figure(5.6, 4.2)
    axes = figure.subplots()
    said = f"share of the standard error of {advice.target} left by one more {advice.measured}"
    if points.shape[1] == 1:
        order = points[:, 0].argsort()
        axes.plot(points[order, 0], left[order])
        axes.plot(best[0], left.min(), "*", color="black", markersize=12)
        axes.set(xlabel=advice.names[0], title=said)
        return figure
    shown = axes.scatter(points[:, 0], points[:, 1], c=left, cmap="viridis_r")
    axes.plot(best[0], best[1], "*", color="red", markersize=14)
    axes.set(xlabel=advice.names[0], ylabel=advice.names[1], title=said, aspect="equal")
    panels.colour_bar(axes, shown)
    return figure
