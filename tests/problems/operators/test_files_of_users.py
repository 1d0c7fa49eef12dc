import numpy as np
import pytest
import torch

from nfsolve.fields import DeepONet
from problems.operators.pairs import PairsOperator
from tests.functions.test_formats import ARRAYS, KINDS, LAYOUTS, N


def exported(path, folder, **words):
    """What a run on a file writes of its held-out functions."""
    problem = PairsOperator(str(path), every=2, **words)
    field = DeepONet.for_problem(problem, width=4, depth=1, latent=2, start=None, dtype=torch.float64)
    problem.export(field, problem.load("cpu", torch.float64), folder)
    with np.load(folder / "predictions.npz") as file:
        return problem, dict(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_every_kind_comes_back_from_a_run(kind, tmp_path):
    problem, found = exported(KINDS[kind](tmp_path, ARRAYS), tmp_path)
    rows = np.arange(N)[problem._known.held_out.numpy()]
    assert 0 < len(rows) < N
    np.testing.assert_allclose(found["solved"].reshape(len(rows), -1), ARRAYS["s"][rows], rtol=1e-6)
    np.testing.assert_allclose(found["x"].ravel(), ARRAYS["x"], rtol=1e-6)
    assert np.isfinite(found["predicted"]).all()
    read = found["f"] * problem._form.input_scales["f"][1] + problem._form.input_scales["f"][0]
    np.testing.assert_allclose(read, ARRAYS["f"][rows], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_published_layout_comes_back_from_a_run(name, tmp_path):
    writer, arrays, inputs, outputs, points = LAYOUTS[name]
    problem, found = exported(writer(tmp_path, arrays), tmp_path)
    rows = problem._known.held_out.numpy()
    np.testing.assert_allclose(
        found["solved"].reshape(len(rows), -1), outputs[rows].reshape(len(rows), -1), rtol=1e-5, atol=1e-6
    )
    for given, written in zip(problem.inputs, inputs, strict=True):
        mean, size = problem._form.input_scales[given]
        read = found[given] * size + mean
        np.testing.assert_allclose(read, written[rows].reshape(len(rows), -1), rtol=1e-4, atol=1e-5)
    axes = [found[c] for c in problem.domain.names]
    assert np.prod([len(a) for a in axes]) == len(points)
