"""Memory is foretold before a run, warned of, and counted."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import nfsolve as nf
from nfsolve.run import memory
from nfsolve.run.loop import Run
from nfsolve.run.plan import make_plan
from problems.ct.phantom import CTPhantom
from problems.pde.burgers import Burgers

ADAM = {"n_points": 30_000, "width": 32, "optimizer": "adam"}
NEWTON = {"n_points": 20_000, "width": 20, "optimizer": partial(nf.optim.GaussNewton, form="parameters")}
CPU = torch.device("cpu")


def foretold(n_points: int, width: int, optimizer) -> tuple[int, int]:
    """Return what is foretold of a run, and what it takes in a process of its own."""
    problem = Burgers(n_points=n_points, n_face=50)
    run = nf.RunOptions(steps=1, dtype="float64", device="cpu")
    made = Run(problem, make_plan(problem, partial(nf.MLP, width=width, depth=3), optimizer, run=run))
    said = memory.held_bytes(CPU) + memory.needed_bytes(made.objective, made.plan.stages)
    made.train(silent=True)
    return said, made.peak


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process as Linux tells it")
@pytest.mark.parametrize("case", ["ADAM", pytest.param("NEWTON", marks=pytest.mark.slow)])
def test_what_is_foretold_is_taken(case):
    program = f"import json, tests.run.test_memory as t; print(json.dumps(t.foretold(**t.{case})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said, peak = json.loads(done.stdout)
    assert 0.6 < said / peak < 1.6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process as Linux tells it")
def test_the_memory_of_the_program_that_started_a_run_is_not_counted():
    program = "import torch; from nfsolve.run import memory; print(memory.peak_bytes(torch.device('cpu')))"
    large = f"x = bytearray(1_500_000_000); import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    done = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True, check=True)
    assert 1e7 < int(done.stdout) < 1e9


def test_what_does_not_fit_is_said_before_the_run(monkeypatch, tmp_path):
    rows = []
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    solution = nf.solve(Burgers(n_points=30, n_face=5), nf.MLP, "adam", steps=1, report=rows.append, out=tmp_path / "a")
    [told] = [row["warning"] for row in rows if "more memory" in row.get("warning", "")]
    assert told.endswith("and 1 kB are free: choose fewer points or a smaller field, or let several machines share the "
                         "points (torchrun)")  # fmt: skip
    assert rows.index({"warning": told}) < next(i for i, row in enumerate(rows) if "step" in row)
    assert solution.metrics["peak_bytes"] > 1e7
    assert "GB of memory" in str(solution)
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["peak_bytes"] == solution.metrics["peak_bytes"]
    assert nf.reopen(tmp_path / "a").metrics["peak_bytes"] == solution.metrics["peak_bytes"]


def test_what_a_large_projector_takes_is_said_before_the_run(monkeypatch):
    rows = []
    monkeypatch.setattr("nfsolve.forward.radon.projector.memory", lambda: 1e6)
    nf.solve(CTPhantom(size=16, classical=()), steps=1, report=rows.append)
    said = (
        "line integrals in 40 views of 16 x 16 pixels are computed without a matrix, in about .* a matrix takes .* GiB"
    )
    told = next(i for i, row in enumerate(rows) if re.search(said, row.get("warning", "")))
    assert told < next(i for i, row in enumerate(rows) if "step" in row)


def test_what_gauss_newton_does_for_lack_of_memory_is_said_before_the_run(capsys):
    newton = partial(nf.optim.GaussNewton, max_bytes=5e4)
    nf.solve(Burgers(n_points=200, n_face=5), partial(nf.MLP, width=8, depth=2), newton, steps=1, report="lines")
    shown = capsys.readouterr()
    told = "Gauss-Newton forms no matrix, but solves by conjugate gradients: form 'parameters' would take 353 kB, but "
    assert told + "max_bytes allows 50 kB\n" in shown.out + shown.err


def test_each_part_of_what_is_needed_is_counted():
    def needed(optimizer, n_points=100):
        problem = Burgers(n_points=n_points, n_face=10)
        plan = make_plan(
            problem, partial(nf.MLP, width=8, depth=2), optimizer, run=nf.RunOptions(steps=1, device="cpu")
        )
        return memory.needed_bytes(Run(problem, plan).objective, plan.stages)

    assert 1.7 < needed("adam", 2000) / needed("adam", 1000) < 2.1
    assert needed("esgd", 2000) > 2.5 * needed("adam", 2000)
    assert needed("ssbroyden", 1000) - needed("adam", 1000) == 2 * 8 * 105**2  # H of 105 parameters
    assert needed("gauss_newton", 2000) > 2000 * 105 * 8
