"""The GPU check rehearsed on the CPU: every rate is measured, and what it finds is written."""

import json
import sys
import time

from scripts import gpu_check


def test_a_rehearsal_writes_every_rate_and_one_problem(tmp_path, monkeypatch, capsys):
    words = ["--device", "cpu", "--quick", "--only", "volterra", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu_check", *words])
    assert gpu_check.main() == 0
    rows = json.loads((tmp_path / "gpu_check_rehearsal.json").read_text())
    assert [row for row in rows if "error" in row] == []
    assert sum("rays_per_second" in row for row in rows) == 2
    assert [row["passed"] for row in rows if row["case"] == "volterra" and "passed" in row] == [True, True]
    assert {row["method"] for row in rows if row["case"] == "volterra" and "milliseconds" in row} == {
        "adam step",
        "recipe step",
    }
    assert "0 failed, 0 could not be measured" in capsys.readouterr().out


def test_what_takes_too_long_is_left_out_and_said(tmp_path, monkeypatch, capsys):
    def forever(*_):
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", "--only", "volterra", "--out", str(tmp_path)])
    monkeypatch.setattr(gpu_check, "rates", lambda *_: [])
    monkeypatch.setattr(gpu_check, "LIMIT", 1)
    monkeypatch.setattr(gpu_check, "check", forever)
    assert gpu_check.main() == 0
    rows = json.loads((tmp_path / "gpu_check_rehearsal.json").read_text())
    assert [(row["case"], row["method"]) for row in rows] == [("volterra", "left out: time limit")] * 2
