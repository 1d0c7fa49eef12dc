"""Whatever config.json holds, opening the folder ends in a run or in a sentence."""

import contextlib
import copy
import json
import tempfile
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nfsolve as nf
from nfsolve._core.errors import InputError
from problems.pde.burgers import Burgers

REMOVED = object()
ODD = [
    REMOVED, None, True, 0, -1, 3, 1.5, -1e300, "", "x", "n" * 300, [], [1], {}, [[[]]], {"number": "nan"},
    {"number": "x"}, {"call": "x"}, {"opaque": "f"}, {"array": "AA=="}, {"tensor": 3},
    {"call": "nfsolve.fields.activations:Tanh"}, {"partial": "nfsolve.fields.mlp:MLP"},
]  # fmt: skip


def _base():
    with tempfile.TemporaryDirectory() as folder:
        nf.solve(
            Burgers(n_points=20, n_face=6),
            partial(nf.MLP, width=4, depth=1, init=nf.weight_scaling(1.5)),
            stages=(
                nf.Stage(partial(torch.optim.Adam, lr=1e-2), 2, schedule="cosine"),
                nf.Stage(nf.optim.GaussNewton, 1),
            ),
            weighting="rba",
            factorization=nf.RandomWeightFactorization(),
            out=Path(folder) / "run",
            report=None,
        )
        return json.loads((Path(folder) / "run" / "config.json").read_text())


def _places(value, path=()):
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _places(value[key], (*path, key))


def _put(config, path, odd):
    config = copy.deepcopy(config)
    *above, last = path
    place = config
    for key in above:
        place = place[key]
    if odd is REMOVED:
        del place[last]
    else:
        place[last] = odd
    return config


BASE = _base()
PLACES = [path for path in _places(BASE) if path and path[-1] != "compile"]  # compiling takes a minute


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("odd")


@settings(max_examples=15, deadline=None)
@given(path=st.sampled_from(PLACES), odd=st.sampled_from(ODD))
def test_a_config_with_an_odd_value_ends_in_a_run_or_a_sentence(folder, path, odd):
    _check(folder, path, odd)


@pytest.mark.slow
@pytest.mark.parametrize("path", PLACES, ids=lambda path: "-".join(map(str, path)))
def test_each_odd_value_in_each_place_of_a_config_ends_in_a_run_or_a_sentence(folder, path):
    for odd in ODD:
        _check(folder, path, odd)


@pytest.mark.parametrize(
    ("path", "odd"),
    [
        (("stages", 0, "optimizer"), {"partial": "nfsolve.fields.mlp:MLP"}),
        (("stages", 1, "optimizer"), {"partial": "nfsolve.fields.mlp:MLP"}),
        (("stages", 0, "optimizer"), {"partial": "torch.nn:Tanh"}),
        (("run", "log_every"), REMOVED),
        (("run", "log_every"), None),
    ],
)
def test_odd_values_that_once_ended_in_a_traceback(folder, path, odd):
    _check(folder, path, odd)


def _check(folder, path, odd):
    run = Path(tempfile.mkdtemp(dir=folder))
    (run / "config.json").write_text(json.dumps(_put(BASE, path, odd)))
    with contextlib.suppress(InputError):
        assert nf.resume(run, report=None).stopped


@pytest.mark.parametrize("text", ["[" * 100_000, '{"problem":' * 50_000, "[]", "3", '{"problem": ' + "9" * 5000 + "}"])
def test_deep_and_odd_json_is_worded(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    for opened in (nf.resume, nf.load, nf.reopen):
        with pytest.raises(InputError, match="is damaged|config.json"):
            opened(tmp_path)
