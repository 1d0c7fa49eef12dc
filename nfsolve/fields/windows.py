"""A field that is put together from fields on successive intervals of one coordinate, usually time."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.field import OnArrays


class Windows(OnArrays):
    """Piecewise field: each point is given to the field of the interval that it is in.

    The first and the last field also answer for what lies before and after. A cut itself belongs to the later field.

    Args:
        fields: One field for each interval, with the same inputs and outputs.
        cuts: Where one interval ends and the next begins, ascending, one fewer than there are fields.
        column: Column of the coordinate that is cut.

    Attributes:
        inputs: Coordinate names.
        outputs: Output names.

    Raises:
        InputError: Numbers of fields and cuts do not fit, or cuts do not ascend.
    """

    cuts: Tensor

    def __init__(self, fields: list[nn.Module], cuts: tuple[float, ...], column: int = 0):
        super().__init__()
        if len(fields) != len(cuts) + 1 or list(cuts) != sorted(set(cuts)):
            raise InputError(
                f"Windows needs one field for each interval between ascending cuts, got {len(fields)} fields and "
                "cuts at "
                f"{', '.join(f'{cut:g}' for cut in cuts) or 'none'}",
                do="give one cut fewer than fields",
            )
        self.fields = nn.ModuleList(fields)
        self.column = column
        self.inputs: tuple[str, ...] = tuple(getattr(fields[0], "inputs", ()))
        self.outputs: tuple[str, ...] = tuple(getattr(fields[0], "outputs", ()))
        device = next((p.device for p in fields[0].parameters()), None)
        self.register_buffer("cuts", torch.tensor(cuts, dtype=torch.float64, device=device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the field.

        Args:
            x: Points ``(n, d)``; more leading axes may precede.

        Returns:
            Values ``(n, k)``.
        """
        which = self._which(x)
        if torch._C._functorch.is_functorch_wrapped_tensor(x):  # type: ignore[attr-defined]
            return self._everywhere(x, which)  # a choice of rows has no fixed size under vmap
        parts = {w: which == w for w in range(len(self.fields))}
        values = {w: self.fields[w](x[rows]) for w, rows in parts.items() if rows.any()}
        if not values:
            return self.fields[-1](x)
        some = next(iter(values.values()))
        result = some.new_zeros(*x.shape[:-1], some.shape[-1])
        for w, value in values.items():
            result = result.masked_scatter(parts[w][..., None].expand_as(result), value)
        return result

    def _which(self, x: Tensor) -> Tensor:
        """Return the number of the field of each point."""
        return (x[..., self.column, None].detach() >= self.cuts.to(x.dtype)).sum(-1)

    def pieces(self, x: Tensor) -> Iterator[tuple[Tensor, nn.Module]]:
        """Yield the rows of points ``(n, d)`` that belong to a field, and the field; the last one where there are none.

        Derivatives are taken field by field, since each has rules of its own.
        """
        which = self._which(x)
        there = which.unique().tolist() or [len(self.fields) - 1]
        for w in there:
            yield (which == w).nonzero()[:, 0], self.fields[w]

    def _everywhere(self, x: Tensor, which: Tensor) -> Tensor:
        """Evaluate every field at every point and choose."""
        result = self.fields[0](x)
        for w in range(1, len(self.fields)):
            result = torch.where((which >= w)[..., None], self.fields[w](x), result)
        return result

    def extra_repr(self) -> str:
        """Show names and cuts."""
        return f"({', '.join(self.inputs)}) -> ({', '.join(self.outputs)}), cuts={self.cuts.tolist()}"
