"""Slices and volumes to be projected: units, orientation, DICOM through its library, the wording of bad files."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from nfsolve._core.errors import InputError, MissingExtra
from nfsolve.data.slices import MU_WATER, read_slice, read_volume
from nfsolve.forward.radon import PixelGrid, VoxelGrid


@pytest.fixture
def write(tmp_path):
    def write_arrays(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return write_arrays


def test_hounsfield_units_become_attenuation(write):
    hu = np.zeros((6, 6), np.int16)
    hu[2, 2:5] = [-1000, -1024, 1000]
    piece = read_slice(write(hu=hu, pixel_mm=0.7))
    assert np.allclose(piece.image[2, 1:5] / MU_WATER, [1, 0, 0, 2])
    assert (piece.name, piece.unit, piece.grid) == ("a", "mm", PixelGrid(6, 6, 0.7))


def test_outside_the_largest_circle_there_is_air(write):
    image = read_slice(write(hu=np.zeros((40, 60)), pixel_mm=1.0)).image
    x, y = PixelGrid(40, 60, 1.0).centres().reshape(40, 60, 2).unbind(-1)
    inside = (x.numpy() ** 2 + y.numpy() ** 2) <= 20**2
    assert np.array_equal(image > 0, inside)


def test_blocks_keep_the_mean_and_the_extent(write):
    hu = np.random.default_rng(0).uniform(-500, 500, (8, 8))
    piece = read_slice(write(hu=hu, pixel_mm=0.5))
    coarse = piece.coarsened(2)
    assert coarse.grid == PixelGrid(4, 4, 1.0)
    assert coarse.image[1, 2] == pytest.approx(piece.image[2:4, 4:6].mean())
    with pytest.raises(InputError, match=r"blocks of side 3 in an array of shape \(8, 8\): a divisor of each side"):
        piece.coarsened(3)


def test_volumes_of_every_layout(write, tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)  # (nz, ny, nx)
    np.save(tmp_path / "b.npy", values)
    savemat(tmp_path / "c.mat", {"vol": values.transpose(2, 1, 0)})
    for path in (write(volume=values), tmp_path / "b.npy", tmp_path / "c.mat"):
        volume = read_volume(path)
        assert np.array_equal(volume.values, values)
        assert (volume.unit, volume.grid) == ("voxel", VoxelGrid((2, 3, 4), 1.0))
    volume = read_volume(write(vol=values.transpose(2, 1, 0).astype(np.uint16), scale=0.5, voxel_mm=2.0))
    assert np.array_equal(volume.values, 0.5 * values) and (volume.unit, volume.voxel) == ("mm", 2.0)
    cube = read_volume(write(volume=np.arange(64.0).reshape(4, 4, 4))).coarsened(2)
    assert cube.grid == VoxelGrid((2, 2, 2), 2.0)
    assert cube.values[0, 0, 0] == np.mean([0, 1, 4, 5, 16, 17, 20, 21])


def test_bad_slices_and_volumes_are_worded(write):
    flat = np.zeros((4, 4))
    for arrays, words in (
        ({"hu": flat}, r"it lacks 'pixel_mm' \(side of a pixel in mm\)"),
        ({"sinogram": flat}, r"it lacks 'hu' \(Hounsfield units \(rows, columns\)\), 'pixel_mm'"),
        ({"hu": flat, "pixel_mm": -1.0}, r"'pixel_mm' of .* is -1.0: one positive length in mm"),
        ({"hu": flat[None], "pixel_mm": 1.0}, r"'hu' of .* shape \(1, 4, 4\): one image of finite numbers"),
        ({"hu": flat * np.nan, "pixel_mm": 1.0}, r"one image of finite numbers was expected"),
        ({"hu": flat[:0], "pixel_mm": 1.0}, r"'hu' of .* is empty, of shape \(0, 4\)"),
    ):
        with pytest.raises(InputError, match=words):
            read_slice(write(**arrays))
    with pytest.raises(InputError, match=r"it lacks 'volume' \(values \(nz, ny, nx\)\)"):
        read_volume(write(hu=flat))
    with pytest.raises(InputError, match=r"'volume' of .* shape \(4, 4\): three axes of finite numbers"):
        read_volume(write(volume=flat))


@pytest.fixture
def dicom(tmp_path, monkeypatch):
    header = {"RescaleSlope": "2", "RescaleIntercept": "-1000", "PixelSpacing": ["0.8", "0.8"]}
    module = ModuleType("pydicom")
    image = SimpleNamespace(pixel_array=np.full((4, 4), 500, np.uint16), **header)
    module.dcmread = lambda path: image
    monkeypatch.setitem(sys.modules, "pydicom", module)
    (tmp_path / "a.dcm").write_bytes(b"DICM")
    return tmp_path / "a.dcm", image


def test_dicom_is_rescaled_to_hounsfield_units(dicom):
    path, _ = dicom
    piece = read_slice(path)
    assert piece.pixel == 0.8 and piece.image[1, 1] == pytest.approx(MU_WATER)


def test_bad_dicom_is_worded(dicom, monkeypatch):
    path, image = dicom
    image.PixelSpacing = ["0.8", "0.9"]
    with pytest.raises(InputError, match=r"could not be read \(its pixels are 0.8 x 0.9 mm, .*Convert it to .npz"):
        read_slice(path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtra, match=r"reading DICOM files needs pydicom.*nfsolve\[ct\]"):
        read_slice(path)
