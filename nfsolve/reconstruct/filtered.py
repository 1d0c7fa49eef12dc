"""Filtered back-projection of parallel, fan and cone beams: each view through the ramp, smeared back along its rays.

Sources: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, sections 3.3 and 3.4.2; cone:
L. A. Feldkamp, L. C. Davis, J. W. Kress, J. Opt. Soc. Am. A 1 (1984) 612; lines measured twice: D. L. Parker, Med.
Phys. 9 (1982) 254, in the form of F. Noo et al., Phys. Med. Biol. 47 (2002) 2525, and, where the detector is shifted
sideways, G. Wang, Med. Phys. 29 (2002) 1634.
"""

import math
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.forward.radon import ConeBeam, FanBeam, Geometry, ParallelBeam, PixelGrid, VoxelGrid
from nfsolve.reconstruct.reconstruction import Reconstruction

Beam = ParallelBeam | FanBeam
WINDOWS = ("ram-lak", "hann")
PIECE = 2**21  # voxels to which views are smeared back at once, for memory
MISSING = 6.0  # a gap between views of more than so many typical ones is not bridged: the arc ends there


def filtered_back_projection(
    sinogram: Tensor, geometry: Beam, grid: PixelGrid, window: str = "ram-lak"
) -> Reconstruction:
    """Reconstruct an image from views in any order, each weighted by the angle it stands for.

    Lines that are measured from both sides share the weight: short scans, more than a turn, and detectors that are
    shifted sideways, which see twice their width in a full turn.

    Args:
        sinogram: Line integrals (views, bins).
        geometry: Views and detector.
        grid: Pixels of the image.
        window: ``"ram-lak"`` (the bare ramp), or ``"hann"`` (less noise and streaks, less sharp).

    Returns:
        The image; the note says whether the views cover all directions.

    Raises:
        InputError: The sinogram does not fit the geometry, holds values that are not finite, the window is unknown,
            or the source lies inside the image.
    """
    start = time.perf_counter()
    _check(sinogram, geometry, "(views, bins)")
    if isinstance(geometry, FanBeam):
        weights, note = _fan_weights(geometry)
    else:
        weights, note = _parallel_weights(geometry)
    weighted, detector = _widened(sinogram * weights.to(sinogram), geometry)
    filtered = ramp_filter(weighted, geometry.spacing / geometry.magnification, window)
    image = _back_project(filtered[:, None], detector, grid.centres(sinogram.dtype, sinogram.device))
    return Reconstruction(image.reshape(grid.rows, grid.columns), time.perf_counter() - start, 1, note)


def fdk(projections: Tensor, geometry: ConeBeam, grid: VoxelGrid, window: str = "ram-lak") -> Reconstruction:
    """Reconstruct a volume from a cone beam on a circle: exact in its plane, and for what does not change with z.

    Args:
        projections: Line integrals (views, rows, columns).
        geometry: Views and detector.
        grid: Voxels of the volume.
        window: ``"ram-lak"`` (the bare ramp), or ``"hann"`` (less noise and streaks, less sharp).

    Returns:
        The volume (slices, rows, columns); the note says whether the views cover all directions.

    Raises:
        InputError: The projections do not fit the geometry, hold values that are not finite, the window is unknown,
            the source lies inside the volume, or turns on a helix.
    """
    start = time.perf_counter()
    if geometry.pitch:
        raise InputError(
            f"FDK takes a source that turns on a circle, and this one rises by {geometry.pitch:g} in a turn",
            do="take sirt, cgls or total_variation with the projector",
        )
    _check(projections, geometry, "(views, rows, columns)")
    middle = geometry.fan
    v, u = geometry.offsets()
    weights, note = _fan_weights(middle)
    # of the cosine of a ray, the fan's weights hold the factor that the middle row has
    weights = weights[:, None, :] / (1 + v[:, None] ** 2 / (geometry.source_detector_distance**2 + u**2)).sqrt()
    weighted, detector = _widened(projections * weights.to(projections), middle)
    filtered = ramp_filter(weighted.flatten(0, 1), middle.spacing / middle.magnification, window)
    points = grid.centres(projections.dtype, projections.device)
    vertical = (geometry.n_bins[0], geometry.spacing[0], geometry.centre[0])
    views = filtered.reshape(weighted.shape)
    volume = torch.cat([_back_project(views, detector, part, vertical) for part in points.split(PIECE)])
    return Reconstruction(volume.reshape(grid.shape), time.perf_counter() - start, 1, note)


def ramp_filter(sinogram: Tensor, spacing: float, window: str = "ram-lak", power: float = 1.0) -> Tensor:
    """Convolve each view with the ramp filter abs(frequency), or a power of it.

    With power 1/2 the squared norm of the result, times spacing * pi / views, is that of the image (Parseval
    and the projection-slice theorem): a misfit filtered so is that of the image, at all frequencies alike.

    Args:
        sinogram: Line integrals (views, bins).
        spacing: Width of a bin, in units of length.
        window: Factor on the ramp, ``"ram-lak"`` (one) or ``"hann"``.
        power: Exponent on ramp times window.

    Returns:
        Filtered sinogram (views, bins).

    Raises:
        InputError: The window is unknown.
    """
    if window not in WINDOWS:
        raise unknown("filter window", window, WINDOWS)
    n = sinogram.shape[1]
    size = 2 ** math.ceil(math.log2(2 * n))  # zero padding: a linear convolution, not a circular one
    k = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    # The ramp is sampled in space: sampled in frequency it would lose the mean of the image.
    kernel = torch.where(k % 2 == 1, -1 / (math.pi * k) ** 2, torch.zeros_like(k))
    kernel[0] = 0.25
    response = torch.fft.rfft(kernel).real / spacing
    if window == "hann":
        taper = torch.linspace(0, math.pi, len(response), dtype=torch.float64)
        response = response * 0.5 * (1 + torch.cos(taper))
    response = (response**power).to(sinogram)
    return torch.fft.irfft(torch.fft.rfft(sinogram, size) * response, size)[:, :n]


def _back_project(
    filtered: Tensor,
    geometry: Beam,
    points: Tensor,
    vertical: tuple[int, float, float] = (1, 1.0, 0.0),
) -> Tensor:
    """Sum filtered views (views, rows, columns), times the squared magnification, at points (n, d), giving (n,).

    The rows of a panel are given by number, height and centre; a detector that is a line has one.
    """
    height = points[:, 2] if points.shape[1] == 3 else torch.zeros_like(points[:, 0])
    total = torch.zeros_like(height)
    sides = (vertical, (geometry.n_bins, geometry.spacing, geometry.centre))
    for index, view in enumerate(filtered):
        u, magnification, _ = geometry.project(points[:, :2], index)
        if magnification.min() <= 0:
            raise InputError(
                "the source must lie outside the image",
                do="make the image smaller, or give all lengths in the same unit",
            )
        places = zip((height * magnification, u), sides, strict=True)
        row, column = (2 * (place - centre) / (n * width) for place, (n, width, centre) in places)
        sample = torch.stack([column, row], -1)[None, None]
        values = F.grid_sample(view[None, None], sample, align_corners=False)  # linear, and zero outside
        total += magnification**2 * values[0, 0, 0]
    return total


def _parallel_weights(geometry: ParallelBeam) -> tuple[Tensor, str]:
    """Return the weight of each ray before the ramp, (views, bins), and what is missing, in words.

    It is the angle that its view stands for among the directions of lines; where a detector that is shifted sideways
    makes a full turn, among the directions of rays, shared with the same line from the other side.
    """
    u = geometry.offsets()[None]
    weights, _, half_gaps = _angular_steps(geometry.angles, math.pi)
    covered = 180 - math.degrees(2 * float(half_gaps.sum()))
    note = f"a limited arc: views over {covered:.4g} of 180 degrees" if len(half_gaps) else "views over 180 degrees"
    near, far = _reach(geometry)
    if far - near < geometry.spacing:
        return weights[:, None].expand(geometry.shape), note
    turn, gaps, _ = _angular_steps(geometry.angles, 2 * math.pi)
    if len(gaps):
        return weights[:, None].expand(
            geometry.shape
        ), f"{note}, and farther than {near:.4g} from the axis only half of them"
    own, other = _measured(u, geometry), _measured(-u, geometry)
    return turn[:, None] * own / (own + other), f"views over 360 degrees, of a detector from {-near:.4g} to {far:.4g}"


def _fan_weights(geometry: FanBeam) -> tuple[Tensor, str]:
    """Return the weight of each ray before the ramp, (views, bins), and what is missing, in words.

    It is the squared demagnification and the cosine of the fan angle g (Kak & Slaney, section 3.4.2), and the share of
    the angle that its view stands for: the ray at g of view t is on the line of the ray at -g of view t + pi - 2 g.
    Both get a share that falls smoothly to zero towards the ends of the arc, and to the nearer end of the detector.
    """
    steps, gaps, half_gaps = _angular_steps(geometry.angles, 2 * math.pi)
    u = geometry.offsets()
    fan = torch.atan(u / geometry.source_detector_distance)
    weights = steps[:, None] * fan.cos() / geometry.magnification**2
    arc, needed = 2 * math.pi - 2 * float(half_gaps.sum()), math.pi + 2 * float(fan.abs().max())
    taper = min(max(arc, needed) - math.pi, arc / 2)

    def share(t: Tensor) -> Tensor:
        away = torch.remainder(t[..., None] - gaps + math.pi, 2 * math.pi) - math.pi
        inside = (away.abs() - half_gaps).clamp(min=0, max=taper)  # distance from the nearest gap, or 0 in it
        return (math.pi / 2 * inside / taper).sin().square().amin(-1) if len(gaps) else torch.ones_like(t)

    t = torch.tensor(geometry.angles, dtype=torch.float64)[:, None]
    own = (share(t) * _measured(u, geometry)).clamp(min=1e-9)
    other = share(t + math.pi - 2 * fan) * _measured(-u, geometry)
    covered, wanted = math.degrees(arc), math.degrees(needed)
    if not len(gaps):
        note = "views over 360 degrees"
    elif arc >= needed - float(steps.max()):
        note = f"a short scan: views over {covered:.4g} degrees, {wanted:.4g} needed"
    else:
        note = f"a limited arc: views over {covered:.4g} of the {wanted:.4g} degrees of a short scan"
    return weights * own / (own + other), note


def _widened(weighted: Tensor, geometry: Beam) -> tuple[Tensor, Beam]:
    """Add bins of zeros to the shorter side of a detector that is off centre: the filtered views reach beyond it."""
    near, far = _reach(geometry)
    more = math.ceil((far - near) / geometry.spacing - 1e-6)
    left = geometry.centre > 0
    shift = geometry.spacing * more / 2 * (-1 if left else 1)
    wide = replace(geometry, n_bins=geometry.n_bins + more, centre=geometry.centre + shift)
    return F.pad(weighted, (more, 0) if left else (0, more)), wide


def _reach(geometry: Beam) -> tuple[float, float]:
    """Return how far the detector reaches from the axis, on its shorter and on its longer side."""
    half = geometry.n_bins * geometry.spacing / 2
    return half - abs(geometry.centre), half + abs(geometry.centre)


def _measured(u: Tensor, geometry: Beam) -> Tensor:
    """Return the share of positions on the detector: 1, or, if it is off centre, falling to 0 at its nearer end.

    What one view does not see there, the view from the other side does: a shifted detector sees up to twice its width.
    """
    near, far = _reach(geometry)
    taper = max(min(far - near, 2 * near), 1e-9 * far)
    return (math.pi / 2 * ((u * (geometry.centre >= 0 or -1) + near) / taper).clamp(0, 1)).sin().square()


def _angular_steps(angles: tuple[float, ...], period: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the angle of each view (trapezoid rule on a circle), and middle and half width of each missing arc."""
    t, order = torch.sort(torch.tensor(angles, dtype=torch.float64) % period)
    gaps = torch.cat([t[1:], t[:1] + period]) - t
    typical = gaps[gaps > 1e-3 * period / len(gaps)].median()  # views measured twice leave gaps of zero
    missing = gaps > MISSING * typical
    steps = torch.where(missing, typical, gaps)
    weights = torch.empty_like(steps)
    weights[order] = (steps + steps.roll(1)) / 2
    return weights, (t + gaps / 2)[missing], ((gaps - typical) / 2)[missing]


def _check(data: Tensor, geometry: Geometry, axes_in_words: str) -> None:
    if data.shape != geometry.shape:
        raise InputError(
            f"the sinogram has shape {tuple(data.shape)}, but its geometry has {geometry.shape} = {axes_in_words}",
            do="transpose it or correct the angles and bins",
        )
    if not torch.isfinite(data).all():
        bad = int((~torch.isfinite(data)).sum())
        raise InputError(
            f"line integrals must be finite, and {bad} of {data.numel()} of the sinogram are not",
            do="fill them in along the detector, or leave their views out",
        )
