"""Every run stays on the device of the field: a GPU is stood for by a device that refuses to mix with the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.grid import cases

ROOT = Path(__file__).resolve().parents[2]


def outcomes_of(*words: str) -> dict[tuple[str, ...], str]:
    # a device is registered for a whole process
    command = [sys.executable, "-m", "tests.devices.grid", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return {tuple(case): outcome for *case, outcome in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def outcomes():
    return outcomes_of()


@pytest.mark.parametrize("case", [case for case in cases(False) if case[0] != "mixed"], ids="-".join)
def test_a_run_stays_on_its_device_and_is_that_of_the_cpu(case, outcomes):
    assert outcomes[case] == "ok"


def test_a_constant_on_the_cpu_is_seen(outcomes):
    assert "same device" in outcomes["mixed", "adam", "float32"]


@pytest.mark.slow
def test_the_whole_gallery_stays_on_its_device():
    found = outcomes_of("all")
    assert len(found) == len(set(cases(True)))
    del found["mixed", "adam", "float32"]
    assert {case: outcome for case, outcome in found.items() if outcome != "ok"} == {}
