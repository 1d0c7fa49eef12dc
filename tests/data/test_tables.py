"""Tables and archives as people write them.

Kinds of fault of the reader: separators, endings, byte order marks, other encodings, comments, index columns, quotes,
decimal commas, ragged rows, headers without rows, complex values, text, axes that are not finite, lying headers,
members of one name, archives that unpack to more than memory, cut-off files, folders.
"""

import codecs
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
        "# x u\n1 2\n3 4\n",
        "x  u\n 1.0e0   2\n 3.0e0   4\n",
        " x ; u \n1 ;2\n3; 4",
        "x,u\r1,2\r3,4\r",
        "# made on a Monday\nx,u\n1,2\n3,4\n",
        "# made on a Monday\n#\n# x u\n1 2\n3 4\n",
        "% Model: made.mph\n% x u\n1   2\n3   4\n",
        "# x, u\n1 2\n3 4\n",
        "\n\n# x\tu\n\n1\t2\n3\t4\n",
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
        ("x,u\n1,2+1j\n", "is not a real number"),
        ("x,x\n1,2\n", "same name"),
        (",x\n5,2\n", "a column has no name"),
        ("x,u\n", "it has a header and no rows"),
        ("x,u\n# nothing\n", "it has a header and no rows"),
        ("x,u\n1,2,3\n", "line 2 has 3 cells, and the header has 2"),
        ("x,u\n1,1_5\n", "'1_5' of column 'u' in line 2 is not a real number"),
        ("x,u\n1,two\n2,3\n", "'two' of column 'u' in line 2 is not a real number"),
        ("x\tu\n1\t2,5\n", "has a decimal comma"),
        ("x u v\n1 2\n", "line 2 has 2 cells"),
        ("# x u\n# m s\n1 2\n", "2 comments could be its header line"),
        ("# x u v\n1 2\n", "no header line"),
        ("# x u\n", "it has a header and no rows"),
    ],
)
def test_faulty_tables_are_worded(tmp_path, text, words):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_arrays(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1"])  # without a byte order mark
def test_other_encodings_end_in_a_sentence(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes("x,µ\n1,2\n".encode(encoding))
    with pytest.raises(InputError, match=r"could not be read \('utf-8' codec"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_the_encoding(tmp_path, mark, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(mark + "x,µ\n1,2\n".encode(encoding))
    assert {name: column.tolist() for name, column in read_arrays(path).items()} == {"x": [1], "µ": [2]}


def test_remarks_and_dates_are_kept_as_text_and_refused_only_where_they_are_used(tmp_path):
    path = tmp_path / "a.csv"
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {"t": [0, 1], "u": [2, 3], "note": ["probe, moved", "bad #3"], "day": ["2026-01-02", None]}
    )
    table.to_csv(path)
    assert read_arrays(path)["note"].tolist() == ["probe, moved", "bad #3"]
    assert read_columns(str(path), object, ("t",), ("u",))["u"].tolist() == [2, 3]
    with pytest.raises(InputError, match="'note' of data file '.*' must hold real numbers, not text"):
        read_columns(str(path), object, ("t",), ("note",))


@pytest.mark.parametrize("label", ["", "#"])
def test_row_numbers_may_begin_at_one(tmp_path, label):
    path = tmp_path / "a.csv"
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"x": [5, 6]}, index=[1, 2]).to_csv(path, index_label=label)
    assert {name: column.tolist() for name, column in read_arrays(path).items()} == {"x": [5, 6]}


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".tsv", ".txt", ".dat"])
def test_endings_of_tables(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    np.savetxt(path, [[1, 2], [3, 4]], header="x u")
    assert read_arrays(path)["u"].tolist() == [2, 4]


def test_folders_are_no_files(tmp_path):
    (tmp_path / "slices").mkdir()
    with pytest.raises(InputError, match="a data file is needed, but '.*slices' is a folder. Name a file in it"):
        read_columns(str(tmp_path / "slices"), object, ("x",), ("u",))


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


def test_members_of_one_name_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones(2))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.npy", archive.read("x.npy"))
    with pytest.raises(InputError, match="two of its arrays have the same name"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": np.array([0, np.nan])}, "axis 'x' of .* must hold finite numbers"),
        ({"x": np.zeros(0), "u": np.zeros(0)}, "axis 'x' of .* must hold finite numbers"),
        ({"error": np.nan}, "'error' of .* must be a finite number, got nan"),
        ({"error": -1.0}, "'error' of .* must be a number of at least 0, got -1"),
        ({"error": np.ones(2)}, r"'error' of .* must be a finite number, got \[1.0, 1.0\]"),
        ({"u": np.ones(3)}, r"'u' of .* must have shape \(2,\), as its axes do"),
    ],
)
def test_references_that_cannot_be_are_worded(tmp_path, changes, words):
    path = tmp_path / "a.npz"
    np.savez(path, **({"x": np.arange(2.0), "u": np.ones(2), "error": 0.0} | changes))
    with pytest.raises(InputError, match=words):
        read_reference(str(path), object, ("x",), ("u",))


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
        with pytest.raises(InputError, match=f"'u' of .* must hold real numbers, not {words}"):
            reader(str(path), object, ("x",), ("u",))


def test_arrays_without_axes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=1.0, u=2.0)
    assert {n: c.tolist() for n, c in read_columns(str(path), object, ("x",), ("u",)).items()} == {"x": [1], "u": [2]}
