"""The four ways of the operator benchmark compute the same."""

import pytest
import torch

from scripts.benchmark_operators import JET, NESTED, WAYS, Case, least_times, table


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_give_the_columns_and_the_gradient_of_flat_nested_reverse_mode(way):
    case = Case(functions=3, points=5, width=8, depth=2, dtype="float64", device="cpu")
    for mine, theirs in zip(WAYS[way](case), WAYS[NESTED](case), strict=True):
        assert mine.shape == (3, 5)
        assert float(theirs.detach().abs().max()) > 1e-3
        assert torch.allclose(mine, theirs, rtol=1e-11, atol=1e-13)
    (loss, gradient), (expected, other) = case.gradient(way), case.gradient(NESTED)
    assert torch.allclose(loss, expected, rtol=1e-12)
    for p, q in zip(gradient, other, strict=True):
        assert torch.allclose(p, q, rtol=1e-9, atol=1e-13 * float(1 + q.abs().max()))


def test_every_way_is_timed():
    case = Case(functions=2, points=3, width=4, depth=1, dtype="float32", device="cpu")
    assert set(least_times(case, 1)) == set(WAYS)


def test_gains_and_goals_are_worded():
    common = {"functions": 2, "points": 3, "width": 4, "depth": 1, "dtype": "float32", "machine": "m", "version": "v"}
    rows = [
        {**common, "date": "d", "method": JET, "milliseconds": 2.0, "peak_megabytes": 3.0},
        {**common, "date": "d", "method": NESTED, "milliseconds": 20.0, "peak_megabytes": 6.0},
    ]
    text = table(rows)
    assert "| nested | 20 | 6 | 10 | 2 |" in text
    assert "10x less time than nested (goal 5x, met), 2x less memory than nested (goal 10x, missed)" in text
