"""Taylor rules of the torch functions that fields are made of."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.diff.jets import METHODS, RULES, Jet, Unsupported

Rule = Callable[..., Any]
SMALL, LARGE = 1.0, 25.0  # arguments of Bessel functions between which a backward recurrence serves
MILLER, TERMS = 80, 12  # the order at which it begins, and terms of the series below


def _chain_polynomials(slope: tuple[float, ...], order: int) -> list[list[float]]:
    """Return the derivatives of y as polynomials in y, for y' = slope(y): p_0 = y, p_{m+1} = p_m' slope."""
    polynomials = [[0.0, 1.0]]
    for _ in range(order):
        derivative = [i * c for i, c in enumerate(polynomials[-1])][1:]
        product = [0.0] * (len(derivative) + len(slope) - 1)
        for i, a in enumerate(derivative):
            for j, b in enumerate(slope):
                product[i + j] += a * b
        polynomials.append(product)
    return polynomials


def _horner(coefficients: list[float], y: Tensor) -> Tensor:
    total = coefficients[-1] * y + coefficients[-2]
    for c in reversed(coefficients[:-2]):
        total = total * y + c if c else total * y
    return total


def _tanh(z: Tensor, order: int) -> list[Tensor]:
    y = torch.tanh(z)
    if order == 0:
        return [y]
    slope = 1 - y * y  # reused: every higher derivative has it as a factor
    ladder = [y, slope]
    if order >= 2:
        ladder.append(-2 * y * slope)
    if order >= 3:
        ladder.append(slope * (6 * y * y - 2))
    for p in _chain_polynomials((1.0, 0.0, -1.0), order)[4:]:
        ladder.append(_horner(p, y))
    return ladder


def _sigmoid(z: Tensor, order: int) -> list[Tensor]:
    y = torch.sigmoid(z)
    return [y, *(_horner(p, y) for p in _chain_polynomials((0.0, 1.0, -1.0), order)[1:])]


def _sin(z: Tensor, order: int) -> list[Tensor]:
    s = torch.sin(z)
    c = torch.cos(z) if order else s
    return [(s, c, -s, -c)[m % 4] for m in range(order + 1)]


def _cos(z: Tensor, order: int) -> list[Tensor]:
    c = torch.cos(z)
    s = torch.sin(z) if order else c
    return [(c, -s, -c, s)[m % 4] for m in range(order + 1)]


def _exp(z: Tensor, order: int) -> list[Tensor]:
    return [torch.exp(z)] * (order + 1)


def _log(z: Tensor, order: int) -> list[Tensor]:
    inverse = 1 / z
    return [
        torch.log(z),
        *((-1) ** (m - 1) * math.factorial(m - 1) * inverse**m for m in range(1, order + 1)),
    ]


def _atan(z: Tensor, order: int) -> list[Tensor]:
    """With y = atan z: (m - 1)! cos(y)^m sin(m (y + pi / 2))."""
    y = torch.atan(z)
    slope = torch.cos(y)
    return [y, *(math.factorial(m - 1) * slope**m * torch.sin(m * (y + math.pi / 2)) for m in range(1, order + 1))]


def _sinh(z: Tensor, order: int) -> list[Tensor]:
    return [(torch.sinh(z), torch.cosh(z))[m % 2] for m in range(order + 1)]


def _cosh(z: Tensor, order: int) -> list[Tensor]:
    return [(torch.cosh(z), torch.sinh(z))[m % 2] for m in range(order + 1)]


def _softplus(z: Tensor, order: int) -> list[Tensor]:
    return [F.softplus(z), *_sigmoid(z, order - 1)] if order else [F.softplus(z)]


def _normal_density(z: Tensor, order: int) -> list[Tensor]:
    """Return the derivatives of the normal density: (-1)^m He_m(z) phi(z), He the probabilists' Hermite polynomials."""
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    hermite = [torch.ones_like(z), z]
    for m in range(1, order):
        hermite.append(z * hermite[m] - m * hermite[m - 1])
    return [(-1) ** m * h * density for m, h in enumerate(hermite[: order + 1])]


def _gelu(z: Tensor, order: int) -> list[Tensor]:
    cumulative = [0.5 * (1 + torch.erf(z / math.sqrt(2))), *_normal_density(z, max(order - 1, 0))]
    return [F.gelu(z), *(m * cumulative[m - 1] + z * cumulative[m] for m in range(1, order + 1))]


def _erf(z: Tensor, order: int) -> list[Tensor]:
    # erf(z) = 2 Phi(sqrt2 z) - 1
    density = _normal_density(math.sqrt(2) * z, max(order - 1, 0))
    return [torch.erf(z), *(2 * math.sqrt(2) ** m * density[m - 1] for m in range(1, order + 1))]


def _bessel(n: int, z: Tensor, order: int) -> list[Tensor]:
    """Return the derivatives of J_n: 2^m J_n^(m) = sum_i (-1)^i C(m, i) J_(n - m + 2i) (DLMF 10.6.7)."""
    if z.requires_grad:
        raise InputError(
            f"torch knows no derivative of torch.special.bessel_j{n}, so that nothing can be trained through it",
            do="apply it to coordinates only, or write it with functions that have a derivative",
        )
    known = [value.to(z.dtype) for value in _bessels(z.double(), n + order)]  # the recurrence leaves float32's range
    values = {k: known[abs(k)] * (-1 if k < 0 and k % 2 else 1) for k in range(-order, n + order + 1)}
    return [
        sum(((-1) ** i * math.comb(m, i) * values[n - m + 2 * i] for i in range(m + 1)), torch.zeros_like(z)) / 2**m
        for m in range(order + 1)
    ]


def _bessels(z: Tensor, last: int) -> list[Tensor]:
    """Return J_0, ..., J_last.

    For arguments up to 1 by their power series (DLMF 10.2.2), up to 25 by Miller's backward recurrence (3.6(v), 10.6.1,
    normalised by 10.12.4), as torch.special.bessel_j0 and bessel_j1 of torch 2.13 are wrong by up to 2e-7 between 2
    and 8; above that from these by forward recurrence.
    """
    far, small = z.abs() > LARGE, z.abs() <= SMALL
    near = torch.where(far | small, SMALL, z)
    above, now = torch.zeros_like(z), torch.full_like(z, 1e-250)
    whole, kept = torch.zeros_like(z), dict[int, Tensor]()
    for n in range(MILLER, 0, -1):
        above, now = now, 2 * n / near * now - above
        if n - 1 <= last:
            kept[n - 1] = now
        if n % 2:  # now is of even order
            whole = whole + (now if n == 1 else 2 * now)
    large = torch.where(far, z, 1.0)
    forward = [torch.special.bessel_j0(large), torch.special.bessel_j1(large)]
    for n in range(1, last):
        forward.append(2 * n / large * forward[n] - forward[n - 1])
    half = torch.where(small, z, 0.0) / 2
    found = []
    for n in range(last + 1):
        term = series = half**n / math.factorial(n)
        for i in range(1, TERMS):
            term = -term * half**2 / (i * (i + n))
            series = series + term
        found.append(torch.where(far, forward[n], torch.where(small, series, kept[n] / whole)))
    return found


def _relu(z: Tensor, order: int) -> list[Tensor]:
    step = (z > 0).to(z.dtype)
    return [torch.relu(z), step, *[torch.zeros_like(z)] * (order - 1)][: order + 1]


def _abs(z: Tensor, order: int) -> list[Tensor]:
    return [torch.abs(z), torch.sign(z), *[torch.zeros_like(z)] * (order - 1)][: order + 1]


def _clamp(jet: Jet, min: Any = None, max: Any = None) -> Jet:
    value = jet.channels[0]
    clamped = torch.clamp(value, min, max)
    inside = (clamped == value).to(value.dtype)
    return jet.compose([clamped, inside, *[torch.zeros_like(value)] * (jet.plan.order - 1)][: jet.plan.order + 1])


def _sloped(slope: float, jet: Jet) -> Jet:
    """Return max(z, 0) + slope min(z, 0)."""
    z = jet.channels[0]
    one = torch.ones_like(z)
    slopes = torch.where(z > 0, one, slope * one)
    return jet.compose([z * slopes, slopes, *[torch.zeros_like(z)] * (jet.plan.order - 1)][: jet.plan.order + 1])


def _elu(jet: Jet, alpha: float = 1.0, inplace: bool = False) -> Jet:
    z = jet.channels[0]
    below = alpha * torch.exp(z.clamp(max=0))  # of what is not taken, nothing may overflow
    ladder = [torch.where(z > 0, torch.zeros_like(z), below)] * (jet.plan.order + 1)
    ladder[0] = torch.where(z > 0, z, below - alpha)
    if jet.plan.order:
        ladder[1] = torch.where(z > 0, torch.ones_like(z), below)
    return jet.compose(ladder)


def _silu(jet: Jet, inplace: bool = False) -> Jet:
    return jet.product(METHODS["sigmoid"](jet))


def _mish(jet: Jet, inplace: bool = False) -> Jet:
    return jet.product(METHODS["tanh"](RULES[F.softplus](jet)))


def _elementwise(derivatives: Callable[[Tensor, int], list[Tensor]]) -> Rule:
    def rule(jet: Jet, *args: Any, **kwargs: Any) -> Jet:
        if any(a not in (1, 20) for a in args) or any(v not in (False, None, "none", 1, 20) for v in kwargs.values()):
            raise Unsupported("no Taylor rule for this function with options")
        return jet.compose(derivatives(jet.channels[0], jet.plan.order))

    return rule


def _linear(jet: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    if not isinstance(jet, Jet):
        raise Unsupported("no Taylor rule for a weight that depends on the coordinates")
    product = F.linear(jet.channels, weight)
    if bias is None:
        return Jet(product, jet.plan)
    first = torch.zeros(len(jet.plan.indices), *[1] * jet.ndim, dtype=bias.dtype, device=bias.device)
    first[0] = 1.0
    return Jet(torch.addcmul(product, first, bias), jet.plan)


def _matmul(left: Any, right: Any) -> Jet:
    if isinstance(left, Jet) and isinstance(right, Tensor):
        return left.map(lambda c: c @ right)
    raise Unsupported("no Taylor rule for this matrix product")


def _joined(join: Callable[..., Tensor]) -> Rule:
    def rule(tensors: Any, dim: int = 0) -> Jet:
        jets = [t for t in tensors if isinstance(t, Jet)]
        plan = jets[0].plan
        rows = [t.channels if isinstance(t, Jet) else _constant(t, plan).channels for t in tensors]
        return Jet(join(rows, _axis(dim)), plan)

    return rule


def _constant(value: Tensor, plan: Any) -> Jet:
    rest = torch.zeros((len(plan.indices) - 1, *value.shape), dtype=value.dtype, device=value.device)
    return Jet(torch.cat([value[None], rest]), plan)


def _where(condition: Any, left: Any, right: Any) -> Jet:
    plan = left.plan if isinstance(left, Jet) else right.plan
    shape = left.shape if isinstance(left, Jet) else right.shape

    def lift(value: Any) -> Tensor:
        if isinstance(value, Jet):
            return value.channels
        dtype = left.dtype if isinstance(left, Jet) else right.dtype
        device = left.device if isinstance(left, Jet) else right.device
        return _constant(torch.as_tensor(value, dtype=dtype, device=device).expand(shape), plan).channels

    return Jet(torch.where(condition, lift(left), lift(right)), plan)


def _value(constant: Rule) -> Rule:
    def rule(*operands: Any) -> Tensor:
        return constant(*(v.channels[0] if isinstance(v, Jet) else v for v in operands))

    return rule


def _lerp(start: Any, end: Any, weight: Any) -> Jet:
    gap = end - start
    aligned = weight[(None,) * (gap.ndim - weight.ndim)]  # the channels of a jet come before what is broadcast
    return _add(_mul(aligned, gap), start)


def _unbind(jet: Jet, dim: int = 0) -> list[Jet]:
    return [Jet(part, jet.plan) for part in jet.channels.unbind(_axis(dim))]


def _axis(dim: int) -> int:
    return dim if dim < 0 else dim + 1  # the channels come first


def _sum(jet: Jet, dim: Any = None, keepdim: bool = False) -> Jet:
    if not isinstance(dim, int) or dim >= 0:
        raise Unsupported("no Taylor rule for a sum over the points")
    return jet.map(lambda c: c.sum(dim, keepdim))


def _pow(base: Any, exponent: Any) -> Jet:
    if not isinstance(base, Jet):
        raise Unsupported("no Taylor rule for a power with a varying exponent")
    return base**exponent


def _sub(left: Any, right: Any) -> Jet:
    return left.add(-right) if isinstance(left, Jet) else (-right).add(left)


def _div(left: Any, right: Any) -> Jet:
    return left / right if isinstance(left, Jet) else right.reciprocal().times(left)


def _add(left: Any, right: Any) -> Jet:
    return left.add(right) if isinstance(left, Jet) else right.add(left)


def _mul(left: Any, right: Any) -> Jet:
    return left.times(right) if isinstance(left, Jet) else right.times(left)


def _complex(real: Any, imag: Any) -> Jet:
    plan = real.plan if isinstance(real, Jet) else imag.plan
    parts = [p.channels if isinstance(p, Jet) else _constant(p, plan).channels for p in (real, imag)]
    return Jet(torch.complex(*parts), plan)


def _linear_map(function: Callable[..., Tensor]) -> Rule:
    return lambda jet, *args, **kwargs: jet.map(lambda c: function(c, *args, **kwargs))


METHODS |= {
    "tanh": _elementwise(_tanh),
    "sigmoid": _elementwise(_sigmoid),
    "sin": _elementwise(_sin),
    "cos": _elementwise(_cos),
    "exp": _elementwise(_exp),
    "log": _elementwise(_log),
    "atan": _elementwise(_atan),
    "arctan": _elementwise(_atan),
    "sinh": _elementwise(_sinh),
    "cosh": _elementwise(_cosh),
    "erf": _elementwise(_erf),
    "relu": _elementwise(_relu),
    "abs": _elementwise(_abs),
    "square": lambda jet: jet.product(jet),
    "sqrt": lambda jet: jet.power(0.5),
    "rsqrt": lambda jet: jet.power(-0.5),
    "reciprocal": lambda jet: jet.reciprocal(),
    "pow": _pow,
    "add": _add,
    "mul": _mul,
    "sub": _sub,
    "div": _div,
    "neg": lambda jet: -jet,
    "sum": _sum,
    "clamp": _clamp,
    "floor": _value(torch.floor),
    "lerp": _lerp,
    "unbind": _unbind,
    "flatten": lambda jet, first=0, last=-1: jet.map(lambda c: c.flatten(_axis(first), _axis(last))),
    "unflatten": lambda jet, dim, sizes: jet.map(lambda c: c.unflatten(_axis(dim), sizes)),
    "matmul": _matmul,
    "to": _linear_map(lambda c, *args, **kwargs: c.to(*args, **kwargs)),
    "real": lambda jet: jet.map(torch.real),
    "imag": lambda jet: jet.map(torch.imag),
    "lt": _value(torch.lt),
    "gt": _value(torch.gt),
    "le": _value(torch.le),
    "ge": _value(torch.ge),
}

RULES |= {
    torch.special.bessel_j0: _elementwise(partial(_bessel, 0)),
    torch.special.bessel_j1: _elementwise(partial(_bessel, 1)),
    F.linear: _linear,
    F.softplus: _elementwise(_softplus),
    F.gelu: _elementwise(_gelu),
    F.relu: _elementwise(_relu),
    F.silu: _silu,
    F.mish: _mish,
    F.elu: _elu,
    F.leaky_relu: lambda jet, negative_slope=0.01, inplace=False: _sloped(negative_slope, jet),
    F.softsign: lambda jet: jet.product((torch.abs(jet) + 1.0).reciprocal()),
    F.logsigmoid: lambda jet: -RULES[F.softplus](-jet),
    F.tanh: METHODS["tanh"],
    torch.cat: _joined(torch.cat),
    torch.stack: _joined(torch.stack),
    torch.where: _where,
    torch.complex: _complex,
    torch.Tensor.__rsub__: lambda tensor, jet: _sub(jet, tensor),
    torch.Tensor.__rpow__: lambda tensor, jet: _pow(jet, tensor),
    torch.Tensor.__rdiv__: lambda tensor, jet: _div(jet, tensor),
    torch.Tensor.__matmul__: _matmul,
}
for _name, _rule in METHODS.items():
    for _owner in (torch, torch.Tensor):
        if hasattr(_owner, _name):
            RULES[getattr(_owner, _name)] = _rule
