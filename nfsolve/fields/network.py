"""Shared base of fields with dense layers: sizes, activation, encoding and initialisation."""

from typing import Any

from nfsolve.fields.activations import TANH, Activation
from nfsolve.fields.chosen import chosen
from nfsolve.fields.encodings import IDENTITY, Encoding
from nfsolve.fields.field import Domain, Field
from nfsolve.fields.init import Init
from nfsolve.fields.layers import Layers


class Network(Field):
    """A field of dense layers on encoded coordinates.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        activation: Activation of the hidden layers, or its name.
        encoding: Encoding of the normalised coordinates.
        harmonics: Harmonics of the embedding of periodic coordinates.
        init: Initialisation, or its name; None takes the activation's own (`default_init`).
        **options: Arguments of `Field`, and further ones of the subclass.

    Raises:
        InputError: A size that is not positive, or parts that do not fit each other.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        width: int = 64,
        depth: int = 3,
        activation: Activation | str = TANH,
        encoding: Encoding = IDENTITY,
        harmonics: int = 1,
        init: Init | str | None = None,
        **options: Any,
    ):
        activation, init = chosen(activation, init)
        own = {"width": width, "depth": depth, "activation": activation, "encoding": encoding}
        super().__init__(domain, outputs, **own, harmonics=harmonics, init=init, **options)

    def layers(self, count: int, width: int | None = None, purpose: str = "weights") -> Layers:
        """Return what makes the layers of a network of encoded coordinates.

        Args:
            count: Number of layers with an activation.
            width: Width of the hidden layers, default the field's own.
            purpose: Names the stream of random numbers.
        """
        features, c, like = self.encoding.out_features, self.config, self.coordinates.matrix
        given = (c["activation"], c["init"], self.seed, like.dtype, like.device, purpose)
        return Layers(features, width or c["width"], count, *given)
