"""Maps to which the network of an operator is added: an affine one, or a kernel regression, fitted to labels."""

import math
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.affine import Affine, affine
from nfsolve.fields.kernel import KERNELS, Kernel, answers, evaluate, kernel, solver
from nfsolve.fields.phase import Frame, aligned, as_table, carried, from_table, led
from nfsolve.fields.tensor_basis import Side, tensor_basis

NEARLY = 0.05  # error of a map, relative to the deviation of the labels, from which a network starts
PARTS = {"affine": ("weight", "bias"), "kernel": ("centre", "metric", "known", "weight", "mean", "alone")}
PLACES = "places_centre", "places_metric", "places_known", "places_solver"
BOX, SIZES = "basis_box", "basis_sizes"
PIECE = 2**24  # values of the basis at once
LEAST = 1e-7  # of the deviation of labels, what float32 resolves


class Start(nn.Module):
    """A map from all sensors to the raw outputs at fixed points, and the scale of what it misses.

    Args:
        found: The map; None leaves all to weights that are loaded.
        points: The points ``(p, d)`` where values elsewhere are wanted and these do not form a grid; float64.
        labels: Raw outputs there ``(n, p, k)``, by which it is chosen how to interpolate.
        like: Type and device of the field.
        basis: Box and sizes of the basis of `tensor_basis` where the map gives coefficients in it, not raw outputs.
    """

    scale: Tensor

    def __init__(
        self,
        found: Affine | Kernel | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        like: Tensor | None = None,
        basis: tuple[tuple[Side, ...], tuple[int, ...]] | None = None,
    ):
        super().__init__()
        if found is None:
            return
        device = None if like is None else like.device
        held: dict[str, Tensor] = {name: getattr(found, name) for name in PARTS[kind_of(found)]}
        if isinstance(found, Kernel):
            held["kernel"] = torch.tensor(list(KERNELS).index(found.name))
            held |= {"frame": as_table(found.frame)} if found.frame else {}
        if points is not None and labels is not None:
            held |= interpolant(points, labels)
        if basis is not None:
            held |= {BOX: torch.tensor(basis[0], dtype=torch.float64), SIZES: torch.tensor(basis[1])}
        for name, value in held.items():
            self.register_buffer(name, value.to(device))
        self.register_buffer("scale", torch.tensor(max(found.size, LEAST), dtype=torch.float64).to(device))

    @property
    def kind(self) -> str:
        """What it is, ``affine`` or ``kernel``."""
        return "kernel" if "kernel" in self._buffers else "affine"

    @property
    def scattered(self) -> bool:
        """Whether it gives values between its points."""
        return PLACES[0] in self._buffers

    @property
    def based(self) -> bool:
        """Whether it gives values everywhere with all derivatives, as sums of a basis."""
        return BOX in self._buffers

    def remark(self) -> str:
        """Say what it is and how good."""
        name = "an affine map" if self.kind == "affine" else "a kernel regression"
        name += " of functions moved until their longest wave has phase zero" if "frame" in self._buffers else ""
        if self.based:
            return (
                f"the network is added to {name} fitted to solutions of the equations, in a basis of "
                f"{' x '.join(map(str, self.get_buffer(SIZES).tolist()))}, which misses {float(self.scale):.1e} of "
                "functions left out"
            )
        missed = f"misses {float(self.scale):.1e} of functions left out, in units of the field's raw outputs"
        return f"the network is added to {name} fitted to training pairs, which {missed}"

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move, and keep float64 where the type changes: the weights of a kernel regression cancel each other."""
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, before in kept.items():
            if before is not None:
                self._buffers[name] = before.to(self._buffers[name].device)  # type: ignore[union-attr]
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Take the sizes from the weights: the labels that made the map may be gone."""
        self._buffers.clear()
        for name, value in state_dict.items():
            if name.startswith(prefix):
                self.register_buffer(name.removeprefix(prefix), torch.empty_like(value))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, rows: Tensor) -> Tensor:
        """Map the values of all sensors side by side ``(n, m)`` to raw outputs ``(n, p * k)``, in their type."""
        if self.kind == "affine":
            return (rows.double() @ self.get_buffer("weight") + self.get_buffer("bias")).to(rows)
        name = list(KERNELS)[int(self.get_buffer("kernel"))]
        parts = [self.get_buffer(part) for part in PARTS["kernel"]]
        if "frame" not in self._buffers:
            return evaluate(name, parts, rows).to(rows)
        frame = from_table(self.get_buffer("frame"))
        moved, shifts = aligned(frame, rows.double())
        return carried(frame, evaluate(name, parts, moved), -shifts).to(rows)

    def between(self, x: Tensor, values: Tensor) -> Tensor:
        """Interpolate, or add up the basis.

        Args:
            x: Points ``(n, d)``, or ``(n, B, d)`` where each function has its own.
            values: Raw outputs of B functions at the points of the map, or their coefficients, ``(B, p, k)``.

        Returns:
            Values ``(n, B, k)``.
        """
        if self.based:
            return self._sums(x, values)
        if type(x) is not Tensor:
            raise InputError(
                "this operator is added to a map between scattered points, which has no derivatives by Taylor jets",
                do="build it with start=None",
            )
        centre, metric, known, solve = (self.get_buffer(name) for name in PLACES)
        name = list(KERNELS)[int(self.get_buffer("places_kernel"))]
        mean = values.double().mean(1)
        near = solve @ (values.double() - mean[:, None])
        weights = answers(name, (x.double() - centre) @ metric, known)
        found = torch.einsum("np,bpk->nbk" if x.ndim == 2 else "nbp,bpk->nbk", weights, near)
        return (found + mean).to(values)

    def _sums(self, x: Tensor, values: Tensor) -> Tensor:
        sides = [(low, high, bool(wraps)) for low, high, wraps in self.get_buffer(BOX).tolist()]
        sizes = self.get_buffer(SIZES).tolist()
        if type(x) is Tensor and len(x) > (most := max(1, PIECE // (math.prod(sizes) * (x[0].numel() // len(sides))))):
            return torch.cat([self._sums(part, values) for part in x.split(most)])
        basis = tensor_basis(x, sides, sizes)
        if x.ndim == 2:
            return F.linear(basis, values.transpose(1, 2).flatten(0, 1)).unflatten(-1, (-1, values.shape[2]))
        return torch.matmul(basis[..., None, :], values)[..., 0, :]


def interpolant(points: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return what interpolates between points: a kernel regression of values on places."""
    found = kernel(points, labels.transpose(0, 1).flatten(1))
    if found is None:
        raise ValueError("values at these points cannot be interpolated")
    solve = solver(found)
    parts = (found.centre, found.metric, found.known, solve)
    return dict(zip(PLACES, parts, strict=True)) | {"places_kernel": torch.tensor(list(KERNELS).index(found.name))}


def kind_of(found: Affine | Kernel) -> str:
    """Name a map."""
    return "affine" if isinstance(found, Affine) else "kernel"


def nearest(x: Tensor, y: Tensor, enough: float = NEARLY, frame: Frame = ()) -> Affine | Kernel | None:
    """Return the affine map or the kernel regression that misses less of functions left out, if that is little.

    Args:
        x: Input functions ``(n, m)``, float64.
        y: Output functions ``(n, p)``, float64.
        enough: Error, relative to the deviation of y, below which it is.
        frame: Along what functions may be moved before the regression sees them. Whether solutions move with them is
            not known: it is tried.
    """
    found = [start for start in (affine(x, y), kernel(x, y)) if start is not None]
    if frame and found:
        frame = led(frame, x)
        moved, shifts = aligned(frame, x)
        more = kernel(moved, carried(frame, y, shifts))
        if more is not None:
            deviation = float((y - y.mean(0)).square().mean().sqrt())
            found.append(more._replace(error=more.size / deviation, frame=frame))
    return min((start for start in found if start.error < enough), key=lambda start: start.error, default=None)
