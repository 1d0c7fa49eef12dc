"""Kinds of files that scans come in, and what is said of those that cannot be read."""

import numpy as np
import pytest
from PIL import Image

from nfsolve._core.errors import InputError
from nfsolve.data.scans.doubts import Doubt
from nfsolve.data.scans.scan import Reading, read_scan
from tests.data.scans.test_doubts import HALF, PARALLEL, counted, parallel


def test_a_structure_of_matlab_that_holds_all_is_read(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "scan.mat", {"scan": PARALLEL | {"sinogram": parallel(), "angles_deg": HALF}})
    assert np.allclose(read_scan(tmp_path / "scan.mat").sinogram, parallel())


def test_hdf5_in_the_layout_of_npz_is_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        for name, value in (PARALLEL | {"sinogram": parallel(), "angles_deg": HALF}).items():
            file[name] = value
    scan = read_scan(tmp_path / "scan.h5")
    assert np.allclose(scan.sinogram, parallel()) and scan.geometry.spacing == 0.02


@pytest.mark.parametrize(("unit", "width"), [("metre", 2e-5), ("millimeters", 0.02), ("micron", 20.0), ("", 0.02)])
def test_the_width_of_a_bin_is_read_with_its_unit_or_asked_for(tmp_path, unit, width):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["exchange/data"] = counted(parallel())[:, None]
        file["exchange/data_white"] = np.full((1, 1, 100), 2e4)
        file["exchange/theta"] = HALF
        file["measurement/instrument/detector/pixel_size_x"] = width
        if unit:
            file["measurement/instrument/detector/pixel_size_x"].attrs["units"] = unit
    if unit:
        assert read_scan(tmp_path / "scan.h5").geometry.spacing == pytest.approx(0.02)
        return
    with pytest.warns(Doubt, match=r"pixel_size_x' of 'scan.h5' is 0.02 without a unit, and is not used.*--pixel"):
        assert read_scan(tmp_path / "scan.h5").unit == "bin"


def test_a_folder_of_png_images_is_a_stack(tmp_path):
    counts = counted(parallel()).astype(np.uint16)
    for view, row in enumerate(counts):
        Image.fromarray(np.tile(row, (3, 1))).save(tmp_path / f"view_{view}.png")
    Image.fromarray(np.full((3, 100), 20000, np.uint16)).save(tmp_path / "flat.png")
    scan = read_scan(tmp_path, Reading(row=1, turn=180.0, pixel=0.02))
    assert np.abs(scan.sinogram - parallel()).max() < 0.1 and np.array_equal(scan.counts, counts)


def test_a_folder_without_images_says_what_it_may_hold(tmp_path):
    (tmp_path / "view_1.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds .tif or .tiff or .png images, and one of slices DICOM.* holds .jpg"):
        read_scan(tmp_path)


def test_a_tiff_of_a_kind_that_is_not_read_says_which_are(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for view in range(4):
        tifffile.imwrite(tmp_path / f"view_{view}.tif", np.ones((2, 8)))
    with pytest.raises(InputError, match=r"could not be read .*floating-point numbers of 32 bits; others, such as"):
        read_scan(tmp_path, Reading(turn=180.0))


def test_endings_may_be_in_capitals(tmp_path):
    np.savez(tmp_path / "scan.npz", **PARALLEL, sinogram=parallel(), angles_deg=HALF)
    (tmp_path / "scan.npz").rename(tmp_path / "SCAN.NPZ")
    assert np.allclose(read_scan(tmp_path / "SCAN.NPZ").sinogram, parallel())
