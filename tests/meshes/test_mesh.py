"""Closed meshes: reading, bad surfaces, volume, samples; winding numbers against solid angles and closed forms."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from nfsolve.meshes import Mesh, around, read_points

TETRA = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def icosphere(levels: int) -> Mesh:
    """An icosahedron whose faces are cut in four, each time pushed onto the unit sphere."""
    g = (1 + math.sqrt(5)) / 2
    corners = [(s * 1.0, t * g, 0.0) for s in (-1, 1) for t in (-1, 1)]
    corners = np.array([np.roll(p, shift) for shift in range(3) for p in corners])
    near = np.linalg.norm(corners[:, None] - corners[None], axis=-1) < 2.1
    faces = [
        (i, j, k) for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]
    ]
    triangles = np.array([[corners[i] for i in face] for face in faces])
    for _ in range(levels):
        a, b, c = np.moveaxis(triangles, 1, 0)
        p, q, r = a + b, b + c, c + a
        triangles = np.concatenate([np.stack(t, 1) for t in ((2 * a, p, r), (p, 2 * b, q), (r, q, 2 * c), (p, q, r))])
        triangles /= np.linalg.norm(triangles, axis=-1, keepdims=True)
    triangles /= np.linalg.norm(triangles, axis=-1, keepdims=True)
    a, b, c = np.moveaxis(triangles, 1, 0)
    outward = (np.cross(b - a, c - a) * a).sum(1) > 0
    triangles[~outward] = triangles[~outward][:, ::-1]
    vertices = triangles.reshape(-1, 3).round(12)
    return Mesh.closed(vertices, np.arange(len(vertices)).reshape(-1, 3))


def solid_angles(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Winding numbers as the sum over triangles of van Oosterom & Strackee's formula: the slow oracle."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]][None] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
    top = (a * np.cross(b, c)).sum(-1)
    bottom = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return np.arctan2(top, bottom).sum(1) / (2 * math.pi)


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return icosphere(3)


def test_labels_of_a_tetrahedron_are_those_of_its_inequalities():
    mesh = Mesh.closed(TETRA, SIDES)
    points = 1.4 * torch.rand(5000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.2
    inside = (points > 0).all(1) & (points.sum(1) < 1)
    assert 0.02 < inside.double().mean() < 0.2
    assert torch.equal(mesh.contains(points)[:, 0], inside)


def test_labels_of_a_ball_are_those_of_the_radius(ball):
    points = around(ball, 4000, 0.1, torch.Generator().manual_seed(1))
    radius = points.norm(dim=1)
    thickness = 1 - np.linalg.norm(ball.vertices[ball.faces].mean(1), axis=1).min()
    assert 0 < thickness < 0.01
    sure = (radius < 1 - thickness) | (radius > 1)
    assert sure.double().mean() > 0.9
    assert torch.equal(ball.contains(points)[sure, 0], radius[sure] < 1)


def test_labels_agree_with_the_sum_of_solid_angles(ball):
    mesh = Mesh(np.concatenate([ball.vertices, 0.6 * ball.vertices + 0.3]), None)  # two bodies that overlap
    mesh = Mesh(mesh.vertices, np.concatenate([ball.faces, ball.faces + len(ball.vertices)]))
    points = 2.4 * torch.rand(120, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 1.2
    winding = solid_angles(mesh, points.numpy())
    assert np.abs(winding - winding.round()).max() < 1e-9
    assert set(winding.round()) == {0, 1, 2}
    assert np.array_equal(mesh.contains(points)[:, 0].numpy(), winding > 0.5)


def test_volumes_and_frames(ball):
    assert Mesh.closed(TETRA, SIDES).volume() == pytest.approx(1 / 6)
    assert ball.volume() == pytest.approx(4 * math.pi / 3, rel=0.02)
    stretched = Mesh.closed(ball.vertices * [3.0, 1.0, 1.0] + [5.0, 0.0, -2.0], ball.faces)
    for fit, reach in (("box", 0.9), ("sphere", 0.95)):
        centre, scale = stretched.frame(fit, reach)
        moved = stretched.moved(centre, scale)
        assert centre == pytest.approx([5, 0, -2], abs=1e-9)
        size = np.abs(moved.vertices).max() if fit == "box" else np.linalg.norm(moved.vertices, axis=1).max()
        assert size == pytest.approx(reach)
        back = moved.moved(-centre / scale, 1 / scale)
        assert np.allclose(back.vertices, stretched.vertices, atol=1e-12)


def test_samples_lie_on_the_surface_in_proportion_to_area():
    big = np.concatenate([TETRA, 3 * TETRA + 10])
    mesh = Mesh(big, np.concatenate([SIDES, SIDES + 4]))
    points = mesh.sample(20000, torch.Generator().manual_seed(3))
    second = points[:, 0] > 5
    share = second.double().mean()
    assert abs(share - 0.9) < 4 * math.sqrt(0.09 / 20000)
    local = torch.where(second[:, None], (points - 10) / 3, points)
    slack = torch.cat([local, 1 - local.sum(1, keepdim=True)], 1)
    assert slack.min() > -1e-12
    assert slack.min(1).values.abs().max() < 1e-12
    slanted = (slack[:, 3] < 1e-12).double().mean()
    assert abs(slanted - math.sqrt(3) / (3 + math.sqrt(3))) < 0.02
    on_it = local[slack[:, 3] < 1e-12]
    assert torch.allclose(on_it.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.01)
    again = mesh.sample(20000, torch.Generator().manual_seed(3))
    assert torch.equal(points, again)


@pytest.mark.parametrize("ending", [".obj", ".ply", ".stl", ".off"])
def test_files_are_read_as_they_were_written(tmp_path, ball, ending):
    ball.write(tmp_path / f"ball{ending}")
    read = Mesh.read(tmp_path / f"ball{ending}")
    assert read.vertices.shape == ball.vertices.shape
    assert read.faces.shape == ball.faces.shape
    assert read.volume() == pytest.approx(ball.volume(), rel=1e-5)


def test_archives_are_read_and_inside_out_meshes_turned(tmp_path):
    np.savez(tmp_path / "tetra.npz", vertices=TETRA.astype(np.float32), faces=SIDES[:, ::-1].astype(np.int32))
    assert Mesh.read(tmp_path / "tetra.npz").volume() == pytest.approx(1 / 6)


def test_bodies_that_touch_at_an_edge_are_closed():
    twin = TETRA * [-1.0, 1.0, -1.0]  # shares the edge from 0 to (0, 1, 0)
    mesh = Mesh.closed(np.concatenate([TETRA, twin]), np.concatenate([SIDES, SIDES + 4]))
    assert mesh.defects() == (0, 0, 0)
    assert len(mesh.vertices) == 6


FLIPPED = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 3, 2]])
FIN = np.concatenate([SIDES, [[0, 1, 4]]])
FLAT = np.array([[0, 1, 2], [0, 2, 1]])


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (
            TETRA,
            SIDES[:3],
            r"mesh '.*bad.npz' is not watertight \(3 open edges, 0 non-manifold edges\).*Close its holes",
        ),
        (np.vstack([TETRA, [[2, 2, 2]]]), FIN, r"\(2 open edges, 1 non-manifold edges\)"),
        (TETRA, FLIPPED, r"inconsistent winding \(3 edges between triangles of opposite orientation\)"),
        (TETRA, FLAT, "encloses no volume"),
        (TETRA, SIDES[:0], r"faces of shape \(0, 3\): \(n, 3\) with n > 0"),
        (TETRA[:, :2], SIDES, r"vertices of shape \(4, 2\)"),
        (np.where(TETRA == 1, np.nan, TETRA), SIDES, "3 of 4 vertices of mesh .* are NaN or infinite"),
        (TETRA, SIDES + 1, "faces of vertices 1 to 4: numbers from 0 to 3"),
        (TETRA, SIDES.astype(float), "faces of type float64"),
    ],
)
def test_bad_meshes_are_worded(tmp_path, vertices, faces, words):
    np.savez(tmp_path / "bad.npz", vertices=vertices, faces=faces)
    with pytest.raises(ValueError, match=words):
        Mesh.read(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.ply", b"no mesh at all", r"text.ply' could not be read .*OBJ, PLY, STL, OFF"),
        ("text.npz", b"no archive", "text.npz' could not be read"),
        ("empty.obj", b"# nothing\n", r"empty.obj' (could not be read|has .* of shape \(0)"),
        ("cloud.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
         b"end_header\n0 0 0\n", r"cloud.ply' (could not be read|has .* of shape \(0)"),
        ("scene.fbx", b"", r"ends in '.fbx': one of .npz, .obj"),
    ],
)  # fmt: skip
def test_files_that_are_no_meshes_are_worded(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Mesh.read(tmp_path / name)


def test_a_missing_library_is_worded(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(ImportError, match=r"reading a OBJ file needs trimesh.*nfsolve\[mesh\]"):
        Mesh.read(tmp_path / "a.obj")


@pytest.mark.parametrize("name", ["armadillo", "bunny", "lucy"])
def test_labels_agree_with_those_of_the_data_folder(name):
    folder = Path(os.environ.get("NFSOLVE_DATA", "nowhere"))
    files = [folder / f"mesh_{name}.npz", folder / f"occ_points_{name}.npz"]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} under $NFSOLVE_DATA")
    mesh = Mesh.read(files[0])
    centre, scale = mesh.frame("box", 0.9)
    sets = read_points(files[1], centre, scale)
    with np.load(files[1]) as stored:  # the frame of the default is that of the files
        assert centre == pytest.approx(stored["center"], abs=1e-4 * scale)
        assert scale == pytest.approx(float(stored["scale"]), rel=1e-5)
    for points, labels in sets.values():
        assert torch.equal(mesh.moved(centre, scale).contains(points[::100]), labels[::100])
