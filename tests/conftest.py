import os
from pathlib import Path

import hypothesis
import pytest
import torch

torch.set_num_threads(1)  # the matrices are small; two threads on a busy machine wait for each other

# The same examples on each run; HYPOTHESIS_PROFILE=search looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("search")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data that the environment variable NFSOLVE_DATA names; skips where there is none."""
    folder = os.environ.get("NFSOLVE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set NFSOLVE_DATA to its folder")
    return Path(folder)
