"""Streams, paths and folders that fail end in a sentence and an exit code, never in a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

NFSOLVE = f"{sys.executable} -m nfsolve"
LONG = "n" * 256
RUN = "run poisson --steps 1 --n-points 20 --n-face 4 --field.width 4"


def shell(command, folder):
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (f"mkdir gone; cd gone; rmdir ../gone; {NFSOLVE} list", 2, "the current folder was removed"),
        (f"{NFSOLVE} --version > /dev/full", 1, "could not write the output"),
        (f"{NFSOLVE} list > /dev/full", 1, "could not write the output"),
        (f"{NFSOLVE} cite > /dev/full", 1, "could not write the output"),
        (f"{NFSOLVE} cite >&-", 0, ""),
        (f"{NFSOLVE} {RUN} --out out >&- 2>&-", 0, ""),
        (f"{NFSOLVE} {RUN} --out out 2>&-", 0, "relative_l2"),
        (f"{NFSOLVE} run {LONG}", 2, "error: "),
        (f"{NFSOLVE} eval {LONG}", 2, "error: "),
        (f"{NFSOLVE} cite {LONG}", 2, "error: "),
        (f"{NFSOLVE} show {LONG}.py", 2, "error: "),
        (f"{NFSOLVE} {RUN} --out {LONG}", 1, "could not write"),
    ],
)
def test_no_traceback(command, code, message, tmp_path):
    got, said = shell(command, tmp_path)
    assert "Traceback" not in said and "Exception ignored" not in said, said
    assert got == code and message in said, said
