"""Rows are trees of their tensors: they are cut, mapped, joined and saved as such, whatever they hold."""

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from nfsolve.problem.rows import FunctionRows, LabelRows, Rows, leading, row_count

points = torch.rand(5, 2)
CASES = {
    "points": Rows(points),
    "face": Rows(points, -points),
    "pairs": Rows(points, partners=2 * points, columns={"u_data": points[:, :1]}),
    "functions": FunctionRows(points, inputs={"f": torch.rand(15, 1)}, functions=(torch.rand(3, 4), torch.rand(3, 1))),
    "labels": LabelRows(points, functions=torch.rand(3, 4), truth=torch.rand(15, 1), size=torch.rand(15, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_tree_goes_apart_and_together(name):
    rows = CASES[name]
    leaves, structure = tree_flatten(rows)
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    again = tree_unflatten(leaves, structure)
    assert type(again) is type(rows)
    assert tree_flatten(again)[1] == structure
    assert all(a is b for a, b in zip(tree_flatten(again)[0], leaves, strict=True))
    assert tree_map(lambda leaf: leaf.double(), rows).points.dtype == torch.float64


def test_rows_are_counted_by_point_and_function():
    assert [len(rows) for rows in CASES.values()] == [5, 5, 5, 15, 15]
    assert row_count(CASES["labels"]) == 15 and row_count({"points": points}) == 5
    assert row_count({"pixels": points}) is None and row_count(torch.zeros(3)) is None
    assert leading({"values": points[:4]}) == 4


def test_a_row_by_row_map_sees_one_point():
    rows = CASES["pairs"]
    gaps = torch.func.vmap(lambda one: (one.partners - one.points) @ one.points * one.columns["u_data"])(rows)
    torch.testing.assert_close(gaps, (points * points).sum(1, keepdim=True) * points[:, :1])
