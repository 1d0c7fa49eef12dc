"""Latitudes and longitudes: areas, harmonics against closed forms, reading, and the wording of bad files.

Kinds of fault of the reader: axes that fall, jump, repeat, run from -180 or to 360, are exchanged, in radians, of two
dimensions, complex or text; variables of other axes or types; missing values by NaN, by fill values and by codes.
"""

import json
import math

import numpy as np
import pytest
from scipy.special import lpmv

from nfsolve._core.errors import InputError
from nfsolve.data.latlon import (
    band_areas,
    fit_harmonics,
    legendre,
    random_harmonics,
    read_lines,
    read_map,
    unit_vectors,
)

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


@pytest.mark.parametrize("start", [-180, 0, 90, 360])
@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
@pytest.mark.parametrize("closed", [False, True])
def test_meridians_and_parallels_may_be_in_any_order(tmp_path, start, order, closed):
    lon = start + np.arange(24 + closed) * 15.0
    rows, columns = (np.random.default_rng(0).permutation(n) for n in (13, len(lon)))
    if order != "mixed":
        rows, columns = (np.arange(n)[:: 1 if order == "rising" else -1] for n in (13, len(lon)))
    values = (LAT[:, None] + np.cos(np.radians(lon)))[rows][:, columns]
    lat, lon, read = read_map(save(tmp_path, lat=LAT[rows], lon=lon[columns], v=values))
    assert np.array_equal(lat, LAT) and np.array_equal(lon, LON)
    assert np.allclose(read, LAT[:, None] + np.cos(np.radians(LON)))


@pytest.mark.parametrize(("axis", "name"), [(0, "latitude"), (1, "longitude")])
def test_places_that_occur_twice_are_refused_unless_they_agree(tmp_path, axis, name):
    axes = {"lat": LAT.copy(), "lon": LON.copy()}
    twice = axes["lat" if axis == 0 else "lon"]
    twice[4] = twice[3]
    values = LAT[:, None] + 10.0 * LON
    with pytest.raises(ValueError, match=f"each {name} of .* must occur once, but {twice[3]:g} occurs twice"):
        read_map(save(tmp_path, **axes, v=values))
    np.moveaxis(values, axis, 0)[4] = np.moveaxis(values, axis, 0)[3]
    assert read_map(save(tmp_path, **axes, v=values))[2].shape == ((12, 24), (13, 23))[axis]


@pytest.mark.parametrize(
    ("low", "high", "code"),
    [
        (-40, 40, 1e20),
        (-40, 40, 9.96921e36),
        (200, 310, -999.0),
        (95e3, 105e3, -9999.0),
        (0, 1, -32768.0),
        (0, 9, np.inf),
    ],
)
def test_values_that_stand_for_missing_ones_are_refused(tmp_path, low, high, code):
    values = np.random.default_rng(0).uniform(low, high, (13, 24))
    assert np.array_equal(read_map(save(tmp_path, lat=LAT, lon=LON, v=values))[2], values)
    values[2, 3:5] = code
    with pytest.raises(ValueError, match="must be known everywhere, but 2 of 312 values are missing"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=values))


def test_heights_may_be_what_elsewhere_is_missing(tmp_path):
    heights = np.linspace(-10000, 8000, 312).reshape(13, 24)
    heights[2, 3] = -9999
    assert np.array_equal(read_map(save(tmp_path, lat=LAT, lon=LON, v=heights))[2], heights)


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
    with pytest.raises(ValueError, match=r"level must be from 0 to 0 for a variable of shape \(2, 13, 24\), got 1"):
        read_map(path, indices={"level": 1})
    with pytest.raises(ValueError, match="time must be from 0 to 1 .*, got 2"):
        read_map(path, indices={"time": 2})


def test_bad_maps_are_worded(tmp_path):
    grid = np.zeros((13, 24))
    with pytest.raises(ValueError, match=r"map.npz' must have lat, lon \(degrees\) and a variable, but it has lat, v"):
        read_map(save(tmp_path, lat=LAT, v=grid))
    with pytest.raises(
        ValueError, match=r"one variable over .* has 2: .*u \(13, 24\), v \(13, 24\)\. Choose variable = u or v"
    ):
        read_map(save(tmp_path, lat=LAT, lon=LON, u=grid, v=grid))
    with pytest.raises(ValueError, match=r"one variable over \(lat, lon\) = \(13, 24\) .* has 0: .*v \(24, 13\)"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=grid.T))
    with pytest.raises(ValueError, match="unknown variable 'temp': did you mean 'tempo'"):
        read_map(save(tmp_path, lat=LAT, lon=LON, tempo=grid), "temp")
    with pytest.raises(ValueError, match=r"variable 'w' of .* must be real numbers over .* shape \(3,\)"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=grid, w=np.zeros(3)), "w")
    holes = np.ones((13, 24))
    holes[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"variable of .* 1 of 312 values are missing \(such as nan\)"):
        read_map(save(tmp_path, lat=LAT, lon=LON, v=holes))
    with pytest.raises(
        ValueError, match="latitudes of .* must be degrees from -90 to 90, but they reach from -180 to 180"
    ):
        read_map(save(tmp_path, lat=2 * LAT, lon=LON, v=grid))
    with pytest.raises(ValueError, match=r"'lat' of .* must be finite degrees along one axis, but it has shape \(0,\)"):
        read_map(save(tmp_path, lat=LAT[:0], lon=LON, v=grid[:0]))
    for name, axis in (("lat", LAT + 0j), ("lon", LON.astype(str)), ("lon", np.where(LON == 30, np.nan, LON))):
        with pytest.raises(ValueError, match=f"'{name}' of .* must "):
            read_map(save(tmp_path, **({"lat": LAT, "lon": LON, "v": grid} | {name: axis})))
    with pytest.raises(ValueError, match=r"'lat' of .* along one axis, but it has shape \(13, 24\)"):
        read_map(save(tmp_path, lat=LAT[:, None] + 0 * LON, lon=LON, v=grid))
    with pytest.raises(ValueError, match="must be in degrees, but they look like radians"):
        read_map(save(tmp_path, lat=np.radians(LAT), lon=np.radians(LON), v=grid))
    for values in (grid + 1j, grid.astype(str)):
        with pytest.raises(ValueError, match="variable 'v' of .* must be real numbers"):
            read_map(save(tmp_path, lat=LAT, lon=LON, v=values), "v")
    (tmp_path / "text.npz").write_text("words")
    with pytest.raises(ValueError, match=r"text.npz' could not be read \(not a zip archive\)"):
        read_map(tmp_path / "text.npz")


@pytest.mark.parametrize("poles", [True, False])
def test_harmonics_continue_a_map_of_few_degrees_exactly(poles: bool):
    lat = np.linspace(-90, 90, 37) if poles else np.linspace(-87.5, 87.5, 36)
    lon = 5.0 + np.arange(72) * 5.0
    truth = 3.0 + random_harmonics(lat, lon, 9)
    found = fit_harmonics(lat[::2], lon[::2], truth[::2, ::2], lat, lon)
    assert found is not None and found[1] >= 9
    np.testing.assert_allclose(found[0], truth, atol=1e-9)


def test_harmonics_leave_noise_out_by_the_degree_that_they_choose():
    lat, lon = np.linspace(-90, 90, 37), np.arange(72) * 5.0
    truth = random_harmonics(lat, lon, 4)
    noisy = truth + 0.1 * truth.std() * np.random.default_rng(0).standard_normal(truth.shape)
    found = fit_harmonics(lat, lon, noisy, lat, lon)
    assert found is not None and 4 <= found[1] <= 8
    assert np.sqrt(np.mean((found[0] - truth) ** 2)) < 0.5 * np.sqrt(np.mean((noisy - truth) ** 2))


def test_a_part_of_the_sphere_has_no_harmonics():
    lat, lon = np.linspace(30, 60, 13), np.linspace(0, 90, 19)
    assert fit_harmonics(lat, lon, np.outer(lat, lon), lat, lon) is None


def test_lines_of_geojson_are_read_and_broken_at_the_edge_of_the_map(tmp_path):
    ring = [[0, 10], [20, 10], [20, 30], [0, 10]]
    shapes = [
        {"type": "LineString", "coordinates": [[-10, 5], [10, 6, 99]]},
        {"type": "MultiPolygon", "coordinates": [[ring], [ring, ring]]},
        {"type": "Point", "coordinates": [1, 2]},
    ]
    features = [{"type": "Feature", "geometry": shape} for shape in [*shapes, None]]
    path = tmp_path / "coast.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    lines = read_lines(path)
    assert len(lines) == 4
    np.testing.assert_array_equal(lines[0], [[350, 5], [np.nan, np.nan], [10, 6]])
    np.testing.assert_array_equal(lines[3], ring)


@pytest.mark.parametrize("content", ["no json", "[]", '{"type": "Point", "coordinates": [1, 2]}',
                                     '{"type": "LineString", "coordinates": 3}'])  # fmt: skip
def test_what_is_no_map_of_lines_is_said(tmp_path, content):
    path = tmp_path / "coast.geojson"
    path.write_text(content)
    with pytest.raises(InputError, match=r"lines over a map must be GeoJSON .*coast.geojson' could not be read"):
        read_lines(path)


@pytest.mark.parametrize("classic", [True, False])
def test_netcdf_files_of_reanalyses_are_read(tmp_path, classic):
    xarray = pytest.importorskip("xarray")
    if not classic:
        pytest.importorskip("h5netcdf")
    rng = np.random.default_rng(0)
    values = 280 + rng.standard_normal((2, 3, 13, 24)).astype(np.float32)
    axes = ("valid_time", "pressure_level", "latitude", "longitude")
    made = xarray.Dataset(
        {"t": (axes, values, {"units": "K"})},
        {
            "valid_time": [0, 3600],
            "pressure_level": [1000.0, 850.0, 500.0],
            "latitude": LAT[::-1],
            "longitude": LON - 180,
        },
    )
    made.to_netcdf(tmp_path / "era.nc", engine="scipy" if classic else "h5netcdf")
    lat, lon, found = read_map(tmp_path / "era.nc", "", {"time": 1, "level": 2})
    assert np.allclose(lat, LAT) and np.allclose(lon, LON)
    assert np.allclose(found, np.roll(values[1, 2, ::-1], 12, axis=1))
    with pytest.raises(InputError, match="level must be from 0 to 2"):
        read_map(tmp_path / "era.nc", "t", {"level": 3})


def test_a_damaged_netcdf_file_is_named(tmp_path):
    pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    (tmp_path / "era.nc").write_bytes(b"not a file of netCDF")
    with pytest.raises(InputError, match=r"netCDF file is needed, but '.*era.nc' could not be read"):
        read_map(tmp_path / "era.nc")
