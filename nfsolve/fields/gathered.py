"""A DeepONet for functions that have sensors of their own: each is brought to common places by Gaussian regression.

Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), chapter 2; kernel, length and damping are those of
the least leave-one-out error over training functions, section 5.4.2. What is known of a function between its sensors
then stands where all others have it, so that the rest is the operator of common sensors, with its start.
"""

import math
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.fields.deeponet import DeepONet
from nfsolve.fields.field import Domain
from nfsolve.fields.kernel import KERNELS
from nfsolve.fields.operators import Functions
from nfsolve.fields.places import checked_dims, counted, own_dims
from nfsolve.fields.start import Start, nearest

LENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # in units of the half-interval
DAMPINGS = (1e-10, 1e-6, 1e-3, 1e-1)
SOME = 60  # functions by which they are chosen
COUNTS = {1: 64, 2: 14, 3: 6}  # common places along each coordinate


class Gather(NamedTuple):
    """How functions are brought to common places.

    Attributes:
        at: These, ``(q, d)``, float64.
        kernel: Which of `KERNELS`, by number.
        length: Its length.
        damping: What is added to the diagonal of the kernel matrix of the sensors.
        error: What is missed at sensors that are left out, root mean square.
    """

    at: Tensor
    kernel: int
    length: float
    damping: float
    error: float


class GatheredDeepONet(DeepONet):
    """A DeepONet that reads value and place of one sensor after the other, NaN where a function has fewer.

    Arguments and errors as for `DeepONet`, and:

    Args:
        sensors: Number of columns of an input function; a tuple where there are several functions.
        dims: Coordinates of a place, for each input function with places in its rows; 0 for others.
        counts: Number of common places of each input function, 0 for others.
    """

    reads_places = True

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        dims: tuple[int, ...] = (),
        counts: tuple[int, ...] = (),
        gathers: tuple[Gather | None, ...] = (),
        **options: Any,
    ):
        rows = tuple(sensors) if isinstance(sensors, tuple | list) else (sensors,)
        dims = checked_dims(dims, rows)
        counts = tuple(counts) or tuple(COUNTS.get(d, 6) ** d if d else 0 for d in dims)
        if len(counts) != len(rows):
            raise InputError(
                f"counts must have an entry for each of {len(rows)} input functions, got {counts}",
                do="give the number of common places of each, 0 where sensors are common already",
            )
        common = tuple(c if d else m for d, c, m in zip(dims, counts, rows, strict=True))
        super().__init__(domain, outputs, common, **options)
        self.config |= {"sensors": rows, "dims": dims, "counts": counts}
        self.sensors, self.dims = rows, dims
        for i, (d, count) in enumerate(zip(dims, counts, strict=True)):
            found = (gathers[i] if i < len(gathers) else None) or Gather(_lattice(d, count), 0, 0.4, 1e-6, math.nan)
            settings = torch.tensor([float(found.kernel), found.length, found.damping, found.error])
            self.register_buffer(f"gather_{i}", settings.double())
            self.register_buffer(f"gather_at_{i}", found.at.double())

    @property
    def remarks(self) -> list[str]:
        """How functions are brought to common places, and what the network starts from, in words."""
        found = []
        for i, d in enumerate(self.dims):
            if d and not math.isnan(float(self.get_buffer(f"gather_{i}")[3])):
                missed, places = float(self.get_buffer(f"gather_{i}")[3]), len(self.get_buffer(f"gather_at_{i}"))
                found.append(
                    f"each function is brought to {places} common places by Gaussian regression, which misses "
                    f"{missed:.1e} of its deviation at sensors that are left out"
                )
        return found + super().remarks

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move, and keep how functions are gathered in float64."""
        kept = {n: b for n, b in self._buffers.items() if n.startswith("gather_") and b is not None}
        super()._apply(fn, recurse)
        for name, before in kept.items():
            self._buffers[name] = before.to(self.coordinates.matrix.device)
        return self

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field for a problem; as for `DeepONet`.

        Args:
            problem: As for `DeepONet`; ``own_sensors`` says of which input functions each has its own, and
                ``on_sensors`` gives training functions as they are read, with labels to start from, or None.
            **options: Arguments of the constructor.
        """
        options.setdefault("dims", own_dims(problem))
        given = problem.on_sensors() if hasattr(problem, "on_sensors") else None
        if given is None:
            return super().for_problem(problem, **options)
        functions, points, labels = given
        gathers = [gather(f, d) if d else None for f, d in zip(functions, options["dims"], strict=True)]
        options["gathers"] = tuple(gathers)
        if "start" not in options and points is not None:
            common = [f if g is None else gathered(g, f) for f, g in zip(functions, gathers, strict=True)]
            found = nearest(torch.cat(common, 1), labels.flatten(1))
            options["start"] = None if found is None else Start(found, points, labels)
        return super().for_problem(problem, **options)

    def sensor_values(self, functions: Functions) -> tuple[Tensor, ...]:
        """Bring functions to common places; rows with places may have any number of them."""
        rows = self.checked(functions, counted(functions, self.sensors, self.dims))
        found = []
        for i, (f, d) in enumerate(zip(rows, self.dims, strict=True)):
            if d:
                number, length, damping, error = self.get_buffer(f"gather_{i}").tolist()
                how = Gather(self.get_buffer(f"gather_at_{i}"), int(number), length, damping, error)
                f = gathered(how, f).to(f)
            found.append(f)
        return tuple(found)


def _lattice(d: int, count: int, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Return the nearest lattice to so many places of a box, [-1, 1] in each coordinate where none is given."""
    if not d:
        return torch.empty(0, 0, dtype=torch.float64)
    axes = [torch.linspace(-1, 1, round(count ** (1 / d)), dtype=torch.float64)] * d
    at = torch.cartesian_prod(*axes).reshape(-1, d)
    return at if low is None or high is None else (low + high) / 2 + at * (high - low) / 2


def gather(rows: Tensor, d: int) -> Gather:
    """Choose how functions are brought to common places, by what is missed at sensors that are left out.

    Args:
        rows: Value and place of one sensor after the other, ``(n, m (1 + d))``, NaN where there is none.
        d: Coordinates of a place.
    """
    places = rows.unflatten(1, (-1, 1 + d))[..., 1:].flatten(0, 1).double()
    places = places[~places.isnan().any(1)]
    low, high = places.amin(0), places.amax(0)
    at = _lattice(d, COUNTS.get(d, 6) ** d, low, high)
    best = (math.inf, 0, LENGTHS[0], DAMPINGS[0])
    values, where, known = _split(rows[:SOME], d)
    squares, count = _between(where, where), known.sum()
    for number in range(len(KERNELS)):
        for length in LENGTHS:
            gram = _masked(_evaluate(number, squares, length), known)
            for damping in DAMPINGS:
                inverse = torch.linalg.inv(gram + damping * torch.eye(gram.shape[1], dtype=torch.float64))
                gaps = (inverse @ values)[..., 0] / inverse.diagonal(dim1=1, dim2=2) * known
                error = float((gaps.square().sum() / count).sqrt())
                if error < 0.99 * best[0]:
                    best = (error, number, length, damping)
    return Gather(at, *best[1:], best[0])


def gathered(how: Gather, rows: Tensor) -> Tensor:
    """Return functions ``(n, m (1 + d))`` at the common places, ``(n, q)``, float64."""
    values, where, known = _split(rows, how.at.shape[1])
    gram = _masked(_evaluate(how.kernel, _between(where, where), how.length), known)
    gram = gram + how.damping * torch.eye(gram.shape[1], dtype=torch.float64, device=gram.device)
    weights = torch.linalg.solve(gram, values)
    near = _evaluate(how.kernel, _between(how.at.expand(len(where), -1, -1), where), how.length)
    return ((near * known[:, None]) @ weights)[..., 0]


def _split(rows: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return values ``(n, m, 1)`` and places ``(n, m, d)``, 0 where there is none, and where one is ``(n, m)``."""
    table = rows.unflatten(1, (-1, 1 + d)).double()
    known = ~table.isnan().any(-1)
    table = table.nan_to_num(0.0)
    return table[..., :1] * known[..., None], table[..., 1:], known.double()


def _between(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] - b[:, None]).square().sum(-1)


def _evaluate(number: int, squares: Tensor, length: float) -> Tensor:
    return list(KERNELS.values())[number](squares / length**2)[0]


def _masked(gram: Tensor, known: Tensor) -> Tensor:
    """Return kernel matrices in which sensors that a function does not have are alone, with a one."""
    both = known[:, :, None] * known[:, None]
    return gram * both + torch.diag_embed(1 - known)
