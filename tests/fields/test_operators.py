import copy
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

import nfsolve
from nfsolve import fields as nf
from nfsolve._core.errors import InputError
from nfsolve.diff import partials
from nfsolve.domains import Box, periodic
from nfsolve.optim import Adam
from nfsolve.options.options import override
from nfsolve.problem import Recipe, Stage
from nfsolve.problem.names import choose
from problems.operators.antiderivative import Antiderivative
from tests.oracles import derivative

STRIP = Box(t=(0, 2), x=periodic(-1, 1))
WANTED = [(), (0,), (1, 1), (0, 1)]
GATED = {"trunk": "modified", "branch": nf.Modified()}
OPERATORS = {
    "plain": (nf.DeepONet, {}),
    "modified": (nf.DeepONet, GATED),
    "convolution": (nf.DeepONet, {"branch": nf.Convolution(channels=(3, 4), kernel=3, width=5)}),
    "convolution in the plane": (nf.DeepONet, {"branch": nf.Convolution((3, 3), (3,), 3, width=5, depth=2)}),
    "linear": (nf.DeepONet, {"branch": nf.Linear(), "bias": False}),
    "skip": (nf.DeepONet, {"branch": nf.Skip(6, 1)}),
    "two functions": (nf.DeepONet, {"sensors": (9, 4), "branch": (nf.Plain(5, 1), nf.Linear())}),
    "coupled": (nf.ModifiedDeepONet, {}),
    "coupled, two functions": (nf.ModifiedDeepONet, {"sensors": (9, 4)}),
    "shifted": (nf.ShiftDeepONet, {"frames": 3}),
    "shifted, two functions": (nf.ShiftDeepONet, {"sensors": (9, 4), "shift": nf.Plain(4, 1)}),
    "nonlinear": (nf.NonlinearDeepONet, {"features": 4, "trunk": "modified"}),
    "nonlinear, two functions": (nf.NonlinearDeepONet, {"sensors": (9, 4), "features": 3, "decoder": 1}),
    "pod": (nf.PODDeepONet, {}),
    "pod, two functions": (nf.PODDeepONet, {"sensors": (9, 4)}),
    "pca": (nf.PCANet, {}),
    "pca, two functions": (nf.PCANet, {"sensors": (9, 4), "components": 6}),
    "fno": (nf.FNO, {"grid": (8, 6), "shapes": ((9, 1),), "modes": 3, "latent": None}),
    "fno, two functions": (nf.FNO, {"sensors": (9, 4), "grid": (7, 5), "shapes": ((1, 9), (4, 1)), "latent": None}),
    "gathered": (nf.GatheredDeepONet, {"dims": (2,), "counts": (4,)}),
    "gathered, two functions": (nf.GatheredDeepONet, {"sensors": (9, 4), "dims": (2, 0), "counts": (4, 0)}),
    "scattered": (nf.ScatteredOperator, {"slices": 3, "latent": None}),
    "scattered, two functions": (
        nf.ScatteredOperator,
        {"sensors": (9, 4), "dims": (2, 0), "slices": 3, "latent": None},
    ),
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def points(n: int = 4) -> torch.Tensor:
    return STRIP.scale(torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))


def labels(k: int, n: int = 12) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Periodic waves with damping on a grid that leaves out the end of the period."""
    t, x = torch.linspace(0, 2, 9, dtype=torch.float64), -1 + torch.arange(10, dtype=torch.float64) / 5
    c = random(n, 4, k, seed=3)
    waves = torch.stack([torch.cos(math.pi * j * x + 0.3 * j) for j in range(4)])
    decay = torch.stack([torch.exp(-t * j) for j in range(4)])
    return [t, x], torch.einsum("njk,jx,jt->ntxk", c, waves, decay) + 0.7


def build(name: str, outputs: str = "u v", **options) -> nf.Operator:
    make, parts = OPERATORS[name]
    options = {"sensors": 9, "width": 7, "depth": 2, "latent": 5, "dtype": torch.float64, **parts, **options}
    options = {key: value for key, value in options.items() if key != "latent" or value is not None}
    if issubclass(make, nf.PODDeepONet):
        axes, snapshots = labels(len(outputs.split()))
        options = {"axes": axes, "snapshots": snapshots, **options}
    if make is nf.PCANet:
        counts = options["sensors"] if isinstance(options["sensors"], tuple) else (options["sensors"],)
        options["functions"] = [random(12, m, seed=20 + m) for m in counts]
    return make(STRIP, outputs, **options)


def functions(field: nf.Operator, n: int = 3) -> tuple[torch.Tensor, ...]:
    return tuple(random(n, m, seed=i) for i, m in enumerate(field.sensors))


def walls(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[:, :1] * y[:, :1] + torch.sin(x[:, 1:]), y[:, 1:] * y[:, :1]], 1)


def spread(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As `walls`, but for any leading axes."""
    return torch.cat([x[..., :1] * y[..., :1] + torch.sin(x[..., 1:]), y[..., 1:] * y[..., :1]], -1)


spread.broadcasts = True


def flat(field: nf.Operator, f: tuple[torch.Tensor, ...], x: torch.Tensor) -> torch.Tensor:
    """Evaluate every pair in a row of its own, functions first: (B * N, k)."""
    rows = [g.repeat_interleave(len(x), 0) for g in f]
    return field(x.repeat(len(f[0]), 1), *rows)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("transform", [None, walls, spread], ids=["free", "walled", "broadcast"])
def test_grid_columns_and_rows_are_the_same_values(name, transform):
    field, x = build(name, output_transform=transform), points()
    f = functions(field)
    grid, across = field.on_grid(f, x), field.across(f, x)
    assert grid.shape == (3, 4, 2)
    assert across.shape == (4, 6)
    assert torch.allclose(flat(field, f, x), grid.flatten(0, 1), rtol=1e-12, atol=1e-13)
    assert torch.equal(across, grid.permute(1, 0, 2).flatten(1))
    assert torch.allclose(field(x, *(g[:1] for g in f)), grid[0], rtol=1e-12, atol=1e-13)
    assert float((grid[0] - grid[1]).abs().min().detach()) > 0
    own = torch.stack([x * (1 - 0.1 * b) for b in range(3)], 1)
    columns = field.across(f, own).unflatten(1, (3, 2))
    for b in range(3):
        assert torch.allclose(columns[:, b], field(own[:, b], *(g[b : b + 1] for g in f)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("transform", [None, walls, spread], ids=["free", "walled", "broadcast"])
def test_one_jet_gives_the_derivatives_of_all_functions_and_their_gradients(name, transform):
    field, x = build(name, output_transform=transform), points()
    f, parameters = functions(field), list(field.parameters())
    found = partials(partial(field.across, f), x, WANTED, engine="jets")
    flat_x = x.repeat(3, 1).requires_grad_()
    values = field(flat_x, *(g.repeat_interleave(len(x), 0) for g in f))
    for along, value in found.items():
        columns = []
        for k in range(2):
            column = values[:, k]
            for coordinate in along:
                column = torch.autograd.grad(column.sum(), flat_x, create_graph=True)[0][:, coordinate]
            columns.append(column.reshape(3, 4).T)
        expected = torch.stack(columns, -1).flatten(1)
        size = float(1 + expected.abs().max().detach())
        assert torch.allclose(value, expected, rtol=1e-9, atol=1e-10 * size), along
        mine, theirs = (
            torch.autograd.grad(v.square().sum(), parameters, retain_graph=True, materialize_grads=True)
            for v in (value, expected)
        )
        for p, q in zip(mine, theirs, strict=True):
            assert torch.allclose(p, q, rtol=1e-8, atol=1e-10 * float(1 + q.abs().max())), along


@pytest.mark.parametrize(
    "options",
    [
        {"activation": nf.Sine(3.0), "init": nf.WeightScaling(1.5)},
        {"activation": nf.ComplexGabor(3.0, 1.0)},
        {"encoding": nf.GaussianFourier(3, trainable=True)},
        {"encoding": nf.Positional(2), "harmonics": 2},
        {"encoding": nf.FeatureGrid(2, 2, 4, smooth=True, initial=0.5)},
    ],
    ids=["sine", "complex", "fourier", "positional", "grid"],
)
@pytest.mark.parametrize("name", ["plain", "modified", "coupled", "shifted"])
def test_parts_of_the_backbone_are_parts_of_a_trunk(name, options):
    field, x = build(name, "u", **options), points()
    f = functions(field)
    found = partials(partial(field.across, f), x, WANTED, engine="jets")
    for along, value in found.items():
        expected = derivative(partial(field.across, f), x, along)
        assert torch.allclose(value, expected, rtol=1e-8, atol=1e-8 * float(1 + expected.abs().max())), along


@pytest.mark.parametrize("name", OPERATORS)
def test_images_are_periodic_where_the_domain_is(name):
    field, x = build(name), points()
    f, shift = functions(field), torch.tensor([0.0, 2.0], dtype=torch.float64)
    assert torch.allclose(field.on_grid(f, x), field.on_grid(f, x + shift), rtol=0, atol=1e-12)
    assert not torch.allclose(field.on_grid(f, x), field.on_grid(f, x + 0.3 * shift), atol=1e-6)


@pytest.mark.parametrize("name", OPERATORS)
def test_all_linear_layers_are_factorized_and_fold_back(name):
    field, x = build(name), points()
    f, size = functions(field), sum(p.numel() for p in field.parameters())
    before = field.on_grid(f, x).detach()
    rows = sum(m.out_features for m in field.modules() if isinstance(m, torch.nn.Linear))
    nf.factorize(field, nf.RandomWeightFactorization())
    assert torch.allclose(field.on_grid(f, x), before, rtol=0, atol=1e-11)
    assert sum(p.numel() for p in field.parameters()) == size + rows
    assert torch.allclose(nf.fold(copy.deepcopy(field)).on_grid(f, x), before, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", OPERATORS)
def test_seeds_state_dicts_and_configurations_rebuild_an_operator(name):
    field, x, other = build(name), points(), build(name, seed=1)
    f = functions(field)
    options = dict(field.config)
    assert options.pop("call") == type(field).__name__
    assert torch.equal(build(name, **options).on_grid(f, x), field.on_grid(f, x))
    assert not torch.equal(other.on_grid(f, x), field.on_grid(f, x))
    other.load_state_dict(field.state_dict())
    assert torch.equal(other.on_grid(f, x), field.on_grid(f, x))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_parameter_of_an_operator_is_used_and_single_precision_stays_so(name):
    field = build(name, dtype=None)
    value = field.on_grid(functions(field), points())
    assert value.dtype == torch.float32
    assert 0.02 < float(value.detach().square().mean().sqrt()) < 20
    gradients = torch.autograd.grad(value.square().sum(), list(field.parameters()))
    assert all(bool(g.isfinite().all()) and float(g.abs().max()) > 0 for g in gradients)


def test_an_operator_with_a_linear_branch_and_no_bias_is_linear():
    field, x = build("linear"), points()
    f, g = random(2, 9), random(2, 9, seed=1)
    both = field.on_grid(2 * f - 3 * g, x)
    assert torch.allclose(both, 2 * field.on_grid(f, x) - 3 * field.on_grid(g, x), rtol=1e-12, atol=1e-13)


def test_several_functions_enter_by_the_product_of_their_branches():
    field, x = build("two functions"), points()
    f, g = functions(field)
    products = field.branches[0](f) * field.branches[1](g)
    trunk = field.trunk(field.encode(x))
    expected = torch.einsum("bkl,nkl->bnk", products.unflatten(1, (2, 5)), trunk.unflatten(1, (2, 5)))
    assert torch.allclose(field.on_grid((f, g), x), expected, rtol=1e-12)


def test_convolutions_are_those_of_torch():
    field = build("convolution in the plane")
    (f,), (unflatten, filters, *rest) = functions(field), field.branches[0]
    convolution = torch.nn.Conv2d(1, 3, 3, stride=2, padding=1, dtype=torch.float64)
    with torch.no_grad():
        convolution.weight.copy_(filters.linear.weight.view(3, 1, 3, 3))
        convolution.bias.copy_(filters.linear.bias)
    expected = torch.relu(convolution(f.view(3, 1, 3, 3)))
    assert torch.allclose(filters(unflatten(f)), expected, rtol=1e-12)
    assert torch.allclose(field.branch(f), torch.nn.Sequential(*rest)(expected), rtol=1e-12)
    assert [layer.index for layer in rest[1:-1]] == [1, 2]


def test_shifted_trunks_see_points_that_the_function_moves():
    field, x = build("shifted", "u"), points()
    (f,) = functions(field)
    x = x[:3]
    frames = field.shift(f).view(3, 3, 2, 2)  # function, frame, coordinate; stretch by t, then shift
    total = field.bias
    for j in range(3):
        unit = x[:, :1] - 1  # t on [-1, 1]; x has radius 1 and middle 0
        moved = x + frames[:, j, :, 0] * unit + frames[:, j, :, 1]
        total = total + (field.trunk(field.encode(moved)) * field.branches[0](f).view(3, 3, 5)[:, j]).sum(1, True)
    assert torch.allclose(field(x, f), total, rtol=1e-12)


def test_the_coupled_networks_follow_their_formula():
    field, x = build("coupled", "u"), points(3)
    (f,) = functions(field)
    y, h = field.encode(x), f
    u, v = torch.tanh(field.encode_function.linear(f)), torch.tanh(field.encode_point.linear(y))
    for trunk, branch in zip(field.trunk, field.branches, strict=True):
        z, w = torch.tanh(trunk.linear(y)), torch.tanh(branch.linear(h))
        y, h = (1 - z) * u + z * v, (1 - w) * u + w * v
    expected = (field.trunk_last(y) * field.branches_last(h)).sum(1, True) + field.bias
    assert torch.allclose(field(x, f), expected, rtol=1e-12)


def test_pod_modes_span_the_training_labels_and_pass_through_the_grid():
    (t, x), values = labels(2)
    field = build("pod", latent=4)
    grid = torch.cartesian_prod(t, x)
    modes, mean = field.basis(grid)
    assert torch.allclose(mean, values.mean(0).flatten(0, 1), rtol=0, atol=1e-13)
    for k in range(2):
        centred, own = (values - values.mean(0)).flatten(1, 2)[..., k], modes.unflatten(1, (2, 4))[:, k]
        coefficients = torch.linalg.lstsq(own, centred.T).solution
        assert torch.allclose(own @ coefficients, centred.T, rtol=0, atol=1e-10)  # waves of four shapes
        covariance = coefficients @ coefficients.T / (len(values) - 1)
        assert torch.allclose(covariance, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("regression", "bound"), [("affine", 1e-5), ("kernel", 1e-2)])
def test_a_regression_between_principal_components_is_a_field(regression, bound):
    """A linear map with its labels is found before the first step, for functions that are new."""
    (t, x), _ = labels(1)
    grid, chance = torch.cartesian_prod(t, x), random(60, 4, seed=11)
    reads, gives = random(4, 9, seed=12), torch.stack([torch.cos(j * grid.sum(1)) for j in range(4)])
    options = {"axes": [t, x], "snapshots": (chance[:50] @ gives + 1).view(50, 9, 10, 1), "latent": 4, "width": 5}
    given = {"functions": [chance[:50] @ reads], "regression": regression, "dtype": torch.float64}
    field = nf.PCANet(Box(t=(0, 2), x=(-1, 1)), "u", 9, **options, **given)
    truth = chance[50:] @ gives + 1
    found = field.on_grid(chance[50:] @ reads, grid)[..., 0].detach()
    assert float((found - truth).norm() / (truth - 1).norm()) < bound
    kind = "an affine map" if regression == "affine" else "a kernel regression"
    assert f"added to {kind} between 4 and 4 principal components" in field.remarks[0]
    alone = nf.PCANet(Box(t=(0, 2), x=(-1, 1)), "u", 9, **options, **given | {"regression": "none"})
    z = (chance[:50] @ reads - alone.centre) @ alone.directions
    torch.testing.assert_close(z.T @ z / 49, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-9)


def test_functions_of_principal_components_are_those_of_the_labels():
    axes, values = labels(1)
    with pytest.raises(InputError, match=r"functions must be finite values \(12, 9\).*got \(11, 9\)"):
        nf.PCANet(STRIP, "u", 9, axes=axes, snapshots=values, functions=[random(11, 9)], latent=3)
    with pytest.raises(InputError, match="unknown regression 'ridge'"):
        build("pca", regression="ridge")
    with pytest.raises(InputError, match="the kernel regression finds nothing in so few functions"):
        build("pca", regression="kernel")


def test_between_the_points_of_a_grid_modes_are_cubic():
    t = torch.tensor([0.0, 0.3, 0.7, 1.4, 1.7, 2.0], dtype=torch.float64)
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)

    def cubics(p: torch.Tensor) -> torch.Tensor:
        powers = [a**i * b**j for a, b in [p.unbind(-1)] for i in range(4) for j in range(4)]
        return torch.stack(powers, -1) @ random(16, 6, seed=4)

    snapshots = cubics(torch.cartesian_prod(t, x)).T.reshape(6, 6, 5, 1)
    box = Box(t=(0, 2), x=(-1, 1))
    field = nf.PODDeepONet(box, "u", 9, axes=[t, x], snapshots=snapshots, latent=5, dtype=torch.float64)
    p = box.scale(torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(field.basis(p)[1], cubics(p).mean(1, True), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        nf.ModifiedDeepONet,
        nf.ShiftDeepONet,
        nf.NonlinearDeepONet,
        partial(nf.PODDeepONet, latent=1),
        partial(nf.PCANet, latent=1, regression="affine"),
    ],
)
def test_a_saved_operator_is_loaded_as_it_was(make, tmp_path):
    problem = Antiderivative(n_functions=8, n_tests=3, batch=4, n_points=6, sensors=12, data=True)
    small = partial(make, width=4, depth=1)
    solution = nfsolve.solve(problem, small, steps=2, out=tmp_path / "run", report=None)
    f, x = random(2, 12).float(), random(5, 1).float()
    assert torch.equal(nfsolve.load(tmp_path / "run").field.on_grid(f, x), solution.field.on_grid(f, x))


def test_words_of_the_command_line():
    for word, found in {"cnn": nf.Convolution, "linear": nf.Linear, "plain": nf.Plain, "skip": nf.Skip}.items():
        assert choose("field.branch", word) is found
    for word, found in {
        "pod_deeponet": nf.PODDeepONet,
        "pca_net": nf.PCANet,
        "shift-deeponet": nf.ShiftDeepONet,
        "modified_deeponet": nf.ModifiedDeepONet,
        "nonlinear_deeponet": nf.NonlinearDeepONet,
        "fno": nf.FNO,
        "attention": nf.ScatteredOperator,
    }.items():
        assert choose("field", word) is found


def test_a_class_is_chosen_in_place_of_one_that_inherits_from_it():
    field = partial(nf.DeepONet, branch=nf.Modified(width=5), activation=nf.RealGabor())
    recipe = Recipe(field, (Stage(Adam, 1),))
    chosen = override(recipe, {"field.branch": "plain", "field.activation": "gabor"}).field.keywords
    assert type(chosen["branch"]) is nf.Plain
    assert type(chosen["activation"]) is nf.Gabor
    kept = override(recipe, {"field.branch": "modified"}).field.keywords
    assert kept["branch"] == nf.Modified(width=5)


def test_mistakes_in_operators_are_worded():
    x, two = points(), build("two functions")
    f, g = functions(two)
    with pytest.raises(InputError, match=r"built for 2 input functions, got 1"):
        two(x, f)
    with pytest.raises(InputError, match=r"Sensor values must have shape \(n, 4\).*got \(3, 9\)"):
        two.on_grid((f, f), x)
    with pytest.raises(InputError, match=r"Input functions must have equally many rows, got 3, 2"):
        two.across((f, g[:2]), x)
    with pytest.raises(InputError, match=r"one function for each of 4 points, or one for all, got 2"):
        two(x, f[:2], g[:2])
    with pytest.raises(InputError, match=r"one branch for each of 2 input functions, or one for all, got 3"):
        build("two functions", branch=(nf.Linear(),) * 3)
    with pytest.raises(InputError, match=r"unknown trunk 'modifed'.*modified"):
        build("plain", trunk="modifed")
    with pytest.raises(InputError, match=r"DeepONet needs sensors to be .*, got 0"):
        build("plain", sensors=(9, 0))
    with pytest.raises(InputError, match=r"ShiftDeepONet needs frames to be .*, got 0"):
        build("shifted", frames=0)
    with pytest.raises(InputError, match=r"DeepONet takes input functions besides points"):
        two.network(x)


def test_mistakes_in_branches_are_worded():
    with pytest.raises(InputError, match=r"as many points as there are sensors, got \(4, 4\) for 9"):
        build("plain", branch=nf.Convolution((4, 4)))
    with pytest.raises(InputError, match="odd kernel"):
        nf.Convolution(kernel=4)
    with pytest.raises(InputError, match="one or two axes"):
        nf.Convolution((2, 2, 2))
    with pytest.raises(InputError, match="a real activation of one linear map"):
        nf.Convolution(activation=nf.ComplexGabor())
    with pytest.raises(InputError, match=r"Modified needs depth to be .*, got 0"):
        nf.Modified(depth=0)


def test_labels_of_few_modes_have_as_many_as_there_are():
    axes, values = labels(2)
    made = nf.PODDeepONet(STRIP, "u v", 9, axes=axes, snapshots=values)
    assert made.config["latent"] == 4  # waves of four shapes
    some = torch.rand(values[:3].shape, dtype=torch.float64)
    few = nf.PCANet(STRIP, "u v", 9, axes=axes, snapshots=some, functions=[torch.rand(3, 9)])
    assert few.config["latent"] == 2
    assert few(torch.rand(7, 2), torch.rand(7, 9)).isfinite().all()


def test_mistakes_in_labels_are_worded():
    axes, values = labels(2)
    pod = partial(nf.PODDeepONet, STRIP, "u v", 9)
    with pytest.raises(InputError, match=r"functions, \*points along t, x, 2\), got \(12, 9, 10, 1\)"):
        pod(axes=axes, snapshots=values[..., :1])
    with pytest.raises(
        InputError, match=r"latent must be at most 11, as there are 12 training functions on 99 points, got 12"
    ):
        pod(axes=axes, snapshots=values, latent=12)
    with pytest.raises(InputError, match="NaN or infinite"):
        pod(axes=axes, snapshots=values / 0, latent=3)
    with pytest.raises(InputError, match="at least 2 points along t, in ascending order"):
        pod(axes=[axes[0].flip(0), axes[1]], snapshots=values, latent=3)
    with pytest.raises(
        InputError, match="PODDeepONet takes its modes from training labels, and SimpleNamespace has none"
    ):
        nf.PODDeepONet.for_problem(SimpleNamespace(domain=STRIP, unknowns="u"))


def test_a_skip_branch_is_a_linear_map_plus_a_network():
    [branch] = build("skip").branches
    f = random(3, 9)
    hidden = branch.hidden(f)
    linear, bias = branch.last.weight[:, hidden.shape[1] :], branch.last.bias
    assert hidden.shape == (3, 6) and linear.shape == (10, 9)
    assert torch.allclose(branch(f), hidden @ branch.last.weight[:, :6].T + f @ linear.T + bias)
