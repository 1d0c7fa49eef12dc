"""Runs of a comparison in the workers of other libraries, one of which is killed in the middle of its run."""

import importlib.util
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest

import nfsolve as nf
from nfsolve.studies.comparison.executors import executor_of
from nfsolve.studies.comparison.jobs import Job, Workers, read
from nfsolve.studies.comparison.methods import method_of
from problems.pde.poisson import Poisson


@dataclass
class Killed(Poisson):
    """A problem that kills the first worker that loads it."""

    marker: str = ""

    def load(self, device, dtype):
        if self.marker and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(device, dtype)


def needs(module: str):
    missing = importlib.util.find_spec(module) is None
    return [pytest.mark.slow, pytest.mark.skipif(missing, reason=f"{module} is not installed")]


def jobs(problem: Poisson) -> list[Job]:
    changes = {"field": nf.MLP, "optimizer": "adam"}
    return [Job(method_of("adam", problem, changes, {}, None), (), seed, 2) for seed in range(2)]


def given(kind: str, out: Path):
    if kind == "pool":
        return ProcessPoolExecutor(1, get_context("spawn"))
    if kind == "submitit":
        import submitit

        made = submitit.AutoExecutor(folder=out / "jobs", cluster="local")
        made.update_parameters(timeout_min=5)
        return made
    return kind


KINDS = [
    "processes",
    "pool",
    pytest.param("dask", marks=needs("distributed")),
    pytest.param("ray", marks=needs("ray")),
    pytest.param("submitit", marks=needs("submitit")),
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_executor_does_all_runs(kind, tmp_path):
    dies = kind in ("dask", "ray")
    problem = Killed(n_points=20, n_face=5, marker=str(tmp_path / "killed") if dies else "")
    with Workers(tmp_path, 1, 1, problem, given(kind, tmp_path)) as workers:
        found = dict(workers.perform(jobs(problem)))
        again = dict(workers.perform(jobs(problem)))
    assert [outcome.metrics["steps"] for outcome in found.values()] == [2, 2]
    assert all(read(job.folder(tmp_path)) is not None for job in found)
    assert all(outcome.earlier for outcome in again.values())
    assert (tmp_path / "killed").exists() == dies


def test_what_is_no_executor_is_refused(tmp_path):
    with pytest.raises(nf.InputError, match="unknown executor 'dusk': did you mean 'dask'"):
        executor_of("dusk", 1, 1, tmp_path)
    with pytest.raises(nf.InputError, match="executor must be one of processes, dask, ray, slurm, or have submit"):
        executor_of(3, 1, 1, tmp_path)
    with pytest.raises((nf.InputError, ImportError), match="sbatch|submitit"):
        executor_of("slurm", 1, 1, tmp_path)
