"""Trained operators, which check the functions and points of a user against those of the training."""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.random import generator
from nfsolve.fields.field import origin_of
from nfsolve.functions import Numbers
from nfsolve.problem.operator.resampled import resampled

if TYPE_CHECKING:
    from nfsolve.problem.operator.pde import OperatorPDE

DRAWS = 1000  # functions that say which values are usual

Given = Tensor | float | Callable[..., Any] | Sequence[Any]


class TrainedOperator(nn.Module):
    """A trained operator, which checks the functions and points that it is called with.

    Args:
        field: The trained field.
        problem: The `OperatorPDE` on which it was trained.
    """

    def __init__(self, field: nn.Module, problem: "OperatorPDE"):
        super().__init__()
        self.field, self.problem = field, problem
        self._ranges: dict[str, tuple[float, float, float]] = {}

    def sensor_points(self, name: str = "") -> Tensor:
        """Return the points ``(m, d)`` at which an input function is seen; the only one where no name is given."""
        return self.problem.sensor_points(name or next(iter(self.problem.inputs)))

    def forward(self, functions: Given | Mapping[str, Given], x: Tensor, at: Any = None) -> Tensor:
        """Evaluate the solutions for some input functions.

        Args:
            functions: One input function, or several as a sequence: callables whose parameters are coordinates
                (``lambda x: torch.sin(x)``), each a column ``(m, 1)``; or values at the sensors ``(B, m)``. A number
                that varies is a number, or several. With several input functions a mapping of them by name.
            x: Points ``(n, d)``, a tensor or an array.
            at: The places ``(m, d)`` of the values where values are given, or a mapping of them by name; None takes
                them to be the sensors. From a grid of other places, finer or coarser, functions are interpolated to
                the sensors, see `resampled`. Where each function has sensors of its own, the places of these
                functions, ``(m, d)`` or ``(B, m, d)``.

        Returns:
            Values ``(B, n, k)``, in the type of the field, with gradients as torch is set.

        Raises:
            InputError: Values at places from which they cannot be brought to the sensors, another number of them, or
                values or points that are not finite.

        Warns:
            UserWarning: Points or values of functions lie outside of those of the training.
        """
        like, x = next(self.field.parameters()), self._points(x)
        seen = self.seen(functions, at)
        self._warn_outside(x)
        far = origin_of(self.problem.domain.bounds) is not None  # the field itself subtracts their centre, in float64
        points = x.to(like.device, torch.float64 if far else like.dtype)
        return self.problem.predict(self.field, seen, points)

    def seen(self, functions: Given | Mapping[str, Given], at: Any = None) -> Any:
        """Return what the field reads of input functions, after all checks; arguments, errors and warnings as above."""
        names = tuple(self.problem.inputs)
        by_name: Any = functions if isinstance(functions, Mapping) else {names[0]: functions}
        places: Any = at if isinstance(at, Mapping) else {names[0]: at}
        for name in by_name:
            if name not in names:
                raise unknown("input function", name, names)
        missing = [name for name in names if name not in by_name]
        if missing:
            raise InputError(
                f"this operator reads {', '.join(names)}, but '{missing[0]}' is missing",
                do="give a mapping of all of them by name",
            )
        like = next(self.field.parameters())
        values = {n: self._values(n, by_name[n], places.get(n)).to(like) for n in names}
        for name in names:
            self._warn_unlike(name, values[name])
        return self.problem.seen(values)

    def roll_out(self, start: Any, steps: int) -> Tensor:
        """Apply an operator that takes a function one step further again and again.

        Args:
            start: The first function, values at the sensors ``(B, m)``, ``(m,)`` for one; of several input functions,
                which must be as many as there are outputs and in their order, ``(B, m, k)``.
            steps: Number of steps.

        Returns:
            Values at the sensors ``(B, steps + 1, m, k)``, the first functions among them.

        Raises:
            InputError: Inputs and outputs are not of the same number, or the sensors lie elsewhere than the points.
        """
        names, k = tuple(self.problem.inputs), len(self.problem.outputs)
        at = self.sensor_points(names[0])
        low, high = torch.tensor(self.problem.domain.bounds, dtype=torch.float64).T
        outside = at.shape[1] != len(low) or ((at < low - 1e-6) | (at > high + 1e-6)).any()
        if len(names) != k or any(map(self.problem.own_sensors, names)) or outside or steps < 1:
            raise InputError(
                f"a roll-out needs an operator that takes {k} functions to the same functions at a later time, at "
                f"common sensors among its points, and at least one step; this one reads {', '.join(names)}, and "
                f"steps is {steps}",
                do="train on pairs of one time and the next, --times next",
            )
        now = torch.as_tensor(start, dtype=torch.float64)
        now = now[None] if now.ndim == 1 else now
        now = now[..., None] if now.ndim == 2 else now
        states = [now]
        for _ in range(steps):
            now = self({name: now[..., i] for i, name in enumerate(names)}, at).detach().double()
            states.append(now)
        return torch.stack(states, 1)

    def _points(self, x: Any) -> Tensor:
        """Check points, ``(n, d)``."""
        x, names = torch.as_tensor(x), self.problem.domain.names
        if x.ndim != 2 or x.shape[1] != len(names):
            raise InputError(
                f"points must have the columns {', '.join(names)}, (n, {len(names)}), got shape {tuple(x.shape)}",
                do="reshape them",
            )
        bad = int((~torch.isfinite(x)).any(1).sum())
        if bad:
            raise InputError(f"points must be finite, but {bad} of {len(x)} are NaN or infinite", do="leave them out")
        return x

    def _values(self, name: str, given: Any, at: Any) -> Tensor:
        """Return one input function at its sensors, ``(B, m)``."""
        sensors = self.sensor_points(name)
        if callable(given) and not isinstance(given, Tensor):
            given = [given]
        if isinstance(given, Sequence) and given and all(callable(f) for f in given):
            values = torch.cat([self._evaluated(name, f, sensors) for f in given])
        else:
            values = torch.as_tensor(given, dtype=torch.float64)
            values = values.reshape(-1, 1) if not sensors.shape[1] else values
            if not callable(given) and values.ndim > 2 and values[0].numel() == len(sensors):
                values = values.flatten(1)  # images
        if self.problem.own_sensors(name):
            return self._with_places(name, values, sensors if callable(given) or at is None else at)
        places = None if at is None or callable(given) else torch.as_tensor(at, dtype=torch.float64)
        count = len(sensors if places is None else places)
        if values.ndim != 2 or values.shape[1] != count:
            raise InputError(
                f"'{name}' must have one value for each {'sensor' if places is None else 'place'}, (functions, "
                f"{count}), got shape {tuple(values.shape)}",
                do=f"evaluate the functions at sensor_points('{name}'), give their places as at=, or give callables",
            )
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            raise InputError(
                f"values of '{name}' must be finite, but {bad} are NaN or infinite", do="leave these functions out"
            )
        if places is None:
            return values
        own, domain = tuple(self.problem.inputs[name].split()), self.problem.domain
        return resampled(name, values, places.reshape(len(places), -1), sensors, own, domain)

    def _with_places(self, name: str, values: Tensor, at: Any) -> Tensor:
        """Put the place of each value behind it, ``(B, m * (1 + d))``."""
        d = self.sensor_points(name).shape[1]
        places = torch.as_tensor(at, dtype=torch.float64)
        places = places.reshape(*places.shape, 1) if d == 1 and places.shape[-1] != 1 else places
        if values.ndim != 2 or places.shape[-2:] != (values.shape[1], d) or places.ndim > 3:
            raise InputError(
                f"'{name}' must have values (functions, m) at places at=, (m, {d}) or (functions, m, {d}), got "
                f"{tuple(values.shape)} and {tuple(places.shape)}",
                do="give one place for each value",
            )
        return torch.cat([values[..., None], places.expand(*values.shape, d)], -1).flatten(1)

    def _evaluated(self, name: str, function: Callable[..., Any], sensors: Tensor) -> Tensor:
        own = tuple(self.problem.inputs[name].split())
        columns = {c: sensors[:, i : i + 1] for i, c in enumerate(own)}
        needed, known = _parameters(function, own)
        if set(needed) <= set(own):
            values = function(*(columns[c] for c in known))
        elif len(needed) == len(own) == 1 and own[0] in self.problem.domain.names:  # there is one thing that it can be
            values = function(*columns.values())
        else:
            raise InputError(
                f"the input function '{name}' must be a function of {', '.join(own)}, got one of {', '.join(needed)}",
                do="name its arguments as the coordinates",
            )
        values = torch.as_tensor(values, dtype=torch.float64)
        return values.expand(len(sensors), 1).T if values.numel() == 1 else values.reshape(1, -1)

    def _warn_outside(self, x: Tensor) -> None:
        """Say how far points lie outside the box of the training; what the field gives there is not trained."""
        domain = self.problem.domain
        for column, name in enumerate(domain.names):
            low, high = domain.bounds[column]
            beyond = torch.maximum(low - x[:, column], x[:, column] - high)
            outside = beyond > 1e-6 * (high - low)
            if outside.any() and not domain.periodic[column]:
                far = float(beyond.max())
                warnings.warn(
                    f"{int(outside.sum())} of {len(x)} points lie outside {low:g} <= {name} <= {high:g}, where the "
                    f"operator was trained, by up to {far:.3g} ({100 * far / (high - low):.3g} % of that interval)",
                    stacklevel=5,  # the call of the module, past torch
                )

    def _warn_unlike(self, name: str, values: Tensor) -> None:
        """Say which values are far from those of a thousand functions drawn as for the training."""
        space = self.problem.spaces().get(name)
        if space is None:  # the functions are those of a file
            return
        if name not in self._ranges:
            self._ranges[name] = self._range(name, space)
        low, high, slack = self._ranges[name]
        if float(values.min()) < low - slack - 1e-6 * abs(low) or float(values.max()) > high + slack + 1e-6 * abs(high):
            warnings.warn(
                f"'{name}' ranges from {float(values.min()):.3g} to {float(values.max()):.3g}, but the operator was "
                f"trained on {low:.3g} to {high:.3g}",
                stacklevel=6,
            )

    def _range(self, name: str, space: Any) -> tuple[float, float, float]:
        """Return the least and the largest value at the sensors, and how far beyond them values are still usual."""
        if isinstance(space, Numbers):  # they end where they end
            return space.low, space.high, 0.0
        drawn = space.evaluate(space.sample(DRAWS, generator(0, "ranges")), self.sensor_points(name))
        low, high = float(drawn.min()), float(drawn.max())
        return low, high, (high - low) / 4


def _parameters(function: Callable[..., Any], own: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parameters that a function needs, and those that it is to be called with by place."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:  # a built-in one, such as torch.sin, does not say
        return own, own
    places = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind == p.VAR_POSITIONAL for p in found):
        return own, own
    needed = tuple(p.name for p in places if p.default is p.empty)
    known = [p.name for p in places]
    last = max((i for i, n in enumerate(known) if n in own), default=-1)
    return needed, tuple(known[: last + 1])
