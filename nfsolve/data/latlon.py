"""Fields over latitudes and longitudes: reading, points on the sphere, areas, and random ones to try things on."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.arrays import read_arrays, real_numbers, reason
from nfsolve._core.errors import InputError, unknown
from nfsolve.functions.stored import HDF5, NETCDF, open_arrays

MISSING = (-999.0, -9999.0, -32767.0, -32768.0, -99999.0, -999999.0)  # what files hold in place of missing values
AXES = ("time", "level")  # before (lat, lon), in this order
OTHER_NAMES = {"valid_time": "time", "pressure_level": "level", "isobaricInhPa": "level", "plev": "level"}


def unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the unit vectors (cos lat cos lon, cos lat sin lon, sin lat) of a grid.

    Args:
        lat: Latitudes ``(n_lat,)``, degrees.
        lon: Longitudes ``(n_lon,)``, degrees.

    Returns:
        Vectors ``(n_lat, n_lon, 3)``.
    """
    phi, theta = np.meshgrid(np.radians(lat), np.radians(lon), indexing="ij")
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], -1)


def band_areas(lat: np.ndarray) -> np.ndarray:
    """Return the area of the band around each latitude, half way to its neighbours, as a share of the sphere.

    On an even grid that is cos(lat) times a constant, and at a pole the small cap around it.

    Args:
        lat: Latitudes ``(n_lat,)``, degrees, rising.

    Returns:
        Areas ``(n_lat,)``, (sin(upper) - sin(lower)) / 2; their sum is 1 where the grid reaches both poles.
    """
    middle = (lat[1:] + lat[:-1]) / 2
    edges = np.concatenate([[2 * lat[0] - middle[0]], middle, [2 * lat[-1] - middle[-1]]]).clip(-90, 90)
    return np.diff(np.sin(np.radians(edges))) / 2


def random_harmonics(lat: np.ndarray, lon: np.ndarray, degree: int, power: float = 2.0, seed: int = 0) -> np.ndarray:
    """Sum real spherical harmonics with independent normal coefficients.

    Coefficients of degree l have variance l^-power / (2 l + 1), so degree l adds l^-power to the mean square.

    Args:
        lat: Latitudes ``(n_lat,)``, degrees.
        lon: Longitudes ``(n_lon,)``, degrees.
        degree: Largest degree; the smallest is 1.
        power: Decay of the spectrum.
        seed: Seed of the coefficients.

    Returns:
        Values ``(n_lat, n_lon)``.
    """
    generator = np.random.default_rng(seed)
    theta = np.radians(lon)
    field = np.zeros((len(lat), len(lon)))
    for n, m, values in legendre(np.sin(np.radians(lat)), degree):
        if n:
            c, s = generator.standard_normal(2) * np.sqrt(n**-power / (2 * n + 1))
            field += values[:, None] * (c * np.cos(m * theta) + s * np.sin(m * theta))
    return field


def legendre(x: np.ndarray, degree: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Return the associated Legendre functions, fully normalised, by the stable recursion over the degree.

    Args:
        x: Sines of latitudes ``(n,)``.
        degree: Largest degree.

    Yields:
        Degree l, order m and values ``(n,)``, without Condon-Shortley sign; the mean square over the sphere of
        values * cos(m lon) is 1.

    Reference:
        Holmes & Featherstone, A unified approach to the Clenshaw summation and the recursive computation of very
        high degree and order normalised associated Legendre functions, J. Geodesy 76, 2002, equations (11) to (13).
    """
    sectoral = np.ones_like(x)
    for m in range(degree + 1):
        if m:
            sectoral = sectoral * np.sqrt(1 - x**2) * np.sqrt((2 * m + 1) / (2 * m) if m > 1 else 3)
        before, now = np.zeros_like(x), sectoral
        yield m, m, now
        for n in range(m + 1, degree + 1):
            a = np.sqrt((2 * n - 1) * (2 * n + 1) / ((n - m) * (n + m)))
            b = a * np.sqrt((n + m - 1) * (n - m - 1) / ((2 * n - 3) * (2 * n - 1))) if n > m + 1 else 0.0
            before, now = now, a * x * now - b * before
            yield n, m, now


def fit_harmonics(
    lat: np.ndarray, lon: np.ndarray, values: np.ndarray, lat_out: np.ndarray, lon_out: np.ndarray
) -> tuple[np.ndarray, int] | None:
    """Continue a map by spherical harmonics, fitted by least squares weighted by area.

    The degree is the one of least generalised cross-validation, RSS / (n - number of coefficients)^2 (Golub, Heath &
    Wahba, Technometrics 21, 1979). A Fourier transform along longitude leaves one small least-squares problem in the
    associated Legendre functions for each order, whose QR factorization has the sum of squares of every degree.

    Args:
        lat: Latitudes ``(n_lat,)``, degrees, rising.
        lon: Longitudes ``(n_lon,)``, degrees.
        values: ``(n_lat, n_lon)``.
        lat_out: Latitudes at which the map is wanted.
        lon_out: Longitudes at which it is wanted.

    Returns:
        Values ``(len(lat_out), len(lon_out))`` and the degree; None where longitudes do not go evenly all around.
    """
    n_lat, n_lon = values.shape
    if not np.allclose(np.diff(lon), 360 / n_lon, atol=1e-3):
        return None
    largest = min(n_lat, (n_lon + 1) // 2) - 1
    root = np.sqrt(band_areas(lat))[:, None]
    rows, wanted = (_by_order(np.sin(np.radians(x)), largest) for x in (lat, lat_out))
    spectrum = root * np.fft.rfft(values, axis=1) / n_lon
    orders, explained, count = [], np.zeros(largest + 1), np.zeros(largest + 1)
    for m in range(largest + 1):
        q, r = np.linalg.qr(root * rows[m])
        shares = q.T @ spectrum[:, m]
        twice = 1 if m == 0 else 2  # real and imaginary part, or m and -m
        explained[m:] += twice * np.cumsum(np.abs(shares) ** 2)
        count[m:] += twice * np.arange(1, largest + 2 - m)
        orders.append((r, shares))
    rest = (root**2 * values**2).sum() / n_lon - explained
    with np.errstate(divide="ignore"):
        scores = np.where(count < values.size, rest.clip(0) / (values.size - count) ** 2, np.inf)
    degree = int(scores.argmin())
    theta = np.radians(lon_out - lon[0])
    found = np.zeros((len(lat_out), len(lon_out)))
    for m, (r, shares) in enumerate(orders[: degree + 1]):
        n = degree + 1 - m
        along = wanted[m][:, :n] @ np.linalg.lstsq(r[:n, :n], shares[:n], rcond=None)[0]
        found += (1 if m == 0 else 2) * np.real(along[:, None] * np.exp(1j * m * theta))
    return found, degree


def _by_order(x: np.ndarray, degree: int) -> list[np.ndarray]:
    """Return the Legendre functions of each order, ``(len(x), degree + 1 - m)``, degrees rising."""
    columns: list[list[np.ndarray]] = [[] for _ in range(degree + 1)]
    for _, m, values in legendre(x, degree):
        columns[m].append(values)
    return [np.stack(some, -1) for some in columns]


def read_map(
    path: Path, variable: str = "", indices: Mapping[str, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a variable over latitudes and longitudes.

    Args:
        path: A .npz, netCDF or HDF5 file with ``lat`` and ``lon`` (or latitude, longitude) in degrees, and variables
            over (lat, lon), (level, lat, lon) or (time, level, lat, lon). A single axis before lat is the time where it
            has the length of an array ``time`` and not that of ``level``.
        variable: Its name; not needed where there is one.
        indices: Index along ``time`` and ``level``, default 0.

    Returns:
        Latitudes and longitudes in [0, 360), both rising, and values ``(n_lat, n_lon)``, float64.

    Raises:
        InputError: An axis or the variable is missing, does not fit, is not finite, or has a position twice.
        MissingExtra: A netCDF file needs xarray, which is not installed.
    """
    arrays = _arrays(path)
    axes = [next((n for n in names if n in arrays), "") for names in (("lat", "latitude"), ("lon", "longitude"))]
    if not all(axes):
        raise InputError(
            f"'{path}' must have lat, lon (degrees) and a variable, but it has {', '.join(arrays) or 'no arrays'}",
            do="store the axes under these names",
        )
    lat, lon = (_axis(path, name, arrays[name]) for name in axes)
    values = _choose(path, arrays, (len(lat), len(lon)), variable, indices)
    missing = ~np.isfinite(values) | _filled(values)
    if missing.any():
        raise InputError(
            f"the variable of '{path}' must be known everywhere, but {int(missing.sum())} of {missing.size} values are "
            f"missing (such as {values[missing][0]:g})",
            do="fill them in, or choose another variable",
        )
    if np.abs(lat).max() > 90:
        raise InputError(
            f"latitudes of '{path}' must be degrees from -90 to 90, but they reach from {lat.min():g} to {lat.max():g}",
            do="check that lat and lon are not exchanged",
        )
    if len(lon) > 2 and np.ptp(lon) < 6.4 < 1.03 * (np.ptp(lon) + np.abs(np.diff(lon)).max()) and lat.max() < 1.58:
        raise InputError(
            f"latitudes and longitudes of '{path}' must be in degrees, but they look like radians: longitudes from "
            f"{lon.min():.4g} to {lon.max():.4g}",
            do="convert both by numpy.degrees",
        )
    lat, values = _once(path, "latitude", lat, values)
    lon, values = _once(path, "longitude", np.round(lon % 360, 9) % 360, values.T)
    return lat, lon, values.T


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, with the names of time and level that are known here."""
    if path.suffix.lower() not in (*NETCDF, *HDF5):
        return read_arrays(path)
    return {OTHER_NAMES.get(name, name): np.asarray(values) for name, values in open_arrays(path).items()}


def read_lines(path: Path) -> list[np.ndarray]:
    """Read lines over longitudes and latitudes, such as coasts.

    Args:
        path: GeoJSON (RFC 7946): lines and polygons, alone, in collections or in features; points are left out.

    Returns:
        Longitudes in [0, 360) and latitudes in degrees, ``(n, 2)`` for each line; a row of NaN where it passes 0.

    Raises:
        InputError: The file cannot be read, or has no line.
    """
    try:
        found = _lines(json.loads(path.read_text("utf-8-sig")))
        lines = [np.array([place[:2] for place in line], dtype=np.float64) for line in found]
        if not lines or not all(np.isfinite(line).all() for line in lines):
            raise ValueError("it has no line" if not lines else "it has numbers that are not finite")
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise InputError(
            f"lines over a map must be GeoJSON of lines or polygons, but '{path}' could not be read ({reason(error)})",
            do="give such a file, as that of the coasts from naturalearthdata.com",
        ) from error
    return [_unwrapped(line) for line in lines]


def _lines(shape: Any) -> Iterator[Any]:
    """Yield the lists of positions of a GeoJSON object."""
    kind = shape["type"]
    if kind in ("FeatureCollection", "GeometryCollection"):
        for part in shape["features" if kind == "FeatureCollection" else "geometries"]:
            yield from _lines(part)
    elif kind == "Feature":
        yield from _lines(shape["geometry"]) if shape["geometry"] else ()
    elif kind == "LineString":
        yield shape["coordinates"]
    elif kind in ("MultiLineString", "Polygon"):
        yield from shape["coordinates"]
    elif kind == "MultiPolygon":
        for polygon in shape["coordinates"]:
            yield from polygon


def _unwrapped(line: np.ndarray) -> np.ndarray:
    """Bring longitudes into [0, 360), and break a line where it leaves on one side and comes back on the other."""
    line = np.stack([line[:, 0] % 360, line[:, 1]], 1)
    return np.insert(line, 1 + np.flatnonzero(np.abs(np.diff(line[:, 0])) > 180), np.nan, axis=0)


def _axis(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    values = real_numbers(array, f"'{name}' of '{path}'")
    if max(values.shape, default=0) != values.size or not values.size or not np.isfinite(values).all():
        raise InputError(
            f"'{name}' of '{path}' must be finite degrees along one axis, but it has shape {values.shape}"
            + ("" if np.isfinite(values).all() else " and values that are NaN or infinite"),
            do="interpolate the variable to a grid of latitudes and longitudes",
        )
    return values.ravel()


def _once(path: Path, name: str, axis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort rows by their position; one that repeats another, as a last meridian does the first, has its values."""
    order = np.argsort(axis, kind="stable")
    axis, values = axis[order], values[order]
    again = np.flatnonzero(np.diff(axis) == 0)
    slack = 1e-3 * np.ptp(values)
    different = [k for k in again if np.abs(values[k] - values[k + 1]).max() > slack]
    if different:
        raise InputError(
            f"each {name} of '{path}' must occur once, but {axis[different[0]]:g} occurs twice, with other values",
            do="correct the axis, or remove one of them",
        )
    return np.delete(axis, again + 1), np.delete(values, again + 1, 0)


def _filled(values: np.ndarray) -> np.ndarray:
    """Mark numbers that stand for missing values: 1e19 and more, or -999, -9999, ... farther off than others spread."""
    filled = np.abs(values) >= 1e19
    for code in MISSING:
        others = values[(values != code) & ~filled]
        if (values == code).any() and others.size and others.min() - code > np.ptp(others):
            filled |= values == code
    return filled


def _choose(
    path: Path, arrays: dict[str, np.ndarray], grid: tuple[int, int], variable: str, indices: Mapping[str, int] | None
) -> np.ndarray:
    fitting = {n: a for n, a in arrays.items() if a.shape[-2:] == grid and a.ndim <= 4 and a.dtype.kind in "bfiu"}
    if variable and variable not in arrays:
        raise unknown("variable", variable, fitting)
    if variable and variable not in fitting:
        raise InputError(
            f"variable '{variable}' of '{path}' must be real numbers over (time, level, lat, lon) or less, where "
            f"(lat, lon) is {grid}, but it has shape {arrays[variable].shape} and type {arrays[variable].dtype}",
            do="choose another variable, or order its axes so",
        )
    if not variable and len(fitting) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(
            f"one variable over (lat, lon) = {grid} must be chosen, but '{path}' has {len(fitting)}: {shapes}",
            do=f"choose variable = {' or '.join(fitting)}" if fitting else "order the axes of one so",
        )
    values = fitting[variable or next(iter(fitting))]
    names = AXES[4 - values.ndim :]
    shapes = {name: arrays[name].shape for name in AXES if name in arrays}
    if values.ndim == 3 and shapes.get("time") == values.shape[:1] != shapes.get("level"):
        names = ("time",)
    at = dict.fromkeys(AXES, 0) | dict(indices or {})
    for name, index in at.items():
        length = values.shape[names.index(name)] if name in names else 1
        if not 0 <= index < length:
            raise InputError(
                f"{name} must be from 0 to {length - 1} for a variable of shape {values.shape}, got {index}",
                do="choose one that is there",
            )
    return values[tuple(at[name] for name in names)].astype(np.float64)
