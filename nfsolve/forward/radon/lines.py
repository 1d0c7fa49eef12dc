"""Line integrals of any field along any rays, by quadrature: the field enters as a callback."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


def line_integrals(
    field: Callable[[Tensor], Tensor],
    rays: tuple[Tensor, Tensor],
    n_samples: int,
    bounds: Sequence[tuple[float, float]] = ((-1.0, 1.0), (-1.0, 1.0)),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Integrate a field along rays by the midpoint rule inside a box, or by one random sample per cell.

    Args:
        field: Points (n, d) -> values (n, 1).
        rays: Foot points and unit directions, both (m, d); see the `rays` of a geometry; rows make a mini-batch.
        n_samples: Samples per ray, spread evenly over the part of the ray inside the box.
        bounds: Bounds (low, high) per coordinate; the field counts as zero outside.
        generator: Draws one uniform sample per cell (stratified) instead of the midpoint; on the CPU.

    Returns:
        Line integrals, (m, 1); zero for rays that miss the box.

    Raises:
        InputError: The field's values are not (n, 1), `n_samples` is below 1, or the bounds are not those
            of the rays' coordinates.
    """
    feet, directions = rays
    if n_samples < 1:
        raise InputError(
            f"n_samples must be at least 1, got {n_samples}", do="choose a positive number of samples a ray"
        )
    if len(bounds) != feet.shape[1]:
        raise InputError(
            f"the rays have {feet.shape[1]} coordinates, but bounds has {len(bounds)}",
            do="give (low, high) for each of them",
        )
    low, high = feet.new_tensor(bounds).T
    safe = torch.where(directions.abs() < 1e-12, torch.full_like(directions, 1e-12), directions)
    walls = torch.stack([(low - feet) / safe, (high - feet) / safe])  # (2, m, d)
    near, far = walls.amin(0).amax(-1, keepdim=True), walls.amax(0).amin(-1, keepdim=True)
    hit = near < far
    near, length = torch.where(hit, near, 0.0), torch.where(hit, far - near, 0.0)  # (m, 1)
    m = len(feet)
    if generator is None:
        inside = feet.new_full((m, n_samples), 0.5)
    else:
        inside = torch.rand(m, n_samples, generator=generator, dtype=feet.dtype).to(feet.device)
    along = near + length * (torch.arange(n_samples, device=feet.device) + inside) / n_samples
    points = feet[:, None, :] + along[..., None] * directions[:, None, :]
    values = field(points.reshape(m * n_samples, -1))
    if values.shape != (m * n_samples, 1):
        raise InputError(
            f"the field must give a value at each point, of shape {(m * n_samples, 1)}, got {tuple(values.shape)}",
            do="let it return a column with a row for each point",
        )
    return values.reshape(m, n_samples).mean(-1, keepdim=True) * length
