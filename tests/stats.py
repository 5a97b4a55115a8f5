"""The one way in which tests compare a stochastic estimate with the truth."""

import numpy as np
from numpy.typing import ArrayLike


def assert_within(estimate: ArrayLike, truth: ArrayLike, stderr: ArrayLike, nsigma: float = 5) -> None:
    """Assert that an estimate is within `nsigma` standard errors of the truth, element by element.

    A test that uses it also shows a negative control: a wrong estimate, of the same kind and with the same standard error,
    for which it fails. Seeds are fixed but never tuned; at 5 sigma a correct code fails once in two million.

    Parameters
    ----------
    estimate, truth, stderr : float or array
        Shapes that broadcast; `stderr` is the standard error of `estimate`, or of the difference if both are estimates.
    nsigma : float
        Allowed deviation in standard errors, default 5.

    Raises
    ------
    AssertionError
        If any deviation is larger, or if any number is not finite, or a standard error is not positive: then the comparison
        would say nothing.
    """
    estimate, truth, stderr = (np.asarray(value, dtype=float) for value in (estimate, truth, stderr))
    for name, value in (("estimate", estimate), ("truth", truth), ("stderr", stderr)):
        assert np.isfinite(value).all(), f"{name} is not finite: {value}"
    assert (stderr > 0).all(), f"stderr must be positive: {stderr}"
    sigmas = np.abs(estimate - truth) / stderr
    assert (sigmas <= nsigma).all(), f"estimate {estimate}, truth {truth}, stderr {stderr}: {np.max(sigmas):.1f} sigma off"


def mean_and_stderr(samples: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean of independent samples (along the first axis) and its standard error."""
    samples = np.asarray(samples, dtype=float)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
