"""The processes that share one run, and what they tell each other; nothing happens where there is only one.

Every process (a rank) holds the same parameters and evaluates its share of the rows. `Ranks.shared` and `Ranks.gather`
are the pair of operations between which that happens (Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3, f and
g): parameters go in unchanged, and their gradients are added up on the way back; rows come out whole, and each rank
takes its own gradients on the way back. Each is the other's derivative, so that any order of derivatives is right.
"""

import atexit
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from nfsolve._core.errors import InputError, RankLost, shortened
from nfsolve._core.launch import launched

T = TypeVar("T")

PATIENCE = timedelta(hours=2)  # for the slowest rank, which may load, score or draw meanwhile


@dataclass(frozen=True)
class Ranks:
    """A group of processes that run the same program.

    Attributes:
        rank: Number of this one.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.rank == 0

    def __bool__(self) -> bool:
        """Return whether there are others."""
        return self.count > 1

    def block(self, n: int, rank: int | None = None) -> slice:
        """Return the part of n rows that belongs to a rank, this one by default; parts differ by a row at most."""
        at = self.rank if rank is None else rank
        return slice(at * n // self.count, (at + 1) * n // self.count)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over ranks; the tensor itself where there is one."""
        if not self:
            return values
        summed = values.detach().clone(memory_format=torch.contiguous_format)
        _collect(dist.all_reduce, summed)
        return summed

    def largest(self, *values: float) -> list[float]:
        """Return the largest of each number over ranks."""
        if not self:
            return list(values)
        found = torch.tensor(values, dtype=torch.float64, device=_device())
        _collect(dist.all_reduce, found, op=dist.ReduceOp.MAX)
        return found.tolist()

    def all(self, value: Any) -> list[Any]:
        """Return what each rank has, any plain object."""
        found = [value] * self.count
        if self:
            _collect(dist.all_gather_object, found, value)
        return found

    def by_first(self, compute: Callable[[], T]) -> T:
        """Return what the first rank computes, which alone does it; what fails there fails on all."""
        if not self:
            return compute()
        found: list[Any] = [None, None]
        error: Exception | None = None
        if self.first:
            try:
                found[0] = compute()
            except Exception as raised:
                error, found[1] = raised, (isinstance(raised, InputError), str(raised))
        _collect(dist.broadcast_object_list, found, src=0)
        if error is not None:
            raise error
        if found[1] is not None:
            raise (InputError if found[1][0] else RankLost)(found[1][1])
        return found[0]

    def check_same(self, said: dict[str, Any]) -> None:
        """Refuse ranks that were told different things.

        Args:
            said: Plain data by name.

        Raises:
            InputError: The message names what differs first.
        """
        for rank, theirs in enumerate(self.all(said)):
            for name in [*said, *theirs]:
                here, there = said.get(name), theirs.get(name)
                if here != there:
                    raise InputError(
                        f"all processes of a run must solve the same problem alike, got {name} = "
                        f"{shortened(repr(here))} on rank {self.rank} and {shortened(repr(there))} on rank {rank}",
                        do="give all of them the same, or start runs that differ without torchrun",
                    )

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of the first rank."""
        for tensor in tensors if self else ():
            held = tensor.detach().contiguous()
            _collect(dist.broadcast, torch.view_as_real(held) if held.is_complex() else held, src=0)
            tensor.detach().copy_(held)

    def stack(self, local: Tensor) -> Tensor:
        """Return the rows of all ranks, those of the first one first."""
        sizes = self.all(len(local))
        start = sum(sizes[: self.rank])
        return self.scatter(local, slice(start, start + len(local)), sum(sizes))

    def show(self, tensor: Tensor, rank: int) -> Tensor:
        """Fill a tensor with that of a rank, which has the same shape there."""
        held = tensor.contiguous()
        if not self:
            return held
        _collect(dist.broadcast, held, src=rank)
        return held

    def collect(self, tensor: Tensor, rank: int) -> Tensor:
        """Add up a contiguous tensor of all ranks in place on one of them; on the others it is left undefined."""
        if self and tensor.numel():
            _collect(dist.reduce, tensor, dst=rank)
        return tensor

    def scatter(self, local: Tensor, places: Tensor | slice, n: int) -> Tensor:
        """Return all n rows, of which this rank gives those at some places; without a graph."""
        whole = local.new_zeros(n, *local.shape[1:])
        whole[places] = local.detach()
        return self.total(whole)

    def gather(self, local: Tensor, places: Tensor | slice, n: int, anchor: Tensor) -> Tensor:
        """Return all n rows with their graph.

        Args:
            local: The rows of this rank.
            places: Where they are among all.
            n: Number of all.
            anchor: Anything that `shared` gave: a rank whose rows depend on no parameter must not miss its sum.
        """
        return _Gather.apply(local, anchor, places, n, self)  # type: ignore[return-value]

    def shared(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors that all ranks hold, for use on one's own rows: gradients are added up over ranks."""
        return list(_Shared.apply(self, *tensors)) if tensors else []  # type: ignore[arg-type]


ALONE = Ranks()


class _Shared(Function):
    """The same forward, the sum over ranks backward."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks = ranks
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_Total.apply(ctx.ranks, *gradients))  # type: ignore[misc]


class _Total(Function):
    """The sum over ranks forward, the same backward."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks = ranks
        parts = [torch.view_as_real(t).reshape(-1) if t.is_complex() else t.reshape(-1) for t in tensors]
        summed = ranks.total(torch.cat(parts)).split([p.numel() for p in parts])
        return tuple(
            torch.view_as_complex(s.reshape(*t.shape, 2).clone()) if t.is_complex() else s.reshape(t.shape)
            for s, t in zip(summed, tensors, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_Shared.apply(ctx.ranks, *gradients))  # type: ignore[misc]


class _Gather(Function):
    """All rows forward, one's own backward."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, anchor: Tensor, places: Any, n: int, ranks: Ranks) -> Tensor:
        ctx.places, ctx.n, ctx.ranks, ctx.like = places, n, ranks, anchor.new_zeros(anchor.shape)
        return ranks.scatter(local, places, n)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _Own.apply(gradient, ctx.places, ctx.n, ctx.ranks), ctx.like, None, None, None  # type: ignore[return-value]


class _Own(Function):
    """One's own rows forward, all rows backward."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, places: Any, n: int, ranks: Ranks) -> Tensor:
        ctx.places, ctx.n, ctx.ranks = places, n, ranks
        return whole[places].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        anchor = gradient.new_zeros(())
        return _Gather.apply(gradient, anchor, ctx.places, ctx.n, ctx.ranks), None, None, None  # type: ignore[return-value]


OPERATIONS = (_Shared, _Total, _Gather, _Own)  # each with an exact derivative of any order


def _collect(operation: Any, *arguments: Any, **options: Any) -> None:
    """Do something together with all ranks; say in words that one of them is gone."""
    try:
        operation(*arguments, **options)
    except RuntimeError as error:
        raise RankLost(
            f"rank {dist.get_rank()} cannot go on, because another process of this run has ended or cannot be reached "
            f"({re.sub(r'^[[][^]]*[]] *', '', str(error).splitlines()[0])})"  # without the place in the sources of gloo
        ) from error


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def _leave() -> None:
    """End the process group that `join` made, if nobody else has.

    A thread of gloo releases the tensors of the latest sum, for which it needs Python's lock: without a pause in which
    it gets that, the end of the interpreter aborts the process, and torchrun reports a failure.
    """
    time.sleep(0.2)
    if dist.is_initialized():
        dist.destroy_process_group()


def join(device: str | torch.device = "cpu") -> Ranks:
    """Return the processes that share the run: those of the process group, which is made where torchrun asks for one.

    Args:
        device: Where the run is done: on GPUs, each process of a machine takes its own.

    Returns:
        The ranks; one without a launcher or a group.

    Raises:
        InputError: The processes cannot be joined.
    """
    on_gpu = str(device).startswith("cuda")  # whatever else it is, is refused where it is used
    if launched() and on_gpu:
        local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= found:
            raise InputError(
                f"each process of a machine needs a GPU of its own, and there are {found} for process {local + 1}",
                do=f"start torchrun with --nproc-per-node {found}, or use --device cpu",
            )
        torch.cuda.set_device(local)
    if launched() and not dist.is_initialized():
        backend = "nccl" if on_gpu else "gloo"
        if not dist.is_backend_available(backend):
            raise InputError(
                f"several processes on {device} need the backend {backend}, which this PyTorch does not have",
                do="use --device cpu, or another build of PyTorch",
            )
        try:
            store, rank, count = next(iter(rendezvous("env://", timeout=PATIENCE)))
            # torchrun may keep the store of processes that died, with addresses at which nobody listens any more
            store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
            dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the processes of this run could not be joined ({str(error).splitlines()[0]})",
                do="check MASTER_ADDR, MASTER_PORT and the network between the machines",
            ) from error
        atexit.register(_leave)
    if not dist.is_available() or not dist.is_initialized():
        return ALONE
    return Ranks(dist.get_rank(), dist.get_world_size())
