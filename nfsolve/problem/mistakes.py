"""Errors of a user's residual in the user's words: what went wrong, on which line, and what to write instead."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, place_of

LIBRARIES = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))

# what PyTorch says -> what it means, and what to do
MEANINGS = (
    (
        ("its gradient would be lost",),
        "an unknown or an unknown scalar must stay a tensor to be learned, but it was turned into a Python number",
        "use torch functions, as in `torch.exp(self.k)` instead of `math.exp(self.k)`",
    ),
    (
        ("numpy", "__array__", "data pointer"),
        "a numpy function got a tensor that is trained",
        "use the functions of torch, as in torch.sin(u) instead of np.sin(u)",
    ),
    (
        ("converted to Python scalars", "converted to Scalar", ".item()"),
        "a column of values at many points was turned into one Python number",
        "use the functions of torch, as in torch.sin(x) instead of math.sin(x), and neither float() nor .item()",
    ),
    (
        ("'Tensor' object is not callable",),
        "an unknown is a column of its values at the points, not a function that can be evaluated elsewhere",
        "compare two places with @paired, or write integral(...) over others; a delay, u(t - 1), cannot be written",
    ),
    (
        ("Boolean value of Tensor",),
        "a condition asks about many points at once",
        "write torch.where(x > 0, a, b) instead of if and else",
    ),
    (
        ("mat1 and mat2", "size of tensor", "same dtype", "Sizes of tensors"),
        "shapes or types of tensors do not fit",
        "a field maps points (n, d) to values (n, k), and every name in a signature is a column (n, 1)",
    ),
)


def in_words(error: Exception, kind: str) -> InputError:
    """Explain an error that was raised where the residuals were evaluated.

    Args:
        error: What was raised.
        kind: Name of the problem's class.

    Returns:
        The error to raise in its place.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*LIBRARIES, "<"))]
    said = (str(error) or type(error).__name__).splitlines()[0]
    fits = ((what, do) for words, what, do in MEANINGS if any(word in said for word in words))
    what, do = next(fits, ("", "evaluate problem.residuals(field, batch) yourself to look closer"))
    what = f"{what} ({said})" if what else f"{type(error).__name__}: {said}"
    if not own:
        return InputError(f"The residuals of {kind} cannot be evaluated with this field: {what}", do=do)
    place = f"{own[-1].filename}, line {own[-1].lineno}"
    return InputError(f"`{own[-1].name}` failed at `{own[-1].line}` ({place}): {what}", do=do)


def check_residual(method: Callable[..., Any] | None, name: str, r: Tensor, n: int | None, tied: bool = False) -> None:
    """Refuse a residual that is not a real table with a row for each point.

    Args:
        method: The method that computes it, or None where there is no such method.
        name: Name of the residual.
        r: What it returned.
        n: Number of its points, or None where the batch has none.
        tied: Whether it has as many columns as points, however many these are.

    Raises:
        InputError: The message names the method and its place.
    """
    place = "" if method is None else place_of(method)
    if not r.is_floating_point():
        what = "complex" if r.is_complex() else str(r.dtype)
        raise InputError(
            f"residual '{name}' must be real, but it is {what}{place}",
            do="return torch.cat([r.real, r.imag], -1)" if r.is_complex() else "return the difference itself",
        )
    if r.ndim == 2 and r.numel() and (n is None or (r.shape[0] == n and not tied)):
        return
    do = "a (n, 1) column was probably combined with a (n,) vector: keep columns, as in x[:, :1]"
    if r.ndim == 0:
        do = "return the residual at each point, not its mean square: the loss takes that itself"
    elif r.ndim == 2 and not r.numel():
        do = "every name in a signature is one column: x is the coordinate x, so x[:, 1:2] is empty"
    raise InputError(
        f"residual '{name}' must have one row for each point and few columns, ({n or 'n'}, k), "
        f"got shape {tuple(r.shape)}" + (f" for {n} points" if n else "") + place,
        do=do,
    )


def first_bad_point(names: tuple[str, ...], points: Tensor, r: Tensor) -> str:
    """Say at which point a residual is first not finite, as "nan at t = 0.5, x = 0".

    Args:
        names: Names of the coordinates.
        points: Points ``(n, d)``.
        r: The residual ``(m, k)``, of which row i belongs to point i modulo n.

    Returns:
        The words; empty where the residual is finite.
    """
    bad = (~torch.isfinite(r)).reshape(len(r), -1).any(1).nonzero()
    if not len(bad):
        return ""
    row = int(bad[0])
    value = next(v for v in r[row].reshape(-1).tolist() if v != v or v in (float("inf"), -float("inf")))
    place = ", ".join(f"{n} = {v:.6g}" for n, v in zip(names, points[row % len(points)].tolist(), strict=True))
    return f"{value} at {place}"
