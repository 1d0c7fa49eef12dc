"""Which library sums along rays, and that sum, differentiable any number of times.

Only the optical depth before each sample couples the samples of a ray, an exclusive sum. Its adjoint is the same sum
from the other end, so the backward of nerfacc's packed CUDA kernel is that kernel reversed *as a differentiable
function*; nerfacc 0.5.3 calls the raw kernel there, and every second derivative through it is silently lost.
"""

import functools
import importlib
import importlib.util
import os
import warnings
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import require, unknown
from nfsolve.forward.rendering.samples import Samples

ENGINES = ("torch", "nerfacc")
_HAS_NERFACC = importlib.util.find_spec("nerfacc") is not None
_OVERRIDE = os.environ.get("NFSOLVE_RENDER", "auto")  # read once: torch.compile traces through `engine`


def engine(name: str | None = None, packed: Tensor | None = None) -> str:
    """Decide which engine renders, by what is installed and where tensors lie, never by what fails.

    Args:
        name: ``"nerfacc"``, ``"torch"``, or ``None`` or ``"auto"`` for the environment variable ``NFSOLVE_RENDER``
            (read at import) and, where that says nothing either, for nerfacc where it is installed.
        packed: A tensor of the samples, where rays have different numbers of them. In float32 on CUDA, nerfacc's
            packed kernels serve it; they are built at the first use, which takes minutes and needs ``nvcc``.

    Returns:
        ``"torch"``, ``"nerfacc"`` (its batched functions) or ``"nerfacc-cuda"`` (its packed kernels).

    Raises:
        InputError: There is no such engine.
        MissingExtra: nerfacc was asked for and is not installed.
    """
    asked = _OVERRIDE if name in (None, "auto") else name
    if asked not in ("auto", *ENGINES):
        raise unknown("rendering engine", str(asked), ("auto", *ENGINES))
    if asked == "nerfacc" and not _HAS_NERFACC:
        require("nerfacc", extra="nerf", purpose="rendering with engine 'nerfacc'")
    if asked == "torch" or not _HAS_NERFACC:
        return "torch"
    on_cuda = packed is not None and packed.is_cuda and packed.dtype == torch.float32
    return "nerfacc-cuda" if on_cuda and not torch.compiler.is_compiling() and _kernels_built() else "nerfacc"


def exclusive_sum(values: Tensor, samples: Samples, engine: str) -> Tensor:
    """Sum over the earlier samples of the same ray.

    Args:
        values: ``(n, 1)``.
        samples: The samples.
        engine: What `engine` gave.

    Returns:
        Sums ``(n, 1)``; 0 at the first sample of each ray.
    """
    if engine == "nerfacc-cuda":
        counts = samples.counts()
        return SegmentSum.apply(values[:, 0], counts.cumsum(0) - counts, counts, False)[:, None]  # type: ignore[index]
    rows = samples.rows(values)
    if engine == "nerfacc":
        # A plain import, because torch.compile traces through it and not through importlib.
        import nerfacc

        before = nerfacc.exclusive_sum(rows)
    else:
        before = torch.cumsum(torch.cat([torch.zeros_like(rows[:, :1]), rows[:, :-1]], -1), -1)
    flat = before.reshape(-1, 1)
    return flat if samples.each is not None else flat.index_select(0, samples.slots()[1])


class SegmentSum(torch.autograd.Function):
    """Exclusive sum within segments of a flat tensor by nerfacc's kernel; all its derivatives are itself."""

    @staticmethod
    def forward(values: Tensor, starts: Tensor, counts: Tensor, from_end: bool) -> Tensor:
        """Sum ``(n,)`` values over what lies before in the same segment, or behind it where ``from_end``."""
        return _kernel(values.contiguous(), starts, counts, from_end)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        """Remember the segments."""
        _, starts, counts, ctx.from_end = inputs
        ctx.save_for_backward(starts, counts)
        ctx.save_for_forward(starts, counts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Apply the adjoint, the sum from the other end."""
        total: Any = SegmentSum.apply(grads[0], *ctx.saved_tensors, not ctx.from_end)
        return total, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        """Apply the sum, which is linear, to the tangent."""
        return SegmentSum.apply(tangents[0], *ctx.saved_tensors, ctx.from_end)  # type: ignore[return-value]


def _kernel(values: Tensor, starts: Tensor, counts: Tensor, from_end: bool) -> Tensor:
    return importlib.import_module("nerfacc.cuda").exclusive_sum(starts, counts, values, False, from_end)


@functools.cache
def _kernels_built() -> bool:
    """Build or load nerfacc's extension; if that fails, the reason is given once."""
    try:
        extension, why = importlib.import_module("nerfacc.cuda._backend")._C, "there is no nvcc"
    except Exception as error:  # a compiler's failure comes as OSError, ImportError or RuntimeError
        extension, why = None, str(error)
    if extension is None:
        warnings.warn(f"nerfacc's CUDA kernels are not built, its batched functions render: {why}", stacklevel=3)
    return extension is not None
