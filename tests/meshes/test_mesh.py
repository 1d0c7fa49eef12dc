"""Closed meshes: reading, bad surfaces, volume, samples; winding numbers against solid angles and closed forms.

Kinds of fault of the reader: damaged, cut-off and lying files of every format, archives without the arrays, complex
values and text, values that are not finite, faces of vertices that are not there, holes, fins, flipped and flat faces,
polygons, several objects, bodies of mixed orientation, cavities, bodies that touch or overlap.
"""

import itertools
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.meshes import Mesh, around, read_points

TETRA = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
HEAD = (
    b"ply\nformat ascii 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face %d\nproperty list uchar int vertex_indices\nend_header\n"
)


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


@pytest.mark.parametrize("ending", ["ply", "glb"])
def test_colours_of_vertices_are_written(tmp_path, ball, ending):
    trimesh = pytest.importorskip("trimesh")
    colours = (ball.vertices - ball.vertices.min(0)) / np.ptp(ball.vertices, axis=0)
    ball.write(tmp_path / f"ball.{ending}", colours)
    loaded = trimesh.load_mesh(tmp_path / f"ball.{ending}", process=False)
    np.testing.assert_allclose(loaded.vertices, ball.vertices, atol=1e-5)
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3], 255 * colours, atol=0.5)


def test_small_parts_can_be_left_out(coarse):
    small = coarse.moved(np.array([30.0, 0, 0]), 1 / 0.15)
    n = len(coarse.vertices)
    both = Mesh(np.concatenate([small.vertices, coarse.vertices]), np.concatenate([small.faces, coarse.faces + n]))
    for share, expected in ((0.0, both), (0.03, coarse), (1.0, coarse)):
        part = both.large_parts(share)
        assert part.volume() == pytest.approx(expected.volume())
        assert len(part.vertices) == len(expected.vertices) and part.defects() == (0, 0, 0)
    assert both.large_parts(0.02).volume() == pytest.approx(both.volume()), "0.15^2 of the area"


def test_cavities_and_all_but_the_largest_part_can_be_left_out(coarse):
    n = len(coarse.vertices)
    hole, other = coarse.moved(np.zeros(3), 2.0), coarse.moved(np.array([30.0, 0, 0]), 1 / 0.5)
    vertices = np.concatenate([coarse.vertices, hole.vertices, other.vertices])
    faces = np.concatenate([coarse.faces, hole.faces[:, ::-1] + n, other.faces + 2 * n])
    whole = Mesh(vertices, faces)
    assert whole.without_cavities().volume() == pytest.approx(coarse.volume() + other.volume())
    assert whole.without_cavities().large_parts(1.0).volume() == pytest.approx(coarse.volume())
    assert len(whole.without_cavities().vertices) == 2 * n, "vertices of what is left out go too"


def test_archives_are_read_and_inside_out_meshes_turned(tmp_path):
    np.savez(tmp_path / "tetra.npz", vertices=TETRA.astype(np.float32), faces=SIDES[:, ::-1].astype(np.int32))
    assert Mesh.read(tmp_path / "tetra.npz").volume() == pytest.approx(1 / 6)


def test_bodies_that_touch_at_an_edge_are_closed():
    twin = TETRA * [-1.0, 1.0, -1.0]  # shares the edge from 0 to (0, 1, 0)
    mesh = Mesh.closed(np.concatenate([TETRA, twin]), np.concatenate([SIDES, SIDES + 4]))
    assert mesh.defects() == (0, 0, 0)
    assert len(mesh.vertices) == 6


def bodies(*parts: tuple[Mesh, float, int]) -> Mesh:
    """Return spheres in one mesh: each a unit sphere, moved along x, with its radius and orientation."""
    vertices, faces = [], []
    for k, (mesh, radius, at, sign) in enumerate(parts):
        vertices.append(radius * mesh.vertices + [at, 0, 0])
        faces.append(mesh.faces[:, ::sign] + k * len(mesh.vertices))
    return Mesh.closed(np.concatenate(vertices), np.concatenate(faces))


SIGNS = [1, -1]


@pytest.fixture(scope="module")
def coarse() -> Mesh:
    return icosphere(1)


def inside(mesh: Mesh, *at: float) -> list[bool]:
    points = torch.tensor([[x, 0.01, 0.02] for x in at], dtype=torch.float64)
    winding = solid_angles(mesh, points.numpy())
    assert (winding > -0.01).all()
    found = mesh.contains(points)[:, 0].tolist()
    assert found == (winding > 0.5).tolist()
    return found


@pytest.mark.parametrize("signs", list(itertools.product(SIGNS, SIGNS, SIGNS)))
def test_bodies_apart_are_solid_whatever_their_orientation(coarse, signs):
    mesh = bodies(*((coarse, 1.0, 3.0 * k, sign) for k, sign in enumerate(signs)))
    assert inside(mesh, 0, 1.5, 3, 6) == [True, False, True, True]
    assert mesh.volume() == pytest.approx(3 * coarse.volume())


@pytest.mark.parametrize("signs", list(itertools.product(SIGNS, SIGNS)))
def test_bodies_that_overlap_are_their_union(coarse, signs):
    mesh = bodies(*((coarse, 1.0, float(k), sign) for k, sign in enumerate(signs)))
    assert inside(mesh, -0.5, 0.5, 1.5, 2.5) == [True, True, True, False]


@pytest.mark.parametrize("sign", SIGNS)
def test_a_surface_turned_against_the_one_around_it_is_a_cavity(coarse, sign):
    mesh = bodies((coarse, 1.0, 0.0, sign), (coarse, 0.5, 0.1, -sign))
    assert inside(mesh, 0, 0.75, -0.7, 1.1) == [False, True, True, False]
    assert mesh.volume() == pytest.approx(7 / 8 * coarse.volume())


@pytest.mark.parametrize("sign", SIGNS)
def test_solids_within_each_other_of_one_orientation_are_their_union(coarse, sign):
    mesh = bodies((coarse, 1.0, 0.0, sign), (coarse, 0.5, 0.1, sign))
    assert inside(mesh, 0, 0.75, 1.1) == [True, True, False]


@pytest.mark.parametrize("signs", [s for s in itertools.product(SIGNS, repeat=4) if s[0] != s[3]])
def test_orientations_that_make_no_sense_are_replaced_by_nesting(coarse, signs):
    mesh = bodies(*((coarse, size, 0.0, sign) for size, sign in zip((1.0, 0.6, 0.3), signs, strict=False)),
                  (coarse, 1.0, 5.0, signs[3]))  # fmt: skip
    assert inside(mesh, 0, 0.45, 0.75, 5) == [True, False, True, True]


def test_lenses_that_share_their_rim_are_closed():
    rim = np.array([[math.cos(t), math.sin(t), 0] for t in np.arange(6) * math.pi / 3])
    tips = [[0, 0, z] for z in (0.9, 0.6, -0.6, -0.9)]
    fans = [[(6 + tip, k, (k + 1) % 6)[:: 1 - 2 * (tip % 2)] for k in range(6)] for tip in range(4)]
    mesh = Mesh.closed(np.concatenate([rim, tips]), np.concatenate(fans))
    points = torch.tensor([[0.0, 0.01, z] for z in (0.7, 0.1, -0.7)], dtype=torch.float64)
    assert mesh.contains(points)[:, 0].tolist() == [True, False, True]


def test_a_body_within_another_needs_libigl(coarse, monkeypatch):
    monkeypatch.setitem(sys.modules, "igl", None)
    bodies((coarse, 1.0, 0.0, -1), (coarse, 1.0, 3.0, 1))
    with pytest.raises(ImportError, match=r"a mesh of bodies within each other needs igl.*nfsolve\[mesh\]"):
        bodies((coarse, 1.0, 0.0, 1), (coarse, 0.5, 0.0, 1))


CUBE = b"".join(b"v %d %d %d\n" % p for p in itertools.product((0, 1), (0, 1), (0, 1)))
SQUARES = b"f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"


def test_polygons_and_several_objects_are_read(tmp_path):
    second = b"".join(b"v %d %d %d\n" % p for p in itertools.product((3, 4), (0, 1), (0, 1)))
    moved = b"".join(b"f %d %d %d %d\n" % tuple(int(v) + 8 for v in f.split()[1:]) for f in SQUARES.splitlines())
    (tmp_path / "a.obj").write_bytes(b"mtllib none.mtl\no a\n" + CUBE + SQUARES + b"o b\n" + second + moved)
    mesh = Mesh.read(tmp_path / "a.obj")
    assert mesh.volume() == pytest.approx(2) and inside(mesh, 0.5, 2, 3.5) == [True, False, True]


CLAIMS = [  # how each format says how many faces or vertices it has, and other numbers in its place
    (".ply", b"element vertex 12", [b"element vertex 4000000000", b"element vertex -12", b"element vertex 11"]),
    (".ply", b"element face 20", [b"element face 19", b"element face 21"]),
    (".off", b"OFF\n12 20", [b"OFF\n4000000000 20", b"OFF\n12 19", b"OFF\n-12 20", b"12 20"]),
    (".stl", (20).to_bytes(4, "little"), [n.to_bytes(4, "little") for n in (2**31, 19, 21, 0)]),
    (".obj", b"f 1", [b"f 99", b"f -99", b"g 1", b"f 1.5"]),
]


@pytest.mark.parametrize(("ending", "said", "instead"), [(e, s, i) for e, s, all_of in CLAIMS for i in all_of])
def test_files_that_lie_end_in_a_sentence(tmp_path, ending, said, instead):
    icosphere(0).write(tmp_path / f"a{ending}")
    content = (tmp_path / f"a{ending}").read_bytes()
    assert said in content
    (tmp_path / f"b{ending}").write_bytes(content.replace(said, instead, 1))
    with pytest.raises(InputError, match=rf"mesh '.*b{ending}'"):
        Mesh.read(tmp_path / f"b{ending}")


@pytest.mark.parametrize("ending", [".npz", ".obj", ".ply", ".stl", ".off"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_files_that_are_cut_off_end_in_a_sentence(tmp_path, coarse, ending, share):
    path = tmp_path / f"a{ending}"
    if ending == ".npz":
        np.savez(path, vertices=coarse.vertices, faces=coarse.faces)
    else:
        coarse.write(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"a{ending}'"):
        Mesh.read(path)


def test_archives_without_the_arrays_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", v=TETRA, f=SIDES)
    with pytest.raises(InputError, match="must have arrays vertices and faces, but it has v, f"):
        Mesh.read(tmp_path / "a.npz")


FLIPPED = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 3, 2]])
FIN = np.concatenate([SIDES, [[0, 1, 4]]])
FLAT = np.array([[0, 1, 2], [0, 2, 1]])


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (
            TETRA,
            SIDES[:3],
            r"mesh '.*bad.npz' must be watertight, .* it has 3 open edges and 0 non-manifold edges\. Close its holes",
        ),
        (np.vstack([TETRA, [[2, 2, 2]]]), FIN, "it has 2 open edges and 1 non-manifold edges"),
        (TETRA, FLIPPED, "but 3 edges lie between triangles of opposite orientation"),
        (TETRA, FLAT, "encloses no volume"),
        (TETRA, np.array([[0, 0, 1]]), "encloses no volume"),
        (TETRA, SIDES[:0], r"faces of .* must have shape \(n, 3\) with n > 0, but they have \(0, 3\)"),
        (TETRA[:, :2], SIDES, r"vertices of .* but they have \(4, 2\)"),
        (
            np.where(TETRA == 1, np.nan, TETRA),
            SIDES,
            "vertices of mesh .* must be finite, but 3 of 4 are NaN or infinite",
        ),
        (TETRA, SIDES + 1, "must name vertices from 0 to 3, but they name 1 to 4"),
        (TETRA, SIDES.astype(float), "faces of .* must be whole numbers .* type float64"),
        (TETRA + 1j, SIDES, "vertices of .* must hold real numbers, not complex numbers"),
        (TETRA.astype(str), SIDES, "vertices of .* must hold real numbers, not text"),
    ],
)
def test_bad_meshes_are_worded(tmp_path, vertices, faces, words):
    np.savez(tmp_path / "bad.npz", vertices=vertices, faces=faces)
    with pytest.raises(ValueError, match=words):
        Mesh.read(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.ply", b"no mesh at all", "text.ply' must be a whole OBJ, PLY, STL or OFF file, but it could"),
        ("text.npz", b"no archive", "text.npz' could not be read"),
        ("empty.obj", b"# nothing\n", "empty.obj' must "),
        ("cloud.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
         b"end_header\n0 0 0\n", "cloud.ply' must "),
        ("rows.ply", HEAD % (4, 9) + b"0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n",
         "rows.ply' must .*it claims 9 rows of face, but holds 4"),
        ("scene.fbx", b"", r"must end in one of .npz, .obj, .*, but '.*scene.fbx' does not"),
    ],
)  # fmt: skip
def test_files_that_are_no_meshes_are_worded(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Mesh.read(tmp_path / name)


def test_a_missing_library_is_worded(tmp_path, monkeypatch):
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
