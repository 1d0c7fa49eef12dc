import io

import pytest

from nfsolve._core.errors import InputError
from nfsolve.run.report import Bar, Lines, reporter, summary

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
    assert reporter(rows.append, 10, None) == rows.append
    reporter(None, 10, None)(ROW)
    with pytest.raises(InputError, match="unknown report 'barr': did you mean 'bar'"):
        reporter("barr", 10, None)
