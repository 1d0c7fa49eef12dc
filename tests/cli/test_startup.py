"""The command line answers within a second where it need not compute: PyTorch, SciPy and matplotlib are left out."""

import subprocess
import sys

import pytest

SLOW = ("torch", "numpy", "scipy", "scipy.linalg", "scipy.special", "scipy.stats", "matplotlib", "tyro")
PROGRAM = """
import sys, time
from nfsolve.cli import run_cli
code = run_cli({words!r})
print("SLOW", *(m for m in {slow!r} if m in sys.modules), file=sys.stderr)
print("SECONDS", time.process_time(), file=sys.stderr)
"""
QUICK = {
    "nothing": [],
    "help": ["--help"],
    "version": ["--version"],
    "a wrong command": ["lsit"],
    "list": ["list"],
    "list of a kind": ["list", "--kind", "operators"],
    "list of an unknown kind": ["list", "--kind", "pdes"],
    "new": ["new", "my_rod.py"],
    "completion": ["completion", "zsh"],
    "cite": ["cite"],
}


def measured(words, folder):
    program = PROGRAM.format(words=words, slow=SLOW)
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    *_, slow, seconds = shown.stderr.splitlines()
    return slow.split()[1:], float(seconds.split()[1])


@pytest.mark.parametrize("words", QUICK.values(), ids=QUICK)
def test_what_need_not_compute_takes_less_than_a_second(words, tmp_path):
    slow, seconds = measured(words, tmp_path)
    assert slow == []
    assert seconds < 1


def test_what_computes_imports_more(tmp_path):
    assert "torch" in measured(["list", "--kind", "fields"], tmp_path)[0]


def test_the_help_of_a_problem_needs_little_of_scipy_and_no_matplotlib(tmp_path):
    slow, _ = measured(["run", "burgers", "--help"], tmp_path)
    assert {"torch", "tyro"} <= set(slow)
    assert not {"scipy.linalg", "scipy.special", "scipy.stats", "matplotlib"} & set(slow)
