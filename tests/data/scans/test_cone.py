"""Cone-beam scans from files, and panels that do not stand straight."""

import math
from dataclasses import replace

import numpy as np
import pytest

from nfsolve._core.errors import InputError
from nfsolve.data.scans.cone import Panel, read_cone
from nfsolve.data.scans.doubts import Doubt
from nfsolve.data.scans.panel import straightened
from nfsolve.data.scans.scan import Reading, read_scan
from nfsolve.forward.phantoms import SHEPP_LOGAN_3D, phantom_projections
from nfsolve.forward.radon import ConeBeam

DISTANCES = {"source_origin": 4.0, "source_detector_distance": 6.0}
TURN = tuple(np.radians(np.arange(0, 360, 30.0)))
GEOMETRY = ConeBeam(TURN, (40, 44), (0.1, 0.1), **DISTANCES)


@pytest.fixture(scope="module")
def projections():
    return phantom_projections(SHEPP_LOGAN_3D, GEOMETRY).numpy()


def stored(path, values, **other):
    """Write projections with rows rising along z as a file has them, row 0 on top."""
    known = {"geometry": "cone", "angles_deg": np.degrees(TURN), "spacing": 0.1, **DISTANCES}
    np.savez(path, sinogram=values[:, ::-1], **(known | other))
    return str(path)


def test_projections_are_read_with_row_0_on_top_in_any_order_of_axes(tmp_path, projections):
    scan = read_cone(stored(tmp_path / "a.npz", projections))
    assert scan.weights is None and scan.geometry.angles == pytest.approx(TURN)
    assert replace(scan.geometry, angles=TURN) == GEOMETRY
    assert np.allclose(scan.projections, projections, atol=1e-6)
    known = {"geometry": "cone", "angles_deg": np.degrees(TURN), "spacing": (0.1, 0.1), **DISTANCES}
    np.savez(tmp_path / "b.npz", sinogram=projections[:, ::-1].transpose(1, 0, 2), axes="rows views bins", **known)
    assert np.allclose(read_cone(tmp_path / "b.npz").projections, projections, atol=1e-6)


def test_an_overexposed_panel_is_told_once(tmp_path, projections):
    counts = np.minimum(8e4 * np.exp(-projections[:, ::-1]), 65535).astype(np.uint16)
    known = {"geometry": "cone", "angles_deg": np.degrees(TURN), "spacing": 0.1, **DISTANCES}
    np.savez(tmp_path / "a.npz", counts=counts, flat=8e4, axes="views rows bins", **known)
    with pytest.warns(Doubt) as told:
        read_cone(tmp_path / "a.npz")
    words = [str(one.message) for one in told]
    assert len(words) == 1 and words[0].endswith("(so in one row; likewise in 40 of 40)")


def test_counts_become_line_integrals_and_blocks_of_bins_are_merged(tmp_path, projections):
    flat = np.linspace(9e3, 1.1e4, 40)[:, None] * np.ones(44)  # upper rows get less of the beam
    counts = flat * np.exp(-projections[:, ::-1])
    known = {"geometry": "cone", "angles_deg": np.degrees(TURN), "spacing": 0.1, **DISTANCES}
    np.savez(tmp_path / "a.npz", counts=counts, flat=flat, axes="views rows bins", **known)
    scan = read_cone(tmp_path / "a.npz", panel=Panel(merge=2))
    assert scan.geometry.n_bins == (20, 22) and scan.geometry.spacing == (0.2, 0.2)
    blocks = projections.reshape(12, 20, 2, 22, 2).mean((2, 4))
    assert np.allclose(scan.projections, blocks, atol=1e-5)
    assert scan.I0 is not None and scan.I0[0, -1, 0] == pytest.approx(2 * flat[0, 0] + 2 * flat[1, 0])
    counts[:, 7, 20] = 0
    np.savez(tmp_path / "b.npz", counts=counts, flat=flat, axes="views rows bins", **known)
    with pytest.raises(InputError, match="zero or below the dark field"):
        read_cone(tmp_path / "b.npz")
    masked = read_cone(tmp_path / "b.npz", Reading(mask_bad=True), Panel(merge=2))
    assert masked.weights is not None and masked.weights[0, 16, 10] == pytest.approx(0.75)


BALLS = ((0.3, 0.2, -0.4, 0.25), (-0.4, 0.1, 0.5, 0.3), (0.1, -0.5, 0.1, 0.2))  # x, y, z, width


def of_balls(feet, directions):
    """Integrate Gaussian balls along lines, in closed form."""
    total = 0.0
    for *middle, width in BALLS:
        away = np.cross(np.asarray(middle) - feet, directions)
        total = total + width * np.exp(-np.square(away).sum(-1) / width**2)
    return total


def scanned(geometry, across=(1, 0, 0), up=(0, 1, 0)):
    """Project the balls onto a panel with these axes, of which the third goes along the beam."""
    v, u = (offsets.numpy() for offsets in geometry.offsets())
    places = u[None, :, None] * np.asarray(across) + v[:, None, None] * np.asarray(up) + np.array([0, 0, 6.0])
    views = []
    for t in geometry.angles:
        axes = np.array([[np.cos(t), np.sin(t), 0], [0, 0, 1], [-np.sin(t), np.cos(t), 0]])
        directions = places @ axes  # from the source
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        views.append(of_balls(-4.0 * axes[2], directions))
    return np.asarray(views)


@pytest.mark.parametrize("turns", [(4.0, 0.0, 0.0), (0.0, 8.0, 0.0), (0.0, 0.0, -8.0), (3.0, -5.0, 6.0)])
def test_a_turned_panel_is_straightened(turns):
    roll, tilt, slant = np.radians(turns)
    # the axes of the panel, turned one after the other; z along the beam
    plane = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    turn = np.array([[np.cos(slant), 0, -np.sin(slant)], [0, 1, 0], [np.sin(slant), 0, np.cos(slant)]])
    straight, raw = (scanned(GEOMETRY, *axes[:2]) for axes in (np.eye(3), (turn @ lean @ plane).T))
    found, known = straightened(raw, GEOMETRY, *turns)
    size = np.sqrt(np.square(straight).mean())
    error, before = (np.sqrt(np.square(z - straight)[:, known > 0].mean()) / size for z in (found, raw))
    assert error < 0.02 < 0.03 < before and error < 0.2 * before, (error, before)


def test_the_axis_is_found_in_the_row_in_the_plane_of_the_source(tmp_path):
    shifted = ConeBeam(tuple(np.radians(np.arange(0, 360, 5.0))), (5, 96), (0.05, 0.05), **DISTANCES, centre=(0, 0.17))
    file = stored(tmp_path / "a.npz", scanned(shifted), angles_deg=np.degrees(shifted.angles), spacing=0.05)
    found = read_cone(file, Reading(find_axis=True))
    assert found.geometry.centre[1] == pytest.approx(0.17, abs=0.01)
    with pytest.warns(Doubt, match="opposite rays agree best about bin 44"):
        read_cone(file)
    given = read_cone(file, Reading(axis=47.5 - 3.4))
    assert given.geometry.centre[1] == pytest.approx(0.17)


def test_a_helix_keeps_its_turns_about_the_middle(tmp_path):
    degrees = np.arange(0, 3 * 360, 45.0)
    values = np.tile(np.hanning(20)[:, None] * np.hanning(22), (len(degrees), 1, 1))
    file = stored(tmp_path / "a.npz", values, angles_deg=degrees, pitch=1.2, axes="views rows bins")
    geometry = read_cone(file).geometry
    assert len(geometry.angles) == 24 and geometry.pitch == 1.2
    assert geometry.lifts[-1] - geometry.lifts[0] == pytest.approx(1.2 * (3 - 0.125))
    assert abs(sum(geometry.lifts)) / 24 <= 0.6


def test_what_is_missing_or_of_another_kind_is_worded(tmp_path, projections):
    known = {"sinogram": projections, "angles_deg": np.degrees(TURN), "geometry": "cone", "spacing": 0.1}
    np.savez(tmp_path / "far.npz", **known)
    with pytest.raises(InputError, match="lacks 'source_origin'"):
        read_cone(tmp_path / "far.npz")
    given = Panel(source_origin=4.0, source_detector_distance=6.0)
    assert read_cone(tmp_path / "far.npz", panel=given).geometry.magnification == 1.5
    np.savez(tmp_path / "near.npz", **known, source_origin=6.0, source_detector_distance=4.0)
    with pytest.raises(InputError, match="must lie beyond the rotation axis"):
        read_cone(tmp_path / "near.npz")
    with pytest.raises(InputError, match="gives source_origin and source_detector_distance already"):
        read_cone(tmp_path / "near.npz", panel=given)
    with pytest.raises(InputError, match="Run ct_cone_scan"):
        read_scan(tmp_path / "far.npz", Reading(axes="views rows bins"))
    np.savez(tmp_path / "fan.npz", **(known | {"geometry": "fan", **DISTANCES}))
    with pytest.raises(InputError, match="a scan with a fan beam, not a cone beam.*[rR]un ct_scan"):
        read_cone(tmp_path / "fan.npz")
    np.savez(tmp_path / "volume.npz", volume=projections)
    with pytest.raises(InputError, match="holds a volume, not projections.*[rR]un ct_cone --data"):
        read_cone(tmp_path / "volume.npz")
    file = stored(tmp_path / "ok.npz", projections)
    for panel, words in (
        (Panel(merge=99), "merge must be 1 to 40"),
        (Panel(tilt=50), "a tilt of the panel of up to 30"),
    ):
        with pytest.raises(InputError, match=words):
            read_cone(file, panel=panel)
    np.savez(tmp_path / "flat.npz", **(known | {"sinogram": projections[:, 0]}), **DISTANCES)
    with pytest.raises(InputError, match="must have three axes"):
        read_cone(tmp_path / "flat.npz")
    assert math.isfinite(read_cone(file).axis)


def test_exchanged_fields_and_views_without_data_are_named(tmp_path):
    known = {"geometry": "parallel", "spacing": 1.0, "angles_deg": np.arange(0, 180, 20.0)}
    counts = np.full((9, 12), 500.0)
    np.savez(tmp_path / "a.npz", counts=counts, flat=np.full(12, 100.0), dark=np.full(12, 1000.0), **known)
    with pytest.raises(InputError, match="nowhere above the dark field, 1000. Exchange 'flat' and 'dark'"):
        read_scan(tmp_path / "a.npz")
    sinogram = np.tile(np.hanning(12), (9, 1))
    sinogram[4] = np.nan
    np.savez(tmp_path / "b.npz", sinogram=sinogram, **known)
    with pytest.raises(InputError, match="has no known bin in view 4. Leave this view out"):
        read_scan(tmp_path / "b.npz")
