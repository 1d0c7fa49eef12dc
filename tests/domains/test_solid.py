import math
import sys

import numpy as np
import pytest
import torch

from nfsolve import Box, Cylinder, Disk, Ellipse, Extrusion, Polygon, Rectangle, Solid
from nfsolve._core.errors import InputError, MissingExtra
from nfsolve._core.random import generator
from nfsolve.sampling import sobol

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("igl")

CUBE = (
    np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float),
    np.array(trimesh.creation.box().faces),
)


def sample(seed=0):
    chance = generator(seed, "points")
    return lambda n, d: sobol(n, d, chance)


def ball():
    return trimesh.creation.icosphere(subdivisions=2)


@pytest.mark.parametrize("ending", ["stl", "ply", "obj", "off"])
def test_a_solid_is_read_from_a_file(tmp_path, ending):
    mesh = trimesh.creation.annulus(r_min=0.4, r_max=1.0, height=0.5, sections=24)
    mesh.export(tmp_path / f"part.{ending}")
    solid = Solid(tmp_path / f"part.{ending}")
    assert solid.names == ("x", "y", "z") and solid.parts == ("surface",)
    assert np.allclose(solid.bounds, ((-1, 1), (-1, 1), (-0.25, 0.25)), atol=1e-6)
    inside = solid.interior(300, sample())
    radius = inside[:, :2].norm(dim=1)
    assert radius.max() <= 1 and radius.min() > 0.39 and inside[:, 2].abs().max() <= 0.25
    points, normals = solid.boundary(400, sample())
    assert solid.signed_distance(points).abs().max() < 1e-6
    assert torch.allclose(normals.norm(dim=1), torch.ones(400).double())
    assert (solid.signed_distance(points + 1e-3 * normals) > 0).all()
    rule = solid.boundary_quadrature(3)
    assert float(rule.weights.sum()) == pytest.approx(mesh.area, rel=1e-5)
    assert float((rule.points * rule.normals).sum(1) @ rule.weights[:, 0]) == pytest.approx(3 * mesh.volume, rel=1e-5)


def test_points_are_uniform_by_area():
    points, _ = Solid(CUBE).boundary(6000, sample())
    for column in range(3):
        for value in (0.0, 1.0):
            assert float((points[:, column] == value).double().mean()) == pytest.approx(1 / 6, abs=0.01)
    assert points.mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.01)


def test_a_signed_distance_is_exact():
    places = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.9], [2.0, 0.5, 0.5], [2.0, 2.0, 0.5], [0, 0, 0]]
    points = torch.tensor(places, dtype=torch.float64)
    wanted = [-0.5, -0.1, 1.0, math.sqrt(2), 0.0]
    assert Solid(CUBE).signed_distance(points)[:, 0].tolist() == pytest.approx(wanted, abs=1e-12)
    assert not Solid(CUBE).contains(torch.full((1, 3), torch.nan).double()).any()


def test_a_solid_that_is_star_shaped_has_a_precise_rule():
    mesh = ball()
    rule = Solid(mesh).quadrature(4)
    assert float(rule.weights.sum()) == pytest.approx(mesh.volume, rel=1e-10)
    second = np.trace(mesh.moment_inertia) / 2  # the integral of |x|^2
    assert float((rule.points**2).sum(1) @ rule.weights[:, 0]) == pytest.approx(second, rel=1e-8)


def test_groups_are_parts(tmp_path):
    lines = [f"v {x} {y} {z}" for x, y, z in CUBE[0]]
    lids = [i for i, face in enumerate(CUBE[1]) if len(set(CUBE[0][face][:, 2])) == 1]
    for name, chosen in (("lids", lids), ("sides", [i for i in range(12) if i not in lids])):
        lines += [f"o {name}"] + ["f " + " ".join(str(v + 1) for v in CUBE[1][i]) for i in chosen]
    (tmp_path / "cube.obj").write_text("\n".join(lines))
    solid = Solid(tmp_path / "cube.obj", names="a b c", scale=2.0)
    assert set(solid.parts) == {"surface", "lids", "sides"} and solid.bounds == ((0, 2),) * 3
    points, normals = solid.boundary(50, sample(), "lids")
    assert ((points[:, 2] < 1e-9) | (points[:, 2] > 2 - 1e-9)).all() and (normals[:, 2].abs() == 1).all()
    assert float(solid.boundary_quadrature(2, "sides").weights.sum()) == pytest.approx(16)
    assert float(solid.boundary_quadrature(2).weights.sum()) == pytest.approx(24)


def test_solids_are_domains_like_others():
    room = Solid(CUBE) - Cylinder(x=0.5, y=0.5, z=(-1, 2), radius=0.25).named("hole")
    points, normals = room.boundary(60, sample(), "hole")
    assert torch.allclose((points[:, :2] - 0.5).norm(dim=1), torch.full((60,), 0.25).double())
    assert ((points[:, :2] - 0.5) * normals[:, :2]).sum(1).max() < 0
    assert (Box(t=(0, 1)) * Solid(CUBE)).interior(5, sample()).shape == (5, 4)


def test_a_solid_that_is_inside_out_is_turned():
    mesh = ball()
    turned = Solid((np.asarray(mesh.vertices), np.asarray(mesh.faces)[:, ::-1]))
    assert float(turned.quadrature(2).weights.sum()) > 4


def open_ball():
    mesh = ball()
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)[:-3]


def mixed_ball():
    mesh = ball()
    faces = np.array(mesh.faces)
    faces[0] = faces[0][::-1]
    return np.asarray(mesh.vertices), faces


def two_balls():
    other = ball()
    other.apply_translation([0.5, 0, 0])
    return trimesh.util.concatenate([ball(), other])


def flat():
    faces = np.array([[0, 1, 2], [0, 2, 1]])
    return np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), faces


BAD = {
    "open": (open_ball, "must be closed, .* but 5 edges are open.*Close its holes"),
    "mixed": (mixed_ball, "counter-clockwise when seen from outside, but at 3 edges"),
    "crossing": (two_balls, "must not cross itself, but [0-9]+ of its 640 faces"),
    "twice": (lambda: trimesh.util.concatenate([ball(), ball()]), "must not cross itself|counter-clockwise|closed"),
    "flat": (flat, "encloses no volume"),
    "shapes": (
        lambda: (np.zeros((3, 2)), np.zeros((1, 3), int)),
        r"must have vertices \(V, 3\) and triangles \(F, 3\)",
    ),
    "index": (lambda: (CUBE[0][:7], CUBE[1]), "faces of vertices that it does not have"),
    "nan": (lambda: (CUBE[0] * np.nan, CUBE[1]), "not finite"),
    "missing": (lambda: "nowhere.stl", "there is no file 'nowhere.stl'"),
    "kind": (lambda: 3, "a Solid needs a file, a trimesh.Trimesh or vertices and faces, got int"),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_surfaces_that_are_no_solids_are_refused_at_the_door(make, said):
    with pytest.raises(InputError, match=said):
        Solid(make())


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.stl", b"solid"), ("a.ply", b"ply\nnonsense"), ("a.obj", b"v 0 0 0\n"), ("a.xyz", b"1 2 3")],
)
def test_files_that_hold_no_surface_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="could not be read|has no triangles|must"):
        Solid(tmp_path / name)


@pytest.mark.parametrize("options", [{"names": "x y"}, {"scale": 0}, {"scale": math.nan}])
def test_names_and_scale_are_checked(options):
    with pytest.raises(InputError, match="A Solid needs three names and a positive scale"):
        Solid(CUBE, **options)


def test_without_trimesh_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(MissingExtra, match=r"nfsolve\[mesh\]"):
        Solid(tmp_path / "a.stl")


TURNED = Ellipse(x=1, y=0, radii=(2, 0.5), angle=0.3)
ROD = Cylinder(x=(0, 2), y=0, z=0, radius=0.5)
WEDGE = Extrusion(Polygon([(0, 0), (1, 0), (0, 1)]), z=(0, 2))
TUBE = Extrusion(Disk(a=0, b=0, radius=1) - Disk(a=0, b=0, radius=0.5).named("bore"), c=(-1, 1))
SIZES = {
    "ellipse": (TURNED, math.pi, None, ("rim",)),
    "cylinder": (ROD, math.pi / 2, 2.5 * math.pi, ("rim", "x=0", "x=2")),
    "wedge": (WEDGE, 1.0, 1 + 2 * (2 + math.sqrt(2)), ("edge 0", "edge 1", "edge 2", "z=0", "z=2")),
    "tube": (TUBE, 1.5 * math.pi, 6 * math.pi + 1.5 * math.pi, ("rim", "bore", "c=-1", "c=1")),
}


@pytest.mark.parametrize(("shape", "volume", "area", "parts"), SIZES.values(), ids=SIZES)
def test_ellipses_and_extrusions(shape, volume, area, parts):
    d = len(shape.names)
    assert shape.parts == parts
    assert float(shape.quadrature(16).weights.sum()) == pytest.approx(volume, rel=1e-8)
    rule = shape.boundary_quadrature(24)
    assert float((rule.points * rule.normals).sum(1) @ rule.weights[:, 0]) == pytest.approx(d * volume, rel=1e-6)
    assert area is None or float(rule.weights.sum()) == pytest.approx(area, rel=1e-6)
    inside = shape.interior(400, sample())
    assert (shape.signed_distance(inside) <= 1e-9).all()
    low, high = torch.tensor(shape.bounds, dtype=torch.float64).T
    assert (inside.amin(0) - low < 0.2 * (high - low)).all() and (high - inside.amax(0) < 0.2 * (high - low)).all()
    points, normals = shape.boundary(2000, sample())
    assert shape.signed_distance(points).abs().max() < 1e-8
    assert (shape.signed_distance(points + 1e-4 * normals) > 0).all()
    assert (shape.signed_distance(points - 1e-4 * normals) < 0).all()
    centre = (rule.points * rule.weights).sum(0) / rule.weights.sum()
    assert torch.allclose(points.mean(0), centre, atol=0.02 * shape.size)  # uniform by length or area


def test_the_axis_of_a_cylinder_is_where_it_is_written():
    assert ROD.names == ("x", "y", "z") and ROD.bounds == ((0, 2), (-0.5, 0.5), (-0.5, 0.5))
    assert Cylinder(x=0, y=0, z=(0, 2), radius=1).names == ("x", "y", "z")
    points, normals = ROD.boundary(20, sample(), "x=2")
    assert (points[:, 0] == 2).all() and (normals[:, 0] == 1).all()
    assert float(ROD.quadrature(16, {"x": 1.0}).weights.sum()) == pytest.approx(math.pi / 4)
    assert not len(ROD._rule(4, {0: 5.0}, [1, 2]).points)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ellipse(x=0, y=0, radii=2), "Ellipse needs a centre of two finite numbers and two positive radii"),
        (lambda: Ellipse(x=0, y=0, radii=(2, -1)), "two positive radii"),
        (lambda: Ellipse(x=0, radii=(2, 1)), "Ellipse needs a centre of two"),
        (lambda: Extrusion(Disk(x=0, y=0, radius=1)), "Extrusion needs a shape and one coordinate"),
        (lambda: Extrusion(Disk(x=0, y=0, radius=1), z=(1, 0)), "the lower first"),
        (lambda: Extrusion(3, z=(0, 1)), "Extrusion needs a shape"),
        (lambda: Extrusion(Rectangle(x=(0, 1), y=(0, 1)), x=(0, 1)), "must have a different name"),
        (lambda: Cylinder(x=0, y=0, z=(0, 1)), "Cylinder needs the position of its axis"),
        (lambda: Cylinder(x=0, y=0, z=0, radius=1), "Cylinder needs the position of its axis"),
        (lambda: Cylinder(x=0, y=(0, 1), z=0, radius=1), "the first or the last"),
        (lambda: Cylinder(x=0, y=0, z=(0, 1), radius=-1), "a positive radius"),
    ],
)
def test_shapes_that_cannot_be_meant(make, said):
    with pytest.raises(InputError, match=said):
        make()
