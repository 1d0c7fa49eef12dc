"""Stacks of TIFF images: a folder and a file of many pages give the scan that was written; what they lack is worded."""

import numpy as np
import pytest
from PIL import Image

from nfsolve._core.errors import InputError
from nfsolve.data.scans.scan import Reading, read_scan
from nfsolve.data.scans.stacks import Pages
from tests.data.scans.test_hdf5 import COUNTS, DARKS, DEGREES, FLATS, INTEGRALS

VIEWS = [Image.fromarray(frame) for frame in COUNTS]
FIELDS = {"flat": FLATS, "dark": DARKS}


def folder_of(tmp_path, leave_out=()):
    folder = tmp_path / "projections"
    folder.mkdir()
    for number, view in enumerate(VIEWS):
        view.save(folder / f"view_{number}.tif")  # without leading zeros: 10 comes after 9
    for kind, frames in FIELDS.items():
        if kind not in leave_out:
            for number, frame in enumerate(frames):
                Image.fromarray(frame.astype(np.float32)).save(folder / f"{kind}_{number}.tiff")
    if "angles" not in leave_out:
        np.savetxt(folder / "angles.txt", DEGREES)
    return folder


def file_of(tmp_path):
    path = tmp_path / "scan.tif"
    VIEWS[0].save(path, save_all=True, append_images=VIEWS[1:])
    for kind, frames in FIELDS.items():
        first, *others = (Image.fromarray(frame.astype(np.float32)) for frame in frames)
        first.save(tmp_path / f"scan_{kind}.tif", save_all=True, append_images=others)
    np.savetxt(tmp_path / "scan_angles.txt", DEGREES)
    return path


@pytest.mark.parametrize("write", [folder_of, file_of])
def test_both_kinds_give_the_scan_of_a_row_with_its_axis(tmp_path, write):
    scan = read_scan(write(tmp_path), Reading(row=2, pixel=0.05))
    assert (scan.unit, scan.geometry.spacing) == ("mm", 0.05)
    assert np.allclose(scan.sinogram, INTEGRALS, atol=0.02)
    assert scan.geometry.centre == pytest.approx(0.1, abs=0.01)
    assert np.allclose(np.degrees(scan.geometry.angles), DEGREES)


def test_angles_may_be_spread_and_lengths_counted_in_bins(tmp_path):
    scan = read_scan(folder_of(tmp_path, leave_out=("angles",)), Reading(turn=180.0))
    assert np.allclose(np.degrees(scan.geometry.angles), DEGREES)
    assert (scan.unit, scan.geometry.spacing) == ("bin", 1.0)


def test_a_stack_without_a_flat_field_is_one_of_line_integrals(tmp_path):
    folder = tmp_path / "sinograms"
    folder.mkdir()
    for number, view in enumerate(INTEGRALS):
        Image.fromarray(np.stack([view, 2 * view]).astype(np.float32)).save(folder / f"{number}.tif")
    scan = read_scan(folder, Reading(row=1, turn=180.0))
    assert np.allclose(scan.sinogram, 2 * INTEGRALS, atol=1e-5) and scan.counts is None


def test_bad_stacks_are_worded(tmp_path):
    folder = folder_of(tmp_path, leave_out=("flat", "angles"))
    with pytest.raises(InputError, match=r"has a dark field but no flat field"):
        read_scan(folder)
    for file in folder.glob("dark*"):
        file.unlink()
    with pytest.raises(
        InputError, match=r"angles of the 60 projections .* they are not given\. Give angles.txt .*--turn"
    ):
        read_scan(folder)
    (folder / "angles.txt").write_text("0\none\n")
    with pytest.raises(InputError, match=r"angles.txt' must hold one angle to a line"):
        read_scan(folder)
    np.savetxt(folder / "angles.txt", DEGREES)
    with pytest.raises(InputError, match=r"gives its angles already, got turn = 180. Leave out --turn"):
        read_scan(folder, Reading(turn=180.0))
    Image.fromarray(COUNTS[0][:2]).save(folder / "view_7.tif")
    with pytest.raises(
        InputError, match=r"must have one shape, but '.*view_7.tif' has \(2, 60\) and the first \(3, 60\)"
    ):
        read_scan(folder)
    (folder / "view_7.tif").write_bytes(b"II")
    with pytest.raises(InputError, match=r"view_7.tif' must be a whole TIFF or PNG image, but it could not be read"):
        read_scan(folder)
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "colour.tif")
    with pytest.raises(InputError, match=r"projections are grey images"):
        Pages([tmp_path / "colour.tif"])
    for file in folder.glob("view*"):
        file.rename(file.with_name(f"flat{file.name}"))
    with pytest.raises(InputError, match=r"holds no projections: none of its 60 images is one"):
        read_scan(folder)
