import copy
import dataclasses
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
import xarray
from torch import nn

from nfsolve import PDE, Box, Disk, PointCloud, Solution, Sphere, interior, periodic
from nfsolve._core.errors import InputError, MissingExtra
from nfsolve.run import export


class Sum(nn.Module):
    """u = the sum of the coordinates, v = the first one."""

    def __init__(self, names, dtype=torch.float64):
        super().__init__()
        self.inputs, self.outputs = names, ("u", "v")
        self.one = nn.Parameter(torch.ones(1, dtype=dtype))
        self.calls = []

    def forward(self, points):
        assert points.dtype == self.one.dtype
        self.calls.append(len(points))
        return torch.stack([points.sum(-1), points[:, 0]], -1) * self.one


def solution_on(shape, dtype=torch.float64):
    @dataclass
    class Given(PDE):
        domain = shape
        unknowns = "u v"

        @interior
        def balance(self, u):
            return u

    names = shape.names if shape is not None else ("x",)
    return Solution(Given(), Sum(names, dtype), {}, [], "", False, False, 0.0, 0, 0, {})


BOX = Box(t=(0, 1), x=(-1, 1))


def test_predict_goes_in_batches_and_gives_back_what_it_got():
    solution = solution_on(BOX, torch.float32)
    points = np.random.default_rng(0).random((25, 2))
    values = solution.predict(points, batch=10)
    assert solution.field.calls == [10, 10, 5]
    assert isinstance(values, np.ndarray) and values.dtype == np.float32
    assert np.allclose(values, np.stack([points.sum(1), points[:, 0]], 1))
    tensor = solution.predict(torch.from_numpy(points))
    assert isinstance(tensor, torch.Tensor) and not tensor.requires_grad
    assert torch.equal(tensor, torch.from_numpy(values))
    assert solution.predict(np.zeros((0, 2))).shape == (0, 2)
    with pytest.raises(InputError, match=r"\(n, 2\) with columns t, x, got shape \(25,\)"):
        solution.predict(points[:, 0])
    with pytest.raises(InputError, match="batch must be at least 1 point, got 0"):
        solution.predict(points, batch=0)


def test_npz_has_the_layout_of_references(tmp_path):
    path = solution_on(BOX).export(tmp_path / "new" / "u.npz", shape=(3, 5))
    with np.load(path) as arrays:
        assert set(arrays) == {"t", "x", "u", "v"}
        assert arrays["u"].shape == (3, 5)
        assert np.allclose(arrays["u"], arrays["t"][:, None] + arrays["x"])
        assert arrays["x"].tolist() == [-1, -0.5, 0, 0.5, 1]
    with np.load(solution_on(Disk(x=0, y=0, radius=1)).export(tmp_path / "disk.npz")) as arrays:
        outside = arrays["x"][:, None] ** 2 + arrays["y"] ** 2 > 1 + 5e-6
        assert np.array_equal(np.isnan(arrays["u"]), outside)
        assert 90_000 < outside.size < 110_000


def measure(points, cells):
    """Length, area or volume of cells by their first and opposite corners, for cells along the axes."""
    opposite = {2: 1, 4: 2, 8: 6}[cells.shape[1]]
    sides = np.abs(points[cells[:, opposite]] - points[cells[:, 0]])[:, : {2: 1, 4: 2, 8: 3}[cells.shape[1]]]
    return sides.prod(1).sum()


@pytest.mark.parametrize(
    ("shape", "sizes", "size", "slack"),
    [
        (Box(x=(0, 3)), (7,), 3.0, 0),
        (BOX, (4, 6), 2.0, 0),
        (Disk(x=0, y=0, radius=1), (81, 81), np.pi, 0.15),
        (Sphere(x=0, y=0, z=0, radius=1), (41, 41, 41), 4.18879, 0.6),
    ],
)
def test_vtu_cells_fill_the_domain(tmp_path, shape, sizes, size, slack):
    mesh = meshio.read(solution_on(shape).export(tmp_path / "u.vtu", shape=sizes))
    [block] = mesh.cells
    assert size - slack - 1e-9 <= measure(mesh.points, block.data) <= size + 1e-9
    assert np.allclose(mesh.point_data["u"], mesh.points.sum(1))
    assert np.allclose(mesh.point_data["v"], mesh.points[:, 0])
    inside = torch.from_numpy(mesh.points[:, : len(sizes)])
    assert shape.contains(inside, 1e-6).all()
    if len(sizes) == 2:  # corners in order: the shoelace formula gives the same area
        x, y = mesh.points[block.data][..., 0], mesh.points[block.data][..., 1]
        area = 0.5 * np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1)).sum()
        assert area == pytest.approx(measure(mesh.points, block.data))


def test_files_are_written_block_by_block(tmp_path, monkeypatch):
    solution = solution_on(Disk(x=0, y=0, radius=1))
    whole = solution.to_xarray((13, 9))
    monkeypatch.setattr(export, "BLOCK", 20)
    with np.load(solution.export(tmp_path / "u.npz", (13, 9))) as arrays:
        assert all(np.array_equal(arrays[name], whole[name].values, equal_nan=True) for name in ("x", "y", "u", "v"))
    solution.export(tmp_path / "u.zarr", (13, 9))
    stored = xarray.open_zarr(solution.export(tmp_path / "u.zarr", (13, 9)), consolidated=False)
    assert stored.u.encoding["chunks"] == (2, 9)
    assert stored.load().equals(whole)
    assert stored.attrs == whole.attrs
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


IN_LITTLE_MEMORY = """
import resource, sys
import numpy as np
from tests.run.test_solution import BOX, solution_on
solution, path = solution_on(BOX), sys.argv[1]
solution.export(path + "/a.npz", (40, 40)), solution.export(path + "/a.zarr", (40, 40))
rooms = dict(line.split(":") for line in open("/proc/self/status"))
limit = 1024 * int(rooms["VmData"].split()[0]) + 150 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
solution.export(path + "/u.npz", (20_000, 5000))
solution.export(path + "/u.zarr", (20_000, 5000))
points = np.lib.format.open_memmap(path + "/points.npy", "w+", float, (10**8, 2))
for i in range(100):
    points[i * 10**6 : (i + 1) * 10**6] = i / 100
values = np.lib.format.open_memmap(path + "/values.npy", "w+", float, (10**8, 2))
solution.predict(np.load(path + "/points.npy", mmap_mode="r"), out=values)
try:
    solution.predict(points)
except (RuntimeError, MemoryError):
    print("the limit is one")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process as Linux tells it")
def test_a_hundred_million_points_need_little_memory(tmp_path):
    done = subprocess.run([sys.executable, "-c", IN_LITTLE_MEMORY, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "the limit is one\n", done.stderr[-2000:]
    stored = xarray.open_zarr(tmp_path / "u.zarr", consolidated=False)
    with np.load(tmp_path / "u.npz") as arrays:
        assert np.allclose(arrays["u"][::97], arrays["t"][::97, None] + arrays["x"])
        assert np.array_equal(arrays["u"][-1], stored.u[-1])
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    assert np.allclose(values[[0, 5 * 10**7, 10**8 - 1]], [[0, 0], [1, 0.5], [1.98, 0.99]])


def test_values_go_where_they_are_asked_to(tmp_path):
    solution, points = solution_on(BOX), np.random.default_rng(0).uniform(0, 1, (25, 2))
    room = np.lib.format.open_memmap(tmp_path / "u.npy", "w+", float, (25, 2))
    assert solution.predict(points, batch=7, out=room) is room
    assert np.array_equal(np.load(tmp_path / "u.npy"), solution.predict(points))
    with pytest.raises(InputError, match=r"out must take values of shape \(25, 2\), got one of shape \(25,\)"):
        solution.predict(points, out=np.zeros(25))


def test_a_point_cloud_is_exported_as_points(tmp_path):
    solution = solution_on(PointCloud([[0, 1], [2, 3], [4, 4]]))
    mesh = meshio.read(solution.export(tmp_path / "u.vtu"))
    assert mesh.cells[0].type == "vertex"
    assert mesh.point_data["u"].tolist() == [1, 5, 8]
    with np.load(solution.export(tmp_path / "u.npz")) as arrays:
        assert arrays["x"].tolist() == [0, 2, 4]
        assert arrays["u"].tolist() == [1, 5, 8]


def test_what_cannot_be_exported_is_worded(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"export writes .npz, .zarr or .vtu, got the name 'u.txt'"):
        solution_on(BOX).export(tmp_path / "u.txt")
    with pytest.raises(InputError, match="VTK has at most 3 coordinates, but this domain has 4. Write .npz"):
        solution_on(Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1))).export(tmp_path / "u.vtu")
    with pytest.raises(InputError, match="export needs a domain with a grid, or a PointCloud, not .*Use predict"):
        solution_on(Box(t=(0, 1)) * PointCloud([[0, 1], [2, 3]])).export(tmp_path / "u.npz")
    with pytest.raises(InputError, match="no cell of the grid of sizes .* lies in the domain. Give a finer grid"):
        solution_on(Disk(x=0, y=0, radius=1)).export(tmp_path / "u.vtu", shape=(3, 3))
    monkeypatch.setitem(sys.modules, "meshio", None)
    with pytest.raises(MissingExtra, match=r"writing a .vtu file needs meshio.*nfsolve\[vtk\]"):
        solution_on(BOX).export(tmp_path / "u.vtu")


class Cubic(nn.Module):
    """u = x^3 y, v = x y."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.inputs, self.outputs = ("x", "y"), ("u", "v")
        self.one = nn.Parameter(torch.ones(1, dtype=dtype))

    def forward(self, points):
        x, y = points[:, :1], points[:, 1:]
        return torch.cat([x**3 * y, x * y], -1) * self.one


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("u", lambda x, y: x**3 * y),
        ("u_x", lambda x, y: 3 * x**2 * y),
        ("u_xy", lambda x, y: 3 * x**2),
        ("lap_u", lambda x, y: 6 * x * y),
        ("v_y", lambda x, y: x),
    ],
)
def test_derivatives_of_a_solution(name, wanted):
    solution = dataclasses.replace(solution_on(Box(x=(0, 1), y=(0, 1))), field=Cubic())
    points = np.random.default_rng(0).random((7, 2))
    found = solution.derivative(name, points, batch=3)
    assert isinstance(found, np.ndarray)
    assert np.allclose(found[:, 0], wanted(*points.T))
    assert torch.equal(solution.derivative(name, torch.tensor(points), batch=3), torch.tensor(found))
    assert not solution.derivative(name, torch.tensor(points)).requires_grad


def test_derivatives_that_do_not_exist():
    solution = solution_on(Box(x=(0, 1)))
    with pytest.raises(InputError, match="unknown coordinate 'z' in 'u_z'"):
        solution.derivative("u_z", [[0.5]])
    with pytest.raises(InputError, match=r"derivative takes points \(n, 1\) with columns x, got shape \(2,\)"):
        solution.derivative("u_x", [0.5, 0.1])


def test_a_solution_is_called_as_a_function():
    solution = solution_on(Box(x=(0, 1)))
    assert solution(np.array([[0.25]])).tolist() == [[0.25, 0.25]]


def test_a_solution_draws_itself():
    solution = solution_on(Box(x=(0, 1)))
    solution.data = solution.problem.load("cpu", torch.float64)
    assert solution.plot().axes


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("save", 'give out="runs/mine" to solve'),
        ("loss", "metrics"),
        ("grad", "derivative"),
        ("metric", "did you mean"),
    ],
)
def test_what_others_call_otherwise_is_said(name, advice):
    solution = copy.deepcopy(solution_on(None))
    with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{advice}"):
        getattr(solution, name)


@pytest.mark.parametrize(("value", "text"), [(3.00025, "3.00025"), (1.0, "1"), (6.62607015e-34, "6.62607e-34")])
def test_unknown_scalars_have_all_their_digits(value, text):
    solution = solution_on(None)
    solution.metrics = {"unknown/k": value}
    assert f"unknown/k  {text}" in str(solution)


@pytest.mark.parametrize(
    ("shape", "inside", "outside"),
    [
        (Box(x=(0, 1)), [[0.0], [1.0]], [[1.1]]),
        (Box(t=(0, 1), x=periodic(-1, 1)), [[0.5, 7.0]], [[1.5, 0.0]]),
        (Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5), [[0.7, 0.0]], [[0.1, 0.0], [0.9, 0.9]]),
        (Box(t=(1.7e9, 1.7e9 + 10)), [[1.7e9 + 10]], [[1.7e9 + 11]]),
    ],
    ids=["box", "periodic", "ring", "far"],
)
def test_points_outside_the_domain_are_said(shape, inside, outside):
    solution = solution_on(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution.predict(np.array(inside))
    with pytest.warns(UserWarning, match=f"{len(outside)} of {len(outside) + 1} points lie outside .* not trained"):
        solution.predict(np.array([*outside, inside[0]]))
