"""How sure is a number? Bootstrap intervals of means over episodes, of learning curves over runs, of gaps over both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap, trim_mean

CONFIDENCE = 0.95
_RESAMPLES = 9999
# Resamples that are held in memory at the same time.
_BATCH = 500


@dataclass(frozen=True)
class Interval:
    """A mean (or ratio of means) and its 95 % percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """As in ``0.97 [0.93, 1.00]``."""
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, eq=False)
class Curve:
    """The interquartile mean of several runs at every point, and its 95 % percentile bootstrap interval.

    Attributes:
        iqm: (points,) float64.
        low: (points,) float64.
        high: (points,) float64.
    """

    iqm: np.ndarray
    low: np.ndarray
    high: np.ndarray


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> Interval:
    """The mean of independent values and its interval.

    Args:
        values: (n,), one number an episode, or one a run. Of a few values a bootstrap makes too narrow an interval:
            it never reaches beyond the least and the largest of them.
        seed: Of the resampling.

    Raises:
        ValueError: No values, not one-dimensional, or not finite.
    """
    samples = _checked("values", values, ndim=1)
    low, high = _percentile_interval(samples, np.mean, seed)
    return Interval(float(samples.mean()), float(low), float(high))


def interquartile_mean(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """The mean of the middle half: a quarter of the values is left out at either end.

    It is nearly as robust as the median and nearly as efficient as the mean (Agarwal et al. 2021, "Deep Reinforcement
    Learning at the Edge of the Statistical Precipice"). As there, whole values are left out, floor(n / 4) at either
    end; of three values or fewer it is the mean.

    Args:
        values: (..., n, ...).
        axis: That of the n.

    Returns:
        ``values`` without that axis, float64.
    """
    return np.asarray(trim_mean(np.asarray(values, dtype=np.float64), 0.25, axis=axis))


def bootstrap_curve(curves: ArrayLike, seed: int = 0) -> Curve:
    """The interquartile mean of learning curves and its interval, point by point.

    Whole runs are resampled. It is the stratified bootstrap of Agarwal et al. (2021) for a single task, where all runs
    are one stratum.

    Args:
        curves: (runs, points); every run measured at the same points.
        seed: Of the resampling.

    Raises:
        ValueError: No runs or no points, not two-dimensional, or not finite.
    """
    runs = _checked("curves", curves, ndim=2)
    low, high = _percentile_interval(runs, interquartile_mean, seed)
    return Curve(interquartile_mean(runs), low, high)


def bootstrap_grid(values: ArrayLike, seed: int = 0) -> Interval:
    """The mean over the episodes of several runs, which are the same ones for all, and its interval.

    Runs and episodes are resampled, each on their own, as in `bootstrap_gap_closed`. Of two agents that played the same
    episodes give the differences: what both find hard does not widen their interval.

    Args:
        values: (runs, episodes), one number an episode of a run. Of a few runs a bootstrap makes too narrow an
            interval (see `bootstrap_mean`); of a single one it is that over the episodes.
        seed: Of the resampling.

    Raises:
        ValueError: No runs or no episodes, not two-dimensional, or not finite.
    """
    samples = _checked("values", values, ndim=2)
    rng = np.random.default_rng(seed)
    of_runs = ((_draw_weights(rng, samples.shape[1]) @ samples.T) * _draw_weights(rng, len(samples))).sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(of_runs, [tail, 1 - tail])
    return Interval(float(samples.mean()), float(low), float(high))


def bootstrap_gap_closed(none: ArrayLike, some: ArrayLike, full: ArrayLike, seed: int = 0) -> Interval:
    """How much of the gap between nothing and everything something closes: (some - none) / (full - none), of means.

    Runs and episodes are resampled, each on their own (Owen 2007, "The pigeonhole bootstrap"): the runs of each of the
    three, as they were trained independently; the episodes of all runs of all three together, as they are the same
    ones. An interval over the runs at hand alone would not say what other runs would give, nor one over the episodes
    alone what others.

    Where there is no gap to speak of, a share of it means nothing, and the interval is (-inf, inf): if in 2.5 % of the
    resamples or more ``full`` is no better than ``none``, which then are not different at that level.

    Args:
        none: (runs, episodes), a number that is the higher the better of every episode of every run: with nothing.
        some: (runs, episodes), with what is in question. The runs may be more or fewer.
        full: (runs, episodes), with all that one could wish.
        seed: Of the resampling.

    Returns:
        The share: 0 where nothing is gained, 1 where nothing is left to gain. It can lie outside of [0, 1]. Its mean is
        NaN if ``full`` and ``none`` are equal.

    Raises:
        ValueError: No runs or no episodes, not two-dimensional, not finite, or not of the same number of episodes.
    """
    groups = {"none": none, "some": some, "full": full}
    values = {name: _checked(name, each, ndim=2) for name, each in groups.items()}
    counts = {name: each.shape[1] for name, each in values.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"none, some, full: expected the same episodes in all, actual: {counts} of them")
    rng = np.random.default_rng(seed)
    of_episodes = _draw_weights(rng, counts["none"])  # (resamples, episodes)
    least, reached, most = (
        ((of_episodes @ each.T) * _draw_weights(rng, len(each))).sum(axis=1) for each in values.values()
    )
    gaps, gains = most - least, reached - least
    none_mean, some_mean, full_mean = (float(each.mean()) for each in values.values())
    rounding = 1e-12 * max(float(np.abs(each).max()) for each in values.values())
    gap = full_mean - none_mean
    share = (some_mean - none_mean) / gap if abs(gap) > rounding else math.nan
    tail = (1 - CONFIDENCE) / 2
    no_gap = gaps <= rounding
    if no_gap.mean() >= tail:
        return Interval(share, -math.inf, math.inf)
    # The nearer the gap comes to zero the farther out is the share; where the gap is gone it is beyond all others.
    shares = np.where(no_gap, np.copysign(math.inf, gains), gains / np.where(no_gap, 1.0, gaps))
    low, high = np.quantile(shares, [tail, 1 - tail], method="inverted_cdf")
    return Interval(share, float(low), float(high))


def _draw_weights(rng: np.random.Generator, count: int) -> np.ndarray:
    """How much each of so many things weighs when they are drawn anew with replacement: (resamples, count) float64."""
    return rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) / count


def _percentile_interval(
    samples: np.ndarray, statistic: Callable[..., Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a statistic over the first axis of samples (n, ...), both ends (...) float64."""
    if np.ptp(samples, axis=0).max() == 0:  # resampling equal values gives that value; a single one is refused by scipy
        return samples[0], samples[0]
    result = bootstrap(
        (samples,),
        statistic,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        axis=0,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return result.low, result.high


def _checked(name: str, values: ArrayLike, ndim: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name}: expected {ndim} dimension(s) and at least one value, actual: shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name}: expected finite numbers, actual: {int((~np.isfinite(array)).sum())} NaN or infinite ones"
        )
    return array
