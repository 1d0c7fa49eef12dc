import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.sampling import SAMPLERS, latin_hypercube, sampler, sobol


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_fill_the_cube_repeat_by_seed_and_really_redraw(name):
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
