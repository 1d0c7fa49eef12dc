import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the matrices are small; two threads on a busy machine wait for each other


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data that the environment variable NFSOLVE_DATA names; skips where there is none."""
    folder = os.environ.get("NFSOLVE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set NFSOLVE_DATA to its folder")
    return Path(folder)
