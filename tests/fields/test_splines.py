"""Splines: B-splines as scipy has them, derivatives, periodic and repeated ends, and bad input in words."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from nfsolve import Box, InputError, periodic
from nfsolve.diff import partials
from nfsolve.diff.jets import laplacian
from nfsolve.fields import Splines

WANTED = {(), (0,), (1,), (1, 2), (1, 1), laplacian([1, 2])}


def random_field(domain, outputs="u", **options) -> Any:
    field = Splines(domain, outputs, dtype=torch.float64, **options)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        field.coefficients.copy_(torch.randn(field.coefficients.shape, generator=chance, dtype=torch.float64))
    return field


def points_in(domain, n=60):
    unit = torch.rand(n, len(domain.names), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return domain.scale(unit)


def test_outputs_may_have_cells_of_their_own():
    domain = Box(x=(0, 1), y=(0, 1))
    jumps = ((0.0, 0.5, 0.5, 0.5, 1.0), 4)
    field = random_field(domain, "u p q", cells={"u": 6, "p": jumps, "q": 6}, degree=2)
    assert len(field.groups) == 2 and field.coefficients.shape == (2 * 64 + 6 * 6,)
    near = torch.tensor([[0.5 - 1e-9, 0.3], [0.5 + 1e-9, 0.3]], dtype=torch.float64)
    gap = (field(near)[1] - field(near)[0]).abs()
    assert gap[1] > 1e-3 and max(gap[0], gap[2]) < 1e-6
    points = points_in(domain)
    known, other = (partials(field, points, {(), (0,), (0, 1)}, engine=e) for e in ("auto", "jets"))
    for index, value in known.items():
        torch.testing.assert_close(value, other[index])
    with pytest.raises(InputError, match="an entry for each of u, p, q, got u"):
        Splines(domain, "u p q", cells={"u": 6})


@pytest.mark.parametrize("engine", ["jets", "nested"])
def test_known_derivatives_are_those_of_the_field(engine):
    domain = Box(t=(0, 2), x=periodic(-1, 3), y=(0, 1))
    field = random_field(domain, "u v", cells=((0, 0.3, 0.3, 1, 2), 7, 4), degree=(3, 4, 5))
    points = points_in(domain)
    known, other = partials(field, points, WANTED), partials(field, points, WANTED, engine=engine)
    assert field.known_derivatives(points, frozenset(WANTED)) is not None
    for index in WANTED:
        torch.testing.assert_close(known[index], other[index], rtol=1e-10, atol=1e-10)


def test_functions_are_those_of_scipy():
    ends = np.array([0.0, 0.5, 0.5, 1.25, 2.0])
    field = random_field(Box(x=(0, 2)), cells=tuple(ends), degree=3)
    knots = np.concatenate([[0] * 3, ends, [2] * 3])
    ours = field.numpy(np.linspace(0, 1.99, 50)[:, None])[:, 0]
    theirs = BSpline(knots, field.coefficients.detach().numpy(), 3)(np.linspace(0, 1.99, 50))
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_a_periodic_spline_repeats_with_all_derivatives_that_it_has():
    field = random_field(Box(x=periodic(0, 1)), cells=8, degree=4)
    assert field.coefficients.shape == (8,)
    sides = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    found = partials(field, sides, {(), (0,), (0, 0), (0, 0, 0)})
    for index, value in found.items():
        assert torch.allclose(value[0], value[1], atol=1e-8), index


def test_a_repeated_end_lowers_the_smoothness_there():
    field = random_field(Box(x=(0, 1)), cells=(0.0, 0.5, 0.5, 0.5, 1.0), degree=3)  # continuous, with a kink
    near = 0.5 + torch.tensor([[-1e-9], [1e-9]], dtype=torch.float64)
    value, slope = (partials(field, near, {(), (0,)})[index] for index in ((), (0,)))
    assert torch.allclose(value[0], value[1], atol=1e-6) and not torch.allclose(slope[0], slope[1], atol=1e-3)


@pytest.mark.parametrize("x", [periodic(0, 1), (0, 1)])
def test_those_that_meet_are_close_in_order(x):
    field = random_field(Box(x=x, y=(0, 1)), "u v", cells=(30, 3), degree=2)
    order = field.order()
    assert torch.equal(order.sort().values, torch.arange(len(order)))
    with field.recorded() as records:
        field.known_derivatives(points_in(Box(x=(0, 1), y=(0, 1)), 400), frozenset({()}))
    places = order[records[0].columns]
    fold = 1 + field.groups[0].axes[0].periodic
    assert (places.amax(1) - places.amin(1)).max() < (3 * fold + 1) * 5 * 2


def test_outputs_of_fewer_coordinates_and_a_transform_work_without_known_derivatives():
    domain = Box(t=(0, 1), x=(0, 1))
    field = Splines(domain, "u s(t)", cells=3, degree=3, dtype=torch.float64)
    assert field.known_derivatives(points_in(domain), frozenset({()})) is None
    doubled = Splines(domain, cells=3, degree=3, dtype=torch.float64, output_transform=lambda x, y: 2 * y)
    assert doubled.known_derivatives(points_in(domain), frozenset({()})) is None
    assert partials(doubled, points_in(domain), {(0, 1)})[0, 1].shape == (60, 1)


def test_derivatives_behind_a_transform_are_made_of_those_of_the_splines():
    domain = Box(t=(0, 1), x=(-1, 1))

    def transform(x, y):
        return torch.sin(x[..., 1:]) * x[..., :1] + x[..., :1] * y * (1 + y)

    options = {"cells": (2, 6), "dtype": torch.float64, "output_transform": transform}
    field = Splines(domain, "u v", **options).requires_grad_(False)
    field.coefficients.normal_(generator=torch.Generator().manual_seed(0))
    wanted = {(), (0,), (1, 1), (0, 1), (1, 1, 1)}
    found, nested = (partials(field, points_in(domain), wanted, engine=engine) for engine in ("auto", "nested"))
    assert all(torch.allclose(found[index], nested[index], atol=1e-9) for index in wanted)
    with field.recorded() as kept:
        partials(field, points_in(domain), wanted)
    assert len(kept) == 1 and set(kept[0].values) >= wanted  # in closed form, with what the leaves need


@pytest.mark.parametrize("ends", [(0, 1), periodic(0, 1)])
def test_interpolation_agrees_at_the_abscissae_of_greville(ends):
    domain = Box(t=(0, 2), x=ends)
    field = Splines(domain, "u v", cells=(3, 24), degree=7, dtype=torch.float64).requires_grad_(False)

    def values(points):
        t, x = points.unbind(1)
        return torch.stack([torch.sin(2 * torch.pi * x) * torch.exp(-t), torch.cos(2 * torch.pi * x) * t], 1)

    field.interpolate(values)
    points = domain.grid(7, 41)
    assert torch.allclose(field(points), values(points), atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "a degree from 1 to 9"),
        ({"degree": (3, 3, 3)}, "a degree from 1 to 9, or 2 of them"),
        ({"cells": 0}, "at least 1 cell along x"),
        ({"cells": ((0, 0.5), 3)}, "ends that ascend from 0 to 1"),
        ({"cells": ((0, 0.7, 0.5, 1), 3)}, "ends that ascend from 0 to 1"),
        ({"cells": ((0, 0, 0.5, 1), 3)}, "must occur once"),
        ({"cells": ((0, 0.5, 0.5, 0.5, 1), 3), "degree": 1}, "an end more than 2 times"),
    ],
)
def test_bad_cells_are_refused_in_words(options, message):
    with pytest.raises(InputError, match=message):
        Splines(Box(x=(0, 1), y=(0, 1)), **options)


def test_a_periodic_coordinate_needs_more_cells_than_the_degree():
    with pytest.raises(InputError, match="periodic x need more than 4 cells"):
        Splines(Box(x=periodic(0, 1), y=(0, 1)), cells=4, degree=4)
