"""The examples of docstrings run, wherever there are some."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

import nfsolve

ROOT = Path(nfsolve.__file__).parent
FILES = sorted(path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py") if ">>> " in path.read_text())


@pytest.mark.parametrize("path", FILES, ids=str)
def test_examples_give_what_they_show(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    torch.manual_seed(0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testmod(module, extraglobs={"__name__": "example"}, optionflags=flags)  # classes are a user's own
    assert found.failed == 0 and found.attempted > 0
