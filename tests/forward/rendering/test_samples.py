"""Where rays are sampled: boxes, even cuts, cuts by weight, packed and padded forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering import Samples, accumulate, box_intersection, composite, importance, stratified, thinned
from tests.forward.rendering.cases import COUNTS, even, generator, ragged


def test_box_intersection_of_straight_oblique_missing_and_inner_rays():
    bounds = ((-1.0, 1.0), (-2.0, 2.0), (0.0, 1.0))
    origins = torch.tensor([[-3.0, 0, 0.5], [-2.0, -1.0, 0.5], [-3.0, 0, 5.0], [0.5, 0, 0.5], [3.0, 0, 0.5]])
    directions = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    near, far = box_intersection(origins, directions, bounds)
    assert near[:, 0].tolist() == pytest.approx([2.0, 1 / 0.6, 0.0, 0.0, 0.0])
    assert far[:, 0].tolist() == pytest.approx([4.0, 3 / 0.8, 0.0, 0.5, 0.0])


def test_stratified_samples_lie_one_in_each_interval_and_repeat_with_the_seed():
    near = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    far = torch.tensor([[3.0], [2.5]], dtype=torch.float64)
    samples = stratified(near, far, 50, generator(4))
    assert samples.ray.tolist() == [0] * 50 + [1] * 50
    assert ((samples.t >= samples.t0) & (samples.t <= samples.t1)).all()
    torch.testing.assert_close(samples.dt, ((far - near) / 50).repeat_interleave(50, 0))
    torch.testing.assert_close(accumulate(samples, samples.dt), far - near)
    assert torch.equal(samples.t, stratified(near, far, 50, generator(4)).t)
    assert not torch.equal(samples.t, stratified(near, far, 50, generator(5)).t)
    middle = stratified(near, far, 50)
    torch.testing.assert_close(middle.t, (middle.t0 + middle.t1) / 2)


def test_stratified_optical_depth_is_unbiased():
    samples = stratified(torch.zeros(20000, 1).double(), torch.ones(20000, 1).double(), 3, generator(7))
    estimates = accumulate(samples, samples.t**4 * samples.dt)
    error = float(estimates.std()) / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - 0.2) < 4 * error < 3e-3


def test_rays_that_miss_carry_nothing():
    samples = stratified(torch.zeros(2, 1), torch.zeros(2, 1), 4, generator())
    seen = composite(samples, torch.full_like(samples.t, 7.0), torch.ones_like(samples.t))
    assert float(seen.channels.abs().max()) == 0
    assert float(seen.depth().abs().max()) == 0


def test_packed_samples_are_padded_in_order():
    samples = ragged()
    rows = samples.rows(samples.t)
    assert rows.shape == (6, 7)
    assert samples.counts().tolist() == list(COUNTS)
    start = 0
    for row, count in zip(rows, COUNTS, strict=True):
        assert torch.equal(row[:count], samples.t[start : start + count, 0])
        assert float(row[count:].abs().sum()) == 0
        start += count
    assert torch.equal(rows.reshape(-1)[samples.slots()[1]], samples.t[:, 0])


def test_kept_samples_of_even_rays_are_those_marked():
    samples = even(3, 4)
    mask = torch.rand(12, 1, generator=generator()) < 0.5
    kept = samples.keep(mask)
    assert kept.n_rays == 3
    assert kept.each is None
    expected = [row[m].tolist() for row, m in zip(samples.t.reshape(3, 4), mask.reshape(3, 4), strict=True)]
    assert [kept.t[kept.ray == r, 0].tolist() for r in range(3)] == expected


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from([0.0, 0.3, 1.0, 5.0]), max_size=6), min_size=1, max_size=4),
    n=st.integers(1, 9),
    jitter=st.booleans(),
)
def test_importance_gives_every_interval_the_same_share_of_the_weights(rows: list, n: int, jitter: bool):
    samples = ragged(tuple(map(len, rows)))
    weights = torch.tensor([w for row in rows for w in row], dtype=torch.float64).reshape(-1, 1)
    cut = importance(samples, weights, n, generator(2) if jitter else None)
    assert (cut.n_rays, cut.each) == (len(rows), n)
    assert ((cut.t0 <= cut.t + 1e-12) & (cut.t <= cut.t1 + 1e-12)).all()
    t0, t1 = cut.t0.reshape(-1, n), cut.t1.reshape(-1, n)
    assert torch.equal(t0[:, 1:], t1[:, :-1])
    for r, row in enumerate(rows):
        mine = samples.ray == r
        mass = weights[mine] if sum(row) else samples.dt[mine]
        for a, b in zip(t0[r], t1[r], strict=True):
            overlap = torch.minimum(b, samples.t1[mine]) - torch.maximum(a, samples.t0[mine])
            share = float((overlap.clamp_min(0) / samples.dt[mine] * mass).sum())
            assert share == pytest.approx(float(mass.sum()) / n, abs=1e-9)


def test_importance_follows_the_weights_and_passes_no_gradient():
    samples = stratified(torch.zeros(1, 1), torch.ones(1, 1), 4)
    weights = torch.tensor([[0.0], [3.0], [1.0], [0.0]], requires_grad=True)
    cut = importance(samples, weights, 4)
    assert not cut.t.requires_grad
    third = 0.25 / 3
    assert cut.t0[:, 0].tolist() == pytest.approx([0.25, 0.25 + third, 0.25 + 2 * third, 0.5], abs=1e-6)
    assert float(cut.t1[-1]) == pytest.approx(0.75, abs=1e-6)
    many = importance(samples, weights, 1, generator(1))
    assert 0.25 <= float(many.t) <= 0.75


def test_importance_finds_the_edges_of_a_slab_that_an_even_cut_misses():
    def density(t):
        return 20.0 * ((t > 1.30) & (t < 1.48))

    near, far = torch.zeros(1, 1).double(), torch.full((1, 1), 2.0).double()
    coarse = stratified(near, far, 16)
    seen = composite(coarse, density(coarse.t))
    again = importance(coarse, seen.weights + 1e-3, 64)
    assert abs(float(seen.optical_depth) - 3.6) > 1
    assert float(composite(again, density(again.t)).optical_depth) == pytest.approx(3.6, abs=0.1)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="n_samples must be at least 1, got 0"):
        stratified(torch.zeros(1, 1), torch.ones(1, 1), 0)
    with pytest.raises(InputError, match=r"weights must have shape \(17, 1\), one for each sample, got \(17,\)"):
        importance(ragged(), torch.zeros(17), 3)


def test_samples_are_a_plain_tuple_of_what_a_batch_can_hold():
    again = Samples(*even(2, 3))
    assert again.each == 3
    assert torch.equal(again.points(torch.zeros(2, 3).double(), torch.ones(2, 3).double())[:, 1:2], again.t)


def test_rays_of_many_samples_are_cut_anew_and_others_stay():
    """Three rays of 3, 0 and 12 samples; the last one's weights are all in its interval from 5 to 6."""
    ray = torch.tensor([0] * 3 + [2] * 12)
    t0 = torch.cat([torch.arange(3.0), torch.arange(12.0)])[:, None]
    samples = Samples(t0, t0 + 1, t0 + 0.5, ray, 3)
    weights = torch.zeros(15, 1)
    weights[3 + 5] = 0.7
    cut = thinned(samples, weights, 6)
    assert cut.counts().tolist() == [3, 0, 6]
    assert torch.equal(cut.t[:3], samples.t[:3])
    new = cut.t0[3:, 0]
    assert float(new[0]) == 0
    assert float(cut.t1[-1]) == pytest.approx(12)
    assert torch.equal(cut.t1[3:-1, 0], new[1:])
    assert 2 <= int(((cut.t[3:] > 5) & (cut.t[3:] < 6)).sum()) <= 4, "half of them"
    assert thinned(samples, weights, 12) is samples
    even = thinned(samples, torch.zeros(15, 1), 6)
    assert even.t0[3:, 0].tolist() == pytest.approx([0, 2, 4, 6, 8, 10])


def test_an_integral_over_fewer_samples_is_that_over_all_in_the_mean():
    rays, steps = 2000, 64
    cut = stratified(torch.zeros(rays, 1), torch.ones(rays, 1), steps)

    def density(samples: Samples) -> torch.Tensor:
        return 3 * torch.exp(-200 * (samples.t - 0.4) ** 2)

    fine = accumulate(cut, density(cut) * cut.dt)
    few = thinned(cut, density(cut), 8, generator(0))
    assert int(few.counts().max()) == 8
    coarse = accumulate(few, density(few) * few.dt)
    error = float((coarse - fine).std()) / rays**0.5
    assert abs(float((coarse - fine).mean())) < 4 * error
