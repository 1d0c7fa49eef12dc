"""Fields from arrays in memory."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse

import nfsolve as nf
from nfsolve import InputError

SOURCE = np.random.default_rng(0)
X = SOURCE.uniform(-1, 1, (150, 2))
U = np.sin(2 * X[:, 0]) * X[:, 1]


@pytest.fixture(scope="module")
def fitted():
    return nf.fit(X, U, steps=40, report=None)


def test_scattered_points_give_values_and_derivatives(fitted):
    at = SOURCE.uniform(-0.8, 0.8, (20, 2))
    assert fitted.field.numpy(at)[:, 0] == pytest.approx(np.sin(2 * at[:, 0]) * at[:, 1], abs=2e-3)
    assert fitted.derivative("u_x", at)[:, 0] == pytest.approx(2 * np.cos(2 * at[:, 0]) * at[:, 1], abs=0.03)
    laplacian = -4 * np.sin(2 * at[:, 0]) * at[:, 1]
    assert fitted.derivative("lap_u", at)[:, 0] == pytest.approx(laplacian, abs=0.5)
    assert fitted.metrics["rms_heldout"] < 5e-3


@pytest.mark.parametrize("kind", [lambda a: a, lambda a: torch.as_tensor(a), lambda a: a.tolist()])
def test_arrays_tensors_and_lists_are_alike(kind):
    scores = [nf.fit(*given, steps=3, report=None).metrics for given in ((kind(X), kind(U)), (X, U))]
    assert scores[0]["rms_heldout"] == scores[1]["rms_heldout"]


@pytest.mark.parametrize(
    ("shape", "unknowns", "names"),
    [
        ((12,), "u", "x"),
        ((9, 7), "u", "xy"),
        ((5, 6, 1), "u", "xy"),
        ((5, 6, 2), "u0 u1", "xy"),
        ((5, 6, 3), "u0 u1 u2", "xy"),
        ((4, 5, 6), "u", "xyz"),
    ],
)
def test_images_of_any_dimension(shape, unknowns, names):
    solution = nf.fit(SOURCE.uniform(size=shape), steps=2, report=None, heldout=0)
    assert solution.problem.unknowns == unknowns
    assert "".join(solution.problem.domain.names) == names
    assert solution.problem.domain.bounds[0] == (0, shape[0] - 1)
    assert "rms_heldout" not in solution.metrics


@pytest.mark.parametrize(
    ("mode", "k"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3), ("I;16", 1)]
)
def test_pictures_from_files_and_from_pillow(tmp_path, mode, k):
    values = SOURCE.integers(0, 256, (8, 9, 3)).astype(np.uint8)
    image = Image.fromarray(257 * values[..., 0].astype(np.uint16)) if mode == "I;16" else Image.fromarray(values)
    image = image if mode == "I;16" else image.convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "RGBA") else "a.png")
    image.save(path)
    problems = [nf.fit(given, steps=0, report=None).problem for given in (image, str(path), path, Image.open(path))]
    for problem in problems:
        assert problem.values.shape == (72, k)
        assert np.array_equal(problem.values, problems[0].values)
        assert problem.values.max() <= 1
    shown = np.asarray(image.convert("RGB") if mode != "I;16" else image) / (65535 if mode == "I;16" else 255)
    colours = problems[0].values[:, : 1 if k < 3 else 3].reshape(8, 9, -1)
    assert np.allclose(colours, shown.reshape(8, 9, -1)[..., : colours.shape[-1]])


@pytest.mark.parametrize("given", [None, "mask"])
def test_masked_arrays_keep_their_mask(given):
    image = np.ma.masked_greater(np.arange(60.0).reshape(6, 10), 49)
    mask = None if given is None else np.arange(60).reshape(6, 10) > 9
    kept = ~image.mask & (True if mask is None else mask)
    assert np.array_equal(nf.fit(image, mask=mask, steps=0, report=None).problem._kept, kept.ravel())
    flat = None if mask is None else mask.ravel()
    fitted = nf.fit(np.arange(60.0), image.ravel(), mask=flat, steps=0, report=None)
    assert np.array_equal(fitted.problem._kept, kept.ravel())
    colours = np.ma.stack([image, image, image], -1)
    assert np.array_equal(nf.fit(colours, mask=mask, steps=0, report=None).problem._kept, kept.ravel())


def test_large_images_take_a_grid_of_features():
    image = np.add.outer(np.sin(np.arange(64) / 5), np.cos(np.arange(64) / 7))
    solution = nf.fit(image, steps=60, report=None)
    assert "FeatureGrid" in repr(solution.field.config)
    assert solution.metrics["rms_heldout"] < 0.2
    assert solution.field.numpy([[10, 20]]).item() == pytest.approx(image[10, 20], abs=0.3)


def test_a_mask_leaves_values_out():
    broken = np.where(np.arange(150) % 5 == 0, np.nan, U)
    solution = nf.fit(X, broken, mask=np.isfinite(broken), steps=40, report=None)
    left_out = X[::5]
    error = solution.field.numpy(left_out)[:, 0] - np.sin(2 * left_out[:, 0]) * left_out[:, 1]
    assert np.sqrt(np.mean(error**2)) < 0.02


def test_noise_ends_the_fit_where_the_misfit_is_as_large():
    noisy = U + 0.1 * SOURCE.standard_normal(150)
    solution = nf.fit(X, noisy, noise=0.1, report=None)
    assert solution.stopped.startswith("converged: loss")
    assert 0.05 < solution.metrics["rms"] <= 0.1


def test_the_posterior_knows_the_noise():
    noisy = np.sin(2 * X[:, 0]) + 0.1 * SOURCE.standard_normal(150)
    field = nf.MLP(nf.Box(x=(-1, 1)), width=5, depth=1, dtype=torch.float64)
    solution = nf.fit(X[:, 0], noisy, heldout=0, field=field, steps=60, report=None)
    found = nf.posterior(solution)
    assert found.noise["misfit"][0] * noisy.std() == pytest.approx(0.1, rel=0.2)
    band = found.band(np.linspace(-0.9, 0.9, 9)[:, None])
    assert (band.standard_error < 0.1).all()


def test_the_posterior_sees_all_values_of_mini_batches():
    noisy = U + 0.1 * SOURCE.standard_normal(150)
    field = nf.MLP(nf.Box(x=(-1, 1), y=(-1, 1)), width=5, depth=1, dtype=torch.float64)
    solutions = [nf.fit(X, noisy, batch=b, field=field, steps=60, report=None, heldout=0) for b in (0, 140)]
    errors = [nf.posterior(s, noise=1.0).band([[0.1, 0.2]]).standard_error.item() for s in solutions]
    assert errors[1] == pytest.approx(errors[0], rel=0.3)
    assert nf.posterior(solutions[1]).freedom > 125


@pytest.mark.parametrize(("offset", "size"), [(0.0, 1e-9), (1e9, 1e8), (300.0, 1e-2)])
def test_units_of_the_values_do_not_matter(offset, size):
    options = {"steps": 20, "report": None}
    plain, other = nf.fit(X, U, **options), nf.fit(X, offset + size * U, **options)
    assert other.metrics["rms_heldout"] / size == pytest.approx(plain.metrics["rms_heldout"], rel=0.05)
    assert other.derivative("u_x", X[:5]) / size == pytest.approx(plain.derivative("u_x", X[:5]), abs=0.02)


def test_columns_of_different_units_are_fitted_alike():
    solution = nf.fit(X, np.stack([1e5 * (3 + U), U], 1), steps=40, report=None)
    error = solution.field.numpy(X) - np.stack([1e5 * (3 + U), U], 1)
    assert np.sqrt((error**2).mean(0)) / [1e5, 1] == pytest.approx([0, 0], abs=0.02)
    assert solution("lap_u0 u1_y", X[:4]).shape == (4, 2)


def test_a_large_picture_of_bytes_is_fitted():
    rows, columns = np.mgrid[:64, :64]
    image = (127 + 100 * np.sin(columns / 9) * np.cos(rows / 7)).astype(np.uint8)
    assert nf.fit(image, steps=60, report=None).metrics["rms"] < 5


def test_points_and_values_that_float32_blurs():
    times = 1.7e9 + np.linspace(0, 1000, 3500)
    solution = nf.fit(times, np.sin(times / 100), steps=60, report=None)
    assert solution.problem.recipe().run.dtype is None
    assert solution.metrics["rms_heldout"] < 0.1
    with pytest.warns(UserWarning, match="float32 blurs what they differ by"):
        nf.fit(times, 1e8 + np.sin(times / 100), steps=0, report=None)


@pytest.mark.parametrize("hidden", ["points", "values", "noise"])
def test_what_any_masked_array_hides_does_not_count(hidden):
    given = {"points": X[:, 0], "values": U, "noise": np.full(150, 0.1)}
    given[hidden] = np.ma.masked_array(np.where(X[:, 1] > 0, np.nan, given[hidden]), X[:, 1] > 0)
    problem = nf.fit(**given, steps=2, report=None).problem
    assert np.array_equal(problem._kept, X[:, 1] <= 0)


@pytest.mark.parametrize(
    "noise",
    [0.1, [0.1], np.full((5, 6), 0.1), np.full((5, 6, 3), 0.1), torch.full((3,), 0.1), np.full(30, 0.1)],
    ids=["number", "one", "pixels", "all", "channels", "rows"],
)
def test_the_noise_of_an_image_in_any_shape(noise):
    image = SOURCE.uniform(size=(5, 6, 3))
    problem = nf.fit(image, noise=noise, steps=0, report=None).problem
    assert problem._scale() == pytest.approx(np.full((30, 3), 10.0))
    with pytest.raises(InputError, match=r"noise must be a number or one for each of \(30, 3\), got shape \(6,\)"):
        nf.fit(image, noise=np.ones(6), steps=0, report=None)


def test_noise_of_what_does_not_count_is_not_looked_at():
    noise = np.where(X[:, 0] > 0, 0.0, 0.1)
    assert nf.fit(X, U, noise=noise, mask=X[:, 0] <= 0, steps=1, report=None).metrics["rms"] > 0


def test_what_is_guessed_about_channels_is_said():
    said = nf.fit(SOURCE.uniform(size=(5, 6, 3)), steps=0, report=None).metrics["channels"]
    assert said.startswith("3, the last axis of the image")
    assert "channels" not in nf.fit(SOURCE.uniform(size=(5, 6, 3)), channels=True, steps=0, report=None).metrics
    with pytest.warns(UserWarning, match=r"an image of shape \(3, 8, 9\) has 3 coordinates; if axis 0 holds channels"):
        nf.fit(torch.rand(3, 8, 9), steps=0, report=None)
    with pytest.raises(InputError, match="with channels on the last axis"):
        nf.fit(np.ones(4), channels=True)


def test_names_are_words_and_bfloat16_is_a_number():
    solution = nf.fit(torch.as_tensor(X).bfloat16(), U, names="t s", steps=1, report=None)
    assert solution.field.inputs == ("t", "s")


def test_too_few_values_to_hold_any_out_are_said():
    solution = nf.fit([0.0, 1.0, 2.0], [0.0, 1.0, 0.0], steps=1, report=None)
    assert solution.metrics["heldout"].startswith("none")
    assert solution.problem.score == "rms"


@pytest.mark.parametrize("noise", [None, 0.1])
def test_the_posterior_says_the_noise_in_the_units_of_the_data(noise):
    values = 50 + 20 * U + 2 * SOURCE.standard_normal(150)
    field = nf.MLP(nf.Box(x=(-1, 1), y=(-1, 1)), width=5, depth=1, dtype=torch.float64)
    solution = nf.fit(X, values, noise=noise and 2.0, steps=60, report=None, field=field)
    said = str(nf.posterior(solution))
    number = float(said.split("which is ")[1].split(" in the units of the data")[0])
    assert number == pytest.approx(2.0, rel=0.25)


def test_mini_batches():
    problem = nf.fit(X, U, batch=16, steps=1, optimizer="adam", report=None).problem
    data = problem.load("cpu", torch.float64)
    drawn = problem.sample(data, nf.problem.SamplerState(), nf.generator(0, "a"))
    assert drawn["misfit"]["points"].shape == (16, 2)


MISTAKES = {
    "one value for each point, got 150 points and 3 values": {"values": U[:3]},
    r"heldout must be a share in \[0, 1\), got 1": {"heldout": 1},
    "batch must be a whole number": {"batch": -1},
    "heldout must be a share in .* got '0.1'": {"heldout": "0.1"},
    "heldout must be a share in .* got None": {"heldout": None},
    r"heldout must be a share in .* got \[1, 2\]": {"heldout": [1, 2]},
    "batch must be a whole number of at least 0, got 1.5": {"batch": 1.5},
    "batch must be a whole number of at least 0, got None": {"batch": None},
    "2 coordinates need 2 names": {"names": ("t",)},
    "the name 'x' is already that of a coordinate": {"names": ("x", "x")},
    "the name 'u' is already that of the values": {"names": ("x", "u")},
    r"must be words as for variables, got 'time \[s\]'": {"names": ("x", "time [s]")},
    "must be words as for variables, got 0": {"names": (0, 1)},
    "channels= is for an image": {"channels": True},
    "the mask must hold True and False, or 1 and 0": {"mask": np.arange(150)},
    "the mask must hold True .* array": {"mask": np.full(150, np.nan)},
    "noise must be positive, because misfits are divided by it, got nan": {"noise": np.nan},
    "noise must be a standard deviation, got True": {"noise": True},
    "values must be an array of real numbers, got a sparse matrix": {"values": sparse.eye_array(150)},
    r"got \[\[0, 1\], \[2\]\]. Give as many numbers in each row": {"values": [[0, 1], [2]]},
    "the mask must have one entry for each of 150 values": {"mask": np.ones(3)},
    "got 0 values that count": {"mask": np.zeros(150)},
    "150 of them not finite": {"values": np.full(150, np.nan)},
    "noise must be positive": {"noise": 0},
    "noise must be an array of real numbers": {"noise": "much"},
    r"one entry for each of 150 values, got shape \(15, 10\)": {"mask": np.ones((15, 10))},
    r"noise must be a number or one for each of \(150, 1\)": {"noise": np.ones(3)},
    r"values must have shape \(n,\) or \(n, k\)": {"values": np.ones((3, 3, 3))},
    "values must be an array of real numbers": {"values": ["a"]},
    "an array of real numbers, got complex128": {"values": U + 1j},
    "an array of real numbers, got datetime64": {"values": U.astype("datetime64[s]")},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_what_cannot_be_fitted_is_refused(message):
    with pytest.raises(InputError, match=message):
        nf.fit(X, **{"values": U, "steps": 1, "report": None} | MISTAKES[message])


def test_the_mask_of_an_image_has_its_shape():
    with pytest.raises(InputError, match=r"the mask must have the shape \(5, 4\) of the image, got \(4, 5\)"):
        nf.fit(np.ones((5, 4)), mask=np.ones((4, 5)))
    with pytest.raises(InputError, match="an image must have at least one axis"):
        nf.fit(3.0)
