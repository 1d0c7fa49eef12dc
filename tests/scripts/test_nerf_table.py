import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from scripts import nerf_table
from scripts.nerf_table import CASES

SMALL = ("--size", "12", "--views", "2", "--points", "200", "--samples", "16", "--cells", "6", "--frames", "0")


@pytest.mark.parametrize("name", CASES)
def test_the_words_of_every_case_are_understood(name: str):
    case = CASES[name]
    found = read_request(find(case.what), list(case.words), "x")
    assert case.goal >= 0 and case.seconds > 0
    if "mlp" in name:
        assert type(found.options["field"].keywords["encoding"]).__name__ != "FeatureGrid"


def test_a_case_is_measured_and_laid_out(tmp_path: Path):
    said = argparse.Namespace(steps=2, seed=3, device="cpu", threads=1, full=True, pictures=None, unlimited=False)
    case = replace(CASES["scene"], what="problems.nerf.scene:NeRFScene", words=SMALL)
    row = json.loads(json.dumps(nerf_table.measure("scene", case, said)))
    assert row["steps"] == 2 and row["seed"] == 3
    assert {"psnr_heldout", "psnr_heldout_without_grid", "rays_per_second", "depth_error", "machine"} <= set(row)
    text = nerf_table.table([row])
    assert "| scene | 3 | 60 s | 32 |" in text


def test_a_case_without_its_data_is_left_out(tmp_path: Path):
    words = [sys.executable, "-m", "scripts.nerf_table", "--only", "fern", "--folder", str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k != "NFSOLVE_DATA"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stdout.startswith("fern is left out: ")
    assert not (tmp_path / "nerf.json").exists()
