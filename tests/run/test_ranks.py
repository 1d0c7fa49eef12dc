"""Runs that processes share: the same as those of one process, and they can go on with another number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nfsolve as nf
from tests.run.shared import CASES, ROUNDING, reached, run

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*words: str, count: int = 2, **more: str) -> subprocess.CompletedProcess[str]:
    """Start processes on this machine and wait for them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared(folder):
    run("parameters", steps=5, out=folder / "one")
    run("adaptive", steps=3, out=folder / "adaptive")
    done = torchrun("-m", "tests.run.shared", str(folder / "found.pt"), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_reach_what_one_reaches(name, shared):
    alone = reached(run(name))
    assert float((shared[name] - alone).abs().max() / alone.abs().max()) < ROUNDING.get(name, 1e-10)


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
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("relative_l2 ") <= 1
    assert json.loads((out / "metrics.json").read_text())["steps"] == 3
    again = torchrun("-m", "nfsolve", "run", *words, str(out))
    assert again.returncode != 0
    assert again.stderr.count("holds a run already") == 1
