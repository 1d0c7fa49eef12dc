"""Linear maps given by two functions, A and its adjoint, with derivatives of every order.

The derivative of x -> A x is A, and its transpose is the adjoint: neither function needs to be differentiable.
Source: J. Claerbout, "Earth Soundings Analysis: Processing versus Inversion", 1992, section 5 (the dot-product test).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, MissingExtra

TOLERANCE = 1e-5  # of the dot-product test, relative to |A x| |y|; what float32 leaves of an exact adjoint is below


class LinearMap:
    """A linear map A and its adjoint, for autograd (of any order), torch.func and vmap.

    Args:
        forward: x (n, k) -> A x (m, k), column by column.
        adjoint: y (m, k) -> A^T y (n, k).
        shape: (m, n).
    """

    def __init__(
        self, forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], shape: tuple[int, int]
    ):
        self.shape = shape
        self._maps = (forward, adjoint)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply A to (n, k), giving (m, k); images and volumes enter row by row from the top."""
        return self._apply(x, transpose=False)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^T to (m, k), giving (n, k)."""
        return self._apply(y, transpose=True)

    def _apply(self, x: Tensor, transpose: bool) -> Tensor:
        n = self.shape[0 if transpose else 1]
        if x.dim() != 2 or len(x) != n:
            raise InputError(
                f"this map takes values of shape ({n}, k), got {tuple(x.shape)}", do="reshape them to a column"
            )
        return _Product.apply(x, self, transpose)  # type: ignore[return-value]


class _Product(torch.autograd.Function):
    """A x or A^T x; torch's own backward of a sparse product is 20 times slower and refuses torch.func."""

    @staticmethod
    def forward(x: Tensor, linear: LinearMap, transpose: bool) -> Tensor:
        return linear._maps[transpose](x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, ctx.linear, ctx.transpose = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(grads[0], ctx.linear, not ctx.transpose), None, None  # type: ignore[return-value]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _Product.apply(tangents[0], ctx.linear, ctx.transpose)  # type: ignore[return-value]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> tuple[Tensor, int]:
        x, linear, transpose = args
        x = x.movedim(in_dims[0], -1)  # (n, k, batch)
        y: Any = _Product.apply(x.reshape(len(x), -1), linear, transpose)
        return y.reshape(-1, *x.shape[1:]), x.dim() - 1


def wrap_operator(
    operator: Any,
    image_shape: tuple[int, ...],
    data_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    device: Any = "cpu",
) -> LinearMap:
    """Wrap an operator of another library that has `A` and `A_adjoint`, as deepinv's physics do.

    Args:
        operator: `A` takes images (1, 1, *image_shape) to data (1, 1, *data_shape), `A_adjoint` data to images.
        image_shape: Shape of one image, such as (rows, columns).
        data_shape: Shape of its data, such as (views, bins).
        dtype: Type with which the operator is tried.
        device: Device on which it is tried.

    Returns:
        The linear map between columns of pixels and columns of data.

    Raises:
        InputError: The operator lacks one of the two, the shapes differ, or `A_adjoint` is not the adjoint of `A`
            (the dot-product test with random vectors).

    Example:
        In a problem of one's own, with `physics` of deepinv and a sinogram ``y``::

            def load(self, device, dtype):
                measure = wrap_operator(physics, (64, 64), (180, 64), dtype, device)
                return {"measure": measure, "pixels": PixelGrid(64, 64, 2 / 64).centres(dtype, device)}

            def residuals(self, field, batch):
                return {"data": batch["measure"](field(batch["pixels"])) - y}
    """
    for name in ("A", "A_adjoint"):
        if not callable(getattr(operator, name, None)):
            raise InputError(
                f"an operator must have the methods A(x) and A_adjoint(y), and this one has no {name}()",
                do="wrap it in an object that offers both",
            )
    linear = LinearMap(
        _columns(operator.A, "A", image_shape, data_shape),
        _columns(operator.A_adjoint, "A_adjoint", data_shape, image_shape),
        (torch.Size(data_shape).numel(), torch.Size(image_shape).numel()),
    )
    check_adjoint(linear, dtype, device, "A_adjoint", "A")
    return linear


def as_physics(linear: LinearMap, image_shape: tuple[int, ...], data_shape: tuple[int, ...]) -> Any:
    """Make a linear map, such as a projector, physics of deepinv: the way back of `wrap_operator`.

    Args:
        linear: The map.
        image_shape: Shape of one image, such as (rows, columns).
        data_shape: Shape of its data, such as (views, bins).

    Returns:
        A `deepinv.physics.LinearPhysics` from images (batch, channels, *image_shape) to data (batch, channels,
        *data_shape), each channel by itself.

    Raises:
        InputError: The shapes are not those of the map.
        MissingExtra: deepinv is not installed.
    """
    if linear.shape != (torch.Size(data_shape).numel(), torch.Size(image_shape).numel()):
        raise InputError(
            f"the map takes {linear.shape[1]} pixels to {linear.shape[0]} data, and images of shape {image_shape} with "
            f"data of shape {data_shape} do not fit",
            do="give grid.shape and geometry.shape",
        )
    try:
        from deepinv.physics import LinearPhysics  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise MissingExtra("physics of deepinv need deepinv, which is not installed: pip install deepinv") from error
    forward, adjoint = batched(linear, image_shape, data_shape), batched(linear.adjoint, data_shape, image_shape)
    return LinearPhysics(A=forward, A_adjoint=adjoint)


def batched(
    apply: Callable[[Tensor], Tensor], inside: tuple[int, ...], outside: tuple[int, ...]
) -> Callable[..., Tensor]:
    """Let a map of columns take (batch, channels, *inside) to (batch, channels, *outside); keywords are not used."""

    def mapped(x: Tensor, **_: Any) -> Tensor:
        if x.shape[2:] != torch.Size(inside):
            raise InputError(
                f"(batch, channels, {', '.join(map(str, inside))}) is needed, got shape {tuple(x.shape)}",
                do="add the two axes by x[None, None]",
            )
        columns = apply(x.reshape(-1, torch.Size(inside).numel()).T)
        return columns.T.reshape(*x.shape[:2], *outside)

    return mapped


def check_adjoint(linear: LinearMap, dtype: torch.dtype, device: Any, adjoint: str, forward: str) -> None:
    """Test <A x, y> = <x, A^T y> for random x and y.

    Args:
        linear: The map.
        dtype: Type with which it is tried.
        device: Device on which it is tried.
        adjoint: What a user calls the adjoint.
        forward: What a user calls the map.

    Raises:
        InputError: They do not belong together.
    """
    generator = torch.Generator().manual_seed(0)
    y, x = (torch.randn(n, 1, generator=generator, dtype=dtype).to(device) for n in linear.shape)
    there, back = linear(x), linear.adjoint(y)
    ours, theirs = float((there * y).sum()), float((x * back).sum())
    if not abs(ours - theirs) <= TOLERANCE * float(there.norm() * y.norm()):
        raise InputError(
            f"{adjoint} is not the adjoint of {forward}: <A x, y> is {ours:.7g} but <x, {adjoint} y> is {theirs:.7g} "
            f"for random x and y, and they must agree to {TOLERANCE:g} |A x| |y|",
            do="give the exact adjoint; a back-projection with a filter or an interpolation of its own is not",
        )


def _columns(
    apply: Callable[[Tensor], Tensor], name: str, inside: tuple[int, ...], outside: tuple[int, ...]
) -> Callable[[Tensor], Tensor]:
    def mapped(x: Tensor) -> Tensor:
        images = [apply(column.reshape(1, 1, *inside)) for column in x.T]
        if images and images[0].shape != (1, 1, *outside):
            raise InputError(
                f"{name}() takes a tensor of shape {(1, 1, *inside)} to {tuple(images[0].shape)}, and "
                f"{(1, 1, *outside)} is needed",
                do="give image_shape and data_shape as the operator has them",
            )
        return torch.stack([image.reshape(-1) for image in images], -1)

    return mapped
