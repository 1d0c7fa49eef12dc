import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.sampling import SAMPLERS, by_density, latin_hypercube, retained, sampler, sobol


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_fill_the_cube_repeat_by_seed_and_really_resample(name):
    draw = sampler(name)
    source = generator(3, "points")
    first, second = draw(64, 3, source), draw(64, 3, source)
    assert first.shape == (64, 3)
    assert first.dtype == torch.float64
    assert (first >= 0).all()
    assert (first < 1).all()
    assert not torch.equal(first, second)
    assert torch.equal(first, draw(64, 3, generator(3, "points")))
    assert not torch.equal(first, draw(64, 3, generator(4, "points")))
    assert not torch.equal(first, draw(64, 3, generator(3, "weights")))


def test_each_slice_of_a_latin_hypercube_holds_one_point():
    points = latin_hypercube(50, 2, generator(0, "points"))
    for column in points.T:
        assert sorted((column * 50).long().tolist()) == list(range(50))


def test_sobol_points_integrate_better_than_chance():
    # the mean of x y over the square is 1/4; 1,024 random points would be 0.007 off
    points = sobol(1024, 2, generator(0, "points"))
    assert abs(float(points.prod(1).mean()) - 0.25) < 5e-4


def test_unknown_samplers_are_worded():
    with pytest.raises(InputError, match=r"unknown sampler 'sobel': did you mean 'sobol'\?"):
        sampler("sobel")


def test_rad_chooses_in_proportion_to_the_residual_and_nothing_twice():
    # half of the candidates with magnitude 3, half with 1: density 3/2 + 1 against 1/2 + 1
    magnitude = torch.tensor([3.0, 1.0], dtype=torch.float64).repeat(50_000)
    chosen = by_density(magnitude, 2000, generator(0, "points"))
    assert len(set(chosen.tolist())) == 2000
    share = float((magnitude[chosen] == 3).double().mean())
    assert share == pytest.approx(2.5 / 4, abs=3 * (0.625 * 0.375 / 2000) ** 0.5)


def test_rad_with_large_power_and_no_offset_takes_the_largest():
    magnitude = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    assert by_density(magnitude, 5, generator(0, "points"), power=400.0, offset=0.0).min() >= 90


def test_rad_on_a_residual_of_zero_is_uniform():
    chosen = by_density(torch.zeros(1000), 200, generator(1, "points"))
    assert 400 < float(chosen.double().mean()) < 600


def test_candidates_that_do_not_do_are_worded():
    with pytest.raises(InputError, match="got 3 for 4 points"):
        by_density(torch.ones(3), 4, generator(0, "points"))
    with pytest.raises(InputError, match="not finite at candidate points"):
        by_density(torch.tensor([1.0, torch.nan]), 1, generator(0, "points"))


def test_r3_keeps_what_is_above_the_mean():
    assert retained(torch.tensor([1.0, 2.0, 6.0, 3.0])).tolist() == [False, False, True, False]
