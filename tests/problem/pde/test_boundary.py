import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from nfsolve import (
    MLP,
    PDE,
    Box,
    Disk,
    PointCloud,
    Polygon,
    Unknown,
    boundary,
    face,
    interior,
    paired,
    periodic,
    solve,
)
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.optim import GaussNewton
from nfsolve.plot.solution import picture
from nfsolve.problem import SamplerState

RING = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5).named("hole")


def drawn(problem: PDE, seed: int = 0):
    return problem.sample(problem.load("cpu", torch.float64), SamplerState(), generator(seed, "points"))


def largest(problem: PDE, exact=None) -> dict[str, float]:
    residuals = problem.residuals(exact or problem.exact, drawn(problem))
    return {name: float(r.abs().max()) for name, r in residuals.items()}


@dataclass
class Ring(PDE):
    """Laplace's equation, u = log r, with Dirichlet, Neumann and Robin conditions on parts of a ring."""

    domain = RING
    n_face: int = 60

    @interior(points=100)
    def laplace(self, u_xx, u_yy):
        return u_xx + u_yy

    @boundary(part="hole", points=31)
    def inner(self, u):
        return u - math.log(0.5)

    @boundary(where=lambda x, n_x: (x > 0) & (n_x > 0))
    def flux(self, u_x, u_y, n_x, n_y):  # du/dn = 1/r on the rim
        return u_x * n_x + u_y * n_y - 1

    @boundary(where="on_the_left", weight=2.0)
    def robin(self, u, u_x, u_y, n_x, n_y):  # u + 3 du/dn = 3 where r = 1
        return u + 3 * (u_x * n_x + u_y * n_y) - 3

    @boundary
    def whole(self, u, x, y):
        return u - 0.5 * torch.log(x**2 + y**2)

    def on_the_left(self, x, y):
        return (x < 0) & (x**2 + y**2 > 0.9)

    def exact(self, x, y):
        return 0.5 * torch.log(x**2 + y**2)


def test_dirichlet_neumann_and_robin_hold_for_the_exact_solution():
    problem = Ring()
    assert max(largest(problem).values()) < 1e-12
    assert problem.weights() == {"laplace": 1.0, "inner": 1.0, "flux": 1.0, "robin": 2.0, "whole": 1.0}
    # and not for another one: u + x changes every condition
    wrong = largest(problem, lambda x, y: problem.exact(x, y) + x + x**2)
    assert min(wrong.values()) > 0.1


def test_conditions_are_drawn_where_they_hold():
    batch = drawn(Ring())
    assert {name: len(rows.points) for name, rows in batch.items()} == {
        "laplace": 100,
        "inner": 31,
        "flux": 60,
        "robin": 60,
        "whole": 60,
    }
    inner, outer = batch["inner"], batch["robin"]
    assert torch.allclose(inner.normals, -2 * inner.points)
    assert torch.allclose(outer.normals, outer.points)
    assert (outer.points[:, 0] < 0).all()
    assert (batch["flux"].points[:, 0] > 0).all()
    whole = torch.linalg.vector_norm(batch["whole"].points, dim=1)
    assert 15 < int((whole < 0.75).sum()) < 25  # a third of the boundary's length is the hole's


def test_the_score_counts_the_points_inside_only():
    problem = Ring()
    data = problem.load("cpu", torch.float64)
    known = data["reference"]
    assert problem.domain.contains(known.points).all()
    assert int(known.inside.sum()) == len(known.points) < math.prod(known.sizes)
    assert len(known.points) / math.prod(known.sizes) == pytest.approx(0.75 * math.pi / 4, abs=0.02)
    assert problem.metrics(problem.exact, data)["relative_l2"] == 0
    assert problem.metrics(lambda x, y: 1.5 * problem.exact(x, y), data)["relative_l2"] == pytest.approx(0.5)


def test_a_reference_may_hold_nan_outside_the_domain(tmp_path, monkeypatch):
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))

    @dataclass
    class Half(PDE):
        domain = Polygon([(0, 0), (1, 0), (0, 1)])
        reference = "half"

        @interior
        def flat(self, u_x):
            return u_x

    axis = np.linspace(0, 1, 11)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    u = np.where(x + y < 1.0001, x, np.nan)
    np.savez(tmp_path / "half.npz", x=axis, y=axis, u=u, error=1e-9)
    problem = Half()
    data = problem.load("cpu", torch.float64)
    assert len(data["reference"].points) == 66
    assert problem.metrics(lambda x, y: x, data)["relative_l2"] == 0
    u[2, 2] = np.nan  # inside, where the reference does not know the solution
    np.savez(tmp_path / "half.npz", x=axis, y=axis, u=u, error=1e-9)
    assert len(problem.load("cpu", torch.float64)["reference"].points) == 65


@dataclass
class Warming(PDE):
    """Heat on a disk through time, u = t (x^2 + y^2), with a start and a flux."""

    domain = Box(t=(0, 1)) * Disk(x=0, y=0, radius=2)

    @interior(points=50)
    def heat(self, u_t, u_xx, u_yy, t, x, y):
        return u_t - u_xx - u_yy - (x**2 + y**2 - 4 * t)

    @face(t=0, points=40)
    def start(self, u, n_t):
        return u * n_t

    @boundary(part="rim", points=40)
    def flux(self, u_x, u_y, n_x, n_y, n_t, t):
        return u_x * n_x + u_y * n_y - 4 * t + n_t

    def exact(self, t, x, y):
        return t * (x**2 + y**2)


def test_a_disk_through_time():
    problem = Warming()
    assert max(largest(problem).values()) < 1e-12
    batch = drawn(problem)
    start = batch["start"].points
    assert (start[:, 0] == 0).all()
    assert problem.domain.contains(start).all()
    assert (batch["start"].normals == torch.tensor([-1.0, 0.0, 0.0])).all()


@dataclass
class Ends(PDE):
    """u = exp(a x) with an unknown rate in the equation, at the boundary and at the start."""

    rate: Unknown = Unknown(1.0, positive=True)  # noqa: RUF009  # frozen

    domain = Box(x=(0, 1))

    @interior(points=20)
    def growth(self, u, u_x):
        return u_x - 0.7 * u

    @face(x=0, points=4)
    def left(self, u):
        return u - 1

    @boundary(part="x=1", points=4)
    def right(self, u, u_x, n_x):  # fixes the rate
        return self.rate * u - u_x * n_x


def test_unknown_scalars_in_boundary_conditions_are_found():
    field = partial(MLP, width=8, depth=1)
    solution = solve(Ends(), field, GaussNewton, steps=15, dtype="float64", log_every=15)
    assert solution.metrics["unknown/rate"] == pytest.approx(0.7, rel=1e-3)


@dataclass
class Around(PDE):
    """Advection around a ring, periodic softly: values and slopes at both ends agree."""

    domain = Box(t=(0, 1), x=(-1, 1))

    @interior(points=30)
    def advection(self, u_t, u_x):
        return u_t + u_x

    @paired(x=(-1, 1), points=25)
    def ends(self, u_low, u_high, u_x_low, u_x_high, x_low, x_high, t, t_high):
        return torch.cat([u_high - u_low, u_x_high - u_x_low, x_high - x_low - 2, t - t_high], -1)

    def exact(self, t, x):
        return torch.sin(math.pi * (x - t))


def test_soft_periodic_conditions_compare_both_ends():
    problem = Around()
    assert max(largest(problem).values()) < 1e-12
    rows = drawn(problem)["ends"]
    assert rows.points.shape == (25, 2)
    assert (rows.points[:, 1] == -1).all() and (rows.partners[:, 1] == 1).all()
    residual = problem.residuals(lambda t, x: t * x + x**2, {"ends": rows})["ends"]
    assert torch.allclose(residual[:, :1], 2 * rows.points[:, :1])
    assert torch.allclose(residual[:, 1], torch.full((25,), 4.0, dtype=torch.float64))


def test_matched_pairs_have_the_right_jacobian():
    from nfsolve.problem import Objective

    problem = Around()
    field = MLP.for_problem(problem, width=5, depth=2, dtype=torch.float64)
    objective = Objective(problem, field, problem.load("cpu", torch.float64), generator(0, "points"))
    theta = torch.cat([p.detach().reshape(-1) for p in objective.parameters])
    r, fast = objective.jacobian(theta)
    slow = torch.func.jacrev(objective.stacked)(theta)
    assert torch.allclose(fast, slow, atol=1e-12)
    assert torch.allclose(r, objective.stacked(theta))


@dataclass
class DiskPoisson(PDE):
    """-(u_xx + u_yy) = 4 on the unit disk, u = 1 - r^2, with its flux on the left half of the rim."""

    domain = Disk(x=0, y=0, radius=1)

    @interior(points=100)
    def balance(self, u_xx, u_yy):
        return u_xx + u_yy + 4

    @boundary(points=40, where=lambda x: x > 0)
    def wall(self, u):
        return u

    @boundary(points=40, where=lambda x: x < 0)
    def flux(self, u_x, u_y, n_x, n_y):
        return u_x * n_x + u_y * n_y + 2

    def exact(self, x, y):
        return 1 - x**2 - y**2


def test_poisson_on_a_disk_is_solved():
    solution = solve(
        DiskPoisson(), partial(MLP, width=10, depth=2), GaussNewton, steps=30, dtype="float64", log_every=30
    )
    assert solution.metrics["relative_l2"] < 1e-4
    figure = picture(solution)
    assert figure is not None
    shown = figure.axes[0].images[0].get_array()
    assert np.isnan(np.ma.filled(shown.astype(float), np.nan)).mean() == pytest.approx(1 - math.pi / 4, abs=0.02)


@pytest.mark.parametrize("adaptive", ["rad", "rar_d", "r3"])
def test_adaptive_points_stay_in_the_domain(adaptive):
    problem = DiskPoisson(adaptive=adaptive)
    field = MLP.for_problem(problem, width=4, depth=1, dtype=torch.float64)
    data, chance = problem.load("cpu", torch.float64), generator(0, "points")
    before = problem.sample(data, SamplerState(), chance)
    points = problem.sample(data, SamplerState(before, field), chance)["balance"].points
    assert problem.domain.contains(points).all()
    assert not torch.equal(points[-1], before["balance"].points[-1])


def on(domain, mark, **more):
    """A problem with one condition."""

    def wall(self, u):
        return u

    body = {"domain": domain, "wall": mark(wall), **more}
    return dataclass(type("Given", (PDE,), body))()


@pytest.mark.parametrize(
    ("domain", "mark", "message"),
    [
        (RING, boundary(where=lambda x: x > 3), "boundary condition 'wall' selects nothing.*Check `where`"),
        (RING, boundary(part="rims"), "unknown boundary part 'rims': did you mean 'rim'.*boundary condition 'wall'"),
        (RING, boundary(where="insde"), "unknown method 'insde'.*In where= of 'wall'"),
        (RING, boundary(where=lambda z: z > 0), "unknown argument 'z'"),
        (RING, boundary(where=lambda x: x), r"got torch.float64 of shape \(200, 1\)"),
        (RING, boundary(where=3), "where= of 'wall' must be a function of coordinates.*got 3"),
        (RING, face(x=3), r"A face must lie in -1 <= x <= 1, got x = 3"),
        (PointCloud([[0, 0], [1, 1]]), boundary, "boundary condition 'wall' holds .*PointCloud.*which has no boundary"),
        (Box(x=periodic(0, 1)), face(x=0), "x is periodic"),
        (Box(x=periodic(0, 1)), paired(x=(0, 1)), "periodic coordinate x, so 'wall' cannot be @paired"),
        (Box(x=(0, 1)), paired(x=(0, 2)), r"of 'wall' must lie in 0 <= x <= 1"),
        (Polygon([(0, 0), (1, 0), (0, 1)]), paired(x=(0, 0.5)), "partners of 'wall' at x = 0.5 are outside Polygon"),
    ],
)
def test_conditions_that_do_not_fit_the_domain_are_worded(domain, mark, message):
    with pytest.raises(InputError, match=message):
        drawn(on(domain, mark))


def test_two_conditions_of_one_name_are_worded():
    with pytest.raises(InputError, match=r"two conditions named 'wall' in .*Twice.*Rename one"):

        class Twice(PDE):
            domain = Box(x=(0, 1))

            @face(x=0)
            def wall(self, u):
                return u

            @face(x=1)
            def wall(self, u):  # noqa: F811
                return u - 1

    class Base(PDE):
        domain = Box(x=(0, 1))

        @boundary
        def wall(self, u):
            return u

    class Other(Base):  # overriding an inherited condition is meant
        @boundary
        def wall(self, u):
            return u - 1

    assert list(Other().conditions()) == ["wall"]


def test_bad_marks_are_worded():
    for wrong in ({}, {"x": 1}, {"x": (0, 0)}, {"x": (0, 1), "y": (0, 1)}):
        with pytest.raises(InputError, match="needs one coordinate and two different values"):
            paired(**wrong)
    with pytest.raises(InputError, match="weight of condition 'wall' must be a number that is not negative, got -1"):
        on(RING, boundary(weight=-1))
    with pytest.raises(InputError, match="points of condition 'wall' must be a whole number of at least 1, got 0"):
        on(RING, boundary(points=0))


def test_a_point_cloud_carries_a_problem():
    inside = RING.interior(60, lambda n, d: torch.rand(n, d, generator=generator(0, "a"), dtype=torch.float64))
    angle = torch.linspace(0, 6, 20, dtype=torch.float64)
    rim = torch.stack([angle.cos(), angle.sin()], 1)

    @dataclass
    class Cloud(Ring):
        domain = PointCloud(inside, boundary=rim, normals=rim)
        inner = flux = None

    problem = Cloud()
    assert max(largest(problem).values()) < 1e-12
    data = problem.load("cpu", torch.float64)
    assert not data["reference"].sizes
    assert problem.metrics(problem.exact, data)["relative_l2"] == 0
    Cloud.domain = PointCloud(inside, boundary=rim)
    with pytest.raises(InputError, match="'robin' asks for 'n_x', but PointCloud.* has no normals"):
        drawn(Cloud())
