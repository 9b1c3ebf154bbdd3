"""Intervals and robust means, against theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from auralnav_sb3 import bootstrap_curve, bootstrap_gap_closed, bootstrap_mean, interquartile_mean
from auralnav_sb3.statistics import bootstrap_grid


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    """95 % intervals over 60 episodes of an agent that succeeds in 70 %: binomial theory against 300 repetitions."""
    rng = np.random.default_rng(0)
    covered = 0
    for repetition in range(300):
        interval = bootstrap_mean(rng.random(60) < 0.7, seed=repetition)
        covered += interval.low <= 0.7 <= interval.high
    # Percentile intervals of a proportion at n = 60 cover about 94 %; the standard error over 300 is 1.3 %.
    assert 0.90 <= covered / 300 <= 0.98


def test_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    interval = bootstrap_mean(values)
    half = norm.ppf(0.975) * values.std() / np.sqrt(2000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_seed_is_that_of_the_resampling() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_interval_over_runs_and_episodes_is_that_of_normal_theory() -> None:
    """What is the sum of a number of the run and one of the episode has the sum of the variances of the two means."""
    rng = np.random.default_rng(0)
    of_runs, of_episodes = rng.normal(5.0, 1.0, 80), rng.normal(0.0, 2.0, 200)
    interval = bootstrap_grid(of_runs[:, None] + of_episodes)
    half = norm.ppf(0.975) * np.sqrt(of_runs.var() / 80 + of_episodes.var() / 200)
    middle = of_runs.mean() + of_episodes.mean()
    assert interval.mean == pytest.approx(middle)
    assert interval.low == pytest.approx(middle - half, abs=0.1 * half)
    assert interval.high == pytest.approx(middle + half, abs=0.1 * half)


def test_interval_over_the_episodes_of_one_run() -> None:
    values = np.random.default_rng(0).normal(size=50)
    grid, alone = bootstrap_grid(values[None]), bootstrap_mean(values)
    assert (grid.mean, grid.low, grid.high) == pytest.approx((alone.mean, alone.low, alone.high), abs=0.02)


@pytest.mark.parametrize("values", [[1.0] * 5, [1.0]], ids=["equal", "one"])
def test_interval_of_equal_values(values: list[float]) -> None:
    assert str(bootstrap_mean(values)) == "1.00 [1.00, 1.00]"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4], 2.5),
        ([100, 2, 3, -50], 2.5),
        ([8, 1, 7, 2, 6, 3, 5, 4], 4.5),
        ([0, 1, 2, 3, 40], 2),  # floor(5 / 4) = 1 left out at either end
        ([1, 2, 9], 4),  # the mean
        ([7], 7),
    ],
    ids=["four", "outliers", "eight", "five", "three", "one"],
)
def test_interquartile_mean_by_hand(values: list[float], expected: float) -> None:
    assert interquartile_mean(values) == expected


def test_interquartile_mean_of_a_skewed_distribution() -> None:
    """Of exponential values: twice the integral of -ln(1 - p) over p from 1/4 to 3/4, by hand."""
    expected = 2 * ((0.25 * np.log(0.25) - 0.25) - (0.75 * np.log(0.75) - 0.75))
    values = np.random.default_rng(0).exponential(size=200_000)
    assert interquartile_mean(values) == pytest.approx(expected, abs=0.01)
    assert abs(expected - values.mean()) > 0.1


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_interquartile_mean_along_an_axis(axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(9, 10, 11))
    result = interquartile_mean(values, axis=axis)
    for index in np.ndindex(result.shape):
        line = np.sort(np.moveaxis(values, axis, -1)[index])
        assert result[index] == pytest.approx(line[2:-2].mean())


def test_a_curve_is_resampled_by_runs() -> None:
    """Against the definition: runs drawn with replacement, the middle half averaged at every point, percentiles."""
    rng = np.random.default_rng(0)
    runs = np.linspace(0, 1, 5) + rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 0.1, (8, 5))
    resampled = np.sort(runs[rng.integers(8, size=(20_000, 8))], axis=1)[:, 2:-2].mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    curve = bootstrap_curve(runs)
    assert np.allclose(curve.iqm, np.sort(runs, axis=0)[2:-2].mean(axis=0))
    assert np.allclose(curve.low, low, atol=0.02)
    assert np.allclose(curve.high, high, atol=0.02)
    assert (high - low > 0.1).all()


def test_intervals_of_a_curve_cover_the_truth() -> None:
    """40 normal runs, whose interquartile mean is their mean; 150 curves of which every point is a repetition."""
    runs = np.random.default_rng(0).normal(3.0, 1.0, (40, 150))
    curve = bootstrap_curve(runs)
    covered = np.mean((curve.low <= 3.0) & (curve.high >= 3.0))
    # Percentile intervals of 40 values cover about 93 %; the standard error over 150 is 2 %.
    assert 0.87 <= covered <= 0.99
    # n times the variance of a mean trimmed by a quarter, whose cuts are at +-q (Huber 1981, section 3.3): 1.195.
    q = norm.ppf(0.75)
    variance = ((0.5 - 2 * q * norm.pdf(q)) + 2 * 0.25 * q**2) / 0.5**2
    half_width = norm.ppf(0.975) * np.sqrt(variance / 40)
    assert np.mean(curve.high - curve.low) / 2 == pytest.approx(half_width, rel=0.1)


def test_points_at_which_all_runs_agree() -> None:
    curve = bootstrap_curve([[0.0, 0.5, 1.0], [0.0, 0.7, 1.0], [0.0, 0.9, 1.0]])
    assert curve.iqm == pytest.approx([0.0, 0.7, 1.0])
    assert curve.low == pytest.approx([0.0, 0.5, 1.0])
    assert curve.high == pytest.approx([0.0, 0.9, 1.0])


def test_a_curve_of_one_run() -> None:
    curve = bootstrap_curve([[0.0, 0.5]])
    assert curve.iqm.tolist() == curve.low.tolist() == curve.high.tolist() == [0.0, 0.5]


def successes(rng: np.random.Generator, rate: float, runs: int = 3, episodes: int = 40) -> np.ndarray:
    """Of runs that are not equally good, in episodes that are not equally hard: (runs, episodes)."""
    skill = rng.normal(0, 0.05, (runs, 1)) + np.random.default_rng(9).normal(0, 0.1, (1, episodes))
    return (rng.random((runs, episodes)) < rate + skill).astype(float)


def test_gap_closed_equals_a_slow_loop() -> None:
    """From the definition: episodes drawn once for all, runs for each on their own, and a ratio of means."""
    rng = np.random.default_rng(0)
    none, some, full = successes(rng, 0.3), successes(rng, 0.6, runs=2), successes(rng, 0.9, runs=4)
    shares = []
    for _ in range(20_000):
        episodes = [int(i) for i in rng.integers(40, size=40)]
        means = []
        for values in (none, some, full):
            runs = [int(i) for i in rng.integers(len(values), size=len(values))]
            means.append(sum(values[run, episode] for run in runs for episode in episodes) / (len(runs) * 40))
        shares.append((means[1] - means[0]) / (means[2] - means[0]))
    low, high = np.percentile(shares, [2.5, 97.5])
    interval = bootstrap_gap_closed(none, some, full)
    assert interval.mean == pytest.approx((some.mean() - none.mean()) / (full.mean() - none.mean()))
    assert interval.low == pytest.approx(low, abs=0.03)
    assert interval.high == pytest.approx(high, abs=0.03)
    assert high - low > 0.3
    assert bootstrap_gap_closed(none, some, full, seed=1) != interval == bootstrap_gap_closed(none, some, full, seed=0)


def test_gap_closed_of_a_wide_gap_is_that_of_normal_theory() -> None:
    """One run each, so episodes alone vary; a gap that is the same in every episode leaves the numerator's error."""
    rng = np.random.default_rng(0)
    none = rng.normal(0.0, 1.0, (1, 500))
    some = none + rng.normal(2.0, 0.5, (1, 500))
    interval = bootstrap_gap_closed(none, some, none + 4.0)
    gain = some - none
    half = norm.ppf(0.975) * gain.std() / np.sqrt(500) / 4
    assert interval.mean == pytest.approx(gain.mean() / 4)
    assert interval.low == pytest.approx(gain.mean() / 4 - half, abs=0.1 * half)
    assert interval.high == pytest.approx(gain.mean() / 4 + half, abs=0.1 * half)


def test_intervals_of_the_gap_closed_cover_the_truth() -> None:
    """Half of a gap from 0.2 to 0.8, with eight runs each, in 60 repetitions."""
    rng = np.random.default_rng(0)
    covered = 0
    for repetition in range(60):
        groups = [
            (rng.random((8, 50)) < np.clip(rate + rng.normal(0, 0.05, (8, 1)), 0, 1)).astype(float)
            for rate in (0.2, 0.5, 0.8)
        ]
        interval = bootstrap_gap_closed(*groups, seed=repetition)
        covered += interval.low <= 0.5 <= interval.high
    # Resampling both ways counts the noise of single episodes more than once (Owen 2007): more than 95 %, not fewer.
    assert covered / 60 >= 0.9


def test_gap_closed_at_its_ends() -> None:
    low, high = np.zeros((2, 5)), np.ones((3, 5))
    assert str(bootstrap_gap_closed(low, low, high)) == "0.00 [0.00, 0.00]"
    assert str(bootstrap_gap_closed(low, high, high)) == "1.00 [1.00, 1.00]"
    assert str(bootstrap_gap_closed(low, 2 * high, high)) == "2.00 [2.00, 2.00]"
    assert str(bootstrap_gap_closed(high, low, 3 * high)) == "-0.50 [-0.50, -0.50]"


@pytest.mark.parametrize("some", [0.0, 0.3, 0.5])
def test_where_there_is_no_gap_a_share_of_it_means_nothing(some: float) -> None:
    values = np.full((2, 7), some)
    equal = bootstrap_gap_closed(np.full((2, 7), 0.3), values, np.full((3, 7), 0.1 + 0.2))  # but for rounding
    assert np.isnan(equal.mean)
    assert (equal.low, equal.high) == (-np.inf, np.inf)
    rng = np.random.default_rng(0)
    by_chance = bootstrap_gap_closed(successes(rng, 0.5), values.repeat(8, axis=1)[:, :40], successes(rng, 0.55))
    assert (by_chance.low, by_chance.high) == (-np.inf, np.inf)
    worse = bootstrap_gap_closed(np.ones((2, 7)), values, np.full((2, 7), 0.9))
    assert (worse.low, worse.high) == (-np.inf, np.inf)


@pytest.mark.parametrize("sign", [1, -1], ids=["better", "worse"])
def test_a_gap_that_nearly_vanishes_makes_the_interval_wide(sign: int) -> None:
    """Of 20 episodes the gap is 1 in four and 0 in the others: in 1.2 % of the draws, none of the four is drawn."""
    full = np.array([[1.0] * 4 + [0.0] * 16])
    none, some = np.zeros((1, 20)), np.full((1, 20), sign * 0.1)
    interval = bootstrap_gap_closed(none, some, full)
    # Binomial: the gap is 1 / 20 or less in 6.9 % of the draws, 8 / 20 or more in 3.2 %, 9 / 20 or more in 1.0 %.
    assert interval.mean == pytest.approx(sign * 0.5)
    near, far = sorted((abs(interval.low), abs(interval.high)))
    assert (near, far) == (pytest.approx(0.1 / 0.4), pytest.approx(0.1 / 0.05))
    assert np.sign(interval.low) == np.sign(interval.high) == sign


def test_what_no_gap_can_be_told_of() -> None:
    fine = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"none, some, full: expected the same episodes in all, actual: .*'full': 4"):
        bootstrap_gap_closed(fine, fine, np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"some: expected 2 dimension\(s\) .* actual: shape \(3,\)"):
        bootstrap_gap_closed(fine, [0, 0, 1], fine)
    with pytest.raises(ValueError, match="none: expected finite numbers"):
        bootstrap_gap_closed([[0, 0, np.nan]], fine, fine)


@pytest.mark.parametrize(
    ("function", "values", "message"),
    [
        (bootstrap_mean, [], r"values: expected 1 dimension\(s\) and at least one value, actual: shape \(0,\)"),
        (bootstrap_mean, [[1.0]], r"values: .* actual: shape \(1, 1\)"),
        (bootstrap_mean, [1.0, np.nan], "values: expected finite numbers, actual: 1 NaN or infinite ones"),
        (bootstrap_curve, [1.0, 2.0], r"curves: expected 2 dimension\(s\) .* actual: shape \(2,\)"),
        (bootstrap_curve, [[1.0, np.inf]], "curves: expected finite numbers"),
        (bootstrap_grid, [1.0, 2.0], r"values: expected 2 dimension\(s\) .* actual: shape \(2,\)"),
    ],
    ids=["none", "two dimensions", "nan", "one dimension", "infinite", "grid of one dimension"],
)
def test_bad_values(function, values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(values)
