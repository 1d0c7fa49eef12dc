"""Fourier neural operator: layers that multiply the leading waves of a function on a grid, axis by axis.

Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart & Anandkumar, ICLR 2021, arXiv 2010.08895; the sum over axes is
the factorised layer of Tran, Mathews, Xie & Ong, ICLR 2023, arXiv 2111.13802.
"""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.fields.activations import GELU, Activation
from nfsolve.fields.affine import Affine
from nfsolve.fields.checks import check_counts
from nfsolve.fields.chosen import chosen
from nfsolve.fields.field import Domain
from nfsolve.fields.init import TorchDefault
from nfsolve.fields.interpolation import Interpolation
from nfsolve.fields.kernel import Kernel
from nfsolve.fields.layers import Dense, Layers
from nfsolve.fields.operators import Operator, joined
from nfsolve.fields.phase import frame_of
from nfsolve.fields.start import Start, nearest

Gelu = GELU()
NARROW, SPREAD = "narrow", "spread"  # from another grid to that of such a map, and back
STENCIL = 6  # points along a coordinate without period through which a polynomial gives values between them


class FNO(Operator):
    """A Fourier neural operator as a field: functions on a grid to solutions on a grid, and between its points.

    Input functions are brought to the grid of the outputs, where each is a channel beside the coordinates. A layer is
    the activation of W h + b + sum over axes of K_i h, where K_i multiplies the leading waves along axis i by matrices.
    Along coordinates without a period the waves are longer than the box, as if zeros stood behind it. Values between
    the points, and all derivatives, are those of the interpolant: sums of waves along periodic coordinates, and
    polynomials through six points along the others; Taylor jets differentiate it.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        sensors: Number of values by which an input function is given; a tuple where there are several functions.
        grid: Points of the outputs along each coordinate: equidistant, with both ends, without the upper end of a
            period.
        shapes: For each input function the sensors along each coordinate, 1 where it does not depend on that
            coordinate; laid out as the grid. Empty takes all sensors along the only coordinate.
        closed: For each input function whether its sensors along periodic coordinates include the upper end, which
            repeats the lower one; empty says that none does.
        width: Number of channels.
        depth: Number of layers.
        modes: Waves along each coordinate that a layer multiplies; at most what the grid resolves.
        start: An affine map or a kernel regression from all sensors to the raw outputs on the grid, to which the
            network, zero at first, is added; None starts without. `for_problem` fits both to labels, and takes the
            better one where it misses few of their deviation.
        padding: By which part waves are longer than the box along coordinates without a period.
        activation: Activation; one with real values and one linear map.
        **options: Arguments of `Field`.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        grid: tuple[int, ...],
        shapes: tuple[tuple[int, ...], ...] = (),
        closed: tuple[bool, ...] = (),
        start: Affine | Kernel | None = None,
        width: int = 32,
        depth: int = 4,
        modes: int = 16,
        padding: float = 0.25,
        activation: Activation | str = Gelu,
        **options: Any,
    ):
        activation, _ = chosen(activation, None)
        laid = {"grid": tuple(grid), "shapes": tuple(map(tuple, shapes)), "closed": tuple(closed)}
        own = {"width": width, "depth": depth, "modes": modes, "padding": padding, "activation": activation}
        super().__init__(domain, outputs, sensors, **laid, **own, **options)
        check_counts("FNO", modes=modes, **{f"grid[{i}]": n for i, n in enumerate(grid)})
        if padding < 0 or activation.is_complex or activation.maps != 1:
            raise InputError(
                f"FNO needs padding of at least 0 and a real activation of one linear map, got {padding} and "
                f"{activation}",
                do="use padding=0.25 and GELU",
            )
        self.shapes = self._checked(laid["grid"], laid["shapes"])
        self._lay_out(domain, laid["grid"])
        self._build(activation)
        if start is not None:
            self.begin(Start(start))

    def _checked(self, grid: tuple[int, ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        d = len(self.inputs)
        shapes = shapes or tuple((m,) for m in self.sensors)
        fit = len(shapes) == len(self.sensors) and all(
            len(s) == d and math.prod(s) == m for s, m in zip(shapes, self.sensors, strict=True)
        )
        if len(grid) != d or min(grid) < 2 or not fit:
            raise InputError(
                f"FNO needs a grid of at least 2 points along {', '.join(self.inputs)}, and for each input function "
                f"as many sensors along each of them as make {self.sensors}, got grid={grid} and shapes={shapes}",
                do="write grid=(64, 64), shapes=((1, 64),) for a function of the second coordinate",
            )
        return shapes

    def _lay_out(self, domain: Domain, grid: tuple[int, ...]) -> None:
        """Make what depends on the grid and has no parameters."""
        like = self.coordinates.matrix
        self.grid = grid
        axes = [axis_of(domain, i, n) for i, n in enumerate(grid)]
        self.between = Interpolation(domain, axes, STENCIL, waves=True).to(like)
        self.points: Tensor
        self.register_buffer("points", torch.cartesian_prod(*axes).reshape(-1, len(axes)).to(like), persistent=False)
        self.modes, padding = [], self.config["padding"]
        for i, n in enumerate(grid):
            length = 1.0 if domain.periodic[i] else 1.0 + padding
            count = max(1, min(self.config["modes"], int(n * length) // 2))
            self.modes.append(count)
            for name, matrix in zip(
                ("analysis", "synthesis"), waves(n, count, length, domain.periodic[i]), strict=True
            ):
                self.register_buffer(f"{name}_{i}", matrix.to(like), persistent=False)
        closed = self.config["closed"] or (False,) * len(self.shapes)
        self.resampled: list[tuple[int, int]] = []
        for j, shape in enumerate(self.shapes):
            for i, (m, n) in enumerate(zip(shape, grid, strict=True)):
                repeats = closed[j] and domain.periodic[i]
                if m > 1 and (m != n or repeats):
                    matrix = F.pad(between(domain, i, m - repeats, axes[i]), (0, int(repeats))).to(like)
                    self.register_buffer(f"resample_{j}_{i}", matrix, persistent=False)
                    self.resampled.append((j, i))

    def _build(self, activation: Activation) -> None:
        c, like, k = self.config, self.coordinates.matrix, len(self.outputs)
        width, d = c["width"], len(self.inputs)
        features = len(self.sensors) + self.encoding.out_features
        given: Any = (activation, TorchDefault(), self.seed, like.dtype, like.device)
        make = Layers(features, width, c["depth"], *given, purpose="channels")
        self.lift = nn.Sequential(
            Dense(make.linear(features, 2 * width, 0), activation, 0), make.linear(2 * width, width, 1)
        )
        self.local = nn.ModuleList(make.linear(width, width, i + 1) for i in range(c["depth"]))
        chance = generator(self.seed, "waves")
        self.spectral = nn.ModuleList(
            nn.ParameterList(
                # a matrix for each wave, side by side, so that optimizers for matrices apply
                nn.Parameter(torch.randn(2 * width, m * width, generator=chance).to(like) / math.sqrt(2 * width * d))
                for m in self.modes
            )
            for _ in range(c["depth"])
        )
        self.head = nn.Sequential(
            Dense(make.linear(width, 4 * width, 1), activation, c["depth"]), make.linear(4 * width, k, c["depth"] + 1)
        )
        self.activation = activation

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field for a problem; as for `Operator`.

        Args:
            problem: As for `Operator`; its method ``layout`` gives ``grid``, ``shapes`` and ``closed`` where they are
                not given.
            **options: Arguments of the constructor.

        Raises:
            InputError: The problem has no grid.
        """
        if not {"grid", "shapes"} <= set(options):
            if not hasattr(problem, "layout"):
                raise InputError(
                    f"FNO needs functions on a grid, and {type(problem).__name__} has none", do="use DeepONet"
                )
            options = problem.layout() | options
        if "start" not in options and hasattr(problem, "on_layout"):
            labels, grid = problem.on_layout(tuple(options["grid"])), tuple(options["grid"])
            laid = options["shapes"], options.get("closed", ()), grid, len(problem.outputs)
            frame = frame_of(problem.domain.periodic, *laid)
            options["start"] = None if labels is None else nearest(*labels, frame=frame)
        return super().for_problem(problem, **options)

    def on(self, domain: Domain, grid: tuple[int, ...], shapes: tuple[tuple[int, ...], ...]) -> "FNO":
        """Return this operator, with the same parameters, on another grid: for functions known at more points, say.

        Args:
            domain: The domain.
            grid: As for the constructor.
            shapes: As for the constructor.
        """
        found = copy.copy(self)
        found._buffers, found._modules = dict(self._buffers), dict(self._modules)
        found.config = self.config | {"grid": grid, "shapes": shapes}
        found.sensors = tuple(math.prod(s) for s in shapes)
        found.shapes = found._checked(grid, shapes)
        found._lay_out(domain, grid)
        if self.start is not None and not self.start.based:
            found._bring_to(self, domain)
        return found

    def _bring_to(self, old: "FNO", domain: Domain) -> None:
        """Keep how functions on this grid are brought to the one of the map that an operator starts from, and back."""
        if SPREAD in old._buffers:
            raise InputError("this operator was moved to another grid already", do="move the one that was trained")
        closed = self.config["closed"] or (False,) * len(self.shapes)
        for j, (new, before) in enumerate(zip(self.shapes, old.shapes, strict=True)):
            for i, (m, n) in enumerate(zip(new, before, strict=True)):
                repeats = int(closed[j] and domain.periodic[i])
                if m != n:
                    matrix = between(domain, i, m - repeats, axis_of(domain, i, n - repeats))
                    if repeats:  # the last value is the first one
                        matrix = F.pad(torch.cat([matrix, matrix[:1]]), (0, 1))
                    self.register_buffer(f"{NARROW}_{j}_{i}", matrix.to(self.points), persistent=False)
        index, weights = old.between.weigh(self.points)
        spread = torch.zeros(len(index), len(old.points)).to(weights).scatter_(1, index, weights)
        self.register_buffer(SPREAD, spread, persistent=False)
        self.before = old.shapes

    def _near(self, functions: Sequence[Tensor], n: int) -> Tensor:
        """Evaluate the map to which the network is added, ``(n, points of the grid, k)``."""
        if SPREAD in self._buffers:
            functions = [self._narrowed(f, j) for j, f in enumerate(functions)]
        assert self.start is not None
        near = self.start(joined(functions)).expand(n, -1)
        near = near.unflatten(1, (-1, len(self.outputs)))
        return self.get_buffer(SPREAD) @ near if SPREAD in self._buffers else near

    def _narrowed(self, f: Tensor, j: int) -> Tensor:
        values = f.unflatten(-1, self.shapes[j])
        for i in range(len(self.grid)):
            if (name := f"{NARROW}_{j}_{i}") in self._buffers:
                values = (values.movedim(i + 1, -1) @ self.get_buffer(name).T).movedim(-1, i + 1)
        return values.flatten(1)

    def table(self, functions: Sequence[Tensor]) -> Tensor:
        """Evaluate on the grid, without the transform: ``(n, points of the grid, k)``."""
        h = self.lift(self._channels(functions))
        for index, (local, weights) in enumerate(zip(self.local, self.spectral, strict=True)):
            h = local(h) + sum(self._convolve(h, i, w) for i, w in enumerate(weights))  # type: ignore[arg-type]
            if index < len(self.local) - 1:
                h = self.activation(h, index)
        found = self.head(h).flatten(1, -2)
        if self.start is None or self.start.based:
            return found
        return self._near(functions, len(found)) + self.start.scale.to(found) * found

    def last(self) -> list[nn.Module]:
        """Return the last projection."""
        return [self.head[-1]]

    def added(self, x: Tensor, functions: Sequence[Tensor], found: Tensor) -> Tensor:
        """Add the map to what the network gives, where that was not done on the grid."""
        return found if self.start is None or not self.start.based else super().added(x, functions, found)

    def _channels(self, functions: Sequence[Tensor]) -> Tensor:
        """Lay input functions and coordinates out on the grid: ``(n, *grid, channels)``."""
        n, laid = max(len(f) for f in functions), []
        for j, (f, shape) in enumerate(zip(functions, self.shapes, strict=True)):
            values = f.unflatten(-1, shape)
            for i in (i for owner, i in self.resampled if owner == j):
                values = (values.movedim(i + 1, -1) @ self.get_buffer(f"resample_{j}_{i}").T).movedim(-1, i + 1)
            laid.append(values.expand(n, *self.grid))
        at = self.encode(self.cast(self.points)).unflatten(0, self.grid)
        return torch.cat([torch.stack(laid, -1), at.expand(n, *at.shape)], -1)

    def _convolve(self, h: Tensor, i: int, weight: Tensor) -> Tensor:
        """Multiply the leading waves of ``(n, *grid, channels)`` along axis i by matrices."""
        width, count = h.shape[-1], self.modes[i]
        z = self.get_buffer(f"analysis_{i}") @ h.movedim(i + 1, -2)
        lead = z.shape[:-2]
        z = z.reshape(-1, 2, count, width).permute(2, 0, 1, 3).reshape(count, -1, 2 * width)
        first, second = weight.unflatten(1, (-1, width))[:, :count].transpose(0, 1).split(width, 1)
        matrix = torch.cat([torch.cat([first, second], 2), torch.cat([-second, first], 2)], 1)
        z = torch.bmm(z, matrix).view(count, -1, 2, width).permute(1, 2, 0, 3).reshape(*lead, 2 * count, width)
        return (self.get_buffer(f"synthesis_{i}") @ z).movedim(-2, i + 1)

    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Interpolate, each function at its own points."""
        table = self.table(functions)
        index, weights = self.between.weigh(x)
        rows = torch.arange(len(table), device=table.device)[:, None]
        return torch.matmul(weights[..., None, :], table[rows, index])[..., 0, :]

    def crossed(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Evaluate every function at every point: ``(n_points, n_functions, k)``."""
        table = self.table(functions)
        nodes = self._nodes(x) if type(x) is Tensor else None
        if nodes is not None:
            return table.transpose(0, 1)[nodes]
        index, weights = self.between.weigh(x)
        columns = table.transpose(0, 1).flatten(1)
        return torch.matmul(weights[..., None, :], columns[index])[..., 0, :].unflatten(-1, table.shape[::2])

    def _nodes(self, x: Tensor) -> Tensor | None:
        """Return the numbers in the grid of points ``(n, d)`` that all lie on it, or None."""
        found = torch.zeros(len(x), dtype=torch.long, device=x.device)
        for i, n in enumerate(self.grid):
            (low, high), wraps = self.between.bounds[i], self.between.periodic[i]
            at = (x[:, i] - low) * ((n if wraps else n - 1) / (high - low))
            near = at.round()
            if bool(((at - near).abs() > 1e-4).any() | (near < 0).any() | (near > (n if wraps else n - 1)).any()):
                return None
            found = found * n + near.long() % n
        return found


def axis_of(domain: Domain, i: int, n: int) -> Tensor:
    """Return n equidistant points along a coordinate, float64: with both ends, without the upper end of a period."""
    low, high = domain.bounds[i]
    if domain.periodic[i]:
        return low + (high - low) * torch.arange(n, dtype=torch.float64) / n
    return torch.linspace(low, high, n, dtype=torch.float64)


def between(domain: Domain, i: int, m: int, axis: Tensor) -> Tensor:
    """Return the matrix ``(len(axis), m)`` that interpolates values at m equidistant points along a coordinate."""
    line: Any = partial(_Line, domain.names[i : i + 1], domain.bounds[i : i + 1], domain.periodic[i : i + 1])()
    index, weights = Interpolation(line, [axis_of(domain, i, m)], STENCIL, waves=True).weigh(axis[:, None])
    return torch.zeros(len(axis), m, dtype=torch.float64).scatter_(1, index, weights)


class _Line:
    """One coordinate of a domain."""

    def __init__(self, names: Any, bounds: Any, periodic: Any):
        self.names, self.bounds, self.periodic = names, bounds, periodic


def waves(n: int, modes: int, length: float, periodic: bool) -> tuple[Tensor, Tensor]:
    """Return the matrices from values at n points of [0, 1] to the leading waves of period ``length``, and back.

    Returns:
        Real parts of the coefficients and then imaginary ones, ``(2 modes, n)``; ``(n, 2 modes)``.
    """
    x = torch.arange(n, dtype=torch.float64) / (n if periodic else n - 1)
    phase = 2 * math.pi * torch.arange(modes, dtype=torch.float64)[:, None] * x / length
    analysis = torch.cat([phase.cos(), -phase.sin()]) / n
    size = torch.where(torch.arange(modes) == 0, 1.0, 2.0)[:, None]
    return analysis, torch.cat([phase.cos() * size, -phase.sin() * size]).T
