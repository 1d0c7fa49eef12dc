import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nfsolve import Box, periodic
from nfsolve._core.errors import InputError


def test_a_box_keeps_names_bounds_and_periodicity_in_order():
    box = Box(t=(0, 1), x=periodic(-1, 1))
    assert box.names == ("t", "x")
    assert box.bounds == ((0.0, 1.0), (-1.0, 1.0))
    assert box.periodic == (False, True)
    assert repr(box) == "Box(t=(0, 1), x=periodic(-1, 1))"


def test_the_grid_includes_both_ends_and_varies_the_last_coordinate_fastest():
    grid = Box(t=(0, 1), x=(-1, 1)).grid(2, 3)
    assert grid.tolist() == [[0, -1], [0, 0], [0, 1], [1, -1], [1, 0], [1, 1]]
    assert grid.dtype == torch.float64


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 50))
def test_scaled_points_are_in_the_box(low, width, n):
    box = Box(x=(low, low + width), y=(0, 1))
    unit = torch.linspace(0, 1, n, dtype=torch.float64)[:, None].expand(n, 2)
    box.check_points(box.scale(unit))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((1, 0), r"bounds of coordinate 'x' must .*\(1, 0\) are reversed. Write x=\(0, 1\)"),
        ((1, 1), "are empty"),
        ((0, float("inf")), "are not finite"),
        (3, "a pair"),
        (("a", "b"), "a pair"),
    ],
)
def test_bad_bounds_are_worded(bounds, message):
    with pytest.raises(InputError, match=message):
        Box(x=bounds)


def test_a_box_needs_a_coordinate():
    with pytest.raises(InputError, match="Box needs the bounds of its coordinates by name, got none"):
        Box()


def test_points_outside_are_counted_and_located():
    box = Box(t=(0, 1), x=(-1, 1))
    points = torch.tensor([[0.5, 0.0], [0.5, 2.0], [0.1, -3.0]])
    with pytest.raises(
        InputError, match=r"2 of 3 points are outside the domain, first x = 2 in row 1, where -1 <= x <= 1"
    ):
        box.check_points(points)
    with pytest.raises(InputError, match="outside"):
        box.check_points(torch.tensor([[0.5, float("nan")]]))
    with pytest.raises(InputError, match=r"columns t, x, got shape \(2,\)"):
        box.check_points(torch.zeros(2))


def test_faces_have_outward_normals():
    box = Box(t=(0, 1), x=(-1, 1))
    assert box.face({"x": (-1, 1)}) == [(1, -1.0, -1.0), (1, 1.0, 1.0)]
    assert box.face({"t": 0}) == [(0, 0.0, -1.0)]
    assert box.face({"x": 0.5}) == [(1, 0.5, 1.0)]  # a plane inside
    for value in (1.5, float("nan"), "left", None):
        with pytest.raises(InputError, match="A face must"):
            box.face({"x": value})
    with pytest.raises(InputError, match=r"unknown coordinate 'z': choose one of t, x"):
        box.face({"z": 0})


def test_wrong_grid_sizes_are_worded():
    with pytest.raises(InputError, match=r"write grid\(n_t, n_x\)|Write grid\(n_t, n_x\)"):
        Box(t=(0, 1), x=(-1, 1)).grid(10)
