"""Slices and volumes to be projected: units, orientation, DICOM through its library, the wording of bad files.

Kinds of fault of the reader: keys that are missing, other shapes, complex values and text, values that are not finite,
that show nothing or have another unit, sides that are no length, DICOM of several frames, of other pixels or without
units, folders of slices, missing libraries.
"""

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
    with pytest.raises(InputError, match=r"blocks must divide each side .* their side is 3, and its shape \(8, 8\)"):
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
        ({"hu": flat}, r"lacks 'pixel_mm' \(side of a pixel in mm\)"),
        ({"sinogram": flat}, r"lacks 'hu' \(Hounsfield units \(rows, columns\)\), 'pixel_mm'"),
        ({"hu": flat, "pixel_mm": -1.0}, "'pixel_mm' of .* must be a number from 1e-15 to 1e.15, got -1"),
        ({"hu": flat[None], "pixel_mm": 1.0}, r"'hu' of .* must be one image of finite numbers, .* shape \(1, 4, 4\)"),
        ({"hu": flat * np.nan, "pixel_mm": 1.0}, "and values that are NaN or infinite"),
        ({"hu": flat + 1e30, "pixel_mm": 1.0}, r"must be Hounsfield units .* reaches 1e\+30"),
        ({"hu": flat + 1j, "pixel_mm": 1.0}, "'hu' of .* not complex numbers"),
        ({"hu": flat.astype(str), "pixel_mm": 1.0}, "'hu' of .* not text"),
        ({"hu": flat, "pixel_mm": np.ones(2)}, "'pixel_mm' of .* must be a number from 1e-15"),
        ({"hu": flat, "pixel_mm": 1e300}, r"'pixel_mm' of .* must be a number from 1e-15 to 1e.15, got 1e\+300"),
        ({"hu": flat, "pixel_mm": "wide"}, "'pixel_mm' of .* not text"),
        ({"hu": flat[:0], "pixel_mm": 1.0}, r"'hu' of .* must hold numbers, but it has shape \(0, 4\)"),
    ):
        with pytest.raises(InputError, match=words):
            read_slice(write(**arrays))
    with pytest.raises(InputError, match=r"lacks 'volume' \(values \(nz, ny, nx\)\)"):
        read_volume(write(hu=flat))
    cube = np.ones((2, 2, 2))
    for arrays, words in (
        ({"volume": flat}, r"'volume' of .* must have three axes of finite numbers, but it has shape \(4, 4\)"),
        ({"volume": cube * np.nan}, "'volume' of .* and values that are NaN or infinite"),
        ({"volume": 0 * cube}, "'volume' of .* must show something, .* the largest is 0"),
        ({"vol": 1e30 * cube}, r"'vol' of .* must show something, .* the largest is 1e\+30"),
        ({"volume": cube + 1j}, "'volume' of .* not complex numbers"),
        ({"volume": cube, "scale": np.nan}, "'scale' of .* must be a finite number"),
        ({"volume": cube, "voxel_mm": 0.0}, "'voxel_mm' of .* must be a number from 1e-15"),
    ):
        with pytest.raises(InputError, match=words):
            read_volume(write(**arrays))


def test_folders_of_slices_end_in_a_sentence(tmp_path):
    (tmp_path / "slices").mkdir()
    with pytest.raises(InputError, match="but '.*slices' holds nothing"):
        read_volume(tmp_path / "slices")


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
    image.PixelSpacing = ["0.8", "0.8"]
    image.pixel_array = np.full((3, 4, 4), 500, np.uint16)
    with pytest.raises(InputError, match=r"must be one image .* shape \(3, 4, 4\).*Choose one slice"):
        read_slice(path)
    del image.RescaleSlope  # magnetic resonance has none
    with pytest.raises(InputError, match=r"must be a complete .dcm file, .*RescaleSlope"):
        read_slice(path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtra, match=r"reading DICOM files needs pydicom.*nfsolve\[ct\]"):
        read_slice(path)
