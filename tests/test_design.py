"""The user's code of the design, run as printed."""

import importlib
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import nfsolve as nf
from nfsolve.cli import run_cli
from problems.pde.burgers import Burgers

BURGERS = '''\
"""Viscous Burgers' equation, u_t + u u_x = nu u_xx, on t in [0, 1], x in [-1, 1]."""
import math
from dataclasses import dataclass
import torch
from nfsolve import PDE, Box, face, interior, main

@dataclass
class Burgers(PDE):
    nu: float = 0.01 / math.pi          # annotated attributes are the parameters, and so the CLI flags

    domain = Box(t=(0, 1), x=(-1, 1))   # unannotated ones are facts
    unknowns = "u"

    @interior
    def momentum(self, u, u_t, u_x, u_xx):      # the signature asks for the derivatives, by their written names
        return u_t + u * u_x - self.nu * u_xx

    @face(t=0)
    def initial(self, u, x):                    # ... and for coordinates
        return u + torch.sin(math.pi * x)

    @face(x=(-1, 1))
    def walls(self, u):
        return u

if __name__ == "__main__":
    main(Burgers)                               # python -m problems.pde.burgers --nu 0.02 ; the same as: nfsolve run burgers
'''


def test_a_new_pde_runs_as_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(BURGERS)
    out = tmp_path / "run"
    code = run_cli(["run", str(tmp_path / "mine.py"), "--nu", "0.05", "--steps", "3", "--out", str(out)])
    assert code == 0
    assert nf.RunFolder(out).config()["problem"]["parameters"]["nu"] == 0.05
    assert nf.load(out)(torch.zeros(2, 2)).shape == (2, 1)
    process = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py"), "--nu", "0.1", "--steps", "2", "--out", str(tmp_path / "two")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "step limit: 2 steps" in process.stdout
    assert nf.reopen(tmp_path / "two").steps == 2


def test_importing_a_solver_in_scientific_code():
    problem = Burgers(nu=0.02)
    field = nf.MLP.for_problem(problem, width=32, depth=3, dtype=torch.float64)
    solution = nf.solve(problem, field, nf.optim.GaussNewton, steps=2, seed=0)
    u = solution.field(problem.domain.grid(101, 201)).reshape(101, 201)
    assert u.shape == (101, 201)
    text = str(solution)
    for word in ("relative_l2", "seconds", "evaluations", "stopped"):
        assert word in text


def test_every_swap_is_one_line():
    p = Burgers(n_points=60)
    options = {"steps": 2, "resample": 0}
    field = nf.MLP.for_problem(p, activation=nf.Sine(30), init=nf.weight_scaling(alpha=1.5))
    nf.factorize(field, nf.RandomWeightFactorization(mean=1.0, std=0.1))
    points = p.domain.grid(3, 3)
    before = field(points)
    nf.fold(field)
    assert torch.allclose(before, field(points), rtol=1e-4, atol=1e-5)
    first = nf.solve(p, field, partial(nf.optim.ESGD, lr=0.1), **options)
    second = nf.solve(p, field, partial(torch.optim.LBFGS, line_search_fn="strong_wolfe"), **options)
    assert first.steps == second.steps == 2


def test_the_same_on_the_command_line(tmp_path):
    out = tmp_path / "run"
    words = "run burgers --nu 0.02 --field.activation sine --field.init ws --field.init.alpha 1.5 --optimizer esgd"
    code = run_cli([*words.split(), "--steps", "2", "--out", str(out)])
    assert code == 0
    config = nf.RunFolder(out).config()
    assert config["problem"]["parameters"]["nu"] == 0.02
    assert config["field"]["init"]["alpha"] == 1.5
    assert config["stages"][0]["optimizer"]["partial"].endswith("ESGD")


def test_a_residual_method_compiles_and_maps():
    problem = Burgers()
    values = [torch.rand(5, 1, dtype=torch.float64) for _ in range(4)]
    expected = problem.momentum(*values)
    assert torch.equal(torch.func.vmap(problem.momentum)(*values), expected)


def test_the_main_module_of_a_problem_is_its_command():
    module = importlib.import_module("problems.pde.burgers")
    assert Path(module.__file__).read_text().rstrip().endswith("main(Burgers)")
    with pytest.raises(SystemExit) as left:
        nf.main(module.Burgers, ["--help"])
    assert left.value.code == 0
    assert math.isclose(module.Burgers().nu, 0.01 / math.pi)
