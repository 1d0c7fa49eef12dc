"""Tables and archives as people write them.

Kinds of fault of the reader: separators, byte order marks, comments, index columns, decimal commas, complex
values, text, lying headers, archives that unpack to more than memory, cut-off files.
"""

import io
import zipfile

import numpy as np
import pytest

from nfsolve._core.arrays import read_arrays
from nfsolve._core.errors import InputError
from nfsolve.data.tables import read_columns, read_reference


@pytest.mark.parametrize(
    "text",
    [
        "x,u\n1,2\n3,4\n",
        "\ufeffx,u\r\n1,2\r\n3,4\r\n",
        "x;u\n1;2\n3;4\n",
        "x\tu\n1\t2\n3\t4\n",
        "# x,u\n1,2\n3,4\n",
        "x,u\n# measured twice\n1,2  # here\n\n3,4\n",
        ",x,u\n0,1,2\n1,3,4\n",
        '"x","u"\n1,2\n3,4\n',
    ],
)
def test_tables(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    arrays = read_arrays(path)
    assert {name: values.tolist() for name, values in arrays.items()} == {"x": [1, 3], "u": [2, 4]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("1,2\n3,4\n", "no header line"),
        ("x;u\n1,5;2,5\n", "'1,5' of column 'x' in line 2 has a decimal comma"),
        ("x,u\n1,2\n3\n", "line 3 has 1 cells"),
        ("x,u\n1,2+1j\n", "is no real number"),
        ("x,x\n1,2\n", "same name"),
        (",x\n5,2\n", "a column has no name"),
    ],
)
def test_faulty_tables_are_worded(tmp_path, text, words):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_arrays(path)


def test_empty_cells_are_nan(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,u\n1,\n2,3\n")
    assert np.isnan(read_arrays(path)["u"][0])


def member(header: str, data: bytes = b"", name: str = "x.npy") -> bytes:
    file = io.BytesIO()
    padded = header.encode() + b"\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + data)
    return file.getvalue()


def described(shape: str, kind: str = "'<f8'") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        member(described("(2,)"), b"0" * 8),
        member(described("(1000000000000000,)"), b"0" * 8),
        member(described("(-1,)"), b"0" * 8),
        member(described("(1,)", "'|O'"), b"0" * 8),
        member(described("(1,)", "'<q9'"), b"0" * 8),
        member("{'descr': ((((", b"0" * 8),
        member("[" * 9000, b""),
        member("[1]", b""),
        member(described("(1,)"), b"0" * 8, "notes.txt"),
        member(described("(1,)"), b"0" * 8)[:-30],
    ],
)
def test_faulty_archives_are_worded(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is needed, but data file '.*a.npz' could not be read"):
        read_arrays(path)


def test_archives_larger_than_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(10**6))
    monkeypatch.setattr("os.sysconf", lambda name: 1000)
    with pytest.raises(InputError, match="it unpacks to .* GiB, and this machine has"):
        read_arrays(path)


@pytest.mark.parametrize(("values", "words"), [(np.ones(2) * 1j, "complex numbers"), (np.array(["a", "b"]), "text")])
def test_columns_are_real(tmp_path, values, words):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones(2), u=values, error=0.0)
    for reader in (read_columns, read_reference):
        with pytest.raises(InputError, match=f"'u' of .* must hold real numbers, but it holds {words}"):
            reader(str(path), object, ("x",), ("u",))


def test_arrays_without_axes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=1.0, u=2.0)
    assert {n: c.tolist() for n, c in read_columns(str(path), object, ("x",), ("u",)).items()} == {"x": [1], "u": [2]}
