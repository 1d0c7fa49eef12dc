"""The cases of the derivative benchmark, and one Adam step of each by every engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve import MLP, Box
from nfsolve.diff import parse, partials
from nfsolve.diff.jets import summands
from scripts import measuring

AXES = "abcdefghij"
DEPTH = {20: 3, 32: 3, 64: 4}


@dataclass(frozen=True)
class Case:
    """A residual, the derivatives that it names, and the ratio to nested reverse mode that is aimed at."""

    coordinates: str
    names: tuple[str, ...]
    residual: Callable[..., Tensor]
    goal: float
    n: int = 2048


def total(columns: Sequence[Tensor]) -> Tensor:
    return sum(columns[1:], columns[0])


CASES = {
    "burgers": Case("tx", ("u", "u_t", "u_x", "u_xx"), lambda u, t, x, xx: t + u * x - 0.0032 * xx, 1.5),
    "poisson_2d": Case("xy", ("lap_u",), lambda laplacian: laplacian + 1, 2.0),
    "poisson_2d_by_name": Case("xy", ("u_xx", "u_yy"), lambda xx, yy: xx + yy + 1, 2.0),
    "kdv": Case("tx", ("u", "u_t", "u_x", "u_xxx"), lambda u, t, x, xxx: t + u * x + 0.022**2 * xxx, 2.0),
    "kuramoto_sivashinsky": Case(
        "tx",
        ("u", "u_t", "u_x", "u_xx", "u_xxxx"),
        lambda u, t, x, xx, xxxx: t + 5 * u * x + 0.5 * xx + 0.005 * xxxx,
        4.0,
    ),
    "laplacian_10d": Case(AXES, ("lap_u",), lambda laplacian: laplacian + 1, 3.0, 512),
    "laplacian_10d_by_name": Case(AXES, tuple(f"u_{a}{a}" for a in AXES), lambda *second: total(second) + 1, 3.0, 512),
    "allen_cahn": Case("tx", ("u", "u_t", "u_xx"), lambda u, t, xx: t - 1e-4 * xx - 5 * u + 5 * u**3, 1.0),
}
NESTED = "nested reverse"  # what the ratios are taken to
ENGINES = (NESTED, "nested forward", "jets", "jets compiled", "auto", "deepxde")


def make_net(case: Case, width: int, dtype: torch.dtype) -> MLP:
    box = Box(**dict.fromkeys(case.coordinates, (-1.0, 1.0)))
    return MLP(box, width=width, depth=DEPTH[width], dtype=dtype, seed=0)


def make_points(case: Case, dtype: torch.dtype) -> Tensor:
    shape = (case.n, len(case.coordinates))
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype) - 1


def by_nested_reverse(case: Case, field: torch.nn.Module, points: Tensor) -> Tensor:
    """Residual by autograd.grad of autograd.grad, as PINN codes write it; shared derivatives are taken once."""
    x = points.detach().requires_grad_()
    gradients: dict[tuple[int, ...], Tensor] = {}
    value = field(x)

    def derivative(along: tuple[int, ...]) -> Tensor:
        if not along:
            return value
        below = along[:-1]
        if below not in gradients:
            gradients[below] = torch.autograd.grad(derivative(below).sum(), x, create_graph=True)[0]
        return gradients[below][:, along[-1] : along[-1] + 1]

    return case.residual(*(total([derivative(part) for part in summands(along)]) for along in indices(case)))


def indices(case: Case) -> list[tuple[int, ...]]:
    return [parse(name, ("u",), tuple(case.coordinates)).along for name in case.names]


def evaluator(case: Case, engine: str, field: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """Return points -> residual by one engine."""
    if engine == NESTED:
        return lambda points: by_nested_reverse(case, field, points)
    along = indices(case)
    how: Any = {"nested forward": "nested"}.get(engine.removesuffix(" compiled"), engine.removesuffix(" compiled"))

    def evaluate(points: Tensor) -> Tensor:
        columns = partials(field, points, along, engine=how)
        return case.residual(*(columns[index] for index in along))

    return torch.compile(evaluate) if engine.endswith("compiled") else evaluate


def make_step(case: Case, engine: str, width: int, dtype: str) -> Callable[[], float]:
    """Return a function that does one Adam step and returns the loss before it (DeepXDE's always the first one)."""
    if engine == "deepxde":
        return make_deepxde_step(case, width, dtype)
    field, points = make_net(case, width, getattr(torch, dtype)), make_points(case, getattr(torch, dtype))
    evaluate = evaluator(case, engine, field)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-5)

    def step() -> float:
        optimizer.zero_grad()
        loss = evaluate(points).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def make_deepxde_step(case: Case, width: int, dtype: str) -> Callable[[], float]:
    """DeepXDE's own training step on the same net, weights and points, without boundary conditions."""
    dde = measuring.import_deepxde(dtype)
    along, d = indices(case), len(case.coordinates)

    def pde(x: Tensor, y: Tensor) -> Tensor:
        def derivative(index: tuple[int, ...]) -> Tensor:
            if len(index) == 0:
                return y
            if len(index) == 1:
                return dde.grad.jacobian(y, x, i=0, j=index[0])
            inner = derivative(index[:-2])
            return dde.grad.hessian(inner, x, i=index[-2], j=index[-1])

        return case.residual(*(total([derivative(part) for part in summands(index)]) for index in along))

    points = make_points(case, getattr(torch, dtype)).numpy()
    data = dde.data.PDE(dde.geometry.Hypercube([-1] * d, [1] * d), pde, [], anchors=points)
    net = dde.nn.FNN([d] + [width] * DEPTH[width] + [1], "tanh", "Glorot normal")
    ours = [m for m in make_net(case, width, getattr(torch, dtype)).body.modules() if isinstance(m, torch.nn.Linear)]
    for theirs, layer in zip(net.linears, ours, strict=True):
        theirs.load_state_dict(layer.state_dict())
    model = dde.Model(data, net)
    model.compile("adam", lr=1e-5, verbose=0)
    inputs = data.train_next_batch()[0]

    def step() -> float:
        model._train_step(inputs, None, None)
        return first

    first = float(model._outputs_losses(True, inputs, None, None)[1].sum())
    return step
