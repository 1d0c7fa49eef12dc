"""What a user may have forgotten in a PDE: conditions, equations for an unknown, marks."""

import inspect

from nfsolve._core.coordinates import TIMES
from nfsolve.domains import Domain
from nfsolve.problem.pde.conditions import Condition, arguments
from nfsolve.problem.pde.declared import Declaration, Used, inner_code, meanings


def cautions(pde: Declaration) -> list[str]:
    """Say what a PDE may lack: conditions, equations for an unknown, or a mark.

    Returns:
        Sentences; none where nothing is suspicious.
    """
    conditions = pde.methods
    own = any(getattr(pde.cls, name) is not getattr(pde.base, name) for name in ("load", "sample", "residuals"))
    if own or len(conditions) < len(pde.conditions):  # made by a program, which knows what it does
        return []
    used = {name: Used(pde, getattr(pde.cls, name)) for name in conditions}
    ansatz = getattr(pde.cls, "ansatz", None)
    hard = set(arguments(ansatz)) if ansatz is not None else set()
    found = []
    for out in pde.outputs:
        if out not in hard and not any(out in use.orders for use in used.values()):
            found.append(f"unknown '{out}' does not occur in any residual, so nothing determines it")
    along = {name for use in used.values() for orders in use.orders.values() for name, n in orders.items() if n}
    open_ = any(name in along for name, wraps in zip(pde.names, pde.domain.periodic, strict=True) if not wraps)
    if all(c.kind == "interior" for c in conditions.values()) and not hard and open_:
        found.append("no initial or boundary condition and no data: the equations alone have many solutions")
        return found + _unmarked(pde)
    for out in pde.outputs:
        named = [use for use in used.values() if out in use.orders]
        if named and out not in hard and not any(out in use.values for use in named):
            point = ", ".join(f"{name}=..." for name in pde.names)
            found.append(
                f"only derivatives of {out} occur, so a constant may be added to it: fix its value at a point, "
                f"@face({point}), or its mean, with @integral"
            )
    joined = {out for name, c in conditions.items() if c.kind == "interface" for out in used[name].orders}
    for out in pde.outputs:
        if out in pde.lives and len(pde.domain.regions()) > len(pde.lives[out]):
            if out not in joined:
                found.append(
                    f"no @interface names '{out}', which lives on {' and '.join(pde.lives[out])} only: "
                    "nothing joins it to the parts next to it"
                )
        elif out not in hard:
            found += _open_sides(pde, out, used)
    return found + _unmarked(pde)


def _value_and_slope(pde: Declaration, out: str, time: str, used: dict[str, Used]) -> bool:
    """Return whether one condition at the start of time names an unknown and its derivative along time."""
    faces = (name for name, c in pde.methods.items() if c.kind == "face" and time in c.sides)
    return any(
        out in arguments(getattr(pde.cls, name)) and used[name].orders.get(out, {}).get(time, 0) >= 1 for name in faces
    )


def _open_sides(pde: Declaration, out: str, used: dict[str, Used]) -> list[str]:
    """Find the coordinates along which an unknown has second derivatives and fewer than two conditions."""
    domain, conditions = pde.domain, pde.methods
    about = [c for name, c in conditions.items() if c.kind != "interior" and out in used[name].orders]
    if any(c.kind == "measured" or c.where is not None or _inside(c, domain) for c in about):
        return []  # data inside may take the place of a condition
    open_along: dict[str, list[str]] = {}  # where a condition is missing -> along which coordinates
    inside = [used[n].orders.get(out, {}) for n, c in conditions.items() if c.kind == "interior"]
    orders = {name: max((use.get(name, 0) for use in inside), default=0) for name in domain.names}
    diffuses = any(order > 1 for name, order in orders.items() if name not in TIMES)
    backward = []
    for column, (name, order) in enumerate(orders.items()):
        low, high = (f"{name}={end:g}" for end in domain.bounds[column])
        sides = [side for c in about for side in _sides(c, name, column, domain, (low, high))]
        if name in TIMES and order == 1 and diffuses and high in sides and low not in sides:
            backward.append(
                f"{out} is known at the end of time, {high}, and not at its start: diffusion backward in time is "
                "ill-posed, for errors of the data grow without bound"
            )
        if order < 2 or domain.periodic[column]:
            continue
        if name in TIMES and sides and _value_and_slope(pde, out, name, used):
            continue  # one method says both at the start
        if len(sides) >= 2:
            continue
        missing = [side for side in (low, high) if side not in sides] if name not in TIMES else [low]
        ends = " and ".join(missing) if low in domain.parts or name in TIMES else "the boundary"
        open_along.setdefault(ends, []).append(name)
    return backward + [
        f"no condition on {out} at {ends}, though {out} has second derivatives along {' and '.join(names)}"
        for ends, names in open_along.items()
    ]


def _sides(condition: Condition, name: str, column: int, domain: Domain, ends: tuple[str, str]) -> list[str]:
    """List the ends of a coordinate at which a condition holds."""
    if condition.kind == "boundary":
        parts = set(condition.part)
        faced = set(ends) & set(domain.parts)
        return [end for end in ends if not parts or not faced or end in parts or parts - _flat(domain)]
    if condition.kind == "paired":
        return list(ends) if name in condition.sides else []
    values = () if condition.together else condition.sides.get(name, ())
    low = domain.bounds[column][0]
    values = values if isinstance(values, tuple | list) else (values,)
    return [ends[0] if abs(value - low) < abs(value - domain.bounds[column][1]) else ends[1] for value in values]


def _inside(condition: Condition, domain: Domain) -> bool:
    """Return whether a face is a plane or a point inside the domain."""
    faces = domain.face(condition.sides) if condition.kind == "face" else ()
    return any(value not in domain.bounds[column] for column, value, _ in faces)


def _flat(domain: Domain) -> set[str]:
    """Return the names of the parts that are sides of a box."""
    return {part for part in domain.parts if part.partition("=")[0] in domain.names}


def _unmarked(pde: Declaration) -> list[str]:
    """Find methods that look like conditions without a mark: they take unknowns, and nothing calls them."""
    conditions, found = pde.methods, []
    members = {n: m for cls in reversed(pde.cls.__mro__) for n, m in vars(cls).items()}
    mentioned = {c.where for c in conditions.values()}
    for method in members.values():
        code = getattr(method, "__code__", None)
        for part in (code, *inner_code(code)) if code is not None else ():
            mentioned |= set(part.co_names)
    for name, method in members.items():
        if (
            not inspect.isfunction(method)
            or hasattr(pde.base, name)
            or name in (*conditions, *mentioned, "exact", "ansatz")
        ):
            continue
        wanted = list(inspect.signature(method).parameters)[1:]
        known = [m for text in wanted for m in meanings(text, "face", pde.outputs, pde.names)[:1]]
        if wanted and len(known) == len(wanted) and any(m.startswith(("the unknown", "the derivative")) for m in known):
            found.append(f"method '{name}' takes {', '.join(wanted)} but has no mark, so it is not a condition: "
                         "mark it @interior, @face(...) or @boundary")  # fmt: skip
    return found
