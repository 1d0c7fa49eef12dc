"""DeepONet: s(f)(x)_k = sum_l branch(f)_kl trunk(x)_kl + b_k, an operator from functions to fields.

Lu, Jin, Pang, Zhang & Karniadakis, Nature Machine Intelligence 3 (2021), arXiv 1910.03193 (unstacked, with a
bias). The branch sees f through its values at fixed sensors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.activations import TANH, Activation
from nfsolve.fields.encodings import IDENTITY, Encoding
from nfsolve.fields.field import Device, Domain, Field, Transform
from nfsolve.fields.init import Init, default_init
from nfsolve.fields.layers import Layers


class DeepONet(Field):
    """A field over the trunk's coordinates that also takes an input function.

    Args:
        domain: Names, bounds and periodicity of the trunk's coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        sensors: Number of values by which an input function is given.
        width: Width of the hidden layers of both networks.
        depth: Number of hidden layers of both networks.
        latent: Number of products that are summed, for each output.
        activation: Activation of the trunk.
        encoding: Encoding of the trunk's normalised coordinates.
        harmonics: Harmonics of the embedding of periodic coordinates.
        init: Initialisation of the trunk; None takes the activation's own (`default_init`).
        branch_width: Width of the branch; None takes ``width``.
        branch_depth: Number of hidden layers of the branch; None takes ``depth``.
        branch_activation: Activation of the branch, with the initialisation of its own.
        transform: Maps coordinates ``(n, d)`` and raw outputs ``(n, k)`` to ``(n, k)``.
        seed: Seed of weights and encoding.
        dtype: Type of the parameters, default float32.
        device: Device of the parameters, default CPU.

    Raises:
        InputError: A size that is not positive, or parts that do not fit each other.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int = 100,
        *,
        width: int = 64,
        depth: int = 3,
        latent: int = 64,
        activation: Activation = TANH,
        encoding: Encoding = IDENTITY,
        harmonics: int = 1,
        init: Init | None = None,
        branch_width: int | None = None,
        branch_depth: int | None = None,
        branch_activation: Activation = TANH,
        transform: Transform | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ):
        init = init or default_init(activation)
        wide = width if branch_width is None else branch_width
        deep = depth if branch_depth is None else branch_depth
        options = {
            "sensors": sensors,
            "width": width,
            "depth": depth,
            "latent": latent,
            "activation": activation,
        }
        options |= {"encoding": encoding, "harmonics": harmonics, "init": init}
        options |= {"branch_width": wide, "branch_depth": deep, "branch_activation": branch_activation}
        super().__init__(domain, outputs, transform, options, seed, dtype, device)
        k, like = len(self.outputs), self.coordinates.matrix
        common = (seed, like.dtype, like.device)
        features = self.encoding.out_features
        self.trunk = Layers(features, width, depth, activation, init, *common).stack(k * latent)
        branch = Layers(sensors, wide, deep, branch_activation, None, *common, purpose="branch")
        self.branch = branch.stack(k * latent)
        self.bias = nn.Parameter(torch.zeros(k, dtype=like.dtype, device=like.device))
        # row k sums the products of output k
        self.sums: Tensor
        self.register_buffer("sums", torch.eye(k).repeat_interleave(latent, 1).to(like))

    def network(self, features: Tensor) -> Tensor:
        """Map encoded coordinates to the trunk's values ``(n, k * latent)``."""
        return self.trunk(features)

    def forward(self, x: Tensor, f: Tensor) -> Tensor:  # type: ignore[override]
        """Evaluate the image of one function at each point.

        Args:
            x: Points ``(n, d)``.
            f: Sensor values ``(n, sensors)``, one function for each point; ``(1, sensors)`` is one
                for all points.

        Returns:
            Values ``(n, k)``.

        Raises:
            InputError: Another number of coordinates or sensors.
        """
        x = self.cast(x)
        products = self.network(self.encode(x)) * self.branch(self._sensor_values(f))
        return self.finish(x, F.linear(products, self.sums, self.bias))

    def on_grid(self, f: Tensor, x: Tensor) -> Tensor:
        """Evaluate the images of several functions at common points; each network runs once.

        Args:
            f: Sensor values ``(n_functions, sensors)``.
            x: Points ``(n_points, d)``.

        Returns:
            Values ``(n_functions, n_points, k)``.

        Raises:
            InputError: Another number of coordinates or sensors.
        """
        x, k = self.cast(x), len(self.outputs)
        branch = self.branch(self._sensor_values(f)).unflatten(-1, (k, -1))
        trunk = self.network(self.encode(x)).unflatten(-1, (k, -1))
        values = torch.einsum("fkl,xkl->fxk", branch, trunk) + self.bias
        if self.transform is None:
            return values
        points = x.expand(len(f), *x.shape).flatten(0, 1)
        return self.finish(points, values.flatten(0, 1)).unflatten(0, (len(f), len(x)))

    def _sensor_values(self, f: Tensor) -> Tensor:
        sensors = self.config["sensors"]
        if f.ndim < 2 or f.shape[-1] != sensors:
            raise InputError(
                f"sensor values of shape {tuple(f.shape)}",
                f"(n, {sensors}), one row for each function",
                "build the field with sensors= the number of columns",
            )
        return f.to(self.bias.dtype)
