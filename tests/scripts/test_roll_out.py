import json
import sys
from functools import partial

import numpy as np
import pytest

from scripts import roll_out


def test_series_solve_their_equation():
    t, _, values = roll_out.ks_series(2, 0)
    assert values.shape == (2, 41, 64) and np.abs(values.mean(2)).max() < 1e-12  # the mean is conserved
    k = 2 * np.pi / 22 * np.arange(33)
    u = np.fft.rfft(values)

    def waves(factor):
        return np.fft.irfft(factor * u, 64)

    rate = -values * waves(1j * k) + waves(k**2) - waves(k**4)
    energy = 0.5 * (values**2).mean(2)
    change = energy[:, 2:] - energy[:, :-2]
    power = (values * rate).mean(2)
    balance = (t[1] - t[0]) / 3 * (power[:, :-2] + 4 * power[:, 1:-1] + power[:, 2:])  # Simpson
    assert np.abs(change - balance).max() < 0.02 * np.abs(change).max()


def test_errors_grow_and_rows_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(roll_out, "TESTS", 3)
    monkeypatch.setattr(roll_out, "CASES", {"burgers": (roll_out.burgers_series, 12)})
    argv = ["roll_out", "--seeds", "1", "--seconds", "0.3", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(roll_out.time, "perf_counter", roll_out.time.perf_counter)
    roll_out.main()
    [row] = json.loads((tmp_path / "roll_out.json").read_text())
    assert len(row["errors"]) == 20 and row["errors"][0] > 0 and row["still"][-1] > row["still"][0]
    assert "| burgers | operator |" in (tmp_path / "roll_out.md").read_text()
    monkeypatch.setattr(roll_out, "measure", partial(pytest.fail, "measured again"))
    roll_out.main()
