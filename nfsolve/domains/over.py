"""Quadrature over what a user calls a part of a domain: a region, a side, an interface, a shape or a section."""

from typing import Any

import numpy as np
import torch

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain
from nfsolve.domains.quadrature import Rule


def rule_over(domain: Domain, over: Any, n: int, at: dict[str, float]) -> Rule:
    """Return the quadrature over a part of a domain.

    Args:
        domain: The domain.
        over: None, a named part of a union, a part of the boundary or ``"boundary"``, two named parts for their
            interface, a shape, or a section.
        n: Nodes along each coordinate.
        at: Coordinate -> value at which it stays.

    Returns:
        The rule.

    Raises:
        InputError: There is no such part.
    """
    if isinstance(over, str) and over in domain.regions():
        return domain.regions()[over].quadrature(n, at)
    if isinstance(over, tuple | list) and len(over) == 2:
        return domain.interface_quadrature(n, over[0], over[1], at)
    if isinstance(over, str):
        return domain.boundary_quadrature(n, () if over == "boundary" else over, at)
    if isinstance(over, dict):
        for name, value in over.items():
            if not isinstance(value, int | float | np.number):
                raise InputError(
                    f"a section is at one value of each coordinate that it names, got {name}={value!r}",
                    do=f"for a part of the domain write over=Box({name}=(0, 1)), with all coordinates of space",
                )
        rule = domain.quadrature(n, over | at)
        if len(over) != 1:
            return rule
        normals = torch.zeros_like(rule.points)
        normals[:, domain.index(next(iter(over)))] = 1.0
        return Rule(rule.points, rule.weights, normals)
    if over is None:
        return domain.quadrature(n, at)
    if not isinstance(over, Domain) or not set(over.names) <= set(domain.names):
        raise InputError(
            f"an integral runs over the inside, a part of the boundary, a shape in ({', '.join(domain.names)}) or a "
            f"section, got over={over!r}",
            do=f'leave over= out, or write over="boundary" or over={{"{domain.names[-1]}": 0.5}}',
        )
    return _over_shape(domain, over, n, at)


def _over_shape(domain: Domain, shape: Domain, n: int, at: dict[str, float]) -> Rule:
    """Return the rule over a shape that lies in the domain, in some of its coordinates; the others are fixed."""
    left = [name for name in domain.names if name not in shape.names and name not in at]
    if left:
        raise InputError(
            f"the integral over {shape!r} leaves {', '.join(left)} open", do=f"say where, as in {left[0]}=0.5"
        )
    rule = shape.quadrature(n, {name: value for name, value in at.items() if name in shape.names})
    points = torch.empty(len(rule.points), len(domain.names), dtype=torch.float64)
    for i, name in enumerate(domain.names):
        points[:, i] = rule.points[:, shape.names.index(name)] if name in shape.names else at[name]
    domain.check_points(points, f"nodes of the integral over {shape!r}")
    return Rule(points, rule.weights)
