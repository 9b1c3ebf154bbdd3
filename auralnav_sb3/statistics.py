"""How sure is a number? Bootstrap intervals of means over episodes, and of learning curves over runs."""

from __future__ import annotations

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
    """A mean and its 95 % percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13)."""

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
