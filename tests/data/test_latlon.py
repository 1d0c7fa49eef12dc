"""Latitudes and longitudes: areas, harmonics against closed forms, reading, and the wording of bad files."""

import math

import numpy as np
import pytest
from scipy.special import lpmv

from nfsolve.data.latlon import band_areas, legendre, random_harmonics, read_map, unit_vectors

LAT, LON = np.linspace(-90, 90, 13), np.arange(24) * 15.0


def save(folder, **arrays):
    np.savez(folder / "map.npz", **arrays)
    return folder / "map.npz"


def test_unit_vectors_point_where_they_should():
    points = unit_vectors(np.array([-90.0, 0.0, 90.0]), np.array([0.0, 90.0, 180.0]))
    assert np.allclose(points[1], [[1, 0, 0], [0, 1, 0], [-1, 0, 0]])
    assert np.allclose(points[0], [0, 0, -1])
    assert np.allclose(points[2], [0, 0, 1])


def test_areas_are_cosines_and_caps():
    areas = band_areas(LAT)
    assert areas.sum() == pytest.approx(1, abs=1e-14)
    assert np.allclose(areas[1:-1] / areas[6], np.cos(np.radians(LAT[1:-1])))
    assert areas[0] == pytest.approx((1 - np.cos(np.radians(7.5))) / 2)
    part = band_areas(np.array([10.0, 20.0, 30.0]))  # a part of the sphere: bands of equal width
    assert part.sum() == pytest.approx((np.sin(np.radians(35)) - np.sin(np.radians(5))) / 2)


def test_degree_one_is_a_linear_function_of_position():
    values = random_harmonics(LAT, LON, 1).reshape(-1)
    points = unit_vectors(LAT, LON).reshape(-1, 3)
    fitted, *_ = np.linalg.lstsq(points, values, rcond=None)
    assert np.abs(points @ fitted - values).max() < 1e-14
    assert np.abs(fitted).min() > 0


def test_legendre_functions_are_scipys():
    x = np.linspace(-1, 1, 31)
    seen = 0
    for n, m, values in legendre(x, 12):
        square = (2 * n + 1) * math.factorial(n - m) / math.factorial(n + m) * (2 if m else 1)
        assert np.abs(values - (-1) ** m * math.sqrt(square) * lpmv(m, n, x)).max() < 1e-11, (n, m)
        seen += 1
    assert seen == 13 * 14 // 2
    assert all(np.abs(values).max() < 50 for *_, values in legendre(x, 300))  # stable


def test_harmonics_are_orthonormal_and_follow_the_power_law():
    nodes, weights = np.polynomial.legendre.leggauss(20)
    lat, lon = np.degrees(np.arcsin(nodes)), np.arange(40) * 9.0
    mean_square = []
    for seed in range(100):
        values = random_harmonics(lat, lon, 3, power=2.0, seed=seed)
        mean_square.append((weights[:, None] * values**2).sum() / 2 / len(lon))
    expected = 1 + 1 / 4 + 1 / 9
    error = np.std(mean_square) / 10
    assert abs(np.mean(mean_square) - expected) < 4 * error
    assert error < 0.1


def test_axes_come_out_rising_without_a_repeated_meridian(tmp_path):
    lat, lon = LAT[::-1], np.arange(-180, 181, 15.0)
    values = lat[:, None] + 1000 * (lon % 360)
    for names in (("lat", "lon"), ("latitude", "longitude")):
        path = save(tmp_path, **{names[0]: lat, names[1]: lon, "v": values})
        rows, columns, read = read_map(path)
        assert np.array_equal(rows, LAT)
        assert np.array_equal(columns, LON)
        assert np.array_equal(read, LAT[:, None] + 1000 * LON)


def test_levels_and_times_are_chosen(tmp_path):
    grid = np.zeros((13, 24))
    many = np.arange(6.0).reshape(2, 3, 1, 1) + grid
    path = save(tmp_path, lat=LAT, lon=LON, z=many)
    assert read_map(path)[2].max() == 0
    assert read_map(path, "z", {"time": 1, "level": 2})[2].max() == 5
    path = save(tmp_path, lat=LAT, lon=LON, level=np.arange(2), z=many[:, 0])
    assert read_map(path, indices={"level": 1})[2].max() == 3
    path = save(tmp_path, lat=LAT, lon=LON, time=np.arange(2), z=many[:, 0])
    assert read_map(path, indices={"time": 1})[2].max() == 3
    with pytest.raises(ValueError, match=r"level = 1: 0 to 0 for a variable of shape \(2, 13, 24\)"):
        read_map(path, indices={"level": 1})
    with pytest.raises(ValueError, match="time = 2: 0 to 1"):
        read_map(path, indices={"time": 2})


def test_bad_maps_are_worded(tmp_path):
    grid = np.zeros((13, 24))
    with pytest.raises(ValueError, match=r"map.npz' has lat, v: lat, lon \(degrees\) and a variable"):
        read_map(save(tmp_path, lat=LAT, v=grid))
    with pytest.raises(ValueError, match=r"has 2 variables over .*u \(13, 24\), v \(13, 24\).*variable = u or v"):
        read_map(save(tmp_path, lat=LAT, lon=LON, u=grid, v=grid))
    with pytest.raises(ValueError, match=r"has 0 variables over \(lat, lon\) = \(13, 24\).*v \(24, 13\)"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=grid.T))
    with pytest.raises(ValueError, match="unknown variable 'temp': did you mean 'tempo'"):
        read_map(save(tmp_path, lat=LAT, lon=LON, tempo=grid), "temp")
    with pytest.raises(ValueError, match=r"variable 'w' of .* has shape \(3,\): numbers over"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=grid, w=np.zeros(3)), "w")
    holes = np.ones((13, 24))
    holes[3, 4] = np.nan
    with pytest.raises(ValueError, match="variable of .* has 1 values that are NaN or infinite"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=holes))
    with pytest.raises(ValueError, match=r"latitudes from -180 to 180 in .*degrees from -90 to 90"):
        read_map(save(tmp_path, lat=2 * LAT, lon=LON, v=grid))
    with pytest.raises(ValueError, match="the grid of .* is 0 x 24: latitudes and longitudes"):
        read_map(save(tmp_path, lat=LAT[:0], lon=LON, v=grid[:0]))
    (tmp_path / "text.npz").write_text("words")
    with pytest.raises(ValueError, match=r"text.npz' could not be read \(not a zip archive\)"):
        read_map(tmp_path / "text.npz")
