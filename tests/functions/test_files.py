"""Functions and pairs from files: every kind of file, splines against scipy's, functions that leak, bad files.

Kinds of fault of the reader: complex values, text, objects, arrays without axes or without rows, values that are not
finite, shapes that do not fit, damaged, cut-off and lying .npy headers, damaged HDF5, grids that are not uniform.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from nfsolve._core.errors import InputError, MissingExtra
from nfsolve._core.spec import build, describe
from nfsolve.diff import partials
from nfsolve.functions import FunctionFile, GaussianField, check_leakage, read_pairs, row_hashes
from tests.oracles import derivative

X = np.linspace(-1, 2, 25)
F = np.sin(np.arange(1, 8)[:, None] * X) + np.arange(7)[:, None]


class Dataset:
    """As strict as HDF5: rows in increasing order, none twice."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape, self.ndim, self.dtype = array, array.shape, array.ndim, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        assert (np.diff(rows) > 0).all()
        return self.array[rows]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.array.astype(dtype)


class File(dict):
    """Datasets by name, none in a group."""

    def visititems(self, visit) -> None:
        for name, item in self.items():
            visit(name, item)


def write(kind: str, folder, monkeypatch, **arrays: np.ndarray) -> str:
    if kind == "npz":
        np.savez(folder / "data.npz", **arrays)
        return str(folder / "data.npz")
    if kind == "npy":
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        return str(folder)
    path = folder / "data.h5"
    if kind == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
        return str(path)
    path.touch()
    opened = File({name: Dataset(array) for name, array in arrays.items()})
    library = SimpleNamespace(File=lambda _: opened, Dataset=Dataset, check_vlen_dtype=lambda dtype: None)
    monkeypatch.setitem(sys.modules, "h5py", library)
    return str(path)


KINDS = ["npz", "npy", "h5", "strict"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_a_file_run_as_scipys_splines(kind, tmp_path, monkeypatch):
    space = FunctionFile(write(kind, tmp_path, monkeypatch, f=F, x=X))
    c = space.sample(7, generator())
    x = torch.cat([torch.linspace(-1, 2, 49), torch.tensor([0.1234])]).double()[:, None]
    values = space.evaluate(c, x).numpy()
    order = np.argsort(values.mean(1))
    spline = CubicSpline(X, F[np.argsort(CubicSpline(X, F, axis=1)(x[:, 0]).mean(1))], axis=1)
    np.testing.assert_allclose(values[order], spline(x[:, 0]), atol=1e-12)
    for m, along in enumerate([(), (0,), (0, 0)]):
        slopes = c @ partials(space.basis, x, [along], engine="jets")[along].T
        np.testing.assert_allclose(slopes[order], spline(x[:, 0], m), atol=1e-9)
        torch.testing.assert_close(slopes, c @ derivative(space.basis, x, along).T)
    assert build(describe(space)) == space


def test_functions_are_drawn_once_each_from_the_rows_that_are_named(tmp_path, monkeypatch):
    path = write("npz", tmp_path, monkeypatch, f=F, x=X)
    train, test = FunctionFile(path, rows=(0, 4)), FunctionFile(path, rows=(4, 7))
    at = torch.from_numpy(X)[:, None]
    drawn = train.evaluate(train.sample(4, generator()), at), test.evaluate(test.sample(3, generator()), at)
    assert len(set(row_hashes(drawn[0]))) == 4
    assert set(row_hashes(torch.cat(drawn))) == set(row_hashes(torch.from_numpy(F)))
    check_leakage(*drawn)
    assert not torch.equal(train.sample(4, generator(1)), train.sample(4, generator()))
    with pytest.raises(InputError, match="'data.npz' must have 4 functions to draw, each once, but it has 3"):
        test.sample(4, generator())
    with pytest.raises(InputError, match="within the 7 functions of .*, got 4 to 9"):
        FunctionFile(path, rows=(4, 9))


def pairs(aligned: bool = True) -> dict[str, np.ndarray]:
    x = np.linspace(0, 1, 5)[:, None] + np.zeros((7, 1, 1))
    return {"f": F, "g": F[:, :2], "x": x[0] if aligned else x + np.arange(7)[:, None, None], "s": F[:, :5]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aligned", [True, False])
def test_pairs_give_the_rows_that_are_asked_for(kind, aligned, tmp_path, monkeypatch):
    written = pairs(aligned)
    data = read_pairs(write(kind, tmp_path, monkeypatch, **written), inputs=("f", "g"))
    assert len(data) == 7 and data.aligned is aligned
    rows = torch.tensor([5, 0, 5, 2])
    (f, g), x, s = data.take(rows)
    np.testing.assert_array_equal(f, written["f"][rows])
    np.testing.assert_array_equal(g, written["g"][rows])
    np.testing.assert_array_equal(x, written["x"] if aligned else written["x"][rows])
    np.testing.assert_array_equal(s[..., 0], written["s"][rows])
    assert s.shape == (4, 5, 1)


def test_folders_stay_on_the_disk(tmp_path, monkeypatch):
    data = read_pairs(write("npy", tmp_path, monkeypatch, **pairs()))
    assert isinstance(data.outputs, np.memmap)


def test_values_that_are_not_finite_are_refused_with_their_row(tmp_path, monkeypatch):
    spoilt = pairs()
    spoilt["s"] = spoilt["s"].copy()
    spoilt["s"][3, 1] = np.inf
    message = "the outputs must hold finite numbers, or NaN for those that are missing, but row 3 has infinity"
    with pytest.raises(InputError, match=message):
        read_pairs(write("npz", tmp_path, monkeypatch, **spoilt))
    streamed = read_pairs(write("npy", tmp_path, monkeypatch, **spoilt))
    streamed.take([1, 2])
    with pytest.raises(InputError, match=message):
        streamed.take([6, 3])
    spoilt["s"][3, 1] = np.nan
    outputs = read_pairs(write("npz", tmp_path, monkeypatch, **spoilt)).take([3, 6])[2]
    assert int(outputs.isnan().sum()) == 1 and outputs[0, 1].isnan()


def test_points_of_one_coordinate_may_be_a_row(tmp_path, monkeypatch):
    x = np.linspace(0, 1, 5)
    path = write("npz", tmp_path, monkeypatch, f=np.ones((3, 4)), x=x, s=np.ones((3, 5)))
    assert np.array_equal(read_pairs(path).points, x[:, None])


def test_bad_files_are_named(tmp_path, monkeypatch):
    path = write("npz", tmp_path, monkeypatch, **pairs())
    with pytest.raises(InputError, match="must have an array 'h', but it has f, g, x, s"):
        read_pairs(path, inputs=("f", "h"))
    with pytest.raises(InputError, match=r"fit outputs of shape \(7, 2\), .* but they are x \(5, 1\)"):
        read_pairs(path, outputs="g")
    with pytest.raises(InputError, match=r"'f' of .* a row for each .* has shape \(7, 25\), and 'x' has 5 points"):
        FunctionFile(path)
    with pytest.raises(InputError, match=r"'.*none.npz' was not found. Give a .npz, .mat, .h5, "):
        read_pairs(tmp_path / "none.npz")
    (tmp_path / "data.xls").touch()
    with pytest.raises(InputError, match=r"that end in '.xls', as '.*data.xls' does"):
        read_pairs(tmp_path / "data.xls")
    (tmp_path / "f.npy").write_bytes(b"text")
    with pytest.raises(InputError, match=r"f.npy' could not be read"):
        read_pairs(tmp_path)
    np.savez(tmp_path / "uneven.npz", f=F, x=X**3)
    with pytest.raises(
        InputError, match="must be an equidistant, increasing grid, but it is not. Resample the functions"
    ):
        FunctionFile(str(tmp_path / "uneven.npz"))


WRONG = {
    "complex numbers": lambda a: a + 1j,
    "text": lambda a: a.astype(str),
    "row for each function": lambda a: a.ravel()[0],
    "a row for each function": lambda a: a[:0],
    "values of datetime64": lambda a: a.astype("datetime64[s]"),
}


@pytest.mark.parametrize("name", ["f", "x", "s"])
@pytest.mark.parametrize("words", WRONG)
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_arrays_that_are_no_real_rows_are_refused(name, words, kind, tmp_path, monkeypatch):
    arrays = pairs()
    path = write(kind, tmp_path, monkeypatch, **(arrays | {name: WRONG[words](arrays[name])}))
    if (words, name) in {("complex numbers", "f"), ("complex numbers", "s")}:  # they become two functions
        found = read_pairs(path)
        assert (found.names if name == "f" else found.gives) == (f"{name}_re", f"{name}_im")
        return
    with pytest.raises(InputError, match=words):
        read_pairs(path).take([0])


@pytest.mark.parametrize("grid", [X + 0j, X.astype(str), X[0], np.full_like(X, np.nan)])
def test_grids_of_functions_are_real(grid, tmp_path):
    np.savez(tmp_path / "a.npz", f=F, x=grid)
    with pytest.raises(InputError, match="'x' of .* must "):
        FunctionFile(str(tmp_path / "a.npz"))


def saved(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        saved(F)[:40],
        saved(F)[:-1],
        saved(F) + b"0",
        saved(F).replace(b"(7, 25)", b"(9**9,)"),
        saved(F).replace(b"(7, 25)", b"(7,999)"),
        saved(F).replace(b"(7, 25)", b"(-7,25)"),
        saved(np.array([[None]]), allow_pickle=True),
        b"PK\x03\x04" + bytes(60),
    ],
)
def test_damaged_and_lying_files_end_in_a_sentence(content, tmp_path, monkeypatch):
    path = write("npy", tmp_path, monkeypatch, **pairs())
    (tmp_path / "f.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"'.*f.npy' could not be read \(.*\)\. Write it again"):
        read_pairs(path)


@pytest.mark.parametrize("cut", [0, 20, 700, -8])
def test_damaged_hdf5_ends_in_a_sentence(cut, tmp_path, monkeypatch):
    path = Path(write("h5", tmp_path, monkeypatch, **pairs()))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="a HDF5 file is needed, but '.*data.h5' could not be read"):
        read_pairs(path)


def test_hdf5_that_claims_more_than_memory_ends_in_a_sentence(tmp_path):
    path = tmp_path / "a.h5"
    with pytest.importorskip("h5py").File(path, "w") as file:  # nothing of f and x is written
        for name, shape in (("f", (7, 10**14)), ("x", (10**14,))):
            file.create_dataset(name, shape, "f4", chunks=True)
        file["points"], file["s"] = X, F
    with pytest.raises(InputError, match="'x' of .* must be whole, and fit into memory"):
        FunctionFile(str(path))
    with pytest.raises(InputError, match="the input functions must be whole, and fit into memory"):
        read_pairs(path, points="points").take([0])


def test_hdf5_without_its_library_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "data.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"reading HDF5 files needs h5py, which is not installed: .*\[operators\]"):
        read_pairs(tmp_path / "data.h5")


def test_shared_functions_are_found_and_refused():
    space, x = GaussianField(), torch.linspace(0, 1, 20, dtype=torch.float64)[:, None]
    train, test = (space.evaluate(space.sample(n, generator(n)), x) for n in (50, 10))
    check_leakage(train, test)
    test[7] = train[12] * (1 + 1e-15)
    with pytest.raises(InputError, match=r"but 1 of 10 are training functions \(test 7 is training 12\)\. Sample"):
        check_leakage(train, test)
    with pytest.raises(InputError, match=r"\(test 7 is training 12\)"):
        check_leakage(iter(train.split(9)), test)


def test_row_hashes_tell_functions_apart_and_are_the_same_everywhere():
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.0], [1.0, 2.000001], [-1.0, 2.0], [0.0, 2.0], [0.0, 0.0]])
    assert len(set(row_hashes(rows))) == 6
    assert row_hashes(torch.tensor([[-0.0, 2.0], [1e-17, 2.0]])) == row_hashes(rows[[4, 4]])
    assert row_hashes(rows[:1])[0].hex() == "49892bf6e716fa75c39c12de438aec0e"


@settings(max_examples=40, deadline=None)
@given(at=st.floats(0, 1), text=st.binary(min_size=1, max_size=8))
def test_hdf5_with_other_bytes_gives_numbers_or_a_sentence(at, text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with pytest.importorskip("h5py").File(path, "w") as file:
            for name, array in pairs().items():
                file[name] = array
        content = path.read_bytes()
        place = int(at * len(content))
        path.write_bytes(content[:place] + text + content[place + len(text) :])
        with contextlib.suppress(InputError):
            assert torch.isfinite(read_pairs(path).take([0, 3])[2]).all()
