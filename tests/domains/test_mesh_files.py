"""Domains from finite element meshes: groups as parts, what is inside, and what is refused."""

import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Polygon, Solid, boundary, face, integral, interface, interior
from nfsolve._core.errors import InputError, MissingExtra
from nfsolve._core.random import generator
from nfsolve.plot.problem import show
from nfsolve.sampling import sobol

meshio = pytest.importorskip("meshio", reason="domains from meshes need meshio")

NX, NY = 8, 4
FIELDS = {
    "steel": np.array([1, 2]), "copper": np.array([2, 2]), "inlet": np.array([3, 1]), "outlet": np.array([4, 1]),
}  # fmt: skip


def sample(seed=0):
    chance = generator(seed, "points")
    return lambda n, d: sobol(n, d, chance)


def at(i, j):
    return j * (NX + 1) + i


NODES = np.array([[2 * i / NX, j / NY, 0] for j in range(NY + 1) for i in range(NX + 1)])
INLET, OUTLET = ([[at(i, j), at(i, j + 1)] for j in range(NY)] for i in (0, NX))


def plate(hole=True):
    """[0, 2] x [0, 1], steel left of x = 1 and copper right of it, with a hole [0.25, 0.5] x [0.25, 0.75]."""
    triangles, materials = [], []
    for j in range(NY):
        for i in range(NX):
            if not (hole and i == 1 and j in (1, 2)):
                a, b, c, d = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
                triangles += [[a, b, c], [a, d, c]]  # of both orientations
                materials += [1 if i < NX / 2 else 2] * 2
    tags = [np.array([3] * NY + [4] * NY), np.array(materials)]
    data = {"gmsh:physical": tags, "gmsh:geometrical": tags}
    return meshio.Mesh(NODES, [("line", INLET + OUTLET), ("triangle", triangles)], cell_data=data, field_data=FIELDS)


def outline(edges):
    nodes = [[0, 0], [2, 0], [2, 1], [0, 1], [1, 0.5], [1.5, 0.5], [1, 0.75]]
    return meshio.Mesh(nodes, [("line", edges)], cell_data={"gmsh:physical": [np.arange(len(edges)) % 2 + 7]})


CLOSED = [[0, 1], [2, 1], [2, 3], [3, 0], [4, 5], [5, 6], [6, 4]]


def cube():
    """The unit cube of 6 tetrahedra, those beyond z = x as a second body, whose side x = 0 is the group "wall"."""
    nodes = [[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    ways = [(0, a, a + b, 7) for a in (4, 2, 1) for b in (4, 2, 1) if a != b]
    beyond = [2 if np.mean([nodes[i][2] - nodes[i][0] for i in way]) > 0 else 1 for way in ways]
    walls = [[0, 1, 3], [0, 2, 3]]
    fields = {"below": np.array([1, 3]), "beyond": np.array([2, 3]), "wall": np.array([5, 2])}
    data = {"gmsh:physical": [np.array([5, 5]), np.array(beyond)]}
    data["gmsh:geometrical"] = data["gmsh:physical"]
    return meshio.Mesh(
        np.array(nodes, dtype=float), [("triangle", walls), ("tetra", ways)], cell_data=data, field_data=fields
    )


@pytest.mark.parametrize(("name", "known"), [("a.msh", True), ("a.vtu", False), ("a.vtk", False), (None, True)])
def test_a_plate_is_read_with_the_names_of_its_groups(tmp_path, name, known):
    source = plate()
    if name is not None:
        meshio.write(tmp_path / name, source, **({"file_format": "gmsh22"} if known else {}))
        source = tmp_path / name
    domain = Polygon(source, names="a b")
    called = ("inlet", "outlet", "steel", "copper") if known else ("group 3", "group 4", "group 1", "group 2")
    assert set(domain.parts) == {"outer", "hole 1", *called[:2]} and set(domain.regions()) == set(called[2:])
    assert domain.names == ("a", "b") and domain.bounds == ((0, 2), (0, 1))
    assert len(domain.corners) == 8 and domain.area == pytest.approx(2 - 0.125)  # straight sides are one edge
    points, normals = domain.boundary(20, sample(), called[0])
    assert (points[:, 0] == 0).all() and (normals[:, 0] == -1).all()
    hole, normals = domain.boundary(40, sample(), "hole 1")
    assert ((hole - torch.tensor([0.375, 0.5])) * normals).sum(1).max() < 0
    steel = domain.regions()[called[2]]
    assert float(steel.quadrature(4).weights.sum()) == pytest.approx(0.875)
    joint = domain.interface_quadrature(4, called[2], called[3])
    assert float(joint.weights.sum()) == pytest.approx(1) and (joint.points[:, 0] == 1).all()
    assert (joint.normals[:, 0] == 1).all()


def test_other_numbers_and_sets_of_cells_are_groups_too(tmp_path):
    mesh = plate(hole=False)
    half = mesh.cell_data["gmsh:physical"]
    data = {"region": half, "heat": [np.zeros(len(part)) for part in half]}
    sets = {"top half": [np.array([], dtype=int), np.arange(NX * NY, 2 * NX * NY)]}
    domain = Polygon(meshio.Mesh(NODES, mesh.cells, cell_data=data, cell_sets=sets))
    assert set(domain.regions()) == {"region 1", "region 2", "top half"}
    assert domain.regions()["top half"].bounds == ((0, 2), (0.5, 1))
    many = {"element": [np.arange(8) + 1, np.arange(2 * NX * NY) * 10]}
    numbered = Polygon(meshio.Mesh(NODES, mesh.cells, cell_data=many))
    assert set(numbered.regions()) == {f"element {10 * k}" for k in range(1, 64)}  # few enough to be groups


def test_an_outline_of_lines_is_read_with_its_hole():
    domain = Polygon(outline(CLOSED))
    assert set(domain.parts) == {"outer", "hole 1", "group 7", "group 8"} and not domain.regions()
    assert domain.area == pytest.approx(2 - 0.0625)
    points, normals = domain.boundary(60, sample())
    assert (domain.signed_distance(points + 1e-4 * normals) > 0).all()


def test_a_plane_may_stand_upright():
    mesh = plate()
    mesh.points = mesh.points[:, [0, 2, 1]] + [0, 5, 0]
    assert Polygon(mesh, "x z", scale=2).bounds == ((0, 4), (0, 2))


@dataclass
class Joined(PDE):
    """Two materials with a tenth and one of conductivity: u = 10 x - 9 and v = x beyond x = 1."""

    domain = Polygon(plate())
    unknowns = {"steel": "u", "copper": "v"}

    @interior
    def left(self, lap_u):
        return lap_u

    @interior
    def right(self, lap_v):
        return lap_v

    @interface("steel", "copper")
    def equal(self, u, v):
        return u - v

    @interface("steel", "copper")
    def flux(self, u_x, u_y, v_x, v_y, n_x, n_y):
        return n_x * (u_x / 10 - v_x) + n_y * (u_y / 10 - v_y)

    @face("inlet")
    def cold(self, u):
        return u + 9

    @face("outlet")
    def warm(self, v):
        return v - 2

    @boundary(part="hole 1")
    def hole(self, u_x, u_y, n_x, n_y):
        return n_x * (u_x - 10) + n_y * u_y

    @boundary(where=lambda y: (y == 0) | (y == 1))
    def free(self, u_y):
        return u_y

    @boundary(where=lambda y: (y == 0) | (y == 1))
    def free_beyond(self, v_y):
        return v_y

    @integral(over="outlet", equals=2.0)
    def warmth(self, v):
        return v


def test_a_pde_on_a_mesh_is_solved():
    problem = Joined(n_points=200, n_face=40)
    field = nf.RandomFeatures.for_problem(problem, width=100, scale=1.5)
    solution = nf.solve(problem, field, nf.optim.LinearLeastSquares, steps=1, seed=0, report=None)
    found = solution("u v", [[0.7, 0.5], [1.5, 0.2]])
    assert float(found[0, 0]) == pytest.approx(-2, abs=1e-4) and float(found[1, 1]) == pytest.approx(1.5, abs=1e-6)
    flux = solution.integral(lambda v_x, n_x: v_x * n_x, over="outlet")
    assert float(flux) == pytest.approx(1, abs=1e-4)
    assert show(problem).axes


def test_a_body_is_read_with_parts_and_regions(tmp_path):
    pytest.importorskip("igl", reason="solids need libigl")
    meshio.write(tmp_path / "cube.msh", cube(), file_format="gmsh22")
    body = Solid(tmp_path / "cube.msh", scale=2.0)
    assert set(body.parts) == {"surface", "wall"} and set(body.regions()) == {"below", "beyond"}
    assert float(body.quadrature(2).weights.sum()) == pytest.approx(8)
    points, normals = body.boundary(30, sample(), "wall")
    assert (points[:, 0] == 0).all() and (normals[:, 0] == -1).all()
    assert float(body.boundary_quadrature(2, "wall").weights.sum()) == pytest.approx(4)
    beyond = body.regions()["beyond"]
    assert float(beyond.quadrature(3).weights.sum()) == pytest.approx(4)
    inside = beyond.interior(50, sample())
    assert (inside[:, 2] > inside[:, 0]).all()
    points = torch.cat([p.place(sobol(64, 2, generator(0, "p")))[0] for p in body.interface("below", "beyond")])
    assert len(points) and (Box(t=(0, 1)) * body).regions().keys() == {"below", "beyond"}
    on, normals = body.boundary(20, sample())
    assert (body.signed_distance(on + 1e-3 * normals) > 0).all()
    surface = cube()
    triangles = [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 5, 1], [0, 4, 5], [2, 3, 7], [2, 7, 6],
                 [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]  # fmt: skip
    assert float(Solid(meshio.Mesh(surface.points, [("triangle", triangles)])).quadrature(2).weights.sum()) == (
        pytest.approx(1)
    )


def changed(mesh, **attributes):
    for name, value in attributes.items():
        setattr(mesh, name, value)
    return mesh


TRIANGLE = [("triangle", [[0, 1, 2]])]
BAD = {
    "open outline": (lambda: Polygon(outline(CLOSED[:-1])), "must be closed, but 2 of its corners end one line"),
    "branching": (lambda: Polygon(outline([*CLOSED, [0, 2]])), "but 2 of its corners end one line, or three"),
    "crossing": (lambda: Polygon(outline([[0, 2], [2, 1], [1, 3], [3, 0]])), "The edges of the mesh may meet"),
    "curved": (
        lambda: Polygon(meshio.Mesh(np.zeros((6, 2)), [("triangle6", [[0, 1, 2, 3, 4, 5]])])),
        "got triangle6 cells. Write it with elements of order 1",
    ),
    "not flat": (
        lambda: Polygon(meshio.Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 1]], TRIANGLE)),
        "all three coordinates of its nodes vary. .*Solid",
    ),
    "flat triangle": (
        lambda: Polygon(meshio.Mesh([[0, 0], [1, 0], [2, 0], [0, 1]], [("triangle", [[0, 1, 2], [0, 1, 3]])])),
        "has 1 triangles without area",
    ),
    "three sides": (
        lambda: Polygon(
            meshio.Mesh([[0, 0], [1, 0], [0, 1], [1, 1], [1, 2]], [("triangle", [[0, 1, 2], [0, 1, 3], [0, 1, 4]])])
        ),
        "1 sides of cells .* belong to more than two cells",
    ),
    "points": (lambda: Polygon(meshio.Mesh([[0, 0], [1, 0]], [("vertex", [[0], [1]])])), "no lines, triangles or tet"),
    "nan": (lambda: Polygon(meshio.Mesh([[0, 0], [1, 0], [math.nan, 1]], TRIANGLE)), "nodes .* of finite numbers"),
    "body": (lambda: Polygon(cube()), "has tetrahedra, so it is a body in space. Write Solid"),
    "lines": (lambda: Solid(outline(CLOSED)), "has lines only. Write Polygon"),
    "flat solid": (lambda: Solid(plate()), "must be closed"),
    "missing": (lambda: Polygon("nowhere.msh"), "there is no file 'nowhere.msh'"),
    "missing body": (lambda: Solid("nowhere.vtu"), "there is no file 'nowhere.vtu'"),
    "parts": (lambda: Polygon(plate(), parts="rim"), "have the names of its groups, got parts="),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_meshes_that_are_no_domains_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize("ending", ["msh", "vtu", "vtk", "inp", "mesh"])
def test_files_that_hold_no_mesh_are_refused(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_text("nonsense\n1 2 3\n")
    with pytest.raises(InputError, match="could not be read|has no lines, triangles|must have nodes"):
        Polygon(tmp_path / f"a.{ending}")


def test_a_part_that_the_boundary_does_not_have_is_named():
    with pytest.raises(InputError, match="boundary part 'inlets'.*inlet"):
        Polygon(plate()).boundary(5, sample(), "inlets")


def test_names_and_coordinates_do_not_mix():
    with pytest.raises(InputError, match="either names of parts or values of coordinates, got 'inlet' and t"):
        face("inlet", t=0)


def test_without_meshio_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "meshio", None)
    with pytest.raises(MissingExtra, match=r"nfsolve\[mesh\]"):
        Polygon(tmp_path / "a.msh")
