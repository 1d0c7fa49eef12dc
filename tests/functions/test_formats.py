"""Pairs from files as people have them: every kind of file, published layouts, shapes, ragged and complex functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.functions import read_pairs

N, M, K = 7, 6, 5
CHANCE = np.random.default_rng(0)
ARRAYS = {"f": CHANCE.normal(size=(N, M)), "x": np.linspace(0, 1, K), "s": CHANCE.normal(size=(N, K))}


def npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path / "a.npz", **arrays)
    return path / "a.npz"


def npy(path: Path, arrays: dict[str, Any]) -> Path:
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def hdf5(path: Path, arrays: dict[str, Any]) -> Path:
    with pytest.importorskip("h5py").File(path / "a.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path / "a.h5"


def mat(path: Path, arrays: dict[str, Any]) -> Path:
    from scipy.io import savemat

    savemat(path / "a.mat", arrays)
    return path / "a.mat"


def mat73(path: Path, arrays: dict[str, Any]) -> Path:
    """As MATLAB writes -v7.3: 512 bytes of its own before HDF5, axes reversed, no vectors, complex numbers as pairs."""
    with pytest.importorskip("h5py").File(path / "a.mat", "w", userblock_size=512) as file:
        for name, array in arrays.items():
            array = np.atleast_2d(array)
            if array.dtype.kind == "c":
                pairs = np.empty(array.shape, [("real", float), ("imag", float)])
                pairs["real"], pairs["imag"] = np.real(array), np.imag(array)
                array = pairs
            file[name] = array.T
    with (path / "a.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))
    return path / "a.mat"


def netcdf(engine: str) -> Callable[[Path, dict[str, Any]], Path]:
    def written(path: Path, arrays: dict[str, Any]) -> Path:
        xarray = pytest.importorskip("xarray")
        if engine == "h5netcdf":
            pytest.importorskip("h5netcdf")
        dims = {name: tuple(f"{name}{i}" for i in range(np.ndim(a))) for name, a in arrays.items()}
        held = xarray.Dataset({name: (dims[name], a) for name, a in arrays.items()})
        held.to_netcdf(path / "a.nc", engine=engine)
        return path / "a.nc"

    return written


def zarr(path: Path, arrays: dict[str, Any]) -> Path:
    group = pytest.importorskip("zarr").open_group(str(path / "a.zarr"), mode="w")
    for name, array in arrays.items():
        group[name] = array
    return path / "a.zarr"


def tensors(path: Path, arrays: dict[str, Any]) -> Path:
    torch.save({name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}, path / "a.pt")
    return path / "a.pt"


KINDS = {
    "npz": npz,
    "npy": npy,
    "hdf5": hdf5,
    "mat": mat,
    "mat73": mat73,
    "netcdf 3": netcdf("scipy"),
    "netcdf 4": netcdf("h5netcdf"),
    "zarr": zarr,
    "torch": tensors,
}
COMPLEX = [kind for kind in KINDS if not kind.startswith("netcdf")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_rows_that_were_written(kind, tmp_path):
    pairs = read_pairs(KINDS[kind](tmp_path, ARRAYS))
    assert len(pairs) == N and pairs.aligned and pairs.names == ("f",) and pairs.gives == ("s",)
    (f,), x, s = pairs.take([5, 0, 5, 2])
    np.testing.assert_array_equal(f, ARRAYS["f"][[5, 0, 5, 2]])
    np.testing.assert_array_equal(x[:, 0], ARRAYS["x"])
    np.testing.assert_array_equal(s[..., 0], ARRAYS["s"][[5, 0, 5, 2]])


@pytest.mark.parametrize("kind", COMPLEX)
def test_complex_functions_become_two(kind, tmp_path):
    s = ARRAYS["s"] + 1j * ARRAYS["s"] ** 2
    pairs = read_pairs(KINDS[kind](tmp_path, ARRAYS | {"f": ARRAYS["f"] * 1j, "s": s}))
    assert pairs.names == ("f_re", "f_im") and pairs.gives == ("s_re", "s_im")
    (real, imaginary), _, found = pairs.take(range(N))
    assert not real.any() and np.array_equal(imaginary, ARRAYS["f"])
    np.testing.assert_array_equal(found[..., 0] + 1j * found[..., 1], s)
    assert any("complex" in note for note in pairs.notes)


@pytest.mark.parametrize("kind", ["hdf5", "mat73", "zarr", "npy"])
def test_what_is_on_the_disk_stays_there(kind, tmp_path):
    pairs = read_pairs(KINDS[kind](tmp_path, ARRAYS | {"f": np.zeros((N, 3, 4)), "s": np.ones((N, K, 2))}))
    assert type(pairs.inputs[0]) is not np.ndarray and type(pairs.outputs) is not np.ndarray
    assert pairs.inputs[0].shape == (N, 12) and pairs.outputs.shape == (N, K, 2)


U = CHANCE.normal(size=(N, 4, 5, 6))  # functions, times, x, y
T, X, Y = np.linspace(0, 3, 4), np.linspace(0, 1, 5), np.linspace(2, 3, 6)


def grid(*axes: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def by_function() -> dict[str, Any]:
    """PDEBench's reaction and shallow water: a group for each function."""
    found = {}
    for i, u in enumerate(U):
        found |= {f"{i:04}/data": u[..., None], f"{i:04}/grid/x": X, f"{i:04}/grid/y": Y, f"{i:04}/grid/t": T}
    return found


UNIT = np.linspace(0, 1, 5), np.linspace(0, 1, 6)
OPEN = np.arange(5) / 5, np.arange(6) / 6
IMAGE, ANSWER = U[:, 0], U[:, 1]
SPACE = {"x-coordinate": X, "y-coordinate": Y}
TIMES = {"t-coordinate": np.append(T, 4.0)}
LAYOUTS: dict[str, tuple[Any, dict[str, Any], Any, Any, Any]] = {
    "neuraloperator": (tensors, {"x": IMAGE, "y": ANSWER}, [IMAGE], ANSWER, grid(*OPEN)),
    "neuraloperator with channels": (
        tensors,
        {"x": np.stack([IMAGE, ANSWER], 1), "y": ANSWER[:, None]},
        [IMAGE, ANSWER],
        ANSWER,
        grid(*OPEN),
    ),
    "Li Darcy": (mat, {"coeff": IMAGE, "sol": ANSWER}, [IMAGE], ANSWER, grid(*UNIT)),
    "Li Burgers": (mat73, {"a": IMAGE[:, 0], "u": ANSWER[:, 0]}, [IMAGE[:, 0]], ANSWER[:, 0], UNIT[1][:, None]),
    "Li Navier-Stokes": (mat, {"a": IMAGE, "u": np.moveaxis(U, 1, -1), "t": T}, [IMAGE], U, grid(T, *UNIT)),
    "PDEBench Darcy": (hdf5, {"nu": IMAGE, "tensor": ANSWER[:, None], **SPACE}, [IMAGE], ANSWER, grid(X, Y)),
    "PDEBench": (
        hdf5,
        {"tensor": U[..., 0], "x-coordinate": X, **TIMES},
        [U[:, 0, :, 0]],
        U[:, 1:, :, 0],
        grid(T[1:], X),
    ),
    "PDEBench flow": (
        hdf5,
        {"density": U, "Vx": -U, **SPACE, **TIMES},
        [IMAGE, -IMAGE],
        np.stack([U[:, 1:], -U[:, 1:]], -1),
        grid(T[1:], X, Y),
    ),
    "PDEBench groups": (hdf5, by_function(), [IMAGE], U[:, 1:], grid(T[1:], X, Y)),
    "DeepXDE": (npz, {"v": ARRAYS["f"], "x": X, "u": ARRAYS["s"]}, [ARRAYS["f"]], ARRAYS["s"], X[:, None]),
    "images": (npz, {"f": IMAGE, "x": grid(X, Y).reshape(5, 6, 2), "s": ANSWER}, [IMAGE], ANSWER, grid(X, Y)),
    "channels": (
        npz,
        {"f": U[:, :2].transpose(0, 2, 3, 1), "x": grid(X, Y), "s": ANSWER},
        [U[:, 0], U[:, 1]],
        ANSWER,
        grid(X, Y),
    ),
    "a number": (npz, {"f": IMAGE[:, 0, 0], "x": X, "s": ARRAYS["s"]}, [IMAGE[:, 0, :1]], ARRAYS["s"], X[:, None]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_and_shapes_are_recognised(name, tmp_path):
    writer, arrays, inputs, outputs, points = LAYOUTS[name]
    pairs = read_pairs(writer(tmp_path, arrays))
    found, x, s = pairs.take([3, 1])
    np.testing.assert_allclose(x, points, rtol=1e-15)
    assert len(found) == len(inputs)
    for f, written in zip(found, inputs, strict=True):
        np.testing.assert_array_equal(f, written.reshape(N, -1)[[3, 1]])
    np.testing.assert_array_equal(s, outputs.reshape(N, len(points), -1)[[3, 1]])
    assert not {*pairs.names} & {*pairs.gives, *pairs.coordinates}


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
def test_series_give_pairs_of_neighbouring_times(kind, tmp_path):
    path = KINDS[kind](tmp_path, {"tensor": U[..., 0], "x-coordinate": X, **TIMES})
    pairs = read_pairs(path, times="next")
    assert len(pairs) == N * 3 and pairs.group == 3
    (f,), _, s = pairs.take([7, 2])
    np.testing.assert_array_equal(f, [U[2, 1, :, 0], U[0, 2, :, 0]])
    np.testing.assert_array_equal(s[..., 0], [U[2, 2, :, 0], U[0, 3, :, 0]])
    (f,), _, s = read_pairs(path, times="last").take([4])
    np.testing.assert_array_equal(f[0], U[4, 0, :, 0])
    np.testing.assert_array_equal(s[0, :, 0], U[4, -1, :, 0])
    with pytest.raises(InputError, match="unknown times 'first'"):
        read_pairs(path, times="first")  # type: ignore[arg-type]


def test_a_grid_may_be_named_by_its_axes(tmp_path):
    path = npz(tmp_path, {"a": IMAGE, "b": ANSWER, "u": U[:, 2], "lat": X, "lon": Y})
    pairs = read_pairs(path, "a b", "lat lon", "u")
    assert pairs.names == ("a", "b") and pairs.coordinates == ("lat", "lon")
    np.testing.assert_array_equal(pairs.take([0])[1], grid(X, Y))
    columns = {"f": ARRAYS["f"], "s": ARRAYS["s"], "x": X, "y": X[::-1].copy()}
    scattered = read_pairs(npz(tmp_path, columns), "f", "x y", "s")
    np.testing.assert_array_equal(scattered.take([0])[1], np.stack([X, X[::-1]], 1))


@pytest.mark.parametrize("names", [("a", "u"), ("f", "s"), ("coeff", "sol")])
def test_variables_of_xarray_have_their_coordinates_as_axes(names, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    dims = ("run", "y", "x")  # the coordinates are stored as x, y
    held = xarray.Dataset(dict(zip(names, ((dims, IMAGE), (dims, ANSWER)), strict=True)), coords={"x": Y, "y": X})
    held.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    pairs = read_pairs(tmp_path / "a.nc")
    (f,), x, s = pairs.take([4])
    assert pairs.coordinates == ("y", "x") and any("taken to be y, x" in note for note in pairs.notes)
    np.testing.assert_array_equal(x, grid(X, Y))
    np.testing.assert_array_equal(f[0], IMAGE[4].ravel())
    np.testing.assert_array_equal(s[0, :, 0], ANSWER[4].ravel())


def test_times_of_what_is_no_series_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"times='next' is for series in time, but '.*' holds pairs of functions"):
        read_pairs(npz(tmp_path, ARRAYS), times="next")


def ragged() -> dict[str, np.ndarray]:
    """Functions of 4, 5 and 6 sensors and of 3, 4 and 5 points, with NaN behind those of the shorter ones."""
    sensors, points = np.sort(CHANCE.random((3, 6))), np.sort(CHANCE.random((3, 5)))
    f, s = np.sin(sensors), np.cos(points)
    for i in range(3):
        f[i, 4 + i :] = sensors[i, 4 + i :] = np.nan
        s[i, 3 + i :] = points[i, 3 + i :] = np.nan
    return {"f": f, "f_sensors": sensors, "x": points, "s": s}


@pytest.mark.parametrize("kind", ["npz", "hdf5", "torch", "cells"])
def test_functions_may_have_points_and_sensors_of_their_own(kind, tmp_path):
    written = ragged()
    rows = {name: [row[np.isfinite(row)] for row in array] for name, array in written.items()}
    if kind == "torch":
        torch.save({name: [torch.from_numpy(row) for row in held] for name, held in rows.items()}, tmp_path / "a.pt")
        path = tmp_path / "a.pt"
    elif kind == "cells":
        boxed = {}
        for name, held in rows.items():
            boxed[name] = np.empty(3, object)
            boxed[name][:] = held
        path = mat(tmp_path, boxed)
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name, held in rows.items():
                file.create_dataset(name, (3,), h5py.vlen_dtype(float))[:] = np.array([*held, None], object)[:3]
        path = tmp_path / "a.h5"
    else:
        path = npz(tmp_path, written)
    pairs = read_pairs(path)
    assert not pairs.aligned and pairs.scattered(0) and pairs.width(0) == 12
    (f,), x, s = pairs.take([2, 0])
    table = f.view(2, 6, 2)
    np.testing.assert_array_equal(table[..., 0], written["f"][[2, 0]])
    np.testing.assert_array_equal(table[..., 1], written["f_sensors"][[2, 0]])
    np.testing.assert_array_equal(s[..., 0], written["s"][[2, 0]])
    known = np.isfinite(written["x"][[2, 0]])
    np.testing.assert_array_equal(x[..., 0][torch.from_numpy(known)], written["x"][[2, 0]][known])
    assert bool(x.isfinite().all())


def test_packed_numbers_come_in_their_units(tmp_path):
    group = pytest.importorskip("zarr").open_group(str(zarr(tmp_path, ARRAYS)))
    group["s"] = np.full((N, K), 3, np.int16)
    group["s"].attrs.update({"scale_factor": 0.5, "add_offset": 10.0})
    assert bool((read_pairs(tmp_path / "a.zarr").take([0])[2] == 11.5).all())


def saved(value: Any) -> Callable[[Path], Path]:
    def written(path: Path) -> Path:
        torch.save(value, path / "a.pt")
        return path / "a.pt"

    return written


def garbage(name: str) -> Callable[[Path], Path]:
    def written(path: Path) -> Path:
        (path / name).write_bytes(b"no such file")
        return path / name

    return written


BAD = {
    "strange names": (lambda p: npz(p, {"up": IMAGE, "down": IMAGE}), r"a known layout.*has up \(7, 5, 6\), down"),
    "tensors of code": (saved({"f": torch.nn.Linear(2, 2)}), "holds other objects than tensors, whose code is not run"),
    "no mapping": (saved(torch.ones(3)), "it holds a Tensor, and a mapping of tensors by name is needed"),
    "text": (saved({"x": "a", "y": "b"}), "'x' is a str, and tensors are needed"),
    "no .pt": (garbage("a.pt"), "a file of tensors by torch.save is needed"),
    "no .mat": (garbage("a.mat"), "a .mat file is needed"),
    "no .nc": (garbage("a.nc"), "a netCDF file is needed"),
    "no .h5": (garbage("a.h5"), "a HDF5 file is needed"),
    "an array alone": (lambda p: npy(p, {"f": IMAGE}) / "f.npy", "must have an array 's', but it has f"),
    "an empty folder": (lambda p: p, "must hold .npy files, but .* holds none"),
    "axes of other sizes": (lambda p: npz(p, {"f": IMAGE, "x": X[:4], "s": ARRAYS["s"]}), r"but they are x \(4,\)"),
    "other numbers": (lambda p: npz(p, {"f": IMAGE[:4], "x": X, "s": ARRAYS["s"]}), "numbers of functions and points"),
    "groups of two grids": (
        lambda p: hdf5(p, {"0/data": U[0], "1/data": U[0, :2]}),
        "all functions must have one grid",
    ),
    "one time": (lambda p: hdf5(p, {"tensor": U[:, :1, :, 0], "x-coordinate": X, **TIMES}), "at least 2 times, got 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_end_in_a_sentence(name, tmp_path):
    writer, message = BAD[name]
    with pytest.raises(InputError, match=message):
        read_pairs(writer(tmp_path))
