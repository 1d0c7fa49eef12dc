"""HDF5 of beamlines: Data Exchange and NXtomo give the same scan; what they lack is worded."""

import h5py
import numpy as np
import pytest

from nfsolve._core.errors import InputError
from nfsolve.data.scans.hdf5 import Frames
from nfsolve.data.scans.scan import Reading, read_scan
from nfsolve.forward.phantoms import Ellipse, phantom_projections
from nfsolve.forward.radon import ParallelBeam

DEGREES = np.arange(0, 180, 3.0)
GEOMETRY = ParallelBeam(tuple(np.radians(DEGREES)), 60, 0.05, 0.1)
OBJECT = [Ellipse(1.0, 0.6, 0.8, 0.1, 0.1, 20.0), Ellipse(0.7, 0.1, 0.2, -0.25, -0.3)]
INTEGRALS = phantom_projections(OBJECT, GEOMETRY).numpy()
ROWS = 3
BEAM = 1000.0 * (1 + np.arange(ROWS)[:, None] + 0.01 * np.arange(60))  # (rows, bins)
COUNTS = np.round(50 + BEAM * np.exp(-INTEGRALS[:, None])).astype(np.uint16)
FLATS, DARKS = (np.stack([frame + 1, frame - 1]) for frame in (BEAM + 50, np.full(BEAM.shape, 50.0)))


def data_exchange(path, unit="degrees", size=(50.0, "um"), leave_out=""):
    with h5py.File(path, "w") as file:
        arrays = {"data": COUNTS, "data_white": FLATS, "data_dark": DARKS, "theta": DEGREES}
        for name, values in arrays.items():
            if name != leave_out:
                file[f"exchange/{name}"] = np.radians(values) if name == "theta" and unit == "radians" else values
        if leave_out != "theta":
            file["exchange/theta"].attrs["units"] = unit
        if size is not None:
            file["measurement/instrument/detector/pixel_size_x"] = size[0]
            file["measurement/instrument/detector/pixel_size_x"].attrs["units"] = size[1]
    return path


def nxtomo(path, keys=None, leave_out=""):
    frames = np.concatenate([DARKS, FLATS, COUNTS[:30], COUNTS[:1] * 0, COUNTS[30:]])
    angles = np.concatenate([np.zeros(4), DEGREES[:30], [7.0], DEGREES[30:]])
    kinds = np.concatenate([[2, 2, 1, 1], np.zeros(30), [3], np.zeros(30)]).astype(int)
    with h5py.File(path, "w") as file:
        arrays = {
            "instrument/detector/data": frames,
            "instrument/detector/image_key": kinds if keys is None else keys(kinds),
            "sample/rotation_angle": angles,
            "instrument/detector/x_pixel_size": 5e-5,
        }
        for name, values in arrays.items():
            if name != leave_out:
                file[f"scan_1/{name}"] = values
        file["scan_1/instrument/detector/x_pixel_size"].attrs["units"] = "m"
    return path


@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize("write", [data_exchange, nxtomo])
def test_both_layouts_give_the_scan_of_a_row_with_its_axis(tmp_path, write, row):
    scan = read_scan(write(tmp_path / "scan.h5"), Reading(row=row))
    assert scan.unit == "mm" and scan.geometry.spacing == pytest.approx(0.05)
    assert np.allclose(scan.sinogram, INTEGRALS, atol=0.02) and scan.geometry.centre == pytest.approx(0.1, abs=0.01)
    assert np.allclose(np.degrees(scan.geometry.angles), DEGREES)
    assert scan.I0 is not None and np.allclose(scan.I0[0], BEAM[row])


def test_a_row_is_read_without_the_others(tmp_path, monkeypatch):
    path, read = data_exchange(tmp_path / "scan.nxs"), []
    inner = Frames._read
    monkeypatch.setattr(Frames, "_read", lambda self, where: (read.append(where), inner(self, where))[1])
    read_scan(path, Reading(row=1))
    assert read == [(slice(None), 1)]


def test_units_of_angles_and_lengths(tmp_path):
    scan = read_scan(data_exchange(tmp_path / "a.h5", unit="radians", size=None))
    assert np.allclose(np.degrees(scan.geometry.angles), DEGREES)
    assert (scan.unit, scan.geometry.spacing) == ("bin", 1.0)


def no(kind):
    return lambda kinds: np.where(kinds == kind, 3, kinds)


@pytest.mark.parametrize(
    ("write", "options", "words"),
    [
        (data_exchange, {"leave_out": "data_white"}, "lacks 'exchange/data_white', the bare beam"),
        (data_exchange, {"leave_out": "theta"}, "angles of the .* projections .* 'exchange/theta' in an HDF5 file"),
        (
            data_exchange,
            {"leave_out": "data"},
            r"must hold 'exchange/data' .* or .* but it holds exchange, measurement",
        ),
        (nxtomo, {"leave_out": "sample/rotation_angle"}, "lacks 'scan_1/sample/rotation_angle'"),
        (nxtomo, {"keys": no(1)}, "no frame has the image key 1"),
        (nxtomo, {"keys": no(0)}, "no frame has the image key 0"),
        (nxtomo, {"keys": lambda kinds: kinds[:5]}, r"the kind of each of 65 frames, but it has shape \(5,\)"),
    ],
    ids=["white", "theta", "data", "angles", "flats", "projections", "keys"],
)
def test_what_is_missing_is_worded(tmp_path, write, options, words):
    with pytest.raises(InputError, match=words):
        read_scan(write(tmp_path / "scan.h5", **options))


def test_a_file_that_is_cut_off_ends_in_a_sentence(tmp_path):
    path = data_exchange(tmp_path / "scan.h5")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"must be a complete \.h5 file, .* Copy it again"):
        read_scan(path)
