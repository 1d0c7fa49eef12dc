import math

import pytest
import torch

from nfsolve import MLP, RunOptions, Sine, weight_scaling
from nfsolve._core.errors import InputError
from nfsolve.fields import FrequencyScaling
from nfsolve.studies.analysis import NotApplicable, Sample, Subject, ntk
from nfsolve.studies.analysis.sample import lattice_sizes
from problems.operators.antiderivative import Antiderivative
from problems.pde.poisson import Poisson
from problems.pde.poisson_5d import Poisson5D
from problems.signals.image import ImageFit


def subject_with(init, width=64, depth=4):
    problem = ImageFit(size=96, gray=True)
    return Subject.of_field(
        problem, MLP.for_problem(problem, width=width, depth=depth, activation=Sine(30.0), init=init)
    )


def kernel_of(init):
    return ntk.analyse(subject_with(init), points=576).kernels[0]


def test_weight_scaling_conditions_the_kernel_and_frequency_scaling_does_not():
    plain, scaled = kernel_of(weight_scaling(1.0)), kernel_of(weight_scaling(2.0))
    stretched = kernel_of(FrequencyScaling(2.0))
    assert plain.condition[0.0] > 50 * scaled.condition[0.0]
    assert plain.condition[0.0] < 20 * stretched.condition[0.0]
    assert stretched.condition[0.0] > 5 * scaled.condition[0.0]
    assert plain.peak > 10 * scaled.peak
    assert scaled.alignment > 2 * plain.alignment
    assert sum(plain.shares.values()) == pytest.approx(1)
    assert list(plain.shares) == [f"body.{i}.linear" for i in range(4)] + ["body.4"]


def test_the_whole_spectrum_and_the_matrix_free_one_agree():
    subject = subject_with(weight_scaling(1.5), width=16, depth=2)
    sample = subject.sample(100)
    target = torch.linspace(-1, 1, len(sample.points), dtype=torch.float64)
    formed = ntk.kernel_at(subject, sample, target, 0)
    free = ntk.kernel_at(subject, sample, target, 0, entries=0)
    assert formed.formed
    assert not free.formed
    torch.testing.assert_close(free.eigenvalues, formed.eigenvalues[: len(free.eigenvalues)], rtol=1e-8, atol=0)
    torch.testing.assert_close(free.energy, formed.energy[: len(free.energy)], rtol=1e-6, atol=1e-9)
    assert free.mean == pytest.approx(formed.mean)
    assert free.shares == pytest.approx(formed.shares)
    assert free.condition == {}
    assert free.alignment == pytest.approx(formed.alignment, rel=0.3)  # the norm is estimated
    assert formed.energy_at(1.0) == pytest.approx(1)
    assert math.isnan(free.energy_at(1.0))


def test_training_is_recorded_and_changes_the_kernel():
    subject = Subject.of_problem(ImageFit(size=48, gray=True, batch=64), steps=6, every=3)
    assert list(subject.states) == [0, 3, 6]
    result = ntk.analyse(subject, points=30)
    assert result.lattice == "5 x 5 lattice, every 5th point along each axis of the 24 x 21 given points"
    assert [k.step for k in result.kernels] == [0, 3, 6]
    assert result.kernels[0].peak != result.kernels[-1].peak
    assert len(ntk.figure(result).axes) == 4
    with subject.at(0) as field:
        first = next(field.parameters()).clone()
    with subject.at(6) as field:
        assert not torch.equal(first, next(field.parameters()))


def test_a_pde_is_looked_at_on_the_grid_of_its_reference():
    subject = Subject.of_problem(Poisson(), field=MLP, run=RunOptions(dtype="float64", seed=1))
    result = ntk.analyse(subject, points=50)
    assert result.kernels[0].rows <= 50
    assert "lattice" in result.lattice


def test_samples_are_thinned_evenly_or_at_random():
    points = torch.cartesian_prod(torch.linspace(1, -1, 9), torch.linspace(0, 2, 7))
    assert lattice_sizes(points) == (9, 7)
    assert lattice_sizes(points.flip(1)) == (9, 7)
    assert lattice_sizes(torch.linspace(0, 1, 11)[:, None]) == (11,)
    scattered = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    assert lattice_sizes(scattered) is None
    assert lattice_sizes(scattered[:, :1]) is None
    sample = Sample(points, points[:, :1], (9, 7), "the 9 x 7 given points")
    thin = sample.thinned(20)
    assert thin.sizes == (5, 4)
    assert torch.equal(thin.points, points.reshape(9, 7, 2)[::2, ::2].reshape(-1, 2))
    assert thin.words == "5 x 4 lattice, every 2nd point along each axis of the 9 x 7 given points"
    few = Sample(scattered, None, None, "30 given points").thinned(8)
    assert len(few.points) == 8
    assert few.words == "8 at random of 30 given points"
    with pytest.raises(InputError, match="at least 4 points, got 2"):
        sample.thinned(2)


def test_operators_are_not_looked_at_as_fields():
    problem = Antiderivative()
    subject = Subject.of_field(problem, problem.recipe().field.func.for_problem(problem, width=4, depth=1, latent=3))
    with pytest.raises(NotApplicable, match="a DeepONet takes more than points as input"):
        ntk.analyse(subject)


def test_a_problem_without_values_or_a_grid_is_refused():
    problem = Poisson5D()
    subject = Subject.of_field(problem, MLP.for_problem(problem, width=4, depth=1))
    subject.data = {}
    with pytest.raises(NotApplicable, match="neither given values nor a domain of 1 to 3 coordinates"):
        subject.sample()
