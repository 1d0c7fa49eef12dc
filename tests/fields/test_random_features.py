"""Random features: bandwidth, periodicity, and least squares on what is linear."""

import math
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import optim
from nfsolve._core.errors import InputError
from nfsolve.domains import Box, Disk, Sphere, periodic


def test_only_the_last_layer_is_trained_and_starts_at_zero():
    field = nf.RandomFeatures(Box(x=(0, 2), y=(-1, 1)), "u v", width=30, dtype=torch.float64)
    assert {name for name, p in field.named_parameters() if p.requires_grad} == {"last.weight", "last.bias"}
    assert torch.equal(field(torch.rand(5, 2)), torch.zeros(5, 2, dtype=torch.float64))


def test_frequencies_fill_the_box_of_the_scales():
    field = nf.RandomFeatures(Box(t=(0, 1), x=(-1, 1)), width=2000, scale=(3.0, 50.0), dtype=torch.float64)
    largest = field.features.weight.abs().amax(0)
    assert torch.allclose(largest, torch.tensor([3.0, 50.0]).double(), rtol=0.01)
    assert math.isclose(float(field.features.bias.std()), math.pi / math.sqrt(3), rel_tol=0.05)


def test_it_repeats_exactly_along_a_periodic_coordinate():
    field = nf.RandomFeatures(Box(t=(0, 1), x=periodic(-2, 3)), width=40, scale=20.0, dtype=torch.float64)
    torch.nn.init.normal_(field.last.weight)
    points = torch.rand(50, 2, dtype=torch.float64)
    moved = points + torch.tensor([0.0, 5.0])
    assert torch.allclose(field(points), field(moved), atol=1e-10)
    assert not torch.allclose(field(points), field(points + torch.tensor([0.0, 2.0])), atol=1e-2)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, (1.0, 2.0, 3.0)])
def test_a_scale_that_fits_no_coordinate_is_refused(scale):
    with pytest.raises(InputError, match="scale"):
        nf.RandomFeatures(Box(x=(0, 1), y=(0, 1)), scale=scale)


def test_a_linear_equation_is_one_step_to_rounding():
    from problems.pde.poisson import Poisson

    solution = nf.solve(
        Poisson(),
        partial(nf.RandomFeatures, width=300, scale=3.0),
        stages=(nf.Stage(optim.LinearLeastSquares, 5, resample=0),),
        dtype="float64",
        report=None,
    )
    assert solution.metrics["relative_l2"] < 1e-12
    assert solution.metrics["heldout/balance"] < 1e-10
    assert solution.steps <= 4
    assert solution.history[-1]["loss"] < 1e-22


def test_a_nonlinear_equation_takes_a_few_steps():
    from nfsolve import PDE, face, interior

    class Logistic(PDE):
        domain = Box(t=(0, 2))
        unknowns = "u"

        @interior
        def growth(self, u, u_t):
            return u_t - u * (1 - u)

        @face(t=0)
        def start(self, u):
            return u - 0.3

        def exact(self, t):
            return 0.3 * torch.exp(t) / (0.7 + 0.3 * torch.exp(t))

    solution = nf.solve(
        Logistic(n_points=100),
        partial(nf.RandomFeatures, width=40, scale=4.0),
        stages=(nf.Stage(optim.LinearLeastSquares, 20, resample=0),),
        dtype="float64",
        report=None,
    )
    assert solution.metrics["relative_l2"] < 1e-10


HOLE = Box(x=(-1, 1), y=(-1, 2)) - Disk(x=0.2, y=-0.1, radius=0.3)
TIMED = Box(t=(0, 1)) * HOLE


@pytest.mark.parametrize(
    "domain", [HOLE, TIMED, Box(x=(-1, 1), y=(-1, 1), z=(0, 1)) - Sphere(x=0, y=0, z=0.5, radius=0.2)]
)
def test_around_a_hole_features_see_log_r_and_the_direction(domain):
    field = nf.RandomFeatures(domain, width=50, scale=3.0, dtype=torch.float64)
    (view,), (layer,) = field.views, field.around
    (hole,) = domain.holes()
    assert layer.out_features == 25 and field.features.out_features == 25
    points = domain.interior(40, lambda n, d: torch.rand(n, d, dtype=torch.float64))
    seen = view(field.encode(points))
    away = points[:, list(hole.columns)] - torch.tensor(hole.centre, dtype=torch.float64)
    r = away.norm(dim=1, keepdim=True)
    k = len(hole.columns)
    assert torch.allclose(seen[:, :k], away / r)
    assert (seen[:, k] >= -1).all() and (seen[:, k] <= 1).all()
    slope = torch.diff(seen[:, k]) / torch.diff(r[:, 0].log())
    assert torch.allclose(slope, slope[:1].expand_as(slope))


def test_a_potential_around_a_hole_takes_few_features():
    def exact(points):
        away = points - torch.tensor([0.2, -0.1], dtype=torch.float64)
        square = away.square().sum(1, keepdim=True)
        return square.log() + away[:, :1] / square + points[:, 1:]

    chance = torch.Generator().manual_seed(0)
    points = HOLE.interior(1500, lambda n, d: torch.rand(n, d, dtype=torch.float64, generator=chance))
    errors = []
    for share in (0.0, 0.5):
        field = nf.RandomFeatures(HOLE, width=300, scale=4.0, around_holes=share, dtype=torch.float64)
        field.fit(points[:1000], exact(points[:1000]))
        fresh = points[1000:]
        errors.append(float((field(fresh) - exact(fresh)).detach().norm() / exact(fresh).norm()))
    assert errors[1] < 1e-5 < 1e-3 < errors[0]


@pytest.mark.parametrize("wrong", [{"around_holes": 1.0}, {"around_holes": -0.1}, {"scale_around": 0.0}])
def test_settings_of_holes_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="around"):
        nf.RandomFeatures(HOLE, **wrong)


def test_features_of_few_coordinates_depend_on_no_others():
    domain = Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1))
    field = nf.RandomFeatures(domain, width=200, scale=2.0, interactions=2, dtype=torch.float64)
    active = field.features.weight != 0
    assert (active.sum(1) == 2).all() and active.any(0).all()
    assert len({tuple(row.tolist()) for row in active}) == 6
    with pytest.raises(InputError, match="interactions must be from 1 to 4"):
        nf.RandomFeatures(domain, interactions=5)


NOTCHED = Box(x=(-1, 1), y=(-1, 1)) - Box(x=(0, 2), y=(0, 2))


def laplacians(field, points, plane=(0, 1)):
    """Return the Laplacian in a plane of each feature, ``(n, width)``."""

    def features(p):
        return field.hidden(field.encode(p[None]))[0]

    second = torch.func.vmap(torch.func.jacfwd(torch.func.jacfwd(features)))(points)
    return sum(second[..., i, i] for i in plane)


def test_features_at_corners_are_harmonic_and_singular_there():
    field = nf.RandomFeatures(NOTCHED, width=80, at_corners=0.5, dtype=torch.float64)
    points = torch.rand(20, 2, dtype=torch.float64) - 1.1
    assert laplacians(field, points)[:, 40:].abs().max() < 1e-11
    near = torch.tensor([[-1e-9, -1e-9], [-1e-6, -1e-6]], dtype=torch.float64)
    values = field.hidden(field.encode(near))[:, 40:]
    growth = ((values[1] - values[0]).abs() / (values[0].abs() + 1e-30)).log10()
    assert any(abs(float(g) - 1) < 0.05 for g in growth)  # r^(1/3): ten times as large at a thousand times the distance


def test_features_at_corners_are_finite_at_corners_and_beyond():
    field = nf.RandomFeatures(NOTCHED, width=80, at_corners=0.5, corner_products=0.5, dtype=torch.float64)
    places = torch.tensor([corner.place for corner in NOTCHED.sharp_corners()], dtype=torch.float64)
    assert field.hidden(field.encode(places)).isfinite().all()


def test_products_at_corners_are_not_harmonic_and_those_of_time_depend_on_it():
    field = nf.RandomFeatures(NOTCHED, width=80, at_corners=0.5, corner_products=0.5, dtype=torch.float64)
    changed = laplacians(field, torch.rand(20, 2, dtype=torch.float64) - 1.1)[:, 40:].abs().amax(0)
    assert (changed[20:] > 1e-3).all()
    heated = nf.RandomFeatures(Box(t=(0, 1)) * NOTCHED, width=80, at_corners=0.5, dtype=torch.float64)
    points = torch.rand(20, 3, dtype=torch.float64) * torch.tensor([1.0, -1.0, -1.0])
    assert laplacians(heated, points, (1, 2))[:, 40:].abs().max() < 1e-11
    later = points + torch.tensor([0.3, 0.0, 0.0])
    change = heated.hidden(heated.encode(later)) - heated.hidden(heated.encode(points))
    assert (change[:, 40:].abs().amax(0) > 1e-6).all()


def test_a_domain_without_corners_has_no_features_there():
    field = nf.RandomFeatures(Disk(x=0, y=0, radius=1), width=30, at_corners=0.5)
    assert field.corners is None and field.features.weight.shape[0] == 30


@pytest.mark.parametrize(("option", "value"), [("at_corners", 1.0), ("at_corners", -0.1), ("corner_products", 1.5)])
def test_a_share_that_is_none_is_refused(option, value):
    with pytest.raises(InputError, match=option):
        nf.RandomFeatures(NOTCHED, **{option: value})
