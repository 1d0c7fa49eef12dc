"""Arrays of numbers by name from .npz and .csv files, and one array from .npy."""

import codecs
import csv
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError

TABLES = (".csv", ".tsv", ".txt", ".dat")
DECIMAL_COMMA = r"[-+]?\d+,\d+([eE][-+]?\d+)?"
COMMENTS = ("#", "%")  # numpy.savetxt writes the first, MATLAB and COMSOL the second
SMALLEST, LARGEST = 1e-15, 1e15  # of a positive number, such as a length: its square is far from the limits of float32


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the named arrays of a .npz file, or of a table of text (.csv, .tsv, .txt, .dat).

    Args:
        path: The file.

    Returns:
        Name -> array of numbers.

    Raises:
        InputError: The file is corrupt, claims more than it holds or than memory can take, or is of another kind.
    """
    try:
        if path.suffix.lower() in TABLES:
            return _read_table(path)
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # numpy would take it for a pickle, and advise to trust it
                raise ValueError("not a zip archive")
        _check_claims(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged archives make zipfile, zlib, ast and numpy raise whatever they like
        archive, table = "a .npz archive of number arrays", "a table of text with a header line"
        needed = {".npz": archive} | dict.fromkeys(TABLES, table)
        raise InputError(
            f"{needed.get(path.suffix.lower(), f'{archive} or {table}')} is needed, but data file '{path}' could not "
            f"be read ({reason(error)})",
            do="write it again, or check that the copy is complete",
        ) from error


def memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def map_array(path: Path) -> np.ndarray:
    """Open a .npy file without reading its values, so that a header that claims more than the file holds is found.

    Returns:
        The array, on the disk.

    Raises:
        InputError: The file is not an array of numbers, is damaged or cut off, or its header claims another size.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # refuses pickles
        if array.offset + array.nbytes != path.stat().st_size:
            raise ValueError(f"it claims shape {array.shape}, which is less than it holds")
        return array
    except Exception as error:
        raise InputError(
            f"a .npy file of one array of numbers is needed, but '{path}' could not be read ({reason(error)})",
            do="write it again with numpy.save, or check that the copy is complete",
        ) from error


def real_numbers(values: Any, what: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return an array in float64, and refuse what is not made of real numbers.

    Args:
        values: The array.
        what: What to call it in an error, such as ``"'u' of 'data.npz'"``.
        rows: Which of its rows, of an array on the disk; all by default.

    Returns:
        The array in float64.

    Raises:
        InputError: It holds complex numbers, text, dates or objects, or does not fit into memory.
    """
    try:
        values = np.asarray(values if isinstance(rows, slice) else values[rows])
    except (MemoryError, OSError, TypeError, ValueError) as error:  # of a damaged HDF5 file
        raise InputError(
            f"{what} must be whole, and fit into memory ({reason(error)})", do="write it again, or store fewer numbers"
        ) from error
    if values.dtype.kind not in "biuf":
        kinds = {"c": "complex numbers", "U": "text", "S": "text", "O": "Python objects"}
        raise InputError(
            f"{what} must hold real numbers, not {kinds.get(values.dtype.kind, f'values of {values.dtype}')}",
            do="store real numbers, of complex ones the real and the imaginary part under two names",
        )
    return values.astype(np.float64)


def real_number(values: Any, what: str, positive: bool = False) -> float:
    """Return the one finite number that an array holds, or refuse others; see `real_numbers`."""
    found = real_numbers(values, what)
    if found.size != 1 or not np.isfinite(found).all() or (positive and not SMALLEST <= found.item() <= LARGEST):
        needed = f"number from {SMALLEST:g} to {LARGEST:g}" if positive else "finite number"
        raise InputError(f"{what} must be a {needed}, got {str(found.tolist())[:80]}", do="correct it")
    return float(found.item())


def reason(error: Exception) -> str:
    """Return the first line of what a library said, short enough for a message."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _check_claims(path: Path) -> None:
    """Refuse members whose header claims another size than they have, and archives that do not fit into memory."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len({m.filename for m in members}) < len(members):
            raise ValueError("two of its arrays have the same name")
        size = sum(m.file_size for m in members)
        if size > memory():
            raise ValueError(f"it unpacks to {size / 2**30:.3g} GiB, and this machine has {memory() / 2**30:.3g} GiB")
        for member in members:
            if not member.filename.endswith(".npy"):
                raise ValueError(f"its member '{member.filename}' is not an array")
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                if dtype.hasobject:
                    raise ValueError(f"its array '{member.filename[:-4]}' holds Python objects, not numbers")
                claimed, held = int(dtype.itemsize * np.prod([*shape, 1], dtype=object)), member.file_size - file.tell()
            if claimed != held or min(shape, default=0) < 0:
                raise ValueError(
                    f"its array '{member.filename[:-4]}' claims shape {shape}, {claimed} bytes, but holds {held} bytes"
                )


def _read_table(path: Path) -> dict[str, np.ndarray]:
    """Read columns separated by commas, semicolons, tabs or blanks; empty cells are NaN, and ``#`` begins a comment.

    The header is the first line that is not a comment; if there are only numbers, it is a comment above them without a
    colon. A column without a single number, such as remarks or dates, is kept as text.
    """
    lines, comments = [], []
    for number, line in enumerate(_decoded(path.read_bytes()).splitlines(), 1):
        if line.lstrip().startswith(COMMENTS):
            comments += [] if lines or ":" in line else [line.lstrip("".join(COMMENTS) + " ").rstrip()]
        elif line.strip():
            lines.append((number, line.strip(" \r\n")))
    if not lines:
        raise ValueError("it has a header and no rows" if comments else "it is empty")
    header = lines[0][1].partition("#")[0]
    mark = _mark(header)
    names = _cells(header, mark)
    if all(map(_is_number, names)):
        fitting = [cells for c in comments if len(cells := _cells(c, _mark(c))) == len(names) and any(cells)]
        if len(fitting) > 1:
            raise ValueError(f"{len(fitting)} comments could be its header line; write one without # above the numbers")
        names, lines = fitting[0] if fitting else names, [(0, ""), *lines]
    if not any(names) or any(map(_is_number, names)):
        raise ValueError("no header line")
    if len(set(names)) < len(names):
        raise ValueError("two columns have the same name")
    rows = []
    for number, line in lines[1:]:
        cells = _cells(line, mark)
        if len(cells) != len(names):
            cells = _cells(line.partition("#")[0], mark)
        if len(cells) != len(names):
            raise ValueError(f"line {number} has {len(cells)} cells, and the header has {len(names)}")
        rows.append((number, cells))
    if not rows:
        raise ValueError("it has a header and no rows")
    table = {name: _column(name, [(line, cells[i]) for line, cells in rows]) for i, name in enumerate(names)}
    index = table.pop("", None)  # pandas writes the numbers of the rows under no name
    if index is not None and not any(np.array_equal(index, np.arange(len(index)) + first) for first in (0, 1)):
        raise ValueError("a column has no name")
    return table


def _decoded(content: bytes) -> str:
    """Decode a text by its byte order mark, which spreadsheets write; without one it is UTF-8."""
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}  # the first begins as one of UTF-16 does
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    return content.decode(next((marks[mark] for mark in marks if content.startswith(mark)), "utf-8-sig"))


def _mark(line: str) -> str:
    """Return what separates the cells of a line."""
    return next((mark for mark in (";", "\t", ",") if mark in line), " ")


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+.\d]+([eE][-+]?\d+)?", cell))


def _cells(line: str, mark: str) -> list[str]:
    if mark == " ":  # numpy.savetxt aligns by several
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]


def _column(name: str, cells: list[tuple[int, str]]) -> np.ndarray:
    """Return the numbers of a column, or its texts where no cell is meant as a number."""
    plain = [(line, cell.partition("#")[0].strip()) for line, cell in cells]
    filled = [cell for _, cell in plain if cell]
    if filled and not any(map(_can_be_number, filled)):
        return np.array([cell for _, cell in cells])
    return np.array([_number(cell, line, name) for line, cell in plain], np.float64)


def _can_be_number(cell: str) -> bool:
    try:
        complex(cell)  # which real columns refuse with the line
    except ValueError:
        return bool(re.fullmatch(DECIMAL_COMMA, cell))
    return True


def _number(cell: str, line: int, name: str) -> float:
    if re.fullmatch(DECIMAL_COMMA, cell):
        raise ValueError(f"'{cell}' of column '{name}' in line {line} has a decimal comma; a point is needed")
    try:
        if "_" in cell:  # Python takes 1_5 for 15
            raise ValueError
        return float(cell) if cell else np.nan
    except ValueError:
        raise ValueError(f"'{cell}' of column '{name}' in line {line} is not a real number") from None
