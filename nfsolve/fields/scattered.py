"""An attention operator on scattered points: functions known at places of their own to solutions at any points.

Values with their places are gathered by attention into a few slices, which attend to each other, and points read them:
slices as in Wu, Luo, Wang, Wang & Long, Transolver, ICML 2024, arXiv 2402.02366; cross-attention of points to an
encoded function as in Hao et al., GNOT, ICML 2023, arXiv 2302.14376.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.activations import GELU, Activation
from nfsolve.fields.field import Domain
from nfsolve.fields.layers import Layers
from nfsolve.fields.network import Network
from nfsolve.fields.operators import Functions, Operator
from nfsolve.fields.places import checked_dims, counted, own_dims

Gelu = GELU()
LARGEST = 30.0  # score of a slice
OCTAVES = 3  # waves of places, of the half-interval and of its halves
SHARPNESS = 8.0  # of slices at the start: of one alike, all would learn the same


class ScatteredOperator(Operator, Network):
    """An operator that reads functions with their places, in any number and order, and answers at any points.

    Input functions whose places are the same for all are rows of values; where each function has its own, a row has
    value and place of one sensor after the other, NaN where a function has fewer. A function becomes ``slices`` vectors
    that are weighted means over its sensors, so that its mean value is kept when sensors are added; these attend to
    each other in ``depth`` layers. A point attends to them, and a network reads what it found beside the point.

    Arguments and errors as for `Network`, and:

    Args:
        sensors: Number of columns of an input function; a tuple where there are several functions.
        places: For each input function whose places are the same for all, these, normalised to [-1, 1], ``(m, d)``;
            None where a row has them, or where they are not known and their numbers count.
        dims: Coordinates of a place, for each input function with places in its rows; 0 for others.
        slices: Vectors into which a function is gathered.
    """

    reads_places = True

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        places: tuple[Any, ...] = (),
        dims: tuple[int, ...] = (),
        slices: int = 32,
        width: int = 64,
        depth: int = 2,
        activation: Activation | str = Gelu,
        **options: Any,
    ):
        own = {"dims": tuple(dims), "slices": slices, "width": width, "depth": depth, "activation": activation}
        super().__init__(domain, outputs, sensors, **own, **options)
        like, c, k = self.coordinates.matrix, self.config, len(self.outputs)
        self.dims = checked_dims(dims, self.sensors)
        if activation_of(c).is_complex or activation_of(c).maps != 1 or slices < 1:
            raise InputError(
                "ScatteredOperator needs a real activation of one linear map, and at least one slice, got "
                f"{activation}, slices={slices}",
                do="use GELU and slices=32",
            )
        given: Any = (activation_of(c), c["init"], self.seed, like.dtype, like.device)
        at = [self._places(i, places[i] if i < len(places) else None) for i in range(len(self.sensors))]
        for i, table in enumerate(at):
            self.register_buffer(f"places_{i}", table, persistent=False)
        self.tokens, self.kernels, self.gates = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, table in enumerate(at):
            d = self.dims[i] or table.shape[1]
            self.tokens.append(Layers(1 + (1 + 2 * OCTAVES) * d, width, 2, *given, purpose=f"token {i}").stack(width))
            self.kernels.append(Layers((1 + 2 * OCTAVES) * d, width, 1, *given, purpose=f"kernel {i}").stack(width))
            self.gates.append(Layers((1 + 2 * OCTAVES) * d, width, 1, *given, purpose=f"gate {i}").stack(slices))
        make = Layers(width, width, depth, *given, purpose="slices")
        self.mixers = nn.ModuleList(
            nn.ModuleList([make.linear(width, 3 * width, i), make.linear(width, width, i), *self._perceptron(given, i)])
            for i in range(depth)
        )
        self.query = self.layers(2).stack(width)
        self.keys = make.linear(width, 2 * width, depth)
        self.head = Layers(width, width, 2, *given, purpose="head").stack(k)

    def _perceptron(self, given: Any, i: int) -> list[nn.Module]:
        width = self.config["width"]
        return [Layers(width, 2 * width, 1, *given, purpose=f"perceptron {i}").stack(width)]

    def _places(self, i: int, given: Any) -> Tensor:
        like, m = self.coordinates.matrix, self.sensors[i]
        if self.dims[i]:
            return torch.empty(0, self.dims[i]).to(like)
        at = torch.linspace(-1, 1, m)[:, None] if given is None else torch.as_tensor(given)
        return at.to(like)

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> Self:
        """Build the field for a problem; as for `Operator`.

        Args:
            problem: As for `Operator`; its ``sensor_points`` give the places, and its ``own_sensors`` says of which
                input functions each has its own.
            **options: Arguments of the constructor.
        """
        if "dims" not in options and hasattr(problem, "sensor_points"):
            options["dims"] = own_dims(problem)
            at = [problem.sensor_points(name) for name in problem.inputs]
            options["places"] = tuple(None if d else _normalised(a) for a, d in zip(at, options["dims"], strict=True))
        return super().for_problem(problem, **options)

    def sensor_values(self, functions: Functions) -> tuple[Tensor, ...]:
        """Check sensor values; rows with places may have any number of them."""
        return self.checked(functions, counted(functions, self.sensors, self.dims))

    def encoded(self, functions: Sequence[Tensor]) -> Tensor:
        """Gather all input functions into slices that have attended to each other, ``(n, slices, width)``."""
        parts = []
        for i, f in enumerate(functions):
            if self.dims[i]:
                table = f.unflatten(-1, (-1, 1 + self.dims[i]))
                known = ~table.isnan().any(-1)
                table = table.nan_to_num(0.0)
                values, at = table[..., :1], table[..., 1:]
            else:
                values = f[..., None]
                at = self.get_buffer(f"places_{i}").expand(*f.shape, -1)
                known = torch.ones_like(f, dtype=torch.bool)
            phases = [math.pi * 2**j * at for j in range(OCTAVES)]
            near = torch.cat([at, *map(torch.sin, phases), *map(torch.cos, phases)], -1)
            # to which slice a sensor belongs depends on its place alone, so that slices are linear in values first
            weights = torch.softmax(SHARPNESS * self.gates[i](near), -1) * known[..., None]
            weights = weights / weights.sum(-2, keepdim=True).clamp_min(1e-6)
            direct, given = self.tokens[i](torch.cat([values, near], -1)), self.kernels[i](near)
            parts.append(weights.mT @ (direct + values * given))
        rows = max(len(p) for p in parts)
        slices = torch.stack([p.expand(rows, -1, -1) for p in parts]).sum(0)
        for joint, out, perceptron in self.mixers:  # type: ignore[misc]
            q, k, v = joint(slices).chunk(3, -1)
            scores = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
            slices = slices + out(scores @ v)
            slices = slices + perceptron(slices)
        return slices

    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Let points read the slices of their function: points ``(..., n or 1, d)``, one axis for functions."""
        slices = self.encoded(functions)
        keys, values = self.keys(slices).chunk(2, -1)
        query = self.query(self.encode(x))
        scores = torch.matmul(query[..., None, :], keys.mT)[..., 0, :] * (1 / (LARGEST * math.sqrt(keys.shape[-1])))
        # a softmax whose scores are bounded instead of shifted, since Taylor jets pass through it
        weights = torch.exp(torch.tanh(scores) * LARGEST)
        weights = weights / weights.sum(-1, keepdim=True)
        return self.head(torch.matmul(weights[..., None, :], values)[..., 0, :] + query)


def activation_of(config: dict[str, Any]) -> Activation:
    """Return the activation of a configuration."""
    return config["activation"]


def _normalised(at: Tensor) -> Tensor:
    low, high = at.amin(0), at.amax(0)
    return (2 * at - low - high) / (high - low).clamp_min(1e-12)
