"""DICOM images and series, written by pydicom: units, order, spacings, and the wording of what is missing."""

import numpy as np
import pytest

from nfsolve._core.errors import InputError
from nfsolve.data.scans.files import open_arrays
from nfsolve.data.slices import MU_WATER, read_volume, slice_of

pydicom = pytest.importorskip("pydicom", reason="needs pydicom (pip install 'nfsolve[ct]')")


def write(path, hu, place=None, spacing=(0.5, 0.5), series="1.2.3", orientation=(1, 0, 0, 0, 1, 0)):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID, image.SeriesInstanceUID = CTImageStorage, "1.2.3.4", series
    image.RescaleSlope, image.RescaleIntercept = 2, -1024
    if spacing is not None:
        image.PixelSpacing = list(spacing)
    if place is not None:
        image.ImagePositionPatient = list(place)
    image.ImageOrientationPatient = list(orientation)
    image.Rows, image.Columns = np.shape(hu)
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelData = ((np.asarray(hu) + 1024) // 2).astype(np.uint16).tobytes()
    image.save_as(path)


@pytest.fixture
def folder(tmp_path):
    for number, z in enumerate((3.0, 1.0, 2.0)):  # names are not in the order of positions
        hu = np.full((6, 6), 100 * z)
        hu[0, 0] = 0
        write(tmp_path / f"{number}.dcm", hu, (0, 0, z))
    return tmp_path


def test_a_series_is_ordered_by_position_and_rescaled(folder):
    found, arrays = open_arrays(folder)
    assert (arrays["pixel_mm"], arrays["slice_mm"], arrays["series"]) == (0.5, 1.0, 3)
    assert np.array_equal(arrays["hu"][:, 1, 1], [100, 200, 300]) and np.array_equal(arrays["hu"][:, 0, 0], [0, 0, 0])
    assert slice_of(found, arrays, row=1).image[2, 2] == pytest.approx(MU_WATER * 1.2)
    with pytest.raises(InputError, match=r"has slices 0 to 2, got row = 3"):
        slice_of(found, arrays, row=3)


def test_an_oblique_series_is_ordered_along_its_normal(tmp_path):
    sagittal = (0, 1, 0, 0, 0, -1)  # its normal is -x
    for number, x in enumerate((2.0, 1.0)):
        write(tmp_path / f"{number}.dcm", np.full((4, 4), 100 * x), (x, 0, 0), orientation=sagittal)
    assert np.array_equal(open_arrays(tmp_path)[1]["hu"][:, 1, 1], [200, 100])


def test_a_series_is_a_volume_of_cubic_voxels(folder):
    with pytest.warns(UserWarning, match=r"slices of '.*' are 1 mm apart and pixels 0.5 mm: interpolated to 5 slices"):
        volume = read_volume(folder)
    assert volume.values.shape == (5, 6, 6) and (volume.voxel, volume.unit) == (0.5, "mm")
    assert np.allclose(volume.values[:, 2, 2], MU_WATER * (1 + np.array([0.1, 0.15, 0.2, 0.25, 0.3])))


def test_a_missing_pixel_spacing_is_asked_for(tmp_path):
    write(tmp_path / "a.dcm", np.zeros((4, 4)), spacing=None)
    found, arrays = open_arrays(tmp_path / "a.dcm")
    with pytest.raises(InputError, match=r"lacks 'pixel_mm' .side of a pixel in mm., in DICOM PixelSpacing.*--pixel"):
        slice_of(found, arrays)
    assert slice_of(found, arrays, pixel=0.7).pixel == 0.7
    write(tmp_path / "a.dcm", np.zeros((4, 4)))
    with pytest.raises(InputError, match=r"says that a pixel has a side of 0.5 mm, got pixel = 0.7"):
        slice_of(*open_arrays(tmp_path / "a.dcm"), pixel=0.7)


def test_bad_series_are_worded(folder):
    write(folder / "3.dcm", np.zeros((6, 6)), (0, 0, 5.5))
    with pytest.raises(InputError, match=r"must be evenly spaced, but their distances go from 1 to 2.5 mm"):
        open_arrays(folder)
    write(folder / "3.dcm", np.zeros((6, 6)), (0, 0, 3.0))
    with pytest.raises(InputError, match=r"0 of 4 lack it, and 1 have the position of another one"):
        open_arrays(folder)
    write(folder / "3.dcm", np.zeros((6, 6)))
    with pytest.raises(InputError, match=r"1 of 4 lack it"):
        open_arrays(folder)
    write(folder / "3.dcm", np.zeros((6, 6)), (0, 0, 4.0), series="4.5")
    with pytest.raises(InputError, match=r"one series, .* but it has 4 images of 2 series and 1 shapes"):
        open_arrays(folder)
    (folder / "3.dcm").write_bytes(b"DICM")
    with pytest.raises(InputError, match=r"3.dcm' must be a complete DICOM image, but it could not be read"):
        open_arrays(folder)
