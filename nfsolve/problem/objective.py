"""The objective: a problem and a field as an optimizer sees them."""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, jacrev, vmap
from torch.utils._pytree import tree_leaves, tree_map, tree_structure, tree_unflatten

from nfsolve._core.errors import InputError
from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.curvature import Jacobian, KroneckerFactors, LeastSquares
from nfsolve.curvature.local import LocalRows
from nfsolve.diff import Unsupported, jacobian_by_rows
from nfsolve.fields import RandomFeatures
from nfsolve.problem.coupling import couples, perturbed
from nfsolve.problem.mistakes import check_residual, first_bad_point, in_words
from nfsolve.problem.problem import Batch, Problem, SamplerState
from nfsolve.problem.rows import leading, part_of, pieces_of, row_count, rows_at_once
from nfsolve.problem.spread import Layout, SpreadField, divided
from nfsolve.problem.unknowns import NoNumbers, Unknowns
from nfsolve.weighting import Constant, Weighting, Weights

Evaluate = Callable[[nn.Module, dict[str, Tensor]], Any]
Scale = Callable[[Tensor], float | Tensor]  # factor on the rows of a residual (n, k)

PIECE = 2**16  # points whose residuals are evaluated at once without a graph
FEW = 16  # rows that tell the number of entries of each
LOCAL = 2**14  # points whose rows are made at once for a field of local functions
SLOW, SLOW_SCALE, SLOW_WAVES = 30, 1.0, 4.5  # features of a slow field, and their bandwidths: those of whole periods
SLOW_STEP = 1e-3  # of its central difference
WHOLE_ROWS = 64  # rows of the Jacobian of a coupled residual that are differentiated at once, for memory


class System(nn.Module):
    """Everything that is trained: the field and the unknown scalars of the problem."""

    def __init__(self, field: nn.Module, unknowns: Unknowns):
        super().__init__()
        self.field = field
        self.unknowns = unknowns

    def forward(self, evaluate: Evaluate) -> Any:
        """Call ``evaluate(field, unknown values)``, so that `functional_call` reaches both."""
        return evaluate(self.field, self.unknowns.values())


class Objective(LeastSquares):
    """A torch closure that also offers the named residuals as a pure function of the parameters.

    Called, it is an ordinary closure: gradients are zeroed, the loss ``sum of weight * mean(residual**2)`` is
    evaluated and differentiated. `residuals` gives the named residuals, `stacked` and `jacobian` (of
    `LeastSquares`) the vector whose squared norm is the loss. Points stay fixed until `resample`, weights until
    `reweigh`.

    Args:
        problem: The problem.
        field: The field to train, on its device and in its dtype.
        data: What ``problem.load`` gave.
        generator: CPU generator of the points.
        compile: Compile the evaluation of the residuals with `torch.compile`.
        weighting: Scheme that adapts the weights; None keeps those that the problem states.
        coupled: What another objective of this problem found to couple its points; None finds it.
        ranks: The processes that share the rows. All of them hold the same parameters, points and weights; what is
            evaluated by rows is evaluated by parts, so that everything but `parts` and `jacobian_rows` is the same on
            each.
    """

    _under = "field."

    def __init__(
        self,
        problem: Problem,
        field: nn.Module,
        data: Batch,
        generator: Generator,
        compile: bool = False,
        weighting: Weighting | None = None,
        coupled: frozenset[str] | None = None,
        ranks: Ranks = ALONE,
    ):
        self.problem, self.ranks = problem, ranks
        self.data = data
        self.generator = generator
        unknowns = Unknowns(problem.unknown_scalars())
        first = next(field.parameters())
        self.system = System(field, unknowns.to(device=first.device, dtype=first.dtype))
        self.weights = Weights(weighting or Constant(), problem.weights())
        self.batch: Batch = {}
        self._sampler = SamplerState()  # of the current stage, without field and batch
        self._latest: dict[str, Tensor] = {}
        self._only: Collection[str] | None = None  # residuals that count for a while
        self._recordable: dict[str, bool] = {}  # residual name -> whether its Jacobian comes from linear layers
        self.unused: tuple[str, ...] = ()  # unknown scalars in no residual, which `check` finds
        self.graph_bytes: int | None = None  # what autograd keeps of one evaluation, which `check` counts
        self._coupled = coupled
        self._piece = PIECE if compile else rows_at_once(self.system, PIECE)
        self._evaluate = torch.compile(self._evaluate_eagerly) if compile else self._evaluate_eagerly
        super().__init__(self._stack_at, dict(self.system.named_parameters()))
        if ranks and compile:
            raise InputError(
                f"compile=True is for one process, got {ranks.count} processes", do="leave compile out, or torchrun"
            )
        ranks.copy_first(list(self.system.state_dict().values()))
        self._drawn_from = self.generator.get_state()
        self._use(problem.sample(data, self._sampler, generator))

    def _sizes_at(self, name: str, rows: Any) -> Tensor:
        """Return the norm of one residual at each of many points (n,), of which each rank evaluates a part."""
        n = leading(rows)
        divides = self.problem.pointwise and name not in self.coupled and n >= self.ranks.count
        mine = self.ranks.block(n) if divides else slice(0, n)
        found = self._evaluated(None, {name: part_of(rows, mine.start, mine.stop)}, eagerly=True)[name]
        sizes = torch.linalg.vector_norm(found, dim=1)
        return sizes if len(sizes) == n else self.ranks.scatter(sizes, mine, n)

    def choose(self, only: str) -> None:
        """Train only the parameters of the field whose names begin with ``only``; empty takes all."""
        super().choose(only)
        self._recordable = {}

    def sample_as(self, sampler: SamplerState) -> None:
        """Draw as many points, or as coarse ones, as a state without batch and field says, from the next draw on."""
        self._sampler = sampler

    @torch.no_grad()
    def resample(self) -> None:
        """Draw new points, rays or a mini-batch."""
        self._drawn_from = self.generator.get_state()
        state = replace(self._sampler, field=self.system.field, batch=self.batch, sizes=self._sizes_at)
        self._use(self.bound().sample(self.data, state, self.generator))

    @contextmanager
    def restricted(self, names: Collection[str]) -> Iterator[None]:
        """Keep only some residuals for a while; one that is not pointwise may still read the points of the others."""
        whole = self.batch
        if self.problem.pointwise:
            self._use({name: rows for name, rows in whole.items() if name in names})
        self._only, self._layout, self._divided = names, None, None
        try:
            yield
        finally:
            self._only = None
            self._use(whole)

    def _use(self, batch: Batch) -> None:
        before, self.batch = self.batch, batch
        self._sizes: dict[str, int] | None = None  # rows of each residual on these points
        self._divided: tuple[Batch | None] | None = None  # what this rank evaluates of them
        self._layout: Layout | None = None  # where its rows stand among those of all
        self.weights.resampled(before, self)

    def reweigh(self, step: int) -> None:
        """Let the weighting scheme act before optimizer step ``step``, if it is due."""
        self.weights.turn(step, self)

    def residuals(self, params: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Evaluate the named residuals on the current points.

        Args:
            params: Parameter name -> value, for a pure evaluation; None takes the current values.

        Returns:
            Residual name -> ``(n, k)``.

        Raises:
            InputError: A residual does not have one row for each point.
        """
        return self._everywhere(params)

    @property
    def piece_share(self) -> float:
        """Part of the points that is evaluated at once where no gradient of all of them is asked for."""
        return min(1.0, self._piece / max(_rows(self.batch), 1)) if self._is_pointwise else 1.0

    def bound(self) -> Problem:
        """Return the problem with the current values of its unknown scalars."""
        return self._bound(self.system.unknowns.values())

    def unknown_values(self) -> dict[str, float]:
        """Return the current values of the unknown scalars."""
        return {name: float(value.detach()) for name, value in self.system.unknowns.values().items()}

    def loss(self) -> Tensor:
        """Return the loss with its graph, without side effects on gradients."""
        return self._loss_of(self.residuals())

    def eager_loss(self) -> Tensor:
        """Return the loss with a graph that can be differentiated twice; that of a compiled evaluation cannot."""
        return self._loss_of(self._everywhere() if self.ranks else self._evaluate_eagerly(self.batch))

    def _loss_of(self, residuals: dict[str, Tensor]) -> Tensor:
        self.evaluations += 1
        self._latest = {name: r.detach() for name, r in residuals.items()}
        return self.combine(residuals)

    def combine(self, residuals: dict[str, Tensor]) -> Tensor:
        """Return the loss of evaluated residuals, with the current weights."""
        terms = [self.weights.term(name, r) for name, r in residuals.items()]
        return sum(terms[1:], terms[0])

    def not_finite(self) -> tuple[str, str]:
        """Return a residual that was not finite in the latest evaluation, or is not now, and where; else empty."""
        with torch.no_grad():
            for residuals in (self._latest, self.residuals()):
                for name, r in residuals.items():
                    if not torch.isfinite(r).all():
                        return name, self._bad_point(name, r)
        return "", ""

    def _bad_point(self, name: str, r: Tensor) -> str:
        points, domain = getattr(self.batch.get(name), "points", None), getattr(self.problem, "domain", None)
        return "" if points is None or points.ndim != 2 or domain is None else first_bad_point(domain.names, points, r)

    @property
    def _is_pointwise(self) -> bool:
        """Whether Jacobians are taken point by point: the problem is pointwise and all parameters are real."""
        return self.problem.pointwise and not any(p.is_complex() for p in self.parameters)

    @property
    def coupled(self) -> frozenset[str]:
        """Names of the residuals of a pointwise problem that couple their points all the same; found once."""
        if self._coupled is None:
            self._coupled = frozenset(name for name in self._names if self._couples(name))
        return self._coupled

    @property
    def _names(self) -> list[str]:
        """Names of the residuals of a pointwise problem."""
        if not self._is_pointwise:
            return []
        with torch.no_grad():
            return list(self._evaluate_eagerly(_shortened(self.batch)))

    def _couples(self, name: str) -> bool:
        def evaluate(params: dict[str, Tensor], rows: Batch) -> Tensor:
            with torch.no_grad():
                return self._named_at(params, {name: rows})[name]

        now = {key: p.detach() for key, p in self.system.named_parameters()}
        return couples(evaluate, _shortened(self.batch)[name], (perturbed(now), now))

    def kronecker_factors(self, generator: Generator, samples: int = 1) -> list[KroneckerFactors]:
        """Return Kronecker factors as `LeastSquares` does.

        Raises:
            InputError: A residual couples its points: a sum of factors over rows misses the products between them.
        """
        if self.coupled:
            raise InputError(
                "Kronecker factors need residuals that depend on their own points alone, and "
                f"{', '.join(map(repr, sorted(self.coupled)))} couples the points",
                do="use gauss_newton, ssbroyden, lbfgs or adam",
            )
        return super().kronecker_factors(generator, samples)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of entries of each residual on the current points."""
        if self._sizes is None:
            with torch.no_grad():
                self._sizes = self._counted_sizes()
        return self._sizes

    def _counted_sizes(self) -> dict[str, int]:
        """Return the number of entries of each residual, from a few rows where these do not depend on others."""
        lengths = {name: leading(rows) for name, rows in self.batch.items()} if self._is_pointwise else {}
        if self.ranks or not lengths:
            return {name: r.numel() for name, r in self._everywhere(eagerly=True).items()}
        few = {name: n if name in self.coupled else min(n, FEW) for name, n in lengths.items()}
        found = self._evaluate_eagerly({name: part_of(rows, 0, few[name]) for name, rows in self.batch.items()})
        return {name: r.numel() // few[name] * lengths[name] for name, r in found.items()}

    def count(self) -> int:
        """Return the number of entries of all residuals; as in `LeastSquares`."""
        return sum(self.sizes.values())

    def jacobian_rows(self, theta: Tensor, at_once: int | None = None) -> tuple[Tensor, Jacobian]:
        """Return the stacked residual of all ranks, and the rows of its Jacobian that are this rank's.

        Row by row where the problem is pointwise; a residual that couples its points (see `coupled`) is differentiated
        as a whole.

        Args:
            theta: Parameters ``(P,)``.
            at_once: Rows that are made at once and made again for each product; None holds all rows.
        """
        if not self._is_pointwise:
            return super().jacobian_rows(theta, at_once)
        self.evaluations += 2
        params = self.unflatten(theta)
        n, places = self.count(), self._own_places()
        if at_once is None:
            matrix = theta.new_empty(len(places) if isinstance(places, Tensor) else n, len(theta))
            rows = torch.cat([r for r, _ in self._blocks(params, matrix)])
            residual = self.ranks.scatter(rows, places, n) if self.ranks else rows
            return residual, Jacobian(lambda: (matrix,), places, n, self.ranks)
        with torch.no_grad():
            residual = self._stack_at(params)
        return residual, Jacobian(
            lambda: (block for _, block in self._blocks(params, None, at_once)), places, n, self.ranks
        )

    def _blocks(
        self, params: dict[str, Tensor], out: Tensor | None, at_once: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield scaled rows of this rank with their Jacobian, written to ``out`` or to new blocks of some rows."""
        done, width = 0, sum(p.numel() for p in params.values())
        for name, points, size, first in self._own():
            n = leading(points)
            step = self._piece if out is not None else max(1, at_once * n // size)
            step = max(n, 1) if name in self.coupled else step
            for i in range(0, n, step):
                j = min(i + step, n)
                part = points if step >= n else part_of(points, i, j)
                count = size * (j - i) // n
                block = next(iter(params.values())).new_empty(count, width) if out is None else out[done : done + count]
                done += count
                yield self._fill(name, params, part, block, self._scale(name, first + i, step >= n)), block

    def _own(self) -> Iterator[tuple[str, Any, int, int]]:
        """Yield the residuals of this rank: name, points, entries, and the number of the first row among all."""
        if not self.ranks:
            yield from ((name, self.batch[name], size, 0) for name, size in self.sizes.items())
            return
        layout, part = self._own_layout(), self._part() or {}
        for name, rows in layout.rows.items():
            if rows.start < rows.stop:
                size = (rows.stop - rows.start) * layout.shapes[name][1]
                yield name, part[name], size, rows.start

    def _scale(self, name: str, first: int, is_whole: bool = True) -> Scale:
        """Return the factor on all rows of a residual that are here, or on some, the first with a number among all."""
        if is_whole and not self.ranks:
            return partial(self.weights.scale, name)
        return lambda r: self.weights.scale(name, r, self.sizes[name], slice(first, first + len(r)))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: the count, and the current points or where they were drawn from."""
        state = {"drawn_from": self._drawn_from, "evaluations": self.evaluations, "weighting": self.weights.state}
        if self.problem.adapts:  # these points depend on a field that is gone
            state |= {"batch": tree_leaves(self.batch), "generator": self.generator.get_state()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the count and the current points, by drawing them again."""
        self.evaluations = state["evaluations"]
        self._drawn_from = state["drawn_from"]
        if "generator" in state:
            self.generator.set_state(state["generator"])
            device = self.parameters[0].device  # a checkpoint is read to the CPU
            leaves = [x.to(device) if isinstance(x, Tensor) else x for x in state["batch"]]
            self._use(tree_unflatten(leaves, tree_structure(self.batch)))  # that of any draw
        else:
            self.generator.set_state(state["drawn_from"])
            self._use(self.problem.sample(self.data, self._sampler, self.generator))
        self.weights.restore(state.get("weighting", {}), self)

    def some_rows(self, name: str, most: int) -> Tensor:
        """Return the Jacobian of some rows of one residual, without its weight.

        Args:
            name: Name of the residual.
            most: Number of points, or of rows where the problem is not pointwise; all where there are fewer.

        Returns:
            ``(m, P)``; always the same choice among as many rows.
        """
        if not self._is_pointwise or name in self.coupled:
            with torch.enable_grad():
                flat = self._evaluate_eagerly(self.batch)[name].reshape(-1)
                rows = [flat[i] for i in _some(flat.numel(), most)]
            leaves = self.parameters
            gradients = [torch.autograd.grad(r, leaves, retain_graph=True, materialize_grads=True) for r in rows]
            return torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in gradients])
        chosen = _some(leading(self.batch[name]), most)
        params = {key: p.detach() for key, p in self._trained.items()}
        rows = tree_map(lambda leaf: leaf[chosen], self.batch[name])
        if self._is_local:
            return self._local_part(name, params, rows, lambda r: 1.0).whole(len(self.theta()))
        with torch.no_grad():
            n = self._named_at(params, {name: rows})[name].numel()
        jacobian = self.theta().new_empty(n, sum(p.numel() for p in params.values()))
        self._fill(name, params, rows, jacobian, lambda r: 1.0)
        return jacobian

    @torch.no_grad()
    def slow_squares(self, name: str, most: int) -> float:
        """Return the mean square of what a slow field of size 1 changes of one residual, which tells its units.

        Args:
            name: Name of the residual of a PDE.
            most: Number of points, as for `some_rows`.

        Returns:
            That of the central difference at zero along a random field; 0 where the residual is not finite there.
        """
        like, domain, rows = self.data["like"], self.problem.domain, self.batch[name]
        scale = tuple(SLOW_WAVES if wraps else SLOW_SCALE for wraps in domain.periodic)
        made = {"width": SLOW, "scale": scale, "around_holes": 0.0, "dtype": torch.float64, "device": like.device}
        field = RandomFeatures.for_problem(self.problem, **made)
        if self._is_pointwise and name not in self.coupled:
            chosen = _some(leading(rows), most)
            rows = tree_map(lambda leaf: leaf[chosen], rows)
        rows = tree_map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, rows)
        chance = Generator().manual_seed(0)
        along = torch.randn(field.last.weight.shape, generator=chance, dtype=torch.float64).to(like.device)
        ends = []
        for step in (SLOW_STEP, -SLOW_STEP):
            field.last.weight.copy_(step * (2 / SLOW) ** 0.5 * along)
            ends.append(self.bound().residuals(field, {name: rows})[name])
        change = float(((ends[0] - ends[1]) / (2 * SLOW_STEP)).square().mean())
        return change if math.isfinite(change) else 0.0

    def local_rows(self, theta: Tensor, names: Collection[str] | None = None, most: int = LOCAL) -> Iterator[LocalRows]:
        """Yield the scaled residuals and their Jacobian for a field in which few parameters act at each point.

        Args:
            theta: Parameters ``(P,)``.
            names: The residuals; None takes all.
            most: Points that are evaluated at once.

        Raises:
            InputError: The field is not local, or a residual couples its points, or reads the field elsewhere.
        """
        self._need_local()
        self.evaluations += 2
        params = self.unflatten(theta)
        for name in self.batch if names is None else names:
            n = leading(self.batch[name])
            for i in range(0, n, most):
                part = self.batch[name] if n <= most else part_of(self.batch[name], i, min(i + most, n))
                try:
                    yield self._local_part(name, params, part, self._scale(name, i, n <= most))
                except Unsupported as error:
                    raise InputError(
                        f"rows of few parameters need residuals of their own points, but '{name}' reads the field at "
                        "others",
                        do="leave its integral out, or take GaussNewton",
                    ) from error

    def order(self) -> Tensor:
        """Return the place of each entry of theta at which those that act at the same points are close.

        Raises:
            InputError: The field is not local.
        """
        self._need_local()
        return self.system.field.order()  # type: ignore[operator, union-attr]

    def _need_local(self) -> None:
        if not self._is_local:
            raise InputError(
                "rows of few parameters need a field of local functions, such as Splines, without unknown scalars and "
                f"in one process, got {type(self.system.field).__name__}",
                do="take field=nfsolve.fields.Splines, or optimizer=GaussNewton",
            )

    @property
    def _is_local(self) -> bool:
        """Whether few parameters act at each point, and the field tells which."""
        return getattr(self.system.field, "is_local", False) and len(self._trained) == 1 and not self.ranks

    def _local_part(self, name: str, params: dict[str, Tensor], rows: Any, scale: Scale) -> LocalRows:
        """Return the scaled rows of some points of one residual."""
        with self.system.field.recorded() as kept, torch.enable_grad():  # type: ignore[operator, union-attr]
            r = self._named_at(params, {name: rows})[name]
        with torch.enable_grad():
            r = scale(r) * r
            each = r.sum(0).unbind(0)
        records: list[Any] = [record for record in kept if record is None or record.values]
        n = len(r)
        if name in self.coupled or not records or any(record is None or len(record.columns) != n for record in records):
            raise Unsupported("a residual reads the field at other points than its own")
        leaves, values = [value for record in records for value in record.values.values()], []
        for total in each:
            slopes = iter(torch.autograd.grad(total, leaves, retain_graph=True, materialize_grads=True))
            parts = [record.entries({index: next(slopes) for index in record.values}) for record in records]
            values.append(torch.cat(parts, 1))
        columns, cells = (torch.cat([getattr(record, what) for record in records], 1) for what in ("columns", "cells"))
        return LocalRows(r.detach(), columns, torch.stack(values, 1).detach(), cells)

    def _fill(self, name: str, params: dict[str, Tensor], rows: Batch, out: Tensor, scale: Scale) -> Tensor:
        """Write the scaled Jacobian (n k, P) of one residual and give its scaled rows (n k,)."""
        if name not in self.coupled and self._recordable.get(name, True):
            try:
                if self._is_local:
                    local = self._local_part(name, params, rows, scale)
                    out.copy_(local.whole(out.shape[1]))
                    return local.residual.reshape(-1)
                return self._recorded(name, params, rows, out, scale)
            except Unsupported:
                self._recordable[name] = False
        differentiate = self._whole if name in self.coupled else self._mapped
        r, jacobian = differentiate(name, params, rows)
        factor = scale(r) * torch.ones_like(r)
        torch.mul(jacobian, factor.reshape(-1, 1), out=out)
        return (factor * r).reshape(-1)

    def _recorded(self, name: str, params: dict[str, Tensor], rows: Batch, out: Tensor, scale: Scale) -> Tensor:
        """Return the Jacobian from the inputs and deltas of the linear layers, checked once against the gradient."""

        def residual(values: list[Tensor]) -> Tensor:
            r = self._named_at(dict(zip(params, values, strict=True)), {name: rows})[name]
            return scale(r) * r

        r, jacobian = jacobian_by_rows(residual, list(params.values()), out)
        if name not in self._recordable:
            leaves = [p.detach().requires_grad_() for p in params.values()]
            # any combination of the rows: their own, r, is nothing but rounding where a problem is solved
            mix = torch.arange(1.0, r.numel() + 1, dtype=r.dtype, device=r.device).sin()
            with torch.enable_grad():
                mixed = mix @ residual(leaves).reshape(-1)
            gradients = torch.autograd.grad(mixed, leaves, allow_unused=True, materialize_grads=True)
            gradient = torch.cat([g.reshape(-1) for g in gradients])
            gap = torch.linalg.vector_norm(jacobian.T @ mix - gradient)
            # a weight that is also used outside its layer would be missed without a word
            if gap > math.sqrt(torch.finfo(r.dtype).eps) * (torch.linalg.vector_norm(gradient) + 1e-30):
                raise Unsupported("a parameter acts in more places than its linear layers")
            self._recordable[name] = True
        return r.reshape(-1)

    def _mapped(self, name: str, params: dict[str, Tensor], rows: Batch) -> tuple[Tensor, Tensor]:
        """Return the residual (n, k) and Jacobian (n k, P) row by row with vmap: for any differentiable field."""

        def row(values: dict[str, Tensor], one: Any) -> tuple[Tensor, Tensor]:
            r = self._named_at(values, {name: tree_map(lambda leaf: leaf[None], one)})[name][0]
            return r, r

        columns, r = vmap(jacrev(row, has_aux=True), in_dims=(None, 0))(params, rows)
        n, k = r.shape
        return r, torch.cat([columns[key].reshape(n * k, -1) for key in params], 1)

    def _whole(self, name: str, params: dict[str, Tensor], rows: Batch) -> tuple[Tensor, Tensor]:
        """Return the residual (n, k) and Jacobian (n k, P) of points that depend on each other."""

        def residual(values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            r = self._named_at(values, {name: rows})[name]
            return r, r

        columns, r = jacrev(residual, has_aux=True, chunk_size=WHOLE_ROWS)(params)
        return r, torch.cat([columns[key].reshape(r.numel(), -1) for key in params], 1)

    def _everywhere(self, params: dict[str, Tensor] | None = None, eagerly: bool = False) -> dict[str, Tensor]:
        """Return the named residuals of all ranks, each of which evaluates its part."""
        if not self.ranks:
            return self._evaluated(params, self.batch, eagerly)
        held: dict[str, Tensor] = {**dict(self.system.named_parameters())} if params is None else params
        part = self._part()
        if part is None:
            return self._named_at(held, self.batch, spread=True)
        shared = self.ranks.shared(list(held.values()))
        found = self._evaluated(dict(zip(held, shared, strict=True)), part)
        return self._own_layout(found).gather(found, shared[0])

    def _evaluated(self, params: dict[str, Tensor] | None, batch: Batch, eagerly: bool = False) -> dict[str, Tensor]:
        """Evaluate residuals, of many points a piece at a time where no graph is wanted."""
        evaluate = self._evaluate_eagerly if eagerly else partial(self._named_at, params)
        held = self.parameters if params is None else params.values()
        graph = torch.is_grad_enabled() and any(p.requires_grad for p in held)
        n, pointwise = self._piece, self.problem.pointwise
        long = [] if graph or not pointwise else [name for name, rows in batch.items() if _is_long(rows, n)]
        long = [name for name in long if name not in self.coupled]
        if not long:
            return evaluate(batch)
        short = {name: rows for name, rows in batch.items() if name not in long}
        found = evaluate(short) if short else {}  # problems need not know a batch without points
        for name in long:
            found[name] = torch.cat([evaluate({name: piece})[name] for piece in pieces_of(batch[name], n)])
        return {name: found[name] for name in batch if name in found}

    def _part(self) -> Batch | None:
        """Return what this rank evaluates of the batch; None where its residuals cannot be divided."""
        if self._divided is None:
            with torch.no_grad():
                names = self._names if self._is_pointwise else ()
            self._divided = (divided(self.problem, self.batch, names, self.coupled, self.ranks),)
        return self._divided[0]

    def _own_layout(self, found: dict[str, Tensor] | None = None) -> Layout:
        """Return where the rows of this rank stand among those of all."""
        if self._layout is None:
            part, device = self._part(), self.parameters[0].device
            if found is None and part is not None:
                with torch.no_grad():
                    found = self._evaluated(None, part)
            if found is None:  # all ranks have all rows
                with torch.no_grad():
                    whole = self._everywhere()
                found = {name: r[self.ranks.block(len(r))] for name, r in whole.items()}
                self._layout = Layout(found, list(found), self.ranks, device)
            else:
                self._layout = Layout(found, list(self.batch), self.ranks, device)
        return self._layout

    def _named_at(self, params: dict[str, Tensor] | None, batch: Batch, spread: bool = False) -> dict[str, Tensor]:
        if params is None:
            return self._evaluate(batch)

        def evaluate(field: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
            field = SpreadField(field, self.ranks) if spread else field
            return self._counted(self._bound(values).residuals(field, batch))

        return functional_call(self.system, params, (evaluate,))

    def _evaluate_eagerly(self, batch: Batch) -> dict[str, Tensor]:
        problem = self._bound(self.system.unknowns.values())
        return self._counted(problem.residuals(self.system.field, batch))

    def _counted(self, residuals: dict[str, Tensor]) -> dict[str, Tensor]:
        return residuals if self._only is None else {n: r for n, r in residuals.items() if n in self._only}

    def _bound(self, values: dict[str, Tensor]) -> Problem:
        """Return the problem with its unknown scalars replaced by tensors."""
        return self.problem.with_(**values) if values else self.problem

    def parts(self) -> list[Tensor]:
        """Return the residuals ``(n, k)``, scaled so that the loss is their sum of squares."""
        return self._scaled(self._evaluate_eagerly(self.batch)) if not self.ranks else self._own_parts()

    def _stack_at(self, params: dict[str, Tensor]) -> Tensor:
        return torch.cat([r.reshape(-1) for r in self._scaled(self._everywhere(params))])

    def _own_parts(self, params: dict[str, Tensor] | None = None) -> list[Tensor]:
        """Return the scaled residuals of this rank, evaluated without others."""
        layout, part = self._own_layout(), self._part()
        found = self._named_at(params, self.batch if part is None else part)
        if part is None:
            found = {name: r[layout.rows[name]] for name, r in found.items()}
        return [self._scale(name, layout.rows[name].start)(r) * r for name, r in found.items()]

    def _own_stack(self, params: dict[str, Tensor]) -> Tensor:
        return torch.cat([r.reshape(-1) for r in self._own_parts(params)]) if self.ranks else self._stack_at(params)

    def _own_places(self) -> Tensor | slice:
        return self._own_layout().places if self.ranks else slice(None)

    def _scaled(self, residuals: dict[str, Tensor]) -> list[Tensor]:
        return [self.weights.scale(name, r) * r for name, r in residuals.items()]

    def check(self) -> None:
        """Evaluate once and check the shape of every residual.

        Raises:
            InputError: A residual is empty, is no ``(n, k)``, or has another number of rows than its points; or the
                weighting scheme is not for this problem, or an unknown scalar becomes a Python number.
        """
        batch = _shortened(self.batch) if self.problem.pointwise else self.batch
        kept = Kept([*self.parameters, *tree_leaves(batch)])
        try:
            with kept, self._mistakes_in_words():
                residuals = self._evaluate_eagerly(batch)
        except InputError:
            kept.count = None  # torch.func in a residual does not let autograd be watched
            with self._mistakes_in_words():
                residuals = self._evaluate_eagerly(batch)
        self.graph_bytes = None if kept.count is None else round(kept.count * _rows(self.batch) / _rows(batch))
        if not residuals:
            raise InputError(
                f"{type(self.problem).__name__}.residuals must return at least one residual, but it returned none",
                do="return a dict of them by name",
            )
        for name, r in residuals.items():
            n = row_count(batch.get(name))
            tied = r.ndim == 2 and r.shape[1] == n and not self._has_columns(name, batch[name], r.shape[1])
            check_residual(getattr(type(self.problem), name, None), name, r, n, tied)
        del residuals  # with its graph
        self.weights.scheme.check(self)
        self.unused = self._unused()

    def _has_columns(self, name: str, rows: Any, k: int) -> bool:
        """Return whether a residual has k columns at one point less too, where it has as many as points."""
        if not self.problem.pointwise or k < 2:
            return k < 2
        with self._mistakes_in_words():
            fewer = self._evaluate_eagerly({name: part_of(rows, 0, k - 1)})[name]
        return fewer.shape == (k - 1, k)

    @contextmanager
    def _mistakes_in_words(self) -> Iterator[None]:
        """Explain what a residual or a field of the user raises, and refuse numbers made of what is learned."""
        try:
            with torch.enable_grad(), NoNumbers():
                yield
        except InputError:
            raise
        except Exception as error:
            raise in_words(error, type(self.problem).__name__) from error

    def _unused(self) -> tuple[str, ...]:
        """Return the unknown scalars that occur in no residual; refuse those that become Python numbers."""
        raw = self.system.unknowns.raw
        if not len(raw):
            return ()
        fixed = {f"field.{name}": p.detach() for name, p in self.system.field.named_parameters()}
        with self._mistakes_in_words():
            batch = _shortened(self.batch) if self.problem.pointwise else self.batch
            terms = [r.abs().sum() for r in self._named_at(fixed, batch).values()]
        total = sum(terms[1:], terms[0])
        if not total.requires_grad:
            return tuple(raw)
        gradients = torch.autograd.grad(total, list(raw.values()), allow_unused=True)
        return tuple(name for name, g in zip(raw, gradients, strict=True) if g is None)


class Kept(saved_tensors_hooks):
    """Count the bytes that autograd keeps of what is evaluated meanwhile, each memory once.

    Args:
        known: Tensors that are there anyway.

    Attributes:
        count: The bytes.
    """

    def __init__(self, known: list[Any]):
        self.count: int | None = 0
        self._seen = {x.untyped_storage().data_ptr() for x in known if isinstance(x, Tensor)}
        self._held = list[Any]()  # memory that is freed meanwhile may come back as another tensor's
        super().__init__(self._see, lambda tensor: tensor)

    def _see(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen and self.count is not None:
            self._seen.add(storage.data_ptr())
            self._held.append(storage)
            self.count += storage.nbytes()
        return tensor

    def __exit__(self, *error: Any) -> None:
        """Count no longer."""
        self._held.clear()
        super().__exit__(*error)


def _rows(batch: Batch) -> int:
    """Return how many rows a batch has, at least one."""
    leaves = (next(iter(tree_leaves(rows)), None) for rows in batch.values())
    return max(sum(len(x) for x in leaves if isinstance(x, Tensor) and x.dim()), 1)


def _some(n: int, most: int) -> Tensor:
    """Choose rows by a fixed permutation: points of several faces lie one after the other, and Sobol has a stride."""
    return torch.randperm(n, generator=Generator().manual_seed(0))[:most]


def _is_long(rows: Any, n: int = PIECE) -> bool:
    leaves = tree_leaves(rows)
    return bool(leaves) and isinstance(leaves[0], Tensor) and leaves[0].dim() > 0 and len(leaves[0]) > n


def _shortened(batch: Batch) -> Batch:
    """Return a batch of points with no more of them than are evaluated at once, for checks."""
    return {name: tree_map(lambda x: x[_some(len(x), PIECE)], r) if _is_long(r) else r for name, r in batch.items()}
