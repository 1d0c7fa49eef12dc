"""Where the runs of a comparison are done: processes of this machine, or the workers of Dask, Ray or Slurm."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

from nfsolve._core.errors import InputError, require, unknown

Kind = Literal["processes", "dask", "ray", "slurm"]
PURPOSE = "comparing with executor='{}'"
SLURM_HOURS = 24


def executor_of(kind: Any, processes: int, threads: int, out: Path) -> Any:
    """Return an executor.

    Args:
        kind: Its kind, or anything that has ``submit`` as the executors of `concurrent.futures` have.
        processes: Runs at the same time, where nfsolve starts the workers.
        threads: Threads of each.
        out: Folder of the comparison, which all workers must see.

    Returns:
        An executor of `concurrent.futures`.

    Raises:
        InputError: An unknown kind, or one that is not there.
        MissingExtra: The library of the kind is not installed.
    """
    if not isinstance(kind, str):
        if not hasattr(kind, "submit"):
            raise InputError(
                f"executor must be one of {', '.join(get_args(Kind))}, or have submit(function, ...), got {kind!r}",
                do="give an executor such as concurrent.futures.ProcessPoolExecutor(2)",
            )
        return kind if isinstance(kind, Executor) else Waiting(kind)
    if kind not in get_args(Kind):
        raise unknown("executor", kind, get_args(Kind))
    return {"processes": _processes, "dask": _dask, "ray": _ray, "slurm": _slurm}[kind](processes, threads, out)


class Waiting(Executor):
    """Futures of `concurrent.futures` for an executor of which the own futures only have ``result()``.

    Args:
        executor: Has ``submit``.
    """

    def __init__(self, executor: Any):
        self.executor, self._threads = executor, ThreadPoolExecutor(256)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call and wait for it in a thread."""
        return self._threads.submit(self.executor.submit(fn, *args, **kwargs).result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait no longer; the executor itself belongs to who made it."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class _Cluster(Executor):
    """Calls in a cluster, which starts those of a worker that died again.

    Args:
        submit: As that of an executor.
        close: Leaves the cluster, and ends one that was started here.
    """

    def __init__(self, submit: Callable[..., Future[Any]], close: Callable[[], Any]):
        self.start, self.close = submit, close

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call."""
        return self.start(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster."""
        self.close()


def _processes(processes: int, threads: int, out: Path) -> Executor:
    # a fork of a process with threads may hang
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))


def _dask(processes: int, threads: int, out: Path) -> Executor:
    """Join the cluster that Dask's configuration names (DASK_SCHEDULER_ADDRESS), or start one on this machine."""
    dask, distributed = (require(name, "dask", PURPOSE.format("dask")) for name in ("dask", "distributed"))
    address = dask.config.get("scheduler-address", None)
    local = {"n_workers": processes, "threads_per_worker": 1, "dashboard_address": None}
    client = distributed.Client(address, **({} if address else local))
    return _Cluster(client.get_executor(pure=False).submit, client.close)  # with the cluster that it has started


def _ray(processes: int, threads: int, out: Path) -> Executor:
    """Join the cluster of RAY_ADDRESS, or start one on this machine."""
    ray = require("ray", "ray", PURPOSE.format("ray"))
    ours = not ray.is_initialized()
    if ours:
        local = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": processes * threads, "include_dashboard": False}
        ray.init(log_to_driver=False, **local)

    def submit(fn: Callable[..., Any], *args: Any) -> Future[Any]:
        return ray.remote(num_cpus=threads)(fn).remote(*args).future()

    return _Cluster(submit, ray.shutdown if ours else bool)


def _slurm(processes: int, threads: int, out: Path) -> Executor:
    """Submit each run as a job of its own, with the partition and account that sbatch takes from its variables."""
    submitit = require("submitit", "slurm", PURPOSE.format("slurm"))
    if shutil.which("sbatch") is None:
        raise InputError(
            "executor='slurm' submits jobs with sbatch, which is not on this machine", do="choose another executor"
        )
    made = submitit.AutoExecutor(folder=out / "slurm", cluster="slurm")
    made.update_parameters(cpus_per_task=threads, timeout_min=60 * SLURM_HOURS, slurm_array_parallelism=processes)
    return Waiting(made)
