"""Runs that processes share: the same as those of one process, and they can go on with another number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

import nfsolve as nf
from tests.run import elastic
from tests.run.shared import CASES, ROUNDING, SHARDED, reached, run

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*words: str, count: int = 2, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    """Start processes on this machine and wait for them.

    What they did is judged by what they wrote: gloo may abort a process at its very end, when all is done.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    many = ["--nproc-per-node", str(count), "--max-restarts", str(restarts)]
    command = [sys.executable, "-m", "torch.distributed.run", *many, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared(folder):
    run("parameters", steps=5, out=folder / "one")
    run("adaptive", steps=3, out=folder / "adaptive")
    done = torchrun("-m", "tests.run.shared", str(folder / "found.pt"), str(folder))
    assert (folder / "found.pt").exists(), done.stderr[-3000:]
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_reach_what_one_reaches(name, shared):
    alone = reached(run(name))
    assert float((shared[name] - alone).abs().max() / alone.abs().max()) < ROUNDING.get(name, 1e-10)


@pytest.mark.parametrize("form", SHARDED)
def test_a_matrix_that_does_not_fit_is_shared_and_said(form, shared):
    alone = reached(run("many"))
    assert float((shared[form] - alone).abs().max() / alone.abs().max()) < 1e-10
    newton = nf.optim.GaussNewton([torch.zeros(105)], max_bytes=SHARDED[form])
    again = ", and makes the Jacobian again for each product, 64 rows at a time" * (form == "sharded_blocks")
    assert newton.choice(433, 105, 2) == (
        f"Gauss-Newton keeps the 105 x 105 matrix in columns that 2 processes share{again}: form 'parameters' would "
        f"take 359 kB, but max_bytes allows {SHARDED[form] / 1e3:.0f} kB"
    )


def test_a_run_goes_on_with_another_number_of_processes(shared, folder):
    whole = reached(run("parameters"))
    assert (shared["resumed"] - whole).abs().max() < 1e-10
    assert json.loads((folder / "two" / "environment.json").read_text())["processes"] == 2
    on = nf.resume(folder / "two", steps=14, report=None)
    assert (reached(on) - reached(run("parameters", steps=14))).abs().max() < 1e-10
    assert (shared["adaptive resumed"] - reached(run("adaptive", steps=8))).abs().max() < 1e-12


def test_the_command_line_is_shared(tmp_path):
    out = tmp_path / "run"
    words = ["burgers", "--steps", "3", "--n-points", "40", "--n-face", "10", "--field.width", "6", "--out"]
    done = torchrun("-m", "nfsolve", "run", *words, str(out), count=3)
    assert (out / "metrics.json").exists(), done.stderr[-3000:]
    assert done.stdout.count("relative_l2 ") <= 1
    assert (done.stdout + done.stderr).count("3 processes share the points; rank 0 writes and reports") == 1
    assert json.loads((out / "metrics.json").read_text())["steps"] == 3
    again = torchrun("-m", "nfsolve", "run", *words, str(out))
    assert again.returncode != 0
    assert again.stderr.count("holds a run already") == 1


MANY_DEATHS = [f"{life}:{rank}:{steps}" for life, (rank, steps) in enumerate([(0, 2), (1, 2), (1, 5), (0, 8)])]


@pytest.mark.parametrize("deaths", [["0:1:3"], pytest.param(MANY_DEATHS, marks=pytest.mark.slow)], ids=["one", "many"])
def test_a_run_whose_processes_are_killed_is_that_of_undisturbed_ones(deaths, tmp_path):
    done = torchrun("-m", "tests.run.elastic", "killed", str(tmp_path), *deaths, restarts=len(deaths))
    assert done.stderr.count("exitcode: -9") == len(deaths)
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("killed", "whole")]
    assert [state["steps"] for state in states] == [9, 9]
    first, second = (tree_leaves({key: state[key] for key in ("system", "objective", "optimizer")}) for state in states)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.slow
def test_a_run_goes_on_with_any_other_number_of_processes(tmp_path):
    elastic.save(tmp_path, 1, [2])
    torchrun("-m", "tests.run.elastic", "save", str(tmp_path), "1", "3", "4")
    elastic.go_on(tmp_path, 1)
    for count in (3, 4):
        torchrun("-m", "tests.run.elastic", "both", str(tmp_path), "2", count=count)
    torchrun("-m", "tests.run.elastic", "go_on", str(tmp_path))
    for case in elastic.CASES:
        whole = reached(run(case, steps=elastic.LAST, out=tmp_path / case))
        expected = elastic.points_of(tmp_path / case)
        for way in ("1-2", "2-1", "2-3", "2-4", "3-2", "4-2"):
            found = torch.load(tmp_path / f"{case}-{way}.pt", weights_only=True)
            assert (found["theta"] - whole).abs().max() < 1e-10, way
            for points, others in zip(found["points"], expected, strict=True):
                assert torch.equal(points, others), way


REFUSED = {
    "points": ("each process needs points of its own, got 3 processes for points that 2 can share", "Start at most 2"),
    "seed": ("got run.seed = '0' on rank 0 and '1' on rank 1", "Give all of them the same"),
    "problem": ("all processes of a run must solve the same problem alike, got problem.what", "Give all of them"),
    "version": ("got nfsolve = ", "Give all of them the same"),
    "backend": ("several processes on cpu need the backend gloo, which this PyTorch does not have", "another build"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", REFUSED)
def test_processes_that_cannot_share_a_run_end_in_a_sentence(fault, tmp_path):
    done = torchrun("-m", "tests.run.refused", fault, str(tmp_path), count=3 if fault == "points" else 2)
    assert (tmp_path / "0.txt").exists(), done.stderr[-2000:]
    what, cure = REFUSED[fault]
    said = (tmp_path / "0.txt").read_text()
    assert what in said
    assert cure in said


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_in_a_sentence(tmp_path):
    done = torchrun("-m", "tests.run.refused", "death", str(tmp_path))
    assert "exitcode: -9" in done.stderr
    said = (tmp_path / "0.txt").read_text()
    assert "rank 0 cannot go on, because another process of this run has ended or cannot be reached" in said
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["steps"] == 2


@pytest.mark.slow
def test_a_time_limit_ends_all_processes_after_the_same_step(tmp_path):
    torchrun("-m", "tests.run.refused", "time", str(tmp_path))
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in range(2))
    assert first == second
    assert "time limit: 0.5 s" in first
