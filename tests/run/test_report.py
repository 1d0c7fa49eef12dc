import io
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.run.report import Bar, Lines, reporter, summary
from problems.pde.convection import Convection
from tests.run.test_folder import identical, state
from tests.run.test_march import saved

ROW = {"step": 5, "seconds": 2.0, "evaluations": 9, "loss": 1e-3, "rms/momentum": 0.02, "relative_l2": 0.1}


def test_a_row_names_residuals_and_the_error():
    assert summary(ROW) == "loss 1.0e-03 | momentum 2.0e-02 | error 1.00e-01"
    assert "psnr heldout 31.20" in summary({"loss": 1.0, "psnr_heldout": 31.2})
    assert summary({"loss": 1.0, "psnr": 31.2, "matthews": 0.98765}) == "loss 1.0e+00 | psnr 31.20 | matthews 0.988"


def test_lines_show_the_step_and_the_time_left():
    file = io.StringIO()
    lines = Lines(10, every=0.0, file=file)
    lines(ROW)
    lines({"warning": "disk full"})
    lines({"note": "run folder: here"})
    lines.close()
    assert file.getvalue().splitlines() == [
        "step 5/10 2s, 2s left | loss 1.0e-03 | momentum 2.0e-02 | error 1.00e-01",
        "warning: disk full",
        "run folder: here",
    ]


def test_the_bar_shows_residuals_error_and_time_left():
    file = io.StringIO()
    bar = Bar(10, file=file)
    bar(ROW)
    bar.close()
    assert "50%" in file.getvalue()
    assert "momentum 2.0e-02 | error 1.00e-01" in file.getvalue()


def test_reporters_by_name():
    rows = []
    assert reporter(rows.append, 10, None)(ROW) and rows == [ROW]
    reporter(None, 10, None)(ROW)
    with pytest.raises(InputError, match="unknown report 'barr': did you mean 'bar'"):
        reporter("barr", 10, None)


def _raise(error):
    raise error


ENDS = {
    "False": (lambda: False, "stopped by report"),
    "numpy": (lambda: np.float64(2) < 1, "stopped by report"),
    "StopRun": (lambda: _raise(nf.StopRun), "stopped by report"),
    "message": (lambda: _raise(nf.StopRun("good enough")), "stopped by report: good enough"),
    "StopIteration": (lambda: next(iter(())), "stopped by report"),
}


def trained(out, **options):
    options = {"steps": 12, "log_every": 3, "resample": 4, "dtype": "float64"} | options
    small = partial(nf.MLP, width=6, depth=1)
    return nf.solve(Convection(beta=4.0, n_points=30, n_face=10), small, nf.optim.GaussNewton, out=out, **options)


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("at", [0, 6])
def test_a_report_may_end_the_run_which_resumes_bit_identically(tmp_path, how, at):
    end, words = ENDS[how]
    trained(tmp_path / "whole", report=None)
    solution = trained(tmp_path / "parts", report=lambda row: end() if row["step"] >= at else None)
    assert (solution.steps, solution.stopped, solution.interrupted) == (at, words, True)
    assert not solution.failed and "loss" in solution.metrics
    assert nf.resume(tmp_path / "parts", report=None).steps == 12
    assert identical(state(tmp_path / "whole"), state(tmp_path / "parts"))


@pytest.mark.parametrize("at", [0, 6, 12, 15])
def test_a_report_may_end_a_march(tmp_path, at):
    trained(tmp_path / "whole", report=None, steps=6, windows=3)
    solution = trained(tmp_path / "parts", report=lambda row: row["step"] < at, steps=6, windows=3)
    assert solution.interrupted and solution.stopped.endswith("stopped by report") and solution.steps == at
    nf.resume(tmp_path / "parts", report=None)
    whole, parts = saved(tmp_path / "whole"), saved(tmp_path / "parts")
    assert identical(whole, parts)


@pytest.mark.parametrize("answer", [None, True, 0, "", []])
def test_other_answers_of_a_report_go_on(answer):
    assert trained(None, report=lambda row: answer).steps == 12


def test_a_notebook_shows_a_bar_though_it_is_no_terminal():
    script = """
import sys, types
shell = types.SimpleNamespace(kernel=None, config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell if sys.argv[1] == "notebook" else None)
sys.modules["IPython"].version_info = (8, 0)
from nfsolve.run.report import reporter
report = reporter("auto", 10, None)
report({"step": 5, "loss": 1e-3})
report.close()
"""
    for place, shown in {"notebook": True, "script": False}.items():
        done = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True, check=True)
        assert ("50%" in done.stdout + done.stderr) is shown


def test_without_a_terminal_warnings_are_told_and_progress_is_not(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    report = reporter("auto", 10, None)
    report({"step": 1, "loss": 1.0})
    report({"note": "found"})
    report({"warning": "no condition on u"})
    captured = capsys.readouterr()
    assert captured.err == "warning: no condition on u\n" and not captured.out
