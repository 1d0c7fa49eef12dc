"""Every step stays on the device of the field: a GPU is stood for by a device that has shapes and no values."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.grid import NO_VALUES, cases

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def outcomes():
    # a backend is registered for a whole process
    done = subprocess.run([sys.executable, "-m", "tests.devices.grid"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return {tuple(case): outcome for *case, outcome in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", [case for case in dict.fromkeys(cases()) if case[0] != "mixed"], ids="-".join)
def test_a_step_stays_on_its_device(case, outcomes):
    expected = "values:" if case[:2] in NO_VALUES else "ok"
    assert outcomes[case].startswith(expected)


def test_a_constant_on_the_cpu_is_seen(outcomes):
    assert "same device" in outcomes["mixed", "adam", "float32"]
