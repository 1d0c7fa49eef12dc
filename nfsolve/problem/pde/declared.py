"""What a user declared of a PDE: names with one meaning, and signatures that can be served."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from nfsolve._core.coordinates import TIMES
from nfsolve._core.errors import InputError, nearest, place_of
from nfsolve._core.random import generator
from nfsolve.diff import parse
from nfsolve.diff.names import readings
from nfsolve.domains import Domain
from nfsolve.problem.pde.conditions import Condition
from nfsolve.sampling import sobol

SPATIAL = re.compile(r"[xyzXYZ](_?\d+)?")
OVERLAP = 256  # points by which two parts are compared
CURVED = ("theta", "phi", "lat", "lon", "latitude", "longitude")


@dataclass(frozen=True)
class Declaration:
    """What a user wrote of a PDE.

    Attributes:
        cls: The user's class.
        base: The class of nfsolve that it extends.
        domain: Its domain.
        outputs: Names of its unknowns.
        conditions: Its residuals, by name.
        inputs: Names of the input functions of an operator.
        lives: Unknown -> the parts of the domain on which it lives, for those that do not live everywhere.
        depends: Unknown -> the coordinates that it depends on, for those that do not depend on all.
    """

    cls: type
    base: type
    domain: Domain
    outputs: tuple[str, ...]
    conditions: dict[str, Condition]
    inputs: tuple[str, ...] = ()
    lives: dict[str, tuple[str, ...]] = field(default_factory=dict)
    depends: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def parts_of(self, name: str) -> tuple[str, ...] | None:
        """Return the parts on which all unknowns of a residual live; None where nothing limits it."""
        method = getattr(self.cls, name, None)
        if not self.lives or method is None:
            return None
        used = [self.lives[out] for out in Used(self, method).orders if out in self.lives]
        if not used:
            return None
        return tuple(part for part in used[0] if all(part in parts for parts in used))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        return self.domain.names

    @property
    def methods(self) -> dict[str, Condition]:
        """The conditions that are methods of the class itself, and not made by a program."""
        return {name: c for name, c in self.conditions.items() if callable(getattr(self.cls, name, None))}


def check_declaration(cls: type, domain: Any, outputs: tuple[str, ...]) -> None:
    """Refuse a PDE without a domain, or with unknowns that are not names.

    Args:
        cls: The user's class.
        domain: What it has as its domain; None where it has none.
        outputs: Names of its unknowns.

    Raises:
        InputError: The message says what came, what is needed, and where in the user's file.
    """
    where = place_of(cls)
    if not isinstance(domain, Domain):
        came = "it has none" if domain is None else f"got {domain!r}"
        raise InputError(
            f"{cls.__name__} needs a domain, but {came}{where}",
            do="write domain = Box(t=(0, 1), x=(-1, 1)) in the class, for example",
        )
    if not outputs or not all(out.isidentifier() for out in outputs):
        raise InputError(
            f"The unknowns of {cls.__name__} must be names, got {' '.join(outputs)!r}{where}",
            do='write unknowns = "u v", with spaces between them',
        )


def check_names(pde: Declaration) -> None:
    """Refuse names with two meanings, and signatures that name what is not there.

    Raises:
        InputError: As for `check_declaration`.
    """
    names, where = pde.names, place_of(pde.cls)
    for out in pde.outputs:
        if pde.outputs.count(out) > 1:
            raise InputError(f"The unknown '{out}' is named twice{where}", do="name it once")
        others = tuple(other for other in pde.outputs if other != out)
        clash = [m for kind in ("interior", "face") for m in meanings(out, kind, others, names)]
        if clash:
            raise InputError(
                f"The unknown '{out}' has the name of {clash[0]}{where}", do="choose another name for the unknown"
            )
    for text, meaning in FUNCTIONALS.items():
        if text in names:
            raise InputError(
                f"The coordinate '{text}' has the name of {meaning}{where}", do="choose another name for it"
            )
    for name, condition in pde.methods.items():
        if hasattr(pde.base, name):
            raise InputError(
                f"The condition '{name}' has the name of a method of every PDE{where}", do="choose another name for it"
            )
        _check_signature(pde, name, condition)
    for name in ("exact", "ansatz"):
        _check_function(pde, name)


def check_parts(pde: Declaration) -> None:
    """Refuse unknowns and interfaces on parts that the domain does not have, or that overlap.

    Raises:
        InputError: As for `check_declaration`.
    """
    known, where = pde.domain.regions(), place_of(pde.cls)
    for out, parts in pde.lives.items():
        for part in parts:
            if part not in known:
                raise InputError(
                    f"The unknown '{out}' lives on '{part}', which is not a part of {pde.domain!r}{where}",
                    do=f"make the domain a union of named parts, a.named({part!r}) | b.named(...)"
                    + (f"; {nearest(part, known)}" if known else ""),
                )
    for name, condition in pde.methods.items():
        if condition.kind == "interface":
            _check_interface(pde, name, condition, known)
        elif pde.parts_of(name) == ():
            outs = [out for out in Used(pde, getattr(pde.cls, name)).orders if out in pde.lives]
            said = " and ".join(f"'{out}', which lives on {' and '.join(pde.lives[out])}" for out in outs)
            raise InputError(
                f"`{name}` names {said}: they have no part in common{place_of(getattr(pde.cls, name))}",
                do='mark it @interface("...", "...") with the parts that touch, or write a method for each',
            )


def _check_interface(pde: Declaration, name: str, condition: Condition, known: dict[str, Domain]) -> None:
    method = getattr(pde.cls, name)
    where = place_of(method)
    for part in condition.part:
        if part not in known:
            raise InputError(
                f"@interface of `{name}` names '{part}', which is not a part of {pde.domain!r}{where}",
                do="make the domain a union of named parts, a.named('a') | b.named('b')"
                + (f"; {nearest(part, known)}" if known else ""),
            )
    for out in Used(pde, method).orders:
        if not set(pde.lives.get(out, condition.part)) & set(condition.part):
            raise InputError(
                f"`{name}` holds between {' and '.join(condition.part)}, where '{out}' does not live{where}",
                do=f"name unknowns of these parts; '{out}' lives on {' and '.join(pde.lives[out])}",
            )
    first, second = (known[part] for part in condition.part)
    inside = first.interior(OVERLAP, lambda n, d: sobol(n, d, generator(0, "overlap")))
    if bool((second.signed_distance(inside) < -1e-6 * pde.domain.size).any()):
        raise InputError(
            f"The parts {' and '.join(condition.part)} of @interface of `{name}` overlap{where}",
            do=f"cut one out of the other, as in (b - a).named({condition.part[1]!r})",
        )


FUNCTIONALS = {
    "D": "D(...), the derivative of a composite term",
    "integral": "integral(...), along a coordinate",
}


def meanings(text: str, kind: str, outputs: tuple[str, ...], coordinates: tuple[str, ...]) -> list[str]:
    """Return in words everything that a name in a signature may mean.

    Args:
        text: The name.
        kind: Kind of the condition, as in `Condition`.
        outputs: Names of the unknowns.
        coordinates: Names of the coordinates.

    Returns:
        One entry for each meaning.
    """
    found = [f"the coordinate {text}"] if text in coordinates else []
    found += [f"the unknown {text}"] if text in outputs else []
    found += [FUNCTIONALS[text]] if text in FUNCTIONALS else []
    for head in ("n_", "normal_") if kind in ("face", "boundary", "interface", "integral") else ():
        if text.startswith(head) and text.removeprefix(head) in coordinates:
            found.append(f"the outward normal along {text.removeprefix(head)}")
    if text.startswith("lap_") and text[4:] in outputs:
        found.append(f"the Laplacian of {text[4:]}")
    for out in outputs:
        ways = readings(text.removeprefix(out + "_"), coordinates) if text.startswith(out + "_") else []
        found += [f"the derivative of {out} along {', '.join(coordinates[c] for c in way)}" for way in ways]
    for end in ("_low", "_high") if kind == "paired" else ():
        if text.endswith(end):
            found += [f"{m} at the {end[1:]} place" for m in meanings(text.removesuffix(end), "", outputs, coordinates)]
    if kind == "measured" and text.endswith("_data") and text[:-5] in outputs:
        found.append(f"the measured values of {text[:-5]}")
    return found


def _check_signature(pde: Declaration, name: str, condition: Condition) -> None:
    method = inspect.unwrap(getattr(pde.cls, name))
    where = place_of(method)
    outputs, coordinates = pde.outputs, pde.names
    parameters = list(inspect.signature(method).parameters.values())
    bound = not isinstance(inspect.getattr_static(pde.cls, name), staticmethod)
    first = parameters[0].name if parameters else ""
    if bound and (not first or meanings(first, condition.kind, outputs, coordinates)):
        raise InputError(
            f"`{name}` must take self first, got ({', '.join(p.name for p in parameters)}){where}",
            do=f"write def {name}({', '.join(('self', *(p.name for p in parameters)))})",
        )
    for p in parameters[bound:]:
        known = meanings(p.name, condition.kind, outputs, coordinates)
        if any(p.name == given or p.name.startswith(given + "_") for given in pde.inputs):
            continue
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise InputError(f"`{name}` must name each value that it needs, got *{p.name}{where}", do="list them")
        if not known and p.default is not p.empty:
            raise InputError(
                f"'{p.name}' in `{name}` is neither a coordinate nor an unknown nor a derivative{where}",
                do=f"make it a parameter of the problem: write `{p.name}: float = {p.default!r}` in the class and "
                f"use self.{p.name}",
            )
        if not known:
            _refuse_unknown(p.name, name, condition.kind, outputs, coordinates, where)
        if len(known) > 1:
            raise InputError(
                f"'{p.name}' in `{name}` may mean {' or '.join(known)}{where}", do=_which(p.name, known, coordinates)
            )
        if known[0].startswith("the Laplacian"):
            _check_laplacian(pde.domain, p.name, where)
        _check_dependence(pde, p.name, name, where)


def _check_dependence(pde: Declaration, text: str, method: str, where: str) -> None:
    """Refuse a derivative along a coordinate that an unknown does not depend on."""
    stem = text.removesuffix("_low").removesuffix("_high")
    if not pde.depends or text in (*pde.names, *FUNCTIONALS) or text.startswith(("n_", "normal_")) or stem != text:
        return
    if text.endswith("_data"):
        return
    read = parse(text, pde.outputs, pde.names, pde.domain.space)
    out = pde.outputs[read.output]
    along = {pde.names[-1 - c if c < 0 else c] for c in read.along}
    if out in pde.depends and not along <= set(pde.depends[out]):
        raise InputError(
            f"'{text}' in `{method}` is zero, since '{out}' depends on {' and '.join(pde.depends[out])} only{where}",
            do=f"leave it out, or declare '{out}' without the parentheses in unknowns",
        )


def _refuse_unknown(
    text: str, method: str, kind: str, outputs: tuple[str, ...], coordinates: tuple[str, ...], where: str
) -> None:
    """Raise the error for a name without a meaning."""
    bare = text.removeprefix("normal_").removeprefix("n_")
    if bare != text and bare in coordinates:
        raise InputError(
            f"'{text}' in `{method}` is the normal, which exists only on faces, boundaries and interfaces{where}",
            do="mark the method @face(...), @boundary or @interface(...)",
        )
    stem, end = text.rpartition("_")[::2]
    if end in ("low", "high") and meanings(stem, "", outputs, coordinates):
        raise InputError(
            f"'{text}' in `{method}` compares two places, which only @paired does{where}",
            do="mark it @paired(x=(0, 1))",
        )
    if end == "data" and stem in outputs:
        raise InputError(
            f"'{text}' in `{method}` is a measured value, which exists only for @measured{where}",
            do="mark the method @measured(...) with the file of the data",
        )
    if text == "field":
        raise InputError(
            f"'field' in `{method}` is not a value at a point; a method gets the unknowns and their derivatives{where}",
            do=f"name {', '.join(outputs)}, or compare two places with @paired",
        )
    try:
        parse(text, outputs, coordinates)
    except InputError as error:
        raise InputError(error.sentence + where, do=_written_out(text, outputs, coordinates) or error.do) from error


def _written_out(text: str, outputs: tuple[str, ...], coordinates: tuple[str, ...]) -> str:
    """Advise how to write what has no name, or another one: a Laplacian twice, a gradient, ``dudt``, ``nx``."""
    space = [name for name in coordinates if name not in TIMES]
    twice = [(a, b) for i, a in enumerate(space) for b in space[i:]]
    for name in coordinates:
        if text in (f"n{name}", f"normal{name}"):
            return f"write n_{name} for the outward normal along {name}, in @face, @boundary or @interface"
    for out in outputs:
        derivative = next((c for c in coordinates if text in (f"d{out}d{c}", f"d{out}_d{c}")), "")
        if derivative:
            return f"write {out}_{derivative}"
        if text in (f"grad_{out}", f"nabla_{out}"):
            return f"name its components, {', '.join(f'{out}_{a}' for a in space)}"
        if text in (f"lap_lap_{out}", f"bilap_{out}", f"biharmonic_{out}"):
            return "write " + " + ".join(f"{out}_{a * 4}" if a == b else f"2 * {out}_{a * 2}{b * 2}" for a, b in twice)
        if text == f"{out}_nn":
            return "for the second derivative along the outward normal write " + " + ".join(
                f"n_{a}**2 * {out}_{a * 2}" if a == b else f"2 * n_{a} * n_{b} * {out}_{a}{b}" for a, b in twice
            )
    return ""


def _which(text: str, known: list[str], coordinates: tuple[str, ...]) -> str:
    """Advise how to say which of two meanings is meant."""
    normal = next((m for m in known if m.startswith("the outward normal")), "")
    out = next((m.split()[3] for m in known if m.startswith("the derivative of")), "")
    if not (normal and out):
        return "rename the unknown or the coordinate"
    along = normal.split()[-1]
    long = f"normal_{along}" if text != f"normal_{along}" else f"n_{along}"
    derivative = f"D(lambda {out}: {out}, '{along}')"
    return f"write {long} for the normal and {derivative} for the derivative, or rename the unknown {out}"


def _check_laplacian(domain: Domain, text: str, where: str) -> None:
    """Refuse a Laplacian where it is not clear which coordinates are Cartesian directions of space."""
    space = [domain.names[column] for column in domain.space]
    odd = [name for name in space if not SPATIAL.fullmatch(name)]
    curved = [name for name in space if name in CURVED or (name == "r" and len(space) > 1)]
    if curved:
        raise InputError(
            f"'{text}' adds up second derivatives, which is not the Laplacian in the coordinates "
            f"{', '.join(space)}{where}",
            do="write the derivatives of these coordinates out",
        )
    if odd and len(odd) < len(space):
        raise InputError(
            f"'{text}' would differentiate along {', '.join(odd)} as along {', '.join(set(space) - set(odd))}{where}",
            do=f"if {odd[0]} is not a direction of space write {odd[0]}=nf.parameter(low, high) in the domain, "
            "or else write the second derivatives out",
        )


def _check_function(pde: Declaration, name: str) -> None:
    """Refuse an exact solution or an ansatz whose signature names what is not there."""
    method = getattr(pde.cls, name, None)
    if not inspect.isfunction(method):
        return
    where, outputs, coordinates = place_of(method), pde.outputs, pde.names
    parameters = tuple(inspect.signature(method).parameters)
    known = coordinates if name == "exact" else (*outputs, *coordinates, *pde.inputs)
    wanted = parameters[1:]
    if not parameters or parameters[0] in known:
        raise InputError(
            f"`{name}` must take self first, got ({', '.join(parameters)}){where}",
            do=f"write def {name}({', '.join(('self', *parameters))})",
        )
    strange = [p for p in wanted if p not in known]
    if strange and not (name == "exact" and (len(wanted) == 1 or pde.inputs)):  # of points, (n, d)
        raise InputError(
            f"Unknown argument '{strange[0]}' of `{name}`: this problem has {', '.join(known)}{where}",
            do=nearest(strange[0], known),
        )
    if name == "ansatz" and not set(wanted) & set(outputs):
        raise InputError(
            f"`ansatz` must take an unknown, {', '.join(outputs)}, got ({', '.join(wanted)}){where}",
            do=f"write def ansatz(self, {outputs[0]}, {', '.join(coordinates)})",
        )


class Used:
    """What a residual method uses: unknowns, with the highest order of their derivatives along each coordinate.

    Terms inside ``D`` are read off the functions in the method's code.

    Attributes:
        orders: Name of an unknown that is used -> coordinate -> order.
        values: Unknowns of which the value itself is used, and not only derivatives.
    """

    def __init__(self, pde: Declaration, method: Callable[..., Any]):
        self.orders: dict[str, dict[str, int]] = {}
        self.values: set[str] = set()
        self.pde = pde
        for text in inspect.signature(method).parameters:
            self._add(text, ())
        for code in inner_code(getattr(inspect.unwrap(method), "__code__", None)):
            along = [c for c in pde.names if c in _strings(getattr(method, "__code__", None))]
            for text in code.co_varnames[: code.co_argcount]:
                self._add(text, along)

    @property
    def order(self) -> int:
        """The highest order of any derivative."""
        return max((n for orders in self.orders.values() for n in orders.values()), default=0)

    def _add(self, text: str, along: Any) -> None:
        names, outputs = self.pde.names, self.pde.outputs
        for bare in dict.fromkeys((text, text.removesuffix("_low"), text.removesuffix("_high"))):
            if bare in names or bare in FUNCTIONALS or (bare.startswith("n_") and bare[2:] in names):
                continue
            try:
                read = parse(bare, outputs, names, self.pde.domain.space)
            except InputError:
                continue
            orders = self.orders.setdefault(outputs[read.output], {})
            if not read.along:
                self.values.add(outputs[read.output])
            for column in {-1 - c if c < 0 else c for c in read.along} | {names.index(c) for c in along}:
                order = 2 if read.along and read.along[0] < 0 else read.along.count(column)
                name = names[column]
                orders[name] = max(orders.get(name, 0), order + (name in along))


def inner_code(code: CodeType | None) -> Iterator[CodeType]:
    """Return the functions that are written in a method, and in these."""
    for constant in code.co_consts if code is not None else ():
        if isinstance(constant, CodeType):
            yield constant
            yield from inner_code(constant)


def _strings(code: CodeType | None) -> set[str]:
    return {c for c in code.co_consts if isinstance(c, str)} if code is not None else set()
