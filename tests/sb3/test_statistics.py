"""Intervals and robust means, against theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from auralnav_sb3 import bootstrap_curve, bootstrap_mean, interquartile_mean


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


@pytest.mark.parametrize(
    ("function", "values", "message"),
    [
        (bootstrap_mean, [], r"values: expected 1 dimension\(s\) and at least one value, actual: shape \(0,\)"),
        (bootstrap_mean, [[1.0]], r"values: .* actual: shape \(1, 1\)"),
        (bootstrap_mean, [1.0, np.nan], "values: expected finite numbers, actual: 1 NaN or infinite ones"),
        (bootstrap_curve, [1.0, 2.0], r"curves: expected 2 dimension\(s\) .* actual: shape \(2,\)"),
        (bootstrap_curve, [[1.0, np.inf]], "curves: expected finite numbers"),
    ],
    ids=["none", "two dimensions", "nan", "one dimension", "infinite"],
)
def test_bad_values(function, values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(values)
