import dataclasses
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nfsolve
from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.domains import Box
from nfsolve.fields.grids import PRIMES, SLACK, GridEncoder
from nfsolve.options.request import read_request
from problems.signals.image import ImageFit
from tests.oracles import derivative

SQUARE = Box(x=(-1, 1), y=(-1, 1))
KINDS = {
    "dense": nf.FeatureGrid(2, 3, 5, initial=1.0),
    "hashed": nf.FeatureGrid(2, 3, 9, hash_size=2, initial=1.0),
    "smooth": nf.FeatureGrid(2, 2, 4, smooth=True, initial=1.0),
    "smooth hashed": nf.FeatureGrid(2, 3, 9, features=3, hash_size=3, smooth=True, initial=1.0),
}


def build(grid: nf.FeatureGrid, d: int = 2, seed: int = 0) -> GridEncoder:
    module = grid.build(("x", "y", "z", "t", "s")[:d], torch.Generator().manual_seed(seed))
    assert isinstance(module, GridEncoder)
    return module


def points(n: int = 6, d: int = 2) -> torch.Tensor:
    return 2 * torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1


def level_values(module: GridEncoder) -> list[torch.Tensor]:
    """For each level its values, (features, size)."""
    parts = module.table.detach().split([size * module.features for size in module.sizes])
    return [part.reshape(module.features, -1) for part in parts]


def slow(module: GridEncoder, x: torch.Tensor) -> torch.Tensor:
    """Interpolate point by point and corner by corner."""
    rows = []
    for point in x.tolist():
        row = []
        for resolution, values in zip(module.resolutions, level_values(module), strict=True):
            size, side = values.shape[1], resolution + module.smooth
            position = [(c + 1) / 2 * (resolution - 1) + 0.5 * module.smooth for c in point]
            cell = [min(int(p), side - 2) for p in position]
            fraction = [p - c for p, c in zip(position, cell, strict=True)]
            if module.smooth:
                fraction = [3 * w**2 - 2 * w**3 for w in fraction]
            total = torch.zeros(module.features, dtype=values.dtype)
            for corner in itertools.product((0, 1), repeat=len(point)):
                index, weight = 0, 1.0
                for axis, up in enumerate(corner):
                    weight *= fraction[axis] if up else 1 - fraction[axis]
                    here = cell[axis] + up
                    index = index + here * side**axis if side ** len(point) <= size else index ^ (here * PRIMES[axis])
                total += weight * values[:, index % size]
            row.append(total)
        rows.append(torch.cat(row))
    return torch.stack(rows)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_a_slow_loop_over_corners(kind, d):
    module = build(KINDS[kind], d)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=d)), dtype=torch.float64)
    x = torch.cat([points(5, d), corners])
    features = module(x)
    assert features.shape == (len(x), module.out_features)
    assert torch.allclose(features, slow(module, x), rtol=0, atol=1e-13)
    assert torch.equal(module(x.reshape(1, *x.shape)), features[None])
    single = build(KINDS[kind], d).float()(x.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), features, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_a_dense_grid_is_what_grid_sample_gives(d):
    module = build(nf.FeatureGrid(3, 2, 6, features=4), d)
    x = points(20, d)
    expected = []
    for resolution, values in zip(module.resolutions, level_values(module), strict=True):
        image = values.reshape(1, module.features, *[resolution] * d)
        sampled = F.grid_sample(image, x.reshape(1, 20, *[1] * (d - 1), d), align_corners=True)
        expected.append(sampled.reshape(module.features, 20).T)
    assert torch.allclose(module(x), torch.cat(expected, 1), rtol=0, atol=1e-15)


def test_a_grid_on_a_line_is_what_numpy_interpolates():
    module = build(nf.FeatureGrid(1, 2, 7, features=1), 1)
    x = points(30, 1)
    expected = np.interp(x[:, 0], np.linspace(-1, 1, 7), module.table.detach())
    assert np.allclose(module(x)[:, 0].detach(), expected, rtol=0, atol=1e-16)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_multilinear_functions_are_reproduced(d):
    def function(x):
        return (0.3 + x * torch.arange(1.0, d + 1, dtype=x.dtype)).prod(-1)

    module = build(nf.FeatureGrid(1, 2, 4, features=1), d)
    axis = torch.linspace(-1, 1, 4, dtype=torch.float64)
    nodes = torch.stack(torch.meshgrid(*[axis] * d, indexing="ij")[::-1], -1)  # the first coordinate varies fastest
    with torch.no_grad():
        module.table.copy_(function(nodes).flatten())
    assert torch.allclose(module(points(20, d))[:, 0], function(points(20, d)), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_first_and_second_derivatives_by_points_and_values(kind):
    module = build(dataclasses.replace(KINDS[kind], features=1)).requires_grad_(False)
    x = points(2).requires_grad_()  # not at nodes, where differences would see two cells
    table = module.table.detach().clone().requires_grad_()

    def function(x, table):
        return torch.func.functional_call(module, {"table": table}, (x,))

    assert torch.autograd.gradcheck(function, (x, table))
    assert torch.autograd.gradgradcheck(function, (x, table))


@pytest.mark.parametrize("smooth", [False, True])
def test_slopes_are_continuous_where_weights_are_smooth(smooth):
    module = build(nf.FeatureGrid(1, 5, 5, smooth=smooth, initial=1.0), 1)
    nodes = torch.linspace(-1, 1, 5, dtype=torch.float64)[1:-1, None] + 0.25 * smooth
    left, right = (derivative(module, nodes + step, (0,)) for step in (-1e-9, 1e-9))
    assert torch.allclose(left, right, atol=1e-6) == smooth
    # and at the border they are not zero, as those of a smoothstep at a node are
    border = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert float(derivative(module, border, (0,)).abs().min()) > 1e-3


def test_outside_of_the_domain_the_features_are_those_of_its_border():
    field = nf.MLP(SQUARE, width=6, encoding=KINDS["dense"], dtype=torch.float64)
    x = torch.tensor([[1.5, 0.3], [-7.0, 2.0], [0.1, -1.2]], dtype=torch.float64)
    edge = x.clamp(-1 - SLACK, 1 + SLACK)
    assert torch.equal(field(x), field(edge))
    assert torch.allclose(field(x), field(x.clamp(-1, 1)), rtol=0, atol=1e-3)
    assert float(derivative(field, x[1:2], (1,)).abs().max()) == 0


def test_points_of_the_border_have_derivatives_in_spite_of_rounding():
    field = nf.MLP(Box(x=(0.1, 0.7)), width=6, encoding=KINDS["dense"])
    above = torch.tensor([[0.7]])
    for _ in range(3):  # rounded upwards
        above = torch.nextafter(above, torch.tensor(1.0))
    assert float(field.coordinates(above)) > 1
    inside = torch.tensor([[0.69]])
    assert torch.allclose(derivative(field, above, (0,)), derivative(field, inside, (0,)), rtol=0.2)


def test_sizes_and_resolutions():
    assert nf.FeatureGrid(5, 4, 64).resolutions() == [4, 8, 16, 32, 64]
    assert nf.FeatureGrid(1, 4, 64).resolutions() == [64]
    assert nf.FeatureGrid(16, 16, 512).resolutions()[:4] == [16, 20, 25, 32]
    assert build(nf.FeatureGrid(3, 4, 16, hash_size=6)).sizes == (16, 64, 64)
    assert build(nf.FeatureGrid(3, 4, 16, hash_size=None, smooth=True)).sizes == (25, 81, 289)
    module = build(nf.FeatureGrid(3, 4, 16, features=5, hash_size=6), 3)
    assert module.out_features == 15
    assert [p.shape for p in module.parameters()] == [(3 * 64 * 5,)]


def test_hashed_indices_fill_the_table_and_neighbours_rarely_meet():
    module = build(nf.FeatureGrid(1, 64, 64, hash_size=10), 3)
    index, weights = module.locate(points(4000, 3).unbind(-1), 64, 1024)
    assert index.shape == (2, 2, 2, 4000) and len(weights) == 3
    assert int(index.min()) >= 0 and int(index.max()) < 1024
    assert torch.equal(index, module.locate(points(4000, 3).unbind(-1), 64, 1024)[0])
    counts = torch.bincount(index.flatten(), minlength=1024)
    assert int(counts.min()) > 0 and float(counts.max()) < 3 * float(counts.double().mean())
    cells = index.reshape(8, -1).sort(0).values
    assert float((cells.diff(dim=0) == 0).double().mean()) < 0.02


def test_values_are_drawn_from_the_seed_in_their_interval():
    table = build(nf.FeatureGrid()).table.detach()
    assert 0.99e-4 < float(table.abs().max()) <= 1e-4
    assert torch.equal(table, build(nf.FeatureGrid()).table)
    assert not torch.equal(table, build(nf.FeatureGrid(), seed=1).table)
    assert float(build(nf.FeatureGrid(initial=0.5)).table.detach().abs().max()) > 0.49


@pytest.mark.parametrize("init", [nf.weight_scaling(2.0), nf.weight_scaling("auto", 32), nf.Siren(), nf.Glorot()])
def test_initialisations_of_layers_leave_the_values_alone(init):
    fields = [nf.MLP(SQUARE, activation=nf.Sine(30.0), encoding=KINDS["dense"], init=i, width=6) for i in (init, None)]
    tables = [field.encoding.get_parameter("table") for field in fields]
    assert torch.equal(*tables)
    assert bool(fields[0](points()).isfinite().all())


def test_a_step_image_is_learned_in_few_steps():
    x = SQUARE.grid(16, 16).float()
    target = (x.prod(1, keepdim=True) > 0).float()
    field = nf.preset("grid", width=16, depth=1, encoding=nf.FeatureGrid(2, 4, 16))(SQUARE)
    optimizer = torch.optim.Adam(field.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        (field(x) - target).square().mean().backward()
        optimizer.step()
    assert float((field(x) - target).detach().square().mean()) < 1e-3


def test_the_command_line_chooses_a_grid_and_a_run_is_loaded_again(tmp_path):
    words = "--size 32 --field.encoding grid --field.encoding.levels 2 --field.encoding.hash_size 5 --steps 2"
    request = read_request(ImageFit, words.split(), "test")
    assert request.options["field"].keywords["encoding"] == nf.FeatureGrid(2, hash_size=5)
    solution = nfsolve.solve(request.problem, **request.options, out=tmp_path / "run", report=None)
    x = points().float()
    assert torch.equal(nfsolve.load(tmp_path / "run")(x), solution.field(x))


def test_mistakes_are_worded():
    for option in ("levels", "coarsest", "finest", "features", "hash_size"):
        with pytest.raises(InputError, match=f"FeatureGrid needs {option} to be .*, got 0"):
            nf.FeatureGrid(**{option: 0})
    with pytest.raises(InputError, match=r"at least 2 points along an axis.*coarsest = 1, finest = 256"):
        nf.FeatureGrid(coarsest=1)
    with pytest.raises(InputError, match=r"no fewer than in the coarsest.*coarsest = 32, finest = 16"):
        nf.FeatureGrid(coarsest=32, finest=16)
    with pytest.raises(InputError, match=r"logarithm.*got 524288.*hash_size=19"):
        nf.FeatureGrid(hash_size=2**19)
    with pytest.raises(InputError, match=r"FeatureGrid needs initial to be .*, got 0"):
        nf.FeatureGrid(initial=0)
    with pytest.raises(
        InputError, match=r"FeatureGrid reads at most 4 features.*got 5 \(x, y, z, t, s\).*GaussianFourier"
    ):
        build(nf.FeatureGrid(), 5)
