"""Integrals of a solution: fluxes, forces and means, over its domain, a shape, a section or a part of its boundary."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains import Domain
from nfsolve.domains.over import rule_over
from nfsolve.domains.quadrature import Rule
from nfsolve.fields import Field
from nfsolve.problem.pde.conditions import arguments
from nfsolve.problem.pde.evaluate import call, values
from nfsolve.problem.rows import Rows

NODES = {1: 128, 2: 40, 3: 20}  # along each coordinate, by how many are integrated over
FEWER = {1: 8, 2: 8, 3: 6}
MOST = 2**22  # nodes in all
PIECE = 2**15  # nodes whose derivatives are held at once
AGREED = 1e-6  # relative difference of two rules above which a user is warned


def integral_of(
    solution: Any, what: str | Callable[..., Tensor], over: Any, nodes: int | None, at: dict[str, Any]
) -> Any:
    """Integrate over a part of the domain of a solution; arguments as for `Solution.integral`."""
    domain: Any = getattr(solution.problem, "domain", None)
    if not isinstance(domain, Domain) or not hasattr(solution.problem, "conditions"):
        raise InputError(
            f"an integral needs the solution of a PDE on a domain, not of {type(solution.problem).__name__}",
            do="evaluate it by solution.predict(points) and sum the values",
        )
    if hasattr(solution.field, "across"):
        raise InputError(
            "an integral takes the solution of a PDE, but an operator takes input functions too",
            do="call solution.trained(functions, points) and sum the values",
        )
    if nodes is not None and nodes < 1:
        raise InputError(f"nodes must be at least 1, got {nodes}", do="choose a positive number")
    for name in at:
        domain.index(name)
    several = [name for name, value in at.items() if np.ndim(value)]
    ways = itertools.product(*(np.atleast_1d(value).tolist() for value in at.values()))
    found = [_one(solution, domain, what, over, nodes, dict(zip(at, way, strict=True))) for way in ways]
    shape = [len(at[name]) for name in several]
    table = torch.stack(found).cpu().numpy().reshape(*shape, -1)
    if table.shape[-1] == 1:
        table = table[..., 0]
    return table if table.ndim else float(table)


def _one(solution: Any, domain: Domain, what: Any, over: Any, nodes: int | None, at: dict[str, float]) -> Tensor:
    """Integrate at fixed values of some coordinates, ``(k,)``; by a coarser rule too, which tells how many digits."""
    whole = over is None or isinstance(over, Domain) or over in [*domain.regions()]
    dims = max(1, len(domain.names) - len(at) - (not whole))
    n = nodes or NODES.get(dims, max(4, int(1e5 ** (1 / dims))))
    if n**dims > MOST:
        raise InputError(
            f"an integral over {dims} coordinates with {n} nodes along each needs {n**dims:.1e} of them",
            do="give fewer by nodes=, or fix a coordinate, as in t=0.5",
        )
    rule = rule_over(domain, over, n, at)
    found, size = _sum(solution, what, rule)
    other, _ = _sum(solution, what, rule_over(domain, over, max(n - FEWER.get(dims, 2), 1), at))
    gap = float(((found - other).abs() / size.clamp(min=1e-300)).max())
    if gap > AGREED and nodes is None:
        warnings.warn(f"two quadratures differ by {gap:.0e} of the integral: give more nodes=, above {n}", stacklevel=4)
    return found


def _sum(solution: Any, what: str | Callable[..., Tensor], rule: Rule) -> tuple[Tensor, Tensor]:
    """Add up the integrand and its size, each ``(k,)``."""
    problem = solution.problem
    outputs, names, space = problem.outputs, problem.domain.names, problem.domain.space
    wanted = (what,) if isinstance(what, str) else arguments(what)
    like = next(solution.field.parameters())
    dtype = like.real.dtype if like.is_complex() else like.dtype
    dtype = torch.float64 if isinstance(solution.field, Field) else dtype  # which casts them itself
    total = size = torch.zeros(1, dtype=torch.float64)
    pieces = (None if t is None else t.split(PIECE) for t in (rule.points, rule.weights, rule.normals))
    points, weights, normals = pieces
    assert points is not None and weights is not None
    for i, part in enumerate(points):
        normal = None if normals is None else normals[i].to(like.device, dtype)
        rows = Rows(part.to(like.device, dtype), normal)
        if isinstance(what, str):
            column = values(wanted, solution.field, rows, outputs, names, space)[what]
        else:
            column = call(what, solution.field, rows, outputs, names, space)
        column = column.detach().cpu().double()
        if column.ndim != 2 or column.shape[0] != len(part):
            raise InputError(
                f"the integrand must be a column ({len(part)}, k) at {len(part)} points, got {tuple(column.shape)}",
                do="keep columns, as in lambda u, x: x * u",
            )
        total, size = total + (weights[i] * column).sum(0), size + (weights[i] * column.abs()).sum(0)
    return total, size
