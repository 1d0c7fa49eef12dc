"""Angles in the other unit: they are told for programs of degrees and of radians, and sound ones are silent."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from nfsolve.forward.radon import from_astra, from_skimage, from_tigre, from_tomopy
from nfsolve.forward.radon.units import like_degrees, like_radians

GOLDEN = np.pi * (3 - 5**0.5)
DEGREES = {
    "half a turn": np.arange(60) * 3.0,
    "of 97 views": np.arange(97) * 180 / 97,
    "with its end": np.linspace(0, 360, 91),
    "backwards": -np.arange(73) * 360 / 73,
    "golden": np.arange(40) * np.degrees(GOLDEN),
    "an arc": 30 + np.arange(61.0),
}


@pytest.mark.parametrize("degrees", DEGREES.values(), ids=list(DEGREES))
def test_each_unit_is_told_from_the_other(degrees):
    assert not like_radians(degrees) and like_degrees(degrees)
    assert not like_degrees(np.radians(degrees)) and like_radians(np.radians(degrees))


def by_astra(angles):
    volume = {"GridRowCount": 8, "GridColCount": 8, "option": {}}
    flat = {"type": "parallel", "DetectorWidth": 1.0, "DetectorCount": 8, "ProjectionAngles": angles}
    return from_astra(np.ones((len(angles), 8)), flat, volume)


def by_tigre(angles):
    sizes = {"nDetector": (2, 8), "dDetector": (1.0, 1.0), "nVoxel": (8, 8, 8), "dVoxel": (1.0, 1.0, 1.0)}
    return from_tigre(np.ones((len(angles), 2, 8)), SimpleNamespace(DSO=40.0, DSD=60.0, **sizes), angles)


PROGRAMS = {
    "scikit-image": (lambda angles: from_skimage(np.ones((8, len(angles))), angles), np.radians, "np.degrees"),
    "tomopy": (lambda angles: from_tomopy(np.ones((len(angles), 8)), angles), np.degrees, "np.radians"),
    "ASTRA": (by_astra, np.degrees, "np.radians"),
    "TIGRE": (by_tigre, np.degrees, "np.radians"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_given_the_other_unit(program):
    convert, wrong, advice = PROGRAMS[program]
    right = DEGREES["half a turn"] if program == "scikit-image" else np.radians(DEGREES["half a turn"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(right)
    with pytest.warns(UserWarning, match=rf"{program} has angles in .* give {advice}\(") as told:
        convert(wrong(right))
    assert told[0].filename == __file__
