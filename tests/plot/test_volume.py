"""The page to look through volumes."""

import base64
import json
import re

import numpy as np
import pytest

from nfsolve import InputError
from nfsolve.plot import volume
from nfsolve.plot.volume import volume_page


def shown(page):
    """Return what a page says of its volumes, and their bytes."""
    about = json.loads(re.search(r"const about = (.*);\n", page).group(1))
    data = json.loads(re.search(r"Object.entries\((\{.*?\})\)\.map", page, re.S).group(1))
    return about, {name: np.frombuffer(base64.b64decode(text), np.uint8) for name, text in data.items()}


def test_a_page_holds_all_volumes_in_the_levels_of_the_first():
    values = np.linspace(0, 2, 24).reshape(2, 3, 4)
    about, held = shown(volume_page({"field": values, "FDK": values / 2}, 0.5, "mm", "/ mm", "a <scan>"))
    assert about["shape"] == [2, 3, 4] and about["voxel"] == 0.5 and about["unit"] == "/ mm"
    assert np.allclose(about["low"] + held["field"].reshape(2, 3, 4) * about["step"], values, atol=about["step"])
    assert held["FDK"].max() == pytest.approx(128, abs=1)


def test_nothing_is_linked_and_the_title_is_escaped():
    page = volume_page({"field": np.zeros((2, 2, 2))}, 1.0, "", "", "a <scan>")
    assert "a &lt;scan&gt;" in page and not re.search(r"https?://|src=|@\w+@", page)


def test_large_volumes_are_averaged_which_is_said(monkeypatch):
    monkeypatch.setattr(volume, "MOST", 10)
    page = volume_page({"field": np.arange(4.0**3).reshape(4, 4, 4)}, 1.0, "mm", "", "t")
    about, held = shown(page)
    assert about["shape"] == [2, 2, 2] and about["voxel"] == 2.0 and len(held["field"]) == 8
    assert "each is the mean of 2^3" in page


def test_what_is_no_volume_is_worded():
    with pytest.raises(InputError, match="of one shape, got"):
        volume_page({"a": np.zeros((2, 2, 2)), "b": np.zeros((2, 2, 3))}, 1.0, "", "", "t")
